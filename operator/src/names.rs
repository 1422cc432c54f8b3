//! Labels, annotations and every rule that builds a name. Pure.
//!
//! An environment's name has no `-` and is never `home`, so the last `-` of a namespace always splits it into
//! tenant and environment: two tenants never meet.

use serde::Serialize;
use sha2::{Digest, Sha256};

/// Field manager of everything the operator writes, and the value of [`MANAGED_BY`].
pub const MANAGER: &str = "imaas-operator";
/// Field manager of what was ours, until somebody else changes it.
pub const SUCCESSOR: &str = "imaas-handed-over";
/// Label: who wrote this object.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// Label: what a pod is of; [`MANAGER`] on those of the operator itself, by the chart.
pub const APP: &str = "app.kubernetes.io/name";
/// Label: the tenant that an object belongs to; on a namespace it is the ownership itself.
pub const TENANT: &str = "imaas.dev/tenant";
/// Label: the environment that an object belongs to; `home` for the tenant's home.
pub const ENVIRONMENT: &str = "imaas.dev/environment";
/// Label: the service that an object belongs to.
pub const SERVICE: &str = "imaas.dev/service";
/// Annotation of a Tenant and its namespaces: the `TenantSource` it comes from, or [`MANUAL`].
pub const ORIGIN: &str = "imaas.dev/origin";
/// Annotation: hash of what we applied last, so that nothing is sent when nothing differs.
pub const APPLIED: &str = "imaas.dev/applied";
/// Annotation of a Tenant, an IntegrationService or an environment's namespace: since when Git no longer has it.
pub const ORPHANED: &str = "imaas.dev/orphaned-since";
/// Annotation of a Tenant: since which commit its file is gone while its removal waits for a confirmation.
pub const REMOVAL_HELD: &str = "imaas.dev/removal-held-since";
/// Annotation beside [`ORPHANED`]: by what, such as a commit.
pub const ORPHANED_BY: &str = "imaas.dev/orphaned-by";
/// Annotation beside [`ORPHANED`]: since when it is scaled to zero.
pub const RETIRING: &str = "imaas.dev/retiring-since";
/// Annotation of a TenantSource or Tenant, by the platform: yes, remove all of these. Its value is
/// [`crate::retirement::confirmation`] of the set.
pub const CONFIRM_REMOVAL: &str = "imaas.dev/confirm-removal";
/// Annotation of an object, by the platform: its deletion is meant. Its value is the object's uid.
pub const CONFIRM_DELETE: &str = "imaas.dev/confirm-delete";
/// Annotation of a Tenant, by the platform: the origin that it is handed over to.
pub const TRANSFER_TO: &str = "imaas.dev/transfer-to";
/// Finalizer of a Tenant and an IntegrationService.
pub const FINALIZER: &str = "imaas.dev/retirement";
/// Annotation of a Tenant: what is wrong with its file in Git; the object itself keeps its last good state.
pub const SOURCE_PROBLEM: &str = "imaas.dev/source-problem";
/// Annotation of a Deployment, not of its pods: name of the Release that it runs.
pub const RELEASE: &str = "imaas.dev/release";
/// Annotation of a Deployment while pods of several releases may run: what those count on, as JSON.
pub const RUNNING: &str = "imaas.dev/running";
/// Label of what is tried beside a service, and of its pods: [`CANARY`].
pub const TRACK: &str = "imaas.dev/track";
/// See [`TRACK`].
pub const CANARY: &str = "canary";
/// Header of requests that are to reach what is tried beside a service; its value is the service's name.
pub const PREVIEW: &str = "imaas-preview";
/// Annotation of a pod: the revision of the Secrets that it reads.
pub const SECRETS: &str = "imaas.dev/secrets";
/// Annotations of a pod by which Prometheus finds its metrics: they are, their port and their path.
pub const SCRAPE: &str = "prometheus.io/scrape";
/// See [`SCRAPE`].
pub const SCRAPE_PORT: &str = "prometheus.io/port";
/// See [`SCRAPE`].
pub const SCRAPE_PATH: &str = "prometheus.io/path";
/// Label that Kubernetes sets on pods where it knows their zone (1.35, KEP-4742).
pub const ZONE: &str = "topology.kubernetes.io/zone";
/// Kubernetes' taint of a node that it hears nothing of.
pub const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
/// Label that the API server sets on every namespace, to its name.
pub const NAMESPACE_NAME: &str = "kubernetes.io/metadata.name";
/// Annotation of a registry Secret: the generation of its password, so that a rotation shows where it has been.
pub const GENERATION: &str = "imaas.dev/registry-generation";
/// Annotation with any new value: look at this object now.
pub const RECONCILE_REQUESTED: &str = "imaas.dev/reconcile-requested";
/// Origin of a Tenant that was applied by hand.
pub const MANUAL: &str = "manual";
/// Owner of the platform team's own repositories and images; no tenant has this name.
pub const PLATFORM: &str = "platform";
/// The part after the last `-` of a home namespace.
pub const HOME: &str = "home";
/// Secret with which pods pull, in each environment's namespace.
pub const PULL_SECRET: &str = "imaas-registry-pull";
/// Secret with which the tenant's CI pushes, in the home namespace.
pub const PUSH_SECRET: &str = "imaas-registry-push";
/// ConfigMap in the operator's namespace: whose pushes the token service refuses. The chart makes it, without content.
pub const OVER_QUOTA: &str = "imaas-registry-over-quota";
/// The operator's file in it.
pub const OVER_QUOTA_FILE: &str = "over-quota.json";
/// Another file in it, which is there while the registry is read-only.
pub const READ_ONLY_FILE: &str = "read-only";
/// ClusterRole that the operator binds to itself in each tenant namespace.
pub const OPERATOR_ROLE: &str = "imaas-operator-tenant";
/// Name of the single quota and limit range of a namespace.
pub const LIMITS: &str = "imaas";

