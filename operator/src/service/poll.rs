//! IO: looks at each service's repository every interval, and keeps what it saw. It writes nothing: a change wakes the
//! service's reconcile, which decides. Looks at one service never overlap, so what is seen never goes backwards.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use kube::runtime::reflector::ObjectRef;
use tokio::sync::mpsc;

use super::{
    Problem,
    brought::{Brought, Place},
    commit_status::host::Hosts,
    images::may_be_awaited,
    login::Refused,
    look::{look, read_contents},
    read::Failure,
    remote::rests,
    schedule::{first_pause, pause},
    snapshot::{Signed, Snapshot},
    turns,
    validate::ValidService,
};
use crate::{
    api::{IntegrationService, IntegrationServiceStatus},
    conditions::{Reason, TOLD_AFTER},
    git::{Git, UrlPolicy},
    platform::Platform,
    registry::{client::RegistryClient, signature::Seal},
    release::Contents,
};

/// Looks under way at a time. Waiting ones cost little, and what limits the network is the Git module's own queue, by
/// tenant and host: a few slots here would let one that hangs hold up everybody. More than a few tenants can have services.
const LOOKS: usize = 4096;
/// Between a registry's word and the look: whatever is pushed meanwhile is one look.
const SOON: Duration = Duration::from_millis(500);
/// References that came and are not looked at yet, of one service.
const COME_MAX: usize = 64;

/// A service, by namespace and name.
pub type Key = ObjectRef<IntegrationService>;

/// Where services come from.
#[derive(Clone)]
pub struct Origins {
    /// Repositories.
    pub git: Arc<Git>,
    /// Images.
    pub registry: Arc<RegistryClient>,
    /// Whether the images of a service go with it: not from a registry of somebody else's.
    pub deletes_images: bool,
    /// Which repositories may be read.
    pub urls: UrlPolicy,
    /// Which hosts of theirs are told what became of commits.
    pub statuses: Hosts,
}

/// Asks for looks and knows what they saw. Cheap to clone.
#[derive(Clone)]
pub struct Poller(Arc<Inner>);

struct Inner {
    platform: Platform,
    origins: Origins,
    entries: Mutex<HashMap<Key, Entry>>,
    brought: Mutex<Brought>,
    asks: mpsc::UnboundedSender<(Key, Duration)>,
    news: mpsc::UnboundedSender<Key>,
}

struct Entry {
    service: Arc<ValidService>,
    /// Value of the annotation that asks for a look now.
    requested: Option<String>,
    snapshot: Option<Arc<Snapshot>>,
    /// What the next look is to bring.
    wanted: BTreeSet<Place>,
    /// What images that wait are to be: asked for in each look.
    seals: BTreeSet<Seal>,
    /// Tags and digests that came since the last look began. It may have asked for them a moment too early.
    come: Vec<String>,
    failures: u32,
    /// Nothing where the next look is to try it, whatever its Secret is.
    refused: Option<Refused>,
}

