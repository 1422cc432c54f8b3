//! All services of an environment go to sleep, or wake: a decision about each, as a person would make them one after the
//! other. Pure but for [`sleep`] and [`wake`].

use std::{sync::Arc, time::Duration};

use anyhow::{Result, bail};
use imaas_operator::{
    api::{
        DecisionAction, DecisionState, IntegrationService, Release, ReleaseDecision,
        integration_service::{EnvironmentState, Held},
    },
    service::decision::standing,
};
use jiff::Timestamp;
use kube::ResourceExt;

use super::{
    args::{About, AboutAll, Decision, Sleep, Wake},
    decide::{Meant, object},
    home::{Home, now},
};
use crate::{
    Outcome, cluster,
    output::{self, causes, plain},
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

/// A service in the environment, and what is known of it there.
#[derive(Clone, Debug)]
struct Known {
    /// Its name.
    service: String,
    /// Its board, which is written a moment after a decision is answered.
    state: EnvironmentState,
    /// The number that somebody set, by the decisions themselves.
    scaled: Option<(Held, u16)>,
}

/// Who decides about all services, for how long and why.
struct Order<'a> {
    about: &'a AboutAll,
    lasts: Duration,
    reason: &'a str,
    user: String,
}

/// What is told of one service.
type Line = (String, Outcome);

/// IO: lets all services of an environment sleep.
pub fn sleep(Sleep { about, lasts, reason }: &Sleep) -> Result<Outcome> {
    run(about, (reason, *lasts), to_sleep)
}

/// IO: wakes all services of an environment.
pub fn wake(Wake { about, lasts, reason }: &Wake) -> Result<Outcome> {
    run(about, (reason, *lasts), to_wake)
}

/// IO: decides about each service, and tells one line of it.
fn run(
    about: &AboutAll,
    (reason, lasts): (&str, Duration),
    step: impl Fn(&Known, &Release) -> Step,
) -> Result<Outcome> {
    let lines = cluster::block_on(async {
        let home = Home::open(&about.home).await?;
        let order = Order { about, lasts, reason, user: home.user().await? };
        let decisions: Vec<ReleaseDecision> = home.all().await?;
        let decisions: Vec<_> = decisions.into_iter().map(Arc::new).collect();
        let mut lines = Vec::new();
        for (service, state) in services(home.all().await?, about)? {
            let scaled = scaled(&decisions, (&service, &about.environment), now());
            let known = Known { service, state, scaled };
            let line = told(decided(&home, (&order, &known), &step).await);
            lines.push((known.service, line));
        }
        Ok(lines)
    })?;
    let is_fine = lines.iter().all(|(_, (_, outcome))| *outcome == Outcome::Fine);
    let rows = lines.iter().map(|(service, (text, _))| format!("{service}  {text}\n"));
    output::print(&rows.collect::<String>())?;
    Ok(if is_fine { Outcome::Fine } else { Outcome::Problems })
}

