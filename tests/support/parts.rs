//! What a stand starts beside the operator: the lab's options, and the Git server with the people's repositories.

use std::{net::SocketAddr, path::Path};

use anyhow::{Context, Result};
use lab::{
    LabOptions, Nodes,
    certificates::Authority,
    git_server::{self, GitServer, User},
};

use crate::{
    Sample, StandOptions,
    places::{GIT, REGISTRY},
    stand::OPERATOR,
};

/// Its groups.
const ACCOUNTS: [&str; 2] = ["system:serviceaccounts", "system:serviceaccounts:imaas-system"];
/// The platform team's password on the lab's Git server; a tenant's is `<tenant>-password`.
const PLATFORM_PASSWORD: &str = "platform-password";

pub(crate) fn lab_options(options: &StandOptions) -> LabOptions {
    let mut users = options.users.clone();
    users.extend((options.nodes != Nodes::Real).then(|| lab::User::new(OPERATOR, &ACCOUNTS)));
    LabOptions {
        nodes: options.nodes,
        data_dir: None,
        users,
        audited: options.audited.clone(),
        host_names: vec![GIT.to_owned(), REGISTRY.to_owned()],
        wait: options.wait,
    }
}

/// Of the platform team, or of a tenant.
pub(crate) fn password(user: &str) -> String {
    if user == "platform" { PLATFORM_PASSWORD.to_owned() } else { format!("{user}-password") }
}

pub(crate) fn git_server(
    address: SocketAddr,
    scratch: &Path,
    authority: &Authority,
    options: &StandOptions,
) -> Result<GitServer> {
    let mut users = vec![User::writer("platform", PLATFORM_PASSWORD, "/platform/")];
    users.extend(
        options.tenants.iter().map(|tenant| User::writer(tenant, &password(tenant), &format!("/{tenant}/"))),
    );
    let git = GitServer::start(git_server::Options {
        address,
        directory: &scratch.join("git"),
        authority: Some(authority),
        names: &[GIT],
        users,
    })?;
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let empty = scratch.join("empty");
    std::fs::create_dir_all(empty.join("tenants")).context("an empty tenants repository")?;
    std::fs::copy(root.join("tenants/README.md"), empty.join("README.md"))
        .context("the tenants repository's README")?;
    git.create("/platform/tenants.git", &empty, &["main"])?;
    for tenant in &options.tenants {
        for sample in [Sample::Orders, Sample::Inventory] {
            git.create(
                &format!("/{tenant}/{}.git", sample.name()),
                &sample.directory(),
                &["dev", "test", "prod"],
            )?;
        }
    }
    Ok(git)
}
