#![expect(clippy::disallowed_types, reason = "IO: asks the API server")]
//! Are the chart's admission policies in force? All ownership rests on them, so nothing is made before they are proven.
//!
//! The proof is a dry run of requests of the operator's own that RBAC allows and the policies must refuse. A
//! policy that is stored proves nothing: it may lack its binding, name another user, or not be active yet.

use std::{future::Future, time::Duration};

use futures::Stream;
use k8s_openapi::api::{
    core::v1::Namespace,
    rbac::v1::{ClusterRole, PolicyRule, RoleBinding, RoleRef, Subject},
};
use kube::{
    Api,
    api::{ObjectMeta, Patch, PatchParams, PostParams},
    core::Status,
};
use tokio::{sync::watch, time::Instant};
use tracing::Level;

use crate::{
    api::{DecisionAction, GROUP, ReleaseDecision, ReleaseDecisionSpec},
    cluster::Cluster,
    conditions::Reason,
    health::Health,
    names::{MANAGER, OPERATOR_ROLE, TENANT},
    platform::Settings,
    retry::Retry,
};

/// The gate of `/readyz` that this opens.
pub const GATE: &str = "policies";
/// A namespace that is everywhere and never a tenant's.
const FOREIGN: &str = "kube-system";
const NAMESPACES: &str = "imaas-namespaces";
const ROLE_BINDINGS: &str = "imaas-rolebindings";
const CLUSTER_ROLES: &str = "imaas-clusterroles";
const DECISIONS: &str = "imaas-decisions";
/// What the dry runs would make.
const PROOF: &str = "imaas-policy-proof";
/// How often what is proven is proven again.
const PROVEN: Duration = Duration::from_mins(3);
/// How often it is tried while it is not; a policy is active a moment after its binding is stored.
const UNPROVEN: Duration = Duration::from_secs(2);

/// For how long after the start it is no defect that they do not enforce: the API server loads a policy some time after
/// it is stored, and an installation stores both at once.
const PATIENCE: Duration = Duration::from_mins(2);

/// The policies do not protect, as far as can be told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Missing {
    /// What must be refused was not.
    #[error(
        "the admission policy {0} does not enforce: install the chart's policies and their bindings, for the operator's own user"
    )]
    NotEnforced(&'static str),
    /// It was refused, but by something else.
    #[error("the admission policy {policy} cannot be proven, another check refuses first: {message}")]
    Shadowed {
        /// Its name.
        policy: &'static str,
        /// What the API server said.
        message: String,
    },
    /// Not tried since the start.
    #[error("the admission policies are not proven yet")]
    Untried,
    /// No answer; says nothing about the policies.
    #[error("the admission policy {policy} cannot be proven now: {message}")]
    Unknown {
        /// Its name.
        policy: &'static str,
        /// What went wrong.
        message: String,
    },
}

impl Missing {
    /// It may heal at any moment; [`Policies::changes`] tells, this is the fallback.
    pub fn retry(&self) -> Retry {
        Retry::After(Duration::from_mins(1))
    }

    /// Condition reason, event reason and metric label.
    pub fn reason(&self) -> Reason {
        Reason::PoliciesMissing
    }
}

/// What was proven last. Cheap to clone; closed until the first proof.
#[derive(Clone)]
pub struct Policies {
    health: Health,
    state: watch::Sender<Result<(), Missing>>,
}

impl Policies {
    /// Closes the gate; only [`Policies::run`] opens it.
    pub fn new(health: Health) -> Self {
        health.close(GATE, Missing::Untried.to_string());
        Self { health, state: watch::Sender::new(Err(Missing::Untried)) }
    }

    /// May anything be made?
    pub fn proven(&self) -> Result<(), Missing> {
        self.state.borrow().clone()
    }

    /// One item whenever the answer of [`Policies::proven`] changes.
    pub fn changes(&self) -> impl Stream<Item = ()> + Send + use<> {
        let receiver = self.state.subscribe();
        futures::stream::unfold(receiver, |mut receiver| async move {
            receiver.changed().await.ok().map(|()| ((), receiver))
        })
    }

