//! How a release is tried before it takes the place of what runs. Pure.

use std::time::Duration;

use super::{hours, render_error::RenderError, trial, triggers::working};
use crate::{
    api::{
        DescriptorSpec, Instances, Port, Release, ReleaseSmoke, ReleaseStep, Rollout, Smoke, Step, Strategy,
        WorkloadType,
    },
    span::span,
};

/// Longest part of a trial.
const LONGEST: Duration = Duration::from_hours(24 * 7);
/// Of a canary that says nothing: weights, and for how long each.
const CANARY: [u8; 2] = [10, 50];
const PAUSE: &str = "5m";
/// Of a blue/green roll-out that says nothing: how long the old is kept.
const KEEP: &str = "10m";
const NONE: &str = "0s";

/// The steps that `settings` ask for, with every default filled in; none where nothing is tried.
pub(super) fn steps(settings: &DescriptorSpec) -> Result<Vec<ReleaseStep>, RenderError> {
    let Rollout { strategy, steps, preview, keep, smoke: _, analysis: _ } = &settings.rollout;
    let is_tried = match strategy {
        Strategy::Rolling | Strategy::Recreate => false,
        Strategy::Canary | Strategy::BlueGreen => true,
    };
    if !steps.is_empty() && *strategy != Strategy::Canary {
        return wrong(
            "steps",
            "only `strategy: canary` has them: remove them, in one environment by `steps: null`",
        );
    }
    for (field, value) in [("preview", preview), ("keep", keep)] {
        if value.is_some() && *strategy != Strategy::BlueGreen {
            return wrong(
                field,
                &format!(
                    "only `strategy: blueGreen` has it: remove it, in one environment by `{field}: null`"
                ),
            );
        }
        if let Some(text) = value.as_ref().filter(|text| span(text, Duration::ZERO..=LONGEST).is_none()) {
            return wrong(field, &no_duration(text));
        }
    }
    if !is_tried {
        return Ok(vec![]);
    }
    if settings.type_ == WorkloadType::Batch {
        return wrong("strategy", "a batch takes its new version at the next run: remove it");
    }
    if settings.instances() == Instances::One {
        return wrong(
            "strategy",
            "it runs two versions side by side, and this service never runs two at a time: say `recreate`, or `instances: many`",
        );
    }
    let step = |weight: u8, pause: &str| ReleaseStep { weight, pause: Some(pause.to_owned()) };
    if *strategy == Strategy::BlueGreen {
        if settings.type_ == WorkloadType::Worker {
            return wrong(
                "strategy",
                "nobody calls a worker, so nothing is switched: say `canary`, or `rolling`",
            );
        }
        let or = |text: &Option<String>, default: &str| text.clone().unwrap_or_else(|| default.to_owned());
        return Ok(vec![step(0, &or(preview, NONE)), step(100, &or(keep, KEEP))]);
    }
    for (index, Step { weight, pause }) in steps.iter().enumerate() {
        let before = index.checked_sub(1).map(|before| steps[before].weight);
        if before.is_some_and(|before| before >= *weight) {
            return wrong(
                &format!("steps[{index}].weight"),
                &format!("{weight} is not more than in the step before"),
            );
        }
        if let Some(text) = pause.as_ref().filter(|text| span(text, Duration::ZERO..=LONGEST).is_none()) {
            return wrong(&format!("steps[{index}].pause"), &no_duration(text));
        }
    }
    if steps.is_empty() {
        return Ok(CANARY.map(|weight| step(weight, PAUSE)).into());
    }
    Ok(steps
        .iter()
        .map(|Step { weight, pause }| ReleaseStep { weight: *weight, pause: pause.clone() })
        .collect())
}

/// Told of an api that is tried where no gateway divides its calls, and of which a step takes more than twice its weight, since
/// they fall on all instances.
pub fn too_coarse(settings: &DescriptorSpec) -> Option<String> {
    if settings.type_ != WorkloadType::Api || settings.rollout.strategy != Strategy::Canary {
        return None;
    }
    let number = i32::from(settings.scaling.min).max(1);
    let too_many = |ReleaseStep { weight, pause: _ }: ReleaseStep| {
        let need = trial::Step { weight, share: weight, pause: None }.need(number);
        let (all, weight) = (number + need, i32::from(weight));
        (need * 100 > 2 * weight * all).then(|| format!(
            "rollout.strategy: without `expose` and a gateway calls fall on all instances, so the step of {weight} of 100 takes {need} of {all}: say `blueGreen`, or more instances by `scaling.min`, or leave it where that is as it should be"
        ))
    };
    steps(settings).ok()?.into_iter().find_map(too_many)
}

