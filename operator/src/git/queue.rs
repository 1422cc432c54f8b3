//! Who may work when: one operation per mirror, a few per host, some over all. What is returned is held while working.

use std::collections::HashMap;
use std::hash::Hash;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard, OwnedSemaphorePermit, Semaphore};

use super::GitError;

/// The locks. They are forgotten when nobody holds them and there are many.
pub struct Queue {
    all: Arc<Semaphore>,
    per_host: usize,
    hosts: Mutex<HashMap<String, Arc<Semaphore>>>,
    mirrors: Mutex<HashMap<PathBuf, Arc<AsyncMutex<()>>>>,
}

/// A place among those that use the network.
pub struct Turn {
    _host: OwnedSemaphorePermit,
    _all: OwnedSemaphorePermit,
}

/// Above this many entries, those that nobody uses are dropped.
const MANY: usize = 4096;

impl Queue {
    /// At least one each.
    pub fn new(all: usize, per_host: usize) -> Self {
        let all = Arc::new(Semaphore::new(all.max(1)));
        Self { all, per_host: per_host.max(1), hosts: Mutex::default(), mirrors: Mutex::default() }
    }

    /// Waits for a turn. The host's comes first, so that a slow host holds up only its own.
    pub async fn turn(&self, host: &str) -> Result<Turn, GitError> {
        let semaphore = entry(&self.hosts, host.to_owned(), || Semaphore::new(self.per_host));
        let host = semaphore.acquire_owned().await.map_err(|_| GitError::Stopped)?;
        let all = Arc::clone(&self.all).acquire_owned().await.map_err(|_| GitError::Stopped)?;
        Ok(Turn { _host: host, _all: all })
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
        entry(&self.mirrors, mirror.to_owned(), || AsyncMutex::new(()))
    }
}

fn entry<K: Eq + Hash, V>(map: &Mutex<HashMap<K, Arc<V>>>, key: K, new: impl FnOnce() -> V) -> Arc<V> {
    let mut map = map.lock().unwrap_or_else(PoisonError::into_inner);
    if map.len() >= MANY {
        map.retain(|_, value| Arc::strong_count(value) > 1);
    }
    Arc::clone(map.entry(key).or_insert_with(|| Arc::new(new())))
}
