//! IO: goes round the instances of each service: lists its pods where its Deployment changed or they are on their way, and
//! asks each how its engine is, and one of what is tried what its smoke check says. It writes nothing and no pass waits for
//! it: news wakes the service's reconcile. What answers is a tenant's program: bounded in time and size, led nowhere else, and
//! read by [`faults`].

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::{StreamExt, stream};
use k8s_openapi::api::apps::v1::Deployment;
use kube::ResourceExt;
use reqwest::Client;
use tokio::sync::{Semaphore, mpsc};

use super::{
    instances::Instances,
    poll::Key,
    smoke::{Answer, Answers, Check},
    turns,
};
use crate::{
    api::{ReleaseSmoke, runtime::Health},
    bounded,
    cluster::ApplyError,
    platform::Platform,
    release::{self, verdict::Verdict},
    retry::spread,
    runtime::faults::faults,
};

/// Services at a time.
const ROUNDS: usize = 64;
/// Of these, asking the API server.
const LISTS: usize = 2;
/// Between a change of a Deployment and the round: whatever changes meanwhile is one round.
const SOON: Duration = Duration::from_secs(1);
/// Between two answers to a smoke check, while they decide nothing.
const AGAIN: Duration = Duration::from_secs(3);

/// Asks for rounds and knows what they saw. Cheap to clone.
#[derive(Clone)]
pub(super) struct Rounds(Arc<Inner>);

/// By service and environment, each with what was last seen.
type Wards = HashMap<Key, BTreeMap<String, (Ward, Option<Found>)>>;

struct Inner {
    platform: Platform,
    /// Nothing where none can be made.
    client: Option<Client>,
    lists: Semaphore,
    wards: Mutex<Wards>,
    asks: mpsc::UnboundedSender<(Key, Duration)>,
    news: mpsc::UnboundedSender<Key>,
}

/// What runs of a service in one environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ward {
    namespace: String,
    labels: BTreeMap<String, String>,
    health: Option<Health>,
    /// Of what is tried, while that gets no requests.
    check: Option<Check>,
    /// Of the Deployments, which change when the number of ready pods does.
    version: [Option<String>; 2],
}

impl Ward {
    /// Nothing while `deployment`, which runs `target`, has no pod. `beside`: what is tried, and what is asked of it.
    pub(super) fn of(
        deployment: &Deployment,
        (beside, check): (Option<&Deployment>, Option<Check>),
        target: &release::Target<'_>,
    ) -> Option<Self> {
        let has_pods = deployment.status.as_ref().is_some_and(|status| status.replicas > Some(0));
        has_pods.then(|| Self {
            namespace: target.namespace(),
            labels: target.selector(),
            health: target.release.spec.health.clone(),
            check,
            version: [Some(deployment), beside].map(|one| one.and_then(ResourceExt::resource_version)),
        })
    }
}

#[derive(Clone)]
struct Found {
    ward: Ward,
    instances: Instances,
    /// To the check of `ward`.
    answers: Answers,
}

impl Found {
    /// What was answered to `check`; nothing to another.
    fn answers(&self, check: Option<&Check>) -> Answers {
        if self.ward.check.as_ref() == check { self.answers.clone() } else { Answers::default() }
    }
}

/// The two ends that the loops need.
pub(super) struct Ends {
    /// Requests for rounds, for [`run`].
    pub asks: mpsc::UnboundedReceiver<(Key, Duration)>,
    /// Services of which something new was seen, for the controller.
    pub news: mpsc::UnboundedReceiver<Key>,
}

impl Rounds {
    /// Knows nothing yet.
    pub(super) fn new(platform: Platform) -> (Self, Ends) {
        let (asks, asked) = mpsc::unbounded_channel();
        let (news, told) = mpsc::unbounded_channel();
        let client = bounded::client()
            .http1_only()
            // Every pod is another host, and gone soon.
            .pool_max_idle_per_host(0)
            .build()
            .inspect_err(|error| {
                tracing::error!(error = error as &dyn std::error::Error, "engines are not asked");
            })
            .ok();
        let inner =
            Inner { platform, client, lists: Semaphore::new(LISTS), wards: Mutex::default(), asks, news };
        (Self(Arc::new(inner)), Ends { asks: asked, news: told })
    }

    /// From now on goes round `ward` of a service's environment, soon where it changed. Returns what was last seen, which
    /// is nothing before the first round. `is_told`: an earlier run of the operator saw it.
    pub(super) fn watch(
        &self,
        (key, environment): (&Key, &str),
        ward: Option<Ward>,
        is_told: bool,
    ) -> Option<Instances> {
        let mut all = self.wards();
        let wards = all.entry(key.clone()).or_default();
        let Some(ward) = ward else {
            wards.remove(environment);
            return Some(Instances::default());
        };
        let before = wards.get(environment);
        let found = before.and_then(|(_, found)| found.clone());
        if before.is_none_or(|(before, _)| *before != ward) {
            let is_after_start = before.is_none() && is_told;
            let mut kept = found.clone();
            if let Some(kept) = kept.as_mut().filter(|kept| kept.ward.check != ward.check) {
                // What comes back later is asked anew.
                (kept.ward.check, kept.answers) = (ward.check.clone(), Answers::default());
            }
            wards.insert(environment.to_owned(), (ward, kept));
            let settings = &self.0.platform.settings;
            let pause =
                if is_after_start { settings.interval.mul_f64((self.0.platform.jitter)()) } else { SOON };
            // An error means that the loop has ended, and with it the operator.
            let _ = self.0.asks.send((key.clone(), pause));
        }
        found.map(|found| found.instances)
    }

    /// What was last seen.
    pub(super) fn seen(&self, key: &Key, environment: &str) -> Option<Instances> {
        self.wards().get(key)?.get(environment)?.1.as_ref().map(|found| found.instances.clone())
    }

