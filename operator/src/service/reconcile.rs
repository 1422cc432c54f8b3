//! IO: one pass over one service, in memory until something differs: what was seen of Git -> releases -> what runs them
//! -> the board. Writes in this order, so that a crash between any two leads to the same end: Release,
//! `ConfigMap`, Deployment, the Release's health, removal of what is too old, status.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Secret},
};
use kube::{
    ResourceExt,
    runtime::{controller::Action, reflector::ObjectRef},
};

use super::{
    Problem,
    history::{History, Needs},
    poll::{Key, Poller},
    promote::{self, Settled, Target, Wanted},
    prune::prune,
    resolve::Snapshot,
    status::{self, Observation, Pass, Running, Stage},
    validate::{Surroundings, ValidEnvironment, ValidService, validate},
    wave,
};
use crate::{
    api::{
        Cause, IntegrationService, IntegrationServiceStatus, Release, ReleaseStatus, environment::Network,
        integration_service::EnvironmentState,
    },
    cluster::{ApplyError, ReconcileError},
    conditions::{Claim, HEALTHY, Reason, merge},
    names::{RECONCILE_REQUESTED, RELEASE, tenant_of_home},
    platform::Platform,
    release::{self, Observed, Phase, Rendered},
    retry::{Retry, spread},
};

/// Everything is looked at again this often, in case that a watch missed it.
const RESYNC: Duration = Duration::from_mins(10);

/// What a pass needs besides the service.
pub struct Context {
    /// The cluster and its watches.
    pub platform: Platform,
    /// What was seen of Git.
    pub poller: Poller,
    /// What this run of the operator wrote; the watches may not show it yet.
    pub written: Written,
}

/// Our own last writes, and what was last seen healthy, by service.
#[derive(Default)]
pub struct Written(Mutex<HashMap<Key, Last>>);

#[derive(Clone, Default)]
struct Last {
    /// Of the service: what was written for another of the same name does not count.
    uid: Option<String>,
    /// resourceVersion of the service that the status was written over.
    over: Option<String>,
    status: Option<IntegrationServiceStatus>,
    /// Environment → name of the release that was applied there.
    applied: BTreeMap<String, String>,
    /// The releases that run or are to run.
    releases: Vec<Arc<Release>>,
    /// Names of releases that were told to be healthy.
    healthy: Vec<String>,
    /// Of environments from whose branch another is promoted.
    settled: Settled,
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
}

impl ReconcileError for Error {
    fn retry(&self) -> Retry {
        match self {
            // A watch of the tenant and of the environments tells, too.
            Self::Unready(_) => Retry::After(RESYNC),
            Self::Apply(error) => error.retry(),
        }
    }

    fn reason(&self) -> Reason {
        match self {
            Self::Unready(problem) => problem.reason,
            Self::Apply(error) => error.reason(),
        }
    }
}

