//! A service's requests, as Prometheus counts them: a canary's beside those of what runs, and all, by which its number follows;
//! and what waits in brokers meanwhile, as KEDA counts it.
//!
//! Pure: [`comparison`] and [`query`] (what is asked of a canary), [`answer`] (what was measured), [`judgement`] (what that says),
//! [`demand`] (what KEDA asks); of what waits all of that is [`backlog`]. IO: [`ask`]. Who asks, and when, is `service::analyses`.

pub mod answer;
pub mod ask;
pub mod backlog;
pub mod comparison;
pub mod demand;
pub mod judgement;
pub mod query;
mod series;

pub use answer::{Measured, NoAnswer, measured};
pub use ask::Asker;
pub use backlog::{Backlog, Look, Place, Uncounted, places};
pub use comparison::Comparison;
pub use judgement::{Moment, confirmed, judged, open};
pub use query::{Subject, query};
