//! What can go wrong between the operator and the registry, said for the platform team. Pure.

use std::time::Duration;

use crate::{conditions::Reason, lease::NotLeading, retry::Retry};

const PLATFORM_INTERVAL: Duration = Duration::from_mins(1);

/// Why the registry's answer is not known.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The operator's own settings.
    #[error("registry {field}: {problem}")]
    Settings {
        /// Which setting.
        field: &'static str,
        /// What to change.
        problem: &'static str,
    },
    /// The HTTP client cannot be made.
    #[error("registry ca: the HTTP client refuses the settings; give PEM certificates")]
    Client(#[source] reqwest::Error),
    /// The name cannot be one.
    #[error("image {0:?}: not a name that a registry can have; check the names of tenant, service and tag")]
    Name(String),
    /// No answer: network, TLS, deadline.
    #[error("{who} does not answer; check that it runs, its address and its certificate")]
    Unreachable {
        /// `registry` or `token service`, with host.
        who: String,
        /// What failed, without address.
        #[source]
        source: reqwest::Error,
    },
    /// An answer that says: later.
    #[error("{who} answers {status}; it will be asked again")]
    Busy {
        /// `registry` or `token service`, with host.
        who: String,
        /// 429 or 5xx.
        status: u16,
    },
    /// Login or access refused.
    #[error(
        "{who} refuses account {account} with {status}; check that both use the same account key, generations and signing key"
    )]
    Refused {
        /// `registry` or `token service`, with host.
        who: String,
        /// Which account was used.
        account: String,
        /// The status.
        status: u16,
    },
    /// A registry that is not the operator's, and no login for it.
    #[error(
        "no login for {host} in the Secret imaas-registry-pull of {namespace}: the platform team provides it"
    )]
    NoLogin {
        /// The tenant's home.
        namespace: String,
        /// The registry, as in image names.
        host: String,
    },
    /// The registry wants the password elsewhere.
    #[error(
        "registry {registry} sends logins to another token service than the configured {realm}; no password was sent"
    )]
    Realm {
        /// The registry's host.
        registry: String,
        /// The configured token service.
        realm: String,
    },
    /// It keeps everything.
    #[error("{0} deletes nothing: set storage.delete.enabled in its configuration, or retention to off")]
    Undeletable(String),
    /// It deletes, and is not done.
    #[error("{0} takes long to delete: what is left goes the next time")]
    Late(String),
    /// Something was to be deleted by an operator that is ending.
    #[error(transparent)]
    NotLeading(#[from] NotLeading),
    /// It sends to its storage, which is never followed.
    #[error(
        "{0} redirects, which the operator does not follow: set storage.redirect.disable in its configuration"
    )]
    Redirects(String),
    /// Something that is no registry, or a broken one.
    #[error("{who} answers something unexpected: {problem}")]
    Answer {
        /// `registry` or `token service`, with host.
        who: String,
        /// What is wrong with it.
        problem: String,
    },
}

impl RegistryError {
    /// The condition's reason.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Name(_) => Reason::Invalid,
            Self::NoLogin { .. } => Reason::SecretMissing,
            Self::Unreachable { .. } | Self::Busy { .. } | Self::Late(_) | Self::NotLeading(_) => {
                Reason::RegistryUnreachable
            }
            Self::Settings { .. }
            | Self::Client(_)
            | Self::Refused { .. }
            | Self::Realm { .. }
            | Self::Undeletable(_)
            | Self::Redirects(_)
            | Self::Answer { .. } => Reason::RegistryRefused,
        }
    }

    /// When to ask again. What the platform team must put right in the registry or its token service is looked at
    /// again slowly: no object changes when they do.
    pub fn retry(&self) -> Retry {
        match self {
            Self::Settings { .. } | Self::Client(_) | Self::Name(_) => Retry::Never,
            Self::Unreachable { .. } | Self::Busy { .. } | Self::NotLeading(_) => Retry::Backoff,
            Self::NoLogin { .. }
            | Self::Refused { .. }
            | Self::Realm { .. }
            | Self::Undeletable(_)
            | Self::Redirects(_)
            | Self::Late(_)
            | Self::Answer { .. } => Retry::After(PLATFORM_INTERVAL),
        }
    }
}
