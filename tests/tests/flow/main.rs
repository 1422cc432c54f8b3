//! Whole flows with real pods: the installed operator, a real Git server and registry, people who commit. One platform
//! is started, the cases run on it one after the other, and every promise that is broken is told.
//!
//! `FLOW_CASES=registry,repair` runs only the cases whose name holds one of these words, after the onboarding.

mod analysis;
mod batch;
mod collection;
mod decisions;
mod delivery;
mod gateway;
mod killed;
mod load;
mod log;
mod micro_integrator;
mod nodes;
mod number;
mod onboarding;
mod queue;
mod registry;
mod requests;
mod retirement;
mod rights;
mod steady;
mod story;
mod tenants_repository;
mod trial;

use std::{
    future::Future,
    io::Write,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use flows::{Caller, Developer, Sample, Stand, StandOptions, Trickle, get, objects, until};
use lab::{Progress, git_server::WorkTree};
use serde_json::Value;

use self::log::OperatorLog;

/// Minutes for what takes seconds: a busy machine is not a failure.
const PATIENCE: Duration = Duration::from_mins(5);
const ENVIRONMENTS: [&str; 3] = ["dev", "test", "prod"];
/// Between two requests of a trickle.
const PERIOD: Duration = Duration::from_millis(50);

/// The platform and its people.
struct Flow {
    stand: Stand,
    progress: Progress,
    log: OperatorLog,
    /// The platform team's clone of the tenants repository.
    tenants: WorkTree,
    /// Of acme's service `inventory`.
    inventory: Developer,
}

impl Flow {
    /// Commits `text` as the file of `tenant`; returns the commit.
    fn commit_tenant(&self, tenant: &str, text: &str) -> Result<String> {
        self.tenants.write(&format!("tenants/{tenant}.yaml"), text)?;
        let commit = self.tenants.commit(&format!("feat: {tenant} changes"))?;
        self.tenants.push("main")?;
        Ok(commit)
    }

    /// A trickle of requests to a service of acme made of the sample `inventory`, from its first answer on.
    async fn trickle(&self, environment: &str, service: &str) -> Result<Trickle> {
        self.trickle_of((service, environment), "/inventory").await
    }

    /// A trickle of requests for `path` to a service of acme, from its first answer on.
    async fn trickle_of(&self, (service, environment): (&str, &str), path: &'static str) -> Result<Trickle> {
        let address = self.stand.service_address("acme", environment, service).await?;
        until("the first answer", PATIENCE, || async {
            get(address, path).await.map_err(|error| format!("{error:#}"))
        })
        .await?;
        Ok(Trickle::start(Caller::new(address)?, path, PERIOD))
    }

    /// Waits until a service of acme, made of the sample of its name, answers with this version: the node's proxy hears
    /// of new pods a moment after the board.
    async fn answers(&self, (service, environment): (&str, &str), version: &str) -> Result<()> {
        let address = self.stand.service_address("acme", environment, service).await?;
        until(&format!("version {version} of {service} from {environment}"), PATIENCE, || async {
            let answer = get(address, &format!("/{service}")).await.map_err(|error| format!("{error:#}"))?;
            let told: Value = serde_json::from_str(&answer.body).unwrap_or_default();
            if answer.status == 200 && told["version"] == version { Ok(()) } else { Err(answer.body) }
        })
        .await
    }

    /// What the board tells of an environment of a service, once it is so.
    async fn board(&self, at: (&str, &str, &str), what: &str, is: impl Fn(&Value) -> bool) -> Result<Value> {
        until(what, PATIENCE, || async {
            let board = self.stand.board(at.0, at.1, at.2).await.map_err(|error| format!("{error:#}"))?;
            if is(&board) { Ok(board) } else { Err(board.to_string()) }
        })
        .await
    }

    /// Waits until `commit`, which asks for no instance, has its way.
    async fn rests(&self, at: (&str, &str, &str), commit: &str) -> Result<()> {
        let rests = |board: &Value| board["commit"] == commit && board["desired"] == 0 && board["ready"] == 0;
        self.board(at, "none runs", |board| rests(board) && board["candidate"].is_null()).await.map(drop)
    }

    /// What kubectl shows of one object, or why it does not.
    async fn seen(&self, arguments: &[&str]) -> Result<Value, String> {
        self.stand.kubectl.get(arguments).await.map_err(|error| format!("{error:#}"))
    }

    /// `metadata.generation` of the Deployment of acme's inventory: moves with every change of its spec.
    async fn generation(&self, environment: &str) -> Result<i64> {
        let found = self
            .stand
            .kubectl
            .get(&["-n", &format!("acme-{environment}"), "deployment", "inventory"])
            .await?;
        Ok(found["metadata"]["generation"].as_i64().unwrap_or_default())
    }
}

/// `outcome`, where what it needed has `ended` as well; where both failed, both are told.
fn after(outcome: Result<String>, ended: Result<()>) -> Result<String> {
    match (outcome, ended) {
        (outcome, Ok(())) => outcome,
        (Ok(_), Err(error)) => Err(error.context("at its end")),
        (Err(first), Err(second)) => Err(first.context(format!("and at its end: {second:#}"))),
    }
}

/// Ends a trickle of which no request may have failed; returns how many there were.
async fn none_failed(trickle: Trickle) -> Result<u64> {
    let report = trickle.finish().await?;
    ensure!(
        report.failures.is_empty(),
        "{} of {} requests failed: {:?}",
        report.failures.len(),
        report.sent,
        report.failures
    );
    ensure!(report.sent > 0, "no request was sent");
    Ok(report.sent)
}

/// A tenant with one service, as somebody would write it.
fn tenant_file(tenant: &str) -> String {
    format!(
        "apiVersion: imaas.dev/v1alpha1
kind: Tenant
metadata:
  name: {tenant}
spec:
  contact: integrations@{tenant}.example
  members:
    - {{kind: Group, name: {tenant}-leads, role: owner}}
    - {{kind: Group, name: {tenant}-developers, role: developer}}
    - {{kind: User, name: auditor@{tenant}.example, role: viewer}}
  environments:
    prod: {{quota: {{cpu: \"2\", memory: 4Gi}}}}
  services:
    - name: inventory
      repository: {{url: \"https://git.example.com/{tenant}/inventory.git\", credentials: inventory-git}}
      runtime: container
"
    )
}

/// The status of a condition, its reason and message; empty when it is not there.
fn condition(object: &Value, type_: &str) -> (String, String, String) {
    let conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let found = conditions.into_iter().find(|condition| condition["type"] == type_).unwrap_or_default();
    let text = |key: &str| found[key].as_str().unwrap_or_default().to_owned();
    (text("status"), text("reason"), text("message"))
}

/// What a board's line waits for: `reason: message` each.
fn waiting(board: &Value) -> Vec<String> {
    let waiting = board["waiting"].as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    waiting.iter().map(|one| format!("{}: {}", text(&one["reason"]), text(&one["message"]))).collect()
}

/// Whether a board's line waits for this reason.
fn waits(board: &Value, reason: &str) -> bool {
    waiting(board).iter().any(|line| line.starts_with(reason))
}

/// Runs cases and remembers which broke.
struct Cases<'a> {
    flow: &'a Flow,
    only: Vec<String>,
    broken: Vec<String>,
}

impl<'a> Cases<'a> {
    async fn case<Fut>(&mut self, name: &str, run: impl FnOnce(&'a Flow) -> Fut)
    where
        Fut: Future<Output = Result<String>>,
    {
        if !self.only.is_empty() && !self.only.iter().any(|word| name.contains(word)) {
            return;
        }
        let begun = Instant::now();
        let outcome = run(self.flow).await;
        let seconds = begun.elapsed().as_secs_f64();
        match outcome {
            Ok(figures) => say(&format!("case {name} … ok ({seconds:.1} s): {figures}")),
            Err(error) => {
                say(&format!("case {name} … BROKEN ({seconds:.1} s): {error:#}"));
                say(&format!("the operator's last lines:\n{}", self.flow.log.tail(30)));
                self.broken.push(format!("{name}: {error:#}"));
            }
        }
    }
}

/// To standard output past the test harness, which shows what a test prints only when it fails.
fn say(line: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

async fn every_case(flow: &Flow) -> Vec<String> {
    let mut cases = Cases { flow, only: Vec::new(), broken: Vec::new() };
    cases.case("a_commit_makes_a_tenant_and_its_service_run", onboarding::by_commit).await;
    if !cases.broken.is_empty() {
        return cases.broken;
    }
    let only = std::env::var("FLOW_CASES").unwrap_or_default();
    cases.only = only.split(',').filter(|word| !word.is_empty()).map(ToOwned::to_owned).collect();
    cases.case("the_same_file_applied_by_hand_makes_the_same_space", onboarding::by_hand).await;
    cases.case("merges_release_the_same_digest_and_no_request_is_lost", delivery::merges).await;
    cases.case("documentation_rolls_nothing", delivery::documentation).await;
    cases.case("an_invalid_descriptor_leaves_the_running_version_alone", delivery::invalid_descriptor).await;
    cases.case("a_missing_image_leaves_the_running_version_alone", delivery::missing_image).await;
    cases.case("what_fails_goes_back_and_people_decide_the_rest", decisions::story).await;
    cases.case("a_batch_runs_by_its_schedule_and_on_demand", batch::runs).await;
    cases.case("a_service_applied_by_hand_is_like_any_other", onboarding::service_by_hand).await;
    cases.case("a_broken_file_keeps_its_tenant_and_says_where", tenants_repository::broken_file).await;
    cases.case("a_vanished_file_orphans_and_everything_serves_on", tenants_repository::vanished_file).await;
    cases
        .case("a_vanished_service_is_orphaned_but_not_one_by_hand", tenants_repository::vanished_service)
        .await;
    cases.case("micro_integrator_s_profile_runs_its_stand_in", micro_integrator::by_its_profile).await;
    cases.case("registry_accounts_open_their_own_area_only", registry::areas).await;
    cases.case("what_is_exposed_answers_at_its_host_and_nothing_else_does", gateway::exposed).await;
    cases.case("what_is_tried_gets_its_share_and_no_request_is_lost", trial::beside_what_runs).await;
    cases.case("a_canary_is_judged_by_what_prometheus_counted", analysis::of_a_canary).await;
    cases.case("a_drained_node_costs_no_request_and_a_lost_one_is_replaced", nodes::drained_and_lost).await;
    cases.case("load_brings_instances_and_takes_them_away", load::brings_instances_and_takes_them_away).await;
    cases.case("a_worker_s_number_follows_what_waits_for_it", queue::is_followed).await;
    cases.case("requests_bring_instances_by_what_prometheus_counted", requests::bring_instances).await;
    cases.case("repair_within_five_seconds", steady::repair).await;
    cases.case("a_second_pass_and_a_restart_change_nothing", steady::restart).await;
    cases.case("kill_at_any_moment_ends_in_the_same_state", killed::at_any_moment).await;
    cases.case("rights_are_enough_and_not_more", rights::are_narrow).await;
    cases.case("the_whole_story_of_one_camel_service", story::of_one_service).await;
    cases.case("a_service_ends_by_stages_and_comes_back", retirement::service).await;
    cases.case("an_environment_ends_by_stages_and_is_entered_again", retirement::environment).await;
    cases.case("a_tenant_ends_by_stages_and_is_made_anew", retirement::tenant).await;
    cases.case("the_chart_s_registry_frees_deleted_images_and_goes_on", collection::frees_bytes).await;
    cases.broken
}

/// Ends with the broken promises as the last lines: what an error would print after them hides them.
#[tokio::test(flavor = "multi_thread")]
async fn whole_flows_on_a_real_kubernetes() -> ExitCode {
    match whole_flows().await {
        Ok(broken) if broken.is_empty() => ExitCode::SUCCESS,
        Ok(broken) => {
            say(&format!("{} cases are BROKEN:\n{}", broken.len(), broken.join("\n")));
            ExitCode::FAILURE
        }
        Err(error) => {
            say(&format!("the platform is BROKEN: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// One line for each case that broke.
async fn whole_flows() -> Result<Vec<String>> {
    if !(cfg!(target_os = "linux") && lab::is_root()) {
        say("skipped: needs root on Linux");
        return Ok(Vec::new());
    }
    let begun = Instant::now();
    let progress = Progress::new(|line| say(&format!("  {line}")));
    let options = StandOptions {
        tenants: vec!["acme", "globex", "umbrella"],
        wait: Duration::from_mins(10),
        ..StandOptions::default()
    };
    let stand = Stand::start(options, &progress).await?;
    say(&format!("the platform is up ({:.1} s)", begun.elapsed().as_secs_f64()));
    let log = OperatorLog::follow(stand.lab.data_dir());
    let flow = async {
        let tenants = stand.tenants()?;
        let inventory = Developer::new(&stand, "acme", Sample::Inventory)?;
        Ok::<_, anyhow::Error>((tenants, inventory))
    };
    let (stand, broken) = match flow.await {
        Ok((tenants, inventory)) => {
            let flow = Flow { stand, progress, log, tenants, inventory };
            let broken = every_case(&flow).await;
            (flow.stand, Ok(broken))
        }
        Err(error) => (stand, Err(error)),
    };
    stand.stop().await?;
    say(&format!("everything is removed ({:.1} s)", begun.elapsed().as_secs_f64()));
    broken
}
