//! Releases and decisions of a service, in the order in which they were made. Pure but for [`run`].

use std::sync::Arc;

use anyhow::Result;
use imaas_operator::{
    api::{
        DecisionState, IntegrationServiceStatus, Release, ReleaseDecision,
        integration_service::EnvironmentState,
    },
    conditions::{FAILED, HEALTHY, cut, is_true},
    service::{
        decision::{Standing, order, retrier, standing},
        history::History,
    },
};
use jiff::Timestamp;
use kube::ResourceExt;

use super::{
    args, board,
    home::{Home, now},
};
use crate::{
    Outcome, cluster,
    output::{self, plain},
};

/// Hexadecimal digits that name a commit well enough.
const SHORT: usize = 12;

/// What is told of an answer, in characters: a long one would bury the releases.
const LONGEST: usize = 120;

/// IO: reads and tells.
pub fn run(options: &args::History) -> Result<Outcome> {
    let (board, releases, decisions, namespace) = cluster::block_on(async {
        let home = Home::open(&options.home).await?;
        let board = home.service(&options.service).await?.status.unwrap_or_default();
        let (releases, decisions) = (home.all::<Release>().await?, home.all::<ReleaseDecision>().await?);
        Ok((board, releases, decisions, home.namespace))
    })?;
    let is_of = |service: &str, environment: &str| {
        service == options.service && options.environment.as_deref().is_none_or(|one| one == environment)
    };
    let releases = releases.iter().filter(|one| is_of(&one.spec.service, &one.spec.environment));
    let decisions = decisions.into_iter().filter(|one| is_of(&one.spec.service, &one.spec.environment));
    let decisions: Vec<_> = decisions.map(Arc::new).collect();
    let holds = |environment: &str| standing(&decisions, environment, now());
    let releases = releases.map(|one| of_release(one, &board, &holds(&one.spec.environment)));
    let lines = releases.chain(decisions.iter().map(|one| of_decision(one))).collect();
    output::print(&(told(lines) + &rest(&decisions, &namespace)))?;
    Ok(Outcome::Fine)
}

/// When, also within that second, where, what, by whom or what, and what became of it.
type Line = (Option<Timestamp>, Option<i64>, [String; 4]);

fn of_release(release: &Release, board: &IntegrationServiceStatus, holds: &Standing) -> Line {
    let (name, spec) = (release.name_any(), &release.spec);
    let empty = EnvironmentState::default();
    let state = board.environments.iter().find(|one| one.name == spec.environment).unwrap_or(&empty);
    let conditions = release.status.as_ref().map_or(&[][..], |status| &status.conditions);
    let is_healthy = is_true(conditions, HEALTHY);
    let failures = release.status.as_ref().map_or(0, |status| status.failures);
    let failed = conditions.iter().find(|condition| condition.type_ == FAILED);
    let is_retried = failed.is_some_and(|told| told.status != "True" && retrier(&told.message).is_some());
    let has_failed = is_true(conditions, FAILED) || failures > 0 && !is_healthy && !is_retried;
    let is = |told: &Option<String>| told.as_ref() == Some(&name);
    let serves = board::serves(state);
    let is_rejected = History::of([release]).named(&name).is_some_and(|past| holds.rejects(past).is_some());
    let is_at_rest = is(&state.current) && !is(&state.candidate) && state.desired == 0 && serves.is_none();
    let never_ran = is_at_rest && spec.schedule.is_none() && !is_healthy && !has_failed && !is_retried;
    let words = [
        (serves == Some(name.as_str()), "serves"),
        (is(&state.current), if serves.is_some() { "rolling out" } else { "current" }),
        (is(&state.candidate), "candidate"),
        (is(&state.last_good), "last good"),
        (is_healthy, "healthy"),
        (has_failed, "failed"),
        (is_retried && !is_healthy, "tried again"),
        (never_ran, "not run yet"),
        (is_rejected, "rejected"),
    ];
    let words: Vec<_> = words.iter().filter(|(is, _)| *is).map(|(_, word)| *word).collect();
    let became = if words.is_empty() { "superseded".to_owned() } else { words.join(", ") };
    let commit: String = spec.commit.chars().take(SHORT).collect();
    let by = format!("{:?} {commit}", spec.cause);
    let made = release.metadata.creation_timestamp.as_ref().map(|time| time.0);
    (made, None, [spec.environment.clone(), name, by, became])
}

