//! What an image has to stand in an environment before it counts as healthy for what promotes from there. Pure.

use std::time::Duration;

use jiff::Timestamp;

use super::Problem;
use crate::{api::EnvironmentSpec, conditions::Reason, span::span};

/// Longest bake time.
const LONGEST: Duration = Duration::from_hours(24 * 7);

/// `bakeTime` and `gates` of an Environment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proof {
    /// For how long it must have run well.
    pub bake_time: Duration,
    /// Each of these must have let it pass.
    pub gates: Vec<String>,
}

/// What is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unproven {
    /// The first of it.
    pub reason: Reason,
    /// All of it, and what to do about it.
    pub message: String,
    /// When time alone may have brought it.
    pub until: Option<Timestamp>,
}

impl Proof {
    /// Of an Environment. With a bake time that cannot be read nothing is ever proven: nobody can tell what was meant.
    pub fn valid(spec: &EnvironmentSpec) -> (Self, Option<Problem>) {
        let gates = spec.gates.clone();
        let Some(text) = &spec.bake_time else { return (Self { gates, ..Self::default() }, None) };
        let parsed = span(text, Duration::from_secs(1)..=LONGEST);
        let problem = parsed.is_none().then(|| {
            let message = format!("{text:?} is no duration of 1s to 168h: write it like 30m or 1h30m");
            Problem::new("spec.bakeTime", message)
        });
        (Self { bake_time: parsed.unwrap_or(Duration::MAX), gates }, problem)
    }

    /// What is missing of what ran well and does not now; nothing where it need not for long.
    pub fn broken(&self) -> Option<Unproven> {
        let message = "it does not run well now: its bake time begins anew when it does".to_owned();
        (!self.bake_time.is_zero()).then_some(Unproven { reason: Reason::Unhealthy, message, until: None })
    }

    /// What is missing `now` of what is well `since` then, and which these gates let pass. `place`: service,
    /// environment and its namespace.
    pub fn missing(
        &self,
        (since, now): (Timestamp, Timestamp),
        passed: &[&str],
        (service, environment, namespace): (&str, &str, &str),
    ) -> Option<Unproven> {
        // As conditions tell it, so that the same is said before and after it was written.
        let since = Timestamp::from_second(since.as_second()).unwrap_or(since);
        let end = since.checked_add(self.bake_time).unwrap_or(Timestamp::MAX);
        let bakes =
            (end > now).then(|| format!("it counts as healthy elsewhere from {end} on, after its bake time"));
        let gates = self.gates.iter().filter(|gate| !passed.contains(&gate.as_str()));
        let gates = gates.map(|gate| {
            format!(
                "it waits for the gate {gate}, by somebody with the verb `pass` in {namespace}: kubectl imaas pass {service} {environment} {gate}"
            )
        });
        let reason = if bakes.is_some() { Reason::Baking } else { Reason::GatePending };
        let until = bakes.as_ref().map(|_| end);
        let all: Vec<_> = bakes.into_iter().chain(gates).collect();
        (!all.is_empty()).then(|| Unproven { reason, message: all.join("; "), until })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proof(bake_time: Option<&str>, gates: &[&str]) -> (Proof, Option<Problem>) {
        Proof::valid(&EnvironmentSpec {
            bake_time: bake_time.map(ToOwned::to_owned),
            gates: gates.iter().map(ToString::to_string).collect(),
            ..EnvironmentSpec::default()
        })
    }

    const PLACE: (&str, &str, &str) = ("orders", "test", "acme-test");

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn what_runs_well_is_proven_after_its_bake_time_and_all_gates() {
        let (proof, problem) = proof(Some("1m30s"), &["load-test", "audit"]);
        assert_eq!(problem, None);
        let missing = |now, passed: &[&str]| proof.missing((at(0), at(now)), passed, PLACE);
        let both = missing(89, &["audit"]).unwrap();
        assert_eq!((both.reason, both.until), (Reason::Baking, Some(at(90))));
        assert_eq!(
            both.message,
            "it counts as healthy elsewhere from 1970-01-01T00:01:30Z on, after its bake time; it waits for the gate load-test, by somebody with the verb `pass` in acme-test: kubectl imaas pass orders test load-test"
        );
        let late = Timestamp::from_millisecond(700).unwrap();
        let same = proof.missing((late, at(89)), &["audit"], PLACE);
        assert_eq!(same, Some(both), "in whole seconds");
        let gate = missing(90, &["load-test"]).unwrap();
        assert_eq!((gate.reason, gate.until), (Reason::GatePending, None));
        assert_eq!(missing(90, &["load-test", "audit"]), None);
    }

    #[test]
    fn what_runs_well_no_more_is_told_so_where_it_has_a_bake_time() {
        let told = |proof: Proof| proof.broken().map(|broken| (broken.reason, broken.until));
        assert_eq!(told(proof(Some("30m"), &[]).0), Some((Reason::Unhealthy, None)));
        assert_eq!(told(proof(None, &["audit"]).0), None, "the gate is still what it waits for");
    }

    #[test]
    fn a_clock_that_is_set_back_proves_nothing_earlier_and_waits_no_longer_than_that() {
        let (proof, _) = proof(Some("30m"), &[]);
        let until = |now| proof.missing((at(10_000), at(now)), &[], PLACE).and_then(|missing| missing.until);
        let end = Some(at(11_800));
        // Forth, back before it began to run, and forth again.
        assert_eq!([11_799, 0, 11_800, 9_000].map(until), [end, end, None, end]);
    }

    #[test]
    fn without_a_bake_time_and_gates_what_is_well_is_proven() {
        let (proof, _) = proof(None, &[]);
        assert_eq!(proof.missing((at(5), at(5)), &[], PLACE), None);
    }

    #[test]
    fn with_a_bake_time_that_cannot_be_read_nothing_is_proven() {
        for wrong in ["30", "soon", "-1m", "0s", "169h"] {
            let (proof, problem) = proof(Some(wrong), &[]);
            let told = problem.unwrap().to_string();
            assert!(told.starts_with("spec.bakeTime: ") && told.contains("30m"), "{told}");
            assert!(proof.missing((at(0), at(1 << 33)), &[], PLACE).is_some(), "{wrong}");
        }
    }
}
