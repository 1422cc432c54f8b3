//! The loop of every controller, once: what wakes an object, how many run at a time, when a failure is tried again.

use std::{
    convert::Infallible,
    future::Future,
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{FutureExt, StreamExt, stream::BoxStream};
use kube::runtime::{
    applier,
    controller::{self, Action, Config},
    reflector::ObjectRef,
};
use tokio::sync::Semaphore;

use super::{Watched, apply::Object, seen::ObjectKey};
use crate::{
    conditions::Reason,
    metrics::{RECONCILE_SECONDS, RECONCILES},
    retry::{Failures, Retry, backoff},
};

/// What a controller asks of an error.
pub trait ReconcileError: std::error::Error + Send + Sync + 'static {
    /// When to try again.
    fn retry(&self) -> Retry;
    /// Condition reason and metric label.
    fn reason(&self) -> Reason;
}

/// One controller.
pub struct Control<K: Object> {
    /// Its name in logs and metrics.
    pub name: &'static str,
    /// The objects; each of their changes is a reason to run.
    pub watched: Watched<K>,
    /// Other reasons.
    pub triggers: Vec<BoxStream<'static, ObjectRef<K>>>,
    /// How many objects at a time, in the order in which they were due; one object never runs twice at a time.
    pub concurrency: u16,
    /// Randomness in `0.0..=1.0` for the backoff.
    pub jitter: fn() -> f64,
}

#[derive(Debug, thiserror::Error)]
enum Failed<E: std::error::Error + 'static> {
    #[error(transparent)]
    Told(E),
    /// A defect of ours: this object waits, the others go on.
    #[error("the operator panicked; please report this with its log")]
    Panicked,
}

/// Runs `reconcile` until `shutdown` resolves and what is under way is done.
pub async fn control<K, E, Fut>(
    control: Control<K>,
    reconcile: impl Fn(Arc<K>) -> Fut + Send + Sync + 'static,
    shutdown: impl Future<Output = ()> + Send + 'static,
) where
    K: Object,
    E: ReconcileError,
    Fut: Future<Output = Result<Action, E>> + Send + 'static,
{
    let Control { name, watched, mut triggers, concurrency, jitter } = control;
    triggers.push(watched.changes().boxed());
    let turns = Arc::new(Semaphore::new(concurrency.into()));
    let no_more = turns.clone();
    let shutdown = shutdown.map(move |()| no_more.close());
    let queue = futures::stream::select_all(triggers).take_until(shutdown).map(Ok::<_, Infallible>);
    let failures = Arc::new(Failures::<ObjectKey>::default());
    let policy_failures = failures.clone();
    let policy = move |object: Arc<K>, error: &Failed<E>, _: Arc<()>| {
        again(error, || policy_failures.count(ObjectKey::of(&*object)), jitter())
    };
    let (store, reconcile) = (watched.store(), Arc::new(reconcile));
    let guarded = move |object: Arc<K>,
                        _: Arc<()>|
          -> Pin<Box<dyn Future<Output = Result<Action, Failed<E>>> + Send>> {
        let (store, turns, reconcile) = (store.clone(), turns.clone(), reconcile.clone());
        Box::pin(async move {
            let Ok(_turn) = turns.acquire_owned().await else {
                // The operator ends.
                return Ok(Action::await_change());
            };
            // It may have changed while it waited, or gone.
            let Some(object) = store.get(&ObjectRef::from_obj(&*object)) else {
                return Ok(Action::await_change());
            };
            let begun = Instant::now();
            let outcome = AssertUnwindSafe(async { reconcile(object).await }).catch_unwind().await;
            RECONCILE_SECONDS.with_label_values(&[name]).observe(begun.elapsed().as_secs_f64());
            let (outcome, reason) = match outcome {
                Ok(Ok(action)) => (Ok(action), Reason::Succeeded.as_str()),
                Ok(Err(error)) => {
                    let reason = error.reason().as_str();
                    (Err(Failed::Told(error)), reason)
                }
                Err(_) => (Err(Failed::Panicked), "Panicked"),
            };
            RECONCILES.with_label_values(&[name, reason]).inc();
            outcome
        })
    };
    // A burst of changes of one object becomes one pass; short, since it delays every roll-out. Whoever is due waits for a
    // turn above: with a limit here the library would take any of those who wait, and some again before others once.
    let config = Config::default().concurrency(0).debounce(Duration::from_millis(20));
    applier(guarded, policy, Arc::new(()), watched.store(), queue, config)
        .for_each(|result| {
            ended(name, &failures, result);
            std::future::ready(())
        })
        .await;
}

/// When the object that failed is tried again. `attempt` counts a failure: waiting is none.
fn again<E: ReconcileError>(error: &Failed<E>, attempt: impl FnOnce() -> u32, jitter: f64) -> Action {
    let retry = match error {
        Failed::Told(error) => error.retry(),
        Failed::Panicked => Retry::Backoff,
    };
    match retry {
        Retry::Never => Action::await_change(),
        Retry::After(delay) => Action::requeue(delay),
        Retry::Backoff => Action::requeue(backoff(attempt(), jitter)),
    }
}