    /// What was answered to `check` so far.
    pub(super) fn answers(&self, (key, environment): (&Key, &str), check: &Check) -> Answers {
        let wards = self.wards();
        let found = wards.get(key).and_then(|wards| wards.get(environment)?.1.as_ref());
        found.map(|found| found.answers(Some(check))).unwrap_or_default()
    }

    /// Goes round this service no longer.
    pub(super) fn forget(&self, key: &Key) {
        self.wards().remove(key);
    }

    fn wards(&self) -> MutexGuard<'_, Wards> {
        self.0.wards.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One round. Returns the time until the next, or nothing where a change of the Deployment tells when.
    async fn round(&self, key: &Key) -> Option<Duration> {
        let wards = self.wards().get(key)?.clone();
        let (mut is_news, mut goes_on, mut is_soon) = (false, false, false);
        for (environment, (ward, before)) in wards {
            if self.0.platform.cluster.workload(&ward.namespace, &key.name).is_none() {
                self.wards().get_mut(key)?.remove(&environment);
                continue;
            }
            let instances = match self.instances(&ward, before.as_ref()).await {
                Ok(instances) => instances,
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, service = %key, "pods not read");
                    goes_on = true;
                    continue;
                }
            };
            let answers = self.answered(&ward, (before.as_ref(), &instances)).await;
            let is_asked = |check: &Check| check.judgement(&answers).verdict == Verdict::Asked;
            is_soon |= answers.is_any() && ward.check.as_ref().is_some_and(is_asked);
            goes_on |= ward.health.is_some() || ward.check.is_some() || !instances.is_settled;
            is_news |= before.is_none_or(|before| {
                before.instances != instances || before.answers(ward.check.as_ref()) != answers
            });
            if let Some((_, found)) = self.wards().get_mut(key)?.get_mut(&environment) {
                *found = Some(Found { ward, instances, answers });
            }
        }
        if is_news {
            // An error means that the controller has ended, and with it the operator.
            let _ = self.0.news.send(key.clone());
        }
        let interval = self.0.platform.settings.interval;
        let pause = if is_soon { interval.min(AGAIN) } else { interval };
        goes_on.then(|| spread(pause, (self.0.platform.jitter)()))
    }

    async fn instances(&self, ward: &Ward, before: Option<&Found>) -> Result<Instances, ApplyError> {
        let cluster = &self.0.platform.cluster;
        let mut instances = match before {
            Some(found) if found.ward == *ward && found.instances.is_settled => found.instances.clone(),
            _ => {
                // An error means that the operator ends.
                let _turn = self.0.lists.acquire().await.ok();
                let pods = cluster.pods(&ward.namespace, &ward.labels).await?;
                let sets = cluster.replica_sets(&ward.namespace, &ward.labels).await?;
                let asked_so = before.filter(|found| found.ward.health == ward.health);
                Instances::of(&pods, &sets, asked_so.map(|found| &found.instances))
            }
        };
        let now = (self.0.platform.now)();
        let due = instances.seen.iter_mut().filter(|seen| seen.is_due(now));
        let asked = due.filter_map(|seen| Some((seen.address?, ward.health.as_ref()?, &mut seen.faults)));
        stream::iter(asked)
            .for_each_concurrent(None, async |(address, health, faults)| {
                if let Some(told) = self.told(address, health).await {
                    *faults = told;
                }
            })
            .await;
        Ok(instances)
    }

    /// What was answered to the check of `ward` with this round.
    async fn answered(&self, ward: &Ward, (before, instances): (Option<&Found>, &Instances)) -> Answers {
        let Some(check) = &ward.check else { return Answers::default() };
        let answers = before.map(|found| found.answers(Some(check))).unwrap_or_default();
        let now = (self.0.platform.now)();
        let Some(address) = instances.addresses.get(&check.release) else {
            return check.answered(&answers, (None, now));
        };
        let said = match &self.0.client {
            Some(client) => answer(client, *address, &check.smoke).await,
            None => Answer::Unsent,
        };
        check.answered(&answers, (Some(said), now))
    }

    /// What the engine at `address` says that does not work; nothing where it does not answer. A status is no matter: with
    /// 500 or 503 it says what.
    async fn told(&self, address: IpAddr, health: &Health) -> Option<BTreeSet<String>> {
        let Health { port, path, reads } = health;
        let url = format!("http://{}{path}", SocketAddr::new(address, *port));
        let mut response = match self.0.client.as_ref()?.get(url).send().await {
            Ok(response) => response,
            Err(error) => {
                tracing::debug!(%address, error = &error as &dyn std::error::Error, "engine not asked");
                return None;
            }
        };
        faults(*reads, &bounded::body(&mut response).await.ok()?)
    }
}

/// What an instance at `address` says to a smoke check. Its body is not read.
async fn answer(
    client: &Client,
    address: IpAddr,
    ReleaseSmoke { path, port, status: _ }: &ReleaseSmoke,
) -> Answer {
    let url = format!("http://{}{path}", SocketAddr::new(address, *port));
    match client.get(url).send().await {
        Ok(response) => Answer::Status(response.status().as_u16()),
        Err(error) if error.is_timeout() => Answer::Late,
        Err(error) if error.is_connect() => Answer::Refused,
        Err(_) => Answer::Broken,
    }
}

/// Makes rounds until `shutdown` resolves.
pub(super) async fn run(
    rounds: Rounds,
    asks: mpsc::UnboundedReceiver<(Key, Duration)>,
    shutdown: impl Future<Output = ()> + Send,
) {
    let round = |key: Key| {
        let rounds = rounds.clone();
        async move { rounds.round(&key).await }
    };
    turns::run(ROUNDS, asks, round, shutdown).await;
}
