//! Where an Environment's metrics are asked: `prometheus`. Pure.

use url::Url;

use super::Problem;
use crate::api::{EnvironmentSpec, environment::Prometheus};

/// Of its HTTP API, below its address.
const QUERIES: &str = "/api/v1/query";
/// What stands in its series for a pod, where the Environment says nothing else.
const NAMESPACE: &str = "namespace";
const POD: &str = "pod";

/// A Prometheus that can be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValidPrometheus {
    /// Of its instant queries, without a query; no user part.
    pub url: Url,
    /// Label of the namespace.
    pub namespace_label: String,
    /// Label of the pod's name.
    pub pod_label: String,
}

impl ValidPrometheus {
    /// Of an Environment; nothing where it has none.
    pub fn valid(spec: &EnvironmentSpec) -> Result<Option<Self>, Problem> {
        let Some(Prometheus { url, namespace_label, pod_label }) = &spec.prometheus else { return Ok(None) };
        let url = queries(url).map_err(|message| Problem::new("spec.prometheus.url", message))?;
        let label = |field: &str, given: &Option<String>, default: &str| match given {
            Some(name) if !is_label_name(name) => Err(Problem::new(
                format!("spec.prometheus.{field}"),
                format!(
                    "{name:?} is no name of a label: write letters, digits and `_`, not beginning with a digit or `__`"
                ),
            )),
            Some(name) => Ok(name.clone()),
            None => Ok(default.to_owned()),
        };
        Ok(Some(Self {
            url,
            namespace_label: label("namespaceLabel", namespace_label, NAMESPACE)?,
            pod_label: label("podLabel", pod_label, POD)?,
        }))
    }

    /// Its address, with what stands before the path of its API.
    pub fn address(&self) -> &str {
        let url = self.url.as_str();
        url.strip_suffix(QUERIES).unwrap_or(url)
    }
}

/// Of what stands there nothing is told back: it may hold a password.
fn queries(text: &str) -> Result<Url, &'static str> {
    let mut url = Url::parse(text)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
        .ok_or("is no address: write it like http://prometheus.monitoring.svc:9090")?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(
            "has a user or a password in it, which every reader of the Environment would see: remove it, and let the operator's pods in by their network",
        );
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("has a `?` or `#` in it: write what stands before `/api/v1/query`, and nothing else");
    }
    let path = format!("{}{QUERIES}", url.path().trim_end_matches('/'));
    url.set_path(&path);
    Ok(url)
}

/// As Prometheus' data model says it; names with two underscores are its own.
pub(crate) fn is_label_name(name: &str) -> bool {
    crate::runtime::check::is_variable(name) && !name.starts_with("__")
}

/// Of an Environment in which nobody counts requests.
pub fn no_prometheus(environment: &str) -> String {
    format!(
        "rollout.analysis: the Environment {environment} has no `prometheus`, so each step waits there until somebody skips it: the platform sets it, or write `environments: {{{environment}: {{rollout: {{analysis: null}}}}}}`"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn valid(prometheus: &str) -> Result<Option<ValidPrometheus>, String> {
        let spec: EnvironmentSpec = serde_saphyr::from_str(&format!("{{prometheus: {prometheus}}}")).unwrap();
        ValidPrometheus::valid(&spec).map_err(|problem| problem.to_string())
    }

    #[test]
    fn one_is_asked_below_its_address_by_the_usual_labels() {
        for (url, wanted) in [
            ("http://prometheus.monitoring.svc:9090", "http://prometheus.monitoring.svc:9090/api/v1/query"),
            ("https://mimir.example.com/prometheus/", "https://mimir.example.com/prometheus/api/v1/query"),
        ] {
            let found = valid(&format!("{{url: {url}}}")).unwrap().unwrap();
            assert_eq!(found.url.as_str(), wanted);
            assert_eq!(format!("{}/api/v1/query", found.address()), wanted);
            assert_eq!((found.namespace_label.as_str(), found.pod_label.as_str()), ("namespace", "pod"));
        }
        let found = valid("{url: http://p, namespaceLabel: kubernetes_namespace, podLabel: instance_pod}");
        let found = found.unwrap().unwrap();
        assert_eq!(found.namespace_label, "kubernetes_namespace");
        assert_eq!(found.pod_label, "instance_pod");
        assert_eq!(ValidPrometheus::valid(&EnvironmentSpec::default()), Ok(None));
    }

    #[test]
    fn what_is_wrong_names_its_field_and_never_a_password() {
        for (wrong, told) in [
            ("{url: prometheus}", "spec.prometheus.url: is no address"),
            ("{url: 'ftp://prometheus'}", "spec.prometheus.url: is no address"),
            ("{url: 'http://'}", "spec.prometheus.url: is no address"),
            ("{url: 'http://nora:secret@p'}", "spec.prometheus.url: has a user or a password"),
            ("{url: 'http://:secret@p'}", "spec.prometheus.url: has a user or a password"),
            ("{url: 'http://p?token=secret'}", "spec.prometheus.url: has a `?`"),
            ("{url: 'http://p#secret'}", "spec.prometheus.url: has a `?`"),
            ("{url: http://p, podLabel: a-b}", "spec.prometheus.podLabel: \"a-b\""),
            ("{url: http://p, namespaceLabel: __name__}", "spec.prometheus.namespaceLabel: \"__name__\""),
        ] {
            let message = valid(wrong).unwrap_err();
            assert!(message.starts_with(told), "{wrong}: {message}");
            assert!(!message.contains("secret"), "{message}");
        }
    }
}
