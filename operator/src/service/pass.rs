//! IO: one pass over one service's environments, each after those that it promotes from: what is decided, made, chosen
//! and forgotten.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::Namespace;
use kube::ResourceExt;
use tokio::sync::Semaphore;

use super::{
    Problem,
    choice::{Choice, frozen},
    course::{Asked, Course, Place, course},
    decision::Standing,
    ending::Ending,
    history::{History, Needs},
    poll::{Key, Poller},
    promote::{self, Wanted},
    prune::prune,
    reconcile::Context,
    relations::Relations,
    resolve::{Branch, Snapshot},
    status::{Pass, Running, Stage},
    uses::reach,
    validate::{ValidEnvironment, ValidService},
    written::Last,
};
use crate::{
    api::{
        IntegrationService, IntegrationServiceStatus, Release, ReleaseDecision,
        integration_service::EnvironmentState,
    },
    cluster::ApplyError,
    conditions::Reason,
    names::{RECONCILE_REQUESTED, RELEASE, TENANT, environment_namespace},
    platform::Platform,
    policies::Policies,
    release,
};

/// One pass under way.
pub(super) struct Work<'a> {
    pub platform: &'a Platform,
    pub poller: &'a Poller,
    pub relations: &'a Relations,
    /// See [`Context::config_writes`].
    pub config_writes: &'a Semaphore,
    pub key: Key,
    pub service: &'a ValidService,
    /// See [`Context::policies`].
    pub policies: &'a Policies,
    pub before: Option<&'a IntegrationServiceStatus>,
    pub last: &'a mut Last,
    pub stored: Vec<Arc<Release>>,
    /// Of people, about this service.
    pub decisions: Vec<Arc<ReleaseDecision>>,
    /// What was seen of Git, of the registry and of Secrets.
    pub snapshot: Option<Arc<Snapshot>>,
    pub history: History,
    pub errors: Vec<ApplyError>,
    /// No watch will tell when it is there.
    pub awaits_unwatched: bool,
    /// No watch will tell when pods that were told to end have ended.
    pub again: Option<Duration>,
    /// Services that have a path which this one exposes, too.
    pub rivals: Vec<Key>,
}

impl<'a> Work<'a> {
    /// `before`: the status as it was told last.
    pub(super) async fn new(
        ctx: &'a Context,
        service: &'a ValidService,
        before: Option<&'a IntegrationServiceStatus>,
        last: &'a mut Last,
    ) -> Self {
        let mut stored = ctx.platform.releases.all_in(&service.home());
        stored.retain(|release| release.spec.service == service.name);
        last.as_told(&mut stored);
        let errors = last.remake(&ctx.platform.cluster, &stored).await;
        let mut history = History::of(stored.iter().map(AsRef::as_ref));
        for release in &last.releases {
            history.add(release);
        }
        let mut decisions = ctx.platform.decisions.all_in(&service.home());
        decisions.retain(|decision| decision.spec.service == service.name);
        last.as_answered(&mut decisions);
        let mut work = Self {
            platform: &ctx.platform,
            poller: &ctx.poller,
            relations: &ctx.relations,
            config_writes: &ctx.config_writes,
            key: Key::new(&service.name).within(&service.home()),
            service,
            policies: &ctx.policies,
            before,
            last,
            stored,
            decisions,
            snapshot: None,
            history,
            errors,
            awaits_unwatched: false,
            again: None,
            rivals: Vec::new(),
        };
        for environment in &service.environments {
            if let Some(current) = work.current(environment) {
                work.history.runs(&current.name_any());
            }
        }
        work
    }

