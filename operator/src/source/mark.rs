//! What a Tenant is told by annotations, as its source finds it in Git. Pure. The source is the only writer of these marks,
//! and writes them as changes of the object as it is: the spec of a Tenant whose file is gone or broken is never written.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use kube::ResourceExt;
use serde_json::{Value, json};

use crate::{
    api::Tenant,
    names::{ORPHANED, ORPHANED_BY, REMOVAL_HELD, RETIRING, SOURCE_PROBLEM},
    retirement::{Left, Periods, Progress},
};

/// What a Tenant is to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mark {
    /// Nothing: it is what its file says.
    None,
    /// Its file is broken: what is wrong.
    Problem(String),
    /// Git no longer has it: since which commit, if it was not said before.
    Gone(String),
    /// The same, and its removal waits for a confirmation: no stage of its retirement begins.
    Held(String),
}

/// When a mark is written.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// How long the stages are.
    pub periods: Periods,
    /// Now.
    pub now: Timestamp,
}

impl Clock {
    /// Where the retirement of `tenant` stands, if it is in one. A stop button stops this too.
    pub fn left(&self, tenant: &Tenant, commit: &str) -> Left {
        let left = Left::of(tenant.annotations());
        let left = left.unwrap_or_else(|| Left::now(self.now, format!("commit {commit}")));
        if tenant.spec.suspend { left } else { left.advance(&self.periods, self.now) }
    }

    /// Is every stage of it over?
    pub fn is_due(&self, tenant: &Tenant) -> bool {
        let left = Left::of(tenant.annotations());
        let is_over = |left: Left| left.progress(&self.periods, self.now) == Progress::Due;
        !tenant.spec.suspend && left.is_some_and(is_over)
    }

    /// How long until something of `orphans` goes on; nothing where there are none.
    pub fn next(&self, existing: &[Arc<Tenant>], orphans: &[String], commit: &str) -> Option<Duration> {
        let is_orphan = |tenant: &&Arc<Tenant>| orphans.contains(&tenant.name_any()) && !tenant.spec.suspend;
        let orphans = existing.iter().filter(is_orphan);
        orphans.map(|tenant| self.left(tenant, commit).wait(&self.periods, self.now)).min()
    }

    /// What makes the annotations of `tenant` say `mark`; nothing where they do, or where it is not `source`'s.
    pub fn change(&self, tenant: &Tenant, source: &str, mark: &Mark) -> Option<Value> {
        if tenant.origin() != source || tenant.metadata.deletion_timestamp.is_some() {
            return None;
        }
        let mut wanted = BTreeMap::new();
        match mark {
            Mark::None => {}
            Mark::Problem(problem) => drop(wanted.insert(SOURCE_PROBLEM.to_owned(), problem.clone())),
            Mark::Gone(commit) => self.left(tenant, commit).mark(&mut wanted),
            Mark::Held(commit) => {
                let before = tenant.annotations().get(REMOVAL_HELD);
                wanted.insert(REMOVAL_HELD.to_owned(), before.unwrap_or(commit).clone());
            }
        }
        let changed: BTreeMap<_, _> = [ORPHANED, ORPHANED_BY, RETIRING, REMOVAL_HELD, SOURCE_PROBLEM]
            .into_iter()
            .filter(|key| tenant.annotations().get(*key) != wanted.get(*key))
            .map(|key| (key, wanted.get(key)))
            .collect();
        (!changed.is_empty()).then(|| json!({ "metadata": { "annotations": changed } }))
    }
}
