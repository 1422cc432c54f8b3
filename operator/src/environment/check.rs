//! Environments → valid ones, with what is wrong with the others. Pure.
//!
//! They are checked together, since `promotesFrom` names another one.

use std::{
    borrow::Borrow,
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Amount;
use kube::ResourceExt;

use super::{
    brokers, entrance,
    network::{self, ValidNetwork},
    placement::Placement,
    prometheus::ValidPrometheus,
    proof::Proof,
    signers::signers,
    sleep::Sleep,
    window::Windows,
};
use crate::{
    amount,
    api::{self, Environment, Quantity, Quota, Role},
    names::{HOME, is_label},
};

/// What the author of the object has to change.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {message}")]
pub struct Problem {
    /// Path of the field, such as `spec.networks[0].cidrs[1]`.
    pub field: String,
    /// What is wrong there and what would be right.
    pub message: String,
}

impl Problem {
    /// A problem at `field`.
    pub fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), message: message.into() }
    }
}

/// All that is wrong with one object; at least one. Printed as a sentence each, the first ten.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 10;
        for (index, problem) in self.0.iter().take(SHOWN).enumerate() {
            write!(f, "{}{problem}", if index == 0 { "" } else { "; " })?;
        }
        if self.0.len() > SHOWN { write!(f, "; and {} more", self.0.len() - SHOWN) } else { Ok(()) }
    }
}

/// A quota in which nothing is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValidQuota {
    /// Sum of the CPU requests, in cores.
    pub cpu: Quantity,
    /// Sum of the memory limits, in bytes.
    pub memory: Quantity,
    /// Number of pods.
    pub pods: u32,
}

impl ValidQuota {
    /// For an Environment that says nothing: room for a handful of services, so that a forgotten quota is noticed
    /// by one tenant and not by the whole cluster.
    pub fn fallback() -> Self {
        Self { cpu: Quantity("4".into()), memory: Quantity("8Gi".into()), pods: 50 }
    }

    /// As a quota of Kubernetes says it.
    pub fn hard(&self) -> BTreeMap<String, Amount> {
        let Self { cpu, memory, pods } = self;
        let all = [
            ("requests.cpu", cpu.0.clone()),
            ("requests.memory", memory.0.clone()),
            ("limits.memory", memory.0.clone()),
            ("pods", pods.to_string()),
        ];
        all.map(|(name, amount)| (name.to_owned(), Amount(amount))).into()
    }
}

/// What a tenant gets, and the most that it may ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Where the tenant says nothing.
    pub default: ValidQuota,
    /// Never below the default.
    pub max: ValidQuota,
}

/// One stage, ready to be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValidEnvironment {
    /// `metadata.name`: 1 to 12 characters, no `-`, not `home`.
    pub name: String,
    /// Branch of the service repositories.
    pub branch: String,
    /// Of a tenant's quota here.
    pub quota: Bounds,
    /// Names differ.
    pub networks: Vec<ValidNetwork>,
    /// When the services of a tenant sleep that says nothing else.
    pub sleep: Option<api::Sleep>,
}

/// All Environments of the cluster, each checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    outcomes: BTreeMap<String, Result<ValidEnvironment, Problems>>,
    defaults: BTreeSet<String>,
    edges: BTreeMap<String, String>,
    roles: BTreeMap<String, BTreeMap<Role, Role>>,
}

impl Checked {
    /// The environment, or what is wrong with it; `None` where there is none of this name.
    pub fn named(&self, name: &str) -> Option<Result<&ValidEnvironment, &Problems>> {
        self.outcomes.get(name).map(Result::as_ref)
    }

    /// Names of all of them, the invalid ones too.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.outcomes.keys().map(String::as_str)
    }

    /// Is every tenant in it unless its file says otherwise? Also known of an invalid one.
    pub fn is_default(&self, name: &str) -> bool {
        self.defaults.contains(name)
    }

    /// What a member with `role` in the tenant file is in `environment`. Also known of an invalid one; where no role
    /// map can be told, nobody is more than a viewer.
    pub fn role(&self, environment: &str, role: Role) -> Role {
        self.roles.get(environment).map_or(Role::Viewer, |map| map.get(&role).copied().unwrap_or(role))
    }

    pub(super) fn contains(&self, name: &str) -> bool {
        self.outcomes.contains_key(name)
    }

    pub(super) fn promotes_from(&self, name: &str) -> Option<&str> {
        self.edges.get(name).map(String::as_str)
    }
}

