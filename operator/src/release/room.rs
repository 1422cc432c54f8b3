//! Whether a number of instances can ever have room in a namespace, with those that come beside them while they are replaced.
//! Pure.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{Container, ResourceRequirements},
    apimachinery::pkg::api::resource::Quantity as Amount,
};

use super::{hours, steps::most_beside};
use crate::api::{Quantity, Release, Strategy, quantity};

/// Of what a quota has too little.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shortage {
    /// What is needed and what there is, as the beginning of a sentence.
    pub told: String,
    /// The field of a tenant's quota: `cpu`, `memory` or `pods`.
    pub field: &'static str,
}

/// What `release` needs more of than the quota `hard` has, all of it, with the field that says how many there may be. A run
/// is one instance, and never replaced.
pub fn without_room(release: &Release, hard: &BTreeMap<String, Amount>) -> Option<(&'static str, Shortage)> {
    let spec = &release.spec;
    let (field, most) = match &spec.scaling {
        _ if spec.schedule.is_some() => return None,
        Some(scaling) => ("scaling.max", scaling.max),
        None if hours::greatest(release) > spec.replicas => ("scaling.windows", hours::greatest(release)),
        None => ("scaling.min", spec.replicas),
    };
    Some((field, shortage(release, most, hard)?))
}

/// What `number` instances of `release` need more of than the quota `hard` has, all of it.
pub fn shortage(release: &Release, number: i32, hard: &BTreeMap<String, Amount>) -> Option<Shortage> {
    let more = surge(release.spec.strategy, number) + most_beside(release, number);
    let count = match (number, more) {
        (1, 0) => "1 instance needs".to_owned(),
        (1, _) => format!("1 instance, and {more} more while it is replaced, need"),
        (_, 0) => format!("{number} instances need"),
        (_, _) => format!("{number} instances, and {more} more while they are replaced, need"),
    };
    let needs = [
        ("pods", "pods", 1000),
        ("requests.cpu", "cpu", one(release, "cpu", |resources| resources.requests.as_ref())),
        ("requests.memory", "memory", one(release, "memory", |resources| resources.requests.as_ref())),
        ("limits.memory", "memory", one(release, "memory", |resources| resources.limits.as_ref())),
    ];
    needs.into_iter().find_map(|(name, field, one)| {
        let (needed, given) = (one * i128::from(number + more), hard.get(name)?);
        let shown = if field == "memory" { quantity::bytes } else { quantity::number };
        let told = || format!("{count} {name} {}, more than {},", shown(needed), given.0);
        (needed > millis(given)?).then(|| Shortage { told: told(), field })
    })
}

/// A quarter, rounded up, as the Deployment says.
fn surge(strategy: Strategy, number: i32) -> i32 {
    match strategy {
        Strategy::Rolling | Strategy::Canary | Strategy::BlueGreen => (number + 3) / 4,
        Strategy::Recreate => 0,
    }
}

/// Of one instance, in thousandths.
fn one(
    release: &Release,
    name: &str,
    of: impl Fn(&ResourceRequirements) -> Option<&BTreeMap<String, Amount>>,
) -> i128 {
    let containers = release.spec.template.spec.iter().flat_map(|pod| &pod.containers);
    let amount = |container: &Container| millis(of(container.resources.as_ref()?)?.get(name)?);
    containers.filter_map(amount).sum()
}

