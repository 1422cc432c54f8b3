//! A Git host where whoever comes may sign up: for a demo, where people bring names of their own.
//!
//! The login `NAME` with the password `NAME-password` owns `/NAME/`, and a first push makes the repository.

use std::path::Path;

use anyhow::{Context, Result};

use super::{access::User, bare};

/// The account that `name` has by signing up; none for a name that is no plain one.
pub(super) fn account(name: &str) -> Option<User> {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let is_name = name.starts_with(|first: char| first.is_ascii_lowercase()) && name.bytes().all(is_plain);
    is_name.then(|| User::writer(name, &format!("{name}-password"), &format!("/{name}/")))
}

/// Makes the repository of a push to `path` (such as `/acme/mine.git/info/refs`) where there is none yet.
pub(super) fn repository(root: &Path, path: &str) -> Result<()> {
    let Some((repository, _)) = path.split_once(".git/") else { return Ok(()) };
    let directory = root.join(format!("{}.git", repository.trim_start_matches('/')));
    if directory.exists() {
        return Ok(());
    }
    bare(&directory, "dev").with_context(|| format!("make {repository}.git"))
}
