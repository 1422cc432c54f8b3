//! The way into a service from outside the cluster, as people are to see it: where it is, and what is in its way. Pure:
//! `neighbours` tells who else has its path.

use jiff::Timestamp;
use kube::ResourceExt;

use super::{Problem, status::Observation};
use crate::{
    api::{
        HttpRoute, ReleaseExpose,
        environment::Gateway,
        gateway,
        http_route::{ParentRef, RouteCondition, RouteParent, RuleFields},
    },
    conditions::Reason,
    names,
    release::{Entrance, Outside, trial::Route},
};

/// A service of the same tenant that has the same path in an environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rival {
    /// Its name.
    pub service: String,
    /// When its Deployment was made.
    pub since: Option<Timestamp>,
}

/// The one of `rivals` that has the path, where that is not `own`, the service that asks: the one that runs with it has it. Of
/// two that do, who began at the same moment, it is the one with the older Deployment, or else the first by name.
pub fn holder<'a>(own: &Rival, runs_with_it: bool, rivals: &'a [Rival]) -> Option<&'a Rival> {
    // Who has no Deployment is the newest.
    let age = |rival: &Rival| (rival.since.is_none(), rival.since, rival.service.clone());
    let first = rivals.iter().min_by_key(|rival| age(rival))?;
    (!runs_with_it || age(first) < age(own)).then_some(first)
}

/// Of a path that another one has.
pub fn taken(path: &str, environment: &str, holder: &Rival) -> Problem {
    let message = format!(
        "expose.path: the service {} has {path} in {environment} already, and both have the same host: choose another path, or take it from the other one first; what runs stays",
        holder.service
    );
    Problem::new(Reason::PathTaken, message)
}

/// Of an Environment without a way in.
pub fn no_gateway(environment: &str) -> String {
    format!(
        "expose: the Environment {environment} has no gateway, so nothing is reached from outside there, and all else goes on: the platform sets its `domain` and `gateway`, or write `environments: {{{environment}: {{expose: null}}}}`"
    )
}

/// Where the service is, and the cluster around it.
#[derive(Clone, Copy, Debug)]
pub struct Exposure<'a> {
    /// Name of its tenant.
    pub tenant: &'a str,
    /// Name of the Environment.
    pub environment: &'a str,
    /// What the release that runs exposes.
    pub exposed: &'a ReleaseExpose,
    /// What the Environment says.
    pub outside: &'a Outside,
    /// Has the cluster routes?
    pub has_routes: bool,
    /// What the gateway heeds of their rules.
    pub heeded: RuleFields,
    /// The timeout that the runtime has for all its services: nobody asks for that here.
    pub of_runtime: Option<u16>,
    /// The service's route as it was last seen.
    pub route: Option<&'a HttpRoute>,
}

impl Exposure<'_> {
    /// Tells where it is and what is in the way.
    pub fn tell(&self, observation: &mut Observation) {
        let Self { tenant, environment, exposed, outside, has_routes, route, heeded: _, of_runtime: _ } =
            self;
        let mut refused = |reason, message: String| observation.problems.push(Problem::new(reason, message));
        if outside.is_unsure {
            let message = format!(
                "expose: the Environment {environment} is not valid, so no route is changed there: the platform mends it; see `kubectl get environments.imaas.dev`"
            );
            return refused(Reason::EnvironmentMissing, message);
        }
        let Some(entrance) = &outside.entrance else {
            return refused(Reason::GatewayMissing, no_gateway(environment));
        };
        if !has_routes {
            let message = "expose: the cluster has no HTTPRoute of gateway.networking.k8s.io/v1, so nothing is reached from outside, and all else goes on: the platform installs the Gateway API, standard channel, 1.0 or newer";
            return refused(Reason::GatewayMissing, message.to_owned());
        }
        if outside.taken.contains(&exposed.path) {
            return;
        }
        observation.problems.extend(self.unsupported(&entrance.gateway));
        observation.problems.extend(route_problem(*route, &parent(entrance)));
        let host = names::host(tenant, &entrance.domain);
        observation.exposed = Some(format!("{host}{}", exposed.path));
    }

    /// Of limits that nobody keeps: the route is written without them, or the gateway passes over them.
    fn unsupported(&self, gateway: &Gateway) -> Vec<Problem> {
        let rules = self.outside.rules;
        let Gateway { name, namespace, .. } = gateway;
        let without = |field: &str| {
            format!("or write `environments: {{{}: {{expose: {{{field}: null}}}}}}`", self.environment)
        };
        let unheeded = |field: &str, feature: &str| {
            format!(
                "expose.{field}: the gateway {namespace}/{name} does not heed it, as its GatewayClass says, which has no {feature} among its `supportedFeatures`, and all else goes on: the platform takes a gateway that does; {}",
                without(field)
            )
        };
        let time = match (rules.timeouts, self.heeded.timeouts) {
            _ if !asks_time(self.exposed, self.of_runtime) => None,
            (false, _) => Some("expose.timeout: the cluster's HTTPRoute has no `timeouts`, so the gateway does what it does by itself, and all else goes on: the platform installs the Gateway API 1.2 or newer".to_owned()),
            (true, heeds) => (!heeds).then(|| unheeded("timeout", gateway::TIMEOUT)),
        };
        let retries = match (rules.retry, self.heeded.retry) {
            _ if self.exposed.retries.is_none() => None,
            (false, _) => Some(format!(
                "expose.retries: the cluster's HTTPRoute has no `retry`, so nothing is asked for again, and all else goes on: the platform installs the Gateway API 1.7 or newer, or the experimental channel of 1.2 or newer; {}",
                without("retries")
            )),
            (true, heeds) => (!heeds).then(|| unheeded("retries", gateway::RETRY)),
        };
        let told = time.into_iter().chain(retries);
        told.map(|message| Problem::new(Reason::RouteUnsupported, message)).collect()
    }
}

