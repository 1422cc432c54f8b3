//! The way into a service from outside of the tenants: by the gateway where it is exposed, and for those who collect
//! metrics. Pure.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::{
    api::networking::v1::{NetworkPolicyIngressRule, NetworkPolicyPeer},
    apimachinery::pkg::apis::meta::v1::LabelSelector,
};

use super::{
    Target,
    footprint::Footprint,
    label_selector,
    reach::{answering, open_ports},
};
use crate::{
    api::{
        Broker, EnvironmentSpec, HttpRoute, ReleaseExpose,
        environment::{Gateway, Pods},
        http_route::{
            BackendRef, HttpRouteSpec, ParentRef, PathMatch, RouteMatch, RouteRetry, RouteRule,
            RouteTimeouts, RuleFields,
        },
    },
    environment::{ValidPrometheus, egress::port},
    names::{self, NAMESPACE_NAME},
    release::triggers::Sources,
};

/// Answers in place of the service's own: it was not there, or a proxy on the way gave up.
const RETRIED: [u16; 3] = [502, 503, 504];
/// Between two tries: the endpoints of an instance that left may be a moment old.
const BACKOFF: &str = "100ms";

/// Who comes in from outside of the tenants, and what waits for them there, as the Environment says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outside {
    /// By what exposed services are reached.
    pub entrance: Option<Entrance>,
    /// Who collects metrics.
    pub monitoring: Option<Pods>,
    /// Who asks how runtimes are: the operator itself.
    pub operator: Option<Pods>,
    /// Paths that another service of the tenant has here: never two of one host.
    pub taken: BTreeSet<String>,
    /// The Environment is not valid: the route that is there stays as it is.
    pub is_unsure: bool,
    /// What the cluster's routes can say.
    pub rules: RuleFields,
    /// Can they tell requests apart by a parameter of their address?
    pub by_query: bool,
    /// Where work waits; none of an Environment that is not valid.
    pub brokers: Vec<Broker>,
    /// Where requests are counted; nothing of an Environment that is not valid.
    pub prometheus: Option<ValidPrometheus>,
}

/// See [`Outside`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entrance {
    /// What the hosts end in.
    pub domain: String,
    /// What leads there.
    pub gateway: Gateway,
}

impl Outside {
    /// As an Environment says it, of which nothing is taken. `operator`: the operator's own namespace.
    pub fn of(spec: &EnvironmentSpec, operator: &str) -> Self {
        let entrance = spec.domain.clone().zip(spec.gateway.clone());
        Self {
            entrance: entrance.map(|(domain, gateway)| Entrance { domain, gateway }),
            monitoring: spec.monitoring.clone(),
            operator: Some(Pods {
                namespace: operator.to_owned(),
                labels: [(names::APP.to_owned(), names::MANAGER.to_owned())].into(),
            }),
            taken: BTreeSet::new(),
            is_unsure: false,
            rules: RuleFields::default(),
            by_query: false,
            brokers: spec.brokers.clone(),
            prometheus: ValidPrometheus::valid(spec).ok().flatten(),
        }
    }

