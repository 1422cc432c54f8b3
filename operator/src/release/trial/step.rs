//! One step of a trial: whether it is as it should be, since when, and whether it is over. Pure.

use jiff::Timestamp;

use super::{
    ALL, Awaits, Beside, Calls, Next, Route, Seen, State, Step, Tried, Verdict, Wanted, away, promoted, room,
};

/// Is what runs down before anything was tried beside it? What is tried then goes by its steps, since it may be down by the
/// same cause.
pub(super) fn is_needed(wanted: &Wanted, state: Option<&State>, seen: Seen) -> bool {
    let is_begun = seen.tried.is_some() || state.is_some_and(|state| *state != wanted.begun());
    seen.stable.down.is_some() && !is_begun && !wanted.paused && !seen.verdict.is_against()
}

/// What follows at the step of `state`.
pub(super) fn step(wanted: &Wanted, state: State, seen: Seen, now: Timestamp) -> Next {
    let place = Place { wanted, seen, ready: seen.tried.map_or(Some(0), Tried::ready) };
    let mut step = &wanted.steps[state.passed];
    let mut state = place.kept(state, step, now);
    let until = step.pause.zip(state.since).and_then(|(pause, since)| since.checked_add(pause).ok());
    let is_due = until.is_some_and(|until| until <= now);
    if place.relieves((&state, step), now) {
        return promoted(wanted, Some(state), seen);
    }
    if wanted.ends(state.passed, (is_due, seen.verdict)) && place.is_backed(step) {
        state.passed += 1;
        (state.since, state.ready) = (None, 0);
        match wanted.steps.get(state.passed) {
            None => return promoted(wanted, Some(state), seen),
            Some(next) => step = next,
        }
    }
    let able = wanted.weight(state.passed + 1, (seen.tried, state.weight));
    let weight = if seen.verdict.is_against() { able.min(state.weight) } else { able };
    Next {
        is_passed: false,
        stays: false,
        beside: Some(Beside { replicas: place.given(step).min(room(seen)), weight }),
        calls: match weight {
            ALL => Calls::Tried,
            0 => Calls::Stable,
            _ if seen.route.is_some() => Calls::Stable,
            _ => Calls::All,
        },
        away: away(seen, place.given(step)),
        awaits: Some(place.awaits((&state, step), (until, is_due))),
        state: Some(State { weight, ..state }),
    }
}

/// What is wanted, and what there is of it.
#[derive(Clone, Copy)]
struct Place<'a> {
    wanted: &'a Wanted<'a>,
    seen: Seen<'a>,
    /// Instances of what is tried; nothing while that is not known.
    ready: Option<i32>,
}

impl Place<'_> {
    /// Instances that `step` has. Of consumers one of what ran before goes on.
    fn given(&self, step: &Step) -> i32 {
        let number = self.wanted.replicas;
        let most = if self.seen.consumes { self.seen.stable.full - 1 } else { number };
        step.need(number).min(most).max(0)
    }

    /// None proves nothing, also where there are none for a time.
    fn need(&self, step: &Step) -> i32 {
        self.given(step).max(1)
    }

    /// What runs is of one version, or does not count.
    fn is_settled(&self) -> bool {
        self.seen.stable.is_one || self.seen.stable.down.is_some()
    }

    fn is_backed(&self, step: &Step) -> bool {
        self.is_settled() && self.ready.is_some_and(|ready| ready >= self.need(step))
    }

    /// The requests that it is to have come.
    fn is_led(&self, step: &Step) -> bool {
        step.weight == 0 || self.seen.route.is_none_or(|route| route == Route::Taken)
    }

    /// `state` with the moment since when it is at `step` as it should be. It begins anew where one that was ready is lost, and
    /// not with those that load adds.
    fn kept(&self, mut state: State, step: &Step, now: Timestamp) -> State {
        let are_there = self.ready.is_none_or(|ready| ready >= state.ready);
        if self.is_backed(step) && self.is_led(step) {
            (state.since, state.ready) = (state.since.or(Some(now)), self.need(step));
        } else if !are_there || !self.is_settled() || !self.is_led(step) {
            (state.since, state.ready) = (None, 0);
        }
        state
    }

    /// Does it answer beside what is down, for so long that this would have come back?
    fn relieves(&self, (state, step): (&State, &Step), now: Timestamp) -> bool {
        let at = self.seen.stable.down.zip(state.since);
        let at = at.and_then(|(span, since)| since.checked_add(span).ok());
        let is_good = self.is_backed(step) && self.seen.verdict == Verdict::Good;
        at.is_some_and(|at| at <= now) && is_good && !self.wanted.paused
    }

    /// `until`: when the pause is over.
    fn awaits(&self, (state, step): (&State, &Step), (until, is_due): (Option<Timestamp>, bool)) -> Awaits {
        let Seen { route, verdict, .. } = self.seen;
        match (self.ready, state.since) {
            _ if !self.is_settled() => Awaits::Settled,
            _ if verdict == Verdict::Bad => Awaits::Judged,
            (Some(ready), Some(_)) if !self.is_backed(step) => Awaits::Ready { ready, need: self.need(step) },
            (_, Some(_)) if self.wanted.paused => Awaits::Resume,
            (_, Some(_)) if is_due || verdict == Verdict::Suspect => Awaits::Judged,
            (_, Some(_)) => until.map_or(Awaits::Skip, Awaits::Until),
            (Some(_), None) if self.is_backed(step) && !self.is_led(step) => {
                Awaits::Gateway { is_refused: route == Some(Route::Refused) }
            }
            (ready, None) => Awaits::Ready { ready: ready.unwrap_or_default(), need: self.need(step) },
        }
    }
}
