//! Go tools, each built from a module file of its own: go.sum pins every byte.
use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use anyhow::{Context, bail};

use super::entry;
use crate::{Progress, process};

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
    /// Build tags; what has some is built with C.
    tags: &'static str,
    /// Folders that the only tool reads while it runs, of the module that it is itself: they are put beside it.
    folders: &'static [&'static str],
    /// Seen on two cores with an empty Go cache.
    cold_build: &'static str,
}

macro_rules! module {
    ($dir:literal) => {
        &[
            ("go.mod", include_str!(concat!("../../go/", $dir, "/go.mod"))),
            ("go.sum", include_str!(concat!("../../go/", $dir, "/go.sum"))),
        ]
    };
}

/// What most have.
const PLAIN: ToolSet =
    ToolSet { name: "", tools: &[], files: &[], linker_flags: "", tags: "", folders: &[], cold_build: "" };

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
        ..PLAIN
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
        ..PLAIN
    },
    ToolSet {
        name: "etcd",
        tools: &[("etcd", "go.etcd.io/etcd/server/v3")],
        files: module!("etcd"),
        cold_build: "20 s",
        ..PLAIN
    },
    ToolSet {
        name: "kwok",
        tools: &[("kwok", "sigs.k8s.io/kwok/cmd/kwok")],
        files: module!("kwok"),
        cold_build: "70 s",
        ..PLAIN
    },
    ToolSet {
        name: "coredns",
        tools: &[("coredns", "github.com/coredns/coredns")],
        files: module!("coredns"),
        cold_build: "2 min",
        ..PLAIN
    },
    ToolSet {
        name: "registry",
        tools: &[("registry", "github.com/distribution/distribution/v3/cmd/registry")],
        files: module!("registry"),
        cold_build: "1 min",
        ..PLAIN
    },
    ToolSet {
        name: "helm",
        tools: &[("helm", "helm.sh/helm/v3/cmd/helm")],
        files: module!("helm"),
        linker_flags: HELM_FLAGS,
        cold_build: "70 s",
        ..PLAIN
    },
    ToolSet {
        name: "crane",
        tools: &[("crane", "github.com/google/go-containerregistry/cmd/crane")],
        files: module!("crane"),
        cold_build: "10 s",
        ..PLAIN
    },
    ToolSet {
        name: "cyclonus",
        tools: &[("cyclonus", "github.com/mattfenwick/cyclonus/cmd/cyclonus")],
        files: module!("cyclonus"),
        cold_build: "70 s",
        ..PLAIN
    },
    ToolSet {
        name: "metrics-server",
        tools: &[("metrics-server", "sigs.k8s.io/metrics-server/cmd/metrics-server")],
        files: module!("metrics-server"),
        cold_build: "2 min",
        ..PLAIN
    },
    ToolSet {
        name: "traefik",
        tools: &[("traefik", "github.com/traefik/traefik/v3/cmd/traefik")],
        files: module!("traefik"),
        cold_build: "6 min",
        ..PLAIN
    },
    ToolSet {
        name: "gitea",
        tools: &[("gitea", "code.gitea.io/gitea")],
        files: module!("gitea"),
        // Its database.
        tags: "sqlite sqlite_unlock_notify",
        folders: &["options", "public", "templates"],
        cold_build: "4 min",
        ..PLAIN
    },
    ToolSet {
        name: "keda",
        tools: &[("keda", "github.com/kedacore/keda/v2/cmd/operator")],
        files: module!("keda"),
        cold_build: "6 min",
        ..PLAIN
    },
    ToolSet {
        name: "keda-adapter",
        tools: &[("keda-adapter", "github.com/kedacore/keda/v2/cmd/adapter")],
        files: module!("keda"),
        cold_build: "1 min",
        ..PLAIN
    },
    ToolSet {
        name: "pause",
        tools: &[("pause", ".")],
        files: &[
            ("go.mod", include_str!("../../go/pause/go.mod")),
            ("main.go", include_str!("../../go/pause/main.go")),
        ],
        cold_build: "2 s",
        ..PLAIN
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
    let module = ("sigs.k8s.io/gateway-api", module!("gateway-api").as_slice());
    folder("gateway-api", module, "config/crd/standard", progress)
}

