//! The command line of what is about releases.

mod environment;

pub use environment::{AboutAll, Sleep, Wake};

use std::time::Duration;

use clap::{Args, ValueEnum};
use imaas_operator::{api::DecisionAction, span::span};

/// Which tenant, and where its cluster is.
#[derive(Clone, Debug, Default, Args)]
pub struct Home {
    /// The tenant. Without it, that of the namespace.
    #[arg(long, value_name = "NAME", help_heading = "Tenant")]
    pub tenant: Option<String>,
    /// A namespace of the tenant, such as acme-home. Without it, that of the kubeconfig context.
    #[arg(long, short, value_name = "NAME", conflicts_with = "tenant", help_heading = "Tenant")]
    pub namespace: Option<String>,
    /// Another context of the kubeconfig.
    #[arg(long, value_name = "NAME", help_heading = "Tenant")]
    pub context: Option<String>,
}

impl Home {
    /// The same, as another command takes it, after a space.
    pub fn options(&self) -> String {
        let Self { tenant, namespace, context } = self;
        let options = [("--tenant", tenant), ("-n", namespace), ("--context", context)];
        let given = options.into_iter().filter_map(|(option, value)| Some((option, value.as_ref()?)));
        given.flat_map(|(option, value)| [" ", option, " ", value]).collect()
    }
}

/// What every decision says.
#[derive(Clone, Debug, Args)]
pub struct About {
    /// The service.
    pub service: String,
    /// The environment.
    #[arg(value_name = "ENV")]
    pub environment: String,
    /// How long the operator's answer is waited for.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration)]
    pub timeout: Duration,
    /// The tenant.
    #[command(flatten)]
    pub home: Home,
}

/// Options of `hold`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  kubectl imaas hold orders prod --reason 'stocktaking' --for 2h
  kubectl imaas hold orders prod --reason 'stocktaking' --tenant acme
What runs goes on, and what fails still goes back. It ends by `resume`, or after the time.")]
pub struct Hold {
    /// Which.
    #[command(flatten)]
    pub about: About,
    /// Why; whoever finds it held reads this.
    #[arg(long)]
    pub reason: String,
    /// It ends by itself after this time, such as 2h or 30m.
    #[arg(long = "for", value_name = "TIME", value_parser = duration)]
    pub lasts: Option<Duration>,
}

/// Options of `approve`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  kubectl imaas approve orders prod 4f2a4f2a4f2a
  kubectl imaas why orders prod      says which commit waits
It is of this one commit: one that comes after is looked at anew.")]
pub struct Approve {
    /// Which.
    #[command(flatten)]
    pub about: About,
    /// The commit that you looked at, which must be the head of the environment's branch: its hash, or at least the first 7
    /// digits of it.
    #[arg(value_name = "COMMIT", value_parser = commit)]
    pub commit: String,
    /// What you looked at.
    #[arg(long)]
    pub reason: Option<String>,
}

/// Options of `pass`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  kubectl imaas pass orders test load-test
  kubectl imaas pass orders test load-test --release orders-test-4f2a4f2a4f2a --reason 'run 4711'
For what checks releases from outside. What does not pass: kubectl imaas reject.")]
pub struct Pass {
    /// Which.
    #[command(flatten)]
    pub about: About,
    /// One of the environment's `gates`.
    pub gate: String,
    /// What was found.
    #[arg(long)]
    pub reason: Option<String>,
    /// The release that was checked; without it, the one that runs.
    #[arg(long, value_name = "RELEASE")]
    pub release: Option<String>,
}

/// Options of `bypass`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  kubectl imaas bypass orders prod --reason 'hotfix 4711, tested by hand'
  kubectl imaas bypass orders prod --release sha256:4f2a… --for 1h --reason 'hotfix'
Without --release it is what the head of the branch is built of now.")]
pub struct Bypass {
    /// Which.
    #[command(flatten)]
    pub about: About,
    /// Why; it is kept.
    #[arg(long)]
    pub reason: String,
    /// The digest of an image, or a release that has it.
    #[arg(long, value_name = "DIGEST|RELEASE")]
    pub release: Option<String>,
    /// It ends by itself after this time, such as 2h; what runs by then stays.
    #[arg(long = "for", value_name = "TIME", value_parser = duration)]
    pub lasts: Option<Duration>,
}

/// Options of `reject`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  kubectl imaas reject orders prod --reason 'loses orders'
  kubectl imaas reject orders prod --release orders-prod-4f2a4f2a4f2a --reason 'loses orders'
