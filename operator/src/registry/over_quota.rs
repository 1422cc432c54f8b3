//! IO: who may not push, as a file says that the operator writes and the cluster brings here; a second file beside it says
//! that nobody may, since the registry is read-only. Read again and again.
//!
//! It is on the way of pushes only. A file that is not there stops nobody, since none is there before the operator has
//! counted; one that cannot be read leaves what was known before. A quota saves room, it guards no secret: where it is
//! not known, builds go on.

use std::{
    path::PathBuf,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::quota::{Excess, OverQuota};
use crate::names::READ_ONLY_FILE;

/// Between two looks at the file.
const INTERVAL: Duration = Duration::from_secs(5);
/// More than an object of the cluster holds.
const BYTES_MAX: u64 = 2 * 1024 * 1024;

/// Who may not push, as far as it is known.
#[derive(Debug, Default)]
pub struct PushStops {
    path: Option<PathBuf>,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    over: OverQuota,
    is_read_only: bool,
    /// What the file held when it was read last, good or not.
    content: Vec<u8>,
}

impl PushStops {
    /// As the file at `path` says, once it was read; nobody without one.
    pub fn new(path: Option<PathBuf>) -> Self {
        Self { path, known: Mutex::default() }
    }

    /// By how much `tenant` is over its quota.
    pub fn of(&self, tenant: &str) -> Option<Excess> {
        self.known().over.of(tenant).cloned()
    }

    /// Does nobody push now, since the registry is read-only?
    pub fn is_read_only(&self) -> bool {
        self.known().is_read_only
    }

    /// Reads the file now, and looks whether the one beside it is there; both are small.
    pub fn read(&self) {
        let Some(path) = &self.path else { return };
        self.known().is_read_only = path.with_file_name(READ_ONLY_FILE).exists();
        let content = match std::fs::metadata(path) {
            Ok(found) if found.len() > BYTES_MAX => Err(std::io::Error::other("it is too large")),
            Ok(_) => std::fs::read(path),
            Err(error) => Err(error),
        };
        match content {
            Ok(content) => self.take(content),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => self.take(b"{}".to_vec()),
            Err(error) => {
                tracing::warn!(%error, path = %path.display(), "who is over quota cannot be read; as before");
            }
        }
    }

    /// Reads it for ever.
    pub async fn follow(&self) {
        loop {
            self.read();
            tokio::time::sleep(INTERVAL).await;
        }
    }

    fn take(&self, content: Vec<u8>) {
        let mut known = self.known();
        if known.content == content {
            return;
        }
        match serde_json::from_slice::<OverQuota>(&content) {
            Ok(over) => {
                tracing::info!(tenants = over.len(), "tenants over their quota of the registry");
                known.over = over;
            }
            Err(error) => {
                tracing::error!(%error, "who is over quota is not readable; as before");
            }
        }
        known.content = content;
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_stops_pushes_a_missing_one_none_and_a_broken_one_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("over-quota.json");
        let stops = PushStops::new(Some(path.clone()));
        stops.read();
        assert_eq!(stops.of("acme"), None, "there is no file yet");
        std::fs::write(&path, r#"{"acme": {"used": "21Gi", "quota": "20Gi"}}"#).unwrap();
        stops.read();
        assert_eq!(
            stops.of("acme"),
            Some(Excess { used: "21Gi".into(), quota: "20Gi".into(), uncounted: None })
        );
        assert_eq!(stops.of("beta"), None);
        for broken in ["", "{", "[]", r#"{"acme": 1}"#] {
            std::fs::write(&path, broken).unwrap();
            stops.read();
            assert!(stops.of("acme").is_some(), "{broken:?}");
        }
        std::fs::File::create(&path).unwrap().set_len(BYTES_MAX + 1).unwrap();
        stops.read();
        assert!(stops.of("acme").is_some());
        std::fs::remove_file(&path).unwrap();
        stops.read();
        assert_eq!(stops.of("acme"), None);
        std::fs::write(&path, "{").unwrap();
        let fresh = PushStops::new(Some(path));
        fresh.read();
        assert_eq!(fresh.of("acme"), None, "a restart with a broken file stops nobody");
    }
}
