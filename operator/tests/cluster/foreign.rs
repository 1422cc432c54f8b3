//! What somebody else adds to our objects is taken away again, once; what others may own is left.

use k8s_openapi::api::{
    core::v1::{ConfigMap, LimitRange, Service},
    networking::v1::NetworkPolicy,
    rbac::v1::RoleBinding,
};

use super::*;

fn object<K: Object>(content: &Value) -> K {
    let mut object = json!({
        "apiVersion": K::api_version(&()), "kind": K::kind(&()),
        "metadata": { "name": "orders", "namespace": NAMESPACE, "labels": { MANAGED_BY: MANAGER } },
    });
    object.as_object_mut().unwrap().extend(content.as_object().unwrap().clone());
    serde_json::from_value(object).unwrap()
}

/// The part of an object that its author writes.
fn content<K: Object>(object: &K) -> Value {
    let mut content = serde_json::to_value(object).unwrap();
    content.as_object_mut().unwrap().retain(|key, _| key != "metadata" && key != "status");
    content
}

/// As `kubectl patch` and `kubectl edit` send it, then as somebody else's forced apply.
async fn goes_back<K>(cluster: &Cluster, wanted: &Value, damage: &Value)
where
    K: Object + kube::Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    let kind = K::kind(&()).into_owned();
    let api = Api::<K>::namespaced(cluster.client(), NAMESPACE);
    let wanted: K = object(wanted);
    assert_eq!(cluster.apply(wanted.clone()).await.unwrap(), Applied::Created);
    until(&format!("{kind} as applied"), || cluster.is_applied(&wanted)).await;
    let before = content(&api.get("orders").await.unwrap());
    let head = json!({ "apiVersion": K::api_version(&()), "kind": kind, "metadata": { "name": "orders" } });
    let mut apply = damage.clone();
    apply.as_object_mut().unwrap().extend(head.as_object().unwrap().clone());
    let patches = [
        ("kubectl-patch", Patch::Merge(damage.clone())),
        ("kubectl-edit", Patch::Strategic(damage.clone())),
        ("somebody", Patch::Apply(apply)),
    ];
    for (manager, patch) in patches {
        let force = matches!(patch, Patch::Apply(_));
        let params = PatchParams { field_manager: Some(manager.to_owned()), force, ..PatchParams::default() };
        let damaged = api.patch("orders", &params, &patch).await.unwrap();
        assert_ne!(content(&damaged), before, "{kind}, {manager}");
        until(&format!("{kind} damaged"), || !cluster.is_applied(&wanted)).await;
        let applied = cluster.apply(wanted.clone()).await.unwrap();
        assert!(matches!(applied, Applied::Changed(_)), "{kind}, {manager}: {applied:?}");
        let after = api.get("orders").await.unwrap();
        assert_eq!(content(&after), before, "{kind}, {manager}");
        if let (Some(damaged), Some(repaired)) = (damaged.meta().generation, after.meta().generation) {
            assert_eq!(repaired, damaged + 1, "{kind}, {manager}: one write");
        }
        until(&format!("{kind} as applied again"), || cluster.is_applied(&wanted)).await;
        // As after a restart, when only what is there can tell.
        let (again, watches, listed) = Cluster::observe(cluster.client());
        let watches = tokio::spawn(watches);
        listed.await;
        assert_eq!(again.apply(wanted.clone()).await.unwrap(), Applied::Unchanged, "{kind}, {manager}");
        watches.abort();
    }
}

fn deployment() -> Value {
    json!({ "spec": { "replicas": 0, "selector": { "matchLabels": { "app": "orders" } }, "template": {
        "metadata": { "labels": { "app": "orders" } },
        "spec": { "containers": [{ "name": "orders", "image": "orders", "env": [{ "name": "LEVEL", "value": "info" }] }] },
    } } })
}

