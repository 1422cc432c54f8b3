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
  cd $(mktemp -d)
  kubectl get imaas -A                             # tenants, services, releases: well, and waiting for what
  kubectl -n acme-home describe isvc orders        # the board of one service
  {follow_log}
  git clone https://acme:acme-password@{git}/acme/orders.git      # commit to dev and watch

A tenant of your own, of any name: on this Git server whoever comes as NAME with NAME-password has /NAME/.
  t=beta
  git clone https://platform:platform-password@{git}/platform/tenants.git && cd tenants
  kubectl imaas tenant new $t --contact you@$t.example --member user:you:owner \
    --service inventory=https://{git_name}/$t/inventory.git,runtime=container,credentials=inventory-git
  kubectl imaas plan .
  git add . && git -c user.name=you -c user.email=you@$t.example commit -m "feat: onboard $t" && git push
  kubectl wait --for create namespace/$t-home; cd ..
Its repository, here a copy of one of acme's (a first push makes it), and the Secret by which the platform reads it:
  git clone https://acme:acme-password@{git}/acme/inventory.git && cd inventory
  for branch in dev test prod; do git push https://$t:$t-password@{git}/$t/inventory.git origin/$branch:refs/heads/$branch; done
  kubectl -n $t-home create secret generic inventory-git --from-literal=username=$t --from-literal=password=$t-password \
    --from-file=ca.crt=$GIT_SSL_CAINFO
Its CI pushes an image under the commit's hash; here acme's, to have one. From this machine registry.example.com is {registry}:
  login() {{ mkdir -p $1; export DOCKER_CONFIG=$PWD/$1; kubectl -n $1-home get secret imaas-registry-push \
    -o jsonpath='{{.data.\.dockerconfigjson}}' | base64 -d | sed s/registry.example.com/{registry}/ > $1/config.json; }}
  login acme; crane pull --insecure {registry}/acme/inventory@$(kubectl -n acme-home get isvc inventory \
    -o jsonpath='{{.status.environments[0].digest}}') image.tar
  login $t; crane push --insecure image.tar {registry}/$t/inventory:$(git rev-parse origin/dev)
  kubectl -n $t-home get isvc -w                   # dev, test and prod: all three stand on this commit"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stranger_is_told_every_place_and_login() {
        let text = invitation(&Places {
            kubeconfig: Path::new("/lab/admin.kubeconfig"),
            programs: ["/tools/kubectl", "/target/debug/kubectl-imaas", "/crane/crane"].map(Path::new),
            authority: Path::new("/stand/ca.crt"),
            git: "10.0.0.1:443",
            git_name: "git.example.com",
            follow_log: "tail -f /stand/operator.log",
            registry: "10.0.0.1:5000",
        });
        for told in [
            "KUBECONFIG=/lab/admin.kubeconfig",
            "GIT_SSL_CAINFO=/stand/ca.crt IMAAS_ALLOWED_GIT_HOSTS=git.example.com",
            "PATH=/tools:/target/debug:/crane:$PATH",
            "https://platform:platform-password@10.0.0.1:443/platform/tenants.git",
            "https://$t:$t-password@10.0.0.1:443/$t/inventory.git",
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
}
