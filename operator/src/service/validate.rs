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
            sleep: tenant.sleep(&stage.name).or(defined.spec.sleep.as_ref()).cloned(),
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
mod tests;
