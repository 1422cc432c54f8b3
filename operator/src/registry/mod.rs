//! One private registry, an area per tenant: `<registry>/<tenant>/…`.
//!
//! Pure: [`accounts`] (who may log in), [`generations`] (with which passwords), [`scope`] (what a login may do), [`token`]
//! (how the registry is told), [`usage`] (what images take), [`quota`] (what they may take), [`usages`] (what was counted
//! last), [`digest`], [`error`].
//! IO: [`service`] (the token service that the registry and its clients call), [`over_quota`] (what that knows of quotas),
//! [`client`] (what the operator asks the registry for one service), [`listing`] (and for all), [`survey`] (what a
//! tenant has there), [`sweep`] (counting, for all).

pub mod accounts;
mod challenge;
pub mod client;
pub mod digest;
pub mod error;
pub mod generations;
pub mod listing;
pub mod over_quota;
pub mod quota;
pub mod scope;
pub mod service;
pub mod survey;
pub mod sweep;
pub mod token;
pub mod usage;
pub mod usages;
