//! A tenant and a descriptor as YAML that a person would write. Pure.

use std::fmt::Write;

use imaas_operator::api::{API_VERSION, Member, ServiceEntry, Tenant};
use kube::ResourceExt;

use crate::args::WorkloadType;

/// What a batch has beside what all have.
const SCHEDULE: &str = "schedule: {cron: \"0 3 * * *\", timeZone: UTC}   # minute hour day month weekday\n";

/// The line by which editors find a schema.
fn schema_line(schema: Option<&str>) -> String {
    schema.map(|place| format!("# yaml-language-server: $schema={place}\n")).unwrap_or_default()
}

/// A tenant file. What the tenant does not have yet is shown as a comment.
pub fn tenant(tenant: &Tenant, schema: Option<&str>) -> String {
    let spec = &tenant.spec;
    let name = tenant.name_any();
    let mut out = schema_line(schema)
        + &format!("apiVersion: {API_VERSION}\nkind: Tenant\nmetadata:\n  name: {}\n", scalar(&name));
    let is_empty = spec.contact.is_none()
        && spec.members.is_empty()
        && spec.services.is_empty()
        && spec.environments.is_empty();
    out += "spec:\n";
    if is_empty {
        // Something has to stand there, so that the comments below it can be uncommented as they are.
        out += "  environments: {}   # every one of the platform's; to leave one out: {test: {omit: true}}\n";
    }
    if let Some(contact) = &spec.contact {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "  contact: {}", scalar(contact));
    }
    if spec.members.is_empty() {
        let _ = write!(
            out,
            "  # members:   # owner | developer | viewer; until somebody is named, nobody of yours sees anything\n  #   - {{kind: Group, name: {name}-leads, role: owner}}\n"
        );
    } else {
        out += "  members:   # owner | developer | viewer\n";
        spec.members.iter().for_each(|one| out += &member(one));
    }
    if !spec.environments.is_empty() {
        out += "  environments:\n";
        for (environment, own) in spec.environments.iter().filter(|(_, own)| own.omit) {
            let _ = writeln!(out, "    {}: {{omit: {}}}", scalar(environment), own.omit);
        }
    }
    if spec.services.is_empty() {
        let _ = write!(
            out,
            "  # services:\n  #   - name: orders\n  #     repository: {{url: \"https://git.example.com/{name}/orders.git\", credentials: orders-git}}   # a Secret in {name}-home\n  #     runtime: camel   # camel | wso2-mi | container\n"
        );
    } else {
        out += "  services:\n";
        spec.services.iter().for_each(|entry| out += &service(entry));
    }
    out
}

fn member(member: &Member) -> String {
    let Member { kind, name, namespace, role } = member;
    let namespace = namespace.as_ref().map(|of| format!(", namespace: {}", scalar(of))).unwrap_or_default();
    format!("    - {{kind: {kind:?}, name: {}{namespace}, role: {}}}\n", scalar(name), role.as_str())
}

/// The lines of a service in a tenant file.
pub fn service(entry: &ServiceEntry) -> String {
    let ServiceEntry { name, spec } = entry;
    let credentials = spec
        .repository
        .credentials
        .as_ref()
        .map(|name| format!(", credentials: {}", scalar(name)))
        .unwrap_or_default();
    let mut out = format!(
        "    - name: {}\n      repository: {{url: {}{credentials}}}\n      runtime: {}\n",
        scalar(name),
        quoted(&spec.repository.url),
        scalar(&spec.runtime)
    );
    if let Some(path) = &spec.path {
        let _ = writeln!(out, "      path: {}", scalar(path));
    }
    if !spec.branches.is_empty() {
        let one = |(environment, branch): (&String, &String)| {
            format!("{}: {}", scalar(environment), scalar(branch))
        };
        let branches: Vec<String> = spec.branches.iter().map(one).collect();
        let _ = writeln!(out, "      branches: {{{}}}", branches.join(", "));
    }
    out
}

