//! The central repository: a commit's files in, Tenants out.
//!
//! ```text
//! files -> parse (with limits) -> check -> plan (pure) | read, publish, status, reconcile, run (IO)
//! ```
//! Invalid is not absent: the tenant of a broken file keeps its last good state. Nothing is ever deleted here: what is
//! no longer in Git is marked and serves on. A repository that cannot be read changes nothing.

pub mod check;
pub mod limits;
pub mod parse;
pub mod plan;
mod publish;
mod read;
mod reconcile;
mod run;
mod status;

pub use publish::PublishError;
pub use read::{LIMITS, ReadError};
pub use reconcile::{Error, Sources};
pub use run::run;
