//! `check`, as a pipeline of a service repository runs it, over projects as their tools lay them out.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use serde_json::Value;
use support::Repository;

const HEAD: &str = "apiVersion: imaas.dev/v1alpha1\nkind: ServiceDescriptor\n";
const POM: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
  <groupId>com.example</groupId><artifactId>orders</artifactId><version>1.0.0</version>
</project>
"#;
const API: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<api context="/orders" name="OrdersApi" xmlns="http://ws.apache.org/ns/synapse">
    <resource methods="GET" uri-template="/{id}"><inSequence><respond/></inSequence></resource>
</api>
"#;
const TASK: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<task class="org.apache.synapse.startup.tasks.MessageInjector" group="synapse.simple.quartz" name="CleanUp"
      xmlns="http://ws.apache.org/ns/synapse">
    <trigger interval="60"/>
</task>
"#;
const INBOUND: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<inboundEndpoint name="OrdersFromErp" protocol="file" sequence="import" xmlns="http://ws.apache.org/ns/synapse">
    <parameters><parameter name="interval">1000</parameter></parameters>
</inboundEndpoint>
"#;
const ARTIFACTS: &str = "src/main/wso2mi/artifacts";

/// A project of WSO2 Micro Integrator.
fn integrator(repository: &Repository, directory: &str, descriptor: &str) {
    repository.write(&format!("{directory}imaas.yaml"), &format!("{HEAD}{descriptor}"));
    for (file, text) in [
        ("pom.xml", POM.to_owned()),
        (&format!("{ARTIFACTS}/apis/OrdersApi.xml"), API.to_owned()),
        (&format!("{ARTIFACTS}/tasks/CleanUp.xml"), TASK.to_owned()),
        (&format!("{ARTIFACTS}/inbound-endpoints/OrdersFromErp.xml"), INBOUND.to_owned()),
        ("src/test/wso2mi/CleanUpTest.xml", TASK.replace("CleanUp", "OnlyInTests")),
        ("target/classes/CleanUp.xml", TASK.replace("CleanUp", "OnlyBuilt")),
    ] {
        repository.write(&format!("{directory}{file}"), &text);
    }
}

#[test]
fn each_artifact_is_told_with_its_file_and_what_to_write() {
    let repository = Repository::new();
    integrator(&repository, "", "ports: [{name: http, port: 8290}]\n");
    let told = repository.run(&["check"]).expect_status(1).stdout;
    let lines: Vec<_> = told.lines().collect();
    assert_eq!(
        lines[..2],
        [
            format!(
                "{ARTIFACTS}/inbound-endpoints/OrdersFromErp.xml:2:1: the inbound endpoint \"OrdersFromErp\" by file looks at the same place in every instance, so that two may take the same: in imaas.yaml say `instances: one`, or in `coordination` how its instances see to it that one does it"
            ),
            format!(
                "{ARTIFACTS}/tasks/CleanUp.xml:2:1: the scheduled task \"CleanUp\" starts in every instance: in imaas.yaml say `instances: one`, or in `coordination` how its instances see to it that one does it"
            ),
        ]
    );
    assert!(lines[3].starts_with("2 problems in 2 files (1 service descriptor"), "{told}");

    let json = repository.run(&["check", ".", "--output", "json"]).expect_status(1).stdout;
    let json: Value = serde_json::from_str(&json).unwrap();
    let problems = json["problems"].as_array().unwrap();
    assert_eq!(problems.len(), 2);
    assert_eq!(
        (problems[1]["file"].as_str(), problems[1]["line"].as_u64()),
        (Some(&*format!("{ARTIFACTS}/tasks/CleanUp.xml")), Some(2))
    );
    assert!(problems[1]["message"].as_str().unwrap().contains("\"CleanUp\""));
    let validated = repository.run(&["validate"]).expect_status(0).stdout;
    assert!(validated.contains("no problems"), "the form of the file is well: {validated}");
}

