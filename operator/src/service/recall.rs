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
        if let Some(at) = at {
            recalled.environments[at].last_good = last_good;
        } else {
            let (name, branch) = (name.clone(), environment.branch.clone());
            recalled.environments.push(EnvironmentState { name, branch, last_good, ..Default::default() });
        }
        is_recalled = true;
    }
    if is_recalled { Some(recalled) } else { board }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{sample, service::attempt};

    #[test]
    fn only_what_is_forgotten_is_recalled() {
        let service =
            sample::service(vec![sample::environment("dev", None), sample::environment("prod", None)]);
        let released = |name: &str, environment: &str| {
            let mut release = sample::release(name, &format!("environment: {environment}"));
            release.status = Some(attempt::healthy(&release, None, jiff::Timestamp::UNIX_EPOCH));
            release
        };
        let (dev, prod) = (released("orders-dev-1", "dev"), released("orders-prod-1", "prod"));
        let told = |board: Option<IntegrationServiceStatus>, history: &History| -> Option<Vec<_>> {
            let board = recalled(board, (&service, history), |_| None)?;
            let of_each = |state: EnvironmentState| (state.name, state.last_good.unwrap_or_default());
            Some(board.environments.into_iter().map(of_each).collect())
        };
        let pair = |name: &str, good: &str| (name.to_owned(), good.to_owned());
        let history = History::of([&dev, &prod]);
        let all = vec![pair("dev", "orders-dev-1"), pair("prod", "orders-prod-1")];
        assert_eq!(told(None, &history), Some(all));
        assert_eq!(told(None, &History::default()), None, "there is nothing to recall");
        let state = EnvironmentState {
            name: "dev".to_owned(),
            last_good: Some("orders-dev-0".to_owned()),
            ..EnvironmentState::default()
        };
        let board = IntegrationServiceStatus { environments: vec![state], ..Default::default() };
        let kept = vec![pair("dev", "orders-dev-0"), pair("prod", "orders-prod-1")];
        assert_eq!(told(Some(board), &history), Some(kept));
    }
}
