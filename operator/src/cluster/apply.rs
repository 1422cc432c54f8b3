#![expect(clippy::disallowed_types, reason = "IO: the only place that writes objects")]
//! The operator's writes. Nothing is sent when nothing differs; one request creates an object.
//!
//! What is known of an object is the hash of what we applied and the mark it then had (`seen.rs`): its resourceVersion,
//! or where its status moves often, what else tells a change. As long as the watch shows that mark, nothing of ours can
//! have changed. Otherwise (a restart, or somebody's hand) it is read and compared; it is written only when it differs.

use std::{fmt::Debug, time::Duration};

use k8s_openapi::{NamespaceResourceScope, api::core::v1::Namespace};
use kube::{
    Client, Resource, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions, ValidationDirective},
    core::{Request, Status},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::{
    Cluster, ObjectKey, ReconcileError,
    difference::first_difference,
    seen::{Written, mark},
};
use crate::{
    conditions::Reason,
    names::{APPLIED, MANAGED_BY, MANAGER, content_hash},
    retry::Retry,
};

/// Between two looks at an object that is not ours.
const FOREIGN: Duration = Duration::from_mins(1);
/// How soon the API server has counted what a new quota bounds, mostly.
const UNCOUNTED: Duration = Duration::from_millis(500);

/// What an apply did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Applied {
    /// Nothing differed, nothing was sent.
    Unchanged,
    /// It did not exist.
    Created,
    /// It differed; the path of the first difference, or of the hash when something is no longer wanted.
    Changed(String),
}

/// What the request for a namespace gave.
#[derive(Clone, Debug, PartialEq)]
pub enum CreatedNamespace {
    /// It is ours since now.
    Created,
    /// It was there; whose it is must be judged.
    Exists(Box<Namespace>),
}

/// The write that failed, and on what.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The object exists and is not ours.
    #[error("{0} exists and was not made by the operator: remove or rename it")]
    Foreign(String),
    /// The API server refused or failed it.
    #[error("cannot {verb} {object}: {}", told(.source))]
    Request {
        /// `apply`, `read`, …
        verb: &'static str,
        /// Kind, namespace and name.
        object: String,
        /// What the API server said.
        source: Box<kube::Error>,
    },
}

/// The API server's own sentence, without the type around it.
fn told(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}

impl ApplyError {
    fn status(&self) -> Option<&Status> {
        match self {
            Self::Request { source, .. } => match source.as_ref() {
                kube::Error::Api(status) => Some(status),
                _ => None,
            },
            Self::Foreign(_) => None,
        }
    }

    /// A right that the operator was given a moment ago may not be in force yet.
    pub fn is_forbidden(&self) -> bool {
        self.status().is_some_and(|status| status.code == 403)
    }

    /// A quota was made a moment ago, and how much of it is used is not counted yet.
    fn is_uncounted(&self) -> bool {
        self.status().is_some_and(|status| status.message.contains("status unknown for quota"))
    }

    /// When to try again.
    pub fn retry(&self) -> Retry {
        match self {
            // No watch of ours tells that it was removed.
            Self::Foreign(_) => Retry::After(FOREIGN),
            Self::Request { .. } if self.is_uncounted() => Retry::After(UNCOUNTED),
            Self::Request { .. } => Retry::Backoff,
        }
    }

    /// Condition reason, event reason and metric label.
    pub fn reason(&self) -> Reason {
        match (self, self.status()) {
            (Self::Foreign(_), _) => Reason::NamespaceForeign,
            (_, Some(status)) if status.message.contains("exceeded quota") => Reason::QuotaExceeded,
            _ if self.is_uncounted() => Reason::Progressing,
            (_, Some(status)) if status.message.contains("being terminated") => Reason::NamespaceTerminating,
            (_, Some(status)) if status.code == 403 => Reason::Forbidden,
            _ => Reason::ApplyFailed,
        }
    }
}

/// Of a controller whose only failure is a write.
impl ReconcileError for ApplyError {
    fn retry(&self) -> Retry {
        Self::retry(self)
    }

    fn reason(&self) -> Reason {
        Self::reason(self)
    }
}

/// What every kind here can do.
pub trait Object:
    Resource<DynamicType = ()> + Serialize + DeserializeOwned + Clone + Debug + Send + Sync + 'static
{
}
impl<K> Object for K where
    K: Resource<DynamicType = ()> + Serialize + DeserializeOwned + Clone + Debug + Send + Sync + 'static
{
}

