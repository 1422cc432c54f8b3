//! What follows in one pass from what was seen.

use super::*;

mod model;

const NOW: i64 = 1_000_000;
const PAUSE: i64 = 60;
/// So long what runs may be down until something else takes its place.
const DOWN: Duration = Duration::from_secs(PAUSE.unsigned_abs() / 2);

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

const fn step(weight: u8, share: u8) -> Step {
    Step { weight, share, pause: Some(Duration::from_secs(PAUSE.unsigned_abs())) }
}

const CANARY: &[Step] = &[step(30, 30), Step { pause: None, ..step(60, 60) }];
const BLUE_GREEN: &[Step] = &[step(0, 100), step(100, 100)];

/// It is to run once it was tried so.
fn coming<'a>(wanted: &'a Wanted<'a>) -> Coming<'a> {
    Coming { release: wanted.release, ran_last: false, tried: Some(wanted) }
}

/// What follows for a service that is to have `number` instances, of whose tried ones so many are `ready` for long.
fn following(
    (steps, passed): (&[Step], usize),
    (number, consumes): (i32, bool),
    (weight, ready): (u8, i32),
) -> Next {
    let skipped = BTreeSet::new();
    let wanted =
        Wanted { release: "a", base: "old", steps, replicas: number, paused: false, skipped: &skipped };
    let state = State { release: "a".to_owned(), passed, since: Some(at(NOW - PAUSE)), weight, ready };
    let stable = Stable {
        release: Some("old"),
        full: number,
        replicas: number,
        there: Some(number),
        is_one: true,
        down: None,
    };
    let tried = Some(Tried { release: "a", replicas: ready, there: Some((ready, ready)) });
    let seen = Seen { stable, tried, route: Some(Route::Taken), consumes, verdict: Verdict::Good };
    next(coming(&wanted), Some(&state), seen, at(NOW))
}

#[test]
fn a_share_follows_the_number_of_instances() {
    let told = |steps: &[Step], number: i32, had: (u8, i32)| {
        let Next { beside, state, .. } = following((steps, 1), (number, false), had);
        let Beside { replicas, weight } = beside.unwrap();
        (replicas, weight, state.unwrap().since.is_some())
    };
    assert_eq!(told(CANARY, 3, (60, 2)), (2, 60, true));
    assert_eq!(told(CANARY, 6, (60, 2)), (4, 33, true), "until the others are ready two of six take a third");
    assert_eq!(told(CANARY, 6, (30, 3)), (4, 30, true), "no more than before");
    assert_eq!(told(CANARY, 6, (33, 4)), (4, 60, true));
    assert_eq!(told(CANARY, 2, (60, 4)), (2, 60, true), "load went away");
    assert_eq!(told(BLUE_GREEN, 5, (100, 4)), (5, 80, true));
    let passed = following((BLUE_GREEN, 2), (5, false), (100, 4));
    assert_eq!((passed.is_passed, passed.beside), (true, Some(Beside { replicas: 5, weight: 80 })));
}

/// What follows for the first pass over a release of two instances.
fn begun(paused: bool, is_down: bool) -> Next {
    begun_with(paused, (is_down, Verdict::Good))
}

fn begun_with(paused: bool, (is_down, verdict): (bool, Verdict)) -> Next {
    let (steps, skipped) = (CANARY, BTreeSet::new());
    let wanted = Wanted { release: "a", base: "old", steps, replicas: 2, paused, skipped: &skipped };
    let stable = Stable {
        release: Some("old"),
        full: 2,
        replicas: 2,
        there: Some(2),
        is_one: true,
        down: is_down.then_some(DOWN),
    };
    let seen = Seen { stable, tried: None, route: Some(Route::Taken), consumes: false, verdict };
    next(coming(&wanted), None, seen, at(NOW))
}

