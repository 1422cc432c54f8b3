//! All that may happen in any order up to a depth, to a small cluster that the policy is asked to change: each write of a
//! pass may be the last before a crash, what is read may be old, and so may be what was decided. From wherever that leads, it
//! ends where Git says.

use std::collections::HashSet;

use super::{super::*, BLUE_GREEN, CANARY, DOWN, NOW, PAUSE, at};

mod cluster;
mod rules;

use cluster::Deployment;

/// Instances that the service is to have, but for load.
const REPLICAS: u8 = 3;
/// So many things happen one after the other, from any moment of two roll-outs that nothing disturbs.
const DEPTH: usize = 3;
/// Longest way from anywhere to the end, in rounds of all that is bound to happen.
const LONGEST: usize = 80;
/// All writes of a pass.
const ALL_WRITES: usize = 5;
/// What ran before, and commits after it.
const NAMES: [&str; 3] = ["old", "a", "b"];

/// What differs between explorations.
#[derive(Clone, Copy)]
struct Plan {
    steps: &'static [Step],
    has_route: bool,
    consumes: bool,
    /// The first commit never gets ready.
    is_bad: bool,
}

/// A state as it is kept: of time only whether the pause is over.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Kept {
    release: usize,
    passed: usize,
    is_over: Option<bool>,
    weight: u8,
    ready: i32,
}

/// What is there.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct World {
    git: usize,
    /// Instances that the service is to have now.
    number: u8,
    healthy: [bool; 3],
    failed: [bool; 3],
    last_good: usize,
    stable: Deployment,
    beside: Option<Deployment>,
    calls: Calls,
    weight: u8,
    /// What the gateway says.
    route: Route,
    board: Option<Kept>,
    is_paused: bool,
    skipped: Option<usize>,
    /// Of whatever is tried.
    verdict: Verdict,
    /// As it was when a pass decided what it has not written yet.
    decided: Option<Box<World>>,
}

/// Something that is written, in the order of [`World::writes`].
#[derive(Clone, Debug)]
enum Write {
    Calls(Calls),
    Weight(u8),
    Beside(Option<(usize, u8)>),
    Stable(usize, u8),
    Board(Option<Kept>, bool),
}

fn count(number: i32) -> u8 {
    u8::try_from(number).unwrap()
}

impl Kept {
    fn of(state: &State) -> Self {
        let State { release, passed, since, weight, ready } = state;
        let release = NAMES.iter().position(|name| name == release).unwrap();
        let is_over = since.map(|since| since <= at(NOW - PAUSE));
        Self { release, passed: *passed, is_over, weight: *weight, ready: *ready }
    }

    fn state(self) -> State {
        let Self { release, passed, is_over, weight, ready } = self;
        let since = is_over.map(|is_over| at(if is_over { NOW - PAUSE } else { NOW }));
        State { release: NAMES[release].to_owned(), passed, since, weight, ready }
    }
}

impl World {
    fn new() -> Self {
        let mut stable = Deployment::new(0, REPLICAS);
        stable.pods.ready[0] = REPLICAS;
        stable.tells();
        Self {
            git: 0,
            number: REPLICAS,
            healthy: [true, false, false],
            failed: [false; 3],
            last_good: 0,
            stable,
            beside: None,
            calls: Calls::All,
            weight: 0,
            route: Route::Taken,
            board: None,
            is_paused: false,
            skipped: None,
            verdict: Verdict::Good,
            decided: None,
        }
    }

    /// What is to run, by what Git and failures say.
    fn runs(&self) -> usize {
        if self.failed[self.git] { self.last_good } else { self.git }
    }

    /// The same where it is tried first.
    fn tried(&self) -> Option<usize> {
        Some(self.runs()).filter(|runs| *runs != self.last_good && !self.healthy[*runs])
    }

    fn next(&self, plan: Plan) -> Next {
        let skipped = self.skipped.into_iter().collect();
        let wanted = self.tried().map(|release| Wanted {
            release: NAMES[release],
            base: NAMES[self.last_good],
            steps: plan.steps,
            replicas: i32::from(self.number),
            paused: self.is_paused,
            skipped: &skipped,
        });
        let Deployment { pods, told, .. } = &self.stable;
        let stable = Stable {
            release: Some(NAMES[self.stable.release]),
            full: i32::from(self.number),
            replicas: i32::from(self.stable.replicas),
            there: self.stable.is_told.then(|| i32::from(told.all())),
            // Its sets tell it, without the status.
            is_one: pods.all() > 0 && pods.all() == pods.of(self.stable.release),
            down: (self.stable.is_silent() && self.stable.is_late).then_some(DOWN),
        };
        let tried = self.beside.as_ref().map(|beside| Tried {
            release: NAMES[beside.release],
            replicas: i32::from(beside.replicas),
            there: beside
                .is_told
                .then(|| (i32::from(beside.told.all()), i32::from(beside.told.ready[beside.release]))),
        });
        let Plan { has_route, consumes, .. } = plan;
        let route = has_route.then_some(self.route);
        let seen = Seen { stable, tried, route, consumes, verdict: self.verdict };
        let runs = self.runs();
        let coming =
            Coming { release: NAMES[runs], ran_last: runs == self.last_good, tried: wanted.as_ref() };
        next(coming, self.board.map(Kept::state).as_ref(), seen, at(NOW))
    }

