#![expect(clippy::disallowed_types, reason = "IO: lists and deletes")]
//! The end of objects of ours: found by label as they are now, not as a watch showed them, so that none is missed that was
//! written a moment ago and none is taken that changed since.

use std::collections::BTreeMap;

use k8s_openapi::NamespaceResourceScope;
use kube::{Api, Resource, ResourceExt, api::ListParams};

use super::{
    ApplyError, Cluster, Object, ObjectKey,
    apply::MOVES,
    apply_error::{failed, is_code},
};
use crate::names::{MANAGED_BY, MANAGER};

/// Objects in one answer.
const PAGE: u32 = 500;

impl Cluster {
    /// Removes every object of ours of kind `K` in `namespace` that bears `labels`.
    pub async fn delete_labelled<K>(
        &self,
        namespace: &str,
        labels: &BTreeMap<&str, &str>,
    ) -> Result<(), ApplyError>
    where
        K: Object + Resource<Scope = NamespaceResourceScope>,
    {
        let mut outcome = self.delete_listed::<K>(namespace, labels).await;
        for _ in 0..MOVES {
            if !outcome.as_ref().is_err_and(ApplyError::is_conflict) {
                break;
            }
            outcome = self.delete_listed::<K>(namespace, labels).await;
        }
        outcome
    }

    async fn delete_listed<K>(&self, namespace: &str, labels: &BTreeMap<&str, &str>) -> Result<(), ApplyError>
    where
        K: Object + Resource<Scope = NamespaceResourceScope>,
    {
        let api = Api::<K>::namespaced(self.client(), namespace);
        let ours = [(&MANAGED_BY, &MANAGER)];
        let selector: Vec<_> =
            ours.into_iter().chain(labels).map(|(label, value)| format!("{label}={value}")).collect();
        let mut params = ListParams::default().labels(&selector.join(",")).limit(PAGE);
        loop {
            let all = ObjectKey::named::<K>(Some(namespace), "");
            let page = match api.list_metadata(&params).await {
                // A kind that the cluster does not have.
                Err(error) if is_code(&error, 404) => return Ok(()),
                page => page.map_err(|error| failed("list", &all, error))?,
            };
            for object in &page.items {
                if object.metadata.deletion_timestamp.is_none() {
                    let key = ObjectKey::named::<K>(Some(namespace), &object.name_any());
                    self.delete_as_read::<K>(&key, object).await?;
                }
            }
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => params.continue_token = Some(token),
                None => return Ok(()),
            }
        }
    }
}
