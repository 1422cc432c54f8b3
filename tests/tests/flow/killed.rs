//! The operator dies without warning, again and again, while there is work.

use std::{
    collections::BTreeMap,
    fs,
    process::Command,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use flows::{Developer, Sample, until};
use serde_json::Value;

use crate::{Flow, PATIENCE, log::OperatorLog, objects, onboarding, steady, tenant_file};

/// Longer: what is interrupted all the time takes its time.
const STUBBORN: Duration = Duration::from_mins(5);
/// Every fourth death comes so many milliseconds after the process began, most of them while it still reads the
/// cluster. The others come right after one of its writes.
const AGES: [u64; 5] = [150, 900, 400, 2500, 1500];
/// Which of its writes since it began; by turns.
const WRITES: [usize; 7] = [1, 2, 5, 1, 3, 8, 2];
/// Deaths in each part of the story.
const DEATHS: usize = 4;
/// A process that does not write so much for so long dies too.
const IDLE: Duration = Duration::from_secs(6);

/// Promise: wherever it dies, the end is what an undisturbed operator makes, and nothing is made twice.
pub async fn at_any_moment(flow: &Flow) -> Result<String> {
    let stand = &flow.stand;
    reference(flow).await?;
    let before = others(&steady::settled(flow).await?);
    let watch = Watch::start(flow);
    let doom = Doom::default();
    let killer = killer(flow, &doom);
    let story = async {
        let told = story(flow, &doom, &watch).await;
        doom.is_over.store(true, Ordering::Relaxed);
        told
    };
    let (deaths, told) = futures::join!(killer, story);
    let (digest, deaths) = (told?, deaths?);
    watch.finish().await?;
    let after = steady::settled(flow).await?;
    let board = stand.board("umbrella", "inventory", "dev").await?;
    ensure!(board["digest"] == digest.as_str(), "dev runs the new image: {board}");
    let kubectl = &stand.kubectl;
    let (undisturbed, disturbed) =
        (objects::space(kubectl, "globex").await?, objects::space(kubectl, "umbrella").await?);
    objects::same(&undisturbed, &disturbed)?;
    for (environment, expected) in [("dev", 2), ("test", 1), ("prod", 1)] {
        let namespace = format!("umbrella-{environment}");
        let sets = kubectl.get(&["-n", &namespace, "replicasets.apps"]).await?;
        let count = sets["items"].as_array().map_or(0, Vec::len);
        ensure!(count == expected, "{namespace} has {count} ReplicaSets and not {expected}");
    }
    let moved = objects::differences(&before, &others(&after));
    ensure!(moved.is_empty(), "other tenants are not concerned: {moved:#?}");
    ensure!(deaths.len() >= 2 * DEATHS, "it died only {} times", deaths.len());
    Ok(format!(
        "{} deaths, {} objects as in the reference; it died after: {}",
        deaths.len(),
        disturbed.len(),
        deaths.join(", ")
    ))
}

/// globex, undisturbed: version 1 everywhere, then version 2 in dev.
async fn reference(flow: &Flow) -> Result<()> {
    if flow.seen(&["tenant", "globex"]).await.is_err() {
        onboarding::by_hand(flow).await?;
    }
    second_version(flow, "globex").await.map(drop)
}

/// In dev, from a new clone.
async fn second_version(flow: &Flow, tenant: &str) -> Result<String> {
    let old = flow.stand.scratch().join(format!("{tenant}-inventory"));
    fs::remove_dir_all(&old).context("the clone of the onboarding")?;
    let developer = Developer::new(&flow.stand, tenant, Sample::Inventory)?;
    let commit = developer.release_version("dev", "2")?;
    let digest = developer.build(&flow.stand, &flow.progress).await?;
    flow.stand.deployed((tenant, "inventory", "dev"), &commit, STUBBORN).await?;
    Ok(digest)
}

/// What umbrella's people do meanwhile.
async fn story(flow: &Flow, doom: &Doom, watch: &Watch) -> Result<String> {
    let stand = &flow.stand;
    doom.more();
    flow.commit_tenant("umbrella", &tenant_file("umbrella"))?;
    until("the namespace umbrella-home", STUBBORN, || flow.seen(&["namespace", "umbrella-home"])).await?;
    stand.create_git_secret("umbrella-home", "inventory-git", "umbrella").await?;
    let secret = ["-n", "umbrella-home", "secret", "imaas-registry-push"];
    until("the push account", STUBBORN, || flow.seen(&secret)).await?;
    let developer = Developer::new(stand, "umbrella", Sample::Inventory)?;
    doom.more();
    developer.build(stand, &flow.progress).await?;
    let commit = developer.work_tree().head()?;
    for environment in crate::ENVIRONMENTS {
        stand.deployed(("umbrella", "inventory", environment), &commit, STUBBORN).await?;
        watch.check()?;
        doom.more();
    }
    second_version(flow, "umbrella").await
}

/// What must not move meanwhile: everything of the tenants that nothing happens to. Their source tells of its commits,
/// by status and event.
fn others(all: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let is_sources =
        |name: &str| name.starts_with("TenantSource ") || name.starts_with("Event default/tenants.");
    let is_other = |name: &str| !name.contains("umbrella") && !is_sources(name);
    all.iter()
        .filter(|(name, _)| is_other(name))
        .map(|(name, version)| (name.clone(), version.clone()))
        .collect()
}

/// How often the operator is to die.
#[derive(Default)]
struct Doom {
    deaths: AtomicUsize,
    is_over: AtomicBool,
}

impl Doom {
    /// The next part of the story begins.
    fn more(&self) {
        self.deaths.fetch_add(DEATHS, Ordering::Relaxed);
    }
}

/// Kills the operator until told to stop: by turns at an age, and right after one of its writes. Returns what it did last.
async fn killer(flow: &Flow, doom: &Doom) -> Result<Vec<String>> {
    let mut deaths = Vec::new();
    while !doom.is_over.load(Ordering::Relaxed) {
        if deaths.len() >= doom.deaths.load(Ordering::Relaxed) {
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        }
        let process = until("the operator's process", PATIENCE, || async {
            process(flow).await.ok_or("none".to_owned())
        })
        .await?;
        let (begun, from) = (Instant::now(), flow.log.len());
        let turn = deaths.len();
        if turn % 4 == 0 {
            tokio::time::sleep(Duration::from_millis(AGES[turn / 4 % AGES.len()])).await;
        } else {
            let count = WRITES[turn % WRITES.len()];
            while writes(&flow.log, from).len() < count && begun.elapsed() < IDLE {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
        if doom.is_over.load(Ordering::Relaxed) {
            break;
        }
        let status = Command::new("kill").args(["-9", &process.to_string()]).status().context("run kill")?;
        if status.success() {
            let last = writes(&flow.log, from).pop().unwrap_or_else(|| "nothing".to_owned());
            deaths.push(format!("{last} ({:.1} s)", begun.elapsed().as_secs_f64()));
        }
        until("the end of that process", PATIENCE, || async {
            if process_is_operator(process) { Err("alive".to_owned()) } else { Ok(()) }
        })
        .await?;
    }
    Ok(deaths)
}

/// The objects that were written since, in order.
fn writes(log: &OperatorLog, from: usize) -> Vec<String> {
    let is_write = |line: &str| {
        [" created ", " changed ", " healthy ", " decision answered "].iter().any(|word| line.contains(word))
    };
    let object = |line: String| {
        let told = [" object=", " release=", " decision="].iter().find_map(|field| line.split(field).nth(1));
        let told = told.unwrap_or_default();
        told.split([' ', '/']).take(2).collect::<Vec<_>>().join(" ")
    };
    log.since(from, is_write).into_iter().map(object).collect()
}

/// The process of the operator's pod in this lab, and no other of that name on the machine.
async fn process(flow: &Flow) -> Option<u32> {
    let pods = ["-n", "imaas-system", "pods", "-l", "app.kubernetes.io/name=imaas-operator"];
    let list = flow.seen(&pods).await.ok()?;
    let uid = list["items"][0]["metadata"]["uid"].as_str()?.to_owned();
    fs::read_dir("/proc")
        .ok()?
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .find(|id| {
            let groups = fs::read_to_string(format!("/proc/{id}/cgroup")).unwrap_or_default();
            groups.contains(&uid) && process_is_operator(*id)
        })
}

fn process_is_operator(id: u32) -> bool {
    let line = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
    let line = String::from_utf8_lossy(&line).into_owned();
    line.split('\0').next().is_some_and(|program| program.ends_with("imaas-operator"))
        && line.contains("\0run\0")
}

/// Looks all the time at what umbrella has: an object never becomes another of the same name.
struct Watch {
    broken: Arc<Mutex<Vec<String>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Watch {
    fn start(flow: &Flow) -> Self {
        let broken = Arc::new(Mutex::new(Vec::new()));
        let (into, kubectl) = (broken.clone(), flow.stand.kubectl.clone());
        let task = tokio::spawn(async move {
            let mut known: BTreeMap<String, String> = BTreeMap::new();
            loop {
                let kinds = format!("{},namespaces,tenants.imaas.dev", objects::CHILDREN);
                let list: Value = kubectl.get(&[&kinds, "-A"]).await.unwrap_or_default();
                for object in list["items"].as_array().into_iter().flatten() {
                    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                    let metadata = &object["metadata"];
                    let name = format!(
                        "{} {}/{}",
                        object["kind"],
                        text(&metadata["namespace"]),
                        text(&metadata["name"])
                    );
                    let uid = text(&metadata["uid"]);
                    let old = known.entry(name.clone()).or_insert_with(|| uid.clone());
                    if *old != uid && name.contains("umbrella") {
                        let mut broken = into.lock().unwrap_or_else(PoisonError::into_inner);
                        broken.push(format!("{name} was made twice: {old}, {uid}"));
                    }
                }
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        });
        Self { broken, task }
    }

    fn check(&self) -> Result<()> {
        let broken = self.broken.lock().unwrap_or_else(PoisonError::into_inner);
        ensure!(broken.is_empty(), "{broken:?}");
        Ok(())
    }

    async fn finish(self) -> Result<()> {
        self.task.abort();
        let _ = (&mut { self.task }).await;
        let broken = self.broken.lock().unwrap_or_else(PoisonError::into_inner);
        ensure!(broken.is_empty(), "{broken:?}");
        Ok(())
    }
}
