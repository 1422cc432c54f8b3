//! An `imaas.yaml` and what surrounds it in, every problem out. Pure. It is read as the operator reads it, and rendered for each
//! environment as the operator would, but for the image.

use std::{collections::BTreeMap, sync::LazyLock};

use imaas_operator::{
    api::{Cause, DescriptorSpec, Environment, IntegrationRuntime, Port, RuntimeProfile, WorkloadType},
    environment::{self, Placement, ValidEnvironment, no_prometheus},
    release::{
        ConfigFiles, Input, RenderError, Sources, render,
        room::{Shortage, without_room},
        too_coarse,
    },
    runtime::NoProfile,
    service::exposure::no_gateway,
    yaml::{
        self, Composed, Problem,
        sound::{self, Sound, SoundDescriptor},
    },
};
use kube::ResourceExt;

use crate::{
    asked::Asked,
    platform::{Platform, any_port, any_runtime},
};

/// Stands for the image that CI will build.
const DIGEST: &str = "sha256:0000000000000000000000000000000000000000000000000000000000000000";
/// Stands for the names of the tenant and the service, which the descriptor does not know; no other can have it.
const NOBODY: &str = "?";
/// Where the image of [`NOBODY`] is.
const REPOSITORY: &str = "registry/?/?";
/// Stands for a runtime that is not known.
static ANY_RUNTIME: LazyLock<IntegrationRuntime> = LazyLock::new(|| any_runtime("any"));
/// Where instances run says nothing of whether the descriptor is right.
static ANYWHERE: LazyLock<Placement> = LazyLock::new(Placement::default);
/// Stands for an environment without a patch, where the stages are not known.
const ELSEWHERE: &str = "";

/// What is checked, and beside what.
pub struct Question<'a> {
    /// The file.
    pub text: &'a [u8],
    /// The platform.
    pub platform: &'a Platform,
    /// Name of the runtime, where it is known.
    pub runtime: Option<&'a str>,
    /// Reads a directory of configuration, by its name.
    pub config: &'a dyn Fn(&str) -> Result<ConfigFiles, String>,
}

impl<'a> Question<'a> {
    fn environment(&self, name: &str) -> Option<&'a Environment> {
        self.platform.environments.iter().find(|one| one.name_any() == name)
    }
}

/// What was found, each in the order of the file.
#[derive(Debug, Default)]
pub struct Found {
    /// What is wrong.
    pub problems: Vec<Problem>,
    /// What is hardly meant, and stops nothing.
    pub warnings: Vec<Problem>,
}

/// Looks at the file.
pub fn found(question: &Question<'_>) -> Found {
    let mut problems = yaml::descriptor(question.text).err().unwrap_or_default();
    let mut warnings = Vec::new();
    if let Some(descriptor) = sound::descriptor(question.text) {
        let composed = Composed::of(question.text);
        let read = (&descriptor, &composed);
        problems.extend(in_stages(question, read, |settings, stage| rendered(question, settings, stage)));
        warnings = unknown_environments(question, read);
        warnings.extend(in_stages(question, read, |settings, stage| {
            let shut = question.environment(stage).filter(|one| one.spec.gateway.is_none());
            let exposed = shut.filter(|_| settings.value.expose.is_some());
            exposed.map(|_| no_gateway(stage)).into_iter().collect()
        }));
        warnings.extend(in_stages(question, read, |settings, stage| {
            let blind = question.environment(stage).filter(|one| one.spec.prometheus.is_none());
            let judged = blind.filter(|_| compares_requests(question, &settings.value));
            judged.map(|_| no_prometheus(stage)).into_iter().collect()
        }));
        warnings.extend(in_stages(question, read, |settings, stage| {
            let has_gateway = question.environment(stage).is_none_or(|one| one.spec.gateway.is_some());
            let is_divided = settings.value.expose.is_some() && has_gateway;
            too_coarse(&settings.value).filter(|_| !is_divided).into_iter().collect()
        }));
        let bounds = environment::check(&question.platform.environments);
        warnings.extend(in_stages(question, read, |settings, stage| {
            let bounds = bounds.named(stage).and_then(Result::ok);
            bounds.and_then(|bounds| too_large(&settings.value, bounds)).into_iter().collect()
        }));
    }
    problems.sort();
    warnings.sort();
    Found { problems, warnings }
}

