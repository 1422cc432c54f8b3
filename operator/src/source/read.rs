#![expect(clippy::disallowed_types, reason = "IO: reads one Secret and the central repository")]
//! A `TenantSource` → the tenant files of its branch's head. Nothing but the list of branches is asked for as long as the
//! head stays.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::api::core::v1::Secret;
use kube::Api;

use super::{
    held::Doubt,
    limits,
    parse::{Files, Parsed, parse},
};
use crate::{
    api::{Settled, TenantSource, TenantSourceSpec},
    conditions::Reason,
    git::{
        Access, CommitId, CredentialsError, Depth, Directory, DirectoryLimits, Git, GitError, GitUrl, Remote,
        UrlError, UrlPolicy,
    },
    metrics::counted,
    names::PLATFORM,
    platform::Platform,
};

/// Bounds of the directory of tenants. A file over its bound is refused alone.
pub const LIMITS: DirectoryLimits = DirectoryLimits {
    contents: true,
    recursive: false,
    files: 10_000,
    file_bytes: 1 << 20,
    skip_large: true,
    total_bytes: 128 << 20,
};

/// Why the repository could not be read. Nothing changes then.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The URL is refused.
    #[error("spec.{0}")]
    Url(#[from] UrlError),
    /// No such Secret.
    #[error(
        "spec.credentials: there is no Secret {namespace}/{name}: create it with `username` and `password` (and `ca.crt` for a private authority)"
    )]
    SecretMissing {
        /// The operator's namespace.
        namespace: String,
        /// As the source says.
        name: String,
    },
    /// The API server did not give it.
    #[error(
        "spec.credentials: cannot read Secret {namespace}/{name}; the chart's values `tenantSource.credentials` and `tenantSource.otherSecrets` say which may be read"
    )]
    SecretUnreadable {
        /// The operator's namespace.
        namespace: String,
        /// As the source says.
        name: String,
        /// What the API server said; holds nothing of the Secret.
        source: Box<kube::Error>,
    },
    /// It lacks what it needs.
    #[error("spec.credentials: {0}")]
    Credentials(#[from] CredentialsError),
    /// The repository.
    #[error(transparent)]
    Git(#[from] GitError),
    /// The process ends.
    #[error("stopped")]
    Stopped,
}

impl ReadError {
    /// Does it take somebody's change to help?
    pub fn is_permanent(&self) -> bool {
        match self {
            Self::Url(_) | Self::SecretMissing { .. } | Self::Credentials(_) => true,
            Self::SecretUnreadable { .. } | Self::Stopped => false,
            Self::Git(error) => error.is_permanent(),
        }
    }

    /// Condition reason, event reason and metric label.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Url(error) if error.is_refused_host() => Reason::HostRefused,
            Self::Url(_) => Reason::Invalid,
            Self::SecretMissing { .. } | Self::Credentials(_) => Reason::CredentialsMissing,
            Self::SecretUnreadable { .. } => Reason::Forbidden,
            Self::Git(error) => error.reason(),
            Self::Stopped => Reason::Progressing,
        }
    }
}

/// What was read last.
#[derive(Clone, Debug)]
pub(super) struct Read {
    from: TenantSourceSpec,
    /// Of which commit.
    pub commit: CommitId,
    /// Its tenant files.
    pub parsed: Parsed,
    /// The commit that it was compared with, and whether the two share a history.
    related: Option<(CommitId, bool)>,
}

impl Read {
    /// Why nothing may be removed by this commit without a confirmation. Where nothing is settled, that is so for tenants
    /// that were there before this source's first look.
    pub fn doubt(&self, settled: Option<&Settled>, has_tenants: bool) -> Option<Doubt> {
        let Some(settled) = settled else { return has_tenants.then_some(Doubt::Unknown) };
        if settled.path != self.from.path {
            return Some(Doubt::Moved(settled.path.clone()));
        }
        let is_related = |(commit, related): &(CommitId, bool)| commit.as_str() == settled.commit && *related;
        let is_known =
            settled.commit == self.commit.as_str() || self.related.as_ref().is_some_and(is_related);
        (!is_known).then(|| Doubt::Unrelated(settled.commit.clone()))
    }
}

