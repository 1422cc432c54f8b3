//! `git_server`
