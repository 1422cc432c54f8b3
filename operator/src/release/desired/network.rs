//! Who may call a service and whom it may call, on top of what holds for every pod of the namespace. Pure.

use std::net::IpAddr;

use k8s_openapi::{
    api::networking::v1::{
        IPBlock, NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyIngressRule, NetworkPolicyPeer,
        NetworkPolicyPort, NetworkPolicySpec,
    },
    apimachinery::pkg::{apis::meta::v1::LabelSelector, util::intstr::IntOrString},
};

use super::{Target, label_selector};
use crate::api::environment::Network;

/// Ingress from the same namespace to the service's ports and to no other, so never to one for management; egress to
/// the networks that it connects to. A network that the Environment no longer has is closed.
pub(super) fn policy(target: &Target) -> NetworkPolicy {
    let spec = &target.release.spec;
    let ingress = NetworkPolicyIngressRule {
        // No namespaceSelector: this namespace only.
        from: Some(vec![NetworkPolicyPeer {
            pod_selector: Some(LabelSelector::default()),
            ..NetworkPolicyPeer::default()
        }]),
        ports: Some(spec.ports.iter().map(|port| tcp(port.port)).collect()),
    };
    // No ports in a rule would mean all of them.
    let ingress = if spec.ports.is_empty() { Vec::new() } else { vec![ingress] };
    let connects = |network: &&Network| spec.connects.contains(&network.name);
    let egress: Vec<_> = target.networks.iter().filter(connects).map(egress).collect();
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

fn egress(network: &Network) -> NetworkPolicyEgressRule {
    let ports: Vec<_> = network.ports.iter().copied().map(tcp).collect();
    NetworkPolicyEgressRule {
        to: Some(network.cidrs.iter().map(|cidr| peer(cidr, &network.except)).collect()),
        ports: Some(ports).filter(|ports| !ports.is_empty()),
    }
}

fn tcp(port: u16) -> NetworkPolicyPort {
    NetworkPolicyPort {
        protocol: Some("TCP".to_owned()),
        port: Some(IntOrString::Int(i32::from(port))),
        end_port: None,
    }
}

/// One block and what stays closed in it; the API server refuses an exception that is not within its block.
fn peer(cidr: &str, except: &[String]) -> NetworkPolicyPeer {
    let except: Vec<_> = except.iter().filter(|inner| is_within(inner, cidr)).cloned().collect();
    let block = IPBlock { cidr: cidr.to_owned(), except: Some(except).filter(|list| !list.is_empty()) };
    NetworkPolicyPeer { ip_block: Some(block), ..NetworkPolicyPeer::default() }
}

/// Is `inner` a smaller block inside `outer`? Blocks of two address families never are.
fn is_within(inner: &str, outer: &str) -> bool {
    match (block(inner), block(outer)) {
        (Some((inner, inner_bits, width)), Some((outer, outer_bits, outer_width))) => {
            let host_bits = width.saturating_sub(outer_bits);
            width == outer_width
                && inner_bits > outer_bits
                && inner.checked_shr(host_bits).unwrap_or(0) == outer.checked_shr(host_bits).unwrap_or(0)
        }
        _ => false,
    }
}

/// Address, length of the prefix, and length of an address, in bits.
fn block(text: &str) -> Option<(u128, u32, u32)> {
    let (address, bits) = text.split_once('/')?;
    let (address, width) = match address.parse().ok()? {
        IpAddr::V4(address) => (u128::from(u32::from(address)), 32),
        IpAddr::V6(address) => (u128::from(address), 128),
    };
    let bits = bits.parse().ok().filter(|bits| *bits <= width)?;
    Some((address, bits, width))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exception_stands_only_in_the_block_that_holds_it() {
        let except: Vec<String> =
            ["10.0.0.0/8", "192.168.0.0/16", "fc00::/7"].map(ToOwned::to_owned).to_vec();
        let of = |cidr| peer(cidr, &except).ip_block.unwrap().except;
        assert_eq!(of("0.0.0.0/0"), Some(except[..2].to_vec()));
        assert_eq!(of("::/0"), Some(except[2..].to_vec()));
        assert_eq!(of("10.20.0.0/16"), None);
        assert_eq!(of("10.0.0.0/8"), None, "must be smaller");
    }

    #[test]
    fn nonsense_is_within_nothing() {
        for (inner, outer) in [("x", "0.0.0.0/0"), ("10.0.0.0/33", "0.0.0.0/0"), ("10.0.0.0", "0.0.0.0/0")] {
            assert!(!is_within(inner, outer), "{inner} {outer}");
        }
    }
}
