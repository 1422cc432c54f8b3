use super::*;
use crate::{
    api::{Environment, Tenant},
    environment,
    git::UrlPolicy,
    source::{
        check::{Checked, Surroundings, check},
        parse::{Parsed, parse},
        plan::{Before, plan},
    },
};

const ENVIRONMENTS: &str = "
- {apiVersion: imaas.dev/v1alpha1, kind: Environment, metadata: {name: dev}, spec: {default: true, quota: {default: {cpu: 2}}}}
- {apiVersion: imaas.dev/v1alpha1, kind: Environment, metadata: {name: prod}, spec: {default: true, quota: {default: {cpu: 4}, max: {cpu: 8}}}}
";
const ACME: &str = "apiVersion: imaas.dev/v1alpha1
kind: Tenant
metadata: {name: acme}
spec:
  environments:
    prod: {quota: {cpu: 16}}
";

fn limits(spec: &str) -> String {
    format!("apiVersion: imaas.dev/v1alpha1\nkind: TenantLimits\nmetadata: {{name: acme}}\nspec:\n{spec}")
}

const RAISED: &str = "  environments: {prod: {max: {cpu: 16}}}\n";

fn files(texts: &[(&str, &str)]) -> Files {
    let regular = texts.iter().map(|(file, text)| {
        let source = SourceFile { blob: (*text).to_owned(), content: text.as_bytes().to_vec() };
        ((*file).to_owned(), source)
    });
    Files { regular: regular.collect(), ..Files::default() }
}

fn parsed(tenants: &[(&str, &str)], limits: &[(&str, &str)], before: &Parsed) -> Parsed {
    parse(&Files { limits: Some(Box::new(files(limits))), ..files(tenants) }, before)
}

fn checked(tenants: &[(&str, &str)], limits: &[(&str, &str)]) -> Checked {
    let environments: Vec<Environment> = serde_saphyr::from_str(ENVIRONMENTS).unwrap();
    let surroundings = Surroundings {
        directory: "in/tenants",
        environments: &environment::check(&environments),
        runtimes: Vec::new(),
        urls: &UrlPolicy::default(),
    };
    check(&parsed(tenants, limits, &Parsed::default()), &surroundings)
}

fn told(checked: &Checked) -> Vec<String> {
    checked.problems().into_iter().map(ToString::to_string).collect()
}

#[test]
fn limits_reach_the_tenant_whose_name_they_bear() {
    let alone = checked(&[("acme.yaml", ACME)], &[]);
    assert_eq!(
        told(&alone),
        [
            "in/tenants/acme.yaml:6:25: spec.environments.prod.quota.cpu: 16 is more than 8, the most that Environment prod gives: ask for less, or ask the platform team"
        ]
    );
    let raised =
        checked(&[("acme.yaml", ACME)], &[("acme.yaml", &limits(RAISED)), ("README.md", "# Limits")]);
    assert_eq!(told(&raised), [""; 0]);
    let plan = plan(&Before::new("central", &[]), &raised);
    let written = plan.apply[0].spec.limits.as_ref().unwrap();
    assert_eq!(written.environments["prod"].max.cpu.as_ref().unwrap().0, "16");
}