/// Tells how a pass ended, and forgets the failures of what succeeded or is gone.
fn ended<K: Object, E: std::error::Error + 'static>(
    controller: &'static str,
    failures: &Failures<ObjectKey>,
    result: Result<(ObjectRef<K>, Action), controller::Error<Failed<E>, Infallible>>,
) {
    let key = |namespace: Option<&str>, name: &str| ObjectKey::named::<K>(namespace, name);
    match result {
        Ok((object, _)) => {
            failures.forget(&key(object.namespace.as_deref(), &object.name));
            tracing::debug!(controller, %object, "reconciled");
        }
        Err(controller::Error::ObjectNotFound(object)) => {
            failures.forget(&key(object.namespace.as_deref(), &object.name));
            tracing::debug!(controller, %object, "gone before its turn");
        }
        Err(controller::Error::ReconcilerFailed(Failed::Panicked, object)) => {
            tracing::error!(controller, %object, "panicked; please report this");
        }
        Err(error) => {
            tracing::warn!(controller, error = &error as &dyn std::error::Error, "not reconciled");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, sync::Mutex};

    use kube::{ResourceExt, runtime::watcher::Event};
    use tokio::sync::mpsc;

    use super::*;
    use crate::{api::IntegrationService, cluster::ApplyError};

    fn services(count: usize) -> Vec<IntegrationService> {
        let service = |number| {
            let spec = "{repository: {url: 'https://git.example.com/a.git'}, runtime: camel}";
            let metadata = format!("{{name: service-{number}, namespace: acme-home}}");
            let kind = "apiVersion: imaas.dev/v1alpha1, kind: IntegrationService";
            serde_saphyr::from_str(&format!("{{{kind}, metadata: {metadata}, spec: {spec}}}")).unwrap()
        };
        (0..count).map(service).collect()
    }

    #[tokio::test]
    async fn what_goes_while_it_waits_for_its_turn_has_none() {
        const LONG: Duration = Duration::from_millis(200);
        let (watched, writer) = Watched::written(services(2));
        let control = Control {
            name: "test",
            watched: watched.clone(),
            triggers: vec![],
            concurrency: 1,
            jitter: || 1.0,
        };
        let (begun, ends) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Semaphore::new(0)));
        let (told, end, writer) = (begun.clone(), ends.clone(), Arc::new(Mutex::new(writer)));
        let reconcile = move |service: Arc<IntegrationService>| {
            told.lock().unwrap().push(service.name_any());
            let (watched, writer, end) = (watched.clone(), writer.clone(), end.clone());
            async move {
                // The other one waits meanwhile.
                tokio::time::sleep(LONG).await;
                for other in watched.all().iter().filter(|other| other.name_any() != service.name_any()) {
                    writer.lock().unwrap().apply_watcher_event(&Event::Delete((**other).clone()));
                }
                end.add_permits(1);
                Ok::<_, ApplyError>(Action::await_change())
            }
        };
        let shutdown = async move {
            drop(ends.acquire().await);
            // The other one would have its turn.
            tokio::time::sleep(LONG).await;
        };
        super::control(control, reconcile, shutdown).await;
        assert_eq!(begun.lock().unwrap().len(), 1);
    }

    #[tokio::test]
    async fn whoever_is_due_has_a_turn_before_others_have_many() {
        const PASSES: usize = 200;
        let watched = Watched::of(services(20));
        let (wake, mut woken) = mpsc::unbounded_channel();
        let woken = futures::stream::poll_fn(move |context| woken.poll_recv(context));
        let (passes, ends) =
            (Arc::new(Mutex::new(BTreeMap::<String, usize>::new())), Arc::new(Semaphore::new(0)));
        let control =
            Control { name: "test", watched, triggers: vec![woken.boxed()], concurrency: 1, jitter: || 1.0 };
        let (told, end) = (passes.clone(), ends.clone());
        let reconcile = move |service: Arc<IntegrationService>| {
            let mut told = told.lock().unwrap();
            *told.entry(service.name_any()).or_default() += 1;
            if told.values().sum::<usize>() == PASSES {
                end.add_permits(1);
            }
            // It is always due again.
            wake.send(ObjectRef::from_obj(&*service)).unwrap();
            async {
                tokio::time::sleep(Duration::from_millis(2)).await;
                Ok::<_, ApplyError>(Action::await_change())
            }
        };
        super::control(control, reconcile, async move { drop(ends.acquire().await) }).await;
        let passes = passes.lock().unwrap().clone();
        let (least, most) = (passes.values().min().unwrap(), passes.values().max().unwrap());
        assert!(passes.len() == 20 && most - least <= 2, "{passes:?}");
    }

    #[test]
    fn waiting_for_something_else_is_no_failure() {
        let failures = Failures::default();
        let after = |error: Failed<ApplyError>| again(&error, || failures.count("orders"), 1.0);
        let foreign = after(Failed::Told(ApplyError::Foreign("Namespace acme-dev".into())));
        assert_eq!(foreign, Action::requeue(Duration::from_mins(1)));
        assert_eq!(after(Failed::Panicked), Action::requeue(Duration::from_secs(1)));
        assert_eq!(after(Failed::Panicked), Action::requeue(Duration::from_secs(2)));
    }

    #[test]
    fn failures_are_forgotten_when_the_object_succeeds_or_is_gone_and_not_before() {
        let failures = Failures::default();
        let orders = ObjectRef::<IntegrationService>::new("orders").within("acme-home");
        let key = || ObjectKey::named::<IntegrationService>(Some("acme-home"), "orders");
        let erased = || Box::new(orders.clone().erase());
        let after = |result| {
            failures.count(key());
            ended::<IntegrationService, ApplyError>("service", &failures, result);
            failures.count(key())
        };
        assert_eq!(after(Err(controller::Error::ReconcilerFailed(Failed::Panicked, erased()))), 1);
        assert_eq!(after(Err(controller::Error::ObjectNotFound(erased()))), 0, "deleted");
        assert_eq!(after(Ok((orders.clone(), Action::await_change()))), 0, "succeeded");
    }
}
