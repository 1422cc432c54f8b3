//! Quotas of as many cores as hardly anybody has. Pure. A platform that is known has bounds for them, so that only without one they
//! are told, and as no mistake.

use imaas_operator::{
    amount::thousandths,
    source::parse::{FileProblem, Parsed, file_name},
    yaml::Composed,
};

/// A warning for each that was probably meant as thousandths.
pub fn many(parsed: &Parsed) -> Vec<FileProblem> {
    let mut told = Vec::new();
    for (name, file) in &parsed.tenants {
        let Some(said) = &file.said else { continue };
        for (environment, own) in &said.value.spec.environments {
            let path = format!("spec.environments.{environment}.quota.cpu");
            let asked =
                own.quota.as_ref().and_then(|quota| quota.cpu.as_ref()).filter(|_| said.is_news(&path));
            let Some((asked, meant)) = asked.and_then(|asked| Some((asked, thousandths(asked)?))) else {
                continue;
            };
            let message = format!("{} are whole cores: did you mean {meant}?", asked.0);
            let problem = Composed::of(&file.content).problem(path, message);
            told.push(FileProblem { file: file_name(name), problem });
        }
    }
    told
}
