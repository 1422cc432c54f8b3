//! Checks each `IntegrationRuntime` when it changes and says so in its status.

use std::{future::Future, sync::Arc};

use kube::runtime::controller::Action;

use super::check;
use crate::{
    api::IntegrationRuntime,
    checked,
    cluster::{ApplyError, Control, control},
    conditions::{Reason, Wellness},
    platform::Platform,
};

/// How many problems a message names.
const TOLD: usize = 10;

/// Runs until `shutdown`.
pub async fn run(platform: Platform, shutdown: impl Future<Output = ()> + Send + 'static) {
    let runtimes = Control {
        name: "runtime",
        watched: platform.runtimes.clone(),
        triggers: Vec::new(),
        concurrency: 1,
        jitter: platform.jitter,
    };
    control(runtimes, move |runtime| reconcile(runtime, platform.clone()), shutdown).await;
}

async fn reconcile(runtime: Arc<IntegrationRuntime>, platform: Platform) -> Result<Action, ApplyError> {
    checked::tell(&platform, &*runtime, &wellness(&runtime)).await?;
    Ok(Action::await_change())
}

/// Ready, or what is wrong.
fn wellness(runtime: &IntegrationRuntime) -> Wellness {
    let problems = check::problems(&runtime.spec);
    match problems.len() {
        0 => Wellness::Ready(match runtime.spec.profiles.len() {
            1 => "1 profile".to_owned(),
            several => format!("{several} profiles"),
        }),
        count => {
            let mut told: Vec<String> = problems.into_iter().take(TOLD).collect();
            if count > TOLD {
                told.push(format!("and {} more", count - TOLD));
            }
            Wellness::Stalled(Reason::Invalid, told.join("; "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        api::{CheckedStatus, IntegrationRuntimeSpec, RuntimeProfile},
        conditions::{READY, STALLED, is_true},
    };

    fn runtime(versions: &str) -> IntegrationRuntime {
        let profile = RuntimeProfile { versions: versions.into(), ..RuntimeProfile::default() };
        IntegrationRuntime::new("x", IntegrationRuntimeSpec { profiles: vec![profile] })
    }

    fn status(runtime: &IntegrationRuntime, now: &str) -> CheckedStatus {
        checked::status(runtime, &wellness(runtime), now.parse().unwrap())
    }

    #[test]
    fn a_second_look_changes_nothing() {
        let mut runtime = runtime("*");
        let first = status(&runtime, "2026-01-01T00:00:00Z");
        assert!(is_true(&first.conditions, READY));
        assert_eq!(first.conditions[0].message, "1 profile");
        runtime.status = Some(first.clone());
        assert_eq!(status(&runtime, "2026-01-02T00:00:00Z"), first);
    }

    #[test]
    fn a_mistake_stalls_it_and_is_named() {
        let told = status(&runtime("four"), "2026-01-01T00:00:00Z");
        assert!(is_true(&told.conditions, STALLED) && !is_true(&told.conditions, READY));
        assert!(told.conditions[0].message.starts_with("spec.profiles[0].versions"), "{told:?}");
    }
}