/// Does the gateway have to heed anything of `exposed`? Of what its runtime has for all services nothing is told.
pub fn asks_limits(exposed: &ReleaseExpose, of_runtime: Option<u16>) -> bool {
    asks_time(exposed, of_runtime) || exposed.retries.is_some()
}

/// Does it ask for a timeout of its own?
fn asks_time(exposed: &ReleaseExpose, of_runtime: Option<u16>) -> bool {
    exposed.timeout_seconds.is_some_and(|asked| Some(asked) != of_runtime)
}

fn parent(Entrance { domain: _, gateway }: &Entrance) -> ParentRef {
    ParentRef {
        name: gateway.name.clone(),
        namespace: gateway.namespace.clone(),
        section_name: gateway.section_name.clone(),
    }
}

/// What the gateway says of `route` as it is now, for what is tried. One that never says anything is not waited for.
pub fn answer(route: Option<&HttpRoute>, entrance: &Entrance) -> Route {
    let Some(route) = route else { return Route::Awaited };
    let Some(said) = said(route, &parent(entrance)) else { return Route::Taken };
    // Zero is of who does not say what was looked at.
    let is_now = |one: &&RouteCondition| one.observed_generation == 0 || is_of_now(one, route);
    let is_no = |one: &RouteCondition| {
        ["Accepted", "ResolvedRefs"].contains(&one.type_.as_str()) && one.status == "False"
    };
    if said.conditions.iter().filter(is_now).any(is_no) {
        return Route::Refused;
    }
    match said.conditions.iter().find(|one| one.type_ == "Accepted") {
        Some(accepted) if accepted.status == "True" && is_now(&accepted) => Route::Taken,
        Some(_) => Route::Awaited,
        None => Route::Taken,
    }
}

/// What the gateway says against the route, or that it said nothing yet.
fn route_problem(route: Option<&HttpRoute>, parent: &ParentRef) -> Option<Problem> {
    let gateway = format!("{}/{}", parent.namespace, parent.name);
    let unanswered = || {
        let message = format!(
            "expose: the gateway {gateway} has not said yet that it takes the route: is there such a Gateway, and does its controller run?"
        );
        Some(Problem::new(Reason::Progressing, message))
    };
    let (Some(route), Some(said)) = (route, route.and_then(|route| said(route, parent))) else {
        return unanswered();
    };
    let condition = |type_: &str| said.conditions.iter().find(|one| one.type_ == type_);
    for type_ in ["Accepted", "ResolvedRefs"] {
        match condition(type_) {
            Some(one) if one.status == "True" => {}
            Some(one) if one.status == "False" && is_of_now(one, route) => {
                let RouteCondition { reason, message, .. } = one;
                let help = match reason.as_str() {
                    "NotAllowedByListeners" => {
                        ": its `allowedRoutes` must take routes from namespaces with the label imaas.dev/tenant"
                    }
                    "NoMatchingListenerHostname" => {
                        ": none of its listeners has a hostname that holds the route's"
                    }
                    _ => "",
                };
                let message =
                    format!("expose: the gateway {gateway} refuses the route: {reason}: {message}{help}");
                return Some(Problem::new(Reason::RouteRefused, message));
            }
            Some(_) | None => return unanswered(),
        }
    }
    None
}

