use imaas_operator::release::ConfigFile;

use super::*;

const PLATFORM: &str = "
{apiVersion: imaas.dev/v1alpha1, kind: Environment, metadata: {name: dev}, spec: {networks: [{name: erp, cidrs: [10.1.0.0/16]}], domain: a.example, gateway: {name: a, namespace: b}, prometheus: {url: 'http://p'}}}
---
{apiVersion: imaas.dev/v1alpha1, kind: Environment, metadata: {name: prod}, spec: {}}
---
{apiVersion: imaas.dev/v1alpha1, kind: IntegrationRuntime, metadata: {name: bare}, spec: {profiles: [{versions: '>=4', managementPorts: [{name: admin, port: 9000}]}]}}
";

fn told(text: &str, platform: &str, runtime: Option<&str>) -> Vec<String> {
    asked(text, platform, runtime).problems.iter().map(ToString::to_string).collect()
}

fn warned(text: &str, platform: &str) -> Vec<String> {
    asked(text, platform, None).warnings.iter().map(ToString::to_string).collect()
}

fn asked(text: &str, platform: &str, runtime: Option<&str>) -> Found {
    let mut known = Platform::default();
    known.add("platform.yaml".to_owned(), platform.as_bytes());
    let text = format!("apiVersion: imaas.dev/v1alpha1\nkind: ServiceDescriptor\n{text}");
    let config = |name: &str| match name {
        "config" => Ok(ConfigFiles::from([("a".to_owned(), ConfigFile::default())])),
        _ => Err(format!("config: there is no directory {name:?}")),
    };
    let question = Question { text: text.as_bytes(), platform: &known, runtime, config: &config };
    found(&question)
}

#[test]
fn what_only_shows_when_it_is_rendered_is_told_at_its_line() {
    for (text, platform, runtime, expected) in [
        ("type: api\n", PLATFORM, Some("bare"), "0:0: "),
        (
            "ports: [{name: x, port: 9000}]\n",
            PLATFORM,
            Some("bare"),
            "3:9: ports[0]: x 9000 is the name or number of one that the runtime keeps for its own management",
        ),
        (
            "type: worker\nruntimeVersion: \"3\"\n",
            PLATFORM,
            Some("bare"),
            "4:17: runtimeVersion: runtime bare has no profile for 3; it has >=4",
        ),
        (
            "type: worker\nconfig: config\n",
            PLATFORM,
            Some("bare"),
            "4:9: config: the service's runtime has no place for configuration files: remove `config`, or ask the platform team for a `configMount` in the profile of the IntegrationRuntime",
        ),
        ("type: worker\nconfig: conf\n", PLATFORM, None, "4:9: config: there is no directory \"conf\""),
        (
            "scaling: {max: 2, triggers: [{requests: {perSecond: 1}}]}\n",
            PLATFORM,
            None,
            "3:41: scaling.triggers[0].requests: this environment has no Prometheus, which counts requests: the platform team sets `prometheus` in the Environment, or remove the trigger (in prod)",
        ),
        (
            "type: worker\nconnects: [erp]\n",
            PLATFORM,
            None,
            "4:12: connects[0]: \"erp\" is no network of this environment; it has none (in prod)",
        ),
        (
            "type: worker\nenvironments:\n  prod: {scaling: {min: 2}}\n",
            PLATFORM,
            None,
            "5:25: environments.prod.scaling.min: 2 instances, but this service never runs two at a time; set it to 1 or say `instances: many`",
        ),
        (
            "type: worker\nscaling: {max: 3}\n",
            PLATFORM,
            None,
            "4:16: scaling.max: 3 instances, but this service never runs two at a time; set it to 1 or say `instances: many`",
        ),
        (
            "type: worker\ninstances: many\nscaling: {min: 4, max: 9}\nenvironments:\n  prod: {scaling: {max: 3}}\n",
            PLATFORM,
            None,
            "7:25: environments.prod.scaling.max: 3 is less than `min`, which is 4: write at least 4",
        ),
        (
            "type: worker\nenv: {A: x}\nenvironments:\n  prod: {uses: [{service: b, as: B}, {service: b, as: A}]}\n",
            PLATFORM,
            None,
            "6:55: environments.prod.uses[1].as: A stands in `env`, too: give one of them another name",
        ),
        (
            "type: worker\nexpose: {path: /a}\nenvironments:\n  prod: {type: api, ports: [{name: x, port: 8000}], expose: null}\n",
            PLATFORM,
            None,
            "4:9: expose: only an `api` serves: remove it, or make the service one (in dev)",
        ),
        (
            "type: worker\nenv: {A-B: x}\n",
            "{}",
            None,
            "4:12: env.A-B: the name must be letters, digits and `_`, and not begin with a digit",
        ),
    ] {
        let problems = told(text, platform, runtime);
        if expected == "0:0: " {
            assert!(problems[0].contains("ports: an api needs one"), "{problems:?}");
        } else {
            assert_eq!(problems, [expected], "{text}");
        }
    }
}

