//! `service new`.

use std::collections::BTreeMap;

use anyhow::Result;
use imaas_operator::{
    api::{IntegrationServiceSpec, Repository, ServiceEntry},
    service::resolve::DESCRIPTOR,
};

use super::{arguments::RUNTIME, text, write_new};
use crate::{
    Outcome,
    args::{ServiceNew, WorkloadType},
    around,
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
    let text = text::descriptor(is_api, options.port.or(default), options.schema.as_deref());
    let platform = around::platform(&options.around, None)?;
    let question = Question {
        text: text.as_bytes(),
        platform: &platform,
        runtime: Some(&options.runtime),
        config: &|name| Err(format!("config: {name:?} was not asked for")),
    };
    let problems = descriptor::found(&question).problems;
    if !problems.is_empty() {
        for problem in &problems {
            output::complain(&format!("not written: {}: {}", problem.path, problem.message));
        }
        return Ok(Outcome::Problems);
    }
    write_new(&file, &text)?;
    output::print(&next(options, &shown(&file)))?;
    Ok(Outcome::Fine)
}

fn next(options: &ServiceNew, file: &str) -> String {
    let clone = Clone::holding(&options.directory).ok();
    let url = clone.as_ref().and_then(Clone::origin);
    let path = clone.as_ref().and_then(|clone| clone.relative(&options.directory).ok());
    let entry = ServiceEntry {
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
    };
    format!(
        "wrote {file}

Next:
  kubectl imaas validate {file} --runtime {runtime}
  commit it, and push a branch for each environment, such as dev, test and prod
  add this to the tenant's file, below `services:` (with `credentials: SECRET` beside the URL of a private repository):

{entry}
Then CI pushes the image as <registry>/<tenant>/{name}:<commit hash>, and the service comes up in dev.
",
        runtime = options.runtime,
        entry = text::service(&entry),
        name = options.name,
    )
}
