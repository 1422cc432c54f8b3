//! IO: the loops of this stage, and what wakes a service.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

use futures::{FutureExt, Stream, StreamExt, stream};
use kube::{ResourceExt, runtime::reflector::ObjectRef};
use tokio::sync::{Semaphore, mpsc};

use super::{
    analyses::{self, Analyses},
    answers::refuse_strays,
    commit_status::sender::{self, Reporter},
    decision,
    places::Places,
    poll::{self, Key, Origins, Poller},
    reconcile::{Context, reconcile},
    relations::Relations,
    rounds::{self, Rounds},
    written::Written,
};
use crate::{
    api::{
        HttpRoute, IntegrationService, Release, ReleaseDecision, ScaledObject, Tenant, TriggerAuthentication,
    },
    cluster::{Control, ObjectKey, Touch, control},
    names::{self, ORPHANED, ORPHANED_BY, RETIRING, SERVICE, TENANT, home_namespace, tenant_of_home},
    platform::Platform,
    policies::Policies,
    webhook::Push,
};

/// Services reconciled at a time; a pass that changes nothing sends nothing.
const CONCURRENCY: u16 = 8;
/// Of these, writing a configuration.
const CONFIG_WRITES: usize = 2;

/// Runs until `shutdown` resolves and the passes under way are done. `pushes`: what the registry tells.
pub async fn run(
    platform: Platform,
    (origins, pushes): (Origins, mpsc::Receiver<Push>),
    policies: Policies,
    shutdown: impl Future<Output = ()> + Send + 'static,
) {
    let shutdown = shutdown.shared();
    let (poller, ends) = Poller::new(platform.clone(), origins);
    let poll::Ends { asks, mut news } = ends;
    let Origins { git, statuses, .. } = poller.origins().clone();
    let (reporter, sender::Ends { asks: reports, news: mut answers }) =
        Reporter::new(platform.clone(), git, statuses);
    let tells = sender::run(reporter.clone(), reports, shutdown.clone());
    let answered = stream::poll_fn(move |context| answers.poll_recv(context));
    let looks = poll::run(poller.clone(), asks, shutdown.clone());
    let heard = hear(poller.clone(), pushes, shutdown.clone());
    let seen = stream::poll_fn(move |context| news.poll_recv(context));
    let (written, config_writes) = (Written::default(), Semaphore::new(CONFIG_WRITES));
    let (relations, mut related) = Relations::new();
    let related = stream::poll_fn(move |context| related.poll_recv(context));
    let (places, mut turns) = Places::new(platform.settings.runtime_wave);
    let turns = stream::poll_fn(move |context| turns.poll_recv(context));
    let (rounds, rounds::Ends { asks: due, news: mut found }) = Rounds::new(platform.clone());
    let asked = rounds::run(rounds.clone(), due, shutdown.clone());
    let found = stream::poll_fn(move |context| found.poll_recv(context));
    let (analyses, analyses::Ends { asks: steps, news: mut judged }) = Analyses::new(platform.clone());
    let comparisons = analyses::run(analyses.clone(), steps, shutdown.clone());
    let judged = stream::poll_fn(move |context| judged.poll_recv(context));
    let decided = of_decisions(&platform, &policies).boxed();
    let ctx = Arc::new(Context {
        platform: platform.clone(),
        poller,
        written,
        policies,
        config_writes,
        reporter,
        rounds,
        analyses,
        places,
        relations,
    });
    let gone = forget_what_is_gone(ctx.clone(), shutdown.clone());
    let strays = refuse_strays(platform.clone(), shutdown.clone());
    let services = Control {
        name: "service",
        watched: platform.services.clone(),
        triggers: vec![
            of_touches(&platform).boxed(),
            platform
                .releases
                .changes()
                .filter_map(|release| std::future::ready(of_release(&release)))
                .boxed(),
            decided,
            of_tenants(&platform).boxed(),
            of_environments(&platform).boxed(),
            of_runtimes(&platform).boxed(),
            seen.boxed(),
            related.boxed(),
            turns.boxed(),
            answered.boxed(),
            found.boxed(),
            judged.boxed(),
        ],
        concurrency: CONCURRENCY,
        jitter: platform.jitter,
    };
    let passes = control(services, move |service| reconcile(service, ctx.clone()), shutdown);
    futures::join!(looks, heard, tells, asked, comparisons, passes, gone, strays);
}

