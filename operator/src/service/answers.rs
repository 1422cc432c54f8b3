//! IO: answers the decisions of people, each once, and keeps a bounded number. What follows is written before the answer,
//! and the answer before anything is rolled out: whoever ends in between finds the decision again, and nothing happens twice.

use std::{collections::BTreeMap, sync::Arc};

use futures::{StreamExt, stream};
use k8s_openapi::api::batch::v1::{CronJob, Job};
use kube::{ResourceExt, api::ObjectMeta, runtime::reflector::ObjectRef};

use super::{
    Problem,
    attempt::{failed, tried_again},
    decision::{
        Answer, KEPT, Situation, Standing, age, answer, bound, ended, expiry, holds, is_answered, order,
        over, refused, standing, surplus, tried_no_more,
    },
    pass::Work,
    promote::Target,
    written::Last,
};
use crate::{
    api::{
        DecisionAction, IntegrationService, Release, ReleaseDecision, ReleaseDecisionStatus, ReleaseStatus,
    },
    cluster::{ApplyError, Cluster, ObjectKey},
    conditions::Reason,
    metrics,
    names::{self, RELEASE, environment_namespace, tenant_of_home},
    platform::Platform,
    policies::Missing,
    release::runs::on_demand,
};

/// Removed in one pass: what is removed wakes the next.
const AT_ONCE: usize = 20;

