//! Signatures of images, as `cosign sign --key` puts them beside the image.

use std::{collections::BTreeMap, sync::Arc};

use base64::{Engine, engine::general_purpose::STANDARD};
use imaas_operator::registry::{
    digest::Digest,
    signature::{Flaw, Seal},
    survey::Survey,
};
use rcgen::SigningKey;
use serde_json::{Value, json};

use crate::scene::*;

const LAYER: &str = "application/vnd.dev.cosign.simplesigning.v1+json";

fn pair() -> rcgen::KeyPair {
    rcgen::KeyPair::generate().unwrap()
}

fn payload(name: &str, digest: &Digest) -> String {
    format!(
        r#"{{"critical":{{"identity":{{"docker-reference":"{name}"}},"image":{{"docker-manifest-digest":"{digest}"}},"type":"cosign container image signature"}},"optional":null}}"#
    )
}

/// A layer of a signature.
async fn signed(lab: &Lab, key: &rcgen::KeyPair, payload: &str) -> Value {
    let mut layer = blob(lab, LAYER, payload.as_bytes()).await;
    let signature = STANDARD.encode(key.sign(payload.as_bytes()).unwrap());
    layer["annotations"] = json!({ "dev.cosignproject.cosign/signature": signature });
    layer
}

async fn put_signatures(lab: &Lab, image: &Digest, layers: &[Value]) {
    let config = blob(lab, "application/vnd.oci.image.config.v1+json", b"{}").await;
    let kind = "application/vnd.oci.image.manifest.v1+json";
    let manifest = json!({ "schemaVersion": 2, "mediaType": kind, "config": config, "layers": layers });
    put(lab, &format!("sha256-{}.sig", image.hex()), manifest.to_string()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_is_signed_once_one_of_its_signatures_is_right_and_signatures_are_counted() {
    let lab = Lab::start(&es256()).await;
    assert_done(&lab.push("acme.push", "acme/orders:one").await);
    let client = lab.client();
    let image = client.digest("acme", "orders", "one").await.unwrap().unwrap();
    let (key, other) = (pair(), pair());
    let seal = Seal { digest: image.to_string(), keys: vec![key.public_key_pem().parse().unwrap()] };
    let asked = async || client.signed(("acme", "orders"), &seal).await.unwrap();
    assert_eq!(asked().await, Err(Flaw::Unsigned));

    let right = payload(&lab.image("acme/orders"), &image);
    let others = signed(&lab, &other, &right).await;
    put_signatures(&lab, &image, std::slice::from_ref(&others)).await;
    assert_eq!(asked().await, Err(Flaw::OtherKey));
    let another = payload(&lab.image("acme/orders"), &digest_of(b"another").parse().unwrap());
    let of_another = signed(&lab, &key, &another).await;
    put_signatures(&lab, &image, &[of_another.clone(), others.clone()]).await;
    assert_eq!(asked().await, Err(Flaw::OtherImage));
    let elsewhere = signed(&lab, &key, &payload(&lab.image("beta/orders"), &image)).await;
    put_signatures(&lab, &image, &[elsewhere.clone(), of_another.clone()]).await;
    assert_eq!(asked().await, Err(Flaw::OtherName));
    // More than is ever signed is not read, and not the registry's fault.
    let long = format!("{right}{}", " ".repeat(64 * 1024));
    put_signatures(&lab, &image, &[signed(&lab, &key, &long).await]).await;
    assert_eq!(asked().await, Err(Flaw::Unsigned));

    let layers = [signed(&lab, &key, &right).await, others, of_another, elsewhere];
    put_signatures(&lab, &image, &layers).await;
    assert_eq!(asked().await, Ok(()));
    let beta = client.signed(("beta", "orders"), &seal).await.unwrap();
    assert_eq!(beta, Err(Flaw::Unsigned), "it is acme's");

    let survey = Survey::new(Arc::new(client));
    let area = survey.area("acme", ["acme/orders"], &BTreeMap::new()).await.unwrap();
    let tags: Vec<_> = area.repositories["acme/orders"].values().flatten().collect();
    assert!(tags.contains(&&seal.tag()) && tags.len() == 2, "{tags:?}");
    assert_eq!(area.usage().images, 2, "the image and what is signed of it");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_is_signed_as_it_is_and_a_registry_that_is_gone_says_nothing() {
    let mut lab = Lab::start(&es256()).await;
    for image in ["acme/orders:one", "acme/orders:arm"] {
        assert_done(&lab.push("acme.push", image).await);
    }
    let [one, arm, index] = ["one", "arm", "multi"].map(|tag| lab.image(&format!("acme/orders:{tag}")));
    assert_done(&lab.crane("acme.push", &["index", "append", "-m", &one, "-m", &arm, "-t", &index]).await);
    let (client, key) = (lab.client(), pair());
    let image = client.digest("acme", "orders", "multi").await.unwrap().unwrap();
    let layer = signed(&lab, &key, &payload(&lab.image("acme/orders"), &image)).await;
    put_signatures(&lab, &image, &[layer]).await;
    let seal = Seal { digest: image.to_string(), keys: vec![key.public_key_pem().parse().unwrap()] };
    assert_eq!(client.signed(("acme", "orders"), &seal).await.unwrap(), Ok(()));
    let child = client.digest("acme", "orders", "one").await.unwrap().unwrap();
    let of_child = Seal { digest: child.to_string(), ..seal.clone() };
    assert_eq!(client.signed(("acme", "orders"), &of_child).await.unwrap(), Err(Flaw::Unsigned));

    lab.stop_registry().await;
    let error = client.signed(("acme", "orders"), &seal).await.unwrap_err();
    assert_eq!(error.reason(), imaas_operator::conditions::Reason::RegistryUnreachable);
}

/// Recorded: `operator/tests/registry/cosign/README.md` says how.
#[tokio::test(flavor = "multi_thread")]
async fn what_cosign_itself_wrote_is_believed_by_its_keys_and_no_other() {
    const MANIFEST: &str = include_str!("cosign/manifest.json");
    const IMAGE: &str = "sha256:2171e4c5725abf6f0fa216fc0747e52f2158aefef5b098e38b186f3eb975e73f";
    let lab = Lab::start(&es256()).await;
    for content in [&include_bytes!("cosign/config.json")[..], include_bytes!("cosign/payload.json")] {
        blob(&lab, "", content).await;
    }
    let client = lab.client();
    let asked = async |image: &str, keys: &[&str]| {
        let keys = keys.iter().map(|key| key.parse().unwrap()).collect();
        let seal = Seal { digest: image.to_owned(), keys };
        client.signed(("acme", "orders"), &seal).await.unwrap()
    };
    let [first, second] = [include_str!("cosign/first.pub"), include_str!("cosign/second.pub")];
    assert_eq!(asked(IMAGE, &[first]).await, Err(Flaw::Unsigned), "nothing is there yet");
    put(&lab, &format!("{}.sig", IMAGE.replace(':', "-")), MANIFEST.to_owned()).await;
    let other = pair().public_key_pem();
    for keys in [&[first][..], &[second], &[other.as_str(), first]] {
        assert_eq!(asked(IMAGE, keys).await, Ok(()));
    }
    assert_eq!(asked(IMAGE, &[&other]).await, Err(Flaw::OtherKey));
    // Laid beside another image by somebody who may push.
    let another = digest_of(b"another");
    put(&lab, &format!("{}.sig", another.replace(':', "-")), MANIFEST.to_owned()).await;
    assert_eq!(asked(&another, &[first]).await, Err(Flaw::OtherImage));
}
