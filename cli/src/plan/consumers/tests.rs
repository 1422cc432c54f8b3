use imaas_operator::source::parse::SourceFile;

use super::{
    super::{
        SOURCE,
        difference::{Before, difference},
        existing, render,
        tests::{alone, examined, file, planned, platform, service, text},
    },
    *,
};

/// The sample of two tenants, of which one exports to the other.
fn exporting(stock: &str, orders: &str) -> [(String, SourceFile); 2] {
    let stock =
        stock.replace("runtime: camel}", "runtime: camel, exportTo: [{tenant: beta, service: orders}]}");
    [
        file("acme", &format!("  contact: a\n  services:\n{stock}{}", service("other", "acme/other"))),
        file(
            "beta",
            &format!("  contact: beta@example.com\n  services:\n{orders}{}", service("rest", "beta/rest")),
        ),
    ]
}

#[test]
fn a_provider_that_goes_names_to_whom_it_is_exported() {
    let (stock, orders) = (service("stock", "acme/stock"), service("orders", "beta/orders"));
    let before = exporting(&stock, &orders);
    let told = "acme/stock retires, and is exported to beta/orders: calls to it fail when it is scaled to zero. Tell beta (beta@example.com) before.";
    let losses = |after: &[(String, SourceFile)]| {
        let mut warnings = planned(&before, after).warnings;
        warnings.retain(|warning| warning.contains("Tell "));
        warnings
    };
    let without = exporting("", &orders);
    assert_eq!(losses(&without), [told]);
    assert_eq!(losses(&exporting(&service("stock2", "acme/stock"), &orders)), [told], "a rename, too");
    assert_eq!(losses(&before[1..]), [told], "and the end of its tenant");
    assert_eq!(losses(&exporting("", "")), [""; 0], "not to one that goes as well");
    assert_eq!(losses(&before), [""; 0]);
    let plan = planned(&before, &without);
    assert!(text(&plan).contains(&format!("WARNING: {told}")), "{}", text(&plan));
    assert!(render::markdown(&plan).contains("is exported to beta/orders"));
}

#[test]
fn an_export_that_is_taken_back_names_who_loses_it() {
    let (stock, orders) = (service("stock", "acme/stock"), service("orders", "beta/orders"));
    let mut after = exporting(&stock, &orders);
    let text = String::from_utf8(after[0].1.content.clone()).unwrap();
    after[0].1.content = text.replace(", exportTo: [{tenant: beta, service: orders}]", "").into_bytes();
    let warnings = planned(&exporting(&stock, &orders), &after).warnings;
    assert_eq!(
        warnings,
        [
            "acme/stock is exported no longer to beta/orders, which may use it: the way is closed at once, and nothing that uses it is rolled out. Tell beta (beta@example.com) before."
        ]
    );
}

#[test]
fn an_environment_that_is_left_is_a_provider_less_there() {
    let (stock, orders) = (service("stock", "acme/stock"), service("orders", "beta/orders"));
    let mut after = exporting(&stock, &orders);
    let text = String::from_utf8(after[0].1.content.clone()).unwrap();
    after[0].1.content =
        text.replace("  contact: a\n", "  contact: a\n  environments: {test: {omit: true}}\n").into_bytes();
    let warnings = planned(&exporting(&stock, &orders), &after).warnings;
    assert!(
        warnings[0].starts_with("acme/stock retires from test, and is exported to beta/orders: "),
        "{warnings:?}"
    );
}

#[test]
fn the_cluster_knows_who_uses_a_provider_and_where() {
    let object = |name: &str, status: &str| -> IntegrationService {
        serde_saphyr::from_str(&format!(
            "{{apiVersion: imaas.dev/v1alpha1, kind: IntegrationService, metadata: {{name: {name}, namespace: acme-home}}, spec: {{repository: {{url: 'https://git.example.com/x'}}, runtime: camel}}, status: {{environments: [{status}]}}}}"
        ))
        .unwrap()
    };
    let release = |name: &str, environment: &str, uses: &str| -> Release {
        serde_saphyr::from_str(&format!(
            "{{apiVersion: imaas.dev/v1alpha1, kind: Release, metadata: {{name: {name}, namespace: acme-home}}, spec: {{service: orders, environment: {environment}, commit: a, buildId: b, image: i, digest: d, runtime: camel, cause: Commit, type: api, many: true, strategy: rolling, replicas: 1, uses: [{uses}], template: {{}}}}}}"
        ))
        .unwrap()
    };
    let stock = "{service: stock, port: {name: http, port: 80}}";
    let services = [
        object(
            "orders",
            "{name: dev, branch: dev, current: orders-dev-1}, {name: test, branch: test, current: orders-test-1}",
        ),
        object("stock", ""),
    ];
    let releases = [
        release("orders-dev-1", "dev", stock),
        release("orders-test-0", "test", stock),
        release("orders-test-1", "test", ""),
    ];
    let consumers = Consumers::running(&services, &releases);
    let all = service("stock", "acme/stock") + &service("orders", "acme/orders") + &service("c", "acme/c");
    let acme = |services: &str| [file("acme", &format!("  services:\n{services}"))];
    let existing = existing(&examined(&acme(&all), &platform()));
    let after = examined(&acme(&all.replace(&service("stock", "acme/stock"), "")), &platform());
    let before = Before { consumers: &consumers, ..alone(&existing, SOURCE) };
    let plan = difference(&before, &after, &platform(), str::to_owned);
    assert_eq!(
        plan.warnings,
        [
            "acme/stock retires, and is used by acme/orders (in dev): calls to it fail when it is scaled to zero. Tell acme before."
        ]
    );
}
