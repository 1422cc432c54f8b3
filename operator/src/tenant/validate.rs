//! Wire Tenant and the Environments → a tenant in which nothing is missing. Pure.
//!
//! What schema and CEL say is checked again: the safety of all other tenants hangs on these names.

use std::collections::{BTreeMap, BTreeSet};

use kube::ResourceExt;

use super::quota::Quotas;
use crate::{
    api::{
        self, IntegrationServiceSpec, Member, MemberKind, Role, ServiceEntry, Tenant,
        tenant::{ACCOUNT_OF_NOWHERE, NO_ACCOUNT},
    },
    environment::{Checked, Problem, Problems, ValidNetwork, ValidQuota, sleep::Sleep},
    names::{environment_namespace, is_invisible, is_label},
};

/// Longest name of a tenant: with `-`, an environment's twelve characters still fit a DNS label.
const NAME_LENGTH: usize = 50;
/// Longest name of a service.
const SERVICE_LENGTH: usize = 40;
/// Most services of one tenant, so that every list stays short.
const SERVICES: usize = 300;

/// A tenant whose names are known to be its own.
#[derive(Clone, Debug, PartialEq)]
pub struct ValidTenant {
    /// `metadata.name`.
    pub name: String,
    /// The `TenantSource` it comes from, or `manual`.
    pub origin: String,
    /// Roles in the home namespace, where no environment's map applies.
    pub members: Vec<Subject>,
    /// The environments it is in, in promotion order.
    pub environments: Vec<ValidSpace>,
    /// Environments it is in that cannot be used now. What stands there stays as it is.
    pub held: Vec<Held>,
    /// Where it names an Environment that there is none of, or leaves out all that there are. A file from Git is refused for
    /// it; a Tenant is not, since the platform may have deleted the Environment, and the rest of the tenant must not wait for
    /// that.
    pub unknown: Vec<Problem>,
    /// Where it asks for more than the platform gives. It gets what there is, and the rest does not wait for that: the
    /// platform may have lowered an Environment's max. A file from Git is refused for it.
    pub exceeding: Vec<Problem>,
    /// By name, unique.
    pub services: Vec<ValidService>,
}

/// One environment of the tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValidSpace {
    /// Name of the Environment.
    pub environment: String,
    /// `<tenant>-<environment>`, at most 63 characters.
    pub namespace: String,
    /// Omitted environments are passed over.
    pub promotes_from: Option<String>,
    /// Those, nearest first: nothing that they ask of an image is asked.
    pub passes_over: Vec<String>,
    /// Within the environment's max.
    pub quota: ValidQuota,
    /// With the environment's role map applied.
    pub members: Vec<Subject>,
    /// What every service may call.
    pub networks: Vec<ValidNetwork>,
    /// When its services sleep: as its file says, else as the environment does.
    pub sleep: Option<api::Sleep>,
}

/// An environment that is not valid, or that there is none of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Name of the Environment.
    pub environment: String,
    /// Its namespace, if there is one.
    pub namespace: String,
    /// Omitted environments are passed over, this one is not. Of one that is gone it is as it was known last.
    pub promotes_from: Option<String>,
}

/// Who may do what in one namespace. Ordered, so that lists of them are.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Subject {
    /// What counts there.
    pub role: Role,
    /// Of what `name` is the name.
    pub kind: MemberKind,
    /// As the cluster's authentication says it.
    pub name: String,
    /// Of a `ServiceAccount`, and only of one.
    pub namespace: Option<String>,
}

/// A service with a name that fits everything that is derived from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValidService {
    /// At most 40 characters.
    pub name: String,
    /// As in the tenant file.
    pub spec: IntegrationServiceSpec,
}

/// Checks `tenant` against the Environments that there are.
pub fn validate(tenant: &Tenant, environments: &Checked) -> Result<ValidTenant, Problems> {
    let (mut valid, mut problems) = examined(tenant, environments);
    if problems.is_empty() {
        return Ok(valid);
    }
    problems.append(&mut valid.unknown);
    problems.append(&mut valid.exceeding);
    Err(Problems(problems))
}

