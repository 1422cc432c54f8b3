//! What becomes of tenants that are gone from Git: X01 to X03 and X07, without a cluster.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;

use super::*;
use crate::{
    api::TenantSpec,
    names::{ORPHANED_BY, REMOVAL_HELD, RETIRING, SOURCE_PROBLEM, TRANSFER_TO},
    retirement::{Periods, confirmation},
    source::mark::Clock,
};

const DAY: Duration = Duration::from_hours(24);

fn at(text: &str) -> Clock {
    let now: Timestamp = format!("2026-01-{text}Z").parse().unwrap();
    Clock { periods: Periods::default(), now }
}

fn tenant(name: &str) -> Tenant {
    let mut tenant = Tenant::new(name, TenantSpec::default());
    tenant.metadata.uid = Some(format!("uid-of-{name}"));
    tenant.annotations_mut().insert(ORIGIN.to_owned(), "central".to_owned());
    tenant
}

fn with(mut tenant: Tenant, annotations: &[(&str, &str)]) -> Tenant {
    let all = annotations.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    tenant.annotations_mut().extend(all);
    tenant
}

fn some(names: &[String]) -> Vec<Arc<Tenant>> {
    names.iter().map(|name| Arc::new(tenant(name))).collect()
}

fn names(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|n| format!("t{n:03}")).collect()
}

/// Files of these tenants.
fn files(names: &[String]) -> Checked {
    Checked {
        valid: names.iter().map(|name| (name.clone(), Tenant::new(name, TenantSpec::default()))).collect(),
        ..Checked::default()
    }
}

fn before<'a>(existing: &'a [Arc<Tenant>], confirmed: Option<&'a str>) -> Before<'a> {
    Before { confirmed, ..Before::new("central", existing) }
}

#[test]
fn x03_more_than_five_and_a_tenth_gone_at_once_are_held_and_all_else_flows() {
    for (all, gone, is_held) in [(10, 5, false), (10, 6, true), (100, 10, false), (100, 11, true)] {
        let existing = some(&names(0..all));
        let mut present = names(gone..all);
        present.push("newcomer".to_owned());
        let plan = plan(&before(&existing, None), &files(&present));
        assert_eq!(plan.apply.len(), present.len(), "what is there flows, the newcomer too");
        let held = plan.held.as_ref().map(|held| (held.tenants.clone(), held.doubt.clone()));
        assert_eq!(held, is_held.then(|| (names(0..gone), Doubt::Many(all))), "{gone} of {all}");
        let marked = plan.marks("4f2a").into_iter().filter(|(_, mark)| matches!(mark, Mark::Gone(_))).count();
        assert_eq!(marked, if is_held { 0 } else { gone }, "what is held bears no mark");
    }
}

#[test]
fn what_is_held_says_so_until_it_goes_or_comes_back() {
    let existing = some(&names(0..2));
    let plan = plan(&before(&existing, None), &files(&[]));
    let (name, held) = plan.marks("4f2a").remove(0);
    assert_eq!((&*name, &held), ("t000", &Mark::Held("4f2a".into())));
    let change = |tenant: &Tenant, mark: &Mark| {
        let change = at("01T00:00:00").change(tenant, "central", mark)?;
        Some(change["metadata"]["annotations"].clone())
    };
    let bare = with(tenant("acme"), &[(SOURCE_PROBLEM, "bad")]);
    assert_eq!(
        change(&bare, &held),
        Some(json!({ REMOVAL_HELD: "4f2a", SOURCE_PROBLEM: null })),
        "there is no file that could have a problem"
    );
    let waiting = with(tenant("acme"), &[(REMOVAL_HELD, "4f2a")]);
    assert_eq!(change(&waiting, &Mark::Held("9c3b".into())), None, "the first commit stays");
    assert_eq!(change(&waiting, &Mark::None), Some(json!({ REMOVAL_HELD: null })));
    let gone = change(&waiting, &Mark::Gone("9c3b".into())).unwrap();
    assert!(gone[REMOVAL_HELD].is_null() && gone[ORPHANED_BY] == "commit 9c3b", "confirmed: {gone}");
}

#[test]
fn x01_x02_nothing_left_or_another_history_holds_even_one() {
    let existing = some(&names(0..2));
    let plan_of = |present: &[String], doubt: Option<Doubt>| {
        let before = Before { doubt, ..before(&existing, None) };
        plan(&before, &files(present)).held.map(|held| held.doubt)
    };
    assert_eq!(plan_of(&[], None), Some(Doubt::Empty));
    assert_eq!(plan_of(&names(0..1), None), None);
    for doubt in [Doubt::Unknown, Doubt::Unrelated("4f2a".into()), Doubt::Moved("tenants".into())] {
        assert_eq!(plan_of(&names(0..1), Some(doubt.clone())), Some(doubt.clone()));
        assert_eq!(plan_of(&names(0..2), Some(doubt)), None, "nothing is gone");
    }
    let broken = Checked { broken: [("t000".to_owned(), Vec::new())].into(), ..files(&[]) };
    assert_eq!(plan(&before(&existing, None), &broken).held, None, "a broken file is a file");
}

#[test]
fn a_confirmation_lets_exactly_one_set_go() {
    let existing = some(&names(0..20));
    let hash = confirmation(names(0..9).iter().map(String::as_str));
    for (gone, is_held) in [(8, true), (9, false), (10, true)] {
        let plan = plan(&before(&existing, Some(&hash)), &files(&names(gone..20)));
        assert_eq!(plan.held.is_some(), is_held, "{gone}");
    }
    let asked = plan(&before(&existing, None), &files(&names(9..20))).held.unwrap();
    assert_eq!(asked.confirmation, hash, "and the set says which");
}

