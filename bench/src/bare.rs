#![expect(clippy::disallowed_types, reason = "IO: a client with nothing around it, and its time")]
//! The floor: a client that writes the same objects and knows nothing else. No watch, no comparison, no right to wait for.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use futures::{StreamExt, TryStreamExt, stream};
use kube::{
    Client,
    api::{Patch, PatchParams, PostParams},
    core::Request,
};
use serde_json::Value;

use crate::input::{Object, Space};

/// Requests at a time: as many as the operator allows itself.
const AT_A_TIME: usize = 8;

/// One lane of the bare client.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lane {
    /// Objects that it made, a request each.
    pub objects: u64,
    /// From the first request to the last answer.
    pub took: Duration,
}

impl Lane {
    /// Objects a second.
    pub(crate) fn rate(&self) -> f64 {
        crate::report::rate(self.objects, self.took)
    }
}

/// Makes all of it: a namespace by POST, what is in it by server-side apply, as the operator does.
pub(crate) async fn run(client: &Client, spaces: Vec<Space>) -> Result<Lane> {
    let begun = Instant::now();
    let counts = stream::iter(spaces).map(|space| async move { make(client, space).await });
    let objects =
        counts.buffer_unordered(AT_A_TIME).try_fold(0, |sum, count| async move { Ok(sum + count) }).await?;
    Ok(Lane { objects, took: begun.elapsed() })
}

async fn make(client: &Client, Space { namespace, children }: Space) -> Result<u64> {
    let body = serde_json::to_vec(&namespace.body).context("a namespace as JSON")?;
    let request = Request::new(&namespace.path).create(&PostParams::default(), body).context("a request")?;
    client.request::<Value>(request).await.with_context(|| format!("create {}", namespace.name))?;
    let count = 1 + children.len() as u64;
    for child in children {
        apply(client, &child).await?;
    }
    Ok(count)
}

async fn apply(client: &Client, object: &Object) -> Result<()> {
    let params = PatchParams::apply("bare-client");
    let request = Request::new(&object.path).patch(&object.name, &params, &Patch::Apply(&object.body));
    let request = request.context("a request")?;
    client
        .request::<Value>(request)
        .await
        .with_context(|| format!("apply {}/{}", object.path, object.name))?;
    Ok(())
}