/// Length of [`content_hash`].
const HASH_DIGITS: usize = 12;

/// Does nobody see this character, or see what follows it elsewhere? Unicode's categories Cc, Cf, Zl and Zp, but for the signs of
/// Arabic and Egyptian script that are seen, and the fillers of Hangul.
pub fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{AD}' | '\u{61C}' | '\u{115F}' | '\u{1160}' | '\u{180E}' | '\u{200B}'..='\u{200F}'
            | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{3164}' | '\u{FEFF}' | '\u{FFA0}'
            | '\u{FFF9}'..='\u{FFFB}' | '\u{1BCA0}'..='\u{1BCA3}' | '\u{1D173}'..='\u{1D17A}'
            | '\u{E0000}'..='\u{E007F}')
}

/// `<tenant>-home`.
pub fn home_namespace(tenant: &str) -> String {
    format!("{tenant}-{HOME}")
}

/// `<tenant>-<environment>`.
pub fn environment_namespace(tenant: &str, environment: &str) -> String {
    format!("{tenant}-{environment}")
}

/// The tenant of a home namespace's name; `None` for any other namespace.
///
/// ```
/// # use imaas_operator::names::tenant_of_home;
/// assert_eq!(tenant_of_home("acme-eu-home"), Some("acme-eu"));
/// assert_eq!(tenant_of_home("acme-dev"), None);
/// ```
pub fn tenant_of_home(namespace: &str) -> Option<&str> {
    namespace.strip_suffix(HOME)?.strip_suffix('-').filter(|tenant| !tenant.is_empty())
}

/// `<service>-<environment>-<hash>`: at most 40 + 1 + 12 + 1 + 12 characters.
pub fn release(service: &str, environment: &str, hash: &str) -> String {
    format!("{service}-{environment}-{hash}")
}

/// `<service>-canary`, of what is tried beside a service; no service has such a name.
pub fn beside(service: &str) -> String {
    format!("{service}-{CANARY}")
}

/// `<service>-<number>`, of KEDA's login for one of its triggers. Behind the last `-` is the number, so no two services meet.
pub fn login(service: &str, index: usize) -> String {
    format!("{service}-{index}")
}

/// `keda-hpa-<service>`, as KEDA names the autoscaler that it makes.
pub fn keda_autoscaler(service: &str) -> String {
    format!("keda-hpa-{service}")
}

/// `<service>-run-<hash>`, for the run of a batch that this decision (its uid) begins.
pub fn run(service: &str, decision: &str) -> String {
    format!("{service}-run-{}", content_hash(&decision))
}

/// What stands before the tenant in names of an external registry's repositories: `prefix` with a slash, or nothing.
///
/// ```
/// # use imaas_operator::names::repository_prefix;
/// assert_eq!(repository_prefix("team/imaas"), "team/imaas/");
/// assert_eq!(repository_prefix(""), "");
/// ```
pub fn repository_prefix(prefix: &str) -> String {
    if prefix.is_empty() { String::new() } else { format!("{prefix}/") }
}

/// `<tenant>.<domain>`: the host of all that a tenant exposes in the environment that has this domain. No tenant's name has a
/// dot, so two tenants never have the same.
pub fn host(tenant: &str, domain: &str) -> String {
    format!("{tenant}.{domain}")
}

/// `<service>-<hash>`, for an immutable ConfigMap.
pub fn config_map(service: &str, hash: &str) -> String {
    format!("{service}-{hash}")
}

