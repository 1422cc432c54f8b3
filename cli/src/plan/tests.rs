use std::sync::{Arc, LazyLock};

use imaas_operator::{
    api::{IntegrationService, Tenant},
    git::UrlPolicy,
    names::{ORIGIN, ORPHANED},
    source::parse::{Files, SourceFile},
};

use kube::ResourceExt;

use super::{
    SOURCE,
    consumers::Consumers,
    difference::{Action, Before, Plan, difference},
    existing,
    kept::Kept,
    render,
};
use crate::{
    check::{Examined, examine},
    output::Style,
    platform::Platform,
};

const PLATFORM: &str = "
{apiVersion: imaas.dev/v1alpha1, kind: Environment, metadata: {name: dev}, spec: {default: true, quota: {default: {cpu: 2, memory: 4Gi, pods: 30}, max: {cpu: 8}}}}
---
{apiVersion: imaas.dev/v1alpha1, kind: Environment, metadata: {name: test}, spec: {default: true, promotesFrom: dev, quota: {default: {cpu: 2, memory: 4Gi, pods: 30}}}}
---
{apiVersion: imaas.dev/v1alpha1, kind: Environment, metadata: {name: prod}, spec: {default: true, promotesFrom: test, quota: {default: {cpu: 4, memory: 8Gi, pods: 50}}}}
---
{apiVersion: imaas.dev/v1alpha1, kind: IntegrationRuntime, metadata: {name: camel}, spec: {profiles: [{}]}}
---
{apiVersion: imaas.dev/v1alpha1, kind: IntegrationRuntime, metadata: {name: container}, spec: {profiles: [{}]}}
";

pub(super) fn platform() -> Platform {
    let mut platform = Platform::default();
    platform.add("platform.yaml".to_owned(), PLATFORM.as_bytes());
    platform
}

/// A tenant file: its name and its spec.
pub(super) fn file(name: &str, spec: &str) -> (String, SourceFile) {
    let text =
        format!("apiVersion: imaas.dev/v1alpha1\nkind: Tenant\nmetadata: {{name: {name}}}\nspec:\n{spec}");
    (format!("{name}.yaml"), SourceFile { blob: String::new(), content: text.into_bytes() })
}

pub(super) fn service(name: &str, repository: &str) -> String {
    format!(
        "    - {{name: {name}, repository: {{url: \"https://git.example.com/{repository}.git\"}}, runtime: camel}}\n"
    )
}

pub(super) fn examined(files: &[(String, SourceFile)], platform: &Platform) -> Examined {
    let files = Files { regular: files.iter().cloned().collect(), ..Files::default() };
    examine(&files, platform, &UrlPolicy::default(), &Examined::default())
}

/// Nobody is known to use anything.
pub(super) fn alone<'a>(existing: &'a [Arc<Tenant>], source: &'a str) -> Before<'a> {
    static NOBODY: LazyLock<Consumers> = LazyLock::new(Consumers::default);
    static NOTHING: LazyLock<Kept> = LazyLock::new(Kept::default);
    Before { existing, source, confirmed: None, is_named: true, consumers: &NOBODY, kept: &NOTHING }
}

fn planned_beside(
    platform: &Platform,
    before: &[(String, SourceFile)],
    after: &[(String, SourceFile)],
) -> Plan {
    let existing = existing(&examined(before, platform));
    let consumers = Consumers::exported(existing.iter().map(AsRef::as_ref));
    let before = Before { consumers: &consumers, ..alone(&existing, SOURCE) };
    let plan = difference(&before, &examined(after, platform), platform, |file| format!("tenants/{file}"));
    Plan { against: "main".to_owned(), commit: Some("4f2a0b1c".repeat(5)), ..plan }
}

pub(super) fn planned(before: &[(String, SourceFile)], after: &[(String, SourceFile)]) -> Plan {
    planned_beside(&platform(), before, after)
}

pub(super) fn text(plan: &Plan) -> String {
    render::text(plan, Style::default())
}

const ACME: &str = "  contact: integrations@acme.example\n  members: [{kind: Group, name: acme-leads, role: owner}, {kind: User, name: jo, role: viewer}]\n  services:\n";

