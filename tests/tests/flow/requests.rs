//! A Camel integration whose number follows the requests that a real Prometheus counted, by a real KEDA.

use std::time::Instant;

use anyhow::Result;
use flows::{Developer, Sample};
use lab::keda::{self, Keda};
use serde_json::{Value, json};

use crate::{
    Flow, PATIENCE, after,
    analysis::{asks, change, counting},
    none_failed,
    number::{HANDED_OVER, becomes, handed_over},
    queue::without_scalers,
    waiting,
};

const SERVICE: &str = "metered";
const AT: (&str, &str, &str) = ("acme", SERVICE, "dev");
const OBJECT: &str = "{apiVersion: imaas.dev/v1alpha1, kind: IntegrationService, \
     metadata: {name: metered, namespace: acme-home}, spec: {runtime: camel, \
     repository: {url: 'https://git.example.com/acme/metered.git', credentials: inventory-git}}}";
const OF_DEV: &str = "  dev: {scaling: {min: 1}}";
/// The trickle has 20 in a second.
const FOLLOWS: &str = "  dev: {scaling: {min: 1, max: 2, downAfter: 10s, \
     triggers: [{requests: {perSecond: 10}}, {latency: {milliseconds: 60000}}]}}";
const NOBODY: &str = "  dev: {scaling: {min: 0}}";

/// Promise: without a Prometheus in the Environment the service is told so, and goes on by itself when there is one; requests
/// bring an instance, none of them is lost, and when they end it ends; nobody but KEDA moves the number.
pub async fn bring_instances(flow: &Flow) -> Result<String> {
    let stand = &flow.stand;
    stand.git.create("/acme/metered.git", &Sample::Orders.directory(), &["dev"])?;
    keda::install_kinds(&stand.kubectl, &flow.progress).await?;
    let keda = Keda::start(&stand.lab, &flow.progress).await?;
    stand.kubectl.run(&["apply", "-f", "-"], Some(OBJECT)).await?;
    let developer = Developer::of(stand, ("acme", SERVICE), Sample::Orders)?;
    let commit = change(&developer, "imaas.yaml", (OF_DEV, FOLLOWS))?;
    developer.build(stand, &flow.progress).await?;
    let prometheus = counting(flow, SERVICE).await?;
    let address = format!("http://{}", prometheus.address());
    let outcome = Box::pin(up_and_down(flow, &address, &commit)).await;
    let ended = async {
        let commit = change(&developer, "imaas.yaml", (FOLLOWS, NOBODY))?;
        flow.rests(AT, &commit).await?;
        without_scalers(flow).await?;
        asks(flow, Value::Null).await
    };
    let ended = ended.await.and(keda.stop().await);
    prometheus.stop().await;
    after(outcome, ended)
}

async fn up_and_down(flow: &Flow, address: &str, commit: &str) -> Result<String> {
    let says = |board: &Value| waiting(board).into_iter().find(|line| line.contains("prometheus"));
    let board = flow.board(AT, "it is told that nobody counts", |board| says(board).is_some()).await?;
    let told = says(&board).unwrap_or_default();
    asks(flow, json!({ "url": address })).await?;
    flow.stand.deployed(AT, commit, PATIENCE).await?;
    handed_over(flow, AT).await?;
    becomes(flow, AT, 1, &[HANDED_OVER]).await?;
    let load = flow.trickle_of((SERVICE, AT.2), "/orders").await?;
    let begun = Instant::now();
    let risen = becomes(flow, AT, 2, &[HANDED_OVER]).await;
    let rose = begun.elapsed().as_secs_f64();
    let sent = none_failed(load).await?;
    risen?;
    let begun = Instant::now();
    becomes(flow, AT, 1, &[]).await?;
    Ok(format!(
        "told `{told}`; 2 instances after {rose:.0} s and {sent} requests, none failed; 1 again {:.0} s after the last",
        begun.elapsed().as_secs_f64()
    ))
}
