//! `render`: an `imaas.yaml` as each environment sees it: with its patch laid over and the defaults filled in. Pure but for
//! [`run`].

use std::path::Path;

use anyhow::{Context, Result, bail};
use imaas_operator::{
    api::{DescriptorSpec, Rollout, ServiceDescriptor},
    release::ConfigFiles,
    yaml::{self, Problem},
};
use serde_json::Value;

use crate::{
    Outcome, args,
    descriptor::{self, Question},
    output::{self, plain},
    platform::Platform,
    subject::{self, Subject, shown},
    working,
};

/// Stands for an environment without a patch.
const OTHERS: &str = "every environment without lines of its own";

/// IO: reads and tells; of a file that is broken, what `validate` tells of it.
pub fn run(options: &args::Render) -> Result<Outcome> {
    // `render dev`: no directory of that name is there.
    let is_name = |name: &&str| {
        let is_short = (1..=12).contains(&name.len());
        is_short
            && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
            && !options.path.exists()
    };
    let alone = options.path.to_str().filter(|name| options.environment.is_none() && is_name(name));
    let path = if alone.is_some() { Path::new(".") } else { &options.path };
    let environment = options.environment.as_deref().or(alone);
    let Subject::Descriptors(files) = subject::find(path)? else {
        bail!("{} has no imaas.yaml", shown(path));
    };
    let [file] = &files[..] else {
        let names: Vec<_> = files.iter().map(|file| shown(file)).collect();
        bail!("there are several: name one of {}", names.join(", "));
    };
    let text = working::read(file).with_context(|| format!("cannot read {}", shown(file)))?;
    if let Ok(text) = merged(&text, environment) {
        output::print(&text)?;
        return Ok(Outcome::Fine);
    }
    let directory = subject::shown_path(file.parent().unwrap_or(file));
    let told: Vec<_> = problems(&text, &|name| working::config_files(directory, name))
        .iter()
        .map(|problem| format!("{}:{}\n", shown(file), plain(&problem.to_string())))
        .collect();
    output::print(&told.concat())?;
    Ok(Outcome::Problems)
}

/// Everything that is wrong in itself with a file that is broken. `config` reads a directory of configuration.
fn problems(text: &[u8], config: &dyn Fn(&str) -> Result<ConfigFiles, String>) -> Vec<Problem> {
    let platform = Platform::default();
    descriptor::found(&Question { text, platform: &platform, runtime: None, config }).problems
}

/// The settings in `only`, or in each environment that has lines of its own and in all others.
fn merged(text: &[u8], only: Option<&str>) -> Result<String, Vec<Problem>> {
    let descriptor = yaml::descriptor(text)?;
    let named = descriptor.environments.keys().map(String::as_str);
    let environments: Vec<&str> = match only {
        Some(only) => vec![only],
        None => [OTHERS].into_iter().chain(named).collect(),
    };
    let documents = environments.into_iter().map(|environment| document(&descriptor, environment));
    Ok(documents.collect::<Result<Vec<_>, _>>()?.join("---\n"))
}

fn document(descriptor: &ServiceDescriptor, environment: &str) -> Result<String, Vec<Problem>> {
    let settings = yaml::settings(descriptor, environment)?;
    let mut changed = Vec::new();
    differences("", &value(&descriptor.spec), &value(&settings), &mut changed);
    let head = match (descriptor.environments.contains_key(environment), changed.is_empty()) {
        (false, _) if environment == OTHERS => format!("# {OTHERS}\n"),
        (false, _) => format!("# {environment}: no lines of its own\n"),
        (true, true) => format!("# {environment}\n# environments.{environment} changes nothing\n"),
        (true, false) => {
            format!("# {environment}\n# environments.{environment} changes {}\n", changed.join(", "))
        }
    };
    let rollout = Rollout { strategy: settings.strategy(), ..settings.rollout.clone() };
    let settings = DescriptorSpec { instances: Some(settings.instances()), rollout, ..settings };
    let body = serde_saphyr::to_string(&settings).unwrap_or_default();
    Ok(format!("{head}{}\n", body.trim_end()))
}

fn value(settings: &DescriptorSpec) -> Value {
    serde_json::to_value(settings).unwrap_or_default()
}

/// Paths of what is not the same; a list is one.
fn differences(path: &str, old: &Value, new: &Value, found: &mut Vec<String>) {
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => {
            let mut keys: Vec<_> = old.keys().chain(new.keys()).collect();
            keys.sort();
            keys.dedup();
            for key in keys {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                let of = |map: &serde_json::Map<_, Value>| map.get(key).cloned().unwrap_or_default();
                differences(&path, &of(old), &of(new), found);
            }
        }
        (old, new) if old != new => found.push(path.to_owned()),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORDERS: &str = "\
apiVersion: imaas.dev/v1alpha1
kind: ServiceDescriptor
type: worker
env: {MODE: careful, REGION: eu}
environments:
  prod: {instances: many, scaling: {min: 3}, env: {MODE: null}, secrets: [orders-db]}
  dev: {}
";

    #[test]
    fn each_environment_is_told_with_what_it_changes_and_all_defaults() {
        insta::assert_snapshot!(merged(ORDERS.as_bytes(), None).unwrap(), @r"
        # every environment without lines of its own
        type: worker
        instances: one
        resources:
          cpu: 100m
          memory: 256Mi
        scaling:
          min: 1
        rollout:
          strategy: recreate
        env:
          MODE: careful
          REGION: eu
        ---
        # dev
        # environments.dev changes nothing
        type: worker
        instances: one
        resources:
          cpu: 100m
          memory: 256Mi
        scaling:
          min: 1
        rollout:
          strategy: recreate
        env:
          MODE: careful
          REGION: eu
        ---
        # prod
        # environments.prod changes env.MODE, instances, scaling.min, secrets
        type: worker
        instances: many
        resources:
          cpu: 100m
          memory: 256Mi
        scaling:
          min: 3
        rollout:
          strategy: rolling
        env:
          REGION: eu
        secrets:
        - orders-db
        ");
    }

    #[test]
    fn one_environment_is_told_alone_also_without_lines_of_its_own() {
        let told = merged(ORDERS.as_bytes(), Some("test")).unwrap();
        assert!(
            told.starts_with("# test: no lines of its own\ntype: worker\n") && !told.contains("---"),
            "{told}"
        );
    }

    #[test]
    fn what_cannot_be_read_or_merged_is_told_with_its_place() {
        let broken = ORDERS.replace("min: 3", "min: many");
        let problems = merged(broken.as_bytes(), None).unwrap_err();
        assert!(problems[0].line > 0, "{problems:?}");
        let twice =
            broken.replace("type: worker", "type: worker\nscaling: {min: 5, max: 4}\ninstances: many");
        let told = super::problems(twice.as_bytes(), &|_| Err("not read".to_owned()));
        let fields: Vec<_> = told.iter().map(|problem| problem.path.as_str()).collect();
        assert_eq!(fields, ["scaling.max", "environments.prod.scaling.min"], "{told:?}");
    }
}
