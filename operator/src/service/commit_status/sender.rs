//! IO: tells hosts what became of commits: one request at a time for each service and environment, the newest status only.
//!
//! A pass leaves here what its board says and takes along what hosts said since; it never waits. What a host accepted
//! stands on the board, so a restart tells nothing twice.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::mpsc;

use super::{
    host::{Hosts, Kind, Verdict, call, verdict},
    report::Report,
};
use crate::{
    api::{IntegrationServiceStatus, integration_service::Reported},
    git::Git,
    metrics::COMMIT_STATUSES,
    platform::Platform,
    retry::backoff,
    service::{poll::Key, remote::remote, turns, validate::ValidService},
};

/// Until what a host refused is tried again, since somebody may have given the right meanwhile.
const AFTER_REFUSAL: Duration = Duration::from_hours(1);
/// Between two statuses of one commit that differ in their reason only: GitHub takes 1,000 for a commit.
const SAME_STATE: Duration = Duration::from_mins(5);
/// Under way at a time. What limits the network is the Git module's own queue, by tenant and host.
const TELLS: usize = 256;
/// Of one tenant and host: what asked to be left alone for a while.
type Rests = HashMap<(String, String), Instant>;
/// One environment of one service.
type Place = (Key, String);

/// Takes what is to be told. Cheap to clone.
#[derive(Clone)]
pub struct Reporter(Arc<Inner>);

struct Inner {
    platform: Platform,
    git: Arc<Git>,
    hosts: Hosts,
    entries: Mutex<HashMap<Place, Entry>>,
    rests: Mutex<Rests>,
    asks: mpsc::UnboundedSender<(Place, Duration)>,
    news: mpsc::UnboundedSender<Key>,
}

/// What is to be told of one environment, and what was.
#[derive(Default)]
struct Entry {
    /// Nothing where the host knows all.
    wanted: Option<(Arc<ValidService>, Report)>,
    /// What the host said last, as the board says it.
    told: Option<Reported>,
    /// When it said so, in this run of the operator.
    at: Option<Instant>,
    failures: u32,
}

/// The two ends that the loops need.
pub struct Ends {
    /// Statuses to be sent, for [`run`].
    pub asks: mpsc::UnboundedReceiver<(Place, Duration)>,
    /// Services of which a host said something, for the controller.
    pub news: mpsc::UnboundedReceiver<Key>,
}

impl Reporter {
    /// Has nothing to tell yet.
    pub fn new(platform: Platform, git: Arc<Git>, hosts: Hosts) -> (Self, Ends) {
        let (asks, asked) = mpsc::unbounded_channel();
        let (news, told) = mpsc::unbounded_channel();
        let (entries, rests) = (Mutex::default(), Mutex::default());
        let inner = Inner { platform, git, hosts, entries, rests, asks, news };
        (Self(Arc::new(inner)), Ends { asks: asked, news: told })
    }

    /// Writes onto the board what hosts said since, and sends off what it says now and they do not know.
    pub fn go_over(&self, key: &Key, service: &ValidService, board: &mut IntegrationServiceStatus) {
        if self.0.hosts.kind(&service.url).is_none() {
            board.environments.iter_mut().for_each(|state| state.reported = None);
            return self.forget(key);
        }
        let mut entries = self.entries();
        let mut shared = None;
        for state in &mut board.environments {
            let place = (key.clone(), state.name.clone());
            if let Some(told) = entries.get(&place).and_then(|entry| entry.told.clone()) {
                state.reported = Some(told);
            }
            let told = &state.reported;
            let is_known =
                |new: &Report| told.as_ref().is_some_and(|told| new.is(told) && told.problem.is_none());
            let Some(new) = Report::of(state).filter(|new| !is_known(new)) else {
                entries.entry(place).and_modify(|entry| entry.wanted = None);
                continue;
            };
            let service = shared.get_or_insert_with(|| Arc::new(service.clone()));
            let entry = entries.entry(place.clone()).or_default();
            entry.told.clone_from(told);
            if let Some(pause) = entry.take(service.clone(), new, Instant::now()) {
                // An error means that the loop has ended, and with it the operator.
                let _ = self.0.asks.send((place, pause));
            }
        }
    }

    /// Tells nothing more of this service.
    pub fn forget(&self, key: &Key) {
        self.entries().retain(|(of, _), _| of != key);
    }

