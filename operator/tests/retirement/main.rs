#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    dead_code,
    reason = "a test; parts of shared scenes"
)]
#![expect(clippy::disallowed_types, clippy::disallowed_methods, reason = "IO: a test on a real API server")]
//! What Git no longer has, on a real API server, by the rights and under the policies of the chart: held, marked, undone,
//! removed, handed over. Ids are those of the project's list of checks.

#[path = "../tenant_cluster/scene.rs"]
mod chart;
mod deletion;
mod environments;
mod images;
#[path = "../registry/scene.rs"]
mod registry;
mod scene;
#[path = "../git/server.rs"]
mod server;
mod sources;
mod stops;
mod transfer;

/// The operator's clock is one of the process, and only one of the tests moves it.
static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_git_no_longer_has_goes_by_its_stages() {
    let _turn = TURN.lock().await;
    let mut scene = scene::Scene::start(&["central"]).await;
    sources::x07_it_goes_by_stages_and_comes_back_at_each(&mut scene).await;
    sources::x01_x02_x03_too_much_at_once_is_held(&mut scene).await;
    environments::an_environment_goes_by_stages_and_comes_back_at_each(&mut scene).await;
    scene.kill();
    scene.lab.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_is_deleted_only_when_it_is_meant() {
    let _turn = TURN.lock().await;
    let mut scene = scene::Scene::start(&["central", "other"]).await;
    images::those_of_a_tenant_go_with_it_when_it_is_meant(&mut scene).await;
    images::a_registry_that_deletes_nothing_is_waited_for_an_hour(&mut scene).await;
    deletion::x08_a_deleted_tenant_comes_back_to_its_namespaces(&scene).await;
    deletion::x10_a_namespace_that_does_not_go_blocks_one_tenant(&scene).await;
    transfer::it_changes_hands_and_nothing_is_made_anew(&scene).await;
    stops::suspend_and_cordon_stop_and_say_so(&scene).await;
    stops::services_that_go_at_once_are_held(&scene).await;
    deletion::x09_without_the_kind_all_serve_on(&scene).await;
    scene.kill();
    scene.lab.stop().await.unwrap();
}
