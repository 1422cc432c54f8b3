//! A canary's requests beside those of what runs, as Prometheus counts them.
//!
//! Pure: [`query`] (what is asked), [`answer`] (what was measured), [`judgement`] (what that says). IO: [`ask`]. Who asks, and
//! when, is `service::analyses`.

pub mod answer;
pub mod ask;
pub mod judgement;
pub mod query;

pub use answer::{Measured, NoAnswer, measured};
pub use ask::Asker;
pub use judgement::{Moment, confirmed, judged, open};
pub use query::{Subject, query};
