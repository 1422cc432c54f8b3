//! The layers under every application: a small root file system and a Java runtime, both made once from Debian's packages.

use std::{
    fs::{self, File},
    io::BufReader,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, UNIX_EPOCH},
};

use anyhow::{Context, Result};

use super::{Layer, Tree, layer::TIME};
use crate::{Progress, cache, packages, process};

/// The user that applications run as.
pub const USER: u32 = 65532;

/// Where [`jre_layer`] puts `java`.
pub const JAVA: &str = "/opt/jre/bin/java";

const ROOT_PACKAGES: &str = "libc6,libgcc-s1,libstdc++6,zlib1g,ca-certificates";
const JAVA_MODULES: &str = "java.base,java.logging,java.management,java.naming,java.rmi,java.sql,java.xml,\
     jdk.management,jdk.unsupported,jdk.crypto.ec,jdk.jfr";
const JDK: &[(&str, &str)] = &[("default-jdk-headless", "/usr/bin/jlink")];
/// Part of the cache keys: change it with the recipe.
const RECIPE: &str = "3";

/// A root file system of glibc, libgcc, libstdc++, zlib and CA certificates, with a writable `/tmp` and the user 65532.
/// From the packages of this machine's own Debian release, so that what was compiled here runs on it.
pub fn base_layer(progress: &Progress) -> Result<Layer> {
    let suite = suite()?;
    let key = format!("{RECIPE} {suite} {ROOT_PACKAGES}");
    let made = cache::entry("image-root", &key, progress, |made| {
        packages::ensure(&[("mmdebstrap", "/usr/bin/mmdebstrap")], progress)?;
        progress.say("making the root file system of the images (about 15 s, once) …");
        let archive = made.join("debian.tar");
        let mut command = Command::new("mmdebstrap");
        command.args(["--quiet", "--variant=extract"]).arg(format!("--include={ROOT_PACKAGES}"));
        process::run(command.arg(&suite).arg(&archive))?;
        let files = made.join("files");
        unpack(&archive, &files)?;
        root_tree(&files)?.layer_at(&made.join("layer.tar"))?;
        fs::remove_dir_all(&files).context("remove the unpacked packages")?;
        fs::remove_file(&archive).context("remove the packages' archive")
    })?;
    Layer::open(&made.join("layer.tar"))
}

/// The Java runtime of this machine's Debian release (17 in Debian 12) under `/opt/jre`, with the modules that Camel needs.
pub fn jre_layer(progress: &Progress) -> Result<Layer> {
    packages::ensure(JDK, progress)?;
    let version = process::run(Command::new("jlink").arg("--version"))?;
    let key = format!("{RECIPE} {} {JAVA_MODULES}", version.trim());
    let made = cache::entry("image-jre", &key, progress, |made| {
        progress.say("linking a Java runtime (about 15 s, once) …");
        let runtime = made.join("jre");
        let mut command = Command::new("jlink");
        command.args(["--no-header-files", "--no-man-pages", "--strip-debug", "--compress=2"]);
        process::run(command.args(["--add-modules", JAVA_MODULES, "--output"]).arg(&runtime))?;
        // The shared archive of Java's own classes is for `modules` of the time that it will have in the layer.
        let modules =
            File::options().append(true).open(runtime.join("lib/modules")).context("open modules")?;
        modules.set_modified(UNIX_EPOCH + Duration::from_secs(TIME)).context("set the time of modules")?;
        process::run(Command::new(runtime.join("bin/java")).arg("-Xshare:dump"))?;
        Tree::default().copy("/opt/jre", &runtime)?.layer_at(&made.join("layer.tar"))?;
        fs::remove_dir_all(&runtime).context("remove the linked runtime")
    })?;
    Layer::open(&made.join("layer.tar"))
}

fn suite() -> Result<String> {
    let release = fs::read_to_string("/etc/os-release").context("read /etc/os-release")?;
    let name = release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    Ok(name
        .context("/etc/os-release: no VERSION_CODENAME; images are made on Debian")?
        .trim_matches('"')
        .into())
}

/// Libraries, certificates and licences; no programs, documents or character tables.
fn unpack(archive: &Path, files: &Path) -> Result<()> {
    let mut archive = tar::Archive::new(BufReader::new(File::open(archive).context("open the packages")?));
    for entry in archive.entries().context("read the packages")? {
        let mut entry = entry.context("read the packages")?;
        let path = entry.path().context("a path in the packages")?.into_owned();
        let kind = entry.header().entry_type();
        if wanted(&path) && (kind.is_file() || kind.is_symlink()) {
            let target = files.join(path.strip_prefix(".").unwrap_or(&path));
            fs::create_dir_all(target.parent().unwrap_or(files)).context("create a directory")?;
            entry.unpack(&target).with_context(|| format!("unpack {}", path.display()))?;
        }
    }
    Ok(())
}

fn wanted(path: &Path) -> bool {
    let text = path.to_string_lossy();
    let text = text.trim_start_matches("./");
    let library = (text.starts_with("lib") || text.starts_with("usr/lib/"))
        && text.contains(".so")
        && !text.contains("/gconv/")
        && ["libc.", "libc-", "libm.", "libgcc_s", "libstdc++", "libz.", "ld-linux", "libdl.", "libpthread."]
            .iter()
            .chain(&["librt.", "libresolv.", "libnss_dns.", "libnss_files.", "libutil."])
            .any(|name| text.rsplit('/').next().is_some_and(|file| file.starts_with(name)));
    let licence = text.starts_with("usr/share/doc/") && text.ends_with("/copyright");
    library || licence || text.starts_with("usr/share/ca-certificates/mozilla/")
}

fn root_tree(files: &Path) -> Result<Tree> {
    let certificates = certificates(&files.join("usr/share/ca-certificates/mozilla"))?;
    let kept: Vec<PathBuf> = ["lib", "lib64", "usr/lib", "usr/share/doc"].iter().map(PathBuf::from).collect();
    let mut tree = Tree::default();
    for path in kept.iter().filter(|path| files.join(path).is_dir()) {
        tree = tree.copy(&path.to_string_lossy(), &files.join(path))?;
    }
    Ok(tree
        .text("/etc/ssl/certs/ca-certificates.crt", certificates)
        .text("/etc/passwd", format!("root:x:0:0:root:/:/none\nnonroot:x:{USER}:{USER}:nonroot:/tmp:/none\n"))
        .text("/etc/group", format!("root:x:0:\nnonroot:x:{USER}:\n"))
        .text("/etc/nsswitch.conf", "hosts: files dns\n")
        .directory("/tmp", 0o1777))
}

fn certificates(directory: &Path) -> Result<Vec<u8>> {
    let mut files: Vec<PathBuf> = fs::read_dir(directory)
        .context("list the CA certificates")?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<std::io::Result<_>>()
        .context("list the CA certificates")?;
    files.sort();
    let mut bundle = Vec::new();
    for file in files {
        bundle.extend(fs::read(&file).with_context(|| format!("read {}", file.display()))?);
    }
    Ok(bundle)
}
