//! The whole platform on one machine, for the demo and the whole-flow tests: a real Kubernetes, registry and Git
//! server, the operator installed by Helm as its Deployment, and people who commit.

mod client;
mod people;
mod stand;

pub use client::{Answer, Trickle, TrickleReport, get};
pub use people::{Developer, Sample};
pub use stand::{Stand, StandOptions, until};
