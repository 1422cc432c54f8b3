//! IO: removes the mirrors that nobody asks for any more: of services that are gone, and of credentials and URLs that were
//! changed. Nobody tells of these, so what counts is when a mirror was last asked for.

use std::time::Duration;

use tokio::time::Instant;

use super::mirror::Mirror;
use super::{Git, GitError};

/// A mirror that nobody asked for so long is removed. A repository in use is asked for in each interval, and one that is
/// looked at more seldom is fetched anew.
const UNUSED: Duration = Duration::from_hours(1);
/// Between two looks for such mirrors.
const PAUSE: Duration = Duration::from_mins(10);

impl Git {
    /// Removes the mirrors that nobody asked for since `since`. One that is worked on is left for the next time.
    pub async fn remove_unused(&self, since: Instant) -> Result<(), GitError> {
        for entry in std::fs::read_dir(&self.mirrors).map_err(GitError::Storage)? {
            let mirror = Mirror::at(entry.map_err(GitError::Storage)?.path().with_extension(""));
            let Some(alone) = self.queue.alone_now(mirror.path()) else { continue };
            // Asked only when nobody works on it: who did a moment ago said so before.
            if self.room.is_since(mirror.path(), since) {
                continue;
            }
            let room = self.room.clone();
            let task = tokio::task::spawn_blocking(move || {
                let _alone = alone;
                mirror.spare().remove().and_then(|()| mirror.remove()).and_then(|()| room.measure(&mirror))
            });
            task.await.map_err(|_| GitError::Stopped)?.map_err(GitError::Storage)?;
        }
        self.room.forget(since);
        Ok(())
    }

    /// Removes unused mirrors now and then, until `shutdown` resolves.
    pub async fn tidy(&self, shutdown: impl Future<Output = ()>) {
        let mut shutdown = std::pin::pin!(shutdown);
        while tokio::time::timeout(PAUSE, shutdown.as_mut()).await.is_err() {
            let Some(since) = Instant::now().checked_sub(UNUSED) else { continue };
            if let Err(error) = self.remove_unused(since).await {
                tracing::warn!(error = &error as &dyn std::error::Error, "unused git mirrors not removed");
            }
        }
    }
}
