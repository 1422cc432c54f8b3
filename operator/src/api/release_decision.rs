//! `ReleaseDecision`: what a person decided about releases. It is made once and never changed; the operator answers in its
//! status.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One decision of a person about one service in one environment.
#[allow(clippy::duplicated_attributes, reason = "columns of one type")]
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[kube(
    group = "imaas.dev",
    version = "v1alpha1",
    kind = "ReleaseDecision",
    plural = "releasedecisions",
    shortname = "idec",
    category = "imaas",
    namespaced,
    status = "ReleaseDecisionStatus",
    doc = "What a person decided about the releases of a service in one environment. It is made once, in the tenant's home namespace, and never changed.",
    derive = "PartialEq",
    cel,
    printcolumn(name = "Service", type_ = "string", json_path = ".spec.service"),
    printcolumn(name = "Environment", type_ = "string", json_path = ".spec.environment"),
    printcolumn(name = "Action", type_ = "string", json_path = ".spec.action"),
    printcolumn(name = "State", type_ = "string", json_path = ".status.state"),
    printcolumn(name = "Author", type_ = "string", json_path = ".spec.author"),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.message"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".spec.reason", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self == oldSelf").message("a ReleaseDecision is never changed: make another one"))]
#[x_kube(validation = Rule::new("!has(self.target) || !(self.action in ['hold', 'run', 'scale', 'pause', 'skip', 'abort'])").message("target: a hold is about all releases, run and scale about the one that runs, pause, skip and abort about the one that is tried: remove it"))]
#[x_kube(validation = Rule::new("self.action != 'approve' || has(self.target) && self.target.matches('^[0-9a-f]{40}$')").message("target: name the commit that you approve, 40 hexadecimal digits"))]
#[x_kube(validation = Rule::new("has(self.gate) == (self.action == 'pass')").message("gate: a pass says which gate it is of, and nothing else does"))]
#[x_kube(validation = Rule::new("has(self.replicas) == (self.action == 'scale')").message("replicas: a scale says how many instances, and nothing else does"))]
#[x_kube(validation = Rule::new("!has(self.expiresAt) || self.action in ['hold', 'bypass', 'scale']").message("expiresAt: only a hold, a bypass and a scale come to an end: remove it"))]
#[x_kube(validation = Rule::new("self.action != 'scale' || has(self.expiresAt)").message("expiresAt: say until when; then as many run as declared"))]
#[x_kube(validation = Rule::new("has(self.reason) || self.action in ['resume', 'retry', 'run', 'approve', 'pass', 'skip']").message("reason: say why, for those who find it later"))]
pub struct ReleaseDecisionSpec {
    /// Name of the IntegrationService in the same namespace.
    #[schemars(length(min = 1, max = 40), regex(pattern = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"))]
    pub service: String,
    /// Name of the Environment.
    #[schemars(length(min = 1, max = 12), regex(pattern = r"^[a-z][a-z0-9]*$"))]
    #[x_kube(validation = Rule::new("self != 'home'").message("is no environment"))]
    pub environment: String,
    /// What is to be done.
    pub action: DecisionAction,
    /// The release that it is about, by name; `reject` and `bypass` take the digest of an image as well, and `approve` the
    /// hash of a commit. Without it: `reject` and `retry` are about the release that Git asks for, `pass` about the one
    /// that runs, `rollback` goes to the one before that ran well, and `bypass` is about the image that the branch asks for.
    /// `resume` takes the name of the decision that it ends; without it, it ends all that it can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 100),
        regex(pattern = r"^(sha256:[0-9a-f]{64}|[0-9a-f]{40}|[a-z]([-a-z0-9]*[a-z0-9])?)$")
    )]
    pub target: Option<String>,
    /// Which of the environment's `gates` lets the release pass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 40), regex(pattern = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"))]
    pub gate: Option<String>,
    /// How many instances run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub replicas: Option<u16>,
    /// Why, for those who find it later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 500))]
    pub reason: Option<String>,
    /// When a hold, a bypass or a scale comes to an end by itself (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub expires_at: Option<String>,
    /// Who decides, as the cluster names them (`kubectl auth whoami`); nobody can write another's name.
    #[schemars(length(min = 1, max = 512))]
    pub author: String,
}