/// A bit of everything: a new tenant, a changed one, one that is gone, a broken one, and one that stays.
fn everything() -> Plan {
    let acme = |middle: &str, services: &str| file("acme", &format!("{middle}{ACME}{services}"));
    let before = [
        acme("", &(service("orders", "acme/orders") + &service("billing", "acme/billing"))),
        file("globex", &format!("  services:\n{}", service("shipments", "globex/shipments"))),
        file("initech", "  {}\n"),
        file("umbrella", "  {}\n"),
    ];
    let changed = acme(
        "  environments: {test: {omit: true}, dev: {quota: {cpu: 8}}}\n",
        &service("orders", "acme/orders2").replace("camel", "container"),
    );
    let changed = (
        changed.0,
        SourceFile {
            content: String::from_utf8(changed.1.content)
                .unwrap()
                .replace("jo, role: viewer", "jo, role: developer")
                .into_bytes(),
            ..changed.1
        },
    );
    let after = [
        changed,
        file("initech", "  membrs: []\n"),
        file(
            "stark",
            "  environments: {prod: {omit: true}}\n  members: [{kind: ServiceAccount, name: ci, namespace: build, role: developer}]\n",
        ),
        file("umbrella", "  {}\n"),
    ];
    planned(&before, &after)
}

#[test]
fn people_see_every_kind_of_change() {
    insta::assert_snapshot!(text(&everything()));
}

#[test]
fn a_pull_request_sees_the_same() {
    insta::assert_snapshot!(render::markdown(&everything()));
}

#[test]
fn programs_see_the_same() {
    insta::assert_snapshot!(serde_json::to_string_pretty(&everything()).unwrap());
}

/// Of a pair whose private half is nobody's.
const KEY: &str = r"-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEkxONfdjI3FZPUIk3t0z3/EJ+81Np\nwbTP0EbLI3dyygT2mVlHwLcvfiyFy2K8hmy0Ae6CkkFNlTyxjzxAp/o/Ww==\n-----END PUBLIC KEY-----";

/// `test` asks for all that can be asked for.
fn gated() -> Platform {
    let gates = "promotesFrom: dev, approval: true, windows: [{schedule: 0 22 * * MON, duration: 4h}], bakeTime: 30m, gates: [load-test],";
    let asking =
        PLATFORM.replace("promotesFrom: dev,", &format!("{gates} signatures: {{keys: [\"{KEY}\"]}},"));
    let mut platform = Platform::default();
    let asking = asking.replace("promotesFrom: test,", "promotesFrom: test, approval: true,");
    platform.add("platform.yaml".to_owned(), asking.as_bytes());
    assert!(platform.problems().is_empty(), "{:?}", platform.problems());
    platform
}

#[test]
fn what_an_omitted_environment_would_have_asked_is_told_when_that_is_new() {
    let (whole, without) = ([file("acme", "  {}\n")], |environments: &str| {
        [file("acme", &format!("  environments: {{{environments}}}\n"))]
    });
    let warned = |before: &[_], after: &[_]| planned_beside(&gated(), before, after).warnings;
    let omitted = without("test: {omit: true}");
    let lost = "acme: images for prod come from dev and skip test (approval, windows, signatures, bakeTime 30m, gate load-test): nobody asks that of them any more. What is asked still: approval in prod.";
    assert_eq!(warned(&whole, &omitted), [lost]);
    assert_eq!(warned(&[], &omitted), [lost], "of a new tenant too");
    assert_eq!(warned(&omitted, &omitted), [""; 0], "it is so already");
    assert_eq!(warned(&omitted, &whole), [""; 0]);
    assert_eq!(warned(&whole, &without("prod: {omit: true}")), [""; 0], "nothing is beyond it");
    let first = warned(&whole, &without("dev: {omit: true}, test: {omit: true}"));
    assert!(first[0].starts_with("acme: images for prod come from its CI and skip test ("), "{first:?}");
    assert_eq!(planned(&whole, &omitted).warnings, [""; 0], "here it asks for nothing");
    let plan = planned_beside(&gated(), &whole, &omitted);
    assert!(text(&plan).contains(&format!("WARNING: {lost}")), "{}", text(&plan));
    assert!(render::markdown(&plan).contains(&format!("> [!WARNING]\n> {lost}")));
}

