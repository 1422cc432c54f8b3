//! KEDA's objects of ours, where the cluster has their kinds.

use std::sync::Arc;

use kube::runtime::reflector::ObjectRef;
use serde_json::Value;

use super::{
    Cluster,
    guests::{Guest, Guests},
};
use crate::api::{ScaledObject, TriggerAuthentication, scaled_object::KEDA};

/// Where the `OpenAPI` document has the kinds.
const KINDS: &str = "/components/schemas/sh.keda.v1alpha1.";

impl Cluster {
    /// Has the cluster KEDA, both of its kinds?
    pub fn has_scalers(&self) -> bool {
        self.0.scalers.form().is_some() && self.0.scaler_logins.form().is_some()
    }

    /// Our `ScaledObject` as last seen, with what KEDA says of it.
    pub fn scaler(&self, namespace: &str, name: &str) -> Option<Arc<ScaledObject>> {
        self.0.scalers.seen.get(&ObjectRef::new(name).within(namespace))
    }
}

impl Guest for ScaledObject {
    type Form = ();
    const VERSION: &'static str = KEDA;

    fn form(document: &Value) -> Option<()> {
        has(document, "ScaledObject")
    }

    fn guests(cluster: &Cluster) -> &Guests<Self> {
        &cluster.0.scalers
    }
}

impl Guest for TriggerAuthentication {
    type Form = ();
    const VERSION: &'static str = KEDA;

    fn form(document: &Value) -> Option<()> {
        has(document, "TriggerAuthentication")
    }

    fn guests(cluster: &Cluster) -> &Guests<Self> {
        &cluster.0.scaler_logins
    }
}

fn has(document: &Value, kind: &str) -> Option<()> {
    document.pointer(&format!("{KINDS}{kind}")).map(drop)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_kind_is_there_or_not_by_its_own_name() {
        let document = json!({ "components": { "schemas": { "sh.keda.v1alpha1.ScaledObject": {} } } });
        assert_eq!(<ScaledObject as Guest>::form(&document), Some(()));
        assert_eq!(<TriggerAuthentication as Guest>::form(&document), None);
    }
}
