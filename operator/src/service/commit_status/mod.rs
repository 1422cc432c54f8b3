//! What a commit came to, told to the host of its repository: `pending`, then `success` or `failure`.
//!
//! ```text
//! board -> report -> host -> (sender: one at a time for each service and environment) -> Reported, on the board again
//! ```
//! Pure: [`report`] finds what there is to say, [`host`] how a host wants to be told and what its answer means. IO: [`sender`].
//! Nothing waits for any of it.

pub mod host;
pub mod report;
pub mod sender;