    /// All environments, each after those that it promotes from.
    pub(super) async fn pass(&mut self, object: &IntegrationService) -> Pass {
        let standing = self.decide().await;
        let environments = let_in(&self.service.environments, &standing);
        self.snapshot = self.looked_at(&environments, object.annotations().get(RECONCILE_REQUESTED));
        let snapshot = self.snapshot.clone();
        let mut stages = Vec::with_capacity(self.service.environments.len());
        for environment in &environments {
            if environment.ending.is_some() && !self.runs_in(environment) {
                continue;
            }
            let standing = standing.get(&environment.name).cloned().unwrap_or_default();
            let stage = Box::pin(self.stage(environment, &standing, (&stages, snapshot.as_deref()))).await;
            stages.push(stage);
        }
        self.forget_the_old(&stages, &standing).await;
        let running =
            stages.iter().filter_map(|stage| stage.running.as_ref().map(|running| &running.release));
        let named: Vec<_> = running.chain(stages.iter().filter_map(|stage| stage.target.as_ref())).collect();
        self.last.releases.retain(|release| named.contains(&&release.name_any()));
        let losing = self.neighbours().losing((&self.service.tenant, &self.service.name), &stages);
        let hint = losing.or_else(|| snapshot.as_deref().and_then(|snapshot| self.hint(snapshot)));
        let failure = snapshot.and_then(|snapshot| snapshot.failure.clone());
        let ValidService { gone, problems, ending, .. } = self.service.clone();
        // What the tenant is no longer in may be so because the platform deleted it.
        let is_deleted = |name: &String| self.platform.environments.named(name).is_none();
        let (deleted, left) = self.left(&gone).into_iter().partition(is_deleted);
        let gone = [gone, deleted].concat();
        Pass { stages, failure, gone, left, problems, hint, ending }
    }

    /// What was seen of Git, which is asked for what does not end.
    fn looked_at(
        &self,
        environments: &[ValidEnvironment],
        requested: Option<&String>,
    ) -> Option<Arc<Snapshot>> {
        let service = ValidService { environments: environments.to_vec(), ..self.service.clone() };
        let lasting = service.lasting();
        if lasting.environments.is_empty() {
            self.poller.forget(&self.key);
            return None;
        }
        self.poller.watch(&self.key, &lasting, requested, self.before);
        self.poller.snapshot(&self.key)
    }

    fn runs_in(&self, environment: &ValidEnvironment) -> bool {
        self.current(environment).is_some() || self.live(environment).is_some()
    }

    /// Environments that are the tenant's no more, in which something of the service is all the same.
    fn left(&self, gone: &[String]) -> Vec<String> {
        let ValidService { tenant, name: service, environments, .. } = self.service;
        let told = self.before.into_iter().flat_map(|board| &board.environments).map(|state| &state.name);
        let is_left = |name: &&String| {
            let namespace = environment_namespace(tenant, name);
            let is_known = gone.contains(name) || environments.iter().any(|known| known.name == **name);
            !is_known && self.platform.cluster.deployment(&namespace, service).is_some()
        };
        told.filter(is_left).cloned().collect()
    }

    /// A mistake that stops nothing: an Environment that is deleted would else stop every service that names it.
    fn hint(&self, snapshot: &Snapshot) -> Option<String> {
        let known = self.platform.environments.all();
        let known = known.iter().map(|environment| environment.name_any()).collect();
        snapshot.branches.values().find_map(|branch| match branch {
            Branch::Head { content: Ok(content), .. } => content.unknown(&known),
            Branch::Head { .. } | Branch::Missing => None,
        })
    }

    /// Keeps the history within its limits, once it is known what every environment needs of it.
    async fn forget_the_old(&mut self, stages: &[Stage], standing: &BTreeMap<String, Standing>) {
        let needs = |stage: &Stage| {
            let environment = self.platform.environments.named(&stage.environment.name);
            let limit = environment.and_then(|environment| environment.spec.history_limit);
            let mut needs = Needs::of(stage, self.state_before(&stage.environment), limit)?;
            needs.names.extend(self.live(&stage.environment));
            let rollback = standing.get(&needs.environment).and_then(|one| one.rollback.as_ref());
            needs.names.extend(rollback.map(|rollback| rollback.release.clone()));
            Some(needs)
        };
        let Some(needs) = stages.iter().map(needs).collect::<Option<Vec<_>>>() else { return };
        let known: Vec<_> = self.stored.iter().chain(&self.last.releases).cloned().collect();
        let outcome = prune(&self.platform.cluster, self.service, (&self.history, &known), &needs).await;
        self.errors.extend(outcome.err());
    }

