//! Whether somebody who holds one of some keys signed an image, as `cosign sign --key` signs. Pure.
//!
//! A signature is of a payload that names the image, and lies beside it: in a manifest under the tag `sha256-<digits>.sig`,
//! a layer for each signature. All of it is written by whoever may push, so that nothing but what a key signed is believed.
//! Format: <https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md>.

use std::{collections::BTreeMap, fmt, str::FromStr};

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, ParsedPublicKey};
use base64::{Engine, engine::general_purpose::STANDARD};
use rustls_pki_types::pem::{PemObject, SectionKind};
use serde::Deserialize;

use super::digest::Digest;

/// Signatures of one image that are looked at: the newest, which cosign puts behind the others.
const LOOKED_AT: usize = 16;
const LAYER: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
const ANNOTATION: &str = "dev.cosignproject.cosign/signature";
const PAYLOAD: &str = "cosign container image signature";

/// A public key by which signatures are verified, as DER.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PublicKey(Vec<u8>);

/// The text is not one public key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not one ECDSA P-256 public key in PEM: write what `cosign public-key --key` prints")]
pub struct NotAKey;

impl FromStr for PublicKey {
    type Err = NotAKey;

    /// From PEM (`-----BEGIN PUBLIC KEY-----`), with nothing else in it: a second key would count for nothing, and a private
    /// one belongs nowhere.
    fn from_str(text: &str) -> Result<Self, NotAKey> {
        let mut sections = <(SectionKind, Vec<u8>)>::pem_slice_iter(text.as_bytes());
        match (sections.next(), sections.next()) {
            (Some(Ok((SectionKind::PublicKey, der))), None) => {
                let parsed = ParsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &der);
                parsed.map(|_| Self(der)).map_err(|_| NotAKey)
            }
            _ => Err(NotAKey),
        }
    }
}

impl PublicKey {
    fn signed(&self, payload: &[u8], signature: &[u8]) -> bool {
        let key = ParsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &self.0);
        key.is_ok_and(|key| key.verify_sig(payload, signature).is_ok())
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&STANDARD.encode(&self.0))
    }
}

/// What is asked of an image: that one of these keys signed it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seal {
    /// `sha256:…` of the image, or of its index.
    pub digest: String,
    /// Any of them will do.
    pub keys: Vec<PublicKey>,
}

impl Seal {
    /// Under which signatures of the image lie.
    pub fn tag(&self) -> String {
        format!("{}.sig", self.digest.replace(':', "-"))
    }
}

/// What an image lacks; the later, the nearer it is to be signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Flaw {
    /// Nobody signed it.
    Unsigned,
    /// Somebody did who holds none of the keys.
    OtherKey,
    /// What is signed is another image.
    OtherImage,
    /// What is signed is the image, under another name.
    OtherName,
}

/// A signature as its manifest refers to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attached {
    /// The blob that is signed.
    pub payload: Digest,
    signature: Vec<u8>,
}

