//! One private registry, an area per tenant: `<registry>/<tenant>/…`.
//!
//! Pure: [`accounts`] (who may log in), [`generations`] (with which passwords), [`scope`] (what a login may do), [`token`] (how the registry is told), [`digest`], [`error`].
//! IO: [`service`] (the token service that the registry and its clients call), [`client`] (what the operator asks the
//! registry).

pub mod accounts;
pub mod client;
pub mod digest;
pub mod error;
pub mod generations;
pub mod scope;
pub mod service;
pub mod token;
