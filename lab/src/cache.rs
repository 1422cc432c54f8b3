//! Expensive products, made once per machine and user: Go tools above all.
//!
//! The folder is `$IMAAS_LAB_CACHE`, else `$XDG_CACHE_HOME/imaas-lab`, else `~/.cache/imaas-lab`. Each product is a
//! folder `NAME-KEY` in it, made under a temporary name and then renamed, so a half-made one is never seen. It may be
//! deleted at any time. Several processes may ask at once: one builds, the others wait.
use std::{
    env,
    fmt::Write as _,
    fs::{self, File, TryLockError},
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use anyhow::{Context, bail};
use sha2::{Digest, Sha256};

use crate::{Progress, process};

/// The Kubernetes version that the lab runs.
pub const KUBERNETES_VERSION: &str = "v1.34.4";

const KUBERNETES_FLAGS: &str = "-X k8s.io/component-base/version.gitVersion=v1.34.4 \
     -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=34";
const HELM_FLAGS: &str =
    "-X helm.sh/helm/v3/pkg/chartutil.k8sVersionMajor=1 -X helm.sh/helm/v3/pkg/chartutil.k8sVersionMinor=34";

/// Go programs that are built together from one module.
struct ToolSet {
    name: &'static str,
    /// `(binary, package)`.
    tools: &'static [(&'static str, &'static str)],
    files: &'static [(&'static str, &'static str)],
    linker_flags: &'static str,
    /// Seen on two cores with an empty Go cache.
    cold_build: &'static str,
}

macro_rules! module {
    ($dir:literal) => {
        &[
            ("go.mod", include_str!(concat!("../go/", $dir, "/go.mod"))),
            ("go.sum", include_str!(concat!("../go/", $dir, "/go.sum"))),
        ]
    };
}

const TOOL_SETS: &[ToolSet] = &[
    ToolSet {
        name: "kubernetes",
        tools: &[
            ("kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver"),
            ("kube-controller-manager", "k8s.io/kubernetes/cmd/kube-controller-manager"),
            ("kube-scheduler", "k8s.io/kubernetes/cmd/kube-scheduler"),
            ("kubectl", "k8s.io/kubernetes/cmd/kubectl"),
        ],
        files: module!("kubernetes"),
        linker_flags: KUBERNETES_FLAGS,
        cold_build: "4 min",
    },
    ToolSet {
        name: "kubernetes-node",
        tools: &[
            ("kubelet", "k8s.io/kubernetes/cmd/kubelet"),
            ("kube-proxy", "k8s.io/kubernetes/cmd/kube-proxy"),
        ],
        files: module!("kubernetes"),
        linker_flags: KUBERNETES_FLAGS,
        cold_build: "2 min",
    },
    ToolSet {
        name: "etcd",
        tools: &[("etcd", "go.etcd.io/etcd/server/v3")],
        files: module!("etcd"),
        linker_flags: "",
        cold_build: "20 s",
    },
    ToolSet {
        name: "kwok",
        tools: &[("kwok", "sigs.k8s.io/kwok/cmd/kwok")],
        files: module!("kwok"),
        linker_flags: "",
        cold_build: "70 s",
    },
    ToolSet {
        name: "coredns",
        tools: &[("coredns", "github.com/coredns/coredns")],
        files: module!("coredns"),
        linker_flags: "",
        cold_build: "2 min",
    },
    ToolSet {
        name: "registry",
        tools: &[("registry", "github.com/distribution/distribution/v3/cmd/registry")],
        files: module!("registry"),
        linker_flags: "",
        cold_build: "1 min",
    },
    ToolSet {
        name: "helm",
        tools: &[("helm", "helm.sh/helm/v3/cmd/helm")],
        files: module!("helm"),
        linker_flags: HELM_FLAGS,
        cold_build: "70 s",
    },
    ToolSet {
        name: "crane",
        tools: &[("crane", "github.com/google/go-containerregistry/cmd/crane")],
        files: module!("crane"),
        linker_flags: "",
        cold_build: "10 s",
    },
    ToolSet {
        name: "cyclonus",
        tools: &[("cyclonus", "github.com/mattfenwick/cyclonus/cmd/cyclonus")],
        files: module!("cyclonus"),
        linker_flags: "",
        cold_build: "70 s",
    },
    ToolSet {
        name: "traefik",
        tools: &[("traefik", "github.com/traefik/traefik/v3/cmd/traefik")],
        files: module!("traefik"),
        linker_flags: "",
        cold_build: "6 min",
    },
    ToolSet {
        name: "pause",
        tools: &[("pause", ".")],
        files: &[
            ("go.mod", include_str!("../go/pause/go.mod")),
            ("main.go", include_str!("../go/pause/main.go")),
        ],
        linker_flags: "",
        cold_build: "2 s",
    },
];

/// The path of a Go tool (`kube-apiserver`, `kubectl`, `etcd`, `helm`, `crane`, …), built when it is not there yet
/// together with the others of its module. Blocks for as long as that takes: minutes, once.
///
/// # Errors
/// An unknown name; Go missing or too old (the message says which is wanted and where to get it); a failed build.
pub fn binary(name: &str, progress: &Progress) -> anyhow::Result<PathBuf> {
    let set = TOOL_SETS
        .iter()
        .find(|set| set.tools.iter().any(|(tool, _)| *tool == name))
        .with_context(|| format!("the lab has no Go tool {name:?}"))?;
    let dir = entry(set.name, &set.key(), progress, |dir| set.build(dir, progress))?;
    Ok(dir.join(name))
}

/// The same for code that must not block: the build runs on a thread of its own.
///
/// # Errors
/// As [`binary`].
pub async fn binary_async(name: &'static str, progress: &Progress) -> anyhow::Result<PathBuf> {
    let progress = progress.clone();
    tokio::task::spawn_blocking(move || binary(name, &progress)).await.context("the build was ended")?
}

/// The folder of the Gateway API's kinds, one file each: those of the standard channel, from its Go module.
///
/// # Errors
/// As [`binary`]; and where the module cannot be had.
pub fn gateway_api(progress: &Progress) -> anyhow::Result<PathBuf> {
    const MODULE: &str = "sigs.k8s.io/gateway-api";
    let files: &[(&str, &str)] = module!("gateway-api");
    let key = files.iter().map(|(_, text)| *text).collect::<Vec<_>>().join("\n");
    entry("gateway-api", &key, progress, |dir| {
        let module = tempfile::tempdir().context("module folder")?;
        for (name, text) in files {
            fs::write(module.path().join(name), text).with_context(|| format!("write {name}"))?;
        }
        let go = |arguments: &[&str]| {
            let mut go = Command::new("go");
            go.args(arguments).envs([("GOWORK", "off"), ("GOFLAGS", ""), ("GOTOOLCHAIN", "local")]);
            process::run(go.current_dir(&module))
        };
        go(&["mod", "download", MODULE])?;
        let source = go(&["list", "-m", "-f", "{{.Dir}}", MODULE])?;
        let kinds = Path::new(source.trim()).join("config/crd/standard");
        for file in fs::read_dir(&kinds).with_context(|| format!("read {}", kinds.display()))? {
            let file = file?;
            // Written anew: a module's own files cannot be changed, nor removed.
            fs::write(dir.join(file.file_name()), fs::read(file.path())?)?;
        }
        Ok(())
    })
}

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

impl ToolSet {
    fn key(&self) -> String {
        let packages = self.tools.iter().flat_map(|(tool, package)| [*tool, *package]);
        let files = self.files.iter().map(|(_, text)| *text);
        let platform = [env::consts::OS, env::consts::ARCH, self.linker_flags];
        platform.into_iter().chain(packages).chain(files).collect::<Vec<_>>().join("\n")
    }

    fn build(&self, dir: &Path, progress: &Progress) -> anyhow::Result<()> {
        self.check_go()?;
        let names = self.tools.iter().map(|(tool, _)| *tool).collect::<Vec<_>>().join(", ");
        progress.say(&format!("building {names} (about {}, once) …", self.cold_build));
        let began = Instant::now();
        let module = dir.join("module");
        fs::create_dir(&module).context("module folder")?;
        for (name, text) in self.files {
            fs::write(module.join(name), text).with_context(|| format!("write {name}"))?;
        }
        let output = match self.tools {
            [(tool, _)] => dir.join(tool),
            _ => dir.join(""),
        };
        let mut go = Command::new("go");
        go.args(["build", "-buildvcs=false", "-trimpath", "-ldflags"])
            .arg(format!("-s -w {}", self.linker_flags))
            .arg("-o")
            .arg(output)
            .args(self.tools.iter().map(|(_, package)| package))
            .envs([("CGO_ENABLED", "0"), ("GOWORK", "off"), ("GOFLAGS", ""), ("GOTOOLCHAIN", "local")])
            .current_dir(&module);
        process::run(&mut go)?;
        progress.say(&format!("built {names} in {} s", began.elapsed().as_secs()));
        Ok(())
    }

    fn check_go(&self) -> anyhow::Result<()> {
        let wanted = self
            .files
            .iter()
            .find_map(|(_, text)| text.lines().find_map(|line| line.strip_prefix("go ")))
            .context("go.mod without a go line")?;
        let mut go = Command::new("go");
        go.args(["env", "GOVERSION"]).env("GOTOOLCHAIN", "local").current_dir("/");
        let Ok(found) = process::run(&mut go) else {
            bail!("Go {wanted} or newer is needed to build {}: get it from https://go.dev/dl", self.name);
        };
        let found = found.trim().trim_start_matches("go");
        if version(found) < version(wanted) {
            bail!(
                "Go {wanted} or newer is needed to build {}, this is {found}: get it from https://go.dev/dl",
                self.name
            );
        }
        Ok(())
    }
}

/// `1.26.8` as numbers; what follows a digit within a part (`1.27rc1`) is left out.
fn version(text: &str) -> Vec<u32> {
    let digits =
        |part: &str| part.chars().map_while(|c| c.to_digit(10)).fold(0, |number, digit| number * 10 + digit);
    text.split('.').map(digits).collect()
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

    #[test]
    fn versions_compare_by_number() {
        assert!(version("1.9.9") < version("1.25.0"));
        assert!(version("1.26.8") >= version("1.26.0"));
        assert!(version("1.27rc1") >= version("1.26.0"));
    }
}
