//! Tenant → its space: namespaces with quota, access and network rules, registry logins, and its services.
//!
//! Pure: [`validate`] (wire → valid), [`desired`] (valid → objects), `ownership` (whose namespace it is), [`retire`] (what
//! its file no longer has), [`transfer`] (to another origin), [`status`]. IO: `reconcile`, `space` (one namespace), `own` (who sees
//! the Tenant), `finalize` (its end), [`run`].

pub mod desired;
mod error;
mod finalize;
mod own;
mod ownership;
mod quota;
mod reconcile;
pub mod retire;
pub mod run;
mod space;
pub mod status;
pub mod transfer;
pub mod validate;

pub use error::{Error, SpaceError};
pub use reconcile::{Context, Registry, reconcile};
pub use run::run;
