//! How it went → what the tenant is told. Pure: the caller writes it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt;

use super::{
    reconcile::{Converged, Error},
    validate::ValidTenant,
};
use crate::{
    api::{IntegrationService, RegistryUsage, Tenant, TenantStatus, tenant::TenantEnvironment},
    cluster::ReconcileError,
    conditions::{Claim, IN_SYNC, LONGEST_PRINTED, READY, Reason, Wellness, cut, is_true, merge},
    environment::Problems,
    names,
    registry::quota,
    retry::Retry,
};

/// How many problems of services are listed.
const PROBLEMS: usize = 10;
/// Hexadecimal digits that name a commit well enough for a reader.
const SHORT_HASH: usize = 12;

/// What one pass knows at its end.
pub struct Report<'a> {
    /// As it was read.
    pub tenant: &'a Tenant,
    /// None where it is not valid.
    pub valid: Option<&'a ValidTenant>,
    /// What was found, also on the way to a failure.
    pub converged: &'a Converged,
    /// How it went.
    pub outcome: Result<(), &'a Error>,
    /// Everything in its home namespace, the hand-made ones too.
    pub services: &'a [Arc<IntegrationService>],
    /// Its images, where they are counted.
    pub registry: Option<RegistryUsage>,
}

/// The status that follows; equal input gives an equal status, at any time.
pub fn status(report: &Report<'_>, now: Timestamp) -> TenantStatus {
    let Report { tenant, valid, converged, outcome, services, registry } = report;
    let old = tenant.status.clone().unwrap_or_default();
    let mut claims = match outcome {
        Ok(()) => wellness(*valid, converged),
        Err(error) => failure(error),
    }
    .claims();
    let in_sync = in_sync(tenant);
    if !in_sync.status {
        // Well or not: whoever looks at the table must see that it is not what Git says.
        for claim in claims.iter_mut().filter(|claim| claim.type_ == READY) {
            let room = LONGEST_PRINTED - "; ".len();
            let outdated = cut(&in_sync.message, room / 2);
            claim.message = format!("{}; {outdated}", cut(&claim.message, room - outdated.chars().count()));
        }
    }
    claims.push(in_sync);
    claims.extend(registry.as_ref().map(quota::claim));
    let generation = tenant.metadata.generation.unwrap_or_default();
    let ready = services.iter().filter(|service| is_true(conditions(service), READY)).count();
    TenantStatus {
        observed_generation: Some(generation),
        origin: Some(tenant.origin().to_owned()),
        environments: published(*valid, &converged.own, old.environments),
        services_ready: Some(format!("{ready}/{}", services.len())),
        problems: problems(services),
        registry: registry.clone(),
        conditions: merge(&old.conditions, &claims, generation, now),
    }
}

fn wellness(valid: Option<&ValidTenant>, converged: &Converged) -> Wellness {
    let Converged { own: _, settling, left } = converged;
    let spaces = valid.map_or(0, |tenant| tenant.environments.len() + 1);
    if let Some(namespace) = settling.first() {
        let message =
            format!("{} of {spaces} namespaces are being set up, such as {namespace}", settling.len());
        return Wellness::Reconciling(Reason::Progressing, message);
    }
    let unknown = valid.map_or(&[][..], |tenant| &tenant.unknown);
    if !unknown.is_empty() {
        let message = format!("{}; everything else goes on", Problems(unknown.to_vec()));
        return Wellness::Stalled(Reason::EnvironmentMissing, message);
    }
    let held = valid.map_or(&[][..], |tenant| &tenant.held);
    if let Some(first) = held.first() {
        let message = format!(
            "environment {} is not valid and {} stays as it is: the platform team sees why in the Environment's status",
            first.environment, first.namespace
        );
        return Wellness::Stalled(Reason::EnvironmentMissing, message);
    }
    Wellness::Ready(if left.is_empty() {
        format!("{spaces} namespaces")
    } else {
        format!(
            "{spaces} namespaces; left as it is, since the tenant is no longer in it: {}",
            left.join(", ")
        )
    })
}

