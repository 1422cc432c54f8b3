//! What looks like a rename: gone under one name, new under another, of the same repository. Pure. There is no rename, so it is
//! told before it is merged.

use std::collections::BTreeMap;

use imaas_operator::api::Tenant;

use super::retirement;

/// A repository and the directory in it: what makes two services the same in the eyes of their authors.
type Origin<'a> = (&'a str, &'a str);

/// One sentence for each, of tenants first. Tenants are by name, before and after.
pub fn renames(before: &BTreeMap<String, &Tenant>, after: &BTreeMap<String, &Tenant>) -> Vec<String> {
    let gone = before.iter().filter(|(name, _)| !after.contains_key(*name));
    let mut tenants = BTreeMap::new();
    for (old, was) in gone {
        let is_new =
            |name: &&String| !before.contains_key(*name) && !tenants.values().any(|taken| taken == *name);
        let new = after.iter().filter(|(name, _)| is_new(name)).find(|(_, now)| is_same(was, now));
        if let Some((new, _)) = new {
            tenants.insert(old.as_str(), new.clone());
        }
    }
    let mut told: Vec<String> =
        tenants.iter().map(|(old, new)| retirement::renamed_tenant(old, new)).collect();
    for (old, was) in before {
        for entry in &was.spec.services {
            let kept = after.get(old).is_some_and(|now| named(now, &entry.name));
            let followed = tenants.get(old.as_str());
            if kept || followed.and_then(|new| after.get(new)).is_some_and(|now| named(now, &entry.name)) {
                continue;
            }
            let new = after.iter().find_map(|(tenant, now)| {
                let known = before.get(tenant);
                let is_new = |name: &str| !known.is_some_and(|was| named(was, name));
                let same = now.spec.services.iter().filter(|other| origin(other) == origin(entry));
                same.map(|other| other.name.as_str())
                    .find(|name| is_new(name))
                    .map(|name| format!("{tenant}/{name}"))
            });
            told.extend(new.map(|new| retirement::renamed_service(&format!("{old}/{}", entry.name), &new)));
        }
    }
    told
}

fn named(tenant: &Tenant, service: &str) -> bool {
    tenant.spec.services.iter().any(|entry| entry.name == service)
}

fn origin(entry: &imaas_operator::api::ServiceEntry) -> Origin<'_> {
    (entry.spec.repository.url.trim_end_matches('/'), entry.spec.path.as_deref().unwrap_or_default())
}

/// They share a service, or have none and are alike in everything.
fn is_same(was: &Tenant, now: &Tenant) -> bool {
    let shares = |entry| now.spec.services.iter().any(|other| origin(other) == origin(entry));
    was.spec.services.iter().any(shares)
        || (was.spec.services.is_empty() && !was.spec.members.is_empty() && was.spec == now.spec)
}
