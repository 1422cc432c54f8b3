//! IO: brings one branch's head into a mirror. Blocks on disk and network, bounded by the deadline; runs on a blocking thread.

use std::collections::BTreeSet;
use std::sync::Arc;

use git2::{Oid, Repository};
use tokio::runtime::Handle;

use super::mirror::{self, Holding, Mirror, MirrorError, PackWriter};
use super::packcheck::PackError;
use super::protocol::{Capabilities, FetchAnswer, Heads, Step, Wanted};
use super::transport::{Ask, Bounds, Transport, protocol_error};
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
}

/// More than any honest answer lists.
const MAX_SHALLOW: usize = 10_000;

impl Fetch {
    /// Returns the head, which is then here with its root directory.
    pub fn run(self, runtime: &Handle) -> Result<CommitId, GitError> {
        let full = self.depth == Depth::Full;
        let (repository, holding, branches) = self.prepare(full)?;
        let missing: BTreeSet<CommitId> = branches
            .iter()
            .filter_map(|branch| self.heads.get(branch))
            .filter(|id| !holding.tips.contains(*id) && !self.mirror.has(id))
            .cloned()
            .collect();
        if !missing.is_empty() {
            self.download(runtime, &repository, holding, missing)?;
        }
        for branch in &branches {
            if let Some(head) = self.heads.get(branch) {
                self.keep(&repository, branch, head)?;
            }
        }
        Ok(self.head)
    }

    /// The mirror, what it holds, and the branches to bring. It is made anew when it is broken, too many packs have
    /// gathered, or history is wanted that it does not have.
    fn prepare(&self, full: bool) -> Result<(Repository, Holding, Vec<String>), GitError> {
        let opened = self.mirror.open_or_create(full).and_then(|repository| {
            let holding = self.mirror.holding(&repository)?;
            Ok((repository, holding))
        });
        let (repository, holding) = match opened {
            Ok(opened) => opened,
            Err(MirrorError::Storage(error)) => return Err(GitError::Storage(error)),
            Err(error) => {
                tracing::warn!(url = %self.remote.url, %error, "a broken git mirror is removed and fetched again");
                let (repository, holding) = self.anew(full)?;
                return Ok((repository, holding, vec![self.branch.clone()]));
            }
        };
        let full = full || holding.full;
        if holding.packs <= self.limits.packs && holding.full == full {
            return Ok((repository, holding, vec![self.branch.clone()]));
        }
        let known = |branch: &&String| **branch != self.branch && mirror::knows(&repository, branch);
        let mut branches: Vec<String> = self.heads.keys().filter(known).cloned().collect();
        branches.push(self.branch.clone());
        drop(repository);
        let (repository, holding) = self.anew(full)?;
        Ok((repository, holding, branches))
    }

    fn anew(&self, full: bool) -> Result<(Repository, Holding), GitError> {
        self.mirror.remove().map_err(GitError::Storage)?;
        let repository = self.mirror.open_or_create(full).map_err(|error| self.error(error))?;
        Ok((repository, Holding { full, ..Holding::default() }))
    }

    fn download(
        &self,
        runtime: &Handle,
        repository: &Repository,
        holding: Holding,
        want: BTreeSet<CommitId>,
    ) -> Result<(), GitError> {
        let Holding { have, mut shallow, full, .. } = holding;
        let wanted = Wanted {
            want,
            have,
            shallow: shallow.clone(),
            depth_one: !full,
            blob_limit: self.limits.blob_bytes,
        };
        let url = &self.remote.url;
        let body = wanted.request(self.capabilities).map_err(|error| protocol_error(url, error))?;
        let ask = Ask::UploadPack { body, v2: self.capabilities.v2 };
        if self.capabilities.filter {
            self.mirror.set_filtered().map_err(GitError::Storage)?;
        }
        let mut answer = runtime.block_on(self.transport.send(&self.remote, ask, self.bounds))?;
        let odb = repository.odb().map_err(|error| self.error(error.into()))?;
        let mut pack = PackWriter::new(&odb, self.limits.pack()).map_err(|error| self.error(error))?;
        let mut reading = FetchAnswer::default();
        loop {
            let packet = runtime.block_on(answer.packet())?;
            match reading.take(packet).map_err(|error| answer.error(error))? {
                Step::Skip => {}
                Step::Shallow(id) => {
                    shallow.insert(id);
                    if shallow.len() > MAX_SHALLOW {
                        return Err(GitError::NotGit(url.clone(), "it lists too many shallow commits"));
                    }
                }
                Step::Unshallow(id) => {
                    shallow.remove(&id);
                }
                Step::Pack(bytes) => pack.write(&bytes).map_err(|error| self.error(error))?,
                Step::End => break,
            }
        }
        pack.commit().map_err(|error| self.error(error))?;
        tracing::debug!(%url, bytes = answer.bytes(), "fetched");
        if !full {
            self.mirror.set_shallow(&shallow).map_err(GitError::Storage)?;
        }
        Ok(())
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
