#![expect(clippy::disallowed_types, reason = "IO: the only place that writes objects")]
//! The operator's writes. Nothing is sent when nothing differs; one request creates an object.
//!
//! What is known of an object is the hash of what we applied and the mark it then had (`seen.rs`): its resourceVersion,
//! or where its status moves often, what else tells a change. As long as the watch shows that mark, nothing of ours can
//! have changed. Otherwise (a restart, or somebody's hand) it is read and compared; it is written only when it differs.

use std::fmt::Debug;

use k8s_openapi::{
    ClusterResourceScope, NamespaceResourceScope, Resource as Kind,
    api::core::v1::{Namespace, Secret},
};
use kube::{
    Client, Resource, ResourceExt,
    api::{Patch, PatchParams, PostParams, ValidationDirective},
    core::Request,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use tokio::time::Instant;

use super::{
    Cluster, ObjectKey,
    apply_error::{ApplyError, failed, is_code, refused},
    difference::first_difference,
    foreign,
    seen::{Written, mark},
};
use crate::names::{APPLIED, MANAGED_BY, MANAGER, SUCCESSOR, content_hash};

/// So often an object may move between reading and writing: its status does, a few times after each change.
pub(super) const MOVES: usize = 5;

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
    /// an object that carries our label is with force, so that what was edited by hand goes back; and what was added by
    /// hand goes away (`foreign.rs`). A resourceVersion in `wanted` is the only state over which it is written: another
    /// one is a conflict, which the caller resolves by looking again.
    pub async fn apply<K: Object>(&self, mut wanted: K) -> Result<Applied, ApplyError> {
        let key = ObjectKey::of(&wanted);
        let version = wanted.meta_mut().resource_version.take();
        let hash = content_hash(&wanted);
        let may_exist = {
            let (seen, now) = (self.seen(), Instant::now());
            if seen.is_applied(&key, &hash) || seen.is_known(&key, &hash, now) {
                return Ok(Applied::Unchanged);
            }
            // Secrets are never watched, so that nothing is seen says nothing of them.
            let is_unwatched = key.kind == Secret::KIND && !seen.is_in_new_namespace(&key, now);
            seen.written(&key).is_some() || seen.shows(&key) || is_unwatched
        };
        wanted.annotations_mut().insert(APPLIED.to_owned(), hash.clone());
        let tries = if version.is_some() { 0 } else { MOVES };
        wanted.meta_mut().resource_version = version;
        let mut outcome = self.write(&key, &wanted, may_exist).await;
        for _ in 0..tries {
            if !outcome.as_ref().is_err_and(ApplyError::is_conflict) {
                break;
            }
            outcome = self.write(&key, &wanted, may_exist).await;
        }
        self.remember::<K>(key, hash, outcome?)
    }

    /// The same over `live`, which was read a moment ago: there is no need to read it again.
    pub async fn apply_over<K: Object>(&self, mut wanted: K, live: &K) -> Result<Applied, ApplyError> {
        let (key, hash) = (ObjectKey::of(&wanted), content_hash(&wanted));
        wanted.annotations_mut().insert(APPLIED.to_owned(), hash.clone());
        let live = serde_json::to_value(live);
        let live = live.map_err(|error| failed("read", &key, kube::Error::SerdeError(error)))?;
        let outcome = self.change(&key, &wanted, live).await?;
        self.remember::<K>(key, hash, outcome)
    }

    /// Tells what an apply did, and keeps by what the object is known to be so.
    fn remember<K: Object>(
        &self,
        key: ObjectKey,
        hash: String,
        (applied, live): (Applied, Value),
    ) -> Result<Applied, ApplyError> {
        match &applied {
            Applied::Unchanged => {}
            Applied::Created => tracing::info!(object = %key, "created"),
            Applied::Changed(path) => tracing::info!(object = %key, path, "changed"),
        }
        let live = serde_json::from_value::<K>(live);
        let mark = mark(&live.map_err(|error| failed("read", &key, kube::Error::SerdeError(error)))?);
        self.seen().wrote(key, Written { hash, mark }, Instant::now());
        Ok(applied)
    }

    /// Creates it or makes it as wanted, and returns it as it then is.
    async fn write<K: Object>(
        &self,
        key: &ObjectKey,
        wanted: &K,
        may_exist: bool,
    ) -> Result<(Applied, Value), ApplyError> {
        let live = if may_exist { self.read_as::<K, Value>(key).await? } else { None };
        match live {
            None => Ok((Applied::Created, self.patch(key, wanted, false).await?)),
            Some(live) if live["metadata"]["labels"][MANAGED_BY] != MANAGER => {
                Err(ApplyError::Foreign(key.to_string()))
            }
            Some(live) => self.change(key, wanted, live).await,
        }
    }

    /// What somebody else added goes first: beside it, what is wanted may not be valid.
    async fn change<K: Object>(
        &self,
        key: &ObjectKey,
        wanted: &K,
        mut live: Value,
    ) -> Result<(Applied, Value), ApplyError> {
        let value = serde_json::to_value(wanted);
        let mut value = value.map_err(|error| failed("apply", key, kube::Error::SerdeError(error)))?;
        value["metadata"].as_object_mut().map(|metadata| metadata.remove("resourceVersion"));
        let mut applied = Applied::Unchanged;
        let mut taken = None;
        if is_wholly_ours(&key.kind) {
            taken = foreign::taken(&value, &live);
            if !foreign::is_applied_by_us(&live)
                && let Some(path) = taken.take()
            {
                live = self.patch(key, wanted, true).await?;
                applied = Applied::Changed(path);
            }
            if let Some(repair) = foreign::repair(&value, &live) {
                let params =
                    PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
                live = self.send::<K>(key, &params, &Patch::Merge(repair.merge_patch)).await?;
                applied = Applied::Changed(repair.path);
            }
        }
        if let Some(replicas) = foreign::handed_over(&value, &live) {
            self.send::<K>(key, &PatchParams::apply(SUCCESSOR), &Patch::Apply(replicas)).await?;
        }
        if let Some(path) = first_difference(value, &live).or(taken) {
            live = self.patch(key, wanted, true).await?;
            applied = Applied::Changed(path);
        }
        Ok((applied, live))
    }

    /// Is `wanted` what was applied last, and untouched since? Costs no request; never true of a Secret.
    pub fn is_applied<K: Object>(&self, wanted: &K) -> bool {
        self.seen().is_applied(&ObjectKey::of(wanted), &content_hash(wanted))
    }

    /// Does the watch show the object exactly as we wrote it last? Then nobody has to look at it.
    pub fn is_as_written(&self, key: &ObjectKey) -> bool {
        self.seen().is_as_written(key)
    }

    /// Does the watch not show our own last write yet? `shown`: what it shows of `key`.
    pub fn is_behind<K: Object>(&self, key: &ObjectKey, shown: Option<&K>) -> bool {
        let shown = shown.and_then(|shown| shown.annotations().get(APPLIED));
        self.seen().written(key).is_some_and(|written| shown != Some(&written.hash))
    }

    /// Is there an object of ours of this name? The watch shows it, or it was written a moment ago and has not been
    /// shown to go since.
    pub fn has_written<K: Object>(&self, namespace: Option<&str>, name: &str) -> bool {
        self.has_written_key(&ObjectKey::named::<K>(namespace, name))
    }

    /// As [`Cluster::has_written`], of this object.
    pub fn has_written_key(&self, key: &ObjectKey) -> bool {
        let seen = self.seen();
        seen.shows(key) || seen.written(key).is_some()
    }

    /// Does the watch show an object of ours of this name?
    pub fn shows<K: Object>(&self, namespace: Option<&str>, name: &str) -> bool {
        self.sees(&ObjectKey::named::<K>(namespace, name))
    }

    /// Is there an object of this name?
    pub async fn has<K>(&self, namespace: &str, name: &str) -> Result<bool, ApplyError>
    where
        K: Object + Resource<Scope = NamespaceResourceScope>,
    {
        Ok(self.version::<K>(namespace, name).await?.is_some())
    }

    /// The resourceVersion of the object of this name, if there is one. Only its metadata is read, never what it holds.
    pub async fn version<K>(&self, namespace: &str, name: &str) -> Result<Option<String>, ApplyError>
    where
        K: Object + Resource<Scope = NamespaceResourceScope>,
    {
        let found = kube::Api::<K>::namespaced(self.client(), namespace).get_metadata_opt(name).await;
        let found =
            found.map_err(|error| failed("read", &ObjectKey::named::<K>(Some(namespace), name), error))?;
        Ok(found.map(|found| found.resource_version().unwrap_or_default()))
    }

    /// Removes an object of ours, if the watch shows one; as it was read, not as somebody recreated it.
    pub async fn delete<K: Object>(&self, namespace: &str, name: &str) -> Result<(), ApplyError> {
        self.delete_key::<K>(&ObjectKey::named::<K>(Some(namespace), name)).await
    }

    /// As [`Cluster::delete`], of a kind that is in no namespace.
    pub async fn delete_global<K>(&self, name: &str) -> Result<(), ApplyError>
    where
        K: Object + Resource<Scope = ClusterResourceScope>,
    {
        self.delete_key::<K>(&ObjectKey::named::<K>(None, name)).await
    }

    async fn delete_key<K: Object>(&self, key: &ObjectKey) -> Result<(), ApplyError> {
        if !self.sees(key) {
            return Ok(());
        }
        let Some(live) = self.read::<K>(key).await? else { return Ok(()) };
        if live.labels().get(MANAGED_BY).map(String::as_str) != Some(MANAGER) {
            return Err(ApplyError::Foreign(key.to_string()));
        }
        self.delete_unchanged(&live).await
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
        wanted.annotations_mut().insert(APPLIED.to_owned(), hash.clone());
        let params = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
        match kube::Api::<Namespace>::all(self.client()).create(&params, &wanted).await {
            Ok(live) => {
                tracing::info!(object = %key, "created");
                self.seen().made(key, Written { hash, mark: mark(&live) }, Instant::now());
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
        self.read_as::<K, K>(key).await
    }

    async fn read_as<K: Object, T: DeserializeOwned>(
        &self,
        key: &ObjectKey,
    ) -> Result<Option<T>, ApplyError> {
        let request = request::<K>(key)
            .get(&key.name, &kube::api::GetParams::default())
            .map_err(|error| failed("read", key, kube::Error::BuildRequest(error)))?;
        let client: Client = self.client();
        match client.request::<T>(request).await {
            Ok(live) => Ok(Some(live)),
            Err(error) if is_code(&error, 404) => Ok(None),
            Err(error) => Err(failed("read", key, error)),
        }
    }

    async fn patch<K: Object>(&self, key: &ObjectKey, wanted: &K, force: bool) -> Result<Value, ApplyError> {
        let params = PatchParams {
            field_validation: Some(ValidationDirective::Strict),
            force,
            ..PatchParams::apply(MANAGER)
        };
        self.send::<K>(key, &params, &Patch::Apply(wanted)).await
    }

    async fn send<K: Object>(
        &self,
        key: &ObjectKey,
        params: &PatchParams,
        patch: &Patch<impl Serialize + Debug>,
    ) -> Result<Value, ApplyError> {
        let request = request::<K>(key)
            .patch(&key.name, params, patch)
            .map_err(|error| failed("apply", key, kube::Error::BuildRequest(error)))?;
        self.client().request::<Value>(request).await.map_err(|error| refused(key, error))
    }
}

pub(super) fn request<K: Object>(key: &ObjectKey) -> Request {
    Request::new(K::url_path(&(), key.namespace.as_deref()))
}

/// May nobody else add to it? Namespaces have fields of the API server's, and tenant owners write Secrets.
fn is_wholly_ours(kind: &str) -> bool {
    kind != Namespace::KIND && kind != Secret::KIND
}
