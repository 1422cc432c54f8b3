//! Camel integrations (camel-main, YAML DSL) → images, as a tenant's CI would make them. Everything here blocks.
//!
//! Four layers: root file system, Java runtime, libraries (once for each `pom.xml`), and the integration itself: a few
//! kilobytes, so that a new version is built and pushed in well under a second.

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
const MAIN: &str = "org.apache.camel.main.Main";

/// The image of the service in `source`. Only routes in `src/main/resources` are packed: a service with Java
/// sources needs Maven's compiler (see `ci/build.sh` of the samples).
pub fn image(source: &Path, progress: &Progress) -> Result<Image> {
    if source.join("src/main/java").exists() {
        bail!("{}: Java sources are not compiled here, use ci/build.sh", source.display());
    }
    let mut image = runtime_image(progress)?;
    let application = Tree::default().copy("/app/classes", &source.join("src/main/resources"))?;
    image.layers.push(libraries(source, progress)?.1);
    image.layers.push(application.layer()?);
    Ok(image)
}

/// What every Camel image stands on: Java, and an entry point that runs `/app/classes` with `/app/lib/*.jar`.
pub fn runtime_image(progress: &Progress) -> Result<Image> {
    Ok(Image {
        layers: vec![image::base_layer(progress)?, image::jre_layer(progress)?],
        entrypoint: [image::JAVA, "-cp", "/app/classes:/app/lib/*", MAIN].map(str::to_owned).to_vec(),
        env: vec!["JAVA_HOME=/opt/jre".to_owned(), "PATH=/opt/jre/bin".to_owned()],
        ports: vec![8080, 9876],
    })
}

/// The jars that `pom.xml` asks for: the directory that has them, and the layer that puts them into `/app/lib`.
pub fn libraries(source: &Path, progress: &Progress) -> Result<(PathBuf, Layer)> {
    let pom = source.join("pom.xml");
    let key = fs::read_to_string(&pom).with_context(|| format!("read {}", pom.display()))?;
    let made = cache::entry("camel-libraries", &key, progress, |made| {
        packages::ensure(MAVEN, progress)?;
        progress.say("fetching Camel's libraries by Maven (about 30 s, once) …");
        // A copy, so that Maven leaves no `target` in the service's directory.
        fs::copy(&pom, made.join("pom.xml")).context("copy pom.xml")?;
        let jars = made.join("lib");
        let mut maven = Command::new("mvn");
        maven.args(["-B", "-q", "-ntp", "dependency:copy-dependencies", "-DincludeScope=runtime"]);
        process::run(maven.arg(format!("-DoutputDirectory={}", jars.display())).current_dir(made))?;
        Tree::default().copy("/app/lib", &jars)?.layer_at(&made.join("layer.tar")).map(drop)
    })?;
    Ok((made.join("lib"), Layer::open(&made.join("layer.tar"))?))
}
