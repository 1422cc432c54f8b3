//! A new release that is tried beside the one that runs, step by step. Pure: it remembers nothing but its [`State`], which
//! may be lost at any time.
//!
//! While it is tried, the service's own Deployment keeps what ran before, whole, and the new one runs in a second
//! Deployment. Once it has passed its steps, the first is rolled to it, and the second goes. Whatever ends a trial earlier
//! takes away requests first, then instances: what ran before never left. No step ends but by its [`Verdict`], or by a
//! person where that is open.

use std::{collections::BTreeSet, time::Duration};

use jiff::Timestamp;

use super::verdict::Verdict;

/// Of weights: all requests.
const ALL: u8 = 100;

/// A part of a trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// So many of 100 requests go to the new release.
    pub weight: u8,
    /// So many of 100 instances it has for that.
    pub share: u8,
    /// How long; without it, until somebody says so.
    pub pause: Option<Duration>,
}

impl Step {
    /// So many instances are to be ready for it beside `replicas` of what runs.
    pub fn need(&self, replicas: i32) -> i32 {
        ((replicas * i32::from(self.share) + 99) / 100).max(1)
    }
}

/// What is to run, where it is tried first.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// Its name.
    pub release: &'a str,
    /// What ran well last, and runs meanwhile.
    pub base: &'a str,
    /// With rising weights.
    pub steps: &'a [Step],
    /// Instances that the service is to have now, with this release.
    pub replicas: i32,
    /// A person, or the platform, stops it where it is.
    pub paused: bool,
    /// Steps whose pause a person ended.
    pub skipped: &'a BTreeSet<usize>,
}

/// What is kept of a trial from one pass to the next. Where it is lost, the trial begins anew.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    /// Which release.
    pub release: String,
    /// So many of its steps it has passed.
    pub passed: usize,
    /// Since when the step is as it should be, without a break.
    pub since: Option<Timestamp>,
    /// So many of 100 requests it was given.
    pub weight: u8,
    /// So many instances were ready all that time.
    pub ready: i32,
}

/// The service's own Deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stable<'a> {
    /// The release that it was given last.
    pub release: Option<&'a str>,
    /// Instances that the service is to have now.
    pub full: i32,
    /// So many it was told to have.
    pub replicas: i32,
    /// So many it has; nothing until that is known since it was last told.
    pub there: Option<i32>,
    /// They are all of one version.
    pub is_one: bool,
    /// None of them answers, for longer than this, which a roll-out may take: there is nothing to try another one beside.
    pub down: Option<Duration>,
}

/// The Deployment beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tried<'a> {
    /// The release that it was given.
    pub release: &'a str,
    /// So many instances it was told to have.
    pub replicas: i32,
    /// So many it has, and so many of them are ready; nothing until that is known since it was last told.
    pub there: Option<(i32, i32)>,
}

impl Tried<'_> {
    /// So many are ready and stay.
    fn ready(self) -> Option<i32> {
        self.there.map(|(_, ready)| ready.min(self.replicas))
    }
}

/// What a gateway says of the route by which it divides requests, as that is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Route {
    /// Nothing against it.
    Taken,
    /// Nothing yet.
    Awaited,
    /// It does not take it.
    Refused,
}

/// What is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen<'a> {
    /// What ran before, or runs again.
    pub stable: Stable<'a>,
    /// What runs beside it.
    pub tried: Option<Tried<'a>>,
    /// Where a gateway divides requests.
    pub route: Option<Route>,
    /// It consumes: what is tried takes the place of instances.
    pub consumes: bool,
    /// Of the step at which it is.
    pub verdict: Verdict,
}

/// Whom the service's address leads to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Calls {
    /// Every instance.
    #[default]
    All,
    /// Those of the service's own Deployment.
    Stable,
    /// Those that are tried.
    Tried,
}

/// What runs beside the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Beside {
    /// So many instances.
    pub replicas: i32,
    /// So many of 100 requests a gateway gives it.
    pub weight: u8,
}

