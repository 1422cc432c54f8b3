//! IO: brings one branch's head into a mirror. Blocks on disk and network, bounded by the deadline; runs on a blocking thread.

use std::collections::BTreeSet;
use std::sync::Arc;

use git2::{Oid, Repository};
use tokio::runtime::Handle;

use super::mirror::{self, Holding, Mirror, MirrorError, PackWriter};
use super::packcheck::PackError;
use super::protocol::{Capabilities, FetchAnswer, Heads, Step, Wanted};
use super::room::{Full, PIECE, Room};
use super::transport::{Answer, Ask, Bounds, Transport, protocol_error};
use super::{CommitId, Depth, GitError, Limits, Remote};

/// Everything that one fetch needs.
pub struct Fetch {
    pub transport: Arc<Transport>,
    pub remote: Remote,
    pub mirror: Mirror,
    pub capabilities: Capabilities,
    pub heads: Heads,
    pub branch: String,
    pub head: CommitId,
    pub depth: Depth,
    pub bounds: Bounds,
    pub limits: Limits,
    pub room: Arc<Room>,
}

/// More than any honest answer lists.
const MAX_SHALLOW: usize = 10_000;

/// What to do with the mirror that is there.
enum Plan {
    /// Add to it.
    Add(Repository, Holding),
    /// Make it anew with these branches.
    Anew(Vec<String>),
}

impl Fetch {
    /// Returns the head, which is then here with its root directory.
    pub fn run(self, runtime: &Handle) -> Result<CommitId, GitError> {
        let outcome = self.bring_head(runtime);
        self.measure()?;
        outcome.map(|()| self.head)
    }

    fn bring_head(&self, runtime: &Handle) -> Result<(), GitError> {
        let full = self.depth == Depth::Full || self.mirror.is_full();
        let own = vec![self.branch.clone()];
        let branches = match self.plan(full)? {
            Plan::Anew(branches) => branches,
            Plan::Add(repository, holding) => {
                let is_empty = holding.tips.is_empty();
                match self.bring(runtime, &self.mirror, &repository, holding, &own) {
                    Err(GitError::Corrupt(_, why)) if !is_empty => self.warn_broken(&why),
                    Err(GitError::NoRoom { .. }) if !is_empty => {}
                    outcome => return outcome,
                }
                own
            }
        };
        // Beside the old one, which stays readable until the new one is complete; unless there is no room for both.
        match self.bring_anew(runtime, full, &branches) {
            Err(GitError::NoRoom { .. }) if self.mirror.path().exists() => {
                let spare = self.mirror.spare();
                spare.remove().and_then(|()| self.mirror.remove()).map_err(GitError::Storage)?;
                self.measure()?;
                self.bring_anew(runtime, full, &branches)
            }
            outcome => outcome,
        }
    }

    fn bring_anew(&self, runtime: &Handle, full: bool, branches: &[String]) -> Result<(), GitError> {
        let spare = self.mirror.spare();
        spare.remove().map_err(GitError::Storage)?;
        self.measure()?;
        let repository = spare.open_or_create(full).map_err(|error| self.error(error))?;
        let nothing = Holding { full, ..Holding::default() };
        self.bring(runtime, &spare, &repository, nothing, branches)?;
        drop(repository);
        self.mirror.replace(&spare).map_err(GitError::Storage)
    }

    fn measure(&self) -> Result<(), GitError> {
        self.room.measure(&self.mirror).map_err(GitError::Storage)
    }

    /// A mirror is made anew when it is broken, has grown too large, or lacks the history that is wanted.
    fn plan(&self, full: bool) -> Result<Plan, GitError> {
        let opened = self.mirror.open_or_create(full).and_then(|repository| {
            let holding = self.mirror.holding(&repository)?;
            Ok((repository, holding))
        });
        let (repository, holding) = match opened {
            Ok(opened) => opened,
            Err(MirrorError::Storage(error)) => return Err(GitError::Storage(error)),
            Err(error) => {
                self.warn_broken(&error.to_string());
                return Ok(Plan::Anew(vec![self.branch.clone()]));
            }
        };
        let too_large = holding.bytes > self.limits.fetch_bytes.saturating_mul(2);
        if holding.packs <= self.limits.packs && !too_large && holding.full == full {
            return Ok(Plan::Add(repository, holding));
        }
        let known = |branch: &&String| **branch == self.branch || mirror::knows(&repository, branch);
        Ok(Plan::Anew(self.heads.keys().filter(known).cloned().collect()))
    }

    /// Brings the heads of `branches` into `mirror`, and says so there.
    fn bring(
        &self,
        runtime: &Handle,
        mirror: &Mirror,
        repository: &Repository,
        holding: Holding,
        branches: &[String],
    ) -> Result<(), GitError> {
        let heads: Vec<_> = branches.iter().filter_map(|branch| self.heads.get_key_value(branch)).collect();
        let missing: BTreeSet<CommitId> =
            heads.iter().map(|(_, id)| (*id).clone()).filter(|id| !mirror.has(id)).collect();
        if !missing.is_empty() {
            let download = Download { fetch: self, mirror, repository, runtime };
            download.run(holding, missing)?;
        }
        heads.into_iter().try_for_each(|(branch, head)| self.keep(repository, branch, head))
    }

