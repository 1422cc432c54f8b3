//! All that may happen in any order up to a depth, to a small cluster that the policy is asked to change: each write of a
//! pass may be the last before a crash, and what is read may be old. From wherever that leads, it ends where Git says.

use std::collections::HashSet;

use super::*;

/// Instances that the service is to have.
const REPLICAS: u8 = 3;
/// So many things happen one after the other, from any moment of a roll-out that nothing disturbs.
const DEPTH: usize = 5;
/// Longest way from anywhere to the end, in rounds of all that is bound to happen.
const LONGEST: usize = 60;
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

/// Pods of each release.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Debug)]
struct Pods {
    starting: [u8; 3],
    ready: [u8; 3],
    /// They were ready once.
    down: [u8; 3],
}

impl Pods {
    fn all(&self) -> u8 {
        (0..3).map(|one| self.of(one)).sum()
    }

    fn of(&self, one: usize) -> u8 {
        self.starting[one] + self.proven(one)
    }

    fn proven(&self, one: usize) -> u8 {
        self.ready[one] + self.down[one]
    }

    fn remove(&mut self, one: usize) {
        let [starting, down, ready] = [&mut self.starting, &mut self.down, &mut self.ready];
        if let Some(pods) = [starting, down, ready].into_iter().find(|pods| pods[one] > 0) {
            pods[one] -= 1;
        }
    }
}

/// A Deployment: what it is to be, and how far its controller is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Deployment {
    release: usize,
    replicas: u8,
    pods: Pods,
    /// What its status says: it lags behind its pods.
    told: Pods,
    /// Its status is of what it is to be.
    is_told: bool,
}

impl Deployment {
    fn new(release: usize, replicas: u8) -> Self {
        Self { release, replicas, pods: Pods::default(), told: Pods::default(), is_told: false }
    }

    fn given(&mut self, release: usize, replicas: u8) {
        self.is_told &= self.release == release && self.replicas == replicas;
        (self.release, self.replicas) = (release, replicas);
    }

    /// One act of its controller: at most one more than there are to be, and none that serves leaves before its successor.
    fn acts(&mut self) {
        let (own, all) = (self.pods.of(self.release), self.pods.all());
        let other = (0..3).find(|one| *one != self.release && self.pods.of(*one) > 0);
        match other {
            _ if own > self.replicas => self.pods.remove(self.release),
            Some(other) if self.pods.ready[self.release] + self.others() > self.replicas => {
                self.pods.remove(other);
            }
            _ if own < self.replicas && all <= self.replicas => self.pods.starting[self.release] += 1,
            _ => {}
        }
    }

    fn others(&self) -> u8 {
        self.pods.all() - self.pods.of(self.release)
    }

    /// As far as anybody can know.
    fn rolls(&self) -> bool {
        !self.is_told || self.others() > 0 || self.told.all() > self.told.of(self.release)
    }

    fn becomes_ready(&mut self, is_bad: bool) {
        for one in (0..3).filter(|one| !(is_bad && *one == 1)) {
            let pods = &mut self.pods;
            pods.ready[one] += pods.starting[one] + pods.down[one];
            (pods.starting[one], pods.down[one]) = (0, 0);
        }
    }

    fn crashes(&mut self, one: usize) {
        if self.pods.ready[one] > 0 {
            self.pods.ready[one] -= 1;
            self.pods.down[one] += 1;
        }
    }

    fn tells(&mut self) {
        (self.told, self.is_told) = (self.pods, true);
    }
}

/// A state as it is kept: of time only whether the pause is over.
type Kept = Option<(usize, usize, Option<bool>, u8)>;

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct World {
    git: usize,
    failed: [bool; 3],
    last_good: usize,
    stable: Deployment,
    beside: Option<Deployment>,
    calls: Calls,
    weight: u8,
    board: Kept,
    is_paused: bool,
    skipped: Option<usize>,
    /// Of whatever is tried.
    verdict: Verdict,
}

/// Something that is written, in the order of [`World::writes`].
#[derive(Clone, Debug)]
enum Write {
    Calls(Calls),
    Weight(u8),
    Beside(Option<(usize, u8)>),
    Stable(usize, u8),
    Board(Kept, bool),
}

