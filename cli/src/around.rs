//! IO: what surrounds the files: the platform's definitions from a file, a directory or the cluster, and the allowed hosts.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
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

/// The same, for whoever does not tell what is wrong with it: then it must be well-formed.
pub fn sound_platform(options: &Around, repository: Option<&Path>) -> Result<Platform> {
    let platform = platform(options, repository)?;
    match &platform.broken[..] {
        [] => Ok(platform),
        [first, ..] => bail!("{}: {} (kubectl imaas validate tells all)", first.place(), first.sentence()),
    }
}

/// The documents of one file, or of every `.yaml`, `.yml` and `.json` of a directory.
pub fn from_path(path: &Path) -> Result<Platform> {
    let mut platform = Platform::read_from(shown(path));
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
        platform.add(shown(&file), &fs::read(&file).with_context(|| cannot_read(&file))?);
    }
    Ok(platform)
}

/// Where repositories may be.
pub fn urls(options: &Around) -> UrlPolicy {
    UrlPolicy { development: false, allowed_hosts: options.allowed_git_hosts.clone() }
}