/// Is a canary judged by its requests, for all that is known? One whose runtime does not count them may be by what waits alone.
fn compares_requests(question: &Question<'_>, settings: &DescriptorSpec) -> bool {
    let counts =
        |profile: &RuntimeProfile| profile.metrics.as_ref().is_some_and(|metrics| metrics.counts.is_some());
    let is_counted = || {
        let known = runtime(question).ok().flatten();
        known.is_none_or(|runtime| runtime.spec.profiles.iter().any(counts))
    };
    let analysis = settings.rollout.analysis.as_ref();
    analysis.is_some_and(|analysis| analysis.waiting.is_none() || is_counted())
}

/// The names of the environments in which `is_so`, as far as the file can be read; nothing where it cannot.
pub fn environments(
    text: &[u8],
    platform: &Platform,
    is_so: impl Fn(&DescriptorSpec) -> bool,
) -> Option<Environments> {
    let descriptor = sound::descriptor(text)?;
    let all = stages(platform, &descriptor);
    let some: Vec<&str> =
        all.iter().filter(|stage| is_so(&descriptor.settings(stage).value)).copied().collect();
    Some(match some.len() {
        0 => Environments::None,
        these if these == all.len() => Environments::All,
        _ => Environments::Some(named(&some)),
    })
}

/// Where something is so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Environments {
    /// Nowhere.
    None,
    /// In these, by their names.
    Some(String),
    /// Everywhere.
    All,
}

fn named(stages: &[&str]) -> String {
    let names: Vec<_> = stages.iter().map(|name| if *name == ELSEWHERE { "others" } else { name }).collect();
    names.join(", ")
}

/// What `say` says of what is well-formed of a descriptor in each environment, where that is not the same everywhere with the
/// names of those.
fn in_stages(
    question: &Question<'_>,
    (descriptor, composed): (&SoundDescriptor, &Composed),
    say: impl Fn(&Sound<DescriptorSpec>, &str) -> Vec<String>,
) -> Vec<Problem> {
    let stages = stages(question.platform, descriptor);
    let mut told: BTreeMap<(String, String), Vec<&str>> = BTreeMap::new();
    for stage in &stages {
        let settings = descriptor.settings(stage);
        for message in say(settings, stage) {
            let (field, message) = field_of(&message);
            if !settings.is_news(field) {
                continue;
            }
            let own = descriptor.differs(stage, field);
            let path = if own { format!("environments.{stage}.{field}") } else { field.to_owned() };
            told.entry((path, message.to_owned())).or_default().push(stage);
        }
    }
    let placed = |((path, mut message), places): ((String, String), Vec<&str>)| {
        if places.len() < stages.len() && !path.starts_with("environments.") {
            message = format!("{message} (in {})", named(&places));
        }
        composed.problem(path, message)
    };
    told.into_iter().map(placed).collect()
}

/// The field that a sentence of the operator is about, and the rest of it.
fn field_of(sentence: &str) -> (&str, &str) {
    match sentence.split_once(": ") {
        Some((field, rest)) if !field.contains(' ') || field.starts_with("env.") => (field, rest),
        _ => ("", sentence),
    }
}

/// Where the descriptor is looked at: in every environment, or where they are not known in those that it names and the rest.
pub fn stages<'a>(platform: &'a Platform, descriptor: &'a SoundDescriptor) -> Vec<&'a str> {
    if platform.knows_environments() {
        let named = platform.environments.iter().filter_map(|one| one.metadata.name.as_deref());
        return named.collect();
    }
    [ELSEWHERE].into_iter().chain(descriptor.environments()).collect()
}

/// A patch for an environment that does not exist would silently never be used.
fn unknown_environments(
    question: &Question<'_>,
    (descriptor, composed): (&SoundDescriptor, &Composed),
) -> Vec<Problem> {
    let known: Vec<String> = question.platform.environments.iter().map(ResourceExt::name_any).collect();
    let is_unknown = |name: &&str| !known.is_empty() && !known.iter().any(|one| one == name);
    let told = |name: &str| {
        let message = format!(
            "there is no Environment {name:?}, so this is never used; there are {}",
            known.join(", ")
        );
        composed.problem(format!("environments.{name}"), message)
    };
    descriptor.environments().filter(is_unknown).map(told).collect()
}

