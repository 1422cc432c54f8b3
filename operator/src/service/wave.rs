//! In which order a changed runtime reaches a service's environments. Pure.
//!
//! Nobody committed it, so nobody chose the moment: it goes where images go, one environment after the other. A new
//! commit or merge takes the present runtime along and waits for its own promotion only.

use super::{
    Problem,
    history::History,
    status::{Running, Stage},
    validate::ValidEnvironment,
};
use crate::{
    api::{Cause, ReleaseSpec},
    conditions::Reason,
};

/// Why a release is made, unless only its runtime is new.
pub fn cause(environment: &ValidEnvironment) -> Cause {
    if environment.promotes_from.is_some() { Cause::Promotion } else { Cause::Commit }
}

/// Why `new` replaces what runs, whatever commits came between, where Git asks for the same; nothing else.
pub fn cause_without_git(new: &ReleaseSpec, current: &ReleaseSpec) -> Option<Cause> {
    if current.content_revision.is_none() || current.content_revision != new.content_revision {
        return None;
    }
    let is_known = current.secrets_revision.is_some();
    let is_of_secret = is_known && current.secrets_revision != new.secrets_revision;
    Some(if is_of_secret { Cause::Secret } else { Cause::Runtime })
}

/// What a changed runtime waits for in `environment`: that the environment before, one of `earlier`, runs with the same
/// revision of it, and well. Nothing for any other release, and where nothing promotes to.
pub fn awaited(
    environment: &ValidEnvironment,
    new: &ReleaseSpec,
    earlier: &[Stage],
    history: &History,
) -> Option<Problem> {
    let source = environment.promotes_from.as_deref().filter(|_| new.cause == Cause::Runtime)?;
    let changed = changed(&new.runtime, &environment.name);
    let stage = earlier.iter().find(|stage| stage.environment.name == source);
    let has_it = |running: &&Running| running.runtime_revision == new.runtime_revision;
    let message = match stage.zip(stage.and_then(|stage| stage.running.as_ref()).filter(has_it)) {
        None => format!(
            "{changed}, and {source} does not run with the change yet: see what {source} waits for, or merge what {source} runs into {}",
            environment.branch
        ),
        Some((stage, running)) => match ailment(stage, running, history) {
            None => return None,
            Some(why) => {
                format!("{changed}, and {source}, which runs with the change, is not healthy: {why}")
            }
        },
    };
    Some(Problem::new(Reason::NotPromoted, message))
}

/// Told of a service that waits until others in `environment` have the change.
pub fn in_turn((runtime, environment): (&str, &str), at_once: usize) -> Problem {
    let message = format!(
        "{}, and services get the change {at_once} at a time in {environment}: it is this one's turn when another is done",
        changed(runtime, environment)
    );
    Problem::new(Reason::AwaitingTurn, message)
}

/// What a release takes along that no commit asked for.
fn changed(runtime: &str, environment: &str) -> String {
    format!("the runtime {runtime} or the Environment {environment} was changed")
}

/// Why what runs there proves nothing.
fn ailment<'a>(stage: &'a Stage, running: &Running, history: &History) -> Option<&'a str> {
    let seen = stage.observed.as_ref();
    let told = seen.iter().flat_map(|seen| &seen.problems).chain(&stage.problems).next();
    let is_well = seen.is_some_and(|seen| seen.well) && history.is_proven(&running.release);
    if is_well { None } else { Some(told.map_or("it has no instance", |problem| &problem.message)) }
}

#[cfg(test)]
mod tests;