/// What a trial waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Awaits {
    /// That the one before has no instance any more.
    End,
    /// That the service runs one version only.
    Settled,
    /// That instances are ready.
    Ready {
        /// So many are.
        ready: i32,
        /// So many are to be.
        need: i32,
    },
    /// That the gateway takes the route.
    Gateway {
        /// It said no.
        is_refused: bool,
    },
    /// A moment.
    Until(Timestamp),
    /// That somebody ends the pause of this step.
    Skip,
    /// That it is judged good, or is given up.
    Judged,
    /// That somebody resumes it.
    Resume,
}

/// What is to be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Next {
    /// To be kept; nothing when nothing is tried.
    pub state: Option<State>,
    /// The service's own Deployment runs what was tried.
    pub is_passed: bool,
    /// It keeps what it runs until what is beside it has gone.
    pub stays: bool,
    /// Beside it; nothing is to be there else.
    pub beside: Option<Beside>,
    /// See [`Calls`].
    pub calls: Calls,
    /// So many instances fewer the service's own Deployment has.
    pub away: i32,
    /// Why it does not go on.
    pub awaits: Option<Awaits>,
}

impl Next {
    /// What is kept of a pass whose route was not written: no step ends, and none begins.
    pub fn unrouted(&self, before: Option<&State>) -> Option<State> {
        let state = self.state.as_ref()?;
        if self.is_passed {
            return Some(state.clone());
        }
        let before = before.filter(|before| before.release == state.release);
        let (passed, weight) = before.map_or((0, 0), |before| (before.passed, before.weight));
        Some(State { release: state.release.clone(), passed, since: None, weight, ready: 0 })
    }
}

impl Wanted<'_> {
    /// What `tried` may be given by one of the first `steps`: each weight has its instances, and what it has (`weight`) it
    /// keeps as far as those that are ready can take it, as while load adds some. While it is not known how many are, it is
    /// given no more.
    fn weight(&self, steps: usize, (tried, weight): (Option<Tried>, u8)) -> u8 {
        let able = |ready: i32| {
            let backed = self.steps.iter().take(steps).filter(|step| step.need(self.replicas) <= ready);
            let share = u8::try_from(ready * 100 / self.replicas.max(1)).unwrap_or(ALL);
            backed.map(|step| step.weight).max().unwrap_or_default().max(weight.min(share))
        };
        match tried {
            None => 0,
            Some(tried) => tried.ready().map_or_else(|| weight.min(able(tried.replicas)), able),
        }
    }

    /// Is the step after `passed` others over, as soon as it has its instances? `is_due`: its time is.
    fn ends(&self, passed: usize, (is_due, verdict): (bool, Verdict)) -> bool {
        let is_skipped = self.skipped.contains(&passed);
        match verdict {
            Verdict::Bad | Verdict::Suspect => false,
            Verdict::Open | Verdict::Asked => is_skipped,
            Verdict::Good => is_skipped || is_due && !self.paused,
        }
    }

    fn begun(&self) -> State {
        State { release: self.release.to_owned(), passed: 0, since: None, weight: 0, ready: 0 }
    }
}

/// What is to run.
#[derive(Clone, Copy, Debug)]
pub struct Coming<'a> {
    /// Its name.
    pub release: &'a str,
    /// It ran well last, and may not be gone yet.
    pub ran_last: bool,
    /// How it is tried; nothing where it is not, or ran well already.
    pub tried: Option<&'a Wanted<'a>>,
}