/// Images that come are looked at at once.
async fn hear(poller: Poller, mut pushes: mpsc::Receiver<Push>, shutdown: impl Future<Output = ()> + Send) {
    let pushes = stream::poll_fn(move |context| pushes.poll_recv(context));
    let mut pushes = std::pin::pin!(pushes.take_until(shutdown));
    while let Some(Push { tenant, service, references }) = pushes.next().await {
        let key = ObjectRef::new(&service).within(&home_namespace(&tenant));
        poller.has_come(&key, references);
    }
}

async fn forget_what_is_gone(ctx: Arc<Context>, shutdown: impl Future<Output = ()> + Send) {
    let mut changes = std::pin::pin!(ctx.platform.services.changes().take_until(shutdown));
    while let Some(service) = changes.next().await {
        let namespace = service.namespace.as_deref().unwrap_or_default();
        if ctx.platform.services.named_in(namespace, &service.name).is_none() {
            let key = ObjectRef::new(&service.name).within(namespace);
            ctx.poller.forget(&key);
            ctx.written.forget(&key);
            ctx.reporter.forget(&key);
            ctx.rounds.forget(&key);
            ctx.analyses.forget(&key);
            ctx.relations.gone(&key);
            ctx.places.tell(&key, &BTreeMap::new());
        }
    }
}

/// The services that a child or a namespace concerns.
fn of_touches(platform: &Platform) -> impl Stream<Item = Key> + Send + use<> {
    let services = platform.services.clone();
    let kinds = [
        ObjectKey::all::<HttpRoute>(),
        ObjectKey::all::<ScaledObject>(),
        ObjectKey::all::<TriggerAuthentication>(),
    ];
    platform.cluster.touches().flat_map(move |touch| {
        let concerned = match home_of(&touch) {
            // A kind came or went.
            _ if kinds.contains(&touch.object) => keys(&services.all()),
            Some(home) => keys(&services.all_in(&home)),
            None => of_touch(&touch).into_iter().collect(),
        };
        stream::iter(concerned)
    })
}

/// The home of the tenant that a namespace is by its name, whatever its labels say now.
fn home_of(touch: &Touch) -> Option<String> {
    let name = &touch.object.name;
    let tenant = name.rsplit_once('-').filter(|_| touch.object.kind == "Namespace")?.0;
    Some(home_namespace(tenant))
}

/// The service that a child belongs to, by its labels.
fn of_touch(touch: &Touch) -> Option<Key> {
    let (tenant, service) = (touch.labels.get(TENANT)?, touch.labels.get(SERVICE)?);
    Some(ObjectRef::new(service).within(&home_namespace(tenant)))
}

/// The service of a Release, by its name `<service>-<environment>-<hash>`: neither of the last two has a `-`.
fn of_release(release: &ObjectRef<Release>) -> Option<Key> {
    let service = release.name.rsplitn(3, '-').nth(2)?;
    Some(ObjectRef::new(service).within(release.namespace.as_deref()?))
}

