#![expect(clippy::disallowed_types, reason = "IO: changes and deletes objects as they were read")]
//! Writes that hang on how an object is: annotations and finalizers beside what is applied, and deletion. Each carries the
//! uid and resourceVersion that it was decided on, so nothing is done to a later state, or to a successor of that name.

use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, Preconditions},
};
use serde_json::{Value, json};

use super::{
    Cluster, ObjectKey,
    apply::{MOVES, Object, request},
    apply_error::{ApplyError, failed, is_code},
};
use crate::names::{MANAGED_BY, MANAGER, TENANT};

impl Cluster {
    /// Changes an object by the merge patch that `change` makes of it: of `known` first, and where that is not how it is
    /// any more, of the object as it is read then. Nothing is sent where `change` says nothing. Returns the object as it
    /// then is, or nothing where it is gone.
    pub async fn amend<K: Object>(
        &self,
        known: &K,
        change: impl Fn(&K) -> Option<Value> + Send + Sync,
    ) -> Result<Option<K>, ApplyError> {
        let key = ObjectKey::of(known);
        let mut live = known.clone();
        let mut tries = MOVES;
        loop {
            let Some(mut patch) = change(&live) else { return Ok(Some(live)) };
            patch["metadata"]["uid"] = json!(live.uid());
            patch["metadata"]["resourceVersion"] = json!(live.resource_version());
            let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
            let request = request::<K>(&key)
                .patch(&key.name, &params, &Patch::Merge(&patch))
                .map_err(|error| failed("change", &key, kube::Error::BuildRequest(error)))?;
            match self.client().request::<K>(request).await {
                Ok(changed) => {
                    tracing::info!(object = %key, changed = fields(&patch), "amended");
                    return Ok(Some(changed));
                }
                Err(error) if is_code(&error, 404) => return Ok(None),
                Err(error) if is_code(&error, 409) && tries > 0 => tries -= 1,
                Err(error) => return Err(failed("change", &key, error)),
            }
            match self.read::<K>(&key).await? {
                Some(now) if now.uid() == known.uid() => live = now,
                Some(_) | None => return Ok(None),
            }
        }
    }

    /// Deletes an object as it was read: neither what it became since nor one that somebody made again.
    pub async fn delete_unchanged<K: Object>(&self, live: &K) -> Result<(), ApplyError> {
        self.delete_as_read::<K>(&ObjectKey::of(live), live).await
    }

    /// The same of an object of kind `K` of which only the metadata was read.
    pub(super) async fn delete_as_read<K: Object>(
        &self,
        key: &ObjectKey,
        live: &(impl ResourceExt + Sync),
    ) -> Result<(), ApplyError> {
        let params = DeleteParams {
            preconditions: Some(Preconditions { uid: live.uid(), resource_version: live.resource_version() }),
            ..DeleteParams::background()
        };
        let request = request::<K>(key).delete(&key.name, &params).map_err(kube::Error::BuildRequest);
        let outcome = match request {
            Ok(request) => self.client().request_status::<K>(request).await.map(drop),
            Err(error) => Err(error),
        };
        match outcome {
            Err(error) if is_code(&error, 404) => {}
            Err(error) => return Err(failed("delete", key, error)),
            Ok(()) => tracing::info!(object = %key, "deleted"),
        }
        self.seen().forget(key);
        Ok(())
    }

    /// Every namespace that carries our label for `tenant`, as it is now.
    pub async fn namespaces_now(&self, tenant: &str) -> Result<Vec<Namespace>, ApplyError> {
        let selector = format!("{MANAGED_BY}={MANAGER},{TENANT}={tenant}");
        let list = Api::<Namespace>::all(self.client()).list(&ListParams::default().labels(&selector)).await;
        let key = ObjectKey::named::<Namespace>(None, &selector);
        Ok(list.map_err(|error| failed("list", &key, error))?.items)
    }
}

/// What a patch changes, for the log.
fn fields(patch: &Value) -> String {
    let keys = |value: &Value| -> Vec<String> {
        value.as_object().into_iter().flatten().map(|(key, _)| key.clone()).collect()
    };
    let metadata = &patch["metadata"];
    let mut all = [keys(&metadata["annotations"]), keys(&metadata["labels"])].concat();
    all.extend(metadata.get("finalizers").map(|_| "finalizers".to_owned()));
    all.join(" ")
}
