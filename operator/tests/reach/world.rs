//! Tenants chosen to be mistaken for each other, in the chart's own environments, and the policies that our pure code makes for
//! them: the same steps that the operator goes, without a cluster.

use std::collections::BTreeMap;

use imaas_operator::{
    api::{
        Cause, DescriptorSpec, Environment, Export, IntegrationRuntime, Port, Release, ServiceDescriptor,
        Tenant,
    },
    environment::{Checked, Placement, check},
    names::environment_namespace,
    registry::{
        accounts::AccountKey,
        generations::{Generations, Issued},
    },
    release::{self, Footprint, Input, Outside, Target, render},
    service::uses::{Around, Asker, reach},
    tenant::{
        desired::{DockerConfigs, Operator},
        validate::{ValidTenant, validate},
    },
    yaml,
};
use k8s_openapi::api::networking::v1::NetworkPolicy;

/// Fifty characters, as the other; with `-acceptance01` a namespace of 63.
pub const NORTH: &str = "integration-services-of-the-northern-region-team-a";
pub const SOUTH: &str = "integration-services-of-the-northern-region-team-b";

/// Values of the chart: two of its stages, and one with the longest name.
pub const VALUES: &str = "
registry: {host: registry.example.com, auth: {realm: 'https://registry.example.com/token'}}
cluster: {cidrs: [10.244.0.0/16, 192.0.2.0/24]}
environments:
  specs:
    test: null
    dev:
      networks: [{name: erp, cidrs: [10.20.0.0/16], ports: [443]}]
      domain: dev.example.com
      gateway: {name: public, namespace: gateway-system, pods: {namespace: gateway-system, labels: {app: gateway}}}
      monitoring: {namespace: monitoring, labels: {app: prometheus}}
    prod: {promotesFrom: dev, monitoring: {namespace: monitoring, labels: {app: prometheus}}}
    acceptance01: {}
";

/// `a-b` with `c` and `a` with `b-c` are the same letters; of what `a` exports, to services that there are and that there are not, one
/// is used, and only in dev.
fn tenants() -> Vec<Tenant> {
    let long = |name: &str, services: &str| {
        format!(
            "{{name: {name}}}\nspec:\n  environments: {{dev: {{omit: true}}, prod: {{omit: true}}, acceptance01: {{}}}}\n  services:\n{services}"
        )
    };
    let service = |name: &str, runtime: &str, more: &str| {
        format!(
            "    - {{name: {name}, runtime: {runtime}, repository: {{url: 'https://git.example.com/x'}}{more}}}\n"
        )
    };
    let files = [
        format!(
            "{{name: a-b}}\nspec:\n  services:\n{}{}",
            service("c", "camel", ""),
            service("d", "container", "")
        ),
        format!(
            "{{name: a}}\nspec:\n  services:\n{}{}",
            service(
                "b-c",
                "camel",
                &format!(
                    ", exportTo: [{{tenant: a-b, service: c}}, {{tenant: {NORTH}, service: s}}, {{tenant: a-b, service: none}}]"
                )
            ),
            service("e", "container", ", exportTo: [{tenant: a-b, service: c}]")
        ),
        long(NORTH, &service("s", "camel", &format!(", exportTo: [{{tenant: {SOUTH}, service: s}}]"))),
        long(SOUTH, &service("s", "camel", "")),
    ];
    let read = |text: &String| {
        let text = format!("apiVersion: imaas.dev/v1alpha1\nkind: Tenant\nmetadata: {text}");
        yaml::tenant(text.as_bytes()).unwrap()
    };
    files.iter().map(read).collect()
}