#[test]
fn what_is_exported_to_nobody_is_told_when_that_is_new() {
    let exporting = |to: &str| {
        let service = service("orders", "acme/orders").replace("}\n", &format!(", exportTo: [{to}]}}\n"));
        file("acme", &format!("  contact: a\n  services:\n{service}"))
    };
    let beta = file("beta", &format!("  contact: b\n  services:\n{}", service("billing", "beta/billing")));
    let told = |before: &[_], after: &[_]| {
        let warnings = planned(before, after).warnings;
        warnings.into_iter().filter(|one| one.contains("exportTo")).collect::<Vec<_>>()
    };
    let nobody = [exporting("{tenant: beta, service: billin}"), beta.clone()];
    let somebody = [exporting("{tenant: beta, service: billing}"), beta];
    let warned = told(&somebody, &nobody);
    assert!(
        warned.len() == 1
            && warned[0].starts_with("tenants/acme.yaml:7:")
            && warned[0].contains("tenant beta has no service \"billin\", only billing"),
        "{warned:?}"
    );
    assert_eq!(told(&nobody, &nobody), [""; 0], "it is so already");
    assert_eq!(told(&nobody, &somebody), [""; 0]);
    assert_eq!(told(&somebody, &somebody[..1]).len(), 1, "nobody is left of it");
    let live: Vec<_> = existing(&examined(&somebody[1..], &platform()))
        .into_iter()
        .map(|mut tenant| {
            Arc::make_mut(&mut tenant).annotations_mut().insert(ORIGIN.to_owned(), "other".to_owned());
            tenant
        })
        .collect();
    let after = examined(&somebody[..1], &platform());
    let plan = difference(&alone(&live, SOURCE), &after, &platform(), str::to_owned);
    assert_eq!(plan.warnings, [""; 0], "it is of another source");
}

#[test]
fn what_a_tenant_asks_of_the_registry_is_told() {
    let plan = planned(
        &[file("acme", "  registry: {storage: 1Gi}\n")],
        &[file("acme", "  registry: {storage: 30Gi}\n")],
    );
    let told = text(&plan);
    assert!(told.contains("registry") && told.contains("30Gi"), "{told}");
}

#[test]
fn hours_of_sleep_are_told_as_they_come_to_be() {
    let night =
        "sleep: {windows: [{schedule: 0 20 * * *, duration: 11h, timeZone: Europe/Zurich}], wakeFor: 2h}";
    let sleeping = PLATFORM.replacen("default: true,", &format!("default: true, {night},"), 1);
    let mut platform = Platform::default();
    platform.add("platform.yaml".to_owned(), sleeping.as_bytes());
    let own = |sleep: &str| [file("acme", &format!("  environments: {{dev: {{{sleep}}}}}\n"))];
    let told = |before: &str, after: &str| text(&planned_beside(&platform, &own(before), &own(after)));
    let hours = "0 20 * * * Europe/Zurich for 11h, awake for 2h after a commit";
    let new = text(&planned_beside(&platform, &[], &own("")));
    assert!(new.contains(&format!("sleeps {hours}")) && new.matches("sleeps").count() == 1, "{new}");
    let never = told("", "sleep: {windows: []}");
    assert!(never.contains(&format!("sleeps {hours} → never")), "{never}");
    let other = told("sleep: {windows: []}", "sleep: {windows: [{schedule: 0 18 * * *, duration: 2h}]}");
    assert!(other.contains("sleeps never → 0 18 * * * for 2h"), "{other}");
}

#[test]
fn nothing_is_said_of_what_stays() {
    let same = [file("acme", "  {}\n"), file("beta", "  {}\n")];
    let plan = planned(&same, &same);
    assert!(plan.tenants.is_empty() && !plan.holds());
    assert_eq!(text(&plan), "Plan against main (4f2a0b1c4f2a)\nNothing changes (2 tenants)\n");
}

#[test]
fn a_rename_is_told_as_what_it_is() {
    let spec = format!("  services:\n{}", service("shipments", "globex/shipments"));
    let plan = planned(&[file("globex", &spec)], &[file("globex2", &spec)]);
    assert_eq!(plan.warnings.len(), 1, "the service is not told once more: {:?}", plan.warnings);
    assert!(
        plan.warnings[0]
            .starts_with("globex → globex2: this is a retirement and an onboarding, not a rename")
    );
    let without = "  members: [{kind: User, name: jo, role: owner}]\n";
    assert_eq!(
        planned(&[file("a", without)], &[file("b", without)]).warnings.len(),
        1,
        "without services too"
    );
    assert_eq!(
        planned(&[file("a", "  {}\n")], &[file("b", "  {}\n")]).warnings,
        [""; 0],
        "two empty files are no rename"
    );
}