Without --release it is the release that Git asks for. Where it runs, what ran well before runs again.")]
pub struct Reject {
    /// Which.
    #[command(flatten)]
    pub about: About,
    /// Why; whoever asks for it again reads this.
    #[arg(long)]
    pub reason: String,
    /// A release, or the digest of an image.
    #[arg(long, value_name = "RELEASE|DIGEST")]
    pub release: Option<String>,
}

/// Options of `rollback`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  kubectl imaas rollback orders prod --reason 'too slow'
  kubectl imaas rollback orders prod --to orders-prod-4f2a4f2a4f2a --reason 'too slow'
It stays until a newer commit asks for something else, or until `resume`.")]
pub struct Rollback {
    /// Which.
    #[command(flatten)]
    pub about: About,
    /// Why.
    #[arg(long)]
    pub reason: String,
    /// The release; without it, what ran well before. `kubectl imaas history` lists them.
    #[arg(long, value_name = "RELEASE")]
    pub to: Option<String>,
}

/// Options of `retry`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  kubectl imaas retry orders prod
  kubectl imaas retry orders prod --release orders-prod-4f2a4f2a4f2a --reason 'the database is back'")]
pub struct Retry {
    /// Which.
    #[command(flatten)]
    pub about: About,
    /// Why.
    #[arg(long)]
    pub reason: Option<String>,
    /// The release; without it, the one that Git asks for.
    #[arg(long, value_name = "RELEASE")]
    pub release: Option<String>,
}

/// Options of `run`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  kubectl imaas run billing dev
  kubectl imaas run billing prod --reason 'invoices of May again'
It runs the release that runs there, and counts as a run by its schedule does. Until it ends, no other begins, unless
`schedule.concurrency` is `allow`.")]
pub struct Run {
    /// Which.
    #[command(flatten)]
    pub about: About,
    /// Why.
    #[arg(long)]
    pub reason: Option<String>,
}

/// Options of `scale`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  kubectl imaas scale orders prod 8 --for 6h --reason 'sale'
  kubectl imaas scale orders prod 0 --for 30m --reason 'sends everything twice'
  kubectl imaas scale orders prod current --for 6h --reason 'load test'
Load changes nothing meanwhile. It ends by itself, or by `resume`; then as many run as declared.")]
pub struct Scale {
    /// Which.
    #[command(flatten)]
    pub about: About,
    /// How many instances, 0 to 100: beyond `max` of the service too, as far as the tenant's quota has room. `current`: as many
    /// as there are to be now.
    #[arg(value_name = "NUMBER|current", value_parser = replicas)]
    pub replicas: Replicas,
    /// It ends by itself after this time, such as 2h or 30m.
    #[arg(long = "for", value_name = "TIME", value_parser = duration)]
    pub lasts: Duration,
    /// Why; whoever finds it reads this.
    #[arg(long)]
    pub reason: String,
}

/// How many instances are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replicas {
    /// So many.
    Number(u16),
    /// As many as there are to be now.
    Current,
}

/// Options of `resume`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  kubectl imaas resume orders prod
  kubectl imaas resume orders prod --only scale
It ends a hold, a pause, a rollback and a scale; a rejected release stays rejected.")]
pub struct Resume {
    /// Which.
    #[command(flatten)]
    pub about: About,
    /// Why.
    #[arg(long)]
    pub reason: Option<String>,
    /// Ends this alone, and what else holds goes on.
    #[arg(long, value_name = "WHAT")]
    pub only: Option<Held>,
}

/// What `resume` ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Held {
    /// Nothing new runs.
    Hold,
    /// What is tried stays at its step.
    Pause,
    /// An older release runs.
    Rollback,
    /// So many instances run.
    Scale,
}

impl Held {
    /// The decision that makes it so.
    const fn action(self) -> DecisionAction {
        match self {
            Self::Hold => DecisionAction::Hold,
            Self::Pause => DecisionAction::Pause,
            Self::Rollback => DecisionAction::Rollback,
            Self::Scale => DecisionAction::Scale,
        }
    }
}

/// Options of `rollout pause`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  kubectl imaas rollout pause orders prod --reason 'the error rate is looked at'
It ends by `kubectl imaas rollout resume orders prod --only pause`. What fails is given up all the same.")]
pub struct Pause {
    /// Which.
    #[command(flatten)]
    pub about: About,
    /// Why; whoever finds it paused reads this.
    #[arg(long)]
    pub reason: String,
}

