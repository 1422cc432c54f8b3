//! A registry as the stage sees it: it has what it is asked for, and says what was deleted in it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use axum::{
    Router,
    extract::{Path, State},
    http::{HeaderName, StatusCode},
    routing::{get, head},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use rcgen::{KeyPair, SigningKey};
use serde_json::json;

/// A digest that the registry does not have.
pub const NO_IMAGE: &str = "sha256:0000000000000000000000000000000000000000000000000000000000000000";
/// What has the one tag in each repository.
pub const TAGGED: &str = "sha256:9999999999999999999999999999999999999999999999999999999999999999";
const TAG: &str = "once";
/// What was signed last.
const PAYLOAD: &str = "sha256:8888888888888888888888888888888888888888888888888888888888888888";

/// The tag of an image's signatures.
pub fn signature_of(image: &str) -> String {
    format!("{}.sig", image.replace(':', "-"))
}

/// Its areas have every digest but [`NO_IMAGE`], and under a tag what was put there.
#[derive(Clone)]
pub struct Registry {
    pub url: String,
    state: Arc<Content>,
}

#[derive(Default)]
struct Content {
    refuses_deletions: AtomicBool,
    deleted: Mutex<BTreeSet<String>>,
    tags: Mutex<BTreeMap<String, String>>,
    is_down: AtomicBool,
    /// Of signatures: manifests by their tags, and what is signed by its digest.
    signatures: Mutex<BTreeMap<String, String>>,
}

type Reference = Path<(String, String, String)>;

impl Registry {
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::<Content>::default();
        let tags = async || serde_json::json!({ "tags": [TAG] }).to_string();
        let manifests = head(digest).get(manifest).delete(delete);
        let routes = Router::new()
            .route("/v2/{tenant}/{service}/tags/list", get(tags))
            .route("/v2/{tenant}/{service}/manifests/{reference}", manifests)
            .route("/v2/{tenant}/{service}/blobs/{reference}", get(signature))
            .with_state(state.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        let registry = Self { url, state };
        registry.has(TAG, TAGGED);
        registry
    }

    /// In every area the image `digest` has the tag from now on.
    pub fn has(&self, tag: &str, digest: &str) {
        self.state.tags.lock().unwrap().insert(tag.to_owned(), digest.to_owned());
    }

    /// `key` signed what `says` so: an image, under a name. It lies where signatures of `image` are looked for.
    pub fn is_signed(&self, image: &str, key: &KeyPair, says: (&str, &str)) {
        let payload = json!({
            "critical": {
                "identity": { "docker-reference": says.0 }, "image": { "docker-manifest-digest": says.1 },
                "type": "cosign container image signature",
            },
            "optional": null,
        })
        .to_string();
        let signature = STANDARD.encode(key.sign(payload.as_bytes()).unwrap());
        let layer = json!({
            "mediaType": "application/vnd.dev.cosign.simplesigning.v1+json",
            "size": payload.len(), "digest": PAYLOAD,
            "annotations": { "dev.cosignproject.cosign/signature": signature },
        });
        let manifest = json!({ "schemaVersion": 2, "layers": [layer] }).to_string();
        let mut signatures = self.state.signatures.lock().unwrap();
        signatures.insert(signature_of(image), manifest);
        signatures.insert(PAYLOAD.to_owned(), payload);
    }

    /// Tells nothing of signatures, or does again.
    pub fn is_down(&self, is_down: bool) {
        self.state.is_down.store(is_down, Ordering::Relaxed);
    }

    /// As in its read-only window, or no more.
    pub fn refuse_deletions(&self, are_refused: bool) {
        self.state.refuses_deletions.store(are_refused, Ordering::Relaxed);
    }

    /// `<tenant>/<service>@<digest>` of all that was deleted, however often.
    pub fn deleted(&self) -> BTreeSet<String> {
        self.state.deleted.lock().unwrap().clone()
    }
}

async fn digest(
    State(content): State<Arc<Content>>,
    Path((_, _, reference)): Reference,
) -> (StatusCode, [(HeaderName, String); 1]) {
    let is_digest = reference.starts_with("sha256:") && reference != NO_IMAGE;
    let found = is_digest
        .then_some(reference.clone())
        .or_else(|| content.tags.lock().unwrap().get(&reference).cloned());
    let code = if found.is_some() { StatusCode::OK } else { StatusCode::NOT_FOUND };
    (code, [(HeaderName::from_static("docker-content-digest"), found.unwrap_or_default())])
}

async fn manifest(state: State<Arc<Content>>, path: Reference) -> (StatusCode, String) {
    if path.2.starts_with("sha256-") {
        signature(state, path).await
    } else {
        (StatusCode::OK, "{}".to_owned())
    }
}

async fn signature(
    State(content): State<Arc<Content>>,
    Path((_, _, reference)): Reference,
) -> (StatusCode, String) {
    if content.is_down.load(Ordering::Relaxed) {
        return (StatusCode::SERVICE_UNAVAILABLE, String::new());
    }
    let found = content.signatures.lock().unwrap().get(&reference).cloned();
    let code = if found.is_some() { StatusCode::OK } else { StatusCode::NOT_FOUND };
    (code, found.unwrap_or_default())
}

async fn delete(
    State(content): State<Arc<Content>>,
    Path((tenant, service, digest)): Reference,
) -> StatusCode {
    if content.refuses_deletions.load(Ordering::Relaxed) {
        return StatusCode::METHOD_NOT_ALLOWED;
    }
    content.deleted.lock().unwrap().insert(format!("{tenant}/{service}@{digest}"));
    StatusCode::ACCEPTED
}
