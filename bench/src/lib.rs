//! Benchmarks on the lab, each beside the bare floor: a client that writes the same objects to the same API server in the
//! same run. Figures of two machines, or of two runs, are not compared.
//!
//! Counts come from the API server's audit log, one line a request, so no program is asked about itself.

pub mod audit;
mod bare;
mod input;
pub mod onboarding;
mod ready;
mod report;
