//! What a stand starts beside the operator: the lab's options, and the Git server with the people's repositories.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
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
    git.create("/platform/tenants.git", &without_tenants(scratch)?, &["main"])?;
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

/// The sample of a tenants repository before its first tenant: what the platform team keeps in it.
fn without_tenants(scratch: &Path) -> Result<PathBuf> {
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tenants");
    let (from, into) = (sample.clone(), scratch.join("without-tenants"));
    let copy = move || -> std::io::Result<PathBuf> {
        std::fs::create_dir_all(into.join("schemas"))?;
        for file in ["README.md", "CODEOWNERS", "platform.yaml"] {
            std::fs::copy(from.join(file), into.join(file))?;
        }
        for schema in std::fs::read_dir(from.join("schemas"))? {
            let schema = schema?;
            std::fs::copy(schema.path(), into.join("schemas").join(schema.file_name()))?;
        }
        Ok(into)
    };
    copy().with_context(|| format!("copy {}", sample.display()))
}
