//! IO: one bare repository on disk. No work tree, no hooks, no configuration of the host, no remote: objects come in as
//! packs, and refs are named by a hash of the branch, so that no branch's name is ever a path.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use git2::{ErrorCode, ObjectType, Odb, OdbPackwriter, Oid, Repository, RepositoryInitOptions};
use sha2::{Digest, Sha256};

use super::commit::CommitId;
use super::packcheck::{PackCheck, PackError, PackLimits};

/// A mirror's place. Nothing is opened until it is asked for.
#[derive(Clone, Debug)]
pub struct Mirror {
    path: PathBuf,
}

/// What went wrong on disk.
#[derive(Debug, thiserror::Error)]
pub enum MirrorError {
    /// The file system.
    #[error("{0}")]
    Storage(#[from] io::Error),
    /// libgit2 does not accept what is there or what came.
    #[error("{0}")]
    Git(#[from] git2::Error),
    /// The deadline passed while objects were unpacked.
    #[error("not done in time")]
    Late,
    /// The pack breaks a limit or is not a pack.
    #[error("{0}")]
    Pack(#[from] PackError),
}

/// What a mirror holds, as a fetch needs to know it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holding {
    /// Heads of the branches that were fetched.
    pub tips: BTreeSet<CommitId>,
    /// The tips, then some of their ancestors, newest first.
    pub have: Vec<CommitId>,
    /// Commits without their parents.
    pub shallow: BTreeSet<CommitId>,
    /// Whether history was asked for.
    pub full: bool,
    /// How many packs there are.
    pub packs: usize,
    /// All files of all packs together.
    pub bytes: u64,
}

/// At most this many ancestors are told to the server as present.
const MAX_HAVE: usize = 256;
/// About what an empty bare repository takes on disk.
const EMPTY_BYTES: u64 = 64 << 10;

impl Mirror {
    /// The mirror at `path`.
    pub fn at(path: PathBuf) -> Self {
        Self { path }
    }

    /// Its directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where its successor is made.
    pub fn spare(&self) -> Self {
        Self { path: self.path.with_extension("new") }
    }

    /// Puts `successor` in its place.
    pub fn replace(&self, successor: &Self) -> io::Result<()> {
        self.remove()?;
        fs::rename(&successor.path, &self.path)
    }

    /// Whether history was asked for.
    pub fn is_full(&self) -> bool {
        self.path.join("full-history").exists()
    }

    /// Opens what is there.
    pub fn open(&self) -> Result<Repository, git2::Error> {
        Repository::open_bare(&self.path)
    }

    /// Opens it, or makes an empty one; removes what a killed process left half written.
    pub fn open_or_create(&self, full: bool) -> Result<Repository, MirrorError> {
        if self.path.join("HEAD").exists() {
            let repository = self.open()?;
            self.remove_leftovers()?;
            return Ok(repository);
        }
        self.remove()?;
        if let Some(parent) = self.path.parent() {
            fs::create_dir_all(parent)?;
        }
        let mut options = RepositoryInitOptions::new();
        options.bare(true).no_reinit(true).external_template(false).mkpath(true);
        let repository = Repository::init_opts(&self.path, &options)?;
        if full {
            fs::write(self.path.join("full-history"), "")?;
        }
        Ok(repository)
    }

    /// Removes it from disk.
    pub fn remove(&self) -> io::Result<()> {
        match fs::remove_dir_all(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// What it holds.
    pub fn holding(&self, repository: &Repository) -> Result<Holding, MirrorError> {
        let mut tips = BTreeSet::new();
        let mut walk = repository.revwalk()?;
        for reference in repository.references_glob("refs/imaas/*")? {
            if let Some(tip) = reference?.target() {
                repository.find_commit(tip)?;
                walk.push(tip)?;
                tips.extend(commit_id(tip));
            }
        }
        // Without history the walk ends in an error at the first parent, so the tips are told in any case.
        let walked = walk.take(MAX_HAVE).map_while(Result::ok).filter_map(commit_id);
        let mut have: Vec<CommitId> = tips.iter().cloned().collect();
        have.extend(walked.filter(|id| !tips.contains(id)));
        let is_pack = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "pack");
        let packs = self.pack_files()?.iter().filter(|path| is_pack(path)).count();
        let bytes = self.pack_bytes()?;
        Ok(Holding { tips, have, shallow: self.shallow()?, full: self.is_full(), packs, bytes })
    }

    /// What it takes on disk, with a successor that was begun.
    pub fn bytes(&self) -> io::Result<u64> {
        let own = |mirror: &Self| -> io::Result<u64> {
            if mirror.path.exists() { Ok(EMPTY_BYTES + mirror.pack_bytes()?) } else { Ok(0) }
        };
        Ok(own(self)? + own(&self.spare())?)
    }

    /// Whether the commit and its root directory are here.
    pub fn has(&self, commit: &CommitId) -> bool {
        let present = || -> Result<(), git2::Error> {
            let repository = self.open()?;
            let commit = repository.find_commit(Oid::from_str(commit.as_str())?)?;
            commit.tree().map(|_| ())
        };
        present().is_ok()
    }

    /// Whether large blobs were left out of what was fetched.
    pub fn is_filtered(&self) -> bool {
        self.path.join("filtered").exists()
    }

    /// Remembers that large blobs are left out.
    pub fn set_filtered(&self) -> io::Result<()> {
        fs::write(self.path.join("filtered"), "")
    }

    /// Replaces the list of commits without parents; whole or not at all.
    pub fn set_shallow(&self, shallow: &BTreeSet<CommitId>) -> io::Result<()> {
        let draft = self.path.join("shallow.new");
        let mut file = io::BufWriter::new(fs::File::create(&draft)?);
        for id in shallow {
            writeln!(file, "{id}")?;
        }
        file.into_inner().map_err(io::IntoInnerError::into_error)?;
        fs::rename(draft, self.path.join("shallow"))
    }

    fn shallow(&self) -> io::Result<BTreeSet<CommitId>> {
        match fs::read_to_string(self.path.join("shallow")) {
            Ok(text) => Ok(text.lines().filter_map(CommitId::parse).collect()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(BTreeSet::new()),
            Err(error) => Err(error),
        }
    }

    fn pack_bytes(&self) -> io::Result<u64> {
        self.pack_files()?.into_iter().map(|path| Ok(fs::metadata(path)?.len())).sum()
    }

    fn pack_files(&self) -> io::Result<Vec<PathBuf>> {
        match fs::read_dir(self.path.join("objects/pack")) {
            Ok(entries) => entries.map(|entry| entry.map(|entry| entry.path())).collect(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(vec![]),
            Err(error) => Err(error),
        }
    }

    fn remove_leftovers(&self) -> io::Result<()> {
        for path in self.pack_files()? {
            if !path.extension().is_some_and(|extension| extension == "pack" || extension == "idx") {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }
}

/// Takes a pack as it arrives. Nothing is visible before `commit`; dropped without it, nothing stays.
pub struct PackWriter<'odb> {
    check: PackCheck,
    inner: OdbPackwriter<'odb>,
    until: Instant,
}

impl<'odb> PackWriter<'odb> {
    /// A pack for this object database. Past `until`, it fails also in the middle of unpacking.
    pub fn new(odb: &'odb Odb<'_>, limits: PackLimits, until: Instant) -> Result<Self, MirrorError> {
        let mut inner = odb.packwriter()?;
        inner.progress(move |_| Instant::now() < until);
        Ok(Self { check: PackCheck::new(limits), inner, until })
    }

    /// Checks and writes bytes.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), MirrorError> {
        self.check.push(bytes)?;
        // git2 hides libgit2's reason behind "Write error"; what failed is the pack or the disk.
        let written = self.inner.write_all(bytes);
        written.map_err(|_| self.late_or(git2::Error::from_str("the pack cannot be indexed")))
    }

    /// Checks the sum over all of it and makes its objects visible.
    pub fn commit(mut self) -> Result<(), MirrorError> {
        self.check.finish()?;
        let committed = self.inner.commit();
        committed.map(|_| ()).map_err(|error| self.late_or(error))
    }

    fn late_or(&self, error: git2::Error) -> MirrorError {
        if Instant::now() < self.until { error.into() } else { MirrorError::Late }
    }
}

/// Kind of the object, `None` when it is not here.
pub fn kind(odb: &Odb<'_>, id: Oid) -> Result<Option<(usize, ObjectType)>, git2::Error> {
    match odb.read_header(id) {
        Ok(header) => Ok(Some(header)),
        Err(error) if error.code() == ErrorCode::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Points the branch at a commit that is here with its root directory.
pub fn keep(repository: &Repository, branch: &str, tip: &CommitId) -> Result<(), git2::Error> {
    let tip = Oid::from_str(tip.as_str())?;
    repository.find_commit(tip)?.tree()?;
    repository.reference(&branch_ref(branch), tip, true, "").map(|_| ())
}

/// Whether the branch was fetched before.
pub fn knows(repository: &Repository, branch: &str) -> bool {
    repository.find_reference(&branch_ref(branch)).is_ok()
}

fn commit_id(id: Oid) -> Option<CommitId> {
    CommitId::parse(&id.to_string())
}

fn branch_ref(branch: &str) -> String {
    format!("refs/imaas/{}", crate::names::hex(&Sha256::digest(branch.as_bytes())))
}
