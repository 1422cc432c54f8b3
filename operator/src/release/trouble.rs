//! Why instances of a release are not ready: its pods as the kubelet and the scheduler tell of them. Pure.
//!
//! Nothing here moves while nothing happens: no count of restarts, and the same words for a container that crashes,
//! waits to be started again, and runs for a moment in between.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::{
    batch::v1::Job,
    core::v1::{ContainerState, ContainerStateTerminated, ContainerStatus, Event, Pod, PodStatus},
};
use kube::ResourceExt;

use crate::conditions::{Reason, cut};

/// Started again so often after it ended, a container is not going to stay: a minute or so.
const STARTS: i32 = 3;
/// The kubelet's word for a pod that has a place to run containers in.
const SANDBOX: &str = "PodReadyToStartContainers";
/// The reason of its event where it cannot make that place.
pub(super) const SANDBOX_FAILED: &str = "FailedCreatePodSandBox";
/// It takes no longer where nothing is wrong.
const PATIENCE: SignedDuration = SignedDuration::from_secs(5);
/// So many hexadecimal digits are no word.
const SHORTEST_ID: usize = 16;
/// Longest part of a sentence that is not ours, in characters: runtimes pass an error on many times, and its cause is last.
const LONGEST_QUOTE: usize = 500;
/// Longest part of a line of a log.
const LONGEST_WORDS: usize = 150;

/// What keeps an instance from being ready, the worst first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trouble {
    /// It failed again and again by itself: only another version or its configuration helps. What it said last, where it said
    /// anything: other words each time.
    Loops(String, Option<String>),
    /// It failed by itself, and is started again.
    Fails(String),
    /// Something outside the release is in the way.
    Blocked(Reason, String),
    /// It runs and does not say that it is ready: on its way, or for ever.
    Unready(String),
}

/// The worst of what `pods` tell, all of one version; nothing while they just start. How often a pod from before `since`
/// was started again says nothing of what runs since then.
pub fn trouble(pods: &[Pod], since: Option<Timestamp>) -> Option<Trouble> {
    let is_done =
        |pod: &&Pod| pod.status.as_ref().is_some_and(|status| status.phase.as_deref() == Some("Succeeded"));
    let living = pods.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none() && !is_done(pod));
    living.filter_map(|pod| of_pod(pod, since)).min()
}

/// Why `run`, of which `pods` are the tries that are left, came to a bad end.
pub fn failed_run(run: &Job, pods: &[Pod]) -> Trouble {
    let conditions = run.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let failed = conditions.into_iter().find(|one| one.type_ == "Failed" && one.status == "True");
    let reason = failed.and_then(|failed| failed.reason.as_deref()).unwrap_or_default();
    let why = match (reason, last_end(pods)) {
        ("DeadlineExceeded", _) => "it took longer than `schedule.timeout`".to_owned(),
        (_, Some(how)) => format!("its last try {how}"),
        (_, None) => quote(failed.and_then(|failed| failed.message.as_deref()).unwrap_or(reason)),
    };
    let (namespace, name) = (run.namespace().unwrap_or_default(), run.name_any());
    let why = format!("the run {name} failed: {why}; kubectl -n {namespace} logs job/{name}");
    Trouble::Loops(why, None)
}

/// How the last of these that failed did.
fn last_end(pods: &[Pod]) -> Option<String> {
    let containers =
        pods.iter().flat_map(|pod| pod.status.iter().flat_map(|s| s.container_statuses.iter().flatten()));
    let ends = containers.filter_map(|container| {
        let terminated = container.state.as_ref()?.terminated.as_ref()?;
        (terminated.exit_code != 0).then_some((terminated.finished_at.clone(), container))
    });
    let (_, last) = ends.max_by_key(|(at, _)| at.clone())?;
    ended(last, last.state.as_ref()?)
}

/// The first of `pods` that has a node, and for so long no place to run its containers in that this is no start any more.
pub fn without_sandbox(pods: &[Pod], now: Timestamp) -> Option<&Pod> {
    pods.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none()).find(|pod| {
        let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
        let scheduled = conditions.clone().find(|one| one.type_ == "PodScheduled" && one.status == "True");
        let since = scheduled.and_then(|scheduled| scheduled.last_transition_time.as_ref());
        let is_late = since.is_some_and(|since| now.duration_since(since.0) > PATIENCE);
        is_late && conditions.into_iter().any(|one| one.type_ == SANDBOX && one.status == "False")
    })
}

