//! What the demo says at its end: where everything is, and how a stranger onboards a tenant of their own. Pure.

use std::path::Path;

/// Where the demo runs.
pub struct Places<'a> {
    /// Of the cluster's administrator.
    pub kubeconfig: &'a Path,
    /// `kubectl`, `kubectl imaas` and `crane`, in case there is none on the machine.
    pub programs: [&'a Path; 3],
    /// Who signed the Git server's certificate.
    pub authority: &'a Path,
    /// The Git server, as `host:port`.
    pub git: &'a str,
    /// The same as the cluster and the tenants' files name it.
    pub git_name: &'a str,
    /// The command that follows the operator's log.
    pub follow_log: &'a str,
    /// The registry, as `host:port`.
    pub registry: &'a str,
}

/// Lines that can be pasted, in order.
pub fn invitation(places: &Places<'_>) -> String {
    let Places { kubeconfig, programs, authority, git, git_name, follow_log, registry } = places;
    let [kubeconfig, authority] = [kubeconfig, authority].map(|path| path.display());
    let folders = programs.map(|program| program.parent().unwrap_or(program).display().to_string());
    let path = folders.join(":");
    format!(
        r#"
Everything stays up until Ctrl-C. In another terminal:
  export KUBECONFIG={kubeconfig} GIT_SSL_CAINFO={authority} IMAAS_ALLOWED_GIT_HOSTS={git_name}
  export PATH={path}:$PATH
  export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=credential.https://{git}.helper GIT_CONFIG_VALUE_0='!f() {{ test $1 = get &&
    sed -n "s/^username=\(.*\)/password=\1-password/p"; }}; f'             # so no clone holds a password
  cd $(mktemp -d)
  kubectl get imaas -A                             # tenants, services, releases: well, and waiting for what
  kubectl -n acme-home describe isvc orders        # the board of one service
  {follow_log}
  git clone https://acme@{git}/acme/orders.git     # commit to dev and watch

A tenant of your own, of any name: on this Git server whoever comes as NAME with NAME-password has /NAME/.
  t=beta
  git clone https://platform@{git}/platform/tenants.git && cd tenants
  kubectl imaas tenant new $t --contact you@$t.example --member user:you:owner \
    --service inventory=https://{git_name}/$t/inventory.git,runtime=container,credentials=inventory-git
  kubectl imaas plan .
  git add . && git -c user.name=you -c user.email=you@$t.example commit -m "feat: onboard $t" && git push
  kubectl wait --for create namespace/$t-home; cd ..
Its repository, here a copy of one of acme's (a first push makes it), and the Secret by which the platform reads it:
  git clone https://acme@{git}/acme/inventory.git && cd inventory
  for branch in dev test prod; do git push https://$t@{git}/$t/inventory.git origin/$branch:refs/heads/$branch; done
  kubectl -n $t-home create secret generic inventory-git --from-literal=username=$t --from-literal=password=$t-password \
    --from-file=ca.crt=$GIT_SSL_CAINFO; cd ..
Its CI pushes an image under the commit's hash; here acme's, to have one. From this machine registry.example.com is {registry}:
  login() {{ export DOCKER_CONFIG=$PWD/login-$1; mkdir -p $DOCKER_CONFIG; kubectl -n $1-home get secret imaas-registry-push \
    -o jsonpath='{{.data.\.dockerconfigjson}}' | base64 -d | sed s/registry.example.com/{registry}/ > $DOCKER_CONFIG/config.json; }}
  login acme; crane pull --insecure {registry}/acme/inventory@$(kubectl -n acme-home get isvc inventory \
    -o jsonpath='{{.status.environments[0].digest}}') image.tar
  login $t; crane push --insecure image.tar {registry}/$t/inventory:$(git -C inventory rev-parse origin/dev)
  kubectl -n $t-home get isvc -w                   # dev, test and prod: all three stand on this commit"#
    )
}

#[cfg(test)]
mod tests {
    use std::{path::PathBuf, process::Command};

    use lab::git_server::{Authority, GitServer, Options, User};

    use super::*;

