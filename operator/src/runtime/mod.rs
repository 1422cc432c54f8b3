//! Engines: how an `IntegrationRuntime` says that one is run. Its check, the choice of a profile by version, and what in an
//! integration's source is unsafe to run as many; what of itself it says does not work.

pub mod check;
pub mod faults;
pub mod profile;
pub mod run;
pub mod stateful;

pub use profile::{NoProfile, profile};
