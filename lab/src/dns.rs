//! `CoreDNS` as a process of the machine, reached by pods as the Service `kube-dns` at 10.96.0.10.
use std::{fs, net::SocketAddr, path::Path, process::Command, time::Duration};

use anyhow::Context;

use crate::{
    Progress, cache,
    host::HOST_IP,
    kubectl::Kubectl,
    process::{Process, free_port, http_status, wait_until},
};

/// The Service's address, which the kubelet writes into the pods' `resolv.conf`.
pub const SERVICE_IP: &str = "10.96.0.10";

/// Starts `CoreDNS` on [`HOST_IP`]. `names` are names of the lab's own servers: they resolve to [`HOST_IP`].
pub(crate) async fn start(
    dir: &Path,
    kubectl: &Kubectl,
    kubeconfig: &Path,
    names: &[String],
    progress: &Progress,
) -> anyhow::Result<Process> {
    let program = cache::binary_async("coredns", progress).await?;
    let ready = SocketAddr::from(([127, 0, 0, 1], free_port()?));
    let corefile = dir.join("Corefile");
    fs::write(&corefile, configuration(kubeconfig, names, ready)).context("write the Corefile")?;
    let mut command = Command::new(program);
    command.arg("-conf").arg(&corefile);
    let process = Process::spawn("coredns", &command, &dir.join("coredns.log"))?;
    kubectl.apply(&service()).await?;
    wait_until("CoreDNS", Duration::from_secs(30), &[&process], || async {
        http_status(ready, "/ready").await == Some(200)
    })
    .await?;
    Ok(process)
}

fn configuration(kubeconfig: &Path, names: &[String], ready: SocketAddr) -> String {
    // No cache for the cluster's own names: a new Service resolves at once.
    format!(
        "cluster.local:53 in-addr.arpa:53 ip6.arpa:53 {{\n  bind {HOST_IP}\n  errors\n  ready {ready}\n  \
           kubernetes cluster.local in-addr.arpa ip6.arpa {{\n    kubeconfig {kubeconfig} lab\n    \
             pods insecure\n    ttl 1\n  }}\n}}\n\
         .:53 {{\n  bind {HOST_IP}\n  errors\n  \
           hosts {{\n    {HOST_IP} {names}\n    no_reverse\n    fallthrough\n  }}\n  \
           forward . /etc/resolv.conf\n  cache 30\n}}\n",
        kubeconfig = kubeconfig.display(),
        names = names.join(" "),
    )
}

fn service() -> String {
    format!(
        "apiVersion: v1
kind: Service
metadata: {{name: kube-dns, namespace: kube-system, labels: {{k8s-app: kube-dns}}}}
spec:
  clusterIP: {SERVICE_IP}
  ports:
    - {{name: dns, port: 53, protocol: UDP}}
    - {{name: dns-tcp, port: 53, protocol: TCP}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: kube-dns-host
  namespace: kube-system
  labels: {{kubernetes.io/service-name: kube-dns}}
addressType: IPv4
endpoints:
  - {{addresses: [{HOST_IP}], conditions: {{ready: true}}}}
ports:
  - {{name: dns, port: 53, protocol: UDP}}
  - {{name: dns-tcp, port: 53, protocol: TCP}}
"
    )
}
