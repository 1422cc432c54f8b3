//! The checks of pull requests in `examples/ci`: their scripts, out of the files, on a real repository. What talks to the host that
//! shows the comment is only looked at by the shell.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::{fs, path::Path};

use serde_json::Value;
use support::{Repository, Told, finish, neutral, root};

fn example(name: &str) -> String {
    fs::read_to_string(root().join("examples/ci/tenants").join(name)).unwrap()
}

fn yaml(name: &str) -> Value {
    serde_saphyr::from_str(&example(name)).unwrap()
}

/// Of each host: its scripts, each run by a shell of its own, what the host sets, and the script that writes the comment.
fn pipelines() -> Vec<(&'static str, Vec<String>, &'static str, String)> {
    let github = yaml("github-actions.yaml");
    let steps = github["jobs"]["tenants"]["steps"].as_array().unwrap();
    let script = |name: &str| {
        let step = steps.iter().find(|step| step["name"] == name).unwrap();
        step["run"].as_str().unwrap().to_owned()
    };
    let gitlab = &yaml("gitlab-ci.yml")["tenants"];
    let lines = |key: &str| {
        let lines: Vec<&str> =
            gitlab[key].as_array().unwrap().iter().map(|line| line.as_str().unwrap()).collect();
        lines.join("\n")
    };
    let jenkins = example("Jenkinsfile");
    let mut blocks = jenkins.split("'''").skip(1).step_by(2).map(|block| block.replace("\\\\", "\\"));
    vec![
        ("github", vec![script("validate"), script("plan")], "GITHUB_BASE_REF", script("comment")),
        ("gitlab", vec![lines("script")], "CI_MERGE_REQUEST_TARGET_BRANCH_NAME", lines("after_script")),
        ("jenkins", vec![blocks.next().unwrap()], "CHANGE_TARGET", blocks.next().unwrap()),
    ]
}

/// Runs `script` as the host would: in a clone of the pull request, with the program on the path. `bash -e`, as all three do.
fn run(script: &str, repository: &Repository, target: &str, home: &Path) -> Told {
    let programs = Path::new(env!("CARGO_BIN_EXE_kubectl-imaas")).parent().unwrap();
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
    let mut shell = neutral("bash", repository.root());
    shell.args(["-eo", "pipefail", "-c", script]).env("PATH", path).env(target, "main");
    shell.env("HOME", home).env("GIT_CONFIG_GLOBAL", home.join("gitconfig"));
    finish(shell.env("GITHUB_STEP_SUMMARY", home.join("summary.md")))
}

/// A pull request on a tenants repository whose clone has the branch only.
fn pull_request(text: &str) -> Repository {
    let repository = Repository::new();
    fs::copy(root().join("tenants/platform.yaml"), repository.path("platform.yaml")).unwrap();
    repository.write(".gitignore", "plan.md\n");
    repository.commit("begin");
    repository.git(&["push", "--quiet", "origin", "main"]);
    repository.git(&["switch", "--quiet", "--create", "change"]);
    repository.write("tenants/acme.yaml", text);
    repository.commit("onboard acme");
    repository
}

const ACME: &str =
    "apiVersion: imaas.dev/v1alpha1\nkind: Tenant\nmetadata: {name: acme}\nspec: {contact: a@acme.example}\n";

#[test]
fn a_good_pull_request_passes_and_its_plan_is_there_to_be_posted() {
    for (host, scripts, target, _) in pipelines() {
        let repository = pull_request(ACME);
        let home = tempfile::tempdir().unwrap();
        for script in &scripts {
            let told = run(script, &repository, target, home.path());
            assert_eq!(told.status, Some(0), "{host}: {}{}", told.stdout, told.stderr);
        }
        let plan = repository.read("plan.md");
        assert!(plan.starts_with("### Tenants: 1 to create\n"), "{host}: {plan}");
        assert!(plan.contains("+ namespace  acme-prod") && !plan.contains("Note"), "{host}: {plan}");
    }
}

#[test]
fn a_bad_pull_request_fails_and_its_plan_is_still_there() {
    for (host, scripts, target, _) in pipelines() {
        let repository = pull_request(&ACME.replace("contact", "contcat"));
        let home = tempfile::tempdir().unwrap();
        let told: Vec<Told> =
            scripts.iter().map(|script| run(script, &repository, target, home.path())).collect();
        assert!(told.iter().all(|told| told.status == Some(1)), "{host}: {told:?}");
        let plan = repository.read("plan.md");
        assert!(plan.contains("did you mean \"contact\"?") && plan.contains("acme`: held"), "{host}: {plan}");
        let shown: String = told.iter().map(|told| told.stdout.clone()).collect();
        let wanted = if host == "github" {
            "::error file=tenants/acme.yaml,line=4,col=8::"
        } else {
            "tenants/acme.yaml:4:8: "
        };
        assert!(shown.contains(wanted), "{host}: {shown}");
    }
}

#[test]
fn the_shell_understands_what_writes_the_comment() {
    for (host, _, _, comment) in pipelines() {
        let told = finish(neutral("bash", &root()).args(["-n", "-c", &comment]));
        assert_eq!((told.status, told.stderr.as_str()), (Some(0), ""), "{host}");
        assert!(comment.contains("\"\\n\" + .") && comment.contains("curl"), "{host}: {comment}");
    }
}