#[test]
fn a_declaration_silences_it_where_it_is_made() {
    let repository = Repository::new();
    let ports = "ports: [{name: http, port: 8290}]\n";
    for (declared, status, places) in [
        ("instances: one\n", 0, ""),
        ("type: worker\n", 0, ""),
        ("coordination: WSO2_COORDINATION_DB and a node id of its own\n", 0, ""),
        ("instances: many\n", 1, ""),
        ("instances: one\nenvironments: {prod: {instances: many}}\n", 1, " (in prod)"),
        ("environments: {prod: {instances: one}}\n", 1, " (in others)"),
        ("instances: one\nenvironments: {prod: {instances: many, coordination: one node}}\n", 0, ""),
    ] {
        integrator(&repository, "", &format!("{ports}{declared}"));
        let told = repository.run(&["check", "."]).expect_status(status).stdout;
        assert_eq!(told.contains(&format!("that one does it{places}\n")), status == 1, "{declared}: {told}");
    }
    for (wrong, message) in
        [("coordination: ''\n", "coordination"), ("coordination: [database]\n", "coordination")]
    {
        integrator(&repository, "", &format!("{ports}{wrong}"));
        let told = repository.run(&["check", "."]).expect_status(1).stdout;
        assert!(told.contains(message), "{told}");
    }
}

#[test]
fn a_file_that_lets_micro_integrator_deploy_while_it_runs_is_warned_of() {
    let repository = Repository::new();
    integrator(&repository, "", "instances: one\nconfig: config\n");
    repository.write("config/conf/deployment.toml", "[server]\nhostname = \"localhost\"\n");
    repository.write("deployment/deployment.toml", "[server]\nhot_deployment = false\n");
    let told = repository.run(&["check"]).expect_status(0).stdout;
    let warning =
        "config/conf/deployment.toml:1:1: warning: Micro Integrator deploys artifacts while it runs";
    assert!(
        told.contains(warning) && told.contains("write `hot_deployment = false` under `[server]`"),
        "{told}"
    );
    assert!(!told.contains("deployment/deployment.toml"), "{told}");
    repository.write("config/conf/deployment.toml", "[server]\nhot_deployment = {{ hot }}\n");
    let told = repository.run(&["check"]).expect_status(0).stdout;
    let unread = "config/conf/deployment.toml:2:19: warning: whether Micro Integrator deploys artifacts while it runs is not known, since this is not read as TOML: ";
    assert!(told.contains(unread), "{told}");
    repository.write("config/conf/deployment.toml", "[server]\nhot_deployment = false\n");
    let told = repository.run(&["check"]).expect_status(0).stdout;
    assert!(!told.contains("deployment.toml"), "{told}");
}

