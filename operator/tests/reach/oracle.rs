//! `cyclonus`: what NetworkPolicies mean, by code that is not ours.

use std::{collections::BTreeMap, path::PathBuf, process::Command};

use k8s_openapi::{List, api::networking::v1::NetworkPolicy};
use lab::{Progress, cache};
use serde_json::{Value, json};

/// One end of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    pub ip: String,
    /// Of a pod: its namespace, the labels of that, its own.
    pub pod: Option<(String, BTreeMap<String, String>, BTreeMap<String, String>)>,
}

/// From one end to a port of another.
#[derive(Clone, Debug)]
pub struct Traffic {
    pub from: End,
    pub to: End,
    pub protocol: &'static str,
    pub port: u16,
}

/// The program, built once.
pub struct Oracle(PathBuf);

impl Oracle {
    pub fn new() -> Self {
        Self(cache::binary("cyclonus", &Progress::new(|line| println!("{line}"))).unwrap())
    }

    /// May each of `traffic` pass? In its order.
    pub fn verdicts(&self, policies: &[NetworkPolicy], traffic: &[Traffic]) -> Vec<bool> {
        let scratch = tempfile::tempdir().unwrap();
        let list: List<NetworkPolicy> = List { items: policies.to_vec(), ..List::default() };
        let (of_policies, of_traffic) =
            (scratch.path().join("policies.json"), scratch.path().join("traffic.json"));
        std::fs::write(&of_policies, serde_json::to_vec(&list).unwrap()).unwrap();
        let asked: Vec<_> = traffic.iter().map(Traffic::json).collect();
        std::fs::write(&of_traffic, serde_json::to_vec(&asked).unwrap()).unwrap();
        let output = Command::new(&self.0)
            .args(["analyze", "--mode", "query-traffic", "--simplify-policies=false", "--policy-path"])
            .arg(&of_policies)
            .arg("--traffic-path")
            .arg(&of_traffic)
            .output()
            .unwrap();
        let told = String::from_utf8(output.stdout).unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{errors}");
        let answers = told.lines().filter(|line| line.contains("IS ALLOWED?"));
        let verdicts: Vec<_> = answers.map(|line| line.contains("TRUE")).collect();
        assert_eq!(verdicts.len(), traffic.len(), "{errors}");
        verdicts
    }
}

impl Traffic {
    fn json(&self) -> Value {
        let Self { from, to, protocol, port } = self;
        json!({
            "Source": from.json(), "Destination": to.json(),
            "Protocol": protocol, "ResolvedPort": port, "ResolvedPortName": "",
        })
    }
}

impl End {
    fn json(&self) -> Value {
        let internal = self.pod.as_ref().map(|(namespace, labels, own)| {
            json!({ "Namespace": namespace, "NamespaceLabels": labels, "PodLabels": own })
        });
        match internal {
            Some(internal) => json!({ "IP": self.ip, "Internal": internal }),
            None => json!({ "IP": self.ip }),
        }
    }
}