    /// By what numbers of instances may follow.
    pub fn sources(&self) -> Sources<'_> {
        Sources { brokers: &self.brokers, has_prometheus: self.prometheus.is_some() }
    }

    /// Where requests for `expose` that `matches` go, within its limits as far as routes can say them here.
    pub(super) fn rule(
        &self,
        expose: &ReleaseExpose,
        matches: Vec<RouteMatch>,
        backend_refs: Vec<BackendRef>,
    ) -> RouteRule {
        let timeout = expose.timeout_seconds.filter(|_| self.rules.timeouts);
        let retries = expose.retries.filter(|_| self.rules.retry);
        RouteRule {
            matches,
            backend_refs,
            timeouts: timeout.map(|seconds| RouteTimeouts { request: format!("{seconds}s") }),
            retry: retries.map(|attempts| RouteRetry {
                codes: RETRIED.into(),
                attempts,
                backoff: BACKOFF.to_owned(),
            }),
        }
    }

    /// What of `running` is exposed.
    fn exposed<'a>(&'a self, running: &'a [Footprint]) -> impl Iterator<Item = &'a ReleaseExpose> {
        let open = open_ports(running);
        running
            .iter()
            .filter_map(|one| one.expose.as_ref())
            .filter(move |one| !self.taken.contains(&one.path) && open.contains(&one.port))
    }

    /// From the gateway to what is exposed, from those who collect metrics to the runtime's, and from the operator to where
    /// the runtime says how it is and to what it asks of a release that is tried.
    pub(super) fn ingress(&self, running: &[Footprint]) -> Vec<NetworkPolicyIngressRule> {
        let exposed: Vec<_> = self.exposed(running).map(|one| one.port.clone()).collect();
        let gateway = self.entrance.as_ref().map(|entrance| pods(&entrance.gateway));
        let monitoring = self.monitoring.as_ref().map(peer);
        let operator = self.operator.as_ref().map(peer);
        let metrics: BTreeSet<_> = running.iter().filter_map(|one| one.metrics).collect();
        let asked: BTreeSet<_> = running.iter().flat_map(|one| [one.health, one.smoke]).flatten().collect();
        let rule = |(from, numbers): (Option<NetworkPolicyPeer>, Vec<u16>)| {
            let ports: Vec<_> = numbers.into_iter().map(|number| port("TCP", number)).collect();
            let from = Some(vec![from?]);
            // No ports in a rule would mean all of them.
            (!ports.is_empty()).then_some(NetworkPolicyIngressRule { from, ports: Some(ports) })
        };
        let ways = [
            (gateway, answering(&exposed, &open_ports(running))),
            (monitoring, metrics.into_iter().collect()),
            (operator, asked.into_iter().collect()),
        ];
        ways.into_iter().filter_map(rule).collect()
    }
}

fn pods(gateway: &Gateway) -> NetworkPolicyPeer {
    let whole = || Pods { namespace: gateway.namespace.clone(), labels: BTreeMap::new() };
    gateway.pods.as_ref().map_or_else(|| peer(&whole()), peer)
}

fn peer(Pods { namespace, labels }: &Pods) -> NetworkPolicyPeer {
    let own = BTreeMap::from([(NAMESPACE_NAME.to_owned(), namespace.clone())]);
    NetworkPolicyPeer {
        namespace_selector: Some(label_selector(own)),
        pod_selector: Some(if labels.is_empty() {
            LabelSelector::default()
        } else {
            label_selector(labels.clone())
        }),
        ip_block: None,
    }
}

/// The route to what `running` expose; `None` where that is nothing, or where nothing leads there. A path goes to the port
/// of the first that has it, within its limits.
pub fn route(target: &Target, running: &[Footprint]) -> Option<HttpRoute> {
    let Entrance { domain, gateway } = target.outside.entrance.as_ref()?;
    let mut paths = BTreeMap::new();
    for expose in target.outside.exposed(running) {
        paths.entry(&expose.path).or_insert(expose);
    }
    if paths.is_empty() {
        return None;
    }
    let metadata = target.metadata();
    let name = metadata.name.clone().unwrap_or_default();
    let rule = |expose: &ReleaseExpose| {
        let path = PathMatch { type_: "PathPrefix".to_owned(), value: expose.path.clone() };
        let backend = BackendRef { name: name.clone(), port: expose.port.port, weight: None };
        target.outside.rule(expose, vec![RouteMatch { path, ..RouteMatch::default() }], vec![backend])
    };
    let Gateway { name: gateway, namespace, section_name, pods: _ } = gateway.clone();
    let spec = HttpRouteSpec {
        parent_refs: vec![ParentRef { name: gateway, namespace, section_name }],
        hostnames: vec![names::host(target.tenant, domain)],
        rules: paths.into_values().map(rule).collect(),
    };
    Some(HttpRoute { metadata, spec, status: None })
}

#[cfg(test)]
mod tests {
    use std::slice;

    use serde_json::{Value, json};

    use super::*;
    use crate::{
        api::{Port, Release},
        release::desired::{Reach, desired},
        sample,
    };

    fn release(more: &str) -> Release {
        let ports = "ports: [{name: http, port: 8080}, {name: rpc, port: 9000}]";
        sample::release("orders-dev-a", &format!("{ports}, {more}"))
    }

    fn exposing(path: &str, name: &str, number: u16) -> Footprint {
        let port = Port { name: name.into(), port: number };
        let mut footprint = Footprint::of(&release(""));
        footprint.ports = vec![port.clone(), Port { name: "rpc".into(), port: 9000 }];
        footprint.expose =
            Some(ReleaseExpose { path: path.into(), port, timeout_seconds: None, retries: None });
        footprint
    }

