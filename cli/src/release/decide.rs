//! A decision and the operator's answer to it. Pure but for [`run`].

use anyhow::Result;
use imaas_operator::api::{DecisionState, ReleaseDecision, ReleaseDecisionSpec};
use jiff::Timestamp;
use kube::{ResourceExt, api::ObjectMeta};

use super::{
    args::Decision,
    home::{Home, now},
};
use crate::{
    Outcome, cluster,
    output::{self, plain},
};

/// IO: makes the decision and tells what the operator says.
pub fn run(decision: &Decision) -> Result<Outcome> {
    let (made, home) = cluster::block_on(async {
        let home = Home::open(&decision.about.home).await?;
        home.service(&decision.about.service).await?;
        let wanted = object(decision, &home.user().await?, now());
        Ok((home.decide(&wanted, decision.about.timeout).await?, home.namespace))
    })?;
    let (told, outcome) = told(&made, &home);
    output::print(&told)?;
    Ok(outcome)
}

fn object(decision: &Decision, author: &str, now: Timestamp) -> ReleaseDecision {
    let Decision { action, about, reason, target, gate, lasts } = decision;
    let expires_at = lasts.and_then(|lasts| now.checked_add(lasts).ok()).map(|end| {
        // Nobody means a fraction of a second.
        Timestamp::from_second(end.as_second()).unwrap_or(end).to_string()
    });
    let spec = ReleaseDecisionSpec {
        service: about.service.clone(),
        environment: about.environment.clone(),
        action: *action,
        target: target.clone(),
        gate: gate.clone(),
        reason: reason.clone(),
        expires_at,
        author: author.to_owned(),
    };
    let name = format!("{}-{}-{}-", about.service, about.environment, action.as_str());
    let metadata = ObjectMeta { generate_name: Some(name), ..ObjectMeta::default() };
    ReleaseDecision { metadata, spec, status: None }
}

fn told(made: &ReleaseDecision, home: &str) -> (String, Outcome) {
    let (name, spec) = (made.name_any(), &made.spec);
    let status = made.status.clone().unwrap_or_default();
    let message = plain(&status.message);
    match status.state {
        Some(DecisionState::InForce | DecisionState::Done) => {
            let see = format!("see how it goes: kubectl imaas why {} {}", spec.service, spec.environment);
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

    use imaas_operator::api::{DecisionAction, ReleaseDecisionStatus};

    use super::*;
    use crate::release::args::{About, Home};

    fn hold() -> ReleaseDecision {
        let about = About {
            service: "orders".to_owned(),
            environment: "prod".to_owned(),
            timeout: Duration::from_secs(1),
            home: Home::default(),
        };
        let reason = Some("stocktaking".to_owned());
        let lasts = Some(Duration::from_hours(2));
        let decision =
            Decision { action: DecisionAction::Hold, about, reason, target: None, gate: None, lasts };
        object(&decision, "nora", "2026-01-01T10:00:00.5Z".parse().unwrap())
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
            told(&made, "acme-home")
        };
        let (text, outcome) = answered(Some(DecisionState::InForce));
        assert!(text.starts_with("as it is\n") && outcome == Outcome::Fine, "{text}");
        assert_eq!(
            answered(Some(DecisionState::Refused)),
            ("refused: as it is\n".to_owned(), Outcome::Problems)
        );
        let (text, outcome) = answered(None);
        assert!(text.contains("kubectl get idec orders-prod-hold-x -n acme-home"), "{text}");
        assert_eq!(outcome, Outcome::Problems);
    }
}
