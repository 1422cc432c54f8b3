//! `exportTo` beside the other tenant files: what it names and is not there. Pure. The consumer may come later, or from another
//! repository, so that is no mistake.

use std::cell::LazyCell;

use imaas_operator::{
    api::Export,
    source::parse::{FileProblem, Parsed, file_name},
    yaml::Composed,
};

/// An `exportTo` that nobody can use yet.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Absent {
    /// What to tell.
    pub problem: FileProblem,
    /// Whose file that is.
    pub tenant: String,
    /// Which of its services is exported.
    pub service: String,
    /// To whom.
    pub export: Export,
}

/// Each `exportTo` that nobody can use yet, by file and place.
pub fn absent(parsed: &Parsed) -> Vec<Absent> {
    let mut told = Vec::new();
    for (name, file) in &parsed.tenants {
        let Some(said) = &file.said else { continue };
        let composed = LazyCell::new(|| Composed::of(&file.content));
        for (index, entry) in said.value.spec.services.iter().enumerate() {
            for (nth, export) in entry.spec.export_to.iter().enumerate() {
                let path = format!("spec.services[{index}].exportTo[{nth}]");
                let Some((field, message)) = absence(parsed, export).filter(|_| said.is_news(&path)) else {
                    continue;
                };
                let problem = composed.problem(format!("{path}.{field}"), message);
                told.push(Absent {
                    problem: FileProblem { file: file_name(name), problem },
                    tenant: name.clone(),
                    service: entry.name.clone(),
                    export: export.clone(),
                });
            }
        }
    }
    told.sort();
    told
}

/// The field of `export` that names what is not there, and what that means.
fn absence(parsed: &Parsed, Export { tenant, service }: &Export) -> Option<(&'static str, String)> {
    if parsed.misplaced.instead.contains_key(tenant) {
        return None;
    }
    let Some(file) = parsed.tenants.get(tenant) else {
        let message = format!(
            "there is no tenant {tenant:?} here, so nobody uses this: correct the name, unless it comes later or from another repository"
        );
        return Some(("tenant", message));
    };
    // What cannot be read may well have it.
    let said = file.said.as_ref().filter(|said| said.is_news("spec.services"))?;
    if said.value.lists(service) {
        return None;
    }
    let known: Vec<_> = said.value.spec.services.iter().map(|entry| entry.name.as_str()).take(20).collect();
    let known = if known.is_empty() { "none".to_owned() } else { format!("only {}", known.join(", ")) };
    let message = format!(
        "tenant {tenant} has no service {service:?}, {known}, so nobody uses this: correct the name, unless it comes later"
    );
    Some(("service", message))
}
