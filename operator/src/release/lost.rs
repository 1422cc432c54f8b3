//! Instances on nodes that do not answer: what is told of their containers is what was last heard of them, while the control
//! plane says that they are not ready, and later that they are to go. Pure.
//!
//! Kubernetes takes instances from a node that it gave up, which it says by a taint. Of a zone it gives up one node in ten
//! seconds, and of a small zone none while three or more, and more than half of its nodes, do not answer and others do
//! (<https://kubernetes.io/docs/concepts/architecture/nodes/#rate-limits-on-eviction>): till then nothing is promised.

use k8s_openapi::api::core::v1::{Node, Pod, PodCondition};
use kube::ResourceExt;

use super::trouble::Trouble;
use crate::{
    conditions::Reason,
    names::{UNREACHABLE, ZONE},
};

/// Why a pod is to go that did not leave its node in time.
const TAINTED: &str = "DeletionByTaintManager";
/// Kubernetes' taint of a node that says itself that it cannot work.
const NOT_READY: &str = "node.kubernetes.io/not-ready";

/// An instance on a node that does not answer.
struct Lost<'a> {
    pod: &'a Pod,
    node: &'a str,
    what: What,
}

/// What becomes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    /// Another one takes its place.
    Taken,
    /// One does so many seconds after its node was given up; of none that is said.
    Stays(Option<i64>),
}

/// The first node that does not answer and has one of `pods`: of it and of its zone more is to be known.
pub fn lost_node(pods: &[Pod]) -> Option<&str> {
    pods.iter().filter_map(lost).map(|lost| lost.node).min()
}

/// What is told of it, or of its zone where none of its `nodes` answers.
pub fn of_lost(pods: &[Pod], nodes: &[Node]) -> Option<Trouble> {
    let all: Vec<_> = pods.iter().filter_map(lost).collect();
    let first = all.iter().min_by_key(|lost| (lost.node, lost.pod.name_any()))?;
    let zone = zone_of(nodes, first.node).filter(|zone| is_lost(nodes, zone));
    let message = match zone {
        Some(zone) => {
            let within: Vec<_> = all.iter().filter(|one| zone_of(nodes, one.node) == Some(zone)).collect();
            of_zone(zone, &within, nodes)
        }
        None => of_node(first, nodes),
    };
    Some(Trouble::Blocked(Reason::NodeLost, message))
}

fn of_node(Lost { pod, node, what }: &Lost, nodes: &[Node]) -> String {
    let what = match what {
        What::Taken => "another one takes the place of".to_owned(),
        What::Stays(None) => "until it comes back nothing takes the place of".to_owned(),
        What::Stays(Some(_)) if !is_given_up(nodes, node) => {
            "Kubernetes has not given it up yet, and nothing takes the place of".to_owned()
        }
        What::Stays(Some(seconds)) => {
            format!("{seconds} seconds after it was lost another one takes the place of")
        }
    };
    format!("the node {node} does not answer: {what} instance {} there", pod.name_any())
}

fn of_zone(zone: &str, lost: &[&Lost], nodes: &[Node]) -> String {
    let number = within(nodes, zone).count();
    let (mut taken, mut leaving, mut kept, mut staying) = (0, 0, 0, 0);
    let mut longest = 0;
    for Lost { pod: _, node, what } in lost {
        match what {
            What::Taken => taken += 1,
            What::Stays(None) => staying += 1,
            What::Stays(Some(_)) if !is_given_up(nodes, node) => kept += 1,
            What::Stays(Some(seconds)) => {
                leaving += 1;
                longest = longest.max(*seconds);
            }
        }
    }
    let told = [
        (taken, "replaced elsewhere".to_owned()),
        (leaving, format!("replaced {longest} seconds after the node was lost")),
        (kept, "staying until Kubernetes gives the node up".to_owned()),
        (staying, "staying until the node comes back".to_owned()),
    ];
    let told = told.into_iter().filter(|(count, _)| *count > 0);
    let told: Vec<_> = told.map(|(count, what)| format!("{count} {what}")).collect();
    format!("zone {zone}: {number} of {number} nodes do not answer; instances there: {}", told.join(", "))
}

