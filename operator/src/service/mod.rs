//! One service: the heads of its branches become Releases, and its status is the board.
//!
//! ```text
//! validate -> (poll: heads, descriptor, build id, image) -> decision -> resolve -> promote -> release::render -> wave -> course
//!          -> release::roll_out -> attempt -> status
//! ```
//! Pure: [`validate`], [`snapshot`], [`resolve`], [`promote`], [`uses`], [`exposure`], [`signed`], [`wave`], [`decision`], [`course`], [`attempt`], [`history`], [`recall`], [`instances`], `smoke`, `step`, [`status`], [`schedule`]. IO: [`poll`] with `look` and [`read`]
//! looks at Git and the registry and writes nothing; [`reconcile`] writes the cluster and never waits for
//! Git (`pass` goes over the environments, `stage` over one, `rollout` applies what runs there, `outside` sees the way in, `trial` what is tried beside it, `answers` answers what people decided, `choice` finds each one's
//! release, `awaited` what else keeps it, `written` remembers, `brought` hands over what configurations hold, `neighbours` sees the services beside
//! it, `relations` knows which of them to wake, `rounds` asks instances how they are, `analyses` asks Prometheus how what is tried fares); [`run`] wakes it. [`commit_status`] tells the repository's host.

mod analyses;
mod answers;
pub mod attempt;
mod awaited;
mod brought;
mod choice;
pub mod commit_status;
pub mod course;
pub mod decision;
mod delivery;
pub mod ending;
pub mod entry;
pub mod exposure;
mod finalize;
pub mod history;
mod images;
pub mod instances;
mod login;
mod look;
mod neighbours;
mod observation;
mod outside;
mod pass;
mod places;
pub mod poll;
pub mod promote;
mod prune;
pub mod read;
pub mod recall;
pub mod reconcile;
mod relations;
mod remote;
mod remove;
pub mod resolve;
mod rollout;
mod rounds;
pub mod run;
mod scaled;
pub mod schedule;
pub mod secrets;
pub mod signed;
mod smoke;
pub mod snapshot;
mod stage;
pub mod status;
mod step;
mod trial;
mod turns;
pub mod uses;
pub mod validate;
pub mod wave;
mod written;

use crate::{
    api::integration_service::Waiting,
    conditions::{Reason, one_line},
};

/// Why something is not done yet, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// A word of the closed set.
    pub reason: Reason,
    /// One sentence for the reader.
    pub message: String,
}

impl Problem {
    /// A problem with its sentence, on one line also where another program's words are in it.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: one_line(message.into()) }
    }

    /// As the status tells it.
    pub fn waiting(&self) -> Waiting {
        Waiting { reason: self.reason.as_str().to_owned(), message: self.message.clone() }
    }
}
