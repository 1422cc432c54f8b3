//! What is asked of an image in an environment that its tenant leaves out: nobody asks it any more. Pure. Which environments are
//! passed over is the operator's own chain.

use imaas_operator::{
    api::{Environment, EnvironmentSpec},
    tenant::validate::{ValidSpace, ValidTenant},
};
use kube::ResourceExt;

use crate::output::plain;

/// One sentence for each environment that images reach past something which they did not pass before.
pub fn skipped(was: &ValidTenant, now: &ValidTenant, environments: &[Environment]) -> Vec<String> {
    let of = |name: &str| environments.iter().find(|one| one.name_any() == name).map(|one| &one.spec);
    let told = |space: &ValidSpace| {
        let ValidSpace { environment, promotes_from, passes_over, .. } = space;
        let before = was.environments.iter().find(|one| one.environment == *environment);
        let is_new = |name: &&String| before.is_none_or(|before| !before.passes_over.contains(name));
        let lost = |name: &String| {
            let spec = of(name)?;
            let asked = [to_enter(spec), to_leave(spec)].concat();
            (!asked.is_empty()).then(|| format!("{} ({})", plain(name), asked.join(", ")))
        };
        let lost: Vec<_> = passes_over.iter().filter(is_new).filter_map(lost).collect();
        if lost.is_empty() {
            return None;
        }
        let from = promotes_from.as_ref().map_or("its CI".to_owned(), |name| plain(name));
        let left = promotes_from.iter().map(|name| (name, of(name).map(to_leave)));
        let left = left.chain([(environment, of(environment).map(to_enter))]);
        let left = left.flat_map(|(name, asked)| {
            asked.into_iter().flatten().map(move |one| format!("{one} in {}", plain(name)))
        });
        let left: Vec<_> = left.collect();
        let left = if left.is_empty() { "nothing".to_owned() } else { left.join(", ") };
        Some(format!(
            "{}: images for {} come from {from} and skip {}: nobody asks that of them any more. What is asked still: {left}.",
            plain(&now.name),
            plain(environment),
            lost.join(" and "),
        ))
    };
    now.environments.iter().filter_map(told).collect()
}

/// What is asked of an image before it runs there.
fn to_enter(spec: &EnvironmentSpec) -> Vec<String> {
    let approval = spec.approval.then(|| "approval".to_owned());
    let windows = (!spec.windows.is_empty()).then(|| "windows".to_owned());
    let signatures = spec.signatures.as_ref().map(|_| "signatures".to_owned());
    [approval, windows, signatures].into_iter().flatten().collect()
}

/// What is asked of an image that runs there before another environment takes it.
fn to_leave(spec: &EnvironmentSpec) -> Vec<String> {
    let bake = spec.bake_time.iter().map(|time| format!("bakeTime {}", plain(time)));
    bake.chain(spec.gates.iter().map(|gate| format!("gate {}", plain(gate)))).collect()
}
