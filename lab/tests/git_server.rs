//! The lab's Git server, asked by the real git command line over HTTPS and HTTP.
#![allow(clippy::unwrap_used, reason = "tests, and the functions that they share")]

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use lab::git_server::{Authority, Credentials, Fault, GitServer, Options, User, WorkTree};
use tempfile::TempDir;

const ORDERS: &str = "/acme/orders.git";

struct Host {
    server: GitServer,
    authority: PathBuf,
    directory: TempDir,
}

impl Host {
    fn https() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let authority = Authority::create(directory.path(), "git").unwrap();
        let server = start(directory.path(), Some(&authority));
        let tree = directory.path().join("tree");
        std::fs::create_dir_all(tree.join("src")).unwrap();
        std::fs::write(tree.join("src/route.yaml"), "one\n").unwrap();
        std::fs::write(tree.join(".gitignore"), "target/\n").unwrap();
        std::fs::create_dir_all(tree.join("target")).unwrap();
        std::fs::write(tree.join("target/junk"), "").unwrap();
        server.create(ORDERS, &tree, &["dev", "test", "prod"]).unwrap();
        Self { server, authority: authority.certificate, directory }
    }

    fn clone_as(&self, user: &str, password: &str, name: &str) -> anyhow::Result<WorkTree> {
        self.clone_of(ORDERS, (user, password), name)
    }

    fn clone_of(
        &self,
        repository: &str,
        (user, password): (&str, &str),
        name: &str,
    ) -> anyhow::Result<WorkTree> {
        let credentials = Credentials {
            user: user.to_owned(),
            password: password.to_owned(),
            authority: Some(self.authority.clone()),
        };
        WorkTree::clone(&self.server.url(repository), &self.directory.path().join(name), credentials)
    }
}

fn start(directory: &Path, authority: Option<&Authority>) -> GitServer {
    let users = vec![
        User::writer("dev", "dev-password", "/acme/"),
        User::reader("operator", "read-password", "/acme/"),
        User::writer("other", "other-password", "/beta/"),
    ];
    let address = "127.0.0.1:0".parse().unwrap();
    GitServer::start(Options { address, directory: &directory.join("git"), authority, names: &[], users })
        .unwrap()
}

#[test]
fn a_commit_pushed_by_one_is_cloned_by_another_and_a_merge_moves_the_target_branch() {
    let host = Host::https();
    let tree = host.clone_as("dev", "dev-password", "one").unwrap();
    assert!(!tree.directory().join("target").exists());
    tree.write("src/route.yaml", "two\n").unwrap();
    let commit = tree.commit("second").unwrap();
    tree.push("dev").unwrap();
    let merge = tree.merge("dev", "test").unwrap();
    assert_ne!(merge, commit);

    let seen = host.clone_as("operator", "read-password", "two").unwrap();
    assert_eq!(seen.head().unwrap(), commit);
    assert_eq!(seen.git(&["rev-parse", "origin/test"]).unwrap(), merge);
    assert_eq!(seen.git(&["show", "origin/test:src/route.yaml"]).unwrap(), "two");
    assert_eq!(seen.git(&["show", "origin/prod:src/route.yaml"]).unwrap(), "one");
}

#[test]
fn a_large_push_arrives_whole_though_it_is_chunked() {
    let host = Host::https();
    let tree = host.clone_as("dev", "dev-password", "one").unwrap();
    // Above http.postBuffer (1 MiB) git sends the pack without a length.
    let mut state: u32 = 1;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    })
    .take(3 << 20)
    .collect();
    tree.write("noise.bin", &noise).unwrap();
    tree.commit("noise").unwrap();
    tree.push("dev").unwrap();

    let seen = host.clone_as("operator", "read-password", "two").unwrap();
    assert_eq!(std::fs::read(seen.directory().join("noise.bin")).unwrap(), noise);
    let log = host.server.requests();
    assert!(log.iter().any(|entry| entry.path.ends_with("/git-receive-pack") && entry.received > 3 << 20));
    assert!(log.iter().any(|entry| entry.path.ends_with("/git-upload-pack") && entry.sent > 3 << 20));
}

#[test]
fn nobody_reads_without_an_account_for_the_path_and_a_reader_does_not_push() {
    let host = Host::https();
    assert!(host.clone_as("", "", "anonymous").is_err());
    assert!(host.server.requests().iter().all(|entry| entry.status == 401));
    assert!(host.clone_as("dev", "wrong", "wrong").is_err());
    assert!(host.clone_as("other", "other-password", "other").is_err());
    assert_eq!(host.server.requests().last().unwrap().status, 403);

    let tree = host.clone_as("operator", "read-password", "reader").unwrap();
    tree.write("new", "").unwrap();
    tree.commit("not allowed").unwrap();
    assert!(tree.push("dev").is_err());
}

