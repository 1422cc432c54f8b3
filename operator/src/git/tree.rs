//! IO: reads a commit's tree in a mirror. Exact entries only: nothing is resolved, followed or checked out, and every size
//! is known before the content is read.

use std::collections::BTreeMap;

use git2::{ObjectType, Odb, Oid, Repository, Tree};
use sha2::{Digest, Sha256};

use super::commit::CommitId;
use super::mirror::{self, hex};
use super::{GitError, names};

/// Bounds of `Git::directory`.
#[derive(Clone, Copy, Debug)]
pub struct DirectoryLimits {
    /// Also what lies deeper.
    pub recursive: bool,
    /// Most files.
    pub files: usize,
    /// Largest file, in bytes.
    pub file_bytes: u64,
    /// All files together, in bytes.
    pub total_bytes: u64,
}

/// A directory at a commit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Directory {
    /// Path relative to the directory, with `/` between parts.
    pub files: BTreeMap<String, File>,
    /// Entries that are not used, and why. Names are made printable.
    pub ignored: Vec<(String, &'static str)>,
}

/// A regular file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// `0o100644` or `0o100755`.
    pub mode: u32,
    /// Id of its blob.
    pub blob: String,
    /// All of it.
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

const MODE_KIND: i32 = 0o170_000;
const MODE_TREE: i32 = 0o040_000;
const MODE_FILE: i32 = 0o100_000;
const MODE_LINK: i32 = 0o120_000;
const MODE_SUBMODULE: i32 = 0o160_000;

/// A commit's tree in an open mirror.
pub struct Reader<'repo> {
    repository: &'repo Repository,
    odb: Odb<'repo>,
    root: Oid,
    /// Blobs from this size on are not here.
    filtered_from: Option<u64>,
}

impl<'repo> Reader<'repo> {
    /// Opens the commit. `filtered_from`: the size from which blobs were left out of the fetch.
    pub fn new(repository: &'repo Repository, commit: &CommitId, filtered_from: Option<u64>) -> Result<Self, TreeError> {
        let odb = repository.odb()?;
        let id = Oid::from_str(commit.as_str())?;
        match mirror::kind(&odb, id)? {
            None => return Err(TreeError::CommitMissing),
            Some((size, ObjectType::Commit)) if size <= MAX_COMMIT_BYTES => {}
            Some(_) => return Err(TreeError::Corrupt(format!("{commit} is not a commit"))),
        }
        let root = repository.find_commit(id)?.tree_id();
        Ok(Self { repository, odb, root, filtered_from })
    }

    /// One regular file by its path, `None` when there is none.
    pub fn file(&self, path: &str, cap: u64) -> Result<Option<Vec<u8>>, TreeError> {
        let parts = parts(path)?;
        let Some((name, directories)) = parts.split_last() else { return Err(unsafe_entry(path, "is a directory")) };
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
        let mut found = Directory::default();
        let mut left = Left { files: limits.files, bytes: limits.total_bytes };
        self.collect(&tree, &Walk { path, limits }, "", &mut found, &mut left)?;
        found.ignored.truncate(MAX_IGNORED);
        Ok(found)
    }

    fn collect(&self, tree: &Tree<'_>, walk: &Walk<'_>, prefix: &str, found: &mut Directory, left: &mut Left) -> Result<(), TreeError> {
        let Walk { path, limits } = *walk;
        for entry in tree {
            let shown = || format!("{prefix}{}", String::from_utf8_lossy(entry.name_bytes()).escape_debug());
            let ignored = |what| if found_room(found) { Some((shown(), what)) } else { None };
            if let Some(problem) = names::entry_problem(entry.name_bytes()) {
                let told = ignored(problem);
                found.ignored.extend(told);
                continue;
            }
            let name = format!("{prefix}{}", String::from_utf8_lossy(entry.name_bytes()));
            match entry.filemode_raw() & MODE_KIND {
                MODE_FILE => {
                    left.files = left.files.checked_sub(1).ok_or_else(|| too_many(path, limits.files))?;
                    let content = self.blob(&joined(path, &name), entry.id(), limits.file_bytes.min(left.bytes))?;
                    left.bytes -= content.len() as u64;
                    let mode = if entry.filemode_raw() & 0o100 == 0 { 0o100_644 } else { 0o100_755 };
                    found.files.insert(name, File { mode, blob: entry.id().to_string(), content });
                }
                MODE_TREE if !limits.recursive => {}
                MODE_TREE if prefix.matches('/').count() >= names::MAX_DEPTH => {
                    let told = ignored("it lies too deep");
                    found.ignored.extend(told);
                }
                MODE_TREE => {
                    left.files = left.files.checked_sub(1).ok_or_else(|| too_many(path, limits.files))?;
                    let deeper = self.tree(entry.id())?;
                    self.collect(&deeper, walk, &format!("{name}/"), found, left)?;
                }
                mode => {
                    let told = ignored(kind_of(mode));
                    found.ignored.extend(told);
                }
            }
        }
        Ok(())
    }

