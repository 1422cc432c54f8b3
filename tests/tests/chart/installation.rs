//! Helm: install, upgrade, and values that are refused.

use std::time::Duration;

use anyhow::{Context, Result};
use base64::{Engine, engine::general_purpose::STANDARD};
use imaas_operator::registry::token::{TokenSettings, TokenSigner};
use lab::{Lab, Progress, helm::Release};

use crate::{Broken, NAMESPACE, install, root};

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
    generations_are_raised_one_by_one(lab, progress, broken).await?;
    let overlap = r#"{"stringData":{"accounts-overlap.key":"another key, while one is exchanged"}}"#;
    lab.kubectl()
        .run(&["patch", "secret", "imaas-registry-auth", "-n", NAMESPACE, "-p", overlap], None)
        .await?;
    let first = lab.kubectl().get(&secret).await?["data"].clone();
    let over_quota = ["configmap", "imaas-registry-over-quota", "-n", NAMESPACE];
    let told = r#"{"data":{"over-quota.json":"{}"}}"#;
    lab.kubectl().run(&[&["patch"], &over_quota[..], &["--type=merge", "-p", told]].concat(), None).await?;
    let full = [
        "tenantSource.url=https://git.example.com/platform/tenants.git",
        "tenantSource.credentials=tenants-git",
        "git.allowedHosts={git.example.com}",
        "git.commitStatus.git\\.example\\.com=gitea",
        "git.commitStatus.github\\.com=github",
        "cluster.cidrs={10.96.0.0/16}",
        "registry.ca=-----BEGIN CERTIFICATE-----pem-----END CERTIFICATE-----",
        "development=true",
        "operator.hostAliases[0].ip=10.0.0.1",
        "operator.hostAliases[0].hostnames={git.example.com}",
        "registry.bundled.enabled=true",
        "registry.bundled.image=images.example.com/distribution:3",
        "registry.retention.mode=off",
    ];
    install(lab, progress, &full).await?;
    let second = lab.kubectl().get(&secret).await?["data"].clone();
    broken.unless(first == second, "an upgrade keeps the generated keys");
    let kept = lab.kubectl().get(&over_quota).await?["data"]["over-quota.json"].clone();
    broken.unless(kept == "{}", format!("an upgrade keeps what the operator told the token service: {kept}"));
    let source = lab.kubectl().get(&["tenantsource", "tenants"]).await?;
    broken.unless(source["spec"]["path"] == "tenants", format!("the TenantSource: {source}"));
    let dev = lab.kubectl().get(&["environment", "dev"]).await?["spec"]["networks"][0]["except"].to_string();
    broken.unless(dev.contains("10.96.0.0/16") && dev.contains("fc00::/7"), format!("internet except {dev}"));

    for (values, word) in [
        (vec!["registry.host="], "registry.host"),
        (vec!["registry.auth.realm="], "realm"),
        (vec!["git.intervall=1s"], "intervall"),
        (vec!["git.commitStatus.github\\.com=svn"], "commitStatus"),
        (vec!["image.repository=registry.example.com/platform/imaas-operator"], "image.repository"),
        (vec!["image.pullPolicy=Sometimes"], "pullPolicy"),
        (vec!["registry.auth.replicas=0"], "replicas"),
        (vec!["operator.replicas=0"], "replicas"),
        (vec!["log.format=xml"], "format"),
        (vec!["registry.mode=ours"], "mode"),
        (vec!["cluster.cidrs=null"], "missing property 'cidrs'"),
        (vec!["environments.specs.dev.promoteFrom=test"], "promoteFrom"),
        (vec!["environments.specs.dev.quota.max.memroy=1Gi"], "memroy"),
        (vec!["registry.prefix=team"], "registry.prefix"),
        (vec!["registry.quota.default=much"], "default"),
        (vec!["registry.retention.mode=sometimes"], "retention"),
        (vec!["registry.bundled.enabled=true"], "registry.bundled.image"),
        (vec!["registry.mode=external", "registry.bundled.enabled=true"], "registry.bundled.enabled"),
        (vec!["registry.auth.generations.current=0"], "current"),
        (vec!["registry.auth.generations.current=3"], "registry.auth.generations: current"),
        (
            vec![
                "registry.auth.generations.tenants.acme.lowest=2",
                "registry.auth.generations.tenants.acme.current=1",
            ],
            "registry.auth.generations.tenants.acme: current",
        ),
        (
            vec!["registry.auth.generations.lowest=2", "registry.auth.generations.current=2"],
            "every node still has generation 1",
        ),
    ] {
        let refusal = install(lab, progress, &values).await.err().map(|error| error.to_string());
        let told = refusal.as_deref().is_some_and(|words| words.contains(word));
        broken.unless(told, format!("{values:?} is refused by name: {refusal:?}"));
    }
    Ok(())
}

