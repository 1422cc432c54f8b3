//! IO: deletes the images of what is removed: a service's repository, or a tenant's whole area. Nothing asks here whether
//! anything needs them: the caller removed what did. Begun again it goes on with what is left; garbage collection frees
//! the bytes.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    time::Duration,
};

use super::{
    digest::Digest, error::RegistryError, retain::delete, retention::everything, survey::Survey, usage::Cut,
};
use crate::retry::Retry;

/// How long a registry that deletes nothing holds up the end of a service or tenant: longer than a restart, or than it is
/// read-only.
const PATIENCE: Duration = Duration::from_hours(1);
/// How long one pass deletes: others wait behind it. Distribution looks through all tags of a repository for each manifest.
const DEADLINE: Duration = Duration::from_mins(2);

/// Deletes what is in the repository of a service that is gone, with what `named` names of it besides its tags. How many
/// manifests, some of which may have gone before.
pub async fn delete_repository(
    survey: &Survey,
    tenant: &str,
    service: &str,
    named: BTreeSet<Digest>,
) -> Result<usize, RegistryError> {
    let repository = format!("{tenant}/{service}");
    let named = BTreeMap::from([(repository.clone(), named)]);
    let (images, cut) = in_time(survey, emptied(survey, tenant, &repository, &named)).await?;
    cut.map_or(Ok(images), |cut| Err(survey.registry().answer_error(cut.to_string())))
}

/// Deletes what is in the area of a tenant that is gone, with what `named` names of it besides its tags, by repository.
/// What there is too much of to be looked at stays, and is told when all else went.
pub async fn delete_area(
    survey: &Survey,
    tenant: &str,
    named: &BTreeMap<String, BTreeSet<Digest>>,
) -> Result<usize, RegistryError> {
    in_time(survey, async {
        let listed = survey.registry().repositories_of(tenant).await?;
        let mut rest = listed.cut.then_some(Cut::Repositories);
        let mut images = 0;
        let all: BTreeSet<_> = listed.names.iter().chain(named.keys()).collect();
        for repository in all {
            let (gone, cut) = emptied(survey, tenant, repository, named).await?;
            images += gone;
            rest = rest.or(cut);
        }
        rest.map_or(Ok(images), |cut| Err(survey.registry().answer_error(cut.to_string())))
    })
    .await
}

/// How many manifests went, or what kept all of them.
async fn emptied(
    survey: &Survey,
    tenant: &str,
    repository: &str,
    named: &BTreeMap<String, BTreeSet<Digest>>,
) -> Result<(usize, Option<Cut>), RegistryError> {
    let area = survey.area(tenant, [repository], named).await?;
    let digests = everything(&area, repository);
    delete(survey, repository, &digests).await?;
    Ok((digests.len(), area.cut))
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
