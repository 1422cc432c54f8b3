//! Every instance of a service that there is: where it runs, of which image, since when, and whether it answers. Pure but for
//! [`run`].

use anyhow::Result;
use imaas_operator::{
    api::{IntegrationService, IntegrationServiceStatus},
    names::{SERVICE, TENANT, tenant_of_home},
};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;

use super::{args, board, home::Home};
use crate::{Outcome, cluster, output};

/// Set on pods by Kubernetes where it knows their zone (1.35, KEP-4742).
const ZONE: &str = "topology.kubernetes.io/zone";
/// Hexadecimal digits that name an image well enough.
const SHORT: usize = 12;

/// IO: reads and tells.
pub fn run(options: &args::Instances) -> Result<Outcome> {
    let (service, pods) = cluster::block_on(async {
        let home = Home::open(&options.home).await?;
        let service: IntegrationService = home.service(&options.service).await?;
        let mut pods = Vec::new();
        for environment in environments(&service, options.environment.as_deref())? {
            let tenant = tenant_of_home(&home.namespace).unwrap_or_default();
            let labels = format!("{TENANT}={tenant},{SERVICE}={}", options.service);
            pods.extend(
                home.pods_in(&environment, &labels).await?.into_iter().map(|pod| (environment.clone(), pod)),
            );
        }
        Ok((service, pods))
    })?;
    output::print(&told(&service.status.unwrap_or_default(), &pods))?;
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

/// A table, in the order of the environments.
fn told(board: &IntegrationServiceStatus, pods: &[(String, Pod)]) -> String {
    if pods.is_empty() {
        return "no instance runs\n".to_owned();
    }
    let rows: Vec<_> = pods.iter().map(|(environment, pod)| row(board, environment, pod)).collect();
    output::table(["ENV", "INSTANCE", "VERSION", "NODE", "ZONE", "HEALTHY", "SINCE", "RESTARTS"], &rows)
}

fn row(board: &IntegrationServiceStatus, environment: &str, pod: &Pod) -> [String; 8] {
    let state = board.environments.iter().find(|state| state.name == environment);
    let current = state.and_then(|state| state.digest.clone().zip(state.current.clone()));
    let spec = pod.spec.as_ref();
    let image = spec.and_then(|spec| spec.containers.first()?.image.as_deref());
    let digest = image.and_then(|image| image.rsplit_once('@')).map(|(_, digest)| digest);
    let version = match (digest, current) {
        (Some(digest), Some((live, release))) if digest == live => release,
        (Some(digest), _) => digest.trim_start_matches("sha256:").chars().take(SHORT).collect(),
        (None, _) => "-".to_owned(),
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
        (false, false) => format!("no ({})", phase.to_lowercase()),
    };
    let since = status.and_then(|status| status.start_time.as_ref()).map(|time| time.0.to_string());
    let containers = status.iter().flat_map(|status| status.container_statuses.iter().flatten());
    let restarts: i32 = containers.map(|container| container.restart_count).sum();
    let dash = || "-".to_owned();
    [
        environment.to_owned(),
        pod.name_any(),
        version,
        spec.and_then(|spec| spec.node_name.clone()).unwrap_or_else(dash),
        pod.labels().get(ZONE).cloned().unwrap_or_else(dash),
        healthy,
        since.unwrap_or_else(dash),
        restarts.to_string(),
    ]
}

#[cfg(test)]
mod tests {
    use imaas_operator::api::integration_service::EnvironmentState;

    use super::*;

    fn pod(name: &str, digest: &str, more: &str) -> (String, Pod) {
        let pod = serde_saphyr::from_str(&format!(
            "
            metadata: {{name: {name}, labels: {{topology.kubernetes.io/zone: a}}}}
            spec: {{nodeName: node-1, containers: [{{name: orders, image: 'registry/acme/orders@sha256:{digest}'}}]}}
            status: {more}
            "
        ));
        ("prod".to_owned(), pod.unwrap())
    }

    #[test]
    fn each_instance_is_told_with_where_it_is_and_which_release_it_is() {
        let live = "4f2a".repeat(16);
        let state = EnvironmentState {
            name: "prod".to_owned(),
            current: Some("orders-prod-a".to_owned()),
            digest: Some(format!("sha256:{live}")),
            ..EnvironmentState::default()
        };
        let board = IntegrationServiceStatus { environments: vec![state], ..Default::default() };
        let ready = "{phase: Running, startTime: '2026-01-01T10:00:00Z', conditions: [{type: Ready, status: 'True'}]}";
        let crashed = "{phase: Running, containerStatuses: [{name: orders, image: i, imageID: '', ready: false, restartCount: 3}]}";
        let mut pods = vec![pod("orders-1", &live, ready), pod("orders-2", &"5b3c".repeat(16), crashed)];
        pods[1].1.metadata.labels = None;
        assert_eq!(
            told(&board, &pods),
            "ENV   INSTANCE  VERSION        NODE    ZONE  HEALTHY       SINCE                 RESTARTS
prod  orders-1  orders-prod-a  node-1  a     yes           2026-01-01T10:00:00Z  0
prod  orders-2  5b3c5b3c5b3c   node-1  -     no (running)  -                     3
"
        );
        assert_eq!(told(&board, &[]), "no instance runs\n");
    }
}
