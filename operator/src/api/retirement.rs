//! Where the end of a tenant, a service or an environment stands.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Something that Git no longer has, on its way out. Putting its lines back undoes it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Retirement {
    /// What happens to it now.
    pub stage: RetirementStage,
    /// When the next stage begins, as `2026-01-01T00:00:00Z`.
    pub until: String,
}

/// The stages, in their order; after the second it is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize, JsonSchema)]
pub enum RetirementStage {
    /// It serves on, and the platform is told.
    Orphaned,
    /// It is scaled to zero; its objects stay.
    Retiring,
}
