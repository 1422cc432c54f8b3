//! How it went → what the tenant is told. Pure: the caller writes it.

use std::{collections::BTreeSet, sync::Arc};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt;

use super::{
    error::Error,
    reconcile::{Converged, Ending},
    retire::HeldParts,
    transfer,
    validate::ValidTenant,
};
use crate::{
    api::{
        IntegrationService, RegistryUsage, Retirement, RetirementStage, Tenant, TenantStatus,
        tenant::TenantEnvironment,
    },
    cluster::ReconcileError,
    conditions::{Claim, IN_SYNC, LONGEST_PRINTED, READY, Reason, Wellness, cut, is_true, merge},
    environment::Problems,
    names::{self, CONFIRM_REMOVAL},
    platform::Platform,
    registry::quota,
    retirement::{Left, Periods, misconfirmed},
    retry::Retry,
};

/// How many problems of services are listed.
const PROBLEMS: usize = 10;
/// Hexadecimal digits that name a commit well enough for a reader.
const SHORT_HASH: usize = 12;

/// What one pass knows at its end.
pub struct Report<'a> {
    /// As it was read.
    pub tenant: &'a Tenant,
    /// None where it is not valid.
    pub valid: Option<&'a ValidTenant>,
    /// What was found, also on the way to a failure.
    pub converged: &'a Converged,
    /// How it went.
    pub outcome: Result<(), &'a Error>,
    /// Everything in its home namespace, the hand-made ones too.
    pub services: &'a [Arc<IntegrationService>],
    /// Its images, where they are counted.
    pub registry: Option<RegistryUsage>,
    /// What a transfer waits for that has not begun.
    pub transfer: Option<String>,
    /// How long the stages of a retirement are.
    pub periods: Periods,
}

impl<'a> Report<'a> {
    /// Of a pass that found nothing wrong, and did not look further.
    pub fn of(tenant: &'a Tenant, converged: &'a Converged, platform: &Platform) -> Self {
        Self {
            tenant,
            valid: None,
            converged,
            outcome: Ok(()),
            services: &[],
            registry: tenant.status.as_ref().and_then(|status| status.registry.clone()),
            transfer: transfer::waits(tenant, |source| platform.sources.named(source).is_some()),
            periods: platform.settings.retirement,
        }
    }
}

/// The status that follows; equal input gives an equal status, at any time.
pub fn status(report: &Report<'_>, now: Timestamp) -> TenantStatus {
    let Report { tenant, valid, converged, outcome, services, registry, transfer: _, periods: _ } = report;
    let old = tenant.status.clone().unwrap_or_default();
    let mut claims = match outcome {
        Ok(()) => wellness(tenant, *valid, converged),
        Err(error) => failure(error),
    }
    .claims();
    let in_sync = in_sync(report);
    if !in_sync.status {
        // Well or not: whoever looks at the table must see that it is not what Git says.
        for claim in claims.iter_mut().filter(|claim| claim.type_ == READY) {
            let room = LONGEST_PRINTED - "; ".len();
            let outdated = cut(&in_sync.message, room / 2);
            claim.message = format!("{}; {outdated}", cut(&claim.message, room - outdated.chars().count()));
        }
    }
    claims.push(in_sync);
    claims.extend(registry.as_ref().map(quota::claim));
    let generation = tenant.metadata.generation.unwrap_or_default();
    let ready = services.iter().filter(|service| is_true(conditions(service), READY)).count();
    TenantStatus {
        observed_generation: Some(generation),
        origin: Some(tenant.origin().to_owned()),
        environments: published(*valid, converged, old.environments),
        services_ready: Some(format!("{ready}/{}", services.len())),
        problems: problems(services),
        registry: registry.clone(),
        conditions: merge(&old.conditions, &claims, generation, now),
    }
}

