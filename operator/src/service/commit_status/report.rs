//! One environment of the board in, the commit status that follows from it out. Pure.

use crate::{
    api::integration_service::{CommitState, EnvironmentState, Reported, Waiting},
    conditions::{Reason, cut},
    git::CommitId,
    service::status::{brief, is_of_others, moves},
};

/// The longest description, in characters: what GitHub takes is the least of the three.
const LONGEST: usize = 140;

/// What only another commit mends.
const FINAL: [Reason; 6] = [
    Reason::Rejected,
    Reason::Failed,
    Reason::DescriptorMissing,
    Reason::InvalidDescriptor,
    Reason::InvalidConfig,
    Reason::Uncoordinated,
];

/// Nobody asks for the commit here any more.
const OVER: [Reason; 4] =
    [Reason::BranchMissing, Reason::Orphaned, Reason::Retiring, Reason::EnvironmentMissing];

/// A commit status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Of which commit.
    pub commit: CommitId,
    /// The branch that it is the head of.
    pub branch: String,
    /// What it came to.
    pub state: CommitState,
    /// Why, as a word of the closed set of reasons.
    pub reason: String,
    /// One sentence of the board, cut to what every host takes.
    pub description: String,
}

impl Report {
    /// What is to be said of the commit in this environment; nothing where nothing new is.
    ///
    /// A success stays until something else is asked for, or somebody steps in: that an instance goes down later is no
    /// matter of the commit's, and a host takes a limited number of statuses for one.
    pub fn of(state: &EnvironmentState) -> Option<Self> {
        let commit = CommitId::parse(state.commit.as_deref()?)?;
        let awaited = |reasons: &[Reason]| {
            state
                .waiting
                .iter()
                .find(|waiting| reasons.iter().any(|reason| reason.as_str() == waiting.reason))
        };
        if awaited(&OVER).is_some() {
            return None;
        }
        let runs = state.candidate.is_none() && state.current.is_some() && state.current == state.last_good;
        let told = state.reported.as_ref().filter(|told| told.commit == commit.as_str());
        let (verdict, reason, message) = if let Some(Waiting { reason, message }) = awaited(&FINAL) {
            (CommitState::Failure, reason.as_str(), message.clone())
        } else if let Some(failed) = &state.failed {
            (CommitState::Failure, Reason::Failed.as_str(), failed.message.clone())
        } else if runs && state.waiting.iter().all(is_of_others) {
            let message = format!("runs in {} and is healthy", state.name);
            (CommitState::Success, Reason::Succeeded.as_str(), message)
        } else if runs && told.is_some_and(|told| told.state == CommitState::Success) {
            return None;
        } else {
            // What ends by itself is over before anybody reads it.
            let first = state.waiting.iter().find(|waiting| !moves(waiting) && !is_of_others(waiting));
            let on_its_way = || (Reason::Progressing.as_str(), format!("on its way to {}", state.name));
            let (reason, message) =
                first.map_or_else(on_its_way, |first| (first.reason.as_str(), first.message.clone()));
            (CommitState::Pending, reason, message)
        };
        Some(Self {
            commit,
            branch: state.branch.clone(),
            state: verdict,
            reason: reason.to_owned(),
            description: cut(&brief(&message), LONGEST),
        })
    }

    /// As the board tells it, with the `problem` that the host had with it.
    pub fn reported(&self, problem: Option<String>) -> Reported {
        let Self { commit, branch: _, state, reason, description: _ } = self;
        Reported { commit: commit.to_string(), state: *state, reason: reason.clone(), problem }
    }

    /// Whether the host was told, whatever it made of it.
    pub fn is(&self, told: &Reported) -> bool {
        self.is_of_state(told) && self.reason == told.reason
    }

