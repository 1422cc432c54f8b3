//! The registry logins of a tenant, and the Secrets with which its nodes pull and its CI pushes. Pure.

use std::fmt;

use k8s_openapi::{ByteString, api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::ObjectMeta};

use super::Place;
use crate::{
    names::GENERATION,
    registry::{
        accounts::{Account, NotAnAccount, Usage, docker_config_json},
        generations::Issued,
    },
};

/// `.dockerconfigjson` of the tenant's two registry accounts. Prints nothing of itself.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct DockerConfigs {
    /// For the tenant's CI, in the home namespace.
    pub push: String,
    /// For its nodes, in every environment's namespace.
    pub pull: String,
    /// Of both passwords; an annotation of the Secrets says it.
    pub generation: u32,
}

impl DockerConfigs {
    /// The logins of `tenant`.
    pub fn new(issued: &Issued, host: &str, tenant: &str) -> Result<Self, NotAnAccount> {
        let config = |usage| {
            let account = Account::new(tenant, usage)?;
            Ok(docker_config_json(host, &account.to_string(), &issued.password(&account)))
        };
        let generation = issued.generations.of(tenant);
        Ok(Self { push: config(Usage::Push)?, pull: config(Usage::Pull)?, generation })
    }
}

impl fmt::Debug for DockerConfigs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DockerConfigs(..)")
    }
}

pub(super) fn secret(place: &Place<'_>, name: &str, docker_config: &str, generation: u32) -> Secret {
    let content = ByteString(docker_config.as_bytes().to_vec());
    let annotations = Some([(GENERATION.to_owned(), generation.to_string())].into());
    Secret {
        metadata: ObjectMeta { annotations, ..place.metadata(name) },
        type_: Some("kubernetes.io/dockerconfigjson".to_owned()),
        data: Some([(".dockerconfigjson".to_owned(), content)].into()),
        ..Secret::default()
    }
}
