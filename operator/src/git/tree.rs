//! IO: reads a commit's tree in a mirror. Exact entries only: nothing is resolved, followed or checked out, and every size
//! is known before the content is read.

use std::collections::BTreeMap;

use git2::{ObjectType, Odb, Oid, Repository, Tree};
use jiff::Timestamp;
use sha2::{Digest, Sha256};

use super::commit::CommitId;
use super::mirror;
use super::{GitError, names};

/// Bounds of `Git::directory`.
#[derive(Clone, Copy, Debug)]
pub struct DirectoryLimits {
    /// Also what lies deeper.
    pub recursive: bool,
    /// Most files, and directories when recursive.
    pub files: usize,
    /// Largest file, in bytes.
    pub file_bytes: u64,
    /// A larger one is left out and told in [`Directory::too_large`]; otherwise it fails the whole.
    pub skip_large: bool,
    /// All files together, in bytes.
    pub total_bytes: u64,
    /// Also what they hold; without it, only how large they are.
    pub contents: bool,
}

/// A directory at a commit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Directory {
    /// Path relative to the directory, with `/` between parts.
    pub files: BTreeMap<String, File>,
    /// Entries that are not used, and why. Names are made printable.
    pub ignored: Vec<(String, &'static str)>,
    /// Files that were left out for their size; all of them, at most as many as files.
    pub too_large: Vec<String>,
}

/// A regular file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// `0o100644` or `0o100755`.
    pub mode: u32,
    /// Id of its blob.
    pub blob: String,
    /// In bytes.
    pub size: u64,
    /// All of it; empty where only sizes were asked for.
    pub content: Vec<u8>,
}

/// Why a tree cannot be read.
#[derive(Debug)]
pub enum TreeError {
    /// To be told as it is.
    Told(GitError),
    /// The commit is not here.
    CommitMissing,
    /// No such directory.
    PathMissing,
    /// An object is broken or missing: the mirror is.
    Corrupt(String),
}

impl From<GitError> for TreeError {
    fn from(error: GitError) -> Self {
        Self::Told(error)
    }
}

impl From<git2::Error> for TreeError {
    fn from(error: git2::Error) -> Self {
        Self::Corrupt(error.message().to_owned())
    }
}

/// Commits and trees beyond these sizes are not parsed; Git itself has neither near them.
const MAX_COMMIT_BYTES: usize = 1 << 20;
const MAX_TREE_BYTES: usize = 16 << 20;
/// Entries of all directories that one digest may visit.
const MAX_ENTRIES: usize = 200_000;
/// What is told of ignored entries.
const MAX_IGNORED: usize = 100;

pub(super) const MODE_KIND: i32 = 0o170_000;
pub(super) const MODE_TREE: i32 = 0o040_000;
pub(super) const MODE_FILE: i32 = 0o100_000;
const MODE_LINK: i32 = 0o120_000;
const MODE_SUBMODULE: i32 = 0o160_000;

/// A commit's tree in an open mirror.
pub struct Reader<'repo> {
    repository: &'repo Repository,
    odb: Odb<'repo>,
    root: Oid,
    committed: i64,
    /// Blobs from this size on are not here.
    filtered_from: Option<u64>,
}

impl<'repo> Reader<'repo> {
    /// Opens the commit. `filtered_from`: the size from which blobs were left out of the fetch.
    pub fn new(
        repository: &'repo Repository,
        commit: &CommitId,
        filtered_from: Option<u64>,
    ) -> Result<Self, TreeError> {
        let odb = repository.odb()?;
        let id = Oid::from_str(commit.as_str())?;
        match mirror::kind(&odb, id)? {
            None => return Err(TreeError::CommitMissing),
            Some((size, ObjectType::Commit)) if size <= MAX_COMMIT_BYTES => {}
            Some(_) => return Err(TreeError::Corrupt(format!("{commit} is not a commit"))),
        }
        let found = repository.find_commit(id)?;
        let (root, committed) = (found.tree_id(), found.time().seconds());
        Ok(Self { repository, odb, root, committed, filtered_from })
    }

    /// When it was committed, as its committer's clock said; nothing where that is no time at all.
    pub fn committed(&self) -> Option<Timestamp> {
        Timestamp::from_second(self.committed).ok()
    }

    /// One regular file by its path, `None` when there is none.
    pub fn file(&self, path: &str, cap: u64) -> Result<Option<Vec<u8>>, TreeError> {
        let parts = parts(path)?;
        let Some((name, directories)) = parts.split_last() else {
            return Err(unsafe_entry(path, "is a directory"));
        };
        let Some(tree) = self.descend(path, directories)? else { return Ok(None) };
        let Some(entry) = tree.get_name(name) else { return Ok(None) };
        match entry.filemode_raw() & MODE_KIND {
            MODE_FILE => self.blob(path, entry.id(), cap).map(Some),
            mode => Err(unsafe_entry(path, kind_of(mode))),
        }
    }

