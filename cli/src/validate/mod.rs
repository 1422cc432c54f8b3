//! `validate`: every mistake of a file or repository at once.

mod render;

use anyhow::{Context, Result, bail};
use serde::Serialize;

use crate::{
    Outcome,
    args::{self, ValidateOutput},
    around,
    check::{Examined, Told, examine},
    descriptor::{self, Question},
    history::Clone,
    output::{self, Style, count},
    platform::Platform,
    subject::{self, Subject, Tenants, shown},
    working,
};

/// What was looked at, and what is wrong.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// Such as `12 tenants, 40 services`.
    pub checked: String,
    /// Where the platform's definitions come from.
    pub platform: Option<String>,
    /// By file and place.
    pub problems: Vec<Told>,
    /// Checks that were left out, and why.
    pub notes: Vec<String>,
}

/// IO: looks, and tells.
pub fn run(options: &args::Validate) -> Result<Outcome> {
    let mut report = report(options)?;
    report.problems.sort();
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
        Subject::Descriptors(files) => descriptors(options, &files),
        Subject::Platform(file) => {
            let platform = around::from_path(&file)?;
            let checked = defined(&platform);
            Ok(Report { checked, problems: of_platform(&platform), ..Report::default() })
        }
    }
}

fn tenants(options: &args::Validate, tenants: &Tenants) -> Result<Report> {
    let platform = around::platform(&options.around, Some(&tenants.repository()))?;
    let files = working::tenant_files(tenants)?;
    let examined = examine(&files, &platform, &around::urls(&options.around), &Examined::default());
    let mut problems = examined.told(|file| tenants.path(file));
    problems.extend(of_platform(&platform));
    let checked = format!("{}, {}", count(examined.tenants(), "tenant"), count(examined.services, "service"));
    Ok(Report { checked, problems, notes: platform.notes(), platform: platform.from })
}

fn descriptors(options: &args::Validate, files: &[std::path::PathBuf]) -> Result<Report> {
    let platform = around::platform(&options.around, None)?;
    if let Some(name) = &options.runtime
        && platform.knows_runtimes()
        && !platform.runtimes.iter().any(|one| one.metadata.name.as_ref() == Some(name))
    {
        let known: Vec<_> = platform.runtimes.iter().filter_map(|one| one.metadata.name.as_deref()).collect();
        bail!("--runtime: there is no IntegrationRuntime {name:?}, only {}", known.join(", "));
    }
    let mut problems = of_platform(&platform);
    for file in files {
        let text = working::read(file).with_context(|| format!("cannot read {}", shown(file)))?;
        let directory = file.parent().unwrap_or(file);
        let config = |name: &str| working::config_files(subject::shown_path(directory), name);
        let question = Question {
            text: &text,
            platform: &platform,
            runtime: options.runtime.as_deref(),
            config: &config,
        };
        let found = descriptor::problems(&question);
        problems.extend(found.iter().map(|problem| Told::new(shown(file), problem, &text)));
    }
    let notes = descriptor::notes(&platform, options.runtime.as_deref());
    Ok(Report { checked: count(files.len(), "service descriptor"), problems, notes, platform: platform.from })
}

/// What a platform defines, counted.
fn defined(platform: &Platform) -> String {
    let environments = count(platform.environments.len(), "Environment");
    format!("{environments}, {}", count(platform.runtimes.len(), "IntegrationRuntime"))
}

/// Problems of the definitions themselves; those of the cluster are the operator's to tell.
fn of_platform(platform: &Platform) -> Vec<Told> {
    let from = platform.from.clone().unwrap_or_default();
    platform.problems().iter().map(|problem| Told::whole(from.clone(), problem)).collect()
}