/// Checks every environment, alone and among the others.
pub fn check<E: Borrow<Environment>>(environments: &[E]) -> Checked {
    let mut checked = Checked::default();
    let mut alone = Vec::with_capacity(environments.len());
    for environment in environments {
        let environment: &Environment = environment.borrow();
        let mut problems = Vec::new();
        let valid = valid(environment, &mut problems);
        problems.extend(entrance::problems(environment, environments));
        if let Some(from) = &environment.spec.promotes_from {
            checked.edges.insert(valid.name.clone(), from.clone());
        }
        if environment.spec.default {
            checked.defaults.insert(valid.name.clone());
        }
        if role_problem(&environment.spec.roles).is_none() {
            checked.roles.insert(valid.name.clone(), environment.spec.roles.clone());
        }
        // Known by name before edges are judged.
        checked.outcomes.insert(valid.name.clone(), Err(Problems(Vec::new())));
        alone.push((valid, problems));
    }
    for (valid, mut problems) in alone {
        problems.extend(edge_problem(&checked, &valid.name));
        let name = valid.name.clone();
        checked.outcomes.insert(name, if problems.is_empty() { Ok(valid) } else { Err(Problems(problems)) });
    }
    checked
}

/// Where images of `name` come from must be known up to the first environment. Otherwise one with a broken
/// `promotesFrom` could be passed over, and images would reach production without a test.
fn edge_problem(checked: &Checked, name: &str) -> Option<Problem> {
    let ancestors = checked.ancestors(name);
    let top = ancestors.last().copied().unwrap_or(name);
    let beyond = checked.promotes_from(top)?;
    let message = match (checked.contains(beyond), top == name) {
        (false, true) => format!("there is no Environment {beyond:?}: create it or name another one"),
        (false, false) => {
            format!("leads to {top:?}, which promotes from {beyond:?}, and there is no such Environment")
        }
        (true, _) => format!("leads in a circle: {name} <- {} <- {beyond}", ancestors.join(" <- ")),
    };
    Some(Problem::new("spec.promotesFrom", message))
}

fn valid(environment: &Environment, problems: &mut Vec<Problem>) -> ValidEnvironment {
    let name = environment.name_any();
    if !is_label(&name, 12) || name.contains('-') || name == HOME {
        problems.push(Problem::new(
            "metadata.name",
            "must be 1 to 12 lower-case letters and digits, begin with a letter, and not be `home`",
        ));
    }
    let spec = &environment.spec;
    if let Some(problem) = role_problem(&spec.roles) {
        problems.push(problem);
    }
    problems.extend(Windows::valid(&spec.windows, "spec.windows").1);
    problems.extend(spec.sleep.iter().flat_map(|sleep| Sleep::valid(sleep, "spec.sleep").1));
    problems.extend(Proof::valid(spec).1);
    problems.extend(signers(spec).1);
    problems.extend(Placement::valid(spec).1);
    problems.extend(brokers::problems(&spec.brokers, "spec.brokers"));
    problems.extend(ValidPrometheus::valid(spec).err());
    let mut networks: Vec<ValidNetwork> = Vec::with_capacity(spec.networks.len());
    for (index, wire) in spec.networks.iter().enumerate() {
        let field = format!("spec.networks[{index}]");
        if networks.iter().any(|network| network.name == wire.name) {
            problems.push(Problem::new(format!("{field}.name"), format!("{:?} is listed twice", wire.name)));
        }
        if !is_label(&wire.name, 40) {
            problems.push(Problem::new(
                format!("{field}.name"),
                "must be at most 40 lower-case letters, digits and `-`, beginning with a letter",
            ));
        }
        networks.push(network::valid(wire, &field, problems));
    }
    ValidEnvironment {
        branch: spec.branch.clone().unwrap_or_else(|| name.clone()),
        quota: bounds(environment, problems),
        networks,
        sleep: spec.sleep.clone(),
        name,
    }
}

/// Whoever has more in the tenant file never has less here than somebody who has less there.
fn role_problem(roles: &BTreeMap<Role, Role>) -> Option<Problem> {
    let effective = |role: Role| roles.get(&role).copied().unwrap_or(role);
    [(Role::Owner, Role::Developer), (Role::Developer, Role::Viewer)].into_iter().find_map(|(more, less)| {
        // `Role` is ordered from the one that may most.
        (effective(more) > effective(less)).then(|| {
            Problem::new(
                format!("spec.roles.{}", if roles.contains_key(&less) { less } else { more }.as_str()),
                format!(
                    "makes {} a {} here while {} is {}: give the higher role at least as much",
                    less.as_str(),
                    effective(less).as_str(),
                    more.as_str(),
                    effective(more).as_str(),
                ),
            )
        })
    })
}

