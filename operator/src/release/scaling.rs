//! Between how many instances load moves a release, and what its autoscaler says of that. Pure.
//!
//! `spec.replicas` of the Deployment has one writer: the operator where the number is fixed, and where it is not Kubernetes'
//! autoscaler, or KEDA and the autoscaler that it makes. What there should be is then what that last asked for.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::{
    apps::v1::Deployment,
    autoscaling::v2::{HorizontalPodAutoscaler, HorizontalPodAutoscalerCondition},
};

use super::{
    desired::start_allowance,
    hours::{self, Changed},
    render_error::RenderError,
    triggers::{self, follows, least},
};
use crate::{
    api::{
        Instances, Release, ReleaseScaling, Scaling, WorkloadType,
        analysis::{Counts, Latency},
    },
    span::span,
};

/// What an instance is to use of the CPU that it asks for, in percent, where nothing is said. Below all of it, since the next
/// instance takes a minute to start; it may use four times that meanwhile.
const CPU: u16 = 70;
/// Messages come in bursts, as files, schedules and the systems that are called bring them: an instance that ends between two
/// of them is missed at the next.
const DOWN_AFTER: Duration = Duration::from_mins(5);
/// So long an autoscaler may have nothing to measure, as while the first instances start, KEDA leave undone what it is to do, and
/// Prometheus not have been asked what begins.
pub const UNMEASURED: SignedDuration = SignedDuration::from_mins(3);
/// An autoscaler looks every 15 seconds, and KEDA first writes to its own what it is to look at.
const FOLLOWED: Duration = Duration::from_mins(1);
/// The most that Kubernetes takes.
const LONGEST: Duration = Duration::from_hours(1);

/// With what follows where something is not said, and without what says nothing.
pub(super) fn resolved(
    asked: &Scaling,
    (instances, type_): (Instances, WorkloadType),
) -> Result<Scaling, RenderError> {
    let wrong = |field: &str, problem| Err(RenderError::Scaling { field: field.to_owned(), problem });
    let Scaling { min, max, windows, cpu, memory, down_after, triggers, fallback } = asked;
    hours::check(asked, (instances, type_))?;
    let too_many = [("min", Some(*min)), ("max", *max)].into_iter().find(|(_, number)| *number > Some(1));
    if let (Instances::One, Some((field, Some(number)))) = (instances, too_many) {
        let problem = format!(
            "{number} instances, but this service never runs two at a time; set it to 1 or say `instances: many`"
        );
        return wrong(field, problem);
    }
    let Some(most) = *max else {
        let of_load = [
            ("cpu", cpu.is_some()),
            ("memory", memory.is_some()),
            ("downAfter", down_after.is_some()),
            ("triggers", !triggers.is_empty()),
            ("fallback", fallback.is_some()),
        ];
        return match of_load.into_iter().find(|(_, is_said)| *is_said) {
            None => Ok(asked.clone()),
            Some((field, _)) => {
                let problem = "says how load changes the number of instances, and without `max` it does not: add `max`, or remove this";
                wrong(field, problem.to_owned())
            }
        };
    };
    if most < *min {
        return wrong("max", format!("{most} is less than `min`, which is {min}: write at least {min}"));
    }
    if let Some(text) = down_after.as_ref().filter(|text| span(text, ..=LONGEST).is_none()) {
        return wrong("downAfter", format!("{text:?} is no duration of 0s to 1h: write it like 90s or 15m"));
    }
    if most == *min && (windows.is_empty() || most == 0) {
        return Ok(Scaling { min: *min, ..Scaling::default() });
    }
    triggers::check(asked, type_)?;
    let cpu = cpu.or((memory.is_none() && triggers.is_empty()).then_some(CPU));
    Ok(Scaling { cpu, ..asked.clone() })
}

/// Of `resolved` settings, with what tells how many requests there are and how long they take; nothing where the number of instances
/// is fixed.
pub(super) fn of_release(
    resolved: &Scaling,
    (counts, latency): (Option<Counts>, Option<Latency>),
) -> Option<ReleaseScaling> {
    let Scaling { min: _, max, windows: _, cpu, memory, down_after, triggers, fallback } = resolved;
    let down_after = down_after.as_deref().and_then(|text| span(text, ..=LONGEST)).unwrap_or(DOWN_AFTER);
    Some(ReleaseScaling {
        max: i32::from((*max)?),
        cpu: cpu.map(i32::from),
        memory: memory.map(i32::from),
        down_after_seconds: i32::try_from(down_after.as_secs()).unwrap_or(i32::MAX),
        triggers: triggers.clone(),
        counts,
        latency,
        fallback: fallback.clone(),
    })
}