/// Options of `rollout skip`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  kubectl imaas rollout skip orders prod
It is of the step at which it is now, also while that is paused.")]
pub struct Skip {
    /// Which.
    #[command(flatten)]
    pub about: About,
    /// Why.
    #[arg(long)]
    pub reason: Option<String>,
}

/// Options of `rollout abort`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  kubectl imaas rollout abort orders prod --reason 'the error rate is up'
The release stays away until the content changes, or `kubectl imaas retry`.")]
pub struct Abort {
    /// Which.
    #[command(flatten)]
    pub about: About,
    /// Why; whoever asks for it again reads this.
    #[arg(long)]
    pub reason: String,
}

/// What is decided, whichever command says it.
#[derive(Clone, Debug)]
pub struct Decision {
    /// The verb.
    pub action: DecisionAction,
    /// Of what.
    pub about: About,
    /// Why.
    pub reason: Option<String>,
    /// What it is about.
    pub target: Option<String>,
    /// Which gate lets it pass.
    pub gate: Option<String>,
    /// How many instances run.
    pub replicas: Option<Replicas>,
    /// How long it holds.
    pub lasts: Option<Duration>,
}

impl From<Approve> for Decision {
    fn from(Approve { about, commit, reason }: Approve) -> Self {
        let action = DecisionAction::Approve;
        Self { action, about, reason, target: Some(commit), gate: None, replicas: None, lasts: None }
    }
}

impl From<Pass> for Decision {
    fn from(Pass { about, gate, reason, release: target }: Pass) -> Self {
        Self {
            action: DecisionAction::Pass,
            about,
            reason,
            target,
            gate: Some(gate),
            replicas: None,
            lasts: None,
        }
    }
}

impl From<Hold> for Decision {
    fn from(Hold { about, reason, lasts }: Hold) -> Self {
        Self {
            action: DecisionAction::Hold,
            about,
            reason: Some(reason),
            target: None,
            gate: None,
            replicas: None,
            lasts,
        }
    }
}

impl From<Bypass> for Decision {
    fn from(Bypass { about, reason, release: target, lasts }: Bypass) -> Self {
        Self {
            action: DecisionAction::Bypass,
            about,
            reason: Some(reason),
            target,
            gate: None,
            replicas: None,
            lasts,
        }
    }
}

impl From<Reject> for Decision {
    fn from(Reject { about, reason, release: target }: Reject) -> Self {
        Self {
            action: DecisionAction::Reject,
            about,
            reason: Some(reason),
            target,
            gate: None,
            replicas: None,
            lasts: None,
        }
    }
}

impl From<Rollback> for Decision {
    fn from(Rollback { about, reason, to: target }: Rollback) -> Self {
        Self {
            action: DecisionAction::Rollback,
            about,
            reason: Some(reason),
            target,
            gate: None,
            replicas: None,
            lasts: None,
        }
    }
}

impl From<Retry> for Decision {
    fn from(Retry { about, reason, release: target }: Retry) -> Self {
        Self { action: DecisionAction::Retry, about, reason, target, gate: None, replicas: None, lasts: None }
    }
}

impl From<Run> for Decision {
    fn from(Run { about, reason }: Run) -> Self {
        Self {
            action: DecisionAction::Run,
            about,
            reason,
            target: None,
            gate: None,
            replicas: None,
            lasts: None,
        }
    }
}

impl From<Scale> for Decision {
    fn from(Scale { about, replicas, lasts, reason }: Scale) -> Self {
        Self {
            action: DecisionAction::Scale,
            about,
            reason: Some(reason),
            target: None,
            gate: None,
            replicas: Some(replicas),
            lasts: Some(lasts),
        }
    }
}

impl From<Pause> for Decision {
    fn from(Pause { about, reason }: Pause) -> Self {
        let action = DecisionAction::Pause;
        let reason = Some(reason);
        Self { action, about, reason, target: None, gate: None, replicas: None, lasts: None }
    }
}

impl From<Skip> for Decision {
    fn from(Skip { about, reason }: Skip) -> Self {
        let action = DecisionAction::Skip;
        Self { action, about, reason, target: None, gate: None, replicas: None, lasts: None }
    }
}

impl From<Abort> for Decision {
    fn from(Abort { about, reason }: Abort) -> Self {
        let action = DecisionAction::Abort;
        let reason = Some(reason);
        Self { action, about, reason, target: None, gate: None, replicas: None, lasts: None }
    }
}