    /// Whether the host was told the same state of the same commit, maybe for another reason.
    pub fn is_of_state(&self, told: &Reported) -> bool {
        self.commit.as_str() == told.commit && self.state == told.state
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::integration_service::FailedRelease;

    const COMMIT: &str = "4f2a4f2a4f2a4f2a4f2a4f2a4f2a4f2a4f2a4f2a";

    fn waiting(reason: Reason, message: &str) -> Waiting {
        Waiting { reason: reason.as_str().to_owned(), message: message.to_owned() }
    }

    /// `dev` runs `b`, which the commit asks for, and well.
    fn healthy() -> EnvironmentState {
        EnvironmentState {
            name: "dev".to_owned(),
            branch: "main".to_owned(),
            commit: Some(COMMIT.to_owned()),
            current: Some("orders-dev-b".to_owned()),
            last_good: Some("orders-dev-b".to_owned()),
            ready: 1,
            desired: 1,
            ..EnvironmentState::default()
        }
    }

    fn told(state: CommitState) -> Reported {
        let reason = Reason::Succeeded.as_str().to_owned();
        Reported { commit: COMMIT.to_owned(), state, reason, problem: None }
    }

    /// State, reason and description.
    fn said(state: &EnvironmentState) -> Option<(CommitState, String, String)> {
        let report = Report::of(state)?;
        assert_eq!((report.commit.as_str(), report.branch.as_str()), (COMMIT, "main"));
        Some((report.state, report.reason, report.description))
    }

    #[test]
    fn that_another_service_is_down_is_no_matter_of_the_commit() {
        let lonely = EnvironmentState { waiting: vec![waiting(Reason::ProviderDown, "stock")], ..healthy() };
        assert_eq!(said(&lonely), said(&healthy()));
        let on_its_way = EnvironmentState { last_good: None, ..lonely };
        assert_eq!(said(&on_its_way).unwrap().1, "Progressing");
    }

    #[test]
    fn the_board_becomes_a_status() {
        use CommitState::{Failure, Pending, Success};
        let image = "image acme/orders:4f2a4f2a4f2a4f2a4f2a is not in the registry yet";
        let old = || EnvironmentState { current: Some("orders-dev-a".to_owned()), ..healthy() };
        let rows = [
            (healthy(), Success, "Succeeded", "runs in dev and is healthy"),
            (
                EnvironmentState { current: None, last_good: None, ..healthy() },
                Pending,
                "Progressing",
                "on its way to dev",
            ),
            (
                EnvironmentState { candidate: Some("orders-dev-c".to_owned()), ..healthy() },
                Pending,
                "Progressing",
                "on its way to dev",
            ),
            (old(), Pending, "Progressing", "on its way to dev"),
            (
                EnvironmentState { waiting: vec![waiting(Reason::RollingOut, "0 of 1")], ..old() },
                Pending,
                "Progressing",
                "on its way to dev",
            ),
            (
                EnvironmentState {
                    waiting: vec![
                        waiting(Reason::Progressing, "it is being read"),
                        waiting(Reason::SecretMissing, "create it"),
                    ],
                    ..old()
                },
                Pending,
                "SecretMissing",
                "create it",
            ),
            (
                EnvironmentState { waiting: vec![waiting(Reason::ImageMissing, image)], ..healthy() },
                Pending,
                "ImageMissing",
                "image acme/orders:4f2a4f2a4f2a… is not in the registry yet",
            ),
            (
                EnvironmentState {
                    waiting: vec![
                        waiting(Reason::SecretMissing, "create it"),
                        waiting(Reason::InvalidConfig, "config: too large"),
                    ],
                    ..healthy()
                },
                Failure,
                "InvalidConfig",
                "config: too large",
            ),
            (
                EnvironmentState {
                    failed: Some(FailedRelease {
                        release: "orders-dev-b".to_owned(),
                        message: "0 of 1 instances are ready".to_owned(),
                        last_words: Some("the password is swordfish".to_owned()),
                    }),
                    ..old()
                },
                Failure,
                "Failed",
                "0 of 1 instances are ready",
            ),
            (
                EnvironmentState { waiting: vec![waiting(Reason::Unhealthy, "0 of 1")], ..old() },
                Pending,
                "Unhealthy",
                "0 of 1",
            ),
            (
                EnvironmentState {
                    candidate: Some("orders-dev-b".to_owned()),
                    waiting: vec![waiting(Reason::RolledBack, "nora went back")],
                    reported: Some(told(Success)),
                    ..old()
                },
                Pending,
                "RolledBack",
                "nora went back",
            ),
            (
                EnvironmentState {
                    waiting: vec![waiting(Reason::Rejected, "nora rejected it")],
                    reported: Some(told(Success)),
                    ..healthy()
                },
                Failure,
                "Rejected",
                "nora rejected it",
            ),
        ];
        for (state, verdict, reason, description) in rows {
            let wanted = Some((verdict, reason.to_owned(), description.to_owned()));
            assert_eq!(said(&state), wanted, "{state:?}");
        }
    }

    #[test]
    fn nothing_is_said_of_what_nobody_asks_for() {
        assert_eq!(Report::of(&EnvironmentState { commit: None, ..healthy() }), None);
        assert_eq!(Report::of(&EnvironmentState { commit: Some("main".to_owned()), ..healthy() }), None);
        for reason in OVER {
            let state = EnvironmentState { waiting: vec![waiting(reason, "over")], ..healthy() };
            assert_eq!(Report::of(&state), None, "{reason:?}");
        }
    }

    #[test]
    fn an_instance_that_goes_down_later_takes_no_success_back() {
        let down = EnvironmentState { waiting: vec![waiting(Reason::Unhealthy, "0 of 1")], ..healthy() };
        let of = |told| Report::of(&EnvironmentState { reported: Some(told), ..down.clone() });
        assert_eq!(of(told(CommitState::Success)), None);
        assert_eq!(of(told(CommitState::Pending)).map(|report| report.state), Some(CommitState::Pending));
        let other = "aaaa4f2a4f2a4f2a4f2a4f2a4f2a4f2a4f2a4f2a".to_owned();
        let of_other = Reported { commit: other, ..told(CommitState::Success) };
        assert_eq!(of(of_other).map(|report| report.state), Some(CommitState::Pending));
    }

    #[test]
    fn a_description_fits_every_host() {
        let long = "imaas.yaml:3:1: there is no field typ here; ".repeat(9);
        let state =
            EnvironmentState { waiting: vec![waiting(Reason::InvalidDescriptor, &long)], ..healthy() };
        let description = said(&state).unwrap().2;
        assert!(description.chars().count() <= LONGEST && description.ends_with('…'), "{description}");
    }
}
