//! The wire types: what a user writes and what `kubectl get -o yaml` shows. One file a kind, and the descriptor.
//!
//! They hold plain strings and numbers, and are lenient: an object that an older or newer operator stored still
//! loads. Being strict is the work of the API server (schema, CEL), of `source::parse` (Git) and of each stage's
//! `validate`. A field whose behaviour is not built is not here.

pub mod analysis;
pub mod broker;
pub mod descriptor;
pub mod environment;
pub mod gateway;
pub mod hours;
pub mod http_route;
pub mod integration_service;
pub mod limits;
pub mod quantity;
pub mod release;
pub mod release_decision;
pub mod retirement;
pub mod runtime;
pub mod scaled_object;
pub mod smoke;
pub mod tenant;
pub mod tenant_source;
pub mod trigger;

pub use analysis::{Analysis, ReleaseAnalysis};
pub use broker::Broker;
pub use descriptor::{
    Concurrency, DescriptorSpec, Expose, Instances, Port, Rollout, Scaling, Schedule, ServiceDescriptor,
    Step, Strategy, Use, WorkloadType,
};
pub use environment::{Environment, EnvironmentSpec};
pub use hours::{OpenWindow, ScalingWindow};
pub use http_route::HttpRoute;
pub use integration_service::{Export, IntegrationService, IntegrationServiceSpec, IntegrationServiceStatus};
pub use limits::{Limits, TenantLimits};
pub use quantity::Quantity;
pub use release::{
    Cause, Release, ReleaseExpose, ReleaseScaling, ReleaseSpec, ReleaseStatus, ReleaseStep, ReleaseUse,
};
pub use release_decision::{
    DecisionAction, DecisionState, ReleaseDecision, ReleaseDecisionSpec, ReleaseDecisionStatus,
};
pub use retirement::{Retirement, RetirementStage};
pub use runtime::{IntegrationRuntime, IntegrationRuntimeSpec, RuntimeProfile};
pub use scaled_object::{ScaledObject, TriggerAuthentication};
pub use smoke::{ReleaseSmoke, Smoke};
pub use tenant::{
    Member, MemberKind, Quota, RegistryUsage, Role, ServiceEntry, Sleep, Tenant, TenantSpec, TenantStatus,
};
pub use tenant_source::{Settled, TenantSource, TenantSourceSpec, TenantSourceStatus};
pub use trigger::{Fallback, Trigger};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResourceExt, KubeSchema};
use serde::{Deserialize, Serialize};

/// API group of every kind.
pub const GROUP: &str = "imaas.dev";
/// `<group>/<version>`, as a tenant file and a descriptor begin.
pub const API_VERSION: &str = "imaas.dev/v1alpha1";

/// Every kind the operator needs, in the order of the design's table.
pub fn crds() -> Vec<CustomResourceDefinition> {
    vec![
        TenantSource::crd(),
        Environment::crd(),
        IntegrationRuntime::crd(),
        Tenant::crd(),
        IntegrationService::crd(),
        Release::crd(),
        ReleaseDecision::crd(),
    ]
}

/// CEL: what to write instead of `git@host:path`, which is what Git hosts offer to copy.
const AS_HTTPS: &str = "'write https://' + self.split('@')[self.split('@').size() - 1].replace(':', '/', self.contains('://') ? 0 : 1) + ', and for a private repository name a Secret with `username` and `password` in `credentials`'";

/// Where a repository is and how to read it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Repository {
    /// `https://host/path`; no user, password, query or fragment.
    #[schemars(length(min = 1, max = 2048))]
    #[x_kube(validation = Rule::new("!self.contains('@') || self.startsWith('https://') || self.startsWith('http://')").message(Message::Expression(AS_HTTPS.to_owned())))]
    #[x_kube(validation = Rule::new("self.startsWith('https://') || self.startsWith('http://')").message("must begin with https://"))]
    #[x_kube(validation = Rule::new("self.split('/').size() < 3 || !self.split('/')[2].contains('@')").message("must not hold a user or password: put them in a Secret and name it in `credentials`"))]
    #[x_kube(validation = Rule::new("!self.contains('?') && !self.contains('#')").message("must not hold a query or a fragment"))]
    pub url: String,
    /// Name of a Secret with `username` and `password`, and `ca.crt` where the host's certificate is signed by a
    /// private authority. A tenant's stands in its home namespace, a `TenantSource`'s in the operator's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub credentials: Option<String>,
}

/// A status that is only conditions: of kinds that the platform writes and the operator checks.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct CheckedStatus {
    /// `metadata.generation` that `conditions` describe.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Ready`, and `Stalled` when only a change of the object can help.
    #[serde(default)]
    #[x_kube(merge_strategy = kube::core::ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}
