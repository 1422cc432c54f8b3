//! The chart's own registry, in a pod: the Job of its `CronJob` frees what deleted images took.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, time::Instant};

use anyhow::{Context, Result, ensure};
use base64::{Engine, engine::general_purpose::STANDARD};
use flows::until;
use imaas_operator::{
    lease::Mandate,
    registry::{
        accounts::AccountKey,
        client::{RegistryClient, RegistryEndpoint},
        generations::{Generations, Issued},
    },
};
use lab::image::{self, Image, Pusher, Tree};
use serde_json::{Value, json};

use crate::{Flow, PATIENCE};

const NAMESPACE: [&str; 2] = ["-n", "imaas-system"];
const IMAGE: &str = "registry.example.com/platform/distribution:3";
const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../charts/imaas-operator");
/// Bytes of what each image has alone.
const NOISE: usize = 8 << 20;

/// Promise: the Job frees the bytes of a deleted image; the live one is pulled as before, and pushes are accepted again.
pub async fn frees_bytes(flow: &Flow) -> Result<String> {
    let storage = flow.stand.scratch().join("bundled");
    let address = install(flow, &storage).await?;
    let push = flow.stand.registry_account("acme", "imaas-registry-push", "home").await?;
    let progress = flow.progress.clone();
    let account = (address.clone(), push.clone());
    let doomed = blocking(move || {
        let pusher = Pusher::new(&account.0, Some((&account.1.0, &account.1.1)), &progress)?;
        pusher.push(&noise(1)?, "acme/collected", "live")?;
        pusher.push(&noise(2)?, "acme/collected", "old")
    })
    .await?;
    let digest = doomed.parse().context("no digest")?;
    ensure!(operator(flow, &address).await?.delete("acme/collected", &digest).await?, "there is no {doomed}");
    let before = bytes(&storage)?;

    let begun = Instant::now();
    let kubectl = &flow.stand.kubectl;
    let job = ["create", "job", "collect-now", "--from=cronjob/imaas-registry-collect"];
    kubectl.run(&[&NAMESPACE, &job[..]].concat(), None).await?;
    until("the end of the collection", PATIENCE, || async {
        let job = flow.seen(&[&NAMESPACE[..], &["job", "collect-now"]].concat()).await?;
        if job["status"]["succeeded"] == 1 { Ok(()) } else { Err(job["status"].to_string()) }
    })
    .await?;
    let took = begun.elapsed().as_secs_f64();
    let freed = before.saturating_sub(bytes(&storage)?);
    ensure!(freed > NOISE as u64, "only {freed} bytes were freed of {before}");
    ensure!(freed < 2 * NOISE as u64, "{freed} bytes were freed, which is more than one image has");

    // Where the token service heard of the window, it hears of its end as late.
    until("a push", PATIENCE, || async {
        let (account, progress) = ((address.clone(), push.clone()), flow.progress.clone());
        let pushed = blocking(move || {
            let pusher = Pusher::new(&account.0, Some((&account.1.0, &account.1.1)), &progress)?;
            let pulled = tempfile::tempdir()?;
            pusher.unpack("acme/collected", "live", pulled.path())?;
            ensure!(fs::read(pulled.path().join("noise"))? == content(1), "the live image is another");
            pusher.push(&noise(3)?, "acme/collected", "new")
        });
        pushed.await.map_err(|error| format!("{error:#}"))
    })
    .await?;
    Ok(format!("{} MiB freed in {took:.1} s", freed >> 20))
}

/// Adds the registry to the installation, on a volume in `storage`; returns its address.
async fn install(flow: &Flow, storage: &Path) -> Result<String> {
    fs::create_dir(storage).context("a directory for the volume")?;
    fs::set_permissions(storage, fs::Permissions::from_mode(0o777)).context("open it to the pod's user")?;
    let (archive, progress) = (flow.stand.scratch().join("distribution.tar"), flow.progress.clone());
    let packed = archive.clone();
    blocking(move || image::registry_image(&progress)?.archive(IMAGE, &packed)).await?;
    flow.stand.lab.node().context("no node")?.import_image(&archive)?;
    let volume = json!({
        "apiVersion": "v1", "kind": "PersistentVolume", "metadata": { "name": "bundled" },
        "spec": {
            "capacity": { "storage": "1Gi" }, "accessModes": ["ReadWriteOnce"], "hostPath": { "path": storage },
        },
    });
    let kubectl = &flow.stand.kubectl;
    kubectl.apply(&volume.to_string()).await?;
    let helm = flow.stand.lab.helm(&flow.progress).await?;
    let image = format!("registry.bundled.image={IMAGE}");
    let set =
        ["--set", "registry.bundled.enabled=true,registry.bundled.storage=1Gi", "--set", image.as_str()];
    let upgrade = ["upgrade", "imaas", CHART, "--namespace", "imaas-system", "--reuse-values"];
    helm.run(&[&upgrade[..], &set, &["--wait", "--timeout", "180s"]].concat()).await?;
    let service = kubectl.get(&[&NAMESPACE[..], &["service", "imaas-registry"]].concat()).await?;
    Ok(format!("{}:80", service["spec"]["clusterIP"].as_str().context("no clusterIP")?))
}

/// The registry's client as the operator has it.
async fn operator(flow: &Flow, address: &str) -> Result<RegistryClient> {
    let keys = flow.stand.kubectl.get(&[&NAMESPACE[..], &["secret", "registry-keys"]].concat()).await?;
    let key = STANDARD.decode(keys["data"]["accounts.key"].as_str().context("no accounts.key")?)?;
    let operator =
        flow.stand.kubectl.get(&[&NAMESPACE[..], &["deployment", "imaas-operator"]].concat()).await?;
    let env = &operator["spec"]["template"]["spec"]["containers"][0]["env"];
    let is_realm = |one: &&Value| one["name"] == "IMAAS_REGISTRY_REALM";
    let realm = env.as_array().into_iter().flatten().find(is_realm).context("no realm")?;
    let endpoint = RegistryEndpoint {
        url: format!("http://{address}").parse()?,
        realm: realm["value"].as_str().unwrap_or_default().parse()?,
        ca: None,
        development: true,
    };
    let issued = Issued { key: AccountKey::new(key)?, generations: Generations::default() };
    Ok(RegistryClient::new(endpoint, issued, Mandate::unlimited())?)
}

/// Bytes that nothing packs and no other seed has.
fn content(seed: u64) -> Vec<u8> {
    let mut state = seed;
    let next = || {
        // xorshift64
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    std::iter::repeat_with(next).take(NOISE / 8).flatten().collect()
}

fn noise(seed: u64) -> Result<Image> {
    Ok(Image { layers: vec![Tree::default().text("/noise", content(seed)).layer()?], ..Image::default() })
}

/// Of all blobs that the registry stores.
fn bytes(storage: &Path) -> Result<u64> {
    let mut open = vec![storage.join("docker/registry/v2/blobs")];
    let mut sum = 0;
    while let Some(path) = open.pop() {
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            let kind = entry.metadata()?;
            if kind.is_dir() { open.push(entry.path()) } else { sum += kind.len() }
        }
    }
    Ok(sum)
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.context("the work died")?
}