/// The number that is written; nothing where it is the autoscaler's, which takes over what there is. It neither begins nor
/// changes anything where there is none; KEDA does, where none is what there may be.
pub(super) fn written(live: Option<&Deployment>, release: &Release) -> Option<i32> {
    let least = least(release);
    let is_begun = live.and_then(asked).is_some_and(|number| number > 0 || least == 0);
    (release.spec.scaling.is_none() || !is_begun).then_some(least)
}

/// How many instances there should be now.
pub fn wanted(live: Option<&Deployment>, release: &Release) -> i32 {
    let least = least(release);
    match (&release.spec.scaling, live.and_then(asked)) {
        (Some(scaling), Some(number)) => number.min(scaling.max).max(least),
        (None, _) | (_, None) => least,
    }
}

pub(super) fn asked(live: &Deployment) -> Option<i32> {
    live.spec.as_ref()?.replicas
}

/// Instances are on their way that load or an hour asked for, or needs no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Moving {
    /// How much longer they may be.
    pub left: Duration,
    /// So many are to serve meanwhile.
    pub enough: i32,
}

/// Nothing where the number is fixed, or has stood long enough for each instance to be there.
pub(super) fn moving(
    (live, autoscaler): (Option<&Deployment>, Option<&HorizontalPodAutoscaler>),
    (release, now): (&Release, Timestamp),
) -> Option<Moving> {
    release.spec.scaling.as_ref()?;
    let allowance = Duration::from_secs(start_allowance(&release.spec.template).try_into().ok()?);
    let by_load = live.zip(autoscaler);
    let by_load = by_load.and_then(|(live, by)| left_to_load(live, by, (release, now, allowance)));
    let by_load = by_load.map(|left| Moving { left, enough: least(release) });
    let by_hours = hours::changed(release, (now, allowance + FOLLOWED));
    // The shown number is that of the hour: what was asked for before without one is not told by it.
    let by_hours = by_hours.map(|Changed { left, before }| Moving {
        left,
        enough: least(release).min(before.map_or(1, i32::from).max(1)),
    });
    let both = by_load.into_iter().chain(by_hours);
    both.reduce(|one, other| Moving { left: one.left.min(other.left), enough: one.enough.min(other.enough) })
}

/// How much longer instances may be on their way by load. What the autoscaler tells comes after what it does.
fn left_to_load(
    live: &Deployment,
    autoscaler: &HorizontalPodAutoscaler,
    (release, now, allowance): (&Release, Timestamp, Duration),
) -> Option<Duration> {
    let status = autoscaler.status.as_ref()?;
    let active = status.conditions.iter().flatten().find(|one| one.type_ == "ScalingActive");
    let active = active.filter(|_| follows(release) && release.spec.replicas == 0);
    // KEDA brought the first, and its autoscaler has not seen it.
    if active.is_some_and(is_off) && asked(live) > Some(0) {
        return Some(allowance);
    }
    // Zero before it ever measured.
    if status.desired_replicas > 0 && Some(status.desired_replicas) != asked(live) {
        return Some(allowance);
    }
    let begun = active.filter(|one| one.status == "True").and_then(|one| one.last_transition_time.as_ref());
    let last = status.last_scale_time.as_ref().into_iter().chain(begun).map(|time| time.0).max()?;
    let end = last.checked_add(allowance).ok()?;
    Duration::try_from(end.duration_since(now)).ok().filter(|left| !left.is_zero())
}

/// Is there nothing that it could move? KEDA took the last instance away.
fn is_off(active: &HorizontalPodAutoscalerCondition) -> bool {
    active.status == "False" && active.reason.as_deref() == Some("ScalingDisabled")
}

/// An autoscaler that does nothing, or what KEDA leaves undone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stuck {
    /// Since when.
    pub since: Timestamp,
    /// Why, and what helps.
    pub message: String,
}

