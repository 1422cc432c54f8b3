//! Tenants without an owner. Pure. Somebody of the platform may do for them what only an owner may, so that is no mistake.

use imaas_operator::{
    api::Role,
    source::parse::{FileProblem, Parsed, file_name},
    yaml::Composed,
};

/// A warning for each tenant file that names none.
pub fn missing(parsed: &Parsed) -> Vec<FileProblem> {
    const MEMBERS: &str = "spec.members";
    const MESSAGE: &str = "nobody is an owner, so nobody of the tenant can make the Secret of a private repository, or approve what is to run: give somebody `role: owner`";
    let mut told = Vec::new();
    for (name, file) in &parsed.tenants {
        // What cannot be read may well name one.
        let Some(said) = file.said.as_ref().filter(|said| said.is_news(MEMBERS)) else { continue };
        if !said.value.spec.members.iter().any(|member| member.role == Role::Owner) {
            let problem = Composed::of(&file.content).problem(MEMBERS.to_owned(), MESSAGE.to_owned());
            told.push(FileProblem { file: file_name(name), problem });
        }
    }
    told
}
