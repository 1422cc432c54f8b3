//! The operator: a repository of tenants in, running integration services out.

pub mod registry;
