//! What a commit says beside what the cluster has → what is to be applied. Pure.
//!
//! There is no step that deletes. A tenant that is no longer in Git is marked and serves on; one whose file is broken
//! keeps what it has; one of another origin is not touched.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use kube::ResourceExt;

use super::check::Checked;
use crate::{
    api::Tenant,
    names::{MANAGED_BY, MANAGER, ORIGIN, ORPHANED, SOURCE_PROBLEM},
    retirement::allowed_to_vanish,
};

/// The longest message in an annotation, in characters.
const MAX_MESSAGE: usize = 500;

/// What one source does to the cluster.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// Tenants as Git says, in the order of their names.
    pub apply: Vec<Tenant>,
    /// Tenants that keep their last good state, and what is wrong with their file.
    pub broken: Vec<(String, String)>,
    /// Tenants that Git no longer has.
    pub orphan: Vec<String>,
    /// Tenants in Git whose name is taken, and the origin that has it.
    pub conflict: Vec<(String, String)>,
    /// So many are gone at once that it is probably a mistake: all of them, or more than [`allowed_to_vanish`].
    pub too_many_gone: bool,
}

/// Plans for the source of this name. `existing` are all Tenants of the cluster, of whatever origin.
pub fn plan(source: &str, checked: &Checked, existing: &[Arc<Tenant>]) -> Plan {
    let existing: BTreeMap<String, &Tenant> =
        existing.iter().map(|tenant| (tenant.name_any(), tenant.as_ref())).collect();
    let foreign =
        |name: &String| existing.get(name).map(|live| live.origin()).filter(|origin| *origin != source);
    let mut plan = Plan::default();
    for (name, tenant) in &checked.valid {
        match foreign(name) {
            Some(origin) => plan.conflict.push((name.clone(), origin.to_owned())),
            None => plan.apply.push(desired(source, tenant)),
        }
    }
    for (name, problems) in &checked.broken {
        if let Some(origin) = foreign(name) {
            plan.conflict.push((name.clone(), origin.to_owned()));
        } else if existing.contains_key(name) {
            let mut message = problems.first().map(ToString::to_string).unwrap_or_default();
            if problems.len() > 1 {
                message = format!("{message} (and {} more)", problems.len() - 1);
            }
            plan.broken.push((name.clone(), message.chars().take(MAX_MESSAGE).collect()));
        }
    }
    let said: BTreeSet<_> = checked.valid.keys().chain(checked.broken.keys()).collect();
    plan.orphan = existing
        .iter()
        .filter(|(name, live)| live.origin() == source && !said.contains(name))
        .map(|(name, _)| name.clone())
        .collect();
    plan.conflict.sort();
    let owned = existing.values().filter(|live| live.origin() == source).count();
    let all_gone = said.is_empty() && !plan.orphan.is_empty();
    plan.too_many_gone = all_gone || plan.orphan.len() > allowed_to_vanish(owned);
    plan
}

impl Plan {
    /// Every object that this plan writes, as it is wanted. `commit` is the one that was read.
    pub fn desired(&self, source: &str, commit: &str, existing: &[Arc<Tenant>]) -> Vec<Tenant> {
        let live: BTreeMap<String, &Tenant> =
            existing.iter().map(|tenant| (tenant.name_any(), tenant.as_ref())).collect();
        let kept = |name: &str, annotation: &str, value: String| {
            live.get(name).map(|live| {
                let mut tenant = desired(source, live);
                tenant.annotations_mut().insert(annotation.to_owned(), value);
                tenant
            })
        };
        let broken =
            self.broken.iter().filter_map(|(name, message)| kept(name, SOURCE_PROBLEM, message.clone()));
        let orphaned = self.orphan.iter().filter_map(|name| {
            // Since when, so the first commit without it stays.
            let since = live.get(name).and_then(|live| live.annotations().get(ORPHANED).cloned());
            kept(name, ORPHANED, since.unwrap_or_else(|| commit.to_owned()))
        });
        self.apply.iter().cloned().chain(broken).chain(orphaned).collect()
    }
}

/// `tenant`'s spec as an object of `source`, without a mark.
fn desired(source: &str, tenant: &Tenant) -> Tenant {
    let mut desired = Tenant::new(&tenant.name_any(), tenant.spec.clone());
    desired.labels_mut().insert(MANAGED_BY.to_owned(), MANAGER.to_owned());
    desired.annotations_mut().insert(ORIGIN.to_owned(), source.to_owned());
    desired
}
