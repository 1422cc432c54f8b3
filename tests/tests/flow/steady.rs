//! What is as declared stays untouched, and what is not is put right at once.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use flows::until;

use crate::{Flow, PATIENCE, objects, rights};

/// How soon something that was deleted is there again.
const REPAIR: Duration = Duration::from_secs(5);
/// So many looks at every repository are waited for before nothing is said to have moved.
const LOOKS: usize = 4;

/// Promise: what somebody deletes or edits of the operator's is as declared again within five seconds.
pub async fn repair(flow: &Flow) -> Result<String> {
    let kubectl = &flow.stand.kubectl;
    let mut slowest = (Duration::ZERO, "");
    let from = flow.log.len();
    let before = objects::space(kubectl, "acme").await?;
    for (kind, name, namespace) in [
        ("deployment", "inventory", "acme-dev"),
        ("service", "inventory", "acme-dev"),
        ("poddisruptionbudget", "inventory", "acme-dev"),
        ("networkpolicy", "", "acme-dev"),
        ("rolebinding", "", "acme-dev"),
        ("resourcequota", "imaas", "acme-dev"),
        ("limitrange", "imaas", "acme-dev"),
        ("resourcequota", "imaas", "acme-home"),
        ("rolebinding", "", "acme-home"),
        ("integrationservice", "inventory", "acme-home"),
    ] {
        let label = "app.kubernetes.io/managed-by=imaas-operator";
        let which = if name.is_empty() { vec![kind, "-l", label] } else { vec![kind, name] };
        let at = [&["-n", namespace], which.as_slice()].concat();
        let uids = uids(&kubectl.get(&at).await?);
        ensure!(!uids.is_empty(), "no {kind} in {namespace}");
        let deleted = Instant::now();
        kubectl.delete(&[at.as_slice(), &["--wait=false"]].concat(), PATIENCE).await?;
        until(&format!("{kind} {name} in {namespace} again"), REPAIR, || async {
            let now = self::uids(&flow.seen(&at).await?);
            let is_new =
                now.keys().eq(uids.keys()) && now.iter().all(|(name, uid)| uids.get(name) != Some(uid));
            if is_new { Ok(()) } else { Err(format!("{now:?}")) }
        })
        .await?;
        slowest = slowest.max((deleted.elapsed(), kind));
    }
    let edited = Instant::now();
    kubectl.run(&["-n", "acme-dev", "scale", "deployment", "inventory", "--replicas=3"], None).await?;
    until("one replica again", REPAIR, || async {
        let deployment = flow.seen(&["-n", "acme-dev", "deployment", "inventory"]).await?;
        if deployment["spec"]["replicas"] == 1 { Ok(()) } else { Err(deployment["spec"].to_string()) }
    })
    .await?;
    slowest = slowest.max((edited.elapsed(), "an edited Deployment"));
    let commit = flow.inventory.work_tree().git(&["rev-parse", "origin/dev"])?;
    flow.stand.deployed(("acme", "inventory", "dev"), &commit, PATIENCE).await?;
    objects::same(&before, &objects::space(kubectl, "acme").await?)?;
    // Its own rights were among what it lost.
    flow.log.forget(from, rights::is_refusal);
    Ok(format!("11 repairs, the slowest {} in {:.1} s", slowest.1, slowest.0.as_secs_f64()))
}

/// Name → uid of one object or a list of them.
fn uids(found: &serde_json::Value) -> BTreeMap<String, String> {
    let one = [found.clone()];
    let all = found["items"].as_array().map_or(&one[..], Vec::as_slice);
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    all.iter()
        .filter(|object| object["metadata"]["deletionTimestamp"].is_null())
        .map(|object| (text(&object["metadata"]["name"]), text(&object["metadata"]["uid"])))
        .collect()
}

/// Waits until every repository was looked at so often since now.
pub async fn looks(flow: &Flow) -> Result<()> {
    flow.stand.git.clear_requests();
    until("looks at every repository", PATIENCE, || async {
        let requests = flow.stand.git.requests();
        // A look at a repository that did not change is one request.
        let looks = |path: &str| requests.iter().filter(|one| one.path.starts_with(path)).count();
        let seen = (looks("/platform/tenants.git/"), looks("/acme/inventory.git/"));
        if seen.0 >= LOOKS && seen.1 >= LOOKS { Ok(()) } else { Err(format!("{seen:?}")) }
    })
    .await
}

/// Waits until no pod is on its way out and two looks in a row find everything as it was: what a case before began may
/// still end, and a quota counts it.
pub async fn settled(flow: &Flow) -> Result<BTreeMap<String, String>> {
    until("the end of all old pods", PATIENCE, || async {
        let pods = flow.seen(&["pods", "-A"]).await?;
        let mut leaving = pods["items"].as_array().into_iter().flatten().map(|pod| &pod["metadata"]);
        leaving
            .find(|pod| pod["deletionTimestamp"].is_string())
            .map_or(Ok(()), |pod| Err(pod["name"].to_string()))
    })
    .await?;
    let mut last = BTreeMap::new();
    for _ in 0..30 {
        let now = objects::all(&flow.stand.kubectl, "resourceVersion").await?;
        if now == last {
            return Ok(now);
        }
        last = now;
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    let now = objects::all(&flow.stand.kubectl, "resourceVersion").await?;
    anyhow::bail!("it never settles: {:?}", objects::differences(&last, &now))
}

/// Replaces the operator's pod by deleting it, and waits until the new one is ready.
async fn replace_pod(flow: &Flow) -> Result<Duration> {
    let kubectl = &flow.stand.kubectl;
    let begun = Instant::now();
    let pods = ["-n", "imaas-system", "pods", "-l", "app.kubernetes.io/name=imaas-operator"];
    let old = uids(&kubectl.get(&pods).await?);
    kubectl.delete(&pods, PATIENCE).await?;
    until("another pod of the operator", PATIENCE, || async {
        let list = flow.seen(&pods).await?;
        let new = uids(&list);
        let is_ready = list["items"][0]["status"]["containerStatuses"][0]["ready"] == true;
        let is_new = new.len() == 1 && new.keys().all(|name| !old.contains_key(name));
        if is_new && is_ready { Ok(()) } else { Err(list["items"][0]["status"].to_string()) }
    })
    .await?;
    Ok(begun.elapsed())
}

/// Promise: neither a second pass nor a restart moves the resourceVersion of anything, or tells an event.
pub async fn restart(flow: &Flow) -> Result<String> {
    let before = settled(flow).await?;
    looks(flow).await.context("a second pass")?;
    let after = objects::all(&flow.stand.kubectl, "resourceVersion").await?;
    let moved = objects::differences(&before, &after);
    ensure!(moved.is_empty(), "a second pass moved {moved:#?}");
    let took = replace_pod(flow).await?;
    looks(flow).await.context("after the restart")?;
    let after = objects::all(&flow.stand.kubectl, "resourceVersion").await?;
    let moved = objects::differences(&before, &after);
    ensure!(moved.is_empty(), "a restart moved {moved:#?}");
    let (count, seconds) = (before.len(), took.as_secs_f64());
    Ok(format!("{count} objects stay; the new pod was ready after {seconds:.1} s"))
}
