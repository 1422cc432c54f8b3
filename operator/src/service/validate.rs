//! An `IntegrationService` and what surrounds it in, a service in which nothing is missing out. Pure.

use std::{collections::BTreeMap, sync::Arc};

use kube::ResourceExt;

use super::{
    Problem,
    ending::{self, Ending},
    entry::Entry,
};
use crate::{
    api::{Environment, IntegrationService, Sleep, Tenant, tenant::TenantEnvironment},
    conditions::Reason,
    environment::{Placement, Proof, signers},
    git::{GitUrl, UrlPolicy},
    names,
    retirement::Periods,
};

/// One service that can be acted on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValidService {
    /// Its tenant.
    pub tenant: String,
    /// Its name.
    pub name: String,
    /// Where its repository is.
    pub url: GitUrl,
    /// Name of a Secret in the home namespace.
    pub credentials: Option<String>,
    /// What its images are called, without tag: `<registry>/<tenant>/<service>`.
    pub image: String,
    /// Directory in the repository; empty is the root.
    pub path: String,
    /// Name of an `IntegrationRuntime`.
    pub runtime: String,
    /// Where it runs, in promotion order.
    pub environments: Vec<ValidEnvironment>,
    /// Names of environments of the tenant that the platform does not define any more. What runs there is left alone.
    pub gone: Vec<String>,
    /// What is wrong with it and concerns none of `environments`.
    pub problems: Vec<Problem>,
    /// Git no longer has the service or its tenant.
    pub ending: Option<Ending>,
}

/// One environment of one service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ValidEnvironment {
    /// Name of the Environment.
    pub name: String,
    /// `<tenant>-<environment>`.
    pub namespace: String,
    /// Branch of the service's repository.
    pub branch: String,
    /// Where an image must have become healthy before, after omitted environments are passed over.
    pub promotes_from: Option<String>,
    /// What keeps anything new from running here.
    pub entry: Entry,
    /// What counts as healthy here.
    pub proof: Proof,
    /// Where instances run.
    pub placement: Placement,
    /// What runs here ends: the service, its tenant, or the tenant's stay here. It takes nothing new.
    pub ending: Option<Ending>,
    /// Digests, and build ids of images that nobody saw yet, that people let in, whatever they were in the environment before.
    pub bypasses: Vec<String>,
    /// Commits that people approved, each with its image.
    pub approved: Vec<(String, String)>,
    /// A gate, and the digest of an image that it let pass.
    pub passed: Vec<(String, String)>,
    /// When nothing runs here.
    pub sleep: Option<Sleep>,
    /// So many instances run, as somebody decided.
    pub scaled: Option<u16>,
}

impl ValidEnvironment {
    /// Which quota it is of which `field` is too small, and what helps.
    pub fn too_small(&self, field: &str) -> String {
        let Self { name, namespace, .. } = self;
        format!(
            "the quota {} of {namespace}: ask for less, or raise `spec.environments.{name}.quota.{field}` in the tenant file",
            names::LIMITS
        )
    }

    /// Gates that let `digest` pass.
    pub fn passes(&self, digest: &str) -> Vec<&str> {
        let of_image = self.passed.iter().filter(|(_, image)| image == digest);
        of_image.map(|(gate, _)| gate.as_str()).collect()
    }
}

impl ValidService {
    /// The home namespace.
    pub fn home(&self) -> String {
        names::home_namespace(&self.tenant)
    }

    /// The service where it takes what is new: without the environments in which it ends.
    #[must_use]
    pub fn lasting(&self) -> Self {
        let mut service = self.clone();
        service.environments.retain(|environment| environment.ending.is_none());
        service
    }
}

/// What is needed besides the service.
#[derive(Clone, Copy, Debug)]
pub struct Surroundings<'a> {
    /// The tenant of the home namespace.
    pub tenant: Option<&'a Tenant>,
    /// Every Environment there is.
    pub environments: &'a BTreeMap<String, Arc<Environment>>,
    /// How long the stages of an end last.
    pub periods: &'a Periods,
    /// Which repositories may be read.
    pub urls: &'a UrlPolicy,
    /// The registry's host, as in images.
    pub registry: &'a str,
}