/// What `tenant` would be beside the Environments that there are, and why it is not valid.
pub(crate) fn examined(tenant: &Tenant, environments: &Checked) -> (ValidTenant, Vec<Problem>) {
    let mut problems = Vec::new();
    let name = tenant.name_any();
    problems.extend(name_problem(&name));
    members_problems(&tenant.spec.members, &mut problems);
    let has = |environment: &str| is_in(tenant, environments, environment);
    let mut valid = ValidTenant {
        origin: tenant.origin().to_owned(),
        members: members(tenant, |role| role),
        environments: Vec::new(),
        held: Vec::new(),
        unknown: unknown_environments(tenant, environments),
        exceeding: Vec::new(),
        services: services(&name, &tenant.spec.services, &mut problems),
        name,
    };
    for (environment, own) in &tenant.spec.environments {
        let field = format!("spec.environments.{environment}.sleep");
        problems.extend(own.sleep.iter().flat_map(|sleep| Sleep::valid(sleep, &field).1));
    }
    let mut quotas = Quotas::new(tenant);
    for link in environments.chain(has) {
        let namespace = environment_namespace(&valid.name, &link.environment);
        match environments.named(&link.environment) {
            Some(Ok(environment)) => valid.environments.push(ValidSpace {
                namespace,
                promotes_from: link.promotes_from,
                passes_over: link.passes_over,
                quota: quotas.in_environment(environment),
                members: members(tenant, |role| environments.role(&link.environment, role)),
                networks: environment.networks.iter().filter(|network| network.default).cloned().collect(),
                sleep: tenant.sleep(&link.environment).or(environment.sleep.as_ref()).cloned(),
                environment: link.environment,
            }),
            Some(Err(_)) => valid.held.push(Held {
                environment: link.environment,
                namespace,
                promotes_from: link.promotes_from,
            }),
            None => {}
        }
    }
    valid.held.extend(gone(tenant, environments));
    valid.unknown.extend(nowhere(&valid, environments));
    quotas.in_all(&valid.environments);
    quotas.in_registry();
    problems.append(&mut quotas.problems);
    valid.exceeding = quotas.exceeding;
    (valid, problems)
}

/// What is left of a tenant that is not valid: its members. They count all the same, since whoever is taken out of the
/// file must not keep access by another mistake in it. A line that is wrong gives nobody anything, and of two lines for
/// one member the lesser counts. None where the name itself is refused.
pub fn access(tenant: &Tenant) -> Option<ValidTenant> {
    let mut roles = BTreeMap::new();
    for member in tenant.spec.members.iter().filter(|member| member_problem(member, "").is_none()) {
        let Member { kind, name, namespace, role } = member;
        // `Role` is ordered from the one that may most.
        let least = roles.entry((*kind, name.clone(), namespace.clone())).or_insert(*role);
        *least = (*least).max(*role);
    }
    let subject = |((kind, name, namespace), role)| Subject { role, kind, name, namespace };
    let members: BTreeSet<_> = roles.into_iter().map(subject).collect();
    name_problem(&tenant.name_any()).is_none().then(|| ValidTenant {
        name: tenant.name_any(),
        origin: tenant.origin().to_owned(),
        members: members.into_iter().collect(),
        environments: Vec::new(),
        held: Vec::new(),
        unknown: Vec::new(),
        exceeding: Vec::new(),
        services: Vec::new(),
    })
}

/// Every tenant is in a default environment, and in another one that its file names; omission is said.
fn is_in(tenant: &Tenant, environments: &Checked, name: &str) -> bool {
    match tenant.spec.environments.get(name) {
        Some(own) => !own.omit,
        None => environments.is_default(name),
    }
}

/// Why no tenant can have this name.
pub(crate) fn name_problem(name: &str) -> Option<Problem> {
    // As the rule of the kind's schema has it.
    const RESERVED: [&str; 5] = ["default", "kube", "imaas", "openshift", "platform"];
    const PREFIXES: [&str; 3] = ["kube-", "imaas-", "openshift-"];
    let message = if !is_label(name, NAME_LENGTH) {
        "must be at most 50 lower-case letters, digits and `-`, begin with a letter and not end in `-`"
    } else if RESERVED.contains(&name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix)) {
        "is reserved: choose one that does not begin with kube-, imaas- or openshift- and is not default, kube, imaas, openshift or platform"
    } else {
        return None;
    };
    Some(Problem::new("metadata.name", format!("{name:?} {message}")))
}

