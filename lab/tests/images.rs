//! Images made without a daemon, pushed to the real registry, and what is in them run.
//!
//! The first run fetches Debian and Maven packages; later ones take them from the lab's cache.
#![allow(clippy::unwrap_used, reason = "tests, and the functions that they share")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use lab::{
    Progress, camel,
    git_server::{Authority, Credentials, GitServer, Options, User, WorkTree},
    image::{self, Image, Pusher, Tree},
    process,
    registry::{Registry, TokenAuth},
};

fn progress() -> Progress {
    Progress::new(|line| eprintln!("{line}"))
}

fn sample(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/services").join(name).canonicalize().unwrap()
}

async fn registry(directory: &Path) -> Registry {
    let address = format!("127.0.0.1:{}", process::free_port().unwrap()).parse().unwrap();
    Registry::start(directory, address, None, &progress()).await.unwrap()
}

fn small_image(text: &str) -> Image {
    let layer = Tree::default().text("/etc/motd", text).layer().unwrap();
    Image { layers: vec![layer], entrypoint: vec!["/none".into()], ..Image::default() }
}

/// Runs a program as user 65532 with `root` as its root file system, `/proc` and `/dev` in it as in a container: without
/// them a Java program finds no library beside it, and makes its random numbers by itself in ten seconds.
/// `None`, and said so, where that is not allowed.
fn in_root(root: &Path) -> Option<Command> {
    if !lab::may_run_pods("an image's content") {
        return None;
    }
    fs::create_dir_all(root.join("proc")).unwrap();
    fs::create_dir_all(root.join("dev")).unwrap();
    let script = r#"mount --rbind /proc "$1/proc" && mount --rbind /dev "$1/dev" && root=$1 && shift &&
        exec env -i "LISTEN=${LISTEN-}" /usr/sbin/chroot --userspec=65532:65532 "$root" "$@""#;
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", script, "sh"]).arg(root);
    Some(command)
}

/// Ends the program with the test, also with one that failed.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _already_ended = self.0.kill();
        let _reaped = self.0.wait();
    }
}

