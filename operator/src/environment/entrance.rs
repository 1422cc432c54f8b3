//! The way into an environment from outside the cluster: its domain, its gateway, and who collects metrics. Pure.

use std::{borrow::Borrow, collections::BTreeMap};

use kube::ResourceExt;

use super::check::Problem;
use crate::api::{
    Environment,
    environment::{Gateway, Pods},
};

/// So long that a tenant's name of 50 characters fits before it.
const LONGEST_DOMAIN: usize = 253 - 51;
/// Of each part of a domain, of a label's name and value, and of a namespace.
const LONGEST_PART: usize = 63;

/// What is wrong with it, among all of `others`.
pub(super) fn problems<E: Borrow<Environment>>(environment: &Environment, others: &[E]) -> Vec<Problem> {
    let spec = &environment.spec;
    let mut found = Vec::new();
    if let Some(domain) = &spec.domain {
        found.extend(domain_problem(domain).map(|message| Problem::new("spec.domain", message)));
        let owner = first_with(domain, others).filter(|owner| *owner != environment.name_any());
        found.extend(owner.map(|owner| {
            let message = format!(
                "{domain:?} is the domain of the Environment {owner} already, and the hosts of both would be the same: give each its own"
            );
            Problem::new("spec.domain", message)
        }));
    }
    match (&spec.domain, &spec.gateway) {
        (Some(_), None) => {
            found.push(Problem::new("spec.gateway", "is missing: `domain` says nothing without it"));
        }
        (None, Some(_)) => {
            found.push(Problem::new("spec.domain", "is missing: `gateway` says nothing without it"));
        }
        (Some(_), Some(_)) | (None, None) => {}
    }
    if let Some(Gateway { name, namespace, section_name, pods }) = &spec.gateway {
        let names = [("name", Some(name)), ("sectionName", section_name.as_ref())];
        for (field, name) in names.into_iter().filter_map(|(field, name)| Some((field, name?))) {
            if name.len() > 253 || !name.split('.').all(|part| is_part(part, 253)) {
                found.push(Problem::new(
                    format!("spec.gateway.{field}"),
                    format!(
                        "{name:?} is no name of an object: write lower-case letters, digits, `-` and `.`"
                    ),
                ));
            }
        }
        found.extend(namespace_problem("spec.gateway.namespace", namespace));
        found.extend(pods.iter().flat_map(|pods| pods_problems("spec.gateway.pods", pods)));
    }
    found.extend(spec.monitoring.iter().flat_map(|pods| pods_problems("spec.monitoring", pods)));
    found
}

/// Of two with the same domain it stays with the older one, or where they are equally old, with the first by name.
fn first_with<E: Borrow<Environment>>(domain: &str, environments: &[E]) -> Option<String> {
    let has_it = |one: &&Environment| one.spec.domain.as_deref() == Some(domain);
    let all = environments.iter().map(Borrow::borrow).filter(has_it);
    let first =
        all.min_by_key(|one| (one.metadata.creation_timestamp.clone().map(|at| at.0), one.name_any()));
    first.map(ResourceExt::name_any)
}

fn domain_problem(domain: &str) -> Option<String> {
    let example = "write it like dev.example.com";
    if domain.len() > LONGEST_DOMAIN {
        let length = domain.len();
        return Some(format!(
            "has {length} characters, at most {LONGEST_DOMAIN} leave room for the tenant's name before it: {example}"
        ));
    }
    if !domain.split('.').all(|part| is_part(part, LONGEST_PART)) {
        return Some(format!(
            "{domain:?} is no domain: lower-case letters, digits and `-` in parts of at most {LONGEST_PART} characters, without `*` and without a dot at its ends: {example}"
        ));
    }
    let last = domain.rsplit('.').next().unwrap_or_default();
    let is_number = last.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| format!("{domain:?} ends as an address does, and routes go by names: {example}"))
}

fn is_part(part: &str, most: usize) -> bool {
    let bytes = part.as_bytes();
    let is_edge = |byte: Option<&u8>| byte.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    bytes.len() <= most
        && is_edge(bytes.first())
        && is_edge(bytes.last())
        && bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-')
}

fn namespace_problem(field: &str, namespace: &str) -> Option<Problem> {
    let message =
        || format!("{namespace:?} is no name of a namespace: write lower-case letters, digits and `-`");
    (!is_part(namespace, LONGEST_PART)).then(|| Problem::new(field, message()))
}

fn pods_problems(field: &str, Pods { namespace, labels }: &Pods) -> Vec<Problem> {
    let mut found: Vec<_> = namespace_problem(&format!("{field}.namespace"), namespace).into_iter().collect();
    found.extend(label_problems(&format!("{field}.labels"), labels));
    found
}

