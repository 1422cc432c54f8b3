//! What can go wrong between the operator and the registry, said for the platform team. Pure.

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
        "{who} refuses account {account} with {status}; check that both use the same account key and signing key"
    )]
    Refused {
        /// `registry` or `token service`, with host.
        who: String,
        /// Which account was used.
        account: String,
        /// The status.
        status: u16,
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
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Settings { .. } | Self::Client(_) => "RegistryMisconfigured",
            Self::Name(_) => "ImageNameInvalid",
            Self::Unreachable { .. } | Self::Busy { .. } => "RegistryUnreachable",
            Self::Refused { .. } => "RegistryRefused",
            Self::Realm { .. } => "RegistryRealmUnknown",
            Self::Answer { .. } => "RegistryAnswerInvalid",
        }
    }

    /// Whether the same question may be answered later without anybody changing anything.
    pub fn passes(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Busy { .. } => true,
            Self::Settings { .. }
            | Self::Client(_)
            | Self::Name(_)
            | Self::Refused { .. }
            | Self::Realm { .. }
            | Self::Answer { .. } => false,
        }
    }
}
