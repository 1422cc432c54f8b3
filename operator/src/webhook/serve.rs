//! IO: `POST /hooks/registry`. Who asks is known before a byte of the body is read, and the body has a cap, a deadline and a
//! bounded number of neighbours.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::State,
    http::{
        HeaderMap, StatusCode,
        header::{AUTHORIZATION, CONNECTION},
    },
    routing::post,
};
use sha2::{Digest, Sha256};
use tokio::{
    sync::{Semaphore, mpsc},
    time::timeout,
};

use super::{Push, events::pushes};
use crate::{lease::Mandate, metrics::HOOK_REQUESTS, names::repository_prefix};

/// Bytes of a body; an event has about one thousand.
const BODY_MAX: usize = 256 * 1024;
const BODY_DEADLINE: Duration = Duration::from_secs(10);
/// Bodies read at a time.
const BODIES: usize = 16;
/// Fewer characters could be guessed.
const TOKEN_MIN: usize = 32;

/// What the registry shows to be let in, as a hash: to compare it takes the same time whatever is shown.
#[derive(Clone)]
pub struct Token([u8; 32]);

/// The token could be guessed.
#[derive(Debug, thiserror::Error)]
#[error("the token has fewer than {TOKEN_MIN} characters: `openssl rand -hex 32` makes a good one")]
pub struct WeakToken;

impl Token {
    /// From the content of its file, less the line end that an editor leaves.
    pub fn new(content: &[u8]) -> Result<Self, WeakToken> {
        let token = content.trim_ascii_end();
        if token.len() < TOKEN_MIN { Err(WeakToken) } else { Ok(Self(Sha256::digest(token).into())) }
    }

    /// Is it what `Authorization: Bearer …` shows?
    fn is_shown(&self, headers: &HeaderMap) -> bool {
        let shown = headers.get(AUTHORIZATION).and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
        shown.is_some_and(|shown| <[u8; 32]>::from(Sha256::digest(shown)) == self.0)
    }
}

/// The way in for a registry's notifications.
#[derive(Clone)]
pub struct Hook {
    token: Token,
    /// Before the tenant in names of repositories, with a slash at its end, or empty.
    prefix: String,
    pushes: mpsc::Sender<Push>,
    mandate: Mandate,
    bodies: Arc<Semaphore>,
    /// For a whole body.
    deadline: Duration,
}

impl Hook {
    /// `prefix`: as the registry client has it, such as `team/imaas`, or empty. What is told goes to `pushes`, while
    /// `mandate` is held: nobody takes it before.
    pub fn new(token: Token, prefix: &str, pushes: mpsc::Sender<Push>, mandate: Mandate) -> Self {
        let (prefix, bodies) = (repository_prefix(prefix), Arc::new(Semaphore::new(BODIES)));
        Self { token, prefix, pushes, mandate, bodies, deadline: BODY_DEADLINE }
    }

    async fn answer(&self, headers: &HeaderMap, body: Body) -> StatusCode {
        if !self.token.is_shown(headers) {
            return StatusCode::UNAUTHORIZED;
        }
        if !self.mandate.is_held() {
            return StatusCode::SERVICE_UNAVAILABLE;
        }
        let Ok(_reading) = self.bodies.try_acquire() else { return StatusCode::SERVICE_UNAVAILABLE };
        let body = match timeout(self.deadline, to_bytes(body, BODY_MAX)).await {
            Ok(Ok(body)) => body,
            Ok(Err(_)) => return StatusCode::PAYLOAD_TOO_LARGE,
            Err(_) => return StatusCode::REQUEST_TIMEOUT,
        };
        let Some(told) = pushes(&body, &self.prefix) else { return StatusCode::BAD_REQUEST };
        for push in told {
            // Nobody takes them as fast as they come: the next look by the interval finds what they told.
            if self.pushes.try_send(push).is_err() {
                return StatusCode::SERVICE_UNAVAILABLE;
            }
        }
        StatusCode::NO_CONTENT
    }
}

/// `POST /hooks/registry`: 204 taken, 400 no envelope, 401 no token, 408 or 413 too slow or too large a body, 503 too many or
/// not to a standby. The connection ends with that one, so that the next try may come to another operator.
pub fn router(hook: Hook) -> Router {
    let answer = async |State(hook): State<Hook>, headers: HeaderMap, body: Body| {
        let code = hook.answer(&headers, body).await;
        HOOK_REQUESTS.with_label_values(&["registry", code.as_str()]).inc();
        let is_elsewhere = code == StatusCode::SERVICE_UNAVAILABLE;
        let last = is_elsewhere.then_some([(CONNECTION, "close")]);
        (code, last, ())
    };
    Router::new().route("/hooks/registry", post(answer)).with_state(hook)
}

