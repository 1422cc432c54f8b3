//! Who leads what is tried, and by what its requests are divided.

use super::*;
use crate::{
    api::{DecisionAction, EnvironmentSpec, integration_service::Held},
    release::{Outside, Reach, Target},
    sample,
    service::decision::{Pause, Skip},
};

fn wish(environment: &ValidEnvironment, standing: &Standing) -> Wish {
    let base = Arc::new(sample::release("a", "expose: {path: /orders, port: {name: http, port: 8080}}"));
    Wish::of((environment, standing), &sample::release("b", ""), (base, vec![]))
}

#[test]
fn people_lead_what_is_tried_and_nothing_that_they_say_goes_past_a_freeze() {
    let skip = |release: &str, passed| Skip { release: release.to_owned(), passed };
    let pause = |release: &str| {
        let (decision, by) = ("d".to_owned(), "nora".to_owned());
        let held = Held { decision, action: DecisionAction::Pause, by, reason: None, until: None };
        Some(Pause { held, release: release.to_owned() })
    };
    let skipped = vec![skip("b", 1), skip("another", 0)];
    let told = |frozen, pause: Option<Pause>| {
        let mut environment = sample::environment("dev", None);
        environment.entry.frozen = frozen;
        let Wish { skipped, paused, .. } =
            wish(&environment, &Standing { pause, skipped: skipped.clone(), ..Standing::default() });
        (skipped.into_iter().collect::<Vec<_>>(), paused.unwrap_or_default())
    };
    let paused = "paused by nora until: kubectl imaas rollout resume orders dev".to_owned();
    assert_eq!(told(false, None), (vec![1], String::new()));
    assert_eq!(told(false, pause("another")), (vec![1], String::new()));
    assert_eq!(told(false, pause("b")), (vec![1], paused.clone()));
    assert_eq!(told(true, None), (vec![], "the platform has frozen dev".to_owned()));
    assert_eq!(told(true, pause("b")), (vec![], paused));
}

#[test]
fn requests_are_divided_where_a_gateway_leads_to_both_by_one_path() {
    let wish = wish(&sample::environment("dev", None), &Standing::default());
    let exposed = |path: &str| {
        sample::release("b", &format!("expose: {{path: {path}, port: {{name: http, port: 8080}}}}"))
    };
    let gateway = "{domain: dev.example.com, gateway: {name: public, namespace: gateway-system}}";
    let spec: EnvironmentSpec = serde_saphyr::from_str(gateway).unwrap();
    let (reach, open) = (Reach::default(), Outside::of(&spec, "imaas-system"));
    let divided = |has_routes, release: &Release, outside: &Outside| {
        let (config, networks, reach) = (None, &[][..], &reach);
        let target = Target { tenant: "acme", release, config, networks, reach, outside };
        is_divided(has_routes, &target, Some(&wish))
    };
    let same = exposed("/orders");
    assert!(divided(true, &same, &open));
    assert!(!divided(false, &same, &open), "the cluster has no routes");
    assert!(!divided(true, &same, &Outside::default()), "the environment has no gateway");
    assert!(!divided(true, &exposed("/bestellungen"), &open));
    assert!(!divided(true, &sample::release("b", ""), &open));
    let taken = Outside { taken: ["/orders".to_owned()].into(), ..open.clone() };
    assert!(!divided(true, &same, &taken), "another service has the path");
}