fn bounds(environment: &Environment, problems: &mut Vec<Problem>) -> Bounds {
    let quota = &environment.spec.quota;
    let default = resolved(&quota.default, &ValidQuota::fallback(), "spec.quota.default", problems);
    let max = match &quota.max {
        Some(max) => resolved(max, &default, "spec.quota.max", problems),
        None => default.clone(),
    };
    for field in exceeded(&default, &max) {
        problems.push(Problem::new(
            format!("spec.quota.default.{field}"),
            format!("is more than spec.quota.max.{field}: lower it or raise the maximum"),
        ));
    }
    Bounds { default, max }
}

/// `quota` with what is missing taken from `default`; `field` is where it stands.
pub(crate) fn resolved(
    quota: &Quota,
    default: &ValidQuota,
    field: &str,
    problems: &mut Vec<Problem>,
) -> ValidQuota {
    type Judge = fn(&Quantity) -> Option<String>;
    let mut amount = |given: &Option<Quantity>, default: &Quantity, (name, problem): (&str, Judge)| {
        let Some(given) = given else { return default.clone() };
        let Some(message) = problem(given) else { return given.clone() };
        problems.push(Problem::new(format!("{field}.{name}"), message));
        default.clone()
    };
    let cpu = amount(&quota.cpu, &default.cpu, ("cpu", amount::cpu_problem));
    let memory = amount(&quota.memory, &default.memory, ("memory", amount::memory_problem));
    let pods = match quota.pods {
        Some(0) => {
            problems
                .push(Problem::new(format!("{field}.pods"), "0 leaves room for nothing: write at least 1"));
            default.pods
        }
        given => given.unwrap_or(default.pods),
    };
    ValidQuota { cpu, memory, pods }
}

