//! `tenant new` and `service new`: from an empty editor to a file that is valid. What is written is read back by the operator's
//! own rules before it is.

pub mod arguments;
pub mod service;
pub mod tenant;
mod text;

use std::{
    fs::{self, File},
    io::{ErrorKind, Write},
    path::Path,
};

use anyhow::{Context, Result, anyhow, bail, ensure};

use crate::{check::Told, subject::shown};

/// What was asked for is no valid file: that is wrong usage.
fn not_written(problems: &[Told]) -> Result<()> {
    let told: Vec<_> =
        problems.iter().map(|problem| format!("not written: {}", problem.sentence())).collect();
    ensure!(told.is_empty(), "{}", told.join("\n"));
    Ok(())
}

/// IO: writes a file that is not there yet, and the directories on its path.
fn write_new(path: &Path, text: &str) -> Result<()> {
    let what = || format!("cannot write {}", shown(path));
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        if let Some(file) = parent.ancestors().find(|one| one.symlink_metadata().is_ok() && !one.is_dir()) {
            bail!("{} is no directory, so {} cannot be written: name a directory", shown(file), shown(path));
        }
        fs::create_dir_all(parent).with_context(what)?;
    }
    let mut file = File::create_new(path).map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => {
            anyhow!(
                "{} is there already, and nothing is overwritten: edit it, or choose another name",
                shown(path)
            )
        }
        _ => anyhow::Error::new(error).context(what()),
    })?;
    file.write_all(text.as_bytes()).with_context(what)
}
