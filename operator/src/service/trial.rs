//! IO: a release that is tried beside what runs: what there is of both, what the policy makes of that, and what the board
//! tells of it.

use std::{collections::BTreeSet, sync::Arc};

use jiff::Timestamp;
use kube::ResourceExt;

use super::{
    Problem,
    decision::Standing,
    exposure::answer,
    observation::{Kind, observation},
    pass::Work,
    smoke::Check,
    stage::shown,
    status::Observation,
    step::{Told, awaited, whole},
    validate::ValidEnvironment,
};
use crate::{
    api::{
        Release, WorkloadType,
        integration_service::{Share, Trial},
    },
    cluster::Workload,
    conditions::Reason,
    release::{
        self, Found, Phase, Preview,
        trial::{Awaits, Calls, Coming, Next, Route, State, Step, Wanted, next},
        verdict::{Judgement, Verdict, verdict, words},
    },
};

/// A release that is to take the place of another once it was tried.
pub(super) struct Wish {
    /// What ran well last, and runs meanwhile.
    pub base: Arc<Release>,
    steps: Vec<Step>,
    skipped: BTreeSet<usize>,
    /// Why it stays at its step.
    paused: Option<String>,
}

impl Wish {
    /// To take the place of `base` by these `steps`, as far as people and the platform let it.
    fn of(
        (environment, standing): (&ValidEnvironment, &Standing),
        release: &Release,
        (base, steps): (Arc<Release>, Vec<Step>),
    ) -> Self {
        let name = release.name_any();
        let paused = standing.pause.as_ref().filter(|pause| pause.release == name);
        let is_frozen = environment.entry.frozen;
        let frozen = is_frozen.then(|| format!("the platform has frozen {}", environment.name));
        // Nothing that a person says goes past a freeze.
        let skips = standing.skipped.iter().filter(|skip| skip.release == name && !is_frozen);
        Self {
            base,
            steps,
            skipped: skips.map(|skip| usize::from(skip.passed)).collect(),
            paused: paused.map(|pause| pause.told(&release.spec.service, &environment.name)).or(frozen),
        }
    }
}

/// What runs a service, and what runs beside it.
pub(super) struct Tried {
    /// With as many instances as are left to it.
    pub own: Arc<Release>,
    beside: Option<Release>,
    found: Found,
    weight: u8,
    next: Option<Next>,
    steps: usize,
    /// Where its instances are its share of the requests.
    share: Option<Share>,
    paused: Option<String>,
    /// Steps that somebody skipped.
    skipped: BTreeSet<usize>,
    /// Of the step at which it was.
    judgements: Vec<Judgement>,
}

impl Tried {
    /// Nothing is beside it.
    fn alone(own: &Release) -> Self {
        Self {
            own: Arc::new(own.clone()),
            beside: None,
            found: Found::default(),
            weight: 0,
            next: None,
            steps: 0,
            share: None,
            paused: None,
            skipped: BTreeSet::new(),
            judgements: vec![],
        }
    }

    /// To be applied.
    pub(super) fn trial(&self) -> release::Trial<'_> {
        release::Trial {
            release: self.beside.as_ref(),
            weight: self.weight,
            calls: self.next.as_ref().map(|next| next.calls).unwrap_or_default(),
        }
    }

    /// What is asked of what is tried while it gets no requests.
    pub(super) fn check(&self) -> Option<Check> {
        let state = self.next.as_ref().filter(|next| !next.is_passed)?.state.as_ref()?;
        let tried = self.beside.as_ref().filter(|tried| tried.name_any() == state.release)?;
        Check::of(tried, state.passed)
    }

    fn told<'a>(&'a self, state: &'a State, own: &'a str) -> Told<'a> {
        Told {
            state,
            steps: self.steps,
            own: (own, self.own.spec.type_),
            paused: self.paused.as_deref(),
            is_skipped: self.skipped.contains(&state.passed),
            judgements: &self.judgements,
            share: self.share,
        }
    }
}

