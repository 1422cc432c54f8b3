//! Who may work when: one operation per mirror; over the network a few per owner, per host and over all, owners in turn.
//! What is returned is held while working. Lists of branches, fetches, visits and calls have places of their own: a list is cheap.

use std::collections::{HashMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard, oneshot};

use super::GitError;

/// The locks and the lanes. A lock is forgotten when nobody holds it and there are many.
pub struct Queue {
    /// For lists of branches.
    pub heads: Arc<Lane>,
    /// For fetches.
    pub fetches: Arc<Lane>,
    /// For looks at whole directories, which take no network and much of a processor.
    pub visits: Arc<Lane>,
    /// For requests to the APIs of hosts.
    pub calls: Arc<Lane>,
    mirrors: Mutex<HashMap<PathBuf, Arc<AsyncMutex<()>>>>,
}

/// How many may work at a time; at least one each.
#[derive(Clone, Copy, Debug)]
pub struct Places {
    /// Together.
    pub all: usize,
    /// On one host.
    pub per_host: usize,
    /// For one owner.
    pub per_owner: usize,
}

/// Places, and who waits for one.
pub struct Lane {
    places: Places,
    line: Mutex<Line>,
}

/// A place among those that use the network, given back when dropped.
pub struct Turn {
    lane: Arc<Lane>,
    owner: String,
    host: String,
}

#[derive(Default)]
struct Line {
    running: usize,
    hosts: HashMap<String, usize>,
    /// Those who wait or work; who had a turn goes to the end.
    owners: VecDeque<Owner>,
}

struct Owner {
    name: String,
    running: usize,
    waiting: VecDeque<Waiting>,
}

struct Waiting {
    host: String,
    turn: oneshot::Sender<Turn>,
}

/// Above this many entries, those that nobody uses are dropped.
const MANY: usize = 4096;

impl Queue {
    /// Nobody works yet.
    pub fn new(places: [Places; 4]) -> Self {
        let [heads, fetches, visits, calls] = places.map(Lane::new);
        Self { heads, fetches, visits, calls, mirrors: Mutex::default() }
    }

    /// Waits until nobody else works on this mirror.
    pub async fn alone(&self, mirror: &Path) -> OwnedMutexGuard<()> {
        self.mirror(mirror).lock_owned().await
    }

    /// The same, unless somebody works on it.
    pub fn alone_now(&self, mirror: &Path) -> Option<OwnedMutexGuard<()>> {
        self.mirror(mirror).try_lock_owned().ok()
    }

    fn mirror(&self, mirror: &Path) -> Arc<AsyncMutex<()>> {
        let mut mirrors = self.mirrors.lock().unwrap_or_else(PoisonError::into_inner);
        if mirrors.len() >= MANY {
            mirrors.retain(|_, lock| Arc::strong_count(lock) > 1);
        }
        Arc::clone(mirrors.entry(mirror.to_owned()).or_default())
    }
}

impl Lane {
    fn new(places: Places) -> Arc<Self> {
        Arc::new(Self { places, line: Mutex::default() })
    }

    /// Waits for a turn. Whoever waits for a host or has all the places of an owner holds up nobody else.
    pub async fn turn(self: &Arc<Self>, owner: &str, host: &str) -> Result<Turn, GitError> {
        let (turn, given) = oneshot::channel();
        self.line().wait(owner, Waiting { host: host.to_owned(), turn });
        self.give();
        given.await.map_err(|_| GitError::Stopped)
    }

    /// Gives away the places that are free.
    fn give(self: &Arc<Self>) {
        loop {
            let Some((owner, Waiting { host, turn })) = self.line().next(self.places) else { return };
            // Without the lock: one that nobody waits for any more is given back at once.
            drop(turn.send(Turn { lane: Arc::clone(self), owner, host }));
        }
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.lane.line().done(&self.owner, &self.host);
        self.lane.give();
    }
}

impl Line {
    fn wait(&mut self, owner: &str, waiting: Waiting) {
        if let Some(owner) = self.owners.iter_mut().find(|found| found.name == owner) {
            return owner.waiting.push_back(waiting);
        }
        let waiting = VecDeque::from([waiting]);
        self.owners.push_back(Owner { name: owner.to_owned(), running: 0, waiting });
    }

