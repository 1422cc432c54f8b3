//! Is the operator fit to work, and if not, what is it waiting for? Pure state; `http` serves it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

/// The reasons not to be ready, by gate. Cheap to clone; starts with every gate that is named.
#[derive(Clone, Debug, Default)]
pub struct Health(Arc<Mutex<BTreeMap<&'static str, String>>>);

impl Health {
    /// Not ready because of `gate`; replaces what it said before.
    pub fn close(&self, gate: &'static str, why: impl Into<String>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(gate, why.into());
    }

    /// `gate` no longer stands in the way.
    pub fn open(&self, gate: &'static str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(gate);
    }

    /// Is `gate` open?
    pub fn is_open(&self, gate: &'static str) -> bool {
        !self.0.lock().unwrap_or_else(PoisonError::into_inner).contains_key(gate)
    }

    /// One line a closed gate; empty when ready.
    pub fn problems(&self) -> Vec<String> {
        let gates = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        gates.iter().map(|(gate, why)| format!("{gate}: {why}")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_closed_gate_is_told_until_it_opens() {
        let health = Health::default();
        health.close("kinds", "tenants.imaas.dev is missing");
        health.close("policies", "imaas-namespaces does not enforce");
        assert_eq!(health.problems().len(), 2);
        health.open("kinds");
        assert!(health.is_open("kinds") && !health.is_open("policies"));
        assert_eq!(health.problems(), ["policies: imaas-namespaces does not enforce"]);
    }
}