/// The service of an immutable ConfigMap's name.
///
/// ```
/// # use imaas_operator::names::{config_map, service_of_config_map};
/// assert_eq!(service_of_config_map(&config_map("orders-eu", "4f2a4f2a4f2a")), Some("orders-eu"));
/// assert_eq!(service_of_config_map("orders-eu"), None);
/// ```
pub fn service_of_config_map(name: &str) -> Option<&str> {
    let is_hash = |text: &str| text.len() == HASH_DIGITS && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    name.rsplit_once('-').filter(|(_, hash)| is_hash(hash)).map(|(service, _)| service)
}

/// ClusterRole of a member's role: `imaas-tenant-owner` and so on.
pub fn member_role(role: crate::api::Role) -> String {
    format!("imaas-tenant-{}", role.as_str())
}

/// What [`own_role`] begins with. `imaas-tenant-<tenant>` would be a member's role where the tenant is named `owner`.
const OWN_ROLE: &str = "imaas-tenant-own-";

/// ClusterRole by which the members of `tenant` see their own Tenant; its binding bears the same name.
pub fn own_role(tenant: &str) -> String {
    format!("{OWN_ROLE}{tenant}")
}

/// The tenant of a name that [`own_role`] made.
pub fn tenant_of_own_role(name: &str) -> Option<&str> {
    name.strip_prefix(OWN_ROLE)
}

/// Twelve hexadecimal digits that change when `content` does. Maps are hashed in key order.
pub fn content_hash(content: &impl Serialize) -> String {
    content_digest(content)[..HASH_DIGITS].to_owned()
}

/// All digits of [`content_hash`], for what decides: two contents with the same beginning are found in a minute.
pub fn content_digest(content: &impl Serialize) -> String {
    let canonical = serde_json::to_value(content).map(|value| value.to_string()).unwrap_or_default();
    hex(&Sha256::digest(canonical.as_bytes()))
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Is `name` a DNS label of at most `max` characters that begins with a letter?
pub fn is_label(name: &str, max: usize) -> bool {
    let bytes = name.as_bytes();
    !bytes.is_empty()
        && bytes.len() <= max
        && bytes[0].is_ascii_lowercase()
        && bytes[bytes.len() - 1] != b'-'
        && bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn two_tenants_never_meet(
            (a, b) in ("[a-z]([-a-z0-9]{0,48}[a-z0-9])?", "[a-z]([-a-z0-9]{0,48}[a-z0-9])?"),
            (x, y) in ("[a-z][a-z0-9]{0,11}", "[a-z][a-z0-9]{0,11}"),
        ) {
            let (one, two) = (environment_namespace(&a, &x), environment_namespace(&b, &y));
            prop_assert!(one.len() <= 63);
            prop_assert_eq!(one == two, (a, x) == (b, y));
        }
    }

    #[test]
    fn two_tenants_never_have_the_same_host() {
        // `a.b` is no tenant, so the tenant is what stands before the first dot.
        let (tenants, domains) =
            (["a", "b", "a-b", "a-b-c"], ["example.com", "b.example.com", "a-b.example.com"]);
        let hosts: std::collections::BTreeSet<_> =
            tenants.iter().flat_map(|tenant| domains.iter().map(|domain| host(tenant, domain))).collect();
        assert_eq!(hosts.len(), tenants.len() * domains.len());
    }

    #[test]
    fn what_a_tenant_sees_of_itself_is_never_a_members_role() {
        use crate::api::Role;
        let roles = [Role::Owner, Role::Developer, Role::Viewer].map(member_role);
        for tenant in ["owner", "developer", "viewer", "er", "own", "own-er", "a"] {
            let own = own_role(tenant);
            assert!(!roles.contains(&own), "{own}");
            assert_eq!(tenant_of_own_role(&own), Some(tenant));
        }
        assert!(roles.iter().all(|role| tenant_of_own_role(role).is_none()));
    }

    #[test]
    fn a_hash_follows_content_and_not_order() {
        let one = serde_json::json!({ "a": 1, "b": [1, 2] });
        let same: serde_json::Value = serde_json::from_str(r#"{"b":[1,2],"a":1}"#).unwrap();
        assert_eq!(content_hash(&one), content_hash(&same));
        assert_ne!(content_hash(&one), content_hash(&serde_json::json!({ "a": 1, "b": [2, 1] })));
        assert_eq!(content_hash(&one).len(), 12);
    }

    #[test]
    fn the_longest_names_fit_a_label() {
        let hash = content_hash(&1);
        assert_eq!(config_map(&"s".repeat(40), &hash).len(), 53);
        assert!(is_label(&"a".repeat(40), 40) && !is_label(&"a".repeat(41), 40));
        assert!(!is_label("-a", 40) && !is_label("a-", 40) && !is_label("1a", 40) && !is_label("", 40));
    }
}
