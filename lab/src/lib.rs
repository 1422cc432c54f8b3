//! A real Kubernetes on this machine, for the demo, the tests and the benchmarks.
pub mod cache;
pub mod camel;
pub mod control_plane;
pub mod dns;
pub mod git_server;
pub mod helm;
pub mod image;
pub mod kubectl;
pub mod node;
pub mod packages;
pub mod process;
mod progress;
pub mod registry;

pub use progress::Progress;