impl Entry {
    fn may_await_what_came(&self) -> bool {
        let Some(seen) = self.snapshot.as_deref() else { return false };
        let is_open = |seal: &&Seal| seen.signed.get(seal) != Some(&Signed::Yes);
        let signatures: Vec<_> = self.seals.iter().filter(is_open).map(Seal::tag).collect();
        self.come
            .iter()
            .any(|reference| signatures.contains(reference) || may_be_awaited(&self.service, seen, reference))
    }
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
        let (entries, brought) = (Mutex::default(), Mutex::default());
        let inner = Inner { platform, origins, entries, brought, asks, news };
        (Self(Arc::new(inner)), Ends { asks: asked, news: told })
    }

    /// Where services come from.
    pub fn origins(&self) -> &Origins {
        &self.0.origins
    }

    /// From now on looks at `service`: at once when it is new, was changed, or `requested` has another value.
    /// `board`: as it was told last, also by an earlier run of the operator.
    pub fn watch(
        &self,
        key: &Key,
        service: &ValidService,
        requested: Option<&String>,
        board: Option<&IntegrationServiceStatus>,
    ) {
        let mut entries = self.entries();
        let Some(entry) = entries.get_mut(key) else {
            let entry = Entry {
                service: Arc::new(service.clone()),
                requested: requested.cloned(),
                snapshot: Some(Arc::new(Snapshot::of_board(board))),
                wanted: BTreeSet::new(),
                seals: BTreeSet::new(),
                come: Vec::new(),
                failures: 0,
                refused: None,
            };
            entries.insert(key.clone(), entry);
            let platform = &self.0.platform;
            let looked_before = board.is_some_and(|s| s.environments.iter().any(|e| e.commit.is_some()));
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
        entry.refused = None;
        self.ask(key, Duration::ZERO);
    }

    /// The registry says that these tags and digests are in the service's area now: looks soon, if one may be what it waits for.
    /// What else is pushed there costs nothing.
    pub fn has_come(&self, key: &Key, references: Vec<String>) {
        let mut entries = self.entries();
        let Some(entry) = entries.get_mut(key) else { return };
        entry.come.extend(references);
        // What came first is what was waited for longest.
        entry.come.truncate(COME_MAX);
        if entry.may_await_what_came() {
            self.ask(key, SOON);
        }
    }

    /// Looks no longer at this service.
    pub fn forget(&self, key: &Key) {
        self.entries().remove(key);
        self.brought().forget(key);
    }

    /// What the files of a configuration hold, or why that is not to be had. It is handed out once and not kept: nothing
    /// where it is to be brought first, which wakes the service again.
    pub fn contents(&self, key: &Key, place: &Place) -> Option<Result<Contents, Problem>> {
        if let Some(contents) = self.brought().take(key, place) {
            return Some(contents);
        }
        self.entries().get_mut(key)?.wanted.insert(place.clone());
        self.ask(key, Duration::ZERO);
        None
    }

    /// From now on each look asks whether images are as these say, the first at once.
    pub fn ask_for_signatures(&self, key: &Key, seals: BTreeSet<Seal>) {
        let mut entries = self.entries();
        let Some(entry) = entries.get_mut(key) else { return };
        let is_new = seals.difference(&entry.seals).next().is_some();
        entry.seals = seals;
        if is_new {
            self.ask(key, Duration::ZERO);
        }
    }

    /// What was last seen; nothing before the first look.
    pub fn snapshot(&self, key: &Key) -> Option<Arc<Snapshot>> {
        self.entries().get(key).and_then(|entry| entry.snapshot.clone())
    }

    /// The service as it is looked at, and what was last seen.
    pub fn known(&self, key: &Key) -> Option<(Arc<ValidService>, Arc<Snapshot>)> {
        let entries = self.entries();
        let entry = entries.get(key)?;
        Some((entry.service.clone(), entry.snapshot.clone()?))
    }

    fn ask(&self, key: &Key, pause: Duration) {
        // An error means that the loop has ended, and with it the operator.
        let _ = self.0.asks.send((key.clone(), pause));
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<Key, Entry>> {
        self.0.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn brought(&self) -> MutexGuard<'_, Brought> {
        self.0.brought.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One look. Returns the time until the next, or nothing when there is none.
    async fn poll(&self, key: &Key) -> Option<Duration> {
        let (service, old, (wanted, seals), refused) = {
            let mut entries = self.entries();
            let entry = entries.get_mut(key)?;
            entry.come.clear();
            let wanted = std::mem::take(&mut entry.wanted);
            let asked = (wanted, entry.seals.clone());
            (entry.service.clone(), entry.snapshot.clone(), asked, entry.refused.clone())
        };
        if self.0.platform.services.named_in(&service.home(), &service.name).is_none() {
            self.forget(key);
            return None;
        }
        if wanted.is_empty() && rests(&self.0.platform, &service, refused.as_ref()).await {
            return Some(self.pause(0));
        }
        for place in wanted {
            self.bring(key, &service, (place, old.as_deref())).await;
        }
        let Inner { platform, origins, .. } = &*self.0;
        let (seen, failure) = look((platform, origins), (&service, seals), old.as_deref()).await;
        if let Some(failure) = &failure {
            let told = failure.problem.message.as_str();
            tracing::warn!(service = %key, reason = failure.problem.reason.as_str(), told, "repository not read");
        }
        self.keep(key, &service, seen, failure)
    }

    fn pause(&self, failures: u32) -> Duration {
        let platform = &self.0.platform;
        pause(platform.settings.interval, failures, (platform.jitter)())
    }

    /// Reads what a configuration holds, for the next pass.
    async fn bring(&self, key: &Key, service: &ValidService, (place, seen): (Place, Option<&Snapshot>)) {
        let Inner { platform, origins, .. } = &*self.0;
        let contents = read_contents((platform, origins), service, (&place, seen)).await;
        let contents = contents.map_err(|failure| failure.problem);
        self.brought().put(key.clone(), place, contents);
        // An error means that the controller has ended, and with it the operator.
        let _ = self.0.news.send(key.clone());
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
        let longer = self.pause(entry.failures);
        let of_secret =
            failure.as_ref().is_some_and(|failure| failure.problem.reason == Reason::CredentialsMissing);
        let refused = failure.as_ref().and_then(|failure| failure.refused.clone());
        entry.refused = refused.map(|secret| Refused { secret, until: Instant::now() + longer });
        // A Secret that is put right is seen by the next look: to look there costs no Git host anything.
        let next = if of_secret || entry.refused.is_some() { self.pause(0) } else { longer };
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
        let next = if entry.may_await_what_came() { SOON } else { next };
        drop(entries);
        if is_news {
            // An error means that the controller has ended, and with it the operator.
            let _ = self.0.news.send(key.clone());
        }
        Some(next)
    }
}

/// Runs looks until `shutdown` resolves.
pub async fn run(
    poller: Poller,
    asks: mpsc::UnboundedReceiver<(Key, Duration)>,
    shutdown: impl Future<Output = ()> + Send,
) {
    let look = |key: Key| {
        let poller = poller.clone();
        async move { poller.poll(&key).await }
    };
    turns::run(LOOKS, asks, look, shutdown).await;
}
