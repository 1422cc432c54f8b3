//! From settings, runtime and image to the objects that run a service: golden manifests, names, and the rules of the
//! Pod Security Standard.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

use std::collections::BTreeSet;

use imaas_operator::{
    api::{
        Cause, DescriptorSpec, Expose, IntegrationRuntime, Port, Quantity, Release, Step, Strategy,
        WorkloadType, environment::Network,
    },
    environment::Placement,
    names::{self, hex},
    release::{
        Children, ConfigFile, ConfigFiles, Contents, Footprint, Input, Outside, PlannedConfig, Reach,
        RenderError, Rendered, Target, desired, render,
    },
    runtime::check,
};
use k8s_openapi::api::core::v1::{ConfigMap, PodTemplateSpec};
use kube::ResourceExt;
use serde_json::json;

const DIGEST: &str = "sha256:4f2a4f2a4f2a4f2a4f2a4f2a4f2a4f2a4f2a4f2a4f2a4f2a4f2a4f2a4f2a4f2a";

fn runtime(name: &str) -> IntegrationRuntime {
    let text = match name {
        "container" => include_str!("../../charts/imaas-operator/files/runtimes/container.yaml"),
        "camel" => include_str!("../../charts/imaas-operator/files/runtimes/camel.yaml"),
        "wso2-mi" => include_str!("../../charts/imaas-operator/files/runtimes/wso2-mi.yaml"),
        other => panic!("{other} is not built in"),
    };
    serde_saphyr::from_str(text).unwrap()
}

fn settings(yaml: &str) -> DescriptorSpec {
    serde_saphyr::from_str(yaml).unwrap()
}

fn networks() -> Vec<Network> {
    serde_saphyr::from_str(
        "
        - {name: erp, cidrs: [10.20.0.0/16], ports: [443]}
        - {name: partners, cidrs: ['0.0.0.0/0', '::/0'], except: [10.0.0.0/8, 'fc00::/7']}
        ",
    )
    .unwrap()
}

fn files() -> ConfigFiles {
    let file = |(path, bytes): (String, Vec<u8>)| {
        let (blob, size) = (hex(&bytes), bytes.len() as u64);
        let executable = path == "check.sh";
        (path, ConfigFile { blob, size, executable })
    };
    contents().into_iter().map(file).collect()
}

fn contents() -> Contents {
    Contents::from([
        ("orders.properties".to_owned(), b"greeting=hello\n".to_vec()),
        ("certs/erp.der".to_owned(), b"\x30\x82\xff".to_vec()),
        ("check.sh".to_owned(), b"#!/bin/sh\n".to_vec()),
    ])
}

/// With what the files hold, where there are any.
fn config_map(config: Option<&PlannedConfig>) -> Option<ConfigMap> {
    config.map(|config| config.with(&contents()).unwrap())
}

/// What a test may change before it renders.
struct Case {
    runtime: IntegrationRuntime,
    settings: DescriptorSpec,
    config: Option<ConfigFiles>,
    networks: Vec<Network>,
    placement: Placement,
    called: Vec<Port>,
    digest: String,
    commit: &'static str,
    build_id: &'static str,
    cause: Cause,
}

fn case(runtime_name: &str, yaml: &str) -> Case {
    Case {
        runtime: runtime(runtime_name),
        settings: settings(yaml),
        config: None,
        networks: networks(),
        placement: Placement::default(),
        called: vec![],
        digest: DIGEST.to_owned(),
        commit: "c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00",
        build_id: "b1d",
        cause: Cause::Commit,
    }
}

impl Case {
    fn render(&self) -> Result<Rendered, RenderError> {
        render(&Input {
            tenant: "acme",
            service: "orders",
            environment: "dev",
            settings: &self.settings,
            runtime: &self.runtime,
            networks: &self.networks,
            sources: None,
            placement: &self.placement,
            called: &self.called,
            image_repository: "registry.example.com/acme/orders",
            digest: &self.digest,
            config: self.config.as_ref(),
            commit: self.commit,
            build_id: self.build_id,
            cause: self.cause,
        })
    }

    fn name(&self) -> String {
        self.render().unwrap().release.name_any()
    }

    fn children(&self) -> Children {
        let Rendered { release, config } = self.render().unwrap();
        children(&release, config_map(config.as_ref()).as_ref(), &self.networks)
    }
}

