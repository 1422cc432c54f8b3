//! IO: reads Git repositories over HTTPS. URL, branch and credentials in; commits, files and digests out.
//!
//! ```text
//! url, credentials, names, address (pure: what is allowed)
//!   -> transport (HTTP) -> packet, protocol (pure: Git's wire format) -> packcheck -> mirror (bare repository) -> tree
//! ```
//! libgit2 stores and reads objects only; it never opens a connection. Nothing is checked out, run or followed.

pub mod address;
mod allowed;
mod call;
mod commit;
pub mod credentials;
mod error;
mod failed;
mod fetch;
mod limits;
mod mirror;
pub mod names;
mod packcheck;
mod packet;
mod protocol;
mod queue;
mod room;
mod transport;
mod tree;
mod unused;
pub mod url;
mod visit;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;
use tokio::time::Instant;

pub use self::call::{Call, Login, Reply};
pub use self::commit::CommitId;
pub use self::credentials::{Access, Credentials, CredentialsError};
pub use self::error::GitError;
pub use self::limits::Limits;
pub use self::tree::{Directory, DirectoryLimits, File, Reader, TreeError};
pub use self::url::{GitUrl, UrlError, UrlPolicy};
pub use self::visit::{VisitLimits, Visitor};

use self::failed::Failed;
use self::mirror::Mirror;
use self::protocol::{Advertisement, Capabilities, Heads, take_ref};
use self::queue::{Lane, Places, Queue};
use self::room::Room;
use self::transport::{Ask, Bounds, Transport};
use crate::lease::Mandate;

/// A repository, as one owner reaches it. Owners never share a mirror.
#[derive(Clone, Debug)]
pub struct Remote {
    /// Name of the tenant, or [`PLATFORM`](crate::names::PLATFORM) of a `TenantSource`.
    pub owner: String,
    /// Where.
    pub url: GitUrl,
    /// Sent to this host only.
    pub credentials: Option<Credentials>,
    /// PEM of the authorities that are trusted here, in place of the system's.
    pub ca: Option<Vec<u8>>,
}

/// How much history a fetch brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// The commit itself.
    One,
    /// All of it. A mirror once full stays so.
    Full,
}

/// Reads repositories. Cheap to share in an `Arc`; needs a tokio runtime.
pub struct Git {
    mirrors: PathBuf,
    policy: UrlPolicy,
    limits: Limits,
    /// Without it no host is told anything.
    mandate: Mandate,
    queue: Arc<Queue>,
    reads: Arc<Semaphore>,
    transport: Arc<Transport>,
    /// What servers said that they can do, by URL: saves one request of two.
    known: Mutex<HashMap<String, Capabilities>>,
    room: Arc<Room>,
    failed: Failed,
}

/// Most URLs in `Git::known`.
const MAX_KNOWN: usize = 20_000;

/// Branches, and what the server can do.
struct Listing {
    capabilities: Capabilities,
    heads: Heads,
}

impl Git {
    /// Makes `data_dir`. Only one process may use it at a time; it may be empty or from an earlier run.
    pub fn new(
        data_dir: &Path,
        policy: UrlPolicy,
        limits: Limits,
        mandate: Mandate,
    ) -> Result<Self, GitError> {
        let mirrors = data_dir.join("mirrors");
        std::fs::create_dir_all(&mirrors).map_err(GitError::Storage)?;
        let places =
            |per_owner| Places { all: limits.operations, per_host: limits.operations_per_host, per_owner };
        let (heads, fetches) = (places(limits.heads_per_owner), places(limits.fetches_per_owner));
        let visits = Places { all: limits.reads / 2, per_host: usize::MAX, per_owner: 1 };
        let calls = Places { all: limits.calls, per_host: limits.calls_per_host, per_owner: 2 };
        let queue = Arc::new(Queue::new([heads, fetches, visits, calls]));
        let room = Room::new(queue.clone(), limits.mirrors_bytes, &mirrors, Instant::now());
        let room = Arc::new(room.map_err(GitError::Storage)?);
        let transport = Arc::new(Transport::new(policy.clone(), limits.connect));
        let (known, failed) = (Mutex::default(), Failed::default());
        let reads = Arc::new(Semaphore::new(limits.reads.max(1)));
        Ok(Self { mirrors, policy, limits, mandate, queue, reads, transport, known, room, failed })
    }