/// How many there may be of it where no quota that a tenant can ask for has room for that.
fn too_large(settings: &DescriptorSpec, environment: &ValidEnvironment) -> Option<String> {
    let DescriptorSpec { type_, resources, scaling, rollout, .. } = settings.clone();
    // What else it says neither takes room nor is to hide this.
    let instances = Some(settings.instances());
    // Of an api there is always one.
    let type_ = if scaling.triggers.is_empty() { WorkloadType::default() } else { type_ };
    let asked = DescriptorSpec { type_, instances, resources, scaling, rollout, ..DescriptorSpec::default() };
    let release = render(&input(&environment.name, &asked, None, (None, &[], None))).ok()?.release;
    let (number, Shortage { told, field: _ }) = without_room(&release, &environment.quota.max.hard())?;
    let name = &environment.name;
    Some(format!(
        "{number}: {told} the most that Environment {name} gives: ask for less, or ask the platform team for `limits` of the tenant"
    ))
}

/// What the operator would say of the descriptor in one environment. It stops at the first problem; here what that is about is set
/// aside, and the rest is asked again.
fn rendered(question: &Question<'_>, sound: &Sound<DescriptorSpec>, stage: &str) -> Vec<String> {
    let known = match runtime(question) {
        Ok(known) => known.filter(|_| sound.is_news("runtimeVersion")),
        Err(message) => return vec![message],
    };
    let environment = question.environment(stage);
    let mut asked = Asked::new(sound.value.clone());
    if environment.is_none() {
        asked.settings.connects.clear();
    }
    if !sound.is_news("type") {
        asked.without_type();
    }
    let mut told = Vec::new();
    loop {
        let settings = &asked.settings;
        let config = settings.config.as_deref().map(question.config).transpose();
        let rendered = config.and_then(|config| {
            let called = vec![any_port(); settings.uses.len()];
            render(&input(stage, settings, environment, (known, &called, config.as_ref()))).map_or_else(
                |error| match error {
                    // Which versions there are is the runtime's to say.
                    RenderError::Runtime(NoProfile::NoRange { .. }) if known.is_none() => Ok(()),
                    error => Err(error.to_string()),
                },
                |_| Ok(()),
            )
        });
        let Err(message) = rendered else { return told };
        let (field, rest) = field_of(&message);
        told.push(format!("{}: {rest}", asked.in_file(field)).trim_start_matches(": ").to_owned());
        // What is still wrong when it is set aside is the runtime's own problem.
        if !asked.set_aside(field) {
            told.dedup();
            return told;
        }
    }
}

fn input<'a>(
    environment: &'a str,
    settings: &'a DescriptorSpec,
    defined: Option<&'a Environment>,
    (runtime, called, config): (Option<&'a IntegrationRuntime>, &'a [Port], Option<&'a ConfigFiles>),
) -> Input<'a> {
    Input {
        tenant: NOBODY,
        service: NOBODY,
        environment,
        settings,
        runtime: runtime.unwrap_or(&ANY_RUNTIME),
        networks: defined.map_or(&[][..], |one| &one.spec.networks),
        sources: defined.map(|one| Sources::of(&one.spec)),
        placement: &ANYWHERE,
        called,
        image_repository: REPOSITORY,
        digest: DIGEST,
        config,
        commit: "",
        build_id: "",
        cause: Cause::Commit,
    }
}

fn runtime<'a>(question: &Question<'a>) -> Result<Option<&'a IntegrationRuntime>, String> {
    let Some(name) = question.runtime.filter(|_| question.platform.knows_runtimes()) else { return Ok(None) };
    let found = question.platform.runtimes.iter().find(|one| one.name_any() == name);
    found.map(Some).ok_or_else(|| {
        let known: Vec<_> = question.platform.runtimes.iter().map(ResourceExt::name_any).collect();
        format!("there is no IntegrationRuntime {name:?}, only {}", known.join(", "))
    })
}

/// Which checks are left out.
pub fn notes(platform: &Platform, runtime: Option<&str>) -> Vec<String> {
    let mut notes = Vec::new();
    if !platform.knows_environments() {
        notes.push("the platform's environments are not known, so the names under `environments`, the networks of `connects` and the brokers and Prometheus of `scaling.triggers` are not checked: give --platform FILE or --cluster".to_owned());
    }
    let missing = match (runtime, platform.knows_runtimes()) {
        (Some(_), true) => return notes,
        (Some(name), false) => format!("what runtime {name} is is not known"),
        (None, _) => "the runtime is not known".to_owned(),
    };
    let mut ways = Vec::new();
    ways.extend(runtime.is_none().then_some("--runtime NAME"));
    ways.extend((!platform.knows_runtimes()).then_some("--platform FILE or --cluster"));
    notes.push(format!(
        "{missing}, so its versions, ports, variables and place for `config` are not checked: give {}",
        ways.join(", and ")
    ));
    notes
}

#[cfg(test)]
mod tests;
