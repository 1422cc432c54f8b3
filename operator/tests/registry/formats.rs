//! Images and indexes of several architectures, as OCI and as Docker write them.

use std::{collections::BTreeMap, sync::Arc};

use imaas_operator::registry::{digest::Digest, survey::Survey};
use serde_json::json;

use crate::scene::*;

/// Media types of an index, an image, its configuration and a layer.
const SCHEMAS: [[&str; 4]; 2] = [
    [
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.oci.image.config.v1+json",
        "application/vnd.oci.image.layer.v1.tar+gzip",
    ],
    [
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.docker.distribution.manifest.v2+json",
        "application/vnd.docker.container.image.v1+json",
        "application/vnd.docker.image.rootfs.diff.tar.gzip",
    ],
];

#[tokio::test(flavor = "multi_thread")]
async fn an_image_and_an_index_of_either_schema_have_the_digest_that_their_bytes_have() {
    for [of_index, of_image, of_config, of_layer] in SCHEMAS {
        let lab = Lab::start(&es256()).await;
        let mut images = Vec::new();
        for architecture in ["amd64", "arm64"] {
            let config = json!({ "architecture": architecture, "os": "linux" }).to_string();
            let image = json!({
                "schemaVersion": 2, "mediaType": of_image,
                "config": blob(&lab, of_config, config.as_bytes()).await,
                "layers": [blob(&lab, of_layer, architecture.as_bytes()).await],
            })
            .to_string();
            let digest = digest_of(image.as_bytes());
            put(&lab, &digest, image.clone()).await;
            images.push(json!({
                "mediaType": of_image, "size": image.len(), "digest": digest,
                "platform": { "architecture": architecture, "os": "linux" },
            }));
            put(&lab, architecture, image).await;
        }
        let index = json!({ "schemaVersion": 2, "mediaType": of_index, "manifests": images }).to_string();
        put(&lab, "multi", index.clone()).await;

        let client = lab.client();
        for (tag, digest) in [
            ("multi", json!(digest_of(index.as_bytes()))),
            ("amd64", images[0]["digest"].clone()),
            ("arm64", images[1]["digest"].clone()),
        ] {
            let digest: Digest = digest.as_str().unwrap().parse().unwrap();
            let found = client.digest("acme", "orders", tag).await.unwrap();
            assert_eq!(found.as_ref(), Some(&digest), "{of_image}: {tag}");
            assert!(client.exists("acme", "orders", &digest).await.unwrap(), "{of_image}: {tag}");
        }
        let survey = Survey::new(Arc::new(client));
        let mut area = survey.area("acme", ["acme/orders"], &BTreeMap::new()).await.unwrap();
        survey.weigh("acme", &mut area).await.unwrap();
        let usage = area.usage();
        assert_eq!((usage.bytes, usage.images), (lab.bytes_on_disk(), 3), "{of_index}");
        assert_eq!(usage.uncounted, None);
    }
}
