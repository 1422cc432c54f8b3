#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "IO: clients that act as the members of tenants, and the clock of the operator that serves them"
)]
//! What members of a tenant may do, as themselves: two tenants that the operator made by the chart's rights, and people
//! with tokens of their own.

mod attempts;
mod decisions;
mod matrix;
mod walls;

use std::{future::pending, path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context, Result, bail};
use imaas_operator::{
    api::Role,
    health::Health,
    platform::Platform,
    policies::Policies,
    registry::{accounts::AccountKey, generations::Issued, usages::Usages},
    tenant,
};
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use lab::{Lab, User, kubectl::Kubectl};
use serde_json::Value;
use tokio::task::JoinHandle;

use crate::{Broken, rights};

const NORTH: &str = "
apiVersion: imaas.dev/v1alpha1
kind: Tenant
metadata: {name: north}
spec:
  members:
    - {kind: User, name: nora, role: owner}
    - {kind: Group, name: north-developers, role: developer}
    - {kind: ServiceAccount, name: builder, namespace: ci, role: developer}
    - {kind: User, name: nell, role: viewer}
";
const SOUTH: &str = "
apiVersion: imaas.dev/v1alpha1
kind: Tenant
metadata: {name: south}
spec:
  contact: south@example.com
  members: [{kind: User, name: sam, role: owner}]
";
/// Where members of `north` are what they are in its file, where they are not, and where they are nobody.
const PLACES: [&str; 8] = [
    "north-home",
    "north-dev",
    "north-prod",
    "south-home",
    "south-dev",
    "kube-system",
    crate::NAMESPACE,
    // The cluster, and all namespaces at once.
    "",
];

/// The people who log in with a token of the lab.
pub fn users() -> Vec<User> {
    vec![
        User::new("nora", &[]),
        User::new("nick", &["north-developers"]),
        User::new("nell", &[]),
        User::new("sam", &[]),
        User::new("otto", &[]),
    ]
}

