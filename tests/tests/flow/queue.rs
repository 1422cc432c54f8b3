//! A worker whose number follows what waits in a real broker, by a real KEDA.

use std::time::Instant;

use anyhow::{Result, ensure};
use base64::{Engine, engine::general_purpose::STANDARD};
use flows::{Developer, Sample, until};
use lab::{
    keda::{self, Keda},
    rabbitmq::RabbitMq,
};
use reqwest::{Client, Method};
use serde_json::{Value, json};

use crate::{
    Flow, PATIENCE, after,
    number::{HANDED_OVER, becomes},
    waiting, waits,
};

const SERVICE: &str = "queued";
const AT: (&str, &str, &str) = ("acme", SERVICE, "dev");
const OBJECT: &str = "{apiVersion: imaas.dev/v1alpha1, kind: IntegrationService, \
     metadata: {name: queued, namespace: acme-home}, spec: {runtime: container, \
     repository: {url: 'https://git.example.com/acme/queued.git', credentials: inventory-git}}}";
const HEAD: &str = "apiVersion: imaas.dev/v1alpha1
kind: ServiceDescriptor
type: worker
instances: many
resources: {cpu: 20m, memory: 32Mi}
";
const FOLLOWS: &str = "scaling:
  min: 0
  max: 3
  downAfter: 10s
  triggers: [{broker: rabbit, rabbitmq: {queue: queued, messages: 2}, secret: queued-rabbit}]
";
/// The sample reads no message: it is one that hangs.
const HANGS: &str = "scaling:
  min: 1
  max: 3
  downAfter: 10s
  triggers: [{broker: rabbit, rabbitmq: {queue: queued, messages: 2}, secret: queued-rabbit}]
rollout: {strategy: canary, steps: [{weight: 50, pause: 5m}], analysis: {waiting: 100}}
env: {MODE: tried}
";
const NOBODY: &str = "scaling: {min: 0}\n";

/// Promise: without KEDA the service is refused by that name; when it comes the service goes on by itself, proves itself with
/// one instance, has none while nothing waits, as many as what waits needs, and none again; nobody but KEDA moves the number. A
/// canary is given up while which more waits than before.
pub async fn is_followed(flow: &Flow) -> Result<String> {
    let stand = &flow.stand;
    stand.git.create("/acme/queued.git", &Sample::Inventory.directory(), &["dev"])?;
    let broker = RabbitMq::start(&stand.lab, &flow.progress).await?;
    named(
        flow,
        json!([{ "name": "rabbit", "rabbitmq": { "url": format!("http://{}/%2f", broker.management()) } }]),
    )
    .await?;
    let (user, password) = RabbitMq::ACCOUNT;
    let secret = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "queued-rabbit", "namespace": "acme-dev" },
        "stringData": { "username": user, "password": password } });
    stand.kubectl.run(&["apply", "-f", "-"], Some(&secret.to_string())).await?;
    stand.kubectl.run(&["apply", "-f", "-"], Some(OBJECT)).await?;
    let developer = Developer::of(stand, ("acme", SERVICE), Sample::Inventory)?;
    let commit = pushed(&developer, FOLLOWS)?;
    developer.build(stand, &flow.progress).await?;
    let refused = flow.board(AT, "it is refused without KEDA", |board| waits(board, "ScalerMissing")).await?;
    let told = waiting(&refused).join("; ");
    ensure!(refused["current"].is_null(), "nothing of it runs: {refused}");

    keda::install_kinds(&stand.kubectl, &flow.progress).await?;
    let keda = Keda::start(&stand.lab, &flow.progress).await?;
    let story = async {
        let figures = up_and_down(flow, &broker, &commit).await?;
        Ok(format!("{figures}; {}", hangs(flow, &broker, &developer).await?))
    };
    let outcome = Box::pin(story).await;
    let ended = async {
        let commit = pushed(&developer, NOBODY)?;
        flow.rests(AT, &commit).await?;
        without_scalers(flow).await
    };
    let ended = ended.await.and(keda.stop().await).and(named(flow, Value::Null).await);
    broker.stop().await;
    after(outcome, ended).map(|figures| format!("told `{told}`; {figures}"))
}