/// What `settings` ask for before requests go to the new, by one of the service's own ports.
pub(super) fn smoke(settings: &DescriptorSpec) -> Result<Option<ReleaseSmoke>, RenderError> {
    let Some(Smoke { path, port, status }) = &settings.rollout.smoke else { return Ok(None) };
    if settings.rollout.strategy != Strategy::BlueGreen {
        return wrong(
            "smoke",
            "only `strategy: blueGreen` has it: remove it, in one environment by `smoke: null`",
        );
    }
    let named = |one: &&Port| port.as_ref().is_none_or(|name| *name == one.name);
    let Some(port) = settings.ports.iter().find(named) else {
        let known: Vec<_> = settings.ports.iter().map(|port| port.name.as_str()).collect();
        let name = port.as_deref().unwrap_or_default();
        let problem = format!("{name:?} is none of the service's ports; it has {}", known.join(", "));
        return wrong("smoke.port", &problem);
    };
    Ok(Some(ReleaseSmoke { path: path.clone(), port: port.port, status: *status }))
}

fn wrong<T>(field: &str, problem: &str) -> Result<T, RenderError> {
    Err(RenderError::Rollout { field: field.to_owned(), problem: problem.to_owned() })
}

fn no_duration(text: &str) -> String {
    format!("{text:?} is no duration of 0s to 168h: write it like 5m or 1h30m")
}

/// The steps of `release`, which is tried beside `base`; none where it takes its place without: where no version of its
/// pods is new, or one of the two cannot run beside another.
pub fn tried_beside(release: &Release, base: &Release) -> Vec<trial::Step> {
    let (new, old) = (&release.spec, &base.spec);
    let room = if consumes(release) { 2 } else { 1 };
    let has_room = |release: &Release| working(release).max(hours::greatest(release)) >= room;
    let is_tried = new.many
        && old.many
        && new.type_ == old.type_
        && has_room(release)
        && has_room(base)
        && new.template != old.template;
    if is_tried { trial_of(release) } else { vec![] }
}

/// How long `release` is tried once it passed so many of its steps; nothing where somebody ends that, or none is left.
pub fn pause(release: &Release, passed: usize) -> Option<Duration> {
    trial_of(release).get(passed)?.pause
}

fn trial_of(release: &Release) -> Vec<trial::Step> {
    let step = |step: &ReleaseStep| trial::Step {
        weight: step.weight,
        share: match release.spec.strategy {
            Strategy::BlueGreen => 100,
            Strategy::Rolling | Strategy::Recreate | Strategy::Canary => step.weight,
        },
        pause: step.pause.as_deref().and_then(|text| span(text, Duration::ZERO..=LONGEST)),
    };
    release.spec.steps.iter().map(step).collect()
}

/// So many instances of `release` are tried beside `number` of what runs, at the most.
pub(super) fn most_beside(release: &Release, number: i32) -> i32 {
    if consumes(release) {
        return 0;
    }
    trial_of(release).iter().map(|step| step.need(number)).max().unwrap_or_default()
}

/// Load makes no more of `own`, which consumes, than there may be with so many `beside` it; one at the least.
pub fn leave_room(own: &mut Release, beside: i32) {
    let spec = &mut own.spec;
    if let Some(scaling) = spec.scaling.as_mut().filter(|_| spec.type_ == WorkloadType::Worker) {
        scaling.max = (scaling.max - beside).max(1);
        spec.replicas = spec.replicas.min(scaling.max);
    }
}

