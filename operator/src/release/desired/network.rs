//! Who may call a service and whom it may call, on top of what holds for every pod of the namespace. Pure.

use k8s_openapi::{
    api::networking::v1::{NetworkPolicy, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicySpec},
    apimachinery::pkg::apis::meta::v1::LabelSelector,
};

use super::{Target, footprint::Footprint, label_selector};
use crate::{
    api::environment::Network,
    environment::egress::{egress_as_written, port},
};

/// Ingress from the same namespace to the service's ports and to no other, so never to one for management; egress to
/// the networks that it connects to. Each for all of `running`: a rule holds for every pod of the service. A network
/// that the Environment no longer has is closed.
pub(super) fn policy(target: &Target, running: &[Footprint]) -> NetworkPolicy {
    let mut ports: Vec<_> = Vec::new();
    for open in running.iter().flat_map(|one| &one.ports).map(|open| port("TCP", open.port)) {
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
    let ingress = if ports.is_empty() { Vec::new() } else { vec![ingress] };
    let connects = |network: &&Network| running.iter().any(|one| one.connects.contains(&network.name));
    let egress: Vec<_> = target.networks.iter().filter(connects).map(egress_as_written).collect();
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
