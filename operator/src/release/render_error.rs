//! What is wrong with settings of which no release can be made. Pure.

use super::{config::LARGEST_CONFIG, template::LARGEST_TEMPLATE};
use crate::{conditions::Reason, runtime::NoProfile};

/// What to change so that it can be rendered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RenderError {
    /// The runtime does not run that version.
    #[error(transparent)]
    Runtime(#[from] NoProfile),
    /// Not a digest, so not a fixed image.
    #[error("image.digest: must be `sha256:` and 64 hexadecimal digits")]
    Digest,
    /// An image from another place than the tenant's own.
    #[error("image: {0:?} is not the service's own repository")]
    Repository(String),
    /// Not a quantity, or one that nobody means.
    #[error("resources.{field}: {problem}")]
    Resource {
        /// `cpu` or `memory`.
        field: &'static str,
        /// What to change.
        problem: String,
    },
    /// Not a number of instances that it can have, or nothing that moves it.
    #[error("scaling.{field}: {problem}")]
    Scaling {
        /// Which.
        field: String,
        /// What to change.
        problem: String,
    },
    /// Not what can be asked in this environment.
    #[error("scaling.triggers[{index}]{problem}")]
    Trigger {
        /// Which of them.
        index: usize,
        /// The field and what to change.
        problem: String,
    },
    /// An api that nobody can call.
    #[error(
        "ports: an api needs one, and the runtime has no default; add `ports: [{{name: http, port: 8080}}]`"
    )]
    NoPort,
    /// One container cannot have both.
    #[error("ports[{index}]: {problem}")]
    Port {
        /// Which of them.
        index: usize,
        /// What to change.
        problem: String,
    },
    /// The runtime depends on it.
    #[error("env.{0}: is set by the runtime and cannot be replaced")]
    EnvKept(String),
    /// Not the name of a variable.
    #[error("env.{0}: the name must be letters, digits and `_`, and not begin with a digit")]
    EnvName(String),
    /// One of ours.
    #[error("secrets[{index}]: {name} is the platform's; names that begin with `imaas-` cannot be used")]
    SecretReserved {
        /// Which of them.
        index: usize,
        /// What was asked for.
        name: String,
    },
    /// Not a network of this environment.
    #[error("connects[{index}]: {name:?} is no network of this environment; it has {known}")]
    Network {
        /// Which of them.
        index: usize,
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// Not a service that can be used, or not under that name.
    #[error("uses[{index}].{problem}")]
    Use {
        /// Which of them.
        index: usize,
        /// The field and what to change.
        problem: String,
    },
    /// Not what a batch has, or what only a batch has.
    #[error("{field}: {problem}")]
    Batch {
        /// Which.
        field: &'static str,
        /// What to change.
        problem: String,
    },
    /// Not how such a service is rolled out.
    #[error("rollout.{field}: {problem}")]
    Rollout {
        /// Which.
        field: String,
        /// What to change.
        problem: String,
    },
    /// Nothing that can be reached from outside.
    #[error("expose{0}")]
    Expose(String),
    /// Nowhere to put files.
    #[error(
        "config: the service's runtime has no place for configuration files: remove `config`, or ask the platform team for a `configMount` in the profile of the IntegrationRuntime"
    )]
    NoConfigMount,
    /// Not below the directory.
    #[error("config: {0:?} is not a path that can be mounted")]
    ConfigPath(String),
    /// The runtime depends on it.
    #[error("config: {path:?} cannot be there, {kept:?} belongs to the runtime")]
    ConfigReplaces {
        /// The service's file.
        path: String,
        /// The runtime's file.
        kept: String,
    },
    /// Does not fit.
    #[error("config: {size} bytes, more than the {LARGEST_CONFIG} that fit a ConfigMap")]
    ConfigTooLarge {
        /// Bytes of all files.
        size: u64,
    },
    /// Does not fit.
    #[error(
        "the pod template has {size} bytes, more than {LARGEST_TEMPLATE}: shorten `env`, or move it or many `config` files into fewer files"
    )]
    TemplateTooLarge {
        /// Bytes of its JSON.
        size: usize,
    },
}

impl RenderError {
    /// Condition reason.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Runtime(_) => Reason::RuntimeMissing,
            Self::NoConfigMount
            | Self::ConfigPath(_)
            | Self::ConfigReplaces { .. }
            | Self::ConfigTooLarge { .. } => Reason::InvalidConfig,
            Self::Digest
            | Self::Repository(_)
            | Self::Resource { .. }
            | Self::Scaling { .. }
            | Self::Trigger { .. }
            | Self::NoPort
            | Self::Port { .. }
            | Self::EnvKept(_)
            | Self::EnvName(_)
            | Self::SecretReserved { .. }
            | Self::Network { .. }
            | Self::Use { .. }
            | Self::Batch { .. }
            | Self::Rollout { .. }
            | Self::Expose(_)
            | Self::TemplateTooLarge { .. } => Reason::InvalidDescriptor,
        }
    }
}
