//! The central repository: a commit's files in, Tenants out.
//!
//! ```text
//! files -> parse (with limits) -> check -> plan, held, mark (pure) | read, publish, status, reconcile, run (IO)
//! ```
//! Invalid is not absent: the tenant of a broken file keeps its last good state. What is no longer in Git is marked, and
//! removed when the stages of its retirement are over; all of that by a look at Git that succeeded, never between. Too
//! much at once is held. A repository that cannot be read changes nothing.

pub mod check;
pub mod held;
pub mod limits;
pub mod mark;
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
