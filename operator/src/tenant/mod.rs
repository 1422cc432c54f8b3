//! Tenant → its space: namespaces with quota, access and network rules, registry logins, and its services.
//!
//! Pure: [`validate`] (wire → valid), [`desired`] (valid → objects), `ownership` (whose namespace it is),
//! [`status`]. IO: `reconcile`, [`run`].

pub mod desired;
mod ownership;
mod reconcile;
pub mod run;
pub mod status;
pub mod transfer;
pub mod validate;

pub use reconcile::{Context, Error, reconcile};
pub use run::run;
