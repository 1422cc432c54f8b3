//! The JVM's class data sharing: an archive of Camel's loaded classes beside the jars. Measured: the processor time from
//! start to ready falls to a third, which counts when several pods start on two cores.
//!
//! The JVM takes it only with the very paths it was made with, so it is made on the image's own root file system; it
//! ignores one that does not fit.

use std::{
    fs::{self, File},
    path::Path,
    process::Command,
};

use anyhow::{Context, Result};

use crate::{image::Layer, process};

/// A route that loads what most integrations load: the YAML parser, the HTTP server, simple expressions.
const WARM_UP: &str = "- route:
    from:
      uri: platform-http:/warm-up
      steps:
        - setHeader: {name: Content-Type, constant: text/plain}
        - setBody: {simple: \"${header.name}\"}
";

const SCRIPT: &str = r#"set -eu
root=$1 port=$2 management=$3
mount --rbind /proc "$root/proc"
mount --rbind /dev "$root/dev"
env -i /usr/sbin/chroot "$root" /opt/jre/bin/java -XX:ArchiveClassesAtExit=/app/classes.jsa \
    -Dcamel.main.routesIncludePattern=file:/warm-up/*.yaml \
    -Dcamel.server.enabled=true -Dcamel.server.port="$port" \
    -Dcamel.management.enabled=true -Dcamel.management.port="$management" \
    @/app/lib/java.args org.apache.camel.main.Main >"$root/warm-up.log" 2>&1 &
java=$!
trap 'kill -9 "$java" 2>/dev/null || true' EXIT
for url in "$port/warm-up" "$management/observe/health/ready" "$management/observe/metrics"; do
    curl --silent --fail --output /dev/null --retry 120 --retry-delay 1 --retry-all-errors "http://127.0.0.1:$url"
done
kill "$java"
wait "$java" || true
test -s "$root/app/classes.jsa""#;

/// Makes the archive for images of these layers, whose `/app/lib/java.args` has the class path, as the file `archive`.
/// `work` is a directory for the image's files; it must not exist and is removed. Needs root.
pub(super) fn make(layers: &[Layer], work: &Path, archive: &Path) -> Result<()> {
    for layer in layers {
        let mut files = tar::Archive::new(File::open(&layer.file).context("open a layer")?);
        files.set_preserve_permissions(true);
        files.unpack(work).context("unpack a layer")?;
    }
    for directory in ["proc", "dev", "warm-up", "app/classes"] {
        fs::create_dir_all(work.join(directory)).context("create a directory")?;
    }
    fs::write(work.join("warm-up/route.yaml"), WARM_UP).context("write the warm-up's route")?;
    let ports = [process::free_port()?.to_string(), process::free_port()?.to_string()];
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", SCRIPT, "sh"]).arg(work).args(ports);
    process::run(&mut command).context(process::tail(&work.join("warm-up.log")))?;
    fs::copy(work.join("app/classes.jsa"), archive).context("keep the class archive")?;
    fs::remove_dir_all(work).context("remove the image's files")
}
