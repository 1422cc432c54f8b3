//! `adopt`: namespaces that lost whose they are, as after a restore, become a tenant's own again. Pure: a namespace as it is
//! in, what has to change out. IO: [`run`].

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use imaas_operator::{
    api::Tenant,
    names::{ENVIRONMENT, HOME, MANAGED_BY, MANAGER, ORIGIN, TENANT},
};
use k8s_openapi::api::core::v1::Namespace;
use kube::ResourceExt;
use serde_json::{Value, json};

use crate::{
    Outcome, args,
    cluster::{self, Adoption},
    output::{self, plain},
};

/// What is done about one namespace.
#[derive(Debug, PartialEq, Eq)]
enum Finding {
    /// It is the tenant's own.
    Own,
    /// It becomes so: labels and annotations that it gets.
    Lost { labels: BTreeMap<&'static str, String>, annotations: BTreeMap<&'static str, String> },
    /// It is somebody else's.
    Foreign(String),
}

/// IO: looks, tells, and changes what it told.
pub fn run(options: &args::Adopt) -> Result<Outcome> {
    let Adoption { tenant, namespaces, may_adopt } =
        cluster::adoption(options.context.as_deref(), &options.tenant)?;
    let findings: Vec<_> =
        namespaces.iter().map(|namespace| (namespace, finding(&tenant, namespace))).collect();
    output::print(&told(&findings))?;
    if findings.is_empty() {
        bail!(
            "there is no namespace {0}-home nor {0}-<environment>: there is nothing to adopt",
            options.tenant
        );
    }
    let foreign = findings.iter().any(|(_, finding)| matches!(finding, Finding::Foreign(_)));
    let lost: Vec<_> =
        findings.iter().filter_map(|(namespace, finding)| Some((*namespace, patch(finding)?))).collect();
    if !may_adopt && !lost.is_empty() {
        bail!(
            "you may not adopt: it takes the verb `adopt` on tenants.imaas.dev, which administrators have; ask one of them to run this"
        );
    }
    if foreign {
        output::complain("nothing is changed: a namespace of another owner is not taken");
        return Ok(Outcome::Problems);
    }
    if options.dry_run {
        output::print("Nothing is changed: this was a dry run.\n")?;
        return Ok(Outcome::Fine);
    }
    cluster::adopt(options.context.as_deref(), &lost)?;
    output::print(&format!("Adopted {} of {} namespaces.\n", lost.len(), findings.len()))?;
    Ok(Outcome::Fine)
}

fn finding(tenant: &Tenant, namespace: &Namespace) -> Finding {
    let (name, of) = (namespace.name_any(), tenant.name_any());
    let environment = name.rsplit_once('-').map_or(HOME, |(_, environment)| environment).to_owned();
    let label = |key: &str| namespace.labels().get(key);
    if let Some(other) = label(TENANT).filter(|other| **other != of) {
        return Finding::Foreign(format!("it belongs to tenant {}", plain(other)));
    }
    if let Some(other) = label(MANAGED_BY).filter(|other| *other != MANAGER) {
        return Finding::Foreign(format!("it is managed by {}", plain(other)));
    }
    let wanted = [(MANAGED_BY, MANAGER.to_owned()), (TENANT, of), (ENVIRONMENT, environment)];
    let labels: BTreeMap<_, _> =
        wanted.into_iter().filter(|(key, value)| label(key) != Some(value)).collect();
    let origin = tenant.origin().to_owned();
    let is_known = namespace.annotations().get(ORIGIN) == Some(&origin);
    let annotations: BTreeMap<_, _> = (!is_known).then_some((ORIGIN, origin)).into_iter().collect();
    if labels.is_empty() && annotations.is_empty() {
        Finding::Own
    } else {
        Finding::Lost { labels, annotations }
    }
}

fn patch(finding: &Finding) -> Option<Value> {
    match finding {
        Finding::Own | Finding::Foreign(_) => None,
        Finding::Lost { labels, annotations } => {
            Some(json!({ "metadata": { "labels": labels, "annotations": annotations } }))
        }
    }
}

fn told(findings: &[(&Namespace, Finding)]) -> String {
    let line = |(namespace, finding): &(&Namespace, Finding)| {
        let name = namespace.name_any();
        match finding {
            Finding::Own => format!("  {name}: is the tenant's own\n"),
            Finding::Foreign(why) => format!("! {name}: {why}\n"),
            Finding::Lost { labels, annotations } => {
                let all = labels.iter().chain(annotations).map(|(key, value)| format!("{key}={value}"));
                format!("~ {name}: gets {}\n", all.collect::<Vec<_>>().join(", "))
            }
        }
    };
    findings.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lost_its_owner_gets_it_back_and_nothing_else_is_taken() {
        let tenant: Tenant = serde_saphyr::from_str(
            "{apiVersion: imaas.dev/v1alpha1, kind: Tenant, metadata: {name: acme-eu, annotations: {imaas.dev/origin: central}}, spec: {}}",
        )
        .unwrap();
        let told = |labels: &str, annotations: &str| {
            let yaml = format!(
                "metadata: {{name: acme-eu-dev, labels: {{{labels}}}, annotations: {{{annotations}}}}}"
            );
            let namespace: Namespace = serde_saphyr::from_str(&yaml).unwrap();
            let finding = finding(&tenant, &namespace);
            super::told(&[(&namespace, finding)])
        };
        let ours = "app.kubernetes.io/managed-by: imaas-operator, imaas.dev/tenant: acme-eu, imaas.dev/environment: dev";
        assert_eq!(told(ours, "imaas.dev/origin: central"), "  acme-eu-dev: is the tenant's own\n");
        assert_eq!(told(ours, "imaas.dev/origin: manual"), "~ acme-eu-dev: gets imaas.dev/origin=central\n");
        assert_eq!(
            told("a: b", ""),
            "~ acme-eu-dev: gets app.kubernetes.io/managed-by=imaas-operator, imaas.dev/environment=dev, imaas.dev/tenant=acme-eu, imaas.dev/origin=central\n"
        );
        assert_eq!(told("imaas.dev/tenant: acme", ""), "! acme-eu-dev: it belongs to tenant acme\n");
        assert_eq!(told("app.kubernetes.io/managed-by: Helm", ""), "! acme-eu-dev: it is managed by Helm\n");
    }
}