#[test]
fn where_sign_up_is_open_whoever_comes_has_an_area_and_a_first_push_makes_a_repository() {
    let host = Host::https();
    let tree = host.clone_as("dev", "dev-password", "orders").unwrap();
    let push = |(user, password): (&str, &str), to: &str| {
        let url = format!("https://{user}:{password}@{}{to}", host.server.address());
        let pushed = tree.git(&["push", "--quiet", &url, "dev", "refs/remotes/origin/test:refs/heads/test"]);
        pushed.map_err(|_| host.server.requests().last().unwrap().status)
    };
    let gamma = ("gamma", "gamma-password");
    assert_eq!(push(gamma, "/gamma/mine.git"), Err(401), "nobody signs up yet");

    host.server.open_sign_up();
    push(gamma, "/gamma/mine.git").unwrap();
    let seen = host.clone_of("/gamma/mine.git", gamma, "mine").unwrap();
    assert_eq!(seen.git(&["show", "origin/test:src/route.yaml"]).unwrap(), "one");
    for (user, to, status) in [
        (("gamma", "other"), "/gamma/mine.git", 401),
        (gamma, "/acme/orders.git", 403),
        (gamma, "/delta/mine.git", 403),
        (("dev", "dev-password"), "/dev/mine.git", 403),
        (("Gamma", "Gamma-password"), "/Gamma/mine.git", 401),
    ] {
        assert_eq!(push(user, to), Err(status), "{user:?} pushes to {to}");
    }
}

#[test]
fn a_client_that_does_not_know_the_authority_refuses_the_server() {
    let host = Host::https();
    let credentials = Credentials { user: "dev".into(), password: "dev-password".into(), authority: None };
    let url = host.server.url(ORDERS);
    assert!(WorkTree::clone(&url, &host.directory.path().join("x"), credentials).is_err());
}

#[test]
fn another_spelling_of_a_path_opens_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let server = start(directory.path(), None);
    for path in ["/beta/../acme/orders.git", "/beta/%2e%2e/acme/orders.git", "//acme/orders.git"] {
        let url = format!("{}{path}/info/refs?service=git-upload-pack", server.endpoint());
        let mut curl = Command::new("curl");
        curl.args([
            "--silent",
            "--path-as-is",
            "--user",
            "other:other-password",
            "--write-out",
            "%{http_code}",
        ]);
        let output = curl.arg(url).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "400", "{path}");
    }
}

#[test]
fn a_fault_lasts_until_it_is_taken_back_and_only_for_its_prefix() {
    let host = Host::https();
    let fails = |name: &str| host.clone_as("dev", "dev-password", name).err().map(|error| error.to_string());
    host.server.set_fault("/acme/", Some(Fault::Status(503)));
    assert!(fails("a").unwrap().contains("503"));
    host.server.set_fault("/acme/", Some(Fault::Redirect("http://127.0.0.1:1".into())));
    assert!(fails("b").unwrap().contains("127.0.0.1"));
    host.server.set_fault("/acme/", None);
    host.server.set_fault("/beta/", Some(Fault::Status(503)));
    assert_eq!(fails("c"), None);
}

#[test]
fn endless_and_slow_answers_keep_a_client_busy_until_its_own_deadline() {
    let directory = tempfile::tempdir().unwrap();
    let server = start(directory.path(), None);
    let tree = tempfile::tempdir().unwrap();
    server.create(ORDERS, tree.path(), &["dev"]).unwrap();
    let fetched = |fault: Fault| {
        server.set_fault("/", Some(fault));
        let url = format!("{}{ORDERS}/info/refs?service=git-upload-pack", server.endpoint());
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--max-time", "2", "--user", "dev:dev-password", "--output", "/dev/null"]);
        let output = curl.args(["--write-out", "%{size_download} %{exitcode}", &url]).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let (size, code) = text.split_once(' ').unwrap();
        assert_eq!(code, "28", "curl's time-out");
        size.parse::<u64>().unwrap()
    };
    assert!(fetched(Fault::EndlessBody) > 1 << 20);
    assert!((1..=3).contains(&fetched(Fault::OneByteASecond)));
    assert_eq!(fetched(Fault::Silence), 0);
}

#[test]
fn stopping_ends_it_at_once_even_with_a_client_that_waits() {
    let directory = tempfile::tempdir().unwrap();
    let server = start(directory.path(), None);
    server.set_fault("/", Some(Fault::Silence));
    let mut curl = Command::new("curl").args(["--silent", server.endpoint()]).spawn().unwrap();
    while server.requests().is_empty() {
        std::thread::sleep(Duration::from_millis(10));
    }
    let began = std::time::Instant::now();
    server.stop();
    assert!(began.elapsed() < Duration::from_secs(3));
    assert!(!curl.wait().unwrap().success());
}
