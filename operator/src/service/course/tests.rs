//! What runs, step by step and over any sequence.

use proptest::prelude::*;

use super::*;
use crate::{api::DecisionAction, service::decision::Rejection};

/// Releases of prod by their letter, oldest first: small ones never ran well, `!` after one says that it failed.
fn history(text: &str) -> History {
    let mut all: Vec<Past> = Vec::new();
    for letter in text.chars() {
        if letter == '!' {
            all.last_mut().unwrap().failed = Some("crashes".to_owned());
            all.last_mut().unwrap().failures = 1;
        } else {
            let name = letter.to_ascii_uppercase().to_string();
            all.push(Past {
                content: Some(format!("content of {name}")),
                name,
                environment: "prod".to_owned(),
                healthy: letter.is_ascii_uppercase(),
                ..Past::default()
            });
        }
    }
    History(all)
}

fn held(action: DecisionAction) -> Held {
    let reason = Some("too slow".to_owned());
    Held { decision: "d".to_owned(), action, by: "nora".to_owned(), reason, until: None }
}

fn hold() -> Standing {
    Standing { hold: Some(held(DecisionAction::Hold)), ..Standing::default() }
}

fn rollback(release: &str, from: &str) -> Standing {
    let rollback = Rollback {
        held: held(DecisionAction::Rollback),
        release: release.to_owned(),
        from: Some(from.to_owned()),
        content: Some(format!("content of {from}")),
        commit: Some("c1".to_owned()),
    };
    Standing { rollback: Some(rollback), ..Standing::default() }
}

fn reject(release: &str) -> Standing {
    let rejection =
        Rejection { by: "nora".to_owned(), release: Some(release.to_owned()), ..Rejection::default() };
    Standing { rejections: vec![rejection], ..Standing::default() }
}

/// Git asks for one, another runs, a third ran well last.
fn decided(history: &History, names: [&str; 3], standing: &Standing) -> Course {
    at_commit(history, names, (standing, "c1"))
}

fn at_commit(
    history: &History,
    [asked, current, last_good]: [&str; 3],
    (standing, commit): (&Standing, &str),
) -> Course {
    let asked =
        Asked { release: history.named(asked), commit: Some(commit), is_new: true, awaits: asked.is_empty() };
    let current = Some(current).filter(|name| !name.is_empty());
    let last_good = Some(last_good).filter(|name| !name.is_empty());
    course(asked, place([current, last_good, None], history, standing))
}

fn place<'a>(
    [current, last_good, trial]: [Option<&'a str>; 3],
    history: &'a History,
    standing: &'a Standing,
) -> Place<'a> {
    Place { service: "orders", environment: "prod", current, trial, last_good, history, standing }
}

/// What runs, and why not what is asked for.
fn told(course: &Course) -> (&str, Vec<Reason>) {
    let reasons = course.problems.iter().map(|problem| problem.reason).collect();
    (course.runs.as_deref().unwrap_or_default(), reasons)
}

#[test]
fn a_failed_release_gives_way_to_the_last_good_one_and_stays_away_until_it_is_tried_again() {
    let none = Standing::default();
    let failed = history("Ab!");
    for current in ["B", "A"] {
        let course = decided(&failed, ["B", current, "A"], &none);
        assert_eq!(told(&course), ("A", vec![Reason::Failed]), "{current} runs");
        assert_eq!(
            course.problems[0].message,
            "B failed (crashes); back on A; push a fix, or: kubectl imaas retry orders prod"
        );
        assert_eq!(course.failed.unwrap().release, "B");
    }
    let mut again = history("Ab");
    again.0[1].failures = 1;
    let course = decided(&again, ["B", "A", "A"], &none);
    assert_eq!((told(&course), course.attempt), (("B", vec![]), Some(2)));
    assert_eq!(told(&decided(&history("Ab!c"), ["C", "A", "A"], &none)), ("C", vec![]), "a fix");
}