/// Somebody, and how they reach the API server.
struct Person {
    name: &'static str,
    client: Client,
    kubectl: Kubectl,
    /// Of which tenant and what, by its file.
    role: Option<(&'static str, Role)>,
}

impl Person {
    /// What they are in a namespace.
    fn role_in(&self, place: &str) -> Option<Role> {
        let (tenant, role) = self.role?;
        let environment = place.strip_prefix(tenant)?.strip_prefix('-')?;
        // As the chart's environments have it.
        Some(if environment == "prod" && role == Role::Developer { Role::Viewer } else { role })
    }
}

async fn person(
    lab: &Lab,
    (name, token): (&'static str, Option<String>),
    role: Option<(&'static str, Role)>,
) -> Result<Person> {
    let file = match token {
        None => lab.user_kubeconfig(name)?,
        Some(token) => with_token(lab, name, &token)?,
    };
    let kubectl = lab.kubectl().with_kubeconfig(&file);
    let options = KubeConfigOptions::default();
    let config = Config::from_custom_kubeconfig(Kubeconfig::read_from(file)?, &options).await?;
    Ok(Person { name, client: Client::try_from(config)?, kubectl, role })
}

/// The file of somebody whose token the cluster made.
fn with_token(lab: &Lab, name: &str, token: &str) -> Result<PathBuf> {
    let of_otto = lab.control_plane().token("otto")?;
    let text = std::fs::read_to_string(lab.user_kubeconfig("otto")?)?.replace(&of_otto, token);
    let file = lab.data_dir().join(format!("{name}.kubeconfig"));
    std::fs::write(&file, text)?;
    Ok(file)
}

async fn people(lab: &Lab) -> Result<Vec<Person>> {
    let kubectl = lab.kubectl();
    kubectl.run(&["create", "namespace", "ci"], None).await?;
    kubectl.run(&["create", "serviceaccount", "builder", "-n", "ci"], None).await?;
    let token = async |name: &str, namespace: &str| {
        let token = kubectl.run(&["create", "token", name, "-n", namespace], None).await?;
        anyhow::Ok(Some(token.trim().to_owned()))
    };
    Ok(vec![
        person(lab, ("nora", None), Some(("north", Role::Owner))).await?,
        person(lab, ("nick", None), Some(("north", Role::Developer))).await?,
        person(lab, ("nell", None), Some(("north", Role::Viewer))).await?,
        person(lab, ("builder", token("builder", "ci").await?), Some(("north", Role::Developer))).await?,
        person(lab, ("sam", None), Some(("south", Role::Owner))).await?,
        person(lab, ("otto", None), None).await?,
        person(lab, ("the pods of north-dev", token("default", "north-dev").await?), None).await?,
    ])
}

/// The operator's part that makes a tenant's space.
async fn operate(lab: &Lab) -> Result<Vec<JoinHandle<()>>> {
    let client = rights::operator_client(lab).await?;
    let (platform, background, listed) =
        Platform::observe(client, rights::settings(), jiff::Timestamp::now, || 0.5);
    let mut tasks = vec![tokio::spawn(background)];
    listed.await;
    let policies = Policies::new(Health::default());
    let logins = Some(Issued { key: AccountKey::new([7; 32])?, generations: "1".parse()? });
    let registry = tenant::Registry { logins, usages: Usages::counted(), images: None };
    let ctx = Arc::new(tenant::Context::new(platform.clone(), policies.clone(), registry));
    tasks.push(tokio::spawn(tenant::run(ctx, pending())));
    tasks.push(tokio::spawn(policies.run(platform.cluster, rights::settings(), pending())));
    Ok(tasks)
}

/// Every member, everywhere, everything.
pub async fn may_do_what_their_role_says(lab: &Lab, broken: &mut Broken) -> Result<()> {
    let tasks = operate(lab).await?;
    for tenant in [NORTH, SOUTH] {
        lab.kubectl().apply(tenant).await?;
    }
    for tenant in ["north", "south"] {
        until(lab.kubectl(), &["tenants.imaas.dev", tenant], is_ready).await?;
        until(lab.kubectl(), &["serviceaccount", "default", "-n", &format!("{tenant}-dev")], |_| true)
            .await?;
    }
    let people = people(lab).await?;
    matrix::holds(lab, &people, broken).await?;
    attempts::are_answered(&people, broken).await?;
    decisions::are_their_authors_and_need_the_right_in_the_environment(lab, &people, broken).await?;
    walls::stand_against_pods_and_volumes(lab.kubectl(), broken).await?;
    walls::are_repaired(lab.kubectl(), broken).await?;
    // Nobody confirmed that its namespaces are to go, so they stay; its members see no Tenant any more.
    lab.kubectl().delete(&["tenants.imaas.dev", "north"], Duration::from_mins(1)).await?;
    for kind in ["clusterrole", "clusterrolebinding"] {
        let gone = lab.kubectl().get(&[kind, "imaas-tenant-own-north"]).await;
        broken.unless(gone.is_err(), format!("the {kind} of a tenant that is removed goes: {gone:?}"));
        lab.kubectl().get(&[kind, "imaas-tenant-own-south"]).await?;
    }
    tasks.iter().for_each(JoinHandle::abort);
    Ok(())
}

fn is_ready(object: &Value) -> bool {
    let conditions = object["status"]["conditions"].as_array();
    conditions.is_some_and(|all| all.iter().any(|one| one["type"] == "Ready" && one["status"] == "True"))
}

/// The object, when it is so.
async fn until(kubectl: &Kubectl, what: &[&str], is: impl Fn(&Value) -> bool) -> Result<Value> {
    let mut last = Value::Null;
    for _ in 0..600 {
        if let Ok(object) = kubectl.get(what).await {
            if is(&object) {
                return Ok(object);
            }
            last = object;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    bail!("{what:?} did not come so: {last:#}");
}

fn named<'a>(people: &'a [Person], name: &str) -> Result<&'a Person> {
    people.iter().find(|person| person.name == name).with_context(|| format!("nobody is {name}"))
}