impl Stuck {
    /// When it is told. While instances start there is nothing yet that could be measured.
    pub fn told_at(&self) -> Timestamp {
        self.since.checked_add(UNMEASURED).unwrap_or(Timestamp::MAX)
    }
}

/// What keeps `autoscaler` from doing anything, as it says itself.
pub fn stuck(autoscaler: &HorizontalPodAutoscaler) -> Option<Stuck> {
    let told = autoscaler.status.as_ref()?.conditions.as_ref()?;
    let is_not =
        |type_| told.iter().find(|condition| condition.type_ == type_ && condition.status == "False");
    let stuck = |condition: &HorizontalPodAutoscalerCondition, help: &str| {
        let why = condition.message.as_deref().unwrap_or_default();
        let message = format!("the number of instances does not follow the load: {why}{help}");
        Some(Stuck { since: condition.last_transition_time.as_ref()?.0, message })
    };
    match (is_not("ScalingActive"), is_not("AbleToScale")) {
        (Some(condition), _) if is_off(condition) => None,
        (Some(condition), _) => stuck(
            condition,
            "; metrics come from metrics-server (metrics.k8s.io), and of `triggers` from KEDA's, which the platform team installs",
        ),
        (None, Some(condition)) => stuck(condition, ""),
        (None, None) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    fn told(scaling: &str, instances: Instances) -> String {
        let scaling: Scaling = serde_saphyr::from_str(scaling).unwrap();
        match resolved(&scaling, (instances, WorkloadType::Worker)) {
            Err(error) => error.to_string(),
            Ok(resolved) => match of_release(&resolved, (None, None)) {
                None => format!("{} always", resolved.min),
                Some(ReleaseScaling { max, cpu, memory, down_after_seconds, triggers, .. }) => {
                    let by = if triggers.is_empty() { "" } else { " and what waits" };
                    format!("{} to {max}, {cpu:?} {memory:?} {down_after_seconds}{by}", resolved.min)
                }
            },
        }
    }

    #[test]
    fn what_load_does_follows_from_what_is_said_and_the_rest_is_refused() {
        for (scaling, expected) in [
            ("{}", "1 always"),
            ("{min: 3}", "3 always"),
            ("{min: 3, max: 3, cpu: 50}", "3 always"),
            ("{min: 0, max: 0}", "0 always"),
            (
                "{min: 0, max: 0, windows: [{schedule: 0 22 * * *, duration: 8h, min: 0}], triggers: [{broker: a, kafka: {topic: a, group: a, lag: 1}}]}",
                "0 always",
            ),
            ("{max: 4}", "1 to 4, Some(70) None 300"),
            ("{min: 2, max: 4, cpu: 50, downAfter: 15m}", "2 to 4, Some(50) None 900"),
            ("{min: 2, max: 4, memory: 80}", "2 to 4, None Some(80) 300"),
            ("{min: 2, max: 4, cpu: 50, memory: 80, downAfter: 0s}", "2 to 4, Some(50) Some(80) 0"),
            (
                "{min: 0, max: 4, triggers: [{broker: a, kafka: {topic: a, group: a, lag: 1}}]}",
                "0 to 4, None None 300 and what waits",
            ),
            (
                "{min: 0, max: 4, cpu: 50, triggers: [{broker: a, kafka: {topic: a, group: a, lag: 1}}]}",
                "0 to 4, Some(50) None 300 and what waits",
            ),
            ("{min: 1, max: 1, triggers: [{broker: a, kafka: {topic: a, group: a, lag: 1}}]}", "1 always"),
            ("{min: 5, max: 4}", "scaling.max: 4 is less than `min`, which is 5: write at least 5"),
            (
                "{min: 0, max: 4}",
                "scaling.min: with 0 nothing runs of which load could be measured: write 1, or `max: 0` as well",
            ),
            (
                "{max: 4, downAfter: 2h}",
                "scaling.downAfter: \"2h\" is no duration of 0s to 1h: write it like 90s or 15m",
            ),
        ] {
            assert_eq!(told(scaling, Instances::Many), expected, "{scaling}");
        }
        let trigger = "triggers: [{broker: a, kafka: {topic: a, group: a, lag: 1}}]";
        for field in ["cpu: 50", "memory: 50", "downAfter: 5m", "fallback: {after: 1, instances: 1}", trigger]
        {
            let told = told(&format!("{{min: 2, {field}}}"), Instances::Many);
            let name = field.split(':').next().unwrap();
            assert!(told.starts_with(&format!("scaling.{name}: says how load changes")), "{told}");
        }
        let alone = "never runs two at a time; set it to 1 or say `instances: many`";
        for (field, scaling) in [("min", "{min: 2, max: 3}"), ("max", "{min: 1, max: 2}")] {
            assert_eq!(
                told(scaling, Instances::One),
                format!("scaling.{field}: 2 instances, but this service {alone}")
            );
        }
        assert_eq!(told("{max: 1}", Instances::One), "1 always");
    }

    fn live(replicas: i32) -> Deployment {
        serde_saphyr::from_str(&format!("spec: {{replicas: {replicas}, selector: {{}}, template: {{}}}}"))
            .unwrap()
    }

    fn scaled() -> Release {
        sample::release("orders-dev-abc", "scaling: {max: 5, downAfterSeconds: 300}")
    }

    #[test]
    fn the_number_is_left_to_the_autoscaler_as_soon_as_there_is_one() {
        for (replicas, wanted_ones) in [(1, 2), (2, 2), (4, 4), (5, 5), (9, 5)] {
            assert_eq!(written(Some(&live(replicas)), &scaled()), None, "{replicas}");
            assert_eq!(wanted(Some(&live(replicas)), &scaled()), wanted_ones, "{replicas}");
        }
        for none in [None, Some(&live(0))] {
            assert_eq!(written(none, &scaled()), Some(2), "it is switched off at none");
            assert_eq!(wanted(none, &scaled()), 2);
        }
        let fixed = sample::release("orders-dev-abc", "");
        assert_eq!((written(Some(&live(4)), &fixed), wanted(Some(&live(4)), &fixed)), (Some(2), 2));
    }

    #[test]
    fn none_that_keda_made_stays_and_none_that_was_switched_off_is_its_to_begin() {
        let scaling = "scaling: {max: 5, downAfterSeconds: 300, triggers: [{broker: a, kafka: {topic: a, group: a, lag: 1}}]}";
        let mut release = sample::release("orders-dev-abc", &format!("type: worker, replicas: 0, {scaling}"));
        assert_eq!((written(None, &release), wanted(None, &release)), (Some(1), 1), "it is to prove itself");
        assert_eq!((written(Some(&live(0)), &release), wanted(Some(&live(0)), &release)), (Some(1), 1));
        assert_eq!((written(Some(&live(3)), &release), wanted(Some(&live(3)), &release)), (None, 3));
        let healthy = "conditions: [{type: Healthy, status: 'True', reason: R, message: '', lastTransitionTime: '2026-05-01T03:00:00Z'}]";
        release.status = serde_saphyr::from_str(healthy).unwrap();
        assert_eq!((written(Some(&live(0)), &release), wanted(Some(&live(0)), &release)), (None, 0));
        assert_eq!((written(Some(&live(9)), &release), wanted(Some(&live(9)), &release)), (None, 5));
    }

    fn autoscaler(status: &str) -> HorizontalPodAutoscaler {
        let text = format!(
            "spec: {{maxReplicas: 5, scaleTargetRef: {{kind: Deployment, name: orders}}}}\nstatus: {status}"
        );
        serde_saphyr::from_str(&text).unwrap()
    }

    #[test]
    fn what_load_asked_for_has_its_time_to_start() {
        let now: Timestamp = "2026-05-01T03:10:00Z".parse().unwrap();
        let left = |status: &str, release: &Release| {
            moving((Some(&live(4)), Some(&autoscaler(status))), (release, now))
                .map(|moving| moving.left.as_secs())
        };
        let at = |desired: i32, time: &str| {
            format!("{{desiredReplicas: {desired}, lastScaleTime: '2026-05-01T03:{time}Z'}}")
        };
        assert_eq!(left(&at(4, "09:30"), &scaled()), Some(90));
        assert_eq!(left(&at(4, "08:00"), &scaled()), None);
        assert_eq!(left("{desiredReplicas: 4}", &scaled()), None, "it never did anything");
        assert_eq!(left("{desiredReplicas: 0}", &scaled()), None, "it never measured anything");
        assert_eq!(left(&at(2, "01:00"), &scaled()), Some(120), "it will tell that it did");
        assert_eq!(left(&at(4, "09:30"), &sample::release("orders-dev-abc", "")), None, "nothing moves it");
    }

    #[test]
    fn the_first_that_keda_brings_has_its_time_to_start() {
        let scaling = "scaling: {max: 5, downAfterSeconds: 300, triggers: [{broker: a, kafka: {topic: a, group: a, lag: 1}}]}";
        let release = |least: u8| {
            sample::release("orders-dev-abc", &format!("type: worker, replicas: {least}, {scaling}"))
        };
        let now: Timestamp = "2026-05-01T03:10:00Z".parse().unwrap();
        let left = |number: i32, condition: &str, least: u8| {
            let condition = format!("{{type: ScalingActive, {condition}, message: ''}}");
            let status = format!("{{desiredReplicas: 0, conditions: [{condition}]}}");
            let told = (Some(&live(number)), Some(&autoscaler(&status)));
            moving(told, (&release(least), now)).map(|moving| moving.left.as_secs())
        };
        let off = "status: 'False', reason: ScalingDisabled, lastTransitionTime: '2026-05-01T02:00:00Z'";
        let on = |time: &str| {
            format!("status: 'True', reason: ValidMetricFound, lastTransitionTime: '2026-05-01T03:{time}Z'")
        };
        assert_eq!(left(0, off, 0), None);
        assert_eq!(left(1, off, 0), Some(120), "it will tell that it sees one");
        assert_eq!(left(1, &on("09:30"), 0), Some(90));
        assert_eq!(left(1, &on("07:00"), 0), None);
        assert_eq!(left(1, &on("09:30"), 1), None, "there always was one");
    }

    #[test]
    fn what_an_hour_asks_for_has_its_time_to_be_followed_and_to_start() {
        let told = |windows: &str, now: &str, settings: &str| {
            let hours = format!("windows: [{windows}], replicas: 4, {settings}");
            let release = sample::release("orders-dev-a", &hours);
            let now = format!("2026-05-01T{now}Z").parse().unwrap();
            moving((None, None), (&release, now)).map(|moving| (moving.left.as_secs(), moving.enough))
        };
        let load = "scaling: {max: 5, downAfterSeconds: 300}";
        let (day, night) =
            ("{schedule: 0 8 * * *, duration: 10h, min: 4}", "{schedule: 0 22 * * *, duration: 10h, min: 2}");
        assert_eq!(told(day, "07:59:59", load), None);
        assert_eq!(told(day, "08:00:00", load), Some((180, 1)));
        assert_eq!(told(day, "08:02:30", load), Some((30, 1)));
        assert_eq!(told(day, "08:03:00", load), None);
        assert_eq!(told(night, "08:00:10", load), Some((170, 2)), "so many it had by night");
        assert_eq!(told(&format!("{night}, {day}"), "08:00:10", load), Some((170, 2)));
        assert_eq!(told(day, "18:00:10", load), Some((170, 4)), "none must go");
        assert_eq!(told(day, "08:00:10", ""), None, "the operator writes it");
    }

    #[test]
    fn an_autoscaler_that_does_nothing_says_why() {
        let condition = |type_: &str, status: &str| {
            format!(
                "{{type: {type_}, status: '{status}', message: no metrics, lastTransitionTime: '2026-05-01T03:00:00Z'}}"
            )
        };
        let told = |conditions: &[String]| {
            let status = format!("{{desiredReplicas: 2, conditions: [{}]}}", conditions.join(", "));
            stuck(&autoscaler(&status)).map(|stuck| stuck.message)
        };
        let why = "the number of instances does not follow the load: no metrics";
        assert_eq!(told(&[condition("ScalingActive", "True"), condition("AbleToScale", "True")]), None);
        assert_eq!(told(&[condition("ScalingLimited", "False")]), None);
        assert_eq!(told(&[condition("AbleToScale", "False")]).as_deref(), Some(why));
        let idle = condition("ScalingActive", "False").replace("message", "reason: ScalingDisabled, message");
        assert_eq!(told(&[condition("AbleToScale", "True"), idle]), None, "there is none, as KEDA made it");
        let blind = told(&[condition("AbleToScale", "True"), condition("ScalingActive", "False")]).unwrap();
        assert!(blind.starts_with(why) && blind.contains("metrics-server"), "{blind}");
    }
}
