//! Services that call others: addresses, the way between two tenants, and what is told where one of the two is missing.

use std::sync::atomic::{AtomicI64, Ordering};

use imaas_operator::api::{self, IntegrationService, IntegrationServiceStatus};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::{core::v1::Pod, networking::v1::NetworkPolicy};
use kube::{
    Api, ResourceExt,
    api::{ListParams, Patch, PatchParams},
};
use lab::git_server::{Credentials, WorkTree};
use serde_json::{Value, json};

use crate::scene::{IMAGE_OF_A, Scene, reasons, until};

/// A tenant beside `acme`, in dev only, and a runtime whose instances end at once.
const BETA: &str = r"
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Namespace, metadata: {name: beta-home, labels: {app.kubernetes.io/managed-by: imaas-operator, imaas.dev/tenant: beta}}}
- {apiVersion: v1, kind: Namespace, metadata: {name: beta-dev, labels: {app.kubernetes.io/managed-by: imaas-operator, imaas.dev/tenant: beta}}}
- {apiVersion: imaas.dev/v1alpha1, kind: Tenant, metadata: {name: beta}, spec: {contact: integrations@beta.example}}
- apiVersion: imaas.dev/v1alpha1
  kind: IntegrationRuntime
  metadata: {name: quick}
  spec: {profiles: [{managementPorts: [{name: management, port: 9876}], drain: {sleepSeconds: 0, graceSeconds: 1}}]}
";

fn descriptor(more: &str) -> String {
    format!(
        "apiVersion: imaas.dev/v1alpha1\nkind: ServiceDescriptor\nimage: {{digest: \"{IMAGE_OF_A}\"}}\n{more}\n"
    )
}

/// A developer's clone of the repository of one service.
pub struct Repository {
    tree: WorkTree,
}

impl Repository {
    pub fn push(&self, more: &str) {
        self.tree.write("imaas.yaml", descriptor(more)).unwrap();
        self.tree.commit("change").unwrap();
        self.tree.push("dev").unwrap();
    }
}

impl Scene {
    pub async fn beta(&self) {
        self.lab.kubectl().run(&["apply", "-f", "-"], Some(BETA)).await.unwrap();
        let environments = json!([{ "name": "dev", "namespace": "beta-dev" }]);
        let status = Patch::Merge(json!({ "status": { "environments": environments } }));
        let tenants = Api::<api::Tenant>::all(self.client.clone());
        tenants.patch_status("beta", &PatchParams::default(), &status).await.unwrap();
    }

    pub async fn service(&self, (tenant, name): (&str, &str), more: &str) -> Repository {
        let directory = self.scratch.path().join(format!("{tenant}-{name}"));
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(directory.join("imaas.yaml"), descriptor(more)).unwrap();
        let repository = format!("/acme/{tenant}-{name}.git");
        self.git.create(&repository, &directory, &["dev"]).unwrap();
        let login =
            Credentials { user: "ci".to_owned(), password: "orders-password".to_owned(), authority: None };
        let url = self.git.url(&repository);
        let tree = WorkTree::clone(&url, &self.scratch.path().join(format!("clone-{tenant}-{name}")), login)
            .unwrap();
        tree.checkout("dev").unwrap();
        let home = format!("{tenant}-home");
        let objects = json!({ "apiVersion": "v1", "kind": "List", "items": [
            {
                "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "git", "namespace": home },
                "stringData": { "username": "ci", "password": "orders-password" },
            },
            {
                "apiVersion": api::API_VERSION, "kind": "IntegrationService",
                "metadata": { "name": name, "namespace": home },
                "spec": { "repository": { "url": url, "credentials": "git" }, "runtime": "quick" },
            },
        ] });
        self.lab.kubectl().run(&["apply", "-f", "-"], Some(&objects.to_string())).await.unwrap();
        Repository { tree }
    }

    pub async fn export(&self, (tenant, name): (&str, &str), to: Value) {
        let services = Api::<IntegrationService>::namespaced(self.client.clone(), &format!("{tenant}-home"));
        let patch = Patch::Merge(json!({ "spec": { "exportTo": to } }));
        services.patch(name, &PatchParams::default(), &patch).await.unwrap();
    }

    pub async fn board_of(&self, (tenant, name): (&str, &str)) -> IntegrationServiceStatus {
        let services = Api::<IntegrationService>::namespaced(self.client.clone(), &format!("{tenant}-home"));
        services.get(name).await.unwrap().status.unwrap_or_default()
    }

