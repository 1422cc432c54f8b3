//! IO: the way into a service from outside, as the Environment, the cluster and its gateway say now.

use super::{
    exposure::{Exposure, asks_limits},
    pass::Work,
    status::Observation,
    validate::ValidEnvironment,
};
use crate::{
    api::{Release, ReleaseExpose, http_route::RuleFields},
    cluster::HEEDED_FOR,
    environment::run::checked,
    release::{self, Outside, Sources},
    runtime::profile,
};

impl Work<'_> {
    /// Who comes in from outside, as the Environment says now.
    pub(super) fn outside(&self, environment: &ValidEnvironment) -> Outside {
        let stages = &self.platform.environments;
        let Some(stage) = stages.named(&environment.name) else { return Outside::default() };
        let has_way_in = stage.spec.domain.is_some() || stage.spec.gateway.is_some();
        let is_named = has_way_in || Sources::of(&stage.spec).is_any();
        let is_invalid = is_named && !self.is_valid(environment);
        let rules = self.platform.cluster.route_fields().rule;
        let mut outside = Outside::of(&stage.spec, &self.platform.settings.namespace);
        if is_invalid {
            outside.brokers.clear();
            outside.prometheus = None;
        }
        let is_unsure = is_invalid && has_way_in;
        Outside { is_unsure, rules, ..outside }
    }

    /// Is the Environment valid as it stands now?
    pub(super) fn is_valid(&self, environment: &ValidEnvironment) -> bool {
        matches!(checked(&self.platform.environments).named(&environment.name), Some(Ok(_)))
    }

    /// Tells where a release is that is exposed, and what is in the way.
    pub(super) async fn exposed(
        &mut self,
        environment: &ValidEnvironment,
        target: &release::Target<'_>,
        observation: &mut Observation,
    ) {
        let Some(exposed) = &target.release.spec.expose else { return };
        let of_runtime = self.of_runtime(target.release);
        let heeded = self.heeded((exposed, of_runtime), target.outside).await;
        let cluster = &self.platform.cluster;
        let route = cluster.route(&environment.namespace, &self.service.name);
        let exposure = Exposure {
            tenant: &self.service.tenant,
            environment: &environment.name,
            exposed,
            outside: target.outside,
            has_routes: cluster.has_routes(),
            heeded,
            of_runtime,
            route: route.as_deref(),
        };
        exposure.tell(observation);
    }

    /// What the gateway heeds of the limits that are asked for; where none is, nobody asks.
    async fn heeded(
        &mut self,
        (exposed, of_runtime): (&ReleaseExpose, Option<u16>),
        outside: &Outside,
    ) -> RuleFields {
        let has_limits = asks_limits(exposed, of_runtime);
        let entrance = outside.entrance.as_ref().filter(|_| has_limits && self.platform.cluster.has_routes());
        let Some(entrance) = entrance else { return RuleFields::ALL };
        self.again = self.again.into_iter().chain([HEEDED_FOR]).min();
        self.platform.cluster.heeds(&entrance.gateway).await.rule
    }

    /// Are requests told apart by a parameter of their address? Only where the gateway says that it heeds it: one that does not
    /// would send all of them to what is tried, or refuse the route.
    pub(super) async fn asks_by_query(&self, outside: &Outside) -> bool {
        let cluster = &self.platform.cluster;
        let entrance = outside.entrance.as_ref().filter(|_| cluster.route_fields().query);
        match entrance {
            Some(entrance) => cluster.heeds(&entrance.gateway).await.query,
            None => false,
        }
    }

    /// The timeout that the runtime of `release` has for all its services.
    fn of_runtime(&self, release: &Release) -> Option<u16> {
        let runtime = self.platform.runtimes.named(&release.spec.runtime)?;
        profile(&runtime, release.spec.runtime_version.as_deref()).ok()?.request_timeout_seconds
    }
}
