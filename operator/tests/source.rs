//! The pure half of the central repository: files in, what is applied, marked or refused out.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

use std::{collections::BTreeMap, fs, path::Path, sync::Arc};

use imaas_operator::{
    api::{Environment, Tenant},
    environment,
    git::UrlPolicy,
    names::{MANAGED_BY, ORIGIN, TRANSFER_TO},
    source::{
        check::{Checked, Surroundings, check},
        mark::Mark,
        parse::{Files, Parsed, SourceFile, file_name, parse},
        plan::{Before, Plan, plan},
    },
};
use kube::ResourceExt;
use proptest::prelude::*;

/// Not the root, so that a path without it shows.
const DIRECTORY: &str = "in/tenants";
const COMMIT: &str = "4f2a0b1c4f2a0b1c4f2a0b1c4f2a0b1c4f2a0b1c";

fn text(name: &str) -> String {
    format!(
        "apiVersion: imaas.dev/v1alpha1\nkind: Tenant\nmetadata: {{name: {name}}}\nspec:\n  services:\n    - name: orders\n      repository: {{url: \"https://git.example.com/{name}/orders.git\"}}\n      runtime: camel\n"
    )
}

fn files<'a>(texts: impl IntoIterator<Item = (&'a str, String)>) -> Files {
    let regular = texts.into_iter().map(|(file, content)| {
        let source = SourceFile { blob: format!("{file}{content}"), content: content.into_bytes() };
        (file.to_owned(), source)
    });
    Files { regular: regular.collect(), ..Files::default() }
}

/// Dev with a bound, prod with a default only.
fn environments() -> Vec<Environment> {
    ["dev:{default: {cpu: 2}, max: {cpu: 8, memory: 16Gi, pods: 50}}", "prod:{default: {cpu: 4, memory: 8Gi}}"]
        .map(|line| {
            let (name, quota) = line.split_once(':').unwrap();
            let text = format!(
                "{{apiVersion: imaas.dev/v1alpha1, kind: Environment, metadata: {{name: {name}}}, spec: {{quota: {quota}}}}}"
            );
            serde_saphyr::from_str(&text).unwrap()
        })
        .into()
}

fn checked_files(files: &Files) -> Checked {
    check_parsed(&parse(files, &Parsed::default()))
}

fn check_parsed(parsed: &Parsed) -> Checked {
    let environments = environments();
    let surroundings = Surroundings {
        directory: DIRECTORY,
        environments: &environment::check(&environments),
        runtimes: vec!["camel".to_owned(), "container".to_owned()],
        urls: &UrlPolicy::default(),
    };
    check(parsed, &surroundings)
}

fn checked<'a>(texts: impl IntoIterator<Item = (&'a str, String)>) -> Checked {
    checked_files(&files(texts))
}

fn told(checked: &Checked) -> Vec<String> {
    checked.problems().into_iter().map(ToString::to_string).collect()
}

/// A Tenant as the cluster has it.
fn live(name: &str, annotations: &[(&str, &str)]) -> Arc<Tenant> {
    let mut tenant = checked([("x.yaml", text("x"))]).valid.remove("x").unwrap();
    tenant.metadata.name = Some(name.to_owned());
    tenant.metadata.annotations =
        Some(annotations.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect());
    Arc::new(tenant)
}

fn names<'a>(tenants: impl IntoIterator<Item = &'a Tenant>) -> Vec<String> {
    tenants.into_iter().map(ResourceExt::name_any).collect()
}

fn planned(checked: &Checked, existing: &[Arc<Tenant>]) -> Plan {
    plan(&Before::new("central", existing), checked)
}

fn annotations(wanted: &[Tenant], name: &str) -> BTreeMap<String, String> {
    let tenant = wanted.iter().find(|tenant| tenant.name_any() == name).unwrap();
    assert_eq!(tenant.labels()[MANAGED_BY], "imaas-operator");
    tenant.annotations().clone()
}

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn each_file_becomes_one_tenant_of_the_source() {
    let checked = checked([
        ("acme.yaml", text("acme")),
        ("beta.yaml", text("beta")),
        ("README.md", "# Tenants".into()),
        ("CODEOWNERS", "* @platform".into()),
    ]);
    assert_eq!(told(&checked), [""; 0]);
    let plan = planned(&checked, &[]);
    assert_eq!(names(&plan.apply), ["acme", "beta"]);
    assert_eq!(annotations(&plan.apply, "acme"), map(&[(ORIGIN, "central")]));
    assert_eq!(plan.marks(COMMIT), ["acme", "beta"].map(|name| (name.to_owned(), Mark::None)));
    assert_eq!(Plan { apply: Vec::new(), ..plan }, Plan::default(), "and nothing else");
}

