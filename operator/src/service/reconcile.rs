//! IO: one pass over one service, in memory until something differs: what was seen of Git -> releases -> what runs them
//! -> the board. Writes in this order, so that a crash between any two leads to the same end: what decisions come to,
//! Release, `ConfigMap`, Deployment, the Release's health or failure, removal of what is too old, status.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use kube::{
    ResourceExt,
    runtime::{controller::Action, reflector::ObjectRef},
};

use tokio::sync::Semaphore;

use super::{
    Problem,
    analyses::Analyses,
    answers::refuse_all,
    commit_status::sender::Reporter,
    ending, finalize,
    neighbours::Neighbours,
    pass::Work,
    places::Places,
    poll::Poller,
    relations::Relations,
    remove::RemoveError,
    rounds::Rounds,
    stage::owned,
    status,
    validate::{Surroundings, ValidService, validate},
    written::{Last, Written},
};
use crate::{
    api::{IntegrationService, IntegrationServiceStatus, Tenant},
    cluster::{ApplyError, ReconcileError},
    conditions::Reason,
    names::tenant_of_home,
    platform::Platform,
    policies::Policies,
    retry::{Retry, spread},
};

/// Everything is looked at again this often, in case that a watch missed it.
pub(super) const RESYNC: Duration = Duration::from_mins(10);

/// What a pass needs besides the service.
pub struct Context {
    /// The cluster and its watches.
    pub platform: Platform,
    /// What was seen of Git.
    pub poller: Poller,
    /// What this run of the operator wrote; the watches may not show it yet.
    pub written: Written,
    /// What admits decisions, proven or not.
    pub policies: Policies,
    /// Configurations written at a time: each is in memory several times over while it is.
    pub config_writes: Semaphore,
    /// Tells hosts what became of commits.
    pub reporter: Reporter,
    /// What instances say of themselves.
    pub(super) rounds: Rounds,
    pub(super) analyses: Analyses,
    /// Who is given a changed runtime.
    pub(super) places: Places,
    /// Whom a change of a service concerns besides.
    pub(super) relations: Relations,
}

/// Why a pass did not reach its end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The service cannot be acted on now.
    #[error("{}", .0.message)]
    Unready(Problem),
    /// An object could not be written.
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// Something of a service that ends could not be removed.
    #[error(transparent)]
    Remove(#[from] RemoveError),
}

impl ReconcileError for Error {
    fn retry(&self) -> Retry {
        match self {
            // A watch of the tenant and of the environments tells, too.
            Self::Unready(_) => Retry::After(RESYNC),
            Self::Apply(error) => error.retry(),
            Self::Remove(error) => error.retry(),
        }
    }

    fn reason(&self) -> Reason {
        match self {
            Self::Unready(problem) => problem.reason,
            Self::Apply(error) => error.reason(),
            Self::Remove(error) => error.reason(),
        }
    }
}

/// Makes the cluster what Git was last seen to ask for, then says how that went, also when it failed.
pub async fn reconcile(service: Arc<IntegrationService>, ctx: Arc<Context>) -> Result<Action, Error> {
    let key = ObjectRef::new(&service.name_any()).within(&service.namespace().unwrap_or_default());
    let mut last = ctx.written.of(&key, &service);
    let mut before = last.status.clone().or_else(|| service.status.clone());
    let valid = valid(&service, &ctx.platform, &ctx.poller);
    if let Some(outcome) = departure(&service, &ctx, (valid.is_ok(), &mut last)).await {
        ctx.poller.forget(&key);
        ctx.places.tell(&key, &BTreeMap::new());
        if let Err(error) = &outcome {
            let problem = Problem::new(error.reason(), error.to_string());
            let generation = service.metadata.generation.unwrap_or_default();
            let status = status::status(before.as_ref(), generation, Err(&problem), (ctx.platform.now)());
            tell(&service, &ctx, &mut last, status).await?;
            ctx.written.keep(key, last);
        }
        return Ok(outcome.map(|()| Action::await_change())?);
    }
    let (mut errors, mut next, mut rivals) = (Vec::new(), RESYNC, Vec::new());
    let mut rolls_out = BTreeMap::new();
    let pass = match &valid {
        Ok(valid) => {
            let mut work = Work::new(&ctx, valid, &mut before, &mut last).await;
            let pass = Box::pin(work.pass(&service)).await;
            if work.awaits_unwatched {
                next = ctx.platform.settings.interval;
            }
            next = work.again.into_iter().chain(until_due(&service, &ctx.platform)).fold(next, Duration::min);
            (errors, rivals, rolls_out) = (work.errors, work.rivals, work.rolls_out);
            errors.extend(finalize::hold(&ctx.platform.cluster, &service).await.err());
            Ok(pass)
        }
        Err(problem) => {
            ctx.poller.forget(&key);
            errors.extend(refuse_all(&ctx.platform, &service, &mut last, problem).await.err());
            Err(problem)
        }
    };
    ctx.places.tell(&key, &rolls_out);
    let neighbours = Neighbours { platform: &ctx.platform, poller: &ctx.poller };
    let mut others = neighbours.uses(&key, pass.as_ref().ok());
    others.extend(rivals);
    ctx.relations.tell(&key, others, neighbours.shown(&key));
    let generation = service.metadata.generation.unwrap_or_default();
    let mut status = status::status(
        before.as_ref(),
        generation,
        pass.as_ref().map_err(|problem| *problem),
        (ctx.platform.now)(),
    );
    if let Ok(valid) = &valid {
        ctx.reporter.go_over(&key, valid, &mut status);
    }
    let outcome = tell(&service, &ctx, &mut last, status).await;
    ctx.written.keep(key, last);
    outcome?;
    if let Some(error) = most_urgent(errors) {
        return Err(Error::Apply(error));
    }
    valid.map_err(Error::Unready)?;
    Ok(Action::requeue(spread(next, (ctx.platform.jitter)())))
}