/// Makes the cluster what Git was last seen to ask for, then says how that went, also when it failed.
pub async fn reconcile(service: Arc<IntegrationService>, ctx: Arc<Context>) -> Result<Action, Error> {
    let key = ObjectRef::new(&service.name_any()).within(&service.namespace().unwrap_or_default());
    let mut last = ctx.written.of(&key, &service);
    let before = last.status.clone().or_else(|| service.status.clone());
    let valid = valid(&service, &ctx.platform, &ctx.poller);
    let (mut errors, mut next) = (Vec::new(), RESYNC);
    let pass = match &valid {
        Ok(valid) => {
            let mut work = Work::new(&ctx, valid, before.as_ref(), &mut last);
            let pass = Box::pin(work.pass(&key, &service)).await;
            if work.awaits_unwatched {
                next = ctx.platform.settings.interval;
            }
            errors = work.errors;
            Ok(pass)
        }
        Err(problem) => {
            ctx.poller.forget(&key);
            Err(problem)
        }
    };
    let generation = service.metadata.generation.unwrap_or_default();
    let status = status::status(
        before.as_ref(),
        generation,
        pass.as_ref().map_err(|problem| *problem),
        (ctx.platform.now)(),
    );
    let outcome = tell(&service, &ctx, &mut last, status).await;
    ctx.written.keep(key, last);
    outcome?;
    if let Err(problem) = valid {
        return Err(Error::Unready(problem));
    }
    match most_urgent(errors) {
        Some(error) => Err(Error::Apply(error)),
        None => Ok(Action::requeue(spread(next, (ctx.platform.jitter)()))),
    }
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
    let tenant = tenant_of_home(&namespace).and_then(|name| platform.tenants.named(name));
    let environments: BTreeMap<_, _> = platform
        .environments
        .all()
        .into_iter()
        .map(|environment| (environment.name_any(), environment))
        .collect();
    let around =
        Surroundings { tenant: tenant.as_deref(), environments: &environments, urls: &poller.origins().urls };
    validate(service, around)
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

impl Written {
    fn of(&self, key: &Key, service: &IntegrationService) -> Last {
        let last = self.lock().get(key).filter(|last| last.uid == service.uid()).cloned();
        last.unwrap_or_else(|| Last { uid: service.uid(), ..Last::default() })
    }

    fn keep(&self, key: Key, last: Last) {
        self.lock().insert(key, last);
    }

    /// Drops what was written for services that are gone.
    pub fn forget(&self, key: &Key) {
        self.lock().remove(key);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Last>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One pass under way.
struct Work<'a> {
    platform: &'a Platform,
    poller: &'a Poller,
    service: &'a ValidService,
    before: Option<&'a IntegrationServiceStatus>,
    last: &'a mut Last,
    stored: Vec<Arc<Release>>,
    history: History,
    errors: Vec<ApplyError>,
    /// No watch will tell when it is there.
    awaits_unwatched: bool,
}

/// What is to run in one environment.
struct Choice {
    /// Made of what Git asks for.
    target: Option<String>,
    release: Option<Arc<Release>>,
    config: Option<ConfigMap>,
    problems: Vec<Problem>,
}

impl<'a> Work<'a> {
    fn new(
        ctx: &'a Context,
        service: &'a ValidService,
        before: Option<&'a IntegrationServiceStatus>,
        last: &'a mut Last,
    ) -> Self {
        let mut stored = ctx.platform.releases.all_in(&service.home());
        stored.retain(|release| release.spec.service == service.name);
        let mut history = History::of(stored.iter().map(AsRef::as_ref));
        for release in &last.releases {
            history.add(release);
        }
        for name in &last.healthy {
            history.became_healthy(name);
        }
        let mut work = Self {
            platform: &ctx.platform,
            poller: &ctx.poller,
            service,
            before,
            last,
            stored,
            history,
            errors: Vec::new(),
            awaits_unwatched: false,
        };
        for environment in &service.environments {
            if let Some(current) = work.current(environment) {
                work.history.runs(&current.name_any());
            }
        }
        work
    }

    /// All environments, each after those that it promotes from.
    async fn pass(&mut self, key: &Key, object: &IntegrationService) -> Pass {
        let snapshot = if self.service.orphaned.is_some() {
            self.poller.forget(key);
            None
        } else {
            let looked_before =
                self.before.is_some_and(|s| s.environments.iter().any(|e| e.commit.is_some()));
            let requested = object.annotations().get(RECONCILE_REQUESTED);
            self.poller.watch(key, self.service, requested, looked_before);
            self.poller.snapshot(key)
        };
        let mut stages = Vec::with_capacity(self.service.environments.len());
        for environment in &self.service.environments {
            let stage = self.stage(environment, &stages, snapshot.as_deref()).await;
            stages.push(stage);
        }
        self.forget_the_old(&stages).await;
        let running =
            stages.iter().filter_map(|stage| stage.running.as_ref().map(|running| &running.release));
        let named: Vec<_> = running.chain(stages.iter().filter_map(|stage| stage.target.as_ref())).collect();
        self.last.releases.retain(|release| named.contains(&&release.name_any()));
        self.last.healthy.retain(|name| named.contains(&name));
        let failure = snapshot.and_then(|snapshot| snapshot.failure.clone());
        Pass { stages, failure, orphaned: self.service.orphaned.clone() }
    }

    /// Keeps the history within its limits, once it is known what every environment needs of it.
    async fn forget_the_old(&mut self, stages: &[Stage]) {
        let needs = |stage: &Stage| {
            let environment = self.platform.environments.named(&stage.environment.name);
            let limit = environment.and_then(|environment| environment.spec.history_limit);
            let mut needs = Needs::of(stage, self.state_before(&stage.environment), limit)?;
            needs.names.extend(self.live(&stage.environment));
            Some(needs)
        };
        let Some(needs) = stages.iter().map(needs).collect::<Option<Vec<_>>>() else { return };
        let known: Vec<_> = self.stored.iter().chain(&self.last.releases).cloned().collect();
        let outcome = prune(&self.platform.cluster, self.service, (&self.history, &known), &needs).await;
        self.errors.extend(outcome.err());
    }

    fn state_before(&self, environment: &ValidEnvironment) -> Option<&'a EnvironmentState> {
        self.before?.environments.iter().find(|state| state.name == environment.name)
    }

    /// The release that the Deployment says it runs.
    fn live(&self, environment: &ValidEnvironment) -> Option<String> {
        let deployment = self.platform.cluster.deployment(&environment.namespace, &self.service.name)?;
        deployment.annotations().get(RELEASE).cloned()
    }

    async fn stage(
        &mut self,
        environment: &ValidEnvironment,
        earlier: &[Stage],
        snapshot: Option<&Snapshot>,
    ) -> Stage {
        let before = self.state_before(environment);
        let wanted =
            promote::wanted(self.service, environment, snapshot, (&self.history, &self.last.settled));
        let networks = self.networks(environment);
        let Choice { target, release, config, mut problems } = match &wanted {
            Wanted::Target(asked) => self.made(environment, asked, (&networks, earlier)).await,
            Wanted::Unknown | Wanted::Nothing { .. } => self.kept(environment, vec![]),
        };
        let (mut observed, mut running) = (None, self.current(environment));
        if let Some(release) = release {
            let rollout = release::Target {
                tenant: &self.service.tenant,
                release: &release,
                config: config.as_ref(),
                networks: &networks,
            };
            match self.rolled_out(environment, &rollout).await {
                Ok(seen) => (observed, running) = (Some(seen), Some(release)),
                Err(problem) => problems.push(problem),
            }
        }
        let running = running.as_deref().map(Running::of).or_else(|| lost(before));
        if let (Wanted::Target(asked), Some(target)) = (&wanted, &target)
            && self.history.is_healthy(target)
            && let Some(snapshot) = snapshot
        {
            self.last.settled.add(self.service, &environment.name, &asked.resolved.commit, snapshot);
        }
        Stage { environment: environment.clone(), wanted, target, running, observed, problems }
    }

    /// Applies what runs a release. It runs from then on, and what ran before until then.
    async fn rolled_out(
        &mut self,
        environment: &ValidEnvironment,
        target: &release::Target<'_>,
    ) -> Result<Observation, Problem> {
        self.configured(target).await?;
        let cluster = &self.platform.cluster;
        let seen = release::roll_out(cluster, target).await.map_err(|error| self.failed(error))?;
        self.last.applied.insert(environment.name.clone(), target.release.name_any());
        Ok(self.seen(environment, target.release, seen).await)
    }

    /// Pods without their configuration would not start. What of it is not known from Git must be in the cluster.
    async fn configured(&mut self, target: &release::Target<'_>) -> Result<(), Problem> {
        let (Some(config), None) = (&target.release.spec.config, target.config) else { return Ok(()) };
        let (cluster, namespace) = (&self.platform.cluster, target.namespace());
        // The watch may not show yet what was written a moment ago.
        if cluster.shows::<ConfigMap>(Some(&namespace), &config.name)
            || cluster.has::<ConfigMap>(&namespace, &config.name).await.map_err(|error| self.failed(error))?
        {
            return Ok(());
        }
        self.awaits_unwatched = true;
        let message = format!(
            "the ConfigMap {} in {namespace}, which what runs there needs, is gone: restore it, or clear what the newer version waits for",
            config.name
        );
        Err(Problem::new(Reason::ConfigMissing, message))
    }

    /// The release that `asked` is, made if there is none. Where it cannot be made, what runs stays.
    async fn made(
        &mut self,
        environment: &ValidEnvironment,
        asked: &Target,
        (networks, earlier): (&[Network], &[Stage]),
    ) -> Choice {
        let Rendered { mut release, config_map } = match self.rendered(environment, asked, networks) {
            Ok(rendered) => rendered,
            Err(problem) => return self.kept(environment, vec![problem]),
        };
        let name = release.name_any();
        let current = self.current(environment);
        // What runs has had its turn and found its Secrets: a pass over it asks for nothing.
        if current.as_ref().is_none_or(|current| current.name_any() != name) {
            if current.is_some_and(|current| wave::is_of_runtime(&release.spec, &current.spec)) {
                release.spec.cause = Cause::Runtime;
            }
            if let Some(problem) = wave::awaited(environment, &release.spec, earlier, &self.history) {
                return self.kept(environment, vec![problem]);
            }
            if let Err(problem) = self.secrets(environment, asked).await {
                return self.kept(environment, vec![problem]);
            }
        }
        let release = match self.known(&name) {
            Some(known) => known,
            None => match self.platform.cluster.apply(release.clone()).await {
                Ok(_) => Arc::new(release),
                Err(error) => {
                    let problem = self.failed(error);
                    return self.kept(environment, vec![problem]);
                }
            },
        };
        self.history.add(&release);
        self.remember(&release);
        Choice { target: Some(name), release: Some(release), config: config_map, problems: vec![] }
    }

    /// Pods that name a Secret which is not there would not start, and not say so here.
    async fn secrets(&mut self, environment: &ValidEnvironment, asked: &Target) -> Result<(), Problem> {
        let namespace = &environment.namespace;
        for name in &asked.resolved.settings.secrets {
            match self.platform.cluster.has::<Secret>(namespace, name).await {
                Ok(true) => {}
                Ok(false) => {
                    self.awaits_unwatched = true;
                    let message = format!(
                        "there is no Secret {name} in {namespace}, which `secrets` names: create it; what runs stays until then"
                    );
                    return Err(Problem::new(Reason::SecretMissing, message));
                }
                Err(error) => return Err(self.failed(error)),
            }
        }
        Ok(())
    }

    fn rendered(
        &self,
        environment: &ValidEnvironment,
        asked: &Target,
        networks: &[Network],
    ) -> Result<Rendered, Problem> {
        let service = self.service;
        let runtime = self.platform.runtimes.named(&service.runtime).ok_or_else(|| {
            let message = format!(
                "there is no IntegrationRuntime {:?}: correct `runtime` of the service",
                service.runtime
            );
            Problem::new(Reason::RuntimeMissing, message)
        })?;
        let repository = format!("{}/{}", self.platform.settings.registry_host, service.repository());
        let input = release::Input {
            tenant: &service.tenant,
            service: &service.name,
            environment: &environment.name,
            settings: &asked.resolved.settings,
            runtime: &runtime,
            networks,
            image_repository: &repository,
            digest: &asked.digest,
            config: asked.resolved.config.as_ref(),
            commit: &asked.resolved.commit,
            build_id: &asked.resolved.build_id,
            cause: wave::cause(environment),
        };
        release::render(&input).map_err(|error| Problem::new(error.reason(), error.to_string()))
    }

    /// What runs already.
    fn kept(&mut self, environment: &ValidEnvironment, problems: Vec<Problem>) -> Choice {
        let release = self.current(environment);
        if let Some(release) = &release {
            self.remember(release);
        }
        Choice { target: None, release, config: None, problems }
    }

    /// What runs: as we last applied it; after a start, as the Deployment says, which a crash may have left ahead of the
    /// status.
    fn current(&self, environment: &ValidEnvironment) -> Option<Arc<Release>> {
        let applied = self.last.applied.get(&environment.name).cloned();
        let told = self.state_before(environment).and_then(|state| state.current.clone());
        let of_here = |release: &Arc<Release>| release.spec.environment == environment.name;
        let mut names = applied.into_iter().chain(self.live(environment)).chain(told);
        names.find_map(|name| self.known(&name).filter(of_here))
    }

    fn known(&self, name: &str) -> Option<Arc<Release>> {
        let mut known = self.stored.iter().chain(&self.last.releases);
        known.find(|release| release.name_any() == name).cloned()
    }

    fn remember(&mut self, release: &Arc<Release>) {
        if !self.last.releases.iter().any(|known| known.name_any() == release.name_any()) {
            self.last.releases.push(release.clone());
        }
    }

    fn networks(&self, environment: &ValidEnvironment) -> Vec<Network> {
        self.platform
            .environments
            .named(&environment.name)
            .map(|e| e.spec.networks.clone())
            .unwrap_or_default()
    }

    fn failed(&mut self, error: ApplyError) -> Problem {
        let problem = Problem::new(error.reason(), error.to_string());
        self.errors.push(error);
        problem
    }

    /// Tells a release's first health on itself, once and for ever.
    async fn seen(
        &mut self,
        environment: &ValidEnvironment,
        release: &Release,
        seen: Observed,
    ) -> Observation {
        let name = release.name_any();
        if seen.phase == Phase::Healthy && !self.history.is_healthy(&name) {
            match self.platform.cluster.write_status(release, &self.healthy(release)).await {
                Ok(()) => {
                    tracing::info!(release = %name, tenant = self.service.tenant, "healthy");
                    self.history.became_healthy(&name);
                    self.last.healthy.push(name);
                }
                Err(error) => self.errors.push(error),
            }
        }
        let deployment = self.platform.cluster.deployment(&environment.namespace, &self.service.name);
        observation(seen, deployment.as_deref())
    }

    fn healthy(&self, release: &Release) -> ReleaseStatus {
        let old = release.status.as_ref().map_or(&[][..], |status| &status.conditions);
        let message = "all instances were ready".to_owned();
        let claim = Claim { type_: HEALTHY, status: true, reason: Reason::Succeeded, message };
        let generation = release.metadata.generation.unwrap_or(1);
        ReleaseStatus { conditions: merge(old, &[claim], generation, (self.platform.now)()) }
    }
}

/// What the board told of a release that is stored no more.
fn lost(before: Option<&EnvironmentState>) -> Option<Running> {
    let state = before?;
    let digest = state.digest.clone().unwrap_or_default();
    Some(Running { release: state.current.clone()?, digest, runtime_revision: None })
}

fn observation(seen: Observed, deployment: Option<&Deployment>) -> Observation {
    let Observed { ready, desired, updated: _, phase } = seen;
    let (well, problem) = match phase {
        Phase::Healthy | Phase::Stopped => (true, None),
        Phase::RollingOut => (
            false,
            Some(Problem::new(Reason::RollingOut, format!("{ready} of {desired} new instances are ready"))),
        ),
        Phase::Blocked { reason, message } => (false, Some(Problem::new(reason, message))),
        Phase::Failed { message } => (false, Some(Problem::new(Reason::Unhealthy, message))),
    };
    let all = deployment.and_then(|deployment| deployment.status.as_ref()?.ready_replicas);
    Observation { ready: all.unwrap_or(ready), desired, well, problems: problem.into_iter().collect() }
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
