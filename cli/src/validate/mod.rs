//! `validate`: every mistake of a file or repository at once.

mod render;

use std::{
    fmt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use imaas_operator::{release, yaml::Problem};
use serde::Serialize;

use crate::{
    Outcome,
    args::{self, ValidateOutput},
    around,
    check::{Examined, Lines, Told, examine},
    descriptor::{self, Question},
    exposed::{exposed, shared},
    history::Clone,
    output::{self, Style, count},
    platform::Platform,
    stray::{Strays, strays},
    subject::{self, Subject, Tenants, shown},
    working,
};

/// What was looked at, and what is wrong.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// How much.
    pub checked: Checked,
    /// Where the platform's definitions come from.
    pub platform: Option<String>,
    /// By file and place.
    pub problems: Vec<Told>,
    /// What may be meant, by file and place. It changes no exit status.
    pub warnings: Vec<Told>,
    /// Checks that were left out, and why.
    pub notes: Vec<String>,
}

/// How much was looked at, of what there can be.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Checked {
    #[serde(skip_serializing_if = "Option::is_none")]
    tenants: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    services: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    descriptors: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    environments: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    runtimes: Option<usize>,
}

impl fmt::Display for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tenants, services, descriptors, environments, runtimes } = self;
        let parts = [
            (tenants, "tenant"),
            (services, "service"),
            (descriptors, "service descriptor"),
            (environments, "Environment"),
            (runtimes, "IntegrationRuntime"),
        ];
        let told: Vec<_> = parts.iter().filter_map(|(number, one)| Some(count((**number)?, one))).collect();
        f.write_str(&told.join(", "))
    }
}

/// IO: looks, and tells.
pub fn run(options: &args::Validate) -> Result<Outcome> {
    tell(report(options)?, options)
}

/// IO: tells.
pub fn tell(mut report: Report, options: &args::Validate) -> Result<Outcome> {
    report.problems.sort();
    report.warnings.sort();
    let text = match options.output {
        ValidateOutput::Text => render::text(&report, Style::of_stdout()),
        ValidateOutput::Json => serde_json::to_string_pretty(&report)? + "\n",
        ValidateOutput::Github => {
            let clone = Clone::holding(&options.path).ok();
            render::github(&report, |file| {
                clone.as_ref().and_then(|clone| clone.relative(file.as_ref()).ok()).unwrap_or(file.to_owned())
            })
        }
    };
    output::print(&text)?;
    Ok(if report.problems.is_empty() { Outcome::Fine } else { Outcome::Problems })
}

fn report(options: &args::Validate) -> Result<Report> {
    match subject::find(&options.path)? {
        Subject::Tenants(tenants) => self::tenants(options, &tenants),
        Subject::Descriptors(files) => descriptors(options, &files, |_| Ok(Aside::default())),
        Subject::Platform(file) => {
            let platform = around::from_path(&file)?;
            let checked = Checked {
                environments: Some(platform.environments.len()),
                runtimes: Some(platform.runtimes.len()),
                ..Checked::default()
            };
            Ok(Report { checked, problems: platform.problems(), ..Report::default() })
        }
    }
}

fn tenants(options: &args::Validate, tenants: &Tenants) -> Result<Report> {
    let platform = around::platform(&options.around, Some(&tenants.repository()))?;
    let files = working::tenant_files(tenants)?;
    let urls = around::urls(&options.around);
    let examined = examine(&files, &platform, &urls, &Examined::default());
    let path = |file: &str| tenants.path(file);
    let Strays { mut problems, mut warnings } = strays(&options.path, tenants);
    problems.extend(examined.told(path));
    problems.extend(platform.problems());
    // Of one file the others are known, too, as far as they can be read.
    let whole = Tenants { only: None, ..tenants.clone() };
    if let Ok(others) = working::tenant_files(&whole) {
        let of_all = examine(&others, &platform, &urls, &examined).warned(path);
        let is_asked = |told: &Told| tenants.only.as_ref().is_none_or(|only| told.file == path(only));
        warnings.extend(of_all.into_iter().filter(is_asked));
    }
    let checked = Checked {
        tenants: Some(examined.tenants()),
        services: Some(examined.services),
        ..Checked::default()
    };
    Ok(Report { checked, problems, warnings, notes: platform.notes(), platform: platform.from })
}

/// What is found beside a descriptor.
#[derive(Debug, Default)]
pub struct Aside {
    /// What is wrong.
    pub problems: Vec<Told>,
    /// What may be meant.
    pub warnings: Vec<Told>,
    /// What was not looked at, and why.
    pub notes: Vec<String>,
}

/// A descriptor, for whoever looks beside it.
pub struct Beside<'a> {
    /// Its path.
    pub file: &'a Path,
    /// What it holds.
    pub text: &'a [u8],
    /// The platform.
    pub platform: &'a Platform,
}

/// IO: checks the descriptors, and what `aside` looks at beside each.
pub fn descriptors(
    options: &args::Validate,
    files: &[PathBuf],
    aside: impl Fn(&Beside<'_>) -> Result<Aside>,
) -> Result<Report> {
    let platform = around::platform(&options.around, None)?;
    if let Some(name) = &options.runtime
        && platform.knows_runtimes()
        && !platform.runtimes.iter().any(|one| one.metadata.name.as_ref() == Some(name))
    {
        let known: Vec<_> = platform.runtimes.iter().filter_map(|one| one.metadata.name.as_deref()).collect();
        bail!("--runtime: there is no IntegrationRuntime {name:?}, only {}", known.join(", "));
    }
    let (mut problems, mut warnings) = (platform.problems(), Vec::new());
    let mut paths = Vec::new();
    let mut notes = descriptor::notes(&platform, options.runtime.as_deref());
    for file in files {
        let text = working::read(file).with_context(|| format!("cannot read {}", shown(file)))?;
        let directory = file.parent().unwrap_or(file);
        let config = |name: &str| {
            let files = working::config_files(subject::shown_path(directory), name)?;
            let too_much = release::too_much(name, &files, options.largest_config);
            too_much
                .map_or(Ok(files), |told| Err(format!("{told}; where they gave it, say --largest-config")))
        };
        let question = Question {
            text: &text,
            platform: &platform,
            runtime: options.runtime.as_deref(),
            config: &config,
        };
        let lines = Lines::of(&text);
        let told = |problem: &Problem| Told::new(shown(file), problem, &lines);
        let found = descriptor::found(&question);
        problems.extend(found.problems.iter().map(told));
        warnings.extend(found.warnings.iter().map(told));
        paths.push((shown(file), exposed(&text, &platform)));
        let aside = aside(&Beside { file, text: &text, platform: &platform })?;
        problems.extend(aside.problems);
        warnings.extend(aside.warnings);
        notes.extend(aside.notes);
    }
    let checked = Checked { descriptors: Some(files.len()), ..Checked::default() };
    warnings.extend(shared(&paths));
    Ok(Report { checked, problems, warnings, notes, platform: platform.from })
}
