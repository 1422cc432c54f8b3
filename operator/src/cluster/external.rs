#![cfg_attr(test, expect(clippy::disallowed_types, reason = "IO: a client in the tests"))]
//! IO: asks for one number of the API by which autoscalers see what waits. It is not the API server that answers, so the answer
//! is bounded in time and size, and few are awaited at a time: each holds one of the places that everything else needs, too.

use futures::AsyncReadExt;
use kube::{api::ListParams, core::Request};
use tokio::{sync::Semaphore, time::timeout};

use super::Cluster;
use crate::bounded::{DEADLINE, LARGEST};

const API: &str = "/apis/external.metrics.k8s.io/v1beta1";
/// Which object a number is of, as KEDA's own autoscalers ask (`controllers/keda/hpa.go`).
const OF: &str = "scaledobject.keda.sh/name";

/// Of the eight requests that may be in flight, so many.
const AT_A_TIME: usize = 2;

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoNumber {
    /// Not in time, or no connection.
    Silent,
    /// This status of HTTP.
    Status(u16),
    /// More than is read.
    TooLong,
}

/// For [`AT_A_TIME`].
pub(super) fn places() -> Semaphore {
    Semaphore::new(AT_A_TIME)
}

impl Cluster {
    /// What is answered of the number `metric` of the `ScaledObject` of this name: one request.
    pub async fn external_metric(
        &self,
        namespace: &str,
        (object, metric): (&str, &str),
    ) -> Result<Vec<u8>, NoNumber> {
        let _turn = self.0.external.acquire().await.ok();
        timeout(DEADLINE, self.external(namespace, (object, metric))).await.unwrap_or(Err(NoNumber::Silent))
    }

    async fn external(&self, namespace: &str, (object, metric): (&str, &str)) -> Result<Vec<u8>, NoNumber> {
        let params = ListParams::default().labels(&format!("{OF}={object}"));
        let request = Request::new(format!("{API}/namespaces/{namespace}/{metric}")).list(&params);
        let request = request.map_err(|_| NoNumber::Silent)?;
        let answer = self.client().request_stream(request).await.map_err(|error| no_number(&error))?;
        let (mut body, one_more) = (Vec::new(), LARGEST.saturating_add(1).try_into().unwrap_or(u64::MAX));
        match answer.take(one_more).read_to_end(&mut body).await {
            Ok(length) if length > LARGEST => Err(NoNumber::TooLong),
            Ok(_) => Ok(body),
            Err(_) => Err(NoNumber::Silent),
        }
    }
}

fn no_number(error: &kube::Error) -> NoNumber {
    if let kube::Error::Api(status) = error {
        return NoNumber::Status(status.code);
    }
    tracing::debug!(error = error as &dyn std::error::Error, "no external metric");
    NoNumber::Silent
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    };

    use axum::{
        Router,
        body::Body,
        http::{StatusCode, Uri},
        routing::{MethodRouter, get},
    };
    use futures::future::join_all;
    use kube::{Client, Config};
    use tokio::net::TcpListener;

    use super::*;

    const PLACE: &str = "/apis/external.metrics.k8s.io/v1beta1/namespaces/acme-dev/s0-rabbitmq-orders";

    /// A cluster of which an API says `answer`.
    async fn cluster(answer: MethodRouter) -> Cluster {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let routes = Router::new().route(PLACE, answer);
        tokio::spawn(async move { axum::serve(listener, routes).await });
        let mut config = Config::new(url.parse().unwrap());
        config.default_retry = false;
        Cluster::observe(Client::try_from(config).unwrap()).0
    }

    async fn told(answer: MethodRouter) -> Result<Vec<u8>, NoNumber> {
        let cluster = cluster(answer).await;
        cluster.external_metric("acme-dev", ("orders", "s0-rabbitmq-orders")).await
    }

    #[tokio::test]
    async fn it_asks_as_an_autoscaler_of_kedas_and_gives_back_what_is_answered() {
        let asked = Arc::new(Mutex::new(String::new()));
        let seen = asked.clone();
        let answer = async move |uri: Uri| {
            *seen.lock().unwrap() = uri.query().unwrap_or_default().to_owned();
            "{}"
        };
        assert_eq!(told(get(answer)).await.as_deref(), Ok(&b"{}"[..]));
        let asked = asked.lock().unwrap();
        let asked: Vec<_> = url::form_urlencoded::parse(asked.as_bytes()).into_owned().collect();
        let wanted = ("labelSelector".to_owned(), "scaledobject.keda.sh/name=orders".to_owned());
        assert!(asked.contains(&wanted), "{asked:?}");
    }

    #[tokio::test]
    async fn whoever_refuses_or_tells_too_much_or_nothing_does_no_harm() {
        for status in [StatusCode::FORBIDDEN, StatusCode::NOT_FOUND, StatusCode::INTERNAL_SERVER_ERROR] {
            let told = told(get(async move || (status, "no such number"))).await;
            assert_eq!(told, Err(NoNumber::Status(status.as_u16())));
        }
        let long = told(get(async || " ".repeat(LARGEST + 1))).await;
        assert_eq!(long, Err(NoNumber::TooLong));
        assert_eq!(told(get(async || " ".repeat(LARGEST))).await.map(|body| body.len()), Ok(LARGEST));
        let endless = async || {
            Body::from_stream(futures::stream::repeat_with(|| Ok::<_, std::io::Error>(vec![b' '; 1024])))
        };
        assert_eq!(told(get(endless)).await, Err(NoNumber::TooLong));
        assert_eq!(told(get(std::future::pending::<&str>)).await, Err(NoNumber::Silent));
    }

    #[tokio::test]
    async fn no_more_than_two_wait_for_it_at_a_time() {
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (there, seen) = (now.clone(), most.clone());
        let answer = async move || {
            seen.fetch_max(there.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            there.fetch_sub(1, Ordering::SeqCst);
            "{}"
        };
        let cluster = cluster(get(answer)).await;
        let ask = || cluster.external_metric("acme-dev", ("orders", "s0-rabbitmq-orders"));
        let told = join_all((0..6).map(|_| ask())).await;
        assert!(told.iter().all(Result::is_ok), "{told:?}");
        assert_eq!(most.load(Ordering::SeqCst), AT_A_TIME);
    }
}
