//! What is onboarded: files as a platform team would commit them, and the same objects for the bare client. Pure.

use std::collections::BTreeMap;

use anyhow::{Context, Result, anyhow};
use imaas_operator::{
    api::Tenant,
    environment::Checked,
    registry::{
        accounts::AccountKey,
        generations::{Generations, Issued},
    },
    tenant::{
        desired::{Access, Children, DockerConfigs, Operator, desired},
        validate::validate,
    },
    yaml,
};
use serde::Serialize;
use serde_json::{Map, Value};

/// Prefixes of names, of the same length, so that objects are too.
pub(crate) const OPERATORS: &str = "team";
pub(crate) const BARE: &str = "bare";

/// A tenant's name: `team-0007`.
pub(crate) fn name(prefix: &str, number: usize) -> String {
    format!("{prefix}-{number:04}")
}

/// A tenant's file, with as many services as asked, whose repositories are on the host `git`.
pub(crate) fn file(name: &str, services: usize, git: &str) -> String {
    use std::fmt::Write;
    let mut text = format!(
        "apiVersion: imaas.dev/v1alpha1\nkind: Tenant\nmetadata:\n  name: {name}\nspec:\n  \
         contact: integrations@{name}.example\n  members:\n    \
         - {{kind: Group, name: {name}-leads, role: owner}}\n    \
         - {{kind: Group, name: {name}-developers, role: developer}}\n    \
         - {{kind: User, name: auditor@{name}.example, role: viewer}}\n"
    );
    for number in 0..services {
        let start = if number == 0 { "  services:\n" } else { "" };
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "{start}    - name: service-{number}\n      runtime: container\n      \
             repository: {{url: \"https://{git}/{name}/service-{number}.git\"}}\n"
        );
    }
    text
}

/// Where the bare client writes an object.
#[derive(Debug)]
pub(crate) struct Object {
    /// Of its collection; the name comes after it.
    pub path: String,
    pub name: String,
    pub body: Value,
}

/// One namespace of a tenant: itself, then what is in it, in the order of the operator.
pub(crate) struct Space {
    pub namespace: Object,
    pub children: Vec<Object>,
}

/// What the operator would make of the same file, as nobody's: without its labels it is not the operator's to see.
pub(crate) fn spaces(name: &str, environments: &Checked) -> Result<Vec<Space>> {
    let problems = |found: Vec<yaml::Problem>| anyhow!("the benchmark's own file: {found:?}");
    let tenant: Tenant = yaml::tenant(file(name, 0, "git.example.com").as_bytes()).map_err(problems)?;
    let valid =
        validate(&tenant, environments).map_err(|found| anyhow!("the benchmark's own file: {found}"))?;
    let generations: Generations = "1".parse().map_err(|error| anyhow!("a generation: {error}"))?;
    let key = AccountKey::new([7; 32]).context("an account key")?;
    let logins = DockerConfigs::new(&Issued { key, generations }, "registry.example.com", name)
        .map_err(|error| anyhow!("a login: {error}"))?;
    let operator = Operator { namespace: "imaas-system", service_account: "imaas-operator" };
    desired(&valid, &operator, &logins).into_iter().map(space).collect()
}

fn space(children: Children) -> Result<Space> {
    let Children { access, limits, quota, networks, secrets, services: _ } = children;
    let Access { namespace, operator, members, no_members: _ } = access;
    let mut objects = vec![object(&operator)?, object(&quota)?];
    if let Some(limits) = &limits {
        objects.push(object(limits)?);
    }
    for network in &networks {
        objects.push(object(network)?);
    }
    for member in &members {
        objects.push(object(member)?);
    }
    for secret in &secrets {
        objects.push(object(secret)?);
    }
    Ok(Space { namespace: object(&namespace)?, children: objects })
}

fn object<K: kube::Resource<DynamicType = ()> + Serialize>(wanted: &K) -> Result<Object> {
    let mut body = serde_json::to_value(wanted).context("an object as JSON")?;
    let labels = body["metadata"]["labels"].take();
    body["metadata"]["labels"] = renamed(&labels);
    let annotations = body["metadata"]["annotations"].take();
    // As long as the operator's own: the hash of what it applied.
    let mut annotations = renamed(&annotations);
    annotations["bare.dev/applied"] = Value::from("0123456789ab");
    body["metadata"]["annotations"] = annotations;
    Ok(Object {
        path: K::url_path(&(), wanted.meta().namespace.as_deref()),
        name: wanted.meta().name.clone().context("an object without a name")?,
        body,
    })
}

/// Marks of another manager, of the same size.
fn renamed(marks: &Value) -> Value {
    let marks: BTreeMap<String, Value> =
        marks.as_object().cloned().unwrap_or_else(Map::new).into_iter().collect();
    let renamed = marks.into_iter().map(|(key, value)| {
        let value = if value == "imaas-operator" { Value::from("bare-client") } else { value };
        (key.replace("imaas.dev/", "bare.dev/"), value)
    });
    Value::Object(renamed.collect())
}

#[cfg(test)]
mod tests {
    use imaas_operator::{api::Environment, environment::check};

    use super::*;

    #[test]
    fn the_bare_clients_objects_are_the_operators_but_for_its_marks() {
        let dev: Environment = serde_json::from_value(serde_json::json!({
            "apiVersion": "imaas.dev/v1alpha1", "kind": "Environment", "metadata": {"name": "dev"}, "spec": {"default": true},
        }))
        .unwrap();
        let spaces = spaces(&name(BARE, 7), &check(&[dev])).unwrap();
        let names: Vec<_> = spaces.iter().map(|space| space.namespace.name.as_str()).collect();
        assert_eq!(names, ["bare-0007-home", "bare-0007-dev"]);
        for object in spaces.iter().flat_map(|space| space.children.iter().chain([&space.namespace])) {
            let labels = &object.body["metadata"]["labels"];
            assert_eq!(labels["bare.dev/tenant"], "bare-0007", "{object:?}");
            assert_eq!(labels["app.kubernetes.io/managed-by"], "bare-client", "{object:?}");
            assert!(!object.body["metadata"].to_string().contains("imaas.dev/"), "{object:?}");
        }
        assert!(spaces[1].children.len() > 6);
    }

    #[test]
    fn the_files_are_valid() {
        for services in [0, 2] {
            let tenant = yaml::tenant(file("team-0001", services, "127.0.0.1:443").as_bytes()).unwrap();
            assert_eq!(tenant.spec.services.len(), services);
        }
    }
}