/// Whom a service's address leads to while what runs is restarted beside what has so many requests.
fn called(steps: &[Step], has_route: bool, weight: u8) -> Calls {
    let skipped = BTreeSet::new();
    let wanted = Wanted { release: "a", base: "old", steps, replicas: 3, paused: false, skipped: &skipped };
    let state = State { release: "a".to_owned(), passed: 0, since: None, weight, ready: 0 };
    let stable =
        Stable { release: Some("old"), full: 3, replicas: 3, there: Some(4), is_one: false, down: None };
    let tried = Some(Tried { release: "a", replicas: 3, there: Some((3, 3)) });
    let seen = Seen {
        stable,
        tried,
        route: has_route.then_some(Route::Taken),
        consumes: false,
        verdict: Verdict::Good,
    };
    next(coming(&wanted), Some(&state), seen, at(NOW)).calls
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
fn where_load_decides_the_number_a_share_comes_beside_all_of_it() {
    let told = |consumes| {
        let Next { beside, away, .. } = following((CANARY, 1), (4, consumes), (60, 3));
        (beside.unwrap().replicas, away)
    };
    assert_eq!(told(false), (3, 0), "so there may be `max` and a share of it");
    assert_eq!(told(true).1, 3, "where it is fixed they take the place of others");
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
        let wanted =
            Wanted { release: "a", base: "old", steps: CANARY, replicas: 3, paused, skipped: &skipped };
        let since = Some(at(NOW - second));
        let state = State { release: "a".to_owned(), passed: 0, since, weight: 30, ready: 0 };
        let (full, replicas, there) = (3, 3, Some(3));
        let stable = Stable { release: Some("old"), full, replicas, there, is_one: false, down: Some(DOWN) };
        let tried = Some(Tried { release: "a", replicas: 1, there: Some((1, ready)) });
        let seen = Seen { stable, tried, route: Some(Route::Taken), consumes: false, verdict };
        next(coming(&wanted), Some(&state), seen, at(NOW)).is_passed
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
    let wanted =
        Wanted { release: "a", base: "old", steps, replicas: 3, paused: is_paused, skipped: &skipped };
    let state =
        State { release: "a".to_owned(), passed: 0, since: Some(at(NOW - second)), weight: 0, ready: 0 };
    let stable =
        Stable { release: Some("old"), full: 3, replicas: 3, there: Some(3), is_one: true, down: None };
    let tried = Some(Tried { release: "a", replicas: 3, there: Some((3, 3)) });
    let seen = Seen { stable, tried, route: Some(Route::Taken), consumes: false, verdict };
    next(coming(&wanted), Some(&state), seen, at(NOW))
}

#[test]
fn a_step_is_over_when_its_time_is_and_it_is_judged_good_or_somebody_skips_what_nobody_can_judge() {
    use Verdict::{Asked, Bad, Good, Open, Suspect};
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
        (Asked, PAUSE, nobody, 0, Some(Awaits::Judged)),
        (Asked, 0, skips, 1, ready),
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

#[test]
fn a_pause_begins_anew_where_one_that_was_ready_is_lost_and_not_with_those_that_load_adds() {
    let begun = Some(at(NOW - 1));
    let since = |number: i32, ready: Option<i32>| {
        let skipped = BTreeSet::new();
        let wanted = Wanted {
            release: "a",
            base: "old",
            steps: CANARY,
            replicas: number,
            paused: false,
            skipped: &skipped,
        };
        let state = State { release: "a".to_owned(), passed: 0, since: begun, weight: 30, ready: 2 };
        let (full, replicas, there) = (number, number, Some(number));
        let stable = Stable { release: Some("old"), full, replicas, there, is_one: true, down: None };
        let tried = Some(Tried { release: "a", replicas: 2, there: ready.map(|ready| (2, ready)) });
        let seen = Seen { stable, tried, route: Some(Route::Taken), consumes: false, verdict: Verdict::Good };
        next(coming(&wanted), Some(&state), seen, at(NOW)).state.unwrap().since
    };
    assert_eq!(since(6, Some(2)), begun);
    assert_eq!(since(10, Some(2)), begun, "load asks for a third");
    assert_eq!(since(6, Some(1)), None);
    assert_eq!(since(10, Some(1)), None);
    assert_eq!(since(6, None), begun, "nobody knows");
}

#[test]
fn a_pass_whose_route_was_not_written_ends_no_step_and_begins_none() {
    let state = |release: &str, passed: usize, weight: u8| {
        let release = release.to_owned();
        State { release, passed, since: Some(at(NOW)), weight, ready: 2 }
    };
    let kept =
        |passed: usize, weight: u8| Some(State { since: None, ready: 0, ..state("a", passed, weight) });
    let after = |is_passed: bool| Next {
        state: Some(state("a", 1, 60)),
        is_passed,
        stays: false,
        beside: Some(Beside { replicas: 2, weight: 60 }),
        calls: Calls::Stable,
        away: 0,
        awaits: None,
    };
    assert_eq!(after(false).unrouted(Some(&state("a", 0, 30))), kept(0, 30));
    assert_eq!(after(false).unrouted(Some(&state("b", 1, 30))), kept(0, 0), "that was another's");
    assert_eq!(after(false).unrouted(None), kept(0, 0));
    assert_eq!(after(true).unrouted(Some(&state("a", 0, 30))), Some(state("a", 1, 60)), "it is over");
    assert_eq!(Next { state: None, ..after(false) }.unrouted(Some(&state("a", 0, 30))), None);
}