impl From<Resume> for Decision {
    fn from(Resume { about, reason, only }: Resume) -> Self {
        Self {
            action: DecisionAction::Resume,
            about,
            reason,
            target: only.map(|only| only.action().as_str().to_owned()),
            gate: None,
            replicas: None,
            lasts: None,
        }
    }
}

/// Options of `history`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  kubectl imaas history orders
  kubectl imaas history orders prod --tenant acme")]
pub struct History {
    /// The service.
    pub service: String,
    /// Only this environment.
    #[arg(value_name = "ENV")]
    pub environment: Option<String>,
    /// The tenant.
    #[command(flatten)]
    pub home: Home,
}

/// Options of `instances`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  kubectl imaas instances orders
  kubectl imaas instances orders prod --tenant acme
VERSION is the release that runs, or the beginning of another image's digest.")]
pub struct Instances {
    /// The service.
    pub service: String,
    /// Only this environment.
    #[arg(value_name = "ENV")]
    pub environment: Option<String>,
    /// The tenant.
    #[command(flatten)]
    pub home: Home,
}

/// Options of `why`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  kubectl imaas why orders prod")]
pub struct Why {
    /// The service.
    pub service: String,
    /// The environment.
    #[arg(value_name = "ENV")]
    pub environment: String,
    /// The tenant.
    #[command(flatten)]
    pub home: Home,
}

/// Options of `diff`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  kubectl imaas diff orders-prod-4f2a4f2a4f2a orders-prod-5b3c5b3c5b3c
Exit status: 0 they are equal, 1 they differ, 2 one could not be read.")]
pub struct Diff {
    /// The one that was.
    #[arg(value_name = "RELEASE")]
    pub old: String,
    /// The one that is, or is to come.
    #[arg(value_name = "RELEASE")]
    pub new: String,
    /// The tenant.
    #[command(flatten)]
    pub home: Home,
}

/// A hash, or enough of its beginning to mean one.
fn commit(text: &str) -> Result<String, String> {
    let is_hash =
        (7..=40).contains(&text.len()) && text.chars().all(|digit| matches!(digit, '0'..='9' | 'a'..='f'));
    if is_hash { Ok(text.to_owned()) } else { Err("write 7 to 40 of its hexadecimal digits".to_owned()) }
}

/// `8` or `current`.
fn replicas(text: &str) -> Result<Replicas, String> {
    const MOST: u16 = 100;
    if text == "current" {
        return Ok(Replicas::Current);
    }
    let number = text.parse().ok().filter(|number| *number <= MOST).map(Replicas::Number);
    number.ok_or_else(|| format!("write a number of 0 to {MOST}, or `current` for as many as now"))
}

/// `2h`, `30m`, `1h30m`.
fn duration(text: &str) -> Result<Duration, String> {
    const LONGEST: Duration = Duration::from_hours(10 * 365 * 24);
    let problem = || format!("write it like 2h, 30m or 90s, and at most {} h", LONGEST.as_secs() / 3600);
    span(text, Duration::from_secs(1)..=LONGEST).ok_or_else(problem)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_is_a_hash_or_its_beginning() {
        for right in ["4f2a4f2", &"4f".repeat(20)] {
            assert_eq!(commit(right).as_deref(), Ok(right));
        }
        for wrong in ["4f2a4f", "", &"4F".repeat(20), &"4f".repeat(21), "main", "release"] {
            assert!(commit(wrong).is_err_and(|told| told.contains("7 to 40")), "{wrong}");
        }
    }

    #[test]
    fn a_number_of_instances_is_small_or_that_of_now() {
        for (right, meant) in
            [("0", Replicas::Number(0)), ("100", Replicas::Number(100)), ("current", Replicas::Current)]
        {
            assert_eq!(replicas(right), Ok(meant));
        }
        for wrong in ["", "101", "-1", "now"] {
            assert!(replicas(wrong).is_err_and(|told| told.contains("`current`")), "{wrong}");
        }
    }

    #[test]
    fn a_time_is_written_as_people_write_it() {
        assert_eq!(duration("2h"), Ok(Duration::from_hours(2)));
        assert!(
            duration("87601h").is_err_and(|told| told.ends_with("at most 87600 h")),
            "its end is counted"
        );
        assert_eq!(duration("1h30m"), Ok(Duration::from_mins(90)));
        for wrong in ["", "2", "-1h", "0s", "soon"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
