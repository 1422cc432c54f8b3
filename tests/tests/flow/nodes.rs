//! Two real nodes: one is drained, and one is lost, while requests go on.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use flows::{Caller, Trickle, TrickleReport, until};
use imaas_operator::names::RUNNING;
use lab::node::{NODE_NAME, Node};
use serde_json::Value;

use crate::{
    Flow, PATIENCE, PERIOD, after,
    decisions::decide,
    gateway::{HOST, answers, pushed, with_entrance},
    none_failed, waiting,
};

const AT: (&str, &str, &str) = ("acme", "inventory", "dev");
const OF_DEV: &str = "  dev: {scaling: {min: 1}}";
const OF_TWO: &str = "  dev: {scaling: {min: 2}, expose: {path: /inventory}}";
const SYSTEM: [&str; 2] = ["-n", "imaas-system"];

/// Promise: a node that is drained costs no request, nor does a roll-out or a decision to go back; one that is lost costs those that were sent to it until Kubernetes
/// takes it out, is told on the board, its instance is replaced and, where the operator's leader was there, another leads.
pub async fn drained_and_lost(flow: &Flow) -> Result<String> {
    let clone = flow.inventory.work_tree();
    clone.checkout("dev")?;
    let plain = clone.read("imaas.yaml")?;
    ensure!(plain.contains(OF_DEV), "the descriptor has the line {OF_DEV:?}: {plain}");
    let kubectl = &flow.stand.kubectl;
    let second = flow.stand.second_node(&flow.progress).await?;
    kubectl
        .run(&[&SYSTEM[..], &["scale", "deployment/imaas-operator", "--replicas=2"]].concat(), None)
        .await?;
    let outcome =
        with_entrance(flow, async |flow, address| on_both(flow, address, (&plain, &second)).await).await;

    let ended = async {
        second.connect(true)?;
        drain(flow, &second).await?;
        kubectl
            .run(&[&SYSTEM[..], &["scale", "deployment/imaas-operator", "--replicas=1"]].concat(), None)
            .await?;
        kubectl.run(&["delete", "node", second.name()], None).await.map(drop)
    };
    let ended = ended.await.and(tokio::task::block_in_place(|| second.stop()));
    after(outcome, ended.and(Box::pin(as_it_was(flow, &plain)).await))
}

async fn as_it_was(flow: &Flow, plain: &str) -> Result<()> {
    let commit = pushed(flow, plain)?;
    flow.stand.deployed(AT, &commit, PATIENCE).await?;
    until("nothing is left of what ran before", PATIENCE, || async {
        let deployment = flow.seen(&["-n", "acme-dev", "deployment", AT.1]).await?;
        let running = &deployment["metadata"]["annotations"][RUNNING];
        if running.is_null() { Ok(()) } else { Err(running.to_string()) }
    })
    .await
}

async fn on_both(flow: &Flow, address: SocketAddr, (plain, second): (&str, &Node)) -> Result<String> {
    let descriptor = plain.replace(OF_DEV, OF_TWO);
    let commit = pushed(flow, &descriptor)?;
    flow.stand.deployed(AT, &commit, PATIENCE).await?;
    answers(address, HOST, 200).await?;
    is_on(flow, &[NODE_NAME, second.name()]).await?;

    let load = Load::start(address)?;
    let begun = Instant::now();
    drain(flow, second).await?;
    is_on(flow, &[NODE_NAME]).await?;
    let drained = begun.elapsed().as_secs_f64();
    let sent = [none_failed(load.anew).await?, none_failed(load.kept).await?];

    flow.stand.kubectl.run(&["uncordon", second.name()], None).await?;
    let load = Load::start(address)?;
    there_and_back(flow, &format!("{descriptor}env: {{NODES: \"2\"}}\n")).await?;
    let rolled = [none_failed(load.anew).await?, none_failed(load.kept).await?];
    is_on(flow, &[NODE_NAME, second.name()]).await?;
    leads_on(flow, second.name()).await?;
    Ok(format!(
        "drained in {drained:.1} s, {sent:?} requests, none failed; {rolled:?} while it rolled on, back and on, none failed; {}",
        lost(flow, address, second).await?
    ))
}

/// Rolls this descriptor out, back to what ran before by a decision, and out again.
async fn there_and_back(flow: &Flow, descriptor: &str) -> Result<()> {
    let before = flow.stand.board(AT.0, AT.1, AT.2).await?["current"].clone();
    let commit = pushed(flow, descriptor)?;
    flow.stand.deployed(AT, &commit, PATIENCE).await?;
    decide(flow, (AT.1, AT.2), "rollback").await?;
    let is_back = |board: &Value| board["current"] == before && board["ready"] == 2;
    flow.board(AT, "what ran before runs again", is_back).await?;
    decide(flow, (AT.1, AT.2), "resume").await?;
    flow.stand.deployed(AT, &commit, PATIENCE).await.map(drop)
}