/// What may be decided. Each is a verb on `releases.imaas.dev` in the environment's namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum DecisionAction {
    /// That commit may run, where the environment asks for approval.
    Approve,
    /// A check outside of the cluster found nothing wrong with that release.
    Pass,
    /// That release never runs in this environment again; what ran before does.
    Reject,
    /// Nothing new runs until `resume`, or until it expires.
    Hold,
    /// Ends a hold, a pause, a rollback and a scale, or one of them.
    Resume,
    /// What is tried stays at its step until `resume`.
    Pause,
    /// What is tried goes on to its next step.
    Skip,
    /// What is tried, or takes the place of what ran, is given up.
    Abort,
    /// An older release runs again, until Git asks for something else or `resume`.
    Rollback,
    /// A release that failed is tried once more.
    Retry,
    /// What was never healthy in the environment before may run all the same.
    Bypass,
    /// A batch runs now, whatever its schedule says.
    Run,
    /// So many instances run until it expires, whatever the load.
    Scale,
}

impl DecisionAction {
    /// Every action there is.
    pub const ALL: [Self; 13] = [
        Self::Approve,
        Self::Pass,
        Self::Reject,
        Self::Hold,
        Self::Resume,
        Self::Pause,
        Self::Skip,
        Self::Abort,
        Self::Rollback,
        Self::Retry,
        Self::Bypass,
        Self::Run,
        Self::Scale,
    ];

    /// As it is written, which is also the verb.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Approve => "approve",
            Self::Pass => "pass",
            Self::Reject => "reject",
            Self::Hold => "hold",
            Self::Resume => "resume",
            Self::Pause => "pause",
            Self::Skip => "skip",
            Self::Abort => "abort",
            Self::Rollback => "rollback",
            Self::Retry => "retry",
            Self::Bypass => "bypass",
            Self::Run => "run",
            Self::Scale => "scale",
        }
    }

    /// Once taken it holds until it is over; any other is done at once.
    pub const fn holds(self) -> bool {
        match self {
            Self::Approve
            | Self::Pass
            | Self::Reject
            | Self::Hold
            | Self::Pause
            | Self::Skip
            | Self::Rollback
            | Self::Bypass
            | Self::Scale => true,
            Self::Resume | Self::Abort | Self::Retry | Self::Run => false,
        }
    }
}

/// The operator's answer, with what it is about as it was when it was taken.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReleaseDecisionStatus {
    /// Missing until the operator has looked at it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<DecisionState>,
    /// Why it was refused, in one word of the closed set of reasons; missing of any other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What follows from it, or why it was refused or is over.
    #[serde(default)]
    pub message: String,
    /// The resourceVersion with which it was made, which is higher the later that was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<i64>,
    /// The release that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<String>,
    /// Of a skip: how many steps the release had passed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passed: Option<u16>,
    /// Of a rollback: the release that Git asked for, which it went back from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Of a rollback: the head of the branch, from which it went back. Of an approval: what is approved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// What Git asked for in the release that is rejected, or that a rollback went back from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_revision: Option<String>,
    /// Of a bypass: what the image is built of; where the image was not known yet, the first that is found for it is let in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build_id: Option<String>,
    /// The image that is approved, passes or is let in; of a reject, where it is of an image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
}

/// What became of a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum DecisionState {
    /// It holds.
    InForce,
    /// It was done, or is over.
    Done,
    /// It was not taken.
    Refused,
}

impl DecisionState {
    /// As it is written, which is also the metric label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InForce => "InForce",
            Self::Done => "Done",
            Self::Refused => "Refused",
        }
    }
}