/// What each service says of itself. `d` asks for what `a` does not export to it, `s` of the south for what the north does;
/// the ports of `a-b`'s `c` are those of its runtime, which also has one for management.
fn descriptor(tenant: &str, service: &str) -> ServiceDescriptor {
    let text = match (tenant, service) {
        ("a-b", "c") => "uses: [{tenant: a, service: b-c, as: BC_URL}]\nenvironments: {prod: {uses: []}}".to_owned(),
        ("a-b", "d") => {
            "type: worker\nuses: [{tenant: a, service: b-c, as: BC_URL}]\nenvironments: {dev: {connects: [erp]}}".to_owned()
        }
        ("a", "b-c") => {
            "ports: [{name: http, port: 8080}, {name: rpc, port: 9000}]\nexpose: {path: /b-c, port: rpc}".to_owned()
        }
        ("a", "e") => "ports: [{name: http, port: 8080}]".to_owned(),
        (SOUTH, "s") => format!("uses: [{{tenant: {NORTH}, service: s, as: NORTH_URL}}]"),
        _ => String::new(),
    };
    let text = format!("apiVersion: imaas.dev/v1alpha1\nkind: ServiceDescriptor\n{text}\n");
    yaml::descriptor(text.as_bytes()).unwrap()
}

/// The pods of one service in one environment.
#[derive(Clone, Debug)]
pub struct Workload {
    pub tenant: String,
    pub service: String,
    pub environment: String,
    pub release: Release,
}

/// Everything that runs, and every policy of it.
pub struct World {
    pub workloads: Vec<Workload>,
    /// Of the tenants, homes among them.
    pub namespaces: Vec<(String, BTreeMap<String, String>)>,
    pub policies: Vec<NetworkPolicy>,
}

impl World {
    /// `manifests`: what the chart installs.
    pub fn new(manifests: &str) -> Self {
        let (stages, runtimes) = platform(manifests);
        let checked = check(&stages);
        let tenants: Vec<_> = tenants().iter().map(|tenant| validate(tenant, &checked).unwrap()).collect();
        let mut world = Self { workloads: Vec::new(), namespaces: Vec::new(), policies: Vec::new() };
        for tenant in &tenants {
            world.space(tenant);
            world.releases(tenant, &stages, &runtimes);
        }
        let exports = exports(&tenants);
        let around = Known { workloads: &world.workloads, exports: &exports };
        let of_services: Vec<_> =
            world.workloads.iter().flat_map(|one| policies(one, &stages, &around)).collect();
        world.policies.extend(of_services);
        world
    }

    /// The namespaces of a tenant, and what holds in them whatever runs there.
    fn space(&mut self, tenant: &ValidTenant) {
        let operator = Operator { namespace: "imaas-system", service_account: "imaas-operator" };
        let issued = Issued { key: AccountKey::new([7; 32]).unwrap(), generations: Generations::default() };
        let logins = DockerConfigs::new(&issued, "registry.example.com", &tenant.name).unwrap();
        for space in imaas_operator::tenant::desired::desired(tenant, &operator, &logins) {
            let mut labels = space.access.namespace.metadata.labels.unwrap();
            let name = space.access.namespace.metadata.name.unwrap();
            // As the API server does.
            labels.insert("kubernetes.io/metadata.name".to_owned(), name.clone());
            self.namespaces.push((name, labels));
            self.policies.extend(space.networks);
        }
    }

    /// As if everything had once been exported to whoever uses it: a release outlives the export.
    fn releases(&mut self, tenant: &ValidTenant, stages: &[Environment], runtimes: &[IntegrationRuntime]) {
        for space in &tenant.environments {
            for service in &tenant.services {
                let descriptor = descriptor(&tenant.name, &service.name);
                let settings = yaml::settings(&descriptor, &space.environment).unwrap();
                let release = release(
                    (&tenant.name, &service.name),
                    &settings,
                    &Platform {
                        environment: stage(stages, &space.environment),
                        runtime: runtimes
                            .iter()
                            .find(|one| one.metadata.name.as_ref() == Some(&service.spec.runtime))
                            .unwrap(),
                    },
                );
                self.workloads.push(Workload {
                    tenant: tenant.name.clone(),
                    service: service.name.clone(),
                    environment: space.environment.clone(),
                    release,
                });
            }
        }
    }
}