impl Cluster {
    /// Makes `wanted` so, and says what that took.
    ///
    /// Creation is without force, so that a field which somebody else owns is a refusal and not a theft; a change of
    /// an object that carries our label is with force, so that what was edited by hand goes back.
    pub async fn apply<K: Object>(&self, mut wanted: K) -> Result<Applied, ApplyError> {
        let key = ObjectKey::of(&wanted);
        let hash = content_hash(&wanted);
        let may_exist = {
            let seen = self.seen();
            if seen.is_applied(&key, &hash) {
                return Ok(Applied::Unchanged);
            }
            // Secrets are never watched, so that nothing is seen says nothing of them.
            seen.written(&key).is_some() || seen.shows(&key) || key.kind == "Secret"
        };
        wanted.annotations_mut().insert(APPLIED.to_owned(), hash.clone());
        let live = if may_exist { self.read::<K>(&key).await? } else { None };
        let (applied, mark) = match live {
            None => (Applied::Created, self.patch(&key, &wanted, false).await?),
            Some(live) if live.labels().get(MANAGED_BY).map(String::as_str) != Some(MANAGER) => {
                return Err(ApplyError::Foreign(key.to_string()));
            }
            Some(live) => match difference(&wanted, &live) {
                None => (Applied::Unchanged, mark(&live)),
                Some(path) => (Applied::Changed(path), self.patch(&key, &wanted, true).await?),
            },
        };
        match &applied {
            Applied::Unchanged => {}
            Applied::Created => tracing::info!(object = %key, "created"),
            Applied::Changed(path) => tracing::info!(object = %key, path, "changed"),
        }
        self.seen().wrote(key, Written { hash, mark });
        Ok(applied)
    }

    /// Is `wanted` what was applied last, and untouched since? Costs no request; never true of a Secret.
    pub fn is_applied<K: Object>(&self, wanted: &K) -> bool {
        self.seen().is_applied(&ObjectKey::of(wanted), &content_hash(wanted))
    }

    /// Does the watch not show our own last write yet? `shown`: what it shows of `key`.
    pub fn is_behind<K: Object>(&self, key: &ObjectKey, shown: Option<&K>) -> bool {
        let shown = shown.and_then(|shown| shown.annotations().get(APPLIED));
        self.seen().written(key).is_some_and(|written| shown != Some(&written.hash))
    }

    /// Is there an object of ours of this name? The watch shows it, or it was written a moment ago and has not been
    /// shown to go since.
    pub fn has_written<K: Object>(&self, namespace: Option<&str>, name: &str) -> bool {
        let (key, seen) = (ObjectKey::named::<K>(namespace, name), self.seen());
        seen.shows(&key) || seen.written(&key).is_some()
    }

    /// Does the watch show an object of ours of this name?
    pub fn shows<K: Object>(&self, namespace: Option<&str>, name: &str) -> bool {
        self.sees(&ObjectKey::named::<K>(namespace, name))
    }

    /// Is there an object of this name? Only its metadata is read, never what it holds.
    pub async fn has<K>(&self, namespace: &str, name: &str) -> Result<bool, ApplyError>
    where
        K: Object + Resource<Scope = NamespaceResourceScope>,
    {
        let found = kube::Api::<K>::namespaced(self.client(), namespace).get_metadata_opt(name).await;
        let found =
            found.map_err(|error| failed("read", &ObjectKey::named::<K>(Some(namespace), name), error))?;
        Ok(found.is_some())
    }

    /// Removes an object of ours, if the watch shows one; as it was read, not as somebody recreated it.
    pub async fn delete<K: Object>(&self, namespace: &str, name: &str) -> Result<(), ApplyError> {
        let key = ObjectKey::named::<K>(Some(namespace), name);
        if !self.sees(&key) {
            return Ok(());
        }
        let Some(live) = self.read::<K>(&key).await? else { return Ok(()) };
        if live.labels().get(MANAGED_BY).map(String::as_str) != Some(MANAGER) {
            return Err(ApplyError::Foreign(key.to_string()));
        }
        let params = DeleteParams {
            preconditions: Some(Preconditions { uid: live.uid(), resource_version: live.resource_version() }),
            ..DeleteParams::background()
        };
        let request = request::<K>(&key).delete(name, &params).map_err(kube::Error::BuildRequest);
        let outcome = match request {
            Ok(request) => self.client().request_status::<K>(request).await.map(drop),
            Err(error) => Err(error),
        };
        match outcome {
            Err(error) if is_code(&error, 404) => {}
            Err(error) => return Err(failed("delete", &key, error)),
            Ok(()) => tracing::info!(object = %key, "deleted"),
        }
        self.seen().forget(&key);
        Ok(())
    }

    /// The namespace of this name as it is now.
    pub async fn namespace(&self, name: &str) -> Result<Option<Namespace>, ApplyError> {
        self.read(&ObjectKey::named::<Namespace>(None, name)).await
    }

    /// Creates a namespace; one that exists is never touched here.
    pub async fn create_namespace(&self, mut wanted: Namespace) -> Result<CreatedNamespace, ApplyError> {
        let key = ObjectKey::of(&wanted);
        // One that is there after a restart is read, not posted to be refused.
        if self.sees(&key)
            && let Some(live) = self.read::<Namespace>(&key).await?
        {
            return Ok(CreatedNamespace::Exists(Box::new(live)));
        }
        let hash = content_hash(&wanted);
        wanted.annotations_mut().insert(APPLIED.to_owned(), hash);
        let params = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
        match kube::Api::<Namespace>::all(self.client()).create(&params, &wanted).await {
            Ok(_) => {
                tracing::info!(object = %key, "created");
                Ok(CreatedNamespace::Created)
            }
            Err(error) if is_code(&error, 409) => match self.read::<Namespace>(&key).await? {
                Some(live) => Ok(CreatedNamespace::Exists(Box::new(live))),
                None => Err(failed("create", &key, error)),
            },
            Err(error) => Err(failed("create", &key, error)),
        }
    }