#[cfg(test)]
mod tests {
    use axum::http::Request;
    use tower::ServiceExt;

    use super::*;

    const TOKEN: &str = "0123456789abcdef0123456789abcdef";
    const EVENT: &str =
        r#"{"events": [{"action": "push", "target": {"repository": "acme/orders", "tag": "c0ffee"}}]}"#;

    fn hook() -> (Hook, mpsc::Receiver<Push>) {
        let (sender, receiver) = mpsc::channel(1);
        let token = Token::new(format!("{TOKEN}\n").as_bytes()).unwrap_or_else(|_| panic!("long enough"));
        (Hook::new(token, "", sender, Mandate::unlimited()), receiver)
    }

    async fn answered(hook: &Hook, authorization: Option<&str>, body: Body) -> u16 {
        let mut headers = HeaderMap::new();
        headers.extend(authorization.map(|value| (AUTHORIZATION, value.parse().unwrap())));
        hook.answer(&headers, body).await.as_u16()
    }

    fn shown() -> String {
        format!("Bearer {TOKEN}")
    }

    #[tokio::test]
    async fn only_who_shows_the_token_is_heard_and_nothing_is_read_of_others() {
        let (hook, mut pushes) = hook();
        let endless = || Body::from_stream(futures::stream::pending::<Result<Vec<u8>, std::io::Error>>());
        for wrong in [None, Some("Bearer "), Some("Bearer wrong"), Some(TOKEN), Some("Basic YTpi")] {
            assert_eq!(answered(&hook, wrong, endless()).await, 401, "{wrong:?}");
        }
        assert_eq!(answered(&hook, Some(&shown()), Body::from(EVENT)).await, 204);
        assert_eq!(pushes.recv().await.unwrap().references, ["c0ffee"]);
        assert!(Token::new(b"short").is_err());
    }

    #[tokio::test]
    async fn a_body_has_a_cap_and_a_deadline() {
        let (hook, _pushes) = hook();
        let hook = Hook { deadline: Duration::from_millis(20), ..hook };
        let large = Body::from(vec![b' '; BODY_MAX + 1]);
        assert_eq!(answered(&hook, Some(&shown()), large).await, 413);
        let slow = Body::from_stream(futures::stream::pending::<Result<Vec<u8>, std::io::Error>>());
        assert_eq!(answered(&hook, Some(&shown()), slow).await, 408);
        assert_eq!(answered(&hook, Some(&shown()), Body::from("no JSON")).await, 400);
        assert_eq!(hook.bodies.available_permits(), BODIES);
    }

    #[tokio::test]
    async fn a_standby_takes_nothing_and_keeps_no_connection() {
        let (hook, mut pushes) = hook();
        let post = async |mandate: Mandate| {
            let request = Request::post("/hooks/registry").header(AUTHORIZATION, shown());
            let request = request.body(Body::from(EVENT)).unwrap();
            let answer = router(Hook { mandate, ..hook.clone() }).oneshot(request).await.unwrap();
            let last = answer.headers().get(CONNECTION).map(|value| value.to_str().unwrap().to_owned());
            (answer.status().as_u16(), last)
        };
        assert_eq!(post(Mandate::default()).await, (503, Some("close".to_owned())));
        assert!(pushes.try_recv().is_err(), "nothing was taken");
        assert_eq!(post(Mandate::unlimited()).await, (204, None));
        assert_eq!(pushes.recv().await.unwrap().references, ["c0ffee"]);
    }

    #[tokio::test]
    async fn a_flood_is_turned_away_and_holds_up_nobody() {
        let (hook, mut pushes) = hook();
        assert_eq!(answered(&hook, Some(&shown()), Body::from(EVENT)).await, 204);
        assert_eq!(answered(&hook, Some(&shown()), Body::from(EVENT)).await, 503, "nobody took the first");
        pushes.recv().await.unwrap();
        let _all = hook.bodies.acquire_many(u32::try_from(BODIES).unwrap()).await.unwrap();
        assert_eq!(answered(&hook, Some(&shown()), Body::from(EVENT)).await, 503);
    }
}
