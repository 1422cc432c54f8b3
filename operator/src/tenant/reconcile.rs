//! Strings the steps together; all writes of this stage are here.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::{FutureExt, StreamExt, stream};
use jiff::Timestamp;
use k8s_openapi::api::{
    core::v1::{Namespace, Secret},
    rbac::v1::RoleBinding,
};
use kube::{ResourceExt, runtime::controller::Action};

use super::{
    desired::{Access, Children, DockerConfigs, Operator, desired, kept, orphans},
    ownership::{NotOurs, claim},
    status::{Report, status},
    validate::{ValidTenant, access, validate},
};
use crate::{
    api::{Tenant, TenantStatus},
    cluster::{Applied, ApplyError, CreatedNamespace, ReconcileError},
    conditions::Reason,
    environment::{self, Checked, Problems},
    names,
    platform::Platform,
    policies::{Missing, Policies},
    registry::{accounts::NotAnAccount, generations::Issued, usages::Usages},
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
/// When a foreign namespace, or a Secret that others provide, is looked at again: nobody tells of it.
const FOREIGN: Duration = Duration::from_mins(1);
/// When all is looked at again, for what no watch shows: Secrets.
const IDLE: Duration = Duration::from_mins(10);

/// What a pass needs besides the object.
pub struct Context {
    platform: Platform,
    policies: Policies,
    logins: Option<Issued>,
    usages: Usages,
    /// When the operator bound itself in a namespace.
    bound: Mutex<HashMap<String, Timestamp>>,
}

impl Context {
    /// `logins` is what tenants get as logins of the registry, none where the platform provides them; `usages` is what
    /// their images take there.
    pub fn new(
        platform: Platform,
        policies: Policies,
        logins: impl Into<Option<Issued>>,
        usages: Usages,
    ) -> Self {
        Self { platform, policies, logins: logins.into(), usages, bound: Mutex::default() }
    }

    /// What was counted in the registry.
    pub fn usages(&self) -> &Usages {
        &self.usages
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

/// What a pass found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Converged {
    /// Whether a namespace is this tenant's own, as far as that could be told.
    pub own: BTreeMap<String, bool>,
    /// Namespaces whose rights or quota are not in force yet; they are tried again at once.
    pub settling: Vec<String>,
    /// Namespaces of environments that the tenant is no longer in.
    pub left: Vec<String>,
}

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
    fn retry(&self) -> Retry {
        match self {
            Self::Foreign(_) | Self::OtherOrigin(_) | Self::PullSecret(_) => Retry::After(FOREIGN),
            Self::Terminating(_) => Retry::After(TERMINATING),
            Self::Settling(_) => Retry::After(RIGHTS),
            Self::Unclaimed(error) | Self::Apply(error) => error.retry(),
        }
    }

    /// Whether the namespace is this tenant's own.
    fn is_own(&self) -> Option<bool> {
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
            Self::Account(_) | Self::Deleted => Retry::Never,
            Self::Policies(missing) => missing.retry(),
            Self::Invalid(_, errors) | Self::Spaces(errors) => soonest(errors.iter().map(SpaceError::retry)),
            Self::Status(error) => error.retry(),
        }
    }

    fn reason(&self) -> Reason {
        match self {
            Self::Invalid(..) | Self::Account(_) => Reason::Invalid,
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
    let valid = validate(&tenant, &checked);
    let (converged, outcome) = match converge(&tenant, &valid, &checked, &ctx).await {
        Ok((converged, errors)) => (converged, verdict(&valid, errors)),
        Err(error) => (Converged::default(), Err(error)),
    };
    let services = ctx.platform.services.all_in(&names::home_namespace(&tenant.name_any()));
    let report = Report {
        tenant: &tenant,
        valid: valid.as_ref().ok(),
        converged: &converged,
        outcome: outcome.as_ref().copied(),
        services: &services,
        registry: ctx.usages.of(&tenant.name_any(), tenant.status.as_ref().and_then(|s| s.registry.as_ref())),
    };
    write_status(&tenant, &ctx, &status(&report, (ctx.platform.now)())).await?;
    outcome.map(|()| Action::requeue(if converged.settling.is_empty() { IDLE } else { RIGHTS }))
}

fn verdict(valid: &Result<ValidTenant, Problems>, errors: Vec<SpaceError>) -> Result<(), Error> {
    match valid {
        Err(problems) => Err(Error::Invalid(problems.clone(), errors)),
        Ok(_) if errors.is_empty() => Ok(()),
        Ok(_) => Err(Error::Spaces(errors)),
    }
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

/// Of a tenant that is not valid, only who gets in.
async fn converge(
    tenant: &Tenant,
    valid: &Result<ValidTenant, Problems>,
    checked: &Checked,
    ctx: &Context,
) -> Result<(Converged, Vec<SpaceError>), Error> {
    ctx.policies.proven()?;
    let Platform { cluster, settings, .. } = &ctx.platform;
    let operator = Operator { namespace: &settings.namespace, service_account: &settings.service_account };
    let (all, known) = match valid {
        Ok(valid) => (children(tenant, valid, &operator, ctx)?, valid.clone()),
        Err(_) => match access(tenant) {
            Some(known) => (Vec::new(), known),
            None => return Ok((Converged::default(), Vec::new())),
        },
    };
    let mut others = cluster.namespaces_of(&known.name);
    others.retain(|name| all.iter().all(|children| children.access.namespace.name_any() != *name));
    let mut converged = Converged::default();
    converged.own.extend(known.held.iter().map(|held| (held.namespace.clone(), false)));
    let kept = kept(&known, checked, &operator, &others);
    let made = all.into_iter().map(|children| settle(ctx, children).boxed());
    let passes: Vec<_> = made.chain(kept.into_iter().map(|access| keep(ctx, access).boxed())).collect();
    let outcomes: Vec<_> = stream::iter(passes).buffered(AT_A_TIME).collect().await;
    let mut errors = Vec::new();
    for (namespace, outcome) in outcomes {
        if let Some(is_own) = outcome.as_ref().map_or_else(SpaceError::is_own, |()| Some(true)) {
            converged.own.insert(namespace.clone(), is_own);
        }
        let is_other = others.contains(&namespace);
        match outcome {
            Ok(()) if is_other && known.held.iter().all(|held| held.namespace != namespace) => {
                converged.left.push(namespace);
            }
            Ok(()) => {}
            Err(SpaceError::Settling(_)) if valid.is_ok() => converged.settling.push(namespace),
            // Nothing was to be made in it.
            Err(SpaceError::Foreign(_) | SpaceError::OtherOrigin(_) | SpaceError::Terminating(_))
                if is_other => {}
            Err(error) => errors.push(error),
        }
    }
    Ok((converged, errors))
}

/// All that is to be, with the services that the file no longer lists.
fn children(
    tenant: &Tenant,
    valid: &ValidTenant,
    operator: &Operator<'_>,
    ctx: &Context,
) -> Result<Vec<Children>, NotAnAccount> {
    let Platform { settings, services, .. } = &ctx.platform;
    let logins = match &ctx.logins {
        Some(issued) => DockerConfigs::new(issued, &settings.registry_host, &valid.name)?,
        None => DockerConfigs::default(),
    };
    let mut all = desired(valid, operator, &logins);
    if ctx.logins.is_none() {
        for children in &mut all {
            children.secrets.clear();
        }
    }
    if let Some(home) = all.first_mut() {
        let listed = services.all_in(&home.access.namespace.name_any());
        home.services.extend(orphans(valid, tenant.metadata.generation.unwrap_or_default(), listed));
    }
    Ok(all)
}

/// Makes one namespace and what is in it. The name says which it was.
async fn settle(ctx: &Context, children: Children) -> (String, Result<(), SpaceError>) {
    let namespace = children.access.namespace.name_any();
    let outcome = match own(ctx, &children.access.namespace).await {
        Ok(()) => in_force(ctx, &namespace, fill(ctx, children).await),
        Err(error) => Err(error),
    };
    let outcome = match outcome {
        Ok(()) if ctx.logins.is_none() => provided(ctx, &namespace).await,
        outcome => outcome,
    };
    (namespace, outcome)
}

/// Is the login of the registry there that the platform provides?
async fn provided(ctx: &Context, namespace: &str) -> Result<(), SpaceError> {
    let is_there = ctx.platform.cluster.has::<Secret>(namespace, names::PULL_SECRET).await?;
    if is_there { Ok(()) } else { Err(SpaceError::PullSecret(namespace.to_owned())) }
}

/// Who gets into a namespace that is not made any more. It is left as it is otherwise.
async fn keep(ctx: &Context, access: Access) -> (String, Result<(), SpaceError>) {
    let namespace = access.namespace.name_any();
    let outcome = match ctx.platform.cluster.namespace(&namespace).await {
        Err(error) => Err(SpaceError::Unclaimed(error)),
        // Gone, and the watch tells it in a moment.
        Ok(None) => Err(SpaceError::Terminating(namespace.clone())),
        Ok(Some(live)) => match claimed(&access.namespace, &live) {
            Ok(()) => {
                let admitted = async {
                    bind(ctx, &access).await?;
                    admit(ctx, access).await
                };
                in_force(ctx, &namespace, admitted.await)
            }
            Err(error) => Err(error),
        },
    };
    (namespace, outcome)
}

/// A refusal that only says that a right or a quota is a moment old is no failure.
fn in_force(ctx: &Context, namespace: &str, outcome: Result<(), ApplyError>) -> Result<(), SpaceError> {
    let Err(error) = outcome else { return Ok(()) };
    if is_early(ctx, namespace, &error) || error.reason() == Reason::Progressing {
        tracing::debug!(namespace, error = &error as &dyn std::error::Error, "not in force yet");
        return Err(SpaceError::Settling(namespace.to_owned()));
    }
    Err(error.into())
}

fn is_early(ctx: &Context, namespace: &str, error: &ApplyError) -> bool {
    error.is_forbidden() && ctx.is_young(namespace)
}

fn claimed(wanted: &Namespace, live: &Namespace) -> Result<(), SpaceError> {
    let name = || live.name_any();
    claim(wanted, live).map_err(|why| match why {
        NotOurs::Foreign => SpaceError::Foreign(name()),
        NotOurs::OtherOrigin => SpaceError::OtherOrigin(name()),
        NotOurs::Terminating => SpaceError::Terminating(name()),
    })
}

/// Makes the namespace, or takes back one that was made for this tenant.
async fn own(ctx: &Context, wanted: &Namespace) -> Result<(), SpaceError> {
    let cluster = &ctx.platform.cluster;
    if cluster.is_applied(wanted) {
        return Ok(());
    }
    let live = match cluster.create_namespace(wanted.clone()).await.map_err(SpaceError::Unclaimed)? {
        CreatedNamespace::Created => return Ok(()),
        CreatedNamespace::Exists(live) => live,
    };
    claimed(wanted, &live)?;
    cluster.apply(wanted.clone()).await?;
    Ok(())
}

/// No `..` in the pattern: a new kind of child does not compile until it is applied here.
///
/// Walls before whom they hold, so that whoever gets in finds them up. The quota comes early, since nothing can be made
/// before its use is counted. One that cannot be written does not keep the others waiting, least of all the members'
/// rights: what owners do to a Secret must not keep their own access from being changed.
async fn fill(ctx: &Context, children: Children) -> Result<(), ApplyError> {
    let Children { access, limits, quota, networks, secrets, services } = children;
    let namespace = access.namespace.name_any();
    let cluster = &ctx.platform.cluster;
    bind(ctx, &access).await?;
    let mut steps = vec![cluster.apply(quota).boxed()];
    steps.extend(limits.map(|limits| cluster.apply(limits).boxed()));
    steps.extend(networks.into_iter().map(|policy| cluster.apply(policy).boxed()));
    let mut first = Ok(());
    for step in steps {
        if let Err(error) = step.await {
            if is_early(ctx, &namespace, &error) {
                return Err(error);
            }
            first = first.and(Err(error));
        }
    }
    first = first.and(admit(ctx, access).await);
    for secret in secrets {
        first = first.and(cluster.apply(secret).await.map(drop));
    }
    for service in services {
        first = first.and(cluster.apply(service).await.map(drop));
    }
    first
}

/// The operator's own right, which comes first.
async fn bind(ctx: &Context, access: &Access) -> Result<(), ApplyError> {
    if ctx.platform.cluster.apply(access.operator.clone()).await? != Applied::Unchanged {
        ctx.bound_now(&access.namespace.name_any());
    }
    Ok(())
}

/// Members' rights, and what was theirs that nobody has any more.
async fn admit(ctx: &Context, access: Access) -> Result<(), ApplyError> {
    let Access { namespace, operator: _, members, no_members } = access;
    let cluster = &ctx.platform.cluster;
    let mut first = Ok(());
    for binding in members {
        first = first.and(cluster.apply(binding).await.map(drop));
    }
    for name in no_members {
        first = first.and(cluster.delete::<RoleBinding>(&namespace.name_any(), &name).await);
    }
    first
}