#[test]
fn what_the_platform_does_not_have_is_told_with_its_place() {
    let service = "  services:\n    - name: orders\n      repository: {url: \"https://git.example.com/acme/orders.git\"}\n      runtime: camel\n";
    for (bad, expected) in [
        (
            "  environments:\n    stage: {omit: true}\n".to_owned(),
            vec![
                "in/tenants/acme.yaml:6:12: spec.environments.stage: there is no Environment \"stage\", only dev, prod",
            ],
        ),
        (
            "  environments:\n    dev: {quota: {cpu: 8001m, memory: 17Gi, pods: 51}}\n".to_owned(),
            vec![
                "in/tenants/acme.yaml:6:24: spec.environments.dev.quota.cpu: 8001m is more than 8, the most that Environment dev gives: ask for less, or ask the platform team",
                "in/tenants/acme.yaml:6:39: spec.environments.dev.quota.memory: 17Gi is more than 16Gi, the most that Environment dev gives: ask for less, or ask the platform team",
                "in/tenants/acme.yaml:6:51: spec.environments.dev.quota.pods: 51 is more than 50, the most that Environment dev gives: ask for less, or ask the platform team",
            ],
        ),
        (
            "  environments:\n    prod: {quota: {cpu: 5, pods: 9999}}\n".to_owned(),
            vec![
                "in/tenants/acme.yaml:6:25: spec.environments.prod.quota.cpu: 5 is more than 4, the most that Environment prod gives: ask for less, or ask the platform team",
                "in/tenants/acme.yaml:6:34: spec.environments.prod.quota.pods: 9999 is more than 50, the most that Environment prod gives: ask for less, or ask the platform team",
            ],
        ),
        (
            service.replace("camel", "mule"),
            vec![
                "in/tenants/acme.yaml:8:16: spec.services[0].runtime: there is no IntegrationRuntime \"mule\", only camel, container",
            ],
        ),
        (
            format!("{service}      branches: {{stage: main, prod: \"-x\"}}\n"),
            vec![
                "in/tenants/acme.yaml:9:25: spec.services[0].branches.stage: there is no Environment \"stage\", only dev, prod",
                "in/tenants/acme.yaml:9:37: spec.services[0].branches.prod: is not a plain branch name, such as `main` or `release/1.x`",
            ],
        ),
        (
            service.replace("https://git.example.com", "https://10.0.0.1"),
            vec![
                "in/tenants/acme.yaml:7:25: spec.services[0].repository.url: the host 10.0.0.1 is inside the cluster or a private network; the platform team can allow it by name",
            ],
        ),
        (
            service.replace("https://git", "http://git"),
            vec![
                "in/tenants/acme.yaml:7:25: spec.services[0].repository.url: http is refused because it is not encrypted; use https",
            ],
        ),
    ] {
        let text =
            format!("apiVersion: imaas.dev/v1alpha1\nkind: Tenant\nmetadata: {{name: acme}}\nspec:\n{bad}");
        let checked = checked([("acme.yaml", text), ("beta.yaml", self::text("beta"))]);
        assert_eq!(told(&checked), expected);
        assert_eq!(names(checked.valid.values()), ["beta"], "the others go on");
    }
}

#[test]
fn what_the_tenants_own_stage_would_refuse_is_told_with_its_place() {
    let members =
        "  members:\n    - {kind: User, name: jo, role: owner}\n    - {kind: User, name: jo, role: viewer}\n";
    let file = text("acme") + members;
    let checked = checked([("acme.yaml", file), ("kube-x.yaml", text("kube-x"))]);
    let told = told(&checked);
    assert_eq!(told.len(), 2, "{told:?}");
    assert_eq!(
        told[0],
        "in/tenants/acme.yaml:11:26: spec.members[1].name: \"jo\" is listed twice: keep the line with the role that is meant"
    );
    assert!(told[1].starts_with("in/tenants/kube-x.yaml:3:18: metadata.name: "), "{}", told[1]);
}

#[test]
fn a_quota_up_to_the_bound_is_accepted_however_it_is_written() {
    let text = format!(
        "{}  environments:\n    dev: {{quota: {{cpu: 8000m, memory: 16384Mi, pods: 50}}}}\n",
        text("acme")
    );
    assert_eq!(told(&checked([("acme.yaml", text)])), [""; 0]);
}

