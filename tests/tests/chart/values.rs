//! The chart's values, as they are written down: an Environment among them has the fields of its kind, the README has a
//! row for each, and what the operator would refuse at its start the chart refuses.

use std::{collections::BTreeSet, fs};

use anyhow::{Context, Result};
use clap::Parser;
use imaas_operator::args::Cli;
use lab::{
    Progress,
    helm::{Helm, Release},
};
use serde_json::Value;

use crate::{NAMESPACE, REQUIRED, root};

fn schema() -> Result<Value> {
    let text = fs::read_to_string(root().join("charts/imaas-operator/values.schema.json"))?;
    serde_json::from_str(&text).context("the schema of the values is JSON")
}

/// Names of all fields that `schema`, a part of `whole`, lists, as `registry.auth.realm`; of a list, those of its entries.
fn fields(schema: &Value, whole: &Value) -> BTreeSet<String> {
    let definition = schema["$ref"].as_str().and_then(|place| whole.pointer(place.trim_start_matches('#')));
    let schema = definition.unwrap_or(schema);
    let mut found = schema.get("items").map(|entry| fields(entry, whole)).unwrap_or_default();
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        found.extend(fields(field, whole).iter().map(|below| format!("{name}.{below}")));
        found.insert(name.clone());
    }
    found
}

/// Names in the first column of the README's table; `.branch` after `tenantSource.name` is `tenantSource.branch`.
fn rows(readme: &str) -> BTreeSet<String> {
    let mut rows = BTreeSet::new();
    for line in readme.lines().filter_map(|line| line.strip_prefix("| `")) {
        let names = line.split('|').next().unwrap_or_default();
        let mut before = String::new();
        for name in names.split('`').step_by(2) {
            before = match (name.strip_prefix('.'), before.rsplit_once('.')) {
                (Some(last), Some((group, _))) => format!("{group}.{last}"),
                _ => name.to_owned(),
            };
            rows.insert(before.clone());
        }
    }
    rows
}

#[test]
fn an_environment_of_the_values_has_the_fields_of_its_kind() -> Result<()> {
    let schema = schema()?;
    let kinds = imaas_operator::api::crds();
    let kind = kinds.iter().find(|kind| kind.spec.names.kind == "Environment").context("no Environment")?;
    let kind = serde_json::to_value(kind)?;
    let spec = kind
        .pointer("/spec/versions/0/schema/openAPIV3Schema/properties/spec")
        .context("the kind has no schema")?;
    assert_eq!(fields(&schema["definitions"]["environment"], &schema), fields(spec, spec));
    Ok(())
}