fn wellness(tenant: &Tenant, valid: Option<&ValidTenant>, converged: &Converged) -> Wellness {
    let Converged { own: _, settling, left, ending, held: removal, cordoned, next: _ } = converged;
    let spaces = valid.map_or(0, |tenant| tenant.environments.len() + 1);
    if let Some(namespace) = settling.first() {
        let message =
            format!("{} of {spaces} namespaces are being set up, such as {namespace}", settling.len());
        return Wellness::Reconciling(Reason::Progressing, message);
    }
    if let Some(HeldParts { gone, of, names, confirmation }) = removal {
        let (name, other) = (tenant.name_any(), misconfirmed(tenant.annotations(), confirmation));
        let message = format!(
            "{gone} of {of} running services are gone at once, held and serving on: put the lines back, or, if it is meant, run `kubectl annotate tn {name} {CONFIRM_REMOVAL}={confirmation} --overwrite`{other}. No longer in the file: {}",
            first(names)
        );
        return Wellness::Stalled(Reason::RemovalHeld, message);
    }
    let unknown = valid.map_or(&[][..], |tenant| &tenant.unknown);
    if !unknown.is_empty() {
        let message = format!("{}; everything else goes on", Problems(unknown.to_vec()));
        return Wellness::Stalled(Reason::EnvironmentMissing, message);
    }
    let held = valid.map_or(&[][..], |tenant| &tenant.held);
    if let Some(first) = held.first() {
        let message = format!(
            "environment {} is not valid and {} stays as it is: the platform team sees why in the Environment's status",
            first.environment, first.namespace
        );
        return Wellness::Stalled(Reason::EnvironmentMissing, message);
    }
    if !cordoned.is_empty() {
        let message = format!(
            "cordoned: not created until spec.cordon is taken away: {}; the services that it has go on",
            first(cordoned)
        );
        return Wellness::Stalled(Reason::Cordoned, message);
    }
    let exceeding = valid.map_or(&[][..], |tenant| &tenant.exceeding);
    if !exceeding.is_empty() {
        let message = format!("{}; everything else goes on", Problems(exceeding.to_vec()));
        return Wellness::Stalled(Reason::QuotaTooLarge, message);
    }
    let mut told = vec![format!("{spaces} namespaces")];
    if tenant.spec.cordon {
        told.push("cordoned: it gets no other service until spec.cordon is taken away".to_owned());
    }
    told.extend(ending.iter().filter_map(told_ending));
    if !left.is_empty() {
        told.push(format!("left as it is, since there is no such Environment: {}", left.join(", ")));
    }
    Wellness::Ready(told.join("; "))
}

/// What becomes of an environment, and how to undo it.
fn told_ending(ending: &Ending) -> Option<String> {
    let Ending { environment, namespace, retirement } = ending;
    let Retirement { stage, until } = retirement.as_ref()?;
    Some(match stage {
        RetirementStage::Orphaned => format!(
            "{namespace} serves until {until} and is then scaled to zero: the tenant is no longer in {environment}; to keep it, put its lines back"
        ),
        RetirementStage::Retiring => format!(
            "{namespace} is scaled to zero and removed after {until}: the tenant is no longer in {environment}; to keep it, put its lines back"
        ),
    })
}

/// The first ten.
fn first(names: &[String]) -> String {
    let listed = names.iter().take(PROBLEMS).map(String::as_str).collect::<Vec<_>>().join(", ");
    if names.len() > PROBLEMS { format!("{listed} and {} more", names.len() - PROBLEMS) } else { listed }
}

fn failure(error: &Error) -> Wellness {
    let (reason, message) = (error.reason(), error.to_string());
    match (error.retry(), reason) {
        (Retry::Never, _) | (_, Reason::NamespaceForeign | Reason::PoliciesMissing) => {
            Wellness::Stalled(reason, message)
        }
        (Retry::After(_) | Retry::Backoff, _) => Wellness::Reconciling(reason, message),
    }
}

fn in_sync(report: &Report<'_>) -> Claim {
    let Report { tenant, transfer, periods, .. } = report;
    let (status, reason, message) = if let Some(problem) = tenant.annotations().get(names::SOURCE_PROBLEM) {
        (false, Reason::InvalidFile, format!("file not applied: {problem}"))
    } else if let Some(waits) = transfer {
        (false, Reason::OriginConflict, format!("not handed over: {waits}"))
    } else if let Some(left) = Left::of(tenant.annotations()) {
        let (reason, message) = gone(tenant, &left, periods);
        (false, reason, message)
    } else if let Some(commit) = tenant.annotations().get(names::REMOVAL_HELD) {
        let message = format!(
            "no longer in Git since commit {}, held and serving on: put its file back, or, if it is meant, confirm as the condition Stalled of TenantSource {} says",
            short(commit),
            tenant.origin()
        );
        (false, Reason::RemovalHeld, message)
    } else if tenant.origin() == names::MANUAL {
        (true, Reason::Succeeded, "it was applied by hand".to_owned())
    } else {
        (true, Reason::Succeeded, "it is as its file says".to_owned())
    };
    Claim { type_: IN_SYNC, status, reason, message }
}

