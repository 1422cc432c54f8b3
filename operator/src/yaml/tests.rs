use std::time::{Duration, Instant};

use proptest::prelude::{Strategy as _, *};

use super::{DescriptorSpec, Problem, descriptor, settings, tenant};
use crate::api::{MemberKind, Role, Strategy, WorkloadType};

const TENANT: &str = r#"apiVersion: imaas.dev/v1alpha1
kind: Tenant
metadata: {name: acme}
spec:
  contact: integrations@acme.example
  members:
    - {kind: Group, name: acme-leads, role: owner}
  environments:
    test: {omit: true}
    prod: {quota: {cpu: 8, memory: 16Gi}}
  services:
    - name: orders
      repository: {url: "https://git.example.com/acme/orders.git", credentials: orders-git}
      path: services/orders
      runtime: camel
      branches: {prod: release/1.x}
"#;

const DESCRIPTOR: &str = r#"apiVersion: imaas.dev/v1alpha1
kind: ServiceDescriptor
type: worker
runtimeVersion: "4.4"
ports: [{name: http, port: 8290}]
resources: {cpu: 0.5, memory: 512Mi}
scaling: {min: 2}
env: {LOG_LEVEL: info}
environments:
  prod:
    scaling: {min: 3}
    env: {LOG_LEVEL: null, REGION: eu}
    rollout: {strategy: recreate}
"#;

fn told(problems: &[Problem]) -> Vec<String> {
    problems.iter().map(ToString::to_string).collect()
}

fn tenant_problems(text: impl AsRef<[u8]>) -> Vec<String> {
    told(&tenant(text.as_ref()).expect_err("this file is broken"))
}

/// What is told of the good tenant file after one replacement.
fn tenant_with(good: &str, bad: &str) -> Vec<String> {
    assert!(TENANT.contains(good), "{good}");
    tenant_problems(TENANT.replacen(good, bad, 1))
}

fn descriptor_with(good: &str, bad: &str) -> Vec<String> {
    assert!(DESCRIPTOR.contains(good), "{good}");
    told(&descriptor(DESCRIPTOR.replacen(good, bad, 1).as_bytes()).expect_err("this file is broken"))
}

#[test]
fn a_good_tenant_file_is_read_whole() {
    let tenant = tenant(TENANT.as_bytes()).unwrap();
    assert_eq!(tenant.metadata.name.as_deref(), Some("acme"));
    let spec = tenant.spec;
    assert_eq!((spec.members[0].kind, spec.members[0].role), (MemberKind::Group, Role::Owner));
    assert!(spec.environments["test"].omit);
    assert_eq!(spec.environments["prod"].quota.as_ref().unwrap().cpu.as_ref().unwrap().0, "8");
    let service = &spec.services[0];
    assert_eq!((service.name.as_str(), service.spec.runtime.as_str()), ("orders", "camel"));
    assert_eq!(service.spec.branches["prod"], "release/1.x");
}

