//! Strings the steps together; all writes of this stage are here.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::{FutureExt, StreamExt, stream};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Namespace;
use kube::{ResourceExt, runtime::controller::Action};

use super::{
    desired::{Children, DockerConfigs, Operator, desired, kept},
    error::{Error, RIGHTS, SpaceError},
    finalize, own,
    ownership::{NotOurs, judged, of_tenant},
    retire::{self, Clock, HeldParts, Part},
    space::{Kept, keep, mark_services, settle},
    status::{Report, status},
    transfer,
    validate::{ValidTenant, access, validate},
};
use crate::{
    api::{IntegrationService, Retirement, Tenant, TenantStatus},
    cluster::ApplyError,
    environment::{self, Checked, Problems},
    names::{self, MANUAL},
    platform::Platform,
    policies::{Missing, Policies},
    registry::{accounts::NotAnAccount, client::RegistryClient, generations::Issued, usages::Usages},
    retirement::{Left, Progress},
};

/// Namespaces of one tenant at a time; the client bounds the requests of all.
const AT_A_TIME: usize = 4;
/// For how long a refusal is taken for a right that is not in force yet.
const RIGHTS_KNOWN: jiff::SignedDuration = jiff::SignedDuration::from_secs(10);
/// How soon a retirement is looked at again at the earliest.
const SHORTEST: Duration = Duration::from_secs(1);
/// When all is looked at again, for what no watch shows: Secrets.
const IDLE: Duration = Duration::from_mins(10);

/// What a pass needs besides the object.
pub struct Context {
    platform: Platform,
    policies: Policies,
    registry: Registry,
    /// When the operator bound itself in a namespace.
    bound: Mutex<HashMap<String, Timestamp>>,
}

/// What tenants have of the registry.
pub struct Registry {
    /// Their logins; none where the platform provides them.
    pub logins: Option<Issued>,
    /// What their images take.
    pub usages: Usages,
    /// Where a removed tenant's images are deleted; none where they are not the operator's to delete.
    pub images: Option<Arc<RegistryClient>>,
}

impl Context {
    /// Nothing is bound yet.
    pub fn new(platform: Platform, policies: Policies, registry: Registry) -> Self {
        Self { platform, policies, registry, bound: Mutex::default() }
    }

    /// What was counted in the registry.
    pub fn usages(&self) -> &Usages {
        &self.registry.usages
    }

    /// Whether tenants get their logins of the registry from here, and not from the platform.
    pub(super) fn makes_logins(&self) -> bool {
        self.registry.logins.is_some()
    }

    pub(super) fn images(&self) -> Option<&Arc<RegistryClient>> {
        self.registry.images.as_ref()
    }

    /// The stores and the clock.
    pub fn platform(&self) -> &Platform {
        &self.platform
    }

    /// Whether anything may be made.
    pub fn policies(&self) -> &Policies {
        &self.policies
    }

    pub(super) fn bound_now(&self, namespace: &str) {
        let now = (self.platform.now)();
        let mut bound = self.bound.lock().unwrap_or_else(PoisonError::into_inner);
        bound.retain(|_, since| now.duration_since(*since) < RIGHTS_KNOWN);
        bound.insert(namespace.to_owned(), now);
    }

    pub(super) fn is_young(&self, namespace: &str) -> bool {
        let now = (self.platform.now)();
        let bound = self.bound.lock().unwrap_or_else(PoisonError::into_inner);
        bound.get(namespace).is_some_and(|since| now.duration_since(*since) < RIGHTS_KNOWN)
    }
}

/// An environment that the tenant is no longer in, until its namespace is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// Name of the Environment.
    pub environment: String,
    /// Its namespace.
    pub namespace: String,
    /// Nothing where it waits for a confirmation, and goes on as before.
    pub retirement: Option<Retirement>,
}

/// What a pass found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Converged {
    /// Whether a namespace is this tenant's own, as far as that could be told.
    pub own: BTreeMap<String, bool>,
    /// Namespaces whose rights or quota are not in force yet; they are tried again at once.
    pub settling: Vec<String>,
    /// Namespaces that are left as they are: there is no such Environment any more.
    pub left: Vec<String>,
    /// Environments that the tenant is no longer in.
    pub ending: Vec<Ending>,
    /// What is gone from the file and waits for a confirmation.
    pub held: Option<HeldParts>,
    /// Services that are not created.
    pub cordoned: Vec<String>,
    /// When a retirement goes on.
    pub next: Option<Duration>,
}