#[test]
fn a_service_under_another_name_or_tenant_is_told() {
    let both = |acme: &str, beta: &str| {
        [
            file("acme", &format!("  contact: a\n  services:\n{acme}")),
            file("beta", &format!("  contact: b\n  services:\n{beta}")),
        ]
    };
    let (a, b) = (service("a", "x/a"), service("b", "x/b"));
    let renamed = planned(&both(&a, &b), &both(&service("a2", "x/a"), &b));
    assert!(
        renamed.warnings[0].starts_with("acme/a → acme/a2 has the same repository"),
        "{:?}",
        renamed.warnings
    );
    let moved = planned(
        &both(&(a.clone() + &service("c", "x/c")), &b),
        &both(&a, &(b.clone() + &service("c", "x/c"))),
    );
    assert!(moved.warnings[0].starts_with("acme/c → beta/c has"), "{:?}", moved.warnings);
    assert_eq!(
        planned(&both(&a, &b), &both(&a, &(b.clone() + &a))).warnings,
        [""; 0],
        "a second one is no rename"
    );
}

#[test]
fn a_broken_file_is_neither_gone_nor_renamed() {
    let spec = format!("  services:\n{}", service("shipments", "globex/shipments"));
    let plan = planned(&[file("globex", &spec)], &[file("globex", "  x: 1\n"), file("stark", &spec)]);
    assert_eq!(plan.warnings, [""; 0]);
    let actions: Vec<_> = plan.tenants.iter().map(|tenant| (tenant.name.as_str(), tenant.action)).collect();
    assert_eq!(actions, [("globex", Action::Hold), ("stark", Action::Create)]);
}

#[test]
fn what_was_broken_before_is_not_taken_for_new() {
    let plan = planned(&[file("acme", "  x: 1\n")], &[file("acme", "  contact: a\n")]);
    assert_eq!(plan.tenants[0].action, Action::Change);
}

#[test]
fn more_than_a_person_takes_away_at_once_is_held() {
    let many: Vec<_> = (0..20).map(|n| file(&format!("t{n}"), "  {}\n")).collect();
    let six = planned(&many, &many[6..]);
    assert!(six.warnings[0].contains("6 of 20 tenants are gone at once"), "told once: {:?}", six.warnings);
    let hash = imaas_operator::retirement::confirmation(["t0", "t1", "t2", "t3", "t4", "t5"]);
    assert!(
        six.warnings[0].contains(&format!("imaas.dev/confirm-removal={hash} --overwrite")),
        "{:?}",
        six.warnings
    );
    assert!(six.holds() && six.summary.retire == 0 && six.summary.hold == 6);
    let five = planned(&many, &many[5..]);
    assert!(!five.holds() && five.summary.retire == 5);
    assert!(planned(&many[..1], &[]).holds(), "an empty result is held, however few there were");
}

#[test]
fn more_of_one_tenant_than_a_person_takes_away_at_once_is_held() {
    let with = |services: std::ops::Range<usize>| {
        let list: String = services.map(|n| service(&format!("s{n}"), &format!("x/{n}"))).collect();
        [file("acme", &format!("  services:\n{list}"))]
    };
    // Two services in three environments are six of twelve, one is three.
    let two = planned(&with(0..4), &with(0..2));
    assert!(two.holds() && text(&two).contains("6 of 12 running services"), "{}", text(&two));
    assert_eq!(two.tenants[0].changes[0].action, Action::Hold);
    let pairs = ["s2", "s3"]
        .map(|service| ["dev", "test", "prod"].map(|stage| format!("{service}/{stage}")))
        .concat();
    let hash = imaas_operator::retirement::confirmation(pairs.iter().map(String::as_str));
    assert!(
        text(&two)
            .contains(&format!("kubectl annotate tn acme imaas.dev/confirm-removal={hash} --overwrite")),
        "{}",
        text(&two)
    );
    let one = planned(&with(0..4), &with(0..3));
    assert!(!one.holds() && one.tenants[0].changes[0].action == Action::Retire);
    let added = planned(&with(0..2), &with(0..6));
    assert!(!added.holds(), "additions are never held");
}

#[test]
fn without_the_platform_what_the_file_says_is_still_told() {
    let omitted = [file("acme", "  environments: {test: {omit: true}, dev: {quota: {cpu: 3}}}\n")];
    let plan = planned_beside(
        &Platform::default(),
        &[file("acme", "  environments: {dev: {quota: {cpu: 2}}}\n")],
        &omitted,
    );
    let told = text(&plan);
    assert!(
        told.contains("+ environment  test  omit true") && told.contains("~ environment  dev   cpu 2 → 3"),
        "{told}"
    );
}

