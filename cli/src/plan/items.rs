//! A tenant as a list of what it has. Pure.

use std::fmt;

use imaas_operator::{
    api::{Limits, Member, Quota, ServiceEntry, Sleep, Tenant, environment::Window},
    names::home_namespace,
    tenant::validate::{ValidSpace, ValidTenant},
};
use kube::ResourceExt;
use serde::Serialize;

use crate::output::plain;

/// What a tenant has, in the order in which it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Kind {
    /// How to reach it.
    Contact,
    /// A stop button.
    Stop,
    /// How much of the registry it asks for.
    Registry,
    /// What its file says of an environment, where the environments themselves are not known.
    Environment,
    /// A namespace with its quota.
    Namespace,
    /// How much it may have in an environment, in all, or in the registry.
    Limit,
    /// Somebody with a role.
    Member,
    /// A service.
    Service,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Contact => "contact",
            Self::Stop => "stop",
            Self::Registry => "registry",
            Self::Environment => "environment",
            Self::Namespace => "namespace",
            Self::Limit => "limit",
            Self::Member => "member",
            Self::Service => "service",
        })
    }
}

/// One thing that a tenant has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// What it is.
    pub kind: Kind,
    /// Unique among its kind; empty of the only one.
    pub name: String,
    /// What may differ, by name.
    pub fields: Vec<(String, String)>,
}

impl Item {
    fn new(kind: Kind, name: &str, fields: Vec<(String, String)>) -> Self {
        let fields = fields.into_iter().map(|(name, value)| (plain(&name), plain(&value))).collect();
        Self { kind, name: plain(name), fields }
    }
}

/// Everything of `tenant`. `space` is what the platform makes of it; without it, what its file says.
pub fn items(tenant: &Tenant, space: Option<&ValidTenant>) -> Vec<Item> {
    let spec = &tenant.spec;
    let contact = spec.contact.as_ref().map(|contact| Item::new(Kind::Contact, "", vec![field("", contact)]));
    let storage = spec.registry.as_ref().and_then(|registry| registry.storage.as_ref());
    let registry = storage.map(|storage| Item::new(Kind::Registry, "", vec![field("storage", &storage.0)]));
    let mut items: Vec<Item> = contact.into_iter().chain(registry).collect();
    let stops = [("suspend", spec.suspend), ("cordon", spec.cordon)].into_iter().filter(|(_, is_on)| *is_on);
    items.extend(stops.map(|(name, _)| Item::new(Kind::Stop, name, Vec::new())));
    items.extend(space.map_or_else(|| as_written(tenant), namespaces));
    items.extend(spec.limits.iter().flat_map(limits));
    items.extend(spec.members.iter().map(member));
    items.extend(spec.services.iter().map(service));
    items
}

/// Its home and what its file says of environments, where these are not known.
fn as_written(tenant: &Tenant) -> Vec<Item> {
    let mut items = vec![Item::new(Kind::Namespace, &home_namespace(&tenant.name_any()), Vec::new())];
    items.extend(tenant.spec.environments.iter().map(|(name, own)| {
        let mut fields = own.quota.as_ref().map(quota).unwrap_or_default();
        if own.omit {
            fields.push(field("omit", "true"));
        }
        fields.extend(own.sleep.as_ref().map(sleeps));
        Item::new(Kind::Environment, name, fields)
    }));
    items
}

fn namespaces(space: &ValidTenant) -> Vec<Item> {
    let mut items = vec![Item::new(Kind::Namespace, &home_namespace(&space.name), Vec::new())];
    for ValidSpace { namespace, promotes_from, quota, sleep, .. } in &space.environments {
        let mut fields = vec![
            field("cpu", &quota.cpu.0),
            field("memory", &quota.memory.0),
            field("pods", &quota.pods.to_string()),
        ];
        fields.extend(promotes_from.as_ref().map(|from| field("images from", from)));
        fields.extend(sleep.as_ref().map(sleeps));
        items.push(Item::new(Kind::Namespace, namespace, fields));
    }
    items.extend(space.held.iter().map(|held| {
        let why = format!("until the platform team mends Environment {}", held.environment);
        Item::new(Kind::Namespace, &held.namespace, vec![field("stays as it is", &why)])
    }));
    items
}

fn limits(limits: &Limits) -> Vec<Item> {
    let Limits { environments, total, registry } = limits;
    let of_each = environments.iter().map(|(name, own)| Item::new(Kind::Limit, name, quota(&own.max)));
    let in_all = total.iter().map(|total| Item::new(Kind::Limit, "in all", quota(total)));
    let in_registry = registry.iter().map(|registry| {
        Item::new(Kind::Limit, "in the registry", vec![field("storage", &registry.storage.0)])
    });
    of_each.chain(in_all).chain(in_registry).collect()
}

fn quota(quota: &Quota) -> Vec<(String, String)> {
    let Quota { cpu, memory, pods } = quota;
    let cpu = cpu.as_ref().map(|cpu| field("cpu", &cpu.0));
    let memory = memory.as_ref().map(|memory| field("memory", &memory.0));
    cpu.into_iter().chain(memory).chain(pods.map(|pods| field("pods", &pods.to_string()))).collect()
}

fn sleeps(Sleep { windows, wake_for }: &Sleep) -> (String, String) {
    if windows.is_empty() {
        return field("sleeps", "never");
    }
    let windows = windows.iter().map(|Window { schedule, duration, time_zone }| {
        let zone = time_zone.as_ref().map(|zone| format!(" {zone}")).unwrap_or_default();
        format!("{schedule}{zone} for {duration}")
    });
    let but = wake_for.as_ref().map(|time| format!("awake for {time} after a commit"));
    field("sleeps", &windows.chain(but).collect::<Vec<_>>().join(", "))
}

fn member(member: &Member) -> Item {
    let Member { kind, name, namespace, role } = member;
    let of = namespace.as_ref().map(|namespace| format!("{namespace}/")).unwrap_or_default();
    Item::new(Kind::Member, &format!("{kind:?} {of}{name}"), vec![field("role", role.as_str())])
}

fn service(entry: &ServiceEntry) -> Item {
    let spec = &entry.spec;
    let mut fields = vec![field("runtime", &spec.runtime), field("repository", &spec.repository.url)];
    fields.extend(spec.path.as_ref().map(|path| field("path", path)));
    fields.extend(spec.repository.credentials.as_ref().map(|name| field("credentials", name)));
    fields.extend(
        spec.branches.iter().map(|(environment, branch)| field(&format!("branch in {environment}"), branch)),
    );
    let exports: Vec<_> = spec.export_to.iter().map(|to| format!("{}/{}", to.tenant, to.service)).collect();
    fields.extend((!exports.is_empty()).then(|| field("exported to", &exports.join(", "))));
    Item::new(Kind::Service, &entry.name, fields)
}

fn field(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}
