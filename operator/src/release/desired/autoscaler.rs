//! What moves the number of instances with the load. Pure.

use k8s_openapi::api::autoscaling::v2::{
    CrossVersionObjectReference, HPAScalingPolicy, HPAScalingRules, HorizontalPodAutoscaler,
    HorizontalPodAutoscalerBehavior, HorizontalPodAutoscalerSpec, MetricSpec, MetricTarget,
    ResourceMetricSource,
};

use super::Target;
use crate::{api::ReleaseScaling, release::triggers::follows};

/// Over which a policy counts, in seconds.
const MINUTE: i32 = 60;

/// Of a release whose number of instances is not fixed, and follows nothing that KEDA asks for: that makes its own.
pub(super) fn autoscaler(target: &Target) -> Option<HorizontalPodAutoscaler> {
    let spec = &target.release.spec;
    let scaling = spec.scaling.as_ref().filter(|_| !follows(target.release))?;
    let ReleaseScaling {
        max,
        cpu,
        memory,
        down_after_seconds,
        triggers: _,
        counts: _,
        latency: _,
        fallback: _,
    } = scaling;
    let metrics = [("cpu", cpu), ("memory", memory)];
    let metrics = metrics.into_iter().filter_map(|(name, percent)| Some(utilization(name, (*percent)?)));
    Some(HorizontalPodAutoscaler {
        metadata: target.metadata(),
        spec: Some(HorizontalPodAutoscalerSpec {
            scale_target_ref: CrossVersionObjectReference {
                api_version: Some("apps/v1".to_owned()),
                kind: "Deployment".to_owned(),
                name: spec.service.clone(),
            },
            min_replicas: Some(spec.replicas),
            max_replicas: *max,
            metrics: Some(metrics.collect()),
            behavior: Some(behavior(*down_after_seconds)),
        }),
        status: None,
    })
}

fn utilization(name: &str, percent: i32) -> MetricSpec {
    MetricSpec {
        type_: "Resource".to_owned(),
        resource: Some(ResourceMetricSource {
            name: name.to_owned(),
            target: MetricTarget {
                type_: "Utilization".to_owned(),
                average_utilization: Some(percent),
                ..MetricTarget::default()
            },
        }),
        ..MetricSpec::default()
    }
}

/// Up at once, since a burst does not wait, and twice as many in a minute at the most: an engine takes about that long to
/// start, and what it uses for it is no load. Down late and by a quarter a minute, since each that ends finishes what it has
/// begun, and the others take its share of the connections and queues.
pub(super) fn behavior(down_after_seconds: i32) -> HorizontalPodAutoscalerBehavior {
    let rules = |window, (percent, pods)| HPAScalingRules {
        stabilization_window_seconds: Some(window),
        select_policy: Some("Max".to_owned()),
        policies: Some(vec![policy("Percent", percent), policy("Pods", pods)]),
        tolerance: None,
    };
    HorizontalPodAutoscalerBehavior {
        scale_up: Some(rules(0, (100, 2))),
        scale_down: Some(rules(down_after_seconds, (25, 1))),
    }
}

fn policy(type_: &str, value: i32) -> HPAScalingPolicy {
    HPAScalingPolicy { type_: type_.to_owned(), value, period_seconds: MINUTE }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        release::desired::{Outside, Reach},
        sample,
    };

    fn of(settings: &str) -> Option<HorizontalPodAutoscaler> {
        let (reach, outside) = (Reach::default(), Outside::default());
        let release = &sample::release("orders-dev-abc", settings);
        let target =
            Target { tenant: "acme", release, config: None, networks: &[], reach: &reach, outside: &outside };
        autoscaler(&target)
    }

    #[test]
    fn it_is_of_the_deployment_and_within_the_bounds_of_the_release() {
        assert_eq!(of(""), None);
        let autoscaler = of("scaling: {max: 5, cpu: 60, memory: 80, downAfterSeconds: 900}").unwrap();
        assert_eq!(autoscaler.metadata.name.as_deref(), Some("orders"));
        let spec = autoscaler.spec.unwrap();
        assert_eq!((spec.min_replicas, spec.max_replicas), (Some(2), 5));
        assert_eq!((&*spec.scale_target_ref.kind, &*spec.scale_target_ref.name), ("Deployment", "orders"));
        let targets = spec.metrics.unwrap().into_iter().filter_map(|metric| {
            let ResourceMetricSource { name, target } = metric.resource?;
            Some((name, target.average_utilization?))
        });
        assert_eq!(targets.collect::<Vec<_>>(), [("cpu".to_owned(), 60), ("memory".to_owned(), 80)]);
        let behavior = spec.behavior.unwrap();
        let window = |rules: Option<HPAScalingRules>| rules.unwrap().stabilization_window_seconds;
        assert_eq!((window(behavior.scale_up), window(behavior.scale_down)), (Some(0), Some(900)));
    }
}