#[test]
fn a_broken_file_keeps_its_tenant_as_it_is_and_says_why() {
    let checked = checked([("acme.yaml", "spec: [".into()), ("new.yaml", "kind: Pod".into())]);
    let existing = [live("acme", &[(ORIGIN, "central")])];
    let plan = planned(&checked, &existing);
    assert_eq!((plan.apply.as_slice(), plan.orphan.as_slice()), ([].as_slice(), [].as_slice()));
    let [(tenant, Mark::Problem(problem))] = &plan.marks(COMMIT)[..] else {
        panic!("nothing is made of a broken file")
    };
    assert_eq!(tenant, "acme");
    assert!(problem.starts_with("in/tenants/acme.yaml:1:7:"), "{problem}");
}

#[test]
fn a_tenant_of_another_origin_is_refused_and_not_touched() {
    let existing = [
        live("acme", &[(ORIGIN, "other")]),
        live("beta", &[]),
        live("gone", &[(ORIGIN, "other")]),
        live("hand", &[]),
    ];
    for broken in [false, true] {
        let checked = checked([
            ("acme.yaml", if broken { "broken: [".into() } else { text("acme") }),
            ("beta.yaml", text("beta")),
        ]);
        let plan = planned(&checked, &existing);
        let conflicts = [("acme".to_owned(), "other".to_owned()), ("beta".to_owned(), "manual".to_owned())];
        assert_eq!(plan.marks(COMMIT), []);
        assert_eq!(plan, Plan { conflict: conflicts.into(), ..Plan::default() });
    }
}

#[test]
fn a_tenant_that_is_handed_over_is_taken_with_a_valid_file_and_orphaned_by_nobody() {
    let existing = [
        live("acme", &[(ORIGIN, "other"), (TRANSFER_TO, "central")]),
        live("beta", &[(TRANSFER_TO, "central")]),
    ];
    let with = |acme: &str| checked([("acme.yaml", acme.to_owned()), ("beta.yaml", text("beta"))]);
    let plan = planned(&with(&text("acme")), &existing);
    assert_eq!((names(&plan.apply), plan.conflict.len()), (vec!["acme".to_owned(), "beta".to_owned()], 0));
    let plan = planned(&with("broken: ["), &existing);
    assert_eq!(
        (names(&plan.apply), plan.conflict.len()),
        (vec!["beta".to_owned()], 0),
        "it waits for a valid file"
    );

    let others = self::plan(&Before::new("other", &existing), &checked([("x.yaml", text("x"))]));
    assert_eq!(others.marks(COMMIT), [("x".to_owned(), Mark::None), ("acme".to_owned(), Mark::None)]);
    assert_eq!((others.orphan.as_slice(), others.held), ([].as_slice(), None));
}

#[test]
fn a_file_that_names_another_tenant_holds_both() {
    let checked = checked([("acme.yaml", text("beta"))]);
    assert_eq!(
        told(&checked),
        [
            "in/tenants/acme.yaml:3:18: metadata.name: \"beta\" is not the file's name: write acme here, or rename the file to beta.yaml"
        ],
        "once"
    );
    let existing = [live("acme", &[(ORIGIN, "central")]), live("beta", &[(ORIGIN, "central")])];
    let plan = planned(&checked, &existing);
    assert_eq!((plan.broken.len(), plan.orphan.len(), plan.apply.len()), (2, 0, 0));
}

#[test]
fn whoever_a_misnamed_file_names_is_held_whatever_else_is_wrong_with_it() {
    let existing = [live("acme", &[(ORIGIN, "central")]), live("beta", &[(ORIGIN, "central")])];
    let wrong = text("acme").replace("spec:", "spec:\n  membrs: []");
    let read = "this ending is not read: the file of tenant acme must be a regular file named acme.yaml";
    let rename = "\"acme\" is not the file's name: rename the file to acme.yaml";
    for (file, content, message) in [
        ("BILLING.YAML", text("acme"), read),
        ("billing.yml", text("acme"), read),
        ("billing.json", text("acme"), read),
        ("billing.yml", wrong.clone(), read),
        ("Acme.yaml", text("acme"), rename),
        ("Acme.yaml", wrong, rename),
    ] {
        let checked = checked([(file, content), ("beta.yaml", text("beta"))]);
        let told = told(&checked);
        assert_eq!(told.iter().filter(|one| one.contains(message)).count(), 1, "{file}: {told:?}");
        let plan = planned(&checked, &existing);
        let broken: Vec<_> = plan.broken.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!((&*broken, plan.orphan.len(), plan.held), (&["acme"][..], 0, None), "{file}");
    }
}

