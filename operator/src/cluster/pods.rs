#![expect(clippy::disallowed_types, reason = "IO: lists pods, their sets and their events")]
//! Pods, what makes them and what is told of them are neither ours nor watched: they are asked for while those of a service
//! are not ready.

use std::{collections::BTreeMap, fmt::Debug};

use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        apps::v1::ReplicaSet,
        core::v1::{Event, Pod},
    },
};
use kube::{Api, Resource, api::ListParams};
use serde::de::DeserializeOwned;

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
        self.some(namespace, ListParams::default().labels(&selector(labels))).await
    }

    /// The `ReplicaSets` with these labels: a Deployment keeps few of them.
    pub async fn replica_sets(
        &self,
        namespace: &str,
        labels: &BTreeMap<String, String>,
    ) -> Result<Vec<ReplicaSet>, ApplyError> {
        self.some(namespace, ListParams::default().labels(&selector(labels))).await
    }

    /// What is told with this reason of the pod of this name.
    pub async fn events_of(
        &self,
        namespace: &str,
        (pod, reason): (&str, &str),
    ) -> Result<Vec<Event>, ApplyError> {
        let fields = format!("involvedObject.kind=Pod,involvedObject.name={pod},reason={reason}");
        self.some(namespace, ListParams::default().fields(&fields)).await
    }

    /// The first so many.
    async fn some<K>(&self, namespace: &str, params: ListParams) -> Result<Vec<K>, ApplyError>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
    {
        let list = Api::<K>::namespaced(self.client(), namespace).list(&params.limit(MOST)).await;
        let list = list.map_err(|source| ApplyError::Request {
            verb: "list",
            object: ObjectKey::named::<K>(Some(namespace), "").to_string(),
            source: Box::new(source),
        })?;
        Ok(list.items)
    }
}

fn selector(labels: &BTreeMap<String, String>) -> String {
    let selector: Vec<_> = labels.iter().map(|(label, value)| format!("{label}={value}")).collect();
    selector.join(",")
}