impl Work<'_> {
    /// How `release` comes to run in `environment`; nothing where it takes its place without a trial: what ran well before
    /// was tried, and what does not run well is not kept for another's.
    pub(super) fn wish(
        &self,
        environment: &ValidEnvironment,
        release: &Release,
        standing: &Standing,
    ) -> Option<Wish> {
        let name = release.name_any();
        let past = self.history.named(&name).filter(|past| !past.healthy && environment.ending.is_none())?;
        let last_good =
            self.state_before(environment)?.last_good.as_ref().filter(|good| **good != past.name)?;
        let good = self.history.named(last_good).filter(|good| good.failed.is_none())?;
        let base = self.known(last_good).filter(|_| standing.rejects(good).is_none())?;
        let steps = release::tried_beside(release, &base);
        let at = ((self.platform.now)(), self.begins(environment));
        let base = shown(environment, (&base, false), at);
        (!steps.is_empty()).then(|| Wish::of((environment, standing), release, (base, steps)))
    }

    /// What runs, and what runs beside it, on the way to the release of `target`.
    pub(super) async fn tried(
        &mut self,
        environment: &ValidEnvironment,
        target: &release::Target<'_>,
        wish: Option<&Wish>,
    ) -> Result<Tried, Problem> {
        let cluster = &self.platform.cluster;
        let release = target.release;
        if wish.is_none() && !release::is_beside(cluster, target) {
            self.analyse(environment, (release, None), None);
            return Ok(Tried::alone(release));
        }
        let found = release::found(cluster, target).await.map_err(|error| self.failed(error))?;
        if target.outside.is_unsure && found.beside.is_some() {
            let message = format!(
                "the Environment {} is not valid: until it is, what is tried and what runs stay as they are",
                environment.name
            );
            return Err(Problem::new(Reason::EnvironmentMissing, message));
        }
        let name = release.name_any();
        let base = wish.map(|wish| wish.base.name_any()).unwrap_or_default();
        let wanted = wish.map(|wish| Wanted {
            release: &name,
            base: &base,
            steps: &wish.steps,
            replicas: found.shared(release),
            paused: wish.paused.is_some(),
            skipped: &wish.skipped,
        });
        let is_base = |_: &&Wish| found.runs() == Some(base.as_str());
        let full = found.wanted(wish.filter(is_base).map_or(release, |wish| &wish.base));
        let state = self.state_before(environment).and_then(|state| state.trial.as_ref()).map(state);
        // As each declares it: a number by hand does not change whose place is taken.
        let names = [Some(name.as_str()), found.runs(), found.tried()];
        let is_fixed = |name| self.known(name).is_none_or(|known| release::consumes(&known));
        let consumes = names.into_iter().flatten().all(is_fixed);
        let now = (self.platform.now)();
        let route = self.route(environment, target, wish);
        let runs = wish.map(|wish| wish.base.as_ref());
        let judgements = self.judgements(environment, (release, runs), state.as_ref());
        let seen = found.seen((full, now), (route, consumes), verdict(&judgements));
        let last_good = self.state_before(environment).and_then(|state| state.last_good.as_ref());
        let ran_last = last_good == Some(&name);
        let coming = Coming { release: &name, ran_last, tried: wanted.as_ref() };
        let next = next(coming, state.as_ref(), seen, now);
        self.analyse(environment, (release, runs), wish.map(|_| &next));
        let stays = found.runs().filter(|_| next.stays).and_then(|runs| self.known(runs));
        let stays = stays.map(|runs| shown(environment, (&runs, false), (now, self.begins(environment))));
        let base = wish.filter(|_| !next.is_passed).map(|wish| &wish.base);
        let mut own = Release::clone(stays.as_ref().or(base).map_or(release, AsRef::as_ref));
        own.spec.replicas = (own.spec.replicas - next.away).max(0);
        release::leave_room(&mut own, next.beside.map_or(0, |beside| beside.replicas));
        let share = share(&next, found.wanted(&own)).filter(|_| release.spec.type_ == WorkloadType::Api);
        let beside = next.beside.and_then(|beside| {
            // What ends keeps what it was made with.
            let ends = found.tried().filter(|tried| beside.replicas == 0 && *tried != name);
            let mut tried =
                ends.map_or_else(|| Some(Arc::new(release.clone())), |tried| self.known(tried))?;
            let spec = &mut Arc::make_mut(&mut tried).spec;
            // The number is a share of the service's, whoever makes that.
            (spec.replicas, spec.scaling) = (beside.replicas, None);
            Some(Arc::unwrap_or_clone(tried))
        });
        match next.awaits {
            Some(Awaits::Until(when)) => self.look_again(Some(when)),
            // No watch tells of the version of what runs.
            Some(Awaits::Settled) => self.awaits_unwatched = true,
            Some(
                Awaits::End
                | Awaits::Ready { .. }
                | Awaits::Gateway { .. }
                | Awaits::Skip
                | Awaits::Judged
                | Awaits::Resume,
            )
            | None => {}
        }
        Ok(Tried {
            own: Arc::new(own),
            beside,
            found,
            weight: next.beside.map_or(0, |beside| beside.weight),
            next: Some(next),
            steps: wish.map_or(0, |wish| wish.steps.len()),
            share,
            paused: wish.and_then(|wish| wish.paused.clone()),
            skipped: wish.map(|wish| wish.skipped.clone()).unwrap_or_default(),
            judgements,
        })
    }

    /// Of what divides the requests of both.
    fn route(
        &self,
        environment: &ValidEnvironment,
        target: &release::Target<'_>,
        wish: Option<&Wish>,
    ) -> Option<Route> {
        let cluster = &self.platform.cluster;
        let entrance = target.outside.entrance.as_ref()?;
        let route = || cluster.route(&environment.namespace, &self.service.name);
        is_divided(cluster.has_routes(), target, wish).then(|| answer(route().as_deref(), entrance))
    }

    /// What is thought of `release` at its step beside `base`, by all who look at it.
    fn judgements(
        &self,
        environment: &ValidEnvironment,
        (release, base): (&Release, Option<&Release>),
        state: Option<&State>,
    ) -> Vec<Judgement> {
        let state = state.filter(|state| state.release == release.name_any());
        let check = Check::of(release, state.map_or(0, |state| state.passed));
        let answers = |check: &Check| self.rounds.answers((&self.key, &environment.name), check);
        let answered = check.map(|check| check.judgement(&answers(&check)));
        answered.into_iter().chain(self.analysed(environment, (release, base), state)).collect()
    }

    /// Tells how far what is tried is, and gives it up where it fails. `is_routed`: what leads there was written.
    pub(super) async fn tell_trial(
        &mut self,
        environment: &ValidEnvironment,
        target: &release::Target<'_>,
        (tried, is_routed, told): (&Tried, bool, &mut Observation),
    ) {
        let now = (self.platform.now)();
        let Some(next) = &tried.next else { return };
        if next.stays {
            let message = "what was tried before ends first: then what is to run takes its turn";
            told.problems.push(Problem::new(Reason::RollingOut, message));
        }
        let before = self.state_before(environment).and_then(|before| before.trial.as_ref()).map(state);
        let kept = if is_routed { next.state.clone() } else { next.unrouted(before.as_ref()) };
        let Some(state) = &kept else { return };
        let mut trial = self.told_trial(environment, (state, tried), now);
        if self.platform.cluster.has_routes()
            && let Some(Preview { command, url }) = release::preview(target, &tried.trial())
        {
            (trial.preview, trial.preview_url) = (Some(command), url);
        }
        let begun = trial.begun.parse().ok();
        told.trial = Some(trial);
        if next.is_passed {
            return;
        }
        let mut problems = Vec::new();
        if let Some((release, live)) = tried.beside.as_ref().zip(tried.found.beside.as_ref())
            && release.name_any() == state.release
        {
            if let Some(why) = words(&tried.judgements, Verdict::Bad) {
                self.fail(environment, release, (&why, None)).await;
            }
            let target = release::Target { release, ..*target };
            let seen = release::seen_in(&self.platform.cluster, &target, (live, now)).await;
            match seen {
                Ok(seen) if seen.phase != Phase::Healthy => {
                    let live = Some(Workload::Deployment(live.clone()));
                    let trouble = self.examined(environment, &target, (live, begun), &seen).await;
                    let place = (Kind::of(release), environment.namespace.as_str());
                    problems = observation((seen, trouble), false, (None, place)).problems;
                    problems.retain(|problem| problem.reason != Reason::RollingOut);
                }
                Ok(_) => {}
                Err(error) => self.errors.push(error),
            }
        }
        let place = (self.service.name.as_str(), environment.name.as_str());
        let own = tried.own.name_any();
        problems.extend(next.awaits.map(|awaits| awaited(awaits, place, tried.told(state, &own))));
        // As before, where nothing newer is known of what runs.
        told.problems.retain(|problem| !problems.contains(problem));
        told.problems.extend(problems);
    }

    fn told_trial(
        &self,
        environment: &ValidEnvironment,
        (state, tried): (&State, &Tried),
        now: Timestamp,
    ) -> Trial {
        let State { release, passed, since, weight, ready } = state;
        let before = self.state_before(environment).and_then(|before| before.trial.as_ref());
        let before = before.filter(|before| before.release == *release);
        let begun = before.map_or_else(|| whole(now).to_string(), |before| before.begun.clone());
        let count = |number: usize| u16::try_from(number).unwrap_or(u16::MAX);
        let since = since.map(|since| whole(since).to_string());
        Trial {
            release: release.clone(),
            passed: count(*passed),
            steps: count(tried.steps),
            weight: *weight,
            begun,
            since,
            preview: None,
            preview_url: None,
            ready: *ready,
            share: tried.share,
        }
    }
}

/// As it was told last.
fn state(trial: &Trial) -> State {
    State {
        release: trial.release.clone(),
        passed: usize::from(trial.passed),
        since: trial.since.as_ref().and_then(|since| since.parse().ok()),
        weight: trial.weight,
        ready: trial.ready,
    }
}

/// Without a gateway: the part of what is beside `own` instances, where requests fall on all of them.
fn share(next: &Next, own: i32) -> Option<Share> {
    let beside = next.beside.filter(|beside| beside.weight > 0 && !next.is_passed)?;
    let is_shared = next.calls == Calls::All;
    is_shared.then_some(Share { instances: beside.replicas, of: own + beside.replicas })
}

/// Is there a gateway that leads to both by one path?
fn is_divided(has_routes: bool, target: &release::Target<'_>, wish: Option<&Wish>) -> bool {
    let path = |release: &Release| release.spec.expose.as_ref().map(|expose| expose.path.clone());
    let both = path(target.release).zip(wish.and_then(|wish| path(&wish.base)));
    has_routes
        && target.outside.entrance.is_some()
        && both.is_some_and(|(new, old)| new == old && !target.outside.taken.contains(&new))
}

#[cfg(test)]
mod tests;
