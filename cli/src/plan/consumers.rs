//! Who uses what a plan ends or closes. Pure. The cluster knows what runs and what that uses; of files alone only `exportTo` tells.

use std::collections::{BTreeMap, BTreeSet};

use imaas_operator::{
    api::{IntegrationService, Release, Tenant},
    names::tenant_of_home,
};
use kube::ResourceExt;

use super::{
    difference::{Action, Change, TenantPlan},
    items::Kind,
};
use crate::output::plain;

/// Tenant and name of a service.
type Name = (String, String);

/// Consumers by what they use, and in which environments; in none where that is not known.
#[derive(Debug, Default)]
pub struct Consumers {
    by_provider: BTreeMap<Name, BTreeMap<Name, BTreeSet<String>>>,
    /// Does something of them run, for all that is known?
    is_seen: bool,
}

impl Consumers {
    /// What the releases use that run or are about to.
    pub fn running(services: &[IntegrationService], releases: &[Release]) -> Self {
        let named = |release: &Release| Some((release.namespace()?, release.name_any()));
        let releases: BTreeMap<_, _> =
            releases.iter().filter_map(|release| Some((named(release)?, release))).collect();
        let mut consumers = Self { is_seen: true, ..Self::default() };
        for service in services {
            let Some(home) = service.namespace() else { continue };
            let Some(tenant) = tenant_of_home(&home) else { continue };
            let states = service.status.iter().flat_map(|status| &status.environments);
            let these = states.flat_map(|state| state.current.iter().chain(&state.candidate));
            for release in these.filter_map(|name| releases.get(&(home.clone(), name.clone()))) {
                for used in &release.spec.uses {
                    let provider = used.tenant.as_deref().unwrap_or(tenant);
                    consumers
                        .of((provider, &used.service), (tenant, &service.name_any()))
                        .insert(release.spec.environment.clone());
                }
            }
        }
        consumers
    }

    /// Whom the services of `tenants` are exported to, and who may therefore use them.
    pub fn exported<'a>(tenants: impl Iterator<Item = &'a Tenant>) -> Self {
        let mut consumers = Self::default();
        for tenant in tenants {
            for entry in &tenant.spec.services {
                for to in &entry.spec.export_to {
                    consumers.of((&tenant.name_any(), &entry.name), (&to.tenant, &to.service));
                }
            }
        }
        consumers
    }

    fn of(&mut self, provider: (&str, &str), consumer: (&str, &str)) -> &mut BTreeSet<String> {
        let owned = |(tenant, service): (&str, &str)| (tenant.to_owned(), service.to_owned());
        self.by_provider.entry(owned(provider)).or_default().entry(owned(consumer)).or_default()
    }
}

/// Tenants by name, before and after.
pub struct Sides<'a> {
    /// As they are.
    pub was: &'a BTreeMap<String, &'a Tenant>,
    /// As the files say.
    pub now: &'a BTreeMap<String, &'a Tenant>,
}

/// One sentence for each provider that a plan takes from somebody.
pub fn losses(consumers: &Consumers, plans: &[TenantPlan], sides: &Sides<'_>) -> Vec<String> {
    let ending = ending(plans, sides);
    let stays = |consumer: &Name| !ending.contains(&(consumer.clone(), None)) && may_be(consumer, sides.now);
    let of = |provider: &Name, is_concerned: &dyn Fn(&Name, &BTreeSet<String>) -> bool| {
        let known = consumers.by_provider.get(provider).into_iter().flatten();
        let lost = known.filter(|(consumer, within)| stays(consumer) && is_concerned(consumer, within));
        Some(lost.collect::<Vec<_>>()).filter(|lost| !lost.is_empty())
    };
    let retiring = ending.iter().filter_map(|(provider, environment)| {
        let is_there = |within: &BTreeSet<String>| {
            environment.as_ref().is_none_or(|one| within.is_empty() || within.contains(one))
        };
        let lost = of(provider, &|_, within| is_there(within))?;
        let from = environment.as_ref().map(|name| format!(" from {}", plain(name))).unwrap_or_default();
        let how = if consumers.is_seen { "is used by" } else { "is exported to" };
        Some(format!(
            "{} retires{from}, and {how} {}: calls to it fail when it is scaled to zero. Tell {} before.",
            shown(provider),
            names(&lost),
            owners(&lost, sides)
        ))
    });
    let closing = closed(sides).into_iter().filter_map(|(provider, to)| {
        let lost = of(&provider, &|consumer, _| to.contains(consumer))?;
        let how = if consumers.is_seen { "which uses it" } else { "which may use it" };
        Some(format!(
            "{} is exported no longer to {}, {how}: the way is closed at once, and nothing that uses it is rolled out. Tell {} before.",
            shown(&provider),
            names(&lost),
            owners(&lost, sides)
        ))
    });
    retiring.chain(closing).collect()
}

