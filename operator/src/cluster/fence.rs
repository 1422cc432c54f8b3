//! Between the client and the API server: what writes is sent only while the mandate is held, and is not waited for any
//! longer. It is the last that sees a request, so nothing that waits its turn or is tried again passes by it.

use std::task::{Context, Poll};

use axum::http::{Method, Request};
use futures::future::BoxFuture;
use tower::{BoxError, Layer, Service};

use crate::lease::{Mandate, NotLeading};

/// Puts a [`Fenced`] around what sends.
pub(super) struct Fence(pub(super) Mandate);

/// What sends, within the mandate.
pub(super) struct Fenced<S> {
    inner: S,
    mandate: Mandate,
}

impl<S> Layer<S> for Fence {
    type Service = Fenced<S>;

    fn layer(&self, inner: S) -> Fenced<S> {
        Fenced { inner, mandate: self.0.clone() }
    }
}

impl<S, B> Service<Request<B>> for Fenced<S>
where
    S: Service<Request<B>, Error = BoxError>,
    S::Response: 'static,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<S::Response, BoxError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        if request.method() == Method::GET {
            return Box::pin(self.inner.call(request));
        }
        let mandate = self.mandate.clone();
        if !mandate.is_held() {
            return Box::pin(async { Err(NotLeading.into()) });
        }
        let answer = self.inner.call(request);
        Box::pin(async move { mandate.during(answer).await? })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use tower::{ServiceExt, service_fn};

    use super::*;

    #[tokio::test]
    async fn only_what_reads_passes_without_the_mandate() {
        let sent = Arc::new(AtomicUsize::new(0));
        let count = sent.clone();
        let server = service_fn(move |_: Request<()>| {
            count.fetch_add(1, Ordering::Relaxed);
            async { Ok::<_, BoxError>(()) }
        });
        let fenced = |mandate: Mandate| Fence(mandate).layer(server.clone());
        let request = |method: Method| Request::builder().method(method).body(()).unwrap();
        for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
            let refused = fenced(Mandate::default()).oneshot(request(method.clone())).await.unwrap_err();
            assert!(refused.is::<NotLeading>(), "{method}: {refused}");
        }
        assert_eq!(sent.load(Ordering::Relaxed), 0);
        fenced(Mandate::default()).oneshot(request(Method::GET)).await.unwrap();
        fenced(Mandate::unlimited()).oneshot(request(Method::PATCH)).await.unwrap();
        assert_eq!(sent.load(Ordering::Relaxed), 2);
    }
}
