//! Hosts and ports that tenants may make the operator ask. Pure.

/// What the platform allows. The default is the strictest: `https` to public hosts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UrlPolicy {
    /// Also `http`, and any port. For the demo and the tests only.
    pub development: bool,
    /// Host names or addresses that may lead to private addresses, each with a port (`git.example.com:8443`, `[::1]:8443`)
    /// or without (443). One host may be named several times. Others have 443 only.
    pub allowed_hosts: Vec<String>,
}

/// The port of `https`.
const HTTPS: u16 = 443;

/// Host and port of an entry of [`UrlPolicy::allowed_hosts`]; `None` when it is not one.
pub fn allowed_host(entry: &str) -> Option<(&str, u16)> {
    let (host, port) = match entry.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, port)) => (host, port.strip_prefix(':').or_else(|| port.is_empty().then_some("443"))?),
        // More than one colon: an address of version 6.
        None if entry.matches(':').count() > 1 => (entry, "443"),
        None => entry.split_once(':').unwrap_or((entry, "443")),
    };
    let is_plain = !host.is_empty() && !host.contains(['/', '@', ' ', '[', ']']);
    port.parse().ok().filter(|port| is_plain && *port > 0).map(|port| (host, port))
}

impl UrlPolicy {
    /// Whether the platform named this host, so that its address is not judged.
    pub fn allows_host(&self, host: &str) -> bool {
        self.ports(host).next().is_some()
    }

    /// Otherwise a tenant could ask through us what listens on which port of a host.
    pub(super) fn allows_port(&self, host: &str, port: u16) -> bool {
        let is_named = self.ports(host).any(|named| named == port);
        self.development || is_named || (port == HTTPS && !self.allows_host(host))
    }

    fn ports(&self, host: &str) -> impl Iterator<Item = u16> {
        let plain = host.trim_start_matches('[').trim_end_matches(']');
        let named = self.allowed_hosts.iter().filter_map(|entry| allowed_host(entry));
        named.filter(move |(named, _)| named.eq_ignore_ascii_case(plain)).map(|(_, port)| port)
    }
}
