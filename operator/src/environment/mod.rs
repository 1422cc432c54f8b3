//! Environments: checked one by one and together, and the order in which images move through them.
//!
//! Pure: [`check`] (wire → valid), [`chain`] (promotion order), [`network`] (address blocks), [`egress`] (the way to
//! them), `entrance` (the way in), `brokers` (where work waits), [`window`] (when something new may run), [`sleep`] (when
//! nothing runs), [`proof`] (what counts as healthy), `signers` (whose images), `placement` (where instances run), `prometheus`
//! (where metrics are asked). IO: [`run`] (status).

mod brokers;
pub mod chain;
pub mod check;
pub mod egress;
mod entrance;
pub mod network;
mod placement;
mod prometheus;
pub mod proof;
pub mod run;
mod signers;
pub mod sleep;
pub mod window;

pub use chain::Link;
pub use check::{Bounds, Checked, Problem, Problems, ValidEnvironment, ValidQuota, check};
pub use network::{Block, Cidr, ValidNetwork};
pub use placement::Placement;
pub(crate) use prometheus::is_label_name;
pub use prometheus::{ValidPrometheus, no_prometheus};
pub use proof::Proof;
pub use run::run;
pub use signers::signers;
pub use window::{Moment, Windows, opens_often};
