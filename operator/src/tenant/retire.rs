//! Services and environments that a tenant's file no longer has → what they are told, and what waits for a person. Pure.

use std::collections::BTreeMap;

use kube::ResourceExt;
use serde_json::{Value, json};

use super::validate::ValidTenant;
use crate::{
    api::IntegrationService,
    environment::Checked,
    names::{self, ORPHANED, ORPHANED_BY, RETIRING, home_namespace},
    retirement::{Left, Periods, allowed_to_vanish, confirmation},
};

use jiff::Timestamp;

/// A service or an environment of a tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Its name.
    pub name: String,
    /// Does the file no longer have it?
    pub is_gone: bool,
    /// Does it bear the mark of that since an earlier pass?
    pub is_marked: bool,
}

/// So much is gone at once that it waits, without a mark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldParts {
    /// How many services that run are gone, each counted in each environment.
    pub gone: usize,
    /// Of how many.
    pub of: usize,
    /// Names of the services and environments, first the services.
    pub names: Vec<String>,
    /// The value of [`names::CONFIRM_REMOVAL`] that lets them go.
    pub confirmation: String,
}

/// What waits, of a tenant with these services and environments; `confirmed` is what somebody confirmed. The confirmation
/// is for all that is gone, so that it stays the same while one after the other is marked.
pub fn held(services: &[Part], environments: &[Part], confirmed: Option<&str>) -> Option<HeldParts> {
    let pairs = || services.iter().flat_map(|service| environments.iter().map(move |stage| (service, stage)));
    let is_gone = |(service, stage): &(&Part, &Part)| service.is_gone || stage.is_gone;
    let was_there = |(service, stage): &(&Part, &Part)| !service.is_marked && !stage.is_marked;
    let of = pairs().filter(was_there).count();
    let gone = pairs().filter(was_there).filter(is_gone).count();
    if gone <= allowed_to_vanish(of) {
        return None;
    }
    let all: Vec<_> = pairs()
        .filter(is_gone)
        .map(|(service, environment)| format!("{}/{}", service.name, environment.name))
        .collect();
    let confirmation = confirmation(all.iter().map(String::as_str));
    let new = services.iter().chain(environments).filter(|part| part.is_gone && !part.is_marked);
    let names = new.map(|part| part.name.clone()).collect();
    (confirmed != Some(&*confirmation)).then_some(HeldParts { gone, of, names, confirmation })
}

/// What a retirement in a tenant is measured by.
#[derive(Clone, Debug)]
pub struct Clock {
    /// How long the stages are.
    pub periods: Periods,
    /// Now.
    pub now: Timestamp,
    /// What took it away, for its reader.
    pub by: String,
}

impl Clock {
    /// Where the retirement of what has these annotations stands now; it begins, where it had not.
    pub fn left(&self, annotations: &BTreeMap<String, String>) -> Left {
        let left = Left::of(annotations).unwrap_or_else(|| Left::now(self.now, self.by.clone()));
        left.advance(&self.periods, self.now)
    }

    /// What makes the annotations of `service` say that it is gone, or that it is not; nothing where they do.
    pub fn change(&self, service: &IntegrationService, is_gone: bool) -> Option<Value> {
        let mut wanted = BTreeMap::new();
        if is_gone {
            self.left(service.annotations()).mark(&mut wanted);
        }
        let changed: BTreeMap<_, _> = [ORPHANED, ORPHANED_BY, RETIRING]
            .into_iter()
            .filter(|key| service.annotations().get(*key) != wanted.get(*key))
            .map(|key| (key, wanted.get(key)))
            .collect();
        (!changed.is_empty()).then(|| json!({ "metadata": { "annotations": changed } }))
    }
}

/// Is `service` one that the tenant's own stage made, and that stays? One that somebody applied by hand is not ours to
/// mark.
pub fn is_ours(tenant: &ValidTenant, service: &IntegrationService) -> bool {
    let label = |key| service.labels().get(key).map(String::as_str);
    service.namespace() == Some(home_namespace(&tenant.name))
        && label(names::MANAGED_BY) == Some(names::MANAGER)
        && label(names::TENANT) == Some(tenant.name.as_str())
        && service.metadata.deletion_timestamp.is_none()
}