fn of_decision(decision: &ReleaseDecision) -> Line {
    let spec = &decision.spec;
    let status = decision.status.clone().unwrap_or_default();
    let state = match status.state {
        Some(DecisionState::InForce) => "in force",
        Some(DecisionState::Done) => "done",
        Some(DecisionState::Refused) => "refused",
        None => "not answered yet",
    };
    let reason = spec.reason.as_ref().map(|reason| format!(" ({})", plain(reason))).unwrap_or_default();
    let made = decision.metadata.creation_timestamp.as_ref().map(|time| time.0);
    let what = format!("{} {}", spec.action.as_str(), status.release.as_deref().unwrap_or_default());
    let by = format!("{}{reason}", plain(&spec.author));
    (
        made,
        order(decision),
        [spec.environment.clone(), what.trim_end().to_owned(), by, format!("{state}: {}", brief(decision))],
    )
}

/// What was answered; where that is long, its beginning and the decision's name.
fn brief(decision: &ReleaseDecision) -> String {
    let said = plain(&decision.status.clone().unwrap_or_default().message);
    let brief = cut(&said, LONGEST);
    if brief == said { said } else { format!("{brief} ({})", decision.name_any()) }
}

/// Where what [`brief`] cuts of `decisions` can be read.
fn rest(decisions: &[Arc<ReleaseDecision>], namespace: &str) -> String {
    let is_long = |decision: &Arc<ReleaseDecision>| {
        decision.status.as_ref().is_some_and(|status| status.message.chars().count() > LONGEST)
    };
    if !decisions.iter().any(is_long) {
        return String::new();
    }
    format!("\nall of an answer: kubectl get idec NAME -n {namespace} -o jsonpath='{{.status.message}}'\n")
}

/// A table, the newest last: that is where a terminal ends.
fn told(mut lines: Vec<Line>) -> String {
    if lines.is_empty() {
        return "nothing was released yet\n".to_owned();
    }
    lines.sort();
    let when = |made: Option<Timestamp>| made.map(|made| made.to_string()).unwrap_or_default();
    let rows: Vec<_> = lines
        .into_iter()
        .map(|(made, _, [environment, what, by, became])| [when(made), environment, what, by, became])
        .collect();
    output::table(["WHEN", "ENV", "WHAT", "BY", "BECAME"], &rows)
}

#[cfg(test)]
mod tests {
    use imaas_operator::service::decision::Rejection;

    use super::*;

