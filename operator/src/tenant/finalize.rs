//! The end of a Tenant. Its finalizer holds the object until its namespaces and images are gone; where nobody said that
//! they are to go, it lets go at once and they serve on: a kind that is deleted by mistake takes nothing with it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Namespace;
use kube::{ResourceExt, runtime::controller::Action};

use super::{
    Context,
    error::{Error, SpaceError},
    own,
    ownership::{NotOurs, judged, of_tenant},
    reconcile::{Converged, write_status},
    status::{Report, status},
};
use crate::{
    api::Tenant,
    cluster::{has_finalizer, with_finalizer, without_finalizer},
    conditions::{Reason, Wellness, merge},
    names::{CONFIRM_DELETE, ENVIRONMENT, HOME, home_namespace},
    registry::{
        digest::Digest,
        removal::{delete_area, is_worth_waiting},
        survey::Survey,
    },
};

/// The Tenant with our finalizer, which is what makes a deletion wait.
pub(super) async fn held(tenant: Arc<Tenant>, ctx: &Context) -> Result<Arc<Tenant>, Error> {
    let amended = ctx.platform().cluster.amend(&*tenant, with_finalizer).await.map_err(Error::Write)?;
    Ok(amended.map_or(tenant, Arc::new))
}

/// One step of the end of a Tenant that is being deleted.
pub(super) async fn finalize(tenant: &Tenant, ctx: &Context) -> Result<Action, Error> {
    if !has_finalizer(tenant) {
        return Ok(Action::await_change());
    }
    if !tenant.is_confirmed() {
        unconfirmed(tenant, ctx).await;
        return let_go(tenant, ctx).await;
    }
    let waiting = match remove(tenant, ctx).await {
        Ok(waiting) if waiting.is_empty() => return let_go(tenant, ctx).await,
        Ok(waiting) => Error::Removing(waiting.join("; ")),
        Err(error) => error,
    };
    let converged = Converged::default();
    let report = Report { outcome: Err(&waiting), ..Report::of(tenant, &converged, ctx.platform()) };
    write_status(tenant, ctx, &status(&report, (ctx.platform().now)())).await?;
    match waiting {
        Error::Suspended => Ok(Action::await_change()),
        waiting => Err(waiting),
    }
}

/// Deletes what is the tenant's own, environments, then images, then the home, and says what is not gone yet.
async fn remove(tenant: &Tenant, ctx: &Context) -> Result<Vec<String>, Error> {
    if tenant.spec.suspend {
        return Err(Error::Suspended);
    }
    ctx.policies().proven()?;
    let cluster = &ctx.platform().cluster;
    let all = cluster.namespaces_now(&tenant.name_any()).await.map_err(Error::Write)?;
    let Step { namespaces, images } = step(tenant, &all);
    if images {
        remove_images(tenant, ctx).await?;
    }
    let mut errors = Vec::new();
    for namespace in namespaces.iter().filter(|namespace| !is_terminating(namespace)) {
        match cluster.delete_unchanged(*namespace).await {
            Err(error) if !error.is_conflict() => errors.push(SpaceError::Apply(error)),
            // It moved between the list and the deletion: next time.
            Ok(()) | Err(_) => {}
        }
    }
    let waiting = namespaces.into_iter().map(remaining).collect();
    if errors.is_empty() { Ok(waiting) } else { Err(Error::Spaces(errors)) }
}

/// What is removed next.
struct Step<'a> {
    namespaces: Vec<&'a Namespace>,
    images: bool,
}

/// Of `all` that bear the tenant's label. Services and releases stand in the home: as long as one runs, what it runs by
/// stays, and releases name images until those are gone. A namespace of another origin may run images of this area.
fn step<'a>(tenant: &Tenant, all: &'a [Namespace]) -> Step<'a> {
    let (own, others): (Vec<_>, Vec<_>) = all.iter().partition(|namespace| is_own(tenant, namespace));
    let is_home =
        |namespace: &&Namespace| namespace.labels().get(ENVIRONMENT).map(String::as_str) == Some(HOME);
    let (home, environments): (Vec<_>, Vec<_>) = own.into_iter().partition(is_home);
    let images =
        environments.is_empty() && others.is_empty() && !home.iter().any(|home| is_terminating(home));
    Step { namespaces: if environments.is_empty() { home } else { environments }, images }
}

