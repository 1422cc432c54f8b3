//! An API of the cluster that a process of this machine serves.

/// Its objects: the Service `name` in `kube-system` that leads to `port` of this machine's `address`, and the `APIService` of
/// `group` and `version`, whose certificate is not checked.
pub(crate) fn objects(name: &str, (group, version): (&str, &str), (address, port): (&str, u16)) -> String {
    format!(
        "apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: kube-system}}
spec: {{ports: [{{name: https, port: 443, targetPort: {port}}}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: {name}-host
  namespace: kube-system
  labels: {{kubernetes.io/service-name: {name}}}
addressType: IPv4
endpoints:
  - {{addresses: [{address}], conditions: {{ready: true}}}}
ports:
  - {{name: https, port: {port}}}
---
apiVersion: apiregistration.k8s.io/v1
kind: APIService
metadata: {{name: {version}.{group}}}
spec:
  group: {group}
  version: {version}
  groupPriorityMinimum: 100
  versionPriority: 100
  insecureSkipTLSVerify: true
  service: {{name: {name}, namespace: kube-system}}
"
    )
}
