//! Limits of single tenants, as the program sees them in a tenants repository.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use serde_json::Value;
use support::{Repository, root};

const TENANT: &str = "apiVersion: imaas.dev/v1alpha1
kind: Tenant
metadata: {name: acme}
spec:
  environments:
    prod: {quota: {cpu: 40}}
";
const LIMITS: &str = "apiVersion: imaas.dev/v1alpha1
kind: TenantLimits
metadata: {name: acme}
spec:
  environments: {prod: {max: {cpu: 64}}}
";

/// A tenant that has more than others, on `main` and at its origin.
fn central() -> Repository {
    let repository = Repository::new();
    std::fs::copy(root().join("tenants/platform.yaml"), repository.path("platform.yaml")).unwrap();
    repository.write("tenants/acme.yaml", TENANT);
    repository.write("limits/acme.yaml", LIMITS);
    repository.commit("acme and its limits");
    repository.git(&["push", "--quiet", "--set-upstream", "origin", "main"]);
    repository.git(&["switch", "--quiet", "--create", "change"]);
    repository
}

/// `file:line:column: field: message` of every problem.
fn problems(repository: &Repository, path: &str) -> Vec<String> {
    let told = repository.run(&["validate", path, "--output", "json"]);
    let report: Value = serde_json::from_str(&told.stdout).unwrap();
    let text = |one: &Value, field: &str| one[field].as_str().unwrap().to_owned();
    let problem = |one: &Value| {
        let place = format!("{}:{}:{}", text(one, "file"), one["line"], one["column"]);
        format!("{place}: {}: {}", text(one, "field"), text(one, "message"))
    };
    let problems: Vec<_> = report["problems"].as_array().unwrap().iter().map(problem).collect();
    assert_eq!(told.status, Some(i32::from(!problems.is_empty())));
    problems
}

#[test]
fn a_tenant_file_is_checked_beside_its_limits_wherever_one_begins() {
    let repository = central();
    for path in [".", "tenants", "tenants/acme.yaml", "limits/acme.yaml"] {
        assert_eq!(problems(&repository, path), [""; 0], "{path}");
    }
    repository.write("limits/acme.yaml", &LIMITS.replace("64", "39"));
    let expected = "tenants/acme.yaml:6:25: spec.environments.prod.quota.cpu: 40 is more than 39, the most that the platform team gives this tenant in prod: ask for less, or ask the platform team";
    for path in [".", "tenants", "tenants/acme.yaml", "limits/acme.yaml"] {
        assert_eq!(problems(&repository, path), [expected], "{path}");
    }
    repository.write("limits/acme.yaml", &LIMITS.replace("max:", "mx:"));
    let quoted = repository.run(&["validate"]).expect_status(1).stdout;
    assert!(
        quoted.contains("limits/acme.yaml:5:25") && quoted.contains("{prod: {mx: {cpu: 64}}}"),
        "{quoted}"
    );
    repository.write("limits/acme.yaml", &format!("{LIMITS}  registry: {{storage: 500Gi}}\n"));
    repository.write("tenants/acme.yaml", &format!("{TENANT}  registry: {{storage: 600Gi}}\n"));
    assert_eq!(
        problems(&repository, "."),
        [
            "tenants/acme.yaml:7:23: spec.registry.storage: 600Gi is more than 500Gi, the most that the platform team gives this tenant: ask for less, or ask the platform team"
        ]
    );
    repository.write("tenants/acme.yaml", TENANT);
    repository.write("limits/acme.yaml", &format!("{LIMITS}  total: {{cpu: 43}}\n"));
    assert_eq!(
        problems(&repository, "."),
        [
            "tenants/acme.yaml:6:5: spec.environments: cpu of all environments is dev 2 + test 2 + prod 40 = 44, more than 43, this tenant's total: ask for less, or ask the platform team"
        ]
    );
    repository.write("tenants/acme.yaml", &format!("{TENANT}  limits: {{}}\n"));
    let own = &problems(&repository, "tenants/acme.yaml")[1];
    assert!(own.starts_with("tenants/acme.yaml:7:3: spec.limits: stands in limits/<tenant>.yaml"), "{own}");
}

#[test]
fn a_plan_shows_what_changes_of_limits_and_what_they_hold() {
    let repository = central();
    // Columns are as wide as what stands in them.
    let plan = |status: i32| {
        let told = repository.run(&["plan"]).expect_status(status).stdout;
        told.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert!(plan(0).contains("Nothing changes (1 tenant)"));
    repository.write(
        "limits/acme.yaml",
        &format!(
            "{}  total: {{cpu: 80, pods: 500}}\n  registry: {{storage: 500Gi}}\n",
            LIMITS.replace("64", "72")
        ),
    );
    let raised = plan(0);
    for line in [
        "~ tenant acme: changes",
        "~ limit prod cpu 64 → 72",
        "+ limit in all cpu 80, pods 500",
        "+ limit in the registry storage 500Gi",
    ] {
        assert!(raised.contains(line), "{line}: {raised}");
    }
    repository.write("limits/acme.yaml", &LIMITS.replace("64", "4x"));
    let held = plan(1);
    assert!(held.contains("! tenant acme") && held.contains("limits/acme.yaml:5:36"), "{held}");

    std::fs::remove_file(repository.path("limits/acme.yaml")).unwrap();
    assert!(plan(1).contains("40 is more than 32, the most that Environment prod gives"));
    repository.write("tenants/acme.yaml", &TENANT.replace("40", "32"));
    let lowered = plan(0);
    for line in ["~ namespace acme-prod cpu 40 → 32", "- limit prod goes at once"] {
        assert!(lowered.contains(line), "{line}: {lowered}");
    }
}

#[test]
fn limits_of_nobody_are_told() {
    let repository = central();
    repository.git(&["rm", "--quiet", "tenants/acme.yaml"]);
    let expected = "limits/acme.yaml: there is no tenant file acme.yaml, so these limits are nobody's: remove them or name them for a tenant";
    for command in ["validate", "plan"] {
        let told = repository.run(&[command]).stdout;
        assert!(told.contains(expected), "{told}");
    }
}

#[test]
fn the_schema_is_that_of_the_sample() {
    let repository = Repository::new();
    let schema = repository.run(&["schema", "limits"]).expect_status(0).stdout;
    assert_eq!(
        schema.trim(),
        std::fs::read_to_string(root().join("schemas/limits.schema.json")).unwrap().trim()
    );
    let sample = support::run(&root().join("tenants"), &["validate"]).expect_status(0).stdout;
    assert!(sample.contains("no problems"), "{sample}");
}
