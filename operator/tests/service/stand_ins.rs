//! Stand-ins for GitHub and GitLab, which cannot be run here: servers that take what the two document, and answer as they
//! do. What they do beyond their documents nobody knows from here.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::to_bytes,
    extract::{Request, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use imaas_operator::{
    api::integration_service::CommitState,
    git::{CommitId, Credentials, Git, GitUrl, Limits, Remote, UrlPolicy},
    lease::Mandate,
    service::commit_status::{
        host::{Kind, Verdict, call, verdict},
        report::Report,
    },
};
use jiff::Timestamp;
use serde_json::{Value, json};

const COMMIT: &str = "4f2a4f2a4f2a4f2a4f2a4f2a4f2a4f2a4f2a4f2a";

/// One request, as it arrived.
struct Heard {
    line: String,
    headers: HeaderMap,
    body: Value,
}

impl Heard {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

/// What a host says to a request, given the state that it has of the commit.
type Answers = fn(&Heard, &mut Option<String>) -> Response;

struct StandIn {
    address: SocketAddr,
    git: Git,
    _mirrors: tempfile::TempDir,
}

impl StandIn {
    async fn start(answers: Answers) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let has = Arc::<Mutex<Option<String>>>::default();
        let routes = Router::new().fallback(heard).with_state((answers, has));
        tokio::spawn(async move { axum::serve(listener, routes).await });
        let mirrors = tempfile::tempdir().unwrap();
        let git = Git::new(mirrors.path(), policy(), Limits::default(), Mandate::unlimited()).unwrap();
        Self { address, git, _mirrors: mirrors }
    }

    /// Tells it of the head of `main` in a repository.
    async fn told(&self, kind: Kind, repository: &str, (token, state): (&str, CommitState)) -> Verdict {
        let url = GitUrl::parse(&format!("http://{}/{repository}", self.address), &policy()).unwrap();
        let credentials = Credentials { username: "ci".to_owned(), password: token.to_owned() };
        let remote = Remote { owner: "acme".to_owned(), url, credentials: Some(credentials), ca: None };
        let report = Report {
            commit: CommitId::parse(COMMIT).unwrap(),
            branch: "main".to_owned(),
            state,
            reason: "Progressing".to_owned(),
            description: "on its way to dev".to_owned(),
        };
        let call = call(kind, &remote.url, ("imaas/orders/dev", &report)).unwrap();
        let reply = self.git.call(&remote, &call).await.unwrap();
        verdict(kind, state, &reply, Timestamp::UNIX_EPOCH)
    }
}

fn policy() -> UrlPolicy {
    UrlPolicy { development: true, allowed_hosts: vec!["127.0.0.1".to_owned()] }
}

async fn heard(
    State((answers, has)): State<(Answers, Arc<Mutex<Option<String>>>)>,
    request: Request,
) -> Response {
    let line = format!("{} {}", request.method(), request.uri().path());
    let headers = request.headers().clone();
    let body = to_bytes(request.into_body(), 1 << 16).await.unwrap();
    let body = serde_json::from_slice(&body).unwrap();
    answers(&Heard { line, headers, body }, &mut has.lock().unwrap())
}

fn refused(status: StatusCode, message: &str) -> Response {
    (status, json!({ "message": message }).to_string()).into_response()
}

/// <https://docs.github.com/rest/commits/statuses#create-a-commit-status>, of GitHub Enterprise, and
/// <https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api>.
fn github(heard: &Heard, _has: &mut Option<String>) -> Response {
    // "All API requests must include a valid User-Agent header."
    if heard.header("user-agent").is_empty() || heard.header("content-type") != "application/json" {
        return refused(StatusCode::FORBIDDEN, "Request forbidden by administrative rules.");
    }
    match heard.header("authorization") {
        "Bearer ghp_right" => {}
        "Bearer ghp_reads" => {
            return refused(StatusCode::FORBIDDEN, "Resource not accessible by personal access token");
        }
        "Bearer ghp_much" => {
            let limited = refused(StatusCode::FORBIDDEN, "You have exceeded a secondary rate limit.");
            return ([("retry-after", "60")], limited).into_response();
        }
        _ => return refused(StatusCode::UNAUTHORIZED, "Bad credentials"),
    }
    let Value::Object(body) = &heard.body else {
        return refused(StatusCode::BAD_REQUEST, "Problems parsing JSON");
    };
    let text = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default();
    let is_known = ["error", "failure", "pending", "success"].contains(&text("state"));
    let is_right = heard.line == format!("POST /api/v3/repos/acme/orders/statuses/{COMMIT}")
        && is_known
        && text("context") == "imaas/orders/dev"
        && (1..=140).contains(&text("description").chars().count())
        && body.keys().all(|key| ["state", "context", "description", "target_url"].contains(&key.as_str()));
    if is_right { StatusCode::CREATED.into_response() } else { refused(StatusCode::NOT_FOUND, "Not Found") }
}

#[tokio::test]
async fn the_stand_in_for_github_is_told_as_github_documents() {
    let host = StandIn::start(github).await;
    let told = async |token, state| host.told(Kind::Github, "acme/orders.git", (token, state)).await;
    for state in [CommitState::Pending, CommitState::Success, CommitState::Failure] {
        assert_eq!(told("ghp_right", state).await, Verdict::Accepted);
    }
    let unready = told("ghp_much", CommitState::Success).await;
    assert_eq!(unready, Verdict::Again(Some(std::time::Duration::from_mins(1))));
    for (token, words) in [("ghp_reads", "the right to write statuses"), ("other", "renew it")] {
        let Verdict::Refused(problem) = told(token, CommitState::Success).await else { panic!("{token}") };
        assert!(problem.contains(words), "{problem}");
    }
}

/// <https://docs.gitlab.com/api/commits/#set-commit-pipeline-status>; and that a status knows no way from one state to the
/// same: <https://gitlab.com/gitlab-org/gitlab-foss/-/issues/25807>.
fn gitlab(heard: &Heard, has: &mut Option<String>) -> Response {
    match heard.header("private-token") {
        "glpat-right" => {}
        "glpat-reads" => return refused(StatusCode::FORBIDDEN, "403 Forbidden"),
        _ => return refused(StatusCode::UNAUTHORIZED, "401 Unauthorized"),
    }
    let text = |name: &str| heard.body[name].as_str().unwrap_or_default().to_owned();
    let state = text("state");
    let is_right = heard.line == format!("POST /api/v4/projects/acme%2Fshop%2Forders/statuses/{COMMIT}")
        && text("name") == "imaas/orders/dev"
        && text("ref") == "main"
        && text("description").chars().count() <= 255;
    if !is_right {
        return refused(StatusCode::NOT_FOUND, "404 Not Found");
    }
    if !["pending", "running", "success", "failed", "canceled", "skipped"].contains(&state.as_str()) {
        return refused(StatusCode::BAD_REQUEST, "state does not have a valid value");
    }
    if state == "pending" && has.as_deref() == Some("pending") {
        let stuck = "Cannot transition status via :enqueue from :pending (Reason(s): Status cannot transition via \"enqueue\")";
        return refused(StatusCode::BAD_REQUEST, stuck);
    }
    *has = Some(state);
    StatusCode::CREATED.into_response()
}

#[tokio::test]
async fn the_stand_in_for_gitlab_is_told_as_gitlab_documents() {
    let host = StandIn::start(gitlab).await;
    let told = async |token, state| host.told(Kind::Gitlab, "acme/shop/orders.git", (token, state)).await;
    let [pending, success, failure] = [CommitState::Pending, CommitState::Success, CommitState::Failure];
    for state in [pending, pending, success, pending, failure] {
        assert_eq!(told("glpat-right", state).await, Verdict::Accepted, "{state:?}");
    }
    for (token, words) in [("glpat-reads", "the right to write statuses"), ("other", "renew it")] {
        let Verdict::Refused(problem) = told(token, success).await else { panic!("{token}") };
        assert!(problem.contains(words), "{problem}");
    }
}
