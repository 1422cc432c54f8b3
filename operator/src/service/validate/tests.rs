use super::*;

const STAGES: &str = r"
- {apiVersion: imaas.dev/v1alpha1, kind: Environment, metadata: {name: dev}, spec: {default: true, branch: develop}}
- {apiVersion: imaas.dev/v1alpha1, kind: Environment, metadata: {name: test}, spec: {default: true, promotesFrom: dev}}
- {apiVersion: imaas.dev/v1alpha1, kind: Environment, metadata: {name: prod}, spec: {default: true, promotesFrom: test}}
";

const TENANT: &str = r"
apiVersion: imaas.dev/v1alpha1
kind: Tenant
metadata: {name: acme}
spec: {contact: integrations@acme.example}
status:
  environments:
    - {name: dev, namespace: acme-dev}
    - {name: prod, namespace: acme-prod, promotesFrom: dev}
";

const SERVICE: &str = r#"
apiVersion: imaas.dev/v1alpha1
kind: IntegrationService
metadata: {name: orders, namespace: acme-home}
spec:
  repository: {url: "https://git.example.com/acme/orders.git", credentials: orders-git}
  runtime: camel
  path: services/orders
  branches: {prod: release}
"#;

fn yaml<T: serde::de::DeserializeOwned>(text: &str) -> T {
    serde_saphyr::from_str(text).unwrap()
}

fn checked(service: &str, tenant: &str) -> Result<ValidService, Problem> {
    let environments: Vec<Environment> = yaml(STAGES);
    let environments = environments.into_iter().map(|e| (e.name_any(), Arc::new(e))).collect();
    let tenant: Tenant = yaml(tenant);
    let urls = UrlPolicy::default();
    validate(
        &yaml(service),
        Surroundings {
            tenant: Some(&tenant),
            environments: &environments,
            periods: &Periods::default(),
            urls: &urls,
            registry: "registry.example.com",
        },
    )
}

#[test]
fn the_branch_is_the_services_then_the_environments_then_its_name() {
    let service = checked(SERVICE, TENANT).unwrap();
    let branches: Vec<_> = service
        .environments
        .iter()
        .map(|e| (e.name.as_str(), e.branch.as_str(), e.namespace.as_str()))
        .collect();
    assert_eq!(branches, [("dev", "develop", "acme-dev"), ("prod", "release", "acme-prod")]);
    let own = checked(&SERVICE.replace("branches: {prod: release}", "branches: {}"), TENANT).unwrap();
    assert_eq!(own.environments[1].branch, "prod");
}

#[test]
fn a_tenants_hours_of_sleep_take_the_place_of_the_environments_also_where_they_are_none() {
    let hours = |windows: &str| format!("{{windows: [{windows}]}}");
    let (night, evening) =
        (hours("{schedule: 0 20 * * *, duration: 11h}"), hours("{schedule: 0 18 * * *, duration: 2h}"));
    let sleep = |platform: &str, own: &str| {
        let stages = STAGES.replace("branch: develop", &format!("branch: develop{platform}"));
        let environments: Vec<Environment> = yaml(&stages);
        let environments = environments.into_iter().map(|e| (e.name_any(), Arc::new(e))).collect();
        let tenant: Tenant = yaml(&TENANT.replace("{contact", &format!("{{{own}contact")));
        let (periods, urls) = (Periods::default(), UrlPolicy::default());
        let registry = "registry.example.com";
        let around = Surroundings {
            tenant: Some(&tenant),
            environments: &environments,
            periods: &periods,
            urls: &urls,
            registry,
        };
        let [dev, prod] = &validate(&yaml(SERVICE), around).unwrap().environments[..] else { panic!() };
        assert_eq!(prod.sleep, None);
        dev.sleep.clone()
    };
    let (of_platform, own) =
        (format!(", sleep: {night}"), |own: &str| format!("environments: {{dev: {{sleep: {own}}}}}, "));
    assert_eq!(sleep("", ""), None);
    assert_eq!(sleep(&of_platform, ""), Some(yaml(&night)));
    assert_eq!(sleep(&of_platform, &own(&evening)), Some(yaml(&evening)));
    assert_eq!(sleep(&of_platform, &own(&hours(""))), Some(yaml("{windows: []}")));
    assert_eq!(sleep("", &own(&evening)), Some(yaml(&evening)));
}

#[test]
fn an_omitted_environment_passes_its_place_along() {
    assert_eq!(checked(SERVICE, TENANT).unwrap().environments[1].promotes_from.as_deref(), Some("dev"));
}