    /// Tells one host. Returns the time until the next attempt, or nothing when there is none.
    async fn tell(&self, place: &Place) -> Option<Duration> {
        let (service, report) = self.entries().get(place)?.wanted.clone()?;
        let kind = self.0.hosts.kind(&service.url)?;
        let host = (service.tenant.clone(), service.url.host().to_owned());
        if let Some(pause) = self.rest(&host) {
            return Some(pause);
        }
        let verdict = self.send(&service, kind, (&place.1, &report)).await;
        COMMIT_STATUSES.with_label_values(&[kind.as_str(), word(&verdict)]).inc();
        let problem = match verdict {
            Verdict::Accepted => None,
            Verdict::Refused(problem) => Some(problem),
            Verdict::Again(asked) => {
                let mut entries = self.entries();
                let entry = entries.get_mut(place)?;
                let pause =
                    asked.unwrap_or_default().max(backoff(entry.failures, (self.0.platform.jitter)()));
                entry.failures = entry.failures.saturating_add(1);
                if let Some(asked) = asked {
                    self.rests().insert(host, Instant::now() + asked);
                }
                tracing::warn!(service = %place.0, host = %service.url.host(), ?pause, "commit status not told yet");
                return Some(pause);
            }
        };
        self.answered(place, &report, problem)
    }

    /// Keeps what the host said, and wakes the service to write it onto the board.
    fn answered(&self, place: &Place, report: &Report, problem: Option<String>) -> Option<Duration> {
        let mut entries = self.entries();
        let entry = entries.get_mut(place)?;
        let next = problem.is_some().then_some(AFTER_REFUSAL);
        entry.told = Some(report.reported(problem));
        (entry.at, entry.failures) = (Some(Instant::now()), 0);
        entry.wanted.take_if(|(_, wanted)| next.is_none() && wanted == report);
        // An error means that the controller has ended, and with it the operator.
        let _ = self.0.news.send(place.0.clone());
        next
    }

    async fn send(
        &self,
        service: &ValidService,
        kind: Kind,
        (environment, report): (&str, &Report),
    ) -> Verdict {
        let context = format!("imaas/{}/{environment}", service.name);
        let Some(call) = call(kind, &service.url, (&context, report)) else {
            let form = format!(
                "{}: no commit status is told: it is not the URL of a repository of {}",
                service.url,
                kind.as_str()
            );
            return Verdict::Refused(form);
        };
        let Ok((remote, _)) = remote(&self.0.platform, service).await else {
            // What is wrong with the Secret is the poller's to tell.
            return Verdict::Again(None);
        };
        if remote.credentials.is_none() {
            let needs = "no commit status is told without a login: name a Secret with `username` and `password` in `repository.credentials` of the service in the tenant file";
            return Verdict::Refused(needs.to_owned());
        }
        match self.0.git.call(&remote, &call).await {
            Ok(reply) => verdict(kind, report.state, &reply, (self.0.platform.now)()),
            Err(error) if error.is_permanent() => Verdict::Refused(error.to_string()),
            Err(error) => {
                tracing::debug!(error = &error as &dyn std::error::Error, "commit status not sent");
                Verdict::Again(None)
            }
        }
    }

