//! stub
pub mod git;
