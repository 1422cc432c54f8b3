//! IO: applies what runs a release in one environment, and tells on it what became of it.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::{apps::v1::Deployment, core::v1::ConfigMap};
use kube::ResourceExt;

use super::{
    Problem,
    attempt::{failed, given_up, healthy},
    observation::{Kind, as_before, observation},
    pass::Work,
    rounds::Ward,
    smoke::Check,
    status::Observation,
    trial::Tried,
    validate::ValidEnvironment,
    written::Look,
};
use crate::{
    api::Release,
    cluster::{ApplyError, Workload},
    conditions::Reason,
    names,
    release::{self, Observed, Phase, RolledOut, Trouble, down_since, late_since},
};

/// Between two looks at pods that are not ready and do not tell why.
const UNTOLD: Duration = Duration::from_secs(3);
/// The same once they told.
const TOLD: Duration = Duration::from_secs(15);
/// Looks that are kept of an environment: at what runs, and at what is tried beside it.
const LOOKS: usize = 2;

impl Work<'_> {
    /// Applies what runs a release. It runs from then on, and what ran before until then.
    pub(super) async fn rolled_out(
        &mut self,
        environment: &ValidEnvironment,
        target: &release::Target<'_>,
        tried: &Tried,
    ) -> Result<Observation, Problem> {
        let cluster = &self.platform.cluster;
        let now = (self.platform.now)();
        let before = self.current(environment).map(|current| current.name_any());
        let RolledOut { seen, again, route, scaler } =
            Box::pin(release::roll_out(cluster, target, &tried.trial(), now))
                .await
                .map_err(|error| self.failed(error))?;
        self.again = self.again.into_iter().chain(again).min();
        let name = target.release.name_any();
        if before.is_some_and(|before| before != name) {
            self.last.begun.insert(environment.name.clone(), (name.clone(), now));
        }
        self.last.applied.insert(environment.name.clone(), target.release.name_any());
        let live = cluster.workload(&environment.namespace, &self.service.name);
        let begun = self.begun(environment, &name);
        let trouble = self.examined(environment, target, (live, begun), &seen).await;
        let mut observation = self.seen(environment, target.release, (seen, trouble)).await;
        self.exposed(environment, target, &mut observation).await;
        self.instances(environment, (target, tried.check()), &mut observation);
        self.scaled(environment, target, &mut observation);
        self.tell_trial(environment, target, (tried, route.is_ok(), &mut observation)).await;
        let refused = route.err().into_iter().chain(scaler.err());
        observation.problems.extend(refused.map(|error| self.failed(error)));
        let may_lack =
            |problem: &Problem| matches!(problem.reason, Reason::Unhealthy | Reason::SecretMissing);
        if observation.problems.iter().any(may_lack)
            && let Err(missing) = self.secrets_of(environment, target.release).await
        {
            // They say what the kubelet says, and what to do.
            observation.problems.retain(|told| missing.iter().all(|one| one.reason != told.reason));
            observation.problems.splice(0..0, missing);
        }
        Ok(observation)
    }

    /// Why it is not well. What cannot become so is given up.
    pub(super) async fn examined(
        &mut self,
        environment: &ValidEnvironment,
        target: &release::Target<'_>,
        (live, begun): (Option<Workload>, Option<Timestamp>),
        seen: &Observed,
    ) -> Option<Trouble> {
        let late = if seen.phase == Phase::Down { down_since } else { late_since };
        let missed = live.as_ref().and_then(Workload::deployment).and_then(late);
        let now = (self.platform.now)();
        let missed = missed.is_some_and(|missed| missed <= now && begun.is_none_or(|begun| missed > begun));
        match self.trouble(environment, target, (live, begun), seen).await {
            Ok(trouble) => {
                self.give_up(environment, target.release, (seen, trouble.as_ref(), missed)).await;
                trouble
            }
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "pods not read");
                None
            }
        }
    }

    /// What runs, and what that says of itself; until that is known in this run of the operator, what was told last.
    fn instances(
        &self,
        environment: &ValidEnvironment,
        (target, check): (&release::Target<'_>, Option<Check>),
        observation: &mut Observation,
    ) {
        let before = self.state_before(environment);
        let live = self.platform.cluster.workload(&environment.namespace, &self.service.name);
        let deployment = live.as_ref().and_then(Workload::deployment);
        let beside =
            self.platform.cluster.workload(&environment.namespace, &names::beside(&self.service.name));
        let beside = beside.as_ref().and_then(Workload::deployment);
        let ward = deployment.and_then(|deployment| Ward::of(deployment, (beside, check), target));
        let is_told = before.is_some_and(|before| !before.instances.is_empty());
        let instances = self.rounds.watch((&self.key, &environment.name), ward, is_told);
        let degraded = match &instances {
            Some(instances) => instances.problem(),
            None => before.and_then(|before| {
                let mut told = before.waiting.iter();
                let told = told.find(|waiting| waiting.reason == Reason::RuntimeDegraded.as_str())?;
                Some(Problem::new(Reason::RuntimeDegraded, &told.message))
            }),
        };
        observation.problems.extend(degraded);
        observation.instances = instances;
    }

    /// Why it is not well, as its pods say: asked at once, then every few seconds as long as it is so.
    async fn trouble(
        &mut self,
        environment: &ValidEnvironment,
        target: &release::Target<'_>,
        (live, since): (Option<Workload>, Option<Timestamp>),
        seen: &Observed,
    ) -> Result<Option<Trouble>, ApplyError> {
        let is_asked = match &seen.phase {
            Phase::RollingOut | Phase::Outlasted { .. } => seen.updated > 0,
            Phase::FirstRun | Phase::Down | Phase::Failed { .. } => true,
            Phase::Healthy
            | Phase::Stopped
            | Phase::Scheduled { .. }
            | Phase::Unread
            | Phase::Blocked { .. } => false,
        };
        let (now, release) = ((self.platform.now)(), target.release.name_any());
        let looks = self.last.looks.entry(environment.name.clone()).or_default();
        if !is_asked {
            looks.retain(|look| look.release != release);
            return Ok(None);
        }
        let before = looks.iter().find(|look| look.release == release);
        let look = if let Some(look) = before.filter(|look| now < look.next) {
            look.clone()
        } else {
            self.again = self.again.into_iter().chain([UNTOLD]).min();
            let trouble = release::troubled(&self.platform.cluster, target, (live, since, now)).await?;
            let is_told =
                matches!(trouble, Some(Trouble::Loops(..) | Trouble::Fails(_) | Trouble::Blocked(..)));
            Look { release, trouble, next: now + if is_told { TOLD } else { UNTOLD } }
        };
        let wait = Duration::try_from(look.next.duration_since(now)).unwrap_or(UNTOLD);
        self.again = self.again.into_iter().chain([wait]).min();
        let looks = self.last.looks.entry(environment.name.clone()).or_default();
        looks.retain(|other| other.release != look.release);
        looks.truncate(LOOKS - 1);
        looks.insert(0, look.clone());
        Ok(look.trouble)
    }

    /// Since when this release runs there, where that began in this run of the operator.
    pub(super) fn begun(&self, environment: &ValidEnvironment, release: &str) -> Option<Timestamp> {
        self.last.begun.get(&environment.name).filter(|(of, _)| of == release).map(|(_, since)| *since)
    }

    /// Gives up a release that does not run well and cannot come to it.
    async fn give_up(
        &mut self,
        environment: &ValidEnvironment,
        release: &Release,
        (seen, trouble, missed): (&Observed, Option<&Trouble>, bool),
    ) {
        let Some(why) = given_up(seen, trouble, missed) else { return };
        let why = match self.rounds.seen(&self.key, &environment.name).and_then(|seen| seen.problem()) {
            Some(degraded) => format!("{why}: {}", degraded.message),
            None => why,
        };
        let last_words = match trouble {
            Some(Trouble::Loops(_, last_words)) => last_words.clone(),
            Some(Trouble::Fails(_) | Trouble::Unready(_) | Trouble::Blocked(..)) | None => None,
        };
        self.fail(environment, release, (&why, last_words)).await;
    }

    /// Tells on a release that it is given up: the next pass goes back. One that ran well last is not to blame.
    pub(super) async fn fail(
        &mut self,
        environment: &ValidEnvironment,
        release: &Release,
        (why, last_words): (&str, Option<String>),
    ) {
        let name = release.name_any();
        let was_good = self.state_before(environment).is_some_and(|b| b.last_good.as_ref() == Some(&name));
        let is_told = self.history.named(&name).is_some_and(|past| past.failed.is_some());
        if was_good || is_told || environment.ending.is_some() {
            return;
        }
        tracing::warn!(release = name, tenant = self.service.tenant, "given up");
        let (now, past) = ((self.platform.now)(), self.history.named(&name).cloned().unwrap_or_default());
        match self.tell_release(release, failed(release, (why, last_words), now)).await {
            Ok(()) => self.count_failed(release, &past, now),
            Err(error) => self.errors.push(error),
        }
    }

    /// Pods without their configuration would not start. It is stored; what of it is not known from Git must be in the
    /// cluster.
    pub(super) async fn configured(&mut self, target: &release::Target<'_>) -> Result<(), Problem> {
        let (cluster, namespace) = (&self.platform.cluster, target.namespace());
        if let Some(config) = target.config {
            // It may be large. An error means that the operator ends.
            let _turn = self.config_writes.acquire().await.ok();
            return cluster.apply(config.clone()).await.map(drop).map_err(|error| self.failed(error));
        }
        let Some(config) = &target.release.spec.config else { return Ok(()) };
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

    /// Tells a release's health on itself, once: the first, that after it was given up, and what is missing until it counts
    /// elsewhere.
    async fn seen(
        &mut self,
        environment: &ValidEnvironment,
        release: &Release,
        (seen, trouble): (Observed, Option<Trouble>),
    ) -> Observation {
        let name = release.name_any();
        if seen.phase == Phase::Unread
            && let Some(told) = as_before(&name, self.state_before(environment))
        {
            return told;
        }
        if seen.phase == Phase::Healthy {
            self.last.woken.remove(&environment.name);
            let now = (self.platform.now)();
            let passed = environment.passes(&release.spec.digest);
            let since = release::well_since(&self.platform.cluster, &environment.namespace, release);
            let times = (since.unwrap_or(now), now);
            let place =
                (self.service.name.as_str(), environment.name.as_str(), environment.namespace.as_str());
            let missing = environment.proof.missing(times, &passed, place);
            self.look_again(missing.as_ref().and_then(|missing| missing.until));
            let told = missing.as_ref().map(|missing| &missing.message);
            self.count_restored(&environment.name, now);
            // Once proven, for ever.
            let is_told = self.history.named(&name).is_some_and(|past| {
                let says_it = past.unproven.is_none() || past.unproven.as_ref() == told;
                past.healthy && past.failed.is_none() && says_it
            });
            if !is_told {
                let past = self.history.named(&name).cloned().unwrap_or_default();
                match self.tell_release(release, healthy(release, missing.as_ref(), now)).await {
                    Ok(()) => {
                        tracing::info!(release = %name, tenant = self.service.tenant, "healthy");
                        self.count_healthy(release, &past, now);
                    }
                    Err(error) => self.errors.push(error),
                }
            }
        }
        // One that it went back to is said to be settled while it starts: it was not the last that was good.
        let last_good = self.state_before(environment).and_then(|state| state.last_good.as_ref());
        let live = self.platform.cluster.workload(&environment.namespace, &self.service.name);
        let deployment = live.as_ref().and_then(Workload::deployment);
        let was_good = last_good == Some(&name) && !self.is_waking(environment, deployment);
        if was_good && matches!(seen.phase, Phase::Down | Phase::Failed { .. }) {
            self.stops_baking(environment, release).await;
        }
        let place = (Kind::of(release), environment.namespace.as_str());
        observation((seen, trouble), was_good, (deployment, place))
    }

    /// Did its instances begin to come where none ran no longer ago than a start may take?
    fn is_waking(&mut self, environment: &ValidEnvironment, deployment: Option<&Deployment>) -> bool {
        let woken = self.last.woken.get(&environment.name).copied();
        let allowed = deployment.and_then(|live| live.spec.as_ref()?.progress_deadline_seconds);
        let until = woken
            .zip(allowed)
            .and_then(|(woken, allowed)| woken.checked_add(SignedDuration::from_secs(allowed.into())).ok());
        let until = until.filter(|until| (self.platform.now)() < *until);
        self.look_again(until);
        until.is_some()
    }

    /// Tells on a release that does not run well any more that it does not count elsewhere as soon as was said.
    async fn stops_baking(&mut self, environment: &ValidEnvironment, release: &Release) {
        let Some(broken) = environment.proof.broken() else { return };
        let told = self.history.named(&release.name_any()).and_then(|past| past.unproven.as_ref());
        if told.is_none_or(|told| *told == broken.message) {
            return;
        }
        let status = healthy(release, Some(&broken), (self.platform.now)());
        if let Err(error) = self.tell_release(release, status).await {
            self.errors.push(error);
        }
    }
}