fn children(release: &Release, config: Option<&ConfigMap>, networks: &[Network]) -> Children {
    let (reach, outside) = (Reach::default(), Outside::default());
    let target = Target { tenant: "acme", release, config, networks, reach: &reach, outside: &outside };
    desired(&target, &[Footprint::of(release)], None)
}

const CONTAINER_API: &str = "
ports: [{name: http, port: 8000}, {name: grpc, port: 9000}]
scaling: {min: 2}
env: {LOG_LEVEL: info, PRICE: 5$ or $(HOME)}
secrets: [orders-db]
connects: [partners]
";
const CAMEL_API: &str = "
resources: {cpu: 500m, memory: 384Mi}
config: config
";
const WORKER: &str = "type: worker";
const SCALED: &str = "
type: worker
instances: many
scaling: {min: 2, max: 5, cpu: 60, downAfter: 15m}
";
const BATCH: &str = "
type: batch
schedule: {cron: 0 3 * * MON-FRI, timeZone: Europe/Zurich, timeout: 2h, history: 5}
resources: {cpu: 500m, memory: 384Mi}
";
const MI_44: &str = "{runtimeVersion: '4.4', resources: {cpu: 250m, memory: 1Gi}, connects: [erp]}";
const MI_41: &str = "{runtimeVersion: '4.1', resources: {cpu: 250m, memory: 1Gi}, instances: one}";

fn cases() -> Vec<(&'static str, Case)> {
    let mut camel = case("camel", CAMEL_API);
    camel.config = Some(files());
    vec![
        ("container_api", case("container", CONTAINER_API)),
        ("camel_api_with_config", camel),
        ("worker_one", case("container", WORKER)),
        ("worker_scaled", case("container", SCALED)),
        ("camel_batch", case("camel", BATCH)),
        ("wso2_mi_4_4", case("wso2-mi", MI_44)),
        ("wso2_mi_4_1", case("wso2-mi", MI_41)),
    ]
}

#[test]
fn golden_manifests() {
    for (name, case) in cases() {
        let Rendered { release, config } = case.render().unwrap();
        let config_map = config_map(config.as_ref());
        let Children {
            config_map: config,
            network_policies,
            service,
            route,
            disruption_budget,
            deployment,
            autoscaler,
            scaler,
            cron_job,
        } = children(&release, config_map.as_ref(), &case.networks);
        assert_eq!((route, scaler), (None, None), "nothing is exposed, nor follows what waits");
        let mut release = serde_json::to_value(&release).unwrap();
        release["spec"]["template"] = json!("as in what makes the pods");
        let mut all = json!({
            "1 release": release,
            "2 config": config,
            "3 policies": network_policies,
            "4 service": service,
            "5 budget": disruption_budget,
            "6 pods": deployment.map(|one| json!(one)).or(cron_job.map(|one| json!(one))),
        });
        if let Some(autoscaler) = autoscaler {
            all["7 autoscaler"] = json!(autoscaler);
        }
        insta::assert_yaml_snapshot!(name, all);
    }
}

#[test]
fn the_built_in_runtimes_have_no_problem() {
    for name in ["container", "camel", "wso2-mi"] {
        let runtime = runtime(name);
        assert_eq!((runtime.name_any().as_str(), check::problems(&runtime.spec)), (name, vec![]));
        for profile in &runtime.spec.profiles {
            let open = profile.ports.iter().chain(&profile.management_ports);
            assert!(open.clone().all(|port| port.port != 9164), "the management API of MI stays closed");
        }
    }
}

