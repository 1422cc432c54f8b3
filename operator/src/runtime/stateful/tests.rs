use std::io::Write;

use super::*;

fn looked(files: &[(&str, &[u8])]) -> Look {
    let mut look = Look::default();
    for (path, content) in files {
        assert!(Look::wants(path), "{path}");
        look.file(path, content);
    }
    look
}

/// What is found in one file, without its path.
fn told(path: &str, text: &str) -> Vec<String> {
    let look = looked(&[(path, text.as_bytes())]);
    assert_eq!(look.unknown, [], "{text}");
    look.findings.iter().map(|found| format!("{} {}", found.line, found.artifact)).collect()
}

fn unknown(path: &str, text: &str) -> Vec<String> {
    let look = looked(&[(path, text.as_bytes())]);
    assert_eq!(look.findings, [], "{text}");
    look.unknown.iter().map(|unknown| format!("{} {}", unknown.line, unknown.why)).collect()
}

/// A project as WSO2 Micro Integrator's editor lays it out.
const TASK: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<task class="org.apache.synapse.startup.tasks.MessageInjector" group="synapse.simple.quartz" name="CleanUpTask"
      xmlns="http://ws.apache.org/ns/synapse">
    <trigger cron="0 0 3 * * ?"/>
    <property name="injectTo" value="sequence" xmlns:task="http://www.wso2.org/products/wso2commons/tasks"/>
</task>
"#;
const FILES: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<!-- One that
     fetches. -->
<inboundEndpoint name="OrdersFromErp" protocol="file" sequence="import" onError="fault" suspend="false"
                 xmlns="http://ws.apache.org/ns/synapse">
    <parameters>
        <parameter name="interval">1000</parameter>
        <parameter name="sequential">true</parameter>
        <parameter name="coordination">true</parameter>
        <parameter name="transport.vfs.FileURI">ftp://erp:secret@erp.example.com/out</parameter>
    </parameters>
</inboundEndpoint>
"#;
const PROCESSOR: &str = r#"<syn:messageProcessor xmlns:syn="http://ws.apache.org/ns/synapse" name="Resend"
    class="org.apache.synapse.message.processor.impl.forwarder.ScheduledMessageForwardingProcessor"
    targetEndpoint="Billing" messageStore="Failed"><syn:parameter name="interval">1000</syn:parameter></syn:messageProcessor>"#;

#[test]
fn what_a_micro_integrator_does_once_is_found_where_it_stands() {
    let root = "src/main/wso2mi/artifacts";
    let look = looked(&[
        (&format!("{root}/tasks/CleanUpTask.xml"), TASK.as_bytes()),
        (&format!("{root}/inbound-endpoints/OrdersFromErp.xml"), FILES.as_bytes()),
        (&format!("{root}/message-processors/Resend.xml"), PROCESSOR.as_bytes()),
    ]);
    let told: Vec<_> = look.findings.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            format!(
                "{root}/tasks/CleanUpTask.xml:2: the scheduled task \"CleanUpTask\" starts in every instance"
            ),
            format!(
                "{root}/inbound-endpoints/OrdersFromErp.xml:4: the inbound endpoint \"OrdersFromErp\" by file looks at the same place in every instance, so that two may take the same"
            ),
            format!(
                "{root}/message-processors/Resend.xml:1: the message processor \"Resend\" sends on what is stored in every instance"
            ),
        ]
    );
    assert_eq!(look.unknown, []);
}

