//! What of an engine does not work, as its health endpoint says: an answer in, sentences out. Pure.
//!
//! The answer is a tenant's program's: nothing of it is kept but names, few and short ones.

use std::collections::BTreeSet;

use serde::Deserialize;

use crate::{api::runtime::HealthFormat, conditions::cut, names::is_invisible};

/// So many faults of one instance are told.
const MOST: usize = 8;
/// Longest name of an artifact, in characters.
const LONGEST: usize = 64;

/// `/healthz` of WSO2 MI, as `ReadinessResource` of its source writes it.
#[derive(Deserialize)]
struct MiAnswer {
    #[serde(rename = "Faulty CAPPs", default)]
    faulty: Vec<String>,
}

/// `/observe/health` of Camel, as `ManagementHttpServer` of its source writes it: by default with the checks only that are
/// down.
#[derive(Deserialize)]
struct CamelAnswer {
    #[serde(default)]
    checks: Vec<Check>,
}

#[derive(Deserialize)]
struct Check {
    name: String,
    status: String,
}

/// Such as `CApp orders_1.0.0 is faulty`, or `route orders is down`; nothing where the answer cannot be read.
pub fn faults(reads: HealthFormat, answer: &[u8]) -> Option<BTreeSet<String>> {
    let found: BTreeSet<_> = match reads {
        HealthFormat::MiCApps => {
            let MiAnswer { faulty } = serde_json::from_slice(answer).ok()?;
            faulty.iter().filter_map(|name| Some(format!("CApp {} is faulty", plain(name)?))).collect()
        }
        HealthFormat::CamelHealth => {
            let CamelAnswer { checks } = serde_json::from_slice(answer).ok()?;
            checks.iter().filter(|check| check.status == "DOWN").filter_map(down).collect()
        }
    };
    Some(found.into_iter().take(MOST).collect())
}

fn down(check: &Check) -> Option<String> {
    Some(match check.name.strip_prefix("route:") {
        Some(route) => format!("route {} is down", plain(route)?),
        None => format!("check {} is down", plain(&check.name)?),
    })
}

fn plain(name: &str) -> Option<String> {
    let name: String = name.chars().filter(|c| !is_invisible(*c)).collect();
    Some(cut(name.trim(), LONGEST)).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn told(reads: HealthFormat, answer: &str) -> Option<Vec<String>> {
        faults(reads, answer.as_bytes()).map(|faults| faults.into_iter().collect())
    }

    #[test]
    fn a_faulty_carbon_application_is_named() {
        let mi = |answer| told(HealthFormat::MiCApps, answer).unwrap();
        assert_eq!(mi(r#"{"version":"4.4.0","status" : "ready"}"#), [""; 0]);
        let faulty = r#"{"version":"4.4.0","status": "not ready, faulty CAPPs detected", "Faulty CAPPs" : ["OrdersCarbonApplication_1.0.0","stock_2.1.0"]}"#;
        assert_eq!(
            mi(faulty),
            ["CApp OrdersCarbonApplication_1.0.0 is faulty", "CApp stock_2.1.0 is faulty"]
        );
    }

    #[test]
    fn a_route_that_is_down_is_named_and_one_that_is_up_is_not() {
        let answer = r#"{
    "status": "DOWN",
    "checks": [
        {
            "name": "context",
            "status": "UP"
        },
        {
            "name": "route:orders",
            "status": "DOWN",
            "message": "Route orders has status Stopped"
        },
        {
            "name": "kafka",
            "status": "DOWN"
        }
    ]
}"#;
        let camel = |answer| told(HealthFormat::CamelHealth, answer).unwrap();
        assert_eq!(camel(answer), ["check kafka is down", "route orders is down"]);
        assert_eq!(camel(r#"{"status": "UP"}"#), [""; 0]);
    }

    #[test]
    fn of_an_answer_nothing_is_kept_but_few_short_names() {
        let names: Vec<_> = (10..99).map(|number| format!("\"{number}{}\"", "x".repeat(999))).collect();
        let many = format!("{{\"Faulty CAPPs\": [{}]}}", names.join(","));
        let many = told(HealthFormat::MiCApps, &many).unwrap();
        assert!(many.len() == MOST && many.iter().all(|one| one.chars().count() < LONGEST + 20));
        let hidden = r#"{"Faulty CAPPs": ["a\u001b[31m\nb\u202e", "\u200b"]}"#;
        assert_eq!(told(HealthFormat::MiCApps, hidden).unwrap(), ["CApp a[31mb is faulty"]);
    }

    #[test]
    fn what_is_no_such_answer_says_nothing() {
        for answer in ["", "<html>", "[]", "3", r#"{"Faulty CAPPs": "a", "checks": {}}"#] {
            assert_eq!(told(HealthFormat::MiCApps, answer).unwrap_or_default(), [""; 0], "{answer}");
            assert_eq!(told(HealthFormat::CamelHealth, answer).unwrap_or_default(), [""; 0], "{answer}");
        }
    }

    proptest! {
        #[test]
        fn no_answer_whatever_does_harm(answer in proptest::collection::vec(any::<u8>(), 0..400)) {
            faults(HealthFormat::MiCApps, &answer);
            faults(HealthFormat::CamelHealth, &answer);
        }
    }
}
