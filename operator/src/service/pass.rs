//! IO: one pass over one service's environments, each after those that it promotes from: what is decided, made, chosen
//! and forgotten.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use kube::ResourceExt;
use tokio::sync::Semaphore;

use super::{
    analyses::Analyses,
    answers::about,
    decision::Standing,
    history::{History, Needs},
    places::Places,
    poll::{Key, Poller},
    prune::prune,
    recall::recalled,
    reconcile::Context,
    relations::Relations,
    rounds::Rounds,
    snapshot::{Branch, Snapshot},
    status::{Pass, Stage},
    validate::{ValidEnvironment, ValidService},
    written::Last,
};
use crate::{
    api::{
        IntegrationService, IntegrationServiceStatus, Release, ReleaseDecision,
        integration_service::EnvironmentState,
    },
    cluster::ApplyError,
    names::{RECONCILE_REQUESTED, environment_namespace},
    platform::Platform,
    policies::Policies,
    registry::signature::Seal,
};

/// One pass under way.
pub(super) struct Work<'a> {
    pub platform: &'a Platform,
    pub poller: &'a Poller,
    pub relations: &'a Relations,
    pub rounds: &'a Rounds,
    pub analyses: &'a Analyses,
    pub places: &'a Places,
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
    /// What images that are new somewhere are to be.
    pub seals: BTreeSet<Seal>,
    /// No watch will tell when it is there.
    pub awaits_unwatched: bool,
    /// No watch will tell when it is time.
    pub again: Option<Duration>,
    /// Services that have a path which this one exposes, too.
    pub rivals: Vec<Key>,
    /// Environments in which it is rolled out, and whether that is what a changed runtime brought.
    pub rolls_out: BTreeMap<String, bool>,
}

impl<'a> Work<'a> {
    /// `before`: the status as it was told last; what it forgot is recalled.
    pub(super) async fn new(
        ctx: &'a Context,
        service: &'a ValidService,
        before: &'a mut Option<IntegrationServiceStatus>,
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
        let decisions = about(&ctx.platform, (&service.home(), &service.name), last);
        let mut work = Self {
            platform: &ctx.platform,
            poller: &ctx.poller,
            relations: &ctx.relations,
            rounds: &ctx.rounds,
            analyses: &ctx.analyses,
            places: &ctx.places,
            config_writes: &ctx.config_writes,
            key: Key::new(&service.name).within(&service.home()),
            service,
            policies: &ctx.policies,
            before: None,
            last,
            stored,
            decisions,
            snapshot: None,
            history,
            errors,
            seals: BTreeSet::new(),
            awaits_unwatched: false,
            again: None,
            rivals: Vec::new(),
            rolls_out: BTreeMap::new(),
        };
        *before = recalled(before.take(), (service, &work.history), |environment| work.live(environment));
        work.before = before.as_ref();
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
        self.poller.ask_for_signatures(&self.key, std::mem::take(&mut self.seals));
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

    /// Asks for another pass at that moment at the latest.
    pub(super) fn look_again(&mut self, when: Option<Timestamp>) {
        let wait = when.map(|when| when.duration_since((self.platform.now)()));
        let wait = wait.and_then(|wait| Duration::try_from(wait).ok());
        self.again = self.again.into_iter().chain(wait).min();
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
            !is_known && self.platform.cluster.workload(&namespace, service).is_some()
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

    /// The release that is said to run by what runs it.
    pub(super) fn live(&self, environment: &ValidEnvironment) -> Option<String> {
        self.platform.cluster.workload(&environment.namespace, &self.service.name)?.release().cloned()
    }
}

/// The environments, with what people let into each.
fn let_in(environments: &[ValidEnvironment], standing: &BTreeMap<String, Standing>) -> Vec<ValidEnvironment> {
    let with = |one: &ValidEnvironment| {
        let standing = standing.get(&one.name).cloned().unwrap_or_default();
        let Standing {
            bypasses,
            approved,
            passed,
            scale,
            hold: _,
            pause: _,
            skipped: _,
            rollback: _,
            rejections: _,
        } = standing;
        let scaled = scale.map(|(_, number)| number);
        ValidEnvironment { bypasses, approved, passed, scaled, ..one.clone() }
    };
    environments.iter().map(with).collect()
}
