#![expect(
    clippy::disallowed_types,
    reason = "IO: reads Git, the registry, and the Secret that a repository names"
)]
//! Looks at each service's repository every interval, and keeps what it saw. It writes nothing: a change wakes the
//! service's reconcile, which decides. Looks at one service never overlap, so what is seen never goes backwards.

use std::{
    collections::HashMap,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use futures::FutureExt;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, runtime::reflector::ObjectRef};
use tokio::{sync::mpsc, task::JoinSet};

use super::{
    Problem,
    history::History,
    promote::{named_digests, untagged},
    read::{Failure, content, from_git, refused_login},
    resolve::{Branch, Content, Snapshot, Tag},
    schedule::{Schedule, first_pause, pause},
    validate::ValidService,
};
use crate::{
    api::IntegrationService,
    conditions::{Reason, TOLD_AFTER},
    git::{Access, CommitId, Depth, Git, Remote, UrlPolicy},
    metrics,
    platform::Platform,
    registry::client::RegistryClient,
};

/// Looks under way at a time. Waiting ones cost little, and what limits the network is the Git module's own queue, by
/// tenant and host: a few slots here would let one that hangs hold up everybody. More than a few tenants can have services.
const LOOKS: usize = 4096;
/// After a panic, which is a defect of ours.
const AFTER_PANIC: Duration = Duration::from_mins(1);

/// A service, by namespace and name.
pub type Key = ObjectRef<IntegrationService>;

/// Where services come from.
#[derive(Clone)]
pub struct Origins {
    /// Repositories.
    pub git: Arc<Git>,
    /// Images.
    pub registry: Arc<RegistryClient>,
    /// Which repositories may be read.
    pub urls: UrlPolicy,
}

/// Asks for looks and knows what they saw. Cheap to clone.
#[derive(Clone)]
pub struct Poller(Arc<Inner>);

struct Inner {
    platform: Platform,
    origins: Origins,
    entries: Mutex<HashMap<Key, Entry>>,
    asks: mpsc::UnboundedSender<(Key, Duration)>,
    news: mpsc::UnboundedSender<Key>,
}

struct Entry {
    service: Arc<ValidService>,
    /// Value of the annotation that asks for a look now.
    requested: Option<String>,
    snapshot: Option<Arc<Snapshot>>,
    failures: u32,
}

/// The two ends that the loops need.
pub struct Ends {
    /// Requests for looks, for [`run`].
    pub asks: mpsc::UnboundedReceiver<(Key, Duration)>,
    /// Services of which something new was seen, for the controller.
    pub news: mpsc::UnboundedReceiver<Key>,
}

impl Poller {
    /// Knows nothing yet.
    pub fn new(platform: Platform, origins: Origins) -> (Self, Ends) {
        let (asks, asked) = mpsc::unbounded_channel();
        let (news, told) = mpsc::unbounded_channel();
        let inner = Inner { platform, origins, entries: Mutex::default(), asks, news };
        (Self(Arc::new(inner)), Ends { asks: asked, news: told })
    }

    /// Where services come from.
    pub fn origins(&self) -> &Origins {
        &self.0.origins
    }

    /// From now on looks at `service`: at once when it is new, was changed, or `requested` has another value.
    /// `looked_before`: an earlier run of the operator did.
    pub fn watch(&self, key: &Key, service: &ValidService, requested: Option<&String>, looked_before: bool) {
        let mut entries = self.entries();
        let Some(entry) = entries.get_mut(key) else {
            let entry = Entry {
                service: Arc::new(service.clone()),
                requested: requested.cloned(),
                snapshot: None,
                failures: 0,
            };
            entries.insert(key.clone(), entry);
            let platform = &self.0.platform;
            return self
                .ask(key, first_pause(platform.settings.interval, looked_before, (platform.jitter)()));
        };
        if *entry.service == *service && entry.requested.as_ref() == requested {
            return;
        }
        if entry.service.url != service.url || entry.service.path != service.path {
            entry.snapshot = None;
        }
        entry.service = Arc::new(service.clone());
        entry.requested = requested.cloned();
        self.ask(key, Duration::ZERO);
    }

    /// Looks at this service now, if it is looked at: its registry or Git host said that something is new.
    pub fn wake(&self, key: &Key) {
        if self.entries().contains_key(key) {
            self.ask(key, Duration::ZERO);
        }
    }

    /// Looks no longer at this service.
    pub fn forget(&self, key: &Key) {
        self.entries().remove(key);
    }

    /// What was last seen; nothing before the first look.
    pub fn snapshot(&self, key: &Key) -> Option<Arc<Snapshot>> {
        self.entries().get(key).and_then(|entry| entry.snapshot.clone())
    }

