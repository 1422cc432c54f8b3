//! IO: what the operator asks the registry about many images: which repositories and tags there are, what a manifest
//! refers to, how large a blob is; and the one thing that it changes there, deleting a manifest.
//!
//! Repositories are listed and manifests deleted with the operator's own account; everything else is read with the
//! tenant's pull account.

use reqwest::{
    Method, Response, StatusCode,
    header::{CONTENT_LENGTH, HeaderMap, LINK},
};
use serde::Deserialize;

use super::{
    accounts::Account,
    catalog::{Areas, Catalog, Names, start_of},
    client::{RegistryClient, capped},
    digest::Digest,
    error::RegistryError,
    manifest::{Blob, Manifest},
    question::{Question, Repository, is_tag},
    scope::{CATALOG, is_repository},
};

/// Bytes of one page of names. A registry that knows no pages of tags sends all of them.
const PAGE_MAX: usize = 8 * 1024 * 1024;
/// Bytes of a manifest; Distribution takes no larger one.
const MANIFEST_MAX: usize = 4 * 1024 * 1024;

/// What the registry says of a blob's size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlobSize {
    /// So many bytes.
    Bytes(u64),
    /// There is no such blob in this repository.
    Absent,
    /// Nothing: it sends its clients to its storage, with which the operator has no business.
    Untold,
}

#[derive(Deserialize)]
struct Page {
    #[serde(default, alias = "repositories")]
    tags: Option<Vec<String>>,
}

impl RegistryClient {
    /// The repositories of all tenants, of each not more than are looked at. A request for each hundred.
    pub async fn repositories(&self) -> Result<Areas, RegistryError> {
        let mut catalog = Catalog::default();
        let mut last = None;
        loop {
            let (page, has_more) = self.catalog(last.as_deref()).await?;
            last = catalog.add(page).map_err(|endless| self.answer_error(endless.to_string()))?;
            if !has_more || last.is_none() {
                return Ok(catalog.areas);
            }
        }
    }

    /// The repositories of one tenant behind the one of name `after`, not more than are looked at together. A request for each
    /// hundred, and one more.
    pub async fn repositories_of(&self, tenant: &str, after: Option<&str>) -> Result<Names, RegistryError> {
        let mut catalog = Catalog::default();
        let mut last = Some(after.map_or_else(|| start_of(tenant), ToOwned::to_owned));
        loop {
            let (page, has_more) = self.catalog(last.as_deref()).await?;
            last = catalog.add(page).map_err(|endless| self.answer_error(endless.to_string()))?;
            let area = catalog.areas.remove(tenant).unwrap_or_default();
            // Another area begins, or the registry ends.
            if !has_more || last.is_none() || !catalog.areas.is_empty() || area.cut {
                return Ok(area);
            }
            catalog.areas.insert(tenant.to_owned(), area);
        }
    }

    /// One page of repositories, after `last`, and whether there is another. As many as the registry gives by itself: it
    /// refuses to be asked for more than it is configured for.
    async fn catalog(&self, last: Option<&str>) -> Result<(Vec<String>, bool), RegistryError> {
        let last = last.map(|last| format!("?last={last}")).unwrap_or_default();
        let (account, path) = (Account::operator(), format!("/v2/_catalog{last}"));
        let question = Question { method: Method::GET, path: &path, account: &account, scope: CATALOG };
        self.page(self.ask(&question).await?).await
    }

    /// The tags of `name`, which lies in the area of `tenant`, behind the tag `after`; not many more than `max`. None where there
    /// is no such repository.
    pub async fn tags(
        &self,
        (tenant, name): (&str, &str),
        after: Option<&str>,
        max: usize,
    ) -> Result<Names, RegistryError> {
        let repository = Repository::of(tenant, name)?;
        let mut tags = Names::default();
        loop {
            let last = tags.names.last().map(String::as_str).or(after);
            let last = last.map(|last| format!("&last={last}")).unwrap_or_default();
            let path = format!("/v2/{name}/tags/list?n=1000{last}");
            let response = self.ask(&repository.question(Method::GET, &path)).await?;
            if response.status() == StatusCode::NOT_FOUND {
                return Ok(tags);
            }
            if response.content_length().is_some_and(|length| length > PAGE_MAX as u64) {
                return Ok(Names { cut: true, ..tags });
            }
            let (page, has_more) = self.page(response).await?;
            let is_end = !has_more || page.is_empty();
            tags.names.extend(page.into_iter().filter(|tag| is_tag(tag)));
            if tags.names.len() > max {
                return Ok(Names { cut: true, ..tags });
            }
            if is_end {
                return Ok(tags);
            }
        }
    }

    /// How large a blob of `name` is. One request, without the blob.
    pub async fn size(&self, tenant: &str, name: &str, blob: &Blob) -> Result<BlobSize, RegistryError> {
        let repository = Repository::of(tenant, name)?;
        let path = format!("/v2/{name}/blobs/{blob}");
        let response = match self.ask(&repository.question(Method::HEAD, &path)).await {
            Err(RegistryError::Redirects(_)) => return Ok(BlobSize::Untold),
            response => response?,
        };
        if response.status() == StatusCode::NOT_FOUND {
            return Ok(BlobSize::Absent);
        }
        let length = response.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok());
        Ok(length.and_then(|length| length.parse().ok()).map_or(BlobSize::Untold, BlobSize::Bytes))
    }

    /// What the manifest `digest` in `name` refers to, or why that is not known; none where there is no such manifest.
    pub async fn manifest_of(
        &self,
        tenant: &str,
        name: &str,
        digest: &Digest,
    ) -> Result<Option<Manifest>, RegistryError> {
        let repository = Repository::of(tenant, name)?;
        let path = format!("/v2/{name}/manifests/{digest}");
        let response = self.ask(&repository.question(Method::GET, &path)).await?;
        if response.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let body = capped(response, MANIFEST_MAX, self.registry()).await?;
        Ok(Some(Manifest::read(&body)))
    }

    /// Deletes the manifest `digest` of `name`, and with it its tags, while the mandate is held. Whether there was one.
    pub async fn delete(&self, name: &str, digest: &Digest) -> Result<bool, RegistryError> {
        if !is_repository(name) {
            return Err(RegistryError::Name(name.to_owned()));
        }
        let (account, path) = (Account::operator(), format!("/v2/{name}/manifests/{digest}"));
        let scope = format!("repository:{name}:delete");
        let question = Question { method: Method::DELETE, path: &path, account: &account, scope: &scope };
        match self.mandate.during(self.ask(&question)).await? {
            Ok(response) => Ok(response.status() != StatusCode::NOT_FOUND),
            Err(RegistryError::Refused { status: 405, .. }) => {
                Err(RegistryError::Undeletable(self.registry()))
            }
            Err(error) => Err(error),
        }
    }

    async fn page(&self, response: Response) -> Result<(Vec<String>, bool), RegistryError> {
        let has_more = has_next(response.headers());
        let body = capped(response, PAGE_MAX, self.registry()).await?;
        let page: Page = serde_json::from_slice(&body)
            .map_err(|_| self.answer_error("not the JSON of a list of names".to_owned()))?;
        Ok((page.tags.unwrap_or_default(), has_more))
    }
}

/// Whether a `Link` (RFC 8288) leads to a next page. Where it leads is not followed: the last name says that too.
fn has_next(headers: &HeaderMap) -> bool {
    let mut links = headers.get_all(LINK).iter().filter_map(|link| link.to_str().ok());
    links.any(|link| link.contains("rel=\"next\"") || link.contains("rel=next"))
}
