//! The command line of what is about all services of an environment.

use std::time::Duration;

use clap::Args;

use super::{Home, duration};

/// What every decision about all services of an environment says.
#[derive(Clone, Debug, Args)]
pub struct AboutAll {
    /// The environment.
    #[arg(value_name = "ENV")]
    pub environment: String,
    /// How long the operator's answer is waited for, of each service.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration)]
    pub timeout: Duration,
    /// Says what it would do, and decides nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// The tenant.
    #[command(flatten)]
    pub home: Home,
}

/// Options of `sleep`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  kubectl imaas sleep dev --for 12h --reason 'nobody works'
  kubectl imaas sleep dev --for 12h --reason 'nobody works' --dry-run
It is `scale SERVICE dev 0` of each service there, and ends by itself, or by `wake`. Left as they are: a batch, which runs by
its schedule; what has no release yet; what sleeps by its hours already; and what has a number by hand.")]
pub struct Sleep {
    /// Which.
    #[command(flatten)]
    pub about: AboutAll,
    /// It ends by itself after this time, such as 12h or 30m.
    #[arg(long = "for", value_name = "TIME", value_parser = duration)]
    pub lasts: Duration,
    /// Why; whoever finds them asleep reads this.
    #[arg(long)]
    pub reason: String,
}

/// Options of `wake`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  kubectl imaas wake dev --reason 'a demo'
  kubectl imaas wake dev --for 3h --reason 'late work'
It ends what `sleep` did. What sleeps as its hours say (tenant file, or the Environment), also once that has ended, runs for a
time with as many instances as its `scaling.min` says, whatever the load, and at least one; then it sleeps again.")]
pub struct Wake {
    /// Which.
    #[command(flatten)]
    pub about: AboutAll,
    /// How long those run that sleep as their hours say.
    #[arg(long = "for", value_name = "TIME", default_value = "1h", value_parser = duration)]
    pub lasts: Duration,
    /// Why.
    #[arg(long)]
    pub reason: String,
}