/// Names of the fields of `quota` that are above `max`.
pub(crate) fn exceeded(quota: &ValidQuota, max: &ValidQuota) -> Vec<&'static str> {
    let ValidQuota { cpu, memory, pods } = quota;
    [
        ("cpu", cpu.millis() > max.cpu.millis()),
        ("memory", memory.millis() > max.memory.millis()),
        ("pods", *pods > max.pods),
    ]
    .into_iter()
    .filter_map(|(name, above)| above.then_some(name))
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environments(yaml: &str) -> Checked {
        let list: Vec<Environment> = serde_saphyr::from_str(yaml).unwrap();
        check(&list)
    }

    fn one(spec: &str) -> Result<ValidEnvironment, Problems> {
        let yaml = format!(
            "[{{apiVersion: imaas.dev/v1alpha1, kind: Environment, metadata: {{name: dev}}, spec: {spec}}}]"
        );
        environments(&yaml).named("dev").unwrap().cloned().map_err(Clone::clone)
    }

    fn edges(list: &[(&str, Option<&str>)]) -> Checked {
        let list: Vec<_> = list
            .iter()
            .map(|(name, from)| {
                let spec = crate::api::EnvironmentSpec {
                    promotes_from: from.map(str::to_owned),
                    ..Default::default()
                };
                Environment::new(name, spec)
            })
            .collect();
        check(&list)
    }

    #[test]
    fn an_environment_that_says_nothing_is_usable() {
        let valid = one("{}").unwrap();
        assert_eq!(valid.branch, "dev");
        assert_eq!(valid.quota.default, ValidQuota::fallback());
        assert_eq!(valid.quota.max, ValidQuota::fallback());
    }

    #[test]
    fn every_problem_names_its_field_and_the_way_out() {
        for (spec, wanted) in [
            (
                "{promotesFrom: tset}",
                "spec.promotesFrom: there is no Environment \"tset\": create it or name another one",
            ),
            (
                "{quota: {default: {cpu: many}}}",
                "spec.quota.default.cpu: \"many\" is no amount above zero: write it like 250m or 2",
            ),
            (
                "{quota: {default: {memory: \"0\"}}}",
                "spec.quota.default.memory: \"0\" is no amount above zero: write it like 512Mi or 16Gi",
            ),
            (
                "{quota: {default: {pods: 0}}}",
                "spec.quota.default.pods: 0 leaves room for nothing: write at least 1",
            ),
            (
                "{quota: {default: {cpu: 8}, max: {cpu: \"4\"}}}",
                "spec.quota.default.cpu: is more than spec.quota.max.cpu: lower it or raise the maximum",
            ),
            (
                "{quota: {max: {pods: 20}}}",
                "spec.quota.default.pods: is more than spec.quota.max.pods: lower it or raise the maximum",
            ),
            (
                "{networks: [{name: erp, cidrs: [10.1.0.0]}]}",
                "spec.networks[0].cidrs[0]: \"10.1.0.0\" is no address block: write it like 10.20.0.0/16 or fd00:10::/64",
            ),
            (
                "{networks: [{name: erp, cidrs: [10.1.0.7/16]}]}",
                "spec.networks[0].cidrs[0]: \"10.1.0.7/16\" has bits set behind its length: write 10.1.0.0/16",
            ),
            (
                "{networks: [{name: erp, cidrs: [10.1.0.0/16], except: [10.2.0.0/24]}]}",
                "spec.networks[0].except[0]: 10.2.0.0/24 does not lie within one of `cidrs`: remove it",
            ),
            (
                "{networks: [{name: erp, cidrs: []}]}",
                "spec.networks[0].cidrs: is empty: name at least one address block",
            ),
            (
                "{networks: [{name: a, cidrs: [10.0.0.0/8]}, {name: a, cidrs: [11.0.0.0/8]}]}",
                "spec.networks[1].name: \"a\" is listed twice",
            ),
            (
                "{windows: [{schedule: 0 22 * * *, duration: \"4\"}]}",
                "spec.windows[0].duration: \"4\" is no duration of 1m to 168h: write it like 4h or 1h30m",
            ),
            (
                "{sleep: {windows: [{schedule: 0 20 * * *, duration: \"11\"}]}}",
                "spec.sleep.windows[0].duration: \"11\" is no duration of 1m to 168h: write it like 4h or 1h30m",
            ),
            (
                "{bakeTime: \"30\"}",
                "spec.bakeTime: \"30\" is no duration of 1s to 168h: write it like 30m or 1h30m",
            ),
            (
                "{signatures: {keys: [cosign.pub]}}",
                "spec.signatures.keys[0]: is not one ECDSA P-256 public key in PEM: write what `cosign public-key --key` prints",
            ),
            (
                "{roles: {viewer: owner}}",
                "spec.roles.viewer: makes viewer a owner here while developer is developer: give the higher role at least as much",
            ),
            (
                "{roles: {owner: viewer}}",
                "spec.roles.owner: makes developer a developer here while owner is viewer: give the higher role at least as much",
            ),
        ] {
            assert_eq!(one(spec).unwrap_err().to_string(), wanted, "{spec}");
        }
    }

    #[test]
    fn a_name_that_would_blur_two_tenants_is_refused() {
        for name in ["home", "a-b", "A", "", "abcdefghijklm"] {
            let checked = check(&[Environment::new(name, crate::api::EnvironmentSpec::default())]);
            assert!(checked.named(name).unwrap().is_err(), "{name:?}");
        }
    }

    #[test]
    fn a_circle_is_told_to_everyone_in_and_below_it() {
        let checked = edges(&[("a", Some("b")), ("b", Some("a")), ("c", Some("a")), ("d", None)]);
        let text = |name: &str| checked.named(name).unwrap().unwrap_err().to_string();
        assert_eq!(text("a"), "spec.promotesFrom: leads in a circle: a <- b <- a");
        assert_eq!(text("c"), "spec.promotesFrom: leads in a circle: c <- a <- b <- a");
        assert!(checked.named("d").unwrap().is_ok());
    }

    #[test]
    fn what_lies_below_a_broken_link_is_held_back_too() {
        let checked = edges(&[("test", Some("gone")), ("prod", Some("test"))]);
        let text = checked.named("prod").unwrap().unwrap_err().to_string();
        assert_eq!(
            text,
            "spec.promotesFrom: leads to \"test\", which promotes from \"gone\", and there is no such Environment"
        );
    }

    #[test]
    fn a_role_map_applies_and_where_none_can_be_told_nobody_is_more_than_a_viewer() {
        let effective = |spec: &str, role: Role| {
            let yaml = format!(
                "[{{apiVersion: imaas.dev/v1alpha1, kind: Environment, metadata: {{name: dev}}, spec: {spec}}}]"
            );
            environments(&yaml).role("dev", role)
        };
        for (spec, owner, developer) in [
            ("{roles: {developer: viewer}}", Role::Owner, Role::Viewer),
            ("{roles: {developer: viewer}, promotesFrom: gone}", Role::Owner, Role::Viewer),
            ("{promotesFrom: gone}", Role::Owner, Role::Developer),
            ("{roles: {viewer: owner}}", Role::Viewer, Role::Viewer),
        ] {
            assert_eq!(effective(spec, Role::Owner), owner, "{spec}");
            assert_eq!(effective(spec, Role::Developer), developer, "{spec}");
        }
        assert_eq!(environments("[]").role("dev", Role::Owner), Role::Viewer);
    }
}
