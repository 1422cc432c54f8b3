//! The pipelines of services in `examples/ci/services`: their scripts, out of the files, on each sample service. What `ci/build.sh`
//! does is tried with a real registry by the lab's tests of images; here it only tells what it was given.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;
use support::{Told, finish, neutral, root};
use tempfile::TempDir;

const LOGIN: &str = r#"{"auths": {"registry.example.com": {"auth": "Y2k6cGFzc3dvcmQ="}}}"#;
const TOLD: &str = "#!/bin/sh\necho \"image=${IMAGE:-none} base=$BASE login=$(cat \"${DOCKER_CONFIG:-/nonexistent}/config.json\" 2>/dev/null)\"\n";

fn example(name: &str) -> String {
    fs::read_to_string(root().join("examples/ci/services").join(name)).unwrap()
}

fn yaml(name: &str) -> Value {
    serde_saphyr::from_str(&example(name)).unwrap()
}

/// A host's pipeline: its scripts, each run by a shell of its own, the variable that says the branch, and that with the login,
/// which holds the text itself or the path of a file.
struct Pipeline {
    host: &'static str,
    scripts: Vec<String>,
    branch: &'static str,
    login: (&'static str, bool),
}

fn pipelines() -> Vec<Pipeline> {
    let github = yaml("github-actions.yaml");
    let steps = github["jobs"]["service"]["steps"].as_array().unwrap();
    let runs = steps.iter().filter_map(|step| step["run"].as_str().map(str::to_owned)).collect();
    let gitlab = yaml("gitlab-ci.yml");
    let lines = gitlab["service"]["script"].as_array().unwrap();
    let lines: Vec<_> = lines.iter().map(|line| line.as_str().unwrap()).collect();
    let jenkins = example("Jenkinsfile");
    let blocks = jenkins.split("'''").skip(1).step_by(2).map(str::to_owned).collect();
    vec![
        Pipeline {
            host: "github",
            scripts: runs,
            branch: "GITHUB_REF_NAME",
            login: ("REGISTRY_PUSH", false),
        },
        Pipeline {
            host: "gitlab",
            scripts: vec![lines.join("\n")],
            branch: "CI_COMMIT_BRANCH",
            login: ("IMAAS_REGISTRY_PUSH", true),
        },
        Pipeline { host: "jenkins", scripts: blocks, branch: "BRANCH_NAME", login: ("REGISTRY_PUSH", true) },
    ]
}

/// A copy of a sample service whose build only tells what it was given.
fn copy(service: &str) -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let from = root().join("examples/services").join(service);
    let status = std::process::Command::new("cp").arg("-r").arg(from).arg(directory.path()).status().unwrap();
    assert!(status.success());
    let service = directory.path().join(service);
    fs::write(service.join("ci/build.sh"), TOLD).unwrap();
    (directory, service)
}

/// Runs the scripts as the host would, until one fails.
fn run(pipeline: &Pipeline, service: &Path, branch: &str, home: &Path) -> Told {
    let programs = Path::new(env!("CARGO_BIN_EXE_kubectl-imaas")).parent().unwrap();
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
    let file = home.join("login");
    fs::write(&file, LOGIN).unwrap();
    let (variable, is_file) = pipeline.login;
    let login = if is_file { file.to_str().unwrap() } else { LOGIN };
    let mut told = Told { status: None, stdout: String::new(), stderr: String::new() };
    for script in &pipeline.scripts {
        let mut shell = neutral("bash", service);
        shell.args(["-eo", "pipefail", "-c", script]).env("PATH", &path).env(pipeline.branch, branch);
        shell.env("HOME", home).env("GIT_CONFIG_GLOBAL", home.join("gitconfig")).env(variable, login);
        let next = finish(shell.env("BASE", "registry.example.com/acme/java:17").env_remove("DOCKER_CONFIG"));
        told.status = next.status;
        told.stdout.push_str(&next.stdout);
        told.stderr.push_str(&next.stderr);
        if told.status != Some(0) {
            break;
        }
    }
    told
}

#[test]
fn each_sample_passes_and_only_a_commit_on_dev_is_pushed_with_the_login() {
    for service in ["orders", "inventory", "payments", "settlement"] {
        for pipeline in pipelines() {
            let (home, host) = (tempfile::tempdir().unwrap(), pipeline.host);
            let (_kept, directory) = copy(service);
            let told = run(&pipeline, &directory, "dev", home.path()).expect_status(0);
            let pushed = format!(
                "image=registry.example.com/acme/orders base=registry.example.com/acme/java:17 login={LOGIN}"
            );
            assert!(told.stdout.contains(&pushed), "{host} {service}: {}", told.stdout);
            let told = run(&pipeline, &directory, "12/merge", home.path()).expect_status(0);
            let built = "image=none base=registry.example.com/acme/java:17 login=\n";
            assert!(told.stdout.contains(built), "{host} {service}: {}", told.stdout);
        }
    }
}

#[test]
fn a_service_that_is_unsafe_as_many_is_neither_built_nor_pushed() {
    let task = r#"<task class="org.apache.synapse.startup.tasks.MessageInjector" group="synapse.simple.quartz" name="nightly" xmlns="http://ws.apache.org/ns/synapse"><trigger cron="0 0 2 * * ?"/></task>"#;
    for pipeline in pipelines() {
        let home = tempfile::tempdir().unwrap();
        let (_kept, directory) = copy("payments");
        let tasks = directory.join("src/main/wso2mi/artifacts/tasks");
        fs::create_dir(&tasks).unwrap();
        fs::write(tasks.join("nightly.xml"), task).unwrap();
        let told = run(&pipeline, &directory, "dev", home.path()).expect_status(1);
        let words = format!("{}{}", told.stdout, told.stderr);
        assert!(words.contains("nightly.xml"), "{}: {words}", pipeline.host);
        assert!(!words.contains("image="), "{}: {words}", pipeline.host);
    }
}