fn failure(error: &Error) -> Wellness {
    let (reason, message) = (error.reason(), error.to_string());
    match (error.retry(), reason) {
        (Retry::Never, _) | (_, Reason::NamespaceForeign | Reason::PoliciesMissing) => {
            Wellness::Stalled(reason, message)
        }
        (Retry::After(_) | Retry::Backoff, _) => Wellness::Reconciling(reason, message),
    }
}

fn in_sync(tenant: &Tenant) -> Claim {
    let annotation = |key: &str| tenant.annotations().get(key);
    let (status, reason, message) = if let Some(problem) = annotation(names::SOURCE_PROBLEM) {
        (false, Reason::InvalidFile, format!("file not applied: {problem}"))
    } else if let Some(since) = annotation(names::ORPHANED) {
        let since: String = since.chars().take(SHORT_HASH).collect();
        (false, Reason::Orphaned, format!("no longer in Git since commit {since}; serves on"))
    } else if tenant.origin() == names::MANUAL {
        (true, Reason::Succeeded, "it was applied by hand".to_owned())
    } else {
        (true, Reason::Succeeded, "it is as its file says".to_owned())
    };
    Claim { type_: IN_SYNC, status, reason, message }
}

/// Services are run in what stands here, so only what is known to be this tenant's own; what could not be told this
/// time is as it was.
fn published(
    valid: Option<&ValidTenant>,
    own: &BTreeMap<String, bool>,
    old: Vec<TenantEnvironment>,
) -> Vec<TenantEnvironment> {
    let was_own: BTreeSet<_> = old.iter().map(|environment| environment.namespace.clone()).collect();
    let mut published = valid.map_or(old, environments);
    published.retain(|e| own.get(&e.namespace).copied().unwrap_or(was_own.contains(&e.namespace)));
    published
}

/// In promotion order, those that are held at the end.
fn environments(tenant: &ValidTenant) -> Vec<TenantEnvironment> {
    let usable =
        tenant.environments.iter().map(|space| (&space.environment, &space.namespace, &space.promotes_from));
    let held = tenant.held.iter().map(|held| (&held.environment, &held.namespace, &held.promotes_from));
    usable
        .chain(held)
        .map(|(name, namespace, promotes_from)| TenantEnvironment {
            name: name.clone(),
            namespace: namespace.clone(),
            promotes_from: promotes_from.clone(),
        })
        .collect()
}

/// `service: message` of those that are not ready, by name.
fn problems(services: &[Arc<IntegrationService>]) -> Vec<String> {
    let mut problems: Vec<String> = services
        .iter()
        .filter_map(|service| {
            let ready = conditions(service).iter().find(|condition| condition.type_ == READY)?;
            (ready.status != "True").then(|| {
                let told = if ready.message.is_empty() { &ready.reason } else { &ready.message };
                format!("{}: {told}", service.name_any())
            })
        })
        .collect();
    problems.sort();
    problems.truncate(PROBLEMS);
    problems
}

