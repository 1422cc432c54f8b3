//! Removing releases that nothing needs changes no decision.

use proptest::prelude::*;

use super::*;
use crate::service::{
    course::Course,
    history::{Needs, surplus},
    status::{Observation, Running, Stage},
};

fn any_past() -> impl Strategy<Value = Vec<(usize, usize, bool, bool)>> {
    prop::collection::vec((0..3usize, 0..4usize, any::<bool>(), any::<bool>()), 0..40)
}

proptest! {
    #[test]
    fn forgetting_what_is_too_old_changes_no_decision(
        made_ in any_past(),
        heads in [0..4usize, 0..4usize, 0..4usize],
        (limit, well) in (1..5u16, any::<bool>()),
    ) {
        const BUILDS: [&str; 4] = ["A", "B", "C", "D"];
        let service = three();
        let past = |(at, (environment, build, of_a, healthy)): (usize, &(usize, usize, bool, bool))| {
            let digest = if *of_a { IMAGE_OF_A } else { IMAGE_OF_B };
            let name = &service.environments[*environment].name;
            made(i64::try_from(at).unwrap(), name, BUILDS[*build], digest, *healthy)
        };
        let mut history = History(made_.iter().enumerate().map(past).collect());
        // What runs is the newest of each environment.
        let newest = |history: &History, name: &str| {
            history.0.iter().rev().find(|past| past.environment == name).cloned()
        };
        for environment in &service.environments {
            if let Some(past) = newest(&history, &environment.name) {
                history.runs(&past.name);
            }
        }
        let [dev, test, prod] = heads.map(|build| head('1', BUILDS[build], ""));
        let seen = snapshot([("dev", dev), ("test", test), ("prod", prod)], &[]);
        let before = decided(&service, &seen, &history);
        let stage = |environment: &ValidEnvironment| {
            let newest = newest(&history, &environment.name);
            Stage {
                environment: environment.clone(),
                wanted: wanted(&service, environment, Some(&seen), (&history, &Settled::default())),
                target: None,
                running: newest.map(|past| Running { release: past.name, digest: past.digest, runtime_revision: None }),
                observed: Some(Observation { well, ..Observation::default() }),
                problems: vec![],
                course: Course::default(),
                held: vec![],
            }
        };
        let stages = service.environments.iter().map(stage);
        let needs: Vec<_> = stages.map(|stage| Needs::of(&stage, None, Some(limit)).unwrap()).collect();
        let gone: Vec<_> = surplus(&history, &needs).into_iter().map(ToOwned::to_owned).collect();
        // A crash may come after any of them.
        for name in gone {
            history.0.retain(|past| past.name != name);
            prop_assert_eq!(&decided(&service, &seen, &history), &before);
        }
        for environment in &service.environments {
            let left = history.0.iter().filter(|past| past.environment == environment.name).count();
            prop_assert!(left <= usize::from(limit) * 2 + 10, "{left} of {}", environment.name);
        }
    }
}

#[test]
fn prod_runs_on_what_it_runs_after_dev_moved_on_for_long() {
    let heads = [("dev", head('9', "Z", "")), ("test", head('1', "A", "")), ("prod", head('1', "A", ""))];
    let seen = snapshot(heads, &[]);
    let mut made_ = vec![
        made(1, "dev", "A", IMAGE_OF_A, true),
        made(2, "test", "A", IMAGE_OF_A, true),
        made(3, "prod", "A", IMAGE_OF_A, true),
    ];
    made_.extend((10..50).map(|at| made(at, "dev", "Z", IMAGE_OF_B, true)));
    let mut history = History(made_);
    let asked = |environment: &ValidEnvironment, history: &History| {
        wanted(&three(), environment, Some(&seen), (history, &Settled::default()))
    };
    let needs: Vec<_> = three()
        .environments
        .iter()
        .map(|environment| {
            let stage = Stage {
                environment: environment.clone(),
                wanted: asked(environment, &history),
                target: None,
                running: None,
                observed: Some(Observation { well: true, ..Observation::default() }),
                problems: vec![],
                course: Course::default(),
                held: vec![],
            };
            Needs::of(&stage, None, None).unwrap()
        })
        .collect();
    let gone: Vec<_> = surplus(&history, &needs).into_iter().map(ToOwned::to_owned).collect();
    history.0.retain(|past| !gone.contains(&past.name));
    assert_eq!(history.0.len(), 3 + 10, "ten of dev, and what runs elsewhere");
    let after = decided(&three(), &seen, &history);
    assert_eq!(after, [Ok(IMAGE_OF_B.to_owned()), Ok(IMAGE_OF_A.to_owned()), Ok(IMAGE_OF_A.to_owned())]);
}
