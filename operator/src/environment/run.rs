//! Tells each Environment what is wrong with it. Any change of one may concern the others.

use std::{future::Future, sync::Arc, time::Duration};

use futures::{StreamExt, stream};
use k8s_openapi::api::scheduling::v1::PriorityClass;
use kube::{
    ResourceExt,
    runtime::{controller::Action, reflector::ObjectRef},
};

use super::check::{Checked, check};
use crate::{
    api::Environment,
    checked,
    cluster::{ApplyError, Control, ObjectKey, Watched, control},
    conditions::{Reason, Wellness},
    platform::Platform,
};

/// Between two looks for what no watch tells of: while it is missing, and while it is there.
const MISSING: Duration = Duration::from_secs(30);
const THERE: Duration = Duration::from_hours(1);

/// All Environments as they are now.
pub fn checked(environments: &Watched<Environment>) -> Checked {
    check(&environments.all())
}

/// Runs until `shutdown` resolves.
pub async fn run(platform: Platform, shutdown: impl Future<Output = ()> + Send + 'static) {
    let others = platform.environments.clone();
    let everyone = platform
        .environments
        .changes()
        .flat_map(move |_| stream::iter(others.all().into_iter().map(|one| ObjectRef::from_obj(&*one))));
    let environments = Control {
        name: "environment",
        watched: platform.environments.clone(),
        triggers: vec![everyone.boxed()],
        concurrency: 2,
        jitter: platform.jitter,
    };
    control(environments, move |environment| reconcile(environment, platform.clone()), shutdown).await;
}

async fn reconcile(environment: Arc<Environment>, platform: Platform) -> Result<Action, ApplyError> {
    let missing = missing_priority(&environment, &platform).await?;
    let wellness = wellness(&environment, &checked(&platform.environments), missing);
    checked::tell(&platform, &*environment, &wellness).await?;
    Ok(Action::requeue(if missing.is_some() { MISSING } else { THERE }))
}

/// The `PriorityClass` that it names and that is not there.
async fn missing_priority<'a>(
    environment: &'a Environment,
    platform: &Platform,
) -> Result<Option<&'a str>, ApplyError> {
    let Some(name) = environment.spec.priority_class.as_deref() else { return Ok(None) };
    let found =
        platform.cluster.read::<PriorityClass>(&ObjectKey::named::<PriorityClass>(None, name)).await?;
    Ok(found.is_none().then_some(name))
}

/// `missing`: a `PriorityClass`, without which Kubernetes makes no pod.
fn wellness(environment: &Environment, checked: &Checked, missing: Option<&str>) -> Wellness {
    match (checked.named(&environment.name_any()), missing) {
        (Some(Err(problems)), _) => Wellness::Stalled(Reason::Invalid, problems.to_string()),
        (Some(Ok(_)) | None, Some(name)) => Wellness::Stalled(
            Reason::Invalid,
            format!(
                "spec.priorityClass: there is no PriorityClass {name}: make it, or take the field away; until then no new instance starts here"
            ),
        ),
        (Some(Ok(_)) | None, None) if environment.spec.freeze => {
            Wellness::Ready("frozen: nothing new runs in it until spec.freeze is taken away".to_owned())
        }
        (Some(Ok(_)) | None, None) => Wellness::Ready("usable".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::EnvironmentSpec;

    #[test]
    fn a_frozen_environment_says_so() {
        let told = |freeze| {
            let spec = EnvironmentSpec { freeze, ..EnvironmentSpec::default() };
            let environment = Arc::new(Environment::new("prod", spec));
            wellness(&environment, &check(std::slice::from_ref(&environment)), None)
        };
        assert_eq!(told(false), Wellness::Ready("usable".to_owned()));
        let Wellness::Ready(message) = told(true) else { panic!("it is usable") };
        assert!(message.starts_with("frozen: nothing new runs"), "{message}");
    }
}
