//! IO: which release an environment is to run: the one that Git asks for, made if there is none, or the one that runs.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::ResourceExt;

use super::{
    Problem,
    brought::Place,
    entry::{self, New},
    exposure::{Rival, holder, taken},
    neighbours::{Neighbours, key},
    pass::Work,
    promote::Target,
    resolve::Resolved,
    secrets::{Versions, is_older, revision, versioned},
    signed,
    status::Stage,
    uses::{self, Asker, Silence, is_open},
    validate::ValidEnvironment,
    wave,
};
use crate::{
    api::{
        Cause, Environment, Port, Release, ReleaseUse, Use, environment::Network,
        integration_service::EnvironmentState,
    },
    cluster::ApplyError,
    conditions::Reason,
    release::{
        self, Contents, PlannedConfig, Rendered, Sources,
        room::{Shortage, without_room},
        triggers::asks,
    },
};

/// What to do about a Secret that the descriptor names.
pub(super) const SECRET_NAMED: &str =
    "which `secrets` names: an owner of the tenant creates it; what runs stays until then";
/// What is to run in one environment.
pub(super) struct Choice {
    /// Made of what Git asks for.
    pub target: Option<String>,
    pub release: Option<Arc<Release>>,
    pub config: Option<ConfigMap>,
    pub problems: Vec<Problem>,
}

