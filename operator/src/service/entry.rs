//! What keeps anything new from running in an environment, whatever it is: a freeze, its windows, an approval. Pure.

use jiff::Timestamp;

use super::{Problem, validate::ValidEnvironment};
use crate::{
    api::environment::Window,
    conditions::Reason,
    environment::{Moment, Windows},
    registry::signature::PublicKey,
};

/// What an Environment asks of what is new.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// Nothing new runs.
    pub frozen: bool,
    /// Somebody must have approved the commit.
    pub approval: bool,
    /// When something new may begin to run.
    pub windows: Vec<Window>,
    /// One of these must have signed an image that is new; without it, nobody need.
    pub signers: Option<Vec<PublicKey>>,
}

/// What is new.
#[derive(Clone, Copy, Debug)]
pub struct New<'a> {
    /// The commit that asks for it.
    pub commit: &'a str,
    /// Its image, where that is known.
    pub digest: Option<&'a str>,
    /// A changed Secret or runtime brings it: nobody committed it, so nobody approves it.
    pub without_git: bool,
    /// The same was let in before.
    pub was_let_in: bool,
}

/// What is awaited, and when to look again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Awaited {
    /// All of it.
    pub problems: Vec<Problem>,
    /// When time alone brings it.
    pub until: Option<Timestamp>,
}

/// What keeps `new` of `service` from running in `environment`.
pub fn awaited(service: &str, environment: &ValidEnvironment, new: New<'_>, now: Timestamp) -> Awaited {
    let ValidEnvironment { name, namespace, entry, approved, .. } = environment;
    let New { commit, digest, without_git, was_let_in } = new;
    let mut awaited = Awaited::default();
    awaited.problems.extend(entry.frozen.then(|| frozen(name, commit)));
    let is_approved = approved.iter().any(|(one, image)| one == commit && Some(image.as_str()) == digest);
    if entry.approval && !without_git && !was_let_in && !is_approved {
        let by = format!("waits for somebody with the verb `approve` in {namespace}");
        let message = match digest {
            Some(digest) => format!(
                "commit {commit} with image {digest} {by}: kubectl imaas approve {service} {name} {commit}"
            ),
            None => format!("commit {commit} {by}, once its image is known"),
        };
        awaited.problems.push(Problem::new(Reason::ApprovalPending, message));
    }
    let closed = match Windows::valid(&entry.windows, "").0.at(now) {
        Moment::Open => return awaited,
        Moment::OpensAt(when) => {
            awaited.until = Some(when);
            format!(
                "outside of the windows of {name}: commit {commit} runs from {when} on, or when the platform opens one; what runs goes on"
            )
        }
        Moment::Never => format!(
            "no window of {name} ever opens: commit {commit} waits until the platform corrects `windows` of the Environment"
        ),
    };
    awaited.problems.push(Problem::new(Reason::WindowClosed, closed));
    awaited
}

/// Told of what is ready to run in `environment`.
pub fn frozen(environment: &str, commit: &str) -> Problem {
    let message = format!(
        "frozen by the platform: commit {commit} waits until `freeze` is taken from the Environment {environment}; what runs goes on"
    );
    Problem::new(Reason::Frozen, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new(commit: &str) -> New<'_> {
        New { commit, digest: Some("sha256:a"), without_git: false, was_let_in: false }
    }

    fn environment(entry: Entry) -> ValidEnvironment {
        ValidEnvironment { entry, ..crate::sample::environment("prod", None) }
    }

    fn nightly() -> Vec<Window> {
        vec![Window { schedule: "0 22 * * *".to_owned(), duration: "2h".to_owned(), time_zone: None }]
    }

    fn reasons(environment: &ValidEnvironment, new: New<'_>, now: &str) -> Vec<Reason> {
        let awaited = awaited("orders", environment, new, now.parse().unwrap());
        awaited.problems.iter().map(|problem| problem.reason).collect()
    }

    const NOON: &str = "2026-01-06T12:00:00Z";
    const NIGHT: &str = "2026-01-06T22:30:00Z";

    #[test]
    fn everything_that_is_awaited_is_told_at_once_with_the_way_out() {
        let all = environment(Entry { frozen: true, approval: true, windows: nightly(), signers: None });
        let awaited = awaited("orders", &all, new("c0ffee"), NOON.parse().unwrap());
        assert_eq!(awaited.until, Some("2026-01-06T22:00:00Z".parse().unwrap()));
        let told: Vec<_> = awaited.problems.iter().map(|one| (one.reason, one.message.as_str())).collect();
        assert_eq!(
            told,
            [
                (
                    Reason::Frozen,
                    "frozen by the platform: commit c0ffee waits until `freeze` is taken from the Environment prod; what runs goes on"
                ),
                (
                    Reason::ApprovalPending,
                    "commit c0ffee with image sha256:a waits for somebody with the verb `approve` in acme-prod: kubectl imaas approve orders prod c0ffee"
                ),
                (
                    Reason::WindowClosed,
                    "outside of the windows of prod: commit c0ffee runs from 2026-01-06T22:00:00Z on, or when the platform opens one; what runs goes on"
                ),
            ]
        );
        assert_eq!(reasons(&environment(Entry::default()), new("c0ffee"), NOON), []);
    }

    #[test]
    fn an_approval_is_of_one_commit_and_of_what_it_asked_for_before() {
        let mut asks = environment(Entry { approval: true, ..Entry::default() });
        asks.approved = vec![("c0ffee".to_owned(), "sha256:a".to_owned())];
        assert_eq!(reasons(&asks, new("c0ffee"), NOON), []);
        assert_eq!(reasons(&asks, new("c0ffef"), NOON), [Reason::ApprovalPending]);
        for digest in [Some("sha256:b"), None] {
            assert_eq!(
                reasons(&asks, New { digest, ..new("c0ffee") }, NOON),
                [Reason::ApprovalPending],
                "{digest:?}"
            );
        }
        assert_eq!(reasons(&asks, New { was_let_in: true, ..new("c0ffef") }, NOON), [], "a revert");
        assert_eq!(reasons(&asks, New { without_git: true, ..new("c0ffef") }, NOON), [], "a Secret");
    }

    #[test]
    fn a_window_is_for_everything_that_is_new() {
        let windows = environment(Entry { windows: nightly(), ..Entry::default() });
        for new in [new("c"), New { without_git: true, ..new("c") }, New { was_let_in: true, ..new("c") }] {
            assert_eq!(reasons(&windows, new, NOON), [Reason::WindowClosed], "{new:?}");
            assert_eq!(reasons(&windows, new, NIGHT), [], "{new:?}");
        }
    }
}
