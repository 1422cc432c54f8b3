//! What a tenant is told, without a cluster.

use std::collections::BTreeMap;

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
    let report = Report { valid: Some(&valid), services, ..report(tenant, converged) };
    status(&report, at("2026-01-01T00:00:00Z"))
}

fn report<'a>(tenant: &'a Tenant, converged: &'a Converged) -> Report<'a> {
    let periods = Periods::default();
    let (services, registry, transfer) = (&[][..], None, None);
    Report { tenant, valid: None, converged, outcome: Ok(()), services, registry, transfer, periods }
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
            "imaas.dev/orphaned-since: '2026-01-01T00:00:00Z', imaas.dev/orphaned-by: commit 4f2a0b1c4f2a0b1c",
            (
                "False",
                "Orphaned",
                "no longer in Git since commit 4f2a0b1c4f2a; serves until 2026-01-02T00:00:00Z and is then scaled to zero: put its file back to keep it",
            ),
            "2 namespaces; no longer in Git since commit 4f2a0b1c4f2a; serves until 2026-01-02T00:00:00Z and is then scaled to zero: put its file…",
        ),
        (
            "imaas.dev/orphaned-since: '2026-01-01T00:00:00Z', imaas.dev/retiring-since: '2026-01-03T00:00:00Z'",
            (
                "False",
                "Retiring",
                "no longer in Git since ; scaled to zero, and removed after 2026-01-06T00:00:00Z: put its file back to keep it",
            ),
            "2 namespaces; no longer in Git since ; scaled to zero, and removed after 2026-01-06T00:00:00Z: put its file back to keep it",
        ),
    ] {
        let status = told(&acme(annotations), &Converged::default(), &[]);
        assert_eq!(claim(&status, "InSync"), in_sync);
        assert_eq!(claim(&status, "Ready"), ("True", "Succeeded", message));
    }
}

#[test]
fn a_tenant_whose_removal_waits_is_not_in_sync_and_says_what_to_do() {
    let told = |annotations: &str, suspend| {
        let mut tenant = acme(&format!("imaas.dev/origin: central, {annotations}"));
        tenant.spec.suspend = suspend;
        let status = told(&tenant, &Converged::default(), &[]);
        let (status, reason, message) = claim(&status, "InSync");
        format!("{status} {reason} {message}")
    };
    assert_eq!(
        told("imaas.dev/removal-held-since: 4f2a0b1c4f2a0b1c", false),
        "False RemovalHeld no longer in Git since commit 4f2a0b1c4f2a, held and serving on: put its file back, or, if it is meant, confirm as the condition Stalled of TenantSource central says"
    );
    let orphaned = "imaas.dev/orphaned-since: '2026-01-01T00:00:00Z', imaas.dev/orphaned-by: commit 4f2a";
    assert_eq!(
        told(orphaned, true),
        "False Orphaned no longer in Git since commit 4f2a; suspended, so it serves until spec.suspend is taken away: put its file back to keep it"
    );
    assert_eq!(
        told(&format!("{orphaned}, imaas.dev/retiring-since: '2026-01-02T00:00:00Z'"), true),
        "False Retiring no longer in Git since commit 4f2a; suspended, so it is not removed until spec.suspend is taken away: put its file back to keep it"
    );
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
    let message = "spec.environments.old: there is no Environment \"old\", only dev; everything else goes on";
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
        "2 namespaces; left as it is, since there is no such Environment: acme-test"
    );
    let settling = Converged { settling: vec!["acme-dev".into()], ..Converged::default() };
    assert_eq!(claim(&told(&acme(""), &settling, &[]), "Reconciling").0, "True");
}

#[test]
fn the_same_pass_gives_the_same_status_later() {
    let mut tenant = acme("");
    let first = told(&tenant, &converged(), &[]);
    tenant.status = Some(first.clone());
    let later = status(
        &Report { outcome: Err(&Error::Removing(String::new())), ..report(&tenant, &Converged::default()) },
        at("2026-02-01T00:00:00Z"),
    );
    assert_eq!(later.environments, first.environments, "what was known stays told");
    assert_eq!(told(&tenant, &converged(), &[]), first);
}

