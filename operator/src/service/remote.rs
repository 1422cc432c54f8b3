#![expect(clippy::disallowed_types, reason = "IO: reads the Secret that a repository names")]
//! How a service's repository is reached.

use std::time::Instant;

use k8s_openapi::api::core::v1::Secret;
use kube::Api;

use super::{login::Refused, read::Failure, validate::ValidService};
use crate::{
    conditions::Reason,
    git::{Access, Remote},
    platform::Platform,
};

/// The repository with its credentials, which are read anew each time, since they may have been renewed; and the version of
/// the Secret that they are from.
pub(super) async fn remote(
    platform: &Platform,
    service: &ValidService,
) -> Result<(Remote, Option<String>), Failure> {
    let (access, secret) = match &service.credentials {
        None => (Access::default(), None),
        Some(name) => access(platform, &service.home(), name).await?,
    };
    let remote = Remote {
        owner: service.tenant.clone(),
        url: service.url.clone(),
        credentials: access.credentials,
        ca: access.ca,
    };
    Ok((remote, secret))
}

async fn access(platform: &Platform, home: &str, name: &str) -> Result<(Access, Option<String>), Failure> {
    let secrets = Api::<Secret>::namespaced(platform.cluster.client(), home);
    let missing = |what: String| Failure::permanent(Reason::CredentialsMissing, what);
    let secret = secrets.get_opt(name).await.map_err(|error| {
        let reason = match &error {
            kube::Error::Api(status) if status.code == 403 => Reason::Forbidden,
            _ => Reason::Unreachable,
        };
        Failure::passing(reason, format!("the Secret {name} in {home} cannot be read yet"))
    })?;
    let secret = secret.ok_or_else(|| {
        missing(format!(
            "there is no Secret {name} in {home}: an owner of the tenant creates it with `username` and `password` (and `ca.crt` for a private authority)"
        ))
    })?;
    let version = secret.metadata.resource_version;
    let values = secret.data.unwrap_or_default().into_iter().map(|(key, value)| (key, value.0)).collect();
    let access = Access::from_secret(&values);
    let access = access.map_err(|error| missing(format!("Secret {name} in {home}: {error}")))?;
    Ok((access, version))
}

/// Is the login still the one that was refused, and to be left alone? Only its Secret's version is asked for.
pub(super) async fn rests(platform: &Platform, service: &ValidService, refused: Option<&Refused>) -> bool {
    let (Some(refused), Some(name)) = (refused, &service.credentials) else { return false };
    let secret = platform.cluster.version::<Secret>(&service.home(), name).await;
    secret.is_ok_and(|secret| refused.rests(secret.as_ref(), Instant::now()))
}
