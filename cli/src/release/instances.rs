//! Every instance of a service that there is: where it runs, of which image, since when, and whether it answers. Pure but for
//! [`run`].

use std::collections::BTreeMap;

use anyhow::Result;
use imaas_operator::{
    api::IntegrationService,
    names::{RELEASE, SERVICE, TENANT, ZONE, tenant_of_home},
};
use k8s_openapi::api::{apps::v1::ReplicaSet, batch::v1::Job, core::v1::Pod};
use kube::ResourceExt;

use super::{args, board, home::Home};
use crate::{Outcome, cluster, output};

/// Hexadecimal digits that name an image well enough.
const SHORT: usize = 12;

/// One instance.
struct Instance {
    environment: String,
    pod: Pod,
    /// What it is of, where that is known.
    release: Option<String>,
}

/// IO: reads and tells.
pub fn run(options: &args::Instances) -> Result<Outcome> {
    let instances = cluster::block_on(async {
        let home = Home::open(&options.home).await?;
        let service: IntegrationService = home.service(&options.service).await?;
        let mut instances = Vec::new();
        for environment in environments(&service, options.environment.as_deref())? {
            let tenant = tenant_of_home(&home.namespace).unwrap_or_default();
            let labels = format!("{TENANT}={tenant},{SERVICE}={}", options.service);
            let mut releases = releases(&home.all_in::<ReplicaSet>(&environment, &labels).await?);
            releases.extend(self::releases(&home.all_in::<Job>(&environment, &labels).await?));
            for pod in home.all_in::<Pod>(&environment, &labels).await? {
                let release = release(&pod, &releases);
                instances.push(Instance { environment: environment.clone(), pod, release });
            }
        }
        Ok(instances)
    })?;
    output::print(&told(&instances))?;
    Ok(Outcome::Fine)
}

/// Those of its board, or the one that is asked for.
fn environments(service: &IntegrationService, only: Option<&str>) -> Result<Vec<String>> {
    let board = service.status.clone().unwrap_or_default();
    Ok(match only {
        Some(only) => vec![board::state((&service.name_any(), &board), only)?.name.clone()],
        None => board.environments.into_iter().map(|state| state.name).collect(),
    })
}

/// By the uids of what makes pods: Kubernetes gives a `ReplicaSet` the annotations of the Deployment at its time, and a Job
/// those that the `CronJob` said then.
fn releases<K: ResourceExt>(owners: &[K]) -> BTreeMap<String, String> {
    owners.iter().filter_map(|owner| owner.uid().zip(owner.annotations().get(RELEASE).cloned())).collect()
}

/// What `pod` is of, as its owner says.
fn release(pod: &Pod, releases: &BTreeMap<String, String>) -> Option<String> {
    pod.owner_references().iter().find_map(|owner| releases.get(&owner.uid).cloned())
}

/// A table, in the order of the environments.
fn told(instances: &[Instance]) -> String {
    if instances.is_empty() {
        return "no instance runs\n".to_owned();
    }
    let rows: Vec<_> = instances.iter().map(row).collect();
    output::table(["ENV", "INSTANCE", "VERSION", "NODE", "ZONE", "HEALTHY", "SINCE", "RESTARTS"], &rows)
}

fn row(Instance { environment, pod, release }: &Instance) -> [String; 8] {
    let spec = pod.spec.as_ref();
    let image = || {
        let image = spec?.containers.first()?.image.as_deref()?;
        let (_, digest) = image.rsplit_once('@')?;
        Some(digest.trim_start_matches("sha256:").chars().take(SHORT).collect())
    };
    let status = pod.status.as_ref();
    let is_ready = status
        .iter()
        .flat_map(|status| status.conditions.iter().flatten())
        .any(|condition| condition.type_ == "Ready" && condition.status == "True");
    let phase = status.and_then(|status| status.phase.clone()).unwrap_or_default();
    let healthy = match (pod.metadata.deletion_timestamp.is_some(), is_ready) {
        (true, _) => "ends".to_owned(),
        (false, true) => "yes".to_owned(),
        (false, false) if phase == "Succeeded" => "done".to_owned(),
        (false, false) => format!("no ({})", phase.to_lowercase()),
    };
    let since = status.and_then(|status| status.start_time.as_ref()).map(|time| time.0.to_string());
    let containers = status.iter().flat_map(|status| status.container_statuses.iter().flatten());
    let restarts: i32 = containers.map(|container| container.restart_count).sum();
    let dash = || "-".to_owned();
    [
        environment.clone(),
        pod.name_any(),
        release.clone().or_else(image).unwrap_or_else(dash),
        spec.and_then(|spec| spec.node_name.clone()).unwrap_or_else(dash),
        pod.labels().get(ZONE).cloned().unwrap_or_else(dash),
        healthy,
        since.unwrap_or_else(dash),
        restarts.to_string(),
    ]
}

#[cfg(test)]
mod tests {
    use serde::de::DeserializeOwned;
    use serde_json::json;

    use super::*;

    fn pod(name: &str, owner: &str, more: &str) -> Pod {
        let digest = "5b3c".repeat(16);
        let pod = serde_saphyr::from_str(&format!(
            "
            metadata:
              name: {name}
              labels: {{topology.kubernetes.io/zone: a}}
              ownerReferences: [{{apiVersion: apps/v1, kind: ReplicaSet, name: {owner}, uid: uid-of-{owner}}}]
            spec: {{nodeName: node-1, containers: [{{name: orders, image: 'registry/acme/orders@sha256:{digest}'}}]}}
            status: {more}
            "
        ));
        pod.unwrap()
    }

    fn owner<K: DeserializeOwned>(name: &str, release: &str) -> K {
        let metadata =
            json!({ "name": name, "uid": format!("uid-of-{name}"), "annotations": { RELEASE: release } });
        serde_json::from_value(json!({ "metadata": metadata })).unwrap()
    }

    #[test]
    fn each_instance_is_told_with_where_it_is_and_which_release_it_is() {
        let ready = "{phase: Running, startTime: '2026-01-01T10:00:00Z', conditions: [{type: Ready, status: 'True'}]}";
        let crashed = "{phase: Running, containerStatuses: [{name: orders, image: i, imageID: '', ready: false, restartCount: 3}]}";
        let done = "{phase: Succeeded, conditions: [{type: Ready, status: 'False'}]}";
        // Of one image, with other settings; one that nobody knows any more; and a run from before it was an api.
        let mut known =
            releases::<ReplicaSet>(&[owner("old", "orders-prod-a"), owner("new", "orders-prod-b")]);
        known.extend(releases::<Job>(&[owner("run", "orders-prod-0")]));
        let mut pods = [
            pod("orders-1", "old", ready),
            pod("orders-2", "new", crashed),
            pod("orders-3", "gone", ready),
            pod("orders-4", "run", done),
        ];
        pods[1].metadata.labels = None;
        let instances = pods.map(|pod| {
            let release = release(&pod, &known);
            Instance { environment: "prod".to_owned(), pod, release }
        });
        assert_eq!(
            told(&instances),
            "ENV   INSTANCE  VERSION        NODE    ZONE  HEALTHY       SINCE                 RESTARTS
prod  orders-1  orders-prod-a  node-1  a     yes           2026-01-01T10:00:00Z  0
prod  orders-2  orders-prod-b  node-1  -     no (running)  -                     3
prod  orders-3  5b3c5b3c5b3c   node-1  a     yes           2026-01-01T10:00:00Z  0
prod  orders-4  orders-prod-0  node-1  a     done          -                     0
"
        );
        assert_eq!(told(&[]), "no instance runs\n");
    }
}