/// There is no such object; `known` are those that there are.
pub fn unknown<'a>(kind: &str, name: &str, known: impl Iterator<Item = &'a str>) -> String {
    let known: Vec<_> = known.take(20).collect();
    if known.is_empty() {
        return format!("there is no {kind} {name:?}, nor any other: the platform team defines them");
    }
    format!("there is no {kind} {name:?}, only {}", known.join(", "))
}

/// Every place that names an Environment which there is none of.
fn unknown_environments(tenant: &Tenant, environments: &Checked) -> Vec<Problem> {
    let overrides = tenant.spec.environments.keys().map(|name| (format!("spec.environments.{name}"), name));
    let branches = tenant.spec.services.iter().enumerate().flat_map(|(index, entry)| {
        entry.spec.branches.keys().map(move |name| (format!("spec.services[{index}].branches.{name}"), name))
    });
    let limits = tenant.spec.limits.iter().flat_map(|limits| limits.environments.keys());
    let limits = limits.map(|name| (format!("spec.limits.environments.{name}"), name));
    overrides
        .chain(branches)
        .chain(limits)
        .filter(|(_, name)| environments.named(name).is_none())
        .map(|(field, name)| Problem::new(field, unknown("Environment", name, environments.names())))
        .collect()
}

/// The environments that the tenant says it is in and that there are none of.
fn gone(tenant: &Tenant, environments: &Checked) -> impl Iterator<Item = Held> {
    let known = tenant.status.as_ref().map_or(&[][..], |status| &status.environments);
    let named = tenant.spec.environments.iter().filter(|(_, own)| !own.omit).map(|(name, _)| name);
    named.filter(|name| environments.named(name).is_none()).map(|name| Held {
        environment: name.clone(),
        namespace: environment_namespace(&tenant.name_any(), name),
        promotes_from: known.iter().find(|one| one.name == *name).and_then(|one| one.promotes_from.clone()),
    })
}

/// That nothing of the tenant could ever run.
fn nowhere(valid: &ValidTenant, environments: &Checked) -> Option<Problem> {
    let defaults: Vec<_> = environments.names().filter(|name| environments.is_default(name)).collect();
    let is_somewhere = !valid.environments.is_empty() || !valid.held.is_empty();
    (!is_somewhere && !defaults.is_empty()).then(|| {
        let message = format!(
            "every environment is left out, so nothing can run: take `omit: true` away from one of {}, or remove the file if the tenant is to go",
            defaults.join(", ")
        );
        Problem::new("spec.environments", message)
    })
}

fn members_problems(members: &[Member], problems: &mut Vec<Problem>) {
    let mut seen = BTreeSet::new();
    for (index, member) in members.iter().enumerate() {
        let field = format!("spec.members[{index}]");
        if !seen.insert((&member.kind, &member.name, &member.namespace)) {
            problems.push(Problem::new(
                format!("{field}.name"),
                format!("{:?} is listed twice: keep the line with the role that is meant", member.name),
            ));
        }
        problems.extend(member_problem(member, &field));
    }
}