/// What becomes of a service that ends now; nothing for any other.
async fn departure(
    service: &IntegrationService,
    ctx: &Context,
    (is_valid, last): (bool, &mut Last),
) -> Option<Result<(), RemoveError>> {
    let platform = &ctx.platform;
    if service.metadata.deletion_timestamp.is_some() {
        let message = format!("the service {} is being deleted: apply it again", service.name_any());
        refuse_before_the_end(service, ctx, (last, Problem::new(Reason::ServiceMissing, message))).await;
        return Some(finalize::end(ctx, service).await);
    }
    let is_due = is_valid && ending::is_due(service, &platform.settings.retirement, (platform.now)());
    let is_listed = tenant(service, platform).is_none_or(|tenant| tenant.lists(&service.name_any()));
    if !is_due || is_listed {
        return None;
    }
    if let Some(ending) = ending::of_service(service, &platform.settings.retirement) {
        refuse_before_the_end(service, ctx, (last, ending.problem())).await;
    }
    Some(finalize::retire(ctx, service).await)
}

/// Refuses what is decided of it meanwhile. One that cannot be answered does not hold it.
async fn refuse_before_the_end(
    service: &IntegrationService,
    ctx: &Context,
    (last, why): (&mut Last, Problem),
) {
    if let Err(error) = refuse_all(&ctx.platform, service, last, &why).await {
        tracing::warn!(error = &error as &dyn std::error::Error, "decisions not answered");
    }
}

/// How long until it ends; nothing where that is over and waits for something else.
fn until_due(service: &IntegrationService, platform: &Platform) -> Option<Duration> {
    let wait = ending::wait(service, &platform.settings.retirement, (platform.now)());
    wait.filter(|wait| !wait.is_zero())
}

/// The tenant of the home that it is in.
fn tenant(service: &IntegrationService, platform: &Platform) -> Option<Arc<Tenant>> {
    tenant_of_home(&service.namespace()?).and_then(|name| platform.tenants.named(name))
}

/// One environment that a person must mend holds back no other's next attempt.
fn most_urgent(errors: Vec<ApplyError>) -> Option<ApplyError> {
    errors.into_iter().min_by_key(|error| error.retry().urgency())
}

fn valid(
    service: &IntegrationService,
    platform: &Platform,
    poller: &Poller,
) -> Result<ValidService, Problem> {
    let namespace = service.namespace().unwrap_or_default();
    let tenant = tenant(service, platform);
    let environments: BTreeMap<_, _> = platform
        .environments
        .all()
        .into_iter()
        .map(|environment| (environment.name_any(), environment))
        .collect();
    let around = Surroundings {
        tenant: tenant.as_deref(),
        environments: &environments,
        periods: &platform.settings.retirement,
        urls: &poller.origins().urls,
        registry: &platform.settings.registry_host,
    };
    let valid = validate(service, around)?;
    owned(platform, &namespace, &valid.tenant)?;
    Ok(valid)
}

/// Writes the status, unless it says nothing new.
async fn tell(
    service: &IntegrationService,
    ctx: &Context,
    last: &mut Last,
    status: IntegrationServiceStatus,
) -> Result<(), ApplyError> {
    let is_shown = service.status.as_ref() == Some(&status);
    // The watch does not show our last write yet.
    let is_written = last.status.as_ref() == Some(&status) && last.over == service.resource_version();
    if is_shown || is_written {
        last.status = Some(status);
        return Ok(());
    }
    let old = last.status.as_ref().or(service.status.as_ref()).map_or(&[][..], |old| &old.conditions);
    ctx.platform.cluster.tell_change(service, old, &status.conditions).await;
    ctx.platform.cluster.write_status(service, &status).await?;
    last.over = service.resource_version();
    last.status = Some(status);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_foreign_object_in_one_environment_delays_no_other() {
        let foreign = || ApplyError::Foreign("Service acme-dev/orders".to_owned());
        let refused = || ApplyError::Request {
            verb: "apply",
            object: "Deployment acme-test/orders".to_owned(),
            source: Box::new(kube::Error::LinesCodecMaxLineLengthExceeded),
        };
        for errors in [vec![foreign(), refused()], vec![refused(), foreign()]] {
            assert_eq!(most_urgent(errors).map(|error| error.retry()), Some(Retry::Backoff));
        }
        assert_eq!(most_urgent(vec![foreign()]).map(|error| error.retry()), Some(foreign().retry()));
        assert!(most_urgent(vec![]).is_none());
    }
}
