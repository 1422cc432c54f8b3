//! Settings that are asked about again and again, each time without what is known to be wrong. Pure.

use std::collections::{BTreeMap, BTreeSet};

use imaas_operator::api::{DescriptorSpec, WorkloadType};

/// Settings, and what was set aside of them.
pub struct Asked {
    /// What is left.
    pub settings: DescriptorSpec,
    fields: BTreeSet<String>,
    /// Of each list: which of its elements, by their index in the file, are left.
    left: BTreeMap<&'static str, Vec<usize>>,
}

impl Asked {
    /// All of it.
    pub fn new(settings: DescriptorSpec) -> Self {
        let all = |count: usize| (0..count).collect();
        let left = BTreeMap::from([
            ("ports", all(settings.ports.len())),
            ("secrets", all(settings.secrets.len())),
            ("connects", all(settings.connects.len())),
            ("uses", all(settings.uses.len())),
        ]);
        Self { settings, fields: BTreeSet::new(), left }
    }

    /// What `type` decides about is not asked.
    pub fn without_type(&mut self) {
        let settings = &mut self.settings;
        settings.instances = Some(settings.instances());
        settings.type_ = WorkloadType::Worker;
        settings.schedule = None;
        settings.expose = None;
    }

    /// `field` with the index that its element has in the file.
    pub fn in_file(&self, field: &str) -> String {
        let Some((list, index, rest)) = element(field) else { return field.to_owned() };
        let in_file = self.left.get(list).and_then(|left| left.get(index)).unwrap_or(&index);
        format!("{list}[{in_file}]{rest}")
    }

    /// Makes what stands at `field` something that is never a problem; false where nothing more can be asked without it.
    pub fn set_aside(&mut self, field: &str) -> bool {
        if let Some((list, index, _)) = element(field).filter(|(list, ..)| self.left.contains_key(list)) {
            return self.without(list, index);
        }
        if let Some(name) = field.strip_prefix("env.") {
            return self.settings.env.remove(name).is_some();
        }
        if !self.fields.insert(field.to_owned()) {
            return false;
        }
        let settings = &mut self.settings;
        let plain = DescriptorSpec::default();
        match field.split(['.', '[']).next().unwrap_or_default() {
            "ports" => self.without_type(),
            "schedule" if settings.type_ == WorkloadType::Batch => self.without_type(),
            "schedule" => settings.schedule = None,
            "resources" if field == "resources.cpu" => settings.resources.cpu = plain.resources.cpu,
            "resources" => settings.resources.memory = plain.resources.memory,
            "scaling" => settings.scaling = plain.scaling,
            "expose" => settings.expose = None,
            "config" => settings.config = None,
            _ => return false,
        }
        true
    }

    fn without(&mut self, list: &str, index: usize) -> bool {
        let Some(left) = self.left.get_mut(list).filter(|left| index < left.len()) else { return false };
        left.remove(index);
        match list {
            "ports" => {
                self.settings.ports.remove(index);
                // Whether one is left, and which, is not what is asked.
                self.without_type();
            }
            "secrets" => drop(self.settings.secrets.remove(index)),
            "connects" => drop(self.settings.connects.remove(index)),
            _ => drop(self.settings.uses.remove(index)),
        }
        true
    }
}

/// List, index and rest of `uses[1].as`.
fn element(field: &str) -> Option<(&str, usize, &str)> {
    let (list, rest) = field.split_once('[')?;
    let (index, rest) = rest.split_once(']')?;
    Some((list, index.parse().ok()?, rest))
}
