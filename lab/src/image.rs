//! Images without a container daemon: layers written here, pushed by the real `crane`.
//!
//! The same input gives the same digest, so building twice pushes nothing new. Everything here blocks.

mod layer;
mod root;

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use tempfile::TempDir;

pub use self::{
    layer::{Layer, Tree},
    root::{JAVA, USER, base_layer, jre_layer},
};
use crate::{Progress, cache, process};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// An image that is ready to be pushed, for this machine's processor.
#[derive(Clone, Debug, Default)]
pub struct Image {
    /// Lowest first.
    pub layers: Vec<Layer>,
    /// Program and arguments.
    pub entrypoint: Vec<String>,
    /// `NAME=value`.
    pub env: Vec<String>,
    /// TCP ports that it serves.
    pub ports: Vec<u16>,
}

impl Image {
    /// The digest that a registry will answer.
    pub fn digest(&self) -> String {
        layer::digest_of(self.manifest().as_bytes())
    }

    fn config(&self) -> String {
        let ports: serde_json::Map<String, Value> =
            self.ports.iter().map(|port| (format!("{port}/tcp"), json!({}))).collect();
        let diffs: Vec<&str> = self.layers.iter().map(|layer| layer.digest.as_str()).collect();
        json!({
            "architecture": architecture(),
            "os": "linux",
            "created": "1970-01-01T00:00:00Z",
            "config": {
                "User": format!("{USER}:{USER}"),
                "Entrypoint": self.entrypoint,
                "Env": self.env,
                "ExposedPorts": ports,
                "WorkingDir": "/",
            },
            "rootfs": {"type": "layers", "diff_ids": diffs},
        })
        .to_string()
    }

    fn manifest(&self) -> String {
        let config = self.config();
        let layers: Vec<Value> = self
            .layers
            .iter()
            .map(|layer| {
                let kind = "application/vnd.oci.image.layer.v1.tar";
                json!({"mediaType": kind, "digest": layer.digest, "size": layer.size})
            })
            .collect();
        json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json",
                "digest": layer::digest_of(config.as_bytes()),
                "size": config.len(),
            },
            "layers": layers,
        })
        .to_string()
    }

    /// Writes an archive of it to `file`, which a node imports under `name` (`registry/repository:tag`).
    pub fn archive(&self, name: &str, file: &Path) -> Result<()> {
        let layout = tempfile::tempdir().context("directory for an image layout")?;
        self.lay_out(layout.path(), Some(name))?;
        let output = fs::File::create(file).with_context(|| format!("create {}", file.display()))?;
        let mut archive = tar::Builder::new(output);
        // Layers are links into the cache; what they lead to belongs into the archive.
        archive.follow_symlinks(true);
        archive.append_dir_all(".", layout.path()).context("pack an image")?;
        archive.finish().context("pack an image")
    }

    /// Lays the image out as OCI's image layout says, layers as links to their files.
    fn lay_out(&self, directory: &Path, name: Option<&str>) -> Result<()> {
        let blobs = directory.join("blobs/sha256");
        fs::create_dir_all(&blobs).context("create an image layout")?;
        let blob = |digest: &str| blobs.join(digest.trim_start_matches("sha256:"));
        let (config, manifest) = (self.config(), self.manifest());
        let digest = layer::digest_of(manifest.as_bytes());
        let named = name.map(|name| json!({"io.containerd.image.name": name}));
        let index = json!({
            "schemaVersion": 2,
            "manifests":
                [{"mediaType": MANIFEST, "digest": digest, "size": manifest.len(), "annotations": named}],
        });
        fs::write(blob(&layer::digest_of(config.as_bytes())), &config).context("write an image's config")?;
        fs::write(blob(&digest), &manifest).context("write an image's manifest")?;
        fs::write(directory.join("index.json"), index.to_string()).context("write an image's index")?;
        fs::write(directory.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#)
            .context("write a layout")?;
        for layer in &self.layers {
            let link = blob(&layer.digest);
            if !link.exists() {
                let file = layer.file.canonicalize().context("find a layer's file")?;
                symlink(file, link).context("link a layer")?;
            }
        }
        Ok(())
    }
}

/// An account of a registry, and the `crane` that uses it. Its credentials live in a private directory until it is dropped.
#[derive(Debug)]
pub struct Pusher {
    crane: PathBuf,
    registry: String,
    home: TempDir,
}

impl Pusher {
    /// For `registry` (`host:port`), with `account` (user, password) or anonymous.
    pub fn new(registry: &str, account: Option<(&str, &str)>, progress: &Progress) -> Result<Self> {
        let crane = cache::binary("crane", progress)?;
        // Such a directory is readable by its owner only.
        let home =
            tempfile::Builder::new().prefix("lab-docker-").tempdir().context("directory for credentials")?;
        let auths = match account {
            Some((user, password)) => {
                json!({registry: {"auth": STANDARD.encode(format!("{user}:{password}"))}})
            }
            None => json!({}),
        };
        fs::write(home.path().join("config.json"), json!({"auths": auths}).to_string())
            .context("write the credentials")?;
        Ok(Self { crane, registry: registry.to_owned(), home })
    }