    /// Regular files of a directory.
    pub fn directory(&self, path: &str, limits: DirectoryLimits) -> Result<Directory, TreeError> {
        let tree = self.directory_tree(path)?;
        let mut walk = Walk { path, limits, found: Directory::default(), entries: 0, bytes: 0 };
        self.collect(&tree, &Place::default(), &mut walk)?;
        Ok(walk.found)
    }

    fn collect(&self, tree: &Tree<'_>, place: &Place, walk: &mut Walk<'_>) -> Result<(), TreeError> {
        for entry in tree {
            let name = place.entry(entry.name_bytes());
            if let Some(problem) = names::entry_problem(entry.name_bytes()) {
                walk.ignore(&name, problem);
                continue;
            }
            match entry.filemode_raw() & MODE_KIND {
                MODE_FILE => {
                    walk.count()?;
                    let mode = if entry.filemode_raw() & 0o100 == 0 { 0o100_644 } else { 0o100_755 };
                    let left = walk.limits.total_bytes - walk.bytes;
                    let cap = walk.limits.file_bytes.min(left);
                    let path = names::joined(walk.path, &name);
                    let content = if walk.limits.contents {
                        self.blob(&path, entry.id(), cap).map(|bytes| (bytes.len() as u64, bytes))
                    } else {
                        self.size(&path, entry.id(), cap).map(|size| (size, Vec::new()))
                    };
                    match content {
                        Ok((size, content)) => {
                            walk.bytes += size;
                            let blob = entry.id().to_string();
                            walk.found.files.insert(name, File { mode, blob, size, content });
                        }
                        // Also one that was left out of the fetch: its size is not known, but at least this.
                        Err(TreeError::Told(GitError::TooLarge { size, .. }))
                            if walk.limits.skip_large && size >= walk.limits.file_bytes =>
                        {
                            walk.found.too_large.push(name);
                        }
                        Err(error) => return Err(error),
                    }
                }
                MODE_TREE if !walk.limits.recursive => {}
                MODE_TREE if place.depth >= names::MAX_DEPTH => walk.ignore(&name, "it lies too deep"),
                MODE_TREE => {
                    walk.count()?;
                    self.collect(&self.tree(entry.id())?, &place.deeper(entry.name_bytes()), walk)?;
                }
                mode => walk.ignore(&name, kind_of(mode)),
            }
        }
        Ok(())
    }

    /// SHA-256 over (path, mode, id) of all entries that are not excluded; `exclude` is asked for directories, too. The
    /// order is Git's, which is that of the paths; nothing is kept, since a small repository can list many long paths.
    pub fn digest(&self, path: &str, exclude: &dyn Fn(&str) -> bool) -> Result<String, TreeError> {
        let mut listing = Listing { path, exclude, visited: 0, hash: Sha256::new() };
        self.list(&self.directory_tree(path)?, &Place::default(), &mut listing)?;
        Ok(crate::names::hex(&listing.hash.finalize()))
    }

    fn list(&self, tree: &Tree<'_>, place: &Place, listing: &mut Listing<'_>) -> Result<(), TreeError> {
        for entry in tree {
            listing.visited += 1;
            if listing.visited > MAX_ENTRIES {
                return Err(too_many(listing.path, MAX_ENTRIES));
            }
            if (listing.exclude)(&place.entry(entry.name_bytes())) {
                continue;
            }
            let mode = entry.filemode_raw();
            if mode & MODE_KIND != MODE_TREE {
                let name = [&place.prefix[..], entry.name_bytes()].concat();
                listing.add(&name, mode, entry.id());
            } else if place.depth >= names::MAX_DEPTH {
                return Err(unsafe_entry(listing.path, "has directories that lie too deep"));
            } else {
                self.list(&self.tree(entry.id())?, &place.deeper(entry.name_bytes()), listing)?;
            }
        }
        Ok(())
    }

    /// Whether `ancestor` is `commit` or in its history, as far as that is here.
    pub fn is_ancestor(&self, ancestor: &CommitId, commit: &CommitId) -> Result<bool, TreeError> {
        let (old, new) = (Oid::from_str(ancestor.as_str())?, Oid::from_str(commit.as_str())?);
        if old == new {
            return Ok(true);
        }
        match mirror::kind(&self.odb, old)? {
            Some((_, ObjectType::Commit)) => Ok(self.repository.graph_descendant_of(new, old)?),
            _ => Ok(false),
        }
    }

