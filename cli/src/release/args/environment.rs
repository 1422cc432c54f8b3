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
    /// The tenant.
    #[command(flatten)]
    pub home: Home,
}

/// Options of `sleep`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  kubectl imaas sleep dev --for 12h --reason 'nobody works'
It is `scale SERVICE dev 0` of each service there that is scaled by nobody yet, and ends by itself, or by `wake`.")]
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
It ends what `sleep` did. What sleeps as the tenant file says runs as declared for a time, and then sleeps again.")]
pub struct Wake {
    /// Which.
    #[command(flatten)]
    pub about: AboutAll,
    /// How long those run that sleep as the tenant file says.
    #[arg(long = "for", value_name = "TIME", default_value = "1h", value_parser = duration)]
    pub lasts: Duration,
    /// Why.
    #[arg(long)]
    pub reason: String,
}
