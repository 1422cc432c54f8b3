//! The way between a service and those of other tenants, opened for exactly that pair and from both sides. Pure.

use k8s_openapi::{
    api::networking::v1::{NetworkPolicyEgressRule, NetworkPolicyIngressRule, NetworkPolicyPeer},
    apimachinery::pkg::apis::meta::v1::LabelSelector,
};

use super::{footprint::Footprint, label_selector};
use crate::{
    api::{Port, ReleaseUse},
    environment::egress::port,
    names::{self, NAMESPACE_NAME, TENANT},
    release::render::selector,
};

/// Services of other tenants that a service may talk with, in the environment of its release. Who exports and who uses is
/// decided before: what is not here is closed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// Those that export to it, each with every port that its pods have.
    pub providers: Vec<Neighbour>,
    /// Those that it exports to and that use it, each with the ports that they call.
    pub callers: Vec<Neighbour>,
}

/// A service of another tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// Name of its tenant.
    pub tenant: String,
    /// Its name.
    pub service: String,
    /// See [`Reach`].
    pub ports: Vec<Port>,
}

impl Reach {
    /// From the callers, to what they call of the ports that pods of `running` have.
    pub(super) fn ingress(&self, environment: &str, running: &[Footprint]) -> Vec<NetworkPolicyIngressRule> {
        let declared = open_ports(running);
        let rule = |caller: &Neighbour| {
            let numbers = answering(&caller.ports, &declared);
            let ports: Vec<_> = numbers.into_iter().map(|number| port("TCP", number)).collect();
            let from = Some(vec![caller.pods(environment)]);
            // No ports in a rule would mean all of them.
            (!ports.is_empty()).then_some(NetworkPolicyIngressRule { from, ports: Some(ports) })
        };
        self.callers.iter().filter_map(rule).collect()
    }

    /// To the providers that `running` use.
    pub(super) fn egress(&self, environment: &str, running: &[Footprint]) -> Vec<NetworkPolicyEgressRule> {
        let rule = |provider: &Neighbour| {
            let uses = running.iter().flat_map(|one| &one.uses).filter(|used| provider.is(used));
            let called: Vec<_> = uses.map(|used| used.port.clone()).collect();
            let numbers = answering(&called, &provider.ports);
            let ports: Vec<_> = numbers.into_iter().map(|number| port("TCP", number)).collect();
            let to = Some(vec![provider.pods(environment)]);
            (!ports.is_empty()).then_some(NetworkPolicyEgressRule { to, ports: Some(ports) })
        };
        self.providers.iter().filter_map(rule).collect()
    }
}

impl Neighbour {
    fn is(&self, used: &ReleaseUse) -> bool {
        used.tenant.as_ref() == Some(&self.tenant) && used.service == self.service
    }

    /// Its pods, in its tenant's own namespace of the environment.
    fn pods(&self, environment: &str) -> NetworkPolicyPeer {
        let namespace = names::environment_namespace(&self.tenant, environment);
        let namespace = [(NAMESPACE_NAME.to_owned(), namespace), (TENANT.to_owned(), self.tenant.clone())];
        let labels = LabelSelector { match_labels: Some(namespace.into()), ..LabelSelector::default() };
        NetworkPolicyPeer {
            namespace_selector: Some(labels),
            pod_selector: Some(label_selector(selector(&self.tenant, &self.service, environment))),
            ip_block: None,
        }
    }
}

/// Ports of the pods of `running`, without any that is one of management in some of them: a rule holds for all of them.
pub fn open_ports(running: &[Footprint]) -> Vec<Port> {
    let is_kept = |number: u16| running.iter().any(|one| one.management.contains(&number));
    let mut open: Vec<Port> = Vec::new();
    for port in running.iter().flat_map(|one| &one.ports).filter(|port| !is_kept(port.port)) {
        if !open.contains(port) {
            open.push(port.clone());
        }
    }
    open
}