    /// What the service's pods have in this variable, in dev.
    async fn variable(&self, (tenant, name): (&str, &str), variable: &str) -> Option<String> {
        let deployments = Api::<k8s_openapi::api::apps::v1::Deployment>::namespaced(
            self.client.clone(),
            &format!("{tenant}-dev"),
        );
        let deployment = deployments.get_opt(name).await.unwrap()?;
        let env = deployment.spec?.template.spec?.containers.remove(0).env?;
        env.into_iter().find(|one| one.name == variable)?.value
    }

    /// Namespaces and ports that the policy of a service opens besides its own namespace: `(in, out)`.
    async fn ways(&self, (tenant, name): (&str, &str)) -> (Vec<String>, Vec<String>) {
        let policies = Api::<NetworkPolicy>::namespaced(self.client.clone(), &format!("{tenant}-dev"));
        let Some(policy) = policies.get_opt(name).await.unwrap() else { return (vec![], vec![]) };
        let spec = serde_json::to_value(policy.spec.unwrap()).unwrap();
        let ways = |rules: &Value, peers: &str| {
            let rules = rules.as_array().into_iter().flatten();
            let foreign = rules.filter(|rule| rule[peers][0].get("namespaceSelector").is_some());
            let told = |rule: &Value| {
                let peer = &rule[peers][0];
                let namespace = &peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"];
                let service = &peer["podSelector"]["matchLabels"]["imaas.dev/service"];
                let ports = rule["ports"].as_array().unwrap().iter().map(|port| port["port"].to_string());
                format!("{namespace} {service} {}", ports.collect::<Vec<_>>().join(" ")).replace('"', "")
            };
            foreign.map(told).collect::<Vec<_>>()
        };
        (ways(&spec["ingress"], "from"), ways(&spec["egress"], "to"))
    }

    pub async fn waiting(&self, service: (&str, &str), reason: &str) -> String {
        until(reason, async || {
            let board = self.board_of(service).await;
            let dev = board.environments.into_iter().find(|state| state.name == "dev")?;
            dev.waiting.into_iter().find(|waiting| waiting.reason == reason).map(|waiting| waiting.message)
        })
        .await
    }

    /// Until `service` has these ways, in and out.
    async fn opened(&self, service: (&str, &str), (ingress, egress): (&[&str], &[&str])) {
        until("the ways are open", async || {
            let (into, out) = self.ways(service).await;
            (into == ingress && out == egress).then_some(())
        })
        .await;
    }
}

const BILLING: (&str, &str) = ("acme", "billing");
const STOCK: (&str, &str) = ("beta", "stock");