    /// The first of the first owner who may work now.
    fn next(&mut self, places: Places) -> Option<(String, Waiting)> {
        if self.running >= places.all.max(1) {
            return None;
        }
        for at in 0..self.owners.len() {
            let Some(owner) = self.owners.get_mut(at) else { break };
            owner.waiting.retain(|waiting| !waiting.turn.is_closed());
            let hosts = &self.hosts;
            let is_free = |waiting: &Waiting| {
                hosts.get(&waiting.host).copied().unwrap_or_default() < places.per_host.max(1)
            };
            let may = owner.running < places.per_owner.max(1);
            let Some(first) = owner.waiting.iter().position(is_free).filter(|_| may) else { continue };
            let waiting = owner.waiting.remove(first)?;
            let mut owner = self.owners.remove(at)?;
            owner.running += 1;
            self.running += 1;
            *self.hosts.entry(waiting.host.clone()).or_default() += 1;
            let name = owner.name.clone();
            self.owners.push_back(owner);
            return Some((name, waiting));
        }
        None
    }

    fn done(&mut self, owner: &str, host: &str) {
        self.running -= 1;
        if let Some(running) = self.hosts.get_mut(host) {
            *running -= 1;
        }
        self.hosts.retain(|_, running| *running > 0);
        if let Some(owner) = self.owners.iter_mut().find(|found| found.name == owner) {
            owner.running -= 1;
        }
        self.owners.retain(|owner| owner.running > 0 || !owner.waiting.is_empty());
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures::FutureExt;

    use super::*;

    fn lane(all: usize, per_host: usize, per_owner: usize) -> Arc<Lane> {
        Lane::new(Places { all, per_host, per_owner })
    }

    fn now(lane: &Arc<Lane>, owner: &str, host: &str) -> Option<Turn> {
        lane.turn(owner, host).now_or_never().map(Result::unwrap)
    }

    #[test]
    fn one_owner_leaves_room_for_the_others_on_the_same_host() {
        let lane = lane(64, 8, 2);
        let acme = [now(&lane, "acme", "git"), now(&lane, "acme", "git")];
        assert!(acme.iter().all(Option::is_some));
        assert!(
            now(&lane, "acme", "other").is_none(),
            "acme has all its places, also by way of another host"
        );
        let beta = now(&lane, "beta", "git");
        assert!(beta.is_some());
        drop(acme);
        assert!(now(&lane, "acme", "git").is_some());
    }

    #[test]
    fn owners_are_served_in_turn_whoever_waits_longest() {
        let lane = lane(1, 1, 1);
        let mut held = now(&lane, "acme", "git");
        let mut first = pin!(lane.turn("acme", "git"));
        let mut second = pin!(lane.turn("acme", "git"));
        let mut third = pin!(lane.turn("beta", "git"));
        assert!(first.as_mut().now_or_never().is_none() && second.as_mut().now_or_never().is_none());
        assert!(third.as_mut().now_or_never().is_none());
        held = held.and(None);
        assert!(held.is_none());
        let turn = first.as_mut().now_or_never();
        assert!(turn.is_some(), "it is the first that waits, and nobody had less");
        drop(turn);
        assert!(second.as_mut().now_or_never().is_none(), "acme had its turn");
        assert!(third.as_mut().now_or_never().is_some());
        assert!(second.as_mut().now_or_never().is_some());
    }

    #[test]
    fn one_that_waits_for_its_host_holds_up_nobody() {
        let lane = lane(2, 1, 2);
        let held = now(&lane, "acme", "slow");
        let mut waits = pin!(lane.turn("acme", "slow"));
        assert!(waits.as_mut().now_or_never().is_none());
        assert!(now(&lane, "acme", "git").is_some() && now(&lane, "beta", "git").is_some());
        drop(held);
        assert!(waits.now_or_never().is_some());
    }

    #[test]
    fn who_gives_up_waiting_or_working_leaves_nothing() {
        let lane = lane(1, 1, 1);
        let held = now(&lane, "acme", "git");
        let mut given = Box::pin(lane.turn("beta", "git"));
        assert!(given.as_mut().now_or_never().is_none());
        assert!(now(&lane, "gamma", "git").is_none(), "and gives up");
        drop(held);
        drop(given);
        assert!(now(&lane, "acme", "git").is_some(), "the turn that beta was given is free again");
        let left = lane.line();
        assert!(left.running == 0 && left.hosts.is_empty() && left.owners.is_empty());
    }
}