fn label_problems(field: &str, labels: &BTreeMap<String, String>) -> Vec<Problem> {
    let problem = |(key, value): (&String, &String)| {
        let (prefix, name) = key.rsplit_once('/').map_or((None, key.as_str()), |(a, b)| (Some(a), b));
        let is_key = is_word(name)
            && prefix
                .is_none_or(|prefix| prefix.len() <= 253 && prefix.split('.').all(|part| is_part(part, 253)));
        let (what, text) = match (is_key, value.is_empty() || is_word(value)) {
            (false, _) => ("key", key),
            (true, false) => ("value", value),
            (true, true) => return None,
        };
        Some(Problem::new(field, format!("{text:?} is no {what} of a label: write it as the pods bear it")))
    };
    labels.iter().filter_map(problem).collect()
}

/// At most 63 letters, digits and `-_.`, the first and the last a letter or digit.
fn is_word(text: &str) -> bool {
    let bytes = text.as_bytes();
    let is_edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    bytes.len() <= LONGEST_PART
        && is_edge(bytes.first())
        && is_edge(bytes.last())
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(name: &str, created: &str, spec: &str) -> Environment {
        serde_saphyr::from_str(&format!(
            "{{apiVersion: imaas.dev/v1alpha1, kind: Environment, metadata: {{name: {name}, creationTimestamp: {created}}}, spec: {spec}}}"
        ))
        .unwrap()
    }

    fn told(spec: &str) -> String {
        let one = environment("dev", "2026-01-01T00:00:00Z", spec);
        let told: Vec<_> = problems(&one, &[&one]).iter().map(ToString::to_string).collect();
        told.join("; ")
    }

    #[test]
    fn a_way_in_that_is_whole_has_no_problem() {
        for spec in [
            "{}",
            "{domain: dev.example.com, gateway: {name: public, namespace: gateway-system}}",
            "{domain: apps, gateway: {name: pub.lic, namespace: g, sectionName: https, pods: {namespace: g, labels: {app.kubernetes.io/name: traefik, x: ''}}}}",
            "{monitoring: {namespace: monitoring, labels: {app: prometheus}}}",
        ] {
            assert_eq!(told(spec), "", "{spec}");
        }
        let longest = format!("{}.{}.{}.{}", "a".repeat(63), "b".repeat(63), "c".repeat(63), "d".repeat(10));
        assert_eq!(longest.len(), LONGEST_DOMAIN);
        assert_eq!(told(&format!("{{domain: {longest}, gateway: {{name: a, namespace: b}}}}")), "");
        assert_eq!(format!("{}.{longest}", "t".repeat(50)).len(), 253);
    }

    #[test]
    fn every_mistake_names_its_field_and_the_way_out() {
        let gateway = "gateway: {name: public, namespace: gateway-system}";
        for (domain, words) in [
            ("Dev.example.com".to_owned(), "is no domain"),
            ("'*.example.com'".to_owned(), "without `*`"),
            (".example.com".to_owned(), "without a dot at its ends"),
            ("example.com.".to_owned(), "without a dot at its ends"),
            ("a..b".to_owned(), "is no domain"),
            ("-a.example.com".to_owned(), "is no domain"),
            ("10.0.0.1".to_owned(), "ends as an address does"),
            (format!("{}.com", "a".repeat(64)), "parts of at most 63"),
            (["a".repeat(60).as_str(); 4].join("."), "has 243 characters, at most 202"),
        ] {
            let told = told(&format!("{{domain: {domain}, {gateway}}}"));
            assert!(told.starts_with("spec.domain: ") && told.contains(words), "{told}");
        }
        for (spec, wanted) in [
            ("{domain: a.example}", "spec.gateway: is missing: `domain` says nothing without it"),
            (
                "{gateway: {name: a, namespace: b}}",
                "spec.domain: is missing: `gateway` says nothing without it",
            ),
            (
                "{domain: a.example, gateway: {name: A, namespace: b.c}}",
                "spec.gateway.name: \"A\" is no name of an object: write lower-case letters, digits, `-` and `.`; spec.gateway.namespace: \"b.c\" is no name of a namespace: write lower-case letters, digits and `-`",
            ),
            (
                "{monitoring: {namespace: m, labels: {a b: c}}}",
                "spec.monitoring.labels: \"a b\" is no key of a label: write it as the pods bear it",
            ),
            (
                "{monitoring: {namespace: m, labels: {a: b/c}}}",
                "spec.monitoring.labels: \"b/c\" is no value of a label: write it as the pods bear it",
            ),
        ] {
            assert_eq!(told(spec), wanted, "{spec}");
        }
    }

    #[test]
    fn one_domain_belongs_to_one_environment_and_stays_with_the_older() {
        let gateway = "gateway: {name: public, namespace: gateway-system}";
        let one = |name: &str, created: &str, domain: &str| {
            environment(name, created, &format!("{{domain: {domain}, {gateway}}}"))
        };
        let prod = one("prod", "2026-01-01T00:00:00Z", "example.com");
        let dev = one("dev", "2026-02-01T00:00:00Z", "example.com");
        let below = one("test", "2026-02-01T00:00:00Z", "test.example.com");
        let all = [&dev, &prod, &below];
        assert_eq!((problems(&prod, &all), problems(&below, &all)), (vec![], vec![]));
        let told = problems(&dev, &all).remove(0).to_string();
        assert!(told.contains("of the Environment prod already"), "{told}");
    }
}
