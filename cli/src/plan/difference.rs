//! What is, beside what is to be: the plan. Pure. Which tenant is applied, kept, gone or refused is the operator's own plan; here it
//! is told with all that it means.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use imaas_operator::{
    api::{Environment, Tenant, TenantSpec},
    environment,
    names::{CONFIRM_REMOVAL, MANUAL, ORPHANED},
    source::plan as operators,
    tenant::{
        retire::{Part, held},
        validate::{ValidTenant, validate},
    },
};
use kube::ResourceExt;
use serde::Serialize;

use super::{
    consumers::{self, Consumers, losses},
    items::{Item, Kind, items},
    kept::Kept,
    rename::renames,
    retirement, skipped,
};
use crate::{
    check::{Examined, Told},
    consumers::Absent,
    output::plain,
    platform::Platform,
};

/// What happens to something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Action {
    /// It comes.
    Create,
    /// It changes in place.
    Change,
    /// It was to go, and stays.
    Return,
    /// It goes at once.
    Remove,
    /// It goes by the stages of retirement.
    Retire,
    /// Nothing happens to it until somebody acts.
    Hold,
}

/// What is told about a change, and to programs.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// With what the files were compared.
    pub against: String,
    /// Its commit, where it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// Tenants by what happens to them.
    pub summary: Summary,
    /// What a reviewer must not miss.
    pub warnings: Vec<String>,
    /// Those to which something happens, by name.
    pub tenants: Vec<TenantPlan>,
    /// What was left out, or may mislead.
    pub notes: Vec<String>,
}

/// Counts of tenants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// New ones.
    pub create: usize,
    /// Changed ones.
    pub change: usize,
    /// Those that are gone.
    pub retire: usize,
    /// Those of which all or a part waits for somebody.
    pub hold: usize,
    /// The others.
    pub unchanged: usize,
}

/// One tenant.
#[derive(Debug, Serialize)]
pub struct TenantPlan {
    /// Its name.
    pub name: String,
    /// What happens to it as a whole.
    pub action: Action,
    /// Sentences for the reader.
    pub told: Vec<String>,
    /// What changes in it.
    pub changes: Vec<Change>,
    /// What is wrong with its file.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<Told>,
}

/// One thing that changes.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// What happens to it.
    pub action: Action,
    /// What it is.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// What differs.
    pub fields: Vec<Field>,
}

/// One difference.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// As it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// As it is to be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

/// What is.
#[derive(Debug)]
pub struct Before<'a> {
    /// All Tenants, of whatever origin.
    pub existing: &'a [Arc<Tenant>],
    /// The origin of those that the files decide about.
    pub source: &'a str,
    /// What somebody confirmed at that origin.
    pub confirmed: Option<&'a str>,
    /// Is `source` the name of a TenantSource, and not a word for the repository?
    pub is_named: bool,
    /// Who uses what.
    pub consumers: &'a Consumers,
    /// What is there beside what the Tenants say.
    pub kept: &'a Kept,
}

impl Plan {
    /// Does something wait for somebody?
    pub fn holds(&self) -> bool {
        self.summary.hold > 0
    }

    /// The part about these tenants.
    pub fn of(mut self, names: &BTreeSet<String>) -> Self {
        let all = std::mem::take(&mut self.tenants);
        self.summary = Summary::default();
        all.into_iter().filter(|tenant| names.contains(&tenant.name)).for_each(|tenant| self.add(tenant));
        self.summary.unchanged = names.len() - self.tenants.len();
        self
    }
}

/// The plan. `path` makes a path of a tenant file's name.
pub fn difference(
    before: &Before<'_>,
    after: &Examined,
    platform: &Platform,
    path: impl Fn(&str) -> String,
) -> Plan {
    let Before { existing, source, confirmed, is_named, consumers, kept } = *before;
    let own: BTreeMap<String, &Tenant> = existing
        .iter()
        .filter(|tenant| tenant.origin() == source)
        .map(|tenant| (tenant.name_any(), tenant.as_ref()))
        .collect();
    let planned = operators::Before { confirmed, ..operators::Before::new(source, existing) };
    let sides = Sides {
        operators: operators::plan(&planned, &after.checked),
        stages: environment::check(&platform.assuming(own.values().copied()).environments),
        knows_environments: platform.knows_environments(),
        after,
        own,
        kept,
    };
    let files = after.checked.valid.keys().chain(after.checked.broken.keys());
    let names: BTreeSet<&String> = sides.own.keys().chain(files).collect();
    let mut plan = Plan::default();
    for name in names {
        match sides.tenant(name, &path) {
            Some(tenant) => plan.add(tenant),
            None => plan.summary.unchanged += 1,
        }
    }
    if let Some(held) = &sides.operators.held {
        plan.warnings.push(retirement::held_tenants(held, sides.own.len(), is_named.then_some(source)));
    }
    plan.warnings.extend(sides.skipped(&plan.tenants, &platform.environments));
    let told = after.told_absent(|absent| sides.is_new(absent, existing), &path);
    plan.warnings.extend(told.iter().map(sentence));
    let strays = after.strays(&path);
    plan.warnings.extend(strays.iter().map(sentence));
    let now = after.checked.valid.iter().map(|(name, now)| (name.clone(), now)).collect();
    // A tenant whose file cannot be read is not gone.
    let is_read = |name: &String| !after.checked.broken.contains_key(name);
    let was = sides.own.into_iter().filter(|(name, _)| is_read(name)).collect();
    plan.warnings.extend(renames(&was, &now));
    let sides = consumers::Sides { was: &was, now: &now };
    plan.warnings.extend(losses(consumers, &plan.tenants, &sides));
    plan
}