/// The folder of KEDA's kinds, one file each, from its Go module.
///
/// # Errors
/// As [`gateway_api`].
pub fn keda_kinds(progress: &Progress) -> anyhow::Result<PathBuf> {
    let module = ("github.com/kedacore/keda/v2", module!("keda").as_slice());
    folder("keda-kinds", module, "config/crd/bases", progress)
}

/// A folder `path` of a Go module, of which nothing is built.
fn folder(
    name: &str,
    (module, files): (&str, &[(&str, &str)]),
    path: &str,
    progress: &Progress,
) -> anyhow::Result<PathBuf> {
    let key = files.iter().map(|(_, text)| *text).collect::<Vec<_>>().join("\n");
    entry(name, &key, progress, |dir| {
        let place = tempfile::tempdir().context("module folder")?;
        for (name, text) in files {
            fs::write(place.path().join(name), text).with_context(|| format!("write {name}"))?;
        }
        process::run(go(place.path()).args(["mod", "download", module]))?;
        copy(&source(place.path(), module)?.join(path), dir)
    })
}

fn go(module: &Path) -> Command {
    let mut go = Command::new("go");
    go.envs([("GOWORK", "off"), ("GOFLAGS", ""), ("GOTOOLCHAIN", "local")]).current_dir(module);
    go
}

/// Where Go has the files of a module.
fn source(module: &Path, name: &str) -> anyhow::Result<PathBuf> {
    let folder = process::run(go(module).args(["list", "-m", "-f", "{{.Dir}}", name]))?;
    Ok(PathBuf::from(folder.trim()))
}

/// All files below `from`, written anew: a module's own can be neither changed nor removed.
fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(to).with_context(|| format!("create {}", to.display()))?;
    for file in fs::read_dir(from).with_context(|| format!("read {}", from.display()))? {
        let file = file?;
        let (from, to) = (file.path(), to.join(file.file_name()));
        if from.is_dir() {
            copy(&from, &to)?;
        } else {
            fs::write(to, fs::read(from)?)?;
        }
    }
    Ok(())
}

impl ToolSet {
    fn key(&self) -> String {
        let packages = self.tools.iter().flat_map(|(tool, package)| [*tool, *package]);
        let files = self.files.iter().map(|(_, text)| *text);
        let platform = [env::consts::OS, env::consts::ARCH, self.linker_flags];
        let tags = Some(self.tags).filter(|tags| !tags.is_empty());
        let special = tags.into_iter().chain(self.folders.iter().copied());
        platform.into_iter().chain(packages).chain(files).chain(special).collect::<Vec<_>>().join("\n")
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
        let with_c = if self.tags.is_empty() { "0" } else { "1" };
        let mut build = go(&module);
        build
            .args(["build", "-buildvcs=false", "-trimpath", "-tags", self.tags, "-ldflags"])
            .arg(format!("-s -w {}", self.linker_flags))
            .arg("-o")
            .arg(output)
            .args(self.tools.iter().map(|(_, package)| package))
            .env("CGO_ENABLED", with_c);
        process::run(&mut build)?;
        if let [(_, package)] = self.tools {
            for folder in self.folders {
                copy(&source(&module, package)?.join(folder), &dir.join(folder))?;
            }
        }
        progress.say(&format!("built {names} in {} s", began.elapsed().as_secs()));
        Ok(())
    }

    fn check_go(&self) -> anyhow::Result<()> {
        let wanted = self
            .files
            .iter()
            .find_map(|(_, text)| text.lines().find_map(|line| line.strip_prefix("go ")))
            .context("go.mod without a go line")?;
        let Ok(found) = process::run(go(Path::new("/")).args(["env", "GOVERSION"])) else {
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
    use super::*;

    #[test]
    fn versions_compare_by_number() {
        assert!(version("1.9.9") < version("1.25.0"));
        assert!(version("1.26.8") >= version("1.26.0"));
        assert!(version("1.27rc1") >= version("1.26.0"));
    }
}
