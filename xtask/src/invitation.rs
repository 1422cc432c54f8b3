//! What the demo says at its end: where everything is, and how a stranger onboards a tenant of their own. Pure.

use std::path::Path;

/// The tenant that nobody onboarded yet; the Git server has its account and its two repositories.
pub const NEWCOMER: &str = "beta";

/// Where the demo runs.
pub struct Places<'a> {
    /// Of the cluster's administrator.
    pub kubeconfig: &'a Path,
    /// In case there is none on the machine.
    pub kubectl: &'a Path,
    /// The same.
    pub crane: &'a Path,
    /// Who signed the Git server's certificate.
    pub authority: &'a Path,
    /// The Git server, as `host:port`.
    pub git: &'a str,
    /// The same as the cluster and the tenants' files name it.
    pub git_name: &'a str,
    /// The command that follows the operator's log.
    pub follow_log: &'a str,
    /// The folder of its bare repositories.
    pub repositories: &'a Path,
    /// The registry, as `host:port`.
    pub registry: &'a str,
}

/// Lines that can be pasted, in order.
pub fn invitation(places: &Places<'_>) -> String {
    let Places { kubeconfig, kubectl, crane, authority, git, git_name, follow_log, repositories, registry } =
        places;
    let [kubeconfig, kubectl, crane, authority, repositories] =
        [kubeconfig, kubectl, crane, authority, repositories].map(|path| path.display());
    format!(
        r#"
Everything stays up until Ctrl-C. In another terminal:
  export KUBECONFIG={kubeconfig} GIT_SSL_CAINFO={authority}
  alias kubectl={kubectl} crane={crane}
  cd $(mktemp -d)
  kubectl get imaas -A                             # tenants, services, releases: well, and waiting for what
  kubectl -n acme-home describe isvc orders        # the board of one service
  {follow_log}
  git clone https://acme:acme-password@{git}/acme/orders.git      # commit to dev and watch

A tenant of your own, here {NEWCOMER}. The platform merges its file into the tenants repository:
  git clone https://platform:platform-password@{git}/platform/tenants.git
  sed s/acme/{NEWCOMER}/g tenants/tenants/acme.yaml > tenants/tenants/{NEWCOMER}.yaml
  git -C tenants add . && git -C tenants -c user.name=me -c user.email=me@example.com commit -m "feat: onboard {NEWCOMER}"
  git -C tenants push && kubectl get tn -w
Its owner says how its repositories are read (the Git server has them already; the cluster calls it {git_name}):
  for service in orders inventory; do kubectl -n {NEWCOMER}-home create secret generic $service-git --from-literal=username={NEWCOMER} \
    --from-literal=password={NEWCOMER}-password --from-file=ca.crt=$GIT_SSL_CAINFO; done
Its CI pushes an image under the commit's hash; here acme's, to have one. From this machine registry.example.com is {registry}:
  login() {{ mkdir -p $1; export DOCKER_CONFIG=$PWD/$1; kubectl -n $1-home get secret imaas-registry-push \
    -o jsonpath='{{.data.\.dockerconfigjson}}' | base64 -d | sed s/registry.example.com/{registry}/ > $1/config.json; }}
  login acme; crane pull --insecure {registry}/acme/inventory@$(kubectl -n acme-home get isvc inventory \
    -o jsonpath='{{.status.environments[0].digest}}') image.tar
  login {NEWCOMER}; crane push --insecure image.tar {registry}/{NEWCOMER}/inventory:$(git ls-remote \
    https://{NEWCOMER}:{NEWCOMER}-password@{git}/{NEWCOMER}/inventory.git dev | cut -f1)
  kubectl -n {NEWCOMER}-home get isvc -w
One more repository, to name in {NEWCOMER}.yaml as https://{git_name}/{NEWCOMER}/mine.git:
  git init --bare -b dev {repositories}/{NEWCOMER}/mine.git && git -C {repositories}/{NEWCOMER}/mine.git config http.receivepack true"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACME: &str = include_str!("../../tenants/tenants/acme.yaml");

    #[test]
    fn a_stranger_is_told_every_place_and_login() {
        let text = invitation(&Places {
            kubeconfig: Path::new("/lab/admin.kubeconfig"),
            kubectl: Path::new("/tools/kubectl"),
            crane: Path::new("/tools/crane"),
            authority: Path::new("/stand/ca.crt"),
            git: "10.0.0.1:443",
            git_name: "git.example.com",
            follow_log: "tail -f /stand/operator.log",
            repositories: Path::new("/stand/git"),
            registry: "10.0.0.1:5000",
        });
        for told in [
            "KUBECONFIG=/lab/admin.kubeconfig",
            "GIT_SSL_CAINFO=/stand/ca.crt",
            "kubectl=/tools/kubectl crane=/tools/crane",
            "https://platform:platform-password@10.0.0.1:443/platform/tenants.git",
            "https://beta:beta-password@10.0.0.1:443/beta/inventory.git",
            "registry.example.com is 10.0.0.1:5000",
            "https://git.example.com/beta/mine.git",
            "tail -f /stand/operator.log",
            "image.tar 10.0.0.1:5000/beta/inventory:$(",
            "{.data.\\.dockerconfigjson}",
            "git init --bare -b dev /stand/git/beta/mine.git",
        ] {
            assert!(text.contains(told), "{told}:\n{text}");
        }
        assert!(text.lines().count() < 40, "it is to be read");
    }

    #[test]
    fn the_file_that_the_text_makes_is_one_of_a_tenant() {
        let tenant = imaas_operator::yaml::tenant(ACME.replace("acme", NEWCOMER).as_bytes()).unwrap();
        assert_eq!(tenant.metadata.name.as_deref(), Some(NEWCOMER));
        for service in &tenant.spec.services {
            let url = format!("https://git.example.com/{NEWCOMER}/{}.git", service.name);
            assert_eq!(service.spec.repository.url, url);
            assert_eq!(service.spec.repository.credentials, Some(format!("{}-git", service.name)));
        }
    }
}
