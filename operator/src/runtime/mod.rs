//! Engines: how an `IntegrationRuntime` says that one is run. Its check, and the choice of a profile by version.

pub mod check;
pub mod profile;
pub mod run;

pub use profile::{NoProfile, profile};