    /// All branches and their commits, in one answer. Names that are not plain are left out.
    pub async fn heads(&self, remote: &Remote) -> Result<BTreeMap<String, CommitId>, GitError> {
        self.admit(remote)?;
        // Whoever asks for heads may want to read: as long as nothing changes, nothing else is asked for.
        self.mirror(remote);
        let _turn = self.queue.heads.turn(&remote.owner, remote.url.host()).await?;
        Ok(self.listing(remote, self.deadline()).await?.heads)
    }

    /// Makes the head of `branch` readable here, and returns the commit. Sends nothing more than the list of branches
    /// when the commit is here already. What was fetched before stays readable, unless the mirror is made anew
    /// (`Limits::packs`, a change to `Depth::Full`, corruption); then the heads of all branches fetched before come along.
    /// A head that was too large or too slow to come is not asked for again at once: the error is then that of the last time.
    pub async fn fetch(&self, remote: &Remote, branch: &str, depth: Depth) -> Result<CommitId, GitError> {
        if !names::is_plain_branch(branch) {
            return Err(GitError::BranchInvalid(branch.chars().take(200).collect()));
        }
        self.admit(remote)?;
        let mirror = self.mirror(remote);
        let alone = self.queue.alone(mirror.path()).await;
        let turn = self.queue.fetches.turn(&remote.owner, remote.url.host()).await?;
        let deadline = self.deadline();
        let Listing { capabilities, heads } = self.listing(remote, deadline).await?;
        let Some(head) = heads.get(branch).cloned() else {
            return Err(GitError::BranchMissing { url: remote.url.clone(), branch: branch.to_owned() });
        };
        let path = mirror.path().to_owned();
        if let Some(error) = self.failed.still(&path, branch, &head, Instant::now()) {
            return Err(error);
        }
        let fetch = fetch::Fetch {
            transport: Arc::clone(&self.transport),
            remote: remote.clone(),
            mirror,
            capabilities,
            heads,
            branch: branch.to_owned(),
            head: head.clone(),
            depth,
            bounds: Bounds { deadline, bytes: self.limits.fetch_bytes },
            limits: self.limits.clone(),
            room: self.room.clone(),
        };
        let runtime = tokio::runtime::Handle::current();
        let task = tokio::task::spawn_blocking(move || {
            let fetched = fetch.run(&runtime);
            drop((turn, alone));
            fetched
        });
        let fetched = task.await.map_err(|_| GitError::Stopped)?;
        self.failed.ended((&path, branch), &head, &fetched, Instant::now());
        fetched
    }

    /// Whether the commit can be read here.
    pub async fn has(&self, remote: &Remote, commit: &CommitId) -> bool {
        let mirror = self.mirror(remote);
        let commit = commit.clone();
        let alone = self.queue.alone(mirror.path()).await;
        let task = tokio::task::spawn_blocking(move || {
            let _alone = alone;
            mirror.has(&commit)
        });
        task.await.unwrap_or(false)
    }

    /// When the commit was made, as its committer's clock said; nothing where that is no time at all.
    pub async fn committed(&self, remote: &Remote, commit: &CommitId) -> Result<Option<Timestamp>, GitError> {
        self.read(remote, commit, "", |reader| Ok(reader.committed())).await
    }

    /// One file by its exact path, `None` when there is none; at most `cap` bytes. A symbolic link, submodule or directory
    /// is an error, also on the way to it.
    pub async fn file(
        &self,
        remote: &Remote,
        commit: &CommitId,
        path: &str,
        cap: u64,
    ) -> Result<Option<Vec<u8>>, GitError> {
        let at = path.to_owned();
        self.read(remote, commit, path, move |reader| reader.file(&at, cap)).await
    }