fn is_terminating(namespace: &Namespace) -> bool {
    namespace.metadata.deletion_timestamp.is_some()
}

/// Deletes what is in the tenant's area, where the operator may. An error is one to wait for.
async fn remove_images(tenant: &Tenant, ctx: &Context) -> Result<(), Error> {
    let Some(registry) = ctx.images() else { return Ok(()) };
    let name = tenant.name_any();
    let mut named: BTreeMap<String, BTreeSet<Digest>> = BTreeMap::new();
    for release in ctx.platform().releases.all_in(&home_namespace(&name)) {
        if let Ok(digest) = release.spec.digest.parse() {
            named.entry(format!("{name}/{}", release.spec.service)).or_default().insert(digest);
        }
    }
    match delete_area(&Survey::new(Arc::clone(registry)), &name, &named).await {
        Err(error) if is_worth_waiting(&error, overdue(tenant, (ctx.platform().now)())) => {
            return Err(Error::Images(error));
        }
        Err(error) => {
            let error = &error as &dyn std::error::Error;
            tracing::error!(tenant = name, error, "images of a removed tenant stay in the registry");
        }
        Ok(0) => {}
        Ok(images) => tracing::info!(tenant = name, images, "images of a removed tenant deleted"),
    }
    Ok(())
}

/// How long ago its deletion began.
fn overdue(tenant: &Tenant, now: Timestamp) -> Duration {
    let since = tenant.metadata.deletion_timestamp.as_ref();
    since.and_then(|since| now.duration_since(since.0).try_into().ok()).unwrap_or_default()
}

/// By the claim that takes namespaces back, and by its name.
fn is_own(tenant: &Tenant, namespace: &Namespace) -> bool {
    let name = namespace.name_any();
    let is_named = name.rsplit_once('-').is_some_and(|(of, _)| of == tenant.name_any());
    let wanted = of_tenant(&tenant.name_any());
    is_named && !matches!(judged(tenant, &wanted, namespace), Err(NotOurs::Foreign | NotOurs::OtherOrigin))
}

/// Why a namespace is still there, in the API server's words.
fn remaining(namespace: &Namespace) -> String {
    let name = namespace.name_any();
    let conditions = namespace.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let told =
        conditions.filter(|condition| condition.status == "True").filter_map(|one| one.message.clone());
    let finalizers = namespace.finalizers();
    let finalizers =
        (!finalizers.is_empty()).then(|| format!("it has the finalizers {}", finalizers.join(", ")));
    let told: Vec<_> = told.chain(finalizers).collect();
    if told.is_empty() {
        format!("{name} is being deleted")
    } else {
        format!("{name} is not gone: {}", told.join("; "))
    }
}

/// Where its deletion was confirmed meanwhile, its namespaces go first.
async fn let_go(tenant: &Tenant, ctx: &Context) -> Result<Action, Error> {
    let free = |live: &Tenant| {
        let is_judged = live.is_confirmed() == tenant.is_confirmed();
        without_finalizer(live).filter(|_| is_judged)
    };
    let cluster = &ctx.platform().cluster;
    own::hide(cluster, &tenant.name_any()).await.map_err(Error::Write)?;
    cluster.amend(tenant, free).await.map_err(Error::Write)?;
    Ok(Action::await_change())
}

