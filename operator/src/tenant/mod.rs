//! Tenant → its space: namespaces with quota, access and network rules, registry logins, and its services.
//!
//! Pure: [`validate`] (wire → valid), [`desired`] (valid → objects), [`status`]. IO: `reconcile`, [`run`].

pub mod desired;
mod reconcile;
pub mod run;
pub mod status;
pub mod validate;

pub use reconcile::{Context, Error, Logins, reconcile};
pub use run::run;
