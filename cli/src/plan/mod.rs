//! `plan`: what a change of tenant files would do.
//!
//! ```text
//! working tree -> check \
//!                        difference (with items, rename, consumers, skipped, retirement) -> render
//! Git or the cluster    /
//! ```

mod consumers;
mod difference;
mod items;
mod kept;
mod rename;
mod render;
mod retirement;
mod skipped;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use anyhow::{Result, bail};
use imaas_operator::{
    api::{Tenant, TenantSource, TenantSpec},
    names::{CONFIRM_REMOVAL, MANUAL},
    source::{parse::ENDING, plan as operators},
};
use kube::ResourceExt;

use crate::{
    Outcome,
    args::{self, PlanOutput},
    around,
    check::{Examined, examine},
    cluster::{self, Live},
    history::{Base, Clone},
    output::{self, Style},
    platform::Platform,
    stray,
    subject::{self, Subject, Tenants, shown},
    working,
};
use consumers::Consumers;
use difference::{Before, Plan, TenantPlan, difference};
use kept::Kept;

/// What `--against` says for the cluster.
const CLUSTER: &str = "cluster";
/// Stands for the TenantSource, where only Git is looked at.
const SOURCE: &str = "this repository";

/// IO: looks, compares, and tells.
pub fn run(options: &args::Plan) -> Result<Outcome> {
    let plan = match options.against.as_deref() {
        Some(CLUSTER) => against_cluster(options)?,
        reference => against_git(options, reference)?,
    };
    output::print(&match options.output {
        PlanOutput::Text => render::text(&plan, Style::of_stdout()),
        PlanOutput::Json => serde_json::to_string_pretty(&plan)? + "\n",
        PlanOutput::Markdown => render::markdown(&plan),
    })?;
    Ok(if plan.holds() { Outcome::Problems } else { Outcome::Fine })
}

fn against_cluster(options: &args::Plan) -> Result<Plan> {
    let (tenants, only) = whole(tenants(options, |_| false)?);
    let Live { platform, tenants: existing, sources, running } =
        cluster::live(options.around.context.as_deref())?;
    let platform = if options.around.platform.is_some() {
        around::sound_platform(&options.around, Some(&tenants.repository()))?
    } else {
        platform
    };
    let source = source(options.source.as_deref(), &sources)?;
    let urls = around::urls(&options.around);
    let after = examine(&working::tenant_files(&tenants)?, &platform, &urls, &Examined::default());
    let confirmed = sources.iter().find(|one| one.name_any() == source);
    let confirmed = confirmed.and_then(|one| one.annotations().get(CONFIRM_REMOVAL)).map(String::as_str);
    let mut unseen = Vec::new();
    let (consumers, kept) = match running {
        Ok((services, releases)) => {
            (Consumers::running(&services, &releases), Kept::of(&existing, &services))
        }
        Err(error) => {
            unseen.push(format!("who uses what is told by `exportTo` only: {}", output::causes(&error)));
            (Consumers::exported(existing.iter().map(AsRef::as_ref)), Kept::of(&existing, &[]))
        }
    };
    let before = Before {
        existing: &existing,
        source: &source,
        confirmed,
        is_named: true,
        consumers: &consumers,
        kept: &kept,
    };
    let plan = difference(&before, &after, &platform, |file| tenants.path(file));
    let notes = notes(&platform, unseen);
    let plan = narrowed(plan, only.as_deref(), &after);
    Ok(Plan { against: format!("the cluster, TenantSource {source}"), notes, ..plan })
}

