//! Integration Mashup as a Service: Git in, running services out. Data flows one way, top to bottom:
//!
//! ```text
//! tenants repository -> source -> Tenant -> tenant -> namespaces, access, IntegrationService
//! service repository -> service -> Release -> release -> Deployment, Service, ConfigMap
//! ```
pub mod amount;
pub mod analysis;
pub mod api;
pub mod args;
mod bounded;
pub mod checked;
pub mod cluster;
pub mod conditions;
pub mod cron;
pub mod environment;
pub mod git;
pub mod health;
pub mod http;
pub mod lease;
pub mod metrics;
pub mod names;
pub mod platform;
pub mod policies;
pub mod registry;
pub mod release;
pub mod retirement;
pub mod retry;
pub mod run;
pub mod runtime;
#[cfg(test)]
mod sample;
pub mod service;
pub mod source;
pub mod span;
pub mod telemetry;
pub mod tenant;
pub mod webhook;
pub mod yaml;
