//! IO: asks a Prometheus one question. Bounded in time and size, and led nowhere else.

use std::time::Duration;

use reqwest::Client;
use url::Url;

use super::{
    answer::{Measured, NoAnswer, measured},
    comparison::Comparison,
    query::{Subject, query},
};
use crate::{
    bounded::{self, DEADLINE, Unread},
    environment::ValidPrometheus,
};

/// Whoever asks. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Asker(Client);

impl Asker {
    /// Nothing where no client can be made.
    pub fn new() -> Option<Self> {
        bounded::client()
            .build()
            .inspect_err(|error| {
                tracing::error!(error = error as &dyn std::error::Error, "metrics are not asked");
            })
            .ok()
            .map(Self)
    }

    /// How both releases of `subject` fared in the time that a step `lasts`.
    pub async fn fared(
        &self,
        comparison: &Comparison,
        prometheus: &ValidPrometheus,
        (subject, lasts): (Subject<'_>, Duration),
    ) -> Result<Measured, NoAnswer> {
        let mut url = prometheus.url.clone();
        url.query_pairs_mut()
            .append_pair("query", &query(comparison, prometheus, (subject, lasts)))
            .append_pair("timeout", &format!("{}s", DEADLINE.as_secs()))
            // Thanos' own: half of the series is no answer.
            .append_pair("partial_response", "false");
        self.told(url).await
    }

    async fn told(&self, url: Url) -> Result<Measured, NoAnswer> {
        let silent = |error: reqwest::Error| {
            // Without the question, which is long.
            let error = error.without_url();
            tracing::debug!(error = &error as &dyn std::error::Error, "prometheus does not answer");
            NoAnswer::Silent
        };
        let mut response = self.0.get(url).send().await.map_err(silent)?;
        let answer = bounded::body(&mut response).await.map_err(|unread| match unread {
            Unread::Broken(error) => silent(error),
            Unread::TooLong => NoAnswer::TooLong,
        })?;
        measured(response.status().as_u16(), &answer)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::HashMap,
        sync::{Arc, Mutex},
    };

    use axum::{
        Router,
        body::Body,
        http::{StatusCode, Uri},
        response::Redirect,
        routing::get,
    };
    use tokio::net::TcpListener;

    use super::*;
    use crate::bounded::LARGEST;

    const ANSWER: &str = r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{"tells":"tried requests"},"value":[1,"7"]}]}}"#;

    /// What is told of what `routes`, below `/p`, answers.
    async fn told(routes: Router) -> Result<Measured, NoAnswer> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/p/api/v1/query", listener.local_addr().unwrap());
        let server =
            tokio::spawn(async move { axum::serve(listener, Router::new().nest("/p", routes)).await });
        let prometheus = ValidPrometheus {
            url: url.parse().unwrap(),
            namespace_label: "ns".to_owned(),
            pod_label: "pod".to_owned(),
        };
        let analysis = "{errors: 1, requests: 50, counts: {requests: a_total, failures: f_total}}";
        let comparison = Comparison::of(&serde_saphyr::from_str(analysis).unwrap()).unwrap();
        let subject = Subject { namespace: "acme-prod", tried: "orders-canary-1", stable: "orders-1" };
        let asker = Asker::new().unwrap();
        let told = asker.fared(&comparison, &prometheus, (subject, Duration::from_mins(1))).await;
        server.abort();
        told
    }

    #[tokio::test]
    async fn the_question_goes_to_the_api_and_the_answer_is_read() {
        type Asked = Arc<Mutex<HashMap<String, String>>>;
        let asked = Asked::default();
        let seen = asked.clone();
        let answer = async move |asked: Uri| {
            let asked = url::form_urlencoded::parse(asked.query().unwrap().as_bytes());
            *seen.lock().unwrap() = asked.into_owned().collect();
            ANSWER
        };
        let told = told(Router::new().route("/api/v1/query", get(answer))).await.unwrap();
        assert_eq!(told.tried.requests, Some(7.0));
        let asked = asked.lock().unwrap();
        let question = r#"label_replace(sum(increase(a_total{ns="acme-prod",pod=~"orders-canary-"#;
        assert!(asked["query"].starts_with(question), "{asked:?}");
        assert_eq!((asked["timeout"].as_str(), asked["partial_response"].as_str()), ("3s", "false"));
    }

    #[tokio::test]
    async fn whoever_does_no_such_thing_does_no_harm() {
        let at = |answer| Router::new().route("/api/v1/query", answer);
        let leads = at(get(|| async { Redirect::temporary("/p/elsewhere") }))
            .route("/elsewhere", get(|| async { ANSWER }));
        assert_eq!(told(leads).await, Err(NoAnswer::Status(307)), "it is led nowhere else");
        let html = at(get(|| async { "<html>" }));
        assert_eq!(told(html).await, Err(NoAnswer::Unreadable));
        assert_eq!(told(Router::new()).await, Err(NoAnswer::Status(404)));
        let long = at(get(|| async { format!("{ANSWER}{}", " ".repeat(LARGEST)) }));
        assert_eq!(told(long).await, Err(NoAnswer::TooLong));
        let endless = futures::stream::repeat_with(|| Ok::<_, std::io::Error>(vec![b' '; 1024]));
        let endless = Arc::new(Mutex::new(Some(Body::from_stream(endless))));
        let endless = at(get(async move || endless.lock().unwrap().take().unwrap()));
        assert_eq!(told(endless).await, Err(NoAnswer::TooLong));
        let down = at(get(|| async { StatusCode::SERVICE_UNAVAILABLE }));
        assert_eq!(told(down).await, Err(NoAnswer::Status(503)));
    }

    #[tokio::test]
    async fn whoever_takes_too_long_or_is_not_there_says_nothing() {
        let slow = Router::new().route("/api/v1/query", get(std::future::pending::<&str>));
        assert_eq!(told(slow).await, Err(NoAnswer::Silent));
        let trickles = futures::stream::once(async { Ok::<_, std::io::Error>("{") });
        let trickles = futures::StreamExt::chain(trickles, futures::stream::pending());
        let trickles = Arc::new(Mutex::new(Some(Body::from_stream(trickles))));
        let answer = get(async move || trickles.lock().unwrap().take().unwrap());
        assert_eq!(told(Router::new().route("/api/v1/query", answer)).await, Err(NoAnswer::Silent));
    }
}
