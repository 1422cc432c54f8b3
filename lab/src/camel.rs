//! Camel integrations (camel-main, YAML DSL) → images, as a tenant's CI would make them. Everything here blocks.
//!
//! Four layers: root file system, Java runtime, libraries (once for each `pom.xml`), and the integration itself: a few
//! kilobytes, so that a new version is built and pushed in well under a second.

mod class_archive;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use crate::{
    Progress, cache,
    image::{self, Image, Layer, Tree},
    packages, process,
};

const MAVEN: &[(&str, &str)] = &[("default-jdk-headless", "/usr/bin/javac"), ("maven", "/usr/bin/mvn")];
/// For a short start on few cores rather than for the highest throughput.
const JVM_FLAGS: &str = "-XX:+UseSerialGC\n-XX:TieredStopAtLevel=1";
const CLASS_ARCHIVE: &str = "-XX:SharedArchiveFile=/app/classes.jsa";
/// Part of the cache key: change it with the recipe.
const RECIPE: &str = "2";
const MAIN: &str = "org.apache.camel.main.Main";

/// The image of the service in `source`. Only routes in `src/main/resources` are packed: a service with Java
/// sources needs Maven's compiler (see `ci/build.sh` of the samples).
pub fn image(source: &Path, progress: &Progress) -> Result<Image> {
    if source.join("src/main/java").exists() {
        bail!("{}: Java sources are not compiled here, use ci/build.sh", source.display());
    }
    let mut image = runtime_image(progress)?;
    let application = Tree::default().copy("/app/classes", &source.join("src/main/resources"))?;
    image.layers.push(libraries(source, &image.layers, progress)?);
    image.entrypoint = [image::JAVA, CLASS_ARCHIVE, "@/app/lib/java.args", MAIN].map(str::to_owned).to_vec();
    image.layers.push(application.layer()?);
    Ok(image)
}

/// What every Camel image stands on: Java, and an entry point that runs `/app/classes` with `/app/lib/*.jar`. Pushed
/// alone, it is the base of what a tenant's CI builds.
pub fn runtime_image(progress: &Progress) -> Result<Image> {
    Ok(Image {
        layers: vec![image::base_layer(progress)?, image::jre_layer(progress)?],
        entrypoint: [image::JAVA, "-cp", "/app/classes:/app/lib/*", MAIN].map(str::to_owned).to_vec(),
        env: vec!["JAVA_HOME=/opt/jre".to_owned(), "PATH=/opt/jre/bin".to_owned()],
        ports: vec![8080, 9876],
    })
}

/// The layer with the jars that `pom.xml` asks for in `/app/lib`, Java's arguments, and the archive of their classes.
fn libraries(source: &Path, runtime: &[Layer], progress: &Progress) -> Result<Layer> {
    let pom = source.join("pom.xml");
    let text = fs::read_to_string(&pom).with_context(|| format!("read {}", pom.display()))?;
    // The class archive fits one Java runtime only.
    let below: Vec<&str> = runtime.iter().map(|layer| layer.digest.as_str()).collect();
    let key = format!("{RECIPE} {} {text}", below.join(" "));
    let made = cache::entry("camel-libraries", &key, progress, |made| {
        packages::ensure(MAVEN, progress)?;
        progress.say("fetching Camel's libraries by Maven (about 30 s, once) …");
        let jars = fetch(&pom, made)?;
        let arguments = format!("{JVM_FLAGS}\n-cp\n{}\n", class_path(&jars)?);
        let libraries = Tree::default().copy("/app/lib", &jars)?.text("/app/lib/java.args", arguments);
        let file = made.join("layer.tar");
        let layer = libraries.layer_at(&file)?;
        if !rustix::process::geteuid().is_root() {
            progress.say("not root: the image gets no class archive and starts slower");
            return Ok(());
        }
        progress.say("archiving Camel's classes for a faster start (about 10 s, once) …");
        let archive = made.join("classes.jsa");
        class_archive::make(&[runtime, &[layer]].concat(), &made.join("root"), &archive)?;
        libraries.file("/app/classes.jsa", &archive)?.layer_at(&file)?;
        fs::remove_file(&archive).context("remove the class archive's first copy")
    })?;
    Layer::open(&made.join("layer.tar"))
}

fn fetch(pom: &Path, made: &Path) -> Result<PathBuf> {
    // A copy, so that Maven leaves no `target` in the service's directory.
    fs::copy(pom, made.join("pom.xml")).context("copy pom.xml")?;
    let jars = made.join("lib");
    let mut maven = Command::new("mvn");
    maven.args(["-B", "-q", "-ntp", "dependency:copy-dependencies", "-DincludeScope=runtime"]);
    process::run(maven.arg(format!("-DoutputDirectory={}", jars.display())).current_dir(made))?;
    Ok(jars)
}

/// Every jar by name: a wildcard's order differs between file systems, and the class archive is for one order. The
/// integration comes last, because the archive may only be followed by directories.
fn class_path(jars: &Path) -> Result<String> {
    let mut names = fs::read_dir(jars)
        .context("list the jars")?
        .map(|entry| entry.map(|entry| format!("/app/lib/{}", entry.file_name().to_string_lossy())))
        .collect::<std::io::Result<Vec<_>>>()
        .context("list the jars")?;
    names.sort();
    names.push("/app/classes".to_owned());
    Ok(names.join(":"))
}