impl Work<'_> {
    /// Answers what has no answer, and says of each environment what holds there.
    pub(super) async fn decide(&mut self) -> BTreeMap<String, Standing> {
        if let Err(error) = self.answer_all().await {
            self.errors.push(error);
        }
        let now = (self.platform.now)();
        let standing = |name: &String| (name.clone(), standing(&self.decisions, name, now));
        let all = self.service.environments.iter().map(|environment| standing(&environment.name)).collect();
        let next = self.decisions.iter().filter(|one| holds(one)).filter_map(|one| expiry(one));
        self.look_again(next.filter(|expiry| *expiry >= now).min());
        all
    }

    async fn answer_all(&mut self) -> Result<(), ApplyError> {
        let mut open = self.decisions.clone();
        open.retain(|decision| !is_answered(decision));
        open.sort_by_key(|decision| age(decision));
        for decision in open {
            let answer = match self.policies.proven() {
                Ok(()) => self.judged(&decision),
                // What admits them is told to be there or not in a moment.
                Err(Missing::Untried | Missing::Unknown { .. }) => continue,
                Err(missing @ (Missing::NotEnforced(_) | Missing::Shadowed { .. })) => {
                    let message =
                        format!("nothing proves that its author made it: {missing}; then make it again");
                    let status = refused(Problem::new(missing.reason(), message));
                    Answer { status, ..Answer::default() }
                }
            };
            self.follow(&decision, answer).await?;
        }
        for (name, status) in ended(&self.decisions, (self.platform.now)()) {
            self.say(&name, status).await?;
        }
        prune(&self.platform.cluster, self.last, &self.decisions).await
    }

    fn judged(&self, decision: &ReleaseDecision) -> Answer {
        let now = (self.platform.now)();
        let standing = standing(&self.decisions, &decision.spec.environment, now);
        let Self { service, before: board, history, decisions, .. } = self;
        let namespace = environment_namespace(&service.tenant, &decision.spec.environment);
        let workload = self.platform.cluster.workload(&namespace, &service.name);
        let (board, workload, jobs) = (*board, workload.as_ref(), &self.runs_begun_in(&namespace));
        let environment = service.environments.iter().find(|one| one.name == decision.spec.environment);
        let release = environment.and_then(|environment| self.current(environment));
        let trial = environment.and_then(|environment| self.state_before(environment)?.trial.as_ref());
        let tried = trial.and_then(|trial| self.known(&trial.release));
        let quota = self.platform.cluster.quota(&namespace);
        let (standing, quota) = (&standing, quota.as_deref());
        let (release, tried) = (release.as_deref(), tried.as_deref());
        let situation = Situation {
            service,
            board,
            history,
            decisions,
            standing,
            workload,
            jobs,
            release,
            tried,
            quota,
            now,
        };
        answer(decision, situation)
    }

    /// The runs there, with those that people began and the watch does not show yet.
    fn runs_begun_in(&self, namespace: &str) -> Vec<Arc<Job>> {
        let (cluster, service) = (&self.platform.cluster, &self.service.name);
        let mut jobs = cluster.jobs(namespace, service);
        let decided = self.decisions.iter().filter(|one| one.spec.action == DecisionAction::Run);
        for run in decided.map(|one| names::run(service, &one.uid().unwrap_or_default())) {
            let is_shown = jobs.iter().any(|job| job.name_any() == run);
            if !is_shown && cluster.has_written::<Job>(Some(namespace), &run) {
                let metadata = ObjectMeta { name: Some(run), ..ObjectMeta::default() };
                jobs.push(Arc::new(Job { metadata, ..Job::default() }));
            }
        }
        jobs
    }

    /// Does what follows from a decision, then answers it.
    async fn follow(&mut self, decision: &ReleaseDecision, answer: Answer) -> Result<(), ApplyError> {
        let name = decision.name_any();
        if let Some(release) = answer.tried_again.as_ref().and_then(|release| self.known(release)) {
            let status = tried_again(&release, &name, (self.platform.now)());
            self.tell_release(&release, status).await?;
        }
        if let Some((release, why)) = &answer.fails
            && let Some(release) = self.known(release)
        {
            let (now, past) = ((self.platform.now)(), self.history.named(&release.name_any()).cloned());
            self.tell_release(&release, failed(&release, (why, None), now)).await?;
            self.count_failed(&release, &past.unwrap_or_default(), now);
        }
        let is_ended = |one: &&Arc<ReleaseDecision>| {
            holds(one)
                && one.spec.environment == decision.spec.environment
                && answer.ends.contains(&one.spec.action)
        };
        let ended: Vec<_> = self.decisions.iter().filter(is_ended).cloned().collect();
        for one in ended {
            self.say(&one.name_any(), over(&one, &format!("resumed by {name}"))).await?;
        }
        if let Some(run) = &answer.begins
            && !self.begin_run(&decision.spec.environment, (run, answer.status.release.as_ref())).await?
        {
            return Ok(());
        }
        self.say(&name, answer.status).await
    }

    /// Begins this run of that release, unless it did before; false where another release runs by now.
    async fn begin_run(
        &self,
        environment: &str,
        (run, release): (&str, Option<&String>),
    ) -> Result<bool, ApplyError> {
        let (cluster, service) = (&self.platform.cluster, self.service);
        let namespace = environment_namespace(&service.tenant, environment);
        if cluster.has::<Job>(&namespace, run).await? {
            return Ok(true);
        }
        let key = ObjectKey::named::<CronJob>(Some(&namespace), &service.name);
        let live = cluster.read::<CronJob>(&key).await?;
        let Some(live) = live.filter(|live| live.annotations().get(RELEASE) == release) else {
            return Ok(false);
        };
        cluster.apply(on_demand(&live, run)).await?;
        Ok(true)
    }

    /// Git asks for something else than what the rollback went back from.
    pub(super) async fn end_rollback(&mut self, decision: &str) -> Result<(), ApplyError> {
        let Some(known) = self.decisions.iter().find(|one| one.name_any() == decision).cloned() else {
            return Ok(());
        };
        self.say(decision, over(&known, "Git asks for something else")).await
    }

    /// Pauses and steps that were skipped are of what is tried, and over with it.
    pub(super) async fn end_trials(&mut self, environment: &str, tried: Option<&str>) {
        let is_over = |one: &&Arc<ReleaseDecision>| {
            let of = one.status.as_ref().and_then(|status| status.release.as_deref());
            holds(one)
                && one.spec.environment == environment
                && matches!(one.spec.action, DecisionAction::Pause | DecisionAction::Skip)
                && of != tried
        };
        let ended: Vec<_> = self.decisions.iter().filter(is_over).cloned().collect();
        let states = self.before.into_iter().flat_map(|board| &board.environments);
        let trial =
            states.into_iter().find(|state| state.name == environment).and_then(|state| state.trial.clone());
        for one in ended {
            if let Err(error) =
                self.say(&one.name_any(), over(&one, &tried_no_more(&one, trial.as_ref()))).await
            {
                self.errors.push(error);
            }
        }
    }

    /// A bypass whose image nobody had seen is of this one from now on.
    pub(super) async fn bind(&mut self, environment: &str, asked: &Target) {
        let found = (asked.resolved.build_id.as_str(), asked.digest.as_str());
        for (name, status) in bound(&self.decisions, environment, found) {
            if let Err(error) = self.say(&name, status).await {
                self.errors.push(error);
            }
        }
    }

    /// Writes what a decision came to.
    async fn say(&mut self, name: &str, status: ReleaseDecisionStatus) -> Result<(), ApplyError> {
        let Some(decision) = self.decisions.iter_mut().find(|one| one.name_any() == name) else {
            return Ok(());
        };
        say(&self.platform.cluster, self.last, decision, status).await
    }

    /// Writes what became of a release, and counts on it from now on.
    pub(super) async fn tell_release(
        &mut self,
        release: &Release,
        status: ReleaseStatus,
    ) -> Result<(), ApplyError> {
        let name = release.name_any();
        self.platform.cluster.write_status(release, &status).await?;
        self.history.told(&name, &status);
        for known in self.stored.iter_mut().chain(&mut self.last.releases) {
            if known.name_any() == name {
                Arc::make_mut(known).status = Some(status.clone());
            }
        }
        self.last.told.insert(name, status);
        Ok(())
    }
}

