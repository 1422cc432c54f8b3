//! Who may call a service and whom it may call, on top of what holds for every pod of the namespace. Pure.

use k8s_openapi::{
    api::networking::v1::{NetworkPolicy, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicySpec},
    apimachinery::pkg::apis::meta::v1::LabelSelector,
};

use super::{Target, footprint::Footprint, label_selector, reach::open_ports};
use crate::{
    api::environment::Network,
    environment::egress::{egress_as_written, port},
};

/// Ingress from the same namespace to the service's ports and to no other, so never to one for management, from those that it
/// exports to, from the gateway to what is exposed, and from those who collect metrics; egress to the networks that it connects to and the services that it uses. Each for all of
/// `running`: a rule holds for every pod of the service. A network that the Environment no longer has is closed.
pub(super) fn policy(target: &Target, running: &[Footprint]) -> NetworkPolicy {
    let environment = &target.release.spec.environment;
    let mut ports: Vec<_> = Vec::new();
    for open in open_ports(running).iter().map(|open| port("TCP", open.port)) {
        if !ports.contains(&open) {
            ports.push(open);
        }
    }
    let ingress = NetworkPolicyIngressRule {
        // No namespaceSelector: this namespace only.
        from: Some(vec![NetworkPolicyPeer {
            pod_selector: Some(LabelSelector::default()),
            ..NetworkPolicyPeer::default()
        }]),
        ports: Some(ports.clone()),
    };
    // No ports in a rule would mean all of them.
    let mut ingress = if ports.is_empty() { Vec::new() } else { vec![ingress] };
    ingress.extend(target.reach.ingress(environment, running));
    ingress.extend(target.outside.ingress(running));
    let connects = |network: &&Network| running.iter().any(|one| one.connects.contains(&network.name));
    let mut egress: Vec<_> = target.networks.iter().filter(connects).map(egress_as_written).collect();
    egress.extend(target.reach.egress(environment, running));
    let mut policy_types = vec!["Ingress".to_owned()];
    if !egress.is_empty() {
        policy_types.push("Egress".to_owned());
    }
    NetworkPolicy {
        metadata: target.metadata(),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(label_selector(target.selector())),
            policy_types: Some(policy_types),
            ingress: Some(ingress),
            egress: Some(egress).filter(|rules| !rules.is_empty()),
        }),
    }
}