/// Does none of several nodes of `zone` answer?
fn is_lost(nodes: &[Node], zone: &str) -> bool {
    within(nodes, zone).count() > 1 && !within(nodes, zone).any(answers)
}

fn within<'a>(nodes: &'a [Node], zone: &'a str) -> impl Iterator<Item = &'a Node> {
    nodes.iter().filter(move |node| node.labels().get(ZONE).is_some_and(|of| of == zone))
}

fn answers(node: &Node) -> bool {
    let mut conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.any(|one| one.type_ == "Ready" && one.status == "True")
}

/// Does the node of this name bear a taint by which its instances go?
fn is_given_up(nodes: &[Node], name: &str) -> bool {
    let mut taints =
        named(nodes, name).and_then(|node| node.spec.as_ref()?.taints.as_ref()).into_iter().flatten();
    taints.any(|taint| [UNREACHABLE, NOT_READY].contains(&taint.key.as_str()) && taint.effect == "NoExecute")
}

fn zone_of<'a>(nodes: &'a [Node], name: &str) -> Option<&'a str> {
    named(nodes, name)?.labels().get(ZONE).map(String::as_str)
}

fn named<'a>(nodes: &'a [Node], name: &str) -> Option<&'a Node> {
    nodes.iter().find(|node| node.name_any() == name)
}

/// What was last heard of its containers is that they are ready, and it is not.
fn lost(pod: &Pod) -> Option<Lost<'_>> {
    let status = pod.status.as_ref()?;
    let condition = |type_, is| {
        status.conditions.iter().flatten().find(|one: &&PodCondition| one.type_ == type_ && one.status == is)
    };
    let mut containers = status.container_statuses.iter().flatten().peekable();
    let was_ready = containers.peek().is_some() && containers.all(|container| container.ready);
    let taken = condition("DisruptionTarget", "True").and_then(|one| one.reason.as_deref());
    let what = match pod.metadata.deletion_timestamp {
        Some(_) if taken == Some(TAINTED) => What::Taken,
        None if was_ready && condition("Ready", "False").is_some() => What::Stays(stays(pod)),
        _ => return None,
    };
    Some(Lost { pod, node: pod.spec.as_ref()?.node_name.as_deref()?, what })
}

