#![expect(clippy::disallowed_types, reason = "IO: lists pods")]
//! Pods are neither ours nor watched: they are asked for by label, while those of a service are not ready.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Pod;
use kube::{Api, api::ListParams};

use super::{ApplyError, Cluster, ObjectKey};

/// More than the most instances of a service, and a quarter more during a roll-out.
const MOST: u32 = 150;

impl Cluster {
    /// The pods with these labels, the first so many of them.
    pub async fn pods(
        &self,
        namespace: &str,
        labels: &BTreeMap<String, String>,
    ) -> Result<Vec<Pod>, ApplyError> {
        let selector: Vec<_> = labels.iter().map(|(label, value)| format!("{label}={value}")).collect();
        let params = ListParams::default().labels(&selector.join(",")).limit(MOST);
        let list = Api::<Pod>::namespaced(self.client(), namespace).list(&params).await;
        let list = list.map_err(|source| ApplyError::Request {
            verb: "list",
            object: ObjectKey::named::<Pod>(Some(namespace), "").to_string(),
            source: Box::new(source),
        })?;
        Ok(list.items)
    }
}