#[test]
fn the_built_in_runtimes_are_run_as_their_engines_need_it() {
    for profile in &runtime("wso2-mi").spec.profiles {
        let versions = &profile.versions;
        assert!(profile.env["JAVA_OPTS"].contains("-DportOffset=10"), "{versions}: no file moves the ports");
        let memory = &profile.env["JVM_MEM_OPTS"];
        assert!(memory.contains("MaxRAMPercentage") && !memory.contains("-Xmx"), "{versions}: {memory}");
        let drain = &profile.drain;
        assert!(drain.grace_seconds > drain.sleep_seconds + 180, "{versions}: requests have 180 s");
        let stop = drain.stop_command.as_ref().unwrap();
        assert!(stop.contains("micro-integrator.sh\" stop; while ") && stop.contains("java"), "{stop}");
        assert_eq!(profile.probes.readiness.as_ref().unwrap().path.as_deref(), Some("/healthz"));
    }
    let camel = &runtime("camel").spec.profiles[0];
    let is_ignored =
        |name: &str| name.ends_with("_PORT") || name.ends_with("_SERVICE_HOST") || name.contains("_PORT_");
    assert!(camel.env.keys().all(|name| !is_ignored(name)), "camel-main does not read such a variable");
    assert!(camel.files.values().any(|file| file.contains("camel.management.port=9876")));
    let path = |probe: &Option<imaas_operator::api::runtime::Probe>| probe.as_ref().unwrap().path.clone();
    assert_eq!(path(&camel.probes.startup), path(&camel.probes.readiness), "there is no `started`");
    assert!(camel.drain.grace_seconds > camel.drain.sleep_seconds + 45, "requests have 45 s");
}

