//! Conditions and the closed set of reasons. Pure: the caller passes the old list and the clock.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {
        /// Why something is as it is: condition reason, event reason and metric label, one word for all three.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Reason { $($(#[$doc])* $name),+ }

        impl Reason {
            /// Every reason there is.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// The word itself.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => stringify!($name)),+ }
            }
        }
    };
}

reasons! {
    /// All is as declared.
    Succeeded,
    /// On its way, nothing wrong.
    Progressing,
    /// The object cannot be acted on as it is written.
    Invalid,
    /// A file in Git cannot be acted on as it is written.
    InvalidFile,
    /// Git no longer has it; it serves on.
    Orphaned,
    /// Git no longer has it; it is scaled to zero and will be removed.
    Retiring,
    /// The platform stopped everything of the tenant.
    Suspended,
    /// The platform lets nothing new into the environment.
    Frozen,
    /// What is new waits for somebody to approve it.
    ApprovalPending,
    /// What is new waits for the time in which it may begin to run.
    WindowClosed,
    /// What runs well has not yet done so for long enough to be let in elsewhere.
    Baking,
    /// A check outside of the cluster has not yet let pass what runs well.
    GatePending,
    /// A person holds what is new.
    Held,
    /// What is tried waits at a step for somebody.
    Paused,
    /// A person went back to an older release.
    RolledBack,
    /// A person rejected the release.
    Rejected,
    /// The release did not become healthy, and is not tried again.
    Failed,
    /// There is no such service of the tenant.
    ServiceMissing,
    /// There is no such release, or none that ran well.
    ReleaseMissing,
    /// What was decided would change nothing.
    Needless,
    /// The time is over.
    Expired,
    /// So much is gone from Git at once that its removal waits for a confirmation.
    RemovalHeld,
    /// Another origin owns it.
    OriginConflict,
    /// The platform lets the tenant have no new services.
    Cordoned,
    /// The Secret that is named for the repository is missing or incomplete.
    CredentialsMissing,
    /// The host refused the credentials.
    AuthenticationFailed,
    /// The host knows no such repository.
    RepositoryNotFound,
    /// The address is not one that may be called.
    HostRefused,
    /// TLS says that it is another host.
    HostVerificationFailed,
    /// Larger than what is read.
    RepositoryTooLarge,
    /// Too slow.
    TimedOut,
    /// No connection, or the other side failed.
    Unreachable,
    /// What Git sent or what is stored of it is broken.
    Corrupt,
    /// The branch of an environment does not exist.
    BranchMissing,
    /// The commit has no descriptor.
    DescriptorMissing,
    /// The descriptor cannot be acted on.
    InvalidDescriptor,
    /// The configuration directory cannot be used.
    InvalidConfig,
    /// The registry does not have the image yet.
    ImageMissing,
    /// Nobody whose word counts in the environment signed the image.
    Unsigned,
    /// No connection to the registry.
    RegistryUnreachable,
    /// The registry refused the operator.
    RegistryRefused,
    /// A node cannot get the image that the registry has, or had.
    ImageNotPulled,
    /// No node takes a new instance.
    Unschedulable,
    /// A node on which an instance was does not answer.
    NodeLost,
    /// The image, or a changed runtime, was not yet healthy in the environment before.
    NotPromoted,
    /// Other services get the same change first.
    AwaitingTurn,
    /// A Secret that the service names is missing.
    SecretMissing,
    /// The configuration of what runs is gone, and Git does not ask for it.
    ConfigMissing,
    /// There is no such service of the tenant as the service uses.
    ProviderMissing,
    /// It is not known yet how a service that is used is called.
    ProviderNotReady,
    /// A service of another tenant that is used does not export to it, or is not there.
    NotExported,
    /// A service that is used has no instance that is ready.
    ProviderDown,
    /// What is to be exposed has no gateway, or the cluster no kind of route.
    GatewayMissing,
    /// The gateway does not take the route, or not what it leads to.
    RouteRefused,
    /// The cluster's kind of route cannot say what is asked for.
    RouteUnsupported,
    /// Another service of the tenant has the path that is to be exposed.
    PathTaken,
    /// Several instances would each do what is to be done once, and nothing says how they agree.
    Uncoordinated,
    /// No such `IntegrationRuntime`, or no profile for the version.
    RuntimeMissing,
    /// No such `Environment`, or it is not valid.
    EnvironmentMissing,
    /// No such `Tenant`, or its namespaces are not there yet.
    TenantNotReady,
    /// The namespace exists and belongs to somebody else.
    NamespaceForeign,
    /// The namespace is being deleted.
    NamespaceTerminating,
    /// The new version is being rolled out.
    RollingOut,
    /// The first run of a batch is to come.
    AwaitingRun,
    /// A run of a batch goes on, and it is known at its end only how well the release is.
    Running,
    /// The new version does not become ready.
    Unhealthy,
    /// The engine runs and says that something of it does not work.
    RuntimeDegraded,
    /// The number of instances does not follow the load.
    NotScaling,
    /// What would ask brokers how much waits is not installed.
    ScalerMissing,
    /// The tenant's quota leaves no room.
    QuotaExceeded,
    /// More is asked for than the platform gives; what there is is given.
    QuotaTooLarge,
    /// The API server refused or failed a write.
    ApplyFailed,
    /// The operator's right is not there yet, or was taken away.
    Forbidden,
    /// The admission policies are not there or do not enforce.
    PoliciesMissing,
}

