//! git_server
