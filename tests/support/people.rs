//! The people of a tenant and their CI, as far as a test or the demo plays them.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use lab::{
    Progress, camel,
    git_server::{Credentials, WorkTree},
    image::{self, Image, Pusher},
};

use crate::Stand;

/// One of the sample services in `examples/services`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sample {
    /// Camel on a JVM.
    Orders,
    /// A static Go program that serves.
    Inventory,
    /// A static Go program that runs by a schedule and ends.
    Settlement,
    /// WSO2 Micro Integrator; its image is a stand-in.
    Payments,
}

impl Sample {
    /// Its name: of the service, the repository and the folder.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Orders => "orders",
            Self::Inventory => "inventory",
            Self::Settlement => "settlement",
            Self::Payments => "payments",
        }
    }

    /// Its source.
    pub fn directory(self) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/services").join(self.name())
    }

    /// The file that says the version which it answers, and that line.
    fn version_line(self, version: &str) -> (&'static str, &'static str, String) {
        match self {
            Self::Orders => (
                "src/main/resources/application.properties",
                "orders.version",
                format!("orders.version = {version}"),
            ),
            Self::Inventory | Self::Settlement => ("VERSION", "", version.to_owned()),
            Self::Payments => ("pom.xml", "  <version>", format!("  <version>{version}</version>")),
        }
    }

    fn image(self, source: &Path, progress: &Progress) -> Result<Image> {
        match self {
            Self::Orders => camel::image(source, progress),
            Self::Inventory => image::go_image(source, self.name(), &[8080]),
            Self::Settlement => image::go_image(source, self.name(), &[]),
            Self::Payments => image::micro_integrator_stand_in(),
        }
    }
}

/// A developer of one service, with a clone of its repository, and the service's CI.
pub struct Developer {
    sample: Sample,
    tenant: String,
    service: String,
    clone: WorkTree,
}

impl Developer {
    /// Clones `<tenant>/<sample>.git` as the tenant's user.
    ///
    /// # Errors
    /// What git says.
    pub fn new(stand: &Stand, tenant: &str, sample: Sample) -> Result<Self> {
        Self::of(stand, (tenant, sample.name()), sample)
    }

    /// Clones `<tenant>/<service>.git`, which was made from `sample`, as the tenant's user.
    ///
    /// # Errors
    /// What git says.
    pub fn of(stand: &Stand, (tenant, service): (&str, &str), sample: Sample) -> Result<Self> {
        let url = stand.git.url(&format!("/{tenant}/{service}.git"));
        let directory = stand.scratch().join(format!("{tenant}-{service}"));
        let clone = WorkTree::clone(&url, &directory, stand.git_login(tenant))?;
        Ok(Self { sample, tenant: tenant.to_owned(), service: service.to_owned(), clone })
    }

    /// The clone, to do more with.
    pub fn work_tree(&self) -> &WorkTree {
        &self.clone
    }

    /// Commits a new version on `branch` and pushes it; returns the commit.
    ///
    /// # Errors
    /// What git says.
    pub fn release_version(&self, branch: &str, version: &str) -> Result<String> {
        self.clone.checkout(branch)?;
        let (file, key, line) = self.sample.version_line(version);
        let text = self.clone.read(file)?;
        let changed: Vec<&str> =
            text.lines().map(|old| if old.starts_with(key) { line.as_str() } else { old }).collect();
        self.clone.write(file, changed.join("\n") + "\n")?;
        let commit = self.clone.commit(&format!("feat: version {version}"))?;
        self.clone.push(branch)?;
        Ok(commit)
    }

    /// What CI does with the commit that is checked out: build, pack, push under the commit's hash. Returns the digest.
    ///
    /// # Errors
    /// Build or push failed.
    pub async fn build(&self, stand: &Stand, progress: &Progress) -> Result<String> {
        let commit = self.clone.head()?;
        let (user, password) = stand.registry_account(&self.tenant, "imaas-registry-push", "home").await?;
        let (sample, source) = (self.sample, self.clone.directory().to_owned());
        let repository = format!("{}/{}", self.tenant, self.service);
        let (registry, progress) = (stand.registry.endpoint(), progress.clone());
        tokio::task::spawn_blocking(move || {
            let image = sample.image(&source, &progress)?;
            Pusher::new(&registry, Some((&user, &password)), &progress)?.push(&image, &repository, &commit)
        })
        .await
        .context("the build died")?
    }

    /// Merges `from` into `into` and pushes: a promotion. Returns the commit that `into` then is.
    ///
    /// # Errors
    /// What git says, a conflict above all.
    pub fn promote(&self, from: &str, into: &str) -> Result<String> {
        let commit = self.clone.merge(from, into)?;
        self.clone.push(into)?;
        Ok(commit)
    }
}

/// The platform team's clone of the tenants repository.
///
/// # Errors
/// What git says.
pub(crate) fn tenants_clone(url: &str, directory: &Path, login: Credentials) -> Result<WorkTree> {
    if directory.exists() {
        bail!("{} exists already", directory.display());
    }
    WorkTree::clone(url, directory, login)
}
