//! What Prometheus answers to the one question → numbers. Pure.
//!
//! A number that is not there, or is none (`NaN`, as of no requests), is nothing: it is never taken for zero but where zero
//! is what no series means.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::{conditions::cut, names::is_invisible};

/// Label of a sample that says what it is.
pub(super) const TELLS: &str = "tells";
/// Longest that is told of a kind of error, in characters.
const LONGEST: usize = 40;

/// Whose requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Of what is tried.
    Tried,
    /// Of what runs.
    Stable,
}

/// What is measured of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Requests,
    Failures,
    Latency,
}

impl Part {
    /// The value of [`TELLS`].
    pub(super) fn name(self, side: Side) -> &'static str {
        match (side, self) {
            (Side::Tried, Self::Requests) => "tried requests",
            (Side::Tried, Self::Failures) => "tried failures",
            (Side::Tried, Self::Latency) => "tried latency",
            (Side::Stable, Self::Requests) => "stable requests",
            (Side::Stable, Self::Failures) => "stable failures",
            (Side::Stable, Self::Latency) => "stable latency",
        }
    }
}

/// What one release did in the time that was asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Fared {
    /// Its requests; nothing where no scrape of them is known, of what runs no two.
    pub requests: Option<f64>,
    /// How many of them failed. An engine that counts by label has no series until the first one does.
    pub failures: f64,
    /// Seconds that one takes.
    pub latency: Option<f64>,
}

/// What both did.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Measured {
    /// What is tried.
    pub tried: Fared,
    /// What runs.
    pub stable: Fared,
}

/// Why nothing was measured.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoAnswer {
    /// No connection, or not in time.
    #[error("does not answer")]
    Silent,
    /// More than is read.
    #[error("answers more than can be read")]
    TooLong,
    /// Somebody else is there, or it is not well.
    #[error("answers {0}")]
    Status(u16),
    /// It does not take the question, or cannot work it out.
    #[error("answers {status}, {kind}")]
    Refused {
        /// Of HTTP.
        status: u16,
        /// Its own word, such as `bad_data`.
        kind: String,
    },
    /// Not what its documentation says.
    #[error("gives an answer that cannot be read: does `prometheus.url` lead to it?")]
    Unreadable,
}

/// `GET /api/v1/query`, as its documentation says.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    status: String,
    #[serde(default)]
    error_type: Option<String>,
    #[serde(default)]
    data: Option<Vector>,
}

#[derive(Deserialize)]
struct Vector {
    result: Vec<Sample>,
}

#[derive(Deserialize)]
struct Sample {
    metric: BTreeMap<String, String>,
    value: (f64, String),
}

/// What an answer with this status and body says.
pub fn measured(status: u16, body: &[u8]) -> Result<Measured, NoAnswer> {
    let answer: Option<Answer> = serde_json::from_slice(body).ok();
    match answer {
        Some(Answer { status: told, data: Some(Vector { result }), .. })
            if status == 200 && told == "success" =>
        {
            let told: BTreeMap<String, f64> = result.into_iter().filter_map(number).collect();
            let fared = |side| {
                let of = |part: Part| told.get(part.name(side)).copied();
                Fared {
                    requests: of(Part::Requests),
                    failures: of(Part::Failures).unwrap_or_default(),
                    latency: of(Part::Latency),
                }
            };
            Ok(Measured { tried: fared(Side::Tried), stable: fared(Side::Stable) })
        }
        Some(Answer { error_type: Some(kind), .. }) => {
            let kind: String = kind.chars().filter(|c| !is_invisible(*c)).collect();
            Err(NoAnswer::Refused { status, kind: cut(&kind, LONGEST) })
        }
        Some(_) | None if status == 200 => Err(NoAnswer::Unreadable),
        Some(_) | None => Err(NoAnswer::Status(status)),
    }
}

/// What a sample says, and its number if it is one.
fn number(sample: Sample) -> Option<(String, f64)> {
    let Sample { mut metric, value: (_, text) } = sample;
    let number = text.parse::<f64>().ok().filter(|number| number.is_finite() && *number >= 0.0)?;
    Some((metric.remove(TELLS)?, number))
}

#[cfg(test)]
mod tests;