fn member_problem(member: &Member, field: &str) -> Option<Problem> {
    let Member { kind, name, namespace, role: _ } = member;
    let is_account = *kind == MemberKind::ServiceAccount;
    let is_alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let is_plain = name.starts_with(is_alphanumeric)
        && name.ends_with(is_alphanumeric)
        && name.chars().all(|c| is_alphanumeric(c) || c == '-' || c == '.');
    let is_of_the_cluster = |namespace: &String| namespace == "kube" || namespace.starts_with("kube-");
    if let Some((namespace, account)) =
        name.strip_prefix("system:serviceaccount:").and_then(|name| name.split_once(':'))
    {
        let message = format!(
            "{name:?} is a system identity: write kind ServiceAccount, name {account}, namespace {namespace}"
        );
        Some(Problem::new(format!("{field}.name"), message))
    } else if name.is_empty() || name.starts_with("system:") {
        Some(Problem::new(format!("{field}.name"), format!("{name:?} is a system identity or empty")))
    } else if let Some(message) = look_problem(name) {
        Some(Problem::new(format!("{field}.name"), message))
    } else if let Some(namespace) = namespace.as_ref().filter(|namespace| is_of_the_cluster(namespace)) {
        let message = format!("{namespace:?} is the cluster's own: its accounts are system identities");
        Some(Problem::new(format!("{field}.namespace"), message))
    } else if is_account != namespace.is_some() {
        let message = if is_account { ACCOUNT_OF_NOWHERE } else { NO_ACCOUNT };
        Some(Problem::new(format!("{field}.namespace"), message))
    } else if is_account && !is_plain {
        // The API server would refuse the whole binding, with everybody else in it.
        let message =
            format!("{name:?} is no name of a ServiceAccount: write lower-case letters, digits, `-` and `.`");
        Some(Problem::new(format!("{field}.name"), message))
    } else {
        None
    }
}

/// Why a name is not what it looks like: it would be nobody's, or somebody else's.
fn look_problem(name: &str) -> Option<String> {
    let is_odd = |c: &char| is_invisible(*c) || (c.is_whitespace() && *c != ' ');
    if let Some(c) = name.chars().find(is_odd) {
        return Some(format!(
            "{name:?} holds the invisible character or odd space U+{:04X}: type the name anew",
            u32::from(c)
        ));
    }
    let message = format!("{name:?} begins or ends with a space: leave it out");
    (name.trim() != name).then_some(message)
}

/// Sorted and without repetition, so that the order in the file makes no difference. `role`: what one of the file is.
fn members(tenant: &Tenant, role: impl Fn(Role) -> Role) -> Vec<Subject> {
    let subjects: BTreeSet<Subject> = tenant
        .spec
        .members
        .iter()
        .map(|member| Subject {
            role: role(member.role),
            kind: member.kind,
            name: member.name.clone(),
            namespace: member.namespace.clone(),
        })
        .collect();
    subjects.into_iter().collect()
}

fn services(tenant: &str, entries: &[ServiceEntry], problems: &mut Vec<Problem>) -> Vec<ValidService> {
    if entries.len() > SERVICES {
        problems.push(Problem::new("spec.services", format!("{} are more than {SERVICES}", entries.len())));
    }
    let mut services = BTreeMap::new();
    for (index, entry) in entries.iter().enumerate() {
        let field = format!("spec.services[{index}]");
        problems.extend(service_name_problem(&entry.name, &field));
        problems.extend(exports_problems(tenant, entry, &field));
        let service = ValidService { name: entry.name.clone(), spec: entry.spec.clone() };
        if services.insert(entry.name.clone(), service).is_some() {
            problems.push(Problem::new(format!("{field}.name"), format!("{:?} is listed twice", entry.name)));
        }
    }
    services.into_values().collect()
}

/// What a service exports is for other tenants.
fn exports_problems(tenant: &str, entry: &ServiceEntry, field: &str) -> Vec<Problem> {
    let own = entry.spec.export_to.iter().enumerate().filter(|(_, export)| export.tenant == tenant);
    let told = |(index, _)| {
        let message =
            format!("{tenant:?} is this tenant, whose services may call it anyway: remove the entry");
        Problem::new(format!("{field}.exportTo[{index}].tenant"), message)
    };
    own.map(told).collect()
}

fn service_name_problem(name: &str, field: &str) -> Option<Problem> {
    let message = if !is_label(name, SERVICE_LENGTH) {
        "must be at most 40 lower-case letters, digits and `-`, begin with a letter and not end in `-`"
    } else if ["-canary", "-stable", "-preview"].iter().any(|end| name.ends_with(end)) {
        "must not end in -canary, -stable or -preview: these names are the operator's"
    } else if name.starts_with("imaas-") {
        "must not begin with imaas-: these names are the operator's"
    } else if name.starts_with("keda-hpa-") {
        "must not begin with keda-hpa-: these names are of the autoscalers that KEDA makes"
    } else {
        return None;
    };
    Some(Problem::new(format!("{field}.name"), format!("{name:?} {message}")))
}

#[cfg(test)]
mod tests;