/// IO: decides about one service. One that wakes while its hours of sleep go on needs a number besides.
async fn decided(
    home: &Home,
    (order, known): (&Order<'_>, &Known),
    step: &impl Fn(&Known, &Release) -> Step,
) -> Result<Line> {
    let release = match &known.state.current {
        Some(current) => home.found::<Release>(current).await?,
        None => None,
    };
    let Some(release) = release else { return Ok(left("nothing runs yet")) };
    let first = step(known, &release);
    let (text, outcome) = follow(home, (order, &known.service), &first).await?;
    let Step::Resume(ended) = &first else { return Ok((text, outcome)) };
    if order.about.dry_run || outcome == Outcome::Problems {
        return Ok((text, outcome));
    }
    let (then, outcome) = told(still_awake(home, (order, known), (ended, &release)).await);
    Ok((if then.is_empty() { text } else { format!("{text}; {then}") }, outcome))
}

/// IO: lets a service run that would sleep by its hours now that what put it to rest has `ended`; says nothing where none do.
async fn still_awake(
    home: &Home,
    (order, known): (&Order<'_>, &Known),
    (ended, release): (&str, &Release),
) -> Result<Line> {
    let about = order.about;
    let board = home.board_without(ended, (&known.service, &about.environment), about.timeout).await?;
    match board {
        None => {
            Ok(("its board does not say yet whether it runs: say it once more".to_owned(), Outcome::Problems))
        }
        Some(state) if state.asleep_until.is_some() => {
            follow(home, (order, &known.service), &Step::Scale(declared(release))).await
        }
        Some(_) => Ok((String::new(), Outcome::Fine)),
    }
}

/// IO: makes the decision, unless nothing is to be done, and tells the operator's answer.
async fn follow(home: &Home, (order, service): (&Order<'_>, &str), step: &Step) -> Result<Line> {
    let about = order.about;
    let (decision, meant) = match decision((service, about), (order.reason, order.lasts), step) {
        Err(why) => return Ok(left(&why)),
        Ok(_) if about.dry_run => return Ok((would(step), Outcome::Fine)),
        Ok(wanted) => wanted,
    };
    let mut wanted = object(&decision, meant, (&order.user, now()));
    if decision.action == DecisionAction::Scale {
        wanted.metadata.generate_name = Some(beginning(service, &about.environment));
    }
    Ok(answer(&home.decide(&wanted, about.timeout).await?))
}

/// Nothing is decided.
fn left(why: &str) -> Line {
    (format!("left as it is: {}", plain(why)), Outcome::Fine)
}

/// Who may not decide about one service may about another, and what was done before is told whatever fails after it.
fn told(line: Result<Line>) -> Line {
    line.unwrap_or_else(|error| {
        let text = match output::refusal(&error) {
            Some(why) => format!("refused: {}", plain(&why)),
            None => format!("failed: {}", plain(&causes(&error))),
        };
        (text, Outcome::Problems)
    })
}

/// What would be decided.
fn would(step: &Step) -> String {
    match step {
        Step::Scale(0) => "no instance would run".to_owned(),
        Step::Scale(number) => format!("{} would run", output::count((*number).into(), "instance")),
        Step::Resume(decision) => format!("would end: {}", plain(decision)),
        Step::Leave(why) => left(why).0,
    }
}

/// The number that somebody set for a service in an environment, and that holds now.
fn scaled(
    decisions: &[Arc<ReleaseDecision>],
    (service, environment): (&str, &str),
    now: Timestamp,
) -> Option<(Held, u16)> {
    let of_it: Vec<_> = decisions.iter().filter(|one| one.spec.service == service).cloned().collect();
    standing(&of_it, environment, now).scale
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
fn to_sleep(Known { service: _, state, scaled }: &Known, release: &Release) -> Step {
    match (scaled, &state.asleep_until) {
        _ if release.spec.schedule.is_some() => Step::Leave("a batch runs by its schedule".to_owned()),
        (Some((held, _)), _) => {
            let until = held.until.as_ref().map(|until| format!(" until {until}")).unwrap_or_default();
            Step::Leave(format!("{} set its number{until}: {}", held.by, held.decision))
        }
        (None, Some(until)) => Step::Leave(format!("it sleeps until {until}, as its hours say")),
        (None, None) => Step::Scale(0),
    }
}

/// Only what `sleep` put to rest, and nothing ends beside that.
fn to_wake(Known { service, state, scaled }: &Known, release: &Release) -> Step {
    match (scaled, &state.asleep_until) {
        (Some((held, _)), _) if !held.decision.starts_with(&beginning(service, &state.name)) => {
            Step::Leave(format!("{} set its number: {}", held.by, held.decision))
        }
        (Some((held, 0)), _) => Step::Resume(held.decision.clone()),
        (Some(_), _) => Step::Leave("it is awake".to_owned()),
        (None, Some(_)) => Step::Scale(declared(release)),
        (None, None) => Step::Leave("it does not sleep".to_owned()),
    }
}

/// The number that a release is declared with, and one where that is none.
fn declared(release: &Release) -> u16 {
    u16::try_from(release.spec.replicas).unwrap_or_default().max(1)
}

/// What is sent, or why nothing is.
fn decision(
    (service, about): (&str, &AboutAll),
    (reason, lasts): (&str, Duration),
    step: &Step,
) -> Result<(Decision, Meant), String> {
    let AboutAll { environment, timeout, home, dry_run: _ } = about;
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

/// What the operator says, or that it says nothing.
fn answer(made: &ReleaseDecision) -> Line {
    let (name, status) = (made.name_any(), made.status.clone().unwrap_or_default());
    let message = plain(&status.message);
    match status.state {
        Some(DecisionState::InForce | DecisionState::Done) => (message, Outcome::Fine),
        Some(DecisionState::Refused) => (format!("refused: {message}"), Outcome::Problems),
        None => (format!("not answered yet: {name}; does the operator run?"), Outcome::Problems),
    }
}

#[cfg(test)]
mod tests {
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

    /// In force until noon, of `orders` in `dev`.
    fn scale(name: &str, replicas: u16) -> ReleaseDecision {
        let object = json!({
            "apiVersion": "imaas.dev/v1alpha1", "kind": "ReleaseDecision", "metadata": { "name": name },
            "spec": { "service": "orders", "environment": "dev", "action": "scale", "replicas": replicas,
                "author": "nora", "reason": "x", "expiresAt": "2026-01-01T12:00:00Z" },
            "status": { "state": "InForce", "message": "x" },
        });
        serde_json::from_value(object).unwrap()
    }

    fn at(hour: u8) -> Timestamp {
        format!("2026-01-01T{hour:02}:00:00Z").parse().unwrap()
    }

    /// With the decisions of the service at ten.
    fn known(decisions: &[ReleaseDecision], asleep: Option<&str>) -> Known {
        let asleep_until = asleep.map(ToOwned::to_owned);
        // The board was written before they were made.
        let state = EnvironmentState {
            name: "dev".to_owned(),
            desired: 3,
            asleep_until,
            ..EnvironmentState::default()
        };
        let decisions: Vec<_> = decisions.iter().cloned().map(Arc::new).collect();
        let scaled = scaled(&decisions, ("orders", "dev"), at(10));
        Known { service: "orders".to_owned(), state, scaled }
    }

    fn left_for(step: &Step, part: &str) {
        assert!(matches!(step, Step::Leave(why) if why.contains(part)), "{step:?}");
    }

    #[test]
    fn what_runs_goes_to_sleep_and_a_number_that_somebody_set_stays() {
        let runs = release(&json!({}));
        assert_eq!(to_sleep(&known(&[], None), &runs), Step::Scale(0));
        let scaled = known(&[scale("orders-dev-scale-x", 8)], None);
        left_for(
            &to_sleep(&scaled, &runs),
            "nora set its number until 2026-01-01T12:00:00Z: orders-dev-scale-x",
        );
        left_for(&to_sleep(&known(&[], Some("2026-01-01T06:00:00Z")), &runs), "as its hours say");
        let batch = release(&json!({ "type": "batch", "schedule": { "cron": "0 3 * * *" } }));
        left_for(&to_sleep(&known(&[], None), &batch), "a batch");
    }

    #[test]
    fn what_sleeps_wakes_and_nothing_else_ends() {
        let sleeps = release(&json!({}));
        let by_hours = Some("2026-01-01T06:00:00Z");
        assert_eq!(to_wake(&known(&[], by_hours), &sleeps), Step::Scale(3), "as declared");
        let none = release(&json!({ "replicas": 0 }));
        assert_eq!(to_wake(&known(&[], by_hours), &none), Step::Scale(1));
        left_for(&to_wake(&known(&[], None), &sleeps), "does not sleep");
        let woken = known(&[scale("orders-dev-rest-x", 3)], None);
        left_for(&to_wake(&woken, &sleeps), "it is awake");
        let stopped = known(&[scale("orders-dev-scale-x", 0)], None);
        left_for(&to_wake(&stopped, &sleeps), "nora set its number");
    }

    #[test]
    fn what_was_put_to_rest_a_moment_ago_wakes_though_its_board_does_not_tell_yet() {
        let rests = known(&[scale("orders-dev-rest-x", 0)], None);
        assert_eq!((rests.state.held.len(), rests.state.desired), (0, 3));
        assert_eq!(to_wake(&rests, &release(&json!({}))), Step::Resume("orders-dev-rest-x".to_owned()));
    }

    #[test]
    fn a_number_counts_where_it_was_set_and_while_it_holds() {
        let decisions = [Arc::new(scale("orders-dev-rest-x", 0))];
        let set = |service: &str, environment: &str, hour: u8| {
            scaled(&decisions, (service, environment), at(hour)).is_some()
        };
        assert!(set("orders", "dev", 10));
        for (service, environment, hour) in
            [("rates", "dev", 10), ("orders", "prod", 10), ("orders", "dev", 12)]
        {
            assert!(!set(service, environment, hour), "{service} in {environment} at {hour}");
        }
    }

    #[test]
    fn what_fails_of_one_service_is_a_line_of_it() {
        let (text, outcome) = told(Err(anyhow::anyhow!("timed out").context("cannot read orders-dev-a")));
        assert_eq!(
            (text.as_str(), outcome),
            ("failed: cannot read orders-dev-a: timed out", Outcome::Problems)
        );
        assert_eq!(told(Ok(left("it is awake"))).1, Outcome::Fine);
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
            dry_run: false,
            home: super::super::args::Home::default(),
        };
        let all = || vec![service("orders", "dev"), service("rates", "prod")];
        let named = services(all(), &about("dev")).unwrap().into_iter().map(|(name, _)| name);
        assert_eq!(named.collect::<Vec<_>>(), ["orders"]);
        assert!(services(all(), &about("test")).unwrap_err().to_string().contains("\"test\""));
    }
}