#[tokio::test(flavor = "multi_thread")]
async fn the_way_between_two_tenants_is_open_while_both_say_so() {
    let scene = Scene::start().await;
    scene.beta().await;
    let operator = scene.operator().await;
    let stock = scene.service(STOCK, "ports: [{name: http, port: 8080}, {name: rpc, port: 9000}]").await;
    let using = |service: &str| {
        format!(
            "ports: [{{name: http, port: 8000}}]\nuses: [{{tenant: beta, service: {service}, as: STOCK_URL}}]"
        )
    };
    let billing = scene.service(BILLING, &using("stock")).await;

    // Whoever does not export is as good as not there.
    let told = scene.waiting(BILLING, "NotExported").await;
    assert!(told.starts_with("imaas.yaml:5:8: uses[0]: beta exports no service stock to this one"), "{told}");
    assert!(told.contains("`exportTo: [{tenant: acme, service: billing}]`"), "{told}");
    assert_eq!(scene.variable(BILLING, "STOCK_URL").await, None, "nothing is half open");
    billing.push(&using("nothing"));
    let of_nobody = until("another name is told", async || {
        let told = scene.waiting(BILLING, "NotExported").await;
        told.contains("nothing").then_some(told)
    })
    .await;
    assert_eq!(of_nobody.replace("service nothing", "service stock"), told, "what is there is not told");
    billing.push(&using("stock"));

    // To another service or tenant is to nobody here.
    scene
        .export(
            STOCK,
            json!([{ "tenant": "acme", "service": "other" }, { "tenant": "x", "service": "billing" }]),
        )
        .await;
    scene.two_looks().await;
    assert_eq!(scene.variable(BILLING, "STOCK_URL").await, None);

    scene.export(STOCK, json!([{ "tenant": "acme", "service": "billing" }])).await;
    let address = async || scene.variable(BILLING, "STOCK_URL").await;
    until("it runs with the address", async || {
        address().await.filter(|url| url == "http://stock.beta-dev.svc:8080")
    })
    .await;
    scene.opened(STOCK, (&["acme-dev billing 8080"], &[])).await;
    scene.opened(BILLING, (&[], &["beta-dev stock 8080"])).await;

    // The provider moves its port: whoever uses it follows.
    stock.push("ports: [{name: http, port: 8081}, {name: rpc, port: 9000}]");
    until("it follows", async || address().await.filter(|url| url.ends_with(":8081"))).await;
    until("the old instances are gone", async || {
        scene.all_are_ready().await;
        (scene.ways(BILLING).await.1 == ["beta-dev stock 8081"]).then_some(())
    })
    .await;
    scene.opened(STOCK, (&["acme-dev billing 8081"], &[])).await;

    // The provider closes: both sides, at once, and what runs stays.
    scene.export(STOCK, json!([])).await;
    scene.opened(STOCK, (&[], &[])).await;
    scene.opened(BILLING, (&[], &[])).await;
    assert!(scene.waiting(BILLING, "NotExported").await.contains("the way to it is closed"));
    assert!(address().await.is_some());

    // A restart of the operator opens nothing and closes nothing.
    scene.export(STOCK, json!([{ "tenant": "acme", "service": "billing" }])).await;
    scene.opened(BILLING, (&[], &["beta-dev stock 8081"])).await;
    scene.opened(STOCK, (&["acme-dev billing 8081"], &[])).await;
    let policy = async || {
        let policies = Api::<NetworkPolicy>::namespaced(scene.client.clone(), "beta-dev");
        policies.get("stock").await.unwrap().metadata.resource_version
    };
    let before = policy().await;
    operator.stop().await;
    let operator = scene.operator().await;
    scene.two_looks().await;
    assert_eq!(policy().await, before);

    // The consumer no longer uses it: both sides close once its last instance that did is gone.
    billing.push("ports: [{name: http, port: 8000}]");
    until("both sides are closed", async || {
        scene.all_are_ready().await;
        let none: (Vec<String>, Vec<String>) = (vec![], vec![]);
        (scene.ways(STOCK).await == none && scene.ways(BILLING).await == none).then_some(())
    })
    .await;
    assert_eq!(address().await, None);
    assert!(reasons(&scene.board_of(BILLING).await, "dev").iter().all(|reason| reason != "NotExported"));
    operator.stop().await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn services_of_one_tenant_may_use_each_other_both_ways() {
    let scene = Scene::start().await;
    scene.beta().await;
    let operator = scene.operator().await;
    let (one, two) = (("acme", "one"), ("acme", "two"));
    let using = |service: &str, port: &str| {
        format!("ports: [{{name: http, port: {port}}}]\nuses: [{{service: {service}, as: OTHER}}]")
    };
    scene.service(one, &using("two", "8001")).await;
    let told = scene.waiting(one, "ProviderMissing").await;
    assert!(
        told.starts_with("imaas.yaml:5:8: uses[0].service: this tenant has no service \"two\""),
        "{told}"
    );
    scene.service(two, &using("one", "8002")).await;
    for (service, address) in [(one, "http://two.acme-dev.svc:8002"), (two, "http://one.acme-dev.svc:8001")] {
        until("it runs with the address", async || {
            scene.variable(service, "OTHER").await.filter(|url| url == address)
        })
        .await;
        scene.opened(service, (&[], &[])).await;
    }
    operator.stop().await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_uses_a_service_that_ends_is_told_on_its_board() {
    let scene = Scene::start().await;
    scene.beta().await;
    let operator = scene.operator().await;
    scene.service(STOCK, "ports: [{name: http, port: 8080}]").await;
    scene.export(STOCK, json!([{ "tenant": "acme", "service": "billing" }])).await;
    let uses = "ports: [{name: http, port: 8000}]\nuses: [{tenant: beta, service: stock, as: STOCK_URL}]";
    scene.service(BILLING, uses).await;
    until("it runs with the address", async || scene.variable(BILLING, "STOCK_URL").await).await;
    let message = async || {
        scene.all_are_ready().await;
        let board = scene.board_of(BILLING).await;
        board.conditions.into_iter().find(|condition| condition.type_ == "Ready").map(|ready| ready.message)
    };
    let told =
        async |part: &str| until(part, async || message().await.filter(|told| told.contains(part))).await;
    told("healthy in dev").await;
    assert!(!message().await.unwrap().contains("stock"));

    // As the tenant's stage marks it.
    let kubectl = async |arguments: &[&str]| {
        let stock = ["isvc", "stock", "-nbeta-home", "--overwrite"];
        let arguments = [&arguments[..1], &stock, &arguments[1..]].concat();
        scene.lab.kubectl().run(&arguments, None).await.unwrap();
    };
    kubectl(&["label", "app.kubernetes.io/managed-by=imaas-operator"]).await;
    let now = jiff::Timestamp::now();
    kubectl(&["annotate", &format!("imaas.dev/orphaned-since={now}")]).await;
    told("; beta/stock, which this service uses in dev, is no longer in Git and serves until ").await;
    kubectl(&["annotate", &format!("imaas.dev/retiring-since={now}")]).await;
    told("; beta/stock, which this service uses in dev, is retired, and calls to it fail").await;
    kubectl(&["annotate", "imaas.dev/orphaned-since-", "imaas.dev/retiring-since-"]).await;
    until("it is told no longer", async || message().await.filter(|told| !told.contains("stock"))).await;
    operator.stop().await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_uses_a_service_that_answers_nobody_is_told_on_its_board() {
    let mut scene = Scene::start().await;
    scene.now = clock;
    scene.beta().await;
    let operator = scene.operator().await;
    let ports = |port: u16| format!("ports: [{{name: http, port: {port}}}]");
    let stock = scene.service(STOCK, &ports(8080)).await;
    scene.export(STOCK, json!([{ "tenant": "acme", "service": "billing" }])).await;
    let uses = format!("{}\nuses: [{{tenant: beta, service: stock, as: STOCK_URL}}]", ports(8000));
    let billing = scene.service(BILLING, &uses).await;
    until("it runs with the address", async || scene.variable(BILLING, "STOCK_URL").await).await;
    let word = async |word: &str| {
        until(word, async || {
            scene.all_are_ready().await;
            scene.board_of(BILLING).await.summary.filter(|summary| summary.starts_with(word))
        })
        .await;
    };
    word("dev=ok").await;
    let began = scene.instances_of("acme-dev").await;
    stock.push(&format!("{}\nscaling: {{min: 0}}", ports(8080)));
    word("dev=degraded").await;
    let told = scene.waiting(BILLING, "ProviderDown").await;
    assert!(told.starts_with("beta/stock, which this service uses, has no instances"), "{told}");
    assert_eq!(scene.instances_of("acme-dev").await, began, "what uses it is left alone");
    // Whoever has no instance calls nobody.
    billing.push(&format!("{uses}\nscaling: {{min: 0}}"));
    word("dev=ok").await;
    billing.push(&uses);
    word("dev=degraded").await;
    stock.push(&ports(8080));
    word("dev=ok").await;

    // What is down for a moment is not told, as when it is replaced alone.
    scene.instances_are("False", "beta-dev").await;
    let down = async || {
        until("it has no instance that is ready", async || {
            let stocks =
                Api::<k8s_openapi::api::apps::v1::Deployment>::namespaced(scene.client.clone(), "beta-dev");
            let conditions = stocks.get("stock").await.unwrap().status?.conditions?;
            conditions.iter().any(|one| one.type_ == "Available" && one.status == "False").then_some(())
        })
        .await;
    };
    down().await;
    scene.two_looks().await;
    assert!(reasons(&scene.board_of(BILLING).await, "dev").is_empty());
    LATER.store(125, Ordering::SeqCst);
    let look = "imaas.dev/reconcile-requested=later";
    scene.kubectl(&["annotate", "isvc", "billing", "-nacme-home", "--overwrite", look]).await;
    let told = scene.waiting(BILLING, "ProviderDown").await;
    assert!(
        told.starts_with("beta/stock, which this service uses, has no instance that is ready since"),
        "{told}"
    );
    operator.stop().await;
    scene.end().await;
}

/// By so many seconds the operator's clock in one test goes before that of this machine.
static LATER: AtomicI64 = AtomicI64::new(0);

fn clock() -> Timestamp {
    Timestamp::now() + SignedDuration::from_secs(LATER.load(Ordering::SeqCst))
}

impl Scene {
    /// Whether the instances of a namespace are ready.
    async fn instances_are(&self, ready: &str, namespace: &str) {
        let pods = Api::<Pod>::namespaced(self.client.clone(), namespace);
        let now = Timestamp::now().to_string();
        let condition = json!({ "type": "Ready", "status": ready, "lastTransitionTime": now });
        let status = Patch::Merge(json!({ "status": { "conditions": [condition] } }));
        for pod in pods.list(&ListParams::default()).await.unwrap() {
            pods.patch_status(&pod.name_any(), &PatchParams::default(), &status).await.unwrap();
        }
    }

    /// Names of the pods of a namespace.
    async fn instances_of(&self, namespace: &str) -> Vec<String> {
        let pods = Api::<Pod>::namespaced(self.client.clone(), namespace);
        let pods = pods.list(&ListParams::default()).await.unwrap();
        pods.iter().map(ResourceExt::name_any).collect()
    }

    pub async fn all_are_ready(&self) {
        self.instances_are_ready_in("acme-dev").await;
        self.instances_are_ready_in("beta-dev").await;
    }
}