/// An `imaas.yaml`.
pub fn descriptor(type_: WorkloadType, port: Option<u16>, schema: Option<&str>) -> String {
    let (word, own, differs) = match type_ {
        WorkloadType::Api => ("api", "", "scaling: {min: 2}"),
        WorkloadType::Worker => ("worker", "", "resources: {memory: 512Mi}"),
        WorkloadType::Batch => ("batch", SCHEDULE, "schedule: {timeZone: Europe/Zurich}"),
    };
    let mut out = schema_line(schema)
        + &format!(
            "apiVersion: {API_VERSION}\nkind: ServiceDescriptor\ntype: {word:26}# api serves requests | worker consumes | batch runs by its schedule\n{own}"
        );
    if let Some(port) = port {
        let _ = writeln!(out, "ports: [{{name: http, port: {port}}}]");
    }
    out + &format!(
        "resources: {{cpu: 100m, memory: 256Mi}}\n# environments:                 # what differs\n#   prod: {{{differs}}}\n"
    )
}

/// Plain where every YAML parser reads it as this text, else in quotes.
fn scalar(text: &str) -> String {
    const WORDS: [&str; 9] = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
    let begins = text.chars().next().is_some_and(|c| c.is_ascii_alphabetic());
    let is_plain = text.chars().all(|c| c.is_ascii_alphanumeric() || "-_./@".contains(c));
    if begins && is_plain && !WORDS.contains(&text.to_ascii_lowercase().as_str()) {
        text.to_owned()
    } else {
        quoted(text)
    }
}

/// A JSON string is a YAML one.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use imaas_operator::{
        api::{MemberKind, Role, TenantSpec},
        yaml,
    };
    use proptest::prelude::*;

    use super::*;
    use crate::{
        descriptor::{Question, found},
        platform::Platform,
    };

    proptest! {
        /// Whatever is asked for: what is written is what was meant, or is refused when it is read back.
        #[test]
        fn a_tenant_reads_back_as_it_was_meant(
            contact in proptest::option::of("\\PC{1,40}"), name in "[^\\x00-\\x1f\\x7f-\\x9f]{1,20}", word in "(true|no|null|1e3|0x1|~|a: b|- x|#|\\{)",
        ) {
            let one = |name: &str| Member { kind: MemberKind::Group, name: name.to_owned(), namespace: None, role: Role::Owner };
            let spec = TenantSpec { contact, members: vec![one(&name), one(&word)], ..TenantSpec::default() };
            let meant = Tenant::new("acme", spec);
            if let Ok(read) = yaml::tenant(tenant(&meant, None).as_bytes()) {
                prop_assert_eq!(read.spec, meant.spec);
            }
        }
    }

    #[test]
    fn a_descriptor_is_valid_and_so_is_what_its_comments_show() {
        let platform = Platform::default();
        for type_ in [WorkloadType::Api, WorkloadType::Worker, WorkloadType::Batch] {
            let text = descriptor(type_, (type_ == WorkloadType::Api).then_some(8080), None);
            let uncommented = text.replace("\n# ", "\n");
            assert!(uncommented.contains("\nenvironments: "), "{uncommented}");
            for text in [text, uncommented] {
                let config = |name: &str| Err(format!("config: {name:?} was not asked for"));
                let text = text.as_bytes();
                let question =
                    Question { text, platform: &platform, runtime: Some("container"), config: &config };
                assert_eq!(found(&question).problems, [], "{type_:?}");
            }
        }
    }

    #[test]
    fn an_empty_tenant_is_valid_and_shows_what_may_be_said() {
        let text = tenant(&Tenant::new("acme", TenantSpec::default()), Some("../schemas/tenant.schema.json"));
        assert!(yaml::tenant(text.as_bytes()).is_ok(), "{text}");
        let uncommented = text.replace("\n  # ", "\n  ");
        assert!(!uncommented.contains("\n  #"), "all of it: {uncommented}");
        let filled = yaml::tenant(uncommented.as_bytes()).unwrap();
        assert_eq!(
            (filled.spec.members.len(), filled.spec.services.len()),
            (1, 1),
            "the comments are right too"
        );
    }
}