/// Requests through the gateway.
struct Load {
    /// Each on a connection of its own.
    anew: Trickle,
    kept: Trickle,
}

impl Load {
    fn start(address: SocketAddr) -> Result<Self> {
        let start = |caller: Caller| anyhow::Ok(Trickle::start(caller.of(HOST)?, "/inventory", PERIOD));
        Ok(Self { anew: start(Caller::new(address)?)?, kept: start(Caller::kept(address)?)? })
    }
}

async fn lost(flow: &Flow, address: SocketAddr, second: &Node) -> Result<String> {
    let load = Load::start(address)?;
    let begun = Instant::now();
    second.connect(false)?;
    let seconds = || begun.elapsed().as_secs_f64();
    let led = until("the other operator leads", PATIENCE, || async {
        let leader = leader(flow).await.map_err(|error| format!("{error:#}"))?;
        if leader.1 == NODE_NAME { Ok(seconds()) } else { Err(format!("{leader:?}")) }
    })
    .await?;
    let words = format!("the node {} does not answer", second.name());
    let board = flow
        .board(AT, "the board tells of the node", |board| {
            waiting(board).iter().any(|line| line.contains(&words))
        })
        .await?;
    let told = seconds();
    is_on(flow, &[NODE_NAME]).await?;
    flow.board(AT, "two are ready", |board| board["ready"] == 2).await?;
    let replaced = seconds();
    // What was sent before has its answer, or none, by now.
    tokio::time::sleep(Duration::from_secs(15)).await;
    let (anew, kept) = (load.anew.finish().await?, load.kept.finish().await?);
    let figures = |report: &TrickleReport| -> Result<String> {
        let last = report.last_failure.map_or(0.0, |at| at.as_secs_f64());
        ensure!(
            last < replaced + 10.0,
            "requests fail {last:.1} s after the loss: {:?}",
            report.failures.last()
        );
        Ok(format!("{} of {} failed, the last after {last:.1} s", report.failures.len(), report.sent))
    };
    Ok(format!(
        "lost: another leads after {led:.1} s, told after {told:.1} s, replaced after {replaced:.1} s; new connections: \
         {}; kept: {}; the board: {:?}",
        figures(&anew)?,
        figures(&kept)?,
        waiting(&board)
    ))
}

async fn drain(flow: &Flow, node: &Node) -> Result<()> {
    let arguments = ["drain", node.name(), "--delete-emptydir-data", "--ignore-daemonsets", "--timeout=3m"];
    flow.stand.kubectl.run(&arguments, None).await.map(drop)
}

/// Waits until the living instances are on these nodes, and on no other.
async fn is_on(flow: &Flow, nodes: &[&str]) -> Result<()> {
    let wanted: BTreeSet<&str> = nodes.iter().copied().collect();
    flow.board(AT, &format!("instances on {nodes:?}"), |board| {
        let instances = board["instances"].as_array().into_iter().flatten();
        instances.filter_map(|one| one["node"].as_str()).collect::<BTreeSet<_>>() == wanted
    })
    .await
    .map(drop)
}

/// The leading operator's pod, and its node.
async fn leader(flow: &Flow) -> Result<(String, String)> {
    let text = |value: &Value| value.as_str().map(ToOwned::to_owned).context("no leader");
    let lease = flow.stand.kubectl.get(&[&SYSTEM[..], &["lease", "imaas-operator"]].concat()).await?;
    let pod = text(&lease["spec"]["holderIdentity"])?;
    let found = flow.stand.kubectl.get(&[&SYSTEM[..], &["pod", &pod]].concat()).await?;
    Ok((pod, text(&found["spec"]["nodeName"])?))
}

/// Ends leaders until one leads that is on `node`; there is one, and it takes over from whoever ends.
async fn leads_on(flow: &Flow, node: &str) -> Result<()> {
    until(&format!("an operator of {node} leads"), PATIENCE, || async {
        let told = |error: anyhow::Error| format!("{error:#}");
        let (pod, at) = leader(flow).await.map_err(told)?;
        if at == node {
            return Ok(());
        }
        let ready =
            [&SYSTEM[..], &["rollout", "status", "deployment/imaas-operator", "--timeout=1m"]].concat();
        flow.stand.kubectl.run(&ready, None).await.map_err(told)?;
        flow.stand
            .kubectl
            .run(&[&SYSTEM[..], &["delete", "pod", &pod]].concat(), None)
            .await
            .map_err(told)?;
        Err(format!("{pod} of {at}"))
    })
    .await
}
