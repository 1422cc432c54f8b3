//! What the platform defines: YAML documents in, environments and runtimes out, with what is wrong with them. Pure.
//!
//! What is not known is not guessed: the checks that need it are left out, and that is told.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use imaas_operator::{
    api::{
        Environment, EnvironmentSpec, IntegrationRuntime, IntegrationRuntimeSpec, Port, Quantity, Quota,
        RuntimeProfile, Tenant,
        analysis::{Counts, Latency},
        environment::EnvironmentQuota,
        runtime::Metrics,
    },
    environment::{self, Problems},
    runtime,
    yaml::{self, Definitions, Origin},
};
use kube::ResourceExt;

use crate::check::{Lines, Told};

/// Environments and runtimes, as far as they are known.
#[derive(Clone, Debug, Default)]
pub struct Platform {
    /// All of them, or none: then the stages are not known.
    pub environments: Vec<Environment>,
    /// All of them, or none: then the engines are not known.
    pub runtimes: Vec<IntegrationRuntime>,
    /// Where this was read, such as `platform.yaml`.
    pub from: Option<String>,
    /// What is wrong with the form of the files.
    pub broken: Vec<Told>,
    /// Where each stands that was read of a file, by its kind and name.
    origins: BTreeMap<String, (Arc<File>, Origin)>,
}

#[derive(Debug)]
struct File {
    name: String,
    lines: Lines,
}

impl Platform {
    /// As the objects of a cluster say.
    pub fn of(environments: Vec<Environment>, runtimes: Vec<IntegrationRuntime>, from: &str) -> Self {
        Self { environments, runtimes, ..Self::read_from(from.to_owned()) }
    }

    /// Nothing yet, of what is read there.
    pub fn read_from(place: String) -> Self {
        Self { from: Some(place), ..Self::default() }
    }

    /// Adds the objects of one file: YAML documents, or a list as `kubectl get -o yaml` prints it. Other kinds are left out.
    pub fn add(&mut self, file: String, text: &[u8]) {
        let file = Arc::new(File { name: file, lines: Lines::of(text) });
        let Definitions { environments, runtimes, problems } = yaml::definitions(text);
        self.broken.extend(problems.iter().map(|one| Told::new(file.name.clone(), one, &file.lines)));
        for (environment, origin) in environments {
            self.origins.insert(environment_named(&environment.name_any()), (file.clone(), origin));
            self.environments.push(environment);
        }
        for (runtime, origin) in runtimes {
            self.origins.insert(runtime_named(&runtime.name_any()), (file.clone(), origin));
            self.runtimes.push(runtime);
        }
    }

    /// Are the stages known?
    pub fn knows_environments(&self) -> bool {
        !self.environments.is_empty()
    }

    /// Are the engines known?
    pub fn knows_runtimes(&self) -> bool {
        !self.runtimes.is_empty()
    }

    /// What is wrong with the definitions themselves.
    pub fn problems(&self) -> Vec<Told> {
        let mut told = self.broken.clone();
        let checked = environment::check(&self.environments);
        for name in checked.names() {
            if let Some(Err(Problems(problems))) = checked.named(name) {
                told.extend(
                    problems.iter().filter_map(|problem| self.told(&environment_named(name), problem)),
                );
            }
        }
        for runtime in &self.runtimes {
            let problems = runtime::check::problems(&runtime.spec);
            let named = runtime_named(&runtime.name_any());
            let split = |text: &String| {
                let (field, message) = text.split_once(": ").unwrap_or(("", text));
                environment::Problem::new(field, message)
            };
            told.extend(problems.iter().map(split).filter_map(|problem| self.told(&named, &problem)));
        }
        let environments = self.environments.iter().map(|one| environment_named(&one.name_any()));
        let runtimes = self.runtimes.iter().map(|one| runtime_named(&one.name_any()));
        let mut seen = BTreeSet::new();
        let twice = environments.chain(runtimes).filter(|named| !seen.insert(named.clone()));
        told.extend(twice.map(|named| self.whole(&format!("{named}: is there twice"))));
        told
    }

    /// At its place, where it is of a file; nothing where it only follows from what is wrong with that.
    fn told(&self, named: &str, problem: &environment::Problem) -> Option<Told> {
        let environment::Problem { field, message } = problem;
        match self.origins.get(named) {
            Some((file, origin)) => {
                let problem = origin.problem(field, message)?;
                Some(Told::new(file.name.clone(), &problem, &file.lines))
            }
            None => Some(self.whole(&format!("{named}: {problem}"))),
        }
    }

    fn whole(&self, message: &str) -> Told {
        Told::whole(self.from.clone().unwrap_or_default(), message)
    }

    /// Which checks are left out, and how to have them.
    pub fn notes(&self) -> Vec<String> {
        const HOW: &str = "give --platform FILE or --cluster";
        match (self.knows_environments(), self.knows_runtimes()) {
            (true, true) => Vec::new(),
            (false, false) => vec![format!(
                "the platform's environments and runtimes are not known, so names, quotas and runtimes are not checked against them: {HOW}"
            )],
            (false, true) => {
                vec![format!("no Environment is known, so environments and quotas are not checked: {HOW}")]
            }
            (true, false) => {
                vec![format!("no IntegrationRuntime is known, so runtimes are not checked: {HOW}")]
            }
        }
    }

