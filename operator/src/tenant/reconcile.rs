//! Strings the steps together; all writes of this stage are here.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::{StreamExt, stream};
use jiff::Timestamp;
use k8s_openapi::api::{core::v1::Namespace, rbac::v1::RoleBinding};
use kube::{ResourceExt, runtime::controller::Action};

use super::{
    desired::{Children, DockerConfigs, Operator, desired, orphans},
    ownership::{NotOurs, claim},
    status::{Report, status},
    validate::{ValidTenant, validate},
};
use crate::{
    api::{Tenant, TenantStatus},
    cluster::{ApplyError, CreatedNamespace, ReconcileError},
    conditions::Reason,
    environment::{self, Checked, Problems},
    names,
    platform::Platform,
    policies::{Missing, Policies},
    registry::accounts::{AccountKey, Generations, NotAnAccount},
    retry::Retry,
};

/// Namespaces of one tenant at a time; the client bounds the requests of all.
const AT_A_TIME: usize = 4;
/// When a right that was given a moment ago is tried again.
const RIGHTS: Duration = Duration::from_millis(250);
/// For how long a refusal is taken for a right that is not in force yet.
const RIGHTS_KNOWN: jiff::SignedDuration = jiff::SignedDuration::from_secs(10);
/// When a namespace that is being deleted is looked at again; its end wakes the tenant earlier.
const TERMINATING: Duration = Duration::from_secs(10);
/// When a foreign namespace is looked at again: its end wakes nobody.
const FOREIGN: Duration = Duration::from_mins(1);
/// When all is looked at again, for what no watch shows: Secrets.
const IDLE: Duration = Duration::from_mins(10);

/// What a pass needs besides the object.
pub struct Context {
    platform: Platform,
    policies: Policies,
    accounts: Arc<AccountKey>,
    generations: Generations,
    /// When the operator bound itself in a namespace.
    bound: Mutex<HashMap<String, Timestamp>>,
}

impl Context {
    /// `accounts` is the key of the registry's passwords.
    pub fn new(platform: Platform, policies: Policies, accounts: Arc<AccountKey>) -> Self {
        Self { platform, policies, accounts, generations: Generations::default(), bound: Mutex::default() }
    }

    /// The stores and the clock.
    pub fn platform(&self) -> &Platform {
        &self.platform
    }

    /// Whether anything may be made.
    pub fn policies(&self) -> &Policies {
        &self.policies
    }

    fn bound_now(&self, namespace: &str) {
        let now = (self.platform.now)();
        let mut bound = self.bound.lock().unwrap_or_else(PoisonError::into_inner);
        bound.retain(|_, since| now.duration_since(*since) < RIGHTS_KNOWN);
        bound.insert(namespace.to_owned(), now);
    }

    fn is_young(&self, namespace: &str) -> bool {
        let now = (self.platform.now)();
        let bound = self.bound.lock().unwrap_or_else(PoisonError::into_inner);
        bound.get(namespace).is_some_and(|since| now.duration_since(*since) < RIGHTS_KNOWN)
    }
}

/// A pass that met no error.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Converged {
    /// Namespaces whose rights or quota are not in force yet; they are tried again at once.
    pub settling: Vec<String>,
    /// Namespaces of environments that the tenant is no longer in.
    pub left: Vec<String>,
}

/// Why a pass did not reach what is declared.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The tenant cannot be acted on; says what to change.
    #[error(transparent)]
    Invalid(#[from] Problems),
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
    /// It is on its way out.
    #[error("the tenant is being deleted: its namespaces stay as they are")]
    Deleted,
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
        "namespace {0} was made for a tenant of this name from another origin: ask the platform team to transfer or remove it"
    )]
    OtherOrigin(String),
    /// It is made again when it is gone.
    #[error("namespace {0} is being deleted: it is made again when it is gone")]
    Terminating(String),
    /// A right or a count that is a moment old.
    #[error("namespace {0} is being set up")]
    Settling(String),
    /// A write failed.
    #[error(transparent)]
    Apply(#[from] ApplyError),
}