    /// SHA-256 over (path, mode, id) of all entries that are not excluded; `exclude` is asked for directories, too.
    pub fn digest(&self, path: &str, exclude: &dyn Fn(&str) -> bool) -> Result<String, TreeError> {
        let tree = self.directory_tree(path)?;
        let mut lines = BTreeMap::new();
        let mut left = MAX_ENTRIES;
        self.list(&tree, path, b"", exclude, &mut left, &mut lines)?;
        let mut hash = Sha256::new();
        for (name, (mode, id)) in lines {
            hash.update((name.len() as u64).to_be_bytes());
            hash.update(&name);
            hash.update(mode.to_be_bytes());
            hash.update(id.as_bytes());
        }
        Ok(hex(&hash.finalize()))
    }

    fn list(
        &self,
        tree: &Tree<'_>,
        path: &str,
        prefix: &[u8],
        exclude: &dyn Fn(&str) -> bool,
        left: &mut usize,
        lines: &mut BTreeMap<Vec<u8>, (i32, Oid)>,
    ) -> Result<(), TreeError> {
        for entry in tree {
            *left = left.checked_sub(1).ok_or_else(|| too_many(path, MAX_ENTRIES))?;
            let name = [prefix, entry.name_bytes()].concat();
            if exclude(&String::from_utf8_lossy(&name)) {
                continue;
            }
            let mode = entry.filemode_raw();
            if mode & MODE_KIND != MODE_TREE {
                lines.insert(name, (mode, entry.id()));
            } else if prefix.iter().filter(|byte| **byte == b'/').count() >= names::MAX_DEPTH {
                return Err(unsafe_entry(path, "has directories that lie too deep"));
            } else {
                let deeper = self.tree(entry.id())?;
                self.list(&deeper, path, &[&name[..], b"/"].concat(), exclude, left, lines)?;
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

    fn directory_tree(&self, path: &str) -> Result<Tree<'repo>, TreeError> {
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

    fn tree(&self, id: Oid) -> Result<Tree<'repo>, TreeError> {
        match mirror::kind(&self.odb, id)? {
            Some((size, ObjectType::Tree)) if size <= MAX_TREE_BYTES => Ok(self.repository.find_tree(id)?),
            Some((_, ObjectType::Tree)) => Err(TreeError::Corrupt(format!("directory {id} is too large"))),
            _ => Err(TreeError::Corrupt(format!("directory {id} is missing"))),
        }
    }

    fn blob(&self, path: &str, id: Oid, cap: u64) -> Result<Vec<u8>, TreeError> {
        let too_large = |size| Err(GitError::TooLarge { path: path.to_owned(), size, cap, unit: "bytes" }.into());
        match mirror::kind(&self.odb, id)? {
            Some((size, ObjectType::Blob)) if size as u64 > cap => too_large(size as u64),
            Some((_, ObjectType::Blob)) => Ok(self.repository.find_blob(id)?.content().to_vec()),
            Some(_) => Err(TreeError::Corrupt(format!("{id} is not a file's content"))),
            None => match self.filtered_from {
                Some(size) => too_large(size),
                None => Err(TreeError::Corrupt(format!("content {id} is missing"))),
            },
        }
    }
}

#[derive(Clone, Copy)]
struct Walk<'a> {
    path: &'a str,
    limits: DirectoryLimits,
}

struct Left {
    files: usize,
    bytes: u64,
}

fn found_room(found: &Directory) -> bool {
    found.ignored.len() < MAX_IGNORED
}

fn parts(path: &str) -> Result<Vec<&str>, TreeError> {
    names::path_parts(path).ok_or_else(|| unsafe_entry(path, "is not a plain path relative to the repository"))
}

fn joined(path: &str, name: &str) -> String {
    if path.is_empty() || path == "." { name.to_owned() } else { format!("{path}/{name}") }
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