/// What people decided about `service`, as it was answered last.
pub(super) fn about(
    platform: &Platform,
    (home, service): (&str, &str),
    last: &mut Last,
) -> Vec<Arc<ReleaseDecision>> {
    let mut decisions = platform.decisions.all_in(home);
    decisions.retain(|decision| decision.spec.service == service);
    last.as_answered(&mut decisions);
    decisions
}

/// Refuses what is decided of a service that cannot be acted on. One that is just not ready yet takes it when it is.
pub(super) async fn refuse_all(
    platform: &Platform,
    service: &IntegrationService,
    last: &mut Last,
    why: &Problem,
) -> Result<(), ApplyError> {
    let (home, name) = (service.namespace().unwrap_or_default(), service.name_any());
    let is_home = tenant_of_home(&home).is_some_and(|tenant| platform.cluster.takes(&home, tenant));
    if !is_home || why.reason == Reason::TenantNotReady {
        return Ok(());
    }
    let mut decisions = about(platform, (&home, &name), last);
    let message = format!("{}; then make it again", why.message);
    for decision in decisions.iter_mut().filter(|decision| !is_answered(decision)) {
        let status = refused(Problem::new(why.reason, message.clone()));
        say(&platform.cluster, last, decision, status).await?;
    }
    prune(&platform.cluster, last, &decisions).await
}

/// Writes what a decision came to.
async fn say(
    cluster: &Cluster,
    last: &mut Last,
    decision: &mut Arc<ReleaseDecision>,
    status: ReleaseDecisionStatus,
) -> Result<(), ApplyError> {
    let status = ReleaseDecisionStatus { order: order(decision), ..status };
    if decision.status.as_ref() == Some(&status) {
        return Ok(());
    }
    cluster.write_status(decision.as_ref(), &status).await?;
    told(decision, &status);
    if let Some(uid) = decision.uid() {
        last.answered.insert(uid, status.clone());
    }
    Arc::make_mut(decision).status = Some(status);
    Ok(())
}