#[test]
fn wrong_limits_are_told_with_their_place_and_the_tenant_keeps_what_it_has() {
    for (text, expected) in [
        (
            limits("  quota: {cpu: 16}\n"),
            "in/limits/acme.yaml:5:3: spec.quota: unknown field, accepted here are environments, registry, total",
        ),
        (
            limits("  environments: {prod: {max: {cpu: lots}}}\n"),
            "in/limits/acme.yaml:5:36: spec.environments.prod.max.cpu: \"lots\" is not a quantity such as 8 or 250m",
        ),
        (
            limits("  environments: {prod: {max: {cpu: 16}}, prd: {}}\n"),
            "in/limits/acme.yaml:5:47: spec.environments.prd: there is no Environment \"prd\", only dev, prod",
        ),
        (
            limits("  environments: {prod: {max: {cpu: 16, memory: 0}}}\n"),
            "in/limits/acme.yaml:5:48: spec.environments.prod.max.memory: \"0\" is no amount above zero: write it like 512Mi or 16Gi",
        ),
        (
            limits(&format!("{RAISED}  total: {{memory: 64}}\n")),
            "in/limits/acme.yaml:6:19: spec.total.memory: 64 is 64 bytes; did you mean 64Mi?",
        ),
        (
            limits(&format!("{RAISED}  registry: {{storage: 0}}\n")),
            "in/limits/acme.yaml:6:23: spec.registry.storage: \"0\" is no amount above zero: write it like 500Gi",
        ),
        (
            limits(&format!("{RAISED}  registry: {{}}\n")),
            "in/limits/acme.yaml:6:13: spec.registry.storage: missing",
        ),
        (
            limits(RAISED).replace("name: acme", "name: beta"),
            "in/limits/acme.yaml:3:18: metadata.name: \"beta\" is not the file's name: write acme here, or rename the file to beta.yaml",
        ),
        (
            limits(RAISED).replace("TenantLimits", "Tenant"),
            "in/limits/acme.yaml:2:7: kind: must be TenantLimits",
        ),
        (
            limits(&format!("{RAISED}  total: {{cpu: 17}}\n")),
            "in/tenants/acme.yaml:6:5: spec.environments: cpu of all environments is dev 2 + prod 16 = 18, more than 17, this tenant's total: ask for less, or ask the platform team",
        ),
    ] {
        let checked = checked(&[("acme.yaml", ACME)], &[("acme.yaml", &text)]);
        assert_eq!(told(&checked), [expected], "{text}");
        let mut live = Tenant::new("acme", crate::api::TenantSpec::default());
        live.metadata.annotations = Some([("imaas.dev/origin".to_owned(), "central".to_owned())].into());
        let plan = plan(&Before::new("central", &[Arc::new(live)]), &checked);
        assert_eq!((plan.apply.len(), plan.broken.len(), plan.orphan.len()), (0, 1, 0), "{text}");
        assert_eq!(plan.broken[0].1, expected);
    }
}

#[test]
fn a_file_that_only_looks_like_limits_holds_its_tenant_too() {
    let checked = checked(&[("acme.yaml", ACME)], &[("acme.yml", &limits(RAISED))]);
    assert_eq!(
        told(&checked),
        [
            "in/limits/acme.yml: this ending is not read: the limits of tenant acme must be a regular file named acme.yaml"
        ]
    );
}

#[test]
fn limits_of_nobody_are_told_and_nothing_else() {
    let beta = ACME.replace("acme", "beta").replace("16", "8");
    let checked = checked(&[("beta.yaml", &beta)], &[("acme.yaml", &limits(RAISED))]);
    assert_eq!(
        told(&checked),
        [
            "in/limits/acme.yaml: there is no tenant file acme.yaml, so these limits are nobody's: remove them or name them for a tenant"
        ]
    );
    let mut live = Tenant::new("acme", crate::api::TenantSpec::default());
    live.metadata.annotations = Some([("imaas.dev/origin".to_owned(), "central".to_owned())].into());
    let plan = plan(&Before::new("central", &[Arc::new(live)]), &checked);
    assert_eq!((plan.apply.len(), plan.broken.len()), (1, 0));
    assert_eq!(plan.orphan, ["acme"], "its limits keep no tenant");
}

#[test]
fn what_changed_is_named_by_its_tenant() {
    let first = parsed(&[("acme.yaml", ACME)], &[("acme.yaml", &limits(RAISED))], &Parsed::default());
    let same = parsed(&[("acme.yaml", ACME)], &[("acme.yaml", &limits(RAISED))], &first);
    assert!(same.changed.is_empty(), "{:?}", same.changed);
    assert!(Arc::ptr_eq(&first.limits.files["acme"], &same.limits.files["acme"]), "not read again");
    for now in [&[][..], &[("acme.yaml", "")], &[("acme.yml", "")]] {
        let changed = parsed(&[("acme.yaml", ACME)], now, &first).changed;
        assert_eq!(changed.into_iter().collect::<Vec<_>>(), ["acme"], "{now:?}");
    }
}
