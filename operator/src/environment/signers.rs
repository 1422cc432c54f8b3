//! By whom images must be signed: `signatures` of an Environment. Pure.

use super::Problem;
use crate::{api::EnvironmentSpec, registry::signature::PublicKey};

/// The keys that an Environment names, if it asks for signatures at all, and what is wrong with the others. Where none can be
/// read nobody signs, and nothing new comes in.
pub fn signers(spec: &EnvironmentSpec) -> (Option<Vec<PublicKey>>, Vec<Problem>) {
    let Some(signatures) = &spec.signatures else { return (None, vec![]) };
    let (mut keys, mut problems) = (Vec::with_capacity(signatures.keys.len()), Vec::new());
    for (index, key) in signatures.keys.iter().enumerate() {
        match key.parse::<PublicKey>() {
            Ok(key) => keys.push(key),
            Err(problem) => {
                let problem = Problem::new(format!("spec.signatures.keys[{index}]"), problem.to_string());
                problems.push(problem);
            }
        }
    }
    (Some(keys), problems)
}
