//! Helm: install, upgrade, and values that are refused.

use std::time::Duration;

use anyhow::{Context, Result};
use base64::{Engine, engine::general_purpose::STANDARD};
use imaas_operator::registry::token::{TokenSettings, TokenSigner};
use lab::{Lab, Progress};

use crate::{Broken, NAMESPACE, install};

pub async fn installs_and_keeps_its_keys(lab: &Lab, progress: &Progress, broken: &mut Broken) -> Result<()> {
    let notes = install(lab, progress, &[]).await?;
    broken.unless(notes.contains("rollout status deployment/imaas-operator"), format!("notes: {notes}"));
    let secret = ["secret", "imaas-registry-auth", "-n", NAMESPACE];
    let first = lab.kubectl().get(&secret).await?["data"].clone();
    let key =
        |name: &str| STANDARD.decode(first[name].as_str().context("a key of the Secret")?).context("base64");
    let settings = TokenSettings {
        issuer: "imaas".to_owned(),
        service: "imaas-registry".to_owned(),
        lifetime: Duration::from_mins(5),
    };
    let signer = TokenSigner::new(&key("tls.key")?, &key("tls.crt")?, settings);
    broken.unless(signer.is_ok(), format!("the token service can sign: {:?}", signer.err()));
    broken.unless(key("accounts.key")?.len() >= 32, "the accounts' key is long enough");
    let full = [
        "tenantSource.url=https://git.example.com/platform/tenants.git",
        "tenantSource.credentials=tenants-git",
        "git.allowedHosts={git.example.com}",
        "cluster.cidrs={10.96.0.0/16}",
        "registry.ca=pem",
        "development=true",
        "operator.hostAliases[0].ip=10.0.0.1",
        "operator.hostAliases[0].hostnames={git.example.com}",
    ];
    install(lab, progress, &full).await?;
    let second = lab.kubectl().get(&secret).await?["data"].clone();
    broken.unless(first == second, "an upgrade keeps the generated keys");
    let source = lab.kubectl().get(&["tenantsource", "tenants"]).await?;
    broken.unless(source["spec"]["path"] == "tenants", format!("the TenantSource: {source}"));
    let dev = lab.kubectl().get(&["environment", "dev"]).await?["spec"]["networks"][0]["except"].to_string();
    broken.unless(dev.contains("10.96.0.0/16") && dev.contains("fc00::/7"), format!("internet except {dev}"));

    for (values, word) in [
        (vec!["registry.host="], "registry.host"),
        (vec!["registry.auth.realm="], "realm"),
        (vec!["git.intervall=1s"], "intervall"),
        (vec!["image.repository=registry.example.com/platform/imaas-operator"], "image.repository"),
        (vec!["image.pullPolicy=Sometimes"], "pullPolicy"),
        (vec!["registry.auth.replicas=0"], "replicas"),
        (vec!["log.format=xml"], "format"),
    ] {
        let refusal = install(lab, progress, &values).await.err().map(|error| error.to_string());
        let told = refusal.as_deref().is_some_and(|words| words.contains(word));
        broken.unless(told, format!("{values:?} is refused by name: {refusal:?}"));
    }
    Ok(())
}
