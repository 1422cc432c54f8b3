//! A file with mistakes in it and where they are in, what is sound of it out. Pure. The operator stops at a file that does not fit its
//! schema; an author wants the other mistakes too, so what is sound is asked again.

use imaas_operator::{api::API_VERSION, yaml::Problem};
use serde_json::{Value, json};

/// What is sound of a file, and where its list elements stood.
pub struct Sound {
    /// YAML again.
    pub text: Vec<u8>,
    /// List, and its elements that are left, by their index in the file.
    kept: Vec<(String, Vec<usize>)>,
    /// Paths that have a problem already.
    known: Vec<String>,
}

/// What is sound of a tenant file. None where nothing can be told apart.
pub fn tenant(name: &str, text: &[u8], problems: &[Problem]) -> Option<Sound> {
    let mut value = value(text)?;
    value["apiVersion"] = json!(API_VERSION);
    value["kind"] = json!("Tenant");
    value["metadata"] = json!({ "name": name });
    let fields = value.as_object_mut()?;
    fields.retain(|field, _| ["apiVersion", "kind", "metadata", "spec"].contains(&field.as_str()));
    let mut sound = Sound { text: Vec::new(), kept: Vec::new(), known: paths(problems) };
    sound.clean("spec", value.get_mut("spec")?)?;
    sound.text = serde_json::to_vec(&value).ok()?;
    Some(sound)
}

/// What is sound of a descriptor. None where nothing can be told apart, or what is wrong decides about the rest.
pub fn descriptor(text: &[u8], problems: &[Problem]) -> Option<Sound> {
    let mut value = value(text)?;
    let mut sound = Sound { text: Vec::new(), kept: Vec::new(), known: paths(problems) };
    if sound.known.iter().any(|path| path.ends_with("type") || path.ends_with("runtimeVersion")) {
        return None;
    }
    sound.clean("", &mut value)?;
    value["apiVersion"] = json!(API_VERSION);
    value["kind"] = json!("ServiceDescriptor");
    sound.text = serde_json::to_vec(&value).ok()?;
    Some(sound)
}

fn paths(problems: &[Problem]) -> Vec<String> {
    problems.iter().map(|problem| problem.path.clone()).collect()
}

fn value(text: &[u8]) -> Option<Value> {
    serde_saphyr::from_str::<Value>(std::str::from_utf8(text).ok()?).ok().filter(Value::is_object)
}

impl Sound {
    /// Takes out of the mapping at `path` every field with a problem in it; of a list or an inner mapping only the entries.
    fn clean(&mut self, path: &str, mapping: &mut Value) -> Option<()> {
        if self.known.iter().any(|known| known.is_empty() || known == path) {
            return None;
        }
        let fields = mapping.as_object_mut()?;
        let names: Vec<String> = fields.keys().cloned().collect();
        for name in names {
            let inner = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            if self.known.contains(&inner) {
                fields.remove(&name);
                continue;
            }
            match fields.get_mut(&name) {
                Some(Value::Array(items)) => self.clean_list(&inner, items),
                Some(Value::Object(entries)) => {
                    entries.retain(|key, _| !self.is_wrong(&format!("{inner}.{key}")));
                }
                _ => {}
            }
        }
        Some(())
    }

    fn clean_list(&mut self, path: &str, items: &mut Vec<Value>) {
        let sound = |index: &usize| !self.is_wrong(&format!("{path}[{index}]"));
        let kept: Vec<usize> = (0..items.len()).filter(sound).collect();
        *items = kept.iter().filter_map(|index| items.get(*index).cloned()).collect();
        self.kept.push((path.to_owned(), kept));
    }

    /// Is there a problem with what stands at `path`, or in it?
    fn is_wrong(&self, path: &str) -> bool {
        self.known.iter().any(|known| is_within(known, path))
    }

    /// The path in the file of a problem of what is sound; nothing where that is only what is known already.
    pub fn path(&self, found: &str) -> Option<String> {
        let mut path = found.to_owned();
        for (list, kept) in &self.kept {
            if let Some(rest) = found.strip_prefix(list.as_str()).and_then(|rest| rest.strip_prefix('['))
                && let Some((index, rest)) = rest.split_once(']')
                && let Some(index) = index.parse::<usize>().ok().and_then(|index| kept.get(index))
            {
                path = format!("{list}[{index}]{rest}");
            }
        }
        let is_known = |known: &String| is_within(known, &path) || is_within(&path, known);
        (!self.known.iter().any(is_known)).then_some(path)
    }
}

/// Is `path` the same as `outer`, or below it?
fn is_within(path: &str, outer: &str) -> bool {
    path.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(path: &str) -> Problem {
        Problem { line: 1, column: 1, path: path.to_owned(), message: String::new() }
    }

    #[test]
    fn what_is_sound_is_left_and_keeps_its_place() {
        let text = b"apiVersion: x\nkind: Tenant\nmetadata: {nam: a}\nmore: 1\nspec:\n  membrs: 1\n  contact: 5\n  environments: {dev: {omit: 1}, test: {omit: true}}\n  services: [{name: a}, {name: b, runtime: 1}, {name: c}]\n";
        let problems = [
            "apiVersion",
            "metadata.nam",
            "more",
            "spec.membrs",
            "spec.contact",
            "spec.environments.dev.omit",
            "spec.services[1].runtime",
        ];
        let sound = tenant("acme", text, &problems.map(problem)).unwrap();
        let left: Value = serde_json::from_slice(&sound.text).unwrap();
        assert_eq!(
            left,
            json!({
                "apiVersion": "imaas.dev/v1alpha1", "kind": "Tenant", "metadata": {"name": "acme"},
                "spec": {"environments": {"test": {"omit": true}}, "services": [{"name": "a"}, {"name": "c"}]},
            })
        );
        assert_eq!(sound.path("spec.services[1].name").as_deref(), Some("spec.services[2].name"));
        assert_eq!(sound.path("spec.environments.test").as_deref(), Some("spec.environments.test"));
        assert_eq!(sound.path("spec.contact"), None, "known already");
        assert_eq!(sound.path("spec"), None, "says no more than what is known");
    }

    #[test]
    fn what_decides_about_the_rest_ends_it() {
        assert!(tenant("acme", b"spec: [1]", &[problem("spec")]).is_none());
        assert!(tenant("acme", b"spec: {", &[problem("")]).is_none());
        assert!(descriptor(b"type: batch\nports: []\n", &[problem("type")]).is_none());
        assert!(descriptor(b"typ: api\nports: []\n", &[problem("typ")]).is_some());
    }
}
