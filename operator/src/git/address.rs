//! An IP address in, whether a tenant's URL may lead there out. Cluster, node and metadata addresses are refused, because
//! the operator stands inside the cluster and a tenant does not. Used on the address that is connected, see `transport`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// True for every address that is not plainly on the public internet. Such an address is reached only when the
/// platform names its host in `UrlPolicy::allowed_hosts`.
pub fn is_refused(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_refused_v4(v4),
        IpAddr::V6(v6) => is_refused_v6(v6),
    }
}

/// IANA's special-purpose registry for IPv4 (RFC 6890 and successors): nothing in it is globally reachable.
fn is_refused_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    address.is_loopback()
        || address.is_private()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_documentation()
        || a == 0
        || a >= 240
        || (a == 100 && (64..128).contains(&b))
        || (a == 198 && (18..20).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 192 && b == 88 && c == 99)
}

/// Only global unicast (`2000::/3`) passes, and of that not the ranges that carry an IPv4 address or lead nowhere.
fn is_refused_v6(address: Ipv6Addr) -> bool {
    if let Some(v4) = address.to_ipv4_mapped() {
        return is_refused_v4(v4);
    }
    let [a, b, ..] = address.segments();
    let global_unicast = (a & 0xe000) == 0x2000;
    let teredo_or_protocol = a == 0x2001 && b < 0x0200;
    let documentation = (a == 0x2001 && b == 0x0db8) || (a == 0x3fff && b < 0x1000);
    let six_to_four = a == 0x2002;
    !global_unicast || teredo_or_protocol || documentation || six_to_four
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_inside_a_cluster_or_a_cloud_are_refused() {
        for text in [
            "127.0.0.1",
            "127.255.255.254",
            "10.96.0.1",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "100.127.255.255",
            "0.0.0.0",
            "0.1.2.3",
            "224.0.0.1",
            "255.255.255.255",
            "240.0.0.1",
            "192.0.2.1",
            "198.51.100.1",
            "203.0.113.1",
            "192.0.0.170",
            "198.18.0.1",
            "192.88.99.1",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "::ffff:10.0.0.1",
            "::127.0.0.1",
            "64:ff9b::a00:1",
            "64:ff9b:1::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "2001:db8::1",
            "2001::1",
            "2002:7f00:1::1",
            "3fff::1",
            "100::1",
        ] {
            assert!(is_refused(text.parse().unwrap()), "{text} must be refused");
        }
    }

    #[test]
    fn public_addresses_pass() {
        for text in
            ["140.82.121.4", "1.1.1.1", "172.32.0.1", "100.128.0.1", "2606:50c0:8000::154", "2a00:1450::1"]
        {
            assert!(!is_refused(text.parse().unwrap()), "{text} must pass");
        }
    }
}