#[test]
fn a_way_back_has_one_reason_the_last_that_was_found() {
    let history = history("ABc!");
    let way_back = |names, standing: &Standing| decided(&history, names, standing).way_back();
    assert_eq!(way_back(["C", "C", "B"], &Standing::default()), Some(Reason::Failed));
    assert_eq!(way_back(["B", "B", "B"], &rollback("A", "B")), Some(Reason::RolledBack));
    assert_eq!(way_back(["B", "B", "B"], &reject("B")), Some(Reason::Rejected));
    assert_eq!(way_back(["B", "A", "A"], &Standing::default()), None, "it goes forward");
    assert_eq!(way_back(["B", "A", "A"], &hold()), None, "it stays");
}

#[test]
fn a_first_release_that_fails_stays_and_is_told() {
    let course = decided(&history("a!"), ["A", "A", ""], &Standing::default());
    assert_eq!(told(&course), ("A", vec![Reason::Failed]));
    assert_eq!(
        course.problems[0].message,
        "A failed (crashes); there is nothing to go back to, so it stays; push a fix"
    );
}

#[test]
fn without_a_board_it_goes_back_to_what_ran_well_most_recently() {
    assert_eq!(told(&decided(&history("ABc!"), ["C", "C", ""], &Standing::default())).0, "B");
}

#[test]
fn a_rejected_release_never_runs_and_gives_way_where_it_does() {
    let history = history("ABC");
    for current in ["C", "B"] {
        let course = decided(&history, ["C", current, "C"], &reject("C"));
        assert_eq!(told(&course), ("B", vec![Reason::Rejected]), "{current} runs");
        assert_eq!(
            course.problems[0].message,
            "C was rejected by nora for ever; back on B; push a commit that changes its image, its descriptor or its configuration"
        );
    }
    assert_eq!(told(&decided(&history, ["A", "C", "C"], &reject("C"))).0, "A", "Git was reverted");
    let first = decided(&super::tests::history("c"), ["C", "C", ""], &reject("C"));
    assert_eq!(told(&first), ("C", vec![Reason::Rejected]), "there is nothing else");
    let never_ran = decided(&super::tests::history("c"), ["C", "", ""], &reject("C"));
    assert_eq!(told(&never_ran), ("", vec![Reason::Rejected]));
}

#[test]
fn a_hold_lets_nothing_new_run_and_keeps_what_does() {
    let course = decided(&history("Ab"), ["B", "A", "A"], &hold());
    assert_eq!(told(&course), ("A", vec![Reason::Held]));
    assert!(
        course.problems[0].message.starts_with("held by nora (too slow); nothing new runs"),
        "{course:?}"
    );
    assert_eq!(told(&decided(&history("A"), ["A", "A", "A"], &hold())), ("A", vec![]), "nothing waits");
    assert_eq!(told(&decided(&history("Ab"), ["B", "B", "A"], &hold())), ("B", vec![]), "it was on its way");
    let failed = decided(&history("Ab!"), ["B", "B", "A"], &hold());
    assert_eq!(told(&failed), ("A", vec![Reason::Failed]), "what fails gives way all the same");
    assert_eq!(told(&decided(&history("A"), ["", "A", "A"], &hold())), ("A", vec![Reason::Held]));
    assert_eq!(told(&decided(&history("a"), ["A", "", ""], &hold())), ("", vec![Reason::Held]));
}

#[test]
fn a_rollback_stays_until_git_asks_for_something_else() {
    let history = history("ABCD");
    let back = rollback("A", "C");
    assert_eq!(told(&decided(&history, ["C", "C", "C"], &back)), ("A", vec![Reason::RolledBack]));
    let same = at_commit(&history, ["C", "A", "A"], (&back, "c2"));
    assert!(told(&same).0 == "A" && !same.rollback_is_over, "a commit that changes nothing");
    let waited = decided(&history, ["D", "A", "A"], &back);
    assert_eq!(told(&waited).0, "A", "what the commit asked for then, and whose image came only now");
    let newer = at_commit(&history, ["D", "A", "A"], (&back, "c2"));
    assert!(told(&newer) == ("D", vec![]) && newer.rollback_is_over, "{newer:?}");
    let reverted = at_commit(&history, ["A", "A", "A"], (&back, "c2"));
    assert!(told(&reverted) == ("A", vec![]) && reverted.rollback_is_over, "{reverted:?}");
}