/// The service that a decision is about; those with decisions that wait, when what admits them is proven or not.
fn of_decisions(platform: &Platform, policies: &Policies) -> impl Stream<Item = Key> + Send + use<> {
    let (decisions, all) = (platform.decisions.clone(), platform.decisions.clone());
    let about = |decision: Arc<ReleaseDecision>| {
        Some(ObjectRef::new(&decision.spec.service).within(&decision.namespace()?))
    };
    let mut known = Known::default();
    let changed = platform.decisions.changes().filter_map(move |decision| {
        let namespace = decision.namespace.as_deref().unwrap_or_default();
        let now = decisions.named_in(namespace, &decision.name).and_then(about);
        std::future::ready(known.service(decision, now))
    });
    let waiting = policies.changes().flat_map(move |()| {
        let mut open = all.all();
        open.retain(|decision| !decision::is_answered(decision));
        stream::iter(open.into_iter().filter_map(about).collect::<Vec<_>>())
    });
    stream::select(changed, waiting)
}

/// The service that each decision is about, which one that is gone no longer tells.
#[derive(Default)]
struct Known(HashMap<ObjectRef<ReleaseDecision>, Key>);

impl Known {
    /// Whom `decision` concerns, which is about `now`, or gone.
    fn service(&mut self, decision: ObjectRef<ReleaseDecision>, now: Option<Key>) -> Option<Key> {
        match &now {
            Some(service) => self.0.insert(decision, service.clone()),
            None => return self.0.remove(&decision),
        };
        now
    }
}

/// All services of a tenant whose environments, or whose being in Git, changed. Its status moves with every service.
fn of_tenants(platform: &Platform) -> impl Stream<Item = Key> + Send + use<> {
    let (tenants, services) = (platform.tenants.clone(), platform.services.clone());
    let changed = Changed::default();
    platform.tenants.changes().flat_map(move |tenant| {
        let now = tenants.named(&tenant.name).map(|tenant| of_tenant(&tenant));
        let concerned = changed.is(&tenant.name, now);
        stream::iter(if concerned { keys(&services.all_in(&home_namespace(&tenant.name))) } else { vec![] })
    })
}

/// Hash of what of `tenant` concerns its services.
fn of_tenant(tenant: &Tenant) -> String {
    let environments = tenant.status.as_ref().map(|status| &status.environments);
    let marks = [ORPHANED, ORPHANED_BY, RETIRING].map(|mark| tenant.annotations().get(mark));
    let asked = (&tenant.spec.environments, tenant.spec.suspend);
    names::content_hash(&(environments, marks, asked, tenant.uid()))
}

/// All services of all tenants: an environment changes seldom.
fn of_environments(platform: &Platform) -> impl Stream<Item = Key> + Send + use<> {
    let (environments, services) = (platform.environments.clone(), platform.services.clone());
    let changed = Changed::default();
    platform.environments.changes().flat_map(move |environment| {
        let now = environments.named(&environment.name).map(|e| names::content_hash(&e.spec));
        stream::iter(if changed.is(&environment.name, now) { keys(&services.all()) } else { vec![] })
    })
}

/// The services that the runtime runs.
fn of_runtimes(platform: &Platform) -> impl Stream<Item = Key> + Send + use<> {
    let (runtimes, services) = (platform.runtimes.clone(), platform.services.clone());
    let changed = Changed::default();
    platform.runtimes.changes().flat_map(move |runtime| {
        let now = runtimes.named(&runtime.name).map(|runtime| names::content_hash(&runtime.spec));
        let concerned = changed.is(&runtime.name, now);
        let mut run_by = if concerned { services.all() } else { vec![] };
        run_by.retain(|service| service.spec.runtime == runtime.name);
        stream::iter(keys(&run_by))
    })
}

fn keys(services: &[Arc<IntegrationService>]) -> Vec<Key> {
    let in_home = |service: &Arc<IntegrationService>| {
        let namespace = service.namespace()?;
        tenant_of_home(&namespace)?;
        Some(ObjectRef::new(&service.name_any()).within(&namespace))
    };
    services.iter().filter_map(in_home).collect()
}

/// What was last seen of each object, as far as it concerns services.
#[derive(Default)]
struct Changed(Mutex<HashMap<String, String>>);

