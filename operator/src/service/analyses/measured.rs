//! IO: what numbers say of one step, as whoever counts them tells.

use kube::ResourceExt;

use super::Analyses;
use crate::{
    analysis::{Backlog, Comparison, Moment, Place, Subject, Uncounted, backlog, judged},
    api::ScaledObject,
    cluster::{ObjectKey, Workload},
    environment::ValidPrometheus,
    names,
    release::{self, verdict::Judgement},
    service::poll::Key,
};

impl Analyses {
    /// How the requests of both went, as Prometheus says.
    pub(super) async fn compared(
        &self,
        (key, environment): (&Key, &str),
        (prometheus, comparison): (&ValidPrometheus, &Comparison),
        (namespace, moment): (&str, Moment<'_>),
    ) -> Result<Judgement, String> {
        let Moment { release, lasts, pause: _ } = moment;
        let sets = self.sets((key, namespace), release).await;
        match (&self.0.asker, sets) {
            (None, _) => Err("metrics are not asked: the operator's log says why".to_owned()),
            (Some(_), None) => Err(format!("it is not known which instances are of {release}")),
            (Some(asker), Some([tried, stable])) => {
                let subject = Subject { namespace, tried: &tried, stable: &stable };
                match asker.fared(comparison, prometheus, (subject, lasts)).await {
                    Ok(measured) => judged(comparison, &measured, moment),
                    Err(error) => Err(format!("the Prometheus of {environment} {error}")),
                }
            }
        }
    }

    /// How much waits in each of `places`, as KEDA says: one request for each, and one for its word.
    pub(super) async fn waits(
        &self,
        (key, namespace): (&Key, &str),
        places: &[Place],
    ) -> Result<Backlog, Uncounted> {
        let cluster = &self.0.platform.cluster;
        let object = || cluster.scaler(namespace, &key.name).ok_or(Uncounted::Nobody);
        let mut waits = Backlog::new();
        for place in places {
            let object = object()?;
            let metric = (key.name.as_str(), place.metric(&object)?);
            let answer = cluster.external_metric(namespace, metric).await;
            let answer = answer.map_err(|error| place.unanswered(error))?;
            waits.insert(place.index, place.counted(&answer)?);
        }
        // Read once the numbers are here: KEDA writes that it makes them up before it tells any such, and a watch may be behind.
        let of = ObjectKey::named::<ScaledObject>(Some(namespace), &key.name);
        match cluster.read(&of).await {
            Ok(Some(object)) if backlog::is_made_up(&object) => Err(Uncounted::Fallback),
            Ok(Some(_)) => Ok(waits),
            Ok(None) => Err(Uncounted::Nobody),
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, service = %key, "scaler not read");
                Err(Uncounted::Unread)
            }
        }
    }

    /// Names of the sets of `release`, which is tried, and of what runs: one request. Nothing where they are not known,
    /// as for a moment after each change.
    async fn sets(&self, (key, namespace): (&Key, &str), release: &str) -> Option<[String; 2]> {
        let cluster = &self.0.platform.cluster;
        let live = |name: &str| cluster.workload(namespace, name);
        let (beside, own) = (live(&names::beside(&key.name))?, live(&key.name)?);
        if beside.release().is_none_or(|of| of != release) {
            return None;
        }
        let labels = [(names::SERVICE.to_owned(), key.name.clone())].into();
        let sets = match cluster.replica_sets(namespace, &labels).await {
            Ok(sets) => sets,
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, service = %key, "sets not read");
                return None;
            }
        };
        let of = |live: &Workload| release::current(live.deployment()?, &sets).map(ResourceExt::name_any);
        Some([of(&beside)?, of(&own)?])
    }
}