#[test]
fn a_misnamed_file_does_nothing_to_a_tenant_that_has_its_own() {
    let existing = [live("acme", &[(ORIGIN, "central")])];
    let checked = checked([
        ("acme.yaml", text("acme")),
        ("billing.yml", text("acme").replace("spec:", "spec:\n  x: 1")),
    ]);
    assert_eq!(
        told(&checked),
        [
            "in/tenants/billing.yml: this ending is not read: the file of tenant acme is acme.yaml beside it, so remove this one"
        ]
    );
    assert_eq!(names(&planned(&checked, &existing).apply), ["acme"]);
    let other = text("acme").replace("kind: Tenant", "kind: Team");
    let checked = self::checked([("billing.yml", other), ("beta.yaml", text("beta"))]);
    assert_eq!(planned(&checked, &existing).orphan, ["acme"], "that is no tenant's file");
}

#[test]
fn a_tenant_file_with_another_ending_or_kind_is_told_and_not_taken_for_absent() {
    let mut files = files([
        ("acme.yml", text("acme")),
        ("beta.json", "{}".into()),
        ("gamma.yaml", text("gamma")),
        ("gamma.yml", text("gamma")),
        ("UP.YAML", text("up")),
        ("notes.txt", String::new()),
    ]);
    files.unreadable =
        vec![("delta.yaml".into(), "it is a symbolic link"), ("lib".into(), "it is a submodule")];
    let checked = checked_files(&files);
    assert_eq!(
        told(&checked),
        [
            "in/tenants/UP.YAML: this ending is not read: the file of tenant up must be a regular file named up.yaml",
            "in/tenants/acme.yml: this ending is not read: the file of tenant acme must be a regular file named acme.yaml",
            "in/tenants/beta.json: this ending is not read: the file of tenant beta must be a regular file named beta.yaml",
            "in/tenants/delta.yaml: it is a symbolic link: the file of tenant delta must be a regular file named delta.yaml",
            "in/tenants/gamma.yml: this ending is not read: the file of tenant gamma is gamma.yaml beside it, so remove this one",
        ]
    );
    let existing = ["acme", "delta", "up"].map(|name| live(name, &[(ORIGIN, "central")]));
    let plan = planned(&checked, &existing);
    assert!(plan.orphan.is_empty());
    assert_eq!(names(&plan.apply), ["gamma"], "what is passed over breaks nothing");
}

#[test]
fn what_is_wrong_with_the_form_hides_nothing_that_is_wrong_besides() {
    let spec = "spec:\n  contcat: x\n  services:\n    - {name: a, runtme: camel, repository: {url: 'file:///a'}}\n    - {name: b, runtime: mule, repository: 'https://git.example.com/b'}\n";
    let text = format!("apiVersion: imaas.dev/v1alpha1\nkind: Tenant\nmetadata: {{name: acme}}\n{spec}");
    let told = told(&checked([("acme.yaml", text)]));
    let fields: Vec<_> = told.iter().map(|problem| problem.split(": ").nth(1).unwrap()).collect();
    assert_eq!(
        fields,
        [
            "spec.contcat",
            "spec.services[0].runtme",
            "spec.services[0].repository.url",
            "spec.services[1].runtime",
            "spec.services[1].repository",
        ],
        "{told:#?}"
    );
}

#[test]
fn a_file_that_is_too_large_is_refused_alone() {
    let mut files = files([("beta.yaml", text("beta"))]);
    files.too_large = vec!["acme.yaml".into(), "logo.png".into()];
    let checked = checked_files(&files);
    assert_eq!(
        told(&checked),
        ["in/tenants/acme.yaml: is larger than a tenant file can be, 64 KiB: make it smaller"]
    );
    let existing = [live("acme", &[(ORIGIN, "central")])];
    let plan = planned(&checked, &existing);
    assert_eq!((names(&plan.apply), plan.broken.len(), plan.orphan.len()), (vec!["beta".to_owned()], 1, 0));
}

#[test]
fn no_bad_file_hides_another_and_what_changed_comes_first() {
    let many =
        "{apiVersion: imaas.dev/v1alpha1, kind: Tenant, metadata: {name: a}, spec: {x: 1, y: 2, z: 3}}";
    let one = "{apiVersion: imaas.dev/v1alpha1, kind: Tenant, metadata: {name: newcomer}, spec: {w: 1}}";
    let before = files([("a.yaml", many.to_owned()), ("b.yaml", "{".to_owned())]);
    let after =
        files([("a.yaml", many.to_owned()), ("b.yaml", "{".to_owned()), ("newcomer.yaml", one.to_owned())]);
    let old = parse(&before, &Parsed::default());
    let checked = check_parsed(&parse(&after, &old));
    let order: Vec<_> = checked.problems().iter().map(|problem| problem.file.clone()).collect();
    let wanted = ["newcomer", "a", "b", "a", "a"].map(|name| format!("in/tenants/{name}.yaml"));
    assert_eq!(order, wanted);
}

