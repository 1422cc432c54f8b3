use proptest::prelude::*;

use super::*;
use crate::{
    api::{Environment, EnvironmentSpec, TenantSpec},
    environment::check,
};

fn environments() -> Checked {
    let list: Vec<Environment> = serde_saphyr::from_str(
        r#"
- {apiVersion: imaas.dev/v1alpha1, kind: Environment, metadata: {name: dev}, spec: {default: true}}
- apiVersion: imaas.dev/v1alpha1
  kind: Environment
  metadata: {name: test}
  spec: {default: true, promotesFrom: dev}
- apiVersion: imaas.dev/v1alpha1
  kind: Environment
  metadata: {name: prod}
  spec:
    default: true
    promotesFrom: test
    quota: {default: {cpu: "2", memory: 4Gi, pods: 20}, max: {cpu: "16", memory: 32Gi}}
    roles: {developer: viewer}
- {apiVersion: imaas.dev/v1alpha1, kind: Environment, metadata: {name: lab}, spec: {}}
- {apiVersion: imaas.dev/v1alpha1, kind: Environment, metadata: {name: broken}, spec: {quota: {default: {cpu: x}}}}
"#,
    )
    .unwrap();
    check(&list)
}

fn acme(spec: &str) -> Result<ValidTenant, Problems> {
    named("acme", spec)
}

fn named(name: &str, spec: &str) -> Result<ValidTenant, Problems> {
    let spec: TenantSpec = serde_saphyr::from_str(spec).unwrap();
    validate(&Tenant::new(name, spec), &environments())
}

fn places(tenant: &ValidTenant) -> Vec<(&str, Option<&str>)> {
    tenant.environments.iter().map(|e| (e.namespace.as_str(), e.promotes_from.as_deref())).collect()
}

#[test]
fn a_tenant_is_in_every_default_environment_and_in_those_it_names() {
    let plain = acme("{}").unwrap();
    assert_eq!(places(&plain), [("acme-dev", None), ("acme-test", Some("dev")), ("acme-prod", Some("test"))]);
    assert_eq!(plain.origin, "manual");
    let other = acme("{environments: {test: {omit: true}, lab: {}}}").unwrap();
    assert_eq!(places(&other), [("acme-dev", None), ("acme-lab", None), ("acme-prod", Some("dev"))]);
}

#[test]
fn a_quota_is_the_tenants_own_up_to_the_max_and_else_the_default() {
    let tenant = acme("{environments: {prod: {quota: {cpu: \"8\"}}}}").unwrap();
    let quota = &tenant.environments[2].quota;
    assert_eq!((quota.cpu.0.as_str(), quota.memory.0.as_str(), quota.pods), ("8", "4Gi", 20));
    assert!(acme("{environments: {prod: {quota: {cpu: 16000m, memory: 32768Mi}}}}").is_ok());
}

#[test]
fn the_environments_role_map_decides_there_and_nowhere_else() {
    let tenant = acme("{members: [{kind: Group, name: devs, role: developer}]}").unwrap();
    let role = |members: &[Subject]| members[0].role;
    assert_eq!(role(&tenant.members), Role::Developer);
    assert_eq!(role(&tenant.environments[0].members), Role::Developer);
    assert_eq!(role(&tenant.environments[2].members), Role::Viewer);
}

#[test]
fn an_environment_that_is_not_valid_is_held_and_the_rest_goes_on() {
    let tenant = acme("{environments: {broken: {}}}").unwrap();
    assert_eq!(tenant.environments.len(), 3);
    assert_eq!(tenant.held[0].namespace, "acme-broken");
}

