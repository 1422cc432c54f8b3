//! What is about releases: decisions, and what became of them. Reads the tenant's home, and writes nothing but decisions.

pub mod args;
mod batch;
mod board;
pub mod decide;
pub mod diff;
pub mod history;
mod home;
pub mod instances;
pub mod rest;
pub mod why;
