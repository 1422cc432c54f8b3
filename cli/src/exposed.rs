//! Paths that descriptors expose, and which of them several do. Pure.

use std::collections::BTreeMap;

use imaas_operator::yaml::{Composed, sound};

use crate::{check::Told, descriptor::stages, platform::Platform};

/// A path that is reached from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exposed {
    /// Where: the environment's name, empty for all others.
    pub stage: String,
    /// Such as `/orders`.
    pub path: String,
    /// Line and column.
    pub place: (u32, u32),
}

/// The paths that a descriptor exposes, as far as it can be read.
pub fn exposed(text: &[u8], platform: &Platform) -> Vec<Exposed> {
    let Some(descriptor) = sound::descriptor(text) else { return Vec::new() };
    let composed = Composed::of(text);
    let of = |stage: &&str| {
        let settings = descriptor.settings(stage);
        let expose = settings.value.expose.as_ref().filter(|_| settings.is_news("expose.path"))?;
        let own = if descriptor.differs(stage, "expose.path") {
            format!("environments.{stage}.")
        } else {
            String::new()
        };
        let place = composed.place(&format!("{own}expose.path"));
        Some(Exposed { stage: (*stage).to_owned(), path: expose.path.clone(), place })
    };
    stages(platform, &descriptor).iter().filter_map(of).collect()
}

/// Paths that several descriptors expose in one environment: of one tenant only one gets it. Each is told beside the first that
/// has the path.
pub fn shared(exposed: &[(String, Vec<Exposed>)]) -> Vec<Told> {
    let mut warnings = Vec::new();
    let mut first = BTreeMap::new();
    for (file, own) in exposed {
        let mut shared = BTreeMap::new();
        for one in own {
            let other: &String = first.entry((&one.stage, &one.path)).or_insert(file);
            // Once, however many environments share it.
            if other != file {
                shared.entry(other).or_insert(one);
            }
        }
        warnings.extend(shared.into_iter().map(|(other, Exposed { path, place: (line, column), .. })| {
            let message = format!(
                "{other} exposes {path:?}, too: where both are services of one tenant, only one is reached there"
            );
            let field = "expose.path".to_owned();
            Told { file: file.clone(), line: *line, column: *column, field, message, quote: None }
        }));
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_two_expose_in_one_environment_is_told_once() {
        let read = |file: &str, text: &str| {
            let text = format!("apiVersion: imaas.dev/v1alpha1\nkind: ServiceDescriptor\n{text}");
            (file.to_owned(), exposed(text.as_bytes(), &Platform::default()))
        };
        let a = read("a", "expose: {path: /a}\nenvironments: {dev: {}, prod: {expose: {path: /b}}}\n");
        let told = |other: &str| {
            let warnings = shared(&[a.clone(), read("b", other)]);
            warnings.iter().map(|told| format!("{}: {}", told.place(), told.message)).collect::<Vec<_>>()
        };
        let message = |path| {
            format!(
                "a exposes {path:?}, too: where both are services of one tenant, only one is reached there"
            )
        };
        assert_eq!(
            told("expose: {path: /a}\nenvironments: {dev: {}}\n"),
            [format!("b:3:16: {}", message("/a"))]
        );
        assert_eq!(
            told("expose: {path: /c}\nenvironments: {prod: {expose: {path: /b}}}\n"),
            [format!("b:4:38: {}", message("/b"))]
        );
        assert_eq!(told("environments: {dev: {expose: {path: /b}}}\n"), [""; 0], "not in the same");
        let many: Vec<_> = (0..100).map(|i| (format!("s{i}"), a.1.clone())).collect();
        assert_eq!(shared(&many).len(), 99, "each once, and not beside each other");
    }
}