impl SpaceError {
    fn retry(&self) -> Retry {
        match self {
            Self::Foreign(_) | Self::OtherOrigin(_) => Retry::After(FOREIGN),
            Self::Terminating(_) => Retry::After(TERMINATING),
            Self::Settling(_) => Retry::After(RIGHTS),
            Self::Apply(error) => error.retry(),
        }
    }

    fn reason(&self) -> Reason {
        match self {
            Self::Foreign(_) | Self::OtherOrigin(_) => Reason::NamespaceForeign,
            Self::Terminating(_) => Reason::NamespaceTerminating,
            Self::Settling(_) => Reason::Progressing,
            Self::Apply(error) => error.reason(),
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
            Self::Invalid(_) | Self::Account(_) | Self::Deleted => Retry::Never,
            Self::Policies(missing) => missing.retry(),
            Self::Spaces(errors) => soonest(errors.iter().map(SpaceError::retry)),
            Self::Status(error) => error.retry(),
        }
    }

    fn reason(&self) -> Reason {
        match self {
            Self::Invalid(_) | Self::Account(_) => Reason::Invalid,
            Self::Policies(missing) => missing.reason(),
            Self::Spaces(errors) => errors.first().map_or(Reason::ApplyFailed, SpaceError::reason),
            Self::Status(error) => error.reason(),
            Self::Deleted => Reason::Progressing,
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

/// Makes the cluster match `tenant`, then says in its status how that went, also when it failed.
pub async fn reconcile(tenant: Arc<Tenant>, ctx: Arc<Context>) -> Result<Action, Error> {
    // Before the first proof there is nothing to say: a restart would be told as a failure. The proof wakes it.
    let is_untried = matches!(ctx.policies.proven(), Err(Missing::Untried));
    if is_untried || tenant.metadata.deletion_timestamp.is_some() {
        return Ok(Action::await_change());
    }
    let checked = environment::run::checked(&ctx.platform.environments);
    let (valid, outcome) = match validate(&tenant, &checked) {
        Ok(valid) => {
            let outcome = converge(&tenant, &valid, &checked, &ctx).await;
            (Some(valid), outcome)
        }
        Err(problems) => (None, Err(Error::Invalid(problems))),
    };
    let services = ctx.platform.services.all_in(&names::home_namespace(&tenant.name_any()));
    let report =
        Report { tenant: &tenant, valid: valid.as_ref(), outcome: outcome.as_ref(), services: &services };
    write_status(&tenant, &ctx, &status(&report, (ctx.platform.now)())).await?;
    outcome.map(|converged| Action::requeue(if converged.settling.is_empty() { IDLE } else { RIGHTS }))
}

async fn write_status(tenant: &Tenant, ctx: &Context, status: &TenantStatus) -> Result<(), Error> {
    if tenant.status.as_ref() == Some(status) {
        return Ok(());
    }
    let cluster = &ctx.platform.cluster;
    cluster.write_status(tenant, status).await.map_err(Error::Status)?;
    let old = tenant.status.as_ref().map_or(&[][..], |status| &status.conditions);
    cluster.tell_change(tenant, old, &status.conditions).await;
    Ok(())
}

async fn converge(
    tenant: &Tenant,
    valid: &ValidTenant,
    checked: &Checked,
    ctx: &Context,
) -> Result<Converged, Error> {
    ctx.policies.proven()?;
    let Platform { cluster: _, settings, services, .. } = &ctx.platform;
    let operator = Operator { namespace: &settings.namespace, service_account: &settings.service_account };
    let logins =
        DockerConfigs::new(&ctx.accounts, ctx.generations.current(), &settings.registry_host, &valid.name)?;
    let mut all = desired(valid, &operator, &logins);
    if let Some(home) = all.first_mut() {
        let listed = services.all_in(&home.namespace.name_any());
        home.services.extend(orphans(valid, tenant.metadata.generation.unwrap_or_default(), listed));
    }
    let outcomes: Vec<_> =
        stream::iter(all).map(|children| settle(ctx, children)).buffered(AT_A_TIME).collect().await;
    let mut converged = Converged { left: left(tenant, valid, checked, ctx), ..Converged::default() };
    let mut errors = Vec::new();
    for outcome in outcomes {
        match outcome {
            Ok(()) => {}
            Err(SpaceError::Settling(namespace)) => converged.settling.push(namespace),
            Err(error) => errors.push(error),
        }
    }
    if errors.is_empty() { Ok(converged) } else { Err(Error::Spaces(errors)) }
}

/// Namespaces that stand although the tenant is not in their environment: omitted, or the Environment is gone.
fn left(tenant: &Tenant, valid: &ValidTenant, checked: &Checked, ctx: &Context) -> Vec<String> {
    let told = tenant.status.iter().flat_map(|status| status.environments.iter().map(|e| e.name.as_str()));
    let mut names: Vec<_> = checked.names().chain(told).collect();
    names.sort_unstable();
    names.dedup();
    names
        .into_iter()
        .map(|environment| names::environment_namespace(&valid.name, environment))
        .filter(|namespace| {
            !valid.environments.iter().any(|space| space.namespace == *namespace)
                && !valid.held.iter().any(|held| held.namespace == *namespace)
                && ctx.platform.cluster.shows::<Namespace>(None, namespace)
        })
        .collect()
}

/// Makes one namespace and what is in it.
async fn settle(ctx: &Context, children: Children) -> Result<(), SpaceError> {
    let namespace = children.namespace.name_any();
    own(ctx, &children.namespace).await?;
    let Err(error) = fill(ctx, children).await else { return Ok(()) };
    let is_settling =
        (error.is_forbidden() && ctx.is_young(&namespace)) || error.reason() == Reason::Progressing;
    if is_settling {
        tracing::debug!(namespace, error = &error as &dyn std::error::Error, "not in force yet");
        return Err(SpaceError::Settling(namespace));
    }
    Err(error.into())
}

/// Makes the namespace, or takes back one that was made for this tenant.
async fn own(ctx: &Context, wanted: &Namespace) -> Result<(), SpaceError> {
    let cluster = &ctx.platform.cluster;
    if cluster.is_applied(wanted) {
        return Ok(());
    }
    let live = match cluster.create_namespace(wanted.clone()).await? {
        CreatedNamespace::Created => return Ok(()),
        CreatedNamespace::Exists(live) => live,
    };
    let name = || live.name_any();
    match claim(wanted, &live) {
        Ok(()) => {}
        Err(NotOurs::Foreign) => return Err(SpaceError::Foreign(name())),
        Err(NotOurs::OtherOrigin) => return Err(SpaceError::OtherOrigin(name())),
        Err(NotOurs::Terminating) => return Err(SpaceError::Terminating(name())),
    }
    cluster.apply(wanted.clone()).await?;
    Ok(())
}

/// No `..` in the pattern: a new kind of child does not compile until it is applied here.
///
/// The operator's own right comes first; walls before whom they hold, so that whoever
/// gets in finds them up. The quota comes early, since nothing can be made before its use is counted.
async fn fill(ctx: &Context, children: Children) -> Result<(), ApplyError> {
    let Children { namespace, operator, limits, quota, networks, secrets, members, no_members, services } =
        children;
    let cluster = &ctx.platform.cluster;
    if cluster.apply(operator).await? != crate::cluster::Applied::Unchanged {
        ctx.bound_now(&namespace.name_any());
    }
    cluster.apply(quota).await?;
    if let Some(limits) = limits {
        cluster.apply(limits).await?;
    }
    for policy in networks {
        cluster.apply(policy).await?;
    }
    // Owners may write Secrets: what they do to one must not keep their own access from being changed.
    for binding in members {
        cluster.apply(binding).await?;
    }
    for name in no_members {
        cluster.delete::<RoleBinding>(&namespace.name_any(), &name).await?;
    }
    let mut first_error = None;
    // One that cannot be written does not keep the others waiting.
    for secret in secrets {
        if let Err(error) = cluster.apply(secret).await {
            first_error.get_or_insert(error);
        }
    }
    for service in services {
        if let Err(error) = cluster.apply(service).await {
            first_error.get_or_insert(error);
        }
    }
    first_error.map_or(Ok(()), Err)
}
