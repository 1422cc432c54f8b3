//! Who may talk to whom: nobody, then names, then the own namespace and the networks that are open to all. Pure.
//!
//! What one service may receive, and the networks that it asks for by `connects`, are opened for it alone by its
//! release.

use k8s_openapi::{
    api::networking::v1::{NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyPeer, NetworkPolicySpec},
    apimachinery::pkg::apis::meta::v1::LabelSelector,
};

use super::Place;
use crate::environment::{
    ValidNetwork,
    egress::{egress_to, peer, port},
};

/// Where the node-local DNS cache of Kubernetes listens on every node, by its manual; its packets never reach the pods of cluster DNS.
const NODE_LOCAL_DNS: &str = "169.254.20.10/32";

/// Nothing in, nothing out.
pub(super) fn closed(place: &Place<'_>) -> NetworkPolicy {
    policy(place, "imaas-default-deny", &["Ingress", "Egress"], None)
}

/// All policies of an environment's namespace that no single service brings. The networks are one policy, so that
/// one that is closed again goes by a change and nothing is left over.
pub(super) fn policies(place: &Place<'_>, networks: &[ValidNetwork]) -> Vec<NetworkPolicy> {
    vec![
        closed(place),
        egress(place, "imaas-dns", vec![dns()]),
        egress(place, "imaas-namespace", vec![own()]),
        egress(place, "imaas-networks", networks.iter().map(egress_to).collect()),
    ]
}

/// The cluster's names. A policy sees the pod behind the Service's address, so the pods are named.
fn dns() -> NetworkPolicyEgressRule {
    let pods = NetworkPolicyPeer {
        namespace_selector: Some(labelled("kubernetes.io/metadata.name", "kube-system")),
        pod_selector: Some(labelled("k8s-app", "kube-dns")),
        ip_block: None,
    };
    let cache = peer(NODE_LOCAL_DNS.to_owned(), Vec::new());
    NetworkPolicyEgressRule {
        to: Some(vec![pods, cache]),
        ports: Some(vec![port("UDP", 53), port("TCP", 53)]),
    }
}

/// Every pod of the same namespace; it still has to let in what comes.
fn own() -> NetworkPolicyEgressRule {
    let pods =
        NetworkPolicyPeer { pod_selector: Some(LabelSelector::default()), ..NetworkPolicyPeer::default() };
    NetworkPolicyEgressRule { to: Some(vec![pods]), ports: None }
}

fn egress(place: &Place<'_>, name: &str, rules: Vec<NetworkPolicyEgressRule>) -> NetworkPolicy {
    policy(place, name, &["Egress"], Some(rules))
}

fn policy(
    place: &Place<'_>,
    name: &str,
    types: &[&str],
    egress: Option<Vec<NetworkPolicyEgressRule>>,
) -> NetworkPolicy {
    NetworkPolicy {
        metadata: place.metadata(name),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(LabelSelector::default()),
            policy_types: Some(types.iter().map(|one| (*one).to_owned()).collect()),
            egress,
            ingress: None,
        }),
    }
}

fn labelled(key: &str, value: &str) -> LabelSelector {
    LabelSelector { match_labels: Some([(key.to_owned(), value.to_owned())].into()), match_expressions: None }
}
