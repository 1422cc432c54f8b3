//! IO, in memory only: what the watches and the poller show of the services beside one.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::Arc,
};

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::Deployment;
use kube::{ResourceExt, runtime::reflector::ObjectRef};

use super::{
    ending,
    exposure::Rival,
    poll::{Key, Poller},
    promote::Wanted,
    resolve::resolve,
    snapshot::Branch,
    status::{Pass, Stage},
    uses::{self, Around, Asker, Face, Silence, is_open, losing, used, wakes_soon},
};
use crate::{
    api::{Export, IntegrationService, Port, Release, ReleaseUse, Retirement, Use, WorkloadType},
    cluster::Workload,
    names::{self, environment_namespace, home_namespace, tenant_of_home},
    platform::Platform,
    release::{Footprint, written},
    runtime::profile,
};

/// Everything that runs or is declared, as it was seen last.
#[derive(Clone, Copy)]
pub(super) struct Neighbours<'a> {
    pub platform: &'a Platform,
    pub poller: &'a Poller,
}

/// The service of this name of this tenant.
pub(super) fn key(tenant: &str, service: &str) -> Key {
    ObjectRef::new(service).within(&home_namespace(tenant))
}

impl Neighbours<'_> {
    /// What `asker` sees of a service that it is to call.
    pub(super) fn face(self, asker: Asker<'_>, used: &Use) -> Face {
        let tenant = used.tenant.as_deref().unwrap_or(asker.tenant);
        if !is_open(asker, (tenant, &used.service), &self) {
            return Face::Closed;
        }
        let ports = match self.current(tenant, &used.service, asker.environment) {
            Some(release) if release.spec.type_ != WorkloadType::Api => Some(vec![]),
            Some(release) => Some(release.spec.ports.clone()),
            None => self.declared(tenant, &used.service, asker.environment),
        };
        ports.map_or(Face::Unread, Face::Ports)
    }

    /// What is told to `asker` of services that it uses and that end.
    pub(super) fn losing(self, (tenant, service): (&str, &str), stages: &[Stage]) -> Option<String> {
        let mut ending: BTreeMap<(String, String, String), (Retirement, Vec<&str>)> = BTreeMap::new();
        for stage in stages.iter().filter(|stage| stage.environment.ending.is_none()) {
            let environment = stage.environment.name.as_str();
            let asker = Asker { tenant, service, environment };
            let current = self.current(tenant, service, environment);
            let runs = current.iter().flat_map(|release| &release.spec.uses);
            let runs = runs.map(|used| (&used.tenant, &used.service));
            let used: BTreeSet<_> =
                asked(stage).map(|used| (&used.tenant, &used.service)).chain(runs).collect();
            for (of, name) in used {
                let of = of.as_deref().unwrap_or(tenant);
                let ends = is_open(asker, (of, name), &self).then(|| self.ending((of, name), environment));
                let Some(Retirement { stage, until }) = ends.flatten() else { continue };
                let key = (of.to_owned(), name.clone(), until.clone());
                ending.entry(key).or_insert((Retirement { stage, until }, vec![])).1.push(environment);
            }
        }
        let told =
            ending.iter().map(|((of, name, _), (ends, within))| losing(tenant, (of, name), (ends, within)));
        Some(told.collect::<Vec<_>>().join("; ")).filter(|told| !told.is_empty())
    }

    /// How far the end of what runs of a service is.
    fn ending(self, (tenant, service): (&str, &str), environment: &str) -> Option<Retirement> {
        let periods = &self.platform.settings.retirement;
        let service = self.service(tenant, service)?;
        let tenant = self.platform.tenants.named(tenant)?;
        let stages = tenant.status.as_ref().map_or(&[][..], |status| &status.environments);
        let stage = stages.iter().find(|stage| stage.name == environment);
        let endings = [
            ending::of_tenant(&tenant, periods),
            ending::of_service(&service, periods),
            stage.and_then(ending::of_environment),
        ];
        ending::gravest(endings).map(|ending| ending.retirement)
    }

    /// Of the services that a release of `asker` uses, those that are to answer there and do not, each with its tenant and
    /// name. One that ends is told by [`Self::losing`].
    pub(super) fn silent<'a>(
        self,
        asker: Asker<'a>,
        uses: &'a [ReleaseUse],
    ) -> impl Iterator<Item = ((&'a str, &'a str), Silence)> {
        let Asker { tenant, service: _, environment } = asker;
        let of = move |used: &'a ReleaseUse| (used.tenant.as_deref().unwrap_or(tenant), &*used.service);
        let providers: BTreeSet<_> = uses.iter().map(of).collect();
        let counts = move |provider: &(&str, &str)| {
            is_open(asker, *provider, &self)
                && self.ending(*provider, environment).is_none()
                && !self.wakes_soon(*provider, environment)
        };
        let silence = move |provider| Some((provider, self.silence(provider, environment)?));
        providers.into_iter().filter(counts).filter_map(silence)
    }

    /// Does it wake within the minutes over which services that slept are spread?
    fn wakes_soon(self, provider: (&str, &str), environment: &str) -> bool {
        let until = self.asleep_until(provider, environment);
        until.is_some_and(|until| wakes_soon(&until, (self.platform.now)()))
    }

    /// As its board says.
    fn asleep_until(self, (tenant, service): (&str, &str), environment: &str) -> Option<String> {
        let service = self.service(tenant, service)?;
        let mut stages = service.status.as_ref()?.environments.iter();
        stages.find(|stage| stage.name == environment)?.asleep_until.clone()
    }

    /// When the newest came of what Git asked for that runs of the same tenant's services and uses `asker`: what it calls is to
    /// answer while somebody looks at it.
    pub(super) fn called_since(self, asker: Asker<'_>) -> Option<Timestamp> {
        let Asker { tenant, service, environment } = asker;
        let all = self.platform.cluster.deployments_in(&environment_namespace(tenant, environment));
        let current = all.iter().filter_map(|live| self.current(tenant, &live.name_any(), environment));
        let calls = |release: &Arc<Release>| uses::brings_a_call(release, (tenant, service));
        let made = |release: Arc<Release>| release.metadata.creation_timestamp.as_ref().map(|made| made.0);
        current.filter(calls).filter_map(made).max()
    }

    fn silence(self, (tenant, service): (&str, &str), environment: &str) -> Option<Silence> {
        let namespace = environment_namespace(tenant, environment);
        let live = self.platform.cluster.workload(&namespace, service)?;
        let beside = self.platform.cluster.workload(&namespace, &names::beside(service));
        let is_ready = |one: &Workload| {
            let status = one.deployment().and_then(|one| one.status.as_ref());
            status.is_some_and(|status| status.ready_replicas > Some(0))
        };
        if is_ready(&live) || beside.as_ref().is_some_and(is_ready) {
            return None;
        }
        let live = live.deployment()?;
        if live.spec.as_ref()?.replicas == Some(0) {
            return Some(Silence::Empty);
        }
        let mut conditions = live.status.as_ref()?.conditions.iter().flatten();
        let down = conditions.find(|one| one.type_ == "Available" && one.status == "False")?;
        Some(Silence::Down(down.last_transition_time.as_ref()?.0))
    }

    /// Whom this service uses, by what Git asks for and by what runs.
    pub(super) fn uses(self, service: &Key, pass: Option<&Pass>) -> HashSet<Key> {
        let Some(tenant) = tenant_of(service) else { return HashSet::new() };
        let stages = pass.into_iter().flat_map(|pass| &pass.stages);
        let asked =
            stages.flat_map(asked).map(|used| key(used.tenant.as_deref().unwrap_or(tenant), &used.service));
        let everywhere = self.everywhere(tenant, &service.name);
        let running = everywhere.iter().flat_map(|(_, running)| used(running));
        let running = running.map(|(tenant, name)| key(tenant, name));
        let current = everywhere.iter().filter_map(|(name, _)| self.current(tenant, &service.name, name));
        let current = current.flat_map(|release| {
            let of = |used: &ReleaseUse| key(used.tenant.as_deref().unwrap_or(tenant), &used.service);
            release.spec.uses.iter().map(of).collect::<Vec<_>>()
        });
        asked.chain(running).chain(current).collect()
    }

    /// Hash of what others see of it.
    pub(super) fn shown(self, service: &Key) -> String {
        let Some(tenant) = tenant_of(service) else { return String::new() };
        let exports = self.exports(tenant, &service.name);
        let running = self.everywhere(tenant, &service.name);
        let declared: Vec<_> = running
            .iter()
            .filter(|(_, running)| running.is_empty())
            .map(|(environment, _)| self.declared(tenant, &service.name, environment))
            .collect();
        let own = (tenant, &*service.name);
        let ending = running.iter().map(|(environment, _)| self.ending(own, environment));
        let silence = running.iter().map(|(environment, _)| self.silence(own, environment));
        let silence = silence.map(|silence| format!("{silence:?}"));
        let asleep = running.iter().map(|(environment, _)| self.asleep_until(own, environment));
        let (ending, silence) = (ending.collect::<Vec<_>>(), silence.collect::<Vec<_>>());
        names::content_hash(&(exports, &running, declared, ending, silence, asleep.collect::<Vec<_>>()))
    }

    /// Services of the asker's tenant that run with `path` in its environment; what is left of one whose object is gone, too.
    pub(super) fn rivals(self, asker: Asker<'_>, path: &str) -> Vec<Rival> {
        let Asker { tenant, service, environment } = asker;
        let all = self.platform.cluster.deployments_in(&environment_namespace(tenant, environment));
        let has_it = |name: &String| {
            let running = self.running(tenant, name, environment);
            running.iter().any(|one| one.expose.as_ref().is_some_and(|expose| expose.path == path))
        };
        let rival = |live: Arc<Deployment>| {
            let since = live.metadata.creation_timestamp.as_ref().map(|at| at.0);
            Rival { service: live.name_any(), since }
        };
        let mut rivals: Vec<_> = all.into_iter().map(rival).collect();
        rivals.retain(|rival| rival.service != service && has_it(&rival.service));
        rivals
    }

    fn everywhere(self, tenant: &str, service: &str) -> Vec<(String, Vec<Footprint>)> {
        let mut names: Vec<_> = self.platform.environments.all().iter().map(|one| one.name_any()).collect();
        names.sort();
        let running = |name: String| {
            let running = self.running(tenant, service, &name);
            (name, running)
        };
        names.into_iter().map(running).collect()
    }

    fn service(self, tenant: &str, service: &str) -> Option<Arc<IntegrationService>> {
        self.platform.services.named_in(&home_namespace(tenant), service)
    }

    /// What was given last to what runs it.
    fn current(self, tenant: &str, service: &str, environment: &str) -> Option<Arc<Release>> {
        let namespace = environment_namespace(tenant, environment);
        let live = self.platform.cluster.workload(&namespace, service)?;
        let release = self.platform.releases.named_in(&home_namespace(tenant), live.release()?)?;
        let is_of_here = release.spec.service == service && release.spec.environment == environment;
        is_of_here.then_some(release)
    }

    /// The ports that the head of its branch asks for; nothing where that is not known.
    fn declared(self, tenant: &str, service: &str, environment: &str) -> Option<Vec<Port>> {
        let (service, snapshot) = self.poller.known(&key(tenant, service))?;
        let branch = &service.environments.iter().find(|one| one.name == environment)?.branch;
        let Branch::Head { content: Ok(content), .. } = snapshot.branches.get(branch)? else { return None };
        let settings = resolve(content, environment).ok()?.settings;
        match settings.type_ {
            WorkloadType::Worker | WorkloadType::Batch => Some(vec![]),
            WorkloadType::Api if !settings.ports.is_empty() => Some(settings.ports),
            WorkloadType::Api => {
                let runtime = self.platform.runtimes.named(&service.runtime)?;
                let profile = profile(&runtime, settings.runtime_version.as_deref()).ok()?;
                Some(profile.ports.clone())
            }
        }
    }
}

impl Around for Neighbours<'_> {
    fn exports(&self, tenant: &str, service: &str) -> Option<Vec<Export>> {
        self.service(tenant, service).map(|it| it.spec.export_to.clone())
    }

    fn running(&self, tenant: &str, service: &str, environment: &str) -> Vec<Footprint> {
        let namespace = environment_namespace(tenant, environment);
        let live = self.platform.cluster.workload(&namespace, service);
        let several = live.map(|live| written(&live)).unwrap_or_default();
        if several.is_empty() {
            let current = self.current(tenant, service, environment);
            return current.iter().map(|release| Footprint::of(release)).collect();
        }
        several
    }
}

/// What Git asks it to use there.
fn asked(stage: &Stage) -> impl Iterator<Item = &Use> {
    let uses = match &stage.wanted {
        Wanted::Target(asked) => &asked.resolved.settings.uses[..],
        Wanted::Unknown | Wanted::Nothing { .. } => &[],
    };
    uses.iter()
}

fn tenant_of(service: &Key) -> Option<&str> {
    tenant_of_home(service.namespace.as_deref()?)
}
