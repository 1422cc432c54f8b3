//! The instances of a service in one environment: its pods, and what their engines say of themselves, in; what the board
//! tells of them out. Pure. Nothing of it moves while nothing happens.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::{apps::v1::ReplicaSet, core::v1::Pod};
use kube::ResourceExt;

use super::Problem;
use crate::{
    api::integration_service::Instance,
    conditions::Reason,
    names::{RELEASE, ZONE},
};

/// So many are told and asked.
const MOST: usize = 20;
/// So many different faults are told.
const FAULTS: usize = 8;
/// An engine that is not ready after this long is asked why; while it starts, much of it is down.
const START: SignedDuration = SignedDuration::from_secs(30);

/// What runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Instances {
    /// The first of them by name.
    pub seen: Vec<Seen>,
    /// How many more there are.
    pub more: i32,
    /// All pods that are not over run, are to stay and are ready: the Deployment changes when that does.
    pub is_settled: bool,
    /// Release → where one of its instances answers that is ready.
    pub addresses: BTreeMap<String, IpAddr>,
}

/// One instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// As its pod says: healthy is ready.
    pub instance: Instance,
    /// Where it answers.
    pub address: Option<IpAddr>,
    /// What its engine last said that does not work.
    pub faults: BTreeSet<String>,
    since: Option<Timestamp>,
}

impl Seen {
    /// Is it time to ask it how it is?
    pub fn is_due(&self, now: Timestamp) -> bool {
        self.instance.healthy || self.since.is_some_and(|since| now.duration_since(since) > START)
    }
}

impl Instances {
    /// Those of `pods` that run and are to stay, each of the release that its one of `sets` bears. What one of `before` said
    /// of itself stays said.
    pub fn of(pods: &[Pod], sets: &[ReplicaSet], before: Option<&Self>) -> Self {
        let releases: BTreeMap<_, _> =
            sets.iter().filter_map(|set| set.uid().zip(set.annotations().get(RELEASE))).collect();
        let mut seen: Vec<_> = pods.iter().filter(|pod| runs(pod)).map(|pod| one(pod, &releases)).collect();
        seen.sort_by(|a, b| a.instance.pod.cmp(&b.instance.pod));
        // One that was evicted stays for a long time.
        let lasting = pods.iter().filter(|pod| !matches!(phase(pod), Some("Succeeded" | "Failed"))).count();
        let is_settled = seen.len() == lasting && seen.iter().all(|one| one.instance.healthy);
        let ready = seen.iter().rev().filter(|one| one.instance.healthy);
        let addresses = ready.filter_map(|one| one.instance.release.clone().zip(one.address)).collect();
        let more = i32::try_from(seen.len().saturating_sub(MOST)).unwrap_or(i32::MAX);
        seen.truncate(MOST);
        for one in &mut seen {
            let mut same = before.iter().flat_map(|before| &before.seen);
            let same = same.find(|same| same.instance.pod == one.instance.pod);
            one.faults = same.map(|same| same.faults.clone()).unwrap_or_default();
        }
        Self { seen, more, is_settled, addresses }
    }

    /// For the board.
    pub fn told(&self) -> Vec<Instance> {
        let told = |Seen { instance, faults, .. }: &Seen| Instance {
            healthy: instance.healthy && faults.is_empty(),
            ..instance.clone()
        };
        self.seen.iter().map(told).collect()
    }

    /// What does not work, and in how many of them; what most have comes first.
    pub fn problem(&self) -> Option<Problem> {
        let mut counts = BTreeMap::<_, usize>::new();
        for fault in self.seen.iter().flat_map(|one| &one.faults) {
            *counts.entry(fault).or_default() += 1;
        }
        let mut faults: Vec<_> = counts.into_iter().collect();
        faults.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        let all = self.seen.len();
        let told = |(fault, count): &(&String, usize)| {
            format!("{fault} in {count} of {all} instance{}", if all == 1 { "" } else { "s" })
        };
        let more = match faults.len().saturating_sub(FAULTS) {
            0 => String::new(),
            more => format!(" (+{more} more)"),
        };
        let told: Vec<_> = faults.iter().take(FAULTS).map(told).collect();
        (!told.is_empty()).then(|| Problem::new(Reason::RuntimeDegraded, told.join("; ") + &more))
    }
}