    fn warn_broken(&self, why: &str) {
        tracing::warn!(url = %self.remote.url, why, "a broken git mirror is fetched again");
    }

    /// The branch's ref is moved last: before, the fetch did not happen.
    fn keep(&self, repository: &Repository, branch: &str, head: &CommitId) -> Result<(), GitError> {
        let odb = repository.odb().map_err(|error| self.error(error.into()))?;
        let id = Oid::from_str(head.as_str()).map_err(|error| self.error(error.into()))?;
        match mirror::kind(&odb, id).map_err(|error| self.error(error.into()))? {
            Some((_, git2::ObjectType::Commit)) => {}
            Some(_) => {
                return Err(GitError::NotACommit { url: self.remote.url.clone(), branch: branch.to_owned() });
            }
            None => {
                let why = format!("the server did not send {head}");
                return Err(GitError::Corrupt(self.remote.url.clone(), why));
            }
        }
        mirror::keep(repository, branch, head).map_err(|error| self.error(error.into()))
    }

    fn error(&self, error: MirrorError) -> GitError {
        let url = self.remote.url.clone();
        match error {
            MirrorError::Storage(error) => GitError::Storage(error),
            MirrorError::Late => GitError::TimedOut(url),
            MirrorError::Git(error) => GitError::Corrupt(url, error.message().to_owned()),
            MirrorError::Pack(PackError::Broken) => GitError::Corrupt(url, PackError::Broken.to_string()),
            MirrorError::Pack(PackError::TooManyObjects(cap)) => {
                GitError::RepositoryTooLarge { url, cap, what: "objects in one fetch" }
            }
            MirrorError::Pack(PackError::ObjectTooLarge(cap)) => {
                GitError::RepositoryTooLarge { url, cap, what: "bytes in one object" }
            }
            MirrorError::Pack(PackError::TooLarge(cap)) => {
                GitError::RepositoryTooLarge { url, cap, what: "bytes unpacked in one fetch" }
            }
        }
    }
}

/// One pack from the server into a mirror.
struct Download<'a> {
    fetch: &'a Fetch,
    mirror: &'a Mirror,
    repository: &'a Repository,
    runtime: &'a Handle,
}

impl Download<'_> {
    fn run(&self, holding: Holding, want: BTreeSet<CommitId>) -> Result<(), GitError> {
        let Self { fetch, mirror, repository, runtime } = *self;
        let Holding { have, mut shallow, full, .. } = holding;
        let blob_limit = fetch.limits.blob_bytes;
        let wanted = Wanted { want, have, shallow: shallow.clone(), depth_one: !full, blob_limit };
        let url = &fetch.remote.url;
        let body = wanted.request(fetch.capabilities).map_err(|error| protocol_error(url, error))?;
        let ask = Ask::UploadPack { body, v2: fetch.capabilities.v2 };
        if fetch.capabilities.filter {
            mirror.set_filtered().map_err(GitError::Storage)?;
        }
        let mut answer = runtime.block_on(fetch.transport.send(&fetch.remote, ask, fetch.bounds))?;
        let odb = repository.odb().map_err(|error| fetch.error(error.into()))?;
        let until = fetch.bounds.deadline.into_std();
        let pack = PackWriter::new(&odb, fetch.limits.pack(), until).map_err(|error| fetch.error(error))?;
        self.receive(&mut answer, pack, &mut shallow)?;
        tracing::debug!(%url, bytes = answer.bytes(), "fetched");
        if full { Ok(()) } else { mirror.set_shallow(&shallow).map_err(GitError::Storage) }
    }

    fn receive(
        &self,
        answer: &mut Answer,
        mut pack: PackWriter<'_>,
        shallow: &mut BTreeSet<CommitId>,
    ) -> Result<(), GitError> {
        let fetch = self.fetch;
        let mut reading = FetchAnswer::default();
        let (mut taken, mut used) = (0, 0);
        loop {
            let packet = self.runtime.block_on(answer.packet())?;
            match reading.take(packet).map_err(|error| answer.error(error))? {
                Step::Skip => {}
                Step::Shallow(_) if shallow.len() >= MAX_SHALLOW => {
                    return Err(GitError::NotGit(
                        fetch.remote.url.clone(),
                        "it lists too many shallow commits",
                    ));
                }
                Step::Shallow(id) => {
                    shallow.insert(id);
                }
                Step::Unshallow(id) => {
                    shallow.remove(&id);
                }
                Step::Pack(bytes) => {
                    used += bytes.len() as u64;
                    while taken < used {
                        self.take_room()?;
                        taken += PIECE;
                    }
                    pack.write(&bytes).map_err(|error| fetch.error(error))?;
                }
                Step::End => return pack.commit().map_err(|error| fetch.error(error)),
            }
        }
    }

    /// Room for one more piece of the pack.
    fn take_room(&self) -> Result<(), GitError> {
        let fetch = self.fetch;
        let taken = fetch.room.take(fetch.mirror.path(), PIECE);
        taken.map_err(|Full { whose, cap }| GitError::NoRoom { url: fetch.remote.url.clone(), whose, cap })
    }
}
