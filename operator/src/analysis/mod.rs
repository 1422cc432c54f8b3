//! A canary's requests beside those of what runs, as Prometheus counts them, and what waits in brokers meanwhile, as KEDA does.
//!
//! Pure: [`comparison`] and [`query`] (what is asked), [`answer`] (what was measured), [`judgement`] (what that says); of what waits all
//! of that is [`backlog`]. IO: [`ask`]. Who asks, and when, is `service::analyses`.

pub mod answer;
pub mod ask;
pub mod backlog;
pub mod comparison;
pub mod judgement;
pub mod query;

pub use answer::{Measured, NoAnswer, measured};
pub use ask::Asker;
pub use backlog::{Backlog, Place, Uncounted, places};
pub use comparison::Comparison;
pub use judgement::{Moment, confirmed, judged, open};
pub use query::{Subject, query};
