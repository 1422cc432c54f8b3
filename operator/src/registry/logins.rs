//! IO: with which login the operator asks the registry: one that is computed, or, of a registry that is not the operator's,
//! the one in the Secret with which the tenant's nodes pull.

use base64::{Engine, engine::general_purpose::STANDARD};
use k8s_openapi::api::core::v1::Secret;
use serde::Deserialize;
use std::collections::BTreeMap;

use super::{accounts::Account, error::RegistryError, generations::Issued};
use crate::{
    cluster::{Cluster, ObjectKey},
    names::{PULL_SECRET, home_namespace},
};

/// Where logins come from.
pub enum Logins {
    /// The operator gives them out.
    Issued(Issued),
    /// The platform does, as Secrets; those of `host` count.
    Secrets {
        /// Where the Secrets are.
        cluster: Cluster,
        /// As in image names.
        host: String,
    },
}

impl Logins {
    /// User name and password. Secrets.
    pub(super) async fn of(&self, account: &Account) -> Result<(String, String), RegistryError> {
        match self {
            Self::Issued(issued) => Ok((account.to_string(), issued.password(account))),
            Self::Secrets { cluster, host } => {
                let home = home_namespace(account.tenant());
                let key = ObjectKey::named::<Secret>(Some(&home), PULL_SECRET);
                // What the error says of the Secret does not matter, and nothing of the Secret belongs in one.
                let secret = cluster.read::<Secret>(&key).await.ok().flatten();
                let config = secret.and_then(|secret| secret.data?.remove(".dockerconfigjson"));
                let login = config.and_then(|config| login_of(&config.0, host));
                login.ok_or_else(|| RegistryError::NoLogin { namespace: home, host: host.clone() })
            }
        }
    }

    /// May a password be shown to the registry itself, where that asks for it? Ours are for the token service only.
    pub(super) fn may_be_basic(&self) -> bool {
        matches!(self, Self::Secrets { .. })
    }
}

#[derive(Deserialize)]
struct DockerConfig {
    auths: BTreeMap<String, Login>,
}

#[derive(Deserialize)]
struct Login {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
}

/// The login for `host` in what docker keeps.
fn login_of(config: &[u8], host: &str) -> Option<(String, String)> {
    let mut config: DockerConfig = serde_json::from_slice(config).ok()?;
    let Login { auth, username, password } =
        config.auths.remove(host).or_else(|| config.auths.remove(&format!("https://{host}")))?;
    if let (Some(username), Some(password)) = (username, password) {
        return Some((username, password));
    }
    let text = String::from_utf8(STANDARD.decode(auth?).ok()?).ok()?;
    text.split_once(':').map(|(user, password)| (user.to_owned(), password.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::accounts::docker_config_json;

    #[test]
    fn a_login_is_found_by_its_host_as_docker_and_others_write_it() {
        let host = "registry.example.com:5000";
        let found = |config: &str| login_of(config.as_bytes(), host);
        let login = Some(("jo".to_owned(), "s3:c".to_owned()));
        assert_eq!(found(&docker_config_json(host, "jo", "s3:c")), login);
        let auth = STANDARD.encode("jo:s3:c");
        assert_eq!(found(&format!(r#"{{"auths": {{"https://{host}": {{"auth": "{auth}"}}}}}}"#)), login);
        for no in ["", "{}", r#"{"auths": {}}"#, &docker_config_json("registry.example.com", "jo", "x")] {
            assert_eq!(found(no), None, "{no}");
        }
    }
}