/// What the kubelet last told of `pod`, whose sandbox it cannot make: no status says it.
pub fn unsandboxed(pod: &Pod, events: &[Event]) -> Option<Trouble> {
    let last = events.iter().max_by_key(|event| event.last_timestamp.clone())?;
    let name = pod.name_any();
    let told = last.message.as_deref().unwrap_or_default();
    if told.contains("memory limit too low") {
        return Some(Trouble::Fails(format!(
            "instance {name} cannot start: raise `resources.memory`, it is too little for any process"
        )));
    }
    // The end of the sentence is the cause; before it stand those who pass it on, and ids that are new at each attempt.
    let told = told.rsplit_once(" = ").map_or(told, |(_, cause)| cause);
    let message = format!(
        "instance {name} cannot start, its node cannot make a place for it: {}",
        quote(&without_ids(told))
    );
    Some(Trouble::Blocked(Reason::Unschedulable, message))
}

/// `text` with `…` for each long run of hexadecimal digits.
fn without_ids(text: &str) -> String {
    let is_id = |word: &str| word.len() >= SHORTEST_ID && word.bytes().all(|b| b.is_ascii_hexdigit());
    let words = text.split_inclusive(|c: char| !c.is_ascii_alphanumeric());
    let told = words.map(|word| {
        let bare = word.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
        if is_id(bare) { format!("…{}", &word[bare.len()..]) } else { word.to_owned() }
    });
    told.collect()
}

fn of_pod(pod: &Pod, since: Option<Timestamp>) -> Option<Trouble> {
    let status = pod.status.as_ref()?;
    // The API server's times are whole seconds.
    let made = pod.metadata.creation_timestamp.as_ref().map(|made| made.0.as_second());
    let counts = since.is_none_or(|since| made >= Some(since.as_second()));
    unschedulable(pod, status).or_else(|| {
        let containers = status.init_container_statuses.iter().chain(&status.container_statuses).flatten();
        containers.filter_map(|container| of_container(pod, container, counts)).min()
    })
}

fn unschedulable(pod: &Pod, status: &PodStatus) -> Option<Trouble> {
    let refused = status.conditions.iter().flatten().find(|condition| {
        condition.type_ == "PodScheduled" && condition.reason.as_deref() == Some("Unschedulable")
    })?;
    // What follows the first sentence is about claims and pods that might give way: another one at each attempt.
    let told = refused.message.as_deref().unwrap_or_default();
    let why = told.split_once(". ").map_or(told, |(why, _)| why).trim_end_matches([',', ' ']);
    let message = format!("no node for instance {}: {}", pod.name_any(), quote(why));
    Some(Trouble::Blocked(Reason::Unschedulable, message))
}

/// `counts`: how often it was started again is told of.
fn of_container(pod: &Pod, container: &ContainerStatus, counts: bool) -> Option<Trouble> {
    if container.ready {
        return None;
    }
    let state = container.state.clone().unwrap_or_default();
    let waiting = state.waiting.as_ref();
    let reason = waiting.and_then(|waiting| waiting.reason.as_deref()).unwrap_or_default();
    let told = waiting.and_then(|waiting| waiting.message.as_deref()).unwrap_or_default();
    let name = pod.name_any();
    match reason {
        "ErrImagePull" | "ImagePullBackOff" | "InvalidImageName" => {
            let message = format!("instance {name} cannot get its image: {}", pull_error(told));
            Some(Trouble::Blocked(Reason::ImageNotPulled, message))
        }
        "CreateContainerConfigError" => {
            let reason = match told.split(' ').next() {
                Some("secret") => Reason::SecretMissing,
                Some("configmap") => Reason::ConfigMissing,
                _ => Reason::Unhealthy,
            };
            Some(Trouble::Blocked(reason, format!("instance {name} cannot start: {}", quote(told))))
        }
        "" | "ContainerCreating" | "PodInitializing" | "CrashLoopBackOff" => {
            let crashes = || (reason == "CrashLoopBackOff").then(|| "crashes".to_owned());
            let how = ended(container, &state).or_else(crashes);
            let loops = counts && container.restart_count >= STARTS;
            let looping = |how: &str| {
                let said = last_words(container, &state);
                Trouble::Loops(format!("instance {name} {how}, again and again"), said)
            };
            let trouble = |how: String| if loops { looping(&how) } else { fails(pod, &how) };
            how.map(trouble).or_else(|| unready(pod, &state))
        }
        other => Some(Trouble::Fails(format!("instance {name} cannot start: {other}: {}", quote(told)))),
    }
}