    fn outside() -> Outside {
        let spec: EnvironmentSpec = serde_saphyr::from_str(
            "{domain: dev.example.com, gateway: {name: public, namespace: gateway-system, sectionName: https, pods: {namespace: edge, labels: {app: traefik}}},
              monitoring: {namespace: monitoring}}",
        )
        .unwrap();
        Outside::of(&spec, "imaas-system")
    }

    fn routed(outside: &Outside, running: &[Footprint]) -> Option<Value> {
        let (release, reach) = (release(""), Reach::default());
        let target =
            Target { tenant: "acme", release: &release, config: None, networks: &[], reach: &reach, outside };
        route(&target, running).map(|route| serde_json::to_value(route.spec).unwrap())
    }

    fn rules(running: &[Footprint]) -> Vec<(String, u64)> {
        let spec = routed(&outside(), running).unwrap_or_default();
        let rules = spec["rules"].as_array().cloned().unwrap_or_default();
        let rule = |rule: &Value| {
            let path = rule["matches"][0]["path"]["value"].as_str().unwrap().to_owned();
            (path, rule["backendRefs"][0]["port"].as_u64().unwrap())
        };
        rules.iter().map(rule).collect()
    }

    /// `namespace labels port…` of each rule from outside.
    fn opened(outside: &Outside, running: &[Footprint]) -> Vec<String> {
        let rules = serde_json::to_value(outside.ingress(running)).unwrap();
        let rule = |rule: &Value| {
            let ports: Vec<_> =
                rule["ports"].as_array().unwrap().iter().map(|port| port["port"].to_string()).collect();
            let from = &rule["from"][0];
            let namespace = &from["namespaceSelector"]["matchLabels"][NAMESPACE_NAME];
            format!("{namespace} {} {}", from["podSelector"]["matchLabels"], ports.join(" ")).replace('"', "")
        };
        rules.as_array().unwrap().iter().map(rule).collect()
    }

    #[test]
    fn the_host_is_the_tenants_and_the_path_and_port_are_the_services() {
        assert_eq!(
            routed(&outside(), &[exposing("/orders", "http", 8080)]).unwrap(),
            json!({
                "parentRefs": [{ "name": "public", "namespace": "gateway-system", "sectionName": "https" }],
                "hostnames": ["acme.dev.example.com"],
                "rules": [{
                    "matches": [{ "path": { "type": "PathPrefix", "value": "/orders" } }],
                    "backendRefs": [{ "name": "orders", "port": 8080 }],
                }],
            })
        );
    }

    #[test]
    fn there_is_no_route_to_what_is_not_exposed_or_has_no_gateway_or_is_anothers() {
        let running = [exposing("/orders", "http", 8080)];
        assert_eq!(routed(&outside(), &[Footprint::of(&release(""))]), None);
        assert_eq!(routed(&Outside::default(), &running), None);
        let taken = Outside { taken: ["/orders".to_owned()].into(), ..outside() };
        assert_eq!(routed(&taken, &running), None);
        assert_eq!(opened(&taken, &running), [""; 0]);
        let mut kept = exposing("/orders", "http", 8080);
        kept.ports.clear();
        kept.management = vec![8080];
        assert_eq!(rules(&[running[0].clone(), kept]), [], "some pods keep that number for their management");
    }

    #[test]
    fn a_rule_has_the_limits_of_what_is_exposed_as_far_as_the_clusters_routes_can_say_them() {
        let mut one = exposing("/orders", "http", 8080);
        let limits = |one: &Footprint, timeouts, retry| {
            let outside = Outside { rules: RuleFields { timeouts, retry }, ..outside() };
            let mut rule = routed(&outside, slice::from_ref(one)).unwrap()["rules"][0].take();
            ["timeouts", "retry"].map(|field| rule[field].take())
        };
        assert_eq!(limits(&one, true, true), [Value::Null, Value::Null], "none unless asked");
        one.expose.iter_mut().for_each(|expose| {
            expose.timeout_seconds = Some(90);
            expose.retries = Some(2);
        });
        let timeouts = json!({ "request": "90s" });
        let retry = json!({ "attempts": 2, "codes": [502, 503, 504], "backoff": "100ms" });
        assert_eq!(limits(&one, true, true), [timeouts.clone(), retry]);
        assert_eq!(limits(&one, true, false), [timeouts, Value::Null]);
        assert_eq!(limits(&one, false, false), [Value::Null, Value::Null]);
    }

    #[test]
    fn while_pods_of_two_releases_may_run_both_paths_lead_to_them() {
        let [a, b] = [exposing("/a", "http", 8080), exposing("/b", "http", 8081)];
        assert_eq!(rules(&[a.clone(), b.clone()]), [("/a".into(), 8080), ("/b".into(), 8081)]);
        assert_eq!(rules(slice::from_ref(&a)), [("/a".into(), 8080)]);
        let moved = exposing("/a", "http", 8081);
        assert_eq!(
            rules(&[a.clone(), moved.clone()]),
            [("/a".into(), 8080)],
            "what serves, until it is gone"
        );
        assert_eq!(opened(&outside(), &[a, moved]), ["edge {app:traefik} 8080 8081"]);
    }

    #[test]
    fn the_gateway_comes_to_the_exposed_port_only_and_metrics_are_collected_by_whom_the_environment_says() {
        let mut one = exposing("/orders", "http", 8080);
        assert_eq!(opened(&outside(), &[one.clone()]), ["edge {app:traefik} 8080"]);
        one.metrics = Some(9876);
        assert_eq!(opened(&outside(), &[one.clone()]), ["edge {app:traefik} 8080", "monitoring null 9876"]);
        one.expose = None;
        assert_eq!(opened(&outside(), &[one.clone()]), ["monitoring null 9876"]);
        assert_eq!(opened(&Outside::default(), &[one]), [""; 0]);
        let mut everything = outside();
        everything.entrance.as_mut().unwrap().gateway.pods = None;
        assert_eq!(opened(&everything, &[exposing("/", "http", 8080)]), ["gateway-system null 8080"]);
    }

    #[test]
    fn the_operator_comes_to_where_a_runtime_says_how_it_is_and_to_nothing_else() {
        let mut one = exposing("/orders", "http", 8080);
        let gateway = "edge {app:traefik} 8080";
        assert_eq!(
            opened(&outside(), &[one.clone()]),
            [gateway],
            "no rule without ports, which would open all"
        );
        one.health = Some(9876);
        let operator = "imaas-system {app.kubernetes.io/name:imaas-operator} 9876";
        assert_eq!(opened(&outside(), &[one]), [gateway, operator]);
    }

    #[test]
    fn the_operator_comes_to_the_port_of_a_smoke_check_where_one_is_declared() {
        let (ran, mut tried) = (exposing("/orders", "http", 8080), exposing("/orders", "http", 8080));
        let gateway = "edge {app:traefik} 8080";
        assert_eq!(opened(&outside(), &[ran.clone(), tried.clone()]), [gateway]);
        tried.smoke = Some(9000);
        let operator = "imaas-system {app.kubernetes.io/name:imaas-operator} 9000";
        assert_eq!(opened(&outside(), &[ran.clone(), tried.clone()]), [gateway, operator]);
        tried.health = Some(9876);
        let both = "imaas-system {app.kubernetes.io/name:imaas-operator} 9000 9876";
        assert_eq!(opened(&outside(), &[ran.clone(), tried]), [gateway, both]);
        assert_eq!(opened(&outside(), &[ran]), [gateway], "it has gone");
    }

    #[test]
    fn a_number_that_some_pods_keep_for_management_is_not_opened_by_its_name() {
        let [one, moved] = [exposing("/orders", "http", 8080), exposing("/orders", "http", 8081)];
        let mut keeps = exposing("/orders", "http", 8080);
        keeps.management = vec![8081];
        assert_eq!(opened(&outside(), &[one, moved, keeps]), ["edge {app:traefik} 8080"]);
    }

    #[test]
    fn the_route_is_named_and_labelled_as_everything_of_the_service() {
        let release = release("expose: {path: /orders, port: {name: http, port: 8080}}");
        let (outside, reach) = (outside(), Reach::default());
        let target = Target {
            tenant: "acme",
            release: &release,
            config: None,
            networks: &[],
            reach: &reach,
            outside: &outside,
        };
        let children = desired(&target, &[Footprint::of(&release)], None);
        assert_eq!(children.route.unwrap().metadata, children.service.unwrap().metadata);
    }
}
