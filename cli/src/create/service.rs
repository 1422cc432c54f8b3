//! `service new`.

use std::collections::BTreeMap;

use anyhow::Result;
use imaas_operator::{
    api::{IntegrationServiceSpec, Repository, ServiceEntry, Tenant, TenantSpec},
    service::resolve::DESCRIPTOR,
    yaml::{self, Problem},
};

use super::{
    arguments::{RUNTIME, unusual_runtime},
    not_written, text, write_new,
};
use crate::{
    Outcome,
    args::{ServiceNew, WorkloadType},
    around,
    check::{Lines, Told},
    descriptor::{self, Question},
    history::Clone,
    output,
    subject::{shown, tidy},
};

/// What a service in a container listens on where nothing is said.
const PORT: u16 = 8080;

/// IO: writes `imaas.yaml`.
pub fn run(options: &ServiceNew) -> Result<Outcome> {
    let file = tidy(&options.directory.join(DESCRIPTOR));
    let is_api = options.type_ == WorkloadType::Api;
    let default = Some(PORT).filter(|_| is_api && options.runtime == RUNTIME);
    let text = text::descriptor(options.type_, options.port.or(default), options.schema.as_deref());
    let platform = around::sound_platform(&options.around, None)?;
    let question = Question {
        text: text.as_bytes(),
        platform: &platform,
        runtime: Some(&options.runtime),
        config: &|name| Err(format!("config: {name:?} was not asked for")),
    };
    let clone = Clone::holding(&options.directory).ok();
    let entry = entry(options, clone.as_ref());
    let problems: Vec<_> =
        name_problems(&entry).into_iter().chain(descriptor::found(&question).problems).collect();
    let told = |problem: &Problem| Told::new(shown(&file), problem, &Lines::default());
    not_written(&problems.iter().map(told).collect::<Vec<_>>())?;
    write_new(&file, &text)?;
    let warning = unusual_runtime(&entry, &platform);
    output::print(&next(&entry, options.type_, (&shown(&file), warning.as_deref())))?;
    Ok(Outcome::Fine)
}

/// What the tenant file is to say of it.
fn entry(options: &ServiceNew, clone: Option<&Clone>) -> ServiceEntry {
    let url = clone.and_then(Clone::origin);
    let path = clone.and_then(|clone| clone.relative(&options.directory).ok());
    ServiceEntry {
        name: options.name.clone(),
        spec: IntegrationServiceSpec {
            repository: Repository {
                url: url.unwrap_or_else(|| format!("https://git.example.com/TENANT/{}.git", options.name)),
                credentials: None,
            },
            path: path.filter(|path| !path.is_empty()),
            runtime: options.runtime.clone(),
            branches: BTreeMap::new(),
            export_to: Vec::new(),
        },
    }
}

/// What a tenant file may not say of the name.
fn name_problems(entry: &ServiceEntry) -> Vec<Problem> {
    const NAME: &str = "spec.services[0].name";
    let spec = TenantSpec { services: vec![entry.clone()], ..TenantSpec::default() };
    let text = text::tenant(&Tenant::new("tenant", spec), None);
    let problems = yaml::tenant(text.as_bytes()).err().unwrap_or_default();
    // What no file may hold has no path.
    let of_name = problems.into_iter().filter(|problem| problem.path == NAME || problem.path.is_empty());
    of_name.map(|problem| Problem { path: "name".to_owned(), ..problem }).collect()
}

fn next(entry: &ServiceEntry, type_: WorkloadType, (file, warning): (&str, Option<&str>)) -> String {
    let warning = warning.map(|warning| format!("warning: {warning}\n")).unwrap_or_default();
    let begins = match type_ {
        WorkloadType::Api | WorkloadType::Worker => "comes up in dev",
        WorkloadType::Batch => "runs in dev at the next time of its schedule",
    };
    format!(
        "wrote {file}
{warning}
Next:
  kubectl imaas validate {file} --runtime {runtime} --platform platform.yaml
    (which environments and runtimes there are: a file of the tenants repository, or ask the platform team for it)
  commit it, and push a branch for each environment, such as dev, test and prod
  add this to the tenant's file, below `services:` (with `credentials: SECRET` beside the URL of a private repository):

{entry}
Then CI pushes the image as <registry>/<tenant>/{name}:<commit hash>, and the service {begins}.
",
        runtime = entry.spec.runtime,
        name = entry.name,
        entry = text::service(entry),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_told_to_wait_for_its_time() {
        let entry: ServiceEntry = serde_saphyr::from_str(
            "{name: bills, repository: {url: 'https://git.example.com/acme/bills'}, runtime: container}",
        )
        .unwrap();
        let told = |type_| next(&entry, type_, ("imaas.yaml", None));
        assert!(told(WorkloadType::Api).ends_with("and the service comes up in dev.\n"));
        let batch = told(WorkloadType::Batch);
        assert!(
            batch.ends_with("and the service runs in dev at the next time of its schedule.\n"),
            "{batch}"
        );
    }
}
