//! Names, addresses and ports: where the parts of a stand find each other, and the chart's values that say so.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::Result;
use lab::process::free_port;

use crate::StandOptions;

/// Name of the registry in image references, and of the Git server in repository URLs: as in the samples.
pub(crate) const REGISTRY: &str = "registry.example.com";
pub(crate) const GIT: &str = "git.example.com";
/// Fixed, so that the registry can be told before the cluster has the Service.
pub(crate) const TOKEN_SERVICE: &str = "10.96.0.15";

/// Where the parts find each other.
pub(crate) struct Places {
    pub(crate) git: SocketAddr,
    /// The Git server as the URLs of repositories name it.
    pub(crate) git_name: String,
    pub(crate) registry: SocketAddr,
    /// Where the operator asks the registry.
    pub(crate) registry_url: String,
    /// Where the registry sends its clients for a token.
    pub(crate) realm: String,
    /// Where the token service listens, when it is a process of this machine.
    pub(crate) tokens: SocketAddr,
}

impl Places {
    /// By names and well-known ports, as pods reach them.
    pub(crate) fn of_pods(address: Ipv4Addr) -> Self {
        Self {
            git: SocketAddr::from((address, 443)),
            git_name: GIT.to_owned(),
            registry: SocketAddr::from((address, 5000)),
            registry_url: format!("http://{REGISTRY}:5000"),
            realm: format!("http://{TOKEN_SERVICE}/token"),
            tokens: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        }
    }

    /// By free ports, which need no root and let several stands live side by side.
    pub(crate) fn of_processes() -> Result<Self> {
        let free = || anyhow::Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?)));
        let (git, registry, tokens) = (free()?, free()?, free()?);
        Ok(Self {
            git,
            git_name: git.to_string(),
            registry,
            registry_url: format!("http://{registry}"),
            realm: format!("http://{tokens}/token"),
            tokens,
        })
    }

    /// Values of the chart.
    pub(crate) fn values(&self, options: &StandOptions) -> String {
        let StandOptions { interval, service_interval, .. } = options;
        let Self { git_name, registry_url, realm, .. } = self;
        // One operator: what a test stops, measures or reads is the leader.
        format!(
            "image: {{repository: {REGISTRY}/platform/imaas-operator, tag: lab, pullPolicy: Never}}\n\
             development: true\n\
             operator: {{replicas: 1}}\n\
             log: {{format: text, level: 'info,imaas_operator=debug'}}\n\
             git: {{interval: {service_interval}, allowedHosts: ['{git_name}']}}\n\
             tenantSource: {{url: 'https://{git_name}/platform/tenants.git', interval: {interval}, credentials: tenants-git}}\n\
             registry:\n  host: {REGISTRY}\n  url: {registry_url}\n  interval: 1s\n  \
             auth: {{realm: '{realm}', clusterIP: {TOKEN_SERVICE}, existingSecret: registry-keys}}\n  events: {{existingSecret: registry-keys}}\n"
        )
    }
}