impl Work<'_> {
    /// The release that `asked` is, made if there is none. Where it cannot be made, what runs stays.
    pub(super) async fn made(
        &mut self,
        environment: &ValidEnvironment,
        asked: &Target,
        (networks, earlier): (&[Network], &[Stage]),
    ) -> Choice {
        let Rendered { release: rendered, config } = match self.rendered(environment, asked, networks) {
            Ok(rendered) => rendered,
            Err(problem) => {
                let awaited = self.also_awaited(environment, (asked, networks), vec![problem]).await;
                return self.kept(environment, awaited);
            }
        };
        let current = self.current(environment);
        let mut release = self.seen_with_secrets(environment, (asked, rendered.clone()), current.as_deref());
        if !has_begun(&release.name_any(), current.as_deref(), self.state_before(environment)) {
            let mut awaited = self.awaited(environment, asked, (&mut release, current.as_deref(), earlier));
            let named = &asked.resolved.settings.secrets;
            match self.secrets(environment, named.iter().map(String::as_str), SECRET_NAMED).await {
                Ok(versions) => {
                    let cause = release.spec.cause;
                    release = versioned(rendered, revision(named, &versions));
                    release.spec.cause = cause;
                }
                Err(missing) => awaited.extend(missing),
            }
            awaited.extend(self.unscaled(environment, &asked.resolved).await);
            // Last: what waits for something else takes no place.
            if awaited.is_empty() && release.spec.cause == Cause::Runtime {
                awaited.extend(
                    self.places
                        .enter(&environment.name, &self.key)
                        .err()
                        .map(|at_once| wave::in_turn((&self.service.runtime, &environment.name), at_once)),
                );
            }
            if !awaited.is_empty() {
                return self.kept(environment, awaited);
            }
        }
        let name = release.name_any();
        let config = match self.config_map(environment, asked, config.as_ref()) {
            Ok(config) => config,
            Err(problem) => return self.kept(environment, vec![problem]),
        };
        let release = match self.known(&name) {
            Some(known) => known,
            None => match self.platform.cluster.apply(release.clone()).await {
                Ok(_) => Arc::new(release),
                Err(error) => {
                    let problem = self.failed(error);
                    return self.kept(environment, vec![problem]);
                }
            },
        };
        self.history.add(&release);
        self.remember(&release);
        Choice { target: Some(name), release: Some(release), config, problems: vec![] }
    }

    /// Everything that `release` waits for before it is made, at once. It gets its cause by that.
    fn awaited(
        &mut self,
        environment: &ValidEnvironment,
        asked: &Target,
        (release, current, earlier): (&mut Release, Option<&Release>, &[Stage]),
    ) -> Vec<Problem> {
        let cause = current.and_then(|current| wave::cause_without_git(&release.spec, &current.spec));
        let content = release.spec.content_revision.as_deref();
        let mut problems = self.let_in(
            environment,
            New {
                commit: &asked.resolved.commit,
                digest: Some(&asked.digest),
                without_git: cause.is_some(),
                was_let_in: content
                    .is_some_and(|content| self.history.was_let_in(&environment.name, content)),
            },
        );
        let taken = self.path_taken(environment, release, current);
        // Where no instance is replaced there are never more than its number: Kubernetes itself tells what has no room.
        let is_replaced = current.is_none_or(|current| current.spec.template != release.spec.template);
        let is_later_more = release.spec.scaling.is_some() || !release.spec.windows.is_empty();
        let is_judged = cause.is_none() && (is_replaced || is_later_more);
        let without_room = if is_judged { self.without_room(environment, release) } else { None };
        let placed = |problem: Problem| Problem::new(problem.reason, asked.resolved.placed(&problem.message));
        problems.extend(taken.into_iter().chain(without_room).map(placed));
        // What runs as it is still gets its Secrets and the platform's changes: those are nobody's commit.
        let uncoordinated = asked.resolved.uncoordinated.as_ref().filter(|_| cause.is_none());
        problems.extend(uncoordinated.map(|told| Problem::new(Reason::Uncoordinated, told.clone())));
        release.spec.cause = cause.unwrap_or(release.spec.cause);
        problems.extend(wave::awaited(environment, &release.spec, earlier, &self.history));
        problems
    }

    /// What `release` lacks where the tenant's quota can never have room for it, as when it takes the place of what it was tried
    /// beside.
    fn without_room(&mut self, environment: &ValidEnvironment, release: &Release) -> Option<Problem> {
        let quota = self.platform.cluster.quota(&environment.namespace)?;
        let (number, Shortage { told, field }) = without_room(release, quota.spec.as_ref()?.hard.as_ref()?)?;
        // A quota wakes no service.
        self.awaits_unwatched = true;
        let message = format!("{number}: {told} {}", environment.too_small(field));
        Some(Problem::new(Reason::QuotaExceeded, message))
    }

    /// What the environment asks of anything new and `new` does not have yet.
    pub(super) fn let_in(&mut self, environment: &ValidEnvironment, new: New<'_>) -> Vec<Problem> {
        let now = (self.platform.now)();
        let entry::Awaited { mut problems, until } =
            entry::awaited(&self.service.name, environment, new, now);
        self.look_again(until);
        problems.extend(new.digest.and_then(|digest| self.unsigned(environment, digest)));
        problems
    }

    /// What the image lacks, where it is to be signed. From then on the registry is asked for it.
    fn unsigned(&mut self, environment: &ValidEnvironment, digest: &str) -> Option<Problem> {
        let current = self.current(environment);
        let runs = current.as_ref().map(|current| current.spec.digest.as_str());
        let seal = signed::asked(environment, digest, runs)?;
        let said = self.snapshot.as_deref().and_then(|snapshot| snapshot.signed.get(&seal));
        let problem = signed::awaited(self.service, environment, (&seal, said));
        self.seals.insert(seal);
        problem
    }

    /// The release with its Secrets as the last look saw them; with those of what runs, where it saw none.
    fn seen_with_secrets(
        &self,
        environment: &ValidEnvironment,
        (asked, rendered): (&Target, Release),
        current: Option<&Release>,
    ) -> Release {
        let versions = self.snapshot.as_deref().and_then(|snapshot| snapshot.secrets.get(&environment.name));
        let seen = versions.and_then(|versions| revision(&asked.resolved.settings.secrets, versions));
        let release =
            versioned(rendered, seen.or_else(|| current.and_then(|c| c.spec.secrets_revision.clone())));
        match current {
            Some(current) if is_older(&release.spec, &current.spec) => current.clone(),
            Some(_) | None => release,
        }
    }

    /// The `ConfigMap` that is yet to be written; nothing where there is one of its name, which its content gave it.
    fn config_map(
        &mut self,
        environment: &ValidEnvironment,
        asked: &Target,
        planned: Option<&PlannedConfig>,
    ) -> Result<Option<ConfigMap>, Problem> {
        let Some(planned) = planned else { return Ok(None) };
        let cluster = &self.platform.cluster;
        if cluster.has_written::<ConfigMap>(Some(&environment.namespace), planned.name()) {
            return Ok(None);
        }
        let contents = match asked.resolved.settings.config.as_ref().filter(|_| planned.has_files()) {
            None => Contents::new(),
            Some(directory) => {
                let place = Place { commit: asked.resolved.commit.clone(), directory: directory.clone() };
                let brought = self.poller.contents(&self.key, &place).ok_or_else(|| {
                    let message = format!("the files of {directory} are being read");
                    Problem::new(Reason::Progressing, message)
                })?;
                brought.inspect_err(|_| self.awaits_unwatched = true)?
            }
        };
        if let Some(config) = planned.with(&contents) {
            return Ok(Some(config));
        }
        let message = "the files of the configuration are not those of the commit".to_owned();
        Err(Problem::new(Reason::InvalidConfig, message))
    }

    /// Pods that name a Secret which is not there would not start, and not say so here: all that are missing.
    pub(super) async fn secrets(
        &mut self,
        environment: &ValidEnvironment,
        names: impl Iterator<Item = &str>,
        help: &str,
    ) -> Result<Versions, Vec<Problem>> {
        let namespace = &environment.namespace;
        let (mut versions, mut missing) = (Versions::new(), Vec::new());
        for name in names {
            match self.platform.cluster.version::<Secret>(namespace, name).await {
                Ok(Some(version)) => drop(versions.insert(name.to_owned(), version)),
                Ok(None) => {
                    self.awaits_unwatched = true;
                    let message = format!("there is no Secret {name} in {namespace}, {help}");
                    missing.push(Problem::new(Reason::SecretMissing, message));
                }
                Err(error) => missing.push(self.failed(error)),
            }
        }
        if missing.is_empty() { Ok(versions) } else { Err(missing) }
    }

    /// The Secrets without which no instance of what runs starts again.
    pub(super) async fn secrets_of(
        &mut self,
        environment: &ValidEnvironment,
        release: &Release,
    ) -> Result<(), Vec<Problem>> {
        let containers = release.spec.template.spec.iter().flat_map(|pod| &pod.containers);
        let sources = containers.flat_map(|container| container.env_from.iter().flatten());
        let named = sources.filter_map(|source| Some(source.secret_ref.as_ref()?.name.as_str()));
        self.secrets(
            environment,
            named,
            "which what runs there needs: an owner of the tenant creates it again",
        )
        .await
        .map(drop)
    }

    pub(super) fn rendered(
        &self,
        environment: &ValidEnvironment,
        asked: &Target,
        networks: &[Network],
    ) -> Result<Rendered, Problem> {
        let service = self.service;
        let runtime = self.platform.runtimes.named(&service.runtime).ok_or_else(|| {
            let message = format!(
                "there is no IntegrationRuntime {:?}: correct `runtime` of the service",
                service.runtime
            );
            Problem::new(Reason::RuntimeMissing, message)
        })?;
        let called = self.called(environment, asked)?;
        let stage = self.followed_in(environment, &asked.resolved)?;
        let input = release::Input {
            tenant: &service.tenant,
            service: &service.name,
            environment: &environment.name,
            settings: &asked.resolved.settings,
            runtime: &runtime,
            networks,
            sources: Some(stage.as_deref().map_or_else(Sources::default, |stage| Sources::of(&stage.spec))),
            placement: &environment.placement,
            called: &called,
            image_repository: &service.image,
            digest: &asked.digest,
            config: asked.resolved.config.as_ref(),
            commit: &asked.resolved.commit,
            build_id: &asked.resolved.build_id,
            cause: wave::cause(environment),
        };
        release::render(&input)
            .map_err(|error| Problem::new(error.reason(), asked.resolved.placed(&error.to_string())))
    }

    /// The port of each service that is asked for by `uses`.
    fn called(&self, environment: &ValidEnvironment, asked: &Target) -> Result<Vec<Port>, Problem> {
        let (who, uses) = (self.asker(environment), &asked.resolved.settings.uses);
        let key = |used: &Use| key(used.tenant.as_deref().unwrap_or(who.tenant), &used.service);
        // Before the look, so that no change falls in between.
        self.relations.asks(&self.key, uses.iter().map(key));
        let called = uses::called(who, uses, |used| self.neighbours().face(who, used));
        called.map_err(|problem| Problem::new(problem.reason, asked.resolved.placed(&problem.message)))
    }

    /// A way that `running` counts on and that was closed; nothing where Git asks for it, too, and it is told already.
    pub(super) fn shut(
        &self,
        environment: &ValidEnvironment,
        running: &Release,
        told: &[Problem],
    ) -> Option<Problem> {
        let (asker, neighbours) = (self.asker(environment), self.neighbours());
        let is_shut = |used: &&ReleaseUse| {
            used.tenant.as_ref().is_some_and(|tenant| !is_open(asker, (tenant, &used.service), &neighbours))
        };
        let shut = running.spec.uses.iter().find(is_shut)?;
        let problem = uses::not_exported(asker, shut.tenant.as_deref().unwrap_or_default(), &shut.service);
        told.iter().all(|told| told.reason != problem.reason).then_some(problem)
    }

    /// What is told of services that `running` uses and that answer no call; it is looked at again when more is to be told.
    pub(super) fn silent(&mut self, environment: &ValidEnvironment, running: &Release) -> Vec<Problem> {
        let now = (self.platform.now)();
        let silent: Vec<_> = {
            let asker = self.asker(environment);
            let told = |(provider, silence): (_, Silence)| {
                (silence.told_at(), uses::silent(asker.tenant, provider, silence))
            };
            self.neighbours().silent(asker, &running.spec.uses).map(told).collect()
        };
        self.look_again(silent.iter().map(|(at, _)| *at).filter(|at| *at > now).min());
        silent.into_iter().filter(|(at, _)| *at <= now).map(|(_, problem)| problem).collect()
    }

    /// The path of `release`, where another service of the tenant has it. `current`: what runs.
    pub(super) fn path_taken(
        &mut self,
        environment: &ValidEnvironment,
        release: &Release,
        current: Option<&Release>,
    ) -> Option<Problem> {
        let path = &release.spec.expose.as_ref()?.path;
        let asker = self.asker(environment);
        if self.neighbours().rivals(asker, path).is_empty() {
            return None;
        }
        let live = self.platform.cluster.workload(&environment.namespace, &self.service.name);
        let since = live.and_then(|live| live.made());
        let own = Rival { service: self.service.name.clone(), since };
        let runs_with_it = current
            .and_then(|current| current.spec.expose.as_ref())
            .is_some_and(|expose| expose.path == *path);
        let keys = |rivals: &[Rival]| -> Vec<_> {
            rivals.iter().map(|rival| key(&self.service.tenant, &rival.service)).collect()
        };
        // Asked for before the look that counts, so that no change falls in between.
        let known = keys(&self.neighbours().rivals(asker, path));
        self.relations.asks(&self.key, known);
        let rivals = self.neighbours().rivals(asker, path);
        let problem =
            holder(&own, runs_with_it, &rivals).map(|holder| taken(path, &environment.name, holder));
        let rivals = keys(&rivals);
        self.rivals.extend(rivals);
        problem
    }

    pub(super) fn neighbours(&self) -> Neighbours<'_> {
        Neighbours { platform: self.platform, poller: self.poller }
    }

    pub(super) fn asker<'s>(&'s self, environment: &'s ValidEnvironment) -> Asker<'s> {
        Asker { tenant: &self.service.tenant, service: &self.service.name, environment: &environment.name }
    }

    /// What runs already.
    pub(super) fn kept(&mut self, environment: &ValidEnvironment, problems: Vec<Problem>) -> Choice {
        let release = self.current(environment);
        if let Some(release) = &release {
            self.remember(release);
        }
        Choice { target: None, release, config: None, problems }
    }

    /// What runs: as we last applied it; after a start, as the Deployment says, which a crash may have left ahead of the
    /// status.
    pub(super) fn current(&self, environment: &ValidEnvironment) -> Option<Arc<Release>> {
        let applied = self.last.applied.get(&environment.name).cloned();
        let told = self.state_before(environment).and_then(|state| state.current.clone());
        let of_here = |release: &Arc<Release>| release.spec.environment == environment.name;
        let mut names = applied.into_iter().chain(self.live(environment)).chain(told);
        names.find_map(|name| self.known(&name).filter(of_here))
    }

    pub(super) fn known(&self, name: &str) -> Option<Arc<Release>> {
        let mut known = self.stored.iter().chain(&self.last.releases);
        known.find(|release| release.name_any() == name).cloned()
    }

    pub(super) fn remember(&mut self, release: &Arc<Release>) {
        if !self.last.releases.iter().any(|known| known.name_any() == release.name_any()) {
            self.last.releases.push(release.clone());
        }
    }

    pub(super) fn networks(&self, environment: &ValidEnvironment) -> Vec<Network> {
        self.platform
            .environments
            .named(&environment.name)
            .map(|e| e.spec.networks.clone())
            .unwrap_or_default()
    }

    /// The Environment that names what `asked` follows; where that is in doubt, nothing new is made by it.
    fn followed_in(
        &self,
        environment: &ValidEnvironment,
        asked: &Resolved,
    ) -> Result<Option<Arc<Environment>>, Problem> {
        let stage = self.platform.environments.named(&environment.name);
        let is_any = stage.as_ref().is_some_and(|stage| Sources::of(&stage.spec).is_any());
        if !asks(&asked.settings.scaling) || !is_any || self.is_valid(environment) {
            return Ok(stage);
        }
        let message = format!(
            "the Environment {} is not valid: until it is, nothing new runs that follows what waits in its brokers, or its Prometheus",
            environment.name
        );
        Err(Problem::new(Reason::EnvironmentMissing, message))
    }

    pub(super) fn failed(&mut self, error: ApplyError) -> Problem {
        let problem = Problem::new(error.reason(), error.to_string());
        self.errors.push(error);
        problem
    }
}

/// What runs, or is tried, has had its turn and found its Secrets: a pass over it asks for nothing.
fn has_begun(release: &str, current: Option<&Release>, before: Option<&EnvironmentState>) -> bool {
    let tried = before.and_then(|before| before.trial.as_ref());
    current.is_some_and(|current| current.name_any() == release)
        || tried.is_some_and(|tried| tried.release == release)
}

#[cfg(test)]
mod tests;
