//! A real Git repository with an origin, and the program in it.
#![allow(dead_code, reason = "each test uses a part")]

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

/// The folder of this project.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

/// What the program said.
#[derive(Debug)]
pub struct Told {
    pub status: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Told {
    #[track_caller]
    pub fn expect_status(self, status: i32) -> Self {
        assert_eq!(self.status, Some(status), "{}{}", self.stdout, self.stderr);
        self
    }
}

/// The program with these arguments in `directory`, without a cluster and without settings of this machine.
pub fn run(directory: &Path, arguments: &[&str]) -> Told {
    finish(neutral(env!("CARGO_BIN_EXE_kubectl-imaas"), directory).args(arguments))
}

/// Any command in `directory`, with nobody's settings.
pub fn neutral(program: &str, directory: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .current_dir(directory)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_SYSTEM", "/dev/null")
        .env("HOME", "/nonexistent")
        .env("KUBECONFIG", "/nonexistent/kubeconfig")
        .env_remove("KUBERNETES_SERVICE_HOST")
        .env_remove("IMAAS_ALLOWED_GIT_HOSTS")
        .env_remove("IMAAS_LARGEST_CONFIG");
    command
}

/// Runs it to its end.
pub fn finish(command: &mut Command) -> Told {
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Told { status: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// A clone on `main` with an empty origin, both gone at the end.
pub struct Repository {
    root: PathBuf,
    _directory: TempDir,
}

impl Repository {
    pub fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let origin = directory.path().join("origin.git");
        let repository = Self { root: directory.path().join("clone"), _directory: directory };
        std::fs::create_dir(repository.root()).unwrap();
        let origin = origin.to_str().unwrap();
        repository.git(&["init", "--quiet", "--bare", "--initial-branch", "main", origin]);
        repository.git(&["init", "--quiet", "--initial-branch", "main", "."]);
        repository.git(&["remote", "add", "origin", origin]);
        repository.git(&["config", "user.name", "Jo"]);
        repository.git(&["config", "user.email", "jo@acme.example"]);
        repository
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    pub fn path(&self, file: &str) -> PathBuf {
        self.root().join(file)
    }

    pub fn write(&self, file: &str, text: &str) {
        let path = self.path(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    pub fn read(&self, file: &str) -> String {
        std::fs::read_to_string(self.path(file)).unwrap()
    }

    #[track_caller]
    pub fn git(&self, arguments: &[&str]) -> String {
        finish(neutral("git", self.root()).args(arguments)).expect_status(0).stdout
    }

    pub fn commit(&self, message: &str) {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--message", message]);
    }

    pub fn run(&self, arguments: &[&str]) -> Told {
        run(self.root(), arguments)
    }

    pub fn run_in(&self, below: &str, arguments: &[&str]) -> Told {
        run(&self.path(below), arguments)
    }
}