fn millis(amount: &Amount) -> Option<i128> {
    Quantity(amount.0.clone()).millis()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{environment::ValidQuota, sample};

    fn release(more: &str) -> Release {
        let resources = "{requests: {cpu: 250m, memory: 512Mi}, limits: {cpu: '1', memory: 512Mi}}";
        let template =
            format!("template: {{spec: {{containers: [{{name: orders, resources: {resources}}}]}}}}");
        sample::release("orders-dev-abc", &format!("{template}{more}"))
    }

    fn hard((cpu, memory, pods): (&str, &str, u32)) -> BTreeMap<String, Amount> {
        ValidQuota { cpu: Quantity(cpu.into()), memory: Quantity(memory.into()), pods }.hard()
    }

    fn told(number: i32, more: &str, quota: (&str, &str, u32)) -> Option<String> {
        let told = shortage(&release(more), number, &hard(quota));
        told.map(|Shortage { told, field }| format!("{field}: {told}"))
    }

    #[test]
    fn what_is_to_run_is_judged_by_as_many_as_there_may_be() {
        let told = |more: &str, pods: u32| {
            let told = without_room(&release(more), &hard(("9", "9Gi", pods)));
            told.map(|(field, shortage)| format!("{field}: {}", shortage.told))
        };
        let green = ", replicas: 4, strategy: blueGreen, steps: [{weight: 0}, {weight: 100}]";
        assert_eq!(told(green, 9), None);
        assert_eq!(
            told(green, 8).unwrap(),
            "scaling.min: 4 instances, and 5 more while they are replaced, need pods 9, more than 8,"
        );
        assert_eq!(
            told(", replicas: 1", 1).unwrap(),
            "scaling.min: 1 instance, and 1 more while it is replaced, need pods 2, more than 1,"
        );
        let alone = ", replicas: 1, strategy: recreate";
        assert_eq!(told(alone, 0).unwrap(), "scaling.min: 1 instance needs pods 1, more than 0,");
        let scaled = ", replicas: 1, scaling: {max: 4, downAfterSeconds: 300}";
        assert!(told(scaled, 4).unwrap().starts_with("scaling.max: 4 instances, and 1 more"));
        let window = |number: u16| format!("{{schedule: 0 8 * * *, duration: 10h, min: {number}}}");
        let by_day = format!(", replicas: 2, windows: [{}, {}]", window(1), window(4));
        assert!(told(&by_day, 4).unwrap().starts_with("scaling.windows: 4 instances, and 1 more"));
        assert_eq!(told(&by_day, 5), None);
        let by_night = format!(", replicas: 2, windows: [{}]", window(0));
        assert!(told(&by_night, 2).unwrap().starts_with("scaling.min: 2 instances, and 1 more"));
        assert_eq!(told(", replicas: 1, type: batch, schedule: {cron: '0 3 * * *'}", 1), None);
    }

    #[test]
    fn a_number_that_never_has_room_is_told_with_what_there_is() {
        assert_eq!(told(4, "", ("1250m", "2560Mi", 5)), None, "the last fits just so");
        let four = "4 instances, and 1 more while they are replaced, need";
        for (quota, expected) in [
            (("1200m", "2560Mi", 5), format!("cpu: {four} requests.cpu 1250m, more than 1200m,")),
            (("2", "2Gi", 5), format!("memory: {four} requests.memory 2560Mi, more than 2Gi,")),
            (("2", "4Gi", 4), format!("pods: {four} pods 5, more than 4,")),
        ] {
            assert_eq!(told(4, "", quota), Some(expected));
        }
        assert_eq!(told(5, "", ("1750m", "8Gi", 50)), None, "a quarter, rounded up, is two");
        assert_eq!(told(4, ", strategy: recreate", ("1", "2Gi", 4)), None, "none comes beside another");
        let scaled = "scaling: {max: 4, downAfterSeconds: 300}";
        for (tried, more) in [
            ("strategy: canary, steps: [{weight: 10}, {weight: 50}]".to_owned(), 3),
            ("strategy: blueGreen, steps: [{weight: 0}, {weight: 100}]".to_owned(), 5),
            ("type: worker, strategy: canary, steps: [{weight: 50}]".to_owned(), 1),
            (format!("type: worker, {scaled}, strategy: canary, steps: [{{weight: 50}}]"), 3),
        ] {
            let told = told(4, &format!(", {tried}"), ("9", "9Gi", 4)).unwrap();
            let needs = format!("pods: 4 instances, and {more} more while they are replaced, need pods");
            assert!(told.starts_with(&needs), "{tried}: {told}");
        }
        let alone = told(5, ", strategy: recreate", ("1", "4Gi", 5));
        assert_eq!(alone.as_deref(), Some("cpu: 5 instances need requests.cpu 1250m, more than 1,"));
    }
}
