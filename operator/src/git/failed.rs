//! Fetches that cost much and brought nothing: too large, or too slow. Pure: the caller brings the clock. The same head is
//! fetched again after ever longer pauses, and another one, which may be the repair, after the shortest.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::{CommitId, GitError};

/// After the first failure; each further one doubles it.
const SHORTEST: Duration = Duration::from_mins(1);
/// Doublings at most: 16 minutes.
const DOUBLINGS: u32 = 4;
/// Most branches that are remembered.
const MANY: usize = 20_000;

/// What failed last, by mirror and branch.
#[derive(Default)]
pub struct Failed(Mutex<HashMap<(PathBuf, String), Failure>>);

struct Failure {
    head: CommitId,
    times: u32,
    at: Instant,
    error: GitError,
}

impl Failed {
    /// The error that fetching this head would most likely end in again.
    pub fn still(&self, mirror: &Path, branch: &str, head: &CommitId, now: Instant) -> Option<GitError> {
        let failed = self.failed();
        let failure = failed.get(&(mirror.to_owned(), branch.to_owned()))?;
        let doublings = if failure.head == *head { (failure.times - 1).min(DOUBLINGS) } else { 0 };
        let until = failure.at + SHORTEST * 2_u32.pow(doublings);
        if now < until { failure.error.costly() } else { None }
    }

    /// Remembers how a fetch ended.
    pub fn ended<T>(
        &self,
        (mirror, branch): (&Path, &str),
        head: &CommitId,
        outcome: &Result<T, GitError>,
        now: Instant,
    ) {
        let key = (mirror.to_owned(), branch.to_owned());
        let mut failed = self.failed();
        let Some(error) = outcome.as_ref().err().and_then(GitError::costly) else {
            failed.remove(&key);
            return;
        };
        if failed.len() >= MANY {
            failed.clear();
        }
        let times = failed.get(&key).map_or(1, |failure| failure.times.saturating_add(1));
        failed.insert(key, Failure { head: head.clone(), times, at: now, error });
    }

    fn failed(&self) -> MutexGuard<'_, HashMap<(PathBuf, String), Failure>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::git::{GitUrl, UrlPolicy};

    #[test]
    fn the_same_head_is_fetched_ever_more_seldom_and_another_soon() {
        let (failed, mirror, start) = (Failed::default(), Path::new("m"), Instant::now());
        let head = |digit: &str| CommitId::parse(&digit.repeat(40)).unwrap();
        let url = || GitUrl::parse("https://git.example.com/a", &UrlPolicy::default()).unwrap();
        let waits = |head: &CommitId, minutes: u64| {
            failed.still(mirror, "main", head, start + Duration::from_mins(minutes)).is_some()
        };
        let ends =
            |outcome: Result<(), GitError>| failed.ended((mirror, "main"), &head("1"), &outcome, start);
        assert!(!waits(&head("1"), 0));
        for minutes in [1, 2, 4, 8, 16, 16] {
            ends(Err(GitError::TimedOut(url())));
            assert!(waits(&head("1"), minutes - 1) && !waits(&head("1"), minutes), "{minutes}");
            assert!(waits(&head("2"), 0) && !waits(&head("2"), 1));
        }
        assert!(failed.still(mirror, "prod", &head("1"), start).is_none(), "another branch");
        ends(Ok(()));
        assert!(!waits(&head("1"), 0));
        ends(Err(GitError::NotFound(url())));
        assert!(!waits(&head("1"), 0), "this cost nothing");
    }
}
