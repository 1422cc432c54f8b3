//! What a registry tells of pushes. Pure.
//!
//! The envelope of CNCF Distribution: <https://distribution.github.io/distribution/about/notifications/>.

use serde::Deserialize;

/// More events in one request are left out; the registry sends them one by one.
const EVENTS_MAX: usize = 100;

/// A service whose area has something new.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Push {
    /// Name of the tenant.
    pub tenant: String,
    /// Name of the service.
    pub service: String,
    /// The tag and the digest, as far as they are told.
    pub references: Vec<String>,
}

#[derive(Deserialize)]
struct Envelope {
    events: Vec<Event>,
}

#[derive(Deserialize)]
struct Event {
    action: String,
    #[serde(default)]
    target: Target,
}

#[derive(Default, Deserialize)]
struct Target {
    #[serde(default)]
    repository: String,
    #[serde(default)]
    tag: Option<String>,
    #[serde(default)]
    digest: Option<String>,
}

/// The pushes of which `body` tells, to repositories `<prefix><tenant>/<service>`. Nothing where it is no such envelope.
pub(super) fn pushes(body: &[u8], prefix: &str) -> Option<Vec<Push>> {
    let Envelope { events } = serde_json::from_slice(body).ok()?;
    let pushed = events.into_iter().take(EVENTS_MAX).filter(|event| event.action == "push");
    let push = |Event { target, .. }: Event| {
        let (tenant, service) = target.repository.strip_prefix(prefix)?.split_once('/')?;
        if service.contains('/') {
            return None;
        }
        let references = target.tag.into_iter().chain(target.digest).collect();
        Some(Push { tenant: tenant.to_owned(), service: service.to_owned(), references })
    };
    Some(pushed.filter_map(push).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(action: &str, repository: &str) -> String {
        format!(
            r#"{{"id": "1", "action": "{action}", "target": {{"mediaType": "application/vnd.oci.image.manifest.v1+json",
               "size": 708, "digest": "sha256:4f2a", "repository": "{repository}", "tag": "c0ffee"}}, "actor": {{"name": "acme.push.1"}}}}"#
        )
    }

    fn told(events: &[String], prefix: &str) -> Vec<String> {
        let body = format!(r#"{{"events": [{}]}}"#, events.join(","));
        let pushes = pushes(body.as_bytes(), prefix).unwrap();
        pushes.iter().map(|p| format!("{}/{} {}", p.tenant, p.service, p.references.join(" "))).collect()
    }

    #[test]
    fn a_push_names_its_service_and_what_is_new() {
        let events =
            [event("push", "acme/orders"), event("pull", "acme/orders"), event("delete", "acme/orders")];
        assert_eq!(told(&events, ""), ["acme/orders c0ffee sha256:4f2a"]);
        let layer = r#"{"action": "push", "target": {"repository": "acme/orders", "digest": "sha256:1"}}"#;
        assert_eq!(told(&[layer.to_owned()], ""), ["acme/orders sha256:1"]);
    }

    #[test]
    fn what_is_no_service_of_ours_is_left_out() {
        let events = ["orders", "acme/orders/deep", "team/imaas/acme/orders"].map(|name| event("push", name));
        assert_eq!(told(&events, ""), [""; 0]);
        assert_eq!(told(&events, "team/imaas/"), ["acme/orders c0ffee sha256:4f2a"]);
        assert_eq!(told(&[r#"{"action": "push"}"#.to_owned()], ""), [""; 0]);
    }

    #[test]
    fn a_flood_in_one_request_is_cut() {
        let events = vec![event("push", "acme/orders"); EVENTS_MAX + 1];
        assert_eq!(told(&events, "").len(), EVENTS_MAX);
    }

    #[test]
    fn what_is_no_envelope_is_refused() {
        for body in ["", "[]", "{}", r#"{"events": 3}"#, r#"{"events": [{"action": 1}]}"#, "\u{0}\u{fffd}"] {
            assert_eq!(pushes(body.as_bytes(), ""), None, "{body}");
        }
    }
}
