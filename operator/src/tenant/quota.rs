//! What a tenant asks for, what every tenant may have and what the platform grants this one → its quotas. Pure.

use super::validate::ValidSpace;
use crate::{
    amount::{cpu_problem, memory_problem, thousandths},
    api::{Limits, Quantity, Quota, Tenant, limits::RegistryLimits, quantity},
    environment::{
        Problem, ValidEnvironment, ValidQuota,
        check::{exceeded, resolved},
    },
};

/// The quotas of one tenant, with what is wrong with what it asks for.
pub(super) struct Quotas<'a> {
    tenant: &'a Tenant,
    limits: Limits,
    /// What is no amount at all.
    pub problems: Vec<Problem>,
    /// Where more is asked for than there is; no more than that is given.
    pub exceeding: Vec<Problem>,
}

impl<'a> Quotas<'a> {
    pub(super) fn new(tenant: &'a Tenant) -> Self {
        let limits = tenant.spec.limits.clone().unwrap_or_default();
        Self { tenant, limits, problems: Vec::new(), exceeding: Vec::new() }
    }

    /// What it gets in `environment`.
    pub(super) fn in_environment(&mut self, environment: &ValidEnvironment) -> ValidQuota {
        let own = self.tenant.spec.environments.get(&environment.name).and_then(|own| own.quota.as_ref());
        let (most, by) = self.most(environment);
        let Some(own) = own else { return environment.quota.default.clone() };
        let field = format!("spec.environments.{}.quota", environment.name);
        let mut quota = resolved(own, &environment.quota.default, &field, &mut self.problems);
        for name in exceeded(&quota, &most) {
            let (asked, most_of_it) = (amount(&quota, name), amount(&most, name));
            let meant = Some(&quota.cpu).filter(|_| name == "cpu").and_then(thousandths);
            let meant = meant.map(|meant| format!("write {meant} if that is meant, ")).unwrap_or_default();
            let message = format!(
                "{asked} is more than {most_of_it}, the most that {by}: {meant}ask for less, or ask the platform team"
            );
            self.exceeding.push(Problem::new(format!("{field}.{name}"), message));
            match name {
                "cpu" => quota.cpu = most.cpu.clone(),
                "memory" => quota.memory = most.memory.clone(),
                _ => quota.pods = most.pods,
            }
        }
        quota
    }

    /// The most that it may ask for, and who says so.
    fn most(&mut self, environment: &ValidEnvironment) -> (ValidQuota, String) {
        let ValidEnvironment { name, quota, .. } = environment;
        let Some(own) = self.limits.environments.get(name) else {
            return (quota.max.clone(), format!("Environment {name} gives"));
        };
        let field = format!("spec.limits.environments.{name}.max");
        let mut most = resolved(&own.max, &quota.max, &field, &mut self.problems);
        for less in exceeded(&quota.max, &most) {
            match less {
                "cpu" => most.cpu = quota.max.cpu.clone(),
                "memory" => most.memory = quota.max.memory.clone(),
                _ => most.pods = quota.max.pods,
            }
        }
        (most, format!("the platform team gives this tenant in {name}"))
    }

    /// Whether it asks for no more of the registry than a max of its own; that of everybody is the registry's to know.
    pub(super) fn in_registry(&mut self) {
        let Some(RegistryLimits { storage: most }) = &self.limits.registry else { return };
        if most.millis().is_none_or(|millis| millis <= 0) {
            let message = format!("{:?} is no amount above zero: write it like 500Gi", most.0);
            self.problems.push(Problem::new("spec.limits.registry.storage", message));
            return;
        }
        let asked = self.tenant.spec.registry.as_ref().and_then(|registry| registry.storage.as_ref());
        if let Some(asked) = asked.filter(|asked| asked.millis() > most.millis()) {
            let message = format!(
                "{} is more than {}, the most that the platform team gives this tenant: ask for less, or ask the platform team",
                asked.0, most.0
            );
            self.exceeding.push(Problem::new("spec.registry.storage", message));
        }
    }

    /// Whether its environments have no more together than it may have.
    pub(super) fn in_all(&mut self, spaces: &[ValidSpace]) {
        let Some(Quota { cpu, memory, pods }) = self.limits.total.clone() else { return };
        let amounts = [
            ("cpu", cpu.as_ref().and_then(Quantity::millis), cpu.as_ref().and_then(cpu_problem)),
            ("memory", memory.as_ref().and_then(Quantity::millis), memory.as_ref().and_then(memory_problem)),
            ("pods", pods.map(|pods| i128::from(pods) * 1000), None),
        ];
        for (name, most, problem) in amounts {
            if let Some(message) = problem {
                self.problems.push(Problem::new(format!("spec.limits.total.{name}"), message));
                continue;
            }
            let Some(most) = most else { continue };
            let sum = spaces.iter().filter_map(|space| millis(&space.quota, name)).sum();
            if sum > most {
                self.exceeding.push(over(name, (sum, most), spaces));
            }
        }
    }
}

/// The parts, their sum and what it may be.
fn over(name: &str, (sum, most): (i128, i128), spaces: &[ValidSpace]) -> Problem {
    let shown = |millis| if name == "memory" { quantity::bytes(millis) } else { quantity::number(millis) };
    let parts: Vec<_> =
        spaces.iter().map(|space| format!("{} {}", space.environment, amount(&space.quota, name))).collect();
    let message = format!(
        "{name} of all environments is {} = {}, more than {}, this tenant's total: ask for less, or ask the platform team",
        parts.join(" + "),
        shown(sum),
        shown(most),
    );
    Problem::new("spec.environments", message)
}