#[test]
fn an_engine_that_is_not_known_may_tell_of_its_requests() {
    let text = "scaling: {max: 2, triggers: [{requests: {perSecond: 1}}, {latency: {milliseconds: 1}}]}\n";
    let counted = PLATFORM.replace("spec: {}", "spec: {prometheus: {url: 'http://p'}}");
    assert_eq!(told(text, &counted, None), [""; 0]);
    let bare = told(text, &counted, Some("bare"));
    assert!(bare.iter().any(|told| told.contains("triggers[0].requests: nobody knows")), "{bare:?}");
}

#[test]
fn what_stops_nothing_is_a_warning_at_its_line() {
    for (text, expected) in [
        (
            "type: worker\nenvironments:\n  prd: {}\n",
            "5:8: environments.prd: there is no Environment \"prd\", so this is never used; there are dev, prod",
        ),
        (
            "ports: [{name: x, port: 8000}]\nexpose: {path: /a}\n",
            "4:9: expose: the Environment prod has no gateway, so nothing is reached from outside there, and all else goes on: the platform sets its `domain` and `gateway`, or write `environments: {prod: {expose: null}}` (in prod)",
        ),
        (
            "ports: [{name: x, port: 8000}]\nrollout: {strategy: canary, analysis: {}, steps: [{weight: 50}]}\n",
            "4:39: rollout.analysis: the Environment prod has no `prometheus`, so each step waits there until somebody skips it: the platform sets it, or write `environments: {prod: {rollout: {analysis: null}}}` (in prod)",
        ),
        (
            "ports: [{name: x, port: 8000}]\nrollout: {strategy: canary}\n",
            "4:21: rollout.strategy: without `expose` and a gateway calls fall on all instances, so the step of 10 of 100 takes 1 of 2: say `blueGreen`, or more instances by `scaling.min`, or leave it where that is as it should be",
        ),
        (
            "type: worker\ninstances: many\nenvironments:\n  prod: {scaling: {max: 40}}\n",
            "6:25: environments.prod.scaling.max: 40 instances, and 10 more while they are replaced, need requests.cpu 5, more than 4, the most that Environment prod gives: ask for less, or ask the platform team for `limits` of the tenant",
        ),
        (
            "rollout: {strategy: blueGreen}\nenvironments:\n  prod: {scaling: {max: 18}}\n",
            "5:25: environments.prod.scaling.max: 18 instances, and 23 more while they are replaced, need requests.cpu 4100m, more than 4, the most that Environment prod gives: ask for less, or ask the platform team for `limits` of the tenant",
        ),
        (
            "resources: {cpu: 500m}\nrollout: {strategy: blueGreen}\nenvironments:\n  prod: {scaling: {min: 4}}\n",
            "6:25: environments.prod.scaling.min: 4 instances, and 5 more while they are replaced, need requests.cpu 4500m, more than 4, the most that Environment prod gives: ask for less, or ask the platform team for `limits` of the tenant",
        ),
    ] {
        let (problems, warnings) = (told(text, PLATFORM, None), warned(text, PLATFORM));
        assert_eq!((problems, warnings), (Vec::new(), vec![expected.to_owned()]), "{text}");
    }
}

#[test]
fn what_is_judged_by_what_waits_alone_needs_no_prometheus() {
    let trigger = "{broker: events, kafka: {topic: a, group: a, lag: 1}}";
    let text = format!(
        "type: worker\ninstances: many\nscaling: {{max: 4, triggers: [{trigger}]}}\nrollout: {{strategy: canary, analysis: {{waiting: 100}}}}\n"
    );
    let warned = |runtime| asked(&text, PLATFORM, runtime).warnings.len();
    assert_eq!(
        [warned(Some("bare")), warned(None)],
        [0, 1],
        "its runtime counts no requests, or is not known"
    );
}