/// What follows for what is `coming` from what was `seen` and the `state` before.
pub fn next(coming: Coming, state: Option<&State>, seen: Seen, now: Timestamp) -> Next {
    let Some(wanted) = coming.tried else {
        let stays = is_third(coming, seen);
        return Next { stays, awaits: stays.then_some(Awaits::End), ..ending(seen) };
    };
    let state = state.filter(|state| state.release == wanted.release).cloned();
    let passed = state.as_ref().map_or(0, |state| state.passed);
    let is_passed = passed >= wanted.steps.len() || seen.stable.release == Some(wanted.release);
    if is_passed || step::is_needed(wanted, state.as_ref(), seen) {
        return promoted(wanted, state, seen);
    }
    match seen.tried {
        Some(tried) if tried.release != wanted.release => {
            Next { state: Some(wanted.begun()), awaits: Some(Awaits::End), ..ending(seen) }
        }
        // That is put back first where another was taking its place.
        None if !seen.stable.is_one || seen.stable.release != Some(wanted.base) => {
            Next { state: Some(wanted.begun()), awaits: Some(Awaits::Settled), ..ending(seen) }
        }
        None if wanted.paused && state.as_ref().is_none_or(|state| *state == wanted.begun()) => {
            Next { state: Some(wanted.begun()), awaits: Some(Awaits::Resume), ..ending(seen) }
        }
        Some(_) | None => step::step(wanted, state.unwrap_or_else(|| wanted.begun()), seen, now),
    }
}

/// Would it be the third version, beside what runs and what was tried?
fn is_third(Coming { release, ran_last, tried: _ }: Coming, seen: Seen) -> bool {
    let (runs, left) = (seen.stable.release, left(seen).map(|tried| tried.release));
    // What was tried may take the place of what ran last: back to that are two.
    let is_back = ran_last && runs == left;
    left.is_some_and(|left| left != release) && runs.is_some_and(|runs| runs != release) && !is_back
}

/// The service's own Deployment is rolled to what passed. Until it is well with that, what was tried serves, but for
/// consumers: those are never more than there are to be.
fn promoted(wanted: &Wanted, state: Option<State>, seen: Seen) -> Next {
    let passed = wanted.steps.len();
    let state = State { passed, since: None, ready: 0, ..state.unwrap_or_else(|| wanted.begun()) };
    let serves = |tried: &Tried| tried.release == wanted.release && !seen.consumes;
    let tried = seen.tried.filter(serves);
    let Some(last) = wanted.steps.last().filter(|_| tried.is_some()) else {
        return Next { state: Some(state), is_passed: true, ..ending(seen) };
    };
    let weight = wanted.weight(passed, (tried, state.weight));
    Next {
        state: Some(State { weight, ..state }),
        is_passed: true,
        stays: false,
        beside: Some(Beside { replicas: last.need(wanted.replicas).min(wanted.replicas), weight }),
        calls: if weight == ALL { Calls::Tried } else { Calls::All },
        away: 0,
        awaits: None,
    }
}

/// What runs beside the service goes: first its requests, then its instances, then itself.
fn ending(seen: Seen) -> Next {
    let left = left(seen);
    Next {
        state: None,
        is_passed: false,
        stays: false,
        beside: left.map(|_| Beside { replicas: 0, weight: 0 }),
        calls: if left.is_some() { Calls::Stable } else { Calls::All },
        away: away(seen, 0),
        awaits: None,
    }
}

/// What runs beside the service, as long as it has an instance.
fn left(seen: Seen<'_>) -> Option<Tried<'_>> {
    seen.tried.filter(|tried| tried.replicas > 0 || tried.there.is_none_or(|(all, _)| all > 0))
}

/// So many instances may be beside the service.
fn room(seen: Seen) -> i32 {
    let Stable { full, replicas, there, .. } = seen.stable;
    match there {
        _ if !seen.consumes => i32::MAX,
        Some(there) => (full - there.max(replicas)).max(0),
        None => seen.tried.map_or(0, |tried| tried.replicas),
    }
}

/// So many of the service's own instances give way to what is beside it, which is to be `need`.
fn away(seen: Seen, need: i32) -> i32 {
    let there = match seen.tried {
        _ if !seen.consumes => return 0,
        None => 0,
        Some(Tried { there: Some((all, _)), replicas, .. }) => all.max(replicas),
        Some(Tried { there: None, .. }) => seen.stable.full - seen.stable.replicas,
    };
    // Of those that were more before, one goes on all the same.
    need.max(there).min(seen.stable.full - 1).max(0)
}

mod step;
#[cfg(test)]
mod tests;
