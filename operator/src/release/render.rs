//! Settings, runtime and image → a `Release` and its `ConfigMap`. Pure: the same input gives the same objects.
//!
//! The release's name follows from what the pods are made of, not from the template that this version of the operator
//! renders: a commit that changes nothing and an operator upgrade both lead to the release that is there.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;
use serde::Serialize;
use std::{collections::BTreeMap, time::Duration};

use super::{
    analysis::{analysis, as_asked},
    batch,
    config::{ConfigFiles, PlannedConfig, config, files_digest},
    render_error::RenderError,
    scaling, steps, template,
    triggers::{self, Sources},
    uses::{addresses, uses},
};
use crate::{
    api::{
        Cause, DescriptorSpec, Expose, Instances, IntegrationRuntime, Port, Release, ReleaseExpose,
        ReleaseSpec, ReleaseUse, RuntimeProfile, WorkloadType, environment::Network, release::ReleaseConfig,
    },
    environment::Placement,
    names::{self, MANAGED_BY, MANAGER},
    runtime::profile,
    span::span,
};

/// Who waits longer for an answer wants a batch.
const LONGEST_REQUEST: Duration = Duration::from_hours(1);

/// Everything that a release is made of.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// Name of the Tenant.
    pub tenant: &'a str,
    /// Name of the `IntegrationService`.
    pub service: &'a str,
    /// Name of the Environment.
    pub environment: &'a str,
    /// The descriptor, merged and checked for this environment.
    pub settings: &'a DescriptorSpec,
    /// The runtime that the service names.
    pub runtime: &'a IntegrationRuntime,
    /// The Environment's networks, among which `connects` chooses.
    pub networks: &'a [Network],
    /// What the Environment names for `scaling.triggers`; nothing where that is not known. Where it is is no part of a release.
    pub sources: Option<Sources<'a>>,
    /// Where the Environment wants instances to run.
    pub placement: &'a Placement,
    /// The ports at which the services of `settings.uses` are called, in their order.
    pub called: &'a [Port],
    /// `<registry>/<tenant>/<service>`, without a tag.
    pub image_repository: &'a str,
    /// `sha256:` and 64 hexadecimal digits.
    pub digest: &'a str,
    /// Files of the `config` directory; `None` when the descriptor names none.
    pub config: Option<&'a ConfigFiles>,
    /// The commit that asks for it.
    pub commit: &'a str,
    /// Build id of that commit.
    pub build_id: &'a str,
    /// Why it is made. Like the commit, it says nothing of what the release is.
    pub cause: Cause,
}

/// What is to be stored: the release in the tenant's home, its configuration in the environment's namespace.
#[derive(Clone, Debug, PartialEq)]
pub struct Rendered {
    /// Without status and resourceVersion. One of this name that exists has the same content and is left as it is.
    pub release: Release,
    /// What `release.spec.config` names.
    pub config: Option<PlannedConfig>,
}

/// What the name is derived from. A field that a later version adds must not appear here when it has its default, or
/// every service would get a new release.
#[derive(Serialize)]
struct Content<'a> {
    settings: &'a DescriptorSpec,
    image: &'a str,
    build_id: &'a str,
    runtime: &'a str,
    profile: &'a RuntimeProfile,
    config: Option<&'a str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    uses: &'a [ReleaseUse],
    #[serde(skip_serializing_if = "Placement::is_default")]
    placement: &'a Placement,
}

/// What Git asks for, whatever runs it: equal in two releases that differ in their runtime only.
#[derive(Serialize)]
struct Asked<'a> {
    settings: &'a DescriptorSpec,
    image: &'a str,
    build_id: &'a str,
    config: Option<String>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    uses: &'a [ReleaseUse],
}

impl Asked<'_> {
    fn revision(input: &Input, image: &str, (resolved, uses): (&DescriptorSpec, &[ReleaseUse])) -> String {
        // The only default that comes from the runtime.
        let settings = DescriptorSpec { ports: input.settings.ports.clone(), ..resolved.clone() };
        let config = input.config.map(files_digest);
        names::content_digest(&Asked { settings: &settings, image, build_id: input.build_id, config, uses })
    }
}

