//! Why a write failed, and when to try again. Pure.

use std::time::Duration;

use kube::core::Status;

use super::{ObjectKey, ReconcileError};
use crate::{conditions::Reason, retry::Retry};

/// Between two looks at an object that is not ours.
const FOREIGN: Duration = Duration::from_mins(1);
/// How soon the API server has counted what a new quota bounds, mostly.
const UNCOUNTED: Duration = Duration::from_millis(500);

/// The write that failed, and on what.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The object exists and is not ours.
    #[error("{0} exists and was not made by the operator: remove or rename it")]
    Foreign(String),
    /// The API server refused or failed it.
    #[error("cannot {verb} {object}: {}", told(.source))]
    Request {
        /// `apply`, `read`, …
        verb: &'static str,
        /// Kind, namespace and name.
        object: String,
        /// What the API server said.
        source: Box<kube::Error>,
    },
}

/// The API server's own sentence, without the type around it.
fn told(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}

impl ApplyError {
    fn status(&self) -> Option<&Status> {
        match self {
            Self::Request { source, .. } => match source.as_ref() {
                kube::Error::Api(status) => Some(status),
                _ => None,
            },
            Self::Foreign(_) => None,
        }
    }

    /// A right that the operator was given a moment ago may not be in force yet.
    pub fn is_forbidden(&self) -> bool {
        self.status().is_some_and(|status| status.code == 403)
    }

    /// It changed between reading and writing.
    pub fn is_conflict(&self) -> bool {
        self.status().is_some_and(|status| status.code == 409)
    }

    /// A quota was made a moment ago, and how much of it is used is not counted yet.
    fn is_uncounted(&self) -> bool {
        self.status().is_some_and(|status| status.message.contains("status unknown for quota"))
    }

    /// When to try again.
    pub fn retry(&self) -> Retry {
        match self {
            // No watch of ours tells that it was removed.
            Self::Foreign(_) => Retry::After(FOREIGN),
            Self::Request { .. } if self.is_uncounted() => Retry::After(UNCOUNTED),
            Self::Request { .. } => Retry::Backoff,
        }
    }

    /// Condition reason, event reason and metric label.
    pub fn reason(&self) -> Reason {
        match (self, self.status()) {
            (Self::Foreign(_), _) => Reason::NamespaceForeign,
            (_, Some(status)) if status.message.contains("exceeded quota") => Reason::QuotaExceeded,
            _ if self.is_uncounted() => Reason::Progressing,
            (_, Some(status)) if status.message.contains("being terminated") => Reason::NamespaceTerminating,
            (_, Some(status)) if status.code == 403 => Reason::Forbidden,
            _ => Reason::ApplyFailed,
        }
    }
}

/// Of a controller whose only failure is a write.
impl ReconcileError for ApplyError {
    fn retry(&self) -> Retry {
        Self::retry(self)
    }

    fn reason(&self) -> Reason {
        Self::reason(self)
    }
}

/// Did the API server answer with this status?
pub(super) fn is_code(error: &kube::Error, code: u16) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == code)
}

/// Only a field that somebody else manages tells that the object is not ours. Another conflict passes by itself: a quota
/// that counted something else at the same time refuses in this way too.
pub(super) fn refused(key: &ObjectKey, error: kube::Error) -> ApplyError {
    let is_foreign = |status: &Status| {
        let causes = status.details.iter().flat_map(|details| &details.causes);
        status.code == 409 && causes.into_iter().any(|cause| cause.reason == "FieldManagerConflict")
    };
    match &error {
        kube::Error::Api(status) if is_foreign(status) => ApplyError::Foreign(key.to_string()),
        _ => failed("apply", key, error),
    }
}

/// A request that went wrong otherwise.
pub(super) fn failed(verb: &'static str, key: &ObjectKey, source: kube::Error) -> ApplyError {
    ApplyError::Request { verb, object: key.to_string(), source: Box::new(source) }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Namespace;
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn only_a_field_of_somebody_else_makes_an_object_foreign() {
        let key = ObjectKey::named::<Namespace>(None, "acme-dev");
        let refused = |status: Value| {
            let status: Status = serde_json::from_value(status).unwrap();
            refused(&key, kube::Error::Api(status.boxed()))
        };
        let conflict = json!({ "code": 409, "reason": "Conflict", "message": "conflict with \"kubectl\": .spec.replicas",
            "details": { "causes": [{ "reason": "FieldManagerConflict", "field": ".spec.replicas" }] } });
        assert!(matches!(refused(conflict), ApplyError::Foreign(_)));
        let busy = "Operation cannot be fulfilled on resourcequotas \"imaas\": the object has been modified";
        let error = refused(json!({ "code": 409, "reason": "Conflict", "message": busy }));
        assert_eq!(error.retry(), Retry::Backoff, "{error}");
        assert!(error.to_string().contains(busy), "{error}");
    }
}
