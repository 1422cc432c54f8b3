//! The programs as they are in this work tree, built by cargo; and the operator packed for a node.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};
use lab::{Progress, image, process};
use serde_json::Value;

/// Builds the operator, optimised where `release`, and says where it is.
pub(crate) async fn operator(release: bool, progress: &Progress) -> Result<PathBuf> {
    progress.say("building the operator …");
    built("imaas-operator", release).await
}

/// Builds `kubectl imaas`, and says where it is.
///
/// # Errors
/// What cargo says.
pub async fn kubectl_imaas(progress: &Progress) -> Result<PathBuf> {
    progress.say("building kubectl imaas …");
    built("kubectl-imaas", false).await
}

/// The program of the package of the same name.
async fn built(name: &'static str, release: bool) -> Result<PathBuf> {
    let build = move || {
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.toml");
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.args(["build", "--quiet", "--package", name, "--bin", name]);
        cargo.args(release.then_some("--release")).arg("--manifest-path").arg(&manifest);
        let messages = process::run(cargo.args(["--message-format", "json-render-diagnostics"]))?;
        messages
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .find_map(|message| message["executable"].as_str().map(PathBuf::from))
            .context("cargo names no executable")
    };
    tokio::task::spawn_blocking(build).await.context("the build died")?
}

/// An archive of its image, named `reference`, that a node can import.
pub(crate) async fn archive(
    built: PathBuf,
    reference: String,
    scratch: &Path,
    progress: &Progress,
) -> Result<PathBuf> {
    let (archive, binary) = (scratch.join("operator.tar"), scratch.join("imaas-operator"));
    let progress = progress.clone();
    let pack = move || {
        process::run(Command::new("strip").args(["--strip-debug", "-o"]).arg(&binary).arg(built))?;
        image::operator_image(&binary, &progress)?.archive(&reference, &archive)?;
        Ok(archive)
    };
    tokio::task::spawn_blocking(pack).await.context("the packing died")?
}