/// Renders the release.
pub fn render(input: &Input) -> Result<Rendered, RenderError> {
    let profile = profile(input.runtime, input.settings.runtime_version.as_deref())?;
    let settings = resolved(input.settings, profile)?;
    let (steps, smoke) = (steps::steps(&settings)?, steps::smoke(&settings)?);
    let runtime = input.runtime.name_any();
    let analysis = analysis(&settings, (&runtime, profile))?;
    connects(&settings, input.networks)?;
    let metrics = triggers::metrics(&settings.scaling, (&runtime, profile))?;
    input.sources.map_or(Ok(()), |sources| triggers::named(&settings.scaling, sources))?;
    let expose = expose(&settings, profile)?;
    let uses = uses(input)?;
    let image = image(input)?;
    let config = config(profile, input.config)?;
    let config_name = config.as_ref().map(|config| names::config_map(input.service, &config.hash()));
    let labels = labels(input);
    let asked = as_asked(profile, &settings);
    let name = names::content_hash(&Content {
        settings: &settings,
        image: &image,
        build_id: input.build_id,
        runtime: &runtime,
        profile: &asked,
        config: config_name.as_deref(),
        uses: &uses,
        placement: input.placement,
    });
    let runtime_revision = names::content_hash(&(&runtime, &asked));
    let template = template::template(&template::Parts {
        labels: &labels,
        image: &image,
        settings: &settings,
        addresses: &addresses(input, &uses),
        profile,
        placement: input.placement,
        config: config.as_ref().zip(config_name.as_deref()),
    })?;
    let content_revision = Asked::revision(input, &image, (&settings, &uses));
    let spec = ReleaseSpec {
        service: input.service.to_owned(),
        environment: input.environment.to_owned(),
        commit: input.commit.to_owned(),
        build_id: input.build_id.to_owned(),
        image,
        digest: input.digest.to_owned(),
        runtime,
        runtime_revision: Some(runtime_revision),
        content_revision: Some(content_revision),
        secrets_revision: None,
        runtime_version: settings.runtime_version.clone(),
        cause: input.cause,
        type_: settings.type_,
        schedule: settings.schedule.clone(),
        many: settings.instances == Some(Instances::Many),
        strategy: settings.rollout.strategy,
        steps,
        analysis,
        smoke,
        replicas: i32::from(settings.scaling.min),
        windows: settings.scaling.windows.clone(),
        scaling: scaling::of_release(&settings.scaling, metrics),
        ports: settings.ports.clone(),
        config: config_name.clone().map(|name| ReleaseConfig { name }),
        connects: settings.connects.clone(),
        expose,
        uses,
        // A run is over before anybody asks.
        health: profile.health.clone().filter(|_| settings.type_ != WorkloadType::Batch),
        template,
    };
    let mut release = Release::new(&names::release(input.service, input.environment, &name), spec);
    release.metadata.namespace = Some(names::home_namespace(input.tenant));
    release.metadata.labels = Some(labels.clone());
    let config = config.zip(config_name);
    let config =
        config.map(|(config, name)| PlannedConfig { metadata: config_metadata(input, name), config });
    Ok(Rendered { release, config })
}

/// The settings with every default of the runtime and of the workload's type filled in, and without what says nothing
/// about the pods.
fn resolved(asked: &DescriptorSpec, profile: &RuntimeProfile) -> Result<DescriptorSpec, RenderError> {
    let mut settings = asked.clone();
    settings.ignore = None;
    settings.image = None;
    settings.config = None;
    settings.coordination = None;
    batch::check(&settings)?;
    let instances = settings.instances();
    settings.instances = Some(instances);
    settings.scaling = scaling::resolved(&settings.scaling, (instances, settings.type_))?;
    settings.rollout.strategy = settings.strategy();
    if settings.type_ == WorkloadType::Api && settings.ports.is_empty() {
        settings.ports.clone_from(&profile.ports);
        if settings.ports.is_empty() {
            return Err(RenderError::NoPort);
        }
    }
    ports(&settings.ports, &profile.management_ports)?;
    Ok(settings)
}

