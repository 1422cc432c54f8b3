//! IO: what surrounds the files: the platform's definitions from a file, a directory or the cluster, and the allowed hosts.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, anyhow};
use imaas_operator::git::UrlPolicy;

use crate::{
    args::Around,
    cluster,
    platform::Platform,
    subject::{PLATFORM, shown, shown_path, tidy},
};

/// Where the platform's definitions are looked for in a tenants repository.
const DEFAULTS: [&str; 2] = [PLATFORM, "platform"];

/// The platform, from where `options` say, else from `repository`, the directory in which `tenants` is.
pub fn platform(options: &Around, repository: Option<&Path>) -> Result<Platform> {
    if options.cluster {
        return cluster::platform(options.context.as_deref());
    }
    let beside = || {
        let repository = repository?;
        DEFAULTS.iter().map(|name| tidy(&repository.join(name))).find(|path| path.exists())
    };
    match options.platform.clone().or_else(beside) {
        Some(path) => from_path(&path),
        None => Ok(Platform::default()),
    }
}

/// The documents of one file, or of every `.yaml`, `.yml` and `.json` of a directory.
pub fn from_path(path: &Path) -> Result<Platform> {
    let mut platform = Platform { from: Some(shown(path)), ..Platform::default() };
    let cannot_read = |path: &Path| format!("cannot read the platform's definitions in {}", shown(path));
    let mut files = vec![path.to_owned()];
    if shown_path(path).is_dir() {
        let entries = fs::read_dir(shown_path(path)).with_context(|| cannot_read(path))?;
        files = entries.flatten().map(|entry| path.join(entry.file_name())).collect();
        let is_read = |file: &PathBuf| {
            file.extension().is_some_and(|ending| ["yaml", "yml", "json"].iter().any(|read| ending == *read))
        };
        files.retain(is_read);
        files.sort();
    }
    for file in files {
        let text = fs::read_to_string(&file).with_context(|| cannot_read(&file))?;
        platform.add(&text).map_err(|problem| anyhow!("{}: {problem}", shown(&file)))?;
    }
    Ok(platform)
}

/// Where repositories may be.
pub fn urls(options: &Around) -> UrlPolicy {
    UrlPolicy { development: false, allowed_hosts: options.allowed_git_hosts.clone() }
}
