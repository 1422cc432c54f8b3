//! The Secret with which a tenant's nodes pull or its CI pushes. Pure.

use k8s_openapi::{ByteString, api::core::v1::Secret};

use super::Place;

pub(super) fn secret(place: &Place<'_>, name: &str, docker_config: &str) -> Secret {
    let content = ByteString(docker_config.as_bytes().to_vec());
    Secret {
        metadata: place.metadata(name),
        type_: Some("kubernetes.io/dockerconfigjson".to_owned()),
        data: Some([(".dockerconfigjson".to_owned(), content)].into()),
        ..Secret::default()
    }
}