fn millis(quota: &ValidQuota, name: &str) -> Option<i128> {
    match name {
        "cpu" => quota.cpu.millis(),
        "memory" => quota.memory.millis(),
        _ => Some(i128::from(quota.pods) * 1000),
    }
}

fn amount(quota: &ValidQuota, name: &str) -> String {
    match name {
        "cpu" => quota.cpu.0.clone(),
        "memory" => quota.memory.0.clone(),
        _ => quota.pods.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        api::{Environment, Tenant, TenantSpec},
        environment::check,
        tenant::validate::{ValidTenant, validate},
    };

    const ENVIRONMENTS: &str = r#"
- {apiVersion: imaas.dev/v1alpha1, kind: Environment, metadata: {name: dev}, spec: {default: true, quota: {default: {cpu: "2", memory: 4Gi, pods: 30}}}}
- apiVersion: imaas.dev/v1alpha1
  kind: Environment
  metadata: {name: prod}
  spec: {default: true, promotesFrom: dev, quota: {default: {cpu: 500m, memory: 1Gi, pods: 10}, max: {cpu: "8", memory: 16Gi, pods: 100}}}
"#;

    fn acme(spec: &str) -> ValidTenant {
        let environments: Vec<Environment> = serde_saphyr::from_str(ENVIRONMENTS).unwrap();
        let spec: TenantSpec = serde_saphyr::from_str(spec).unwrap();
        validate(&Tenant::new("acme", spec), &check(&environments)).unwrap()
    }

    fn prod(tenant: &ValidTenant) -> (&str, &str, u32) {
        let quota = &tenant.environments[1].quota;
        (&quota.cpu.0, &quota.memory.0, quota.pods)
    }

    fn told(tenant: &ValidTenant) -> Vec<String> {
        tenant.exceeding.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn more_than_there_is_is_told_and_only_what_there_is_is_given() {
        let tenant = acme("{environments: {prod: {quota: {cpu: 9, memory: 8Gi, pods: 101}}}}");
        assert_eq!(prod(&tenant), ("8", "8Gi", 100));
        let most = "the most that Environment prod gives: ask for less, or ask the platform team";
        assert_eq!(
            told(&tenant),
            [
                format!("spec.environments.prod.quota.cpu: 9 is more than 8, {most}"),
                format!("spec.environments.prod.quota.pods: 101 is more than 100, {most}"),
            ]
        );
    }

    #[test]
    fn thousandths_that_were_written_as_cores_are_told() {
        let told = told(&acme("{environments: {prod: {quota: {cpu: 500}}}}"));
        assert!(
            told[0].contains("500 is more than 8, the most that Environment prod gives: write 500m if that"),
            "{told:?}"
        );
    }

    #[test]
    fn limits_raise_the_most_for_this_tenant_there_and_lower_nothing() {
        let limits = "limits: {environments: {prod: {max: {cpu: 32, memory: 1Gi}}}}";
        let asked = |quota: &str| acme(&format!("{{environments: {{prod: {{quota: {quota}}}}}, {limits}}}"));
        let tenant = asked("{cpu: 32, memory: 16Gi}");
        assert_eq!((prod(&tenant), told(&tenant).len()), (("32", "16Gi", 10), 0));
        let tenant = asked("{cpu: 33}");
        assert_eq!(prod(&tenant).0, "32");
        assert_eq!(
            told(&tenant),
            [
                "spec.environments.prod.quota.cpu: 33 is more than 32, the most that the platform team gives this tenant in prod: ask for less, or ask the platform team"
            ]
        );
        let untouched = acme(&format!("{{environments: {{dev: {{quota: {{cpu: 3}}}}}}, {limits}}}"));
        assert_eq!(told(&untouched).len(), 1, "not in dev");
        assert_eq!(prod(&untouched), ("500m", "1Gi", 10), "and nothing is given that nobody asked for");
    }

    #[test]
    fn a_total_bounds_the_sum_and_shows_it() {
        let total = |total: &str| {
            told(&acme(&format!(
                "{{environments: {{prod: {{quota: {{memory: 5120Mi}}}}}}, limits: {{total: {total}}}}}"
            )))
        };
        assert_eq!(total("{cpu: 2500m, memory: 9Gi, pods: 40}"), [""; 0]);
        let rest = "this tenant's total: ask for less, or ask the platform team";
        assert_eq!(
            total("{cpu: 2, memory: 8Gi, pods: 39}"),
            [
                format!(
                    "spec.environments: cpu of all environments is dev 2 + prod 500m = 2500m, more than 2, {rest}"
                ),
                format!(
                    "spec.environments: memory of all environments is dev 4Gi + prod 5120Mi = 9Gi, more than 8Gi, {rest}"
                ),
                format!(
                    "spec.environments: pods of all environments is dev 30 + prod 10 = 40, more than 39, {rest}"
                ),
            ]
        );
        let omitted = acme("{environments: {dev: {omit: true}}, limits: {total: {cpu: 500m}}}");
        assert_eq!(told(&omitted).len(), 0, "only what it is in counts");
    }

    #[test]
    fn what_is_asked_of_the_registry_is_judged_by_a_max_of_its_own() {
        let asked =
            |limits: &str| told(&acme(&format!("{{registry: {{storage: 30Gi}}, limits: {{{limits}}}}}")));
        assert_eq!(asked(""), [""; 0], "everybody's max is not known here");
        assert_eq!(asked("registry: {storage: 30720Mi}"), [""; 0]);
        assert_eq!(
            asked("registry: {storage: 29Gi}"),
            [
                "spec.registry.storage: 30Gi is more than 29Gi, the most that the platform team gives this tenant: ask for less, or ask the platform team"
            ]
        );
        assert_eq!(told(&acme("{limits: {registry: {storage: 1Mi}}}")), [""; 0], "it asks for nothing");
    }
}