/// The container's end, now or the last time.
fn end(container: &ContainerStatus, state: &ContainerState) -> Option<ContainerStateTerminated> {
    state.terminated.clone().or_else(|| container.last_state.as_ref()?.terminated.clone())
}

/// The last line that it wrote before its end.
fn last_words(container: &ContainerStatus, state: &ContainerState) -> Option<String> {
    let message = end(container, state)?.message?;
    let line = message.lines().rev().map(str::trim).find(|line| !line.is_empty())?;
    Some(cut(line, LONGEST_WORDS))
}

/// How the container ended, now or the last time.
fn ended(container: &ContainerStatus, state: &ContainerState) -> Option<String> {
    let ContainerStateTerminated { exit_code, reason, message, .. } = end(container, state)?;
    Some(match (reason.as_deref(), exit_code) {
        (Some("OOMKilled"), _) => "is killed: OOMKilled, raise `resources.memory`".to_owned(),
        (Some(reason @ ("StartError" | "ContainerCannotRun")), _) => {
            format!("cannot start: {reason}: {}", quote(message.as_deref().unwrap_or_default()))
        }
        (_, 0) => "ends by itself: exit code 0, but a service must keep running".to_owned(),
        (_, code) => format!("crashes: exit code {code}"),
    })
}

fn fails(pod: &Pod, how: &str) -> Trouble {
    let (namespace, name) = (pod.namespace().unwrap_or_default(), pod.name_any());
    // What is not started again in its pod has no container before.
    let is_once = pod.spec.as_ref().is_some_and(|spec| spec.restart_policy.as_deref() == Some("Never"));
    let previous = if is_once { "" } else { " --previous" };
    Trouble::Fails(format!("instance {name} {how}; kubectl -n {namespace} logs {name}{previous}"))
}

fn unready(pod: &Pod, state: &ContainerState) -> Option<Trouble> {
    state.running.as_ref()?;
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let ready = conditions.into_iter().find(|condition| condition.type_ == "Ready");
    let since = ready.and_then(|ready| ready.last_transition_time.as_ref());
    let since = since.map(|time| format!(" since {}", time.0)).unwrap_or_default();
    let (namespace, name) = (pod.namespace().unwrap_or_default(), pod.name_any());
    let message = format!(
        "instance {name} runs and is not ready{since}; what its probes got: kubectl -n {namespace} events --for pod/{name}"
    );
    Some(Trouble::Unready(message))
}

/// The end of the kubelet's sentence is the registry's; before it stands the image, several times.
fn pull_error(told: &str) -> String {
    let begin = told.rmatch_indices(": ").nth(1).map_or(0, |(at, mark)| at + mark.len());
    quote(&told[begin..])
}

