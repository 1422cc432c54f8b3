#![expect(clippy::disallowed_types, reason = "IO: opens the watches")]
//! The watches of what the operator wrote: one a kind, of objects with its label only. They keep a version and a mark of
//! each and nothing else, but for Deployments, `CronJob`s, their Jobs, autoscalers and quotas, which are read. Secrets are never watched.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
};

use futures::{
    FutureExt, Stream, StreamExt,
    future::{BoxFuture, ready},
};
use k8s_openapi::api::{
    apps::v1::Deployment,
    autoscaling::v2::HorizontalPodAutoscaler,
    batch::v1::{CronJob, Job},
    core::v1::{ConfigMap, LimitRange, Namespace, ResourceQuota, Service},
    networking::v1::NetworkPolicy,
    policy::v1::PodDisruptionBudget,
    rbac::v1::{ClusterRole, ClusterRoleBinding, RoleBinding},
};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::PartialObjectMeta,
    runtime::{WatchStreamExt, reflector, watcher},
};
use serde::{Serialize, de::DeserializeOwned};
use tokio::sync::{mpsc, watch};

use super::{
    Cluster, Inner, Workload, external,
    guests::Guests,
    seen::{Listing, Touch},
};
use crate::names::{LIMITS, MANAGED_BY, MANAGER, SERVICE};

