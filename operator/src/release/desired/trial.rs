//! A release that is tried beside the one that runs: its own Deployment and Service, and who is led to them. Pure.

use std::collections::BTreeMap;

use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{Service, ServiceSpec},
    policy::v1::PodDisruptionBudget,
};

use super::{Children, Footprint, Outside, Target, budget, deployment, label_selector, service::ports};
use crate::{
    api::{
        HttpRoute, Release, WorkloadType,
        http_route::{BackendRef, HeaderMatch, QueryMatch, RouteMatch, RouteRule},
    },
    names::{self, CANARY, MANAGED_BY, MANAGER, PREVIEW, TRACK},
    release::trial::Calls,
};

/// What is tried beside a service; by default nothing is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Trial<'a> {
    /// With as many instances as it is to have.
    pub release: Option<&'a Release>,
    /// So many of 100 requests a gateway gives it.
    pub weight: u8,
    /// Whom the service's own address leads to.
    pub calls: Calls,
}

/// What is beside a service. What is `None` must not exist.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Beside {
    /// Of an api.
    pub service: Option<Service>,
    /// Its pods have one label more than those of the service, which all that is around those holds for as well, and go
    /// without one that all others have: the selector of a Service knows no `not`.
    pub deployment: Option<Deployment>,
    /// Of its pods alone, which may be all that is called.
    pub disruption_budget: Option<PodDisruptionBudget>,
}

/// What is to be beside the service of `target`.
pub fn beside(target: &Target, trial: &Trial) -> Beside {
    let Some(release) = trial.release else { return Beside::default() };
    let target = &Target { release, ..*target };
    let running = [Footprint::of(release)];
    let mut deployment = deployment(target, &running, None);
    name(&mut deployment.metadata, target);
    if let Some(spec) = &mut deployment.spec {
        spec.selector = label_selector(selector(target));
        let labels = spec.template.metadata.get_or_insert_default().labels.get_or_insert_default();
        labels.extend(track());
        labels.remove(MANAGED_BY);
    }
    let service = (release.spec.type_ == WorkloadType::Api).then(|| {
        let mut metadata = target.metadata();
        name(&mut metadata, target);
        let spec = ServiceSpec {
            type_: Some("ClusterIP".to_owned()),
            selector: Some(selector(target)),
            ports: Some(ports(&running)),
            ..ServiceSpec::default()
        };
        Service { metadata, spec: Some(spec), status: None }
    });
    let mut metadata = target.metadata();
    name(&mut metadata, target);
    let disruption_budget = Some(budget::disruption_budget(metadata, label_selector(selector(target))));
    Beside { service, deployment: Some(deployment), disruption_budget }
}

/// `children` of `target`, with requests divided between them and what is beside.
pub fn divided(mut children: Children, target: &Target, trial: &Trial) -> Children {
    let selector = children.service.as_mut().and_then(|service| service.spec.as_mut()?.selector.as_mut());
    if let Some(selector) = selector {
        match trial.calls {
            Calls::All => {}
            Calls::Stable => selector.extend([(MANAGED_BY.to_owned(), MANAGER.to_owned())]),
            Calls::Tried => selector.extend(track()),
        }
    }
    children.route = children.route.map(|route| divided_route(route, target, trial));
    children
}

/// How people reach what is tried from outside, whatever its share is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preview {
    /// To be typed.
    pub command: String,
    /// For a browser; `None` where routes cannot tell it apart.
    pub url: Option<String>,
}

/// Of what is tried beside the service of `target`, where a gateway leads to it.
pub fn preview(target: &Target, trial: &Trial) -> Option<Preview> {
    let Outside { entrance, taken, is_unsure, by_query, .. } = target.outside;
    let tried = trial.release.filter(|release| release.spec.replicas > 0 && !is_unsure)?;
    let path = tried.spec.expose.as_ref().map(|expose| &expose.path).filter(|path| !taken.contains(*path))?;
    let host = names::host(target.tenant, &entrance.as_ref()?.domain);
    let (service, address) = (&target.release.spec.service, format!("https://{host}{path}"));
    Some(Preview {
        command: format!("curl -H '{PREVIEW}: {service}' {address}"),
        url: by_query.then(|| format!("{address}?{PREVIEW}={service}")),
    })
}