/// Makes the cluster match `tenant`, then says in its status how that went, also when it failed.
pub async fn reconcile(tenant: Arc<Tenant>, ctx: Arc<Context>) -> Result<Action, Error> {
    // Before the first proof there is nothing to say: a restart would be told as a failure. The proof wakes it.
    if matches!(ctx.policies.proven(), Err(Missing::Untried)) {
        return Ok(Action::await_change());
    }
    if tenant.metadata.deletion_timestamp.is_some() {
        return finalize::finalize(&tenant, &ctx).await;
    }
    let checked = environment::run::checked(&ctx.platform.environments);
    if tenant.spec.suspend {
        let converged = Converged::default();
        let services = ctx.platform.services.all_in(&names::home_namespace(&tenant.name_any()));
        let report = Report::of(&tenant, &converged, &ctx.platform);
        let report = Report { outcome: Err(&Error::Suspended), services: &services, ..report };
        write_status(&tenant, &ctx, &status(&report, (ctx.platform.now)())).await?;
        return Ok(Action::await_change());
    }
    let tenant = let_go(finalize::held(tenant, &ctx).await?, &ctx).await?;
    let valid = validate(&tenant, &checked);
    let (converged, outcome) = match converge(&tenant, &valid, &checked, &ctx).await {
        Ok((converged, errors)) => (converged, verdict(&valid, errors)),
        Err(error) => (Converged::default(), Err(error)),
    };
    let services = ctx.platform.services.all_in(&names::home_namespace(&tenant.name_any()));
    let report = Report {
        valid: valid.as_ref().ok(),
        outcome: outcome.as_ref().copied(),
        services: &services,
        registry: ctx
            .registry
            .usages
            .of(&tenant.name_any(), tenant.status.as_ref().and_then(|s| s.registry.as_ref())),
        ..Report::of(&tenant, &converged, &ctx.platform)
    };
    write_status(&tenant, &ctx, &status(&report, (ctx.platform.now)())).await?;
    outcome?;
    if converged.settling.is_empty() {
        // All of it has followed.
        ctx.platform.cluster.amend(&*tenant, transfer::ended).await.map_err(Error::Write)?;
    }
    Ok(Action::requeue(if converged.settling.is_empty() { next(&converged) } else { RIGHTS }))
}

fn next(converged: &Converged) -> Duration {
    converged.next.map_or(IDLE, |next| next.clamp(SHORTEST, IDLE))
}

/// To nobody but the platform. Another source takes it by itself.
async fn let_go(tenant: Arc<Tenant>, ctx: &Context) -> Result<Arc<Tenant>, Error> {
    let amended = ctx.platform.cluster.amend(&*tenant, |live| transfer::taken(live, MANUAL)).await;
    Ok(amended.map_err(Error::Write)?.map_or(tenant, Arc::new))
}

fn verdict(valid: &Result<ValidTenant, Problems>, errors: Vec<SpaceError>) -> Result<(), Error> {
    match valid {
        Err(problems) => Err(Error::Invalid(problems.clone(), errors)),
        Ok(_) if errors.is_empty() => Ok(()),
        Ok(_) => Err(Error::Spaces(errors)),
    }
}

