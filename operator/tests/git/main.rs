//! Reading Git against a real server (`git http-backend`), also one that lies. Ids in names are those of the checks that
//! every build must survive.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod content;
mod host;
mod mirrors;
mod refs;
mod server;
mod shares;
mod tls;

use std::sync::Arc;
use std::time::{Duration, Instant};

use self::server::{Fault, Repository, Server, basic};
use imaas_operator::conditions::Reason;
use imaas_operator::git::{
    CommitId, Credentials, Depth, DirectoryLimits, Git, GitError, GitUrl, Limits, Remote, UrlError,
    UrlPolicy, VisitLimits, Visitor,
};
use imaas_operator::{lease::Mandate, release::LARGEST_CONFIG, service::read};
use tempfile::TempDir;

struct Lab {
    server: Server,
    repository: Repository,
    git: Git,
    remote: Remote,
    data: TempDir,
}

fn policy() -> UrlPolicy {
    UrlPolicy { development: true, allowed_hosts: vec!["127.0.0.1".into()] }
}

fn remote(url: &str) -> Remote {
    let url = GitUrl::parse(url, &policy()).unwrap();
    Remote { owner: "acme".into(), url, credentials: None, ca: None }
}

fn lab_with(server: Server, limits: Limits) -> Lab {
    let repository = server.repository("orders");
    let data = TempDir::new().unwrap();
    let git = Git::new(data.path(), policy(), limits, Mandate::unlimited()).unwrap();
    let remote = remote(&server.url("orders"));
    Lab { server, repository, git, remote, data }
}

async fn lab() -> Lab {
    lab_with(Server::start().await, Limits::default())
}

fn id(text: &str) -> CommitId {
    CommitId::parse(text).unwrap()
}

/// Text that hardly compresses, so that sizes on the wire mean something.
fn noise(seed: u64, bytes: usize) -> String {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(b'!' + u8::try_from(state % 90).unwrap())
    };
    (0..bytes).map(|_| next()).collect()
}