/// By whichever controller; the one that says no first.
fn said<'a>(route: &'a HttpRoute, parent: &ParentRef) -> Option<&'a RouteParent> {
    let parents = route.status.iter().flat_map(|status| &status.parents);
    let is_it = |one: &&RouteParent| {
        let told = &one.parent_ref;
        let is_here = told.namespace.is_empty() && route.namespace().as_ref() == Some(&parent.namespace);
        told.name == parent.name
            && (is_here || told.namespace == parent.namespace)
            && told.section_name == parent.section_name
    };
    let refuses = |one: &&RouteParent| one.conditions.iter().any(|condition| condition.status == "False");
    let mut told: Vec<_> = parents.filter(is_it).collect();
    told.sort_by_key(|one| !refuses(one));
    told.first().copied()
}

fn is_of_now(condition: &RouteCondition, route: &HttpRoute) -> bool {
    condition.observed_generation >= route.metadata.generation.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::slice;

    use super::*;
    use crate::api::EnvironmentSpec;

    fn rival(service: &str, second: Option<i64>) -> Rival {
        let since = second.map(|second| Timestamp::from_second(second).unwrap());
        Rival { service: service.to_owned(), since }
    }

    #[test]
    fn a_path_belongs_to_who_runs_with_it_and_of_two_to_the_older() {
        let own = |second| rival("orders", second);
        let has = |own: &Rival, runs: bool, rivals: &[Rival]| {
            holder(own, runs, rivals).map(|rival| rival.service.clone())
        };
        let [young, old] = [rival("young", Some(9)), rival("old", Some(1))];
        let both = [young.clone(), old.clone()];
        assert_eq!(has(&own(Some(5)), false, &[]), None);
        assert_eq!(
            has(&own(Some(5)), false, slice::from_ref(&young)).as_deref(),
            Some("young"),
            "it came first"
        );
        assert_eq!(has(&own(Some(5)), true, slice::from_ref(&young)), None);
        assert_eq!(has(&own(Some(5)), true, &both).as_deref(), Some("old"));
        assert_eq!(has(&own(None), true, &[young]).as_deref(), Some("young"));
        let twins = [rival("billing", Some(5)), rival("zebra", Some(5))];
        assert_eq!(has(&own(Some(5)), true, &twins).as_deref(), Some("billing"));
        assert_eq!(has(&own(Some(5)), true, &twins[1..]), None, "by name");
    }

    fn route(parents: &str) -> HttpRoute {
        serde_saphyr::from_str(&format!(
            "{{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {{name: orders, namespace: acme-dev, generation: 2}}, spec: {{}}, status: {{parents: {parents}}}}}"
        ))
        .unwrap()
    }

    fn exposed() -> ReleaseExpose {
        serde_saphyr::from_str("{path: /orders, port: {name: http, port: 8080}}").unwrap()
    }

    /// `reason: message`s, and where it is.
    fn told(
        spec: &str,
        has_routes: bool,
        route: Option<&HttpRoute>,
    ) -> (Vec<(Reason, String)>, Option<String>) {
        let spec: EnvironmentSpec = serde_saphyr::from_str(spec).unwrap();
        let (exposed, outside) = (exposed(), Outside::of(&spec, "imaas-system"));
        let mut observation = Observation::default();
        let exposure = Exposure {
            tenant: "acme",
            environment: "dev",
            exposed: &exposed,
            outside: &outside,
            has_routes,
            heeded: RuleFields::ALL,
            of_runtime: None,
            route,
        };
        exposure.tell(&mut observation);
        let problems = observation.problems.into_iter().map(|problem| (problem.reason, problem.message));
        (problems.collect(), observation.exposed)
    }

    const GATED: &str = "{domain: dev.example.com, gateway: {name: public, namespace: gateway-system}}";

    #[test]
    fn what_is_in_the_way_is_told_with_who_can_help() {
        let (problems, exposed) = told("{}", true, None);
        assert_eq!((problems[0].0, exposed), (Reason::GatewayMissing, None));
        assert!(problems[0].1.contains("`environments: {dev: {expose: null}}`"), "{problems:?}");
        let (problems, exposed) = told(GATED, false, None);
        assert_eq!((problems[0].0, exposed), (Reason::GatewayMissing, None));
        assert!(problems[0].1.contains("installs the Gateway API"), "{problems:?}");
    }

    /// What is told of a timeout of 30 s and two tries: of which fields, in which words.
    fn unkept(rules: RuleFields, heeded: RuleFields, of_runtime: Option<u16>) -> Vec<(String, String)> {
        let limited = ReleaseExpose { timeout_seconds: Some(30), retries: Some(2), ..exposed() };
        let spec: EnvironmentSpec = serde_saphyr::from_str(GATED).unwrap();
        let outside = Outside { rules, ..Outside::of(&spec, "imaas-system") };
        let exposure = Exposure {
            tenant: "acme",
            environment: "dev",
            exposed: &limited,
            outside: &outside,
            has_routes: true,
            heeded,
            of_runtime,
            route: None,
        };
        let problems = exposure.unsupported(&outside.entrance.as_ref().unwrap().gateway);
        assert!(problems.iter().all(|problem| problem.reason == Reason::RouteUnsupported), "{problems:?}");
        let split = |problem: Problem| {
            let (field, words) = problem.message.split_once(": ").unwrap();
            (field.to_owned(), words.to_owned())
        };
        problems.into_iter().map(split).collect()
    }

    #[test]
    fn limits_that_nobody_keeps_are_told_by_their_field() {
        let (none, all) = (RuleFields::default(), RuleFields::ALL);
        let fields = |rules, heeded, of_runtime| -> Vec<String> {
            unkept(rules, heeded, of_runtime).into_iter().map(|(field, _)| field).collect()
        };
        let times = RuleFields { timeouts: true, ..none };
        assert_eq!(fields(all, all, None), [""; 0]);
        for (rules, heeded) in [(none, all), (all, none), (none, none)] {
            assert_eq!(fields(rules, heeded, None), ["expose.timeout", "expose.retries"]);
            assert_eq!(fields(rules, heeded, Some(90)), ["expose.timeout", "expose.retries"]);
            assert_eq!(fields(rules, heeded, Some(30)), ["expose.retries"], "the runtime's is nobody's wish");
        }
        assert_eq!(fields(times, all, None), ["expose.retries"]);
        assert_eq!(fields(all, times, None), ["expose.retries"]);
    }

    #[test]
    fn of_the_runtimes_own_timeout_no_gateway_is_asked() {
        let asks = |timeout_seconds, retries, of_runtime| {
            asks_limits(&ReleaseExpose { timeout_seconds, retries, ..exposed() }, of_runtime)
        };
        assert!(!asks(None, None, None) && !asks(None, None, Some(90)));
        assert!(!asks(Some(90), None, Some(90)));
        assert!(asks(Some(30), None, Some(90)) && asks(Some(30), None, None));
        assert!(asks(Some(90), Some(2), Some(90)) && asks(None, Some(2), None));
    }

    #[test]
    fn what_a_gateway_passes_over_is_told_with_its_name_and_what_it_lacks() {
        let told = unkept(RuleFields::ALL, RuleFields::default(), None);
        let words = |word: &str, lacks: &str| {
            format!(
                "the gateway gateway-system/public does not heed it, as its GatewayClass says, which has no {lacks} among its `supportedFeatures`, and all else goes on: the platform takes a gateway that does; or write `environments: {{dev: {{expose: {{{word}: null}}}}}}`"
            )
        };
        assert_eq!(told[0].1, words("timeout", "HTTPRouteRequestTimeout"));
        assert_eq!(told[1].1, words("retries", "HTTPRouteRetryCodes"));
        let told = unkept(RuleFields::default(), RuleFields::default(), None);
        assert!(told.iter().all(|(_, words)| words.contains("the cluster's HTTPRoute has no")), "{told:?}");
    }

    #[test]
    fn the_gateway_has_the_last_word() {
        let parent = |conditions: &str| {
            route(&format!(
                "[{{parentRef: {{name: public, namespace: gateway-system}}, controllerName: c, conditions: [{conditions}]}}]"
            ))
        };
        let condition = |type_: &str, status: &str, generation: i64| {
            format!(
                "{{type: {type_}, status: '{status}', reason: NotAllowedByListeners, message: no, observedGeneration: {generation}}}"
            )
        };
        let both = |accepted: &str, resolved: &str| format!("{accepted}, {resolved}");
        let yes = condition("Accepted", "True", 2);
        let resolved = condition("ResolvedRefs", "True", 2);
        let reasons = |route: &HttpRoute| -> Vec<Reason> {
            let (problems, exposed) = told(GATED, true, Some(route));
            assert_eq!(exposed.as_deref(), Some("acme.dev.example.com/orders"));
            problems.into_iter().map(|(reason, _)| reason).collect()
        };
        assert_eq!(reasons(&parent(&both(&yes, &resolved))), []);
        assert_eq!(reasons(&parent(&yes)), [Reason::Progressing]);
        assert_eq!(reasons(&route("[]")), [Reason::Progressing]);
        let old = both(&condition("Accepted", "False", 1), &resolved);
        assert_eq!(reasons(&parent(&old)), [Reason::Progressing], "it is about another spec");
        let no = both(&condition("Accepted", "False", 2), &resolved);
        assert_eq!(reasons(&parent(&no)), [Reason::RouteRefused]);
        let unresolved = both(&yes, &condition("ResolvedRefs", "False", 2));
        assert_eq!(reasons(&parent(&unresolved)), [Reason::RouteRefused]);
        let (problems, _) = told(GATED, true, Some(&parent(&no)));
        assert!(
            problems[0].1.contains(
                "gateway-system/public refuses the route: NotAllowedByListeners: no: its `allowedRoutes`"
            ),
            "{problems:?}"
        );
        let other = route(&format!(
            "[{{parentRef: {{name: private, namespace: gateway-system}}, conditions: [{no}]}}]"
        ));
        assert_eq!(reasons(&other), [Reason::Progressing], "another gateway's word");
        let of = "parentRef: {name: public, namespace: gateway-system}";
        let two = route(&format!(
            "[{{{of}, controllerName: a, conditions: [{yes}, {resolved}]}}, {{{of}, controllerName: b, conditions: [{no}]}}]"
        ));
        assert_eq!(reasons(&two), [Reason::RouteRefused], "whichever says no");
    }

    #[test]
    fn what_is_tried_waits_for_a_gateway_that_answers_and_for_no_other() {
        let spec: EnvironmentSpec = serde_saphyr::from_str(GATED).unwrap();
        let entrance = Outside::of(&spec, "imaas-system").entrance.unwrap();
        let told = |conditions: &[(&str, &str, i64)]| {
            let one = |(type_, status, generation): &(&str, &str, i64)| {
                format!("{{type: {type_}, status: '{status}', observedGeneration: {generation}}}")
            };
            let conditions: Vec<_> = conditions.iter().map(one).collect();
            let parent = "parentRef: {name: public, namespace: gateway-system}";
            let route = route(&format!("[{{{parent}, conditions: [{}]}}]", conditions.join(", ")));
            answer(Some(&route), &entrance)
        };
        let yes = ("Accepted", "True", 2);
        assert_eq!(told(&[yes, ("ResolvedRefs", "True", 2)]), Route::Taken);
        assert_eq!(told(&[yes]), Route::Taken, "it tells no more than that");
        assert_eq!(told(&[]), Route::Taken);
        assert_eq!(answer(Some(&route("[]")), &entrance), Route::Taken, "nobody says anything");
        assert_eq!(told(&[("Accepted", "True", 0)]), Route::Taken, "it does not say of what");
        assert_eq!(told(&[("Accepted", "True", 1)]), Route::Awaited, "it is about another spec");
        assert_eq!(told(&[("Accepted", "False", 1)]), Route::Awaited);
        assert_eq!(told(&[("Accepted", "Unknown", 2)]), Route::Awaited);
        assert_eq!(answer(None, &entrance), Route::Awaited);
        assert_eq!(told(&[("Accepted", "False", 2)]), Route::Refused);
        assert_eq!(told(&[yes, ("ResolvedRefs", "False", 2)]), Route::Refused);
    }

    #[test]
    fn a_path_that_another_service_has_is_not_told_as_its_own() {
        let spec: EnvironmentSpec = serde_saphyr::from_str(GATED).unwrap();
        let exposed = exposed();
        let outside = Outside { taken: ["/orders".to_owned()].into(), ..Outside::of(&spec, "imaas-system") };
        let mut observation = Observation::default();
        let exposure = Exposure {
            tenant: "acme",
            environment: "dev",
            exposed: &exposed,
            outside: &outside,
            has_routes: true,
            heeded: RuleFields::default(),
            of_runtime: None,
            route: None,
        };
        exposure.tell(&mut observation);
        assert_eq!(observation, Observation::default(), "what is in the way is told elsewhere");
    }
}