fn quote(text: &str) -> String {
    cut(text.trim(), LONGEST_QUOTE)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;

    /// One that was made in this second.
    fn pod_of(second: u8, status: &str) -> Pod {
        let mut pod = pod("orders-a", status);
        let made = format!("2026-01-01T00:00:{second:02}Z").parse().unwrap();
        pod.metadata.creation_timestamp = Some(Time(made));
        pod
    }

    fn pod(name: &str, status: &str) -> Pod {
        serde_saphyr::from_str(&format!(
            "
            metadata: {{name: {name}, namespace: acme-dev, creationTimestamp: '2026-01-01T00:00:00Z'}}
            status: {status}
            "
        ))
        .unwrap()
    }

    /// One container that is not ready.
    fn container(states: &str) -> String {
        format!(
            "{{containerStatuses: [{{name: c, image: i, imageID: '', restartCount: 2, ready: false, {states}}}]}}"
        )
    }

    fn told(states: &str) -> Option<Trouble> {
        trouble(&[pod("orders-a", &container(states))], None)
    }

    #[test]
    fn a_crash_is_told_with_its_code_in_the_same_words_through_all_its_states() {
        let crashes = "instance orders-a crashes: exit code 3; kubectl -n acme-dev logs orders-a --previous";
        let ended = "terminated: {exitCode: 3, reason: Error}";
        for states in [
            format!("state: {{{ended}}}"),
            format!(
                "state: {{waiting: {{reason: CrashLoopBackOff, message: back-off 40s}}}}, lastState: {{{ended}}}"
            ),
            format!("state: {{running: {{}}}}, lastState: {{{ended}}}"),
        ] {
            assert_eq!(told(&states), Some(Trouble::Fails(crashes.to_owned())), "{states}");
        }
    }

    #[test]
    fn the_log_of_a_try_of_a_run_is_that_of_its_only_container() {
        let mut tried = pod("orders-a", &container("state: {terminated: {exitCode: 3, reason: Error}}"));
        tried.spec = serde_saphyr::from_str("{containers: [], restartPolicy: Never}").unwrap();
        let crashes = "instance orders-a crashes: exit code 3; kubectl -n acme-dev logs orders-a";
        assert_eq!(trouble(&[tried], None), Some(Trouble::Fails(crashes.to_owned())));
    }

    #[test]
    fn each_cause_comes_first_in_its_sentence() {
        let text = |states: &str| match told(states).unwrap() {
            Trouble::Loops(text, _)
            | Trouble::Fails(text)
            | Trouble::Blocked(_, text)
            | Trouble::Unready(text) => text,
        };
        for (states, begins) in [
            (
                "state: {terminated: {exitCode: 137, reason: OOMKilled}}",
                "instance orders-a is killed: OOMKilled, raise",
            ),
            (
                "state: {terminated: {exitCode: 0, reason: Completed}}",
                "instance orders-a ends by itself: exit code 0",
            ),
            (
                "state: {terminated: {exitCode: 128, reason: StartError, message: no such file}}",
                "instance orders-a cannot start: StartError: no such file",
            ),
            (
                "state: {waiting: {reason: RunContainerError, message: no such file}}",
                "instance orders-a cannot start: RunContainerError: no such file",
            ),
            (
                "state: {running: {}}",
                "instance orders-a runs and is not ready; what its probes got: kubectl -n acme-dev events --for pod/orders-a",
            ),
        ] {
            assert!(text(states).starts_with(begins), "{}", text(states));
        }
        assert_eq!(told("state: {waiting: {reason: ContainerCreating}}"), None, "it just starts");
    }

    #[test]
    fn what_is_outside_of_the_release_is_told_with_its_own_reason() {
        let blocked = |states: &str| match told(states) {
            Some(Trouble::Blocked(reason, message)) => (reason, message),
            other => panic!("{other:?}"),
        };
        let image = "registry.example.com/acme/orders@sha256:4f2a";
        let error = format!("failed to pull image {image}: failed to resolve image: {image}: not found");
        let cannot = format!("instance orders-a cannot get its image: {image}: not found");
        for waiting in [
            format!("{{reason: ErrImagePull, message: '{error}'}}"),
            format!(
                "{{reason: ImagePullBackOff, message: 'Back-off pulling image {image}: ErrImagePull: {error}'}}"
            ),
        ] {
            let (reason, message) = blocked(&format!("state: {{waiting: {waiting}}}"));
            assert_eq!((reason, message), (Reason::ImageNotPulled, cannot.clone()));
        }
        let secret = "state: {waiting: {reason: CreateContainerConfigError, message: 'secret \"rates-db\" not found'}}";
        let (reason, message) = blocked(secret);
        assert_eq!(reason, Reason::SecretMissing);
        assert_eq!(message, "instance orders-a cannot start: secret \"rates-db\" not found");
        let sentence = "no node for instance orders-a: 0/1 nodes are available: 1 Insufficient memory";
        for more in
            [". no new claims to deallocate, preemption: 0/1 nodes are available: 1 No victims.", ". ", ""]
        {
            let full = format!(
                "{{conditions: [{{type: PodScheduled, status: 'False', reason: Unschedulable, message:
                '0/1 nodes are available: 1 Insufficient memory{more}'}}]}}"
            );
            assert_eq!(
                trouble(&[pod("orders-a", &full)], None),
                Some(Trouble::Blocked(Reason::Unschedulable, sentence.to_owned()))
            );
        }
    }

    #[test]
    fn the_worst_of_the_pods_that_stay_is_told() {
        let crash = pod("orders-y", &container("state: {terminated: {exitCode: 2}}"));
        let runs = pod("orders-x", &container("state: {running: {}}"));
        let well = pod(
            "orders-w",
            "{containerStatuses: [{name: c, image: i, imageID: '', restartCount: 3, ready: true}]}",
        );
        let worst = trouble(&[well.clone(), runs.clone(), crash.clone()], None);
        assert!(matches!(&worst, Some(Trouble::Fails(text)) if text.contains("exit code 2")), "{worst:?}");
        let mut ending = crash;
        ending.metadata.deletion_timestamp = ending.metadata.creation_timestamp.clone();
        assert!(matches!(trouble(&[runs, ending], None), Some(Trouble::Unready(_))));
        assert_eq!(trouble(&[well], None), None);
        assert_eq!(trouble(&[], None), None);
    }

    #[test]
    fn only_what_crashes_again_and_again_since_it_is_this_release_is_given_up() {
        let crashes = container(
            "state: {waiting: {reason: CrashLoopBackOff}}, lastState: {terminated: {exitCode: 3, message: \"a\\nno database\\n\"}}",
        );
        let often = pod_of(7, &crashes.replace("restartCount: 2", "restartCount: 3"));
        let at = |second: i64| Timestamp::from_second(1_767_225_600 + second).ok();
        let why = "instance orders-a crashes: exit code 3, again and again".to_owned();
        let told = Trouble::Loops(why, Some("no database".to_owned()));
        for since in [None, at(6), at(7)] {
            assert_eq!(trouble(std::slice::from_ref(&often), since), Some(told.clone()), "{since:?}");
        }
        assert!(matches!(trouble(&[often], at(8)), Some(Trouble::Fails(_))), "it was made for another");
        assert!(matches!(trouble(&[pod_of(7, &crashes)], None), Some(Trouble::Fails(_))));
    }

    /// As the kubelet tells of them, with the ids of one attempt.
    fn failed(second: u8, message: &str) -> Event {
        serde_saphyr::from_str(&format!(
            "
            metadata: {{}}
            involvedObject: {{}}
            lastTimestamp: '2026-01-01T00:01:{second:02}Z'
            message: '{message}'
            "
        ))
        .unwrap()
    }

    #[test]
    fn a_pod_that_gets_no_sandbox_is_told_with_what_helps() {
        let starting = |sandbox: &str| {
            let status = format!(
                "{{conditions: [{{type: PodScheduled, status: 'True', lastTransitionTime: '2026-01-01T00:00:00Z'}},
                  {{type: PodReadyToStartContainers, status: '{sandbox}'}}]}}"
            );
            pod("orders-a", &status)
        };
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let (early, late) = (at("2026-01-01T00:00:05Z"), at("2026-01-01T00:00:06Z"));
        let stuck = [starting("True"), starting("False")];
        assert_eq!(without_sandbox(&stuck, late), Some(&stuck[1]));
        assert_eq!(without_sandbox(&stuck, early), None, "it just starts");

        let small = "Failed to create pod sandbox: rpc error: code = Unknown desc = failed to start sandbox \"4f2a4f2a4f2a4f2a4f2a\": runc create failed: container init was OOM-killed (memory limit too low?): unknown";
        let told = unsandboxed(&stuck[1], &[failed(2, small), failed(1, "older")]);
        assert!(
            matches!(&told, Some(Trouble::Fails(text)) if text.contains("raise `resources.memory`")),
            "{told:?}"
        );

        let network = |id: &str| {
            let message = format!(
                "Failed to create pod sandbox: rpc error: code = Unknown desc = failed to setup network for sandbox \"{id}\": no address left"
            );
            unsandboxed(&stuck[1], &[failed(1, &message)])
        };
        let told = network(&"4f2a".repeat(16));
        let sentence = "instance orders-a cannot start, its node cannot make a place for it: failed to setup network for sandbox \"…\": no address left";
        assert_eq!(told, Some(Trouble::Blocked(Reason::Unschedulable, sentence.to_owned())));
        assert_eq!(told, network(&"0b0b".repeat(16)), "the same words at each attempt");
        assert_eq!(unsandboxed(&stuck[1], &[]), None);
    }
}
