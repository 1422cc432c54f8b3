//! A registry as the stage sees it: it has what it is asked for, and says what was deleted in it.

use std::{
    collections::BTreeSet,
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

/// A digest that the registry does not have.
pub const NO_IMAGE: &str = "sha256:2222222222222222222222222222222222222222222222222222222222222222";
/// What has the one tag in each repository.
pub const TAGGED: &str = "sha256:3333333333333333333333333333333333333333333333333333333333333333";
const TAG: &str = "once";

/// Its areas have every image but [`NO_IMAGE`].
#[derive(Clone)]
pub struct Registry {
    pub url: String,
    state: Arc<Deletions>,
}

#[derive(Default)]
struct Deletions {
    are_refused: AtomicBool,
    done: Mutex<BTreeSet<String>>,
}

type Reference = Path<(String, String, String)>;

impl Registry {
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::<Deletions>::default();
        let tags = async || serde_json::json!({ "tags": [TAG] }).to_string();
        let manifests = head(digest).get(async || "{}").delete(delete);
        let routes = Router::new()
            .route("/v2/{tenant}/{service}/tags/list", get(tags))
            .route("/v2/{tenant}/{service}/manifests/{reference}", manifests)
            .with_state(state.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Self { url, state }
    }

    /// As in its read-only window, or no more.
    pub fn refuse_deletions(&self, are_refused: bool) {
        self.state.are_refused.store(are_refused, Ordering::Relaxed);
    }

    /// `<tenant>/<service>@<digest>` of all that was deleted, however often.
    pub fn deleted(&self) -> BTreeSet<String> {
        self.state.done.lock().unwrap().clone()
    }
}

async fn digest(Path((_, _, reference)): Reference) -> (StatusCode, [(HeaderName, String); 1]) {
    let code = if reference == NO_IMAGE { StatusCode::NOT_FOUND } else { StatusCode::OK };
    let digest = if reference == TAG { TAGGED.to_owned() } else { reference };
    (code, [(HeaderName::from_static("docker-content-digest"), digest)])
}

async fn delete(
    State(deletions): State<Arc<Deletions>>,
    Path((tenant, service, digest)): Reference,
) -> StatusCode {
    if deletions.are_refused.load(Ordering::Relaxed) {
        return StatusCode::METHOD_NOT_ALLOWED;
    }
    deletions.done.lock().unwrap().insert(format!("{tenant}/{service}@{digest}"));
    StatusCode::ACCEPTED
}
