//! A decision and the operator's answer to it. Pure but for [`run`].

use anyhow::{Context, Result};
use imaas_operator::api::{
    DecisionAction, DecisionState, IntegrationServiceStatus, ReleaseDecision, ReleaseDecisionSpec,
};
use jiff::Timestamp;
use kube::{ResourceExt, api::ObjectMeta};

use super::{
    args::{self, Decision, Replicas},
    board,
    home::{Home, now},
};
use crate::{
    Outcome, cluster,
    output::{self, plain},
};

/// IO: makes the decision and tells what the operator says.
pub fn run(decision: &Decision) -> Result<Outcome> {
    let (told, outcome) = match cluster::block_on(made(decision)) {
        Ok((made, home)) => told(&made, (&home, &decision.about.home)),
        Err(error) => match output::refusal(&error) {
            Some(why) => (format!("refused: {}\n", plain(&why)), Outcome::Problems),
            None => return Err(error),
        },
    };
    output::print(&told)?;
    Ok(outcome)
}

/// IO: the decision, answered or not, and the namespace in which it is.
async fn made(decision: &Decision) -> Result<(ReleaseDecision, String)> {
    let about = &decision.about;
    let home = Home::open(&about.home).await?;
    let board = home.service(&about.service).await?.status.unwrap_or_default();
    let meant = Meant { target: target(decision, &board)?, replicas: replicas(decision, &board)? };
    let wanted = object(decision, meant, (&home.user().await?, now()));
    Ok((home.decide(&wanted, about.timeout).await?, home.namespace))
}

/// What the decision is about; a commit as a whole hash, and what is resumed by the name of its decision.
fn target(decision: &Decision, board: &IntegrationServiceStatus) -> Result<Option<String>> {
    let Decision { action, about, target, .. } = decision;
    match target {
        Some(commit) if *action == DecisionAction::Approve => {
            let state = board::state((&about.service, board), &about.environment)?;
            board::commit(state, commit).map(Some)
        }
        Some(held) if *action == DecisionAction::Resume => {
            let state = board::state((&about.service, board), &about.environment)?;
            board::held(state, held).map(Some)
        }
        _ => Ok(target.clone()),
    }
}

/// How many instances are to run; those that there are to be now as a number, so that whoever finds it sees how many.
fn replicas(decision: &Decision, board: &IntegrationServiceStatus) -> Result<Option<u16>> {
    let about = &decision.about;
    match decision.replicas {
        None => Ok(None),
        Some(Replicas::Number(number)) => Ok(Some(number)),
        Some(Replicas::Current) => {
            let state = board::state((&about.service, board), &about.environment)?;
            let number = u16::try_from(state.desired).ok().filter(|number| *number > 0);
            let none = || {
                format!("no instance of {} is to run in {} now: write a number", about.service, state.name)
            };
            number.with_context(none).map(Some)
        }
    }
}

/// What a decision is about, as the board has it.
#[derive(Clone, Debug, Default)]
pub(super) struct Meant {
    /// A commit as a whole hash.
    pub target: Option<String>,
    /// Instances.
    pub replicas: Option<u16>,
}

/// What is sent, by whom and when.
pub(super) fn object(
    decision: &Decision,
    Meant { target, replicas }: Meant,
    (author, now): (&str, Timestamp),
) -> ReleaseDecision {
    let Decision { action, about, reason, target: _, gate, replicas: _, lasts } = decision;
    let expires_at = lasts.and_then(|lasts| now.checked_add(lasts).ok()).map(|end| {
        // Nobody means a fraction of a second.
        Timestamp::from_second(end.as_second()).unwrap_or(end).to_string()
    });
    let spec = ReleaseDecisionSpec {
        service: about.service.clone(),
        environment: about.environment.clone(),
        action: *action,
        target,
        gate: gate.clone(),
        replicas,
        reason: reason.clone(),
        expires_at,
        author: author.to_owned(),
    };
    let name = format!("{}-{}-{}-", about.service, about.environment, action.as_str());
    let metadata = ObjectMeta { generate_name: Some(name), ..ObjectMeta::default() };
    ReleaseDecision { metadata, spec, status: None }
}

