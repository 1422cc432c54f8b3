//! The registry logins of a tenant, and the Secrets with which its nodes pull and its CI pushes. Pure.

use std::fmt;

use k8s_openapi::{ByteString, api::core::v1::Secret};

use super::Place;
use crate::registry::accounts::{Account, AccountKey, NotAnAccount, Usage, docker_config_json, password};

/// `.dockerconfigjson` of the tenant's two registry accounts. Prints nothing of itself.
#[derive(Clone, PartialEq, Eq)]
pub struct DockerConfigs {
    /// For the tenant's CI, in the home namespace.
    pub push: String,
    /// For its nodes, in every environment's namespace.
    pub pull: String,
}

impl DockerConfigs {
    /// The logins of `tenant`: its accounts' passwords of `generation`.
    pub fn new(key: &AccountKey, generation: u32, host: &str, tenant: &str) -> Result<Self, NotAnAccount> {
        let config = |usage| {
            let account = Account::new(tenant, usage)?;
            Ok(docker_config_json(host, &account.to_string(), &password(key, &account, generation)))
        };
        Ok(Self { push: config(Usage::Push)?, pull: config(Usage::Pull)? })
    }
}

impl fmt::Debug for DockerConfigs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DockerConfigs(..)")
    }
}

pub(super) fn secret(place: &Place<'_>, name: &str, docker_config: &str) -> Secret {
    let content = ByteString(docker_config.as_bytes().to_vec());
    Secret {
        metadata: place.metadata(name),
        type_: Some("kubernetes.io/dockerconfigjson".to_owned()),
        data: Some([(".dockerconfigjson".to_owned(), content)].into()),
        ..Secret::default()
    }
}