/// Somebody meant another object of this name: told, since its namespaces stay.
async fn unconfirmed(tenant: &Tenant, ctx: &Context) {
    if !tenant.annotations().contains_key(CONFIRM_DELETE) {
        return;
    }
    let uid = tenant.uid().unwrap_or_default();
    let message = format!(
        "deleted, and its namespaces stay: {CONFIRM_DELETE} is not the uid of this Tenant, which was {uid}"
    );
    let claims = Wellness::Stalled(Reason::Invalid, message).claims();
    let conditions =
        merge(&[], &claims, tenant.metadata.generation.unwrap_or_default(), (ctx.platform().now)());
    ctx.platform().cluster.tell_change(tenant, &[], &conditions).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn namespace(yaml: &str) -> Namespace {
        serde_saphyr::from_str(yaml).unwrap()
    }

    #[test]
    fn only_its_own_namespaces_go_with_a_tenant() {
        let tenant: Tenant = serde_saphyr::from_str(
            "{apiVersion: imaas.dev/v1alpha1, kind: Tenant, metadata: {name: acme, annotations: {imaas.dev/origin: central}}, spec: {}}",
        )
        .unwrap();
        let ours = "app.kubernetes.io/managed-by: imaas-operator, imaas.dev/tenant: acme";
        let terminating = "deletionTimestamp: '2026-01-01T00:00:00Z', ";
        for (name, more, labels, origin, is) in [
            ("acme-dev", "", ours, "central", true),
            ("acme-home", "", ours, "central", true),
            ("acme-dev", terminating, ours, "central", true),
            ("acme-eu-dev", "", ours, "central", false),
            ("acme-dev", "", ours, "other", false),
            ("acme-dev", "", "imaas.dev/tenant: acme", "central", false),
            (
                "acme-dev",
                "",
                "app.kubernetes.io/managed-by: imaas-operator, imaas.dev/tenant: acme-eu",
                "central",
                false,
            ),
            ("plain", "", ours, "central", false),
        ] {
            let live = namespace(&format!(
                "metadata: {{name: {name}, {more}labels: {{{labels}}}, annotations: {{imaas.dev/origin: {origin}}}}}"
            ));
            assert_eq!(is_own(&tenant, &live), is, "{name} {labels} {origin}");
        }
    }

    #[test]
    fn environments_go_before_images_and_those_before_the_home_and_what_another_origin_runs_keeps_them() {
        let tenant: Tenant = serde_saphyr::from_str(
            "{apiVersion: imaas.dev/v1alpha1, kind: Tenant, metadata: {name: acme, annotations: {imaas.dev/origin: central}}, spec: {}}",
        )
        .unwrap();
        let live = |environment: &str, origin: &str, more: &str| {
            namespace(&format!(
                "metadata: {{name: acme-{environment}, {more}labels: {{app.kubernetes.io/managed-by: imaas-operator, \
                 imaas.dev/tenant: acme, imaas.dev/environment: {environment}}}, annotations: {{imaas.dev/origin: {origin}}}}}"
            ))
        };
        let going = "deletionTimestamp: '2026-01-01T00:00:00Z', ";
        let (dev, home) = (live("dev", "central", ""), live("home", "central", ""));
        for (all, next, images) in [
            (vec![home.clone(), dev], &["acme-dev"][..], false),
            (vec![live("dev", "central", going), home.clone()], &["acme-dev"], false),
            (vec![home.clone()], &["acme-home"], true),
            (vec![live("home", "central", going)], &["acme-home"], false),
            (vec![], &[], true),
            (vec![live("dev", "other", ""), home], &["acme-home"], false),
            (vec![live("home", "other", "")], &[], false),
        ] {
            let step = step(&tenant, &all);
            let names: Vec<_> = step.namespaces.iter().map(|namespace| namespace.name_any()).collect();
            assert_eq!(
                (&names[..], step.images),
                (&next.iter().map(ToString::to_string).collect::<Vec<_>>()[..], images)
            );
        }
    }

    #[test]
    fn what_keeps_a_namespace_is_told() {
        assert_eq!(remaining(&namespace("metadata: {name: acme-dev}")), "acme-dev is being deleted");
        let stuck = "{metadata: {name: acme-dev, finalizers: [example.com/hold]}, status: {conditions: [\
            {type: NamespaceContentRemaining, status: 'True', message: Some resources are remaining}, \
            {type: NamespaceDeletionContentFailure, status: 'False', message: All content deleted}]}}";
        assert_eq!(
            remaining(&namespace(stuck)),
            "acme-dev is not gone: Some resources are remaining; it has the finalizers example.com/hold"
        );
    }
}