/// `one`, of requests that ask for what is tried: by their header, or in their address, as a browser does.
fn asked(one: &RouteMatch, target: &Target) -> Vec<RouteMatch> {
    let (name, value) = (PREVIEW.to_owned(), target.release.spec.service.clone());
    let query = target.outside.by_query.then(|| QueryMatch { name: name.clone(), value: value.clone() });
    let by_query = query.map(|query| RouteMatch { query: vec![query], ..one.clone() });
    let by_header = RouteMatch { headers: vec![HeaderMatch { name, value }], ..one.clone() };
    std::iter::once(by_header).chain(by_query).collect()
}

/// `route` with a share for what is beside, and all requests that ask for it.
fn divided_route(mut route: HttpRoute, target: &Target, trial: &Trial) -> HttpRoute {
    let tried = trial.release.filter(|release| release.spec.replicas > 0);
    let Some(tried) = tried.and_then(|release| release.spec.expose.as_ref()) else { return route };
    let service = &target.release.spec.service;
    let own = target.release.spec.expose.as_ref().map(|expose| &expose.path);
    let is_tried = |rule: &RouteRule| rule.matches.iter().any(|one| one.path.value == tried.path);
    let beside = |weight| BackendRef { name: names::beside(service), port: tried.port.port, weight };
    let mut rules = Vec::new();
    for mut rule in route.spec.rules {
        if is_tried(&rule) {
            let matches = rule.matches.iter().flat_map(|one| asked(one, target)).collect();
            rules.push(target.outside.rule(tried, matches, vec![beside(None)]));
            if own != Some(&tried.path) {
                rule.backend_refs = vec![beside(None)];
            } else if trial.weight > 0 {
                rule.backend_refs.iter_mut().for_each(|own| own.weight = Some(100 - trial.weight));
                rule.backend_refs.push(beside(Some(trial.weight)));
            }
        }
        rules.push(rule);
    }
    route.spec.rules = rules;
    route
}

fn name(metadata: &mut kube::api::ObjectMeta, target: &Target) {
    metadata.name = Some(names::beside(&target.release.spec.service));
    metadata.labels.get_or_insert_default().extend(track());
}

/// The labels that find the pods of what is tried beside the service of `target`.
pub fn selector(target: &Target) -> BTreeMap<String, String> {
    target.selector().into_iter().chain(track()).collect()
}

