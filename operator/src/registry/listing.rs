//! IO: what the operator asks the registry about many images: which repositories and tags there are, what a manifest
//! refers to; and the one thing that it changes there, deleting a manifest.
//!
//! Repositories are listed and manifests deleted with the operator's own account; everything else is read with the
//! tenant's pull account.

use reqwest::{
    Method, Response, StatusCode,
    header::{HeaderMap, LINK},
};
use serde::Deserialize;

use super::{
    accounts::Account,
    client::{Question, RegistryClient, Repository, capped, is_tag},
    digest::Digest,
    error::RegistryError,
    scope::{CATALOG, is_repository},
    usage::Manifest,
};

/// Most repositories of the registry.
const REPOSITORIES_MAX: usize = 100_000;
/// Bytes of one page of names. A registry that knows no pages of tags sends all of them.
const PAGE_MAX: usize = 8 * 1024 * 1024;
/// Bytes of a manifest; Distribution takes no larger one.
const MANIFEST_MAX: usize = 4 * 1024 * 1024;

/// The tags of one repository.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tags {
    /// In the registry's order.
    pub names: Vec<String>,
    /// There are more than were asked for.
    pub cut: bool,
}

#[derive(Deserialize)]
struct Page {
    #[serde(default, alias = "repositories")]
    tags: Option<Vec<String>>,
}

impl RegistryClient {
    /// Every repository, of all tenants. A request for each hundred.
    pub async fn repositories(&self) -> Result<Vec<String>, RegistryError> {
        let account = Account::operator();
        let mut names: Vec<String> = Vec::new();
        loop {
            // The registry's own page: it refuses to be asked for more than it is configured for.
            let last = names.last().map(|last| format!("?last={last}")).unwrap_or_default();
            let path = format!("/v2/_catalog{last}");
            let question = Question { method: Method::GET, path: &path, account: &account, scope: CATALOG };
            let (page, has_more) = self.page(self.ask(&question).await?).await?;
            let is_end = !has_more || page.is_empty();
            names.extend(page.into_iter().filter(|name| is_repository(name)));
            if names.len() > REPOSITORIES_MAX {
                let problem = format!("more than {REPOSITORIES_MAX} repositories");
                return Err(self.answer_error(problem));
            }
            if is_end {
                return Ok(names);
            }
        }
    }

    /// The tags of `name`, which lies in the area of `tenant`; not many more than `max`. None where there is no such repository.
    pub async fn tags(&self, tenant: &str, name: &str, max: usize) -> Result<Tags, RegistryError> {
        let repository = Repository::of(tenant, name)?;
        let mut tags = Tags::default();
        loop {
            let last = tags.names.last().map(|last| format!("&last={last}")).unwrap_or_default();
            let path = format!("/v2/{name}/tags/list?n=1000{last}");
            let response = self.ask(&repository.question(Method::GET, &path)).await?;
            if response.status() == StatusCode::NOT_FOUND {
                return Ok(tags);
            }
            if response.content_length().is_some_and(|length| length > PAGE_MAX as u64) {
                return Ok(Tags { cut: true, ..tags });
            }
            let (page, has_more) = self.page(response).await?;
            let is_end = !has_more || page.is_empty();
            tags.names.extend(page.into_iter().filter(|tag| is_tag(tag)));
            if tags.names.len() > max {
                return Ok(Tags { cut: true, ..tags });
            }
            if is_end {
                return Ok(tags);
            }
        }
    }

    /// What the manifest `digest` in `name` refers to; none where there is no such manifest.
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
        let manifest = Manifest::parse(&body);
        manifest.map(Some).map_err(|problem| self.answer_error(format!("{name}@{digest}: {problem}")))
    }

    /// Deletes the manifest `digest` of `name`, and with it its tags. Whether there was one.
    pub async fn delete(&self, name: &str, digest: &Digest) -> Result<bool, RegistryError> {
        if !is_repository(name) {
            return Err(RegistryError::Name(name.to_owned()));
        }
        let (account, path) = (Account::operator(), format!("/v2/{name}/manifests/{digest}"));
        let scope = format!("repository:{name}:delete");
        let question = Question { method: Method::DELETE, path: &path, account: &account, scope: &scope };
        match self.ask(&question).await {
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