    pub(super) fn state_before(&self, environment: &ValidEnvironment) -> Option<&'a EnvironmentState> {
        self.before?.environments.iter().find(|state| state.name == environment.name)
    }

    /// The release that the Deployment says it runs.
    pub(super) fn live(&self, environment: &ValidEnvironment) -> Option<String> {
        let deployment = self.platform.cluster.deployment(&environment.namespace, &self.service.name)?;
        deployment.annotations().get(RELEASE).cloned()
    }

    async fn stage(
        &mut self,
        environment: &ValidEnvironment,
        standing: &Standing,
        (earlier, snapshot): (&[Stage], Option<&Snapshot>),
    ) -> Stage {
        let held = standing.held();
        let before = self.state_before(environment);
        let wanted =
            promote::wanted(self.service, environment, snapshot, (&self.history, &self.last.settled));
        if let Err(problem) = owned(self.platform, &environment.namespace, &self.service.tenant) {
            let running = self.current(environment).as_deref().map(Running::of).or_else(|| lost(before));
            let (environment, problems, course) = (environment.clone(), vec![problem], Course::default());
            return Stage {
                environment,
                wanted,
                target: None,
                running,
                observed: None,
                problems,
                course,
                held,
            };
        }
        let networks = self.networks(environment);
        let Choice { target, release, config, mut problems } = match &wanted {
            Wanted::Target(asked) => self.made(environment, asked, (&networks, earlier)).await,
            Wanted::Unknown | Wanted::Nothing { .. } => self.kept(environment, vec![]),
        };
        if target.is_none() {
            problems.extend(self.also_awaited(environment, (&wanted, &problems), snapshot).await);
        }
        let mut course = self.course(environment, standing, (&wanted, target.as_deref(), &problems)).await;
        let (mut observed, mut running) = (None, self.current(environment));
        let asked = release.map(|release| (release, config));
        let mut next = match &course.runs {
            None => asked.filter(|_| target.is_none()),
            Some(name) => asked
                .filter(|(release, _)| release.name_any() == *name)
                .or_else(|| self.known(name).map(|release| (release, None))),
        };
        if let Some((release, _)) = &next {
            let release = release.clone();
            self.remember(&release);
        }
        let rests = environment.ending.as_ref().is_some_and(Ending::is_at_rest);
        while let Some((release, config)) = next.take() {
            let shown = if rests { Arc::new(at_rest(&release)) } else { release.clone() };
            let reach = reach(self.asker(environment), &release, &self.neighbours());
            let mut outside = self.outside(environment);
            if let Some(problem) = self.path_taken(environment, &release, Some(&release)) {
                outside.taken.extend(release.spec.expose.iter().map(|expose| expose.path.clone()));
                problems.push(problem);
            }
            let rollout = release::Target {
                tenant: &self.service.tenant,
                release: &shown,
                config: config.as_ref(),
                networks: &networks,
                reach: &reach,
                outside: &outside,
            };
            if !rests && let Err(problem) = self.configured(&rollout).await {
                problems.push(problem);
                // What runs is kept in shape meanwhile.
                let runs = self.kept(environment, vec![]).release;
                next = runs.filter(|runs| runs.name_any() != release.name_any()).map(|runs| (runs, None));
                continue;
            }
            match self.rolled_out(environment, &rollout).await {
                Ok(seen) => (observed, running) = (Some(seen), Some(release)),
                Err(problem) => problems.push(problem),
            }
        }
        if let Some(running) = running.as_deref().filter(|_| observed.as_ref().is_some_and(|seen| seen.well))
        {
            course.came_right(&running.name_any());
        }
        problems.splice(0..0, course.problems.clone());
        problems.extend(running.as_deref().and_then(|running| self.shut(environment, running, &problems)));
        let running = running.as_deref().map(Running::of).or_else(|| lost(before));
        if let (Wanted::Target(asked), Some(target)) = (&wanted, &target)
            && self.history.is_healthy(target)
            && course.runs.as_ref() == Some(target)
            && let Some(snapshot) = snapshot
        {
            self.last.settled.add(self.service, &environment.name, &asked.resolved.commit, snapshot);
        }
        Stage { environment: environment.clone(), wanted, target, running, observed, problems, course, held }
    }

    /// What runs in `environment`, of what Git asks for and what became of it.
    async fn course(
        &mut self,
        environment: &ValidEnvironment,
        standing: &Standing,
        (wanted, target, problems): (&Wanted, Option<&str>, &[Problem]),
    ) -> Course {
        let current = self.current(environment).map(|current| current.name_any());
        if environment.ending.is_some() {
            return Course { runs: current, ..Course::default() };
        }
        let state = self.state_before(environment);
        let asked = match wanted {
            Wanted::Unknown => state.and_then(|state| state.candidate.as_deref()),
            Wanted::Nothing { .. } | Wanted::Target(_) => target,
        };
        let commit = match wanted {
            Wanted::Unknown => None,
            Wanted::Nothing { commit, .. } => commit.as_deref(),
            Wanted::Target(asked) => Some(asked.resolved.commit.as_str()),
        };
        let asked = Asked {
            release: asked.and_then(|name| self.history.named(name)),
            commit,
            is_new: *wanted != Wanted::Unknown,
            awaits: !problems.is_empty() || matches!(wanted, Wanted::Nothing { .. }),
        };
        let place = Place {
            service: &self.service.name,
            environment: &environment.name,
            current: current.as_deref(),
            last_good: state.and_then(|state| state.last_good.as_deref()),
            history: &self.history,
            standing,
        };
        let mut course = course(asked, place);
        if environment.frozen && current.is_some() && course.runs != current {
            let commit = commit.unwrap_or("unknown");
            course.problems.extend(problems.is_empty().then(|| frozen(environment, commit)));
            course.runs = current;
        }
        // Before anything else runs: what was asked for then may be asked for again later, and is not held then.
        if course.rollback_is_over
            && let Some(rollback) = &standing.rollback
            && let Err(error) = self.end_rollback(&rollback.held.decision).await
        {
            self.errors.push(error);
        }
        course
    }
}

