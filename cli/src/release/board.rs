//! The board of a service: where it stands in an environment, which commit is meant, and what stops all of it. Pure.

use anyhow::{Result, bail};
use imaas_operator::{
    api::{
        IntegrationServiceStatus,
        integration_service::{EnvironmentState, Waiting},
    },
    conditions::{READY, RECONCILING, STALLED},
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

/// Where `service` stands in `environment`.
pub fn state<'a>(
    (service, board): (&str, &'a IntegrationServiceStatus),
    environment: &str,
) -> Result<&'a EnvironmentState> {
    let known: Vec<_> = board.environments.iter().map(|one| one.name.as_str()).collect();
    match board.environments.iter().find(|one| one.name == environment) {
        Some(state) => Ok(state),
        None if known.is_empty() => bail!("{service} is not in {environment:?}: it is in none yet"),
        None => bail!("{service} is not in {environment:?}: it is in {}", known.join(", ")),
    }
}

/// What serves while `current` is rolled out, where something older still does.
pub fn serves(state: &EnvironmentState) -> Option<&str> {
    let EnvironmentState { current, last_good, older, .. } = state;
    let good = last_good.as_deref().filter(|_| last_good != current);
    (*older > 0).then(|| good.unwrap_or("an older release"))
}

/// Why nothing goes on in `state`, or in any environment for nothing, beside what is awaited there itself.
pub fn stopped(board: &IntegrationServiceStatus, state: Option<&EnvironmentState>) -> Option<Waiting> {
    let told = |type_, status| board.conditions.iter().find(|c| c.type_ == type_ && c.status == status);
    let ready = told(READY, "False")?;
    // That of `Ready` is cut.
    let Condition { reason, message, .. } =
        told(STALLED, "True").or_else(|| told(RECONCILING, "True")).unwrap_or(ready);
    // What is about one environment begins with its name, and is told there in full.
    let of_one = board.environments.iter().find(|one| message.starts_with(&format!("{}: ", one.name)));
    let waiting = state.map_or(&[][..], |state| &state.waiting);
    let is_told = match of_one {
        Some(one) => state.is_none_or(|state| state.name != one.name) || !waiting.is_empty(),
        None => waiting.iter().any(|waiting| waiting.reason == *reason),
    };
    (!is_told).then(|| Waiting { reason: reason.clone(), message: message.clone() })
}

/// The commit that `given` begins: what is decided is about a whole hash. A whole one is the operator's to judge.
pub fn commit(state: &EnvironmentState, given: &str) -> Result<String> {
    const WHOLE: usize = 40;
    let EnvironmentState { name, branch, commit, .. } = state;
    match commit {
        _ if given.len() == WHOLE => Ok(given.to_owned()),
        Some(head) if head.starts_with(given) => Ok(head.clone()),
        Some(head) => bail!(
            "{given} does not begin the head of {name}, which is {head} of branch {branch}: look at that one"
        ),
        None => bail!(
            "the branch {branch} of {name} was not read yet, so {given} is the beginning of nothing: write the whole hash"
        ),
    }
}

/// Name of the decision of this kind that holds.
pub fn held(state: &EnvironmentState, kind: &str) -> Result<String> {
    match state.held.iter().find(|held| held.action.as_str() == kind) {
        Some(held) => Ok(held.decision.clone()),
        None => bail!("no {kind} holds in {}: see what does, kubectl imaas why", state.name),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn board(conditions: &serde_json::Value) -> IntegrationServiceStatus {
        let head = "4f2a".repeat(10);
        let environments = json!([
            { "name": "test", "branch": "test" },
            { "name": "prod", "branch": "main", "commit": head },
            { "name": "eu", "branch": "eu", "waiting": [{ "reason": "Held", "message": "x" }] },
        ]);
        let board = json!({ "environments": environments, "conditions": conditions });
        serde_json::from_value(board).unwrap()
    }

    fn stopping(reason: &str, message: &str) -> serde_json::Value {
        let time = "2026-01-01T10:00:00Z";
        let one = |type_: &str, status: &str, message: &str| {
            json!({ "type": type_, "status": status, "reason": reason, "message": message,
                "lastTransitionTime": time })
        };
        json!([
            one("Ready", "False", "cut…"),
            one("Reconciling", "False", message),
            one("Stalled", "True", message)
        ])
    }

    #[test]
    fn what_stops_the_whole_service_is_why_it_stands_in_each_environment() {
        let told = |reason: &str, message: &str, environment: &str| {
            let board = board(&stopping(reason, message));
            stopped(&board, Some(state(("orders", &board), environment).unwrap())).map(|why| why.message)
        };
        let missing = "Secret orders-git is missing: create it in acme-home";
        assert_eq!(told("CredentialsMissing", missing, "prod").as_deref(), Some(missing));
        assert_eq!(told("CredentialsMissing", missing, "eu").as_deref(), Some(missing));
        assert_eq!(told("Held", "held by nora", "eu"), None, "that is told already");
        assert_eq!(told("Progressing", "test: on its way", "prod"), None, "that is another's");
        assert_eq!(told("Progressing", "test: on its way", "test").as_deref(), Some("test: on its way"));
        let ready = json!([{ "type": "Ready", "status": "True", "reason": "Succeeded", "message": "x",
            "lastTransitionTime": "2026-01-01T10:00:00Z" }]);
        assert_eq!(stopped(&board(&ready), None), None);
    }

    #[test]
    fn an_environment_that_is_not_there_is_told_with_those_that_are() {
        let told = |board| state(("orders", &board), "staging").unwrap_err().to_string();
        assert_eq!(told(board(&json!([]))), "orders is not in \"staging\": it is in test, prod, eu");
        assert!(told(IntegrationServiceStatus::default()).ends_with("it is in none yet"));
    }

    #[test]
    fn what_holds_is_found_by_its_kind() {
        let environments = json!([{ "name": "prod", "branch": "main",
            "held": [{ "decision": "orders-prod-scale-x", "action": "scale", "by": "nora" }] }]);
        let board: IntegrationServiceStatus =
            serde_json::from_value(json!({ "environments": environments })).unwrap();
        let prod = &board.environments[0];
        assert_eq!(held(prod, "scale").unwrap(), "orders-prod-scale-x");
        assert!(held(prod, "hold").unwrap_err().to_string().starts_with("no hold holds in prod"));
    }

    #[test]
    fn the_beginning_of_a_hash_means_the_head_of_the_branch() {
        let board = board(&json!([]));
        let prod = state(("orders", &board), "prod").unwrap();
        let head = "4f2a".repeat(10);
        assert_eq!(commit(prod, "4f2a4f2").unwrap(), head);
        assert_eq!(commit(prod, &head).unwrap(), head);
        let other = "5b3c".repeat(10);
        assert_eq!(commit(prod, &other).unwrap(), other, "the board may not have it yet");
        let told = commit(prod, "5b3c5b3").unwrap_err().to_string();
        assert!(told.contains(&head) && told.contains("branch main"), "{told}");
        let unread = state(("orders", &board), "test").unwrap();
        assert!(commit(unread, "4f2a4f2").unwrap_err().to_string().contains("not read yet"));
    }
}