    /// Whether the two share a commit in their histories, as far as these are here.
    pub fn are_related(&self, one: &CommitId, other: &CommitId) -> Result<bool, TreeError> {
        let (one, other) = (Oid::from_str(one.as_str())?, Oid::from_str(other.as_str())?);
        if one == other {
            return Ok(true);
        }
        for commit in [one, other] {
            if !matches!(mirror::kind(&self.odb, commit)?, Some((_, ObjectType::Commit))) {
                return Ok(false);
            }
        }
        match self.repository.merge_base(one, other) {
            Ok(_) => Ok(true),
            Err(error) if error.code() == git2::ErrorCode::NotFound => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    pub(super) fn directory_tree(&self, path: &str) -> Result<Tree<'repo>, TreeError> {
        self.descend(path, &parts(path)?)?.ok_or(TreeError::PathMissing)
    }

    /// The tree at `directories`; `None` when one is missing. A link or submodule on the way is an error.
    fn descend(&self, path: &str, directories: &[&str]) -> Result<Option<Tree<'repo>>, TreeError> {
        let mut tree = self.tree(self.root)?;
        for name in directories {
            let Some((mode, id)) = tree.get_name(name).map(|entry| (entry.filemode_raw(), entry.id())) else {
                return Ok(None);
            };
            match mode & MODE_KIND {
                MODE_TREE => tree = self.tree(id)?,
                MODE_FILE => return Ok(None),
                mode => return Err(unsafe_entry(path, kind_of(mode))),
            }
        }
        Ok(Some(tree))
    }

    pub(super) fn tree(&self, id: Oid) -> Result<Tree<'repo>, TreeError> {
        match mirror::kind(&self.odb, id)? {
            Some((size, ObjectType::Tree)) if size <= MAX_TREE_BYTES => Ok(self.repository.find_tree(id)?),
            Some((_, ObjectType::Tree)) => Err(TreeError::Corrupt(format!("directory {id} is too large"))),
            _ => Err(TreeError::Corrupt(format!("directory {id} is missing"))),
        }
    }

    pub(super) fn blob(&self, path: &str, id: Oid, cap: u64) -> Result<Vec<u8>, TreeError> {
        self.size(path, id, cap)?;
        Ok(self.repository.find_blob(id)?.content().to_vec())
    }

    fn size(&self, path: &str, id: Oid, cap: u64) -> Result<u64, TreeError> {
        let too_large =
            |size| Err(GitError::TooLarge { path: path.to_owned(), size, cap, unit: "bytes" }.into());
        match mirror::kind(&self.odb, id)? {
            Some((size, ObjectType::Blob)) if size as u64 > cap => too_large(size as u64),
            Some((size, ObjectType::Blob)) => Ok(size as u64),
            Some(_) => Err(TreeError::Corrupt(format!("{id} is not a file's content"))),
            None => match self.filtered_from {
                Some(size) => too_large(size),
                None => Err(TreeError::Corrupt(format!("content {id} is missing"))),
            },
        }
    }
}

/// A directory on the way down: its path with a `/` at the end, as bytes, because names need not be text.
#[derive(Default)]
pub(super) struct Place {
    prefix: Vec<u8>,
    pub(super) depth: usize,
}

impl Place {
    pub(super) fn entry(&self, name: &[u8]) -> String {
        String::from_utf8_lossy(&[&self.prefix[..], name].concat()).into_owned()
    }

    pub(super) fn deeper(&self, name: &[u8]) -> Self {
        Self { prefix: [&self.prefix[..], name, b"/"].concat(), depth: self.depth + 1 }
    }
}

struct Walk<'a> {
    path: &'a str,
    limits: DirectoryLimits,
    found: Directory,
    entries: usize,
    bytes: u64,
}

impl Walk<'_> {
    fn count(&mut self) -> Result<(), TreeError> {
        self.entries += 1;
        if self.entries > self.limits.files { Err(too_many(self.path, self.limits.files)) } else { Ok(()) }
    }

    fn ignore(&mut self, name: &str, why: &'static str) {
        if self.found.ignored.len() < MAX_IGNORED {
            self.found.ignored.push((names::printable(name), why));
        }
    }
}

struct Listing<'a> {
    path: &'a str,
    exclude: &'a dyn Fn(&str) -> bool,
    visited: usize,
    hash: Sha256,
}

impl Listing<'_> {
    fn add(&mut self, name: &[u8], mode: i32, id: Oid) {
        self.hash.update((name.len() as u64).to_be_bytes());
        self.hash.update(name);
        self.hash.update(mode.to_be_bytes());
        self.hash.update(id.as_bytes());
    }
}

fn parts(path: &str) -> Result<Vec<&str>, TreeError> {
    names::path_parts(path)
        .ok_or_else(|| unsafe_entry(path, "is not a plain path relative to the repository"))
}

fn unsafe_entry(path: &str, what: &'static str) -> TreeError {
    GitError::UnsafeEntry { path: path.to_owned(), what }.into()
}

fn too_many(path: &str, cap: usize) -> TreeError {
    let cap = cap as u64;
    GitError::TooLarge { path: path.to_owned(), size: cap + 1, cap, unit: "files" }.into()
}

fn kind_of(mode: i32) -> &'static str {
    match mode & MODE_KIND {
        MODE_LINK => "is a symbolic link",
        MODE_SUBMODULE => "is a submodule",
        MODE_TREE => "is a directory",
        _ => "is of an unknown kind",
    }
}
