//! The whole platform on one machine, for the demo, the whole-flow tests and the benchmarks: a real Kubernetes, registry and
//! Git server, the operator installed by Helm as its Deployment (a process of this machine where pods are not real), and
//! people who commit.

mod binary;
mod client;
pub mod objects;
mod parts;
mod people;
mod places;
mod programs;
mod stand;

pub use binary::kubectl_imaas;
pub use client::{Answer, Caller, Trickle, TrickleReport, get};
pub use people::{Developer, Sample};
pub use stand::{OPERATOR, Stand, StandOptions, until};