#[test]
fn an_environment_that_is_gone_is_told_and_held_and_the_rest_goes_on() {
    let spec = "{environments: {old: {}, tset: {omit: true}}, services: [{name: a, repository: {url: \
                https://git.example.com/a}, runtime: camel, branches: {prd: main}}]}";
    let mut tenant = Tenant::new("acme", serde_saphyr::from_str(spec).unwrap());
    tenant.status = serde_saphyr::from_str(
        "{environments: [{name: old, namespace: acme-old, promotesFrom: test}], problems: [], conditions: []}",
    )
    .unwrap();
    let valid = validate(&tenant, &environments()).unwrap();
    assert_eq!((valid.environments.len(), valid.services.len()), (3, 1));
    let old =
        Held { environment: "old".into(), namespace: "acme-old".into(), promotes_from: Some("test".into()) };
    assert_eq!(valid.held, [old]);
    let told: Vec<_> = valid.unknown.iter().map(ToString::to_string).collect();
    let there = "only broken, dev, lab, prod, test";
    assert_eq!(
        told,
        [
            format!("spec.environments.old: there is no Environment \"old\", {there}"),
            format!("spec.environments.tset: there is no Environment \"tset\", {there}"),
            format!("spec.services[0].branches.prd: there is no Environment \"prd\", {there}"),
        ]
    );
    tenant.spec.members = serde_saphyr::from_str("[{kind: User, name: '', role: owner}]").unwrap();
    assert_eq!(validate(&tenant, &environments()).unwrap_err().0.len(), 4, "one answer with all of it");
}

