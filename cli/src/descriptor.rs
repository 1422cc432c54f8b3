//! An `imaas.yaml` and what surrounds it in, every problem out. Pure. It is read as the operator reads it, and rendered for each
//! environment as the operator would, but for the image.

use std::{collections::BTreeMap, sync::LazyLock};

use imaas_operator::{
    api::{Cause, DescriptorSpec, Environment, IntegrationRuntime, Port},
    release::{ConfigFiles, Input, RenderError, render},
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

/// Everything that is wrong, in the order of the file.
pub fn problems(question: &Question<'_>) -> Vec<Problem> {
    let mut problems = yaml::descriptor(question.text).err().unwrap_or_default();
    problems.extend(sound::descriptor(question.text).iter().flat_map(|sound| beside(question, sound)));
    problems.sort();
    problems
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

/// Everything that is wrong beside the platform with what is well-formed of a descriptor.
fn beside(question: &Question<'_>, descriptor: &SoundDescriptor) -> Vec<Problem> {
    let mut found: Vec<Problem> = unknown_environments(question, descriptor);
    let stages = stages(question.platform, descriptor);
    let mut told: BTreeMap<(String, String), Vec<&str>> = BTreeMap::new();
    for stage in &stages {
        let settings = descriptor.settings(stage);
        for message in rendered(question, settings, stage) {
            let (field, message) = field_of(&message);
            if !settings.is_news(field) {
                continue;
            }
            let own = descriptor.differs(stage, field);
            let path = if own { format!("environments.{stage}.{field}") } else { field.to_owned() };
            told.entry((path, message.to_owned())).or_default().push(stage);
        }
    }
    for ((path, mut message), places) in told {
        if places.len() < stages.len() && !path.starts_with("environments.") {
            message = format!("{message} (in {})", named(&places));
        }
        found.push(placed(question.text, path, message));
    }
    found.sort();
    found
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
fn unknown_environments(question: &Question<'_>, descriptor: &SoundDescriptor) -> Vec<Problem> {
    let known: Vec<String> = question.platform.environments.iter().map(ResourceExt::name_any).collect();
    let is_unknown = |name: &&str| !known.is_empty() && !known.iter().any(|one| one == name);
    let told = |name: &str| {
        let message = format!(
            "there is no Environment {name:?}, so this is never used; there are {}",
            known.join(", ")
        );
        placed(question.text, format!("environments.{name}"), message)
    };
    descriptor.environments().filter(is_unknown).map(told).collect()
}

fn placed(text: &[u8], path: String, message: String) -> Problem {
    Composed::of(text).problem(path, message)
}

/// What the operator would say of the descriptor in one environment. It stops at the first problem; here what that is about is set
/// aside, and the rest is asked again.
fn rendered(question: &Question<'_>, sound: &Sound<DescriptorSpec>, stage: &str) -> Vec<String> {
    let known = match runtime(question) {
        Ok(known) => known.filter(|_| sound.is_news("runtimeVersion")),
        Err(message) => return vec![message],
    };
    let environment = question.platform.environments.iter().find(|one| one.name_any() == stage);
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
        let Err(message) = rendered else {
            let is_shut = environment.is_some_and(|one| one.spec.gateway.is_none());
            told.extend((sound.value.expose.is_some() && is_shut).then(|| no_gateway(stage)));
            return told;
        };
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
        notes.push("the platform's environments are not known, so the names under `environments` and the networks of `connects` are not checked: give --platform FILE or --cluster".to_owned());
    }
    if runtime.is_none() || !platform.knows_runtimes() {
        notes.push("the runtime is not known, so its versions, ports, variables and place for `config` are not checked: give --runtime NAME, and --platform FILE or --cluster".to_owned());
    }
    notes
}

#[cfg(test)]
mod tests {
    use imaas_operator::release::ConfigFile;

    use super::*;

    const PLATFORM: &str = "
{apiVersion: imaas.dev/v1alpha1, kind: Environment, metadata: {name: dev}, spec: {networks: [{name: erp, cidrs: [10.1.0.0/16]}], domain: a.example, gateway: {name: a, namespace: b}}}
---
{apiVersion: imaas.dev/v1alpha1, kind: Environment, metadata: {name: prod}, spec: {}}
---
{apiVersion: imaas.dev/v1alpha1, kind: IntegrationRuntime, metadata: {name: bare}, spec: {profiles: [{versions: '>=4', managementPorts: [{name: admin, port: 9000}]}]}}
";

    fn told(text: &str, platform: &str, runtime: Option<&str>) -> Vec<String> {
        let mut known = Platform::default();
        known.add(platform).unwrap();
        let text = format!("apiVersion: imaas.dev/v1alpha1\nkind: ServiceDescriptor\n{text}");
        let config = |name: &str| match name {
            "config" => Ok(ConfigFiles::from([("a".to_owned(), ConfigFile::default())])),
            _ => Err(format!("config: there is no directory {name:?}")),
        };
        let question = Question { text: text.as_bytes(), platform: &known, runtime, config: &config };
        problems(&question).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_only_shows_when_it_is_rendered_is_told_at_its_line() {
        for (text, platform, runtime, expected) in [
            ("type: api\n", PLATFORM, Some("bare"), "0:0: "),
            (
                "ports: [{name: x, port: 9000}]\n",
                PLATFORM,
                Some("bare"),
                "3:9: ports[0]: x 9000 is the name or number of one that the runtime keeps for its own management",
            ),
            (
                "type: worker\nruntimeVersion: \"3\"\n",
                PLATFORM,
                Some("bare"),
                "4:17: runtimeVersion: runtime bare has no profile for 3; it has >=4",
            ),
            (
                "type: worker\nconfig: config\n",
                PLATFORM,
                Some("bare"),
                "4:9: config: the service's runtime has no place for configuration files: remove `config`, or ask the platform team for a `configMount` in the profile of the IntegrationRuntime",
            ),
            ("type: worker\nconfig: conf\n", PLATFORM, None, "4:9: config: there is no directory \"conf\""),
            (
                "type: worker\nconnects: [erp]\n",
                PLATFORM,
                None,
                "4:12: connects[0]: \"erp\" is no network of this environment; it has none (in prod)",
            ),
            (
                "type: worker\nenvironments:\n  prod: {scaling: {min: 2}}\n",
                PLATFORM,
                None,
                "5:25: environments.prod.scaling.min: 2 instances, but this service never runs two at a time; set it to 1 or say `instances: many`",
            ),
            (
                "type: worker\nenv: {A: x}\nenvironments:\n  prod: {uses: [{service: b, as: B}, {service: b, as: A}]}\n",
                PLATFORM,
                None,
                "6:55: environments.prod.uses[1].as: A stands in `env`, too: give one of them another name",
            ),
            (
                "type: worker\nenvironments:\n  prd: {}\n",
                PLATFORM,
                None,
                "5:8: environments.prd: there is no Environment \"prd\", so this is never used; there are dev, prod",
            ),
            (
                "ports: [{name: x, port: 8000}]\nexpose: {path: /a}\n",
                PLATFORM,
                None,
                "4:9: expose: the Environment prod has no gateway, so nothing is reached from outside there, and all else goes on: the platform sets its `domain` and `gateway`, or write `environments: {prod: {expose: null}}` (in prod)",
            ),
            (
                "type: worker\nexpose: {path: /a}\nenvironments:\n  prod: {type: api, ports: [{name: x, port: 8000}], expose: null}\n",
                PLATFORM,
                None,
                "4:9: expose: a worker serves nobody: remove it, or make the service an `api` (in dev)",
            ),
            (
                "type: worker\nenv: {A-B: x}\n",
                "{}",
                None,
                "4:12: env.A-B: the name must be letters, digits and `_`, and not begin with a digit",
            ),
        ] {
            let problems = told(text, platform, runtime);
            if expected == "0:0: " {
                assert!(problems[0].contains("ports: an api needs one"), "{problems:?}");
            } else {
                assert_eq!(problems, [expected], "{text}");
            }
        }
    }

    #[test]
    fn every_field_that_is_wrong_is_told_at_once() {
        let text = "ports: [{name: x, port: 9000}]\nenv: {A-B: x, B-C: y}\nsecrets: [imaas-x, mine, imaas-y]\nresources: {cpu: 0, memory: 64}\nconnects: [erb]\nconfig: conf\ninstances: one\nscaling: {min: 2}\n";
        let told = told(text, PLATFORM, Some("bare"));
        let fields: Vec<_> = told.iter().map(|problem| problem.split(": ").nth(1).unwrap()).collect();
        // In the order of the file; `connects` is another problem in each environment.
        let expected = [
            "ports[0]",
            "env.A-B",
            "env.B-C",
            "secrets[0]",
            "secrets[2]",
            "resources.cpu",
            "resources.memory",
            "connects[0]",
            "connects[0]",
            "config",
            "scaling.min",
        ];
        assert_eq!(fields, expected, "{told:?}");
    }

    #[test]
    fn a_typing_error_hides_no_other_mistake() {
        let text = "secretes: []\nports: [{name: x, port: 0}]\nenv: {A-B: x}\nenvironments: {prod: {scaling: {mim: 1}}, prd: {}}\n";
        let told = told(text, PLATFORM, Some("bare"));
        let fields: Vec<_> = told.iter().map(|problem| problem.split(": ").nth(1).unwrap()).collect();
        let expected =
            ["secretes", "ports[0].port", "env.A-B", "environments.prod.scaling.mim", "environments.prd"];
        assert_eq!(fields, expected, "{told:?}");
    }

    #[test]
    fn what_is_not_well_formed_is_told_once_and_all_else_is_judged() {
        for (text, fields) in [
            ("typ: worker\nenv: {A-B: x}\n", &["typ", "env.A-B"][..]),
            ("type: daemon\nscaling: {min: 2}\nsecrets: [imaas-x]\n", &["type", "secrets[0]"]),
            (
                "type: worker\nruntimeVersion: 3\nresources: {memory: 64}\n",
                &["runtimeVersion", "resources.memory"],
            ),
            ("type: worker\ninstnces: many\nscaling: {min: 2}\n", &["instnces", "scaling.min"]),
            (
                "type: worker\nsecrets: [7, imaas-x]\nresources: {cpu: 1, memry: 1Gi}\nenvironments: {prod: {env: {A: 1, B-C: x}}}\n",
                &[
                    "secrets[0]",
                    "secrets[1]",
                    "resources.memry",
                    "environments.prod.env.A",
                    "environments.prod.env.B-C",
                ],
            ),
            (
                "type: worker\nenv: {A: x}\nenv: {B-C: x}\nconnects: [erb]\n",
                &["5:1", "connects[0]", "connects[0]"],
            ),
        ] {
            let told = told(text, PLATFORM, Some("bare"));
            let field = |problem: &String| match problem.split(": ").collect::<Vec<_>>()[..] {
                [_, field, _, ..] if !field.contains(' ') => field.to_owned(),
                ref parts => parts[0].to_owned(),
            };
            assert_eq!(told.iter().map(field).collect::<Vec<_>>(), fields, "{told:#?}");
        }
    }

    #[test]
    fn a_runtime_that_is_wrong_itself_is_told_once() {
        let runtime = "{apiVersion: imaas.dev/v1alpha1, kind: IntegrationRuntime, metadata: {name: odd}, spec: {profiles: [{files: {a: b}}]}}";
        let told = told("type: worker\n", runtime, Some("odd"));
        assert_eq!(told.len(), 1, "{told:?}");
    }

    #[test]
    fn what_is_not_known_is_not_a_problem() {
        let text = "runtimeVersion: 4.4.0-rc1\nconnects: [erp]\nconfig: config\nenvironments: {qa: {scaling: {min: 3}}}\n";
        assert_eq!(told(text, "{}", Some("bare")), [""; 0]);
        assert_eq!(notes(&Platform::default(), Some("bare")).len(), 2);
    }
}
