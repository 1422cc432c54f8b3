//! What Git no longer has: a service in each of its stages, an environment that the tenant left, and the way back. The
//! tenant's stage, which writes the marks, is played by the test.

use imaas_operator::api::integration_service::EnvironmentState;
use kube::ResourceExt;
use serde_json::json;

use crate::scene::{IMAGE_OF_A, IMAGE_OF_B, Scene, descriptor, reasons, until};

/// Long over, whatever the periods.
const LONG_AGO: &str = "2020-01-01T00:00:00Z";

/// Objects that `orders` could be mistaken to own: of a service whose name begins so, and of people.
const OTHERS: &str = "
{apiVersion: v1, kind: List, items: [
  {apiVersion: v1, kind: ConfigMap, metadata: {name: orders-eu-aaaaaaaaaaaa, namespace: acme-dev, labels: {app.kubernetes.io/managed-by: imaas-operator, imaas.dev/tenant: acme, imaas.dev/service: orders-eu}}},
  {apiVersion: v1, kind: ConfigMap, metadata: {name: orders-notes, namespace: acme-dev, labels: {imaas.dev/tenant: acme, imaas.dev/service: orders}}},
  {apiVersion: v1, kind: ConfigMap, metadata: {name: orders-aaaaaaaaaaaa, namespace: beta-dev, labels: {app.kubernetes.io/managed-by: imaas-operator, imaas.dev/tenant: beta, imaas.dev/service: orders}}},
  {apiVersion: v1, kind: Service, metadata: {name: orders-eu, namespace: acme-dev, labels: {app.kubernetes.io/managed-by: imaas-operator, imaas.dev/tenant: acme, imaas.dev/service: orders-eu}}, spec: {ports: [{port: 80}]}}]}
";

impl Scene {
    /// As the tenant's stage makes it.
    async fn onboard_by_file(&self) {
        self.onboard(true).await;
        self.onboard(false).await;
        let metadata = json!({
            "labels": {
                "app.kubernetes.io/managed-by": "imaas-operator", "imaas.dev/tenant": "acme",
                "imaas.dev/service": "orders",
            },
            "finalizers": ["imaas.dev/retirement"],
        });
        let patch = json!({ "metadata": metadata }).to_string();
        self.kubectl(&["patch", "isvc", "orders", "-nacme-home", "--type=merge", "-p", &patch]).await;
    }

    /// It runs everywhere, and well.
    async fn runs_well(&self) {
        until("it runs well", async || {
            self.instances_are_ready("dev").await;
            self.instances_are_ready("test").await;
            (self.board().await.summary.as_deref() == Some("dev=ok test=ok")).then_some(())
        })
        .await;
    }

    /// Marks the service as the tenant's stage does: since when it is orphaned, and retiring.
    async fn mark(&self, orphaned: &str, retiring: Option<&str>) {
        let since = format!("imaas.dev/orphaned-since={orphaned}");
        let retiring = retiring.map_or_else(
            || "imaas.dev/retiring-since-".to_owned(),
            |retiring| format!("imaas.dev/retiring-since={retiring}"),
        );
        let by = "imaas.dev/orphaned-by=generation 2 of the Tenant";
        self.kubectl(&["annotate", "isvc", "orders", "-nacme-home", "--overwrite", &since, &retiring, by])
            .await;
    }

    async fn unmark(&self) {
        let marks = ["imaas.dev/orphaned-since-", "imaas.dev/orphaned-by-", "imaas.dev/retiring-since-"];
        self.kubectl(&[&["annotate", "isvc", "orders", "-nacme-home"], &marks[..]].concat()).await;
    }

    /// Instances that there are to be, and the hash of their template, which is that of their only `ReplicaSet`.
    async fn scale(&self, environment: &str) -> Option<(i32, Vec<String>)> {
        let replicas = self.deployments(environment).get_opt("orders").await.unwrap()?.spec?.replicas?;
        Some((replicas, self.names("replicasets", environment).await))
    }

    /// What of a kind there is in an environment, with the label of the service.
    async fn names(&self, kind: &str, environment: &str) -> Vec<String> {
        let namespace = format!("-nacme-{environment}");
        let ours = "-limaas.dev/service=orders,imaas.dev/tenant=acme";
        let list = self.lab.kubectl().get(&[kind, ours, &namespace]).await.unwrap();
        let items = list["items"].as_array().cloned().unwrap_or_default();
        items.iter().map(|item| item["metadata"]["name"].as_str().unwrap_or_default().to_owned()).collect()
    }