/// Checks `service`. A missing runtime is no problem here: it stops new releases and not what runs.
pub fn validate(service: &IntegrationService, around: Surroundings<'_>) -> Result<ValidService, Problem> {
    let namespace = service.namespace().unwrap_or_default();
    let Some(tenant_name) = names::tenant_of_home(&namespace) else {
        return Err(Problem::new(
            Reason::Invalid,
            format!("namespace {namespace} is not a tenant's home: put the service into <tenant>-home"),
        ));
    };
    let tenant = around.tenant.filter(|tenant| tenant.name_any() == tenant_name).ok_or_else(|| {
        Problem::new(
            Reason::TenantNotReady,
            format!("there is no Tenant {tenant_name}: add its file or apply it"),
        )
    })?;
    if tenant.spec.suspend {
        let message = format!(
            "the tenant {tenant_name} is suspended: nothing of it is changed until `suspend` is taken from the Tenant; what runs goes on"
        );
        return Err(Problem::new(Reason::Suspended, message));
    }
    let url = GitUrl::parse(&service.spec.repository.url, around.urls).map_err(|error| {
        let reason = if error.is_refused_host() { Reason::HostRefused } else { Reason::Invalid };
        Problem::new(reason, format!("{}repository.{error}", place(service)))
    })?;
    let ending = ending::gravest([
        ending::of_tenant(tenant, around.periods),
        ending::of_service(service, around.periods),
    ]);
    let environments = environments(service, tenant, (around.environments, ending.as_ref()))?;
    let gone = listed(tenant).iter().map(|stage| stage.name.clone());
    let gone: Vec<_> = gone.filter(|name| !around.environments.contains_key(name)).collect();
    Ok(ValidService {
        tenant: tenant_name.to_owned(),
        name: service.name_any(),
        url,
        credentials: service.spec.repository.credentials.clone(),
        image: format!("{}/{tenant_name}/{}", around.registry, service.name_any()),
        path: service.spec.path.clone().unwrap_or_default(),
        runtime: service.spec.runtime.clone(),
        environments,
        problems: problems(service, around.environments, &gone),
        gone,
        ending,
    })
}

/// What stands before a field where its author finds it: a service is an entry of the tenant file, or was applied by
/// hand.
fn place(service: &IntegrationService) -> String {
    if service.labels().get(names::MANAGED_BY).map(String::as_str) == Some(names::MANAGER) {
        format!("service {} in the tenant file: ", service.name_any())
    } else {
        "spec.".to_owned()
    }
}

/// Those of the tenant's status: its namespaces are there.
fn environments(
    service: &IntegrationService,
    tenant: &Tenant,
    (known, ending): (&BTreeMap<String, Arc<Environment>>, Option<&Ending>),
) -> Result<Vec<ValidEnvironment>, Problem> {
    let listed = listed(tenant);
    if listed.is_empty() {
        let message = format!("the namespaces of the tenant {} are not there yet", tenant.name_any());
        return Err(Problem::new(Reason::TenantNotReady, message));
    }
    let environment = |stage: &TenantEnvironment| {
        let defined = known.get(&stage.name)?;
        let branch =
            service.spec.branches.get(&stage.name).or(defined.spec.branch.as_ref()).unwrap_or(&stage.name);
        Some(ValidEnvironment {
            name: stage.name.clone(),
            namespace: stage.namespace.clone(),
            branch: branch.clone(),
            promotes_from: stage.promotes_from.clone(),
            entry: Entry {
                frozen: defined.spec.freeze,
                approval: defined.spec.approval,
                windows: defined.spec.windows.clone(),
                signers: signers(&defined.spec).0,
            },
            proof: Proof::valid(&defined.spec).0,
            placement: Placement::valid(&defined.spec).0,
            ending: ending::gravest([ending.cloned(), ending::of_environment(stage)]),
            sleep: tenant.spec.environments.get(&stage.name).and_then(|own| own.sleep.clone()),
            bypasses: vec![],
            approved: vec![],
            passed: vec![],
            scaled: None,
        })
    };
    Ok(listed.iter().filter_map(environment).collect())
}

fn listed(tenant: &Tenant) -> &[TenantEnvironment] {
    tenant.status.as_ref().map_or(&[], |status| &status.environments)
}

/// Environments that do not exist. They hold up no other: one that was deleted is named in the files of all tenants.
fn problems(
    service: &IntegrationService,
    known: &BTreeMap<String, Arc<Environment>>,
    gone: &[String],
) -> Vec<Problem> {
    let mistyped =
        service.spec.branches.keys().filter(|name| !known.contains_key(*name) && !gone.contains(name));
    let mistyped = mistyped.map(|name| {
        format!(
            "{}branches.{name}: there is no Environment {name:?}: correct the name or remove the line",
            place(service)
        )
    });
    let gone = gone.iter().map(|name| no_more(name));
    gone.chain(mistyped).map(|message| Problem::new(Reason::EnvironmentMissing, message)).collect()
}

/// Told of an environment that the platform deleted.
pub fn no_more(environment: &str) -> String {
    format!(
        "the Environment {environment} is gone: the platform deleted it; what runs there stays as it is until the platform makes it again or removes the namespace"
    )
}

#[cfg(test)]
mod tests {
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

        let gone =
            left.replace("{name: acme}", &format!("{{name: acme, {}}}", marks("2026-01-01T00:00:00Z")));
        let orphaned = "Orphaned 2026-01-02T00:00:00Z";
        assert_eq!(ends(SERVICE, &gone), [orphaned, orphaned, "Retiring 2026-03-03T00:00:00Z"]);
    }

    #[test]
    fn nothing_of_a_suspended_tenant_is_acted_on() {
        let problem = checked(SERVICE, &TENANT.replace("spec: {", "spec: {suspend: true, ")).unwrap_err();
        assert_eq!(problem.reason, Reason::Suspended);
    }
}