fn pod(spec: &Value) -> Value {
    json!({ "spec": { "template": { "spec": spec } } })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_somebody_adds_goes_away_in_one_write_and_what_others_may_own_is_left() {
    let (lab, cluster, watches) = started().await;
    let wall = json!({ "spec": { "podSelector": {}, "policyTypes": ["Ingress", "Egress"] } });
    let open = json!({ "spec": { "podSelector": {}, "ingress": [{}], "egress": [{}] } });
    goes_back::<NetworkPolicy>(&cluster, &wall, &open).await;
    let hard = |hard: Value| json!({ "spec": { "hard": hard } });
    let more = hard(json!({ "pods": "5", "secrets": "9" }));
    goes_back::<ResourceQuota>(&cluster, &hard(json!({ "pods": "5" })), &more).await;
    let limits = |limit: Value| json!({ "spec": { "limits": [limit] } });
    let wanted = limits(json!({ "type": "Container", "default": { "memory": "1Gi" } }));
    // A list that is one value as a whole, which holds all that is wanted.
    let wider =
        limits(json!({ "type": "Container", "default": { "memory": "1Gi" }, "max": { "memory": "4Gi" } }));
    goes_back::<LimitRange>(&cluster, &wanted, &wider).await;
    let selector = json!({ "matchLabels": { "app": "orders" } });
    let budget = |more: Value| {
        let mut spec = json!({ "maxUnavailable": 1, "selector": selector });
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({ "spec": spec })
    };
    let never = budget(json!({ "unhealthyPodEvictionPolicy": "AlwaysAllow" }));
    goes_back::<PodDisruptionBudget>(&cluster, &budget(json!({})), &never).await;
    let role = json!({ "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view" });
    let user = |name: &str| json!({ "apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": name });
    let binding = |subjects: Value| json!({ "roleRef": role, "subjects": subjects });
    let wanted = binding(json!([user("jane")]));
    goes_back::<RoleBinding>(&cluster, &wanted, &binding(json!([user("jane"), user("eve")]))).await;
    let data = |data: Value| json!({ "data": data });
    let more = data(json!({ "a": "1", "b": "2" }));
    goes_back::<ConfigMap>(&cluster, &data(json!({ "a": "1" })), &more).await;
    let port = json!([{ "name": "http", "port": 80, "protocol": "TCP" }]);
    let service = |spec: Value| json!({ "spec": { "selector": { "app": "orders" }, "ports": port, "sessionAffinity": spec } });
    let wanted = json!({ "spec": { "selector": { "app": "orders" }, "ports": port } });
    goes_back::<Service>(&cluster, &wanted, &service(json!("ClientIP"))).await;
    Box::pin(deployments(&cluster)).await;
    watches.abort();
    lab.stop().await.unwrap();
}

async fn deployments(cluster: &Cluster) {
    let api = Api::<Deployment>::namespaced(cluster.client(), NAMESPACE);
    let own = json!({ "name": "orders", "image": "orders", "env": [{ "name": "LEVEL", "value": "info" }] });
    let mut env = own.clone();
    env["env"] = json!([{ "name": "LEVEL", "value": "info" }, { "name": "FOO", "value": "bar" }]);
    let damages = [
        pod(&json!({ "containers": [env] })),
        pod(&json!({ "containers": [own, { "name": "spy", "image": "spy" }] })),
        pod(&json!({ "hostAliases": [{ "ip": "1.1.1.1", "hostnames": ["registry"] }] })),
        json!({ "spec": { "paused": true } }),
    ];
    for damage in &damages {
        goes_back::<Deployment>(cluster, &deployment(), damage).await;
        cluster.delete::<Deployment>(NAMESPACE, "orders").await.unwrap();
        until("Deployment gone", || !cluster.shows::<Deployment>(Some(NAMESPACE), "orders")).await;
    }
    // Replicas that are handed over, the mark of a restart, and somebody's own annotation.
    let mut handed_over = deployment();
    handed_over["spec"].as_object_mut().unwrap().remove("replicas");
    let wanted: Deployment = object(&handed_over);
    cluster.apply(wanted.clone()).await.unwrap();
    until("Deployment as applied", || cluster.is_applied(&wanted)).await;
    let restart = json!({ "kubectl.kubernetes.io/restartedAt": "now" });
    let theirs = json!({
        "metadata": { "annotations": { "team": "x" } },
        "spec": { "replicas": 3, "template": { "metadata": { "annotations": restart.clone() } } },
    });
    api.patch("orders", &PatchParams::default(), &Patch::Merge(theirs)).await.unwrap();
    let scale = Patch::Merge(json!({ "spec": { "replicas": 4 } }));
    api.patch_scale("orders", &PatchParams::default(), &scale).await.unwrap();
    until("Deployment scaled", || !cluster.is_applied(&wanted)).await;
    until("Deployment with four", || {
        let live = cluster.workload(NAMESPACE, "orders");
        live.and_then(|live| live.deployment()?.spec.as_ref()?.replicas) == Some(4)
    })
    .await;
    assert_eq!(cluster.apply(wanted).await.unwrap(), Applied::Unchanged);
    let spec = content(&api.get("orders").await.unwrap())["spec"].take();
    assert_eq!(spec["replicas"], 4);
    assert_eq!(spec["template"]["metadata"]["annotations"], restart);
}
