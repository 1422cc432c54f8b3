//! All services of an environment go to sleep, or wake: a decision about each, as a person would make them one after the
//! other. Pure but for [`sleep`] and [`wake`].

use std::time::Duration;

use anyhow::{Result, bail};
use imaas_operator::api::{
    DecisionAction, DecisionState, IntegrationService, Release, ReleaseDecision,
    integration_service::EnvironmentState,
};
use kube::ResourceExt;

use super::{
    args::{About, AboutAll, Decision, Sleep, Wake},
    decide::{Meant, object},
    home::{Home, now},
};
use crate::{
    Outcome, cluster,
    output::{self, plain},
};

/// What is decided about one service.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    /// So many instances run for a time.
    Scale(u16),
    /// This decision ends.
    Resume(String),
    /// Nothing, for this reason.
    Leave(String),
}

/// IO: lets all services of an environment sleep.
pub fn sleep(Sleep { about, lasts, reason }: &Sleep) -> Result<Outcome> {
    run(about, (reason, *lasts), |_, state, release| to_sleep(state, release))
}

/// IO: wakes all services of an environment.
pub fn wake(Wake { about, lasts, reason }: &Wake) -> Result<Outcome> {
    run(about, (reason, *lasts), to_wake)
}

/// IO: decides about each service, and tells one line of it.
fn run(
    about: &AboutAll,
    (reason, lasts): (&str, Duration),
    step: impl Fn(&str, &EnvironmentState, &Release) -> Step,
) -> Result<Outcome> {
    let lines = cluster::block_on(async {
        let home = Home::open(&about.home).await?;
        let user = home.user().await?;
        let mut lines = Vec::new();
        for (service, state) in services(home.all().await?, about)? {
            let release = match &state.current {
                Some(current) => home.found::<Release>(current).await?,
                None => None,
            };
            let step = release.map_or_else(
                || Step::Leave("nothing runs yet".to_owned()),
                |one| step(&service, &state, &one),
            );
            let line = match decision((&service, about), (reason, lasts), &step) {
                Err(why) => (format!("left as it is: {}", plain(&why)), Outcome::Fine),
                Ok((decision, meant)) => {
                    let mut wanted = object(&decision, meant, (&user, now()));
                    if decision.action == DecisionAction::Scale {
                        wanted.metadata.generate_name = Some(beginning(&service, &about.environment));
                    }
                    answer(home.decide(&wanted, about.timeout).await)?
                }
            };
            lines.push((service, line));
        }
        Ok(lines)
    })?;
    let is_fine = lines.iter().all(|(_, (_, outcome))| *outcome == Outcome::Fine);
    let rows = lines.iter().map(|(service, (text, _))| format!("{service}  {text}\n"));
    output::print(&rows.collect::<String>())?;
    Ok(if is_fine { Outcome::Fine } else { Outcome::Problems })
}

/// Names of those that are in the environment, and where they stand there.
fn services(all: Vec<IntegrationService>, about: &AboutAll) -> Result<Vec<(String, EnvironmentState)>> {
    let in_it = |service: IntegrationService| {
        let name = service.name_any();
        let mut states = service.status.unwrap_or_default().environments.into_iter();
        states.find(|state| state.name == about.environment).map(|state| (name, state))
    };
    let services: Vec<_> = all.into_iter().filter_map(in_it).collect();
    if services.is_empty() {
        bail!("no service of the tenant is in {:?}", about.environment);
    }
    Ok(services)
}

/// By its name what was put to rest, or woken, with all others is known from what somebody stopped by itself.
fn beginning(service: &str, environment: &str) -> String {
    format!("{service}-{environment}-rest-")
}

/// A number that somebody set stays.
fn to_sleep(state: &EnvironmentState, release: &Release) -> Step {
    let scaled = state.held.iter().find(|held| held.action == DecisionAction::Scale);
    match (scaled, &state.asleep_until) {
        _ if release.spec.schedule.is_some() => Step::Leave("a batch runs by its schedule".to_owned()),
        (Some(held), _) => {
            let until = held.until.as_ref().map(|until| format!(" until {until}")).unwrap_or_default();
            Step::Leave(format!("{} set its number{until}: {}", held.by, held.decision))
        }
        (None, Some(until)) => Step::Leave(format!("it sleeps until {until}, as the tenant file says")),
        (None, None) => Step::Scale(0),
    }
}

/// Only what `sleep` put to rest, and nothing ends beside that.
fn to_wake(service: &str, state: &EnvironmentState, release: &Release) -> Step {
    let scaled = state.held.iter().find(|held| held.action == DecisionAction::Scale);
    match (scaled, &state.asleep_until) {
        (Some(held), _) if !held.decision.starts_with(&beginning(service, &state.name)) => {
            Step::Leave(format!("{} set its number: {}", held.by, held.decision))
        }
        (Some(_), _) if state.desired > 0 => Step::Leave("it is awake".to_owned()),
        (Some(held), _) => Step::Resume(held.decision.clone()),
        (None, Some(_)) => Step::Scale(u16::try_from(release.spec.replicas).unwrap_or_default().max(1)),
        (None, None) => Step::Leave("it does not sleep".to_owned()),
    }
}