    fn text(authority: &Path, git: &str) -> String {
        invitation(&Places {
            kubeconfig: Path::new("/lab/admin.kubeconfig"),
            programs: ["/tools/kubectl", "/target/debug/kubectl-imaas", "/crane/crane"].map(Path::new),
            authority,
            git,
            git_name: "git.example.com",
            follow_log: "tail -f /stand/operator.log",
            registry: "10.0.0.1:5000",
        })
    }

    #[test]
    fn a_stranger_is_told_every_place_and_login() {
        let text = text(Path::new("/stand/ca.crt"), "10.0.0.1:443");
        for told in [
            "KUBECONFIG=/lab/admin.kubeconfig",
            "GIT_SSL_CAINFO=/stand/ca.crt IMAAS_ALLOWED_GIT_HOSTS=git.example.com",
            "PATH=/tools:/target/debug:/crane:$PATH",
            "https://platform@10.0.0.1:443/platform/tenants.git",
            "https://$t@10.0.0.1:443/$t/inventory.git",
            "inventory=https://git.example.com/$t/inventory.git",
            "registry.example.com is 10.0.0.1:5000",
            "tail -f /stand/operator.log",
            "image.tar 10.0.0.1:5000/$t/inventory:$(",
            "{.data.\\.dockerconfigjson}",
        ] {
            assert!(text.contains(told), "{told}:\n{text}");
        }
        assert!(text.lines().count() < 40, "it is to be read");
    }

    /// What stands for the cluster and the registry, of which nothing runs here.
    const ABSENT: &str =
        "kubectl() { echo e30=; }; crane() { echo \"$DOCKER_CONFIG\"; }; export HOME=$PWD TMPDIR=$PWD\n";

    #[tokio::test(flavor = "multi_thread")]
    async fn whoever_pastes_it_reads_and_pushes_and_no_clone_holds_a_login() {
        let scratch = tempfile::tempdir().unwrap();
        let directory = scratch.path().join("repositories");
        let authority = Authority::create(scratch.path(), "git").unwrap();
        let user = |name: &str| User {
            name: name.to_owned(),
            password: format!("{name}-password"),
            reads: vec![format!("/{name}/")],
            pushes: vec![format!("/{name}/")],
        };
        let server = GitServer::start(Options {
            address: "127.0.0.1:0".parse().unwrap(),
            directory: &directory,
            authority: Some(&authority),
            names: &[],
            users: vec![user("acme"), user("platform")],
        })
        .unwrap();
        server.open_sign_up();
        let tree = scratch.path().join("tree");
        std::fs::create_dir(&tree).unwrap();
        std::fs::write(tree.join("README.md"), "# A repository").unwrap();
        for repository in ["/acme/orders.git", "/acme/inventory.git", "/platform/tenants.git"] {
            server.create(repository, &tree, &["dev", "test", "prod"]).unwrap();
        }

        let text = text(&authority.certificate, &server.address().to_string());
        let pasted: String =
            text.lines().filter(|line| line.starts_with(' ')).flat_map(|line| [line, "\n"]).collect();
        let pasted = pasted.replace("tail -f", "true").replace("kubectl imaas plan .", "touch beta.yaml");
        let ran = Command::new("bash")
            .args(["-e", "-c", &format!("{ABSENT}{pasted}")])
            .current_dir(scratch.path())
            .env("GIT_TERMINAL_PROMPT", "0")
            .env_remove("GIT_CONFIG_GLOBAL")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&ran.stderr);
        assert!(ran.status.success(), "{said}");
        let pushed = std::fs::read_to_string(directory.join("beta/inventory.git/refs/heads/dev"));
        assert!(pushed.is_ok(), "the new repository has its branches: {said}");

        let clones: Vec<_> =
            walk(scratch.path()).into_iter().filter(|file| file.ends_with(".git/config")).collect();
        assert_eq!(clones.len(), 3, "{clones:?}");
        for clone in clones.iter().map(|config| config.parent().unwrap().parent().unwrap()) {
            for file in walk(clone) {
                let content = std::fs::read(&file).unwrap();
                let holds = |word: &str| content.windows(word.len()).any(|part| part == word.as_bytes());
                assert!(!holds("-password") && !file.ends_with("config.json"), "{}", file.display());
            }
        }
        server.stop();
    }

    fn walk(directory: &Path) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
        entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
    }
}