/// Logs what was written, and counts the first answer.
fn told(decision: &ReleaseDecision, status: &ReleaseDecisionStatus) {
    let (name, action) = (decision.name_any(), decision.spec.action.as_str());
    let home = decision.namespace().unwrap_or_default();
    let tenant = tenant_of_home(&home).unwrap_or_default();
    let ReleaseDecisionStatus { state, reason, .. } = status;
    tracing::info!(decision = %name, action, ?state, reason, tenant, "decision answered");
    if let Some(state) = state.filter(|_| !is_answered(decision)) {
        metrics::DECISIONS.with_label_values(&[tenant, action, state.as_str()]).inc();
    }
}

/// Removes answered decisions that hold no more, beyond what is kept of each environment, as far as the watch shows them
/// answered: who may decide in one environment takes nothing from another.
async fn prune(cluster: &Cluster, last: &Last, decisions: &[Arc<ReleaseDecision>]) -> Result<(), ApplyError> {
    let is_shown =
        |one: &&Arc<ReleaseDecision>| one.uid().is_some_and(|uid| !last.answered.contains_key(&uid));
    let shown: Vec<_> = decisions.iter().filter(is_shown).cloned().collect();
    for decision in surplus(&shown).into_iter().take(AT_ONCE) {
        cluster.delete_unchanged(decision.as_ref()).await?;
    }
    Ok(())
}

/// What was decided of `service`, if it is not there any more.
fn decided_of_gone(
    platform: &Platform,
    service: &ObjectRef<IntegrationService>,
) -> Vec<ObjectRef<ReleaseDecision>> {
    let home = service.namespace.as_deref().unwrap_or_default();
    if platform.services.named_in(home, &service.name).is_some() {
        return vec![];
    }
    let decisions = platform.decisions.all_in(home);
    let of_it = decisions.iter().filter(|decision| decision.spec.service == service.name);
    of_it.map(|decision| ObjectRef::from_obj(decision.as_ref())).collect()
}

/// Refuses what is decided of services that are not there, until `shutdown` resolves, and keeps no more of that than of a
/// service.
pub(super) async fn refuse_strays(platform: Platform, shutdown: impl Future<Output = ()> + Send) {
    let of_gone =
        platform.services.changes().flat_map(|service| stream::iter(decided_of_gone(&platform, &service)));
    let changes = stream::select(platform.decisions.changes(), of_gone);
    let mut changes = std::pin::pin!(changes.take_until(shutdown));
    while let Some(changed) = changes.next().await {
        let home = changed.namespace.as_deref().unwrap_or_default();
        let is_home = tenant_of_home(home).is_some_and(|tenant| platform.cluster.takes(home, tenant));
        let Some(stray) = platform.decisions.named_in(home, &changed.name).filter(|_| is_home) else {
            continue;
        };
        let is_stray = |one: &ReleaseDecision| platform.services.named_in(home, &one.spec.service).is_none();
        if !is_stray(&stray) {
            continue;
        }
        let mut strays = platform.decisions.all_in(home);
        strays.retain(|one| is_stray(one));
        strays.sort_by_key(|one| std::cmp::Reverse(age(one)));
        let outcome = match strays.get(KEPT) {
            Some(oldest) => platform.cluster.delete_unchanged(oldest.as_ref()).await,
            None if is_answered(&stray) => Ok(()),
            None => {
                let message = format!("there is no service {} in {home}", stray.spec.service);
                let status = refused(Problem::new(Reason::ServiceMissing, message));
                let written = platform.cluster.write_status(stray.as_ref(), &status).await;
                written.map(|()| told(&stray, &status))
            }
        };
        if let Err(error) = outcome {
            tracing::warn!(error = &error as &dyn std::error::Error, "decision not answered");
        }
    }
}