const NOW: i64 = 1_000_000;
const PAUSE: i64 = 60;
/// So long what runs may be down until something else takes its place.
const DOWN: Duration = Duration::from_secs(PAUSE.unsigned_abs() / 2);

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

impl World {
    fn new() -> Self {
        let mut stable = Deployment::new(0, REPLICAS);
        stable.pods.ready[0] = REPLICAS;
        stable.tells();
        Self {
            git: 0,
            failed: [false; 3],
            last_good: 0,
            stable,
            beside: None,
            calls: Calls::All,
            weight: 0,
            board: None,
            is_paused: false,
            skipped: None,
            verdict: Verdict::Good,
        }
    }

    /// What is to run, by what Git and failures say, and what follows of it.
    fn next(&self, plan: Plan) -> (usize, Option<usize>, Next) {
        let runs = if self.failed[self.git] { self.last_good } else { self.git };
        let next_up = (runs != self.last_good).then_some(runs);
        let skipped = self.skipped.into_iter().collect();
        let wanted = next_up.map(|release| Wanted {
            release: NAMES[release],
            steps: plan.steps,
            replicas: i32::from(REPLICAS),
            paused: self.is_paused,
            skipped: &skipped,
        });
        let state = self.board.map(|(release, passed, since, weight)| State {
            release: NAMES[release].to_owned(),
            passed,
            since: since.map(|is_over| at(if is_over { NOW - PAUSE } else { NOW })),
            weight,
        });
        let told = &self.stable.told;
        let stable = Stable {
            release: Some(NAMES[self.stable.release]),
            full: i32::from(REPLICAS),
            replicas: i32::from(self.stable.replicas),
            there: self.stable.is_told.then(|| i32::from(told.all())),
            // Its sets tell it, without the status.
            is_one: told.all() > 0 && told.all() == told.of(self.stable.release),
            down: None,
        };
        let tried = self.beside.as_ref().map(|beside| Tried {
            release: NAMES[beside.release],
            replicas: i32::from(beside.replicas),
            there: beside
                .is_told
                .then(|| (i32::from(beside.told.all()), i32::from(beside.told.ready[beside.release]))),
        });
        let Plan { has_route, consumes, .. } = plan;
        let seen = Seen { stable, tried, has_route, consumes, verdict: self.verdict };
        (runs, next_up, next(wanted.as_ref(), state.as_ref(), seen, at(NOW)))
    }

    fn is_well(&self) -> bool {
        let Deployment { release, replicas, told, is_told, .. } = self.stable;
        is_told && told.ready[release] == replicas && told.all() == replicas
    }