    /// Regular files of the directory `path` (`""` is the root). A directory that is missing is an error, so that it is
    /// never taken for an empty one. Other kinds of entries and names that are not plain are in `ignored`.
    pub async fn directory(
        &self,
        remote: &Remote,
        commit: &CommitId,
        path: &str,
        limits: DirectoryLimits,
    ) -> Result<Directory, GitError> {
        let at = path.to_owned();
        self.read(remote, commit, path, move |reader| reader.directory(&at, limits)).await
    }

    /// The build id: SHA-256 over path, mode and id of every entry below `path`, without those for which `exclude` is true.
    /// `exclude` gets paths relative to `path`, of directories as well (`docs`, then `docs/a.md`); an excluded directory is
    /// not entered. Submodules count by their commit. Content is not read.
    pub async fn tree_digest(
        &self,
        remote: &Remote,
        commit: &CommitId,
        path: &str,
        exclude: impl Fn(&str) -> bool + Send + 'static,
    ) -> Result<String, GitError> {
        let at = path.to_owned();
        self.read(remote, commit, path, move |reader| reader.digest(&at, &exclude)).await
    }

    /// Shows the files below `path` to `visitor`, one at a time, and returns it. An owner has one visit at a time, and all
    /// together leave half of the reads to others.
    pub async fn visit<V: Visitor + Send + 'static>(
        &self,
        remote: &Remote,
        commit: &CommitId,
        (path, limits): (&str, VisitLimits),
        mut visitor: V,
    ) -> Result<V, GitError> {
        let at = path.to_owned();
        let visit = move |reader: &Reader<'_>| {
            reader.visit(&at, limits, &mut visitor)?;
            Ok(visitor)
        };
        self.read_in(Some(&self.queue.visits), remote, (commit, path), visit).await
    }

    /// Whether `ancestor` is `commit` or in its history. False for an ancestor that is not here. Needs `Depth::Full`.
    pub async fn is_ancestor(
        &self,
        remote: &Remote,
        ancestor: &CommitId,
        commit: &CommitId,
    ) -> Result<bool, GitError> {
        let (old, new) = (ancestor.clone(), commit.clone());
        self.read(remote, commit, "", move |reader| reader.is_ancestor(&old, &new)).await
    }

    /// Whether `earlier` and `commit` share a commit in their histories. False for one that is not here. Needs
    /// `Depth::Full`.
    pub async fn are_related(
        &self,
        remote: &Remote,
        earlier: &CommitId,
        commit: &CommitId,
    ) -> Result<bool, GitError> {
        let (old, new) = (earlier.clone(), commit.clone());
        self.read(remote, commit, "", move |reader| reader.are_related(&old, &new)).await
    }

    /// Runs `what` on the commit's tree. A mirror that turns out broken is removed, so that the next fetch heals it.
    async fn read<T: Send + 'static>(
        &self,
        remote: &Remote,
        commit: &CommitId,
        path: &str,
        what: impl FnOnce(&Reader<'_>) -> Result<T, TreeError> + Send + 'static,
    ) -> Result<T, GitError> {
        self.read_in(None, remote, (commit, path), what).await
    }

    /// The same, in a lane where it may hold up others.
    async fn read_in<T: Send + 'static>(
        &self,
        lane: Option<&Arc<Lane>>,
        remote: &Remote,
        (commit, path): (&CommitId, &str),
        what: impl FnOnce(&Reader<'_>) -> Result<T, TreeError> + Send + 'static,
    ) -> Result<T, GitError> {
        let mirror = self.mirror(remote);
        let filtered_from = self.limits.blob_bytes;
        let alone = self.queue.alone(mirror.path()).await;
        let place = match lane {
            Some(lane) => Some(lane.turn(&remote.owner, remote.url.host()).await?),
            None => None,
        };
        // Only now: whoever waits for a slow host holds up no other read.
        let turn = Arc::clone(&self.reads).acquire_owned().await.map_err(|_| GitError::Stopped)?;
        let id = commit.clone();
        let task = tokio::task::spawn_blocking(move || {
            let _held = (alone, place, turn);
            let outcome = read_mirror(&mirror, &id, filtered_from, what);
            if let Err(TreeError::Corrupt(why)) = &outcome {
                tracing::warn!(mirror = %mirror.path().display(), why, "a broken git mirror is removed");
                mirror.remove().map_err(|error| TreeError::Told(GitError::Storage(error)))?;
            }
            outcome
        });
        let url = || remote.url.clone();
        match task.await.map_err(|_| GitError::Stopped)? {
            Ok(value) => Ok(value),
            Err(TreeError::Told(error)) => Err(error),
            Err(TreeError::CommitMissing) => {
                Err(GitError::CommitMissing { url: url(), commit: commit.to_string() })
            }
            Err(TreeError::PathMissing) => {
                Err(GitError::PathMissing { url: url(), path: path.to_owned(), commit: commit.to_string() })
            }
            Err(TreeError::Corrupt(why)) => Err(GitError::Corrupt(url(), why)),
        }
    }

    /// One request when the server is known to speak version 2, else one (version 0) or two.
    async fn listing(&self, remote: &Remote, deadline: Instant) -> Result<Listing, GitError> {
        let bounds = Bounds { deadline, bytes: self.limits.heads_bytes };
        let known =
            self.known.lock().unwrap_or_else(PoisonError::into_inner).get(remote.url.as_str()).copied();
        if let Some(capabilities) = known {
            let heads = self.branches(remote, bounds).await;
            if heads.is_err() {
                self.known.lock().unwrap_or_else(PoisonError::into_inner).remove(remote.url.as_str());
            }
            // Any other error would only be repeated by asking again at once.
            if !matches!(heads, Err(GitError::NotGit(..))) {
                return Ok(Listing { capabilities, heads: heads? });
            }
        }
        let mut answer = self.transport.send(remote, Ask::Advertisement, bounds).await?;
        let mut advertisement = Advertisement::default();
        while !advertisement.take(&answer.packet().await?).map_err(|error| answer.error(error))? {}
        let Advertisement { capabilities, heads, .. } = advertisement;
        if !capabilities.v2 {
            return Ok(Listing { capabilities, heads });
        }
        let heads = self.branches(remote, bounds).await?;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MAX_KNOWN {
            known.clear();
        }
        known.insert(remote.url.as_str().to_owned(), capabilities);
        Ok(Listing { capabilities, heads })
    }

    async fn branches(&self, remote: &Remote, bounds: Bounds) -> Result<Heads, GitError> {
        let ask = Ask::UploadPack { body: protocol::ls_refs(), v2: true };
        let mut answer = self.transport.send(remote, ask, bounds).await?;
        let mut heads = Heads::new();
        while !take_ref(&mut heads, &answer.packet().await?).map_err(|error| answer.error(error))? {}
        Ok(heads)
    }

    /// The URL was checked when it was parsed, but maybe by another policy.
    fn admit(&self, remote: &Remote) -> Result<(), GitError> {
        GitUrl::parse(remote.url.as_str(), &self.policy)?;
        Ok(())
    }

    fn deadline(&self) -> Instant {
        Instant::now() + self.limits.deadline
    }

    /// The mirror of `remote`, which counts as asked for.
    fn mirror(&self, remote: &Remote) -> Mirror {
        let mut hash = Sha256::new();
        let credentials = remote.credentials.as_ref();
        let username = credentials.map_or("", |c| &c.username);
        let password = credentials.map_or("", |c| &c.password);
        for part in
            [&remote.owner, remote.url.as_str(), username, password, &self.limits.blob_bytes.to_string()]
        {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        let path = self.mirrors.join(crate::names::hex(&hash.finalize()));
        self.room.asked(&path, &remote.owner, Instant::now());
        Mirror::at(path)
    }
}

fn read_mirror<T>(
    mirror: &Mirror,
    commit: &CommitId,
    filtered_from: u64,
    what: impl FnOnce(&Reader<'_>) -> Result<T, TreeError>,
) -> Result<T, TreeError> {
    if !mirror.path().exists() {
        return Err(TreeError::CommitMissing);
    }
    let repository = mirror.open()?;
    let filtered_from = mirror.is_filtered().then_some(filtered_from);
    what(&Reader::new(&repository, commit, filtered_from)?)
}
