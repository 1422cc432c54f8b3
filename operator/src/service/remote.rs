#![expect(clippy::disallowed_types, reason = "IO: reads the Secret that a repository names")]
//! How a service's repository is reached.

use k8s_openapi::api::core::v1::Secret;
use kube::Api;

use super::{read::Failure, validate::ValidService};
use crate::{
    conditions::Reason,
    git::{Access, Remote},
    platform::Platform,
};

/// The repository with its credentials, which are read anew each time: they may have been renewed.
pub(super) async fn remote(platform: &Platform, service: &ValidService) -> Result<Remote, Failure> {
    let access = match &service.credentials {
        None => Access::default(),
        Some(name) => access(platform, &service.home(), name).await?,
    };
    Ok(Remote {
        owner: service.tenant.clone(),
        url: service.url.clone(),
        credentials: access.credentials,
        ca: access.ca,
    })
}

async fn access(platform: &Platform, home: &str, name: &str) -> Result<Access, Failure> {
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
            "there is no Secret {name} in {home}: create it with `username` and `password` (and `ca.crt` for a private authority)"
        ))
    })?;
    let values = secret.data.unwrap_or_default().into_iter().map(|(key, value)| (key, value.0)).collect();
    Access::from_secret(&values).map_err(|error| missing(format!("Secret {name} in {home}: {error}")))
}