fn release((tenant, service): (&str, &str), settings: &DescriptorSpec, around: &Platform<'_>) -> Release {
    let called = vec![Port { name: "http".to_owned(), port: 8080 }; settings.uses.len()];
    let environment = around.environment.metadata.name.as_deref().unwrap();
    let input = Input {
        tenant,
        service,
        environment,
        settings,
        runtime: around.runtime,
        networks: &around.environment.spec.networks,
        sources: None,
        placement: &Placement::default(),
        called: &called,
        image_repository: &format!("registry.example.com/{tenant}/{service}"),
        digest: &format!("sha256:{}", "4f2a".repeat(16)),
        config: None,
        commit: "c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00",
        build_id: "b1d",
        cause: Cause::Commit,
    };
    render(&input).unwrap().release
}

/// What a release is rendered beside.
struct Platform<'a> {
    environment: &'a Environment,
    runtime: &'a IntegrationRuntime,
}

/// What runs and who exports to whom.
struct Known<'a> {
    workloads: &'a [Workload],
    exports: &'a BTreeMap<(String, String), Vec<Export>>,
}

impl Around for Known<'_> {
    fn exports(&self, tenant: &str, service: &str) -> Option<Vec<Export>> {
        self.exports.get(&(tenant.to_owned(), service.to_owned())).cloned()
    }

    fn running(&self, tenant: &str, service: &str, environment: &str) -> Vec<Footprint> {
        let is_it = |one: &&Workload| {
            one.tenant == tenant && one.service == service && one.environment == environment
        };
        self.workloads.iter().filter(is_it).map(|one| Footprint::of(&one.release)).collect()
    }
}

fn exports(tenants: &[ValidTenant]) -> BTreeMap<(String, String), Vec<Export>> {
    let of = |tenant: &ValidTenant| {
        let name = tenant.name.clone();
        let services = tenant.services.clone().into_iter();
        services.map(move |service| ((name.clone(), service.name), service.spec.export_to))
    };
    tenants.iter().flat_map(of).collect()
}

fn policies(one: &Workload, stages: &[Environment], around: &Known<'_>) -> Vec<NetworkPolicy> {
    let Workload { tenant, service, environment, release } = one;
    let reach = reach(Asker { tenant, service, environment }, release, around);
    let spec = &stage(stages, environment).spec;
    let outside = Outside::of(spec, "imaas-system");
    let networks = &spec.networks;
    let target = Target { tenant, release, config: None, networks, reach: &reach, outside: &outside };
    release::desired(&target, &[Footprint::of(release)], None).network_policies
}

fn stage<'a>(stages: &'a [Environment], name: &str) -> &'a Environment {
    stages.iter().find(|stage| stage.metadata.name.as_deref() == Some(name)).unwrap()
}

/// The environments and runtimes among what the chart installs.
fn platform(manifests: &str) -> (Vec<Environment>, Vec<IntegrationRuntime>) {
    let documents: Vec<serde_json::Value> = serde_saphyr::from_multiple(manifests).unwrap();
    let of_kind =
        |kind: &str| documents.iter().filter(|one| one["kind"] == kind).cloned().collect::<Vec<_>>();
    let read = |value| serde_json::from_value(value).unwrap();
    let runtimes =
        of_kind("IntegrationRuntime").into_iter().map(|value| serde_json::from_value(value).unwrap());
    (of_kind("Environment").into_iter().map(read).collect(), runtimes.collect())
}

impl Workload {
    pub fn namespace(&self) -> String {
        environment_namespace(&self.tenant, &self.environment)
    }

    /// Of its pods.
    pub fn labels(&self) -> BTreeMap<String, String> {
        self.release.spec.template.metadata.clone().unwrap().labels.unwrap()
    }
}

/// Are the environments those that the chart means?
pub fn are_valid(manifests: &str) -> Checked {
    check(&platform(manifests).0)
}