    fn ask(&self, key: &Key, pause: Duration) {
        // An error means that the loop has ended, and with it the operator.
        let _ = self.0.asks.send((key.clone(), pause));
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<Key, Entry>> {
        self.0.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One look. Returns the time until the next, or nothing when there is none.
    async fn poll(&self, key: &Key) -> Option<Duration> {
        let (service, old) = {
            let entries = self.entries();
            let entry = entries.get(key)?;
            (entry.service.clone(), entry.snapshot.clone())
        };
        if self.0.platform.services.named_in(&service.home(), &service.name).is_none() {
            self.forget(key);
            return None;
        }
        let (seen, failure) = self.look(&service, old.as_deref()).await;
        if let Some(failure) = &failure {
            let told = failure.problem.message.as_str();
            tracing::warn!(service = %key, reason = failure.problem.reason.as_str(), told, "repository not read");
        }
        self.keep(key, &service, seen, failure)
    }

    /// Stores what was seen and tells whom it concerns.
    fn keep(
        &self,
        key: &Key,
        service: &ValidService,
        mut seen: Snapshot,
        failure: Option<Failure>,
    ) -> Option<Duration> {
        let mut entries = self.entries();
        let entry = entries.get_mut(key)?;
        if entry.service.url != service.url || entry.service.path != service.path {
            return Some(Duration::ZERO);
        }
        entry.failures = if failure.is_some() { entry.failures.saturating_add(1) } else { 0 };
        let before = entry.snapshot.as_ref().and_then(|snapshot| snapshot.failure.clone());
        seen.failure = match failure {
            None => None,
            Some(failure) if failure.is_permanent || entry.failures >= TOLD_AFTER => Some(failure.problem),
            Some(_) => before,
        };
        let said_nothing = seen.branches.is_empty() && seen.failure.is_none();
        let is_news = entry.snapshot.as_deref() != Some(&seen) && !said_nothing;
        if is_news {
            entry.snapshot = Some(Arc::new(seen));
        }
        let platform = &self.0.platform;
        let next = pause(platform.settings.interval, entry.failures, (platform.jitter)());
        drop(entries);
        if is_news {
            // An error means that the controller has ended, and with it the operator.
            let _ = self.0.news.send(key.clone());
        }
        Some(next)
    }

    /// What there is now; what could not be read is as it was in `old`.
    async fn look(&self, service: &ValidService, old: Option<&Snapshot>) -> (Snapshot, Option<Failure>) {
        let mut seen = old.cloned().unwrap_or_default();
        let failure = self.look_at_branches(service, &mut seen).await.err();
        let failure = failure.map(|failure| told(service, failure));
        self.look_at_images(service, &mut seen).await;
        (seen, failure)
    }

    /// One request when nothing changed. A branch that cannot be read leaves the others readable.
    async fn look_at_branches(&self, service: &ValidService, seen: &mut Snapshot) -> Result<(), Failure> {
        let remote = self.remote(service).await?;
        let heads = counted("heads", self.0.origins.git.heads(&remote).await)?;
        let before = std::mem::take(&mut seen.branches);
        let mut failure = None;
        for environment in &service.environments {
            let name = &environment.branch;
            if seen.branches.contains_key(name) {
                continue;
            }
            let Some(head) = heads.get(name) else {
                seen.branches.insert(name.clone(), Branch::Missing);
                continue;
            };
            let same = before.values().chain(seen.branches.values()).find_map(|branch| at(branch, head));
            match same {
                Some(same) => drop(seen.branches.insert(name.clone(), same)),
                None => match self.read(&remote, service, name).await {
                    Ok(branch) => drop(seen.branches.insert(name.clone(), branch)),
                    Err(told) => {
                        failure = Some(told);
                        seen.branches.extend(before.get(name).map(|branch| (name.clone(), branch.clone())));
                    }
                },
            }
        }
        failure.map_or(Ok(()), Err)
    }

    /// Fetches the branch and reads its head, which may be newer than the one that was listed.
    async fn read(&self, remote: &Remote, service: &ValidService, branch: &str) -> Result<Branch, Failure> {
        let git = &self.0.origins.git;
        let commit = counted("fetch", git.fetch(remote, branch, Depth::One).await)?;
        let content: Result<Content, Problem> = content(git, remote, (&service.path, &commit)).await?;
        Ok(Branch::Head { commit: commit.to_string(), content: content.map(Arc::new) })
    }

    /// Asks the registry for the images that only it can name, and forgets those of commits that are no head any more.
    async fn look_at_images(&self, service: &ValidService, seen: &mut Snapshot) {
        let heads: Vec<_> = seen.branches.values().filter_map(commit_of).map(ToOwned::to_owned).collect();
        let mut digests = named_digests(service, seen);
        seen.tags.retain(|reference, _| heads.contains(reference) || digests.contains(reference));
        digests.retain(|digest| !matches!(seen.tags.get(digest), Some(Tag::Found(_))));
        let open = untagged(service, seen);
        if open.is_empty() && digests.is_empty() {
            return;
        }
        let releases = self.0.platform.releases.all_in(&service.home());
        let own = releases.iter().filter(|release| release.spec.service == service.name);
        let history = History::of(own.map(AsRef::as_ref));
        for (commit, build_id) in open {
            let tag = match history.newest_digest_of(&build_id) {
                Some(digest) => Tag::Found(digest.to_owned()),
                None => self.tag(service, &commit).await,
            };
            seen.tags.insert(commit, tag);
        }
        for digest in digests.into_iter().filter(|digest| !history.has_digest(digest)) {
            let tag = self.image(service, &digest).await;
            seen.tags.insert(digest, tag);
        }
    }

    async fn tag(&self, service: &ValidService, commit: &str) -> Tag {
        match self.0.origins.registry.digest(&service.tenant, &service.name, commit).await {
            Ok(Some(digest)) => Tag::Found(digest.to_string()),
            Ok(None) => Tag::Missing,
            Err(error) => Tag::Unknown(Problem::new(error.reason(), error.to_string())),
        }
    }

    async fn image(&self, service: &ValidService, digest: &str) -> Tag {
        let Ok(named) = digest.parse() else { return Tag::Missing };
        match self.0.origins.registry.exists(&service.tenant, &service.name, &named).await {
            Ok(true) => Tag::Found(digest.to_owned()),
            Ok(false) => Tag::Missing,
            Err(error) => Tag::Unknown(Problem::new(error.reason(), error.to_string())),
        }
    }

    /// The repository with its credentials, which are read anew each time: they may have been renewed.
    async fn remote(&self, service: &ValidService) -> Result<Remote, Failure> {
        let access = match &service.credentials {
            None => Access::default(),
            Some(name) => self.access(&service.home(), name).await?,
        };
        Ok(Remote {
            owner: service.tenant.clone(),
            url: service.url.clone(),
            credentials: access.credentials,
            ca: access.ca,
        })
    }

    async fn access(&self, home: &str, name: &str) -> Result<Access, Failure> {
        let secrets = Api::<Secret>::namespaced(self.0.platform.cluster.client(), home);
        let missing = |what: String| Failure::permanent(Reason::CredentialsMissing, what);
        let secret = secrets.get_opt(name).await.map_err(|error| {
            let reason = match &error {
                kube::Error::Api(status) if status.code == 403 => Reason::Forbidden,
                _ => Reason::Unreachable,
            };
            Failure::passing(reason, format!("the Secret {name} in {home} cannot be read yet"))
        })?;
        let secret = secret.ok_or_else(|| {
            missing(format!(
                "there is no Secret {name} in {home}: create it with `username` and `password` (and `ca.crt` for a private authority)"
            ))
        })?;
        let values = secret.data.unwrap_or_default().into_iter().map(|(key, value)| (key, value.0)).collect();
        Access::from_secret(&values).map_err(|error| missing(format!("Secret {name} in {home}: {error}")))
    }
}

/// `failure`; a refused login in words for whoever can change it.
fn told(service: &ValidService, mut failure: Failure) -> Failure {
    if failure.problem.reason == Reason::AuthenticationFailed {
        failure.problem.message =
            refused_login(&service.url, service.credentials.as_deref(), &service.home());
    }
    failure
}

fn commit_of(branch: &Branch) -> Option<&String> {
    match branch {
        Branch::Missing => None,
        Branch::Head { commit, .. } => Some(commit),
    }
}

/// The branch, if it was read at this commit.
fn at(branch: &Branch, head: &CommitId) -> Option<Branch> {
    commit_of(branch).is_some_and(|commit| commit == head.as_str()).then(|| branch.clone())
}

/// Counts how a request to a Git host ended.
fn counted<T>(operation: &'static str, answer: Result<T, crate::git::GitError>) -> Result<T, Failure> {
    metrics::counted(operation, answer).map_err(|error| from_git(&error))
}

/// Runs looks until `shutdown` resolves. Looks under way are then given up: they change nothing.
pub async fn run(
    poller: Poller,
    mut asks: mpsc::UnboundedReceiver<(Key, Duration)>,
    shutdown: impl Future<Output = ()> + Send,
) {
    let mut schedule = Schedule::default();
    let mut looks: JoinSet<(Key, Option<Duration>)> = JoinSet::new();
    tokio::pin!(shutdown);
    loop {
        while looks.len() < LOOKS {
            let Some(key) = schedule.take(Instant::now()) else { break };
            let poller = poller.clone();
            looks.spawn(async move {
                let look = AssertUnwindSafe(poller.poll(&key)).catch_unwind().await;
                if look.is_err() {
                    tracing::error!(service = %key, "the look at a repository panicked; please report this");
                }
                let next = look.unwrap_or(Some(AFTER_PANIC));
                (key, next)
            });
        }
        let next = schedule.next().filter(|_| looks.len() < LOOKS).map(tokio::time::Instant::from_std);
        tokio::select! {
            () = &mut shutdown => return,
            Some((key, pause)) = asks.recv() => schedule.ask(key, Instant::now() + pause),
            Some(look) = looks.join_next() => if let Ok((key, pause)) = look {
                let now = Instant::now();
                schedule.done(key, now, pause.map(|pause| now + pause));
            },
            () = tokio::time::sleep_until(next.unwrap_or_else(tokio::time::Instant::now)), if next.is_some() => {}
        }
    }
}