/// Neither token service nor keys, and a pod that asks for none.
pub async fn an_external_registry_needs_none_of_ours(
    lab: &Lab,
    progress: &Progress,
    broken: &mut Broken,
) -> Result<()> {
    let chart = root().join("charts/imaas-operator");
    let release = Release {
        name: "imaas",
        namespace: NAMESPACE,
        chart: chart.to_str().context("path of the chart is not UTF-8")?,
        values: &[],
        set: &["registry.host=registry.example.com", "registry.mode=external", "registry.prefix=team/imaas"],
    };
    let rendered = lab.helm(progress).await?.template(&release).await?;
    for word in ["imaas-registry-auth", "IMAAS_ACCOUNTS_KEY_FILE", "over-quota", "IMAAS_REGISTRY_QUOTA"] {
        broken.unless(!rendered.contains(word), format!("{word} with an external registry"));
    }
    broken.unless(rendered.contains("value: \"team/imaas\""), "the prefix reaches the operator");
    Ok(())
}

/// Each step restarts one of the two deployments: what a step does not change, it does not touch.
async fn generations_are_raised_one_by_one(
    lab: &Lab,
    progress: &Progress,
    broken: &mut Broken,
) -> Result<()> {
    let current = "registry.auth.generations.current=2";
    let lowest = "registry.auth.generations.lowest=2";
    let acme = [
        "registry.auth.generations.tenants.acme.lowest=2",
        "registry.auth.generations.tenants.acme.current=3",
    ];
    let seen = async || {
        let mut seen = Vec::new();
        for (deployment, option) in [
            ("imaas-operator", "IMAAS_CURRENT_GENERATION"),
            ("imaas-registry-auth", "IMAAS_LOWEST_GENERATION"),
        ] {
            let found = lab.kubectl().get(&["deployment", deployment, "-n", NAMESPACE]).await?;
            let env = found["spec"]["template"]["spec"]["containers"][0]["env"].as_array().cloned();
            let value = env.into_iter().flatten().find(|one| one["name"] == option);
            let value = value.and_then(|one| Some(one["value"].as_str()?.to_owned()));
            seen.push((value.unwrap_or_default(), found["metadata"]["generation"].clone()));
        }
        anyhow::Ok(seen)
    };
    let before = seen().await?;
    install(lab, progress, &[current]).await?;
    let raised = seen().await?;
    broken.unless(raised[0].0 == "2" && raised[1] == before[1], format!("current 2: {before:?} {raised:?}"));
    install(lab, progress, &[current, lowest]).await?;
    let rotated = seen().await?;
    broken
        .unless(rotated[1].0 == "2" && rotated[0] == raised[0], format!("lowest 2: {raised:?} {rotated:?}"));
    install(lab, progress, &[&[current, lowest][..], &acme].concat()).await?;
    let own: Vec<_> = seen().await?.into_iter().map(|(value, _)| value).collect();
    broken.unless(own == ["2,acme=3", "2,acme=2"], format!("a tenant's own: {own:?}"));
    Ok(())
}
