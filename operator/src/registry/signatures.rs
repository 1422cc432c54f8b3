//! IO: asks the registry for the signatures of an image. Read with the tenant's pull account, never more than a signature
//! takes: what lies there is whatever somebody pushed.

use reqwest::{Method, StatusCode};

use super::{
    client::{RegistryClient, body},
    error::RegistryError,
    question::{Repository, is_tag},
    signature::{Flaw, Seal, attached},
};

/// Bytes of the manifest of all signatures of an image; a signature with its certificates has some thousands.
const MANIFEST_MAX: usize = 1024 * 1024;
/// Bytes of what is signed: some hundreds, and what people add to it.
const PAYLOAD_MAX: usize = 64 * 1024;

impl RegistryClient {
    /// Whether an image of `<tenant>/<service>` has a signature as `seal` asks for it, and what it lacks if it has not. Two
    /// requests for one that is signed once.
    pub async fn signed(
        &self,
        (tenant, service): (&str, &str),
        seal: &Seal,
    ) -> Result<Result<(), Flaw>, RegistryError> {
        let (repository, tag) = (self.repository(tenant, service)?, seal.tag());
        if !is_tag(&tag) {
            return Err(RegistryError::Name(format!("{}:{tag}", repository.name)));
        }
        let path = format!("/v2/{}/manifests/{tag}", repository.name);
        let manifest = self.read(&repository, &path, MANIFEST_MAX).await?;
        let mut lacks = Flaw::Unsigned;
        for signature in manifest.iter().flat_map(|manifest| attached(manifest)) {
            let path = format!("/v2/{}/blobs/{}", repository.name, signature.payload);
            let Some(payload) = self.read(&repository, &path, PAYLOAD_MAX).await? else { continue };
            match signature.keeps(seal, &repository.name, &payload) {
                Ok(()) => return Ok(Ok(())),
                Err(flaw) => lacks = lacks.max(flaw),
            }
        }
        Ok(Err(lacks))
    }

    /// Nothing where there is none, or more than `max` bytes: that is no signature, and no fault of the registry's.
    async fn read(
        &self,
        repository: &Repository,
        path: &str,
        max: usize,
    ) -> Result<Option<Vec<u8>>, RegistryError> {
        let response = self.ask(&repository.question(Method::GET, path)).await?;
        match response.status() {
            StatusCode::NOT_FOUND => Ok(None),
            _ => body(response, max, &self.registry()).await,
        }
    }
}
