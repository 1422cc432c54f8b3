//! What the platform defines: YAML documents in, environments and runtimes out, with what is wrong with them. Pure.
//!
//! What is not known is not guessed: the checks that need it are left out, and that is told.

use std::collections::BTreeSet;

use imaas_operator::{
    api::{
        Environment, EnvironmentSpec, IntegrationRuntime, IntegrationRuntimeSpec, Port, Quantity, Quota,
        RuntimeProfile, Tenant, environment::EnvironmentQuota,
    },
    environment, runtime,
};
use kube::ResourceExt;
use serde_json::Value;

/// Environments and runtimes, as far as they are known.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Platform {
    /// All of them, or none: then the stages are not known.
    pub environments: Vec<Environment>,
    /// All of them, or none: then the engines are not known.
    pub runtimes: Vec<IntegrationRuntime>,
    /// Where this was read, such as `platform.yaml`.
    pub from: Option<String>,
}

impl Platform {
    /// Adds the objects of one file: YAML documents, or a list as `kubectl get -o yaml` prints it. Other kinds are left out.
    pub fn add(&mut self, text: &str) -> Result<(), String> {
        let documents: Vec<Value> = serde_saphyr::from_multiple(text).map_err(|error| first_line(&error))?;
        for document in documents {
            match document.get("items") {
                Some(Value::Array(items)) => items.iter().try_for_each(|item| self.object(item))?,
                _ => self.object(&document)?,
            }
        }
        Ok(())
    }

    fn object(&mut self, object: &Value) -> Result<(), String> {
        let is_ours = object["apiVersion"].as_str().is_some_and(|version| version.starts_with("imaas.dev/"));
        let named = || format!("{} {}", text(&object["kind"]), text(&object["metadata"]["name"]));
        match object["kind"].as_str().filter(|_| is_ours) {
            Some("Environment") => self.environments.push(typed(object, &named())?),
            Some("IntegrationRuntime") => self.runtimes.push(typed(object, &named())?),
            _ => {}
        }
        Ok(())
    }

    /// Are the stages known?
    pub fn knows_environments(&self) -> bool {
        !self.environments.is_empty()
    }

    /// Are the engines known?
    pub fn knows_runtimes(&self) -> bool {
        !self.runtimes.is_empty()
    }

    /// What is wrong with the definitions themselves, as `Environment prod: …`.
    pub fn problems(&self) -> Vec<String> {
        let mut told = Vec::new();
        let checked = environment::check(&self.environments);
        for name in checked.names() {
            if let Some(Err(problems)) = checked.named(name) {
                told.push(format!("Environment {name}: {problems}"));
            }
        }
        for runtime in &self.runtimes {
            let name = runtime.name_any();
            let problems = runtime::check::problems(&runtime.spec);
            told.extend(problems.into_iter().map(|problem| format!("IntegrationRuntime {name}: {problem}")));
        }
        let named = self.environments.iter().map(|one| format!("Environment {}", one.name_any()));
        let named =
            named.chain(self.runtimes.iter().map(|one| format!("IntegrationRuntime {}", one.name_any())));
        let mut seen = BTreeSet::new();
        told.extend(
            named.filter(|name| !seen.insert(name.clone())).map(|name| format!("{name}: is there twice")),
        );
        told
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
        ..RuntimeProfile::default()
    };
    IntegrationRuntime::new(name, IntegrationRuntimeSpec { profiles: vec![profile] })
}

fn boundless(name: &str) -> Environment {
    let most = |text: &str| Some(Quantity(text.to_owned()));
    let max = Quota { cpu: most("999999999"), memory: most("999999999Ti"), pods: Some(10_000) };
    let quota = EnvironmentQuota { default: Quota::default(), max: Some(max) };
    Environment::new(name, EnvironmentSpec { quota, ..EnvironmentSpec::default() })
}

fn typed<T: serde::de::DeserializeOwned>(object: &Value, named: &str) -> Result<T, String> {
    serde_json::from_value(object.clone()).map_err(|error| format!("{named}: {error}"))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("without a name")
}

fn first_line(error: &impl std::fmt::Display) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Platform, String> {
        let mut platform = Platform::default();
        platform.add(text).map(|()| platform)
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
        let list = read(LIST).unwrap();
        let documents = "---\n# Source: chart\napiVersion: imaas.dev/v1alpha1\nkind: Environment\nmetadata: {name: dev}\nspec: {}\n---\napiVersion: v1\nkind: Namespace\nmetadata: {name: x}\n";
        let documents = read(documents).unwrap();
        assert_eq!((list.environments.len(), list.runtimes.len()), (1, 1));
        assert_eq!((documents.environments.len(), documents.runtimes.len()), (1, 0));
        assert!(list.environments[0].spec.default && !documents.environments[0].spec.default);
        assert_eq!((list.notes().len(), documents.notes().len()), (0, 1));
    }

    #[test]
    fn what_is_wrong_with_the_platform_is_told_by_name() {
        let platform = read("{apiVersion: imaas.dev/v1alpha1, kind: Environment, metadata: {name: prod}, spec: {promotesFrom: tset}}").unwrap();
        assert!(
            platform.problems()[0]
                .starts_with("Environment prod: spec.promotesFrom: there is no Environment \"tset\"")
        );
        let bad = "{apiVersion: imaas.dev/v1alpha1, kind: Environment, metadata: {name: prod}, spec: {default: maybe}}";
        assert!(read(bad).unwrap_err().starts_with("Environment prod: "));
        let twice = read(&format!("{LIST}---\n{{apiVersion: imaas.dev/v1alpha1, kind: Environment, metadata: {{name: dev}}, spec: {{}}}}")).unwrap();
        assert_eq!(twice.problems(), ["Environment dev: is there twice"]);
    }
}
