//! What a commit says beside what the cluster has → what is to be applied, marked or taken over. Pure.
//!
//! There is no step that deletes. A tenant that is no longer in Git is marked, or held; one whose file is broken keeps what
//! it has; one of another origin is not touched.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use kube::ResourceExt;

use super::{
    check::Checked,
    held::{Doubt, Gone, Held},
    mark::Mark,
};
use crate::{
    api::Tenant,
    names::{MANAGED_BY, MANAGER, ORIGIN, ORPHANED},
};

/// The longest message in an annotation, in characters.
const MAX_MESSAGE: usize = 500;

/// What a commit is planned against.
#[derive(Clone, Debug)]
pub struct Before<'a> {
    /// Name of the source.
    pub source: &'a str,
    /// All Tenants of the cluster, of whatever origin.
    pub existing: &'a [Arc<Tenant>],
    /// Why nothing may be removed by this commit without a confirmation, beside how many it is.
    pub doubt: Option<Doubt>,
    /// What somebody confirmed.
    pub confirmed: Option<&'a str>,
}

impl<'a> Before<'a> {
    /// Nothing is doubted, and nothing is confirmed.
    pub fn new(source: &'a str, existing: &'a [Arc<Tenant>]) -> Self {
        Self { source, existing, doubt: None, confirmed: None }
    }
}

/// What one source does to the cluster.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// Tenants as Git says, in the order of their names.
    pub apply: Vec<Tenant>,
    /// Tenants that keep their last good state, and what is wrong with their file.
    pub broken: Vec<(String, String)>,
    /// Tenants that Git no longer has, and which bear the mark of it or are to.
    pub orphan: Vec<String>,
    /// Tenants that Git no longer has and that go to another origin instead.
    pub handed_over: Vec<String>,
    /// Tenants that Git no longer has and that wait for a confirmation.
    pub held: Option<Held>,
    /// Tenants in Git whose name is taken, and the origin that has it.
    pub conflict: Vec<(String, String)>,
}

/// Plans what `checked` does to what was before.
pub fn plan(before: &Before<'_>, checked: &Checked) -> Plan {
    let Before { source, existing, doubt, confirmed } = before;
    let existing: BTreeMap<String, &Tenant> =
        existing.iter().map(|tenant| (tenant.name_any(), tenant.as_ref())).collect();
    let foreign = |name: &String| {
        let is_foreign = |live: &&&Tenant| live.origin() != *source && live.transfer_to() != Some(source);
        existing.get(name).filter(is_foreign).map(|live| live.origin())
    };
    let own = || existing.iter().filter(|(_, live)| live.origin() == *source);
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
    plan.conflict.sort();
    let said: BTreeSet<_> = checked.valid.keys().chain(checked.broken.keys()).collect();
    let (mut marked, mut new) = (Vec::new(), Vec::new());
    // One that is being deleted is gone already.
    for (name, live) in own().filter(|(_, live)| live.metadata.deletion_timestamp.is_none()) {
        if said.contains(name) {
            continue;
        }
        let stays = live.transfer_to().is_some_and(|to| to != *source);
        match live.annotations().contains_key(ORPHANED) {
            _ if stays => plan.handed_over.push(name.clone()),
            true => marked.push(name.clone()),
            false => new.push(name.clone()),
        }
    }
    let gone = Gone { marked: &marked, new: &new, of: own().count(), is_all: said.is_empty() };
    plan.held = gone.held(doubt.clone(), *confirmed);
    plan.orphan = if plan.held.is_some() { marked } else { [marked, new].concat() };
    plan.orphan.sort();
    plan
}

impl Plan {
    /// How many tenants the source has after it.
    pub fn tenants(&self) -> usize {
        let held = self.held.as_ref().map_or(0, |held| held.tenants.len());
        self.apply.len() + self.broken.len() + self.orphan.len() + self.handed_over.len() + held
    }

    /// What the Tenants of this plan are told beside what is applied. `commit` is the one that was read.
    pub fn marks(&self, commit: &str) -> Vec<(String, Mark)> {
        let applied = self.apply.iter().map(ResourceExt::name_any);
        let none = applied.chain(self.handed_over.iter().cloned()).map(|name| (name, Mark::None));
        let broken = self.broken.iter().map(|(name, message)| (name.clone(), Mark::Problem(message.clone())));
        let gone = self.orphan.iter().map(|name| (name.clone(), Mark::Gone(commit.to_owned())));
        let held = self.held.iter().flat_map(|held| &held.tenants);
        let held = held.map(|name| (name.clone(), Mark::Held(commit.to_owned())));
        none.chain(broken).chain(gone).chain(held).collect()
    }
}

/// `tenant`'s spec as an object of `source`.
fn desired(source: &str, tenant: &Tenant) -> Tenant {
    let mut desired = Tenant::new(&tenant.name_any(), tenant.spec.clone());
    desired.labels_mut().insert(MANAGED_BY.to_owned(), MANAGER.to_owned());
    desired.annotations_mut().insert(ORIGIN.to_owned(), source.to_owned());
    desired
}

#[cfg(test)]
mod tests;