/// What is sent, or why nothing is.
fn decision(
    (service, about): (&str, &AboutAll),
    (reason, lasts): (&str, Duration),
    step: &Step,
) -> Result<(Decision, Meant), String> {
    let AboutAll { environment, timeout, home } = about;
    let (action, meant, lasts) = match step {
        Step::Leave(why) => return Err(why.clone()),
        Step::Scale(number) => {
            (DecisionAction::Scale, Meant { target: None, replicas: Some(*number) }, Some(lasts))
        }
        Step::Resume(decision) => {
            (DecisionAction::Resume, Meant { target: Some(decision.clone()), replicas: None }, None)
        }
    };
    let about = About {
        service: service.to_owned(),
        environment: environment.clone(),
        timeout: *timeout,
        home: home.clone(),
    };
    let reason = Some(reason.to_owned());
    let decision = Decision { action, about, reason, target: None, gate: None, replicas: None, lasts };
    Ok((decision, meant))
}

/// Who may not decide about one service may about another.
fn answer(made: Result<ReleaseDecision>) -> Result<(String, Outcome)> {
    let made = match made {
        Ok(made) => made,
        Err(error) => match output::refusal(&error) {
            Some(why) => return Ok((format!("refused: {}", plain(&why)), Outcome::Problems)),
            None => return Err(error),
        },
    };
    let (name, status) = (made.name_any(), made.status.unwrap_or_default());
    let message = plain(&status.message);
    Ok(match status.state {
        Some(DecisionState::InForce | DecisionState::Done) => (message, Outcome::Fine),
        Some(DecisionState::Refused) => (format!("refused: {message}"), Outcome::Problems),
        None => (format!("not answered yet: {name}; does the operator run?"), Outcome::Problems),
    })
}

#[cfg(test)]
mod tests {
    use imaas_operator::api::integration_service::Held;
    use serde_json::json;

    use super::*;

    fn release(more: &serde_json::Value) -> Release {
        let mut spec = json!({
            "service": "orders", "environment": "dev", "commit": "c", "buildId": "b", "digest": "d", "image": "i",
            "runtime": "camel", "cause": "Commit", "type": "api", "many": true, "strategy": "rolling", "replicas": 3,
            "template": {},
        });
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        Release::new("orders-dev-a", serde_json::from_value(spec).unwrap())
    }

    fn held(action: DecisionAction) -> Held {
        let until = Some("2026-01-01T12:00:00Z".to_owned());
        Held { decision: "orders-dev-rest-x".to_owned(), action, by: "nora".to_owned(), reason: None, until }
    }

    fn state(desired: i32, held: Vec<Held>, asleep: Option<&str>) -> EnvironmentState {
        let asleep_until = asleep.map(ToOwned::to_owned);
        EnvironmentState {
            name: "dev".to_owned(),
            desired,
            held,
            asleep_until,
            ..EnvironmentState::default()
        }
    }

    fn left(step: &Step, part: &str) {
        assert!(matches!(step, Step::Leave(why) if why.contains(part)), "{step:?}");
    }

    #[test]
    fn what_runs_goes_to_sleep_and_a_number_that_somebody_set_stays() {
        let runs = release(&json!({}));
        assert_eq!(to_sleep(&state(3, vec![], None), &runs), Step::Scale(0));
        assert_eq!(to_sleep(&state(3, vec![held(DecisionAction::Hold)], None), &runs), Step::Scale(0));
        let scaled = state(8, vec![held(DecisionAction::Scale)], None);
        left(&to_sleep(&scaled, &runs), "nora set its number until 2026-01-01T12:00:00Z: orders-dev-rest-x");
        left(&to_sleep(&state(0, vec![], Some("2026-01-01T06:00:00Z")), &runs), "as the tenant file says");
        let batch = release(&json!({ "type": "batch", "schedule": { "cron": "0 3 * * *" } }));
        left(&to_sleep(&state(0, vec![], None), &batch), "a batch");
    }

    #[test]
    fn what_sleeps_wakes_and_nothing_else_ends() {
        let sleeps = release(&json!({}));
        assert_eq!(
            to_wake("orders", &state(0, vec![held(DecisionAction::Scale)], None), &sleeps),
            Step::Resume("orders-dev-rest-x".to_owned())
        );
        let by_file = Some("2026-01-01T06:00:00Z");
        assert_eq!(to_wake("orders", &state(0, vec![], by_file), &sleeps), Step::Scale(3), "as declared");
        let none = release(&json!({ "replicas": 0 }));
        assert_eq!(to_wake("orders", &state(0, vec![], by_file), &none), Step::Scale(1));
        left(&to_wake("orders", &state(3, vec![], None), &sleeps), "does not sleep");
        left(&to_wake("orders", &state(3, vec![held(DecisionAction::Scale)], None), &sleeps), "it is awake");
        let stopped = Held { decision: "orders-dev-scale-x".to_owned(), ..held(DecisionAction::Scale) };
        left(&to_wake("orders", &state(0, vec![stopped], None), &sleeps), "nora set its number");
    }

    #[test]
    fn only_those_that_are_in_the_environment_are_decided_about() {
        let service = |name: &str, environment: &str| {
            let spec =
                json!({ "repository": { "url": "https://git.example.com/a.git" }, "runtime": "camel" });
            let mut service = IntegrationService::new(name, serde_json::from_value(spec).unwrap());
            let state = EnvironmentState { name: environment.to_owned(), ..EnvironmentState::default() };
            service.status.get_or_insert_default().environments = vec![state];
            service
        };
        let about = |environment: &str| AboutAll {
            environment: environment.to_owned(),
            timeout: Duration::ZERO,
            home: super::super::args::Home::default(),
        };
        let all = || vec![service("orders", "dev"), service("rates", "prod")];
        let named = services(all(), &about("dev")).unwrap().into_iter().map(|(name, _)| name);
        assert_eq!(named.collect::<Vec<_>>(), ["orders"]);
        assert!(services(all(), &about("test")).unwrap_err().to_string().contains("\"test\""));
    }
}