#[test]
fn the_readme_has_a_row_for_each_value_and_no_other() -> Result<()> {
    let schema = schema()?;
    let mut values = fields(&schema, &schema);
    // Helm's own.
    values.remove("global");
    let rows = rows(&fs::read_to_string(root().join("charts/imaas-operator/README.md"))?);
    let is_in = |name: &str, group: &str| {
        name.strip_prefix(group).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    let untold: Vec<_> = values
        .iter()
        .filter(|value| !rows.iter().any(|row| is_in(value, row) || is_in(row, value)))
        .collect();
    assert!(untold.is_empty(), "values without a row: {untold:?}");
    let unknown: Vec<_> = rows.difference(&values).collect();
    assert!(unknown.is_empty(), "rows of no value: {unknown:?}");
    Ok(())
}

/// Does the operator start with this option?
fn starts(option: &str) -> bool {
    let required = ["--registry-host=r", "--registry-realm=https://r/token", "--accounts-key-file=key"];
    Cli::try_parse_from([&["imaas-operator", "run"], &required[..], &[option]].concat()).is_ok()
}

/// The chart's words against this value, if it refuses it. Asks no cluster.
async fn refusal(helm: &Helm, value: &str) -> Result<Option<String>> {
    let chart = root().join("charts/imaas-operator");
    let set = [&REQUIRED[..], &[value]].concat();
    let chart = chart.to_str().context("path of the chart is not UTF-8")?;
    let release = Release { name: "imaas", namespace: NAMESPACE, chart, values: &[], set: &set };
    Ok(helm.template(&release).await.err().map(|error| error.to_string()))
}

/// Where the operator is replaced by one that does not start, there is none.
#[tokio::test]
async fn what_the_operator_refuses_at_its_start_the_chart_refuses() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let helm = Helm::new(&folder.path().join("kubeconfig"), &Progress::silent()).await?;
    for (value, option, field) in [
        ("log.level=inof", "--log=inof", "/log/level"),
        ("log.level=debgu\\,kube=warn", "--log=debgu,kube=warn", "/log/level"),
        ("git.interval=0s", "--interval=0s", "/git/interval"),
        ("git.interval=500ms", "--interval=500ms", "/git/interval"),
        ("git.interval=1s1m", "--interval=1s1m", "/git/interval"),
        ("retirement.orphanedFor=0s", "--orphaned-for=0s", "/retirement/orphanedFor"),
        ("retirement.retiringFor=0h", "--retiring-for=0h", "/retirement/retiringFor"),
        ("registry.interval=0m", "--registry-interval=0m", "/registry/interval"),
        ("tenants.largestConfig=2Mi", "--largest-config=2Mi", "/tenants/largestConfig"),
        ("tenants.largestConfig=1025Ki", "--largest-config=1025Ki", "/tenants/largestConfig"),
        ("runtimes.wave=0", "--runtime-wave=0", "/runtimes/wave"),
        ("operator.mirrors.sizeLimit=0", "--data-size=0", "/operator/mirrors/sizeLimit"),
        ("registry.quota.max=0Gi", "--registry-quota-max=0Gi", "/registry/quota/max"),
        (
            "git.allowedHosts={https://git.example.com}",
            "--allowed-git-host=https://git.example.com",
            "/git/allowedHosts/0",
        ),
        ("git.allowedHosts={a.example/path}", "--allowed-git-host=a.example/path", "/git/allowedHosts/0"),
        ("git.allowedHosts={a.example:65536}", "--allowed-git-host=a.example:65536", "/git/allowedHosts/0"),
        ("git.commitStatus.a/b=gitea", "--commit-status=a/b=gitea", "'a/b'"),
    ] {
        assert!(!starts(option), "{option}");
        let told = refusal(&helm, value).await?;
        assert!(told.as_ref().is_some_and(|told| told.contains(field)), "{value}: {told:?}");
    }
    for (value, option) in [
        ("log.level=DEBUG", "--log=DEBUG"),
        ("log.level=imaas_operator=debug\\,kube=warn", "--log=imaas_operator=debug,kube=warn"),
        ("git.interval=1h0m30s", "--interval=1h0m30s"),
        ("retirement.orphanedFor=90m", "--orphaned-for=90m"),
        ("tenants.largestConfig=1Mi", "--largest-config=1Mi"),
        ("runtimes.wave=300", "--runtime-wave=300"),
        ("operator.mirrors.sizeLimit=1.5Gi", "--data-size=1.5Gi"),
        ("git.allowedHosts={a.example:8443}", "--allowed-git-host=a.example:8443"),
        ("git.allowedHosts={[fd00::1]:65535}", "--allowed-git-host=[fd00::1]:65535"),
        ("git.allowedHosts={fd00::1}", "--allowed-git-host=fd00::1"),
        ("git.commitStatus.a\\.example:8443=gitlab", "--commit-status=a.example:8443=gitlab"),
    ] {
        assert!(starts(option), "{option}");
        assert_eq!(refusal(&helm, value).await?, None, "{value}");
    }
    Ok(())
}

#[tokio::test]
async fn what_would_fail_later_or_count_otherwise_is_refused() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let helm = Helm::new(&folder.path().join("kubeconfig"), &Progress::silent()).await?;
    for (value, word) in [
        ("registry.ca=notapem", "/registry/ca"),
        (
            "registry.quota.default=200Gi",
            "registry.quota.default: 200Gi is above registry.quota.max, which is 100Gi",
        ),
        ("registry.quota.default=1Ti", "registry.quota.default"),
        ("registry.bundled.collect.schedule=every sunday", "/registry/bundled/collect/schedule"),
        ("cluster.cidrs={10.244.0.0/33}", "/cluster/cidrs/0"),
        ("cluster.cidrs={fd00::/129}", "/cluster/cidrs/0"),
        ("environments.specs.Staging.branch=x", "'/environments/specs': additional properties 'Staging'"),
    ] {
        let told = refusal(&helm, value).await?;
        assert!(told.as_ref().is_some_and(|told| told.contains(word)), "{value}: {told:?}");
    }
    for value in [
        "registry.quota.default=102400Mi",
        "registry.quota.max=",
        "registry.bundled.collect.schedule=17 3 * * SUN",
        "cluster.cidrs={10.244.0.0/16,fd00::/8,::1/128,0.0.0.0/0}",
    ] {
        assert_eq!(refusal(&helm, value).await?, None, "{value}");
    }
    Ok(())
}
