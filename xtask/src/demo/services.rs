#![expect(clippy::print_stdout, reason = "a demo is there to be read")]
//! The demo's story with real pods: services that come up, change under load, and are released.

use std::{
    net::SocketAddr,
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use flows::{Caller, Developer, Sample, Stand, Trickle, TrickleReport, get, until};
use lab::Progress;
use serde_json::Value;

use super::{ENVIRONMENTS, PATIENCE, Teller};

/// From the first image to the release.
pub(super) async fn story(stand: &Stand, teller: &Teller, progress: &Progress) -> Result<()> {
    Teller::chapter("Its services come up in dev: CI pushes an image under the commit's hash");
    let inventory = Developer::new(stand, "acme", Sample::Inventory)?;
    let orders = Developer::new(stand, "acme", Sample::Orders)?;
    for (developer, sample) in [(&inventory, Sample::Inventory), (&orders, Sample::Orders)] {
        deliver(stand, teller, developer, sample, progress).await?;
    }
    Teller::chapter(
        "A new version of orders, a real Camel integration, under a constant trickle of requests",
    );
    let load = Load::on(stand, "dev").await?;
    let begun = Instant::now();
    let commit = orders.release_version("dev", "2")?;
    let digest = orders.build(stand, progress).await?;
    let pushed = Instant::now();
    stand.deployed(("acme", "orders", "dev"), &commit, PATIENCE).await?;
    teller.told(&format!("commit {} is in dev, image {}", &commit[..8], &digest[..19]), begun);
    teller.told("of that, from the image in the registry to the last old instance gone", pushed);
    load.end(teller).await?;
    latency(stand, teller, &orders).await?;
    Teller::chapter("Release: dev is merged into test, test into prod; the image stays the same");
    let load = Load::on(stand, "prod").await?;
    for (from, into) in [("dev", "test"), ("test", "prod")] {
        let begun = Instant::now();
        let commit = orders.promote(from, into)?;
        let board = stand.deployed(("acme", "orders", into), &commit, PATIENCE).await?;
        ensure!(board["digest"] == digest.as_str(), "{into} runs {} and not {digest}", board["digest"]);
        teller.told(&format!("{from} merged into {into}: it runs the same image {}", &digest[..19]), begun);
    }
    load.end(teller).await?;
    table(stand).await
}

/// The first commit of a service reaches all three environments by the branches that it stands on.
async fn deliver(
    stand: &Stand,
    teller: &Teller,
    developer: &Developer,
    sample: Sample,
    progress: &Progress,
) -> Result<()> {
    let begun = Instant::now();
    let commit = developer.work_tree().head()?;
    developer.build(stand, progress).await?;
    for environment in ENVIRONMENTS {
        stand.deployed(("acme", sample.name(), environment), &commit, PATIENCE).await?;
        teller.told(&format!("{} runs in {environment}", sample.name()), begun);
    }
    Ok(())
}

/// From the end of a push to the Deployment that it changes: a change of the configuration only needs no build.
async fn latency(stand: &Stand, teller: &Teller, orders: &Developer) -> Result<()> {
    let generation = |found: &Value| found["metadata"]["generation"].as_i64();
    let read = || stand.kubectl.get(&["-n", "acme-dev", "deployment", "orders"]);
    let before = generation(&read().await?);
    let clone = orders.work_tree();
    clone.checkout("dev")?;
    let file = "config/orders.properties";
    clone.write(file, clone.read(file)? + "# looked at again\n")?;
    let commit = clone.commit("chore: another configuration")?;
    clone.push("dev")?;
    let pushed = Instant::now();
    until("the changed Deployment", PATIENCE, || async {
        let now = read().await.map(|found| generation(&found)).map_err(|error| format!("{error:#}"))?;
        if now == before { Err("unchanged".to_owned()) } else { Ok(()) }
    })
    .await?;
    teller.told("git push → changed Deployment, with an interval of 1 s", pushed);
    stand.deployed(("acme", "orders", "dev"), &commit, PATIENCE).await.map(drop)
}

/// Requests to orders in one environment, a new connection each, while it changes.
struct Load {
    address: SocketAddr,
    trickle: Trickle,
}

impl Load {
    async fn on(stand: &Stand, environment: &str) -> Result<Self> {
        let address = stand.service_address("acme", environment, "orders").await?;
        println!("             {environment} before: {}", one_line(&get(address, "/orders").await?.body));
        Ok(Self {
            address,
            trickle: Trickle::start(Caller::new(address)?, "/orders", Duration::from_millis(50)),
        })
    }

    /// Ends it, and tells each request that failed.
    async fn end(self, teller: &Teller) -> Result<()> {
        // Requests that come after the change count too.
        tokio::time::sleep(Duration::from_secs(2)).await;
        println!("             after: {}", one_line(&get(self.address, "/orders").await?.body));
        let TrickleReport { sent, failures, bodies, last_failure: _ } = self.trickle.finish().await?;
        println!("             {sent} requests, each on a new connection, {} failed", failures.len());
        for (body, times) in &bodies {
            println!("             {times:>4} × {}", one_line(body));
        }
        for failure in &failures {
            println!("             FAILED at {failure}");
        }
        teller.failed_requests.fetch_add(failures.len(), Ordering::Relaxed);
        ensure!(bodies.len() > 1, "the trickle saw only one version");
        Ok(())
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What runs where.
async fn table(stand: &Stand) -> Result<()> {
    println!(
        "\n{:<8} {:<10} {:<12} {:<10} {:<21} {:<6}",
        "TENANT", "SERVICE", "ENVIRONMENT", "COMMIT", "IMAGE", "READY"
    );
    for service in ["inventory", "orders"] {
        for environment in ENVIRONMENTS {
            let board = stand.board("acme", service, environment).await?;
            let text = |key: &str, length: usize| {
                board[key].as_str().map_or("-".to_owned(), |t| t.chars().take(length).collect())
            };
            println!(
                "{:<8} {service:<10} {environment:<12} {:<10} {:<21} {}/{}",
                "acme",
                text("commit", 8),
                text("digest", 19),
                board["ready"],
                board["desired"]
            );
        }
    }
    Ok(())
}
