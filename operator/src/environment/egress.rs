//! What opens the way to address blocks, for policies with `policyTypes: [Egress]`: of a namespace or of one service.
//! Pure.

use k8s_openapi::{
    api::networking::v1::{IPBlock, NetworkPolicyEgressRule, NetworkPolicyPeer, NetworkPolicyPort},
    apimachinery::pkg::util::intstr::IntOrString,
};

use super::network::{Cidr, NotACidr, ValidNetwork};
use crate::api::environment::Network;

/// To a network that was checked.
pub fn egress_to(network: &ValidNetwork) -> NetworkPolicyEgressRule {
    let texts = |blocks: &[Cidr]| blocks.iter().map(ToString::to_string).collect();
    let blocks = network.blocks.iter().map(|block| peer(block.cidr.to_string(), texts(&block.except)));
    rule(blocks.collect(), &network.ports)
}

/// To a network as it is written, checked or not. What the API server cannot read stays in, so that it refuses the
/// whole policy: an exception that is left out would open what is to be closed.
pub fn egress_as_written(network: &Network) -> NetworkPolicyEgressRule {
    let within = |cidr: &str| {
        network.except.iter().filter(|except| may_lie_in(except, cidr)).cloned().collect::<Vec<_>>()
    };
    rule(network.cidrs.iter().map(|cidr| peer(cidr.clone(), within(cidr))).collect(), &network.ports)
}

/// A port of `protocol`: `TCP` or `UDP`.
pub fn port(protocol: &str, number: u16) -> NetworkPolicyPort {
    NetworkPolicyPort {
        protocol: Some(protocol.to_owned()),
        port: Some(IntOrString::Int(i32::from(number))),
        end_port: None,
    }
}

/// One block, and what stays closed in it; the API server refuses an exception that is not within its block.
pub fn peer(cidr: String, except: Vec<String>) -> NetworkPolicyPeer {
    let block = IPBlock { cidr, except: Some(except).filter(|list| !list.is_empty()) };
    NetworkPolicyPeer { ip_block: Some(block), ..NetworkPolicyPeer::default() }
}

fn rule(to: Vec<NetworkPolicyPeer>, ports: &[u16]) -> NetworkPolicyEgressRule {
    let ports: Vec<_> = ports.iter().map(|number| port("TCP", *number)).collect();
    NetworkPolicyEgressRule { to: Some(to), ports: Some(ports).filter(|ports| !ports.is_empty()) }
}

/// Is `inner` a smaller block inside `outer`? Also when one of them is none.
fn may_lie_in(inner: &str, outer: &str) -> bool {
    match (block(inner), block(outer)) {
        (Some(inner), Some(outer)) => outer.strictly_contains(&inner),
        _ => true,
    }
}

fn block(text: &str) -> Option<Cidr> {
    match text.parse() {
        Ok(block) | Err(NotACidr::HostBits(block)) => Some(block),
        Err(NotACidr::Syntax) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn except(cidr: &str, except: &[&str]) -> Option<Vec<String>> {
        let except = except.iter().map(|text| (*text).to_owned()).collect();
        let network =
            Network { name: "a".into(), default: false, cidrs: vec![cidr.into()], except, ports: vec![] };
        egress_as_written(&network).to.unwrap().remove(0).ip_block.unwrap().except
    }

    #[test]
    fn an_exception_stands_only_in_the_block_that_holds_it() {
        let all = ["10.0.0.0/8", "192.168.0.0/16", "fc00::/7"];
        let texts = |texts: &[&str]| Some(texts.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(except("0.0.0.0/0", &all), texts(&all[..2]));
        assert_eq!(except("::/0", &all), texts(&all[2..]));
        assert_eq!(except("10.20.0.0/16", &all), None);
        assert_eq!(except("10.0.0.0/8", &all), None, "must be smaller");
    }

    #[test]
    fn an_exception_that_cannot_be_read_is_never_left_out() {
        for text in ["x", "10.0.0.0/33", "10.0.0.0", "10.0.0.7/8"] {
            assert_eq!(except("0.0.0.0/0", &[text]), Some(vec![text.to_owned()]), "{text}");
        }
    }
}