    /// This platform, with everything that `tenants` name where nothing is known: such a name is then never a problem.
    pub fn assuming<'a>(&self, tenants: impl Iterator<Item = &'a Tenant>) -> Self {
        let (mut stages, mut engines) = (BTreeSet::new(), BTreeSet::new());
        for tenant in tenants {
            stages.extend(tenant.spec.environments.keys());
            stages.extend(tenant.spec.limits.iter().flat_map(|limits| limits.environments.keys()));
            for service in &tenant.spec.services {
                stages.extend(service.spec.branches.keys());
                engines.insert(&service.spec.runtime);
            }
        }
        let mut assumed = self.clone();
        if !self.knows_environments() {
            assumed.environments = stages.into_iter().map(|name| boundless(name)).collect();
        }
        if !self.knows_runtimes() {
            assumed.runtimes = engines.into_iter().map(|name| any_runtime(name)).collect();
        }
        assumed
    }
}

/// A port in place of one that is not known.
pub fn any_port() -> Port {
    Port { name: "http".to_owned(), port: 1 }
}

/// A runtime that has room for everything, in place of one that is not known.
pub fn any_runtime(name: &str) -> IntegrationRuntime {
    let profile = RuntimeProfile {
        versions: "*".to_owned(),
        ports: vec![any_port()],
        config_mount: Some("/config".to_owned()),
        metrics: Some(any_metrics()),
        ..RuntimeProfile::default()
    };
    IntegrationRuntime::new(name, IntegrationRuntimeSpec { profiles: vec![profile] })
}

/// Metrics in place of those that are not known.
fn any_metrics() -> Metrics {
    let name = || "any_total".to_owned();
    let counts = Counts { requests: name(), failures: name(), labels: BTreeMap::default() };
    let latency = Latency { sum: Some(name()), count: Some(name()), ..Latency::default() };
    Metrics {
        port: any_port().port,
        path: "/metrics".to_owned(),
        counts: Some(counts),
        latency: Some(latency),
    }
}

fn boundless(name: &str) -> Environment {
    let most = |text: &str| Some(Quantity(text.to_owned()));
    let max = Quota { cpu: most("999999999"), memory: most("999999999Ti"), pods: Some(10_000) };
    let quota = EnvironmentQuota { default: Quota::default(), max: Some(max) };
    Environment::new(name, EnvironmentSpec { quota, ..EnvironmentSpec::default() })
}

fn environment_named(name: &str) -> String {
    format!("Environment {name}")
}

fn runtime_named(name: &str) -> String {
    format!("IntegrationRuntime {name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Platform {
        let mut platform = Platform::read_from("platform.yaml".to_owned());
        platform.add("platform.yaml".to_owned(), text.as_bytes());
        platform
    }

    fn told(text: &str) -> Vec<String> {
        let problems = read(text).problems();
        problems.iter().map(|one| format!("{}: {}", one.place(), one.sentence())).collect()
    }

    /// As `kubectl get environments.imaas.dev,integrationruntimes.imaas.dev -o yaml` prints it.
    const LIST: &str = r#"
apiVersion: v1
items:
- apiVersion: imaas.dev/v1alpha1
  kind: Environment
  metadata:
    creationTimestamp: "2026-11-01T10:00:00Z"
    generation: 1
    managedFields:
    - {apiVersion: imaas.dev/v1alpha1, fieldsType: FieldsV1, fieldsV1: {"f:spec": {"f:default": {}}}, manager: helm, operation: Apply, time: "2026-11-01T10:00:00Z"}
    name: dev
    resourceVersion: "812"
    uid: 4f2a0b1c-0000-4000-8000-000000000000
  spec: {default: true, branch: dev}
  status:
    observedGeneration: 1
    conditions: [{type: Ready, status: "True", reason: Valid, message: ok, lastTransitionTime: "2026-11-01T10:00:00Z"}]
- apiVersion: imaas.dev/v1alpha1
  kind: IntegrationRuntime
  metadata: {name: camel}
  spec: {profiles: [{versions: "*", user: {uid: 1000, gid: 1000}}]}
kind: List
metadata: {resourceVersion: ""}
"#;

    #[test]
    fn a_list_of_kubectl_and_plain_documents_are_both_read() {
        let list = read(LIST);
        let documents = "---\n# Source: chart\napiVersion: imaas.dev/v1alpha1\nkind: Environment\nmetadata: {name: dev}\nspec: {}\n---\napiVersion: v1\nkind: Namespace\nmetadata: {name: x}\n";
        let documents = read(documents);
        assert_eq!((list.environments.len(), list.runtimes.len()), (1, 1));
        assert_eq!((documents.environments.len(), documents.runtimes.len()), (1, 0));
        assert!(list.environments[0].spec.default && !documents.environments[0].spec.default);
        assert_eq!((told(LIST), documents.problems()), (vec![], vec![]));
        assert_eq!((list.notes().len(), documents.notes().len()), (0, 1));
    }

    #[test]
    fn what_is_wrong_with_the_platform_is_told_at_its_place() {
        let prod = |spec: &str| {
            format!(
                "{{apiVersion: imaas.dev/v1alpha1, kind: Environment, metadata: {{name: prod}}, spec: {spec}}}"
            )
        };
        assert_eq!(
            told(&prod("{promotesFrom: tset}")),
            [
                "platform.yaml:1:98: spec.promotesFrom: there is no Environment \"tset\": create it or name another one"
            ]
        );
        assert_eq!(
            told(&prod("{default: maybe, promotesFrom: tset, approvals: true}")).len(),
            3,
            "what is wrong with the form hides nothing"
        );
        let twice = told(&format!("{LIST}---\n{}", prod("{}").replace("prod", "dev")));
        assert_eq!(twice, ["platform.yaml: Environment dev: is there twice"]);
        let environments = read(&prod("{promotesFrom: tset}")).environments;
        let problems = Platform::of(environments, vec![], "the cluster").problems();
        assert!(
            problems[0].message.starts_with("Environment prod: spec.promotesFrom: there"),
            "{problems:?}"
        );
    }
}
