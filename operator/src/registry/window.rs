#![expect(clippy::disallowed_types, reason = "IO: changes the registry's Deployment")]
//! IO: makes the registry read-only while its garbage is collected, and writable again. Each step may be repeated: what a
//! crash left behind is undone by the next run.

use std::time::Duration;

use k8s_openapi::api::{apps::v1::Deployment, core::v1::ConfigMap};
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};

use crate::names::{OVER_QUOTA, READ_ONLY_FILE};

/// Who owns what is set here, and nothing else: to set it no more takes it away.
const MANAGER: &str = "imaas-registry-window";
/// Distribution's `storage.maintenance.readonly`.
const VARIABLE: &str = "REGISTRY_STORAGE_MAINTENANCE_READONLY";
/// Between two looks at the Deployment.
const PAUSE: Duration = Duration::from_secs(1);

/// Which Deployment is the registry.
#[derive(Clone, Debug)]
pub struct Window {
    /// Of the Deployment, and of the ConfigMap that the token service reads.
    pub namespace: String,
    /// Its name.
    pub deployment: String,
    /// Name of its container.
    pub container: String,
    /// How long all of its pods may take to be replaced.
    pub deadline: Duration,
}

/// Why the registry is not as it was to be.
#[derive(Debug, thiserror::Error)]
pub enum WindowError {
    /// The API server refused or failed.
    #[error("{0}")]
    Kube(&'static str, #[source] kube::Error),
    /// The pods were not replaced in time.
    #[error("Deployment {0} has not replaced its pods after {1:?}")]
    Late(String, Duration),
}

impl Window {
    /// Read-only: pulls go on, pushes are refused. Where that does not succeed, it is writable again.
    pub async fn open(&self, client: &Client) -> Result<(), WindowError> {
        let outcome = self.set(client, true).await;
        if outcome.is_err() {
            self.set(client, false).await?;
        }
        outcome
    }

    /// Writable.
    pub async fn close(&self, client: &Client) -> Result<(), WindowError> {
        self.set(client, false).await
    }

    async fn set(&self, client: &Client, is_read_only: bool) -> Result<(), WindowError> {
        let params = PatchParams::apply(MANAGER).force();
        let notice = if is_read_only { json!({ READ_ONLY_FILE: "true" }) } else { json!({}) };
        let notice = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": OVER_QUOTA }, "data": notice,
        });
        let maps = Api::<ConfigMap>::namespaced(client.clone(), &self.namespace);
        let told = maps.patch(OVER_QUOTA, &params, &Patch::Apply(notice)).await;
        told.map_err(|error| WindowError::Kube("the token service could not be told", error))?;

        let mut container = json!({ "name": self.container });
        if is_read_only {
            container["env"] = json!([{ "name": VARIABLE, "value": "{\"enabled\": true}" }]);
        }
        let patch: Value = json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": self.deployment },
            "spec": { "template": { "spec": { "containers": [container] } } },
        });
        let deployments = Api::<Deployment>::namespaced(client.clone(), &self.namespace);
        let changed = deployments.patch(&self.deployment, &params, &Patch::Apply(patch)).await;
        changed
            .map_err(|error| WindowError::Kube("the registry's Deployment could not be changed", error))?;
        self.rolled_out(&deployments).await?;
        tracing::info!(deployment = self.deployment, is_read_only, "the registry is set");
        Ok(())
    }

    async fn rolled_out(&self, deployments: &Api<Deployment>) -> Result<(), WindowError> {
        let waited = async {
            loop {
                let live = deployments.get(&self.deployment).await;
                let live = live.map_err(|error| {
                    WindowError::Kube("the registry's Deployment could not be read", error)
                })?;
                if is_rolled_out(&live) {
                    return Ok(());
                }
                tokio::time::sleep(PAUSE).await;
            }
        };
        let late = || WindowError::Late(self.deployment.clone(), self.deadline);
        tokio::time::timeout(self.deadline, waited).await.unwrap_or_else(|_| Err(late()))
    }
}

/// Are all of its pods of the newest template, and available?
fn is_rolled_out(deployment: &Deployment) -> bool {
    let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    let Some(status) = &deployment.status else { return false };
    let counts = [status.updated_replicas, status.replicas, status.available_replicas];
    status.observed_generation >= deployment.metadata.generation
        && counts.into_iter().all(|count| count.unwrap_or_default() == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_rolled_out_when_no_pod_of_another_template_is_left() {
        let deployment = |generation: i64, counts: [i32; 3]| -> Deployment {
            let [updated, all, available] = counts;
            serde_json::from_value(json!({
                "metadata": { "generation": 4 }, "spec": { "replicas": 1, "selector": {}, "template": {} },
                "status": { "observedGeneration": generation, "updatedReplicas": updated, "replicas": all, "availableReplicas": available },
            }))
            .unwrap()
        };
        assert!(is_rolled_out(&deployment(4, [1, 1, 1])));
        for (generation, counts) in
            [(3, [1, 1, 1]), (4, [0, 1, 1]), (4, [1, 2, 1]), (4, [1, 1, 0]), (4, [1, 2, 2])]
        {
            assert!(!is_rolled_out(&deployment(generation, counts)), "{generation} {counts:?}");
        }
    }
}