#[test]
fn a_good_descriptor_is_read_and_merged_by_environment() {
    let descriptor = descriptor(DESCRIPTOR.as_bytes()).unwrap();
    assert_eq!(descriptor.spec.type_, WorkloadType::Worker);
    assert_eq!(descriptor.spec.resources.cpu.millis(), Some(500));
    assert_eq!(settings(&descriptor, "dev").unwrap(), descriptor.spec);

    let prod: DescriptorSpec = settings(&descriptor, "prod").unwrap();
    assert_eq!((prod.scaling.min, prod.rollout.strategy), (3, Strategy::Recreate));
    assert_eq!(prod.env.into_iter().collect::<Vec<_>>(), [("REGION".to_owned(), "eu".to_owned())]);
    assert_eq!(prod.resources, descriptor.spec.resources, "what a patch does not name stays");
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn every_mistake_in_a_tenant_file_is_told_with_its_place() {
    for (good, bad, expected) in [
        (
            "runtime: camel",
            "path2: x",
            vec![
                "12:7: spec.services[0].runtime: missing",
                "15:7: spec.services[0].path2: unknown field, did you mean \"path\"?",
            ],
        ),
        ("  services:", "  servces:", vec!["11:3: spec.servces: unknown field, did you mean \"services\"?"]),
        (
            "cpu: 8,",
            "cpu: \"8 cores\",",
            vec!["10:25: spec.environments.prod.quota.cpu: \"8 cores\" is not a quantity such as 8 or 250m"],
        ),
        (
            "16Gi",
            "1e99",
            vec![
                "10:36: spec.environments.prod.quota.memory: \"1e+99\" is not a quantity such as 512Mi or 16Gi",
            ],
        ),
        (
            "cpu: 8,",
            "cpu: 9223372036854775808,",
            vec![
                "10:25: spec.environments.prod.quota.cpu: \"9223372036854775808\" is not a quantity such as 8 or 250m",
            ],
        ),
        (
            "omit: true",
            "omit: yes",
            vec!["9:18: spec.environments.test.omit: expected true or false, found \"yes\""],
        ),
        (
            "{name: acme}",
            "{name: acme, labels: {a: b}}",
            vec!["3:24: metadata.labels: unknown field, only `name` is accepted here"],
        ),
        (
            "{name: acme}",
            "{name: acme, namespace: kube-system}",
            vec!["3:24: metadata.namespace: unknown field, only `name` is accepted here"],
        ),
        (
            "{name: acme}",
            "{generateName: acme}",
            vec![
                "3:11: metadata.name: missing",
                "3:12: metadata.generateName: unknown field, only `name` is accepted here",
            ],
        ),
        ("kind: Tenant", "kind: ClusterRole", vec!["2:7: kind: must be Tenant"]),
        ("kind: Tenant", "kind: List", vec!["2:7: kind: must be Tenant"]),
        ("kind: Tenant", "kind: tenant", vec!["2:7: kind: must be Tenant"]),
        ("imaas.dev/v1alpha1", "Imaas.dev/v1alpha1", vec!["1:13: apiVersion: must be imaas.dev/v1alpha1"]),
        ("{name: acme}", "{name: kube-acme}", vec!["3:18: metadata.name: this name is reserved"]),
        (
            "{name: acme}",
            "{name: Acme}",
            vec![
                "3:18: metadata.name: at most 50 lower-case letters, digits and `-`, beginning with a letter and not ending in `-`",
            ],
        ),
        ("kind: Tenant", "kind: Tennant", vec!["2:7: kind: must be Tenant"]),
        ("v1alpha1", "v1", vec!["1:13: apiVersion: must be imaas.dev/v1alpha1"]),
        (
            "role: owner",
            "role: onwer",
            vec![
                "7:45: spec.members[0].role: \"onwer\" is not one of owner, developer, viewer, did you mean \"owner\"?",
            ],
        ),
        (
            "kind: Group",
            "kind: ServiceAccount",
            vec![
                "7:7: spec.members[0]: a ServiceAccount is in a namespace: write `namespace: …` beside its name",
            ],
        ),
        (
            "acme-leads",
            "system:masters",
            vec!["7:27: spec.members[0].name: system identities cannot be members"],
        ),
        (
            "name: orders",
            "name: Orders",
            vec![
                "12:13: spec.services[0].name: \"Orders\" is not a name: lower-case letters, digits and `-`, beginning with a letter and not ending in `-`",
            ],
        ),
        (
            "name: orders",
            "name: orders-canary",
            vec![
                "12:13: spec.services[0].name: must not end in -canary, -stable or -preview nor begin with imaas- or keda-hpa-: these names are the operator's",
            ],
        ),
        (
            "https://git",
            "https://me:hush@git",
            vec![
                "13:25: spec.services[0].repository.url: must not hold a user or password: put them in a Secret and name it in `credentials`",
            ],
        ),
        (
            "https://git.example.com/acme/orders.git",
            "git@git.example.com:acme/orders.git",
            vec![
                "13:25: spec.services[0].repository.url: write https://git.example.com/acme/orders.git, and for a private repository name a Secret with `username` and `password` in `credentials`",
            ],
        ),
        (
            "https://git.example.com/acme/orders.git",
            "ssh://bob:hunt@r2@git.example.com/acme/orders.git",
            vec![
                "13:25: spec.services[0].repository.url: write https://git.example.com/acme/orders.git, and for a private repository name a Secret with `username` and `password` in `credentials`",
            ],
        ),
        (
            "https://git.example.com/acme/orders.git",
            "git.example.com/acme/orders.git",
            vec!["13:25: spec.services[0].repository.url: must begin with https://"],
        ),
        (
            "name: acme-leads",
            "name: \" acme-leads\"",
            vec![
                "7:27: spec.members[0].name: \" acme-leads\" is not a name as it is seen: without invisible characters, and without white space but spaces between words: type it anew",
            ],
        ),
        (
            "name: acme-leads",
            "name: acme\u{a0}leads",
            vec![
                "7:27: spec.members[0].name: \"acme\\u{a0}leads\" is not a name as it is seen: without invisible characters, and without white space but spaces between words: type it anew",
            ],
        ),
        (
            "path: services/orders",
            "path: services/../x",
            vec!["14:13: spec.services[0].path: must be a plain relative path, such as `services/orders`"],
        ),
        (
            "path: services/orders",
            "path: 12",
            vec!["14:13: spec.services[0].path: expected text, found 12: write it in quotes, as \"12\""],
        ),
        (
            "  contact: integrations@acme.example",
            "  contact: \"\"",
            vec!["5:12: spec.contact: must not be empty"],
        ),
        (
            "  contact: integrations@acme.example",
            "  limits: {total: {cpu: 8}}",
            vec![
                "5:3: spec.limits: stands in limits/<tenant>.yaml beside the directory of the tenant files, which the platform team writes: remove it here",
            ],
        ),
        (
            "  contact: integrations@acme.example",
            "  quota: {cpu: 8}",
            vec![
                "5:3: spec.quota: is asked for by environment: write it as spec.environments.<name>.quota; a total is the platform team's, in limits/<tenant>.yaml",
            ],
        ),
        (
            "      runtime: camel",
            "      runtime: camel\n      exportTo: [{tenant: beta}, {tenant: b, service: c}, {tenant: b, service: c}]",
            vec![
                "16:18: spec.services[0].exportTo[0].service: missing",
                "16:68: spec.services[0].exportTo[2].tenant: \"b\" \"c\" is listed twice, first in line 16",
            ],
        ),
        (
            "  services:",
            "  services:\n    - {name: orders, runtime: camel, repository: {url: \"https://h/x\"}}",
            vec!["13:13: spec.services[1].name: \"orders\" is listed twice, first in line 12"],
        ),
    ] {
        assert_eq!(tenant_with(good, bad), expected, "{good} -> {bad}");
    }
}

#[test]
fn every_mistake_in_a_descriptor_is_told_with_its_place() {
    for (good, bad, expected) in [
        ("type: worker", "type: daemon", vec!["3:7: type: \"daemon\" is not one of api, worker, batch"]),
        (
            "\"4.4\"",
            "4.4",
            vec!["4:17: runtimeVersion: expected text, found 4.4: write it in quotes, as \"4.4\""],
        ),
        ("8290", "0", vec!["5:28: ports[0].port: must be between 1 and 65535"]),
        ("8290", "70000", vec!["5:28: ports[0].port: must be between 1 and 65535"]),
        ("8290", "-1", vec!["5:28: ports[0].port: must be between 1 and 65535"]),
        ("8290", "0808", vec!["5:28: ports[0].port: expected a whole number, found \"0808\""]),
        (
            "{min: 2}",
            "{min: 2, max: 101, cpu: 0, memory: 101, schedule: []}",
            vec![
                "7:24: scaling.max: must be between 0 and 100",
                "7:34: scaling.cpu: must be between 1 and 1000",
                "7:45: scaling.memory: must be between 1 and 100",
                "7:50: scaling.schedule: is written as `scaling: {windows: [{schedule: …, duration: …, min: …}]}`",
            ],
        ),
        (
            "env: {LOG_LEVEL: info}",
            "schedule: \"@daily\"",
            vec![r#"8:11: schedule: expected fields, found "@daily": write `schedule: {cron: "@daily"}`"#],
        ),
        (
            "env: {LOG_LEVEL: info}",
            "expose: {path: orders, host: acme.example.com}",
            vec![
                "8:16: expose.path: \"orders\" is not an absolute path of letters, digits and `._~-`, without `/` at the end, such as `/orders`",
                "8:24: expose.host: unknown field",
            ],
        ),
        (
            "env: {LOG_LEVEL: info}",
            "expose: {path: /a/../b}",
            vec!["8:16: expose.path: must be an absolute path without `.` and `..`, such as `/orders`"],
        ),
        (
            "env: {LOG_LEVEL: info}",
            "rollout: {strategy: blueGreen, smoke: {path: '/a/..?x=1'}}",
            vec![
                "8:46: rollout.smoke.path: must be an absolute path without `.` and `..`, such as `/orders/health`",
            ],
        ),
        (
            "env: {LOG_LEVEL: info}",
            "uses: [{service: stock, as: STOCK}, {tenant: beta, service: stock, as: STOCK}, {service: a, as: A-B}]",
            vec![
                "8:72: uses[1].as: \"STOCK\" is listed twice, first in line 8",
                "8:97: uses[2].as: \"A-B\" is not the name of a variable: letters, digits and `_`, not beginning with a digit",
            ],
        ),
        (
            "env: {LOG_LEVEL: info}",
            "env: {PORT: 8080}",
            vec!["8:13: env.PORT: expected text, found 8080: write it in quotes, as \"8080\""],
        ),
        (
            "env: {LOG_LEVEL: info}",
            "image: {digest: \"latest\"}",
            vec!["8:17: image.digest: \"latest\" is not a digest: `sha256:` and 64 hexadecimal digits"],
        ),
        (
            "strategy: recreate",
            "analysis: {error: 1}",
            vec!["13:26: environments.prod.rollout.analysis.error: unknown field, did you mean \"errors\"?"],
        ),
        (
            "    scaling: {min: 3}",
            "    scaling: {mim: 3}",
            vec!["11:15: environments.prod.scaling.mim: unknown field, did you mean \"min\"?"],
        ),
        ("    scaling: {min: 3}", "    kind: Pod", vec!["11:5: environments.prod.kind: unknown field"]),
        (
            "  prod:\n    scaling: {min: 3}",
            "  test: 3\n  prod:",
            vec!["10:9: environments.test: expected fields, found 3"],
        ),
    ] {
        assert_eq!(descriptor_with(good, bad), expected, "{good} -> {bad}");
    }
}

#[test]
fn all_problems_are_told_at_once_and_in_order() {
    let text = TENANT
        .replacen("contact", "contct", 1)
        .replacen("role: owner", "role: king", 1)
        .replacen("runtime: camel", "runtime: Camel!", 1)
        .replacen("{name: acme}", "{name: default}", 1);
    let places: Vec<_> = tenant(text.as_bytes())
        .unwrap_err()
        .into_iter()
        .map(|problem| (problem.line, problem.path))
        .collect();
    assert_eq!(
        places,
        [
            (3, "metadata.name".to_owned()),
            (5, "spec.contct".to_owned()),
            (7, "spec.members[0].role".to_owned()),
            (15, "spec.services[0].runtime".to_owned()),
        ]
    );
}

#[test]
fn what_a_description_never_needs_of_yaml_is_refused_with_its_place() {
    for (text, expected) in [
        (
            "a: &x 1\nb: *x\n",
            vec![
                "anchors (`&name`) are not accepted: write the value out where it is used",
                "aliases (`*name`) are not accepted: write the value out",
            ],
        ),
        ("b: *nowhere\n", vec!["aliases (`*name`) are not accepted: write the value out"]),
        ("a: !!python/object:os.system x\n", vec!["1:4: tags (`!name`) are not accepted: remove it"]),
        ("<<: {a: b}\n", vec!["1:1: merge keys (`<<`) are not accepted: write the fields out"]),
        ("kind: Tenant\nkind: Tenant\n", vec!["2:1: `kind` is given twice, first in line 1"]),
        ("[a, b]: 1\n", vec!["1:1: a key must be a plain word"]),
        (
            "kind: Tenant\n---\nkind: Tenant\n",
            vec!["2:1: a second document begins: one file is one document"],
        ),
        ("", vec!["1:1: the file is empty"]),
        ("# nothing\n", vec!["1:1: the file is empty"]),
        ("- a\n", vec!["1:1: expected fields such as `apiVersion: imaas.dev/v1alpha1`"]),
        ("kind: \"Tenant\n", vec!["1:7: the quote that begins here is not closed"]),
        ("%YAML 1.1\n---\nkind: Tenant\n", vec!["1:1: "]),
        ("kind:\n\tTenant\n", vec!["2:"]),
        ("a: b\n c: d\n", vec!["2:"]),
    ] {
        let told = tenant_problems(text);
        for part in expected {
            assert!(
                told.iter().any(|problem| problem.contains(part)),
                "{text:?}: {part} is not in {told:#?}"
            );
        }
    }
}

#[test]
fn bytes_that_an_editor_does_not_show_are_refused_with_their_place() {
    for (text, expected) in [
        (b"\xFF\xFEa\0".as_slice(), "1:1: the file is UTF-16: save it as UTF-8"),
        (b"\xEF\xBB\xBFa: b", "1:1: the file begins with a byte order mark: save it as UTF-8 without one"),
        (b"a: b\nc: d\0", "2:5: the invisible character U+0000 stands here: remove it"),
        ("a: b\nc: \u{202E}d".as_bytes(), "2:4: the invisible character U+202E stands here: remove it"),
        (
            "spec:\n  members: [{name: jo\u{2060}}]".as_bytes(),
            "2:22: the invisible character U+2060 stands here: remove it",
        ),
        ("a: b\u{AD}".as_bytes(), "1:5: the invisible character U+00AD stands here: remove it"),
        (b"a: \xC3\x28", "1:4: not UTF-8 from here on: save the file as UTF-8"),
    ] {
        assert_eq!(tenant_problems(text), [expected]);
    }
}

#[test]
fn a_tab_that_indents_is_told_where_it_stands() {
    for (text, place) in [
        ("kind: Tenant\nspec:\n\tcontact: a\n", "3:1"),
        ("kind: Tenant\nspec:\n  contact: a\n\tmembers: []\n", "4:1"),
        ("kind: Tenant\nspec:\n  members:\n\t- {kind: User}\n", "4:1"),
        ("spec:\n\tmembers:\n\t\t- {kind: User}\n", "2:1"),
    ] {
        let told = format!("{place}: a tab indents this line, which YAML does not take: use spaces");
        assert_eq!(tenant_problems(text), [told], "{text:?}");
    }
    let other = tenant_problems("kind: Tenant\nspec:\n  contact: 'a\tb'\n  members: [\n");
    assert!(!other[0].contains("tab"), "{other:?}");
}

#[test]
fn a_forgotten_unit_is_told_at_its_place_beside_mistakes_of_form() {
    let told = descriptor_with(
        "resources: {cpu: 0.5, memory: 512Mi}\nscaling: {min: 2}",
        "resources: {cpu: 250, memory: 64, disk: 1}\nscaling: {mim: 2}",
    );
    assert_eq!(
        told,
        [
            "6:18: resources.cpu: 250 is 250 cores; did you mean 250m?",
            "6:31: resources.memory: 64 is 64 bytes; did you mean 64Mi?",
            "6:35: resources.disk: unknown field, accepted here are cpu, memory",
            "7:11: scaling.mim: unknown field, did you mean \"min\"?",
        ]
    );
    let own = descriptor_with("    scaling: {min: 3}", "    resources: {memory: 64}");
    assert_eq!(own, ["11:25: environments.prod.resources.memory: 64 is 64 bytes; did you mean 64Mi?"]);
}

#[test]
fn a_directory_and_ports_that_cannot_be_are_told_where_they_stand() {
    for config in ["cfg/", "a/../../x", "./cfg", ".."] {
        let told = descriptor_with("type: worker\n", &format!("type: worker\nconfig: {config}\n"));
        let wanted = "4:9: config: must be a plain path below the service's own directory, such as `config`";
        assert_eq!(told, [wanted], "{config}");
    }
    let ports = descriptor_with(
        "[{name: http, port: 8290}]",
        "[{name: http, port: 8290}, {name: http, port: 8291}, {name: admin, port: 8290}]",
    );
    assert_eq!(
        ports,
        [
            "5:8: ports: a port's number is there twice: give each its own",
            "5:42: ports[1].name: \"http\" is listed twice, first in line 5",
        ]
    );
}

#[test]
fn what_an_escape_hides_is_refused_like_what_stands_there() {
    let contact = "contact: integrations@acme.example";
    for (escape, code) in
        [("\\e[31m", "001B"), ("a\\0", "0000"), ("\\u202e", "202E"), ("\\x85", "0085"), ("\\L", "2028")]
    {
        let told = format!("the text holds the invisible character U+{code}: leave it out");
        let value = tenant_with(contact, &format!("contact: \"{escape}\""));
        assert_eq!(value, [format!("5:12: {told}")], "{escape}");
        let key = tenant_with(contact, &format!("\"{escape}\": x"));
        assert_eq!(key, [format!("5:3: {told}")], "a key, and nothing that repeats it");
    }
    let lines = TENANT.replace(contact, "contact: \"a\\tb\\nc\"");
    assert_eq!(tenant(lines.as_bytes()).unwrap().spec.contact.as_deref(), Some("a\tb\nc"));
}

#[test]
fn bombs_are_refused_at_once() {
    let aliases = (1..9).fold("a0: &a0 [x]\n".to_owned(), |text, level| {
        let below = format!("*a{}, ", level - 1).repeat(9);
        format!("{text}a{level}: &a{level} [{below}]\n")
    });
    let bombs = [
        aliases.into_bytes(),
        b"[".repeat(100_000),
        b"[".repeat(60_000),
        b"{a: ".repeat(16_000),
        b"- ".repeat(30_000),
        b"? ".repeat(30_000),
        b"- a\n".repeat(5_000_000),
        b"---\n".repeat(16_000),
        b"a: {b: c}\n".repeat(6_000),
        format!("spec: {{{}}}", "a:,".repeat(20_000)).into_bytes(),
        format!("spec: {{services: [{}]}}", "{name: a},".repeat(6_000)).into_bytes(),
    ];
    for bomb in bombs {
        // A few milliseconds each; the bound leaves room for a busy machine, a bomb that works takes minutes.
        let begun = Instant::now();
        let problems = tenant(&bomb).unwrap_err();
        let head = String::from_utf8_lossy(&bomb[..20]).into_owned();
        assert!(begun.elapsed() < Duration::from_secs(10), "{head}: {:?}", begun.elapsed());
        assert!(!problems.is_empty() && problems.len() <= 50, "{head}: {}", problems.len());
    }
}

/// Pieces of YAML that a grammar trips over.
fn fragments() -> impl proptest::strategy::Strategy<Value = String> {
    proptest::collection::vec(
        proptest::sample::select(vec![
            "a",
            ": ",
            "\n",
            "  ",
            "- ",
            "{",
            "}",
            "[",
            "]",
            "&x ",
            "*x",
            "!t ",
            "|\n",
            ">\n",
            "'",
            "\"",
            "#",
            "? ",
            "spec",
            "services",
            "name",
            "metadata",
            "environments",
            "prod",
            "\t",
            "---\n",
            "<<",
            "null",
            "1e9",
            "é",
            ",",
        ]),
        0..60,
    )
    .prop_map(|parts| parts.concat())
}

#[test]
fn more_environments_than_there_may_be_are_not_judged_one_by_one() {
    let head = "apiVersion: imaas.dev/v1alpha1\nkind: ServiceDescriptor\ntype: api\nenvironments:\n";
    let patches = (0..40).fold(String::new(), |all, index| all + &format!("  e{index}: {{typ: api}}\n"));
    let told = descriptor((head.to_owned() + &patches).as_bytes()).unwrap_err();
    assert_eq!(told.len(), 17, "{told:#?}");
    assert!(told[0].message.contains("at most 16"), "{}", told[0]);
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(text in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = (tenant(&text), descriptor(&text));
    }

    #[test]
    fn no_yaml_makes_it_panic(text in fragments()) {
        let _ = (tenant(text.as_bytes()), descriptor(text.as_bytes()));
    }

    #[test]
    fn a_good_file_cut_anywhere_is_read_or_refused(at in 0..TENANT.len()) {
        for problem in tenant(&TENANT.as_bytes()[..at]).err().into_iter().flatten() {
            prop_assert!(problem.line > 0 && problem.column > 0, "{problem}");
        }
    }
}