fn track() -> [(String, String); 1] {
    [(TRACK.to_owned(), CANARY.to_owned())]
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::PodTemplateSpec;
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        api::{EnvironmentSpec, http_route::RuleFields},
        release::desired::{Outside, Reach, desired},
        sample,
    };

    fn release(name: &str, more: &str) -> Release {
        let found = "imaas.dev/tenant: acme, imaas.dev/service: orders, imaas.dev/environment: dev";
        let labels = format!("{{{found}, app.kubernetes.io/managed-by: imaas-operator}}");
        let template = format!("template: {{metadata: {{labels: {labels}}}, spec: {{containers: []}}}}");
        sample::release(name, &format!("{template}, ports: [{{name: http, port: 8080}}], {more}"))
    }

    fn exposed(path: &str) -> String {
        format!("expose: {{path: {path}, port: {{name: http, port: 8080}}}}")
    }

    /// Objects for `old`, beside which `trial` is.
    fn children(old: &Release, trial: &Trial) -> (Children, Beside) {
        let gateway = "{domain: dev.example.com, gateway: {name: public, namespace: gateway-system}}";
        let spec: EnvironmentSpec = serde_saphyr::from_str(gateway).unwrap();
        let rules = RuleFields { timeouts: true, retry: true };
        let (outside, reach) = (Outside { rules, ..Outside::of(&spec, "imaas-system") }, Reach::default());
        let target = target(old, (&reach, &outside));
        let running: Vec<_> = [Some(old), trial.release].into_iter().flatten().map(Footprint::of).collect();
        let all = divided(desired(&target, &running, None), &target, trial);
        (all, beside(&target, trial))
    }

    fn target<'a>(release: &'a Release, (reach, outside): (&'a Reach, &'a Outside)) -> Target<'a> {
        Target { tenant: "acme", release, config: None, networks: &[], reach, outside }
    }

    fn labels(template: &PodTemplateSpec) -> BTreeMap<String, String> {
        template.metadata.clone().unwrap().labels.unwrap()
    }

    fn selected(service: &Service) -> Value {
        let mut selector = service.spec.clone().unwrap().selector.unwrap();
        selector.retain(|label, _| {
            !["imaas.dev/tenant", "imaas.dev/service", "imaas.dev/environment"].contains(&label.as_str())
        });
        json!(selector)
    }

    /// `path [header] backend:port weight …` of each rule.
    fn routed(children: &Children) -> Vec<String> {
        let rule = |rule: &RouteRule| {
            let one = &rule.matches[0];
            let headers = one.headers.iter().map(|header| format!(" [{}: {}]", header.name, header.value));
            let backends = rule.backend_refs.iter().map(|backend| {
                let weight = backend.weight.map(|weight| format!(" {weight}")).unwrap_or_default();
                format!(" {}:{}{weight}", backend.name, backend.port)
            });
            one.path.value.clone() + &headers.chain(backends).collect::<String>()
        };
        children.route.iter().flat_map(|route| &route.spec.rules).map(rule).collect()
    }

    #[test]
    fn what_is_tried_has_pods_of_its_own_that_the_service_finds_as_well() {
        let (old, new) = (release("orders-dev-a", ""), release("orders-dev-b", "replicas: 1"));
        let trial = Trial { release: Some(&new), ..Trial::default() };
        let (all, Beside { service, deployment, disruption_budget }) = children(&old, &trial);
        let (service, deployment, budget) =
            (service.unwrap(), deployment.unwrap(), disruption_budget.unwrap());
        for metadata in [&deployment.metadata, &service.metadata, &budget.metadata] {
            assert_eq!(metadata.name.as_deref(), Some("orders-canary"));
        }
        let spec = deployment.spec.unwrap();
        assert_eq!(deployment.metadata.annotations.unwrap()["imaas.dev/release"], "orders-dev-b");
        assert_eq!(spec.replicas, Some(1));
        let labels = labels(&spec.template);
        assert_eq!(spec.selector.match_labels.as_ref(), Some(&labels));
        assert_eq!(labels["imaas.dev/track"], "canary");
        assert_eq!(selected(&service), json!({ "imaas.dev/track": "canary" }));
        assert_eq!(budget.spec.unwrap().selector, Some(spec.selector.clone()));
        let own = all.disruption_budget.unwrap().spec.unwrap().selector.unwrap().match_expressions.unwrap();
        assert!(own.iter().any(|one| one.key == "imaas.dev/track" && one.operator == "DoesNotExist"));
        let own = all.deployment.unwrap();
        assert_eq!(own.metadata.annotations.unwrap()["imaas.dev/release"], "orders-dev-a");
        let own = own.spec.unwrap().selector.match_labels.unwrap();
        assert!(own.iter().all(|(label, value)| labels.get(label) == Some(value)), "{own:?} {labels:?}");
        let (_, none) = children(&old, &Trial::default());
        assert_eq!(none, Beside::default());
        let worker = release("orders-dev-b", "type: worker");
        let (_, beside) = children(&old, &Trial { release: Some(&worker), ..Trial::default() });
        assert!(beside.service.is_none() && beside.deployment.is_some());
    }

    #[test]
    fn the_services_address_leads_to_whom_the_step_says() {
        let (old, new) = (release("orders-dev-a", ""), release("orders-dev-b", ""));
        let called = |calls| {
            let trial = Trial { release: Some(&new), calls, weight: 0 };
            let (all, beside) = children(&old, &trial);
            let selector = all.service.unwrap().spec.unwrap().selector.unwrap();
            [all.deployment, beside.deployment].map(|deployment| {
                let labels = labels(&deployment.unwrap().spec.unwrap().template);
                selector.iter().all(|(label, value)| labels.get(label) == Some(value))
            })
        };
        assert_eq!(called(Calls::All), [true, true]);
        assert_eq!(called(Calls::Stable), [true, false], "of whatever version, as while it is restarted");
        assert_eq!(called(Calls::Tried), [false, true]);
    }

    #[test]
    fn a_gateway_divides_requests_and_leads_those_with_the_header_to_what_is_tried() {
        let [old, new, moved] = [("a", "/orders"), ("b", "/orders"), ("b", "/bestellungen")]
            .map(|(name, path)| release(name, &exposed(path)));
        let told = |new: &Release, weight| {
            let trial = Trial { release: Some(new), weight, ..Trial::default() };
            routed(&children(&old, &trial).0)
        };
        let preview = "/orders [imaas-preview: orders] orders-canary:8080";
        assert_eq!(told(&new, 0), [preview, "/orders orders:8080"]);
        assert_eq!(told(&new, 10), [preview, "/orders orders:8080 90 orders-canary:8080 10"]);
        assert_eq!(told(&new, 100), [preview, "/orders orders:8080 0 orders-canary:8080 100"]);
        let own = [
            "/bestellungen [imaas-preview: orders] orders-canary:8080",
            "/bestellungen orders-canary:8080",
            "/orders orders:8080",
        ];
        assert_eq!(told(&moved, 10), own, "no instance of the old one answers there");
        let mut gone = new;
        gone.spec.replicas = 0;
        assert_eq!(told(&gone, 0), ["/orders orders:8080"]);
    }

    #[test]
    fn what_is_tried_is_looked_at_by_a_header_and_where_routes_can_say_it_by_an_address() {
        let [old, mut new] = ["a", "b"].map(|name| release(name, &exposed("/orders")));
        let gateway = "{domain: dev.example.com, gateway: {name: public, namespace: gateway-system}}";
        let outside = Outside::of(&serde_saphyr::from_str(gateway).unwrap(), "imaas-system");
        let told = |tried: &Release, outside: &Outside| {
            let reach = Reach::default();
            let target = target(&old, (&reach, outside));
            let trial = Trial { release: Some(tried), ..Trial::default() };
            let running = [Footprint::of(&old), Footprint::of(tried)];
            let all = divided(desired(&target, &running, None), &target, &trial);
            let matches = all.route.map_or(json!([]), |route| json!(route.spec.rules[0].matches));
            (preview(&target, &trial), matches)
        };
        let command = "curl -H 'imaas-preview: orders' https://acme.dev.example.com/orders".to_owned();
        let path = json!({ "type": "PathPrefix", "value": "/orders" });
        let asks = json!([{ "name": "imaas-preview", "value": "orders" }]);
        let by_header = json!({ "path": path, "headers": asks });
        let preview = Preview { command: command.clone(), url: None };
        assert_eq!(told(&new, &outside), (Some(preview), json!([by_header])));
        let by_query = Outside { by_query: true, ..outside.clone() };
        let url = "https://acme.dev.example.com/orders?imaas-preview=orders".to_owned();
        let preview = Preview { command, url: Some(url) };
        let both = json!([by_header, { "path": path, "queryParams": asks }]);
        assert_eq!(told(&new, &by_query), (Some(preview), both));
        for nowhere in [
            Outside { taken: ["/orders".to_owned()].into(), ..outside.clone() },
            Outside { is_unsure: true, ..outside.clone() },
            Outside::default(),
        ] {
            assert_eq!(told(&new, &nowhere).0, None, "{nowhere:?}");
        }
        new.spec.replicas = 0;
        assert_eq!(told(&new, &by_query).0, None);
    }

    #[test]
    fn every_rule_of_a_trial_keeps_the_limits() {
        let limited = |name, limits: &str| {
            let expose = format!("path: /orders, port: {{name: http, port: 8080}}, {limits}");
            release(name, &format!("expose: {{{expose}}}"))
        };
        let (old, new) =
            (limited("a", "timeoutSeconds: 30, retries: 1"), limited("b", "timeoutSeconds: 9, retries: 2"));
        let trial = Trial { release: Some(&new), weight: 10, ..Trial::default() };
        let limits = |rule: &RouteRule| {
            format!("{} {}", rule.timeouts.clone().unwrap().request, rule.retry.clone().unwrap().attempts)
        };
        let route = children(&old, &trial).0.route.unwrap();
        let told: Vec<_> = route.spec.rules.iter().map(limits).collect();
        assert_eq!(told, ["9s 2", "30s 1"], "who asks for the tried one, and who does not");
    }
}
