//! Hours of sleep that the platform has for all, a tenant's own in their place, and what wakes a service that others call.

use imaas_operator::{
    api::{Release, Tenant, integration_service::EnvironmentState},
    environment::sleep::early,
};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};

use crate::scene::{Scene, reasons, until};

const STOCK: (&str, &str) = ("beta", "stock");
const SHOP: (&str, &str) = ("beta", "shop");
const BILLING: (&str, &str) = ("acme", "billing");

/// One that began an hour ago and has so many minutes left, less the seconds of this one.
fn night(left: u64, wake_for: &str) -> Value {
    let opened = (Timestamp::now() - SignedDuration::from_hours(1)).to_zoned(TimeZone::UTC);
    let schedule = format!("{} {} * * *", opened.minute(), opened.hour());
    let windows = json!([{ "schedule": schedule, "duration": format!("{}m", 60 + left) }]);
    json!({ "windows": windows, "wakeFor": wake_for })
}

impl Scene {
    async fn platform_says(&self, sleep: Value) {
        self.environment(json!({ "sleep": sleep })).await;
    }

    async fn tenant_says(&self, tenant: &str, sleep: Value) {
        let tenants = Api::<Tenant>::all(self.client.clone());
        let patch = Patch::Merge(json!({ "spec": { "environments": { "dev": { "sleep": sleep } } } }));
        tenants.patch(tenant, &PatchParams::default(), &patch).await.unwrap();
    }

    async fn state_of(&self, service: (&str, &str)) -> Option<EnvironmentState> {
        self.board_of(service).await.environments.into_iter().find(|state| state.name == "dev")
    }

    async fn sleeps(&self, service: (&str, &str)) {
        until(&format!("{} sleeps", service.1), async || {
            let state = self.state_of(service).await?;
            (state.asleep_until.is_some() && state.desired == 0).then_some(())
        })
        .await;
    }

    async fn is_awake(&self, service: (&str, &str)) {
        until(&format!("{} is awake", service.1), async || {
            self.all_are_ready().await;
            let state = self.state_of(service).await?;
            (state.asleep_until.is_none() && state.desired == 1 && state.ready == 1).then_some(())
        })
        .await;
    }

    /// For how many seconds the release is there that runs.
    async fn age(&self, service: (&str, &str)) -> i64 {
        let current = self.state_of(service).await.unwrap().current.unwrap();
        let releases = Api::<Release>::namespaced(self.client.clone(), &format!("{}-home", service.0));
        let made = releases.get(&current).await.unwrap().metadata.creation_timestamp.unwrap().0;
        Timestamp::now().duration_since(made).as_secs()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_platforms_hours_of_sleep_hold_for_who_says_nothing_and_are_read_as_they_are() {
    let scene = Scene::start().await;
    scene.beta().await;
    scene.tenant_says("acme", json!({ "windows": [] })).await;
    let operator = scene.operator().await;
    let ports = "ports: [{name: http, port: 8080}]";
    let _stock = scene.service(STOCK, ports).await;
    scene.export(STOCK, json!([{ "tenant": "acme", "service": "billing" }])).await;
    let shop = scene.service(SHOP, &format!("{ports}\nuses: [{{service: stock, as: STOCK_URL}}]")).await;
    let uses = format!("{ports}\nuses: [{{tenant: beta, service: stock, as: STOCK_URL}}]");
    let _billing = scene.service(BILLING, &uses).await;
    for service in [STOCK, SHOP, BILLING] {
        scene.is_awake(service).await;
    }

    // Who wrote that it never sleeps is awake, and told that what it calls is not.
    scene.platform_says(night(180, "0s")).await;
    scene.sleeps(STOCK).await;
    scene.sleeps(SHOP).await;
    let told = scene.waiting(BILLING, "ProviderDown").await;
    assert!(told.contains("has no instances: it sleeps"), "{told}");
    scene.is_awake(BILLING).await;

    // Not where that wakes within the minutes over which the services of a night are spread.
    let early = early(STOCK.0, STOCK.1).as_secs().div_ceil(60);
    scene.platform_says(night(early + 5, "0s")).await;
    until("nobody is told of who wakes soon", async || {
        scene.all_are_ready().await;
        reasons(&scene.board_of(BILLING).await, "dev").is_empty().then_some(())
    })
    .await;
    scene.sleeps(STOCK).await;
    scene.platform_says(night(180, "0s")).await;
    scene.waiting(BILLING, "ProviderDown").await;

    // A tenant's word takes the place of that, and goes as it came.
    scene.tenant_says("beta", json!({ "windows": [] })).await;
    scene.is_awake(STOCK).await;
    scene.is_awake(SHOP).await;
    scene.tenant_says("beta", json!(null)).await;
    scene.sleeps(STOCK).await;
    scene.sleeps(SHOP).await;

    // What is new wakes what it calls, too, whose own release is too old for that.
    until("the other one is old", async || (scene.age(STOCK).await > 45).then_some(())).await;
    let before = scene.state_of(SHOP).await.unwrap().current;
    shop.push(&format!("{ports}\nuses: [{{service: stock, as: STOCK_URL}}]\nenv: {{MODE: careful}}"));
    until("it is made", async || (scene.state_of(SHOP).await?.current != before).then_some(())).await;
    let wake_for = scene.age(STOCK).await - 5;
    assert!(wake_for > scene.age(SHOP).await, "the other one is new");
    scene.platform_says(night(180, &format!("{wake_for}s"))).await;
    scene.is_awake(SHOP).await;
    scene.is_awake(STOCK).await;

    scene.platform_says(json!(null)).await;
    scene.is_awake(STOCK).await;
    operator.stop().await;
    scene.end().await;
}