#[test]
fn camel_projects_are_looked_at_and_what_is_not_known_is_said() {
    let repository = Repository::new();
    let api = format!("{HEAD}ports: [{{name: http, port: 8080}}]\n");
    repository.write("services/orders/imaas.yaml", &api);
    repository.write(
        "services/orders/src/main/resources/camel/orders.camel.yaml",
        "- route:\n    id: orders\n    from:\n      uri: platform-http:/orders\n      steps: [{to: log:orders}]\n\
         - route:\n    id: nightly\n    from:\n      uri: quartz:nightly\n      parameters: {cron: 0 0 3 * * ?}\n      steps: [{to: direct:x}]\n",
    );
    repository.write("services/invoices/imaas.yaml", &api);
    repository.write(
        "services/invoices/src/main/java/com/example/Invoices.java",
        "package com.example;\nimport org.apache.camel.builder.RouteBuilder;\nclass Invoices extends RouteBuilder {\n  public void configure() {\n    from(\"sftp://jo:secret@erp.example.com/out\").to(\"direct:a\");\n    from(SOURCE).to(\"direct:b\");\n  }\n}\n",
    );
    let told = repository.run(&["check"]).expect_status(1).stdout;
    let invoices = "services/invoices/src/main/java/com/example/Invoices.java";
    for part in [
        "services/orders/src/main/resources/camel/orders.camel.yaml:9:1: the Camel route from \"quartz:nightly\" starts in every instance: in services/orders/imaas.yaml say",
        &format!("{invoices}:5:1: the Camel route from \"sftp:…\" looks at the same place"),
        &format!("not checked: {invoices}:6: the route is from the value of `SOURCE`"),
        "2 problems in 2 files (2 service descriptors)",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert!(!told.contains("secret"), "{told}");
    let one = repository.run(&["check", "services/orders", "--output", "github"]).expect_status(1).stdout;
    assert!(
        one.contains(
            "::error file=services/orders/src/main/resources/camel/orders.camel.yaml,line=9,col=1::"
        )
    );
}

#[test]
fn what_a_source_takes_from_a_broker_is_suggested_as_a_trigger_where_there_is_none() {
    let repository = Repository::new();
    let descriptor = |more: &str| repository.write("imaas.yaml", &format!("{HEAD}type: worker\n{more}"));
    repository.write(
        "src/main/java/com/example/Orders.java",
        "package com.example;\nimport org.apache.camel.builder.RouteBuilder;\nclass Orders extends RouteBuilder {\n  public void configure() {\n    from(\"kafka:orders?groupId=shop&saslJaasConfig=secret\").to(\"direct:a\");\n  }\n}\n",
    );
    let many = "instances: many\n";
    descriptor(many);
    let told = repository.run(&["check"]).expect_status(0).stdout;
    let suggested = "src/main/java/com/example/Orders.java:5:1: warning: this takes its work from the topic orders of Kafka: in imaas.yaml `scaling: {max: …, triggers: [{broker: …, kafka: {topic: orders, group: shop, lag: 50}}]}` lets its instances follow what waits there";
    assert!(told.contains(suggested) && !told.contains("secret"), "{told}");
    let trigger = "{broker: events, kafka: {topic: orders, group: shop, lag: 50}}";
    for silent in ["", &format!("{many}scaling: {{max: 3, triggers: [{trigger}]}}\n")] {
        descriptor(silent);
        let told = repository.run(&["check"]).expect_status(0).stdout;
        assert!(!told.contains("warning"), "{silent}: {told}");
    }
    descriptor(&format!("{many}scaling: {{max: 3}}\n"));
    let told = repository.run(&["check"]).expect_status(0).stdout;
    assert!(told.contains("`scaling: {triggers: [{broker: …, kafka:"), "{told}");
    descriptor(many);
    let environment = |brokers: &str| {
        let text = format!(
            "apiVersion: imaas.dev/v1alpha1\nkind: Environment\nmetadata: {{name: dev}}\nspec: {{brokers: [{brokers}]}}\n"
        );
        repository.write("platform.yaml", &text);
        repository.run(&["check", "imaas.yaml", "--platform", "platform.yaml"]).expect_status(0).stdout
    };
    let told = environment("");
    assert!(!told.contains("warning"), "the platform names none: {told}");
    let told = environment("{name: events, kafka: {servers: ['kafka:9092']}}");
    assert!(told.contains(suggested), "{told}");
}

#[test]
fn a_broken_descriptor_hides_nothing_and_tenant_files_are_not_its_matter() {
    let repository = Repository::new();
    integrator(&repository, "", "ports: [{name: http, port: 8290}]\nscaling: {mim: 2}\n");
    let told = repository.run(&["check"]).expect_status(1).stdout;
    assert!(told.contains("scaling.mim") && told.contains("\"CleanUp\""), "{told}");
    integrator(&repository, "", ": [");
    let told = repository.run(&["check"]).expect_status(1).stdout;
    assert!(told.contains("not checked: the source beside imaas.yaml, which cannot be read"), "{told}");
    let central = Repository::new();
    central.write("tenants/acme.yaml", "apiVersion: imaas.dev/v1alpha1\nkind: Tenant\n");
    let refused = central.run(&["check"]).expect_status(2).stderr;
    assert!(refused.contains("use `kubectl imaas validate`"), "{refused}");
}

#[test]
fn a_configuration_that_the_operator_would_refuse_is_told_with_its_sizes() {
    let repository = Repository::new();
    let descriptor = "type: worker\ninstances: one\nconfig: config\n";
    repository.write("imaas.yaml", &format!("{HEAD}{descriptor}"));
    repository.write("config/orders.properties", "a=1");
    repository.write("config/lookup.csv", &"x".repeat((256 << 10) - 3));
    repository.run(&["check"]).expect_status(0);
    repository.write("config/lookup.csv", &"x".repeat((256 << 10) - 2));
    let told = repository.run(&["check"]).expect_status(1).stdout;
    assert!(
        told.starts_with(
            "imaas.yaml:5:9: config: the files in config have 262145 bytes together, and a service may have 262144 (lookup.csv has 262142, orders.properties has 3): put what is no configuration into the image"
        ),
        "{told}"
    );
    repository.run(&["check", "--largest-config", "512Ki"]).expect_status(0);
    let refused = repository.run(&["check", "--largest-config", "2Mi"]).expect_status(2).stderr;
    assert!(refused.contains("must be at most 1Mi"), "{refused}");
}