    #[test]
    fn releases_and_decisions_stand_in_the_order_in_which_they_were_made() {
        let release: Release = serde_saphyr::from_str(
            "
            apiVersion: imaas.dev/v1alpha1
            kind: Release
            metadata: {name: orders-prod-abc, creationTimestamp: '2026-01-01T10:00:00Z'}
            spec:
              {service: orders, environment: prod, commit: 4f2a4f2a4f2a4f2a, buildId: b, image: i, digest: d, runtime: camel,
               cause: Promotion, type: api, many: true, strategy: rolling, replicas: 2, template: {}}
            status: {conditions: [{type: Failed, status: 'True', reason: Failed, message: x, lastTransitionTime: '2026-01-01T10:00:00Z'}]}
            ",
        )
        .unwrap();
        let decision: ReleaseDecision = serde_saphyr::from_str(
            "
            apiVersion: imaas.dev/v1alpha1
            kind: ReleaseDecision
            metadata: {name: one, creationTimestamp: '2026-01-01T09:00:00Z'}
            spec: {service: orders, environment: prod, author: nora, action: hold, reason: \"stock\\e[2J\"}
            status: {state: Done, message: 'over: it expired'}
            ",
        )
        .unwrap();
        let current = EnvironmentState {
            name: "prod".to_owned(),
            candidate: Some("orders-prod-abc".to_owned()),
            ..Default::default()
        };
        let board = IntegrationServiceStatus { environments: vec![current], ..Default::default() };
        let rejected = Rejection { release: Some("orders-prod-abc".to_owned()), ..Rejection::default() };
        let holds = Standing { rejections: vec![rejected], ..Standing::default() };
        let table = told(vec![of_release(&release, &board, &holds), of_decision(&decision)]);
        let lines: Vec<_> = table.lines().collect();
        assert_eq!(lines[0], "WHEN                  ENV   WHAT             BY                      BECAME");
        assert_eq!(
            lines[1],
            "2026-01-01T09:00:00Z  prod  hold             nora (stock\u{fffd}[2J)        done: over: it expired"
        );
        assert_eq!(
            lines[2],
            "2026-01-01T10:00:00Z  prod  orders-prod-abc  Promotion 4f2a4f2a4f2a  candidate, failed, rejected"
        );
        assert_eq!(told(vec![]), "nothing was released yet\n");
    }

    #[test]
    fn a_long_answer_is_cut_and_it_is_told_where_the_rest_is() {
        let decision = |message: &str| -> ReleaseDecision {
            serde_json::from_value(serde_json::json!({
                "apiVersion": "imaas.dev/v1alpha1", "kind": "ReleaseDecision",
                "metadata": { "name": "orders-prod-run-x" },
                "spec": { "service": "orders", "environment": "prod", "author": "nora", "action": "run" },
                "status": { "state": "Refused", "message": message },
            }))
            .unwrap()
        };
        let long = Arc::new(decision(&"many words ".repeat(30)));
        let (_, _, [_, _, _, became]) = of_decision(&long);
        assert!(became.starts_with("refused: many words many") && became.chars().count() < 160, "{became}");
        assert!(became.ends_with("… (orders-prod-run-x)"), "{became}");
        let where_to = rest(&[long], "acme-home");
        assert!(where_to.contains("kubectl get idec NAME -n acme-home -o jsonpath="), "{where_to}");
        let short = Arc::new(decision("it is no batch"));
        assert_eq!(of_decision(&short).2[3], "refused: it is no batch");
        assert_eq!(rest(&[short], "acme-home"), "");
    }

    #[test]
    fn what_is_tried_again_or_never_ran_is_told_so() {
        let became = |status: serde_json::Value, desired: i32| {
            let release = serde_json::json!({
                "apiVersion": "imaas.dev/v1alpha1", "kind": "Release", "metadata": { "name": "orders-dev-a" },
                "spec": { "service": "orders", "environment": "dev", "commit": "c", "buildId": "b", "image": "i",
                    "digest": "d", "runtime": "camel", "cause": "Commit", "type": "api", "many": true,
                    "strategy": "rolling", "replicas": 1, "template": {} },
                "status": status,
            });
            let dev = EnvironmentState {
                name: "dev".to_owned(),
                current: Some("orders-dev-a".to_owned()),
                desired,
                ..EnvironmentState::default()
            };
            let board = IntegrationServiceStatus { environments: vec![dev], ..Default::default() };
            let release = serde_json::from_value(release).unwrap();
            of_release(&release, &board, &Standing::default()).2[3].clone()
        };
        let failed = |status: &str, message: &str| {
            let time = "2026-01-01T10:00:00Z";
            let one = serde_json::json!({ "type": "Failed", "status": status, "reason": "R", "message": message,
                "lastTransitionTime": time });
            serde_json::json!({ "failures": 1, "conditions": [one] })
        };
        assert_eq!(became(failed("True", "it crashes"), 1), "current, failed");
        assert_eq!(became(failed("False", "tried again by orders-dev-retry-x"), 1), "current, tried again");
        assert_eq!(became(failed("False", "all instances were ready"), 1), "current, failed");
        assert_eq!(became(serde_json::json!({}), 0), "current, not run yet");
        assert_eq!(became(serde_json::json!({}), 1), "current");
    }

    #[test]
    fn what_serves_is_told_apart_from_what_is_rolled_out() {
        let became = |name: &str, older| {
            let release = serde_json::json!({
                "apiVersion": "imaas.dev/v1alpha1", "kind": "Release", "metadata": { "name": name },
                "spec": { "service": "orders", "environment": "dev", "commit": "c", "buildId": "b", "image": "i",
                    "digest": "d", "runtime": "camel", "cause": "Commit", "type": "api", "many": true,
                    "strategy": "rolling", "replicas": 1, "template": {} },
            });
            let dev = EnvironmentState {
                name: "dev".to_owned(),
                candidate: Some("orders-dev-b".to_owned()),
                current: Some("orders-dev-b".to_owned()),
                last_good: Some("orders-dev-a".to_owned()),
                older,
                ..EnvironmentState::default()
            };
            let board = IntegrationServiceStatus { environments: vec![dev], ..Default::default() };
            let release = serde_json::from_value(release).unwrap();
            let (_, _, [_, _, _, became]) = of_release(&release, &board, &Standing::default());
            became
        };
        assert_eq!(became("orders-dev-a", 1), "serves, last good");
        assert_eq!(became("orders-dev-b", 1), "rolling out, candidate");
        assert_eq!(became("orders-dev-b", 0), "current, candidate");
        assert_eq!(became("orders-dev-0", 0), "superseded");
    }
}
