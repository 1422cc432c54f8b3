//! A smoke check: what the new of a blue/green roll-out must answer before requests go to it.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An HTTP GET that the platform sends to an instance of the new.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Smoke {
    /// What is asked for, absolute, such as `/orders/health`.
    #[schemars(
        length(min = 1, max = 200),
        regex(pattern = r"^/([A-Za-z0-9._~-]+(/[A-Za-z0-9._~-]+)*/?)?(\?[A-Za-z0-9._~=&-]*)?$")
    )]
    #[x_kube(validation = Rule::new("!self.split('?')[0].split('/').exists(part, part == '..' || part == '.')").message("must be an absolute path without `.` and `..`, such as `/orders/health`"))]
    pub path: String,
    /// Name of the port that answers; without it, the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 15), regex(pattern = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"))]
    pub port: Option<String>,
    /// The status that is good; without it, any of 200 to 299. A redirect is not followed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 200, max = 599))]
    pub status: Option<u16>,
}

/// An HTTP GET that one of its instances must answer well.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReleaseSmoke {
    /// What is asked for.
    pub path: String,
    /// Number of the port that answers.
    pub port: u16,
    /// The status that is good; without it, any of 200 to 299.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
}