#[test]
fn every_field_that_is_wrong_is_told_at_once() {
    let text = "ports: [{name: x, port: 9000}]\nenv: {A-B: x, B-C: y}\nsecrets: [imaas-x, mine, imaas-y]\nresources: {cpu: 0, memory: 64}\nconnects: [erb]\nconfig: conf\ninstances: one\nscaling: {min: 2}\n";
    let told = told(text, PLATFORM, Some("bare"));
    let fields: Vec<_> = told.iter().map(|problem| problem.split(": ").nth(1).unwrap()).collect();
    // In the order of the file; `connects` is another problem in each environment.
    let expected = [
        "ports[0]",
        "env.A-B",
        "env.B-C",
        "secrets[0]",
        "secrets[2]",
        "resources.cpu",
        "resources.memory",
        "connects[0]",
        "connects[0]",
        "config",
        "scaling.min",
    ];
    assert_eq!(fields, expected, "{told:?}");
}

#[test]
fn a_typing_error_hides_no_other_mistake() {
    let text = "secretes: []\nports: [{name: x, port: 0}]\nenv: {A-B: x}\nenvironments: {prod: {scaling: {mim: 1}}, prd: {}}\n";
    let told = told(text, PLATFORM, Some("bare"));
    let fields: Vec<_> = told.iter().map(|problem| problem.split(": ").nth(1).unwrap()).collect();
    let expected = ["secretes", "ports[0].port", "env.A-B", "environments.prod.scaling.mim"];
    assert_eq!(fields, expected, "{told:?}");
}

#[test]
fn what_is_not_well_formed_is_told_once_and_all_else_is_judged() {
    for (text, fields) in [
        ("typ: worker\nenv: {A-B: x}\n", &["typ", "env.A-B"][..]),
        ("type: daemon\nscaling: {min: 2}\nsecrets: [imaas-x]\n", &["type", "secrets[0]"]),
        (
            "type: worker\nruntimeVersion: 3\nresources: {memory: 64}\n",
            &["runtimeVersion", "resources.memory"],
        ),
        (
            "type: batch\nschedule: {cron: '@daily'}\nconnects: [erb]\n",
            &["schedule.cron", "connects[0]", "connects[0]"],
        ),
        (
            "type: worker\nschedule: {cron: 0 3 * * *}\nconnects: [erb]\n",
            &["schedule", "connects[0]", "connects[0]"],
        ),
        ("type: worker\ninstnces: many\nscaling: {min: 2}\n", &["instnces", "scaling.min"]),
        (
            "type: worker\nsecrets: [7, imaas-x]\nresources: {cpu: 1, memry: 1Gi}\nenvironments: {prod: {env: {A: 1, B-C: x}}}\n",
            &[
                "secrets[0]",
                "secrets[1]",
                "resources.memry",
                "environments.prod.env.A",
                "environments.prod.env.B-C",
            ],
        ),
        (
            "type: worker\nenv: {A: x}\nenv: {B-C: x}\nconnects: [erb]\n",
            &["5:1", "connects[0]", "connects[0]"],
        ),
    ] {
        let told = told(text, PLATFORM, Some("bare"));
        let field = |problem: &String| match problem.split(": ").collect::<Vec<_>>()[..] {
            [_, field, _, ..] if !field.contains(' ') => field.to_owned(),
            ref parts => parts[0].to_owned(),
        };
        assert_eq!(told.iter().map(field).collect::<Vec<_>>(), fields, "{told:#?}");
    }
}

#[test]
fn a_runtime_that_is_wrong_itself_is_told_once() {
    let runtime = "{apiVersion: imaas.dev/v1alpha1, kind: IntegrationRuntime, metadata: {name: odd}, spec: {profiles: [{files: {a: b}}]}}";
    let told = told("type: worker\n", runtime, Some("odd"));
    assert_eq!(told.len(), 1, "{told:?}");
}

#[test]
fn what_is_not_known_is_not_a_problem() {
    let text = "runtimeVersion: 4.4.0-rc1\nconnects: [erp]\nconfig: config\nenvironments: {qa: {scaling: {min: 3}}}\n";
    assert_eq!(told(text, "{}", Some("bare")), [""; 0]);
    let of_runtime = |platform: &str, runtime| {
        let mut known = Platform::default();
        known.add("platform.yaml".to_owned(), platform.as_bytes());
        notes(&known, runtime).pop().unwrap_or_default()
    };
    let way = |note: String| note.split(" give ").nth(1).unwrap_or_default().to_owned();
    assert_eq!(way(of_runtime("{}", Some("bare"))), "--platform FILE or --cluster", "not what is given");
    assert_eq!(way(of_runtime("{}", None)), "--runtime NAME, and --platform FILE or --cluster");
    assert_eq!(way(of_runtime(PLATFORM, None)), "--runtime NAME");
    assert_eq!(of_runtime(PLATFORM, Some("bare")), "");
}