    fn is_well(&self) -> bool {
        let Deployment { release, replicas, told, is_told, .. } = self.stable;
        is_told && told.ready[release] == replicas && told.all() == replicas
    }

    /// What a pass writes that sees this, one request after the other. `is_routed`: what leads to both is written, too.
    fn writes(&self, next: &Next, is_routed: bool) -> Vec<Write> {
        let tried = self.tried();
        let own = match tried {
            _ if next.stays => self.stable.release,
            Some(_) if !next.is_passed => self.last_good,
            Some(_) | None => self.runs(),
        };
        let beside = next.beside.map(|beside| {
            let release = match (&self.beside, tried) {
                (Some(there), _) if beside.replicas == 0 => there.release,
                (_, Some(tried)) => tried,
                (Some(there), None) => there.release,
                (None, None) => panic!("{self:?}: nothing is tried"),
            };
            (release, count(beside.replicas))
        });
        let before = self.board.map(Kept::state);
        let state = if is_routed { next.state.clone() } else { next.unrouted(before.as_ref()) };
        let mut writes = vec![Write::Calls(next.calls)];
        if is_routed {
            writes.push(Write::Weight(next.beside.map_or(0, |beside| beside.weight)));
            writes.push(Write::Beside(beside));
        }
        writes.push(Write::Stable(own, self.number - count(next.away)));
        writes.push(Write::Board(state.as_ref().map(Kept::of), self.stable.release == own && self.is_well()));
        writes
    }

    fn take(&mut self, write: &Write) {
        match write {
            Write::Calls(calls) => self.calls = *calls,
            Write::Weight(weight) => self.weight = *weight,
            Write::Beside(None) => self.beside = None,
            Write::Beside(Some((release, replicas))) => {
                let beside = self.beside.get_or_insert(Deployment::new(*release, *replicas));
                beside.given(*release, *replicas);
            }
            Write::Stable(release, replicas) => self.stable.given(*release, *replicas),
            Write::Board(state, is_well) => {
                self.board = *state;
                if *is_well {
                    self.last_good = self.stable.release;
                    self.healthy[self.last_good] = true;
                }
                if state.is_none() {
                    (self.is_paused, self.skipped) = (false, None);
                }
            }
        }
    }

    /// A pass decides by what there is, and writes later.
    fn decides(&mut self) {
        self.decided = Some(Box::new(self.clone()));
    }

    /// The first writes of a pass, as a crash leaves them: of what was decided before, or is now.
    fn passes(&mut self, plan: Plan, writes: usize, is_routed: bool) {
        let seen = self.decided.take().unwrap_or_else(|| Box::new(self.clone()));
        let next = seen.next(plan);
        for write in seen.writes(&next, is_routed).iter().take(writes) {
            let before = self.clone();
            self.take(write);
            self.holds_after(plan, &next, (&seen, &before, write));
        }
        if writes == ALL_WRITES && is_routed {
            self.covers(plan, &next, &seen);
        }
    }