/// A stand-in for WSO2 MI, of which no image can be had: as its documents and its start script say, `stop` tells the java process
/// to end and returns at once, and that ends when what is under way is done. In a process namespace of its own, as in a pod.
#[cfg(target_os = "linux")]
#[test]
fn the_stop_of_micro_integrator_returns_when_its_java_process_has_ended() {
    const SERVER: &str = "#!/bin/sh\nkill -TERM $(cat \"$WSO2_SERVER_HOME/wso2carbon.pid\")\n";
    const JAVA: &str = "#!/bin/sh\ntrap 'sleep 2; : > drained; exit 0' TERM\nwhile :; do sleep 0.1; done\n";
    const POD: &str = "./java & echo $! > wso2carbon.pid; \"$@\"; test -e drained";
    let home = tempfile::tempdir().unwrap();
    std::fs::create_dir(home.path().join("bin")).unwrap();
    for (name, text) in [("bin/micro-integrator.sh", SERVER), ("java", JAVA)] {
        use std::os::unix::fs::PermissionsExt;
        let path = home.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let Rendered { release, .. } = case("wso2-mi", MI_44).render().unwrap();
    let container = release.spec.template.spec.unwrap().containers.remove(0);
    let stop = container.lifecycle.unwrap().pre_stop.unwrap().exec.unwrap().command.unwrap();
    let ended = std::process::Command::new("unshare")
        .args(["--map-root-user", "--user", "--pid", "--fork", "--mount-proc", "sh", "-c", POD, "pod"])
        .args(stop)
        .current_dir(home.path())
        .env("WSO2_SERVER_HOME", home.path())
        .status()
        .unwrap();
    assert!(ended.success(), "it returned before java had drained");
}

/// <https://kubernetes.io/docs/concepts/security/pod-security-standards/>, `restricted`, and what this operator adds.
fn assert_restricted(template: &PodTemplateSpec) {
    let pod = template.spec.as_ref().unwrap();
    assert!(pod.host_network.is_none() && pod.host_pid.is_none() && pod.host_ipc.is_none());
    assert_eq!(pod.automount_service_account_token, Some(false));
    assert_eq!(pod.enable_service_links, Some(false));
    assert!(pod.service_account_name.is_none() && pod.init_containers.is_none());
    assert_eq!(pod.image_pull_secrets.as_ref().unwrap()[0].name, names::PULL_SECRET);
    let security = pod.security_context.as_ref().unwrap();
    assert_eq!(security.run_as_non_root, Some(true));
    for id in [security.run_as_user, security.run_as_group, security.fs_group] {
        assert!(id.unwrap() > 0);
    }
    assert_eq!(security.seccomp_profile.as_ref().unwrap().type_, "RuntimeDefault");
    assert!(security.sysctls.is_none() && security.supplemental_groups.is_none());
    for volume in pod.volumes.iter().flatten() {
        let limited = volume.empty_dir.as_ref().is_some_and(|dir| dir.size_limit.is_some());
        assert!(limited || volume.config_map.is_some(), "{volume:?}");
    }
    assert_eq!(pod.containers.len(), 1);
    let container = &pod.containers[0];
    let security = container.security_context.as_ref().unwrap();
    assert_eq!(security.allow_privilege_escalation, Some(false));
    assert_eq!(security.capabilities.as_ref().unwrap().drop, Some(vec!["ALL".to_owned()]));
    assert!(security.capabilities.as_ref().unwrap().add.is_none());
    assert!(security.privileged.is_none() && security.proc_mount.is_none());
    assert_eq!(container.image.as_deref(), Some(&*format!("registry.example.com/acme/orders@{DIGEST}")));
    assert!(container.ports.iter().flatten().all(|port| port.host_port.is_none() && port.host_ip.is_none()));
    let resources = container.resources.as_ref().unwrap();
    for list in [&resources.requests, &resources.limits] {
        assert!(["cpu", "memory"].iter().all(|name| list.as_ref().unwrap().contains_key(*name)));
    }
}

#[test]
fn every_template_passes_the_restricted_standard() {
    for (name, case) in cases() {
        let template = case.render().unwrap().release.spec.template;
        assert_restricted(&template);
        let root = template.spec.unwrap().containers[0].security_context.clone().unwrap();
        let writable = name.starts_with("wso2");
        assert_eq!(root.read_only_root_filesystem, Some(!writable), "{name}");
    }
}

#[test]
fn no_service_and_no_policy_opens_a_management_port() {
    for (_, case) in cases() {
        let version = case.settings.runtime_version.as_deref();
        let profile = imaas_operator::runtime::profile(&case.runtime, version).unwrap();
        let Children { network_policies, service, .. } = case.children();
        let open = serde_json::to_string(&(service, &network_policies)).unwrap();
        for port in &profile.management_ports {
            assert!(!open.contains(&port.port.to_string()), "{open}");
        }
        assert!(!open.contains("namespaceSelector"), "{open}");
        let rules =
            network_policies.iter().flat_map(|policy| policy.spec.as_ref().unwrap().ingress.iter().flatten());
        assert!(rules.clone().all(|rule| rule.ports.as_ref().is_some_and(|ports| !ports.is_empty())));
    }
}

#[test]
fn the_same_content_has_the_same_name_whatever_the_commit() {
    for (_, mut case) in cases() {
        let before = case.render().unwrap();
        assert_eq!(before, case.render().unwrap());
        case.commit = "0123456701234567012345670123456701234567";
        case.cause = Cause::Promotion;
        let after = case.render().unwrap();
        assert_eq!(before.release.name_any(), after.release.name_any());
        assert_eq!(before.release.spec.template, after.release.spec.template);
        assert_eq!(before.config, after.config);
    }
}

#[test]
fn what_says_nothing_about_the_pods_does_not_change_the_name() {
    let mut case = case("camel", CAMEL_API);
    let before = case.name();
    case.settings.ignore = Some(vec!["docs".into()]);
    case.settings.coordination = Some("one of them holds a lease".into());
    case.settings.config = Some("elsewhere".into());
    case.settings.instances = Some(imaas_operator::api::Instances::Many);
    case.settings.ports = case.runtime.spec.profiles[0].ports.clone();
    case.networks.clear();
    assert_eq!(case.name(), before);
}

#[test]
fn what_git_asks_for_and_the_runtime_have_a_revision_each() {
    let revisions = |change: fn(&mut Case)| {
        let mut case = case("camel", CAMEL_API);
        case.config = Some(files());
        change(&mut case);
        let spec = case.render().unwrap().release.spec;
        (spec.content_revision.unwrap(), spec.runtime_revision.unwrap())
    };
    let (content, runtime) = revisions(|_| {});
    let of_runtime: [fn(&mut Case); 3] = [
        |case| drop(case.runtime.spec.profiles[0].env.insert("ENGINE".into(), "changed".into())),
        |case| case.runtime.spec.profiles[0].ports[0].port += 1,
        |case| case.runtime.metadata.name = Some("camel-next".into()),
    ];
    for change in of_runtime {
        let changed = revisions(change);
        assert!(changed.0 == content && changed.1 != runtime, "{changed:?}");
    }
    let of_git: [fn(&mut Case); 5] = [
        |case| drop(case.settings.env.insert("MODE".into(), "try".into())),
        |case| case.digest = DIGEST.replace('f', "e"),
        |case| case.build_id = "other",
        |case| drop(case.config.as_mut().unwrap().insert("more.properties".into(), ConfigFile::default())),
        |case| case.config.as_mut().unwrap().get_mut("check.sh").unwrap().executable = false,
    ];
    for change in of_git {
        let changed = revisions(change);
        assert!(changed.0 != content && changed.1 == runtime, "{changed:?}");
    }
}

const STOCK: &str = "{tenant: beta, service: stock, as: STOCK_URL}";

/// One that uses this service, at port 8080.
fn using(used: &str) -> Case {
    let mut case =
        case("camel", &format!("{{ports: [{{name: http, port: 8000}}], env: {{MODE: a}}, uses: [{used}]}}"));
    case.called = vec![Port { name: "http".to_owned(), port: 8080 }];
    case
}

#[test]
fn what_is_used_is_known_by_its_address_and_stands_in_the_release() {
    for (used, address) in [
        (STOCK, "http://stock.beta-dev.svc:8080"),
        ("{service: stock, as: STOCK_URL}", "http://stock.acme-dev.svc:8080"),
    ] {
        let release = using(used).render().unwrap().release;
        let env = release.spec.template.spec.unwrap().containers.remove(0).env.unwrap();
        let value = env.iter().find(|variable| variable.name == "STOCK_URL").unwrap().value.as_deref();
        assert_eq!(value, Some(address));
        assert_eq!((release.spec.uses.len(), release.spec.uses[0].port.port), (1, 8080));
    }
    let nothing = case("camel", "{}").render().unwrap().release;
    assert!(serde_json::to_value(&nothing.spec).unwrap().get("uses").is_none());
}

#[test]
fn the_address_is_what_git_asks_for_and_not_the_runtimes() {
    let revision = |case: &Case| case.render().unwrap().release.spec.content_revision.unwrap();
    let mut moved = using(STOCK);
    moved.called[0].port = 8081;
    assert_ne!(revision(&moved), revision(&using(STOCK)));
}

#[test]
fn a_use_that_cannot_be_says_what_to_change() {
    for (used, told) in [
        ("{service: stock, as: MODE}", "uses[0].as: MODE stands in `env`, too"),
        ("{service: stock, as: JAVA_TOOL_OPTIONS}", "uses[0].as: JAVA_TOOL_OPTIONS is set by the runtime"),
        ("{tenant: acme, service: stock, as: A}", "uses[0].tenant: acme is the own tenant"),
        ("{service: orders, as: A}", "uses[0].service: orders is this service itself"),
    ] {
        let refused = using(used).render().unwrap_err().to_string();
        assert!(refused.starts_with(told), "{refused}");
    }
}

#[test]
fn each_setting_changes_the_name() {
    type Change = fn(&mut Case);
    let changes: Vec<(&str, Change)> = vec![
        ("nothing", |_| ()),
        ("digest", |c| c.digest = DIGEST.replace('f', "e")),
        ("build id", |c| c.build_id = "other"),
        ("type", |c| c.settings.type_ = WorkloadType::Worker),
        ("version", |c| c.settings.runtime_version = Some("4.18".into())),
        ("instances", |c| c.settings.instances = Some(imaas_operator::api::Instances::One)),
        ("port", |c| c.settings.ports[0].port = 8001),
        ("port's name", |c| c.settings.ports[0].name = "web".into()),
        ("cpu", |c| c.settings.resources.cpu = Quantity("200m".into())),
        ("memory", |c| c.settings.resources.memory = Quantity("300Mi".into())),
        ("scaling", |c| c.settings.scaling.min = 3),
        ("strategy", |c| c.settings.rollout.strategy = Strategy::Recreate),
        ("canary", |c| c.settings.rollout.strategy = Strategy::Canary),
        ("steps", |c| {
            c.settings.rollout.strategy = Strategy::Canary;
            c.settings.rollout.steps = vec![Step { weight: 5, pause: None }];
        }),
        ("keep", |c| {
            c.settings.rollout.strategy = Strategy::BlueGreen;
            c.settings.rollout.keep = Some("1h".into());
        }),
        ("env", |c| drop(c.settings.env.insert("A".into(), "1".into()))),
        ("env's value", |c| drop(c.settings.env.insert("A".into(), "2".into()))),
        ("secrets", |c| c.settings.secrets.push("db".into())),
        ("connects", |c| c.settings.connects.push("erp".into())),
        ("uses", |c| *c = using(STOCK)),
        ("the port of what it uses", |c| {
            *c = using(STOCK);
            c.called[0].port = 8081;
        }),
        ("expose", |c| c.settings.expose = Some(expose(None, None))),
        ("its timeout", |c| c.settings.expose = Some(expose(Some("30s"), None))),
        ("its retries", |c| c.settings.expose = Some(expose(None, Some(2)))),
        ("config", |c| c.config = Some(files())),
        ("config's bytes", |c| {
            let mut changed = files();
            changed.get_mut("check.sh").unwrap().blob.push('x');
            c.config = Some(changed);
        }),
        ("runtime's name", |c| c.runtime.metadata.name = Some("camel-lts".into())),
        ("runtime's profile", |c| c.runtime.spec.profiles[0].drain.grace_seconds = 61),
    ];
    let mut seen = BTreeSet::new();
    for (what, change) in &changes {
        let mut case = case("camel", "ports: [{name: http, port: 8000}]");
        change(&mut case);
        assert!(seen.insert(case.name()), "{what}");
    }
    assert_eq!(seen.len(), changes.len());
}

fn expose(timeout: Option<&str>, retries: Option<u16>) -> Expose {
    Expose { path: "/a".into(), port: None, timeout: timeout.map(str::to_owned), retries }
}

#[test]
fn a_request_may_take_what_the_descriptor_says_else_what_the_runtime_says_else_anything() {
    let limits = |of_runtime, timeout, retries| {
        let mut case = case("camel", "{}");
        case.runtime.spec.profiles[0].request_timeout_seconds = of_runtime;
        case.settings.expose = Some(expose(timeout, retries));
        let exposed = case.render().unwrap().release.spec.expose.unwrap();
        (exposed.timeout_seconds, exposed.retries)
    };
    assert_eq!(limits(None, None, None), (None, None));
    assert_eq!(limits(Some(180), None, Some(0)), (Some(180), None));
    assert_eq!(limits(Some(180), Some("1m30s"), Some(2)), (Some(90), Some(2)));
}

#[test]
fn the_timeout_of_a_runtime_is_of_the_route_and_makes_another_release_of_what_takes_it_only() {
    let rendered = |of_runtime, expose: Option<Expose>| {
        let mut case = case("camel", "{}");
        case.runtime.spec.profiles[0].request_timeout_seconds = of_runtime;
        case.settings.expose = expose;
        case.render().unwrap().release
    };
    for same in [None, Some(expose(Some("9s"), None))] {
        assert_eq!(rendered(None, same.clone()), rendered(Some(45), same.clone()), "{same:?}");
    }
    let [without, with] = [None, Some(45)].map(|of_runtime| rendered(of_runtime, Some(expose(None, None))));
    assert_ne!(without.name_any(), with.name_any());
    assert_eq!(without.spec.template, with.spec.template, "no instance is restarted");
}

#[test]
fn a_file_that_becomes_executable_changes_the_template_and_the_name() {
    let mut case = case("camel", "{}");
    case.config = Some(files());
    let before = case.render().unwrap();
    case.config.as_mut().unwrap().get_mut("check.sh").unwrap().executable = false;
    let after = case.render().unwrap();
    assert_ne!(before.release.spec.template, after.release.spec.template);
    assert_ne!(before.release.name_any(), after.release.name_any());
}

#[test]
fn a_renamed_release_of_the_same_template_restarts_nothing() {
    let one = case("camel", "{}");
    let mut two = case("camel", "{}");
    two.build_id = "other";
    let (one, two) = (one.children().deployment.unwrap(), two.children().deployment.unwrap());
    assert_ne!(one.annotations()[names::RELEASE], two.annotations()[names::RELEASE]);
    assert_eq!(one.spec, two.spec);
}

#[test]
fn a_single_instance_never_meets_another() {
    for yaml in ["type: worker", "{instances: one, ports: [{name: http, port: 8000}]}"] {
        let Children { deployment, disruption_budget, .. } = case("container", yaml).children();
        let spec = deployment.unwrap().spec.unwrap();
        assert_eq!(spec.strategy.unwrap().type_.as_deref(), Some("Recreate"), "{yaml}");
        assert_eq!((spec.replicas, disruption_budget), (Some(1), None), "{yaml}");
    }
}

#[test]
fn what_cannot_be_rendered_says_what_to_change() {
    let api = "ports: [{name: http, port: 8000}]";
    for (runtime, yaml, told) in [
        ("container", "{}", "ports: an api needs one"),
        ("container", "{type: worker, scaling: {min: 3}}", "scaling.min: 3 instances"),
        ("camel", "{instances: one, scaling: {min: 2}}", "scaling.min: 2 instances"),
        ("container", "ports: [{name: a, port: 1}, {name: a, port: 2}]", "ports[1]: a 2 is there twice"),
        ("container", "ports: [{name: a--b, port: 1}]", "must not hold `--`"),
        ("camel", "ports: [{name: http, port: 9876}]", "keeps for its own management"),
        ("camel", "env: {JAVA_TOOL_OPTIONS: -Xmx9g}", "env.JAVA_TOOL_OPTIONS: is set by the runtime"),
        ("camel", "env: {A-B: x}", "env.A-B: the name must be"),
        ("camel", "secrets: [imaas-registry-pull]", "secrets[0]: imaas-registry-pull is the platform's"),
        (
            "camel",
            "connects: [erb]",
            "connects[0]: \"erb\" is no network of this environment; it has erp, partners",
        ),
        ("camel", "resources: {memory: 64}", "resources.memory: 64 is 64 bytes; did you mean 64Mi?"),
        ("camel", "resources: {cpu: 250}", "resources.cpu: 250 is 250 cores; did you mean 250m?"),
        ("camel", "resources: {cpu: 0}", "resources.cpu: \"0\" is no amount above zero"),
        ("camel", "resources: {memory: lots}", "resources.memory: \"lots\""),
        ("wso2-mi", "runtimeVersion: latest", "runtimeVersion: \"latest\" is not a version"),
        ("camel", "{type: worker, expose: {path: /a}}", "expose: only an `api` serves"),
        (
            "wso2-mi",
            "expose: {path: /a, port: internal}",
            "expose.port: \"internal\" is none of the service's ports; it has http, https",
        ),
        ("camel", "expose: {path: /a, timeout: 2h}", "expose.timeout: \"2h\" is no duration of 1s to 1h"),
        ("camel", "expose: {path: /a, timeout: 1s500ms}", "expose.timeout: \"1s500ms\" is no duration"),
    ] {
        let refused = case(runtime, yaml).render().unwrap_err();
        assert!(refused.to_string().contains(told), "{refused}");
    }
    for digest in ["latest", "sha256:", &DIGEST.to_uppercase(), &DIGEST[..70], &format!("{DIGEST}0")] {
        let mut case = case("container", api);
        case.digest = digest.to_owned();
        assert_eq!(case.render().unwrap_err(), RenderError::Digest, "{digest}");
    }
    let mut with_config = case("container", api);
    with_config.config = Some(files());
    assert_eq!(with_config.render().unwrap_err(), RenderError::NoConfigMount);
}

#[test]
fn where_instances_run_is_content_only_where_the_environment_says_it() {
    let placed = |case: &Case| {
        let pod = case.render().unwrap().release.spec.template.spec.unwrap();
        let stays = pod.tolerations.unwrap_or_default();
        let stays: BTreeSet<_> = stays.into_iter().filter_map(|one| one.toleration_seconds).collect();
        (stays.into_iter().collect::<Vec<_>>(), pod.priority_class_name)
    };
    let (many, one, batch) = (case("camel", "{}"), case("camel", "type: worker"), case("camel", BATCH));
    assert_eq!(placed(&many), (vec![60], None), "others serve meanwhile");
    assert_eq!(placed(&one), (vec![], None), "Kubernetes' own time: the one on the lost node may still work");
    assert_eq!(placed(&batch), (vec![], None));
    for mut case in [many, one, batch] {
        let (name, asked) = (case.name(), case.render().unwrap().release.spec);
        case.placement.evict_after_seconds = Some(10);
        case.placement.priority_class = Some("production".to_owned());
        assert_eq!(placed(&case), (vec![10], Some("production".to_owned())));
        let changed = case.render().unwrap().release;
        assert_ne!(changed.name_any(), name);
        // So it comes like a changed runtime, and the stages before, which say something else, have it at once.
        assert_eq!(changed.spec.content_revision, asked.content_revision);
        assert_eq!(changed.spec.runtime_revision, asked.runtime_revision);
    }
}

#[test]
fn an_image_of_another_tenant_is_refused() {
    let case = case("camel", "{}");
    let render = |repository| {
        render(&Input {
            tenant: "acme",
            service: "orders",
            environment: "dev",
            settings: &case.settings,
            runtime: &case.runtime,
            networks: &[],
            sources: None,
            placement: &Placement::default(),
            called: &[],
            image_repository: repository,
            digest: DIGEST,
            config: None,
            commit: "c",
            build_id: "b",
            cause: Cause::Commit,
        })
    };
    assert!(render("registry.example.com/acme/orders").is_ok());
    for foreign in
        ["registry.example.com/beta/orders", "registry.example.com/xacme/orders", "docker.io/nginx"]
    {
        assert_eq!(render(foreign).unwrap_err(), RenderError::Repository(foreign.to_owned()));
    }
}

#[test]
fn a_template_that_is_too_large_is_refused_with_its_size() {
    let mut case = case("camel", "{}");
    case.settings.env.insert("LARGE".into(), "x".repeat(16 * 1024));
    let RenderError::TemplateTooLarge { size } = case.render().unwrap_err() else { panic!("other") };
    assert!(size > 17_000, "{size}");
    case.settings.env.insert("LARGE".into(), "x".repeat(12 * 1024));
    assert!(case.render().is_ok());
}

#[test]
fn an_older_release_comes_back_without_its_files() {
    let mut case = case("camel", "{}");
    case.config = Some(files());
    let release = case.render().unwrap().release;
    let again = children(&release, None, &case.networks);
    assert_eq!(again.config_map, None);
    assert_eq!(again.deployment, case.children().deployment);
}

#[test]
fn a_network_that_the_environment_lost_is_closed() {
    let case = case("wso2-mi", MI_44);
    let release = case.render().unwrap().release;
    let before = children(&release, None, &case.networks).network_policies[0].spec.clone().unwrap();
    assert_eq!(before.egress.as_ref().map(Vec::len), Some(1));
    let after = children(&release, None, &[]).network_policies[0].spec.clone().unwrap();
    assert_eq!((after.egress, after.policy_types), (None, Some(vec!["Ingress".to_owned()])));
    assert_eq!(after.ingress, before.ingress);
}

/// The Release is stored and read again before it is rolled out; nothing may differ then.
#[test]
fn a_stored_release_gives_the_same_objects() {
    for (_, case) in cases() {
        let Rendered { release, config } = case.render().unwrap();
        let config_map = config_map(config.as_ref());
        let stored: Release = serde_json::from_str(&serde_json::to_string(&release).unwrap()).unwrap();
        assert_eq!(children(&stored, config_map.as_ref(), &case.networks), case.children());
    }
}

#[test]
fn what_counts_requests_is_frozen_where_they_move_the_number_and_of_others_is_no_part() {
    let by_requests = "scaling: {max: 4, triggers: [{requests: {perSecond: 20}}]}";
    let made = |settings: &str, counter: &str, sum: &str| {
        let mut case = case("camel", settings);
        let metrics = case.runtime.spec.profiles[0].metrics.as_mut().unwrap();
        counter.clone_into(&mut metrics.counts.as_mut().unwrap().requests);
        metrics.latency.as_mut().unwrap().sum = Some(sum.to_owned());
        case.render().unwrap().release
    };
    let first = made(by_requests, "a_total", "s_sum");
    let scaling = first.spec.scaling.clone().unwrap();
    assert_eq!(scaling.counts.unwrap().requests, "a_total");
    assert_eq!(scaling.latency, None, "nobody asks for it");
    assert_eq!(made(by_requests, "a_total", "other_sum").name_any(), first.name_any());
    let renamed = made(by_requests, "b_total", "s_sum");
    assert_ne!(renamed.name_any(), first.name_any());
    assert_eq!(renamed.spec.template, first.spec.template, "its pods stay");
    for others in
        ["", "scaling: {max: 4}", "scaling: {min: 2, max: 2, triggers: [{requests: {perSecond: 20}}]}"]
    {
        let name = made(others, "a_total", "s_sum").name_any();
        assert_eq!(made(others, "b_total", "other_sum").name_any(), name, "{others}");
    }
}