/// Not one that ends, whose engine says that it is down.
fn runs(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_none() && phase(pod) == Some("Running")
}

fn phase(pod: &Pod) -> Option<&str> {
    pod.status.as_ref()?.phase.as_deref()
}

fn one(pod: &Pod, releases: &BTreeMap<String, &String>) -> Seen {
    let status = pod.status.clone().unwrap_or_default();
    let owners = pod.owner_references();
    let release = owners.iter().find_map(|owner| releases.get(&owner.uid).map(|name| (*name).clone()));
    let mut conditions = status.conditions.iter().flatten();
    let is_ready = conditions.any(|condition| condition.type_ == "Ready" && condition.status == "True");
    let since = status.start_time.as_ref().map(|time| time.0);
    // One in its node's network is none of ours, whatever answers there.
    let address = status.pod_ip.as_ref().filter(|address| Some(*address) != status.host_ip.as_ref());
    Seen {
        instance: Instance {
            pod: pod.name_any(),
            node: pod.spec.as_ref().and_then(|spec| spec.node_name.clone()),
            zone: pod.labels().get(ZONE).cloned(),
            release,
            since: since.map(|since| since.to_string()),
            healthy: is_ready,
        },
        address: address.and_then(|address| address.parse().ok()).filter(is_of_a_pod),
        faults: BTreeSet::new(),
        since,
    }
}