#[test]
fn what_waits_for_requests_is_safe_as_many() {
    let synapse = r#"xmlns="http://ws.apache.org/ns/synapse""#;
    for (text, expected) in [
        (format!(r#"<api {synapse} name="orders" context="/orders"><resource methods="GET"/></api>"#), 0),
        (format!(r#"<inboundEndpoint {synapse} name="a" protocol="http" sequence="s"/>"#), 0),
        (format!(r#"<inboundEndpoint {synapse} name="a" protocol="jms" sequence="s"/>"#), 1),
        (format!(r#"<inboundEndpoint {synapse} name="a" protocol="kafka"/>"#), 1),
        (format!(r#"<proxy {synapse} name="a" transports="http https" startOnLoad="true"/>"#), 0),
        (format!(r#"<proxy {synapse} name="a" transports="vfs"/>"#), 1),
        (format!(r#"<definitions {synapse}><task name="a"/><task name="b"/></definitions>"#), 2),
        (r#"<project xmlns="http://maven.apache.org/POM/4.0.0"><task name="a"/></project>"#.to_owned(), 0),
        (r#"<task xmlns="http://example.com/ns/synapse" name="a"/>"#.to_owned(), 0),
        (format!(r#"<x><b {synapse}/><task name="a"/></x>"#), 0),
        (format!(r#"<!-- <task {synapse} name="a"/> --><x/>"#), 0),
    ] {
        assert_eq!(told("a.xml", &text).len(), expected, "{text}");
    }
    let own = |behaviour: &str| {
        format!(
            r#"<inboundEndpoint {synapse} name="a" class="com.example.Mine"><parameters>{behaviour}</parameters></inboundEndpoint>"#
        )
    };
    let says = |text: &str| own(&format!(r#"<parameter name="inbound.behavior">{text}</parameter>"#));
    assert_eq!(told("a.xml", &says("listening")).len(), 0);
    assert_eq!(told("a.xml", &says("eventBased")).len(), 1);
    assert_eq!(told("a.xml", &own(r#"<parameter name="interval">listening</parameter>"#)).len(), 1);
}

fn archive(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut archive = rawzip::ZipArchiveWriter::new(&mut bytes);
    for (name, content) in entries {
        if name.ends_with('/') {
            archive.new_dir(name).create().unwrap();
            continue;
        }
        let (mut entry, config) =
            archive.new_file(name).compression_method(rawzip::CompressionMethod::DEFLATE).start().unwrap();
        let encoder = flate2::write::DeflateEncoder::new(&mut entry, flate2::Compression::best());
        let mut writer = config.wrap(encoder);
        writer.write_all(content).unwrap();
        let (encoder, descriptor) = writer.finish().unwrap();
        encoder.finish().unwrap();
        entry.finish(descriptor).unwrap();
    }
    archive.finish().unwrap();
    bytes
}

#[test]
fn a_carbon_application_is_looked_into() {
    let list = br#"<artifacts><artifact name="OrdersCompositeExporter" version="1.0.0" type="carbon/application">
        <dependency artifact="CleanUpTask" version="1.0.0" include="true" serverRole="EnterpriseIntegrator"/></artifact></artifacts>"#;
    let one = br#"<artifact name="CleanUpTask" version="1.0.0" type="synapse/task" serverRole="EnterpriseIntegrator"><file>CleanUpTask-1.0.0.xml</file></artifact>"#;
    let car = archive(&[
        ("artifacts.xml", list),
        ("CleanUpTask_1.0.0/", b""),
        ("CleanUpTask_1.0.0/artifact.xml", one),
        ("CleanUpTask_1.0.0/CleanUpTask-1.0.0.xml", TASK.as_bytes()),
    ]);
    let look = looked(&[("apps/orders_1.0.0.car", &car)]);
    assert_eq!(look.unknown, []);
    let [found] = &look.findings[..] else { panic!("{look:?}") };
    assert_eq!(
        (found.file.as_str(), found.line),
        ("apps/orders_1.0.0.car!/CleanUpTask_1.0.0/CleanUpTask-1.0.0.xml", 2)
    );
}

#[test]
fn an_archive_that_unpacks_without_end_is_refused() {
    let large = vec![b' '; 1 << 20];
    let (over, name) = (vec![b' '; (1 << 20) + 1], |n: usize| format!("a{n}/a.xml"));
    let why = |look: Look| look.unknown.into_iter().map(|unknown| unknown.why).collect::<Vec<_>>().concat();
    let one = looked(&[("a.car", &archive(&[("a.xml", &over)]))]);
    assert!(why(one).contains("a.xml: it unpacks to more than 1048576 bytes"));
    let names: Vec<_> = (0..17).map(name).collect();
    let many: Vec<_> = names.iter().map(|name| (name.as_str(), &large[..])).collect();
    assert!(why(looked(&[("a.car", &archive(&many))])).contains("a16/a.xml: it unpacks to more"));
    assert_eq!(looked(&[("a.car", &archive(&many[..16]))]), Look::default(), "all that fits is read");
    let names: Vec<_> = (0..=5_000).map(name).collect();
    let many: Vec<_> = names.iter().map(|name| (name.as_str(), &b""[..])).collect();
    assert!(why(looked(&[("a.car", &archive(&many))])).contains("more than 5000 entries"));
    assert!(why(looked(&[("a.car", b"not one")])).contains("cannot be read further"));
}

#[test]
fn nothing_of_an_xml_is_followed_and_none_is_too_much() {
    let synapse = r#"xmlns="http://ws.apache.org/ns/synapse""#;
    let outside = format!(
        "<!DOCTYPE task [<!ENTITY x SYSTEM \"file:///etc/passwd\">]>\n<task {synapse} name=\"&x;\"/>"
    );
    assert!(unknown("a.xml", &outside)[0].contains("DOCTYPE"));
    let deep = format!("<a {synapse}>{}", "<a>".repeat(300_000));
    assert!(unknown("a.xml", &deep)[0].contains("deeper than 256"));
    let spaces = (0..30_000).fold(String::new(), |all, n| all + &format!("xmlns:a{n}='u{n}' "));
    assert!(unknown("a.xml", &format!("<a {synapse} {spaces}/>"))[0].contains("more than 64 namespaces"));
    let attributes = (0..60_000).fold(String::new(), |all, n| all + &format!("a{n}='' "));
    assert_eq!(told("a.xml", &format!("<task {synapse} {attributes}/>")).len(), 1);
    assert!(unknown("a.xml", &format!("<api {synapse}><b>\n</c></api>"))[0].starts_with("2 "));
    assert_eq!(told("a.xml", &format!("\u{feff}<task {synapse} name='a'/>")), ["1 scheduled task \"a\""]);
}

#[test]
fn camel_routes_in_yaml_are_found_in_every_form() {
    let dsl = "- route:\n    id: nightly\n    from:\n      uri: \"timer:tick?period=3s\"\n      steps:\n        - to: direct:x\n\
        - from:\n    uri: file\n    parameters: {directoryName: inbox}\n    steps: []\n- from: {uri: platform-http:/orders}\n";
    assert_eq!(
        told("src/main/resources/camel/routes.camel.yaml", dsl),
        ["4 Camel route from \"timer:tick\"", "8 Camel route from \"file\""]
    );
    let integration = "apiVersion: camel.apache.org/v1\nkind: Integration\nspec:\n  flows:\n  - from: {uri: 'quartz:a?cron=0', steps: []}\n---\n\
        kind: Pipe\nspec:\n  source: {ref: {kind: Kamelet, name: timer-source}}\n  sink: {uri: 'kafka:a'}\n";
    assert_eq!(
        told("a.yaml", integration),
        ["5 Camel route from \"quartz:a\"", "9 Camel route from \"kamelet:timer-source\""]
    );
    for text in [
        "spec: {ingress: [{from: [{uri: 'timer:a'}]}]}",
        "to: {uri: 'timer:a'}",
        "from: [timer:a]",
        "from:\n  steps: {uri: 'timer:a'}",
        "a: &x {uri: 'timer:a'}\nfrom: *x\n",
    ] {
        assert_eq!(told("a.yml", text), [""; 0], "{text}");
    }
    assert_eq!(
        unknown("a.yaml", "- from:\n    uri: '{{orders.source}}'\n"),
        ["2 the route is from \"{{orders.source}}\", which is set elsewhere"]
    );
    assert!(unknown("a.yaml", "from: {{ .Values.a }}\n  x: [")[0].contains("cannot be read further"));
    assert!(unknown("a.yaml", &format!("from: {}", "[".repeat(1000)))[0].contains("cannot be read"));
}

#[test]
fn camel_routes_in_xml_are_found_in_every_dialect() {
    for text in [
        "<routes xmlns=\"http://camel.apache.org/schema/spring\">\n<route><from uri=\"timer:a\"/></route></routes>",
        "<beans xmlns=\"http://www.springframework.org/schema/beans\" xmlns:c=\"http://camel.apache.org/schema/spring\">\n<c:camelContext><c:route><c:from uri='timer:a'/></c:route></c:camelContext></beans>",
        "<camel>\n<route><from uri='timer:a&amp;b?x=y'/></route></camel>",
    ] {
        let told = told("a.xml", text);
        assert!(told.len() == 1 && told[0].starts_with("2 Camel route from \"timer:a"), "{told:?}");
    }
    assert_eq!(told("a.xml", "<x xmlns='http://example.com/mail'><from uri='timer:a'/></x>"), [""; 0]);
}

#[test]
fn camel_routes_in_java_are_found_as_far_as_they_are_written_down() {
    let java = r#"package com.example;
import org.apache.camel.builder.RouteBuilder;
import static org.apache.camel.builder.endpoint.StaticEndpointBuilders.*;
/* from("timer:not-this") */
public class Orders extends RouteBuilder {
    public void configure() { // from("timer:nor-this")
        from("timer:tick?period=3s")
            .to("log:\"from('timer:nor')\"");
        from( /* every night */
            timer("night")).to(direct("x"));
        from(StaticEndpointBuilders.aws2S3("bucket")).to("direct:x");
        fromF("file:%s", directory).to("direct:x");
        from("platform-http:/orders").pollEnrich("file:templates");
        String text = "from(\"timer:in-a-string\")";
    }
    @Consume(uri = "quartz:minute?cron=0+*+*+*+*+?")
    public void often() {}
}
"#;
    assert_eq!(
        told("src/main/java/com/example/Orders.java", java),
        [
            "7 Camel route from \"timer:tick\"",
            "9 Camel route from \"timer:night\"",
            "11 Camel route from \"aws2-s3:bucket\"",
            "12 Camel route from \"file:%s\"",
            "16 Camel route from \"quartz:minute\"",
        ]
    );
    let camel = "import org.apache.camel.builder.RouteBuilder;\n";
    assert_eq!(
        unknown("A.java", &format!("{camel}class A {{ void configure() {{ from(SOURCE).to(\"x\"); }} }}")),
        ["2 the route is from the value of `SOURCE`"]
    );
    let other = "class A { Object a = query.from(Order.class); Object b = from(\"timer:a\"); }";
    assert_eq!(told("A.java", other), [""; 0], "not Camel's");
    assert_eq!(told("A.java", &format!("{camel} query.from(Order.class)")), [""; 0]);
    assert_eq!(told("A.kt", &format!("{camel} from(\"\"\"timer:a\"\"\")")).len(), 1);
    for cut in ["from(", "from(\"", "from(\"timer:a", "from(\"\"\"", "/*", "//", "from(a.", "'"] {
        looked(&[("A.java", format!("{camel}{cut}").as_bytes())]);
    }
}

#[test]
fn what_is_not_built_is_not_looked_at() {
    for directory in ["src/test", "orders/src/test", "target", "a/target", "node_modules", ".git", "a/.idea"]
    {
        assert!(!Look::enters(directory), "{directory}");
    }
    for directory in ["src", "src/main", "test", "targets", "src/main/wso2mi"] {
        assert!(Look::enters(directory), "{directory}");
    }
    for file in ["imaas.yaml", "a/imaas.yaml", "README.md", "a.jar", "xml"] {
        assert!(!Look::wants(file), "{file}");
    }
}

#[test]
fn one_that_may_run_as_many_says_how_its_instances_agree() {
    let asked = |yaml: &str| is_uncoordinated(&serde_saphyr::from_str(yaml).unwrap());
    assert!(asked("type: api") && asked("instances: many") && asked("{type: worker, instances: many}"));
    assert!(!asked("type: worker") && !asked("{type: api, instances: one}"));
    assert!(!asked("{instances: many, coordination: WSO2_COORDINATION_DB}"));
}

#[test]
fn a_file_full_of_artifacts_is_told_of_in_part() {
    let tasks = "<task name='a'/>".repeat(10_000);
    let text = format!("<definitions xmlns=\"http://ws.apache.org/ns/synapse\">{tasks}</definitions>");
    assert_eq!(told("a.xml", &text).len(), KEPT);
    let name = "x".repeat(10_000);
    let long = format!("<task xmlns=\"http://ws.apache.org/ns/synapse\" name=\"{name}\"/>");
    assert!(told("a.xml", &long)[0].len() < 200);
}

mod any {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever a file holds, it is read to an end, and nothing is told at length.
        #[test]
        fn nothing_in_a_file_stops_the_look(bytes in proptest::collection::vec(any::<u8>(), 0..400), pick in 0..6_usize) {
            let begin = ["<a xmlns='http://ws.apache.org/ns/synapse'>", "- from:\n  uri: ", "import org.apache.camel;from(\"", "PK\u{3}\u{4}", "<from uri='", "from(/*\""][pick];
            let content = [begin.as_bytes(), &bytes].concat();
            for path in ["a.xml", "a.yaml", "a.java", "a.car", "a.kt"] {
                looked(&[(path, &content)]);
            }
        }
    }
}

#[test]
fn where_an_inbound_endpoint_takes_its_work_from_is_told() {
    let waits = |protocol: &str, parameters: &[(&str, &str)]| {
        let parameters: Vec<_> = parameters
            .iter()
            .map(|(name, value)| format!("<parameter name=\"{name}\">{value}</parameter>"))
            .collect();
        let parameters = parameters.concat();
        let text = format!(
            "<inboundEndpoint xmlns=\"http://ws.apache.org/ns/synapse\" name=\"in\"{protocol}><parameters>{parameters}</parameters></inboundEndpoint>"
        );
        let mut look = Look::default();
        look.file("in.xml", text.as_bytes());
        look.consumed.first().map(|consumed| (consumed.line, consumed.source.to_string()))
    };
    let by_class = " class=\"org.wso2.carbon.inbound.kafka.KafkaMessageConsumer\"";
    let kafka = waits(by_class, &[("topic.name", "orders"), ("group.id", "shop")]);
    assert_eq!(kafka, Some((1, "the topic orders of Kafka".to_owned())));
    let rabbit = waits(" protocol=\"rabbitmq\"", &[("rabbitmq.queue.name", "orders")]);
    assert_eq!(rabbit, Some((1, "the queue orders of RabbitMQ".to_owned())));
    let destination = ("transport.jms.Destination", "orders");
    assert_eq!(waits(" protocol=\"jms\"", &[destination]), Some((1, "the queue orders".to_owned())));
    let topic = [destination, ("transport.jms.DestinationType", "topic")];
    assert_eq!(waits(" protocol=\"jms\"", &topic), None);
    assert_eq!(waits(" protocol=\"http\"", &[("inbound.http.port", "8285")]), None);
}