#[derive(Deserialize)]
struct Manifest {
    layers: Vec<Layer>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Layer {
    media_type: String,
    digest: String,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Payload {
    critical: Critical,
}

#[derive(Deserialize)]
struct Critical {
    identity: Identity,
    image: Image,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
struct Identity {
    #[serde(rename = "docker-reference")]
    reference: String,
}

#[derive(Deserialize)]
struct Image {
    #[serde(rename = "docker-manifest-digest")]
    digest: String,
}

/// The signatures in a manifest, the newest first.
pub fn attached(manifest: &[u8]) -> Vec<Attached> {
    let layers = serde_json::from_slice(manifest).map_or_else(|_| vec![], |Manifest { layers }| layers);
    let signature = |layer: &Layer| {
        let signature = STANDARD.decode(layer.annotations.get(ANNOTATION)?).ok()?;
        Some(Attached { payload: layer.digest.parse().ok()?, signature })
    };
    let signatures = layers.iter().rev().filter(|layer| layer.media_type == LAYER);
    signatures.filter_map(signature).take(LOOKED_AT).collect()
}

impl Attached {
    /// Whether it is what `seal` asks for, of the image in `repository`, once `payload` is read.
    pub fn keeps(&self, seal: &Seal, repository: &str, payload: &[u8]) -> Result<(), Flaw> {
        if !seal.keys.iter().any(|key| key.signed(payload, &self.signature)) {
            return Err(Flaw::OtherKey);
        }
        let Ok(Payload { critical: Critical { identity, image, kind } }) = serde_json::from_slice(payload)
        else {
            return Err(Flaw::OtherImage);
        };
        if kind != PAYLOAD || image.digest != seal.digest {
            return Err(Flaw::OtherImage);
        }
        if is_in(&identity.reference, repository) { Ok(()) } else { Err(Flaw::OtherName) }
    }
}

/// Whether `reference` is an image in `repository`, by whatever name its host is reached from where it was signed.
fn is_in(reference: &str, repository: &str) -> bool {
    let path = reference.split_once('/').map(|(_, path)| path);
    path.and_then(|path| path.split([':', '@']).next()) == Some(repository)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rcgen::{KeyPair, SigningKey};
    use serde_json::json;

    use super::*;

    const REPOSITORY: &str = "acme/orders";

    fn digest(fill: char) -> Digest {
        format!("sha256:{}", fill.to_string().repeat(64)).parse().unwrap()
    }

    fn pair() -> KeyPair {
        KeyPair::generate().unwrap()
    }

    fn seal(keys: &[&KeyPair]) -> Seal {
        let keys = keys.iter().map(|pair| pair.public_key_pem().parse().unwrap()).collect();
        Seal { digest: digest('a').to_string(), keys }
    }

    /// Byte for byte as cosign writes it.
    fn payload(reference: &str, digest: &Digest) -> String {
        format!(
            r#"{{"critical":{{"identity":{{"docker-reference":"{reference}"}},"image":{{"docker-manifest-digest":"{digest}"}},"type":"cosign container image signature"}},"optional":null}}"#
        )
    }

    fn layer(pair: &KeyPair, payload: &str) -> serde_json::Value {
        let signature = STANDARD.encode(pair.sign(payload.as_bytes()).unwrap());
        json!({
            "mediaType": LAYER, "size": payload.len(), "digest": digest('b'),
            "annotations": { ANNOTATION: signature },
        })
    }

    fn manifest(layers: &[serde_json::Value]) -> Vec<u8> {
        json!({ "schemaVersion": 2, "config": {}, "layers": layers }).to_string().into_bytes()
    }

    fn judged(pair: &KeyPair, payload: &str, seal: &Seal) -> Result<(), Flaw> {
        let attached = attached(&manifest(&[layer(pair, payload)]));
        assert_eq!((attached.len(), &attached[0].payload), (1, &digest('b')));
        attached[0].keeps(seal, REPOSITORY, payload.as_bytes())
    }

    #[test]
    fn a_signature_is_by_one_of_the_keys_of_this_image_and_under_its_name() {
        let (old, new, other) = (pair(), pair(), pair());
        let wanted = seal(&[&old, &new]);
        let right = payload("registry.example.com/acme/orders", &digest('a'));
        assert_eq!(judged(&old, &right, &wanted), Ok(()));
        assert_eq!(judged(&new, &right, &wanted), Ok(()));
        assert_eq!(judged(&other, &right, &wanted), Err(Flaw::OtherKey));
        assert_eq!(judged(&old, &right, &seal(&[&new])), Err(Flaw::OtherKey), "a key that was taken away");
        assert_eq!(judged(&old, &right, &seal(&[])), Err(Flaw::OtherKey));
        let of_another = payload("registry.example.com/acme/orders", &digest('c'));
        assert_eq!(judged(&old, &of_another, &wanted), Err(Flaw::OtherImage));
        let attestation = right.replace(PAYLOAD, "atomic container signature");
        for no_payload in [attestation.as_str(), "{}", "", "null"] {
            assert_eq!(judged(&old, no_payload, &wanted), Err(Flaw::OtherImage), "{no_payload}");
        }
        let twice = right.replace(r#""image":{"#, r#""image":{"docker-manifest-digest":"sha256:c","#);
        assert_eq!(judged(&old, &twice, &wanted), Err(Flaw::OtherImage), "neither of two counts");
        let changed = attached(&manifest(&[layer(&old, &of_another)]));
        assert_eq!(changed[0].keeps(&wanted, REPOSITORY, right.as_bytes()), Err(Flaw::OtherKey));
    }

    #[test]
    fn a_name_is_compared_without_the_host_by_which_it_was_pushed() {
        let (key, image) = (pair(), digest('a'));
        let judged = |name: &str| judged(&key, &payload(name, &image), &seal(&[&key]));
        for name in ["registry.example.com/acme/orders", "localhost:5000/acme/orders", "r/acme/orders:one"] {
            assert_eq!(judged(name), Ok(()), "{name}");
        }
        for name in [
            "registry.example.com/beta/orders",
            "registry.example.com/acme/orders-eu",
            "registry.example.com/x/acme/orders",
            "registry.example.com/acme",
            "acme/orders",
            "",
        ] {
            assert_eq!(judged(name), Err(Flaw::OtherName), "{name}");
        }
    }

    #[test]
    fn the_newest_signatures_are_looked_at_and_nothing_that_is_none() {
        let key = pair();
        let right = layer(&key, &payload("r/acme/orders", &digest('a')));
        let other = |field: &str, value: serde_json::Value| {
            let mut layer = right.clone();
            layer[field] = value;
            layer
        };
        for layer in [
            other("mediaType", json!("application/vnd.oci.image.layer.v1.tar+gzip")),
            other("digest", json!("sha512:00")),
            other("annotations", json!({})),
            other("annotations", json!({ ANNOTATION: "no base64!" })),
        ] {
            assert_eq!(attached(&manifest(&[layer.clone(), right.clone()])).len(), 1, "{layer}");
        }
        for no_manifest in ["", "[]", "{}", r#"{"layers": null}"#, r#"{"manifests": []}"#] {
            assert_eq!(attached(no_manifest.as_bytes()), [], "{no_manifest}");
        }
        let mut many = vec![right.clone(); LOOKED_AT];
        many.push(other("digest", json!(digest('d'))));
        let attached = attached(&manifest(&many));
        assert_eq!((attached.len(), &attached[0].payload), (LOOKED_AT, &digest('d')));
    }

    #[test]
    fn only_one_public_key_of_the_right_kind_is_a_key() {
        let key = pair();
        let public = key.public_key_pem();
        assert!(public.parse::<PublicKey>().is_ok());
        assert!(format!("# release managers\n{public}\n").parse::<PublicKey>().is_ok());
        let p384 = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
        let ed25519 = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        for no_key in [
            String::new(),
            "cosign.pub".to_owned(),
            key.serialize_pem(),
            public.clone() + &public,
            public.clone() + &key.serialize_pem(),
            public.replace("PUBLIC KEY", "CERTIFICATE"),
            public.replacen('M', "A", 1),
            p384.public_key_pem(),
            ed25519.public_key_pem(),
        ] {
            assert_eq!(no_key.parse::<PublicKey>(), Err(NotAKey), "{no_key}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_stop_the_look_or_are_let_in(
            manifest in fragments(), payload in fragments(), signature in proptest::collection::vec(any::<u8>(), 0..80),
        ) {
            let seal = seal(&[&pair()]);
            for one in attached(&manifest) {
                prop_assert!(one.keeps(&seal, REPOSITORY, &payload).is_err());
            }
            let one = Attached { payload: digest('b'), signature };
            prop_assert!(one.keeps(&seal, REPOSITORY, &payload).is_err());
            prop_assert!(String::from_utf8_lossy(&payload).parse::<PublicKey>().is_err());
        }
    }

    /// Bytes, and pieces of what is looked for in any order.
    fn fragments() -> impl Strategy<Value = Vec<u8>> {
        let pieces = [
            "{\"layers\":[",
            "{\"mediaType\":\"",
            LAYER,
            "\",\"digest\":\"sha256:",
            "\"annotations\":{\"",
            ANNOTATION,
            "\":\"MEYC",
            "{\"critical\":{",
            "\"image\":{\"docker-manifest-digest\":",
            "\"",
            "}",
            "]",
            ",",
            "null",
            "-----BEGIN PUBLIC KEY-----\n",
        ];
        let piece = prop_oneof![
            proptest::sample::select(pieces.to_vec()).prop_map(|piece| piece.as_bytes().to_vec()),
            proptest::collection::vec(any::<u8>(), 0..8),
        ];
        proptest::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
    }
}
