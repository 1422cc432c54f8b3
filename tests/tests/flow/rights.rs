//! The operator's rights: enough for all that the cases before did, and not more.

use anyhow::{Result, ensure};

use crate::Flow;

const OPERATOR: &str = "system:serviceaccount:imaas-system:imaas-operator";

/// Does this line of the log tell of a request that was refused?
pub fn is_refusal(line: &str) -> bool {
    line.to_lowercase().contains("forbidden")
}

/// Promise: no request was refused but a right that was a moment old, and what the design withholds is withheld.
pub async fn are_narrow(flow: &Flow) -> Result<String> {
    let refused = flow.log.since(0, |line| is_refusal(line) && !line.contains("not in force yet"));
    ensure!(refused.is_empty(), "the operator was refused: {refused:#?}");
    // Right after an installation the API server has not yet loaded the policies, and the operator says so.
    let is_defect = |line: &str| {
        line.contains("panicked") || line.contains("ERROR") && !line.contains("does not enforce")
    };
    let defects = flow.log.since(0, is_defect);
    ensure!(defects.is_empty(), "the operator needs a person: {defects:#?}");
    let mut asked = 0;
    for (is_allowed, verb, what, namespace) in [
        (true, "create", "namespaces", ""),
        (true, "get", "secrets", "acme-home"),
        (true, "patch", "deployments.apps", "acme-dev"),
        (true, "get", "secrets/tenants-git", "imaas-system"),
        (false, "get", "secrets", "imaas-system"),
        (false, "list", "secrets", ""),
        (false, "watch", "secrets", ""),
        (false, "get", "secrets", "kube-system"),
        (false, "get", "secrets", "default"),
        (false, "list", "secrets", "acme-home"),
        (false, "delete", "secrets", "acme-home"),
        (true, "delete", "deployments.apps", "acme-dev"),
        (true, "patch", "horizontalpodautoscalers.autoscaling", "acme-dev"),
        (true, "delete", "horizontalpodautoscalers.autoscaling", "acme-dev"),
        (false, "patch", "horizontalpodautoscalers.autoscaling", "default"),
        (true, "patch", "cronjobs.batch", "acme-dev"),
        (true, "delete", "cronjobs.batch", "acme-dev"),
        (true, "delete", "jobs.batch", "acme-dev"),
        (false, "delete", "jobs.batch", "default"),
        (false, "patch", "cronjobs.batch", "default"),
        (true, "delete", "networkpolicies.networking.k8s.io", "acme-dev"),
        (true, "delete", "namespaces", ""),
        (true, "delete", "tenants.imaas.dev", ""),
        (false, "patch", "environments.imaas.dev", ""),
        (false, "patch", "tenantsources.imaas.dev", ""),
        (true, "delete", "releases.imaas.dev", "acme-home"),
        (true, "delete", "integrationservices.imaas.dev", "acme-home"),
        (false, "create", "pods", "acme-dev"),
        (false, "create", "pods/exec", "acme-dev"),
        (false, "create", "serviceaccounts/token", "acme-dev"),
        (false, "patch", "deployments.apps", "imaas-system"),
        (false, "patch", "deployments.apps", "default"),
        (false, "bind", "clusterroles.rbac.authorization.k8s.io/cluster-admin", ""),
        (false, "escalate", "clusterroles.rbac.authorization.k8s.io", ""),
        (false, "impersonate", "users", ""),
        (false, "patch", "customresourcedefinitions.apiextensions.k8s.io", ""),
        (false, "patch", "validatingadmissionpolicies.admissionregistration.k8s.io", ""),
        (false, "adopt", "tenants.imaas.dev", ""),
    ] {
        let place = if namespace.is_empty() { vec!["-A"] } else { vec!["-n", namespace] };
        let question = [&["auth", "can-i", "-q", verb, what, "--as", OPERATOR], place.as_slice()].concat();
        let answer = flow.stand.kubectl.output(&question, None).await?;
        ensure!(
            answer.status.success() == is_allowed,
            "{verb} {what} {namespace}: allowed is not {is_allowed}"
        );
        asked += 1;
    }
    let settling = flow.log.since(0, |line| line.contains("not in force yet")).len();
    Ok(format!("{asked} rights asked for; {settling} refusals just after a binding, no other"))
}