    /// Pushes as `<registry>/<repository>:<tag>`; returns the digest that the registry has for it.
    pub fn push(&self, image: &Image, repository: &str, tag: &str) -> Result<String> {
        let layout = tempfile::tempdir().context("directory for an image layout")?;
        image.lay_out(layout.path(), None)?;
        let reference = format!("{}/{repository}:{tag}", self.registry);
        let printed =
            self.crane(&["push", "--insecure", &layout.path().to_string_lossy(), reference.as_str()])?;
        let (_, digest) = printed.trim().rsplit_once('@').context("crane push printed no digest")?;
        Ok(digest.to_owned())
    }

    /// The digest behind a tag.
    pub fn digest(&self, repository: &str, tag: &str) -> Result<String> {
        let reference = format!("{}/{repository}:{tag}", self.registry);
        Ok(self.crane(&["digest", "--insecure", &reference])?.trim().to_owned())
    }

    /// Pulls an image and unpacks its file system into `directory`.
    pub fn unpack(&self, repository: &str, tag: &str, directory: &Path) -> Result<()> {
        let archive = tempfile::NamedTempFile::new().context("file for an image's content")?;
        let reference = format!("{}/{repository}:{tag}", self.registry);
        self.crane(&["export", "--insecure", &reference, &archive.path().to_string_lossy()])?;
        let mut archive = tar::Archive::new(archive.reopen().context("read an image's content")?);
        archive.set_preserve_permissions(true);
        archive.unpack(directory).context("unpack an image's content")
    }

    /// The `DOCKER_CONFIG` directory with the credentials, for a CI script.
    pub fn docker_config(&self) -> &Path {
        self.home.path()
    }

    /// The `crane` program, for a CI script.
    pub fn program(&self) -> &Path {
        &self.crane
    }

    fn crane(&self, arguments: &[&str]) -> Result<String> {
        process::run(Command::new(&self.crane).env("DOCKER_CONFIG", self.home.path()).args(arguments))
    }
}

/// The operator on the base layer: `/usr/local/bin/imaas-operator` is the entry point, arguments are the chart's.
pub fn operator_image(binary: &Path, progress: &Progress) -> Result<Image> {
    let program = "/usr/local/bin/imaas-operator";
    let layer = Tree::default().file(program, binary)?.layer()?;
    Ok(Image {
        layers: vec![base_layer(progress)?, layer],
        entrypoint: vec![program.to_owned()],
        ..Image::default()
    })
}

/// CNCF Distribution with a shell, which [`cache::binary`] builds when it is not there.
pub fn registry_image(progress: &Progress) -> Result<Image> {
    let programs = Tree::default()
        .file("/bin/registry", &cache::binary("registry", progress)?)?
        .file("/bin/sh", Path::new("/bin/dash"))?
        .file("/bin/touch", Path::new("/bin/touch"))?;
    Ok(Image {
        layers: vec![base_layer(progress)?, programs.layer()?],
        env: vec!["PATH=/bin".to_owned()],
        ..Image::default()
    })
}

/// One static program and nothing else (`FROM scratch`); it serves `ports`.
pub fn plain_image(binary: &Path, ports: &[u16]) -> Result<Image> {
    let name = binary.file_name().context("the binary's path ends in no name")?.to_string_lossy();
    let program = format!("/{name}");
    let layer = Tree::default().file(&program, binary)?.layer()?;
    Ok(Image { layers: vec![layer], entrypoint: vec![program], ports: ports.to_vec(), ..Image::default() })
}

/// Compiles a static Go program (standard library only) and packs it as [`plain_image`].
pub fn go_image(source: &Path, name: &str, ports: &[u16]) -> Result<Image> {
    let output = tempfile::tempdir().context("directory for a Go program")?;
    let binary = output.path().join(name);
    let mut go = Command::new("go");
    go.args(["build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w -buildid=", "-o"]).arg(&binary);
    go.arg(".").current_dir(source).env("CGO_ENABLED", "0").env("GOFLAGS", "").env("GOTOOLCHAIN", "local");
    process::run(&mut go)?;
    plain_image(&binary, ports)
}

/// Stands in for WSO2 Micro Integrator, whose own image needs its registry: its ports and health answers, and no more.
pub fn micro_integrator_stand_in() -> Result<Image> {
    let name = "micro-integrator-stand-in";
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("go").join(name);
    go_image(&source, name, &[8290, 8253, 9201, 9164])
}

fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