/// Nothing is written into a namespace that is not the tenant's, whatever the Tenant's status told last.
pub(super) fn owned(platform: &Platform, namespace: &str, tenant: &str) -> Result<(), Problem> {
    let cluster = &platform.cluster;
    if cluster.takes(namespace, tenant) {
        return Ok(());
    }
    if cluster.belongs(namespace, tenant) {
        let message = format!("the namespace {namespace} is being deleted: it is made again when it is gone");
        return Err(Problem::new(Reason::NamespaceTerminating, message));
    }
    if !cluster.shows::<Namespace>(None, namespace) {
        let message = format!(
            "the namespace {namespace} is not there yet, or not the operator's: see the Tenant {tenant}"
        );
        return Err(Problem::new(Reason::TenantNotReady, message));
    }
    let message = format!(
        "the namespace {namespace} does not carry the label {TENANT}={tenant} any more: set it again; until then nothing is changed there"
    );
    Err(Problem::new(Reason::NamespaceForeign, message))
}

/// The release without an instance: its pods' template stays, so that all goes on as it was when that is undone.
fn at_rest(release: &Release) -> Release {
    let mut release = release.clone();
    release.spec.replicas = 0;
    release
}

/// The environments, with what people let into each.
fn let_in(environments: &[ValidEnvironment], standing: &BTreeMap<String, Standing>) -> Vec<ValidEnvironment> {
    let of = |name: &String| standing.get(name).map(|one| one.bypasses.clone()).unwrap_or_default();
    let with = |one: &ValidEnvironment| ValidEnvironment { bypasses: of(&one.name), ..one.clone() };
    environments.iter().map(with).collect()
}

/// What the board told of a release that is stored no more.
fn lost(before: Option<&EnvironmentState>) -> Option<Running> {
    let state = before?;
    let digest = state.digest.clone().unwrap_or_default();
    Some(Running { release: state.current.clone()?, digest, runtime_revision: None })
}
