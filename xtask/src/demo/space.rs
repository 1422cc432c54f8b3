#![expect(clippy::print_stdout, reason = "a demo is there to be read")]
//! The demo's story without real pods: the tenant's space, who may do what in it, its logins, and its services as far as
//! pods that only seem to run take them.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use flows::{Developer, Sample, Stand};
use lab::{
    Progress,
    image::{self, Pusher},
};
use serde_json::Value;

use super::{ENVIRONMENTS, PATIENCE, Teller};

/// Members of the sample tenant, as the API server would know them after their login.
const MEMBERS: [(&str, [&str; 3]); 3] = [
    ("owner", ["--as=lee", "--as-group=acme-leads", "--as-group=system:authenticated"]),
    ("developer", ["--as=dana", "--as-group=acme-developers", "--as-group=system:authenticated"]),
    ("viewer", ["--as=auditor@acme.example", "--as-group=nobody", "--as-group=system:authenticated"]),
];

/// What they are asked about: what it is called, and the words of `kubectl auth can-i`.
const QUESTIONS: [(&str, &[&str]); 5] = [
    ("read logs", &["get", "pods", "--subresource=log"]),
    ("restart pods", &["delete", "pods"]),
    ("write Secrets", &["create", "secrets"]),
    ("change quotas", &["patch", "resourcequotas"]),
    ("open walls", &["delete", "networkpolicies"]),
];