    /// Writes `status` of `object`, whole. The caller leaves it be when it did not change.
    pub async fn write_status<K: Object>(
        &self,
        object: &K,
        status: &impl Serialize,
    ) -> Result<(), ApplyError> {
        let key = ObjectKey::of(object);
        let patch = serde_json::json!({
            "apiVersion": K::api_version(&()), "kind": K::kind(&()),
            // The uid: a status computed for an object that was deleted and made again is not for its successor.
            "metadata": { "name": object.name_any(), "uid": object.uid() }, "status": status,
        });
        let params = PatchParams::apply(MANAGER).force();
        let request = request::<K>(&key)
            .patch_subresource("status", &key.name, &params, &Patch::Apply(patch))
            .map_err(|error| failed("write the status of", &key, kube::Error::BuildRequest(error)))?;
        match self.client().request::<Value>(request).await {
            Ok(_) => Ok(()),
            Err(error) if is_code(&error, 404) || is_code(&error, 409) => {
                tracing::debug!(object = %key, "gone before its status was written");
                Ok(())
            }
            Err(error) => Err(failed("write the status of", &key, error)),
        }
    }

    fn sees(&self, key: &ObjectKey) -> bool {
        self.seen().shows(key)
    }

    /// The object as it is now; for decisions that what a watch shows may be too old for.
    pub async fn read<K: Object>(&self, key: &ObjectKey) -> Result<Option<K>, ApplyError> {
        let request = request::<K>(key)
            .get(&key.name, &kube::api::GetParams::default())
            .map_err(|error| failed("read", key, kube::Error::BuildRequest(error)))?;
        let client: Client = self.client();
        match client.request::<K>(request).await {
            Ok(live) => Ok(Some(live)),
            Err(error) if is_code(&error, 404) => Ok(None),
            Err(error) => Err(failed("read", key, error)),
        }
    }

    async fn patch<K: Object>(&self, key: &ObjectKey, wanted: &K, force: bool) -> Result<String, ApplyError> {
        let params = PatchParams {
            field_validation: Some(ValidationDirective::Strict),
            force,
            ..PatchParams::apply(MANAGER)
        };
        let request = request::<K>(key)
            .patch(&key.name, &params, &Patch::Apply(wanted))
            .map_err(|error| failed("apply", key, kube::Error::BuildRequest(error)))?;
        match self.client().request::<K>(request).await {
            Ok(stored) => Ok(mark(&stored)),
            Err(error) => Err(refused(key, error)),
        }
    }
}

fn request<K: Object>(key: &ObjectKey) -> Request {
    Request::new(K::url_path(&(), key.namespace.as_deref()))
}

fn is_code(error: &kube::Error, code: u16) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == code)
}

/// Only a field that somebody else manages tells that the object is not ours. Another conflict passes by itself: a quota
/// that counted something else at the same time refuses in this way too.
fn refused(key: &ObjectKey, error: kube::Error) -> ApplyError {
    let is_foreign = |status: &Status| {
        let causes = status.details.iter().flat_map(|details| &details.causes);
        status.code == 409 && causes.into_iter().any(|cause| cause.reason == "FieldManagerConflict")
    };
    match &error {
        kube::Error::Api(status) if is_foreign(status) => ApplyError::Foreign(key.to_string()),
        _ => failed("apply", key, error),
    }
}

fn failed(verb: &'static str, key: &ObjectKey, source: kube::Error) -> ApplyError {
    ApplyError::Request { verb, object: key.to_string(), source: Box::new(source) }
}

/// Path of the first field in which `live` is not as `wanted`.
fn difference<K: Serialize>(wanted: &K, live: &K) -> Option<String> {
    match (serde_json::to_value(wanted), serde_json::to_value(live)) {
        (Ok(wanted), Ok(live)) => first_difference(wanted, &live),
        _ => Some("metadata".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_a_field_of_somebody_else_makes_an_object_foreign() {
        let key = ObjectKey::named::<Namespace>(None, "acme-dev");
        let refused = |status: Value| {
            let status: Status = serde_json::from_value(status).unwrap();
            refused(&key, kube::Error::Api(status.boxed()))
        };
        let conflict = json!({ "code": 409, "reason": "Conflict", "message": "conflict with \"kubectl\": .spec.replicas",
            "details": { "causes": [{ "reason": "FieldManagerConflict", "field": ".spec.replicas" }] } });
        assert!(matches!(refused(conflict), ApplyError::Foreign(_)));
        let busy = "Operation cannot be fulfilled on resourcequotas \"imaas\": the object has been modified";
        let error = refused(json!({ "code": 409, "reason": "Conflict", "message": busy }));
        assert_eq!(error.retry(), Retry::Backoff, "{error}");
        assert!(error.to_string().contains(busy), "{error}");
    }
}