/// For how many seconds it stays on a node of which nothing is heard.
fn stays(pod: &Pod) -> Option<i64> {
    let mut tolerations = pod.spec.iter().flat_map(|spec| spec.tolerations.iter().flatten());
    tolerations.find(|one| one.key.as_deref() == Some(UNREACHABLE))?.toleration_seconds
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAYS: &str =
        "tolerations: [{key: node.kubernetes.io/unreachable, effect: NoExecute, tolerationSeconds: 60}]";
    const READY: &str = "containerStatuses: [{name: c, image: i, imageID: '', restartCount: 0, ready: true}]";

    fn pod((name, node): (&str, &str), condition: &str, more: &str) -> Pod {
        let pod = serde_saphyr::from_str(&format!(
            "
            metadata: {{name: {name}, namespace: acme-dev, creationTimestamp: '2026-01-01T00:00:00Z'}}
            spec: {{nodeName: {node}, containers: [], {more}}}
            status: {{conditions: [{condition}], {READY}}}
            "
        ));
        pod.unwrap()
    }

    /// Of which nothing is heard.
    fn silent(name: &str, node: &str) -> Pod {
        pod((name, node), "{type: Ready, status: 'False'}", STAYS)
    }

    /// That is told to go.
    fn taken(name: &str, node: &str) -> Pod {
        let mut pod = pod(
            (name, node),
            "{type: DisruptionTarget, status: 'True', reason: DeletionByTaintManager}",
            STAYS,
        );
        assert!(told(std::slice::from_ref(&pod), &[]).is_none(), "it is not told to go yet");
        pod.metadata.deletion_timestamp = pod.metadata.creation_timestamp.clone();
        pod
    }

    /// `is`: `True` of one that answers; `taints`: whether Kubernetes gave it up.
    fn node((name, zone): (&str, &str), is: &str, is_given_up: bool) -> Node {
        let taint = "taints: [{key: node.kubernetes.io/unreachable, effect: NoExecute}]";
        let taint = if is_given_up { taint } else { "" };
        let node = serde_saphyr::from_str(&format!(
            "
            metadata: {{name: {name}, labels: {{topology.kubernetes.io/zone: {zone}}}}}
            spec: {{{taint}}}
            status: {{conditions: [{{type: Ready, status: '{is}'}}]}}
            "
        ));
        node.unwrap()
    }

    fn told(pods: &[Pod], nodes: &[Node]) -> Option<String> {
        match of_lost(pods, nodes)? {
            Trouble::Blocked(Reason::NodeLost, told) => Some(told),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_node_that_does_not_answer_is_told_with_what_is_done_about_it() {
        let gone = [node(("node-7", "b"), "Unknown", true), node(("node-8", "b"), "True", false)];
        let told = |pod: &Pod, nodes: &[Node]| told(std::slice::from_ref(pod), nodes);
        let words =
            |what: &str| Some(format!("the node node-7 does not answer: {what} instance orders-a there"));
        let silent = silent("orders-a", "node-7");
        let after = words("60 seconds after it was lost another one takes the place of");
        assert_eq!(told(&silent, &gone), after);
        let unsure = words("Kubernetes has not given it up yet, and nothing takes the place of");
        assert_eq!(told(&silent, &[node(("node-7", "b"), "Unknown", false)]), unsure);
        assert_eq!(told(&silent, &[]), unsure, "nothing is promised of a node that is not known");
        let never = pod(("orders-a", "node-7"), "{type: Ready, status: 'False'}", "");
        assert_eq!(told(&never, &gone), words("until it comes back nothing takes the place of"));
        assert_eq!(told(&taken("orders-a", "node-7"), &gone), words("another one takes the place of"));
        let well = pod(("orders-a", "node-7"), "{type: Ready, status: 'True'}", STAYS);
        assert_eq!(told(&well, &gone), None);
    }

    #[test]
    fn a_zone_of_which_no_node_answers_is_told_with_all_its_instances() {
        let nodes = |third: &str| {
            [
                node(("b1", "b"), "Unknown", true),
                node(("b2", "b"), "Unknown", false),
                node(("b3", "b"), third, false),
                node(("a1", "a"), "True", false),
            ]
        };
        let pods = [
            taken("orders-a", "b1"),
            silent("orders-b", "b1"),
            silent("orders-c", "b2"),
            silent("orders-d", "b3"),
        ];
        assert_eq!(lost_node(&pods), Some("b1"));
        let all = told(&pods, &nodes("Unknown")).unwrap();
        assert_eq!(
            all,
            "zone b: 3 of 3 nodes do not answer; instances there: 1 replaced elsewhere, 1 replaced 60 seconds after the node was lost, 2 staying until Kubernetes gives the node up"
        );
        let one = told(&pods, &nodes("True")).unwrap();
        assert!(one.starts_with("the node b1 does not answer: "), "b3 answers: {one}");
        let other = told(&[silent("orders-a", "b2"), silent("orders-b", "c1")], &nodes("Unknown")).unwrap();
        assert!(other.contains("instances there: 1 staying"), "c1 is in no zone that is known: {other}");
        let alone = told(&[silent("orders-a", "b1")], &nodes("Unknown")[..1]).unwrap();
        assert!(alone.starts_with("the node b1 "), "a zone of one node is a node: {alone}");
    }
}
