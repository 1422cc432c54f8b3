//! Why a pass did not reach what is declared, and when it is tried again. Pure.

use std::time::Duration;

use crate::{
    cluster::{ApplyError, ReconcileError},
    conditions::Reason,
    environment::Problems,
    names,
    policies::Missing,
    registry::{accounts::NotAnAccount, error::RegistryError},
    retry::Retry,
};

/// When a right that was given a moment ago is tried again.
pub(super) const RIGHTS: Duration = Duration::from_millis(250);
/// When a namespace that is being deleted is looked at again; its end wakes the tenant earlier.
const TERMINATING: Duration = Duration::from_secs(10);
/// When a foreign namespace, or a Secret that others provide, is looked at again: nobody tells of it.
const FOREIGN: Duration = Duration::from_mins(1);

/// Why a pass did not reach what is declared.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The tenant cannot be acted on; says what to change. Who gets in was brought up to date all the same, but where
    /// that failed.
    #[error("{0}")]
    Invalid(Problems, Vec<SpaceError>),
    /// Nothing is made without them.
    #[error(transparent)]
    Policies(#[from] Missing),
    /// The registry cannot name this tenant.
    #[error("metadata.name: {0}")]
    Account(#[from] NotAnAccount),
    /// Some namespaces are not as declared; the others are.
    #[error("{}", told(.0))]
    Spaces(Vec<SpaceError>),
    /// All is as declared, but cannot be told.
    #[error("status: {0}")]
    Status(#[source] ApplyError),
    /// The Tenant itself could not be changed, or its namespaces not be listed.
    #[error(transparent)]
    Write(ApplyError),
    /// It is on its way out, and its namespaces with it; says what it waits for.
    #[error("it is being removed: {0}")]
    Removing(String),
    /// It is on its way out, and runs no more.
    #[error("it is being removed: its images are not deleted yet: {0}")]
    Images(RegistryError),
    /// The platform's stop button.
    #[error("suspended: nothing of it is changed until spec.suspend is taken away; what runs goes on")]
    Suspended,
}

/// What went wrong in one namespace.
#[derive(Debug, thiserror::Error)]
pub enum SpaceError {
    /// Nothing in it was touched.
    #[error(
        "namespace {0} exists and was not made for this tenant: rename the tenant, or ask the platform team to remove or adopt the namespace"
    )]
    Foreign(String),
    /// Nothing in it was touched.
    #[error(
        "namespace {0} was made for a tenant of this name from another origin: ask the platform team to remove it, or to take it over with the annotation imaas.dev/transfer-to=<the tenant's present origin> on the Tenant"
    )]
    OtherOrigin(String),
    /// It is made again when it is gone.
    #[error("namespace {0} is being deleted: it is made again when it is gone")]
    Terminating(String),
    /// A right or a count that is a moment old.
    #[error("namespace {0} is being set up")]
    Settling(String),
    /// All else is made.
    #[error(
        "Secret {PULL} is missing in {0}: the registry is external, so the platform team provides it",
        PULL = names::PULL_SECRET
    )]
    PullSecret(String),
    /// It could not be told whose it is.
    #[error(transparent)]
    Unclaimed(ApplyError),
    /// A write in it failed.
    #[error(transparent)]
    Apply(#[from] ApplyError),
}

impl SpaceError {
    pub(super) fn retry(&self) -> Retry {
        match self {
            Self::Foreign(_) | Self::OtherOrigin(_) | Self::PullSecret(_) => Retry::After(FOREIGN),
            Self::Terminating(_) => Retry::After(TERMINATING),
            Self::Settling(_) => Retry::After(RIGHTS),
            Self::Unclaimed(error) | Self::Apply(error) => error.retry(),
        }
    }

    /// Whether the namespace is this tenant's own.
    pub(super) fn is_own(&self) -> Option<bool> {
        match self {
            Self::Foreign(_) | Self::OtherOrigin(_) => Some(false),
            Self::Terminating(_) | Self::Settling(_) | Self::PullSecret(_) | Self::Apply(_) => Some(true),
            Self::Unclaimed(_) => None,
        }
    }

    fn reason(&self) -> Reason {
        match self {
            Self::Foreign(_) | Self::OtherOrigin(_) => Reason::NamespaceForeign,
            Self::Terminating(_) => Reason::NamespaceTerminating,
            Self::Settling(_) => Reason::Progressing,
            Self::PullSecret(_) => Reason::SecretMissing,
            Self::Unclaimed(error) | Self::Apply(error) => error.reason(),
        }
    }
}

/// The first ten, in the order of the namespaces.
fn told(errors: &[SpaceError]) -> String {
    errors.iter().take(10).map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

impl ReconcileError for Error {
    fn retry(&self) -> Retry {
        match self {
            Self::Account(_) | Self::Suspended => Retry::Never,
            Self::Removing(_) => Retry::After(TERMINATING),
            Self::Images(error) => error.retry(),
            Self::Policies(missing) => missing.retry(),
            Self::Invalid(_, errors) | Self::Spaces(errors) => soonest(errors.iter().map(SpaceError::retry)),
            Self::Status(error) | Self::Write(error) => error.retry(),
        }
    }

    fn reason(&self) -> Reason {
        match self {
            Self::Invalid(..) | Self::Account(_) => Reason::Invalid,
            Self::Policies(missing) => missing.reason(),
            Self::Spaces(errors) => errors.first().map_or(Reason::ApplyFailed, SpaceError::reason),
            Self::Status(error) | Self::Write(error) => error.reason(),
            Self::Removing(_) => Reason::NamespaceTerminating,
            Self::Images(error) => error.reason(),
            Self::Suspended => Reason::Suspended,
        }
    }
}

/// A failure of the world asks for patience; otherwise the shortest wait, and never only where all say so.
fn soonest(retries: impl Iterator<Item = Retry>) -> Retry {
    retries.fold(Retry::Never, |one, other| match (one, other) {
        (Retry::Backoff, _) | (_, Retry::Backoff) => Retry::Backoff,
        (Retry::After(a), Retry::After(b)) => Retry::After(a.min(b)),
        (Retry::After(wait), Retry::Never) | (Retry::Never, Retry::After(wait)) => Retry::After(wait),
        (Retry::Never, Retry::Never) => Retry::Never,
    })
}
