//! IO: deletes the images of what is removed: a service's repository, or a tenant's whole area. Nothing asks here whether
//! anything needs them: the caller removed what did. Begun again it goes on with what is left; garbage collection frees
//! the bytes.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    time::Duration,
};

use super::{
    catalog::Names, digest::Digest, error::RegistryError, retain::delete, retention::everything,
    survey::Survey, usage::Cut,
};
use crate::retry::Retry;

/// How long a registry that deletes nothing holds up the end of a service or tenant: longer than a restart, or than it is
/// read-only.
const PATIENCE: Duration = Duration::from_hours(1);
/// How long one pass deletes: others wait behind it. Distribution looks through all tags of a repository for each manifest.
const DEADLINE: Duration = Duration::from_mins(2);

/// Deletes what is in the repository of a service that is gone, with what `named` names of it besides its tags. How many
/// manifests.
pub async fn delete_repository(
    survey: &Survey,
    tenant: &str,
    service: &str,
    named: BTreeSet<Digest>,
) -> Result<usize, RegistryError> {
    let repository = format!("{tenant}/{service}");
    let (images, rest) = in_time(survey, emptied(survey, tenant, (&repository, Some(&named)))).await?;
    rest.map_or(Ok(images), |cut| Err(survey.registry().answer_error(cut.to_string())))
}

/// Deletes what is in the area of a tenant that is gone, with what `named` names of it besides its tags, by repository. How
/// many manifests.
pub async fn delete_area(
    survey: &Survey,
    tenant: &str,
    named: &BTreeMap<String, BTreeSet<Digest>>,
) -> Result<usize, RegistryError> {
    in_time(survey, async {
        let (mut images, mut rest) = (0, None);
        let mut part = Names { names: named.keys().cloned().collect(), cut: true };
        let mut last: Option<String> = None;
        loop {
            for repository in &part.names {
                let (gone, cut) = emptied(survey, tenant, (repository, named.get(repository))).await?;
                images += gone;
                rest = rest.or(cut);
            }
            if !part.cut {
                return rest.map_or(Ok(images), |cut| Err(survey.registry().answer_error(cut.to_string())));
            }
            // An empty repository stays in the registry's list.
            part = survey.registry().repositories_of(tenant, last.as_deref()).await?;
            last = part.names.last().cloned();
        }
    })
    .await
}

/// How many manifests went, and what kept others. A repository is emptied part by part: of what one tag names all tags go, and
/// those that name nothing are passed over.
async fn emptied(
    survey: &Survey,
    tenant: &str,
    (repository, named): (&str, Option<&BTreeSet<Digest>>),
) -> Result<(usize, Option<Cut>), RegistryError> {
    let (mut images, mut rest, mut last) = (0, None, None);
    loop {
        let named = named.filter(|_| last.is_none());
        let (area, next) = survey.part((tenant, repository), last.as_deref(), named).await?;
        images += delete(survey, repository, &everything(&area, repository)).await?;
        rest = rest.or(area.cut);
        if next.is_none() {
            return Ok((images, rest));
        }
        last = next;
    }
}

async fn in_time<T>(
    survey: &Survey,
    deletion: impl Future<Output = Result<T, RegistryError>>,
) -> Result<T, RegistryError> {
    let late = |_| Err(RegistryError::Late(survey.registry().registry()));
    tokio::time::timeout(DEADLINE, deletion).await.unwrap_or_else(late)
}

/// Whether the end of what was to be removed `overdue` ago waits for this: nobody waits for what cannot come right by
/// itself, nor for ever.
pub fn is_worth_waiting(error: &RegistryError, overdue: Duration) -> bool {
    error.retry() != Retry::Never && overdue < PATIENCE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_that_deletes_nothing_holds_up_an_end_for_an_hour() {
        let read_only = RegistryError::Undeletable("registry registry.example.com".to_owned());
        let down = RegistryError::Busy { who: "registry registry.example.com".to_owned(), status: 503 };
        for error in [&read_only, &down] {
            assert!(is_worth_waiting(error, Duration::ZERO), "{error}");
            assert!(is_worth_waiting(error, Duration::from_mins(59)), "{error}");
            assert!(!is_worth_waiting(error, Duration::from_hours(1)), "{error}");
        }
        assert!(!is_worth_waiting(&RegistryError::Name("acme/..".to_owned()), Duration::ZERO));
    }
}
