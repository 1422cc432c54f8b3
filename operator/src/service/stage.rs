//! IO: one environment in a pass: what it is to run, and the roll-out of that.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Namespace},
};
use kube::ResourceExt;

use super::{
    Problem,
    choice::Choice,
    course::{Asked, Course, Place, course},
    decision::Standing,
    ending::Ending,
    entry::frozen,
    pass::Work,
    promote::{self, Wanted},
    snapshot::Snapshot,
    status::{Observation, Running, Stage},
    uses::reach,
    validate::ValidEnvironment,
};
use crate::{
    api::{Cause, OpenWindow, Release, environment::Network},
    cluster::Workload,
    conditions::Reason,
    environment::sleep::{Rest, Sleep, early},
    metrics,
    names::TENANT,
    platform::Platform,
    release::{
        self,
        hours::{self, Hours},
        scaling::wanted,
        triggers::{alone, follows},
    },
};

/// A release and, where it was made just now, its configuration.
type Next = (Arc<Release>, Option<ConfigMap>);

impl Work<'_> {
    pub(super) async fn stage(
        &mut self,
        environment: &ValidEnvironment,
        standing: &Standing,
        (earlier, snapshot): (&[Stage], Option<&Snapshot>),
    ) -> Stage {
        let held = standing.held();
        let wanted =
            promote::wanted(self.service, environment, snapshot, (&self.history, &self.last.settled));
        if let Err(problem) = owned(self.platform, &environment.namespace, &self.service.tenant) {
            let running = self.told_running(environment, self.current(environment).as_deref());
            let (environment, problems, course) = (environment.clone(), vec![problem], Course::default());
            let (target, observed) = (None, None);
            return Stage { environment, wanted, target, running, observed, problems, course, held };
        }
        if let Wanted::Target(asked) = &wanted {
            self.bind(&environment.name, asked).await;
        }
        let networks = self.networks(environment);
        let Choice { target, release, config, mut problems } = match &wanted {
            Wanted::Target(asked) => self.made(environment, asked, (&networks, earlier)).await,
            Wanted::Nothing { .. } => {
                let awaited = self.awaited_of_head(environment, &networks, snapshot).await;
                self.kept(environment, awaited)
            }
            Wanted::Unknown => self.kept(environment, vec![]),
        };
        let mut course = self.course(environment, standing, (&wanted, target.as_deref(), &problems)).await;
        let asked = release.map(|release| (release, config));
        let next = match &course.runs {
            None => asked.filter(|_| target.is_none()),
            Some(name) => asked
                .filter(|(release, _)| release.name_any() == *name)
                .or_else(|| self.known(name).map(|release| (release, None))),
        };
        let ran = self.current(environment);
        let (observed, running) =
            self.applied(environment, (next, standing), (&networks, &mut problems)).await;
        if let Some(seen) = &observed {
            let tried = seen.trial.as_ref().map(|trial| trial.release.as_str());
            self.end_trials(&environment.name, tried).await;
        }
        if let Some(running) = running.as_deref() {
            self.tell_way_back(&environment.name, &course, (ran.as_deref(), running));
            if observed.as_ref().is_some_and(Observation::rolls_out) {
                let is_of_runtime = running.spec.cause == Cause::Runtime;
                self.rolls_out.insert(environment.name.clone(), is_of_runtime);
            }
            // What has no instance is as it should be, and makes nothing good that failed.
            if observed.as_ref().is_some_and(|seen| seen.well && seen.desired > 0) {
                course.came_right(&running.name_any());
            }
        }
        problems.splice(0..0, course.problems.clone());
        problems.extend(running.as_deref().and_then(|running| self.shut(environment, running, &problems)));
        // Whoever has no instance calls nobody.
        if let Some(running) = running.as_deref().filter(|_| observed.as_ref().is_some_and(|o| o.desired > 0))
        {
            problems.extend(self.silent(environment, running));
        }
        if let (Wanted::Target(asked), Some(target)) = (&wanted, &target)
            && self.history.is_proven(target)
            && course.runs.as_ref() == Some(target)
            && let Some(snapshot) = snapshot
        {
            self.last.settled.add(self.service, &environment.name, &asked.resolved.commit, snapshot);
        }
        let (running, environment) =
            (self.told_running(environment, running.as_deref()), environment.clone());
        Stage { environment, wanted, target, running, observed, problems, course, held }
    }

    /// Rolls out `next`; where its configuration is not there, what runs is kept in shape meanwhile. How that does, and what
    /// runs then.
    async fn applied(
        &mut self,
        environment: &ValidEnvironment,
        (mut next, standing): (Option<Next>, &Standing),
        (networks, problems): (&[Network], &mut Vec<Problem>),
    ) -> (Option<Observation>, Option<Arc<Release>>) {
        let (mut observed, mut running) = (None, self.current(environment));
        if let Some((release, _)) = &next {
            let release = release.clone();
            self.remember(&release);
        }
        let rests = environment.ending.as_ref().is_some_and(Ending::is_at_rest);
        while let Some((release, config)) = next.take() {
            let wish = self.wish(environment, &release, standing);
            let asleep = self.asleep(environment, (&release, wish.is_some()));
            let at = ((self.platform.now)(), self.begins(environment));
            let shown = shown(environment, (&release, asleep.is_some()), at);
            self.look_again(hours::at(&release, at.0).next);
            self.wakes(environment, &shown);
            let reach = reach(self.asker(environment), &release, &self.neighbours());
            let mut outside = self.outside(environment);
            if wish.is_some() && release.spec.expose.is_some() {
                outside.by_query = self.asks_by_query(&outside).await;
            }
            for one in [Some(&release), wish.as_ref().map(|wish| &wish.base)].into_iter().flatten() {
                if let Some(problem) = self.path_taken(environment, one, Some(one)) {
                    outside.taken.extend(one.spec.expose.iter().map(|expose| expose.path.clone()));
                    problems.extend((!problems.contains(&problem)).then_some(problem));
                }
            }
            let rollout = release::Target {
                tenant: &self.service.tenant,
                release: &shown,
                config: config.as_ref(),
                networks,
                reach: &reach,
                outside: &outside,
            };
            if !rests && let Err(problem) = self.configured(&rollout).await {
                problems.push(problem);
                let runs = self.kept(environment, vec![]).release;
                next = runs.filter(|runs| runs.name_any() != release.name_any()).map(|runs| (runs, None));
                continue;
            }
            let mut window = None;
            let outcome = match self.tried(environment, &rollout, wish.as_ref()).await {
                Ok(tried) => {
                    window = self.window(environment, (&tried.own, asleep.is_some()));
                    let own = release::Target { release: &tried.own, ..rollout };
                    self.rolled_out(environment, &own, &tried).await
                }
                Err(problem) => Err(problem),
            };
            match outcome {
                Ok(seen) => {
                    (observed, running) =
                        (Some(Observation { asleep, window, ..seen }), self.current(environment));
                }
                Err(problem) => problems.push(problem),
            }
        }
        (observed, running)
    }

    /// Is there an instance, or KEDA, which alone would bring the first of what follows what waits?
    pub(super) fn begins(&self, environment: &ValidEnvironment) -> bool {
        let live = self.platform.cluster.workload(&environment.namespace, &self.service.name);
        let number =
            live.as_ref().and_then(Workload::deployment).and_then(|live| live.spec.as_ref()?.replicas);
        number > Some(0) || self.platform.cluster.has_scalers()
    }

    /// Until when `release` sleeps; nothing where it is awake: what is tried is tried to its end, what somebody said of the
    /// number of instances holds, and what is new of who calls it wakes it as well.
    fn asleep(
        &mut self,
        environment: &ValidEnvironment,
        (release, is_tried): (&Release, bool),
    ) -> Option<Timestamp> {
        let sleep = environment.sleep.as_ref()?;
        if is_tried || by_hand(environment, release).is_some() {
            return None;
        }
        let now = (self.platform.now)();
        let name = release.name_any();
        let news = self.history.newest_first(&environment.name).filter(|past| past.of_git);
        let news = news.filter_map(|past| past.made).max();
        let is_of_git = self.history.named(&name).is_none_or(|past| past.of_git);
        let is_other = self.current(environment).is_none_or(|current| current.name_any() != name);
        let begun = if is_other { Some(now) } else { self.begun(environment, &name) };
        let early = early(&self.service.tenant, &self.service.name);
        let of_callers = self.neighbours().called_since(self.asker(environment));
        let news = begun.filter(|_| is_of_git).max(news).max(of_callers);
        let (until, asleep) = match Sleep::valid(sleep, "").0.at(now, news, early) {
            Rest::Asleep { until } => (Some(until), Some(until)),
            Rest::Awake { until } => (until, None),
        };
        self.look_again(until);
        asleep
    }

    /// In which of its windows `release` is, where that says how many instances it has. It is looked at again when one opens
    /// or closes.
    fn window(
        &mut self,
        environment: &ValidEnvironment,
        (release, is_asleep): (&Release, bool),
    ) -> Option<OpenWindow> {
        let Hours { min, next } = hours::at(release, (self.platform.now)());
        self.look_again(next);
        let is_else = is_asleep || said_otherwise(environment, release).is_some();
        let (min, until) = min.filter(|_| !is_else)?;
        Some(OpenWindow { min, until: until.map(|until| until.to_string()) })
    }

    /// Notes since when instances come where none ran, or which a window brings: they are on their way, and nothing failed.
    fn wakes(&mut self, environment: &ValidEnvironment, shown: &Release) {
        let name = shown.name_any();
        let rested = self.state_before(environment).is_some_and(|before| {
            let is_of_window = !shown.spec.windows.is_empty() && before.current.as_ref() == Some(&name);
            let is_less = is_of_window && before.desired < shown.spec.replicas;
            before.desired == 0 && before.current.is_some() || is_less
        });
        let live = self.platform.cluster.workload(&environment.namespace, &self.service.name);
        let live = live.as_ref().and_then(Workload::deployment);
        if least_now(live, shown) == 0 {
            self.last.woken.remove(&environment.name);
        } else if rested {
            self.last.woken.insert(environment.name.clone(), (self.platform.now)());
        }
    }

    /// Counts that another release than before runs now, and not the one that Git asks for.
    fn tell_way_back(&self, environment: &str, course: &Course, (ran, runs): (Option<&Release>, &Release)) {
        let is_other = ran.is_some_and(|ran| ran.name_any() != runs.name_any());
        if let Some(reason) = course.way_back().filter(|_| is_other) {
            let labels = [&self.service.tenant, environment, reason.as_str()];
            metrics::ROLLBACKS.with_label_values(&labels).inc();
        }
    }

    /// What runs, else what the board told of a release that is stored no more.
    fn told_running(&self, environment: &ValidEnvironment, running: Option<&Release>) -> Option<Running> {
        let lost = || {
            let state = self.state_before(environment)?;
            let digest = state.digest.clone().unwrap_or_default();
            Some(Running { release: state.current.clone()?, digest, runtime_revision: None })
        };
        running.map(Running::of).or_else(lost)
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
            trial: state.and_then(|state| Some(state.trial.as_ref()?.release.as_str())),
            last_good: state.and_then(|state| state.last_good.as_deref()),
            history: &self.history,
            standing,
        };
        let mut course = course(asked, place);
        // What is tried stays at its step.
        let is_tried = course.runs.as_deref().is_some_and(|runs| place.trial == Some(runs));
        if environment.entry.frozen && current.is_some() && course.runs != current && !is_tried {
            let commit = commit.unwrap_or("unknown");
            course.problems.extend(problems.is_empty().then(|| frozen(&environment.name, commit)));
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

/// `release` with as many instances as somebody said for a time, with none at rest or asleep, else with those that a window
/// of its own says. One that follows what waits has some at least where nothing `begins`.
pub(super) fn shown(
    environment: &ValidEnvironment,
    (release, is_asleep): (&Arc<Release>, bool),
    (now, begins): (Timestamp, bool),
) -> Arc<Release> {
    let number = said_otherwise(environment, release).or(is_asleep.then_some(0));
    if let Some(number) = number {
        return Arc::new(fixed(release, number));
    }
    let by_hours = hours::at(release, now).min.map(|(min, _)| i32::from(min));
    let alone = alone(release).filter(|_| !begins);
    let least = by_hours.unwrap_or(release.spec.replicas).max(alone.unwrap_or_default());
    if least == release.spec.replicas {
        return release.clone();
    }
    let mut shown = Release::clone(release);
    shown.spec.replicas = least;
    Arc::new(shown)
}

/// The number of instances at rest, else the one by hand.
fn said_otherwise(environment: &ValidEnvironment, release: &Release) -> Option<u16> {
    let rests = environment.ending.as_ref().is_some_and(Ending::is_at_rest);
    if rests { Some(0) } else { by_hand(environment, release) }
}

/// How many there are to be at least, as somebody says or KEDA does, which brings the first and takes the last away.
fn least_now(live: Option<&Deployment>, shown: &Release) -> i32 {
    if follows(shown) { wanted(live, shown) } else { shown.spec.replicas }
}

fn by_hand(environment: &ValidEnvironment, release: &Release) -> Option<u16> {
    environment.scaled.filter(|_| release.spec.schedule.is_none())
}

/// The release with so many instances, whatever the load, and never two of what runs alone. Its pods' template stays, so that
/// all goes on as it was when that is undone.
fn fixed(release: &Release, number: u16) -> Release {
    let mut release = release.clone();
    release.spec.replicas = i32::from(if release.spec.many { number } else { number.min(1) });
    release.spec.scaling = None;
    release
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        api::{Retirement, RetirementStage},
        sample,
    };

    /// How many instances there are to be at noon of a release of 2 that has 4 by day, and whether load may add some.
    fn number(environment: &ValidEnvironment, is_asleep: bool, more: &str) -> (i32, bool) {
        let by_day = "windows: [{schedule: 0 8 * * *, duration: 10h, min: 4}]";
        let release = Arc::new(sample::release("orders-dev-a", &format!("{by_day}, {more}")));
        let noon = "2026-01-06T12:00:00Z".parse().unwrap();
        let shown = shown(environment, (&release, is_asleep), (noon, true));
        assert_eq!(shown.spec.template, release.spec.template);
        (shown.spec.replicas, shown.spec.scaling.is_some())
    }

    #[test]
    fn rest_goes_before_a_number_by_hand_before_sleep_before_a_window_before_the_usual_number() {
        let mut environment = sample::environment("dev", None);
        let load = "scaling: {max: 6, downAfterSeconds: 300}";
        assert_eq!(number(&environment, false, "many: true"), (4, false));
        assert_eq!(number(&environment, false, load), (4, true), "load adds to it");
        assert_eq!(number(&environment, true, load), (0, false));
        environment.scaled = Some(3);
        assert_eq!(number(&environment, true, load), (3, false));
        let retirement = Retirement { stage: RetirementStage::Retiring, until: String::new() };
        environment.ending = Some(Ending { retirement, message: String::new() });
        assert_eq!(number(&environment, true, load), (0, false));
    }

    #[test]
    fn what_follows_what_waits_has_instances_where_nobody_would_bring_the_first() {
        let least_of = |fallback: &str, more: &str, is_asleep: bool, has_scalers: bool| {
            let trigger = "{broker: a, kafka: {topic: a, group: a, lag: 1}}";
            let scaling =
                format!("scaling: {{max: 5, downAfterSeconds: 300, triggers: [{trigger}]{fallback}}}");
            let release =
                Arc::new(sample::release("orders-dev-a", &format!("type: worker, {scaling}, {more}")));
            let noon = "2026-01-06T12:00:00Z".parse().unwrap();
            let environment = sample::environment("dev", None);
            shown(&environment, (&release, is_asleep), (noon, has_scalers)).spec.replicas
        };
        let by_day = "replicas: 2, windows: [{schedule: 0 8 * * *, duration: 10h, min: 0}]";
        for (fallback, alone) in [("", 1), (", fallback: {after: 3, instances: 2}", 2)] {
            let least = |more: &str, is_asleep, has_scalers| least_of(fallback, more, is_asleep, has_scalers);
            for none in ["replicas: 0", by_day] {
                assert_eq!((least(none, false, true), least(none, false, false)), (0, alone), "{none}");
                assert_eq!(least(none, true, false), 0, "it is to sleep");
            }
            assert_eq!(least("replicas: 3", false, false), 3);
        }
    }
}
