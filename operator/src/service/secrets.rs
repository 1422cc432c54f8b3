//! A Secret that changes replaces the pods that read it, as a release of its own. Versions are what the API server calls
//! so: what a Secret holds is neither kept nor hashed.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;

use super::{
    resolve::resolve,
    snapshot::{Branch, Snapshot},
    validate::{ValidEnvironment, ValidService},
};
use crate::{
    api::{Release, ReleaseSpec},
    names::{self, SECRETS},
    platform::Platform,
};

/// Name of a Secret → its version, of those that are there.
pub type Versions = BTreeMap<String, String>;

/// Reads the versions of the Secrets that the heads name, by environment. Where they cannot be read they stay as they were.
pub(super) async fn look_at_secrets(platform: &Platform, service: &ValidService, seen: &mut Snapshot) {
    let before = std::mem::take(&mut seen.secrets);
    let is_own =
        |environment: &&ValidEnvironment| platform.cluster.takes(&environment.namespace, &service.tenant);
    for environment in service.environments.iter().filter(is_own) {
        let mut versions = Versions::new();
        for name in named(seen, environment) {
            let version = match platform.cluster.version::<Secret>(&environment.namespace, &name).await {
                Ok(version) => version,
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "Secret not read");
                    before.get(&environment.name).and_then(|versions| versions.get(&name)).cloned()
                }
            };
            versions.extend(version.map(|version| (name, version)));
        }
        if !versions.is_empty() {
            seen.secrets.insert(environment.name.clone(), versions);
        }
    }
}

/// The Secrets that the head of its branch names.
fn named(seen: &Snapshot, environment: &ValidEnvironment) -> Vec<String> {
    match seen.branches.get(&environment.branch) {
        Some(Branch::Head { content: Ok(content), .. }) => {
            resolve(content, &environment.name).map(|resolved| resolved.settings.secrets).unwrap_or_default()
        }
        Some(Branch::Head { content: Err(_), .. } | Branch::Missing) | None => Vec::new(),
    }
}

/// Another one whenever one of `named` is; nothing where there is none, or one is not there.
pub(super) fn revision(named: &[String], versions: &Versions) -> Option<String> {
    let of_each =
        named.iter().map(|name| versions.get_key_value(name)).collect::<Option<BTreeMap<_, _>>>()?;
    if of_each.is_empty() { None } else { Some(names::content_hash(&of_each)) }
}

/// `release` with this revision of its Secrets: other pods, so another name.
pub(super) fn versioned(mut release: Release, revision: Option<String>) -> Release {
    let Some(revision) = revision else { return release };
    let hash = names::content_hash(&(release.name_any(), &revision));
    let spec = &mut release.spec;
    release.metadata.name = Some(names::release(&spec.service, &spec.environment, &hash));
    let template = spec.template.metadata.get_or_insert_default();
    template.annotations.get_or_insert_default().insert(SECRETS.to_owned(), revision.clone());
    spec.secrets_revision = Some(revision);
    release
}

/// Is `current` what `new` is, made when nobody asked for the versions of the Secrets that it names? Then it stays.
pub(super) fn is_older(new: &ReleaseSpec, current: &ReleaseSpec) -> bool {
    let is_same = current.content_revision.is_some()
        && current.content_revision == new.content_revision
        && current.runtime_revision == new.runtime_revision;
    is_same && current.secrets_revision.is_none() && new.secrets_revision.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    fn versions(all: &[(&str, &str)]) -> Versions {
        all.iter().map(|(name, version)| ((*name).to_owned(), (*version).to_owned())).collect()
    }

    #[test]
    fn the_revision_follows_the_named_ones_and_no_others() {
        let named = ["orders-db".to_owned(), "erp".to_owned()];
        let of = |all: &[(&str, &str)]| revision(&named, &versions(all));
        let first = of(&[("orders-db", "1"), ("erp", "2")]);
        assert!(first.is_some());
        assert_eq!(of(&[("orders-db", "1"), ("erp", "2"), ("crm", "3")]), first);
        assert_ne!(of(&[("orders-db", "3"), ("erp", "2")]), first);
        assert_eq!(of(&[("orders-db", "1")]), None, "not all are there");
        assert_eq!(revision(&[], &versions(&[("erp", "2")])), None);
    }

    fn release() -> Release {
        sample::release("orders-dev-abc", "contentRevision: a, runtimeRevision: r")
    }

    #[test]
    fn another_revision_is_another_release_of_other_pods() {
        let of = |revision: &str| versioned(release(), Some(revision.to_owned()));
        assert_eq!(of("1"), of("1"));
        assert_ne!(of("1").name_any(), of("2").name_any());
        assert_ne!(of("1").spec.template, of("2").spec.template);
        assert!(of("1").name_any().starts_with("orders-dev-"));
        assert_eq!(versioned(release(), None), release(), "one without Secrets is as it was");
    }

    #[test]
    fn what_was_made_without_asking_stays_until_it_is_made_anew() {
        let (old, new) = (release().spec, versioned(release(), Some("1".to_owned())).spec);
        assert!(is_older(&new, &old));
        assert!(!is_older(&new, &new));
        assert!(!is_older(&old, &old), "one that names none is as new as its Environment");
        assert!(!is_older(&ReleaseSpec { runtime_revision: None, ..new.clone() }, &old));
        assert!(!is_older(&ReleaseSpec { content_revision: None, ..new }, &old));
    }
}
