//! What tests of several files begin with: the service `orders` of `acme`, and its releases.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{
    api::Release,
    git::{GitUrl, UrlPolicy},
    service::{
        resolve::Content,
        validate::{ValidEnvironment, ValidService},
    },
};

/// A release in dev. `more`: fields of its spec, in the place of the usual ones or besides, as in `environment: prod, replicas: 1`.
pub fn release(name: &str, more: &str) -> Release {
    let mut spec = json!({
        "service": "orders", "environment": "dev", "commit": "c", "buildId": "b", "image": "i", "digest": "d",
        "runtime": "camel", "cause": "Commit", "type": "api", "many": true, "strategy": "rolling", "replicas": 2,
        "template": {},
    });
    let more: Value = serde_saphyr::from_str(&format!("{{{more}}}")).unwrap();
    for (field, value) in more.as_object().unwrap() {
        spec[field] = value.clone();
    }
    let metadata = json!({ "name": name, "namespace": "acme-home" });
    let release = json!({
        "apiVersion": crate::api::API_VERSION, "kind": "Release", "metadata": metadata, "spec": spec,
    });
    serde_json::from_value(release).unwrap()
}

/// What a commit of `orders` holds that says nothing, in no environment.
pub fn content(commit: &str, committed: Option<Timestamp>) -> Content {
    let text = format!("apiVersion: {}\nkind: ServiceDescriptor\n", crate::api::API_VERSION);
    Content {
        file: "imaas.yaml".to_owned(),
        others: vec![],
        places: BTreeMap::new(),
        commit: commit.to_owned(),
        committed,
        build_id: "b".to_owned(),
        environments: BTreeSet::new(),
        descriptor: crate::yaml::descriptor(text.as_bytes()).unwrap(),
        configs: BTreeMap::new(),
        stateful: None,
    }
}

/// One of `orders`, with a branch of its name.
pub fn environment(name: &str, promotes_from: Option<&str>) -> ValidEnvironment {
    ValidEnvironment {
        name: name.to_owned(),
        namespace: format!("acme-{name}"),
        branch: name.to_owned(),
        promotes_from: promotes_from.map(ToOwned::to_owned),
        ..ValidEnvironment::default()
    }
}

/// `orders`, which runs in `environments`.
pub fn service(environments: Vec<ValidEnvironment>) -> ValidService {
    ValidService {
        tenant: "acme".to_owned(),
        name: "orders".to_owned(),
        url: GitUrl::parse("https://git.example.com/acme/orders.git", &UrlPolicy::default()).unwrap(),
        credentials: None,
        image: "registry.example.com/acme/orders".to_owned(),
        path: String::new(),
        runtime: "camel".to_owned(),
        environments,
        gone: vec![],
        problems: vec![],
        ending: None,
    }
}