/// Where the repository is and how it opens.
pub(super) async fn remote(
    source: &TenantSource,
    platform: &Platform,
    urls: &UrlPolicy,
) -> Result<Remote, ReadError> {
    let url = GitUrl::parse(&source.spec.repository.url, urls)?;
    let access = match &source.spec.repository.credentials {
        None => Access::default(),
        Some(name) => Access::from_secret(&secret(platform, name).await?)?,
    };
    Ok(Remote { owner: PLATFORM.to_owned(), url, credentials: access.credentials, ca: access.ca })
}

async fn secret(platform: &Platform, name: &str) -> Result<BTreeMap<String, Vec<u8>>, ReadError> {
    let namespace = platform.settings.namespace.clone();
    let name = name.to_owned();
    match Api::<Secret>::namespaced(platform.cluster.client(), &namespace).get_opt(&name).await {
        Ok(Some(secret)) => {
            Ok(secret.data.unwrap_or_default().into_iter().map(|(key, value)| (key, value.0)).collect())
        }
        Ok(None) => Err(ReadError::SecretMissing { namespace, name }),
        Err(error) => Err(ReadError::SecretUnreadable { namespace, name, source: Box::new(error) }),
    }
}

/// At what is looked.
pub(super) struct Look<'a> {
    pub git: &'a Git,
    pub remote: &'a Remote,
    pub spec: &'a TenantSourceSpec,
    /// Does the cluster have tenants that came from here?
    pub has_tenants: bool,
    /// The last look after which nothing was held.
    pub settled: Option<&'a Settled>,
}

/// The head's tenant files, and the limits beside them. All of them or an error: a part is never taken for the whole.
pub(super) async fn read(look: &Look<'_>, last: Option<Arc<Read>>) -> Result<Arc<Read>, ReadError> {
    let Look { git, remote, spec, has_tenants, settled } = *look;
    let heads = counted("heads", git.heads(remote).await)?;
    if let Some(last) = &last
        && heads.get(&spec.branch) == Some(&last.commit)
        && last.from.repository.url == spec.repository.url
        && last.from.path == spec.path
    {
        return Ok(last.clone());
    }
    let commit = counted("fetch", git.fetch(remote, &spec.branch, Depth::Full).await)?;
    let directory = counted("read", git.directory(remote, &commit, &spec.path, LIMITS).await);
    let mut files = files(directory, has_tenants)?;
    let path = limits::directory(&spec.path);
    let beside = counted("read", git.directory(remote, &commit, &path, LIMITS).await);
    // No limits at all is what most installations have.
    files.limits = Some(Box::new(self::files(beside, true)?));
    let related = match settled.and_then(|settled| CommitId::parse(&settled.commit)) {
        Some(before) => Some((before.clone(), git.are_related(remote, &before, &commit).await?)),
        None => None,
    };
    let parsed = tokio::task::spawn_blocking(move || {
        let nothing = Parsed::default();
        parse(&files, last.as_ref().map_or(&nothing, |last| &last.parsed))
    })
    .await
    .map_err(|_| ReadError::Stopped)?;
    Ok(Arc::new(Read { from: spec.clone(), commit, parsed, related }))
}

/// Git keeps no empty directory: with the last file of a tenant the directory goes, too. Where tenants came from it before,
/// one that is missing holds none; where none ever did, its name is probably mistyped.
fn files(directory: Result<Directory, GitError>, has_tenants: bool) -> Result<Files, GitError> {
    match directory {
        Err(GitError::PathMissing { .. }) if has_tenants => Ok(Files::default()),
        found => found.map(Files::from),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_went_with_its_last_file_is_empty_and_one_that_never_was_is_an_error() {
        let url = || GitUrl::parse("https://git.example.com/tenants.git", &UrlPolicy::default()).unwrap();
        let missing =
            || Err(GitError::PathMissing { url: url(), path: "tenants".into(), commit: "4f2a".into() });
        assert!(files(missing(), true).unwrap().regular.is_empty());
        assert!(matches!(files(missing(), false), Err(GitError::PathMissing { .. })));
        assert!(matches!(files(Err(GitError::TimedOut(url())), true), Err(GitError::TimedOut(_))));
    }
}
