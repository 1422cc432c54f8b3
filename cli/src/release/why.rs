//! Why a service is as it is in one environment: its board, in sentences. Pure but for [`run`].

use std::sync::Arc;

use anyhow::Result;
use imaas_operator::{
    api::{
        DecisionAction, IntegrationServiceStatus, OpenWindow, Release, ReleaseScaling, Trigger, WorkloadType,
        integration_service::{EnvironmentState, Held, Share, Trial, Waiting},
        trigger::{Asks, LatencyTrigger, RequestsTrigger},
    },
    conditions::{FAILED, HEALTHY, PROVEN, is_true},
    names::{SERVICE, TENANT, tenant_of_home},
    release::hours::ahead,
};
use jiff::Timestamp;
use k8s_openapi::{api::batch::v1::Job, apimachinery::pkg::apis::meta::v1::Condition};

use super::{
    args, batch, board,
    home::{self, Home},
};
use crate::{
    Outcome, cluster,
    output::{self, plain},
};

/// What runs, as far as the board does not say it.
#[derive(Default)]
struct Running {
    release: Option<Release>,
    /// Of a batch.
    runs: Option<Vec<batch::Line>>,
    /// When its hours say another number next, and which.
    ahead: Option<(Timestamp, Option<u16>)>,
}

/// IO: reads and tells; a problem where anything is awaited.
pub fn run(options: &args::Why) -> Result<Outcome> {
    let (board, running) = cluster::block_on(async {
        let home = Home::open(&options.home).await?;
        let board = home.service(&options.service).await?.status.unwrap_or_default();
        let state = board.environments.iter().find(|one| one.name == options.environment);
        let release = match state.and_then(|state| state.current.as_ref()) {
            Some(current) => home.found::<Release>(current).await?,
            None => None,
        };
        let runs = match &release {
            Some(release) => runs(&home, options, release).await,
            None => None,
        };
        let ahead = release.as_ref().and_then(|release| ahead(release, home::now()));
        Ok((board, Running { release, runs, ahead }))
    })?;
    let (text, outcome) = told(options, &board, &running)?;
    output::print(&text)?;
    Ok(outcome)
}

/// IO: of a batch, what its runs tell. Who may not see them reads the rest.
async fn runs(home: &Home, options: &args::Why, release: &Release) -> Option<Vec<batch::Line>> {
    let schedule = release.spec.schedule.as_ref()?;
    let tenant = tenant_of_home(&home.namespace).unwrap_or_default();
    let labels = format!("{TENANT}={tenant},{SERVICE}={}", options.service);
    let jobs = home.all_in::<Job>(&options.environment, &labels).await;
    let jobs = jobs.map(|jobs| jobs.into_iter().map(Arc::new).collect::<Vec<_>>());
    let jobs = jobs.as_deref().map_err(|error| format!("{error:#}"));
    Some(batch::lines(release, schedule, (jobs, home::now())))
}

fn told(
    options: &args::Why,
    board: &IntegrationServiceStatus,
    running: &Running,
) -> Result<(String, Outcome)> {
    let args::Why { service, environment, .. } = options;
    if let ([], Some(Waiting { reason, message })) = (&board.environments[..], board::stopped(board, None)) {
        let text =
            format!("{service} is in no environment yet\n  because    {reason}: {}\n", plain(&message));
        return Ok((text, Outcome::Problems));
    }
    let state = board::state((service, board), environment)?;
    let because: Vec<_> = board::stopped(board, Some(state)).iter().chain(&state.waiting).cloned().collect();
    let outcome = if because.is_empty() { Outcome::Fine } else { Outcome::Problems };
    Ok((lines(service, (state, running), &because), outcome))
}