#[test]
fn a_file_that_did_not_change_is_not_read_again() {
    let before =
        parse(&files([("acme.yaml", text("acme")), ("beta.yaml", text("beta"))]), &Parsed::default());
    let after =
        parse(&files([("acme.yaml", text("acme")), ("beta.yaml", text("beta") + "# more\n")]), &before);
    assert!(Arc::ptr_eq(&before.tenants["acme"], &after.tenants["acme"]));
    assert!(!Arc::ptr_eq(&before.tenants["beta"], &after.tenants["beta"]));
}

#[test]
fn the_sample_repository_is_valid() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tenants/tenants");
    let mut sample = Files::default();
    for entry in fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        let file = entry.file_name().into_string().unwrap();
        let content = fs::read(entry.path()).unwrap();
        sample.regular.insert(file.clone(), SourceFile { blob: file, content });
    }
    let mut environments = environments();
    environments.push(Environment {
        metadata: kube::core::ObjectMeta { name: Some("test".into()), ..Default::default() },
        ..environments[1].clone()
    });
    let surroundings = Surroundings {
        directory: DIRECTORY,
        environments: &environment::check(&environments),
        runtimes: vec!["camel".to_owned(), "container".to_owned()],
        urls: &UrlPolicy::default(),
    };
    let checked = check(&parse(&sample, &Parsed::default()), &surroundings);
    assert_eq!(told(&checked), [""; 0]);
    assert_eq!(names(checked.valid.values()), ["acme", "globex", "initech"]);
    let services: Vec<_> = checked.valid["acme"]
        .spec
        .services
        .iter()
        .map(|s| (s.name.as_str(), s.spec.runtime.as_str()))
        .collect();
    assert_eq!(services, [("orders", "camel"), ("inventory", "container")]);
}

/// Who starts from a sample copies it into a repository of its own.
#[test]
fn no_page_of_a_sample_repository_links_out_of_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut pages = vec![root.join("tenants/README.md")];
    let services = fs::read_dir(root.join("examples/services")).unwrap();
    pages.extend(services.map(|service| service.unwrap().path().join("README.md")));
    assert!(pages.len() >= 3);
    for page in pages {
        assert!(!fs::read_to_string(&page).unwrap().contains("](../"), "{}", page.display());
    }
}

/// A tenant of the cluster, by origin, and its file, if any.
fn worlds() -> impl proptest::strategy::Strategy<Value = Vec<(u8, u8)>> {
    proptest::collection::vec((0..4_u8, 0..4_u8), 0..12)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn a_plan_settles_and_touches_only_its_own(world in worlds()) {
        let mut present = Files::default();
        let mut existing = Vec::new();
        for (index, (origin, file)) in world.iter().enumerate() {
            let name = format!("t{index}");
            match file {
                0 => {}
                1 => present.regular.extend(files([(file_name(&name).as_str(), text(&name))]).regular),
                2 => present.regular.extend(files([(file_name(&name).as_str(), "a: [".into())]).regular),
                _ => present.regular.extend(files([(format!("{name}.yml").as_str(), text(&name))]).regular),
            }
            match origin {
                0 => {}
                1 => existing.push(live(&name, &[(ORIGIN, "central")])),
                2 => existing.push(live(&name, &[(ORIGIN, "other")])),
                _ => existing.push(live(&name, &[])),
            }
        }
        let checked = checked_files(&present);
        let plan = planned(&checked, &existing);
        for (name, _) in plan.marks(COMMIT) {
            let before = existing.iter().find(|live| live.name_any() == name);
            prop_assert!(before.is_none_or(|live| live.origin() == "central"));
        }
        let told: Vec<_> = plan.marks(COMMIT).into_iter().map(|(name, _)| name).collect();
        for live in existing.iter().filter(|live| live.origin() == "central") {
            prop_assert!(told.contains(&live.name_any()), "none of ours is ever left out");
        }
        prop_assert_eq!(plan.tenants(), told.len());
        // As the cluster is after this pass, all marks apart.
        let is_applied = |live: &Arc<Tenant>| plan.apply.iter().any(|tenant| tenant.name_any() == live.name_any());
        let mut then: Vec<_> = existing.iter().filter(|live| !is_applied(live)).cloned().collect();
        then.extend(plan.apply.iter().cloned().map(Arc::new));
        prop_assert_eq!(planned(&checked, &then), plan);
    }
}
