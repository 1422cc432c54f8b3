//! A service that runs by a schedule. The API server's own controllers make a run's pod and end the run; that it is time,
//! and how the pod ended, is said by the test, since there is no kubelet and nobody waits for New Year.

use std::time::Duration;

use imaas_operator::api::{DecisionAction, DecisionState};
use k8s_openapi::api::{
    batch::v1::{CronJob, Job},
    core::v1::{Pod, Service},
};
use kube::{
    Api, ResourceExt,
    api::{ListParams, Patch, PatchParams},
};
use serde_json::json;

use crate::scene::{IMAGE_OF_A, IMAGE_OF_B, Scene, descriptor, reasons, until};

fn batch(image: &str) -> String {
    descriptor(image, "type: batch\nschedule: {cron: \"0 3 1 1 *\", retries: 0}\n")
}

/// What the board says of the environment, while that is of this reason alone and holds `words`.
async fn says(scene: &Scene, environment: &str, (reason, words): (&str, &str)) -> String {
    until(&format!("{environment} says {reason}: {words}"), async || {
        let waiting = scene.state(environment).await?.waiting;
        let [one] = &waiting[..] else { return None };
        (one.reason == reason && one.message.contains(words)).then(|| one.message.clone())
    })
    .await
}

impl Scene {
    /// Image of what the `CronJob` runs, without the repository, and its UID; nothing when there is none.
    async fn scheduled(&self, environment: &str) -> Option<(String, String)> {
        let cron_jobs = Api::<CronJob>::namespaced(self.client.clone(), &format!("acme-{environment}"));
        let cron_job = cron_jobs.get_opt("orders").await.unwrap()?;
        let uid = cron_job.uid()?;
        let pods = cron_job.spec?.job_template.spec?.template.spec?;
        Some((pods.containers.first()?.image.as_ref()?.rsplit_once('@')?.1.to_owned(), uid))
    }

    async fn runs_by_schedule(&self, environment: &str, image: &str) -> String {
        let runs = async || self.scheduled(environment).await.filter(|(of, _)| of == image);
        until(&format!("{environment} runs {image} by a schedule"), runs).await.1
    }

    /// As the `CronJob`'s controller does when it is time.
    async fn is_time(&self, environment: &str, run: &str) {
        let namespace = format!("acme-{environment}");
        self.kubectl(&["create", "job", run, "--from=cronjob/orders", "-n", &namespace]).await;
    }

    /// Its only pod ends in this phase.
    async fn run_ends(&self, environment: &str, run: &str, phase: &str) {
        let pods = Api::<Pod>::namespaced(self.client.clone(), &format!("acme-{environment}"));
        let of_run = ListParams::default().labels(&format!("batch.kubernetes.io/job-name={run}"));
        let pod = until(&format!("{run} has its pod"), async || {
            pods.list(&of_run).await.unwrap().items.pop().map(|pod| pod.name_any())
        })
        .await;
        let status = Patch::Merge(json!({ "status": { "phase": phase } }));
        pods.patch_status(&pod, &PatchParams::default(), &status).await.unwrap();
    }

    /// Decides that it runs now; the decision's name.
    async fn run(&self, environment: &str) -> String {
        self.decide(environment, DecisionAction::Run, json!({})).await
    }

    /// Names of its runs.
    async fn runs(&self, environment: &str) -> Vec<String> {
        let jobs = Api::<Job>::namespaced(self.client.clone(), &format!("acme-{environment}"));
        jobs.list(&ListParams::default()).await.unwrap().iter().map(ResourceExt::name_any).collect()
    }

    /// The schedule begins nothing.
    async fn rests(&self, environment: &str) -> bool {
        let cron_jobs = Api::<CronJob>::namespaced(self.client.clone(), &format!("acme-{environment}"));
        cron_jobs.get("orders").await.unwrap().spec.unwrap().suspend == Some(true)
    }