    /// The board, but for the instances: others run after some ran no more.
    async fn stages(&self) -> Vec<EnvironmentState> {
        let stages = self.board().await.environments.into_iter();
        stages.map(|stage| EnvironmentState { instances: vec![], ..stage }).collect()
    }

    async fn summary(&self, is: &str) {
        until(is, async || (self.board().await.summary.as_deref() == Some(is)).then_some(())).await;
    }

    /// Everything of the service in the cluster is gone, itself included.
    async fn is_removed(&self) {
        until("the service is gone", async || {
            self.services().get_opt("orders").await.unwrap().is_none().then_some(())
        })
        .await;
        for kind in ["deployments", "services", "poddisruptionbudgets", "networkpolicies"] {
            for environment in ["dev", "test"] {
                assert_eq!(self.names(kind, environment).await, [""; 0], "{kind} in {environment}");
            }
        }
        assert_eq!(self.names("configmaps", "test").await, [""; 0]);
        assert_eq!(self.names("irel", "home").await, [""; 0]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_ends_in_stages_and_comes_back_from_each_as_it_was() {
    let scene = Scene::start().await;
    let operator = scene.operator().await;
    scene.onboard_by_file().await;
    scene.runs_well().await;
    let now = jiff::Timestamp::now().to_string();
    let before = [scene.scale("dev").await.unwrap(), scene.scale("test").await.unwrap()];
    let history = scene.history("dev").await;
    let stages = scene.stages().await;

    // The second stage: no instance, all else stays, and back.
    scene.mark(LONG_AGO, Some(&now)).await;
    scene.summary("dev=retired test=retired").await;
    for (environment, (_, template)) in ["dev", "test"].into_iter().zip(&before) {
        let scale = async || scene.scale(environment).await.filter(|(replicas, _)| *replicas == 0);
        assert_eq!(until("nothing runs", scale).await.1, *template);
    }
    let told = scene.board().await.environments[1].waiting[0].message.clone();
    assert!(told.starts_with("retired to zero: ") && told.contains("(generation 2 of the Tenant)"), "{told}");
    scene.unmark().await;
    scene.runs_well().await;
    assert_eq!([scene.scale("dev").await.unwrap(), scene.scale("test").await.unwrap()], before);
    assert_eq!((scene.history("dev").await, scene.stages().await), (history, stages));

    // An environment that the tenant left, alone.
    let environments = |retirement: serde_json::Value| {
        let test = json!({
            "name": "test", "namespace": "acme-test", "promotesFrom": "dev", "retirement": retirement,
        });
        let status = json!({ "environments": [{ "name": "dev", "namespace": "acme-dev" }, test] });
        json!({ "status": status }).to_string()
    };
    let tell = async |patch: String| {
        let tenant = ["patch", "tenant", "acme", "--subresource=status", "--type=merge", "-p", &patch];
        scene.kubectl(&tenant).await;
    };
    tell(environments(json!({ "stage": "Retiring", "until": "2030-01-01T00:00:00Z" }))).await;
    scene.summary("dev=ok test=retired").await;
    assert_eq!([scene.scale("dev").await.unwrap().0, scene.scale("test").await.unwrap().0], [1, 0]);
    let ready = scene.board().await.conditions.into_iter().find(|c| c.type_ == "Ready").unwrap();
    assert_eq!(ready.status, "True", "{ready:?}");
    tell(environments(serde_json::Value::Null)).await;
    scene.runs_well().await;

    // The first stage: it is repaired and takes nothing new, and afterwards takes what came meanwhile.
    scene.mark(&now, None).await;
    scene.summary("dev=orphaned test=orphaned").await;
    scene.push("dev", &[("imaas.yaml", &descriptor(IMAGE_OF_B, ""))]);
    scene.kubectl(&["delete", "deployment", "orders", "-nacme-dev"]).await;
    until("it is repaired", async || scene.image("dev").await.filter(|image| image == IMAGE_OF_A)).await;
    scene.unmark().await;
    until("what came meanwhile runs", async || scene.image("dev").await.filter(|i| i == IMAGE_OF_B)).await;

    // The last: everything of it goes, and nothing else. Not while the file lists it.
    scene.kubectl(&["create", "namespace", "beta-dev"]).await;
    scene.lab.kubectl().apply(OTHERS).await.unwrap();
    let listed = json!({ "spec": { "services": [
        { "name": "orders", "repository": { "url": "https://git.example.com/acme/orders.git" }, "runtime": "container" }] } });
    scene.kubectl(&["patch", "tenant", "acme", "--type=merge", "-p", &listed.to_string()]).await;
    scene.mark(LONG_AGO, Some(LONG_AGO)).await;
    scene.summary("dev=retired test=retired").await;
    scene.kubectl(&["patch", "tenant", "acme", "--type=merge", "-p", r#"{"spec": {"services": []}}"#]).await;
    scene.kubectl(&["annotate", "isvc", "orders", "-nacme-home", "imaas.dev/reconcile-requested=1"]).await;
    scene.is_removed().await;
    assert_eq!(scene.names("configmaps", "dev").await, ["orders-notes"]);
    let others = ["service/orders-eu", "configmap/orders-eu-aaaaaaaaaaaa", "-nacme-dev"];
    scene.kubectl(&[&["get"], &others[..]].concat()).await;
    scene.kubectl(&["get", "configmap/orders-aaaaaaaaaaaa", "-nbeta-dev"]).await;

    // Listed again, it begins anew.
    scene.push("dev", &[("imaas.yaml", &descriptor(IMAGE_OF_A, ""))]);
    scene.onboard_by_file().await;
    scene.runs_well().await;
    let names = scene.history("dev").await.0;
    assert_eq!(names.len(), 1, "{names:?}");
    let again = scene.services().get("orders").await.unwrap();
    assert_eq!(reasons(&again.status.clone().unwrap_or_default(), "dev"), [""; 0], "{}", again.name_any());

    operator.stop().await;
    scene.end().await;
}

/// What is removed, in its order, after the Deployments.
const REMOVED: [(&str, &str, &str); 6] = [
    ("services", "", "v1"),
    ("poddisruptionbudgets", "policy", "v1"),
    ("networkpolicies", "networking.k8s.io", "v1"),
    ("configmaps", "", "v1"),
    ("releases", "imaas.dev", "v1alpha1"),
    ("integrationservices", "imaas.dev", "v1alpha1"),
];

/// An admission policy that refuses to delete what is of `orders`.
fn refusal((resources, group, version): (&str, &str, &str)) -> String {
    let rule = json!({
        "apiGroups": [group], "apiVersions": [version], "operations": ["DELETE"], "resources": [resources],
    });
    let policy = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
        "metadata": { "name": resources },
        "spec": {
            "matchConstraints": { "resourceRules": [rule] },
            "validations": [{ "expression": "oldObject.metadata.name != 'orders' && !oldObject.metadata.name.startsWith('orders-')", "message": "not now" }],
        },
    });
    let binding = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": { "name": resources },
        "spec": { "policyName": resources, "validationActions": ["Deny"] },
    });
    json!({ "apiVersion": "v1", "kind": "List", "items": [policy, binding] }).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_between_any_two_steps_of_a_removal_ends_the_same() {
    let scene = Scene::start().await;
    let mut operator = scene.operator().await;
    scene.onboard_by_file().await;
    scene.runs_well().await;
    for kind in REMOVED {
        scene.lab.kubectl().apply(&refusal(kind)).await.unwrap();
    }
    for (kind, _, _) in REMOVED {
        let probe = async || {
            let namespace = match kind {
                "releases" | "integrationservices" => "-nacme-home",
                _ => "-nacme-test",
            };
            let delete = ["delete", kind, "--all", namespace, "--dry-run=server"];
            let outcome = scene.lab.kubectl().run(&delete, None).await;
            outcome.is_err().then_some(())
        };
        until("the policy is in force", probe).await;
    }
    scene.mark(LONG_AGO, Some(LONG_AGO)).await;
    for (kind, _, _) in REMOVED {
        until("it stops there, and says so", async || {
            let ready = scene.board().await.conditions.into_iter().find(|c| c.type_ == "Ready")?;
            let policy = format!("'{kind}'");
            ready.message.contains("cannot delete").then_some(())?;
            let conditions = scene.board().await.conditions;
            conditions.iter().any(|c| c.message.contains(&policy) || c.message.contains(kind)).then_some(())
        })
        .await;
        operator.stop().await;
        scene.kubectl(&["delete", "validatingadmissionpolicybinding", kind]).await;
        operator = scene.operator().await;
    }
    scene.is_removed().await;
    assert_eq!(scene.names("configmaps", "dev").await, [""; 0]);
    operator.stop().await;
    scene.end().await;
}