/// A condition as a step states it, before it has a transition time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// CamelCase type, such as `Ready`.
    pub type_: &'static str,
    /// `true` is written as `"True"`.
    pub status: bool,
    /// Why.
    pub reason: Reason,
    /// One sentence for a person; may be empty but is always written, since server-side apply cannot clear it.
    pub message: String,
}

/// `Ready`: it is as declared and works.
pub const READY: &str = "Ready";
/// `Reconciling`: the operator is at work on it.
pub const RECONCILING: &str = "Reconciling";
/// `Stalled`: only a change of the object, of Git or of the platform can help.
pub const STALLED: &str = "Stalled";
/// `Healthy`, of a Release: all its instances were ready once.
pub const HEALTHY: &str = "Healthy";
/// `Failed`, of a Release: it was given up.
pub const FAILED: &str = "Failed";
/// `Proven`: a release stood all that its environment asks for before it counts as healthy elsewhere. Without it, nothing
/// is asked for.
pub const PROVEN: &str = "Proven";
/// `InSync`, of a Tenant: it is what its file says.
pub const IN_SYNC: &str = "InSync";

/// `PushAllowed`, of a Tenant: its images take no more of the registry than they may.
pub const PUSH_ALLOWED: &str = "PushAllowed";

/// The longest message of `Ready`, in characters: it is printed in tables, where one long line widens all. The other
/// conditions say it in full.
pub const LONGEST_PRINTED: usize = 250;
/// A failure of another system that may pass by itself is told when it came so often in a row.
pub const TOLD_AFTER: u32 = 3;

/// `text`, or as many whole words of it as fit into `room` characters, and `…`.
pub fn cut(text: &str, room: usize) -> String {
    if text.chars().count() <= room {
        return text.to_owned();
    }
    let cut: String = text.chars().take(room.saturating_sub(1)).collect();
    // Between two words, unless the last is as long as a line.
    let words = cut.rsplit_once(' ').map(|(words, _)| words).filter(|words| words.len() * 2 > cut.len());
    let words = words.unwrap_or(&cut);
    format!("{}…", words.trim_end_matches([':', ';', ',']))
}

/// `text` with a space in the place of each line break.
pub fn one_line(text: String) -> String {
    if !text.contains(['\n', '\r']) {
        return text;
    }
    let lines: Vec<_> = text.split(['\n', '\r']).map(str::trim).filter(|line| !line.is_empty()).collect();
    lines.join(" ")
}

/// How an object is, in kstatus' three conditions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wellness {
    /// Done.
    Ready(String),
    /// Not yet.
    Reconciling(Reason, String),
    /// Not without a change.
    Stalled(Reason, String),
}

impl Wellness {
    /// `Ready`, `Reconciling` and `Stalled`, each with its message; that of `Ready` at most [`LONGEST_PRINTED`] long.
    pub fn claims(&self) -> Vec<Claim> {
        let (reason, message) = match self {
            Self::Ready(message) => (Reason::Succeeded, message),
            Self::Reconciling(reason, message) | Self::Stalled(reason, message) => (*reason, message),
        };
        let claim = |type_, status| Claim { type_, status, reason, message: message.clone() };
        let printed = cut(message, LONGEST_PRINTED);
        vec![
            Claim { message: printed, ..claim(READY, matches!(self, Self::Ready(_))) },
            claim(RECONCILING, matches!(self, Self::Reconciling(..))),
            claim(STALLED, matches!(self, Self::Stalled(..))),
        ]
    }
}