/// The environment of `namespace`, if the tenant left it while there is such an Environment. One that is deleted
/// altogether ends nothing: the platform may have done that by mistake, for every tenant at once.
pub fn left_environment<'a>(
    tenant: &ValidTenant,
    environments: &Checked,
    namespace: &'a str,
) -> Option<&'a str> {
    let environment = namespace.strip_prefix(&*tenant.name)?.strip_prefix('-')?;
    let is_in = tenant.environments.iter().any(|space| space.namespace == namespace)
        || tenant.held.iter().any(|held| held.namespace == namespace);
    (!is_in && environments.named(environment).is_some()).then_some(environment)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str) -> Vec<Part> {
        let part = |name: &str| Part {
            name: name.trim_end_matches(['-', '!']).to_owned(),
            is_gone: name.ends_with(['-', '!']),
            is_marked: name.ends_with('!'),
        };
        text.split_whitespace().map(part).collect()
    }

    #[test]
    fn more_than_five_and_a_tenth_of_what_runs_are_held() {
        for (services, environments, told) in [
            ("a b c d e", "dev prod", None),
            ("a- b- c d e", "dev prod", None),
            ("a- b- c- d e", "dev prod", Some((6, 10, "a b c"))),
            ("a b c d e", "dev prod-", None),
            ("a b c d e f", "dev prod-", Some((6, 12, "prod"))),
            ("a- b c d e", "dev prod-", Some((6, 10, "a prod"))),
            // Those that are marked already neither count nor wait.
            ("a! b! c- d e", "dev prod", None),
            ("a b c d e f", "dev prod!", None),
            ("a b c d e f-", "dev prod!", None),
            ("", "dev- prod-", None),
        ] {
            let held = held(&parts(services), &parts(environments), None);
            let seen = held.map(|held| (held.gone, held.of, held.names.join(" ")));
            let told = told.map(|(gone, of, names)| (gone, of, names.to_owned()));
            assert_eq!(seen, told, "{services} in {environments}");
        }
    }

    #[test]
    fn a_confirmation_is_for_one_set_and_outlives_the_marks() {
        let confirmed = |services: &str, hash: &str| held(&parts(services), &parts("dev prod"), Some(hash));
        let hash = confirmed("a- b- c- d- e", "").unwrap().confirmation;
        assert_eq!(
            hash,
            confirmation(
                ["a", "b", "c", "d"]
                    .map(|s| [format!("{s}/dev"), format!("{s}/prod")])
                    .concat()
                    .iter()
                    .map(String::as_str)
            )
        );
        assert_eq!(confirmed("a- b- c- d- e", &hash), None);
        assert_eq!(confirmed("a! b- c- d- e", &hash), None, "killed between two marks");
        assert!(confirmed("a- b- c- d- e-", &hash).is_some(), "another set");
    }

    #[test]
    fn a_mark_is_written_once_goes_on_and_is_taken_away() {
        let at = |text: &str| Clock {
            periods: Periods::default(),
            now: text.parse().unwrap(),
            by: "generation 7 of the Tenant".into(),
        };
        let service = |annotations: Value| -> IntegrationService {
            let spec = json!({ "repository": { "url": "https://git.example.com/a" }, "runtime": "camel" });
            let metadata = json!({ "name": "orders", "annotations": annotations });
            serde_json::from_value(json!({
                "apiVersion": "imaas.dev/v1alpha1", "kind": "IntegrationService", "metadata": metadata, "spec": spec
            }))
            .unwrap()
        };
        let change = |now: &str, annotations: Value, is_gone| {
            at(now)
                .change(&service(annotations), is_gone)
                .map(|change| change["metadata"]["annotations"].clone())
        };
        let first = json!({ ORPHANED: "2026-01-01T00:00:00Z", ORPHANED_BY: "generation 7 of the Tenant" });
        assert_eq!(change("2026-01-01T00:00:00Z", json!({}), true), Some(first.clone()));
        assert_eq!(change("2026-01-01T23:00:00Z", first.clone(), true), None);
        let next = json!({ RETIRING: "2026-01-02T00:00:00Z" });
        assert_eq!(change("2026-01-02T00:00:00Z", first.clone(), true), Some(next));
        assert_eq!(
            change("2026-01-02T00:00:00Z", first, false),
            Some(json!({ ORPHANED: null, ORPHANED_BY: null }))
        );
        assert_eq!(change("2026-01-02T00:00:00Z", json!({}), false), None);
    }
}
