//! What is given on the command line for a member and a service. Pure.

use std::{collections::BTreeMap, str::FromStr};

use imaas_operator::api::{self, IntegrationServiceSpec, MemberKind, Repository, Role, ServiceEntry};

use crate::platform::Platform;

/// The runtime of a service that names none: any image.
pub const RUNTIME: &str = "container";

/// The runtimes that come with the chart.
pub const RUNTIMES: [&str; 3] = ["camel", RUNTIME, "wso2-mi"];

/// `group:acme-leads:owner`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member(pub api::Member);

/// `orders=https://git.example.com/acme/orders.git,runtime=camel`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service(pub ServiceEntry);

impl FromStr for Member {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let form = "write it like group:acme-leads:owner, user:jo@acme.example:viewer or serviceaccount:ci/jenkins:developer";
        // The name itself may hold colons, as `oidc:acme-leads`.
        let (kind, rest) = text.split_once(':').ok_or(form)?;
        let (name, role) = rest.rsplit_once(':').ok_or(form)?;
        let kind = match kind.to_ascii_lowercase().as_str() {
            "user" => MemberKind::User,
            "group" => MemberKind::Group,
            "serviceaccount" | "sa" => MemberKind::ServiceAccount,
            other => return Err(format!("{other:?} is not user, group or serviceaccount: {form}")),
        };
        let role = match role {
            "owner" => Role::Owner,
            "developer" => Role::Developer,
            "viewer" => Role::Viewer,
            other => return Err(format!("{other:?} is not owner, developer or viewer: {form}")),
        };
        let (namespace, name) = match (kind, name.split_once('/')) {
            (MemberKind::ServiceAccount, Some((namespace, name))) => (Some(namespace.to_owned()), name),
            (MemberKind::ServiceAccount, None) => {
                return Err(format!("a service account has a namespace: {form}"));
            }
            (MemberKind::User | MemberKind::Group, _) => (None, name),
        };
        Ok(Self(api::Member { kind, name: name.to_owned(), namespace, role }))
    }
}

impl FromStr for Service {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let form = "write it like orders=https://git.example.com/acme/orders.git,runtime=camel";
        let (name, rest) = text.split_once('=').ok_or(form)?;
        let mut parts = rest.split(',');
        let url = parts.next().unwrap_or_default();
        if let Some((host, path)) = over_ssh(url) {
            return Err(format!("{url:?} is for SSH, which is not supported: write https://{host}/{path}"));
        }
        let url = Some(url).filter(|url| url.contains("://")).ok_or(form)?.to_owned();
        let mut spec = IntegrationServiceSpec {
            repository: Repository { url, credentials: None },
            path: None,
            runtime: RUNTIME.to_owned(),
            branches: BTreeMap::new(),
            export_to: Vec::new(),
        };
        for part in parts {
            let (key, value) = part.split_once('=').ok_or(form)?;
            let value = value.to_owned();
            match (key, key.strip_prefix("branch.")) {
                ("runtime", _) => spec.runtime = value,
                ("credentials", _) => spec.repository.credentials = Some(value),
                ("path", _) => spec.path = Some(value),
                (_, Some(environment)) => drop(spec.branches.insert(environment.to_owned(), value)),
                _ => {
                    return Err(format!(
                        "{key:?} is not runtime, credentials, path or branch.<environment>: {form}"
                    ));
                }
            }
        }
        Ok(Self(ServiceEntry { name: name.to_owned(), spec }))
    }
}

/// Host and path of `git@git.example.com:acme/orders.git` or `ssh://git@git.example.com/acme/orders.git`.
fn over_ssh(url: &str) -> Option<(&str, &str)> {
    let (place, ends) = match url.strip_prefix("ssh://") {
        Some(place) => (place, '/'),
        None => (Some(url).filter(|url| !url.contains("://"))?, ':'),
    };
    let (host, path) = place.split_once(ends)?;
    let host = host.split_once('@').map_or(host, |(_, host)| host);
    Some((host.split_once(':').map_or(host, |(host, _)| host), path))
}

/// A runtime that the chart does not bring, where the platform's own are not known.
pub fn unusual_runtime(entry: &ServiceEntry, platform: &Platform) -> Option<String> {
    let ServiceEntry { name, spec } = entry;
    let is_unusual = !platform.knows_runtimes() && !RUNTIMES.contains(&spec.runtime.as_str());
    is_unusual.then(|| {
        format!(
            "service {name}: runtime {:?} is none of {}, which every platform has: correct it, unless yours defines it",
            spec.runtime,
            RUNTIMES.join(", ")
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(text: &str) -> Result<api::Member, String> {
        text.parse::<Member>().map(|member| member.0)
    }

    #[test]
    fn a_member_is_kind_name_and_role() {
        let group = member("group:oidc:acme-leads:owner").unwrap();
        assert_eq!(
            (group.kind, group.name.as_str(), group.role),
            (MemberKind::Group, "oidc:acme-leads", Role::Owner)
        );
        let account = member("serviceaccount:ci/jenkins:developer").unwrap();
        assert_eq!((account.namespace.as_deref(), account.name.as_str()), (Some("ci"), "jenkins"));
        for (bad, word) in [
            ("acme-leads", "write it like"),
            ("group:x:boss", "not owner, developer or viewer"),
            ("team:x:owner", "not user, group or serviceaccount"),
            ("sa:x:owner", "has a namespace"),
        ] {
            assert!(member(bad).unwrap_err().contains(word), "{bad}");
        }
    }

    #[test]
    fn the_runtimes_are_those_of_the_chart() {
        let chart = concat!(env!("CARGO_MANIFEST_DIR"), "/../charts/imaas-operator/files/runtimes");
        let files = std::fs::read_dir(chart).unwrap().map(|file| file.unwrap().path());
        let mut names: Vec<_> =
            files.map(|file| file.file_stem().unwrap().to_str().unwrap().to_owned()).collect();
        names.sort();
        assert_eq!(names, RUNTIMES);
    }

    #[test]
    fn a_service_is_a_name_a_url_and_what_differs() {
        let text = "orders=https://git.example.com/acme/orders.git,runtime=camel,credentials=orders-git,path=a/b,branch.prod=release/1";
        let Service(entry) = text.parse().unwrap();
        assert_eq!((entry.name.as_str(), entry.spec.runtime.as_str()), ("orders", "camel"));
        assert_eq!(entry.spec.repository.credentials.as_deref(), Some("orders-git"));
        assert_eq!(
            (entry.spec.path.as_deref(), entry.spec.branches["prod"].as_str()),
            (Some("a/b"), "release/1")
        );
        let Service(plain) = "x=https://git.example.com/x".parse().unwrap();
        assert_eq!(plain.spec.runtime, "container");
        for (bad, word) in [
            ("orders", "write it like"),
            ("orders=camel", "write it like"),
            ("orders=git@git.example.com:acme/orders.git", "write https://git.example.com/acme/orders.git"),
            (
                "orders=ssh://git@git.example.com:22/acme/orders.git",
                "write https://git.example.com/acme/orders.git",
            ),
            ("a=https://x/y,run=z", "\"run\" is not"),
        ] {
            assert!(bad.parse::<Service>().unwrap_err().contains(word), "{bad}");
        }
    }
}
