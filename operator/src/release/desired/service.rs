//! How a service is called, also while pods of several releases answer. Pure.

use std::collections::BTreeSet;

use k8s_openapi::{
    api::core::v1::{Service, ServicePort, ServiceSpec},
    apimachinery::pkg::util::intstr::IntOrString,
};

use super::{Target, footprint::Footprint};
use crate::api::WorkloadType;

/// With every port of every api among `running`, oldest first; `None` when there is none.
pub(super) fn service(target: &Target, running: &[Footprint]) -> Option<Service> {
    if running.iter().all(|footprint| footprint.type_ != WorkloadType::Api) {
        return None;
    }
    Some(Service {
        metadata: target.metadata(),
        spec: Some(ServiceSpec {
            type_: Some("ClusterIP".to_owned()),
            selector: Some(target.selector()),
            ports: Some(ports(running)),
            ..ServiceSpec::default()
        }),
        status: None,
    })
}

/// What is there keeps its name, or every proxy would lose its endpoints until they are listed under the new one.
pub(super) fn ports(running: &[Footprint]) -> Vec<ServicePort> {
    let mut ports: Vec<ServicePort> = Vec::new();
    for port in running.iter().filter(|one| one.type_ == WorkloadType::Api).flat_map(|one| &one.ports) {
        let number = i32::from(port.port);
        if ports.iter().any(|there| there.port == number) {
            continue;
        }
        let is_taken = ports.iter().any(|there| there.name.as_ref() == Some(&port.name));
        // No port of a descriptor has such a name.
        let name = if is_taken { format!("{}--{number}", port.name) } else { port.name.clone() };
        ports.push(ServicePort {
            name: Some(name),
            port: number,
            protocol: Some("TCP".to_owned()),
            target_port: Some(target_port(port.port, running)),
            ..ServicePort::default()
        });
    }
    ports
}

/// The number, where every pod listens on it. Else the name, by which each pod is asked on a number of its own and a pod
/// without that name is not asked at all. A port that changed its name has none that all understand.
fn target_port(number: u16, running: &[Footprint]) -> IntOrString {
    let declared = |one: &&Footprint| one.ports.iter().any(|port| port.port == number);
    let ports = running.iter().flat_map(|one| &one.ports).filter(|port| port.port == number);
    let names: BTreeSet<_> = ports.map(|port| &port.name).collect();
    match names.first() {
        Some(name) if names.len() == 1 && !running.iter().all(|one| declared(&one)) => {
            IntOrString::String((*name).clone())
        }
        _ => IntOrString::Int(i32::from(number)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `port, name, target` of each port for releases with these `(name, port)`, oldest first.
    fn told(running: &[&[(&str, u16)]]) -> Vec<(i32, String, String)> {
        let port = |(name, port): &(&str, u16)| crate::api::Port { name: (*name).to_owned(), port: *port };
        let footprint = |ports: &&[(&str, u16)]| Footprint {
            type_: WorkloadType::Api,
            many: true,
            ports: ports.iter().map(port).collect(),
            management: vec![],
            connects: vec![],
            uses: vec![],
            expose: None,
            metrics: None,
            health: None,
            smoke: None,
            grace_seconds: 30,
        };
        let running: Vec<_> = running.iter().map(footprint).collect();
        let target = |port: &ServicePort| match port.target_port.clone().unwrap() {
            IntOrString::Int(number) => number.to_string(),
            IntOrString::String(name) => name,
        };
        ports(&running).iter().map(|port| (port.port, port.name.clone().unwrap(), target(port))).collect()
    }

    fn said(ports: &[(i32, &str, &str)]) -> Vec<(i32, String, String)> {
        ports.iter().map(|(port, name, target)| (*port, (*name).to_owned(), (*target).to_owned())).collect()
    }

    #[test]
    fn alone_it_is_as_the_release_says() {
        let ports = said(&[(8080, "http", "8080"), (9000, "grpc", "9000")]);
        assert_eq!(told(&[&[("http", 8080), ("grpc", 9000)]]), ports);
    }

    #[test]
    fn a_port_that_moves_is_reached_by_both_numbers_in_every_pod() {
        let ports = said(&[(8080, "http", "http"), (9090, "http--9090", "http")]);
        assert_eq!(told(&[&[("http", 8080)], &[("http", 9090)]]), ports);
    }

    #[test]
    fn a_port_that_comes_or_goes_is_asked_only_where_it_is() {
        let ports = said(&[(8080, "http", "8080"), (7000, "admin", "admin"), (9000, "grpc", "grpc")]);
        assert_eq!(told(&[&[("http", 8080), ("admin", 7000)], &[("http", 8080), ("grpc", 9000)]]), ports);
    }

    #[test]
    fn a_port_that_is_renamed_is_reached_by_its_number() {
        assert_eq!(told(&[&[("http", 8080)], &[("web", 8080)]]), said(&[(8080, "http", "8080")]));
    }

    #[test]
    fn two_that_change_places_answer_as_each_pod_has_them() {
        let ports = said(&[(1, "a", "1"), (2, "b", "2")]);
        assert_eq!(told(&[&[("a", 1), ("b", 2)], &[("a", 2), ("b", 1)]]), ports);
    }
}
