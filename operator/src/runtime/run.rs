//! Checks each `IntegrationRuntime` when it changes and says so in its status.

use std::{future::Future, sync::Arc};

use kube::runtime::controller::Action;

use super::check;
use crate::{
    api::{CheckedStatus, IntegrationRuntime},
    cluster::{ApplyError, Control, control},
    conditions::{Reason, Wellness, merge},
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
    let wanted = status(&runtime, (platform.now)());
    if runtime.status.as_ref() != Some(&wanted) {
        platform.cluster.write_status(&*runtime, &wanted).await?;
        let old = runtime.status.as_ref().map_or(&[][..], |status| &status.conditions);
        platform.cluster.tell_change(&*runtime, old, &wanted.conditions).await;
    }
    Ok(Action::await_change())
}

/// Ready, or what is wrong; equal input gives an equal status.
fn status(runtime: &IntegrationRuntime, now: jiff::Timestamp) -> CheckedStatus {
    let problems = check::problems(&runtime.spec);
    let wellness = match problems.len() {
        0 => Wellness::Ready(format!("{} profiles", runtime.spec.profiles.len())),
        count => {
            let mut told: Vec<String> = problems.into_iter().take(TOLD).collect();
            if count > TOLD {
                told.push(format!("and {} more", count - TOLD));
            }
            Wellness::Stalled(Reason::Invalid, told.join("; "))
        }
    };
    let old = runtime.status.as_ref().map_or(&[][..], |status| &status.conditions);
    let generation = runtime.metadata.generation.unwrap_or_default();
    CheckedStatus {
        observed_generation: Some(generation),
        conditions: merge(old, &wellness.claims(), generation, now),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        api::{IntegrationRuntimeSpec, RuntimeProfile},
        conditions::{READY, STALLED, is_true},
    };

    fn runtime(versions: &str) -> IntegrationRuntime {
        let profile = RuntimeProfile { versions: versions.into(), ..RuntimeProfile::default() };
        IntegrationRuntime::new("x", IntegrationRuntimeSpec { profiles: vec![profile] })
    }

    #[test]
    fn a_second_look_changes_nothing() {
        let mut runtime = runtime("*");
        let first = status(&runtime, "2026-01-01T00:00:00Z".parse().unwrap());
        assert!(is_true(&first.conditions, READY));
        runtime.status = Some(first.clone());
        assert_eq!(status(&runtime, "2026-01-02T00:00:00Z".parse().unwrap()), first);
    }

    #[test]
    fn a_mistake_stalls_it_and_is_named() {
        let told = status(&runtime("four"), "2026-01-01T00:00:00Z".parse().unwrap());
        assert!(is_true(&told.conditions, STALLED) && !is_true(&told.conditions, READY));
        assert!(told.conditions[0].message.starts_with("spec.profiles[0].versions"), "{told:?}");
    }
}