#[test]
fn a_tenant_of_another_origin_is_held_and_its_own_is_left_alone() {
    let mut live = examined(&[file("acme", "  {}\n"), file("beta", "  {}\n")], &platform()).checked.valid;
    for tenant in live.values_mut() {
        tenant.metadata.annotations = Some([(ORIGIN.to_owned(), "other".to_owned())].into());
    }
    let existing: Vec<_> = live.into_values().map(Arc::new).collect();
    let after = examined(&[file("acme", "  {}\n")], &platform());
    let plan = difference(&alone(&existing, "central"), &after, &platform(), str::to_owned);
    assert_eq!(plan.tenants.len(), 1, "beta is nobody's business here");
    assert!(plan.tenants[0].told[0].contains("comes from TenantSource other"), "{:?}", plan.tenants[0].told);
}

#[test]
fn a_mark_of_the_cluster_is_told() {
    let mut live = examined(&[file("acme", "  {}\n")], &platform()).checked.valid.remove("acme").unwrap();
    live.metadata.annotations =
        Some([(ORIGIN.to_owned(), "central".to_owned()), (ORPHANED.to_owned(), "4f2a".to_owned())].into());
    let existing = [
        Arc::new(live),
        Arc::new({
            let mut other =
                imaas_operator::api::Tenant::new("beta", imaas_operator::api::TenantSpec::default());
            other.metadata.annotations = Some([(ORIGIN.to_owned(), "central".to_owned())].into());
            other
        }),
    ];
    let before = alone(&existing, "central");
    let gone =
        difference(&before, &examined(&[file("beta", "  {}\n")], &platform()), &platform(), str::to_owned);
    assert!(gone.tenants[0].told[1].contains("already, since 4f2a"), "{:?}", gone.tenants[0].told);
    let back = difference(
        &before,
        &examined(&[file("acme", "  {}\n"), file("beta", "  {}\n")], &platform()),
        &platform(),
        str::to_owned,
    );
    assert!(back.tenants[0].told[0].contains("an orphan no more"), "{:?}", back.tenants[0].told);
}

#[test]
fn what_is_put_back_before_it_was_removed_is_not_new() {
    let spec = format!("  environments: {{prod: {{}}}}\n  services:\n{}", service("orders", "acme/orders"));
    let without = "  environments: {prod: {omit: true}}\n";
    let mut live = existing(&examined(&[file("acme", without)], &platform()));
    Arc::make_mut(&mut live[0]).status = serde_saphyr::from_str(
        "{environments: [{name: prod, namespace: acme-prod, retirement: {stage: Orphaned, until: 2026-03-03T00:00:00Z}}]}",
    )
    .unwrap();
    let of = |home: &str| -> IntegrationService {
        serde_saphyr::from_str(&format!(
            "{{apiVersion: imaas.dev/v1alpha1, kind: IntegrationService, metadata: {{name: orders, namespace: {home}, labels: {{app.kubernetes.io/managed-by: imaas-operator}}}}, spec: {{repository: {{url: 'https://h/a'}}, runtime: camel}}}}"
        ))
        .unwrap()
    };
    let actions = |services: &[IntegrationService]| {
        let kept = Kept::of(&live, services);
        let before = Before { kept: &kept, ..alone(&live, SOURCE) };
        let plan =
            difference(&before, &examined(&[file("acme", &spec)], &platform()), &platform(), str::to_owned);
        let told: Vec<_> = plan.tenants[0].changes.iter().map(|one| (one.name.clone(), one.action)).collect();
        (told, text(&plan))
    };
    let (changes, told) = actions(&[of("acme-home")]);
    let back = [("acme-prod".to_owned(), Action::Return), ("orders".to_owned(), Action::Return)];
    assert_eq!(changes, back);
    assert!(told.contains("nothing is made anew") && !told.contains('+'), "{told}");
    let (changes, _) = actions(&[of("beta-home")]);
    assert_eq!(changes[1].1, Action::Create, "another tenant's");
}

#[test]
fn a_file_cannot_leave_its_fence_nor_mention_anybody() {
    let evil = "  contact: \"``` @everyone <b>\"\n  members: [{kind: User, name: \"a````b\", role: owner}]\n";
    let markdown = render::markdown(&planned(&[], &[file("acme", evil)]));
    let (before, rest) = markdown.split_once("`````diff\n").unwrap();
    let (inside, after) = rest.split_once("\n`````\n").unwrap();
    assert!(inside.contains("@everyone") && inside.contains("a````b"));
    assert!(!before.contains("everyone") && after.is_empty(), "{markdown}");
}