    /// What a pass writes, one request after the other.
    fn writes(&self, (runs, tried, next): (usize, Option<usize>, &Next)) -> Vec<Write> {
        let own = if tried.is_some() && !next.is_passed { self.last_good } else { runs };
        let replicas = |count: i32| u8::try_from(count).unwrap();
        let beside = next.beside.map(|beside| {
            let release = match (&self.beside, tried) {
                (Some(there), _) if beside.replicas == 0 => there.release,
                (_, Some(tried)) => tried,
                (Some(there), None) => there.release,
                (None, None) => panic!("{self:?}: nothing is tried"),
            };
            (release, replicas(beside.replicas))
        });
        let board = next.state.as_ref().map(|state| {
            let release = NAMES.iter().position(|name| *name == state.release).unwrap();
            let is_over = |since: Timestamp| since <= at(NOW - PAUSE);
            (release, state.passed, state.since.map(is_over), state.weight)
        });
        vec![
            Write::Calls(next.calls),
            Write::Weight(next.beside.map_or(0, |beside| beside.weight)),
            Write::Beside(beside),
            Write::Stable(own, REPLICAS - replicas(next.away)),
            Write::Board(board, self.stable.release == own && self.is_well()),
        ]
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
                }
                if state.is_none() {
                    (self.is_paused, self.skipped) = (false, None);
                }
            }
        }
    }

    /// The first `count` writes of a pass, as a crash leaves them.
    fn passes(&mut self, plan: Plan, count: usize) {
        let before = self.clone();
        let (runs, tried, next) = self.next(plan);
        for write in self.writes((runs, tried, &next)).iter().take(count) {
            self.take(write);
            self.holds(plan, &next, (&before, write));
        }
    }

    /// What is true after each write.
    fn holds(&self, plan: Plan, next: &Next, (before, write): (&Self, &Write)) {
        let case = || format!("{write:?} leads from\n{before:#?}\nto\n{self:#?}");
        if let (Write::Beside(Some(_)), None) = (write, &before.beside) {
            assert_eq!(self.stable.others(), 0, "a third version: {}", case());
        }
        if let (Write::Board(Some((release, passed, ..)), _), Some(board)) = (write, before.board)
            && (*release, board.1 + 1) == (board.0, *passed)
            && self.stable.release != *release
        {
            let is_over = board.2 == Some(true) && plan.steps[board.1].pause.is_some() && !self.is_paused;
            let is_good = before.verdict == Verdict::Good;
            let is_skipped = self.skipped == Some(board.1) && !before.verdict.is_against();
            assert!(is_over && is_good || is_skipped, "nobody ended the step: {}", case());
        }
        if let (Write::Weight(weight), true, false) = (write, before.verdict.is_against(), next.is_passed) {
            let had = before.board.map_or(0, |(.., weight)| weight);
            assert!(*weight <= had, "more requests for what is bad: {}", case());
        }
        let tried = self.beside.as_ref();
        let proven = tried.map_or(0, |beside| beside.pods.proven(beside.release));
        if plan.consumes {
            let all = self.stable.replicas.max(self.stable.pods.all())
                + tried.map_or(0, |beside| beside.replicas.max(beside.pods.all()));
            assert!(all <= REPLICAS + u8::from(self.stable.rolls()), "more consume than are to: {}", case());
            assert!(self.stable.replicas > 0, "none of what ran before is left: {}", case());
            return;
        }
        assert_eq!(self.stable.replicas, REPLICAS, "the service lost instances: {}", case());
        // Each weight has the instances for it, and no more weight than the step says.
        let backed = u32::from(proven) * 100 >= u32::from(self.weight) * u32::from(REPLICAS);
        assert!(backed, "requests without instances: {}", case());
        if self.calls == Calls::Tried {
            assert!(proven >= REPLICAS, "all requests without instances: {}", case());
        }
        if let Write::Beside(None) = write {
            assert!(before.beside.is_none_or(|beside| beside.pods.all() == 0), "it still runs: {}", case());
            assert_eq!(self.weight, 0, "it is still called: {}", case());
        }
        let is_other = tried.is_some_and(|beside| {
            beside.release != self.stable.release && (beside.pods.all() > 0 || beside.replicas > 0)
        });
        if is_other && !next.is_passed && self.calls == Calls::All {
            // Without a gateway it is its step that gives it a share.
            let has_share = !plan.has_route && next.beside.is_some_and(|beside| beside.weight > 0);
            assert!(has_share, "it is called beyond its step: {}", case());
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
        for count in 1..=5 {
            with(&|world| world.passes(plan, count));
        }
        with(&|world| world.stable.acts());
        with(&|world| world.stable.becomes_ready(plan.is_bad));
        with(&|world| world.stable.tells());
        with(&|world| world.stable.crashes(world.stable.release));
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
        if self.git < 2 {
            with(&|world| world.git += 1);
        }
        if self.git > 0 && self.git != self.last_good {
            // Whoever aborts, and whatever is given up.
            with(&|world| world.failed[world.git] = true);
            with(&|world| world.is_paused = !world.is_paused);
            with(&|world| world.skipped = world.board.map(|(_, passed, ..)| passed));
            with(&|world| world.verdict = Verdict::Open);
            with(&|world| world.verdict = Verdict::Suspect);
            with(&|world| world.verdict = Verdict::Bad);
            with(&|world| world.verdict = Verdict::Good);
        }
        worlds
    }

    fn waits(&mut self) {
        if let Some((_, _, Some(is_over), _)) = &mut self.board {
            *is_over = true;
        }
    }

    /// All that is bound to happen once people let it be: what never gets ready, or is judged bad, is given up.
    fn round(&mut self, plan: Plan) {
        self.failed[self.git] |= self.verdict == Verdict::Bad && self.git != self.last_good;
        self.verdict = Verdict::Good;
        self.is_paused = false;
        self.skipped = self.board.map(|(_, passed, ..)| passed);
        let starts = |deployment: &Deployment| deployment.pods.starting[1] > 0;
        self.failed[1] |= plan.is_bad && (starts(&self.stable) || self.beside.as_ref().is_some_and(starts));
        self.passes(plan, 5);
        for deployment in [Some(&mut self.stable), self.beside.as_mut()].into_iter().flatten() {
            deployment.acts();
            deployment.becomes_ready(plan.is_bad);
            deployment.tells();
        }
        self.waits();
    }

    /// Where all comes to an end, it is what Git says, or the last good one where that failed, and nothing else.
    fn is_over(&self) -> bool {
        let runs = if self.failed[self.git] { self.last_good } else { self.git };
        self.stable.release == runs
            && self.last_good == runs
            && self.stable.pods.ready[runs] == REPLICAS
            && self.stable.pods.all() == REPLICAS
            && self.beside.is_none()
            && self.board.is_none()
            && (self.calls, self.weight) == (Calls::All, 0)
    }
}

