#![expect(clippy::disallowed_types, reason = "IO: lists pods, their sets, their events and their nodes")]
//! Pods, what makes them, where they are and what is told of them are neither ours nor watched: they are asked for while those
//! of a service are not ready.

use std::{collections::BTreeMap, fmt::Debug};

use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        apps::v1::ReplicaSet,
        core::v1::{Event, Node, Pod},
    },
};
use kube::{Api, Resource, ResourceExt, api::ListParams};
use serde::de::DeserializeOwned;

use super::{ApplyError, Cluster, ObjectKey, apply_error::failed};
use crate::names::ZONE;

/// So many nodes of a zone are looked at.
const NODES: u32 = 500;
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

    /// The node of this name, and where it is in a zone all of that.
    pub async fn nodes_around(&self, name: &str) -> Result<Vec<Node>, ApplyError> {
        let named = self.nodes(ListParams::default().fields(&format!("metadata.name={name}"))).await?;
        let zone = named.first().and_then(|node| node.labels().get(ZONE));
        let Some(zone) = zone else { return Ok(named) };
        self.nodes(ListParams::default().labels(&format!("{ZONE}={zone}")).limit(NODES)).await
    }

    async fn nodes(&self, params: ListParams) -> Result<Vec<Node>, ApplyError> {
        let list = Api::<Node>::all(self.client()).list(&params).await;
        let list = list.map_err(|source| failed("list", &ObjectKey::named::<Node>(None, ""), source))?;
        Ok(list.items.into_iter().map(lean).collect())
    }

    /// The first so many.
    async fn some<K>(&self, namespace: &str, params: ListParams) -> Result<Vec<K>, ApplyError>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
    {
        let list = Api::<K>::namespaced(self.client(), namespace).list(&params.limit(MOST)).await;
        let list =
            list.map_err(|source| failed("list", &ObjectKey::named::<K>(Some(namespace), ""), source))?;
        Ok(list.items)
    }
}

/// `node` without the most of it: the images that it has.
fn lean(mut node: Node) -> Node {
    if let Some(status) = &mut node.status {
        status.images = None;
    }
    node
}

fn selector(labels: &BTreeMap<String, String>) -> String {
    let selector: Vec<_> = labels.iter().map(|(label, value)| format!("{label}={value}")).collect();
    selector.join(",")
}