/// Merges `claims` over `old`; a transition time moves only when the status flips.
///
/// Times are whole seconds, as the API server stores them: a finer one would never equal what is read back.
pub fn merge(old: &[Condition], claims: &[Claim], generation: i64, now: Timestamp) -> Vec<Condition> {
    let now = Timestamp::from_second(now.as_second()).unwrap_or(now);
    claims
        .iter()
        .map(|claim| {
            let status = if claim.status { "True" } else { "False" };
            let unchanged = old.iter().find(|c| c.type_ == claim.type_ && c.status == status);
            Condition {
                type_: claim.type_.to_owned(),
                status: status.to_owned(),
                reason: claim.reason.as_str().to_owned(),
                message: claim.message.clone(),
                observed_generation: Some(generation),
                last_transition_time: unchanged.map_or(Time(now), |c| c.last_transition_time.clone()),
            }
        })
        .collect()
}

/// Is the condition `type_` true?
pub fn is_true(conditions: &[Condition], type_: &str) -> bool {
    conditions.iter().any(|c| c.type_ == type_ && c.status == "True")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn what_others_say_on_several_lines_is_told_on_one() {
        let told = |text: &str| one_line(text.to_owned());
        assert_eq!(told("it says:\r\n  no queue\n\nno login\n"), "it says: no queue no login");
        assert_eq!(told("as  it is "), "as  it is ");
    }

    #[test]
    fn the_same_claims_give_the_same_conditions_at_any_time() {
        let claims = Wellness::Ready("2 namespaces".into()).claims();
        let first = merge(&[], &claims, 1, at("2026-01-01T00:00:00Z"));
        assert_eq!(first, merge(&first, &claims, 1, at("2026-01-02T00:00:00Z")));
    }

    #[test]
    fn what_is_printed_in_tables_is_short_and_the_rest_is_not_lost() {
        let long = "spec.services[0].name: is listed twice; ".repeat(40);
        let claims = Wellness::Stalled(Reason::Invalid, long.clone()).claims();
        let length = claims[0].message.chars().count();
        assert!(length <= LONGEST_PRINTED && length > LONGEST_PRINTED - 20, "{length}");
        assert!(claims[0].message.ends_with('…'), "{}", claims[0].message);
        assert_eq!((claims[2].type_, &claims[2].message), (STALLED, &long));
        assert_eq!(cut("one two", 7), "one two");
        assert_eq!(cut("one: two", 7), "one…");
        assert_eq!(cut("äöüäöü", 4), "äöü…", "characters, not bytes");
    }

    #[test]
    fn a_transition_time_moves_only_when_the_status_flips() {
        let first = merge(&[], &Wellness::Ready(String::new()).claims(), 1, at("2026-01-01T00:00:00Z"));
        let stalled = Wellness::Stalled(Reason::Invalid, "spec.x: y".into()).claims();
        let then = merge(&first, &stalled, 2, at("2026-01-02T00:00:00Z"));
        assert_ne!(then[0].last_transition_time, first[0].last_transition_time);
        assert_eq!(then[1].last_transition_time, first[1].last_transition_time, "Reconciling stayed false");
        assert!(is_true(&then, STALLED) && !is_true(&then, READY));
    }

    #[test]
    fn what_is_read_back_equals_what_was_written() {
        let written =
            merge(&[], &Wellness::Ready(String::new()).claims(), 1, at("2026-01-01T00:00:00.123456789Z"));
        let stored: Vec<Condition> = serde_json::from_value(serde_json::to_value(&written).unwrap()).unwrap();
        assert_eq!(written, stored);
    }

    #[test]
    fn every_reason_is_one_camel_case_word() {
        for reason in Reason::ALL {
            let word = reason.as_str();
            assert!(
                word.starts_with(char::is_uppercase) && word.chars().all(|c| c.is_ascii_alphanumeric()),
                "{word}"
            );
        }
    }
}
