//! Expensive products, made once per machine and user: Go tools above all.
//!
//! The folder is `$IMAAS_LAB_CACHE`, else `$XDG_CACHE_HOME/imaas-lab`, else `~/.cache/imaas-lab`. Each product is a
//! folder `NAME-KEY` in it, made under a temporary name and then renamed, so a half-made one is never seen. It may be
//! deleted at any time. Several processes may ask at once: one builds, the others wait.
mod tools;

use std::{
    env,
    fmt::Write as _,
    fs::{self, File, TryLockError},
    path::{Path, PathBuf},
};

use anyhow::Context;
use sha2::{Digest, Sha256};

pub use self::tools::{binary, binary_async, gateway_api, keda_kinds};
use crate::Progress;

/// The Kubernetes version that the lab runs.
pub const KUBERNETES_VERSION: &str = "v1.34.4";

/// A folder that `build` fills, once for each `name` and `key`. Put everything that decides the content into `key`.
///
/// # Errors
/// Whatever `build` returns; then nothing is kept. A cache folder that cannot be written.
pub fn entry(
    name: &str,
    key: &str,
    progress: &Progress,
    build: impl FnOnce(&Path) -> anyhow::Result<()>,
) -> anyhow::Result<PathBuf> {
    entry_in(&root()?, name, key, progress, build)
}

fn entry_in(
    root: &Path,
    name: &str,
    key: &str,
    progress: &Progress,
    build: impl FnOnce(&Path) -> anyhow::Result<()>,
) -> anyhow::Result<PathBuf> {
    let made = root.join(format!("{name}-{}", &sha256_hex(key.as_bytes())[..16]));
    if made.is_dir() {
        return Ok(made);
    }
    fs::create_dir_all(root).with_context(|| format!("cache folder {}", root.display()))?;
    let lock_path = root.join(format!("{name}.lock"));
    let lock = File::create(&lock_path).with_context(|| format!("lock {}", lock_path.display()))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            progress.say(&format!("waiting for another process that makes {name} …"));
            lock.lock().with_context(|| format!("lock {}", lock_path.display()))?;
        }
        Err(TryLockError::Error(error)) => {
            return Err(error).context(format!("lock {}", lock_path.display()));
        }
    }
    if made.is_dir() {
        return Ok(made);
    }
    // The lock is ours, so a half-made one is what an ended process left.
    let half_made = root.join(format!(".{name}.half-made"));
    if half_made.exists() {
        fs::remove_dir_all(&half_made).with_context(|| format!("remove {}", half_made.display()))?;
    }
    fs::create_dir(&half_made).with_context(|| format!("create {}", half_made.display()))?;
    if let Err(error) = build(&half_made) {
        let _kept_for_nobody = fs::remove_dir_all(&half_made);
        return Err(error.context(format!("make {name}")));
    }
    fs::rename(&half_made, &made).with_context(|| format!("rename to {}", made.display()))?;
    Ok(made)
}

/// The cache folder (it need not exist yet).
///
/// # Errors
/// When none of the three environment variables is set.
pub fn root() -> anyhow::Result<PathBuf> {
    let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("IMAAS_LAB_CACHE")
        .or_else(|| set("XDG_CACHE_HOME").map(|dir| dir.join("imaas-lab")))
        .or_else(|| set("HOME").map(|dir| dir.join(".cache/imaas-lab")))
        .context("no folder for the lab's cache: set IMAAS_LAB_CACHE")
}

/// The SHA-256 of some bytes in lower-case hexadecimal, as image digests want it.
pub fn sha256_hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::with_capacity(64), |mut text, byte| {
        let _infallible = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn what_two_ask_for_at_once_is_made_once() {
        let root = tempfile::tempdir().unwrap();
        let made = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let dir = entry_in(root.path(), "thing", "v1", &Progress::silent(), |dir| {
                        made.fetch_add(1, Ordering::SeqCst);
                        std::thread::sleep(std::time::Duration::from_millis(50));
                        Ok(fs::write(dir.join("file"), "whole")?)
                    })
                    .unwrap();
                    assert_eq!(fs::read_to_string(dir.join("file")).unwrap(), "whole");
                });
            }
        });
        assert_eq!(made.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn a_failed_build_leaves_nothing_and_another_key_is_another_folder() {
        let root = tempfile::tempdir().unwrap();
        let make = |key: &str, fail: bool| {
            entry_in(root.path(), "thing", key, &Progress::silent(), |dir| {
                fs::write(dir.join("half"), "")?;
                if fail { Err(anyhow::anyhow!("disk full")) } else { Ok(()) }
            })
        };
        assert!(format!("{:#}", make("v1", true).unwrap_err()).contains("disk full"));
        let first = make("v1", false).unwrap();
        assert_ne!(first, make("v2", false).unwrap());
        assert_eq!(first, make("v1", true).unwrap());
    }
}
