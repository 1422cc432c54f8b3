//! Hours at which a service has another number of instances.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::environment::Window;

/// A time that comes again and again, and how many instances run then.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScalingWindow {
    /// When it opens, for how long, and by which clock.
    #[serde(flatten)]
    pub window: Window,
    /// Instances that run at least while it is open; 0, where load adds none, lets none run.
    #[schemars(range(min = 0, max = 100))]
    pub min: u16,
}

/// What a window says of the number of instances now.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OpenWindow {
    /// So many run at least.
    pub min: u16,
    /// Until then; missing where no end can be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
}