/// Within the walls and the quota of the tenant, but for what a test changes.
const POD: &str = r#"{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "tried", "namespace": "acme-dev"},
  "spec": {"securityContext": {"runAsNonRoot": true, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
  "containers": [{"name": "tried", "image": "registry.example.com/acme/tried", "resources": {"requests": {"cpu": "100m"}},
    "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}}}]}}"#;

/// From the space to a release.
pub(super) async fn story(stand: &Stand, teller: &Teller, progress: &Progress) -> Result<()> {
    spaces(stand).await?;
    Teller::chapter("Who may do what in it, as the API server decides for members of the tenant");
    rights(stand).await?;
    Teller::chapter("What nobody gets past, asked as the cluster's administrator");
    refusals(stand).await?;
    Teller::chapter("Its area of the registry, tried by a real client on a real registry");
    logins(stand, progress).await?;
    Teller::chapter("A service of it: CI pushes an image under the commit's hash, and the board follows");
    let inventory = Developer::new(stand, "acme", Sample::Inventory)?;
    let begun = Instant::now();
    let commit = inventory.work_tree().head()?;
    inventory.build(stand, progress).await?;
    for environment in ENVIRONMENTS {
        stand.deployed(("acme", "inventory", environment), &commit, PATIENCE).await?;
        teller.told(&format!("its pods in {environment} seem Ready (simulated)"), begun);
    }
    let begun = Instant::now();
    let commit = inventory.release_version("dev", "2")?;
    let digest = inventory.build(stand, progress).await?;
    stand.deployed(("acme", "inventory", "dev"), &commit, PATIENCE).await?;
    teller.told(&format!("version 2, commit {}, is in dev, image {}", &commit[..8], &digest[..19]), begun);
    for (from, into) in [("dev", "test"), ("test", "prod")] {
        let begun = Instant::now();
        let commit = inventory.promote(from, into)?;
        let board = stand.deployed(("acme", "inventory", into), &commit, PATIENCE).await?;
        ensure!(board["digest"] == digest.as_str(), "{into} has {} and not {digest}", board["digest"]);
        teller.told(&format!("{from} merged into {into}: it has the same image {}", &digest[..19]), begun);
    }
    println!("\n$ kubectl -n acme-home get isvc");
    print!("{}", stand.kubectl.run(&["-n", "acme-home", "get", "isvc"], None).await?);
    println!("(nobody pushed an image of orders, so that one waits, and says so)");
    Ok(())
}

/// The namespaces with what is in each.
async fn spaces(stand: &Stand) -> Result<()> {
    println!(
        "\n{:<10} {:<13} {:>5} {:>7} {:>5}  MEMBERS AND WALLS",
        "NAMESPACE", "POD SECURITY", "CPU", "MEMORY", "PODS"
    );
    for environment in ["home"].iter().chain(&ENVIRONMENTS) {
        let namespace = format!("acme-{environment}");
        let labels = &stand.kubectl.get(&["namespace", &namespace]).await?["metadata"]["labels"];
        let quota = stand.kubectl.get(&["-n", &namespace, "resourcequota", "imaas"]).await?;
        let hard = |key: &str| quota["spec"]["hard"][key].as_str().unwrap_or("-").to_owned();
        let bindings = list(stand, &namespace, "rolebindings").await?;
        let members: Vec<String> = bindings.iter().filter_map(members_of).collect();
        println!(
            "{namespace:<10} {:<13} {:>5} {:>7} {:>5}  {}",
            labels["pod-security.kubernetes.io/enforce"].as_str().unwrap_or("-"),
            hard("requests.cpu"),
            hard("requests.memory"),
            hard("pods"),
            members.join(", "),
        );
        let walls = list(stand, &namespace, "networkpolicies").await?;
        let walls: Vec<&str> = walls.iter().filter_map(|wall| wall["metadata"]["name"].as_str()).collect();
        println!("{:<45}{}", "", walls.join(", "));
    }
    Ok(())
}

async fn list(stand: &Stand, namespace: &str, kind: &str) -> Result<Vec<Value>> {
    let list = stand.kubectl.get(&["-n", namespace, kind]).await?;
    Ok(list["items"].as_array().cloned().unwrap_or_default())
}

/// `developer: acme-developers`, of a binding of people.
fn members_of(binding: &Value) -> Option<String> {
    let role = binding["roleRef"]["name"].as_str()?.strip_prefix("imaas-tenant-")?;
    let names = binding["subjects"].as_array()?.iter().filter_map(|subject| subject["name"].as_str());
    Some(format!("{role}: {}", names.collect::<Vec<_>>().join(" ")))
}

/// A table of yes and no.
async fn rights(stand: &Stand) -> Result<()> {
    let heading = |place: &str| MEMBERS.map(|(role, _)| format!("{place} {role}"));
    print!("{:<15}", "");
    for column in heading("dev").iter().chain(&heading("prod")) {
        print!(" {column:<14}");
    }
    println!();
    for (what, words) in QUESTIONS {
        print!("{what:<15}");
        for namespace in ["acme-dev", "acme-prod"] {
            for (_, member) in MEMBERS {
                print!(" {:<14}", if may(stand, namespace, words, member).await? { "yes" } else { "-" });
            }
        }
        println!();
    }
    for (role, member) in MEMBERS {
        for elsewhere in ["imaas-system", "default"] {
            let gets_in = may(stand, elsewhere, &["get", "pods"], member).await?;
            ensure!(!gets_in, "the {role} of acme gets into {elsewhere}");
        }
    }
    println!("none of them gets into a namespace that is not acme's");
    Ok(())
}

async fn may(stand: &Stand, namespace: &str, words: &[&str], member: [&str; 3]) -> Result<bool> {
    let arguments = [&["auth", "can-i", "-n", namespace], words, &member].concat();
    let answer = stand.kubectl.output(&arguments, None).await?;
    Ok(String::from_utf8_lossy(&answer.stdout).trim() == "yes")
}

/// Words of the API server itself. Nothing is stored: all are dry runs.
async fn refusals(stand: &Stand) -> Result<()> {
    let on_the_host = POD.replace(r#""spec": {"#, r#""spec": {"hostNetwork": true, "#);
    let greedy = POD.replace("100m", "100");
    let dry_run = ["create", "--dry-run=server", "-f", "-"];
    stand.kubectl.run(&dry_run, Some(POD)).await.context("a pod as it should be")?;
    for (what, pod) in [("a pod in the network of its node", on_the_host), ("a pod of 100 CPUs", greedy)] {
        let answer = stand.kubectl.output(&dry_run, Some(&pod)).await?;
        ensure!(!answer.status.success(), "{what} was let in");
        let words = String::from_utf8_lossy(&answer.stderr);
        println!("{what}: {}", words.rsplit("is forbidden: ").next().unwrap_or_default().trim());
    }
    Ok(())
}

/// What the accounts of the tenant open, and what they do not.
async fn logins(stand: &Stand, progress: &Progress) -> Result<()> {
    let (user, password) = stand.registry_account("acme", "imaas-registry-push", "home").await?;
    let (registry, progress) = (stand.registry.endpoint(), progress.clone());
    let tried = tokio::task::spawn_blocking(move || {
        let image = image::go_image(&Sample::Inventory.directory(), "inventory", &[8080])?;
        let acme = Pusher::new(&registry, Some((&user, &password)), &progress)?;
        let nobody = Pusher::new(&registry, None, &progress)?;
        let pushed = acme.push(&image, "acme/tried", "1").context("acme pushes to its own area")?;
        println!("{user} pushes acme/tried: {}", &pushed[..19]);
        for (who, pusher, repository) in [
            (user.as_str(), &acme, "globex/tried"),
            (&user, &acme, "platform/tried"),
            ("nobody", &nobody, "acme/tried"),
        ] {
            ensure!(pusher.push(&image, repository, "1").is_err(), "{who} pushed {repository}");
            println!("{who} pushes {repository}: refused");
        }
        Ok(())
    });
    tried.await.context("the trial died")?
}
