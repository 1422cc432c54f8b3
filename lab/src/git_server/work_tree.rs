//! A developer's clone, driven by the git command line: clone, write, commit, push, merge.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

/// Asks the environment for the account, so that no password is on a command line or in a file.
const CREDENTIAL_HELPER: &str =
    r#"!f() { test "$1" = get && echo "username=$LAB_GIT_USER" && echo "password=$LAB_GIT_PASSWORD"; }; f"#;

/// What a developer knows about the Git host.
#[derive(Clone, Default)]
pub struct Credentials {
    /// Basic auth user; empty for anonymous.
    pub user: String,
    /// Basic auth password.
    pub password: String,
    /// PEM file of the authority to trust, for HTTPS.
    pub authority: Option<PathBuf>,
}

/// A clone with a work tree.
pub struct WorkTree {
    directory: PathBuf,
    credentials: Credentials,
}

impl WorkTree {
    /// Clones `url` into `directory`, on the default branch, with every remote branch known.
    pub fn clone(url: &str, directory: &Path, credentials: Credentials) -> Result<Self> {
        let mut command = Command::new("git");
        neutral(&mut command).args(["clone", "--quiet", url]).arg(directory);
        output(with(&mut command, &credentials))?;
        Ok(Self { directory: directory.to_owned(), credentials })
    }

    /// Where its files are.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Runs any git command in it; returns its output, trimmed.
    pub fn git(&self, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new("git");
        neutral(&mut command).current_dir(&self.directory).args(arguments);
        output(with(&mut command, &self.credentials))
    }

    /// Goes to `branch`: the local one, else the remote one, else a new one from here.
    pub fn checkout(&self, branch: &str) -> Result<()> {
        let is_known =
            self.git(&["rev-parse", "--quiet", "--verify", &format!("refs/heads/{branch}")]).is_ok()
                || self
                    .git(&["rev-parse", "--quiet", "--verify", &format!("refs/remotes/origin/{branch}")])
                    .is_ok();
        let arguments: &[&str] =
            if is_known { &["checkout", "--quiet", branch] } else { &["checkout", "--quiet", "-b", branch] };
        self.git(arguments).map(drop)
    }

    /// Writes a file, with the directories on its path.
    pub fn write(&self, path: &str, content: impl AsRef<[u8]>) -> Result<()> {
        let file = self.directory.join(path);
        if let Some(parent) = file.parent() {
            std::fs::create_dir_all(parent).with_context(|| format!("create {}", parent.display()))?;
        }
        std::fs::write(&file, content).with_context(|| format!("write {path}"))
    }

    /// Reads a text file.
    pub fn read(&self, path: &str) -> Result<String> {
        std::fs::read_to_string(self.directory.join(path)).with_context(|| format!("read {path}"))
    }

    /// Removes a file or a directory.
    pub fn remove(&self, path: &str) -> Result<()> {
        self.git(&["rm", "-r", "--quiet", "--", path]).map(drop)
    }

    /// Commits everything that changed on the current branch; returns the commit's full hash.
    pub fn commit(&self, message: &str) -> Result<String> {
        self.git(&["add", "--all"])?;
        self.git(&["commit", "--quiet", "-m", message])?;
        self.head()
    }

    /// Full hash of the current commit.
    pub fn head(&self) -> Result<String> {
        self.git(&["rev-parse", "HEAD"])
    }

    /// Pushes `branch` as it stands here.
    pub fn push(&self, branch: &str) -> Result<()> {
        self.git(&["push", "--quiet", "origin", branch]).map(drop)
    }

    /// Brings the current branch up to what the server has.
    pub fn pull(&self) -> Result<()> {
        self.git(&["pull", "--quiet", "--ff-only"]).map(drop)
    }

    /// A release as the design has it: merges `from` into `into` and pushes; returns the new head of `into`.
    /// Always a merge commit, as a Git host's merge button makes one.
    pub fn merge(&self, from: &str, into: &str) -> Result<String> {
        self.checkout(into)?;
        let message = format!("Merge {from} into {into}");
        self.git(&["merge", "--quiet", "--no-ff", "-m", &message, from])?;
        self.push(into)?;
        self.head()
    }
}

/// Takes the machine's own Git configuration and prompts away.
pub(super) fn neutral(command: &mut Command) -> &mut Command {
    command
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_AUTHOR_NAME", "Dev Eloper")
        .env("GIT_AUTHOR_EMAIL", "dev@acme.example")
        .env("GIT_COMMITTER_NAME", "Dev Eloper")
        .env("GIT_COMMITTER_EMAIL", "dev@acme.example")
        .env_remove("GIT_DIR")
        .env_remove("GIT_WORK_TREE")
        .env_remove("GIT_INDEX_FILE")
        .env_remove("GIT_SSL_CAINFO")
}

fn with<'a>(command: &'a mut Command, credentials: &Credentials) -> &'a mut Command {
    if !credentials.user.is_empty() {
        command
            .env("GIT_CONFIG_COUNT", "1")
            .env("GIT_CONFIG_KEY_0", "credential.helper")
            .env("GIT_CONFIG_VALUE_0", CREDENTIAL_HELPER)
            .env("LAB_GIT_USER", &credentials.user)
            .env("LAB_GIT_PASSWORD", &credentials.password);
    }
    if let Some(authority) = &credentials.authority {
        command.env("GIT_SSL_CAINFO", authority);
    }
    command
}

/// Runs to the end; a failure is an error with what git said.
pub(super) fn output(command: &mut Command) -> Result<String> {
    let output = command.output().context("run git")?;
    if !output.status.success() {
        let arguments: Vec<_> = command.get_args().map(|argument| argument.to_string_lossy()).collect();
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("git {}: {}", arguments.join(" "), said.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