/// A future that runs as long as the operator.
pub type Background = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Cluster {
    /// Starts to observe. The first future runs the watches; the second is done when each has listed once, and
    /// nothing may be applied before.
    pub fn observe(client: Client) -> (Self, Background, BoxFuture<'static, ()>) {
        let (deployments, writer) = reflector::store();
        let (cron_jobs, writer_of_cron_jobs) = reflector::store();
        let (jobs, writer_of_jobs) = reflector::store();
        let (quotas, writer_of_quotas) = reflector::store();
        let (autoscalers, writer_of_autoscalers) = reflector::store();
        let (routes, writer_of_routes) = Guests::new();
        let (scalers, writer_of_scalers) = Guests::new();
        let (scaler_logins, writer_of_logins) = Guests::new();
        let cluster = Self(Arc::new(Inner {
            client,
            budget: Mutex::default(),
            external: external::places(),
            seen: Mutex::default(),
            listeners: Mutex::default(),
            deployments,
            cron_jobs,
            jobs,
            autoscalers,
            quotas,
            routes,
            scalers,
            scaler_logins,
            heeded: Mutex::default(),
        }));
        let mut listed = Vec::new();
        let mut watches: Vec<Background> = vec![
            cluster.watch::<Namespace>(&mut listed),
            cluster.watch::<LimitRange>(&mut listed),
            cluster.watch::<NetworkPolicy>(&mut listed),
            cluster.watch::<RoleBinding>(&mut listed),
            cluster.watch::<ClusterRole>(&mut listed),
            cluster.watch::<ClusterRoleBinding>(&mut listed),
            cluster.watch::<ConfigMap>(&mut listed),
            cluster.watch::<Service>(&mut listed),
            cluster.watch::<PodDisruptionBudget>(&mut listed),
        ];
        watches.push(cluster.watch_kept(writer, &mut listed, |deployment: &mut Deployment| {
            deployment.spec.iter_mut().for_each(|spec| spec.template.spec = None);
        }));
        watches.push(cluster.watch_kept(writer_of_cron_jobs, &mut listed, |cron_job: &mut CronJob| {
            let jobs = cron_job.spec.iter_mut().filter_map(|spec| spec.job_template.spec.as_mut());
            jobs.for_each(|job| job.template.spec = None);
        }));
        watches.push(cluster.watch_kept(writer_of_jobs, &mut listed, |job: &mut Job| {
            job.spec.iter_mut().for_each(|spec| spec.template.spec = None);
        }));
        watches.push(cluster.watch_kept(writer_of_quotas, &mut listed, |quota: &mut ResourceQuota| {
            quota.status = None;
        }));
        watches.push(cluster.watch_autoscalers(writer_of_autoscalers, &mut listed));
        watches.push(cluster.watch_guests(writer_of_routes, &mut listed));
        watches.push(cluster.watch_guests(writer_of_scalers, &mut listed));
        watches.push(cluster.watch_guests(writer_of_logins, &mut listed));
        let ready = async move {
            for mut one in listed {
                // An error means that the watch is gone, and with it the operator.
                let _ = one.wait_for(|done| *done).await;
            }
        };
        (cluster, futures::future::join_all(watches).map(drop).boxed(), ready.boxed())
    }

    /// Every change of our objects from now on.
    pub fn touches(&self) -> impl Stream<Item = Touch> + Send + use<> {
        let (sender, mut receiver) = mpsc::unbounded_channel();
        self.0.listeners.lock().unwrap_or_else(PoisonError::into_inner).push(sender);
        futures::stream::poll_fn(move |context| receiver.poll_recv(context))
    }

    /// Our Deployments in `namespace`, as last seen.
    pub fn deployments_in(&self, namespace: &str) -> Vec<Arc<Deployment>> {
        self.0.deployments.state_filter(|one| one.metadata.namespace.as_deref() == Some(namespace))
    }

    /// What runs the service `name` as last seen, with labels, generation and status; its template is not kept.
    pub fn workload(&self, namespace: &str, name: &str) -> Option<Workload> {
        let deployment = self.0.deployments.get(&reflector::ObjectRef::new(name).within(namespace));
        let cron_job = self.0.cron_jobs.get(&reflector::ObjectRef::new(name).within(namespace));
        Workload::newest(deployment, cron_job)
    }

    /// Our quota of a namespace, without what of it is used.
    pub fn quota(&self, namespace: &str) -> Option<Arc<ResourceQuota>> {
        self.0.quotas.get(&reflector::ObjectRef::new(LIMITS).within(namespace))
    }

    /// Our autoscaler of this name as last seen, without what it measures.
    pub fn autoscaler(&self, namespace: &str, name: &str) -> Option<Arc<HorizontalPodAutoscaler>> {
        self.0.autoscalers.get(&reflector::ObjectRef::new(name).within(namespace))
    }

    /// The runs of the batch `service` as last seen, in no order.
    pub fn jobs(&self, namespace: &str, service: &str) -> Vec<Arc<Job>> {
        self.0.jobs.state_filter(|job| {
            job.metadata.namespace.as_deref() == Some(namespace)
                && job.labels().get(SERVICE).is_some_and(|of| of == service)
        })
    }

    fn watch<K>(&self, listed: &mut Vec<watch::Receiver<bool>>) -> Background
    where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + fmt::Debug + Send + 'static,
    {
        let stream =
            watcher::watcher(Api::<PartialObjectMeta<K>>::all(self.client()), config()).default_backoff();
        self.follow(stream.boxed(), listed)
    }

    /// Without what they measure, which they write every few seconds: what changes nothing else is not told.
    fn watch_autoscalers(
        &self,
        writer: reflector::store::Writer<HorizontalPodAutoscaler>,
        listed: &mut Vec<watch::Receiver<bool>>,
    ) -> Background {
        let before = writer.as_reader();
        let is_news = move |event: &watcher::Result<watcher::Event<HorizontalPodAutoscaler>>| {
            let Ok(watcher::Event::Apply(now)) = event else { return ready(true) };
            let before = before.get(&reflector::ObjectRef::from_obj(now));
            ready(before.is_none_or(|before| *before != *now))
        };
        let stream = watcher::watcher(Api::all(self.client()), config())
            .default_backoff()
            .modify(|autoscaler: &mut HorizontalPodAutoscaler| {
                autoscaler.metadata.managed_fields = None;
                autoscaler.metadata.resource_version = None;
                autoscaler.status.iter_mut().for_each(|status| status.current_metrics = None);
            })
            .filter(is_news)
            .reflect(writer);
        self.follow(stream.boxed(), listed)
    }

    /// With all but managed fields, and what `strip` takes away.
    fn watch_kept<K>(
        &self,
        writer: reflector::store::Writer<K>,
        listed: &mut Vec<watch::Receiver<bool>>,
        strip: impl Fn(&mut K) + Send + 'static,
    ) -> Background
    where
        K: Resource<DynamicType = ()>
            + Clone
            + DeserializeOwned
            + Serialize
            + fmt::Debug
            + Send
            + Sync
            + 'static,
    {
        let stream = watcher::watcher(Api::<K>::all(self.client()), config())
            .default_backoff()
            .modify(move |object| {
                object.meta_mut().managed_fields = None;
                strip(object);
            })
            .reflect(writer);
        self.follow(stream.boxed(), listed)
    }

    /// Keeps `seen` true and tells the listeners.
    fn follow<O>(
        &self,
        mut stream: futures::stream::BoxStream<'static, watcher::Result<watcher::Event<O>>>,
        listed: &mut Vec<watch::Receiver<bool>>,
    ) -> Background
    where
        O: Resource<DynamicType = ()> + Serialize + Send + 'static,
    {
        let (done, receiver) = watch::channel(false);
        listed.push(receiver);
        let cluster = self.clone();
        Box::pin(async move {
            let mut listing = Listing::default();
            while let Some(event) = stream.next().await {
                match event {
                    Ok(event) => {
                        cluster.take(&mut listing, &event, |_, _| true);
                        if matches!(event, watcher::Event::InitDone) {
                            let _ = done.send(true);
                        }
                    }
                    Err(error) => interrupted::<O>(&error),
                }
            }
        })
    }
}

/// Counts and logs that a watch broke off; it begins anew by itself.
pub(super) fn interrupted<O: Resource<DynamicType = ()>>(error: &watcher::Error) {
    let kind = O::kind(&());
    crate::metrics::WATCH_ERRORS.with_label_values(&[kind.as_ref()]).inc();
    tracing::warn!(%kind, error = error as &dyn std::error::Error, "watch interrupted");
}

/// What is ours.
pub(super) fn config() -> watcher::Config {
    watcher::Config::default().labels(&format!("{MANAGED_BY}={MANAGER}"))
}
