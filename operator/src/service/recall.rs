//! The board, with what ran well last in each environment where it does not say so: a status may be lost, with an object
//! that was restored without it, while the releases still know. Pure.
//!
//! Without it, what ran well would be given up for what goes down later, and an older release would take its place.

use super::{
    history::History,
    validate::{ValidEnvironment, ValidService},
};
use crate::api::{IntegrationServiceStatus, integration_service::EnvironmentState};

/// `board`, completed. `runs`: the release that the environment's Deployment says it runs.
pub fn recalled(
    board: Option<IntegrationServiceStatus>,
    (service, history): (&ValidService, &History),
    runs: impl Fn(&ValidEnvironment) -> Option<String>,
) -> Option<IntegrationServiceStatus> {
    let mut recalled = board.clone().unwrap_or_default();
    let mut is_recalled = false;
    for environment in &service.environments {
        let name = &environment.name;
        let at = recalled.environments.iter().position(|state| state.name == *name);
        if at.is_some_and(|at| recalled.environments[at].last_good.is_some()) {
            continue;
        }
        let Some(good) = history.last_good(name, runs(environment).as_deref()) else { continue };
        let last_good = Some(good.name.clone());
        match at {
            Some(at) => recalled.environments[at].last_good = last_good,
            None => {
                let (name, branch) = (name.clone(), environment.branch.clone());
                recalled.environments.push(EnvironmentState {
                    name,
                    branch,
                    last_good,
                    ..Default::default()
                });
            }
        }
        is_recalled = true;
    }
    if is_recalled { Some(recalled) } else { board }
}