#[test]
fn a_confirmation_holds_until_all_of_its_set_bear_the_mark() {
    let hash = confirmation(names(0..9).iter().map(String::as_str));
    let mut existing = some(&names(0..20));
    for marked in existing.iter_mut().take(3) {
        *marked = Arc::new(with((**marked).clone(), &[(ORPHANED, "2026-01-01T00:00:00Z")]));
    }
    let plan = plan(&before(&existing, Some(&hash)), &files(&names(9..20)));
    assert_eq!((plan.held, plan.orphan.len()), (None, 9));
}

#[test]
fn what_was_marked_goes_on_when_more_is_held() {
    let mut existing = some(&names(0..20));
    existing[0] = Arc::new(with(tenant("t000"), &[(ORPHANED, "2026-01-01T00:00:00Z")]));
    let plan = plan(&before(&existing, None), &files(&[]));
    assert_eq!(plan.orphan, ["t000"]);
    assert_eq!(plan.held.unwrap().tenants, names(1..20));
}

#[test]
fn one_that_is_being_deleted_or_handed_over_is_not_gone() {
    let mut leaving = tenant("leaving");
    leaving.metadata.deletion_timestamp =
        Some(serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap());
    let existing =
        [Arc::new(leaving), Arc::new(with(tenant("handed"), &[(TRANSFER_TO, "other"), (ORPHANED, "x")]))];
    let plan = plan(&before(&existing, None), &files(&names(0..1)));
    assert_eq!((plan.orphan.len(), plan.held.as_ref()), (0, None));
    let marks = plan.marks("4f2a");
    assert!(marks.contains(&("handed".to_owned(), Mark::None)), "its stages are over: {marks:?}");
}

#[test]
fn a_mark_is_written_once_goes_on_and_is_taken_away() {
    let gone = Mark::Gone("4f2a".into());
    let change = |clock: Clock, tenant: &Tenant, mark: &Mark| clock.change(tenant, "central", mark);
    let annotations = |change: Option<serde_json::Value>| change.unwrap()["metadata"]["annotations"].clone();
    let first = json!({ ORPHANED: "2026-01-01T00:00:00Z", ORPHANED_BY: "commit 4f2a" });
    assert_eq!(annotations(change(at("01T00:00:00"), &tenant("acme"), &gone)), first);

    let marked = with(tenant("acme"), &[(ORPHANED, "2026-01-01T00:00:00Z"), (ORPHANED_BY, "commit 4f2a")]);
    assert_eq!(
        change(at("01T23:59:59"), &marked, &Mark::Gone("9c3b".into())),
        None,
        "the first commit stays"
    );
    let retiring = json!({ RETIRING: "2026-01-02T00:00:00Z" });
    assert_eq!(annotations(change(at("02T00:00:00"), &marked, &gone)), retiring);
    let marked = with(marked, &[(RETIRING, "2026-01-02T00:00:00Z")]);
    assert_eq!(change(at("09T00:00:00"), &marked, &gone), None);
    assert!(!at("04T23:59:59").is_due(&marked) && at("05T00:00:00").is_due(&marked));

    let none = json!({ ORPHANED: null, ORPHANED_BY: null, RETIRING: null });
    for mark in [Mark::None, Mark::Problem("bad".into())] {
        let mut off = annotations(change(at("04T00:00:00"), &marked, &mark));
        off.as_object_mut().unwrap().remove(SOURCE_PROBLEM);
        assert_eq!(off, none, "X07: its file is back, broken or not");
    }
    let broken = with(tenant("acme"), &[(SOURCE_PROBLEM, "bad")]);
    assert_eq!(change(at("01T00:00:00"), &broken, &Mark::Problem("bad".into())), None);
    assert_eq!(annotations(change(at("01T00:00:00"), &broken, &Mark::None)), json!({ SOURCE_PROBLEM: null }));
    for (other, why) in [
        (with(tenant("acme"), &[(ORIGIN, "other")]), "handed over meanwhile"),
        (
            Tenant { metadata: serde_json::from_value(json!({ "name": "acme", "deletionTimestamp": "2026-01-01T00:00:00Z", "annotations": { ORIGIN: "central" } })).unwrap(), ..tenant("acme") },
            "deleted meanwhile",
        ),
    ] {
        assert_eq!(change(at("01T00:00:00"), &other, &gone), None, "{why}");
    }
}

#[test]
fn a_suspended_tenant_goes_no_further() {
    let mut tenant =
        with(tenant("acme"), &[(ORPHANED, "2026-01-01T00:00:00Z"), (ORPHANED_BY, "commit 4f2a")]);
    tenant.spec.suspend = true;
    let gone = Mark::Gone("4f2a".into());
    assert_eq!(at("09T00:00:00").change(&tenant, "central", &gone), None);
    let tenant = with(tenant, &[(RETIRING, "2026-01-02T00:00:00Z")]);
    assert!(!at("09T00:00:00").is_due(&tenant));
    assert_eq!(at("09T00:00:00").next(&[Arc::new(tenant)], &["acme".to_owned()], "4f2a"), None);
}

#[test]
fn the_source_looks_again_when_a_stage_ends() {
    let marked = with(tenant("acme"), &[(ORPHANED, "2026-01-01T00:00:00Z")]);
    let existing = [Arc::new(marked), Arc::new(tenant("beta"))];
    let next = |orphans: &[&str]| {
        let orphans: Vec<_> = orphans.iter().map(ToString::to_string).collect();
        at("01T10:00:00").next(&existing, &orphans, "4f2a")
    };
    assert_eq!(next(&[]), None);
    assert_eq!(next(&["beta"]), Some(DAY), "marked a moment ago");
    assert_eq!(next(&["acme", "beta"]), Some(Duration::from_hours(14)));
}