/// Neither the operator itself nor what answers on a link only, such as a cloud's metadata.
fn is_of_a_pod(address: &IpAddr) -> bool {
    let is_link_local = match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    !address.is_loopback() && !address.is_unspecified() && !address.is_multicast() && !is_link_local
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(name: &str, status: &str) -> Pod {
        let pod = serde_saphyr::from_str(&format!(
            "
            metadata:
              name: {name}
              labels: {{topology.kubernetes.io/zone: a}}
              ownerReferences: [{{apiVersion: apps/v1, kind: ReplicaSet, name: orders-1, uid: uid-1}}]
            spec: {{nodeName: node-1, containers: []}}
            status: {status}
            "
        ));
        pod.unwrap()
    }

    fn ready(address: &str) -> String {
        format!(
            "{{phase: Running, podIP: '{address}', hostIP: 10.0.0.1, startTime: '2026-01-01T10:00:00Z', conditions: [{{type: Ready, status: 'True'}}]}}"
        )
    }

    fn sets() -> Vec<ReplicaSet> {
        let set = "{metadata: {name: orders-1, uid: uid-1, annotations: {imaas.dev/release: orders-prod-a}}}";
        vec![serde_saphyr::from_str(set).unwrap()]
    }

    fn saying(faults: &[&[&str]]) -> Instances {
        let names = (0..faults.len()).map(|number| format!("orders-{number}"));
        let pods: Vec<_> = names.map(|name| pod(&name, &ready("10.1.0.1"))).collect();
        let mut instances = Instances::of(&pods, &sets(), None);
        for (seen, faults) in instances.seen.iter_mut().zip(faults) {
            seen.faults = faults.iter().map(|fault| (*fault).to_owned()).collect();
        }
        instances
    }

    #[test]
    fn each_instance_is_told_with_where_it_is_and_what_it_is_of() {
        let mut ends = pod("orders-3", &ready("10.1.0.3"));
        ends.metadata.deletion_timestamp = ends.status.as_ref().unwrap().start_time.clone();
        let pods = [pod("orders-2", "{phase: Pending}"), ends, pod("orders-1", &ready("10.1.0.1"))];
        let instances = Instances::of(&pods, &sets(), None);
        assert_eq!(
            instances.told(),
            [Instance {
                pod: "orders-1".to_owned(),
                node: Some("node-1".to_owned()),
                zone: Some("a".to_owned()),
                release: Some("orders-prod-a".to_owned()),
                since: Some("2026-01-01T10:00:00Z".to_owned()),
                healthy: true,
            }]
        );
        assert!(!instances.is_settled && Instances::of(&pods[2..], &[], None).is_settled);
        let evicted = [pod("orders-0", "{phase: Failed, reason: Evicted}"), pods[2].clone()];
        let instances = Instances::of(&evicted, &sets(), None);
        assert!(instances.is_settled && instances.told().len() == 1);
    }

    #[test]
    fn however_many_run_few_are_told_and_the_others_counted() {
        let pods: Vec<_> = (10..40).map(|n| pod(&format!("orders-{n}"), &ready("10.1.0.1"))).collect();
        let instances = Instances::of(&pods, &[], None);
        assert_eq!((instances.told().len(), instances.more), (20, 10));
    }

    #[test]
    fn of_each_release_one_that_is_ready_is_found_however_many_run() {
        let pods: Vec<_> = (10..40)
            .map(|n| {
                let (set, status) = match n {
                    38 => ("uid-2", "{phase: Running, podIP: 10.1.0.38}".to_owned()),
                    39 => ("uid-2", ready("10.1.0.39")),
                    _ => ("uid-1", ready("10.1.0.1")),
                };
                let mut pod = pod(&format!("orders-{n}"), &status);
                pod.metadata
                    .owner_references
                    .iter_mut()
                    .flatten()
                    .for_each(|owner| set.clone_into(&mut owner.uid));
                pod
            })
            .collect();
        let tried =
            "{metadata: {name: orders-2, uid: uid-2, annotations: {imaas.dev/release: orders-prod-b}}}";
        let sets = [sets(), vec![serde_saphyr::from_str(tried).unwrap()]].concat();
        let addresses = Instances::of(&pods, &sets, None).addresses;
        let address = |release: &str| addresses[release].to_string();
        assert_eq!([address("orders-prod-a"), address("orders-prod-b")], ["10.1.0.1", "10.1.0.39"]);
    }

    #[test]
    fn a_fault_is_told_with_how_many_have_it_though_all_are_ready() {
        let faulty = "CApp stock_1.0.0 is faulty";
        let told = |faults: &[&[&str]]| saying(faults).problem().map(|problem| problem.message);
        assert_eq!(told(&[&[], &[]]), None);
        assert_eq!(told(&[&[faulty]]).unwrap(), "CApp stock_1.0.0 is faulty in 1 of 1 instance");
        let two = told(&[&["route a is down", faulty], &[faulty]]).unwrap();
        assert_eq!(
            two,
            "CApp stock_1.0.0 is faulty in 2 of 2 instances; route a is down in 1 of 2 instances"
        );
        let instances = saying(&[&[faulty], &[]]);
        let healthy: Vec<_> = instances.told().iter().map(|one| one.healthy).collect();
        assert_eq!(healthy, [false, true]);
        let again = Instances::of(&[pod("orders-0", &ready("10.1.0.1"))], &sets(), Some(&instances));
        assert!(again.problem().is_some(), "until it says otherwise");
        let other = Instances::of(&[pod("orders-9", &ready("10.1.0.1"))], &sets(), Some(&instances));
        assert!(other.problem().is_none(), "another pod said nothing");
    }

    #[test]
    fn only_a_pod_of_its_own_address_is_asked_and_not_while_it_starts() {
        let address = |address: &str| Instances::of(&[pod("a", &ready(address))], &[], None).seen[0].address;
        assert!(address("10.1.0.1").is_some() && address("fd00::1").is_some());
        for refused in ["10.0.0.1", "127.0.0.1", "169.254.169.254", "0.0.0.0", "::1", "fe80::1", "orders"] {
            assert_eq!(address(refused), None, "{refused}");
        }
        let starts = pod("a", "{phase: Running, startTime: '2026-01-01T10:00:00Z'}");
        let seen = &Instances::of(&[starts], &[], None).seen[0];
        assert!(!seen.is_due("2026-01-01T10:00:20Z".parse().unwrap()));
        assert!(seen.is_due("2026-01-01T10:00:40Z".parse().unwrap()));
    }
}