    /// How long the host is to be left alone still, by this tenant.
    fn rest(&self, host: &(String, String)) -> Option<Duration> {
        let now = Instant::now();
        let mut rests = self.rests();
        rests.retain(|_, until| *until > now);
        rests.get(host).map(|until| until.duration_since(now))
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<Place, Entry>> {
        self.0.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn rests(&self) -> MutexGuard<'_, Rests> {
        self.0.rests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    /// From now on `new` is to be told. Returns how long it waits; nothing where the one before it is waiting for its turn,
    /// which is then this one's: what only differs in words is no reason to ask a host sooner.
    fn take(&mut self, service: Arc<ValidService>, new: Report, now: Instant) -> Option<Duration> {
        let is_reached_so =
            |of: &ValidService| of.url == service.url && of.credentials == service.credentials;
        let pause = match &self.wanted {
            Some((of, before)) if is_reached_so(of) && before.is_of_state(&new.reported(None)) => None,
            Some((of, _)) if !is_reached_so(of) => Some(Duration::ZERO),
            Some(_) | None => Some(self.pause(&new, now)),
        };
        if pause.is_some() {
            self.failures = 0;
        }
        self.wanted = Some((service, new));
        pause
    }

    /// How long `new` waits, given what was told.
    fn pause(&self, new: &Report, now: Instant) -> Duration {
        let Some(told) = self.told.as_ref().filter(|told| new.is_of_state(told)) else {
            return Duration::ZERO;
        };
        // What was refused rests after a restart, too: all would else be refused again at once.
        let rest = if told.problem.is_some() { AFTER_REFUSAL } else { SAME_STATE };
        match self.at {
            Some(at) => (at + rest).saturating_duration_since(now),
            None if told.problem.is_some() => rest,
            None => Duration::ZERO,
        }
    }
}

fn word(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Accepted => "accepted",
        Verdict::Refused(_) => "refused",
        Verdict::Again(_) => "again",
    }
}

/// Tells until `shutdown` resolves. What is under way then is told again after the next start.
pub async fn run(
    reporter: Reporter,
    asks: mpsc::UnboundedReceiver<(Place, Duration)>,
    shutdown: impl Future<Output = ()> + Send,
) {
    let tell = |place: Place| {
        let reporter = reporter.clone();
        async move { reporter.tell(&place).await }
    };
    turns::run(TELLS, asks, tell, shutdown).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{api::integration_service::CommitState, git::CommitId, sample};

    const SECOND: Duration = Duration::from_secs(1);

    fn report(state: CommitState, (reason, description): (&str, &str)) -> Report {
        Report {
            commit: CommitId::parse(&"4f2a".repeat(10)).unwrap(),
            branch: "main".to_owned(),
            state,
            reason: reason.to_owned(),
            description: description.to_owned(),
        }
    }

    fn service(credentials: &str) -> Arc<ValidService> {
        Arc::new(ValidService { credentials: Some(credentials.to_owned()), ..sample::service(vec![]) })
    }

    #[test]
    fn a_new_state_is_told_at_once_and_another_reason_and_what_was_refused_later() {
        let pending = report(CommitState::Pending, ("ImageMissing", ""));
        let (taken, refused) = (pending.reported(None), pending.reported(Some("no right".to_owned())));
        let now = Instant::now();
        let after = |passed: Duration, new: &Report, told: &Reported| {
            let entry = Entry { at: Some(now), told: Some(told.clone()), ..Entry::default() };
            entry.pause(new, now + passed)
        };
        let success = report(CommitState::Success, ("Succeeded", ""));
        assert_eq!(after(SECOND, &success, &taken), Duration::ZERO);
        assert_eq!(after(SECOND, &success, &refused), Duration::ZERO, "the login may be another one");
        let other_reason = report(CommitState::Pending, ("RollingOut", ""));
        assert_eq!(after(SECOND, &other_reason, &taken) + SECOND, SAME_STATE);
        assert_eq!(after(SAME_STATE, &other_reason, &taken), Duration::ZERO);
        assert_eq!(after(SECOND, &pending, &refused) + SECOND, AFTER_REFUSAL);
        let restarted =
            |told: Reported| Entry { told: Some(told), ..Entry::default() }.pause(&other_reason, now);
        assert_eq!((restarted(taken), restarted(refused)), (Duration::ZERO, AFTER_REFUSAL));
    }

    #[test]
    fn other_words_ask_a_host_that_is_down_no_sooner_and_the_newest_are_told() {
        let (now, mut entry) = (Instant::now(), Entry::default());
        let rolling = |words: &str| report(CommitState::Pending, ("RollingOut", words));
        assert_eq!(entry.take(service("orders-git"), rolling("0 of 2"), now), Some(Duration::ZERO));
        entry.failures = 3;
        assert_eq!(entry.take(service("orders-git"), rolling("1 of 2"), now), None);
        assert_eq!((entry.failures, &entry.wanted.as_ref().unwrap().1), (3, &rolling("1 of 2")));
        let success = report(CommitState::Success, ("Succeeded", ""));
        assert_eq!(entry.take(service("orders-git"), success.clone(), now), Some(Duration::ZERO));
        assert_eq!(entry.failures, 0);
        // It was refused, and is reached by another login now.
        (entry.told, entry.at) = (Some(success.reported(Some("no right".to_owned()))), Some(now));
        assert_eq!(entry.take(service("orders-git"), success.clone(), now), None);
        assert_eq!(entry.take(service("other-git"), success, now), Some(Duration::ZERO));
    }
}