/// Are there never more instances than it is to have, so that those that are tried take the place of others? Where their
/// number is the autoscaler's, nobody else takes any away.
pub fn consumes(release: &Release) -> bool {
    release.spec.type_ == WorkloadType::Worker && release.spec.scaling.is_none()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    fn told(settings: &str) -> String {
        let settings: DescriptorSpec = serde_saphyr::from_str(settings).unwrap();
        let told = |step: &ReleaseStep| match &step.pause {
            Some(pause) => format!("{} {pause}", step.weight),
            None => step.weight.to_string(),
        };
        match steps(&settings) {
            Ok(steps) => steps.iter().map(told).collect::<Vec<_>>().join(", "),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_trial_has_steps_and_who_has_none_says_nothing_of_one() {
        for (settings, words) in [
            ("{}", ""),
            ("{rollout: {strategy: recreate}}", ""),
            ("{rollout: {strategy: canary}}", "10 5m, 50 5m"),
            ("{rollout: {strategy: canary, steps: [{weight: 5}, {weight: 100, pause: 1h}]}}", "5, 100 1h"),
            ("{rollout: {strategy: blueGreen}}", "0 0s, 100 10m"),
            ("{rollout: {strategy: blueGreen, preview: 1h, keep: 2h}}", "0 1h, 100 2h"),
            ("{type: worker, instances: many, rollout: {strategy: canary}}", "10 5m, 50 5m"),
        ] {
            assert_eq!(told(settings), words, "{settings}");
        }
        for (settings, words) in [
            ("{rollout: {steps: [{weight: 5}]}}", "rollout.steps: only `strategy: canary`"),
            ("{rollout: {strategy: canary, keep: 5m}}", "rollout.keep: only `strategy: blueGreen`"),
            ("{rollout: {strategy: blueGreen, preview: soon}}", "rollout.preview: \"soon\" is no duration"),
            (
                "{rollout: {strategy: canary, steps: [{weight: 5, pause: 8d}]}}",
                "rollout.steps[0].pause: \"8d\"",
            ),
            (
                "{rollout: {strategy: canary, steps: [{weight: 5}, {weight: 5}]}}",
                "rollout.steps[1].weight: 5 is",
            ),
            ("{type: worker, rollout: {strategy: canary}}", "rollout.strategy: it runs two versions"),
            (
                "{type: worker, instances: many, rollout: {strategy: blueGreen}}",
                "rollout.strategy: nobody calls",
            ),
            ("{type: batch, rollout: {strategy: canary}}", "rollout.strategy: a batch"),
        ] {
            let told = told(settings);
            assert!(told.starts_with(words), "{settings}: {told}");
        }
    }

    #[test]
    fn a_share_of_so_few_instances_that_it_is_no_such_share_is_told() {
        let told = |settings: &str| {
            let settings: DescriptorSpec = serde_saphyr::from_str(settings).unwrap();
            too_coarse(&settings).unwrap_or_default()
        };
        let canary = "rollout: {strategy: canary}";
        assert!(told(&format!("{{{canary}}}")).contains("the step of 10 of 100 takes 1 of 2:"));
        assert!(told(&format!("{{{canary}, scaling: {{min: 3}}}}")).contains("takes 1 of 4:"));
        for settings in [
            "{}".to_owned(),
            format!("{{{canary}, scaling: {{min: 4}}}}"),
            format!("{{{canary}, type: worker, instances: many, scaling: {{min: 3}}}}"),
            "{rollout: {strategy: blueGreen}}".to_owned(),
            "{rollout: {strategy: canary, steps: [{weight: 50}]}}".to_owned(),
        ] {
            assert_eq!(told(&settings), "", "{settings}");
        }
    }

    #[test]
    fn a_smoke_check_asks_one_of_the_services_own_ports_and_is_of_blue_green_only() {
        let told = |settings: &str| {
            let ports = "ports: [{name: http, port: 8080}, {name: admin, port: 9000}]";
            let settings: DescriptorSpec =
                serde_saphyr::from_str(&format!("{{{ports}, {settings}}}")).unwrap();
            match smoke(&settings) {
                Ok(Some(ReleaseSmoke { path, port, status })) => format!("{path} {port} {status:?}"),
                Ok(None) => String::new(),
                Err(error) => error.to_string(),
            }
        };
        let of = |strategy: &str, smoke: &str| {
            told(&format!("rollout: {{strategy: {strategy}, smoke: {{path: /health{smoke}}}}}"))
        };
        assert_eq!(told("rollout: {strategy: blueGreen}"), "");
        assert_eq!(of("blueGreen", ""), "/health 8080 None");
        assert_eq!(of("blueGreen", ", port: admin, status: 204"), "/health 9000 Some(204)");
        assert_eq!(
            of("blueGreen", ", port: grpc"),
            "rollout.smoke.port: \"grpc\" is none of the service's ports; it has http, admin"
        );
        for strategy in ["rolling", "recreate", "canary"] {
            let told = of(strategy, "");
            assert!(told.starts_with("rollout.smoke: only `strategy: blueGreen`"), "{strategy}: {told}");
        }
    }

    #[test]
    fn what_consumes_leaves_room_within_the_most_for_what_is_beside_it() {
        let bounds = |type_: &str, replicas: i32, beside: i32| {
            let scaling = "scaling: {max: 4, downAfterSeconds: 300}";
            let more = format!("type: {type_}, replicas: {replicas}, {scaling}");
            let mut own = sample::release("orders-dev-a", &more);
            leave_room(&mut own, beside);
            (own.spec.replicas, own.spec.scaling.unwrap().max)
        };
        assert_eq!(bounds("worker", 2, 0), (2, 4));
        assert_eq!(bounds("worker", 2, 1), (2, 3));
        assert_eq!(bounds("worker", 2, 3), (1, 1), "fewer than ever is less than the most");
        assert_eq!(bounds("worker", 0, 4), (0, 1), "one goes on");
        assert_eq!(bounds("api", 2, 3), (2, 4), "all requests may come back to it");
        let mut fixed = sample::release("orders-dev-a", "type: worker, replicas: 3");
        leave_room(&mut fixed, 1);
        assert_eq!(fixed.spec.replicas, 3, "the policy says how many give way");
    }

    #[test]
    fn what_is_new_is_tried_where_both_can_run() {
        let release = |more: &str, image: &str| {
            let pod = format!("template: {{spec: {{containers: [{{name: main, image: {image}}}]}}}}");
            let more = if more.is_empty() { String::new() } else { format!(", {more}") };
            sample::release("orders-dev-a", &format!("{pod}{more}"))
        };
        let canary = "strategy: canary, steps: [{weight: 10, pause: 1m}, {weight: 50}]";
        let (old, new) = (release("", "a"), release(canary, "b"));
        let step = |weight, pause| trial::Step { weight, share: weight, pause };
        let minute = Some(Duration::from_mins(1));
        assert_eq!(tried_beside(&new, &old), [step(10, minute), step(50, None)]);
        let green = release("strategy: blueGreen, steps: [{weight: 0, pause: 0s}]", "b");
        assert_eq!(tried_beside(&green, &old)[0].share, 100, "it stands whole from the beginning");
        let untried = |new: &Release, old: &Release, why: &str| {
            assert_eq!(tried_beside(new, old), [], "{why}");
        };
        untried(&release("", "b"), &old, "it has no steps");
        untried(&release(canary, "a"), &old, "its pods are no others");
        untried(&release(&format!("{canary}, replicas: 0"), "b"), &old, "nothing of it runs");
        untried(&release(&format!("{canary}, many: false"), "b"), &old, "it runs alone");
        untried(&new, &release("type: worker", "a"), "it is something else");
        untried(&new, &release("replicas: 0", "a"), "nothing runs");
        let by_day = "replicas: 0, windows: [{schedule: 0 8 * * *, duration: 10h, min: 2}]";
        let [old_by_day, new_by_day] = [release(by_day, "a"), release(&format!("{by_day}, {canary}"), "b")];
        assert_eq!(tried_beside(&new_by_day, &old_by_day).len(), 2, "it waits for its hours");
        let worker = |replicas: i32, more: &str, image: &str| {
            release(&format!("type: worker, replicas: {replicas}{more}"), image)
        };
        let canary = format!(", {canary}");
        assert_eq!(tried_beside(&worker(1, &canary, "b"), &worker(1, "", "a")), [], "one is not divided");
        assert_eq!(tried_beside(&worker(2, &canary, "b"), &worker(2, "", "a")).len(), 2);
        let scaled = format!(", scaling: {{max: 4, downAfterSeconds: 300}}{canary}");
        let beside = tried_beside(&worker(1, &scaled, "b"), &worker(1, "", "a"));
        assert_eq!(beside.len(), 2, "it comes beside the one");
        let trigger = "triggers: [{broker: a, kafka: {topic: a, group: a, lag: 1}}]";
        let follows = format!(", scaling: {{max: 4, downAfterSeconds: 300, {trigger}}}{canary}");
        let beside = tried_beside(&worker(0, &follows, "b"), &worker(0, &follows, "a"));
        assert_eq!(beside.len(), 2, "that there may be none is no reason not to try");
    }
}
