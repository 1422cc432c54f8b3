//! The folder of one lab or stand: locked while its owner lives, so that what an ended one left can be told from a living
//! one's.
use std::{
    env,
    fs::{self, DirBuilder, File},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

use anyhow::{Context, bail};

const LOCK: &str = "lab.lock";
/// While this file is in the folder, something on the machine is still to be taken back with what the folder knows.
pub(crate) const NOTE: &str = "chains-before";
const PREFIX: &str = "imaas-lab-";

/// A locked folder, readable by its owner only. Removed when dropped.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    _lock: File,
}

impl DataDir {
    /// `path`, or a new folder below the system's temporary one. What ended labs left there is removed.
    pub(crate) fn create(path: Option<&Path>) -> anyhow::Result<Self> {
        if let Some(path) = path {
            remove_if_left(path)?;
            return Self::lock(path);
        }
        Self::temporary(PREFIX)
    }

    /// A new folder below the system's temporary one, whose name begins with `prefix`. What owners of such folders left
    /// there that were killed is removed.
    ///
    /// # Errors
    /// When it cannot be made or locked.
    pub fn temporary(prefix: &str) -> anyhow::Result<Self> {
        Self::temporary_in(&env::temp_dir(), prefix)
    }

    fn temporary_in(parent: &Path, prefix: &str) -> anyhow::Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        remove_all_left(parent, prefix);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Self::lock(&parent.join(format!("{prefix}{}-{number}", std::process::id())))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn lock(path: &Path) -> anyhow::Result<Self> {
        let shown = path.display();
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).with_context(|| format!("folder {}", parent.display()))?;
        }
        DirBuilder::new().mode(0o700).create(path).with_context(|| format!("the lab's folder {shown}"))?;
        let lock = File::create(path.join(LOCK)).with_context(|| format!("lock in {shown}"))?;
        lock.try_lock().with_context(|| format!("lock in {shown}"))?;
        // Tools want absolute paths in their configuration.
        let path = path.canonicalize().with_context(|| format!("the lab's folder {shown}"))?;
        Ok(Self { path, _lock: lock })
    }
}

impl Drop for DataDir {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.path) {
            tracing::warn!(error = format!("{error:#}"), "the lab's folder stays behind");
        }
    }
}

/// Removes a folder that an ended lab left. One that is no lab's, or a living lab's, is an error.
pub(crate) fn remove_if_left(path: &Path) -> anyhow::Result<()> {
    if !path.exists() {
        return Ok(());
    }
    let shown = path.display();
    let Ok(lock) = File::open(path.join(LOCK)) else {
        bail!(
            "{shown} exists and is no lab's folder: name one that does not exist, the lab removes it at its end"
        );
    };
    if lock.try_lock().is_err() {
        bail!("{shown} belongs to a running lab");
    }
    remove(path)
}

fn remove(path: &Path) -> anyhow::Result<()> {
    if let Some(mount) = mounts_below(path).first() {
        bail!("{} is mounted: unmount it, then remove {}", mount.display(), path.display());
    }
    if path.join(NOTE).exists() {
        bail!("{} is needed to clean up the machine: the next lab with real pods does", path.display());
    }
    fs::remove_dir_all(path).with_context(|| format!("remove the lab's folder {}", path.display()))
}

/// Mount points below a folder, the latest first.
pub(crate) fn mounts_below(dir: &Path) -> Vec<PathBuf> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let points = table.lines().filter_map(|line| line.split(' ').nth(4)).map(PathBuf::from);
    let mut below: Vec<PathBuf> = points.filter(|point| point.starts_with(dir)).collect();
    below.reverse();
    below
}

fn remove_all_left(parent: &Path, prefix: &str) {
    let ours = |name: &std::ffi::OsStr| name.to_string_lossy().starts_with(prefix);
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        if ours(&entry.file_name()) {
            // Another user's, or in use: not ours to remove.
            let _left = remove_if_left(&entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_living_labs_folder_and_a_strangers_folder_are_left_alone() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("lab");
        let living = DataDir::create(Some(&path)).unwrap();
        assert!(DataDir::create(Some(&path)).unwrap_err().to_string().contains("running lab"));
        drop(living);
        assert!(!path.exists());

        fs::create_dir(&path).unwrap();
        fs::write(path.join("thesis.txt"), "").unwrap();
        assert!(DataDir::create(Some(&path)).unwrap_err().to_string().contains("no lab's folder"));
        assert!(path.join("thesis.txt").exists());
    }

    #[test]
    fn a_folder_that_the_clean_up_still_needs_stays() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("lab");
        let dir = DataDir::create(Some(&path)).unwrap();
        fs::write(path.join(NOTE), "").unwrap();
        drop(dir);
        assert!(path.exists());
        fs::remove_file(path.join(NOTE)).unwrap();
        drop(DataDir::create(Some(&path)).unwrap());
        assert!(!path.exists());
    }

    #[test]
    fn the_next_start_finds_what_a_killed_one_left_and_nothing_else() {
        let parent = tempfile::tempdir().unwrap();
        let make = |name: &str, lock: bool| {
            let path = parent.path().join(name);
            fs::create_dir(&path).unwrap();
            if lock {
                File::create(path.join(LOCK)).unwrap();
            }
            path
        };
        let (killed, strange) = (make("imaas-stand-7-0", true), make("imaas-stand-x", false));
        let other = make("imaas-lab-7-0", true);
        let living = DataDir::temporary_in(parent.path(), "imaas-stand-").unwrap();
        assert!(!killed.exists() && strange.exists() && other.exists());
        let second = DataDir::temporary_in(parent.path(), "imaas-stand-").unwrap();
        assert!(living.path().exists() && second.path() != living.path());
    }

    #[test]
    fn what_an_ended_lab_left_is_replaced() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("lab");
        // What `kill -9` leaves: the folder and its lock file, which nobody holds.
        fs::create_dir(&path).unwrap();
        File::create(path.join(LOCK)).unwrap();
        fs::write(path.join("etcd"), "old").unwrap();
        let dir = DataDir::create(Some(&path)).unwrap();
        assert!(!dir.path().join("etcd").exists());
    }
}