#[test]
fn a_rollback_goes_past_a_hold_and_gives_way_where_it_fails() {
    let both = Standing { hold: hold().hold, ..rollback("A", "C") };
    assert_eq!(told(&decided(&history("ABC"), ["C", "C", "C"], &both)), ("A", vec![Reason::RolledBack]));
    let failed = decided(&history("A!BC"), ["C", "A", "C"], &rollback("A", "C"));
    assert_eq!(told(&failed), ("C", vec![Reason::RolledBack, Reason::Failed]));
}

#[test]
fn what_was_told_before_git_was_read_lets_nothing_new_run() {
    let history = history("Ab");
    let (release, standing) = (history.named("B"), Standing::default());
    let asked = Asked { release, commit: None, is_new: false, awaits: false };
    let place = place([Some("A"), Some("A"), None], &history, &standing);
    assert_eq!(told(&course(asked, place)).0, "A");
}

#[test]
fn what_is_tried_goes_on_until_git_asks_for_something_else_or_it_fails() {
    let (none, tried) = (Standing::default(), [Some("A"), Some("A"), Some("B")]);
    let asks = |history: &History, release: &str, standing: &Standing| {
        let release = history.named(release);
        let asked = Asked { release, commit: Some("c2"), is_new: true, awaits: release.is_none() };
        let course = course(asked, place(tried, history, standing));
        (
            course.runs.unwrap_or_default(),
            course.problems.into_iter().map(|one| one.reason).collect::<Vec<_>>(),
        )
    };
    let (failed, history) = (history("Ab!"), history("Abc"));
    assert_eq!(asks(&history, "B", &none), ("B".to_owned(), vec![]));
    assert_eq!(
        asks(&history, "", &none),
        ("B".to_owned(), vec![]),
        "nothing can be made of the next one yet"
    );
    assert_eq!(asks(&history, "C", &none).0, "C", "a newer one takes its turn");
    assert_eq!(asks(&history, "B", &hold()), ("B".to_owned(), vec![]), "it was on its way");
    assert_eq!(asks(&history, "C", &hold()), ("B".to_owned(), vec![Reason::Held]), "a newer one waits");
    assert_eq!(asks(&super::tests::history("Ab!c"), "C", &hold()), ("A".to_owned(), vec![Reason::Held]));
    assert_eq!(asks(&history, "B", &reject("B")).0, "A");
    assert_eq!(asks(&failed, "B", &none), ("A".to_owned(), vec![Reason::Failed]));
    let asked = Asked { release: history.named("B"), commit: None, is_new: false, awaits: false };
    let course = course(asked, place(tried, &history, &none));
    assert_eq!(course.runs.as_deref(), Some("B"), "after a restart, before Git was read");
}

/// A step of somebody, or of what runs.
#[derive(Clone, Debug)]
enum Step {
    Push(usize),
    Succeeds,
    Fails,
    Reject,
    Hold,
    Rollback(usize),
    Resume,
    Retry,
    /// What was to be written last was not.
    Crash,
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..4usize).prop_map(Step::Push),
        3 => Just(Step::Succeeds),
        3 => Just(Step::Fails),
        1 => Just(Step::Reject),
        1 => Just(Step::Hold),
        1 => (0..4usize).prop_map(Step::Rollback),
        1 => Just(Step::Resume),
        1 => Just(Step::Retry),
        2 => Just(Step::Crash),
    ]
}

const NAMES: [&str; 4] = ["A", "B", "C", "D"];

/// An environment as it is stored: what a crash leaves.
#[derive(Clone, Debug, Default)]
struct Stored {
    history: History,
    standing: Standing,
    asked: Option<usize>,
    pushes: usize,
    current: Option<String>,
    last_good: Option<String>,
}

