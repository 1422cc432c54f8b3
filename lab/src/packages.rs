//! Debian packages that the lab needs and does not build: installed when they are missing, never removed.
use std::{path::Path, process::Command};

use anyhow::{Context, bail};

use crate::{Progress, process};

/// Installs with apt-get those packages of `(package, a file it brings)` whose file is missing.
///
/// # Errors
/// When something is missing and this is not root or not a Debian-like system, or when apt-get fails.
pub fn ensure(wanted: &[(&str, &str)], progress: &Progress) -> anyhow::Result<()> {
    let missing: Vec<&str> =
        wanted.iter().filter(|(_, file)| !Path::new(file).exists()).map(|(package, _)| *package).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let names = missing.join(" ");
    if !crate::is_root() {
        bail!("missing Debian packages: {names}; install them as root: apt-get install {names}");
    }
    if !Path::new("/usr/bin/apt-get").exists() {
        bail!(
            "missing programs of the Debian packages {names}, and there is no apt-get here: install them yourself"
        );
    }
    progress.say(&format!("installing Debian packages: {names} …"));
    apt(&["update"])?;
    let mut install = vec!["install", "--yes", "--no-install-recommends"];
    install.extend(&missing);
    apt(&install)?;
    let still: Vec<&str> =
        wanted.iter().filter(|(_, file)| !Path::new(file).exists()).map(|(_, file)| *file).collect();
    if !still.is_empty() {
        bail!("{names} installed, but these files did not come with them: {}", still.join(" "));
    }
    Ok(())
}

fn apt(arguments: &[&str]) -> anyhow::Result<()> {
    let mut command = Command::new("apt-get");
    command.arg("--quiet").args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
    process::run(&mut command).map(drop).context("apt-get")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_left_alone_and_nothing_is_said() {
        let progress = Progress::new(|line| panic!("{line}"));
        ensure(&[("coreutils", "/bin/sh"), ("no-such-package", "/")], &progress).unwrap();
    }
}