/// A container has every port and every port's name once.
fn ports(service: &[Port], management: &[Port]) -> Result<(), RenderError> {
    for (index, port) in service.iter().enumerate() {
        let Port { name, port: number } = port;
        let twice = |others: &[Port]| others.iter().any(|o| o.name == port.name || o.port == port.port);
        let problem = if twice(&service[..index]) {
            format!("{name} {number} is there twice")
        } else if twice(management) {
            format!(
                "{name} {number} is the name or number of one that the runtime keeps for its own management"
            )
        } else if name.contains("--") {
            format!("{name:?} must not hold `--`")
        } else {
            continue;
        };
        return Err(RenderError::Port { index, problem });
    }
    Ok(())
}

fn connects(settings: &DescriptorSpec, networks: &[Network]) -> Result<(), RenderError> {
    let is_unknown = |name: &String| networks.iter().all(|network| network.name != *name);
    let Some(index) = settings.connects.iter().position(is_unknown) else { return Ok(()) };
    let known = match networks {
        [] => "none".to_owned(),
        some => some.iter().map(|network| network.name.as_str()).collect::<Vec<_>>().join(", "),
    };
    Err(RenderError::Network { index, name: settings.connects[index].clone(), known })
}

/// By one of the service's own ports, of which none is one of the runtime's management.
fn expose(settings: &DescriptorSpec, profile: &RuntimeProfile) -> Result<Option<ReleaseExpose>, RenderError> {
    let Some(Expose { path, port, timeout, retries }) = &settings.expose else { return Ok(None) };
    if settings.type_ != WorkloadType::Api {
        let message = ": only an `api` serves: remove it, or make the service one";
        return Err(RenderError::Expose(message.to_owned()));
    }
    let named = |one: &&Port| port.as_ref().is_none_or(|name| *name == one.name);
    let Some(port) = settings.ports.iter().find(named) else {
        let known: Vec<_> = settings.ports.iter().map(|port| port.name.as_str()).collect();
        let name = port.as_deref().unwrap_or_default();
        let message = format!(".port: {name:?} is none of the service's ports; it has {}", known.join(", "));
        return Err(RenderError::Expose(message));
    };
    let timeout_seconds = match timeout {
        Some(text) => {
            let seconds = seconds(text).ok_or_else(|| {
                RenderError::Expose(format!(
                    ".timeout: {text:?} is no duration of 1s to 1h, in whole seconds: write it like 30s or 2m, or 0s for none"
                ))
            })?;
            Some(seconds).filter(|seconds| *seconds > 0)
        }
        None => profile.request_timeout_seconds,
    };
    let retries = retries.filter(|retries| *retries > 0);
    Ok(Some(ReleaseExpose { path: path.clone(), port: port.clone(), timeout_seconds, retries }))
}

fn seconds(timeout: &str) -> Option<u16> {
    let whole = span(timeout, ..=LONGEST_REQUEST).filter(|span| span.subsec_nanos() == 0)?;
    u16::try_from(whole.as_secs()).ok()
}

/// By digest only, and only from the service's own repository.
fn image(input: &Input) -> Result<String, RenderError> {
    let Input { tenant, service, image_repository, digest, .. } = input;
    let hash = digest.strip_prefix("sha256:").ok_or(RenderError::Digest)?;
    if hash.len() != 64 || !hash.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) {
        return Err(RenderError::Digest);
    }
    if !image_repository.ends_with(&format!("/{tenant}/{service}")) {
        return Err(RenderError::Repository((*image_repository).to_owned()));
    }
    Ok(format!("{image_repository}@{digest}"))
}

fn labels(input: &Input) -> BTreeMap<String, String> {
    let mut labels = selector(input.tenant, input.service, input.environment);
    labels.insert(MANAGED_BY.to_owned(), MANAGER.to_owned());
    labels
}

/// The labels that find a service's pods. They never change, since a Deployment's selector cannot.
pub(super) fn selector(tenant: &str, service: &str, environment: &str) -> BTreeMap<String, String> {
    [(names::TENANT, tenant), (names::SERVICE, service), (names::ENVIRONMENT, environment)]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
}

fn config_metadata(input: &Input, name: String) -> ObjectMeta {
    ObjectMeta {
        name: Some(name),
        namespace: Some(names::environment_namespace(input.tenant, input.environment)),
        labels: Some(labels(input)),
        ..ObjectMeta::default()
    }
}
