//! One private registry, an area per tenant: `<registry>/<tenant>/…`.
//!
//! Pure: [`accounts`] (who may log in), [`generations`] (with which passwords), [`scope`] (what a login may do), [`token`]
//! (how the registry is told), [`catalog`] (whose repositories
//! there are), [`manifest`] (what one refers to), [`usage`] (what images take), [`quota`] (what they may take), [`usages`] (what was counted
//! last), [`retention`] (what nothing needs), [`signature`] (who signed an image), [`digest`], [`error`].
//! IO: [`service`] (the token service that the registry and its clients call), [`over_quota`] (what that knows of quotas),
//! [`client`] (what the operator asks the registry for one service), `signatures` (that somebody signed its images), [`logins`] (and who it then is), [`listing`] (and for all), [`survey`] (what a
//! tenant has there), [`sweep`] (counting, for all), [`retain`] (deleting what nothing needs), [`removal`] (or what was removed), [`window`] (the registry read-only, while garbage is collected).

pub mod accounts;
pub mod catalog;
mod challenge;
pub mod client;
pub mod digest;
pub mod error;
pub mod generations;
pub mod listing;
pub mod logins;
pub mod manifest;
pub mod over_quota;
mod question;
pub mod quota;
pub mod removal;
pub mod retain;
pub mod retention;
pub mod scope;
pub mod service;
pub mod signature;
mod signatures;
pub mod survey;
pub mod sweep;
pub mod token;
pub mod usage;
pub mod usages;
pub mod window;
