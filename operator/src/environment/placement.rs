//! Which instances have precedence, and how soon one leaves a node that is lost: `priorityClass` and `evictAfter` of an
//! Environment. Pure.

use std::time::Duration;

use serde::Serialize;

use super::Problem;
use crate::{api::EnvironmentSpec, span::span};

/// Longest that an instance may stay on a node that is lost.
const LONGEST: Duration = Duration::from_hours(1);

/// What an Environment says of where instances run. A release that is made while nothing is said has nothing of it in its name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Placement {
    /// An instance on a node that does not answer gives way to another one after so many seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evict_after_seconds: Option<i64>,
    /// Name of the `PriorityClass` of the pods.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority_class: Option<String>,
}

impl Placement {
    /// Of an Environment. A time that cannot be read is as good as none.
    pub fn valid(spec: &EnvironmentSpec) -> (Self, Option<Problem>) {
        let read = |text| span(text, Duration::ZERO..=LONGEST).filter(|read| read.subsec_nanos() == 0);
        let parsed = spec.evict_after.as_ref().map(|text| (text, read(text)));
        let problem = parsed.filter(|(_, parsed)| parsed.is_none()).map(|(text, _)| {
            let message =
                format!("{text:?} is no whole number of seconds from 0s to 1h: write it like 30s or 5m");
            Problem::new("spec.evictAfter", message)
        });
        let evict_after = parsed.and_then(|(_, parsed)| i64::try_from(parsed?.as_secs()).ok());
        (Self { evict_after_seconds: evict_after, priority_class: spec.priority_class.clone() }, problem)
    }

    /// Is nothing said?
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_that_cannot_be_read_is_told_and_none() {
        let placed = |text: &str| {
            let spec = EnvironmentSpec { evict_after: Some(text.to_owned()), ..EnvironmentSpec::default() };
            let (placement, problem) = Placement::valid(&spec);
            (placement.evict_after_seconds, problem.map(|problem| problem.to_string()))
        };
        assert_eq!(placed("30s"), (Some(30), None));
        assert_eq!(placed("0s"), (Some(0), None));
        for wrong in ["30", "2h", "-1s", "soon", "0.9s", "500ms"] {
            let told = format!(
                "spec.evictAfter: {wrong:?} is no whole number of seconds from 0s to 1h: write it like 30s or 5m"
            );
            assert_eq!(placed(wrong), (None, Some(told)));
        }
    }
}