fn answer(url: &str, deadline: Duration) -> String {
    let began = Instant::now();
    loop {
        let output = Command::new("curl").args(["--silent", "--fail", url]).output().unwrap();
        if output.status.success() {
            return String::from_utf8(output.stdout).unwrap();
        }
        assert!(began.elapsed() < deadline, "{url} did not answer");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[tokio::test]
async fn a_pushed_image_has_the_digest_that_was_computed_and_outlives_the_registry_process() {
    let directory = tempfile::tempdir().unwrap();
    let first = registry(directory.path()).await;
    let pusher = Pusher::new(&first.endpoint(), None, &progress()).unwrap();
    let image = small_image("hello");
    let digest = pusher.push(&image, "acme/orders", "1").unwrap();
    assert_eq!(digest, image.digest());
    assert_eq!(digest, small_image("hello").digest());
    assert_ne!(digest, small_image("other").digest());
    assert_eq!(pusher.digest("acme/orders", "1").unwrap(), digest);
    first.stop().await;

    let second = registry(directory.path()).await;
    let pusher = Pusher::new(&second.endpoint(), None, &progress()).unwrap();
    assert_eq!(pusher.digest("acme/orders", "1").unwrap(), digest);
    second.stop().await;
}

#[tokio::test]
async fn a_registry_with_token_authentication_sends_clients_to_its_realm() {
    let directory = tempfile::tempdir().unwrap();
    let certificates = Authority::create(directory.path(), "tokens").unwrap().certificate;
    let auth = TokenAuth {
        realm: "http://tokens.example/token".into(),
        service: "registry".into(),
        issuer: "imaas".into(),
        root_certificates: certificates,
    };
    let address = format!("127.0.0.1:{}", process::free_port().unwrap()).parse().unwrap();
    let registry =
        Registry::start(&directory.path().join("data"), address, Some(&auth), &progress()).await.unwrap();
    let url = format!("http://{}/v2/", registry.endpoint());
    let output = Command::new("curl").args(["--silent", "--include", &url]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap().to_lowercase();
    assert!(text.contains("401 unauthorized"), "{text}");
    assert!(text.contains(r#"bearer realm="http://tokens.example/token",service="registry""#), "{text}");
    let pusher = Pusher::new(&registry.endpoint(), Some(("acme", "secret")), &progress()).unwrap();
    let refused = pusher.push(&small_image("x"), "acme/orders", "1").unwrap_err();
    assert!(!format!("{refused:#}").contains("secret"), "{refused:#}");
    registry.stop().await;
}

#[tokio::test]
async fn a_camel_image_read_back_from_the_registry_answers_on_its_own_root_file_system() {
    let directory = tempfile::tempdir().unwrap();
    let registry = registry(&directory.path().join("registry")).await;
    let image = camel::image(&sample("orders"), &progress()).unwrap();
    assert_eq!(image.digest(), camel::image(&sample("orders"), &progress()).unwrap().digest());
    let pusher = Pusher::new(&registry.endpoint(), None, &progress()).unwrap();
    assert_eq!(pusher.push(&image, "acme/orders", "1").unwrap(), image.digest());

    let root = directory.path().join("root");
    fs::create_dir(&root).unwrap();
    pusher.unpack("acme/orders", "1", &root).unwrap();
    let (port, management) = (process::free_port().unwrap(), process::free_port().unwrap());
    let Some(mut java) = in_root(&root) else { return };
    java.arg(&image.entrypoint[0]);
    java.args([format!("-Dcamel.server.port={port}"), format!("-Dcamel.management.port={management}")]);
    java.arg("-Xlog:class+load:file=/tmp/classes.log");
    java.args(&image.entrypoint[1..]).stdout(Stdio::null());
    let _running = Running(java.spawn().unwrap());
    let ready =
        answer(&format!("http://127.0.0.1:{management}/observe/health/ready"), Duration::from_mins(1));
    assert!(ready.contains(r#""status":"UP""#), "{ready}");
    let orders = answer(&format!("http://127.0.0.1:{port}/orders"), Duration::from_secs(5));
    assert!(orders.contains(r#""version": "1", "greeting": "greetings from the image""#), "{orders}");
    let classes = fs::read_to_string(root.join("tmp/classes.log")).unwrap();
    let archived = classes.lines().filter(|line| line.ends_with("shared objects file (top)")).count();
    assert!(archived > 1000, "only {archived} classes came from the class archive");
    registry.stop().await;
}

#[tokio::test]
async fn a_new_version_of_a_camel_service_shares_all_layers_but_the_last() {
    let directory = tempfile::tempdir().unwrap();
    let status = Command::new("cp").arg("-r").arg(sample("orders")).arg(directory.path()).status().unwrap();
    assert!(status.success());
    let source = directory.path().join("orders");
    let old = camel::image(&source, &progress()).unwrap();
    let file = source.join("src/main/resources/application.properties");
    let text = fs::read_to_string(&file).unwrap().replace("orders.version = 1", "orders.version = 2");
    fs::write(&file, text).unwrap();
    let new = camel::image(&source, &progress()).unwrap();
    let digests = |image: &Image| image.layers.iter().map(|layer| layer.digest.clone()).collect::<Vec<_>>();
    let (old, new) = (digests(&old), digests(&new));
    assert_eq!(old[..3], new[..3]);
    assert_ne!(old[3], new[3]);
}

#[tokio::test]
async fn a_go_service_answers_alone_in_its_image_and_ends_well_on_sigterm() {
    let directory = tempfile::tempdir().unwrap();
    let image = image::go_image(&sample("inventory"), "inventory", &[8080]).unwrap();
    assert_eq!(image.digest(), image::go_image(&sample("inventory"), "inventory", &[8080]).unwrap().digest());
    let mut archive = tar::Archive::new(fs::File::open(&image.layers[0].file).unwrap());
    archive.unpack(directory.path()).unwrap();
    let address = format!("127.0.0.1:{}", process::free_port().unwrap());
    let Some(mut program) = in_root(directory.path()) else { return };
    let mut running = Running(program.arg(&image.entrypoint[0]).env("LISTEN", &address).spawn().unwrap());
    let text = answer(&format!("http://{address}/inventory"), Duration::from_secs(10));
    assert!(text.contains(r#""version":"1""#), "{text}");
    Command::new("kill").arg(running.0.id().to_string()).status().unwrap();
    assert!(running.0.wait().unwrap().success());
}

#[tokio::test]
async fn what_was_compiled_here_runs_on_the_base_layer() {
    let directory = tempfile::tempdir().unwrap();
    let registry = registry(&directory.path().join("registry")).await;
    let pusher = Pusher::new(&registry.endpoint(), None, &progress()).unwrap();
    // Any Rust program will do for the operator's: this very test.
    let image = image::operator_image(&std::env::current_exe().unwrap(), &progress()).unwrap();
    pusher.push(&image, "platform/imaas-operator", "test").unwrap();
    let root = directory.path().join("root");
    fs::create_dir(&root).unwrap();
    pusher.unpack("platform/imaas-operator", "test", &root).unwrap();
    let Some(mut program) = in_root(&root) else { return };
    let output = program.arg(&image.entrypoint[0]).arg("--list").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("what_was_compiled_here_runs_on_the_base_layer: test"), "{output:?}");
    registry.stop().await;
}

/// A registry and a Git server, where the samples' own CI scripts run as a tenant's CI would run them.
struct Ci {
    directory: tempfile::TempDir,
    registry: Registry,
    pusher: Pusher,
    git: GitServer,
}

impl Ci {
    async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let registry = registry(&directory.path().join("registry")).await;
        let pusher = Pusher::new(&registry.endpoint(), None, &progress()).unwrap();
        pusher.push(&camel::runtime_image(&progress()).unwrap(), "acme/java", "17").unwrap();
        let git = GitServer::start(Options {
            address: "127.0.0.1:0".parse().unwrap(),
            directory: &directory.path().join("git"),
            authority: None,
            names: &[],
            users: vec![User::writer("ci", "password", "/acme/")],
        })
        .unwrap();
        Self { directory, registry, pusher, git }
    }

    /// Runs the script of `service`, with the programs in `first` before any other; what is in the image under the commit's hash then.
    fn built(&self, service: &str, first: &Path) -> PathBuf {
        let path = format!("/acme/{service}.git");
        let commit = self.git.create(&path, &sample(service), &["dev"]).unwrap();
        let credentials = Credentials { user: "ci".into(), password: "password".into(), authority: None };
        let tree = self.directory.path().join(service);
        WorkTree::clone(&self.git.url(&path), &tree, credentials).unwrap();
        let (first, programs) = (first.display(), self.pusher.program().parent().unwrap().display());
        let mut script = Command::new(tree.join("ci/build.sh"));
        script
            .env("PATH", format!("{first}:{programs}:{}", std::env::var("PATH").unwrap()))
            .env("DOCKER_CONFIG", self.pusher.docker_config())
            .env("BASE", format!("{}/acme/java:17", self.registry.endpoint()))
            .env("CRANE_FLAGS", "--insecure");
        let alone = script.output().unwrap();
        let words = String::from_utf8_lossy(&alone.stdout);
        assert!(alone.status.success() && words.contains("nothing is pushed"), "{service}: {alone:?}");
        assert!(self.pusher.digest(&format!("acme/{service}"), &commit).is_err());
        let image = format!("{}/acme/{service}", self.registry.endpoint());
        let output = script.env("IMAGE", image).output().unwrap();
        assert!(output.status.success(), "{service}: {}", String::from_utf8_lossy(&output.stderr));
        let root = self.directory.path().join(format!("{service}-root"));
        fs::create_dir(&root).unwrap();
        self.pusher.unpack(&format!("acme/{service}"), &commit, &root).unwrap();
        root
    }
}

#[tokio::test]
async fn the_samples_ci_scripts_push_an_image_under_the_commits_hash() {
    let ci = Ci::start().await;
    let nothing = ci.directory.path().join("nothing");
    assert!(ci.built("inventory", &nothing).join("inventory").is_file());
    assert!(ci.built("orders", &nothing).join("app/classes/application.properties").is_file());
    ci.registry.stop().await;
}

/// WSO2's Maven plugin and its image cannot be had here: a stand-in packs the application, and the base is another one.
#[tokio::test]
async fn the_micro_integrator_sample_packs_its_application_where_the_server_looks_for_it() {
    use std::os::unix::fs::PermissionsExt;
    let ci = Ci::start().await;
    let stand_ins = ci.directory.path().join("stand-ins");
    fs::create_dir(&stand_ins).unwrap();
    let mvn = stand_ins.join("mvn");
    fs::write(&mvn, "#!/bin/sh\nmkdir -p target && tar --create --file target/payments_1.0.0.car src\n")
        .unwrap();
    fs::set_permissions(&mvn, fs::Permissions::from_mode(0o755)).unwrap();
    let applications = "home/wso2carbon/wso2mi-4.4.0/repository/deployment/server/carbonapps";
    let root = ci.built("payments", &stand_ins).join(applications);
    assert!(root.join("payments_1.0.0.car").is_file());
    ci.registry.stop().await;
}