#[test]
fn each_problem_names_what_to_change() {
    for (service, tenant, reason, words) in [
        (SERVICE.replace("acme-home", "acme-dev"), TENANT.to_owned(), Reason::Invalid, "<tenant>-home"),
        (SERVICE.replace("acme-home", "beta-home"), TENANT.to_owned(), Reason::TenantNotReady, "beta"),
        (
            SERVICE.to_owned(),
            TENANT[..TENANT.find("status").unwrap()].to_owned(),
            Reason::TenantNotReady,
            "acme",
        ),
        (SERVICE.replace("https:", "file:"), TENANT.to_owned(), Reason::Invalid, "spec.repository.url"),
        (
            SERVICE.replace("git.example.com", "169.254.169.254"),
            TENANT.to_owned(),
            Reason::HostRefused,
            "host",
        ),
        (
            SERVICE.replace("git.example.com", "git.example.com:22"),
            TENANT.to_owned(),
            Reason::HostRefused,
            "spec.repository.url: the port 22",
        ),
    ] {
        let problem = checked(&service, &tenant).unwrap_err();
        assert_eq!(problem.reason, reason, "{problem:?}");
        assert!(problem.message.contains(words), "{problem:?}");
    }
}

#[test]
fn a_service_of_a_tenant_file_names_its_fields_as_that_does() {
    let labels = "{name: orders, labels: {app.kubernetes.io/managed-by: imaas-operator}";
    let service = SERVICE.replace("{name: orders", labels);
    let message = |service: &str| match checked(service, TENANT) {
        Ok(mut service) => service.problems.remove(0).message,
        Err(problem) => problem.message,
    };
    assert_eq!(
        message(&service.replace("prod: release", "prd: release")),
        "service orders in the tenant file: branches.prd: there is no Environment \"prd\": correct the name or remove the line"
    );
    let url = message(&service.replace("https:", "file:"));
    assert!(url.starts_with("service orders in the tenant file: repository.url"), "{url}");
}

#[test]
fn an_environment_that_does_not_exist_is_told_and_holds_up_no_other() {
    let service = checked(&SERVICE.replace("prod: release", "prd: release"), TENANT).unwrap();
    let names = |service: &ValidService| -> Vec<String> {
        service.environments.iter().map(|e| e.name.clone()).collect()
    };
    assert_eq!((names(&service), service.gone.len()), (vec!["dev".to_owned(), "prod".to_owned()], 0));
    let [problem] = &service.problems[..] else { panic!("{:?}", service.problems) };
    assert_eq!(problem.reason, Reason::EnvironmentMissing);
    assert!(problem.message.starts_with("spec.branches.prd: "), "{problem:?}");

    // Deleted, while the tenant's namespaces of it are there and its file names it.
    let staging =
        TENANT.replace("- {name: prod", "- {name: staging, namespace: acme-staging}\n    - {name: prod");
    let service = checked(&SERVICE.replace("prod: release", "staging: release"), &staging).unwrap();
    assert_eq!(names(&service), ["dev", "prod"]);
    assert_eq!(service.gone, ["staging"]);
    let [problem] = &service.problems[..] else { panic!("{:?}", service.problems) };
    assert_eq!(problem.message, no_more("staging"), "and not that it is mistyped");
}

#[test]
fn each_environment_ends_as_the_gravest_of_what_it_is_part_of() {
    let marks = |since: &str| format!("annotations: {{imaas.dev/orphaned-since: {since}}}");
    let ends = |service: &str, tenant: &str| -> Vec<String> {
        let service = checked(service, tenant).unwrap();
        let told = |ending: &Option<Ending>| match ending {
            None => "serves".to_owned(),
            Some(ending) => format!("{:?} {}", ending.retirement.stage, ending.retirement.until),
        };
        let environments = service.environments.iter().map(|e| &e.ending);
        [&service.ending].into_iter().chain(environments).map(told).collect()
    };
    assert_eq!(ends(SERVICE, TENANT), ["serves", "serves", "serves"]);

    let left = "retirement: {stage: Retiring, until: 2026-03-03T00:00:00Z}}";
    let left = TENANT.replace("promotesFrom: dev}", &format!("promotesFrom: dev, {left}"));
    assert_eq!(ends(SERVICE, &left), ["serves", "serves", "Retiring 2026-03-03T00:00:00Z"]);

    let gone = left.replace("{name: acme}", &format!("{{name: acme, {}}}", marks("2026-01-01T00:00:00Z")));
    let orphaned = "Orphaned 2026-01-02T00:00:00Z";
    assert_eq!(ends(SERVICE, &gone), [orphaned, orphaned, "Retiring 2026-03-03T00:00:00Z"]);
}

#[test]
fn nothing_of_a_suspended_tenant_is_acted_on() {
    let problem = checked(SERVICE, &TENANT.replace("spec: {", "spec: {suspend: true, ")).unwrap_err();
    assert_eq!(problem.reason, Reason::Suspended);
}