fn sentence(told: &Told) -> String {
    format!("{}: {}", told.place(), told.sentence())
}

/// Both sides, and the operator's plan between them.
struct Sides<'a> {
    own: BTreeMap<String, &'a Tenant>,
    after: &'a Examined,
    operators: operators::Plan,
    stages: environment::Checked,
    knows_environments: bool,
    kept: &'a Kept,
}

impl Sides<'_> {
    /// What happens to one tenant; nothing where it stays as it is.
    fn tenant(&self, name: &String, path: impl Fn(&str) -> String) -> Option<TenantPlan> {
        let was = self.own.get(name).copied();
        if let Some((_, of)) = self.operators.conflict.iter().find(|(taken, _)| taken == name) {
            return Some(taken(name, of));
        }
        if self.after.checked.broken.contains_key(name) {
            return Some(broken(name, was.is_some(), self.after.told_of(name, path)));
        }
        let is_held = self.operators.held.as_ref().is_some_and(|held| held.tenants.contains(name));
        if let Some(was) = was.filter(|_| is_held || self.operators.orphan.contains(name)) {
            return Some(gone(was, self.space(was).as_ref(), is_held));
        }
        let now = self.after.checked.valid.get(name)?;
        let now_space = self.after.valid.get(name).filter(|_| self.knows_environments);
        let was = was.map(|was| (was, self.space(was)));
        let mut plan = changed(was.as_ref(), (now, now_space))?;
        self.kept.tell(&mut plan);
        Some(plan)
    }

    /// What the tenants that are made or changed no longer ask of an image. One that is new is seen beside one that says nothing.
    fn skipped(&self, plans: &[TenantPlan], environments: &[Environment]) -> Vec<String> {
        let of_one = |plan: &TenantPlan| {
            let now = self.after.valid.get(&plan.name).filter(|_| self.knows_environments)?;
            let plain = Tenant::new(&plan.name, TenantSpec::default());
            let was = self.space(self.own.get(&plan.name).copied().unwrap_or(&plain))?;
            Some(skipped::skipped(&was, now, environments))
        };
        let plans = plans.iter().filter(|plan| matches!(plan.action, Action::Create | Action::Change));
        plans.filter_map(of_one).flatten().collect()
    }

    /// Is this export for nobody, and was it not so before? A consumer of another origin is somebody.
    fn is_new(&self, Absent { tenant, service, export, .. }: &Absent, existing: &[Arc<Tenant>]) -> bool {
        let is_foreign = |name: &str| !self.own.contains_key(name);
        let mut elsewhere = existing.iter().filter(|other| is_foreign(&other.name_any()));
        if elsewhere.any(|other| other.name_any() == export.tenant && other.lists(&export.service)) {
            return false;
        }
        let mut was = self.own.get(tenant).into_iter().flat_map(|was| &was.spec.services);
        let was_exported = was.any(|entry| entry.name == *service && entry.spec.export_to.contains(export));
        let was_used = self.own.get(&export.tenant).is_some_and(|consumer| consumer.lists(&export.service));
        !was_exported || was_used
    }

    /// What the platform makes of a tenant as it is.
    fn space(&self, tenant: &Tenant) -> Option<ValidTenant> {
        self.knows_environments.then(|| validate(tenant, &self.stages).ok()).flatten()
    }
}

impl Plan {
    fn add(&mut self, tenant: TenantPlan) {
        let summary = &mut self.summary;
        match tenant.action {
            Action::Create => summary.create += 1,
            Action::Change | Action::Return | Action::Remove => summary.change += 1,
            Action::Retire => summary.retire += 1,
            Action::Hold => {}
        }
        let holds = |change: &Change| change.action == Action::Hold;
        if tenant.action == Action::Hold || tenant.changes.iter().any(holds) {
            summary.hold += 1;
        }
        self.tenants.push(tenant);
    }
}

fn taken(name: &str, origin: &str) -> TenantPlan {
    let by = if origin == MANUAL {
        "A Tenant of this name was applied by hand".to_owned()
    } else {
        format!("A Tenant of this name comes from TenantSource {}", plain(origin))
    };
    let told = vec![format!("{by}, and is not touched: choose another name, or remove that one first.")];
    TenantPlan {
        name: name.to_owned(),
        action: Action::Hold,
        told,
        changes: Vec::new(),
        problems: Vec::new(),
    }
}

fn broken(name: &str, is_there: bool, problems: Vec<Told>) -> TenantPlan {
    let told = if is_there {
        "Its file is invalid, so it keeps what it has and gets nothing of this change."
    } else {
        "Its file is invalid, so it is not created."
    };
    let told = vec![told.to_owned()];
    TenantPlan { name: name.to_owned(), action: Action::Hold, told, changes: Vec::new(), problems }
}

