//! One table of what each role may do. Everything else that the API server has to offer is refused: every person asks for
//! every verb on every resource that discovery lists, in every kind of place.

use anyhow::{Context, Result};
use futures::{StreamExt, TryStreamExt, stream};
use imaas_operator::api::Role;
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use kube::{Api, api::PostParams};
use lab::{Lab, kubectl::Kubectl};
use serde_json::Value;

use super::{PLACES, Person};
use crate::Broken;

type Rule = (&'static str, &'static [&'static str], &'static [&'static str]);

const READ: &[&str] = &["get", "list", "watch"];
const DECIDE: &[&str] =
    &["reject", "hold", "resume", "pause", "skip", "abort", "rollback", "retry", "bypass", "run", "scale"];

/// Everybody who logged in may ask what they may do, and who they are.
const ANYBODY: &[Rule] = &[
    ("authorization.k8s.io", &["selfsubjectaccessreviews", "selfsubjectrulesreviews"], &["create"]),
    ("authentication.k8s.io", &["selfsubjectreviews"], &["create"]),
];
const VIEWER: &[Rule] = &[
    ("imaas.dev", &["integrationservices", "releases", "releasedecisions"], READ),
    (
        "",
        &[
            "pods",
            "services",
            "endpoints",
            "configmaps",
            "events",
            "resourcequotas",
            "limitranges",
            "persistentvolumeclaims",
        ],
        READ,
    ),
    ("", &["pods/log"], &["get"]),
    ("apps", &["deployments", "replicasets"], READ),
    ("autoscaling", &["horizontalpodautoscalers"], READ),
    ("batch", &["cronjobs", "jobs"], READ),
    ("discovery.k8s.io", &["endpointslices"], READ),
    ("events.k8s.io", &["events"], READ),
    ("policy", &["poddisruptionbudgets"], READ),
    ("networking.k8s.io", &["networkpolicies"], READ),
    ("gateway.networking.k8s.io", &["httproutes"], READ),
    ("keda.sh", &["scaledobjects", "triggerauthentications"], READ),
];
const DEVELOPER: &[Rule] = &[
    ("", &["pods"], &["delete"]),
    ("batch", &["jobs"], &["delete"]),
    ("imaas.dev", &["releasedecisions"], &["create"]),
    ("imaas.dev", &["releases"], DECIDE),
];
const OWNER: &[Rule] = &[("", &["secrets"], &["get", "create", "update", "patch", "delete"])];

/// What is asked of every resource; of a subresource the first five, since it has no others.
const VERBS: [&str; 8] = ["get", "create", "update", "patch", "delete", "list", "watch", "deletecollection"];
/// Verbs that are rights of their own, of resources that discovery does not list all.
const OTHERS: &[Rule] = &[
    ("rbac.authorization.k8s.io", &["roles", "clusterroles"], &["bind", "escalate"]),
    ("", &["users", "groups", "serviceaccounts"], &["impersonate"]),
    ("authentication.k8s.io", &["uids", "userextras"], &["impersonate"]),
    ("imaas.dev", &["tenants"], &["adopt"]),
    ("imaas.dev", &["releases"], DECIDE),
    ("certificates.k8s.io", &["signers"], &["approve", "sign"]),
];

/// A resource as RBAC names it, `pods/log` for a subresource.
#[derive(Clone, Debug)]
struct Right {
    group: String,
    resource: String,
    verb: String,
}

fn may(role: Option<Role>, right: &Right) -> bool {
    let of_role: &[&[Rule]] = match role {
        None => &[],
        Some(Role::Viewer) => &[VIEWER],
        Some(Role::Developer) => &[VIEWER, DEVELOPER],
        Some(Role::Owner) => &[VIEWER, DEVELOPER, OWNER],
    };
    let says = |(group, resources, verbs): &Rule| {
        *group == right.group
            && resources.contains(&right.resource.as_str())
            && verbs.contains(&right.verb.as_str())
    };
    ANYBODY.iter().chain(of_role.iter().copied().flatten()).any(says)
}

/// Everything that discovery lists, with every verb, and the verbs that are rights of their own.
async fn rights(kubectl: &Kubectl) -> Result<Vec<Right>> {
    let raw = async |path: &str| {
        let text = kubectl.run(&["get", "--raw", path], None).await?;
        serde_json::from_str::<Value>(&text).with_context(|| path.to_owned())
    };
    let groups = raw("/apis").await?;
    let groups = groups["groups"].as_array().context("groups")?.iter();
    let mut lists = vec![(String::new(), raw("/api/v1").await?)];
    for group in groups {
        for version in group["versions"].as_array().into_iter().flatten() {
            let path = version["groupVersion"].as_str().context("a version")?;
            let name = group["name"].as_str().context("a group")?;
            lists.push((name.to_owned(), raw(&format!("/apis/{path}")).await?));
        }
    }
    let mut rights = Vec::new();
    for (group, list) in &lists {
        for resource in list["resources"].as_array().into_iter().flatten() {
            let resource = resource["name"].as_str().context("a resource")?;
            let verbs = if resource.contains('/') { &VERBS[..5] } else { &VERBS[..] };
            rights.extend(verbs.iter().map(|verb| (group.as_str(), resource, *verb)));
        }
    }
    for (group, resources, verbs) in OTHERS {
        rights.extend(resources.iter().flat_map(|one| verbs.iter().map(|verb| (*group, *one, *verb))));
    }
    rights.sort_unstable();
    rights.dedup();
    let right = |(group, resource, verb): (&str, &str, &str)| Right {
        group: group.to_owned(),
        resource: resource.to_owned(),
        verb: verb.to_owned(),
    };
    Ok(rights.into_iter().map(right).collect())
}

async fn is_allowed(person: &Person, place: &str, right: &Right) -> Result<bool> {
    let (resource, subresource) = match right.resource.split_once('/') {
        Some((resource, subresource)) => (resource, Some(subresource.to_owned())),
        None => (right.resource.as_str(), None),
    };
    let attributes = ResourceAttributes {
        group: Some(right.group.clone()),
        namespace: Some(place.to_owned()),
        // A namespace is asked for as one that is in itself.
        name: (resource == "namespaces").then(|| place.to_owned()),
        resource: Some(resource.to_owned()),
        subresource,
        verb: Some(right.verb.clone()),
        ..ResourceAttributes::default()
    };
    let spec =
        SelfSubjectAccessReviewSpec { resource_attributes: Some(attributes), non_resource_attributes: None };
    let review = SelfSubjectAccessReview { spec, ..SelfSubjectAccessReview::default() };
    let answer = Api::all(person.client.clone()).create(&PostParams::default(), &review).await?;
    Ok(answer.status.is_some_and(|status| status.allowed))
}

pub async fn holds(lab: &Lab, people: &[Person], broken: &mut Broken) -> Result<()> {
    let rights = rights(lab.kubectl()).await?;
    broken.unless(rights.len() > 500, format!("discovery lists {} rights", rights.len()));
    // Another tenant's owner is to this one what this one's is to them.
    let people = people.iter().filter(|person| person.name != "sam" && person.name != "otto");
    let questions = people.flat_map(|person| {
        let rights = &rights;
        PLACES.iter().flat_map(move |place| rights.iter().map(move |right| (person, *place, right)))
    });
    let asked = stream::iter(questions).map(|(person, place, right)| async move {
        let wanted = may(person.role_in(place), right);
        let is = is_allowed(person, place, right).await?;
        let Right { group, resource, verb } = right;
        anyhow::Ok((wanted, is, format!("{} may {verb} {resource}.{group} in {place:?}", person.name)))
    });
    let answers: Vec<_> = asked.buffered(32).try_collect().await?;
    let granted = answers.iter().filter(|(wanted, _, _)| *wanted).count();
    eprintln!("{} questions, {granted} rights", answers.len());
    for (wanted, is, told) in answers {
        broken.unless(wanted == is, format!("{told}: {is}, not {wanted}"));
    }
    Ok(())
}