impl Stored {
    fn course(&self) -> Course {
        let commit = format!("c{}", self.pushes);
        let release = self.asked.and_then(|asked| self.history.named(NAMES[asked]));
        let asked = Asked { release, commit: Some(&commit), is_new: true, awaits: release.is_none() };
        let (current, last_good) = (self.current.as_deref(), self.last_good.as_deref());
        let Self { history, standing, .. } = self;
        course(asked, place([current, last_good, None], history, standing))
    }

    /// A pass, which may end after the first write.
    fn pass(&mut self, crashes: bool) {
        let course = self.course();
        if course.rollback_is_over {
            self.standing.rollback = None;
            if crashes {
                return;
            }
        }
        self.current = course.runs;
    }

    fn past(&mut self, name: &str) -> &mut Past {
        self.history.0.iter_mut().find(|past| past.name == name).unwrap()
    }

    fn take(&mut self, step: &Step) {
        let current = self.current.clone();
        match (step, current) {
            (Step::Push(asked), _) => {
                self.asked = Some(*asked);
                self.pushes += 1;
                let name = NAMES[*asked];
                if self.history.named(name).is_none() {
                    self.history.0.extend(history(&name.to_lowercase()).0);
                }
            }
            (Step::Succeeds, Some(name)) => {
                self.past(&name).healthy = true;
                self.past(&name).failed = None;
                self.last_good = Some(name);
            }
            (Step::Fails, Some(name)) if self.last_good.as_ref() != Some(&name) => {
                self.past(&name).failed = Some("crashes".to_owned());
            }
            (Step::Reject, Some(name)) => self.standing.rejections.extend(reject(&name).rejections),
            (Step::Hold, _) => self.standing.hold = hold().hold,
            (Step::Rollback(to), _) => {
                let from = self.asked.map(|asked| NAMES[asked]).unwrap_or_default();
                if self.history.named(NAMES[*to]).is_some() && NAMES[*to] != from {
                    let mut back = rollback(NAMES[*to], from).rollback.unwrap();
                    back.commit = Some(format!("c{}", self.pushes));
                    self.standing.rollback = Some(back);
                }
            }
            (Step::Resume, _) => {
                self.standing.hold = None;
                self.standing.rollback = None;
            }
            (Step::Retry, _) => {
                if let Some(asked) = self.asked {
                    self.past(NAMES[asked]).failed = None;
                }
            }
            (Step::Succeeds | Step::Fails | Step::Reject | Step::Crash, _) => {}
        }
    }
}

proptest! {
    /// S04, R02: whatever happened and wherever it crashed.
    #[test]
    fn it_settles_and_runs_nothing_that_is_refused_while_there_is_anything_else(
        steps in prop::collection::vec(any_step(), 1..40),
    ) {
        let mut stored = Stored::default();
        for step in &steps {
            stored.take(step);
            let before = stored.clone();
            let mut undisturbed = stored.clone();
            undisturbed.pass(false);
            stored.pass(matches!(step, Step::Crash));
            stored.pass(false);
            prop_assert_eq!(&stored.current, &undisturbed.current, "a crash changes nothing: {:?}", before);
            stored.pass(false);
            prop_assert_eq!(&stored.current, &undisturbed.current, "it stays: {:?}", before);

            let current = stored.current.as_ref().and_then(|name| stored.history.named(name));
            let is_refused = |past: &Past| past.failed.is_some() || stored.standing.rejects(past).is_some();
            let has_good = stored.history.0.iter().any(|past| past.healthy && !is_refused(past));
            prop_assert!(!current.is_some_and(is_refused) || !has_good, "{:?}", stored);

            let asked = stored.asked.and_then(|asked| stored.history.named(NAMES[asked]));
            let Standing { hold, rollback, .. } = &stored.standing;
            if let Some(asked) = asked.filter(|asked| !is_refused(asked) && hold.is_none() && rollback.is_none()) {
                prop_assert_eq!(stored.current.as_ref(), Some(&asked.name), "Git decides: {:?}", before);
            }
            if hold.is_some() && rollback.is_none() && before.current != stored.current {
                let was = before.current.as_ref().and_then(|name| before.history.named(name));
                prop_assert!(
                    was.is_none_or(is_refused),
                    "a hold lets nothing new run: {:?}", before
                );
            }
        }
    }
}