fn gone(was: &Tenant, space: Option<&ValidTenant>, is_held: bool) -> TenantPlan {
    let action = if is_held { Action::Hold } else { Action::Retire };
    let goes = |item: &Item| matches!(item.kind, Kind::Namespace | Kind::Service);
    let changes = items(was, space).into_iter().filter(goes).map(|item| Change {
        action,
        kind: item.kind,
        name: item.name,
        fields: Vec::new(),
    });
    let told = if is_held { retirement::HELD.to_owned() } else { retirement::tenant() };
    let already = was.annotations().get(ORPHANED).map(|since| retirement::already(&plain(since)));
    let told = [told].into_iter().chain(already).collect();
    TenantPlan { name: was.name_any(), action, told, changes: changes.collect(), problems: Vec::new() }
}

/// A tenant that the files say, beside what it is; nothing where that is the same.
fn changed(
    was: Option<&(&Tenant, Option<ValidTenant>)>,
    (now, now_space): (&Tenant, Option<&ValidTenant>),
) -> Option<TenantPlan> {
    let old = was.map(|(was, space)| items(was, space.as_ref())).unwrap_or_default();
    let new = items(now, now_space);
    let mut changes = changes(&old, &new);
    let mut told = Vec::new();
    if let Some((was, space)) = was {
        let confirmed = was.annotations().get(CONFIRM_REMOVAL).map(String::as_str);
        let stages = stages(space.as_ref(), now_space);
        if let Some(held) = held(&services(was, now), &stages, confirmed) {
            changes
                .iter_mut()
                .filter(|change| change.action == Action::Retire)
                .for_each(|change| change.action = Action::Hold);
            told.push(retirement::held_services(&was.name_any(), &held, space.is_some()));
        } else if changes.iter().any(|change| change.action == Action::Retire) {
            told.push(retirement::part());
        }
        if was.annotations().contains_key(ORPHANED) {
            told.push(retirement::BACK.to_owned());
        }
        if changes.is_empty() && told.is_empty() {
            return None;
        }
    }
    let action = if was.is_some() { Action::Change } else { Action::Create };
    Some(TenantPlan { name: now.name_any(), action, told, changes, problems: Vec::new() })
}

/// The services that it has, and which of them go.
fn services(was: &Tenant, now: &Tenant) -> Vec<Part> {
    let stays = |name: &String| now.spec.services.iter().any(|entry| entry.name == *name);
    let part = |name: &String| Part { name: name.clone(), is_gone: !stays(name), is_marked: false };
    was.spec.services.iter().map(|entry| part(&entry.name)).collect()
}

/// The environments that it is in, and which of them it leaves; where these are not known, one for all.
fn stages(was: Option<&ValidTenant>, now: Option<&ValidTenant>) -> Vec<Part> {
    let part = |name: &str, is_gone| Part { name: name.to_owned(), is_gone, is_marked: false };
    let Some(was) = was else { return vec![part("", false)] };
    let is_in = |now: &ValidTenant, name: &str| {
        now.environments.iter().any(|one| one.environment == name)
            || now.held.iter().any(|one| one.environment == name)
    };
    let stages = was.environments.iter().map(|one| one.environment.as_str());
    stages.map(|name| part(name, now.is_some_and(|now| !is_in(now, name)))).collect()
}

fn changes(old: &[Item], new: &[Item]) -> Vec<Change> {
    let twin = |among: &[Item], item: &Item| {
        among.iter().find(|other| other.kind == item.kind && other.name == item.name).cloned()
    };
    let mut changes = Vec::new();
    for item in new {
        let (action, before) = match twin(old, item) {
            Some(before) if before == *item => continue,
            Some(before) => (Action::Change, before.fields),
            None => (Action::Create, Vec::new()),
        };
        changes.push(Change {
            action,
            kind: item.kind,
            name: item.name.clone(),
            fields: fields(&before, &item.fields),
        });
    }
    for item in old.iter().filter(|item| twin(new, item).is_none()) {
        let action = match item.kind {
            Kind::Namespace | Kind::Service => Action::Retire,
            Kind::Contact | Kind::Stop | Kind::Registry | Kind::Environment | Kind::Limit | Kind::Member => {
                Action::Remove
            }
        };
        changes.push(Change { action, kind: item.kind, name: item.name.clone(), fields: Vec::new() });
    }
    changes.sort_by_key(|change| change.kind);
    changes
}

fn fields(before: &[(String, String)], after: &[(String, String)]) -> Vec<Field> {
    let value = |among: &[(String, String)], name: &str| {
        among.iter().find(|(other, _)| other == name).map(|(_, value)| value.clone())
    };
    let lost = before.iter().filter(|(name, _)| value(after, name).is_none());
    after
        .iter()
        .chain(lost)
        .map(|(name, _)| Field { name: name.clone(), before: value(before, name), after: value(after, name) })
        .filter(|field| field.before != field.after)
        .collect()
}