fn against_git(options: &args::Plan, reference: Option<&str>) -> Result<Plan> {
    let clone = Clone::holding(&options.path)?;
    let base = clone.base(reference)?;
    let has_files = |tenants: &Tenants| {
        clone
            .tenant_files(&base, tenants)
            .is_ok_and(|files| files.regular.keys().any(|name| name.ends_with(ENDING)))
    };
    let (tenants, only) = whole(tenants(options, has_files)?);
    let platform = around::sound_platform(&options.around, Some(&tenants.repository()))?;
    let urls = around::urls(&options.around);
    let was = examine(&clone.tenant_files(&base, &tenants)?, &platform, &urls, &Examined::default());
    let after = examine(&working::tenant_files(&tenants)?, &platform, &urls, &was);
    let Base { name, commit, notes: told } = base;
    let existing = existing(&was);
    let consumers = Consumers::exported(existing.iter().map(AsRef::as_ref));
    let before = Before {
        existing: &existing,
        source: SOURCE,
        confirmed: None,
        is_named: false,
        consumers: &consumers,
        kept: &Kept::default(),
    };
    let plan = difference(&before, &after, &platform, |file| tenants.path(file));
    let mut plan = narrowed(plan, only.as_deref(), &after);
    let is_unknown = |tenant: &&mut TenantPlan| {
        was.checked.broken.contains_key(&tenant.name) && tenant.problems.is_empty()
    };
    for tenant in plan.tenants.iter_mut().filter(is_unknown) {
        tenant.told.push(format!(
            "Its file was invalid at {name}, so what it has is not known: it may be more than this says."
        ));
    }
    Ok(Plan { against: name, commit, notes: notes(&platform, told), ..plan })
}

/// What the operator made of the files as they were. A broken one may have been good before: it counts as there.
fn existing(was: &Examined) -> Vec<Arc<Tenant>> {
    let mut checked = was.checked.clone();
    for tenant in std::mem::take(&mut checked.broken).into_keys() {
        let unknown = Tenant::new(&tenant, TenantSpec::default());
        checked.valid.entry(tenant).or_insert(unknown);
    }
    let applied = operators::plan(&operators::Before::new(SOURCE, &[]), &checked).apply;
    applied.into_iter().map(Arc::new).collect()
}

/// The tenant files that PATH means, also where they are gone from the working tree.
fn tenants(options: &args::Plan, was_there: impl Fn(&Tenants) -> bool) -> Result<Tenants> {
    let path = subject::tidy(&options.path);
    let found = match subject::find(&path) {
        Ok(Subject::Tenants(tenants)) if stray::is_root(&tenants.directory) => {
            let file = tenants.only.as_deref().unwrap_or("<name>.yaml");
            bail!("{}: {}", shown(&path), stray::of_root(&tenants.directory.join(file)))
        }
        Ok(Subject::Tenants(tenants)) => return Ok(tenants),
        found => found,
    };
    let whole = |directory| Tenants { directory, only: None };
    let gone = [Some(whole(path.join(subject::TENANTS))), Some(whole(path.clone())), Tenants::one(&path)];
    if let Some(tenants) = gone.into_iter().flatten().find(was_there) {
        return Ok(tenants);
    }
    found?;
    bail!(
        "{} holds no tenant files, and a plan is of those; for a service use `kubectl imaas validate`",
        shown(&path)
    )
}

/// The whole directory, since how much is gone at once counts, and the only file that is asked for.
fn whole(mut tenants: Tenants) -> (Tenants, Option<String>) {
    let only = tenants.only.take();
    (tenants, only)
}

fn narrowed(plan: Plan, only: Option<&str>, after: &Examined) -> Plan {
    match only {
        Some(file) => plan.of(&after.tenants_of(file)),
        None => plan,
    }
}

/// The origin of this repository's tenants in the cluster.
fn source(asked: Option<&str>, sources: &[TenantSource]) -> Result<String> {
    let names: Vec<String> = sources.iter().map(ResourceExt::name_any).collect();
    match (asked, names.as_slice()) {
        (Some(name), _) if name == MANUAL || names.iter().any(|known| known == name) => Ok(name.to_owned()),
        (Some(name), _) => bail!("--source: there is no TenantSource {name:?}, only {}", names.join(", ")),
        (None, [only]) => Ok(only.clone()),
        (None, []) => bail!(
            "the cluster has no TenantSource: with --source manual the Tenants are compared that were applied by hand"
        ),
        (None, _) => bail!("--source: say which TenantSource is this repository: {}", names.join(", ")),
    }
}

fn notes(platform: &Platform, mut notes: Vec<String>) -> Vec<String> {
    if platform.knows_environments() {
        notes.extend(platform.notes());
    } else {
        notes.push("the platform's environments are not known, so names and quotas are not checked, and namespaces show only as far as the files name them: give --platform FILE or --cluster".to_owned());
    }
    notes
}
