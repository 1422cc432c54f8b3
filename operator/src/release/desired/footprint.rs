//! What the pods of a release count on around them. While pods of several releases may run, what is around them is there
//! for all of them. Pure.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use serde::{Deserialize, Serialize};

use crate::{
    api::{Port, Release, ReleaseExpose, ReleaseUse, WorkloadType},
    cluster::Workload,
    names::{RUNNING, SCRAPE_PORT},
};

/// So many that differ are kept of one roll-out that never ends: the first, which serves, and the newest.
const MOST: usize = 8;
/// Of a pod that does not say how long it may take to end.
const DEFAULT_GRACE: i64 = 30;

/// What is around the pods of one release.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Footprint {
    /// Has it a Service?
    #[serde(rename = "type")]
    pub type_: WorkloadType,
    /// Two instances may run at the same time.
    pub many: bool,
    /// Open to the namespace.
    pub ports: Vec<Port>,
    /// Ports of the runtime's own management: open to no service, whatever another release has under that number.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub management: Vec<u16>,
    /// Names of networks that it calls.
    pub connects: Vec<String>,
    /// Services of other tenants that it calls.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub uses: Vec<ReleaseUse>,
    /// What is reached from outside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expose: Option<ReleaseExpose>,
    /// The port of the runtime's metrics.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics: Option<u16>,
    /// The port on which the operator asks how the runtime is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<u16>,
    /// The port on which the operator asks it before it gets requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub smoke: Option<u16>,
    /// How long it may finish its work when it is told to end.
    pub grace_seconds: i64,
}

impl Footprint {
    /// Does a drain of a node leave enough of its instances? A run is none that somebody counts on.
    pub(super) fn is_kept_up(&self) -> bool {
        self.many && self.type_ != WorkloadType::Batch
    }

    /// Of `release`.
    pub fn of(release: &Release) -> Self {
        let spec = &release.spec;
        let grace = spec.template.spec.as_ref().and_then(|pod| pod.termination_grace_period_seconds);
        Self {
            type_: spec.type_,
            many: spec.many,
            ports: spec.ports.clone(),
            management: management(release),
            connects: spec.connects.clone(),
            uses: spec.uses.iter().filter(|used| used.tenant.is_some()).cloned().collect(),
            expose: spec.expose.clone(),
            metrics: metrics(release),
            health: spec.health.as_ref().map(|health| health.port),
            smoke: spec.smoke.as_ref().map(|smoke| smoke.port),
            grace_seconds: grace.unwrap_or(DEFAULT_GRACE),
        }
    }
}

/// As its pods say.
fn metrics(release: &Release) -> Option<u16> {
    release.spec.template.metadata.as_ref()?.annotations.as_ref()?.get(SCRAPE_PORT)?.parse().ok()
}

/// What listens in the container and is no port of the service.
fn management(release: &Release) -> Vec<u16> {
    let spec = &release.spec;
    let containers = spec.template.spec.iter().flat_map(|pod| &pod.containers);
    let listening = containers.flat_map(|container| container.ports.iter().flatten());
    let numbers = listening.filter_map(|port| u16::try_from(port.container_port).ok());
    numbers.filter(|number| spec.ports.iter().all(|port| port.port != *number)).collect()
}

/// Of all releases of which pods may run in `live` now or soon, in the order in which they came. `before`: the release
/// that `live` was last given, where that is not `release`. It is written with the Deployment, in the request that
/// replaces the pods: no crash leaves pods of which nothing is known.
pub fn running(live: &Workload, before: Option<&Release>, release: &Release) -> Vec<Footprint> {
    let own = Footprint::of(release);
    let mut running = Vec::new();
    for footprint in written(live).into_iter().chain(before.map(Footprint::of)).chain([own.clone()]) {
        if !running.contains(&footprint) {
            running.push(footprint);
        }
    }
    // Never the own one, which may stand anywhere on the way back.
    while running.len() > MOST {
        running.remove(if running[1] == own { 2 } else { 1 });
    }
    running
}

/// How much longer pods of one of several releases may be at work that were told to end at `since`, which counts whole
/// seconds.
pub fn ending(running: &[Footprint], since: Option<Timestamp>, now: Timestamp) -> Option<Duration> {
    if running.len() < 2 {
        return None;
    }
    let grace = running.iter().map(|one| one.grace_seconds).max()?;
    let end = since?.checked_add(SignedDuration::from_secs(grace + 1)).ok()?;
    Duration::try_from(end.duration_since(now)).ok().filter(|left| !left.is_zero())
}