    /// All that may happen next.
    fn events(&self, plan: Plan) -> Vec<Self> {
        let mut worlds = Vec::new();
        let mut with = |change: &dyn Fn(&mut Self)| {
            let mut world = self.clone();
            change(&mut world);
            worlds.push(world);
        };
        for writes in 1..=ALL_WRITES {
            with(&|world| world.passes(plan, writes, true));
        }
        if plan.has_route {
            with(&|world| world.passes(plan, ALL_WRITES, false));
            with(&|world| world.route = Route::Refused);
            with(&|world| world.route = Route::Taken);
        }
        if self.decided.is_none() {
            with(&Self::decides);
        }
        with(&|world| world.stable.acts());
        with(&|world| world.stable.becomes_ready(plan.is_bad));
        with(&|world| world.stable.tells());
        with(&|world| world.stable.crashes(world.stable.release));
        with(&|world| {
            world.stable.fails();
            world.beside.iter_mut().for_each(Deployment::fails);
        });
        if self.beside.is_some() {
            let beside = |change: fn(&mut Deployment, bool)| {
                move |world: &mut Self| world.beside.iter_mut().for_each(|one| change(one, plan.is_bad))
            };
            with(&beside(|one, _| one.acts()));
            with(&beside(Deployment::becomes_ready));
            with(&beside(|one, _| one.tells()));
            with(&beside(|one, _| one.crashes(one.release)));
        }
        with(&Self::waits);
        with(&|world| world.board = None);
        for number in [REPLICAS - 1, REPLICAS, REPLICAS + 1] {
            with(&|world| world.number = number);
        }
        for git in 0..3 {
            with(&|world| world.git = git);
        }
        if !self.healthy[self.git] {
            // Whoever aborts, and whatever is given up.
            with(&|world| world.failed[world.git] = true);
            with(&|world| world.is_paused = !world.is_paused);
            with(&|world| world.skipped = world.board.map(|board| board.passed));
            for verdict in [Verdict::Open, Verdict::Suspect, Verdict::Bad, Verdict::Good] {
                with(&|world| world.verdict = verdict);
            }
        }
        worlds
    }

    fn waits(&mut self) {
        if let Some(Kept { is_over: Some(is_over), .. }) = &mut self.board {
            *is_over = true;
        }
        self.stable.waits();
    }

    /// All that is bound to happen once people let it be: what never gets ready, or is judged bad, is given up, and somebody
    /// ends what has no end of its own.
    fn round(&mut self, plan: Plan) {
        self.failed[self.git] |= self.verdict == Verdict::Bad && !self.healthy[self.git];
        (self.verdict, self.route) = (Verdict::Good, Route::Taken);
        self.is_paused = false;
        let has_no_end = |board: &Kept| plan.steps.get(board.passed).is_some_and(|step| step.pause.is_none());
        self.skipped = self.board.filter(has_no_end).map(|board| board.passed);
        let starts = |deployment: &Deployment| deployment.pods.starting[1] > 0;
        self.failed[1] |= plan.is_bad && (starts(&self.stable) || self.beside.as_ref().is_some_and(starts));
        self.passes(plan, ALL_WRITES, true);
        self.holds(plan);
        for deployment in [Some(&mut self.stable), self.beside.as_mut()].into_iter().flatten() {
            deployment.acts();
            deployment.becomes_ready(plan.is_bad);
            deployment.tells();
        }
        self.waits();
        self.holds(plan);
    }

    /// Where all comes to an end, it is what Git says, or the last good one where that failed, and nothing else.
    fn is_over(&self) -> bool {
        let runs = self.runs();
        self.stable.release == runs
            && self.last_good == runs
            && self.stable.pods.ready[runs] == self.number
            && self.stable.pods.all() == self.number
            && self.beside.is_none()
            && self.board.is_none()
            && self.decided.is_none()
            && (self.calls, self.weight) == (Calls::All, 0)
    }
}

/// Every moment of two roll-outs one after the other that nothing disturbs.
fn undisturbed(plan: Plan) -> HashSet<World> {
    let mut known = HashSet::from([World::new()]);
    let mut world = World { git: 1, ..World::new() };
    for git in [1, 2] {
        world.git = git;
        while known.insert(world.clone()) {
            world.round(plan);
        }
    }
    known
}

/// How many states were looked at.
fn explored(plan: Plan, depth: usize) -> usize {
    let mut known = undisturbed(plan);
    let mut ends: HashSet<World> = HashSet::new();
    let mut edge: Vec<_> = known.iter().cloned().collect();
    for _ in 0..depth {
        let mut new = Vec::new();
        for world in edge.iter().flat_map(|world| world.events(plan)) {
            world.holds(plan);
            if known.insert(world.clone()) {
                new.push(world);
            }
        }
        for world in &new {
            let (mut way, mut last) = (Vec::new(), world.clone());
            while !last.is_over() && !ends.contains(&last) {
                assert!(way.len() < LONGEST, "it does not end from\n{world:#?}\nbut is at\n{last:#?}");
                way.push(last.clone());
                last.round(plan);
            }
            ends.extend(way);
        }
        edge = new;
    }
    known.len()
}

#[test]
fn whatever_happens_it_ends_where_git_says_and_never_without_instances() {
    for is_bad in [false, true] {
        for (steps, has_route, consumes) in
            [(CANARY, true, false), (CANARY, false, false), (BLUE_GREEN, true, false), (CANARY, false, true)]
        {
            let count = explored(Plan { steps, has_route, consumes, is_bad }, DEPTH);
            assert!(count > 1000, "only {count} states were looked at");
        }
    }
}
