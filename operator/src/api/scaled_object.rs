//! `ScaledObject` and `TriggerAuthentication` of KEDA, as far as we write and read them: the kinds are not ours, and may not be
//! there.

use std::collections::BTreeMap;

use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscalerBehavior;
use kube::CustomResource;
use serde::{Deserialize, Serialize};

/// `<group>/<version>`.
pub const KEDA: &str = "keda.sh/v1alpha1";

/// By what the number of a Deployment's instances follows. KEDA makes an autoscaler of it, and alone takes the last instance
/// away and brings the first.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[kube(
    group = "keda.sh",
    version = "v1alpha1",
    kind = "ScaledObject",
    plural = "scaledobjects",
    namespaced,
    status = "ScaledObjectStatus",
    schema = "disabled",
    derive = "PartialEq"
)]
#[serde(rename_all = "camelCase", default)]
pub struct ScaledObjectSpec {
    /// The Deployment.
    pub scale_target_ref: ScaleTarget,
    /// The fewest; 0 is none.
    pub min_replica_count: i32,
    /// The most.
    pub max_replica_count: i32,
    /// Seconds between two questions.
    pub polling_interval: i32,
    /// So many seconds nothing must have waited before the last instance ends.
    pub cooldown_period: i32,
    /// The same of an object that never saw anything wait, since it was made.
    pub initial_cooldown_period: i32,
    /// How the autoscaler moves.
    pub advanced: Advanced,
    /// What is asked.
    pub triggers: Vec<ScaleTrigger>,
    /// For as long as no answer comes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fallback: Option<ScaleFallback>,
}

/// See [`ScaledObjectSpec`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct ScaleTarget {
    /// Of the Deployment.
    pub name: String,
}

/// See [`ScaledObjectSpec`]. `restoreToOriginalReplicaCount` is left out: without it, the number stays when the object goes.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Advanced {
    /// Of KEDA's autoscaler.
    pub horizontal_pod_autoscaler_config: AutoscalerConfig,
}

/// See [`Advanced`].
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct AutoscalerConfig {
    /// As an autoscaler of Kubernetes says it.
    pub behavior: HorizontalPodAutoscalerBehavior,
}

/// A question.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ScaleTrigger {
    /// KEDA's name of the kind.
    #[serde(rename = "type")]
    pub type_: String,
    /// KEDA's own, all text.
    pub metadata: BTreeMap<String, String>,
    /// `Utilization` of CPU and memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metric_type: Option<String>,
    /// The login.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authentication_ref: Option<AuthenticationRef>,
}

/// A `TriggerAuthentication` of the same namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct AuthenticationRef {
    /// Its name.
    pub name: String,
}

/// See [`ScaledObjectSpec`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ScaleFallback {
    /// Questions in a row.
    pub failure_threshold: i32,
    /// Instances.
    pub replicas: i32,
}

/// What KEDA says of it, as far as it is told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct ScaledObjectStatus {
    /// `Ready`, `Active`, `Fallback` and others.
    pub conditions: Vec<ScalerCondition>,
    /// Names by which its numbers are asked for: `s<place of the trigger>-…`, none of CPU and memory.
    #[serde(rename = "externalMetricNames")]
    pub external_metric_names: Vec<String>,
}

/// A condition, without a time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct ScalerCondition {
    /// Which.
    #[serde(rename = "type")]
    pub type_: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// One word.
    pub reason: String,
    /// A sentence.
    pub message: String,
}

/// A login of which each part is a key of a Secret.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[kube(
    group = "keda.sh",
    version = "v1alpha1",
    kind = "TriggerAuthentication",
    plural = "triggerauthentications",
    namespaced,
    schema = "disabled",
    derive = "PartialEq"
)]
#[serde(rename_all = "camelCase", default)]
pub struct TriggerAuthenticationSpec {
    /// One for each part. A key that the Secret does not have counts as not given.
    pub secret_target_ref: Vec<SecretKey>,
}

/// See [`TriggerAuthenticationSpec`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct SecretKey {
    /// KEDA's name of the part.
    pub parameter: String,
    /// Of the Secret.
    pub name: String,
    /// Its key.
    pub key: String,
}