    async fn waits_for_a_run(&self, environment: &str) {
        until(&format!("{environment} waits for a run"), async || {
            (reasons(&self.board().await, environment) == ["AwaitingRun"]).then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_as_well_as_its_runs_end_and_one_whose_first_fails_goes_back() {
    let scene = Scene::start().await;
    for branch in ["dev", "test"] {
        scene.push(branch, &[("imaas.yaml", &batch(IMAGE_OF_A))]);
    }
    let operator = scene.operator().await;
    scene.onboard(true).await;
    scene.onboard(false).await;

    // Nothing is known of it until it ran, and nothing of it runs elsewhere until then.
    let uid = scene.runs_by_schedule("dev", IMAGE_OF_A).await;
    scene.waits_for_a_run("dev").await;
    scene.two_looks().await;
    assert_eq!(reasons(&scene.board().await, "test"), ["NotPromoted"]);
    assert_eq!(scene.scheduled("test").await, None);
    assert_eq!(scene.image("dev").await, None, "it is no Deployment");
    let services = Api::<Service>::namespaced(scene.client.clone(), "acme-dev");
    assert!(services.get_opt("orders").await.unwrap().is_none(), "nobody calls it");

    scene.is_time("dev", "first").await;
    scene.run_ends("dev", "first", "Succeeded").await;
    let good = until("dev is healthy", async || {
        let state = scene.state("dev").await?;
        state.last_good.filter(|good| state.current.as_ref() == Some(good) && state.candidate.is_none())
    })
    .await;
    scene.runs_by_schedule("test", IMAGE_OF_A).await;
    scene.waits_for_a_run("test").await;

    // The next version takes its place in the same CronJob, and its first run fails.
    scene.push("dev", &[("imaas.yaml", &batch(IMAGE_OF_B))]);
    assert_eq!(scene.runs_by_schedule("dev", IMAGE_OF_B).await, uid);
    scene.waits_for_a_run("dev").await;
    assert_eq!(scene.state("dev").await.unwrap().last_good.as_ref(), Some(&good));
    says(&scene, "dev", ("AwaitingRun", "first run ends well, which begins at ")).await;
    assert!(scene.board().await.summary.unwrap().starts_with("dev=scheduled "));
    scene.is_time("dev", "second").await;
    scene.run_ends("dev", "second", "Failed").await;
    assert_eq!(scene.runs_by_schedule("dev", IMAGE_OF_A).await, uid);
    let state = until("dev tells what failed", async || {
        scene
            .state("dev")
            .await
            .filter(|state| state.failed.is_some() && state.current.as_ref() == Some(&good))
    })
    .await;
    let told = state.waiting.iter().find(|waiting| waiting.reason == "Failed").unwrap();
    assert!(told.message.contains("second"), "which run it was: {told:?}");
    scene.two_looks().await;
    assert_eq!(scene.runs_by_schedule("dev", IMAGE_OF_A).await, uid, "and it stays");
    assert_eq!(scene.runs("dev").await, ["first", "second"], "the operator begins no run of its own");

    // Somebody runs it in test, where it did not run yet: once and alone, and it counts as any other run.
    let mut answers = Vec::new();
    let both = [scene.run("test").await, scene.run("test").await];
    for decision in &both {
        answers.push(scene.answered(decision).await);
    }
    answers.sort_unstable_by_key(|(state, _)| *state == Some(DecisionState::Refused));
    let [(Some(DecisionState::Done), begun), (Some(DecisionState::Refused), refused)] = &answers[..] else {
        panic!("{answers:?}")
    };
    let run = begun.split_once(' ').unwrap().0;
    assert!(refused.starts_with(&format!("{run} is not at its end yet")), "{refused}");
    until("the schedule waits for it", async || scene.rests("test").await.then_some(())).await;
    scene.run_ends("test", run, "Succeeded").await;
    until("test is healthy", async || {
        let state = scene.state("test").await?;
        (state.last_good.is_some() && state.current == state.last_good).then_some(())
    })
    .await;
    until("the schedule goes on", async || (!scene.rests("test").await).then_some(())).await;
    assert_eq!(scene.runs("test").await, [run]);

    operator.stop().await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_hangs_is_named_with_the_way_out_and_one_on_demand_gives_way_where_the_schedule_replaces()
{
    let scene = Scene::start().await;
    scene.push("dev", &[("imaas.yaml", &batch(IMAGE_OF_A))]);
    let operator = scene.operator().await;
    scene.onboard(true).await;
    scene.onboard(false).await;
    scene.runs_by_schedule("dev", IMAGE_OF_A).await;
    scene.is_time("dev", "hangs").await;

    let replaces = "type: batch\nschedule: {cron: \"* * * * *\", retries: 0, concurrency: replace}\n";
    let resting = format!("{replaces}scaling: {{min: 0}}\n");
    scene.push("dev", &[("imaas.yaml", &descriptor(IMAGE_OF_B, &resting))]);
    scene.runs_by_schedule("dev", IMAGE_OF_B).await;
    let told = says(&scene, "dev", ("Running", "the run hangs of before goes on since ")).await;
    assert!(told.ends_with("to end it: kubectl -n acme-dev delete job hangs"), "{told}");
    assert!(scene.board().await.summary.unwrap().starts_with("dev=running "));
    scene.kubectl(&["delete", "job", "hangs", "-n", "acme-dev"]).await;
    until("nothing is awaited", async || scene.state("dev").await.filter(|state| state.waiting.is_empty()))
        .await;

    // Begun by somebody: it hangs, too, and the schedule's next time takes its place.
    let decision = scene.run("dev").await;
    let begun = scene.answer(&decision, DecisionState::Done).await;
    let run = begun.split_once(' ').unwrap().0;
    assert_eq!(scene.runs("dev").await, [run]);
    scene.push("dev", &[("imaas.yaml", &descriptor(IMAGE_OF_B, replaces))]);
    tokio::time::sleep(Duration::from_secs(30)).await;
    until("a run by the schedule takes its place", async || {
        let runs = scene.runs("dev").await;
        (!runs.is_empty() && !runs.iter().any(|one| one == run)).then_some(())
    })
    .await;
    assert!(!scene.rests("dev").await);

    operator.stop().await;
    scene.end().await;
}