#[test]
fn an_environment_that_ends_is_published_until_it_is_gone() {
    let retirement = Retirement { stage: RetirementStage::Retiring, until: "2026-01-05T00:00:00Z".into() };
    let ending =
        |retirement| Ending { environment: "test".into(), namespace: "acme-test".into(), retirement };
    let published = |tenant: &Tenant, converged: Converged| {
        let own = BTreeMap::from(["acme-dev", "acme-test"].map(|namespace| (namespace.to_owned(), true)));
        let status = told(tenant, &Converged { own, ..converged }, &[]);
        let told: Vec<_> =
            status.environments.iter().map(|e| (e.name.clone(), e.retirement.clone())).collect();
        (told, status)
    };
    let dev = || ("dev".to_owned(), None);
    let ends = Converged { ending: vec![ending(Some(retirement.clone()))], ..Converged::default() };
    let (environments, status) = published(&acme(""), ends);
    assert_eq!(environments, [dev(), ("test".to_owned(), Some(retirement.clone()))]);
    assert!(claim(&status, "Ready").2.contains("acme-test is scaled to zero and removed after 2026-01-05"));

    let tenant = Tenant { status: Some(status), ..acme("") };
    let still = Converged { left: vec!["acme-test".into()], ..Converged::default() };
    assert_eq!(published(&tenant, still).0, [dev(), ("test".to_owned(), Some(retirement))], "no Environment");
    let held = Converged { ending: vec![ending(None)], ..Converged::default() };
    assert_eq!(published(&tenant, held).0, [dev(), ("test".to_owned(), None)], "as if it had not left");
    assert_eq!(published(&tenant, Converged::default()).0, [dev()], "gone");
}

#[test]
fn what_is_held_or_not_created_says_what_to_do() {
    let held = HeldParts { gone: 6, of: 12, names: vec!["prod".into()], confirmation: "4f2a4f2a4f2a".into() };
    let status = told(&acme(""), &Converged { held: Some(held), ..Converged::default() }, &[]);
    let (_, reason, message) = claim(&status, "Stalled");
    assert_eq!(reason, "RemovalHeld");
    assert!(
        message.contains("`kubectl annotate tn acme imaas.dev/confirm-removal=4f2a4f2a4f2a --overwrite`"),
        "{message}"
    );

    let cordoned = Converged { cordoned: vec!["billing".into()], ..Converged::default() };
    let status = told(&acme(""), &cordoned, &[]);
    assert_eq!(claim(&status, "Stalled").1, "Cordoned");
    assert!(claim(&status, "Ready").2.contains("until spec.cordon is taken away: billing;"));
    let mut nothing_new = acme("");
    nothing_new.spec.cordon = true;
    let nothing_new = told(&nothing_new, &Converged::default(), &[]);
    let (is_ready, _, message) = claim(&nothing_new, "Ready");
    assert!(is_ready == "True" && message.contains("cordoned: it gets no other service"), "{message}");

    let (tenant, nothing) = (acme(""), Converged::default());
    let suspended = Report { outcome: Err(&Error::Suspended), ..report(&tenant, &nothing) };
    let status = super::status(&suspended, at("2026-01-01T00:00:00Z"));
    assert_eq!(claim(&status, "Stalled").1, "Suspended");
}

#[test]
fn what_images_take_is_told_and_does_not_take_readiness() {
    let (tenant, converged) = (acme(""), Converged::default());
    let counted = |registry: &str| {
        let registry = serde_saphyr::from_str(registry).unwrap();
        status(&Report { registry, ..report(&tenant, &converged) }, at("2026-01-01T00:00:00Z"))
    };
    let over = counted("{used: 21Gi, quota: 20Gi, images: 7, repositories: 2}");
    assert_eq!(claim(&over, "PushAllowed").0, "False");
    assert_eq!(claim(&over, "PushAllowed").1, "QuotaExceeded");
    assert_eq!(claim(&over, "Ready").0, "True");
    assert_eq!(over.registry.unwrap().images, 7);
    let uncounted = counted("null");
    assert!(uncounted.registry.is_none() && uncounted.conditions.len() == 4);
}