    /// Proves at once, then again and again until `shutdown` resolves.
    pub async fn run(self, cluster: Cluster, settings: Settings, shutdown: impl Future<Output = ()> + Send) {
        let mut shutdown = std::pin::pin!(shutdown);
        let (begun, mut told) = (Instant::now(), Told::default());
        loop {
            let outcome = enforced(&cluster, &settings).await;
            told.tell(&outcome, begun.elapsed());
            self.learn(&outcome);
            let wait = if self.proven().is_ok() { PROVEN } else { UNPROVEN };
            tokio::select! {
                () = &mut shutdown => return,
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// Takes in what a proof gave.
    pub fn learn(&self, outcome: &Result<(), Missing>) {
        // No answer takes back no proof.
        let keep = matches!(outcome, Err(Missing::Unknown { .. })) && self.proven().is_ok();
        match outcome {
            Err(_) if keep => {}
            Err(missing) => self.health.close(GATE, missing.to_string()),
            Ok(()) => self.health.open(GATE),
        }
        self.state.send_if_modified(|state| {
            let changed = !keep && state != outcome;
            if changed {
                state.clone_from(outcome);
            }
            changed
        });
    }
}

/// What was logged last, so that the same is not said every time.
#[derive(Debug, Default)]
struct Told {
    last: Option<(Level, Option<Missing>)>,
    was_proven: bool,
}

impl Told {
    fn tell(&mut self, outcome: &Result<(), Missing>, since_start: Duration) {
        let error = outcome.as_ref().err().map(|missing| missing as &dyn std::error::Error);
        match self.level(outcome, since_start) {
            Some(Level::ERROR) => tracing::error!(error, "admission policies do not enforce"),
            Some(Level::WARN) => tracing::warn!(error, "admission policies are not proven yet"),
            Some(_) => tracing::info!("admission policies enforce"),
            None => {}
        }
    }

    /// A person is needed where policies went, or do not come; an answer that did not come says nothing of them.
    fn level(&mut self, outcome: &Result<(), Missing>, since_start: Duration) -> Option<Level> {
        let level = match outcome {
            Ok(()) => Level::INFO,
            Err(Missing::NotEnforced(_) | Missing::Shadowed { .. })
                if self.was_proven || since_start >= PATIENCE =>
            {
                Level::ERROR
            }
            Err(_) => Level::WARN,
        };
        self.was_proven |= outcome.is_ok();
        let now = Some((level, outcome.clone().err()));
        (self.last != now).then(|| {
            self.last = now;
            level
        })
    }
}

/// Tries what must be refused. Nothing is stored: all requests are dry runs.
pub async fn enforced(cluster: &Cluster, settings: &Settings) -> Result<(), Missing> {
    let label = serde_json::json!({ "metadata": { "labels": { TENANT: "not-a-tenant" } } });
    let params =
        PatchParams { dry_run: true, field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    let namespaces = Api::<Namespace>::all(cluster.client());
    let stolen = namespaces.patch_metadata(FOREIGN, &params, &Patch::Merge(label)).await;
    refused_by(NAMESPACES, stolen.err().as_ref())?;

    let params = PostParams { dry_run: true, field_manager: Some(MANAGER.to_owned()) };
    let bindings = Api::<RoleBinding>::namespaced(cluster.client(), FOREIGN);
    let bound = bindings.create(&params, &binding(settings)).await;
    refused_by(ROLE_BINDINGS, bound.err().as_ref())?;

    let made = Api::<ClusterRole>::all(cluster.client()).create(&params, &cluster_role()).await;
    refused_by(CLUSTER_ROLES, made.err().as_ref())?;

    let decisions = Api::<ReleaseDecision>::namespaced(cluster.client(), &settings.namespace);
    let decided = decisions.create(&params, &decision()).await;
    refused_by(DECISIONS, decided.err().as_ref())
}

/// One by nobody.
fn decision() -> ReleaseDecision {
    let spec = ReleaseDecisionSpec {
        service: PROOF.to_owned(),
        environment: "proof".to_owned(),
        action: DecisionAction::Resume,
        target: None,
        gate: None,
        replicas: None,
        reason: None,
        expires_at: None,
        author: PROOF.to_owned(),
    };
    ReleaseDecision::new(PROOF, spec)
}

/// One that RBAC lets the operator make: it gives what the operator has itself.
fn cluster_role() -> ClusterRole {
    let rule = PolicyRule {
        api_groups: Some(vec![GROUP.to_owned()]),
        resources: Some(vec!["tenants".to_owned()]),
        verbs: vec!["get".to_owned()],
        ..PolicyRule::default()
    };
    let metadata = ObjectMeta { name: Some(PROOF.to_owned()), ..ObjectMeta::default() };
    ClusterRole { metadata, rules: Some(vec![rule]), aggregation_rule: None }
}

/// One that RBAC lets the operator make: its own role for itself.
fn binding(settings: &Settings) -> RoleBinding {
    RoleBinding {
        metadata: ObjectMeta { name: Some(PROOF.to_owned()), ..ObjectMeta::default() },
        role_ref: RoleRef {
            api_group: "rbac.authorization.k8s.io".to_owned(),
            kind: "ClusterRole".to_owned(),
            name: OPERATOR_ROLE.to_owned(),
        },
        subjects: Some(vec![Subject {
            kind: "ServiceAccount".to_owned(),
            name: settings.service_account.clone(),
            namespace: Some(settings.namespace.clone()),
            api_group: None,
        }]),
    }
}

/// Was it `policy` that said no?
fn refused_by(policy: &'static str, error: Option<&kube::Error>) -> Result<(), Missing> {
    match error {
        None => Err(Missing::NotEnforced(policy)),
        Some(kube::Error::Api(status))
            if status.message.contains(&format!("ValidatingAdmissionPolicy '{policy}'")) =>
        {
            Ok(())
        }
        Some(kube::Error::Api(status)) if is_verdict(status) => {
            Err(Missing::Shadowed { policy, message: status.message.clone() })
        }
        Some(other) => Err(Missing::Unknown { policy, message: other.to_string() }),
    }
}

/// Did the request come as far as admission? An API server that is starting knows nobody (401), or no rights yet (403 of
/// RBAC).
fn is_verdict(status: &Status) -> bool {
    let is_by_rights = status.code == 403 && status.message.contains(": User \"");
    status.code < 500 && !matches!(status.code, 401 | 429) && !is_by_rights
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;

    use super::*;

    fn api(code: u16, message: &str) -> kube::Error {
        kube::Error::Api(Box::new(Status { code, message: message.into(), ..Status::default() }))
    }

    #[test]
    fn only_the_refusal_of_the_policy_itself_is_a_proof() {
        let by_policy = api(
            403,
            "namespaces \"kube-system\" is forbidden: ValidatingAdmissionPolicy 'imaas-namespaces' with binding 'imaas-namespaces' denied request: set by the operator",
        );
        let by_rbac = api(403, "namespaces \"kube-system\" is forbidden: User \"x\" cannot patch resource");
        assert_eq!(refused_by(NAMESPACES, Some(&by_policy)), Ok(()));
        assert!(matches!(refused_by(ROLE_BINDINGS, Some(&by_policy)), Err(Missing::Shadowed { .. })));
        let by_another =
            api(403, "namespaces \"kube-system\" is forbidden: admission webhook \"x\" denied the request");
        assert!(matches!(refused_by(NAMESPACES, Some(&by_another)), Err(Missing::Shadowed { .. })));
        for starting in [by_rbac, api(401, "Unauthorized"), api(429, "busy")] {
            let outcome = refused_by(NAMESPACES, Some(&starting));
            assert!(matches!(outcome, Err(Missing::Unknown { .. })), "{starting}");
        }
        assert_eq!(refused_by(NAMESPACES, None), Err(Missing::NotEnforced(NAMESPACES)));
        assert!(matches!(refused_by(NAMESPACES, Some(&api(503, "busy"))), Err(Missing::Unknown { .. })));
    }

    #[test]
    fn an_alarm_is_raised_once_and_not_for_a_policy_that_is_only_being_loaded() {
        let missing = || Err(Missing::NotEnforced(NAMESPACES));
        let unknown = || Err(Missing::Unknown { policy: NAMESPACES, message: "refused".into() });
        let (early, late) = (Duration::from_secs(3), PATIENCE);

        let mut installed = Told::default();
        assert_eq!(installed.level(&missing(), early), Some(Level::WARN));
        assert_eq!(installed.level(&missing(), early), None);
        assert_eq!(installed.level(&Ok(()), early), Some(Level::INFO));
        assert_eq!(installed.level(&unknown(), early), Some(Level::WARN));
        assert_eq!(installed.level(&missing(), early), Some(Level::ERROR), "it was there before");

        let mut never = Told::default();
        assert_eq!(never.level(&unknown(), late), Some(Level::WARN));
        assert_eq!(never.level(&missing(), late), Some(Level::ERROR));
        assert_eq!(never.level(&missing(), late), None);
    }

    #[tokio::test]
    async fn the_gate_opens_by_proof_and_closes_by_disproof_only() {
        let health = Health::default();
        let policies = Policies::new(health.clone());
        let mut changes = Box::pin(policies.changes());
        assert!(policies.proven().is_err() && !health.is_open(GATE));

        policies.learn(&Ok(()));
        assert!(policies.proven().is_ok() && health.is_open(GATE));
        assert_eq!(changes.next().await, Some(()));

        policies.learn(&Err(Missing::Unknown { policy: NAMESPACES, message: "connection refused".into() }));
        assert!(policies.proven().is_ok() && health.is_open(GATE));

        policies.learn(&Err(Missing::NotEnforced(NAMESPACES)));
        assert!(policies.proven().is_err() && !health.is_open(GATE));
        assert_eq!(changes.next().await, Some(()));
    }
}