/// `home`: its namespace, and the options by which it was found.
fn told(made: &ReleaseDecision, (home, options): (&str, &args::Home)) -> (String, Outcome) {
    let (name, spec) = (made.name_any(), &made.spec);
    let status = made.status.clone().unwrap_or_default();
    let message = plain(&status.message);
    match status.state {
        Some(DecisionState::Done) if spec.action.holds() => {
            (format!("it holds no more, {message}\n  {name} in {home}\n"), Outcome::Problems)
        }
        Some(DecisionState::InForce | DecisionState::Done) => {
            let (service, environment, options) = (&spec.service, &spec.environment, options.options());
            let see = format!("see how it goes: kubectl imaas why {service} {environment}{options}");
            (format!("{message}\n  {name} in {home}; {see}\n"), Outcome::Fine)
        }
        Some(DecisionState::Refused) => (format!("refused: {message}\n"), Outcome::Problems),
        None => {
            let text = format!(
                "made, and not answered yet: does the operator run?\n  see it: kubectl get idec {name} -n {home}\n"
            );
            (text, Outcome::Problems)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use imaas_operator::api::{ReleaseDecisionStatus, integration_service::EnvironmentState};

    use super::*;
    use crate::release::args::{About, Home};

    fn decision() -> Decision {
        let about = About {
            service: "orders".to_owned(),
            environment: "prod".to_owned(),
            timeout: Duration::from_secs(1),
            home: Home::default(),
        };
        let reason = Some("stocktaking".to_owned());
        let lasts = Some(Duration::from_hours(2));
        Decision {
            action: DecisionAction::Hold,
            about,
            reason,
            target: None,
            gate: None,
            replicas: None,
            lasts,
        }
    }

    fn hold() -> ReleaseDecision {
        object(&decision(), Meant::default(), ("nora", "2026-01-01T10:00:00.5Z".parse().unwrap()))
    }

    #[test]
    fn what_is_approved_is_sent_as_a_whole_hash() {
        let head = "4f2a".repeat(10);
        let state = EnvironmentState {
            name: "prod".to_owned(),
            commit: Some(head.clone()),
            ..EnvironmentState::default()
        };
        let board = IntegrationServiceStatus { environments: vec![state], ..Default::default() };
        let about = |action, given: &str| {
            target(&Decision { action, target: Some(given.to_owned()), ..decision() }, &board)
        };
        assert_eq!(about(DecisionAction::Approve, "4f2a4f2a4f2a").unwrap(), Some(head));
        assert!(about(DecisionAction::Approve, "5b3c5b3").is_err());
        assert_eq!(about(DecisionAction::Retry, "4f2a4f2").unwrap().as_deref(), Some("4f2a4f2"));
    }

    #[test]
    fn the_number_of_now_is_sent_as_a_number() {
        let board = |desired| {
            let state = EnvironmentState { name: "prod".to_owned(), desired, ..EnvironmentState::default() };
            IntegrationServiceStatus { environments: vec![state], ..Default::default() }
        };
        let meant = |meant, desired| replicas(&Decision { replicas: meant, ..decision() }, &board(desired));
        assert_eq!(meant(Some(Replicas::Current), 7).unwrap(), Some(7));
        assert_eq!(meant(Some(Replicas::Number(3)), 7).unwrap(), Some(3));
        assert_eq!(meant(None, 7).unwrap(), None);
        let told = meant(Some(Replicas::Current), 0).unwrap_err().to_string();
        assert!(told.contains("no instance of orders is to run in prod now"), "{told}");
    }

    #[test]
    fn a_decision_names_its_author_and_its_end() {
        let hold = hold();
        assert_eq!(hold.metadata.generate_name.as_deref(), Some("orders-prod-hold-"));
        assert_eq!(hold.spec.author, "nora");
        assert_eq!(hold.spec.expires_at.as_deref(), Some("2026-01-01T12:00:00Z"));
    }

    #[test]
    fn what_the_operator_says_is_told_and_a_refusal_is_a_problem() {
        let answered = |state| {
            let status =
                ReleaseDecisionStatus { state, message: "as it is".to_owned(), ..Default::default() };
            let mut made = ReleaseDecision { status: Some(status), ..hold() };
            made.metadata.name = Some("orders-prod-hold-x".to_owned());
            let options = Home { tenant: Some("acme".to_owned()), ..Home::default() };
            told(&made, ("acme-home", &options))
        };
        let (text, outcome) = answered(Some(DecisionState::InForce));
        assert!(text.starts_with("as it is\n") && outcome == Outcome::Fine, "{text}");
        assert!(text.ends_with("kubectl imaas why orders prod --tenant acme\n"), "{text}");
        let (text, outcome) = answered(Some(DecisionState::Done));
        let over = "it holds no more, as it is\n  orders-prod-hold-x in acme-home\n";
        assert_eq!((text.as_str(), outcome), (over, Outcome::Problems), "it never took effect");
        assert_eq!(
            answered(Some(DecisionState::Refused)),
            ("refused: as it is\n".to_owned(), Outcome::Problems)
        );
        let (text, outcome) = answered(None);
        assert!(text.contains("kubectl get idec orders-prod-hold-x -n acme-home"), "{text}");
        assert_eq!(outcome, Outcome::Problems);
    }
}
