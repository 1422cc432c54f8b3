//! `TenantLimits`: how much one tenant may have, as the platform team says. A file `limits/<tenant>.yaml` of the tenants
//! repository beside the tenant's own, and `spec.limits` of the Tenant; no kind of the cluster.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Quantity, Quota};

/// A file of limits.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TenantLimits {
    /// `imaas.dev/v1alpha1`.
    pub api_version: String,
    /// `TenantLimits`.
    pub kind: String,
    /// Whose.
    pub metadata: LimitsMetadata,
    /// How much.
    pub spec: Limits,
}

/// Whose limits they are.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub struct LimitsMetadata {
    /// The tenant's name, as the file's.
    pub name: String,
}

/// How much a tenant may have beyond what every tenant may, and in all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    /// By Environment: the most that the tenant may ask for there.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16))]
    pub environments: BTreeMap<String, EnvironmentLimits>,
    /// The most that its environments may have together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<Quota>,
    /// In the registry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registry: Option<RegistryLimits>,
}

/// The limits of a tenant in the registry.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RegistryLimits {
    /// Bytes of its images, such as `500Gi`: the most that the tenant may ask for and have, instead of the platform's max,
    /// whether more or less.
    pub storage: Quantity,
}

/// The limits of a tenant in one environment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EnvironmentLimits {
    /// Instead of the Environment's max where it is more; what is less than that changes nothing.
    #[serde(default)]
    pub max: Quota,
}
