//! How much waits in brokers, as KEDA counted it → is it more than when the step began? Pure.
//!
//! KEDA alone has the logins. What it is told it serves to autoscalers as `external.metrics.k8s.io`: a number for each trigger,
//! under a name that begins with its place among them (`GenerateMetricNameWithIndex`, `pkg/scalers/scaler.go` of KEDA 2.21).

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use serde::Deserialize;

use super::judgement::{Moment, NOTHING, bad, count, open};
use crate::{
    api::{Quantity, ScaledObject, Trigger, trigger::Asks},
    cluster::NoNumber,
    release::verdict::{Judgement, Verdict},
};

/// In instances' worth; less than so much more is never bad, whatever the share.
const FLOOR: f64 = 1.0;

/// Where something waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its place among the triggers.
    pub index: usize,
    /// For people, such as `queue orders`.
    pub told: String,
    /// So much of it one instance works off.
    pub share: u32,
}

/// How much waited in each place, by its index.
pub type Backlog = BTreeMap<usize, f64>;

/// How much waited, and when.
#[derive(Clone, Debug, PartialEq)]
pub struct Look {
    /// To the second, as people read it.
    pub at: Timestamp,
    /// So much.
    pub waits: Backlog,
}

impl Look {
    /// Since `first`; nothing where the clock was set back.
    fn since(&self, first: &Self) -> Duration {
        Duration::try_from(self.at.duration_since(first.at)).unwrap_or_default()
    }
}

/// Why it is not known how much waits.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Uncounted {
    /// KEDA has nothing that it would ask for.
    #[error(
        "nobody counts what waits: KEDA has no ScaledObject of it, as where the number is by hand or the platform has no KEDA any more"
    )]
    Nobody,
    /// Nobody knows whether KEDA makes them up.
    #[error(
        "the ScaledObject, which says whether KEDA makes its numbers up, cannot be read: the operator's log says why"
    )]
    Unread,
    /// It asked nothing yet.
    #[error("KEDA does not say yet how much waits in {0}")]
    Unasked(String),
    /// A broker does not answer, and what KEDA says is `fallback`.
    #[error(
        "KEDA does not know how much waits, so its numbers are those of `scaling.fallback`: does the broker answer?"
    )]
    Fallback,
    /// No answer in time.
    #[error("KEDA does not say in time how much waits in {0}: does the broker answer?")]
    Silent(String),
    /// No number.
    #[error(
        "external.metrics.k8s.io answers {status} when asked how much waits in {place}: does the broker answer, and KEDA's metrics server run?"
    )]
    Status {
        /// Of HTTP.
        status: u16,
        /// For people.
        place: String,
    },
    /// Not what its documentation says.
    #[error("of how much waits in {0} external.metrics.k8s.io says nothing that can be read: is it KEDA's?")]
    Unreadable(String),
}

/// The places of those of `triggers` that are at a broker.
pub fn places(triggers: &[Trigger]) -> Vec<Place> {
    let place = |(index, trigger): (usize, &Trigger)| {
        let Some(Asks::Broker(_, waits)) = trigger.asks() else { return None };
        Some(Place { index, told: waits.place(), share: waits.share() })
    };
    triggers.iter().enumerate().filter_map(place).collect()
}

impl Place {
    /// The name of its number, as `object` says. It becomes a part of an address.
    pub fn metric<'a>(&self, object: &'a ScaledObject) -> Result<&'a str, Uncounted> {
        let begins = format!("s{}-", self.index);
        let names = object.status.as_ref().map(|status| status.external_metric_names.as_slice());
        let name = names.unwrap_or_default().iter().find(|name| name.starts_with(&begins));
        let name = name.ok_or_else(|| Uncounted::Unasked(self.told.clone()))?;
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if name.chars().all(is_plain) { Ok(name) } else { Err(Uncounted::Unreadable(self.told.clone())) }
    }

    /// Why there is none.
    pub fn unanswered(&self, error: NoNumber) -> Uncounted {
        let place = self.told.clone();
        match error {
            NoNumber::Silent => Uncounted::Silent(place),
            NoNumber::Status(status) => Uncounted::Status { status, place },
            NoNumber::TooLong => Uncounted::Unreadable(place),
        }
    }

    /// What an answer says: an `ExternalMetricValueList`, all of which counts, as an autoscaler counts it.
    pub fn counted(&self, answer: &[u8]) -> Result<f64, Uncounted> {
        let unreadable = || Uncounted::Unreadable(self.told.clone());
        let list: List = serde_json::from_slice(answer).map_err(|_| unreadable())?;
        let mut millis = list.items.iter().map(|item| item.value.millis()).peekable();
        millis.peek().ok_or_else(unreadable)?;
        let millis: i128 = millis.sum::<Option<_>>().ok_or_else(unreadable)?;
        Ok(f64::from(u32::try_from(millis / 1000).unwrap_or(u32::MAX)))
    }

    /// In instances' worth.
    fn worth(&self, waits: f64) -> f64 {
        waits / f64::from(self.share.max(1))
    }
}

/// `external.metrics.k8s.io/v1beta1`.
#[derive(Deserialize)]
struct List {
    items: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    value: Quantity,
}

/// Are the numbers that KEDA tells of `object` none that it was told?
pub fn is_made_up(object: &ScaledObject) -> bool {
    let told = object.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    told.iter().any(|one| one.type_ == "Fallback" && one.status == "True")
}

/// Does more wait in one of `places` at the `last` look than at the `first` one of a step? `more`: so many percent may. The time
/// that counts begins with the `first`, however late that is: before it nobody knows what waited, and it alone says nothing.
pub fn judged((more, places): (u16, &[Place]), (first, last): (&Look, &Look), moment: Moment) -> Judgement {
    let lasts = last.since(first);
    let is_due = !lasts.is_zero() && Moment { lasts: lasts.min(moment.lasts), ..moment }.is_due();
    let of = |place: &Place, backlog: &Backlog| backlog.get(&place.index).copied().unwrap_or_default();
    let grown = places.iter().filter_map(|place| {
        let (before, now) = (of(place, &first.waits), of(place, &last.waits));
        let (old, new) = (place.worth(before), place.worth(now));
        let most = (old * (1.0 + f64::from(more) / 100.0)).max(old + FLOOR);
        (new > most + NOTHING).then(|| (new, told(place, now, (new, old))))
    });
    let worst = grown.max_by(|(one, _), (other, _)| one.total_cmp(other));
    match worst {
        Some((_, words)) => bad(format!("{words}: more than {more}% more")),
        None if is_due => Judgement { verdict: Verdict::Good, message: "no more waits than may".to_owned() },
        None => open(format!("so far no more waits than may, since {}", first.at)),
    }
}

fn told(place: &Place, waits: f64, (new, old): (f64, f64)) -> String {
    let Place { index: _, told, share: _ } = place;
    format!(
        "what waits is {} ({told}: {}), {} when the step began",
        instances(new),
        count(waits),
        decimal(old)
    )
}

/// Such as `1 instance's worth`.
fn instances(worth: f64) -> String {
    match decimal(worth) {
        one if one == "1" => "1 instance's worth".to_owned(),
        more => format!("{more} instances' worth"),
    }
}

/// Such as `14` and `2.5`.
fn decimal(number: f64) -> String {
    if number < 10.0 && (number * 10.0).round() % 10.0 != 0.0 {
        format!("{number:.1}")
    } else {
        count(number)
    }
}

#[cfg(test)]
mod tests;