fn lines(service: &str, (state, running): (&EnvironmentState, &Running), because: &[Waiting]) -> String {
    let EnvironmentState { name, branch, commit, candidate, current, last_good, .. } = state;
    let none = || "nothing".to_owned();
    let runs = current.clone().unwrap_or_else(none);
    let ready = match running.runs {
        Some(_) => "by its schedule".to_owned(),
        None => format!("{} of {} instances are ready", state.ready, state.desired),
    };
    let mut lines = vec![format!("{service} in {name}, branch {branch}")];
    let serves = board::serves(state);
    match serves {
        Some(older) => lines.extend([
            format!("  serves     {older} (ready instances: {})", state.older),
            format!("  rolls out  {runs} ({ready})"),
        ]),
        None => lines.push(format!("  runs       {runs} ({ready})")),
    }
    let mut line = |title: &str, text: Option<String>| {
        lines.extend(text.map(|text| format!("  {title:<10} {}", plain(&text))));
    };
    // First all of `current`, then all of what waits.
    line("scales", running.release.as_ref().and_then(scales));
    line("of image", state.digest.clone());
    line("reached at", state.exposed.clone());
    for (title, text) in running.runs.iter().flatten() {
        line(title, Some(text.clone()));
    }
    line("counts", running.release.as_ref().and_then(|release| unproven(release, state)));
    let is_told = |good: &String| Some(good) == current.as_ref() || Some(good.as_str()) == serves;
    line("last good", last_good.clone().filter(|good| !is_told(good)));
    line("head", commit.clone());
    line("asks for", candidate.clone());
    let type_ = running.release.as_ref().map(|release| release.spec.type_);
    let is_called = type_ != Some(WorkloadType::Worker);
    line("tries", state.trial.as_ref().map(|trial| tries(trial, is_called)));
    let preview = state.trial.as_ref().map(|trial| [&trial.preview_url, &trial.preview]);
    for way in preview.into_iter().flatten() {
        line("look at it", way.clone());
    }
    line("attempt", state.attempt.map(|attempt| attempt.to_string()));
    for Held { decision, action, by, reason, until } in &state.held {
        let reason = reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
        let until = until.as_ref().map(|until| format!(" until {until}")).unwrap_or_default();
        line(action.as_str(), Some(format!("by {by}{until}{reason}: {decision}")));
    }
    let asleep = state.asleep_until.as_ref().map(|until| {
        let way_out = if running.runs.is_some() {
            "no run begins".to_owned()
        } else {
            format!("to wake it: kubectl imaas scale {service} {} 1 --for 2h --reason …", state.name)
        };
        format!("until {until}, as its hours of sleep say (tenant file, or the Environment); {way_out}")
    });
    line("asleep", asleep);
    line("hours", state.window.as_ref().map(hours).or_else(|| coming(state, running.ahead)));
    let failed = state.failed.as_ref();
    line("said last", failed.and_then(|failed| failed.last_words.clone()));
    let frozen = "by the platform: nothing new runs in any service until it lets go";
    line("frozen", state.frozen.then(|| frozen.to_owned()));
    for Waiting { reason, message } in because {
        line("because", Some(format!("{reason}: {message}")));
    }
    if because.is_empty() {
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

/// Between what, and by what.
fn scales(release: &Release) -> Option<String> {
    let ReleaseScaling {
        max,
        cpu,
        memory,
        down_after_seconds: _,
        triggers,
        counts: _,
        latency: _,
        fallback: _,
    } = release.spec.scaling.as_ref()?;
    let targets = [("cpu", cpu), ("memory", memory)];
    let targets = targets.map(|(name, percent)| percent.map(|percent| format!("{name} {percent} %")));
    let asked = triggers.iter().filter_map(Trigger::asks).map(|asks| match asks {
        Asks::Broker(broker, waits) => format!("what waits in {} at {broker}", waits.place()),
        Asks::Requests(RequestsTrigger { per_second }) => format!("{per_second} requests a second"),
        Asks::Latency(LatencyTrigger { milliseconds }) => format!("requests of {milliseconds} ms"),
    });
    let targets: Vec<_> = asked.chain(targets.into_iter().flatten()).collect();
    Some(format!("with the load, {} to {max} instances ({})", release.spec.replicas, targets.join(", ")))
}

/// What a window of `scaling.windows` says now.
fn hours(OpenWindow { min, until }: &OpenWindow) -> String {
    let count = count(*min);
    let until = until.as_ref().map(|until| format!(" until {until}")).unwrap_or_default();
    format!("{count}{until}, as `scaling.windows` says")
}

fn count(min: u16) -> String {
    match min {
        0 => "no instance of its own".to_owned(),
        1 => "at least 1 instance".to_owned(),
        several => format!("at least {several} instances"),
    }
}

/// The next window that opens, where nothing else says how many instances there are.
fn coming(state: &EnvironmentState, ahead: Option<(Timestamp, Option<u16>)>) -> Option<String> {
    let is_fixed = state.held.iter().any(|held| held.action == DecisionAction::Scale);
    let (from, min) = ahead.filter(|_| !is_fixed && state.asleep_until.is_none())?;
    Some(format!("{} from {from} on, as `scaling.windows` says", count(min?)))
}

/// How far what is tried is. Nobody calls a worker.
fn tries(trial: &Trial, is_called: bool) -> String {
    let Trial {
        release,
        passed,
        steps,
        weight,
        begun,
        since: _,
        preview: _,
        preview_url: _,
        ready: _,
        share,
    } = trial;
    let share = match share {
        _ if !is_called => String::new(),
        Some(Share { instances, of }) => format!(", {instances} of {of} instances"),
        None => format!(", {weight} of 100 requests"),
    };
    let step = if passed < steps {
        format!("step {} of {steps}{share}", passed + 1)
    } else {
        "it takes the place of what ran".to_owned()
    };
    format!("{release} ({step}) since {begun}")
}

/// Why what runs does not yet count as healthy for what promotes from here.
fn unproven(release: &Release, state: &EnvironmentState) -> Option<String> {
    let conditions = release.status.as_ref().map_or(&[][..], |status| &status.conditions);
    let is_unproven = |condition: &&Condition| condition.type_ == PROVEN && condition.status != "True";
    let not_yet = "not yet for other environments";
    if let Some(Condition { reason, message, .. }) = conditions.iter().find(is_unproven) {
        return Some(format!("{not_yet} ({reason}: {message})"));
    }
    let is_told = is_true(conditions, HEALTHY) || is_true(conditions, FAILED);
    let is_at_rest = state.desired == 0 && state.older == 0 && state.candidate.is_none();
    let never_ran = !is_told && is_at_rest && release.spec.schedule.is_none();
    let until = state.asleep_until.as_ref();
    let until = until.or_else(|| state.window.as_ref()?.until.as_ref());
    let until = until.map(|until| format!(" until {until}")).unwrap_or_default();
    never_ran.then(|| format!("{not_yet}: it has not run yet, and none of it is to run{until}"))
}

#[cfg(test)]
mod tests {
    use imaas_operator::api::integration_service::{CommitState, Reported};
    use serde_json::json;

    use super::*;

    #[test]
    fn an_open_window_is_told_with_its_number_and_its_end() {
        let told = |min, until: Option<&str>| hours(&OpenWindow { min, until: until.map(ToOwned::to_owned) });
        assert_eq!(
            told(4, Some("2026-01-01T18:00:00Z")),
            "at least 4 instances until 2026-01-01T18:00:00Z, as `scaling.windows` says"
        );
        assert_eq!(told(1, None), "at least 1 instance, as `scaling.windows` says");
        assert_eq!(told(0, None), "no instance of its own, as `scaling.windows` says");
    }

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
            commit: Some("5b3c".to_owned()),
            digest: Some("sha256:a".to_owned()),
            candidate: Some("orders-prod-b".to_owned()),
            current: Some("orders-prod-a".to_owned()),
            last_good: Some("orders-prod-a".to_owned()),
            ready: 2,
            desired: 2,
            held: vec![held],
            frozen: true,
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
            lines("orders", (&state, &Running::default()), &state.waiting),
            "orders in prod, branch main
  runs       orders-prod-a (2 of 2 instances are ready)
  of image   sha256:a
  head       5b3c
  asks for   orders-prod-b
  hold       by nora until 2026-01-01T12:00:00Z (stocktaking): orders-prod-hold-x
  frozen     by the platform: nothing new runs in any service until it lets go
  because    Held: as it says
  because    NotPromoted: as it says
  told host  pending (Held) of 4f2a; the host refused it
"
        );
    }

    #[test]
    fn what_is_tried_is_told_with_the_ways_to_look_at_it() {
        let way = |way: &str| Some(way.to_owned());
        let trial = |preview: Option<String>, preview_url: Option<String>| {
            let trial = Trial {
                release: "orders-prod-b".to_owned(),
                steps: 2,
                weight: 10,
                begun: "2026-01-01T10:00:00Z".to_owned(),
                preview,
                preview_url,
                ..Trial::default()
            };
            let state = EnvironmentState { trial: Some(trial), ..EnvironmentState::default() };
            let text = lines("orders", (&state, &Running::default()), &[]);
            let told = text.lines().map(str::trim).filter(|line| line.starts_with("look at it"));
            told.map(ToOwned::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(trial(None, None), [""; 0]);
        assert_eq!(trial(way("curl x"), None), ["look at it curl x"]);
        assert_eq!(trial(way("curl x"), way("https://x")), ["look at it https://x", "look at it curl x"]);
    }

    #[test]
    fn what_serves_is_told_apart_from_what_is_rolled_out() {
        let told = |last_good: Option<&str>, older| {
            let state = EnvironmentState {
                name: "dev".to_owned(),
                branch: "dev".to_owned(),
                current: Some("orders-dev-b".to_owned()),
                last_good: last_good.map(ToOwned::to_owned),
                older,
                desired: 1,
                ..EnvironmentState::default()
            };
            let text = lines("orders", (&state, &Running::default()), &[]);
            text.lines().skip(1).take(3).collect::<Vec<_>>().join("\n")
        };
        let waits = "  because    it is as Git asks for; nothing is awaited";
        let rolls_out = "  rolls out  orders-dev-b (0 of 1 instances are ready)";
        assert_eq!(
            told(Some("orders-dev-a"), 1),
            format!("  serves     orders-dev-a (ready instances: 1)\n{rolls_out}\n{waits}")
        );
        assert_eq!(
            told(Some("orders-dev-b"), 2),
            format!("  serves     an older release (ready instances: 2)\n{rolls_out}\n{waits}")
        );
        let runs = "  runs       orders-dev-b (0 of 1 instances are ready)";
        assert_eq!(told(Some("orders-dev-a"), 0), format!("{runs}\n  last good  orders-dev-a\n{waits}"));
        assert_eq!(told(None, 0), format!("{runs}\n{waits}"));
    }

    fn condition(type_: &str, status: &str, reason: &str, message: &str) -> serde_json::Value {
        let time = "2026-01-01T10:00:00Z";
        json!({ "type": type_, "status": status, "reason": reason, "message": message, "lastTransitionTime": time })
    }

    fn why(environments: &serde_json::Value, conditions: &serde_json::Value) -> (String, Outcome) {
        let board = json!({ "environments": environments, "conditions": conditions });
        let options = args::Why {
            service: "orders".to_owned(),
            environment: "prod".to_owned(),
            home: args::Home::default(),
        };
        told(&options, &serde_json::from_value(board).unwrap(), &Running::default()).unwrap()
    }

    #[test]
    fn a_service_that_is_stopped_as_a_whole_is_a_problem_in_each_environment() {
        let prod = json!([{ "name": "prod", "branch": "main", "current": "orders-prod-a" }]);
        let stopped = json!([
            condition("Ready", "False", "CredentialsMissing", "Secret orders-git is mi…"),
            condition("Stalled", "True", "CredentialsMissing", "Secret orders-git is missing"),
        ]);
        let (text, outcome) = why(&prod, &stopped);
        assert!(text.contains("because    CredentialsMissing: Secret orders-git is missing\n"), "{text}");
        assert!(!text.contains("nothing is awaited") && outcome == Outcome::Problems, "{text}");
        let (text, outcome) = why(&json!([]), &stopped);
        assert!(
            text.starts_with("orders is in no environment yet\n  because    CredentialsMissing"),
            "{text}"
        );
        assert_eq!(outcome, Outcome::Problems);
        let well = json!([condition("Ready", "True", "Succeeded", "healthy in prod")]);
        assert_eq!(why(&prod, &well).1, Outcome::Fine);
    }

    #[test]
    fn what_runs_and_does_not_yet_count_elsewhere_is_told_until_it_does() {
        let running = |status: &str| {
            let conditions = [condition("Proven", status, "Baking", "until 10:30")];
            let spec = json!({ "service": "orders", "environment": "prod", "commit": "4f2a", "buildId": "b",
                "image": "i", "digest": "d", "runtime": "camel", "cause": "Promotion", "type": "api", "many": true,
                "strategy": "rolling", "replicas": 2, "template": {} });
            let object = json!({ "apiVersion": "imaas.dev/v1alpha1", "kind": "Release", "metadata": { "name": "x" },
                "spec": spec, "status": { "conditions": conditions } });
            Running { release: Some(serde_json::from_value(object).unwrap()), ..Running::default() }
        };
        let state = EnvironmentState::default();
        let text = lines("orders", (&state, &running("False")), &[]);
        assert!(
            text.contains("  counts     not yet for other environments (Baking: until 10:30)\n"),
            "{text}"
        );
        let well = EnvironmentState { desired: 1, ..state };
        assert!(!lines("orders", (&well, &running("True")), &[]).contains("counts"));
    }

    #[test]
    fn what_came_at_an_hour_of_none_is_told_as_what_never_ran() {
        let release = |conditions: serde_json::Value| -> Release {
            serde_json::from_value(json!({ "apiVersion": "imaas.dev/v1alpha1", "kind": "Release",
                "metadata": { "name": "x" },
                "spec": { "service": "orders", "environment": "prod", "commit": "4f2a", "buildId": "b", "image": "i",
                    "digest": "d", "runtime": "camel", "cause": "Promotion", "type": "worker", "many": true,
                    "strategy": "rolling", "replicas": 2, "template": {} },
                "status": { "conditions": conditions } }))
            .unwrap()
        };
        let night = OpenWindow { min: 0, until: Some("2026-01-02T06:00:00Z".to_owned()) };
        let state = EnvironmentState { window: Some(night), ..EnvironmentState::default() };
        let words = "not yet for other environments: it has not run yet, and none of it is to run until 2026-01-02T06:00:00Z";
        assert_eq!(unproven(&release(json!([])), &state).as_deref(), Some(words));
        for told in ["Healthy", "Failed"] {
            let told = release(json!([condition(told, "True", "Succeeded", "x")]));
            assert_eq!(unproven(&told, &state), None, "that says more");
        }
        let runs = EnvironmentState { desired: 1, ..state };
        assert_eq!(unproven(&release(json!([])), &runs), None);
    }

    #[test]
    fn the_next_window_is_told_where_nothing_else_sets_the_number() {
        let ahead = |min| Some(("2026-01-02T06:00:00Z".parse().unwrap(), min));
        let usual = EnvironmentState::default();
        let words = "at least 4 instances from 2026-01-02T06:00:00Z on, as `scaling.windows` says";
        assert_eq!(coming(&usual, ahead(Some(4))).as_deref(), Some(words));
        assert_eq!(coming(&usual, ahead(None)), None);
        let asleep =
            EnvironmentState { asleep_until: Some("2026-01-02T06:00:00Z".to_owned()), ..usual.clone() };
        assert_eq!(coming(&asleep, ahead(Some(4))), None);
        let held = Held {
            decision: "orders-prod-scale-x".to_owned(),
            action: DecisionAction::Scale,
            by: "nora".to_owned(),
            reason: None,
            until: None,
        };
        assert_eq!(coming(&EnvironmentState { held: vec![held], ..usual }, ahead(Some(4))), None);
    }

    #[test]
    fn between_what_load_moves_it_is_told() {
        let mut release: Release = serde_json::from_value(json!({
            "apiVersion": "imaas.dev/v1alpha1", "kind": "Release", "metadata": { "name": "x" },
            "spec": { "service": "orders", "environment": "prod", "commit": "4f2a", "buildId": "b", "image": "i",
                "digest": "d", "runtime": "camel", "cause": "Promotion", "type": "api", "many": true,
                "strategy": "rolling", "replicas": 2, "template": {},
                "scaling": { "max": 6, "cpu": 70, "memory": 80, "downAfterSeconds": 300 } },
        }))
        .unwrap();
        let wanted = "with the load, 2 to 6 instances (cpu 70 %, memory 80 %)";
        assert_eq!(scales(&release).as_deref(), Some(wanted));
        let trigger =
            json!({ "broker": "events", "kafka": { "topic": "orders", "group": "shop", "lag": 50 } });
        let counted =
            [json!({ "requests": { "perSecond": 20 } }), json!({ "latency": { "milliseconds": 500 } })];
        let triggers: Vec<_> = [trigger].into_iter().chain(counted).collect();
        let scaling = json!({ "max": 6, "downAfterSeconds": 300, "triggers": triggers });
        release.spec.scaling = serde_json::from_value(scaling).unwrap();
        let wanted = "with the load, 2 to 6 instances (what waits in topic orders at events, 20 requests a second, requests of 500 ms)";
        assert_eq!(scales(&release).as_deref(), Some(wanted));
        release.spec.scaling = None;
        assert_eq!(scales(&release), None);
    }

    #[test]
    fn of_a_batch_its_runs_are_told_and_no_instances() {
        let state = EnvironmentState {
            current: Some("bills-dev-a".to_owned()),
            desired: 1,
            ..EnvironmentState::default()
        };
        let runs = Some(vec![("last run", "bills-1 failed".to_owned())]);
        let running = Running { runs, ..Running::default() };
        let text = lines("bills", (&state, &running), &[]);
        let wanted = "  runs       bills-dev-a (by its schedule)\n  last run   bills-1 failed\n";
        assert!(text.contains(wanted) && !text.contains("instances"), "{text}");
    }
}