/// Waits until KEDA has let go of everything.
pub async fn without_scalers(flow: &Flow) -> Result<()> {
    until("KEDA's object is gone", PATIENCE, || async {
        let found = flow.seen(&["-n", "acme-dev", "scaledobjects.keda.sh"]).await?;
        let left = found["items"].as_array().is_some_and(|items| !items.is_empty());
        if left { Err(found.to_string()) } else { Ok(()) }
    })
    .await
}

/// The brokers of dev, as the platform team names them.
async fn named(flow: &Flow, brokers: Value) -> Result<()> {
    let patch = json!({ "spec": { "brokers": brokers } }).to_string();
    let arguments = ["patch", "environment.imaas.dev", "dev", "--type=merge", "--patch", &patch];
    flow.stand.kubectl.run(&arguments, None).await.map(drop)
}

/// Commits this scaling to dev; returns the commit.
fn pushed(developer: &Developer, scaling: &str) -> Result<String> {
    let clone = developer.work_tree();
    clone.checkout("dev")?;
    clone.write("imaas.yaml", format!("{HEAD}{scaling}"))?;
    let commit = clone.commit("feat: another scaling")?;
    clone.push("dev")?;
    Ok(commit)
}

async fn up_and_down(flow: &Flow, broker: &RabbitMq, commit: &str) -> Result<String> {
    ask(broker, (Method::PUT, "/api/queues/%2f/queued"), json!({ "durable": true })).await?;
    flow.stand.deployed(AT, commit, PATIENCE).await?;
    becomes(flow, AT, 0, &[HANDED_OVER]).await?;
    send(broker, 6).await?;
    let begun = Instant::now();
    becomes(flow, AT, 3, &[]).await?;
    let risen = begun.elapsed().as_secs_f64();
    empty(broker).await?;
    let begun = Instant::now();
    becomes(flow, AT, 0, &[]).await?;
    Ok(format!(
        "3 instances {risen:.0} s after 6 messages, none {:.0} s after the last was gone",
        begun.elapsed().as_secs_f64()
    ))
}

async fn hangs(flow: &Flow, broker: &RabbitMq, developer: &Developer) -> Result<String> {
    let before = flow.stand.board(AT.0, AT.1, AT.2).await?["current"].clone();
    pushed(developer, HANGS)?;
    let looked = "so far no more waits than may";
    flow.board(AT, looked, |board| waiting(board).iter().any(|line| line.contains(looked))).await?;
    send(broker, 6).await?;
    let begun = Instant::now();
    let failed = flow
        .board(AT, "it is given up", |board| {
            board["failed"].is_object() && board["current"] == before && board["trial"].is_null()
        })
        .await?;
    let back = begun.elapsed().as_secs_f64();
    empty(broker).await?;
    let told = waiting(&failed).into_iter().find(|line| line.starts_with("Failed")).unwrap_or_default();
    ensure!(told.contains("what waits is") && told.contains("queue queued"), "by what waits: {told}");
    Ok(format!("a canary that hangs is given up {back:.0} s after 6 more: `{told}`"))
}

async fn send(broker: &RabbitMq, messages: usize) -> Result<()> {
    let message =
        json!({ "properties": {}, "routing_key": SERVICE, "payload": "one", "payload_encoding": "string" });
    for _ in 0..messages {
        ask(broker, (Method::POST, "/api/exchanges/%2f/amq.default/publish"), message.clone()).await?;
    }
    Ok(())
}

async fn empty(broker: &RabbitMq) -> Result<()> {
    ask(broker, (Method::DELETE, "/api/queues/%2f/queued/contents"), Value::Null).await
}

/// Asks the broker's management API, as its account.
async fn ask(broker: &RabbitMq, (method, path): (Method, &str), body: Value) -> Result<()> {
    let (user, password) = RabbitMq::ACCOUNT;
    let login = STANDARD.encode(format!("{user}:{password}"));
    let request = Client::builder()
        .no_proxy()
        .build()?
        .request(method, format!("http://{}{path}", broker.management()));
    let request =
        request.header("authorization", format!("Basic {login}")).header("content-type", "application/json");
    let answer = request.body(body.to_string()).send().await?;
    ensure!(answer.status().is_success(), "{path}: {}", answer.status());
    Ok(())
}
