//! IO: room on disk for mirrors. All together and one owner's have a bound, which holds while a pack arrives; what nobody
//! asked for longest goes first. A mirror that went is fetched again when its repository changes.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use super::mirror::Mirror;
use super::queue::Queue;

/// When each mirror was last asked for, by whom, and how large it is.
pub struct Room {
    queue: Arc<Queue>,
    all: u64,
    share: u64,
    mirrors: Mutex<HashMap<PathBuf, Use>>,
}

struct Use {
    /// Not known of those of an earlier run.
    owner: Option<String>,
    asked: Instant,
    bytes: u64,
}

/// There is no room, and nothing that could be removed. Names what is full, and its bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full {
    /// Of one owner, or of all.
    pub whose: &'static str,
    /// In bytes.
    pub cap: u64,
}

/// Room is taken in pieces of this size while a pack arrives.
pub const PIECE: u64 = 1 << 18;
/// One owner gets this part of all.
const SHARE: u64 = 4;

impl Room {
    /// With the mirrors that an earlier run left in `directory`. Their bytes together stay below `all`.
    pub fn new(queue: Arc<Queue>, all: u64, directory: &Path, now: Instant) -> io::Result<Self> {
        let mut mirrors = HashMap::new();
        for entry in std::fs::read_dir(directory)? {
            let mirror = Mirror::at(entry?.path().with_extension(""));
            let bytes = mirror.bytes()?;
            mirrors.insert(mirror.path().to_owned(), Use { owner: None, asked: now, bytes });
        }
        Ok(Self { queue, all, share: all / SHARE, mirrors: Mutex::new(mirrors) })
    }

    /// It is asked for.
    pub fn asked(&self, mirror: &Path, owner: &str, now: Instant) {
        let mut mirrors = self.mirrors();
        let bytes = mirrors.get(mirror).map_or(0, |used| used.bytes);
        mirrors.insert(mirror.to_owned(), Use { owner: Some(owner.to_owned()), asked: now, bytes });
    }

    /// Was it asked for since?
    pub fn is_since(&self, mirror: &Path, since: Instant) -> bool {
        self.mirrors().get(mirror).is_some_and(|used| used.asked >= since)
    }

    /// Forgets what is not on disk and was not asked for since.
    pub fn forget(&self, since: Instant) {
        self.mirrors().retain(|_, used| used.asked >= since || used.bytes > 0);
    }

    /// Takes in how large it is on disk.
    pub fn measure(&self, mirror: &Mirror) -> io::Result<()> {
        let bytes = mirror.bytes()?;
        if let Some(used) = self.mirrors().get_mut(mirror.path()) {
            used.bytes = bytes;
        }
        Ok(())
    }

    /// Takes room for more of this mirror, on which the caller works alone; removes others for it. Blocks.
    pub fn take(&self, mirror: &Path, more: u64) -> Result<(), Full> {
        loop {
            let (full, others) = match self.try_take(mirror, more) {
                Ok(()) => return Ok(()),
                Err(full) => full,
            };
            if !others.into_iter().any(|other| self.remove(&Mirror::at(other))) {
                return Err(full);
            }
        }
    }

    /// Removes a mirror, unless somebody works on it. Blocks.
    fn remove(&self, mirror: &Mirror) -> bool {
        let Some(_alone) = self.queue.alone_now(mirror.path()) else { return false };
        let removed =
            mirror.spare().remove().and_then(|()| mirror.remove()).and_then(|()| self.measure(mirror));
        if let Err(error) = &removed {
            tracing::warn!(error = error as &dyn std::error::Error, "git mirror not removed");
        }
        removed.is_ok()
    }

    /// Without room: what is full, and which mirrors could go, the first of them first.
    fn try_take(&self, mirror: &Path, more: u64) -> Result<(), (Full, Vec<PathBuf>)> {
        let mut mirrors = self.mirrors();
        let owner = mirrors.get(mirror).and_then(|used| used.owner.clone());
        let sum = |is: &dyn Fn(&Use) -> bool| -> u64 {
            mirrors.values().filter(|used| is(used)).map(|used| used.bytes).sum()
        };
        let is_own = |used: &Use| used.owner == owner;
        let full = if sum(&is_own) + more > self.share {
            Full { whose: "of this tenant", cap: self.share }
        } else if sum(&|_| true) + more > self.all {
            Full { whose: "of all tenants", cap: self.all }
        } else {
            if let Some(used) = mirrors.get_mut(mirror) {
                used.bytes += more;
            }
            return Ok(());
        };
        let may_go = |used: &Use| used.bytes > 0 && (full.cap == self.all || is_own(used));
        let mut others: Vec<_> = mirrors.iter().filter(|(_, used)| may_go(used)).collect();
        others.sort_by_key(|(_, used)| used.asked);
        Err((full, others.into_iter().map(|(path, _)| path.clone()).collect()))
    }

    fn mirrors(&self) -> MutexGuard<'_, HashMap<PathBuf, Use>> {
        self.mirrors.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