impl Changed {
    /// Is `now`, or nothing for what is gone, other than it was?
    fn is(&self, name: &str, now: Option<String>) -> bool {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match now {
            Some(now) if seen.get(name) == Some(&now) => false,
            Some(now) => {
                seen.insert(name.to_owned(), now);
                true
            }
            None => seen.remove(name).is_some(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::ObjectKey;

    #[test]
    fn a_child_and_a_release_wake_their_service() {
        let orders: Key = ObjectRef::new("orders-eu").within("acme-home");
        let object =
            ObjectKey { kind: "Deployment".into(), namespace: Some("acme-dev".into()), name: "x".into() };
        let label = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
        };
        let touch = Touch { object, labels: label(&[(TENANT, "acme"), (SERVICE, "orders-eu")]) };
        assert_eq!(of_touch(&touch), Some(orders.clone()));
        assert_eq!(of_touch(&Touch { labels: label(&[(TENANT, "acme")]), ..touch.clone() }), None);
        assert_eq!(home_of(&touch), None);
        let namespace = ObjectKey { kind: "Namespace".into(), namespace: None, name: "acme-eu-dev".into() };
        let stripped = Touch { object: namespace, labels: BTreeMap::new() };
        assert_eq!(home_of(&stripped).as_deref(), Some("acme-eu-home"));
        let release = ObjectRef::<Release>::new("orders-eu-dev-4f2a4f2a4f2a").within("acme-home");
        assert_eq!(of_release(&release), Some(orders));
    }

    #[test]
    fn a_decision_that_goes_wakes_its_service_once() {
        let orders: Key = ObjectRef::new("orders").within("acme-home");
        let one = || ObjectRef::<ReleaseDecision>::new("one").within("acme-home");
        let mut known = Known::default();
        assert_eq!(known.service(one(), None), None);
        for _ in 0..2 {
            assert_eq!(known.service(one(), Some(orders.clone())), Some(orders.clone()));
        }
        assert_eq!(known.service(one().within("beta-home"), None), None);
        assert_eq!(known.service(one(), None), Some(orders));
        assert_eq!(known.service(one(), None), None);
    }

    #[test]
    fn what_a_tenants_file_says_of_environments_wakes_its_services_and_what_its_status_counts_does_not() {
        let of = |annotations: &str, spec: &str, status: &str| {
            let metadata = format!("{{name: acme, annotations: {{{annotations}}}}}");
            let text = format!(
                "{{apiVersion: imaas.dev/v1alpha1, kind: Tenant, metadata: {metadata}, spec: {{{spec}}}, status: {{{status}}}}}"
            );
            of_tenant(&serde_saphyr::from_str(&text).unwrap())
        };
        let usual = of("", "", "");
        for same in
            [of("", "contact: jo@acme.example", ""), of("", "", "servicesReady: 1/2"), of("a: b", "", "")]
        {
            assert_eq!(same, usual);
        }
        let sleep = "environments: {dev: {sleep: {windows: [{schedule: 0 20 * * *, duration: 11h}]}}}";
        let other = sleep.replace("20", "21");
        let all = [
            usual,
            of("", sleep, ""),
            of("", &other, ""),
            of("", "environments: {dev: {sleep: {windows: []}}}", ""),
            of("", "suspend: true", ""),
            of("imaas.dev/retiring-since: now", "", ""),
            of("", "", "environments: [{name: dev, namespace: acme-dev}]"),
        ];
        let apart: std::collections::BTreeSet<_> = all.iter().collect();
        assert_eq!(apart.len(), all.len());
    }

    #[test]
    fn only_what_concerns_services_wakes_them() {
        let changed = Changed::default();
        let seen = |text: &str| Some(text.to_owned());
        assert!(changed.is("acme", seen("dev")));
        assert!(!changed.is("acme", seen("dev")));
        assert!(
            changed.is("acme", seen("dev prod")) && changed.is("acme", None) && !changed.is("acme", None)
        );
    }
}
