//! IO: `check`, for service repositories: what `validate` says, what in the source must not run as many, by the operator's own
//! rules, and which file lets an engine deploy while it runs.

use std::path::Path;

use anyhow::{Context, Result, bail};
use imaas_operator::{
    api::{DescriptorSpec, Instances, WorkloadType},
    runtime::stateful::{self, ADVICE, Consumed, Finding, Source, Unknown},
    yaml::Problem,
};

use crate::{
    Outcome, args,
    check::{Lines, Told},
    descriptor::{Environments, environments},
    hot,
    subject::{self, Subject, shown, shown_path, tidy},
    validate::{self, Aside, Beside},
    working,
};

/// IO: looks, and tells.
pub fn run(options: &args::Validate) -> Result<Outcome> {
    let Subject::Descriptors(files) = subject::find(&options.path)? else {
        bail!(
            "{} is no service repository, which has an imaas.yaml: for tenant files and the platform's use `kubectl imaas validate`",
            shown(&options.path)
        );
    };
    validate::tell(validate::descriptors(options, &files, source)?, options)
}

/// What the source beside a descriptor has that its instances would each do.
fn source(beside: &Beside<'_>) -> Result<Aside> {
    let Beside { file, text, platform } = beside;
    let directory = file.parent().unwrap_or(file);
    let mut aside = Aside { warnings: warnings(directory)?, ..Aside::default() };
    // A platform that names no broker would refuse what is suggested.
    let has_brokers = !platform.knows_environments()
        || platform.environments.iter().any(|environment| !environment.spec.brokers.is_empty());
    let follows = |settings: &DescriptorSpec| has_brokers && may_follow(settings);
    let is_fixed = |settings: &DescriptorSpec| follows(settings) && settings.scaling.max.is_none();
    let has_max = environments(text, platform, is_fixed) == Some(Environments::None);
    let asked = environments(text, platform, stateful::is_uncoordinated);
    let Some((guarded, moved)) = asked.zip(environments(text, platform, follows)) else {
        aside.notes.push(format!("the source beside {}, which cannot be read", shown(file)));
        return Ok(aside);
    };
    if guarded == Environments::None && moved == Environments::None {
        return Ok(aside);
    }
    let look = working::source(shown_path(directory))
        .with_context(|| format!("cannot read {}", shown(directory)))?;
    let path = |file: &str| tidy(&directory.join(file)).display().to_string();
    let told = |file: &str, line: u32, message: String| Told {
        file: path(file),
        line,
        column: 1,
        field: String::new(),
        message,
        quote: None,
    };
    if moved != Environments::None {
        let suggestion = |one: &Consumed| suggestion(&one.source, (&shown(file), has_max));
        let sentence = |one: &Consumed| told(&one.file, one.line, suggestion(one));
        aside.warnings.extend(look.consumed.iter().map(sentence));
    }
    let places = match guarded {
        Environments::None => return Ok(aside),
        Environments::Some(names) => format!(" (in {names})"),
        Environments::All => String::new(),
    };
    let sentence = |found: &Finding| told(&found.file, found.line, sentence(found, &shown(file), &places));
    aside.problems.extend(look.findings.iter().map(sentence));
    aside.notes.extend(look.unknown.iter().map(|Unknown { file, line, why }| match line {
        0 => format!("{}: {why}", path(file)),
        line => format!("{}:{line}: {why}", path(file)),
    }));
    Ok(aside)
}

/// Files below `directory` that let Micro Integrator deploy while it runs.
fn warnings(directory: &Path) -> Result<Vec<Told>> {
    let files = working::named(shown_path(directory), hot::FILE)
        .with_context(|| format!("cannot read {}", shown(directory)))?;
    let told = |(file, content): (String, Vec<u8>)| {
        let text = String::from_utf8_lossy(&content);
        let ((line, column), message) = hot::warning(&text)?;
        let file = tidy(&directory.join(file)).display().to_string();
        let problem = Problem { line, column, path: String::new(), message };
        Some(Told::new(file, &problem, &Lines::default()))
    };
    Ok(files.into_iter().filter_map(told).collect())
}

/// May there be many of it, and does their number follow nothing that waits?
fn may_follow(settings: &DescriptorSpec) -> bool {
    let is_many = settings.instances() == Instances::Many && settings.type_ != WorkloadType::Batch;
    is_many && settings.scaling.triggers.iter().all(|trigger| trigger.broker.is_none())
}

/// `has_max`: it stands there already, wherever this is meant.
fn suggestion(source: &Source, (descriptor, has_max): (&str, bool)) -> String {
    let max = if has_max { "" } else { "max: …, " };
    format!(
        "this takes its work from {source}: in {descriptor} `scaling: {{{max}triggers: [{}]}}` lets its instances follow what waits there, where the platform names the broker",
        source.trigger()
    )
}

fn sentence(found: &Finding, descriptor: &str, places: &str) -> String {
    format!("{}: in {descriptor} {ADVICE}{places}", found.sentence())
}
