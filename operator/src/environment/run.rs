//! Tells each Environment what is wrong with it. Any change of one may concern the others.

use std::{future::Future, sync::Arc, time::Duration};

use futures::{StreamExt, stream};
use kube::{
    ResourceExt,
    runtime::{controller::Action, reflector::ObjectRef},
};

use super::check::{Checked, check};
use crate::{
    api::Environment,
    checked,
    cluster::{ApplyError, Control, Watched, control},
    conditions::{Reason, Wellness},
    platform::Platform,
};

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
    let wellness = wellness(&environment, &checked(&platform.environments));
    checked::tell(&platform, &*environment, &wellness).await?;
    Ok(Action::requeue(Duration::from_hours(1)))
}

fn wellness(environment: &Environment, checked: &Checked) -> Wellness {
    match checked.named(&environment.name_any()) {
        Some(Err(problems)) => Wellness::Stalled(Reason::Invalid, problems.to_string()),
        Some(Ok(_)) | None if environment.spec.freeze => {
            Wellness::Ready("frozen: nothing new runs in it until spec.freeze is taken away".to_owned())
        }
        Some(Ok(_)) | None => Wellness::Ready("usable".to_owned()),
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
            wellness(&environment, &check(std::slice::from_ref(&environment)))
        };
        assert_eq!(told(false), Wellness::Ready("usable".to_owned()));
        let Wellness::Ready(message) = told(true) else { panic!("it is usable") };
        assert!(message.starts_with("frozen: nothing new runs"), "{message}");
    }
}