/// The numbers among `declared` on which pods answer who calls `called`: the Service leads to the number, or to the port's
/// name where pods have it on different numbers.
pub(super) fn answering(called: &[Port], declared: &[Port]) -> Vec<u16> {
    let is_called = |port: &&Port| called.iter().any(|one| one.name == port.name || one.port == port.port);
    let mut numbers: Vec<_> = declared.iter().filter(is_called).map(|port| port.port).collect();
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::WorkloadType;

    fn ports(ports: &[(&str, u16)]) -> Vec<Port> {
        ports.iter().map(|(name, port)| Port { name: (*name).to_owned(), port: *port }).collect()
    }

    fn neighbour(tenant: &str, called: &[(&str, u16)]) -> Neighbour {
        Neighbour { tenant: tenant.to_owned(), service: "stock".to_owned(), ports: ports(called) }
    }

    fn footprint(declared: &[(&str, u16)], management: &[u16], uses: &[(&str, u16)]) -> Footprint {
        let called = |port: Port| ReleaseUse { tenant: Some("beta".into()), service: "stock".into(), port };
        Footprint {
            type_: WorkloadType::Api,
            many: true,
            ports: ports(declared),
            management: management.to_vec(),
            connects: vec![],
            uses: ports(uses).into_iter().map(called).collect(),
            expose: None,
            metrics: None,
            health: None,
            smoke: None,
            grace_seconds: 30,
        }
    }

    fn numbers(
        rules: impl IntoIterator<Item = Option<Vec<k8s_openapi::api::networking::v1::NetworkPolicyPort>>>,
    ) -> Vec<String> {
        let ports = rules.into_iter().flatten().flatten();
        ports.map(|port| serde_json::to_string(&port.port).unwrap()).collect()
    }

    #[test]
    fn a_caller_gets_the_ports_that_it_calls_and_no_other() {
        let running = [footprint(&[("http", 8080), ("admin", 9000)], &[9876], &[])];
        let open = |called: &[(&str, u16)]| {
            let reach = Reach { callers: vec![neighbour("acme", called)], ..Reach::default() };
            numbers(reach.ingress("dev", &running).into_iter().map(|rule| rule.ports))
        };
        assert_eq!(open(&[("http", 8080)]), ["8080"]);
        assert_eq!(open(&[("web", 9000)]), ["9000"], "renamed since");
        assert_eq!(open(&[("gone", 7000)]), [""; 0], "and no rule, which would open all");
        assert_eq!(open(&[("metrics", 9876)]), [""; 0], "management");
    }

    #[test]
    fn while_a_port_moves_both_numbers_are_open() {
        let running = [footprint(&[("http", 8080)], &[], &[]), footprint(&[("http", 8081)], &[], &[])];
        let reach = Reach { callers: vec![neighbour("acme", &[("http", 8080)])], ..Reach::default() };
        let rules = reach.ingress("dev", &running);
        assert_eq!(numbers(rules.into_iter().map(|rule| rule.ports)), ["8080", "8081"]);
    }

    #[test]
    fn a_number_that_some_pods_keep_for_management_is_open_in_none() {
        let running = [footprint(&[("a", 1), ("b", 2)], &[], &[]), footprint(&[("a", 1)], &[2], &[])];
        assert_eq!(open_ports(&running), ports(&[("a", 1)]));
    }

    #[test]
    fn only_a_provider_that_is_used_and_exports_is_opened() {
        let uses = [footprint(&[], &[], &[("http", 8080)])];
        let rules = |provider: &str, running: &[Footprint]| {
            let provider = neighbour(provider, &[("http", 8080), ("grpc", 9000)]);
            let reach = Reach { providers: vec![provider], ..Reach::default() };
            numbers(reach.egress("dev", running).into_iter().map(|rule| rule.ports))
        };
        assert_eq!(rules("beta", &uses), ["8080"]);
        assert_eq!(rules("gamma", &uses), [""; 0]);
        assert_eq!(rules("beta", &[footprint(&[], &[], &[])]), [""; 0]);
        assert_eq!(Reach::default().egress("dev", &uses), []);
    }
}
