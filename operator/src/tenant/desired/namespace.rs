//! The namespace itself: whose it is, and that pods in it are `restricted`. Pure.

use std::collections::BTreeMap;

use k8s_openapi::{api::core::v1::Namespace, apimachinery::pkg::apis::meta::v1::ObjectMeta};

use super::Place;
use crate::names;

pub(super) fn namespace(place: &Place<'_>) -> Namespace {
    let mut labels = place.labels();
    for mode in ["enforce", "audit", "warn"] {
        labels.insert(format!("pod-security.kubernetes.io/{mode}"), "restricted".to_owned());
        labels.insert(format!("pod-security.kubernetes.io/{mode}-version"), "latest".to_owned());
    }
    Namespace {
        metadata: ObjectMeta {
            name: Some(place.namespace.to_owned()),
            labels: Some(labels),
            annotations: Some(BTreeMap::from([(names::ORIGIN.to_owned(), place.tenant.origin.clone())])),
            ..ObjectMeta::default()
        },
        ..Namespace::default()
    }
}