/// How many states were looked at.
fn explored(plan: Plan, depth: usize) -> usize {
    let mut known = HashSet::from([World::new()]);
    let mut ends: HashSet<World> = HashSet::new();
    let mut world = World { git: 1, ..World::new() };
    while known.insert(world.clone()) {
        world.round(plan);
    }
    let mut edge: Vec<_> = known.iter().cloned().collect();
    for _ in 0..depth {
        let mut new = Vec::new();
        for world in edge.iter().flat_map(|world| world.events(plan)) {
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

const fn step(weight: u8, share: u8) -> Step {
    Step { weight, share, pause: Some(Duration::from_secs(PAUSE.unsigned_abs())) }
}

const CANARY: &[Step] = &[step(30, 30), Step { pause: None, ..step(60, 60) }];
const BLUE_GREEN: &[Step] = &[step(0, 100), step(100, 100)];

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

/// What follows for a service that is to have `number` instances, of whose tried ones so many are `ready` for long.
fn following(
    (steps, passed): (&[Step], usize),
    (number, consumes): (i32, bool),
    (weight, ready): (u8, i32),
) -> Next {
    let skipped = BTreeSet::new();
    let wanted = Wanted { release: "a", steps, replicas: number, paused: false, skipped: &skipped };
    let state = State { release: "a".to_owned(), passed, since: Some(at(NOW - PAUSE)), weight };
    let stable = Stable {
        release: Some("old"),
        full: number,
        replicas: number,
        there: Some(number),
        is_one: true,
        down: None,
    };
    let tried = Some(Tried { release: "a", replicas: ready, there: Some((ready, ready)) });
    let seen = Seen { stable, tried, has_route: true, consumes, verdict: Verdict::Good };
    next(Some(&wanted), Some(&state), seen, at(NOW))
}

#[test]
fn a_share_follows_the_number_of_instances() {
    let told = |steps: &[Step], number: i32, had: (u8, i32)| {
        let Next { beside, state, .. } = following((steps, 1), (number, false), had);
        let Beside { replicas, weight } = beside.unwrap();
        (replicas, weight, state.unwrap().since.is_some())
    };
    assert_eq!(told(CANARY, 3, (60, 2)), (2, 60, true));
    assert_eq!(
        told(CANARY, 6, (60, 2)),
        (4, 33, false),
        "until the others are ready two of six take a third"
    );
    assert_eq!(told(CANARY, 6, (30, 3)), (4, 30, false), "no more than before");
    assert_eq!(told(CANARY, 6, (33, 4)), (4, 60, true));
    assert_eq!(told(CANARY, 2, (60, 4)), (2, 60, true), "load went away");
    assert_eq!(told(BLUE_GREEN, 5, (100, 4)), (5, 80, false));
    let passed = following((BLUE_GREEN, 2), (5, false), (100, 4));
    assert_eq!((passed.is_passed, passed.beside), (true, Some(Beside { replicas: 5, weight: 80 })));
}

/// What follows for the first pass over a release of two instances.
fn begun(paused: bool, is_down: bool) -> Next {
    begun_with(paused, (is_down, Verdict::Good))
}

fn begun_with(paused: bool, (is_down, verdict): (bool, Verdict)) -> Next {
    let (steps, skipped) = (CANARY, BTreeSet::new());
    let wanted = Wanted { release: "a", steps, replicas: 2, paused, skipped: &skipped };
    let stable = Stable {
        release: Some("old"),
        full: 2,
        replicas: 2,
        there: Some(2),
        is_one: true,
        down: is_down.then_some(DOWN),
    };
    let seen = Seen { stable, tried: None, has_route: true, consumes: false, verdict };
    next(Some(&wanted), None, seen, at(NOW))
}

/// Whom a service's address leads to while what runs is restarted beside what has so many requests.
fn called(steps: &[Step], has_route: bool, weight: u8) -> Calls {
    let skipped = BTreeSet::new();
    let wanted = Wanted { release: "a", steps, replicas: 3, paused: false, skipped: &skipped };
    let state = State { release: "a".to_owned(), passed: 0, since: None, weight };
    let stable =
        Stable { release: Some("old"), full: 3, replicas: 3, there: Some(4), is_one: false, down: None };
    let tried = Some(Tried { release: "a", replicas: 3, there: Some((3, 3)) });
    let seen = Seen { stable, tried, has_route, consumes: false, verdict: Verdict::Good };
    next(Some(&wanted), Some(&state), seen, at(NOW)).calls
}

#[test]
fn a_restart_of_what_runs_leads_nobody_to_what_is_previewed() {
    assert_eq!([true, false].map(|has_route| called(BLUE_GREEN, has_route, 0)), [Calls::Stable; 2]);
    assert_eq!([true, false].map(|has_route| called(CANARY, has_route, 30)), [Calls::Stable, Calls::All]);
}

#[test]
fn what_is_paused_before_it_began_does_not_begin() {
    let Next { beside, awaits, state, .. } = begun(true, false);
    assert_eq!((beside, awaits), (None, Some(Awaits::Resume)));
    assert_eq!(state.unwrap().passed, 0);
    assert_eq!(begun(false, false).beside, Some(Beside { replicas: 1, weight: 0 }));
}

#[test]
fn nothing_is_tried_beside_what_is_down() {
    let next = begun(false, true);
    assert_eq!((next.is_passed, next.beside, next.awaits), (true, None, None));
    assert!(!begun(true, true).is_passed, "a pause, or a freeze, counts all the same");
    for verdict in [Verdict::Bad, Verdict::Suspect] {
        assert!(!begun_with(false, (true, verdict)).is_passed, "nor is what is {verdict:?} the way out");
    }
}

#[test]
fn what_is_tried_takes_the_place_of_what_is_down_only_where_it_answered_all_the_while() {
    let half = PAUSE / 2;
    let passes = |(ready, second): (i32, i64), verdict, paused: bool| {
        let skipped = BTreeSet::new();
        let wanted = Wanted { release: "a", steps: CANARY, replicas: 3, paused, skipped: &skipped };
        let since = Some(at(NOW - second));
        let state = State { release: "a".to_owned(), passed: 0, since, weight: 30 };
        let (full, replicas, there) = (3, 3, Some(3));
        let stable = Stable { release: Some("old"), full, replicas, there, is_one: false, down: Some(DOWN) };
        let tried = Some(Tried { release: "a", replicas: 1, there: Some((1, ready)) });
        let seen = Seen { stable, tried, has_route: true, consumes: false, verdict };
        next(Some(&wanted), Some(&state), seen, at(NOW)).is_passed
    };
    assert!(passes((1, half), Verdict::Good, false), "also while what runs is restarted");
    assert!(!passes((0, half), Verdict::Good, false), "the same cause may hold both");
    assert!(!passes((1, half - 1), Verdict::Good, false), "what is down may come back as it did");
    assert!(!passes((1, half), Verdict::Good, true));
    for verdict in [Verdict::Bad, Verdict::Suspect, Verdict::Open] {
        assert!(!passes((1, half), verdict, false), "it is {verdict:?}");
    }
}

#[test]
fn where_none_can_be_spared_none_is_tried_and_no_step_ends() {
    for (consumes, number) in [(false, 0), (true, 0), (true, 1)] {
        let Next { beside, away, state, awaits, .. } = following((CANARY, 0), (number, consumes), (30, 0));
        assert_eq!((beside, away), (Some(Beside { replicas: 0, weight: 0 }), 0), "{consumes} {number}");
        assert_eq!(state.unwrap().passed, 0);
        assert_eq!(awaits, Some(Awaits::Ready { ready: 0, need: 1 }));
    }
    let passed = following((CANARY, 2), (0, false), (60, 0));
    assert_eq!((passed.is_passed, passed.beside.unwrap().replicas), (true, 0));
}

/// What follows at the first step of three instances that all are ready, in its `second`.
fn judged((steps, verdict): (&[Step], Verdict), second: i64, (is_paused, is_skipped): (bool, bool)) -> Next {
    let skipped = is_skipped.then_some(0).into_iter().collect();
    let wanted = Wanted { release: "a", steps, replicas: 3, paused: is_paused, skipped: &skipped };
    let state = State { release: "a".to_owned(), passed: 0, since: Some(at(NOW - second)), weight: 0 };
    let stable =
        Stable { release: Some("old"), full: 3, replicas: 3, there: Some(3), is_one: true, down: None };
    let tried = Some(Tried { release: "a", replicas: 3, there: Some((3, 3)) });
    let seen = Seen { stable, tried, has_route: true, consumes: false, verdict };
    next(Some(&wanted), Some(&state), seen, at(NOW))
}

#[test]
fn a_step_is_over_when_its_time_is_and_it_is_judged_good_or_somebody_skips_what_nobody_can_judge() {
    use Verdict::{Bad, Good, Open, Suspect};
    let told = |verdict, second, by_people| {
        let Next { state, awaits, .. } = judged((CANARY, verdict), second, by_people);
        (state.unwrap().passed, awaits)
    };
    let (nobody, skips, pauses, both) = ((false, false), (false, true), (true, false), (true, true));
    let ready = Some(Awaits::Ready { ready: 3, need: 2 });
    for (verdict, second, by_people, passed, awaits) in [
        (Good, PAUSE, nobody, 1, ready),
        (Good, PAUSE - 1, nobody, 0, Some(Awaits::Until(at(NOW + 1)))),
        (Good, PAUSE, pauses, 0, Some(Awaits::Resume)),
        (Open, PAUSE, nobody, 0, Some(Awaits::Judged)),
        (Open, PAUSE - 1, nobody, 0, Some(Awaits::Until(at(NOW + 1)))),
        (Open, PAUSE, pauses, 0, Some(Awaits::Resume)),
        (Open, 0, skips, 1, ready),
        (Open, 0, both, 1, ready),
        (Suspect, PAUSE, skips, 0, Some(Awaits::Judged)),
        (Suspect, 0, skips, 0, Some(Awaits::Judged)),
        (Suspect, 0, both, 0, Some(Awaits::Resume)),
        (Bad, PAUSE, nobody, 0, Some(Awaits::Judged)),
        (Bad, PAUSE, skips, 0, Some(Awaits::Judged)),
        (Bad, 0, both, 0, Some(Awaits::Judged)),
    ] {
        let case = format!("{verdict:?} {second} {by_people:?}");
        assert_eq!(told(verdict, second, by_people), (passed, awaits), "{case}");
    }
    let no_end = Step { pause: None, ..CANARY[0] };
    let Next { state, awaits, .. } = judged((&[no_end], Good), 10 * PAUSE, nobody);
    assert_eq!((state.unwrap().passed, awaits), (0, Some(Awaits::Skip)), "only somebody ends it");
}

#[test]
fn what_is_bad_is_given_no_more_requests() {
    let weight = |verdict| judged((CANARY, verdict), 0, (false, false)).beside.unwrap().weight;
    let all = [Verdict::Good, Verdict::Open, Verdict::Suspect, Verdict::Bad];
    assert_eq!(all.map(weight), [30, 30, 0, 0]);
}