/// Where its retirement stands, and how to undo it.
fn gone(tenant: &Tenant, left: &Left, periods: &Periods) -> (Reason, String) {
    let Retirement { stage, until } = left.retirement(periods);
    let (reason, then) = match (stage, tenant.spec.suspend) {
        (RetirementStage::Orphaned, false) => {
            (Reason::Orphaned, format!("serves until {until} and is then scaled to zero"))
        }
        (RetirementStage::Orphaned, true) => {
            (Reason::Orphaned, "suspended, so it serves until spec.suspend is taken away".to_owned())
        }
        (RetirementStage::Retiring, false) => {
            (Reason::Retiring, format!("scaled to zero, and removed after {until}"))
        }
        (RetirementStage::Retiring, true) => {
            (Reason::Retiring, "suspended, so it is not removed until spec.suspend is taken away".to_owned())
        }
    };
    let by = match left.by.split_once(' ') {
        Some(("commit", hash)) => format!("commit {}", short(hash)),
        _ => left.by.clone(),
    };
    (reason, format!("no longer in Git since {by}; {then}: put its file back to keep it"))
}

/// A commit, as long as a reader needs it.
fn short(hash: &str) -> &str {
    hash.char_indices().nth(SHORT_HASH).map_or(hash, |(end, _)| &hash[..end])
}

/// Services are run in what stands here, so only what is known to be this tenant's own; what could not be told this
/// time is as it was.
fn published(
    valid: Option<&ValidTenant>,
    converged: &Converged,
    old: Vec<TenantEnvironment>,
) -> Vec<TenantEnvironment> {
    let Some(valid) = valid else {
        return old.into_iter().filter(|e| converged.own.get(&e.namespace) != Some(&false)).collect();
    };
    let was_own: BTreeSet<_> = old.iter().map(|environment| environment.namespace.clone()).collect();
    let mut published = environments(valid);
    published.retain(|e| converged.own.get(&e.namespace).copied().unwrap_or(was_own.contains(&e.namespace)));
    let before = |namespace: &str| old.iter().find(|e| e.namespace == namespace);
    published.extend(converged.ending.iter().map(|ending| TenantEnvironment {
        name: ending.environment.clone(),
        namespace: ending.namespace.clone(),
        promotes_from: before(&ending.namespace).and_then(|e| e.promotes_from.clone()),
        retirement: ending.retirement.clone(),
    }));
    // A retirement whose Environment went meanwhile stands still.
    let still = |e: &&TenantEnvironment| e.retirement.is_some() && converged.left.contains(&e.namespace);
    published.extend(old.iter().filter(still).cloned());
    published
}

/// In promotion order, those that are held at the end.
fn environments(tenant: &ValidTenant) -> Vec<TenantEnvironment> {
    let usable =
        tenant.environments.iter().map(|space| (&space.environment, &space.namespace, &space.promotes_from));
    let held = tenant.held.iter().map(|held| (&held.environment, &held.namespace, &held.promotes_from));
    usable
        .chain(held)
        .map(|(name, namespace, promotes_from)| TenantEnvironment {
            name: name.clone(),
            namespace: namespace.clone(),
            promotes_from: promotes_from.clone(),
            retirement: None,
        })
        .collect()
}

/// `service: message` of those that are not ready, by name.
fn problems(services: &[Arc<IntegrationService>]) -> Vec<String> {
    let mut problems: Vec<String> = services
        .iter()
        .filter_map(|service| {
            let ready = conditions(service).iter().find(|condition| condition.type_ == READY)?;
            (ready.status != "True").then(|| {
                let told = if ready.message.is_empty() { &ready.reason } else { &ready.message };
                format!("{}: {told}", service.name_any())
            })
        })
        .collect();
    problems.sort();
    problems.truncate(PROBLEMS);
    problems
}

fn conditions(service: &IntegrationService) -> &[Condition] {
    service.status.as_ref().map_or(&[], |status| &status.conditions)
}

#[cfg(test)]
mod tests;