#[test]
fn a_tenant_that_leaves_out_every_environment_is_told_that_nothing_can_run() {
    let all = "dev: {omit: true}, test: {omit: true}, prod: {omit: true}";
    let told = |environments: &str| {
        let valid = acme(&format!("{{environments: {{{environments}}}}}")).unwrap();
        valid.unknown.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(
        told(all),
        [
            "spec.environments: every environment is left out, so nothing can run: take `omit: true` away from one of dev, prod, test, or remove the file if the tenant is to go"
        ]
    );
    for fine in [
        "dev: {omit: true}, prod: {omit: true}",
        &format!("{all}, lab: {{}}"),
        &format!("{all}, broken: {{}}"),
    ] {
        assert_eq!(told(fine), [""; 0], "{fine}");
    }
    let spec: TenantSpec = serde_saphyr::from_str("{environments: {lab: {omit: true}}}").unwrap();
    let lab = Environment::new("lab", EnvironmentSpec::default());
    let valid = validate(&Tenant::new("acme", spec), &check(&[lab])).unwrap();
    assert_eq!(valid.unknown, [], "no tenant is in it unless it says so");
}

#[test]
fn every_problem_names_its_field_and_the_way_out() {
    let repository = "repository: {url: https://git.example.com/a}, runtime: camel";
    for (spec, wanted) in [
        (
            format!(
                "{{services: [{{name: a, {repository}, exportTo: [{{tenant: beta, service: b}}, {{tenant: acme, service: b}}]}}]}}"
            ),
            "spec.services[0].exportTo[1].tenant: \"acme\" is this tenant, whose services may call it anyway: remove the entry",
        ),
        (
            "{environments: {dev: {quota: {memory: lots}}}}".to_owned(),
            "spec.environments.dev.quota.memory: \"lots\" is no amount above zero: write it like 512Mi or 16Gi",
        ),
        (
            "{members: [{kind: User, name: jo, role: owner}, {kind: User, name: jo, role: viewer}]}"
                .to_owned(),
            "spec.members[1].name: \"jo\" is listed twice: keep the line with the role that is meant",
        ),
        (
            "{members: [{kind: Group, name: 'system:masters', role: owner}]}".to_owned(),
            "spec.members[0].name: \"system:masters\" is a system identity or empty",
        ),
        (
            "{members: [{kind: User, name: 'system:serviceaccount:ci:builder', role: viewer}]}".to_owned(),
            "spec.members[0].name: \"system:serviceaccount:ci:builder\" is a system identity: write kind ServiceAccount, name builder, namespace ci",
        ),
        (
            "{members: [{kind: Group, name: 'system:serviceaccounts:ci', role: viewer}]}".to_owned(),
            "spec.members[0].name: \"system:serviceaccounts:ci\" is a system identity or empty",
        ),
        (
            "{members: [{kind: User, name: \"jo\\u2060\", role: owner}]}".to_owned(),
            "spec.members[0].name: \"jo\\u{2060}\" holds the invisible character or odd space U+2060: type the name anew",
        ),
        (
            "{members: [{kind: Group, name: \"acme\\u00A0leads\", role: owner}]}".to_owned(),
            "spec.members[0].name: \"acme\\u{a0}leads\" holds the invisible character or odd space U+00A0: type the name anew",
        ),
        (
            "{members: [{kind: Group, name: 'acme leads ', role: owner}]}".to_owned(),
            "spec.members[0].name: \"acme leads \" begins or ends with a space: leave it out",
        ),
        (
            "{members: [{kind: ServiceAccount, name: default, namespace: kube-system, role: owner}]}"
                .to_owned(),
            "spec.members[0].namespace: \"kube-system\" is the cluster's own: its accounts are system identities",
        ),
        (
            "{members: [{kind: ServiceAccount, name: ci, role: developer}]}".to_owned(),
            "spec.members[0].namespace: a ServiceAccount is in a namespace: write `namespace: …` beside its name",
        ),
        (
            "{members: [{kind: ServiceAccount, name: 'a b', namespace: ci, role: viewer}]}".to_owned(),
            "spec.members[0].name: \"a b\" is no name of a ServiceAccount: write lower-case letters, digits, `-` and `.`",
        ),
        (
            format!("{{services: [{{name: a, {repository}}}, {{name: a, {repository}}}]}}"),
            "spec.services[1].name: \"a\" is listed twice",
        ),
        (
            format!("{{services: [{{name: a-canary, {repository}}}]}}"),
            "spec.services[0].name: \"a-canary\" must not end in -canary, -stable or -preview: these names are the operator's",
        ),
        (
            format!("{{services: [{{name: keda-hpa-orders, {repository}}}]}}"),
            "spec.services[0].name: \"keda-hpa-orders\" must not begin with keda-hpa-: these names are of the autoscalers that KEDA makes",
        ),
    ] {
        assert_eq!(acme(&spec).unwrap_err().to_string(), wanted, "{spec}");
    }
}

#[test]
fn reserved_and_impossible_names_are_refused() {
    let long = "a".repeat(51);
    for name in [
        "kube-system",
        "kube",
        "imaas-x",
        "imaas",
        "default",
        "openshift",
        "openshift-x",
        "platform",
        "Acme",
        "a.b",
        "-a",
        "a-",
        "",
        &long,
    ] {
        assert!(named(name, "{}").is_err(), "{name:?}");
    }
    assert!(named("kubernetes", "{}").is_ok() && named("platform-x", "{}").is_ok());
}

fn spaces(name: &str, environment: &str) -> Option<Vec<String>> {
    let list = [Environment::new(environment, EnvironmentSpec { default: true, ..Default::default() })];
    let valid = validate(&Tenant::new(name, TenantSpec::default()), &check(&list)).ok()?;
    let spaces = valid.environments.iter().map(|space| space.namespace.clone());
    Some(spaces.chain([crate::names::home_namespace(&valid.name)]).collect())
}

proptest! {
    /// Whatever names are asked for: two tenants that are accepted share no namespace.
    #[test]
    fn two_valid_tenants_share_no_namespace(
        a in "[a-c-]{1,6}", b in "[a-c-]{1,6}",
        x in "([a-c-]{1,4}|home)", y in "([a-c-]{1,4}|home)",
    ) {
        prop_assume!(a != b);
        if let (Some(one), Some(other)) = (spaces(&a, &x), spaces(&b, &y)) {
            prop_assert!(one.iter().all(|namespace| !other.contains(namespace)), "{one:?} {other:?}");
        }
    }
}
