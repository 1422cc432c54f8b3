//! Why a service is as it is in one environment: its board, in sentences. Pure but for [`run`].

use anyhow::{Result, bail};
use imaas_operator::api::integration_service::{EnvironmentState, Held};

use super::{args, home::Home};
use crate::{
    Outcome, cluster,
    output::{self, plain},
};

/// IO: reads and tells; a problem where anything is awaited.
pub fn run(options: &args::Why) -> Result<Outcome> {
    let service =
        cluster::block_on(async { Home::open(&options.home).await?.service(&options.service).await })?;
    let board = service.status.unwrap_or_default();
    let Some(state) = board.environments.iter().find(|one| one.name == options.environment) else {
        let known: Vec<_> = board.environments.iter().map(|one| one.name.as_str()).collect();
        bail!("{} is not in {:?}: it is in {}", options.service, options.environment, known.join(", "));
    };
    output::print(&told(&options.service, state))?;
    Ok(if state.waiting.is_empty() { Outcome::Fine } else { Outcome::Problems })
}

fn told(service: &str, state: &EnvironmentState) -> String {
    let EnvironmentState { name, branch, commit, candidate, current, last_good, .. } = state;
    let none = || "nothing".to_owned();
    let ready = format!("{} of {} instances are ready", state.ready, state.desired);
    let mut lines = vec![
        format!("{service} in {name}, branch {branch}"),
        format!("  runs       {} ({ready})", current.clone().unwrap_or_else(none)),
    ];
    let mut line = |title: &str, text: Option<String>| {
        lines.extend(text.map(|text| format!("  {title:<10} {}", plain(&text))));
    };
    line("asked for", candidate.clone());
    line("attempt", state.attempt.map(|attempt| attempt.to_string()));
    line("last good", last_good.clone().filter(|good| Some(good) != current.as_ref()));
    line("commit", commit.clone());
    line("image", state.digest.clone());
    line("reached at", state.exposed.clone());
    for Held { decision, action, by, reason, until } in &state.held {
        let reason = reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
        let until = until.as_ref().map(|until| format!(" until {until}")).unwrap_or_default();
        line(action.as_str(), Some(format!("by {by}{until}{reason}: {decision}")));
    }
    for waiting in &state.waiting {
        line("because", Some(format!("{}: {}", waiting.reason, waiting.message)));
    }
    if state.waiting.is_empty() {
        line("because", Some("it is as Git asks for; nothing is awaited".to_owned()));
    }
    let told = state.reported.as_ref();
    let host = told.map(|told| {
        let problem = told.problem.as_ref().map(|problem| format!("; {problem}")).unwrap_or_default();
        format!("{} ({}) of {}{problem}", told.state.as_str(), told.reason, told.commit)
    });
    line("told host", host);
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use imaas_operator::api::{
        DecisionAction,
        integration_service::{CommitState, Reported, Waiting},
    };

    use super::*;

    #[test]
    fn everything_that_is_awaited_is_told_with_who_holds_it() {
        let held = Held {
            decision: "orders-prod-hold-x".to_owned(),
            action: DecisionAction::Hold,
            by: "nora".to_owned(),
            reason: Some("stocktaking".to_owned()),
            until: Some("2026-01-01T12:00:00Z".to_owned()),
        };
        let waiting = |reason: &str| Waiting { reason: reason.to_owned(), message: "as it says".to_owned() };
        let state = EnvironmentState {
            name: "prod".to_owned(),
            branch: "main".to_owned(),
            candidate: Some("orders-prod-b".to_owned()),
            current: Some("orders-prod-a".to_owned()),
            last_good: Some("orders-prod-a".to_owned()),
            ready: 2,
            desired: 2,
            held: vec![held],
            waiting: vec![waiting("Held"), waiting("NotPromoted")],
            reported: Some(Reported {
                commit: "4f2a".to_owned(),
                state: CommitState::Pending,
                reason: "Held".to_owned(),
                problem: Some("the host refused it".to_owned()),
            }),
            ..EnvironmentState::default()
        };
        assert_eq!(
            told("orders", &state),
            "orders in prod, branch main
  runs       orders-prod-a (2 of 2 instances are ready)
  asked for  orders-prod-b
  hold       by nora until 2026-01-01T12:00:00Z (stocktaking): orders-prod-hold-x
  because    Held: as it says
  because    NotPromoted: as it says
  told host  pending (Held) of 4f2a; the host refused it
"
        );
    }
}