pub(super) async fn write_status(tenant: &Tenant, ctx: &Context, status: &TenantStatus) -> Result<(), Error> {
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
    let mut converged = Converged::default();
    let (all, known) = match valid {
        Ok(valid) => (children(tenant, valid, &operator, (ctx, &mut converged))?, valid.clone()),
        Err(_) => match access(tenant) {
            Some(known) => (Vec::new(), known),
            None => return Ok((converged, Vec::new())),
        },
    };
    let mut others = cluster.namespaces_of(&known.name);
    others.retain(|name| all.iter().all(|children| children.access.namespace.name_any() != *name));
    converged.own.extend(known.held.iter().map(|held| (held.namespace.clone(), false)));
    let ended = match valid {
        Ok(valid) => ended(tenant, (valid, checked), &others, ctx).await.map_err(Error::Write)?,
        Err(_) => Ended::default(),
    };
    let Ended { mut namespaces, services, clock, ending, held, next } = ended;
    (converged.ending, converged.held, converged.next) = (ending, held, next);
    let kept = kept(&known, checked, &operator, &others).into_iter().map(|access| {
        let ending = namespaces.remove(&access.namespace.name_any());
        keep(ctx, tenant, Kept { access, ending }).boxed()
    });
    let made = all.into_iter().map(|children| settle(ctx, tenant, children).boxed());
    let passes: Vec<_> = made.chain(kept).collect();
    let outcomes: Vec<_> = stream::iter(passes).buffered(AT_A_TIME).collect().await;
    let mut errors = Vec::new();
    for (namespace, outcome) in outcomes {
        if let Some(is_own) = outcome.as_ref().map_or_else(SpaceError::is_own, |()| Some(true)) {
            converged.own.insert(namespace.clone(), is_own);
        }
        let is_other = others.contains(&namespace);
        let is_ending = converged.ending.iter().any(|ending| ending.namespace == namespace);
        match outcome {
            Ok(()) if is_other && !is_ending && known.held.iter().all(|held| held.namespace != namespace) => {
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
    errors.extend(own::show(cluster, &known).await.err().map(SpaceError::Apply));
    if let Some(clock) =
        clock.filter(|_| converged.own.get(&names::home_namespace(&known.name)) == Some(&true))
    {
        errors.extend(mark_services(ctx, &clock, &services).await.err().map(SpaceError::Apply));
    }
    Ok((converged, errors))
}

/// What the file no longer has, as it is to be.
#[derive(Default)]
struct Ended {
    /// By name, as they were read, and where their retirement stands; without those that are held.
    namespaces: BTreeMap<String, (Namespace, Left)>,
    /// Services, and whether each is gone; without those that are held.
    services: Vec<(Arc<IntegrationService>, bool)>,
    clock: Option<Clock>,
    ending: Vec<Ending>,
    held: Option<HeldParts>,
    next: Option<Duration>,
}

async fn ended(
    tenant: &Tenant,
    (valid, checked): (&ValidTenant, &Checked),
    others: &[String],
    ctx: &Context,
) -> Result<Ended, ApplyError> {
    let Platform { cluster, settings, services, .. } = &ctx.platform;
    let generation = tenant.metadata.generation.unwrap_or_default();
    let clock = Clock {
        periods: settings.retirement,
        now: (ctx.platform.now)(),
        by: format!("generation {generation} of the Tenant"),
    };
    let mut left = Vec::new();
    for name in others {
        let Some(environment) = retire::left_environment(valid, checked, name) else { continue };
        let Some(live) = cluster.namespace(name).await? else { continue };
        let wanted = of_tenant(&valid.name);
        if !matches!(judged(tenant, &wanted, &live), Err(NotOurs::Foreign | NotOurs::OtherOrigin)) {
            left.push((environment.to_owned(), live));
        }
    }
    let mut services = services.all_in(&names::home_namespace(&valid.name));
    services.retain(|service| retire::is_ours(valid, service));
    services.sort_by_key(|service| service.name_any());
    let is_gone =
        |service: &IntegrationService| valid.services.iter().all(|listed| listed.name != service.name_any());
    let part = |service: &Arc<IntegrationService>| Part {
        name: service.name_any(),
        is_gone: is_gone(service),
        is_marked: Left::of(service.annotations()).is_some(),
    };
    let parts: Vec<_> = services.iter().map(part).collect();
    let stays = valid.environments.iter().map(|space| Part {
        name: space.environment.clone(),
        is_gone: false,
        is_marked: false,
    });
    let leaves = left.iter().map(|(environment, live)| Part {
        name: environment.clone(),
        is_gone: true,
        is_marked: Left::of(live.annotations()).is_some(),
    });
    let confirmed = tenant.annotations().get(names::CONFIRM_REMOVAL).map(String::as_str);
    let held = retire::held(&parts, &stays.chain(leaves).collect::<Vec<_>>(), confirmed);
    let waits = |annotations: &BTreeMap<String, String>| held.is_some() && Left::of(annotations).is_none();
    let mut ended = Ended::default();
    let mut next = |left: &Left| {
        if left.progress(&clock.periods, clock.now) != Progress::Due {
            let wait = left.wait(&clock.periods, clock.now);
            ended.next = Some(ended.next.map_or(wait, |next| next.min(wait)));
        }
    };
    for (environment, live) in left {
        let namespace = live.name_any();
        let left = (!waits(live.annotations())).then(|| clock.left(live.annotations()));
        left.iter().for_each(&mut next);
        let retirement = left.as_ref().map(|left| left.retirement(&clock.periods));
        ended.ending.push(Ending { environment, namespace: namespace.clone(), retirement });
        ended.namespaces.extend(left.map(|left| (namespace, (live, left))));
    }
    for service in services {
        let is_gone = is_gone(&service);
        if is_gone && waits(service.annotations()) {
            continue;
        }
        if is_gone {
            next(&clock.left(service.annotations()));
        }
        ended.services.push((service, is_gone));
    }
    Ok(Ended { clock: Some(clock), held, ..ended })
}

/// All that is to be. A tenant that is cordoned gets no service that it does not have.
fn children(
    tenant: &Tenant,
    valid: &ValidTenant,
    operator: &Operator<'_>,
    (ctx, converged): (&Context, &mut Converged),
) -> Result<Vec<Children>, NotAnAccount> {
    let Platform { settings, services, cluster, .. } = &ctx.platform;
    let logins = match &ctx.registry.logins {
        Some(issued) => DockerConfigs::new(issued, &settings.registry_host, &valid.name)?,
        None => DockerConfigs::default(),
    };
    let mut all = desired(valid, operator, &logins);
    if ctx.registry.logins.is_none() {
        for children in &mut all {
            children.secrets.clear();
        }
    }
    if tenant.spec.cordon
        && let Some(home) = all.first_mut()
    {
        let namespace = home.access.namespace.name_any();
        let is_there = |service: &IntegrationService| {
            let name = service.name_any();
            services.named_in(&namespace, &name).is_some()
                || cluster.has_written::<IntegrationService>(Some(&namespace), &name)
        };
        let (there, new) = std::mem::take(&mut home.services).into_iter().partition(is_there);
        home.services = there;
        let new: Vec<_> = new;
        converged.cordoned = new.iter().map(ResourceExt::name_any).collect();
    }
    Ok(all)
}