/// Services that end, everywhere or in one environment that their tenant leaves.
fn ending(plans: &[TenantPlan], sides: &Sides<'_>) -> BTreeSet<(Name, Option<String>)> {
    let mut ending = BTreeSet::new();
    for plan in plans {
        let ends =
            plan.changes.iter().filter(|change| matches!(change.action, Action::Retire | Action::Hold));
        let (services, others): (Vec<_>, Vec<_>) = ends.partition(|change| change.kind == Kind::Service);
        ending.extend(services.iter().map(|change| ((plan.name.clone(), change.name.clone()), None)));
        let Some(was) = sides.was.get(&plan.name).filter(|_| plan.action == Action::Change) else { continue };
        let left =
            |change: &&Change| Some(change.name.strip_prefix(&plan.name)?.strip_prefix('-')?.to_owned());
        for environment in others.iter().filter(|change| change.kind == Kind::Namespace).filter_map(left) {
            let stay = was.spec.services.iter().map(|entry| (plan.name.clone(), entry.name.clone()));
            let stay: Vec<_> = stay.filter(|service| !ending.contains(&(service.clone(), None))).collect();
            ending.extend(stay.into_iter().map(|service| (service, Some(environment.clone()))));
        }
    }
    ending
}

/// Services that stay, and to whom they are exported no longer.
fn closed(sides: &Sides<'_>) -> Vec<(Name, BTreeSet<Name>)> {
    let mut closed = Vec::new();
    for (tenant, was) in sides.was {
        let after = sides.now.get(tenant).into_iter().flat_map(|now| &now.spec.services);
        for now in after {
            let Some(was) = was.spec.services.iter().find(|entry| entry.name == now.name) else { continue };
            let gone = was.spec.export_to.iter().filter(|to| !now.spec.export_to.contains(to));
            let gone = gone.map(|to| (to.tenant.clone(), to.service.clone())).collect();
            closed.push(((tenant.clone(), now.name.clone()), gone));
        }
    }
    closed
}

/// Is this service in the files, or the tenant in none of them?
fn may_be((tenant, service): &Name, now: &BTreeMap<String, &Tenant>) -> bool {
    now.get(tenant).is_none_or(|tenant| tenant.lists(service))
}

fn shown((tenant, service): &Name) -> String {
    format!("{}/{}", plain(tenant), plain(service))
}

fn names(lost: &[(&Name, &BTreeSet<String>)]) -> String {
    let one = |(consumer, within): &(&Name, &BTreeSet<String>)| {
        let within: Vec<_> = within.iter().map(|name| plain(name)).collect();
        let within = if within.is_empty() { String::new() } else { format!(" (in {})", within.join(", ")) };
        format!("{}{within}", shown(consumer))
    };
    lost.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// Whom to tell, with how they are reached.
fn owners(lost: &[(&Name, &BTreeSet<String>)], sides: &Sides<'_>) -> String {
    let tenants: BTreeSet<&String> = lost.iter().map(|((tenant, _), _)| tenant).collect();
    let one = |name: &&String| {
        let tenant = sides.now.get(*name).or_else(|| sides.was.get(*name));
        let contact = tenant.and_then(|tenant| tenant.spec.contact.as_ref());
        let contact = contact.map(|contact| format!(" ({})", plain(contact))).unwrap_or_default();
        format!("{}{contact}", plain(name))
    };
    tenants.iter().map(one).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