fn conditions(service: &IntegrationService) -> &[Condition] {
    service.status.as_ref().map_or(&[], |status| &status.conditions)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{environment::check, tenant::validate::validate};

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn acme(annotations: &str) -> Tenant {
        let yaml = format!(
            "{{apiVersion: imaas.dev/v1alpha1, kind: Tenant, metadata: {{name: acme, generation: 3, annotations: {{{annotations}}}}}, spec: {{}}}}"
        );
        serde_saphyr::from_str(&yaml).unwrap()
    }

    fn service(name: &str, ready: &str, message: &str) -> Arc<IntegrationService> {
        let yaml = format!(
            "{{apiVersion: imaas.dev/v1alpha1, kind: IntegrationService, metadata: {{name: {name}}}, \
             spec: {{repository: {{url: https://git.example.com/a}}, runtime: camel}}, \
             status: {{conditions: [{{type: Ready, status: '{ready}', reason: Unhealthy, message: '{message}', lastTransitionTime: '2026-01-01T00:00:00Z'}}]}}}}"
        );
        Arc::new(serde_saphyr::from_str(&yaml).unwrap())
    }

    fn told(tenant: &Tenant, converged: &Converged, services: &[Arc<IntegrationService>]) -> TenantStatus {
        let environment: crate::api::Environment = serde_saphyr::from_str(
            "{apiVersion: imaas.dev/v1alpha1, kind: Environment, metadata: {name: dev}, spec: {default: true}}",
        )
        .unwrap();
        let valid = validate(tenant, &check(&[environment])).unwrap();
        let report =
            Report { tenant, valid: Some(&valid), converged, outcome: Ok(()), services, registry: None };
        status(&report, at("2026-01-01T00:00:00Z"))
    }

    fn converged() -> Converged {
        Converged { own: BTreeMap::from([("acme-dev".to_owned(), true)]), ..Converged::default() }
    }

    #[test]
    fn only_a_namespace_that_is_the_tenants_own_is_published() {
        let published = |tenant: &Tenant, own: &[(&str, bool)]| {
            let own = own.iter().map(|(namespace, is_own)| ((*namespace).to_owned(), *is_own)).collect();
            told(tenant, &Converged { own, ..Converged::default() }, &[]).environments
        };
        let mut tenant = acme("");
        assert_eq!(published(&tenant, &[("acme-dev", false)]), [], "somebody else's");
        assert_eq!(published(&tenant, &[]), [], "not known yet");
        let known = published(&tenant, &[("acme-dev", true)]);
        assert_eq!(known.len(), 1);
        tenant.status = Some(TenantStatus { environments: known.clone(), ..TenantStatus::default() });
        assert_eq!(published(&tenant, &[]), known, "could not be told this time");
        assert_eq!(published(&tenant, &[("acme-dev", false)]), [], "somebody else's since");
    }

    fn claim<'a>(status: &'a TenantStatus, type_: &str) -> (&'a str, &'a str, &'a str) {
        let c = status.conditions.iter().find(|c| c.type_ == type_).unwrap();
        (&c.status, &c.reason, &c.message)
    }

    #[test]
    fn services_are_counted_and_ten_problems_are_listed() {
        let mut services: Vec<_> =
            (0..12).map(|n| service(&format!("s{n:02}"), "False", "image missing")).collect();
        services.push(service("well", "True", "fine"));
        let status = told(&acme(""), &converged(), &services);
        assert_eq!(status.services_ready.as_deref(), Some("1/13"));
        assert_eq!(status.problems.len(), 10);
        assert_eq!(status.problems[0], "s00: image missing");
        assert_eq!(claim(&status, "Ready"), ("True", "Succeeded", "2 namespaces"));
        assert_eq!(status.environments[0].namespace, "acme-dev");
    }

    #[test]
    fn a_broken_or_missing_file_is_told_without_taking_readiness() {
        for (annotations, in_sync, message) in [
            ("", ("True", "Succeeded", "it was applied by hand"), "2 namespaces"),
            ("imaas.dev/origin: central", ("True", "Succeeded", "it is as its file says"), "2 namespaces"),
            (
                "imaas.dev/source-problem: 'tenants/acme.yaml:7:3: unknown field'",
                ("False", "InvalidFile", "file not applied: tenants/acme.yaml:7:3: unknown field"),
                "2 namespaces; file not applied: tenants/acme.yaml:7:3: unknown field",
            ),
            (
                "imaas.dev/orphaned-since: 4f2a0b1c4f2a0b1c",
                ("False", "Orphaned", "no longer in Git since commit 4f2a0b1c4f2a; serves on"),
                "2 namespaces; no longer in Git since commit 4f2a0b1c4f2a; serves on",
            ),
        ] {
            let status = told(&acme(annotations), &Converged::default(), &[]);
            assert_eq!(claim(&status, "InSync"), in_sync);
            assert_eq!(claim(&status, "Ready"), ("True", "Succeeded", message));
        }
    }

    #[test]
    fn neither_the_file_nor_the_space_hides_the_other() {
        let long = "x y ".repeat(100);
        let tenant = acme(&format!("imaas.dev/source-problem: 'tenants/acme.yaml:7:3: {long}'"));
        let left = Converged { left: vec!["acme-test ".repeat(40)], ..Converged::default() };
        let status = told(&tenant, &left, &[]);
        let message = claim(&status, "Ready").2;
        assert!(message.starts_with("2 namespaces; left as it is"), "{message}");
        assert!(message.contains("; file not applied: tenants/acme.yaml:7:3: x y"), "{message}");
        assert!(message.chars().count() <= LONGEST_PRINTED, "{message}");
    }

    #[test]
    fn an_environment_that_is_gone_is_told_and_stays_published() {
        let mut tenant = acme("");
        tenant.spec = serde_saphyr::from_str("{environments: {old: {}}}").unwrap();
        let own = ["acme-dev", "acme-old"].map(|namespace| (namespace.to_owned(), true)).into();
        let status = told(&tenant, &Converged { own, ..Converged::default() }, &[]);
        let message =
            "spec.environments.old: there is no Environment \"old\", only dev; everything else goes on";
        assert_eq!(claim(&status, "Ready"), ("False", "EnvironmentMissing", message));
        let names: Vec<_> = status.environments.iter().map(|environment| environment.name.as_str()).collect();
        assert_eq!(names, ["dev", "old"], "what runs there is not forgotten");
    }

    #[test]
    fn what_is_left_behind_and_what_is_under_way_is_told() {
        let left = Converged { left: vec!["acme-test".into()], ..Converged::default() };
        let status = told(&acme(""), &left, &[]);
        assert_eq!(
            claim(&status, "Ready").2,
            "2 namespaces; left as it is, since the tenant is no longer in it: acme-test"
        );
        let settling = Converged { settling: vec!["acme-dev".into()], ..Converged::default() };
        assert_eq!(claim(&told(&acme(""), &settling, &[]), "Reconciling").0, "True");
    }

    #[test]
    fn what_images_take_is_told_and_does_not_take_readiness() {
        let (tenant, converged) = (acme(""), Converged::default());
        let report = |registry: &str| Report {
            tenant: &tenant,
            valid: None,
            converged: &converged,
            outcome: Ok(()),
            services: &[],
            registry: serde_saphyr::from_str(registry).unwrap(),
        };
        let now = at("2026-01-01T00:00:00Z");
        let over = status(&report("{used: 21Gi, quota: 20Gi, images: 7, repositories: 2}"), now);
        assert_eq!(claim(&over, "PushAllowed").0, "False");
        assert_eq!(claim(&over, "PushAllowed").1, "QuotaExceeded");
        assert_eq!(claim(&over, "Ready").0, "True");
        assert_eq!(over.registry.unwrap().images, 7);
        let uncounted = status(&report("null"), now);
        assert!(uncounted.registry.is_none() && uncounted.conditions.len() == 4);
    }

    #[test]
    fn the_same_pass_gives_the_same_status_later() {
        let mut tenant = acme("");
        let first = told(&tenant, &converged(), &[]);
        tenant.status = Some(first.clone());
        let valid = None;
        let later = status(
            &Report {
                tenant: &tenant,
                valid,
                converged: &Converged::default(),
                outcome: Err(&Error::Deleted),
                services: &[],
                registry: None,
            },
            at("2026-02-01T00:00:00Z"),
        );
        assert_eq!(later.environments, first.environments, "what was known stays told");
        assert_eq!(told(&tenant, &converged(), &[]), first);
    }
}