/// How much longer those of `pods` may be at work that were told to end. Of what was tried nothing else tells: its Deployment
/// counts them no more, and goes.
pub fn leaving(pods: &[Pod], now: Timestamp) -> Option<Duration> {
    let end =
        pods.iter().filter_map(|pod| pod.metadata.deletion_timestamp.as_ref()).map(|end| end.0).max()?;
    let end = end.checked_add(SignedDuration::from_secs(1)).ok()?;
    Duration::try_from(end.duration_since(now)).ok().filter(|left| !left.is_zero())
}

/// What `live` says of all releases of which its pods may be; nothing while they are of one, or where that cannot be read.
pub fn written(live: &Workload) -> Vec<Footprint> {
    let text = live.annotations().get(RUNNING);
    text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, sync::Arc};

    use k8s_openapi::{api::apps::v1::Deployment, apimachinery::pkg::apis::meta::v1::Time};
    use kube::ResourceExt;

    use super::*;
    use crate::{
        api::environment::Network,
        release::desired::{Children, Outside, Reach, Target, desired},
        sample,
    };

    /// Release `orders-dev-<name>`.
    fn release(name: &str, settings: &str) -> Release {
        sample::release(&format!("orders-dev-{name}"), settings)
    }

    fn port(name: &str, number: u16) -> Release {
        release(name, &format!("type: api, many: true, ports: [{{name: http, port: {number}}}]"))
    }

    fn networks() -> Vec<Network> {
        serde_saphyr::from_str("[{name: erp, cidrs: [10.20.0.0/16]}, {name: crm, cidrs: [10.30.0.0/16]}]")
            .unwrap()
    }

    fn children(release: &Release, running: &[Footprint]) -> Children {
        let (networks, reach, outside) = (networks(), Reach::default(), Outside::default());
        let target = Target {
            tenant: "acme",
            release,
            config: None,
            networks: &networks,
            reach: &reach,
            outside: &outside,
        };
        desired(&target, running, None)
    }

    /// What runs after `releases`, none of which came to be all that runs.
    fn after(releases: &[&Release]) -> Workload {
        let mut live = workload(Deployment::default());
        for release in releases {
            let before = releases.iter().find(|r| Some(&r.name_any()) == live.release());
            let running = running(&live, before.copied(), release);
            live = workload(children(release, &running).deployment.unwrap());
        }
        live
    }

    fn workload(deployment: Deployment) -> Workload {
        Workload::Deployment(Arc::new(deployment))
    }

    fn ports(live: &Workload, before: Option<&Release>, release: &Release) -> Vec<u16> {
        running(live, before, release).iter().flat_map(|one| &one.ports).map(|port| port.port).collect()
    }

    /// Ports and blocks that the policy opens.
    fn opened(children: &Children) -> (Vec<String>, Vec<String>) {
        let spec = children.network_policies[0].spec.clone().unwrap();
        let ports = spec.ingress.into_iter().flatten().flat_map(|rule| rule.ports.unwrap_or_default());
        let peers = spec.egress.into_iter().flatten().flat_map(|rule| rule.to.unwrap_or_default());
        (
            ports.map(|port| serde_json::to_string(&port.port).unwrap()).collect(),
            peers.filter_map(|peer| Some(peer.ip_block?.cidr)).collect(),
        )
    }

    #[test]
    fn what_pods_of_an_earlier_release_count_on_stays_as_long_as_they_may_run() {
        let api = release("a", "type: api, many: true, ports: [{name: http, port: 8080}], connects: [erp]");
        let worker = release("b", "type: worker, many: false, connects: [crm]");
        let both = children(&worker, &[Footprint::of(&api), Footprint::of(&worker)]);
        assert_eq!(
            opened(&both),
            (vec!["8080".to_owned()], vec!["10.20.0.0/16".into(), "10.30.0.0/16".into()])
        );
        assert!(both.service.is_some() && both.disruption_budget.is_some());
        let alone = children(&worker, &[Footprint::of(&worker)]);
        assert_eq!(opened(&alone), (vec![], vec!["10.30.0.0/16".to_owned()]));
        assert!(alone.service.is_none() && alone.disruption_budget.is_none());
        assert_eq!(alone.deployment.unwrap().annotations().get(RUNNING), None);
    }

    #[test]
    fn it_is_known_over_several_releases_and_on_the_way_back() {
        let [a, b, c] = [port("a", 1), port("b", 2), port("c", 3)];
        assert_eq!(ports(&after(&[&a]), None, &a), [1]);
        assert_eq!(ports(&after(&[&a]), Some(&a), &b), [1, 2]);
        let live = after(&[&a, &b]);
        assert_eq!(ports(&live, None, &b), [1, 2], "the next pass over the same release");
        assert_eq!(ports(&live, Some(&b), &c), [1, 2, 3]);
        let back = after(&[&a, &b, &a]);
        assert_eq!(
            ports(&back, None, &a),
            [1, 2],
            "what serves keeps its place, and so the names of its ports"
        );
    }

    #[test]
    fn a_release_with_the_same_around_it_changes_nothing_there() {
        let [a, b] = [port("a", 1), port("b", 1)];
        let running = running(&after(&[&a]), Some(&a), &b);
        assert_eq!(running, [Footprint::of(&b)]);
        let strip = |mut children: Children| {
            children.deployment.iter_mut().for_each(|one| one.metadata.annotations = None);
            children
        };
        assert_eq!(strip(children(&b, &running)), strip(children(&a, &[Footprint::of(&a)])));
    }

    #[test]
    fn releases_without_end_keep_the_first_and_the_newest() {
        let releases: Vec<_> = (1..=20).map(|number| port(&number.to_string(), number)).collect();
        let live = after(&releases.iter().collect::<Vec<_>>());
        assert_eq!(ports(&live, None, &releases[19]), [1, 14, 15, 16, 17, 18, 19, 20]);
        assert_eq!(ports(&live, None, &releases[13]), [1, 14, 15, 16, 17, 18, 19, 20], "it is there");
        assert_eq!(ports(&live, None, &releases[2]), [1, 15, 16, 17, 18, 19, 20, 3]);
    }

    #[test]
    fn a_single_instance_meets_none_of_another_release() {
        let single = release("a", "type: worker, many: false");
        let many = release("b", "type: worker, many: true");
        let strategy = |running: &[Footprint]| {
            let deployment = children(&many, running).deployment.unwrap();
            deployment.spec.unwrap().strategy.unwrap().type_.unwrap()
        };
        assert_eq!(strategy(&[Footprint::of(&single), Footprint::of(&many)]), "Recreate");
        assert_eq!(strategy(&[Footprint::of(&many)]), "RollingUpdate");
        let both = children(&single, &[Footprint::of(&many), Footprint::of(&single)]);
        let spec = both.deployment.unwrap().spec.unwrap();
        assert_eq!(spec.strategy.unwrap().type_.as_deref(), Some("Recreate"), "nor the other way round");
    }

    #[test]
    fn what_cannot_be_read_counts_for_nothing() {
        let mut live = Deployment::default();
        live.metadata.annotations = Some(BTreeMap::from([(RUNNING.to_owned(), "[{".to_owned())]));
        assert_eq!(ports(&workload(live), None, &port("b", 2)), [2]);
    }

    #[test]
    fn a_pod_that_was_told_to_end_has_its_time() {
        let mut one = Footprint::of(&port("a", 1));
        one.grace_seconds = 90;
        let running = [Footprint::of(&port("b", 2)), one];
        let at = |second: i64| Timestamp::from_second(second).unwrap();
        assert_eq!(ending(&running, Some(at(1000)), at(1000)), Some(Duration::from_secs(91)));
        assert_eq!(ending(&running, Some(at(1000)), at(1090)), Some(Duration::from_secs(1)));
        assert_eq!(ending(&running, Some(at(1000)), at(1091)), None);
        assert_eq!(ending(&running, Some(at(1000)), at(5000)), None);
        assert_eq!(ending(&running[1..], Some(at(1000)), at(1000)), None, "nobody is waited for");
        let pod = |end: Option<i64>| {
            let mut pod = Pod::default();
            pod.metadata.deletion_timestamp = end.map(|end| Time(at(end)));
            pod
        };
        let pods = [pod(None), pod(Some(1090)), pod(Some(1050))];
        assert_eq!(leaving(&pods, at(1000)), Some(Duration::from_secs(91)));
        assert_eq!(leaving(&pods, at(1091)), None);
        assert_eq!(leaving(&pods[..1], at(1000)), None, "it was not told to end");
    }
}
