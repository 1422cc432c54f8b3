//! What became of a commit, at the host of its repository: a real Gitea, and a Git server that only says yes or no.

use std::{net::SocketAddr, time::Duration};

use imaas_operator::api::{
    self,
    integration_service::{CommitState, Reported},
};
use kube::api::PostParams;
use lab::{
    Progress,
    git_server::{Credentials, Fault, WorkTree},
    gitea::Gitea,
    process,
};
use serde_json::{Value, json};

use crate::scene::{IMAGE_OF_A, IMAGE_OF_B, Scene, descriptor, until};

/// A real Gitea with the private repository acme/orders, and a developer's clone of it.
struct Host {
    gitea: Gitea,
    clone: WorkTree,
    first: String,
}

impl Host {
    async fn start(scene: &Scene) -> Self {
        let progress = Progress::new(|line| println!("{line}"));
        let address = SocketAddr::from(([127, 0, 0, 1], process::free_port().unwrap()));
        let gitea = Gitea::start(&scene.scratch.path().join("gitea"), address, &progress).await.unwrap();
        let (user, password) = Gitea::ADMINISTRATOR;
        let repository =
            json!({ "name": "orders", "private": true, "auto_init": true, "default_branch": "dev" });
        ask(&gitea, "/user/repos", Some(&repository)).await;
        let login = Credentials { user: user.to_owned(), password: password.to_owned(), authority: None };
        let url = format!("{}/acme/orders.git", gitea.endpoint());
        let clone = WorkTree::clone(&url, &scene.scratch.path().join("of-gitea"), login).unwrap();
        clone.write("config/app.properties", "greeting=hello").unwrap();
        let mut host = Self { gitea, clone, first: String::new() };
        host.first = host.push(&descriptor(IMAGE_OF_A, ""));
        host.clone.git(&["push", "--quiet", "origin", "dev:test"]).unwrap();
        host
    }

    /// Pushes a descriptor to dev; returns the commit.
    fn push(&self, descriptor: &str) -> String {
        self.clone.write("imaas.yaml", descriptor).unwrap();
        let commit = self.clone.commit("change").unwrap();
        self.clone.push("dev").unwrap();
        commit
    }

    /// The service's login is a token with this right.
    async fn onboard(&self, scene: &Scene, right: &str) {
        let wanted = json!({ "name": right, "scopes": [right] });
        let token = ask(&self.gitea, "/users/acme/tokens", Some(&wanted)).await["sha1"].clone();
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "orders-git", "namespace": "acme-home" },
            "stringData": { "username": "acme", "password": token },
        });
        scene.lab.kubectl().run(&["apply", "-f", "-"], Some(&secret.to_string())).await.unwrap();
    }

    /// `state: description` of all that was said of a commit in an environment, the oldest first.
    async fn said(&self, commit: &str, environment: &str) -> Vec<String> {
        let path = format!("/repos/acme/orders/statuses/{commit}?sort=oldest");
        let all = ask(&self.gitea, &path, None).await;
        let of_it = |status: &&Value| status["context"] == format!("imaas/orders/{environment}");
        let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let line = |status: &Value| format!("{}: {}", word(&status["status"]), word(&status["description"]));
        all.as_array().unwrap().iter().filter(of_it).map(line).collect()
    }
}

/// What Gitea's API answers its administrator.
async fn ask(gitea: &Gitea, path: &str, body: Option<&Value>) -> Value {
    let (user, password) = Gitea::ADMINISTRATOR;
    let url = format!("{}/api/v1{path}", gitea.endpoint());
    let request = match body {
        Some(body) => reqwest::Client::new().post(url).json(body),
        None => reqwest::Client::new().get(url),
    };
    let answer = request.basic_auth(user, Some(password)).send().await.unwrap();
    assert!(answer.status().is_success(), "{path}: {}", answer.status());
    answer.json().await.unwrap()
}

impl Scene {
    /// What the board says of the host in an environment.
    async fn reported(&self, environment: &str) -> Option<Reported> {
        self.state(environment).await?.reported
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn gitea_is_told_what_became_of_each_commit_and_nothing_twice() {
    let mut scene = Scene::start().await;
    let host = Host::start(&scene).await;
    let address = host.gitea.endpoint();
    scene.statuses = vec![format!("{}=gitea", address.trim_start_matches("http://"))];
    host.onboard(&scene, "write:repository").await;
    let service = json!({
        "apiVersion": api::API_VERSION, "kind": "IntegrationService",
        "metadata": { "name": "orders", "namespace": "acme-home" },
        "spec": {
            "repository": { "url": format!("{address}/acme/orders.git"), "credentials": "orders-git" },
            "runtime": "container",
        },
    });
    let service = serde_json::from_value(service).unwrap();
    scene.services().create(&PostParams::default(), &service).await.unwrap();
    let operator = scene.operator().await;

    // Pending, until it is healthy; in the next environment, too.
    let first = host.first.clone();
    let pending = until("dev is pending", async || host.said(&first, "dev").await.pop()).await;
    assert!(pending.starts_with("pending: "), "{pending}");
    let pending = until("test is pending", async || host.said(&first, "test").await.pop()).await;
    assert!(pending.starts_with("pending: ") && pending.contains("dev"), "{pending}");
    for environment in ["dev", "test"] {
        until(&format!("{environment} is a success"), async || {
            scene.instances_are_ready(environment).await;
            let last = host.said(&first, environment).await.pop()?;
            (last == format!("success: runs in {environment} and is healthy")).then_some(())
        })
        .await;
        let success = Reported {
            commit: first.clone(),
            state: CommitState::Success,
            reason: "Succeeded".to_owned(),
            problem: None,
        };
        until("the board says so", async || {
            (scene.reported(environment).await.as_ref() == Some(&success)).then_some(())
        })
        .await;
    }
    let all = async || [host.said(&first, "dev").await, host.said(&first, "test").await];
    let before = all().await;
    operator.stop().await;
    let operator = scene.operator().await;
    // Several looks, at an interval of a second.
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(all().await, before, "a restart tells nothing");

    // A release that crashes is a failure, and why.
    let bad = host.push(&descriptor(IMAGE_OF_B, ""));
    let failure = until("the bad release is a failure", async || {
        scene.instances_crash("dev", IMAGE_OF_B).await;
        host.said(&bad, "dev").await.pop().filter(|last| last.starts_with("failure: "))
    })
    .await;
    assert!(failure.contains("crashes: exit code 1"), "{failure}");

    // A login without the right is told on the board, and stops nothing.
    host.onboard(&scene, "read:repository").await;
    let next = host.push(&descriptor(IMAGE_OF_A, "env: {MODE: next}\n"));
    until("the refusal is told", async || {
        let reported = scene.reported("dev").await.filter(|reported| reported.commit == next)?;
        reported.problem.filter(|told| told.contains("the right to write statuses"))
    })
    .await;
    until("it runs all the same", async || {
        scene.instances_are_ready("dev").await;
        let state = scene.state("dev").await.filter(|state| state.commit.as_ref() == Some(&next))?;
        (state.candidate.is_none() && state.current == state.last_good && state.waiting.is_empty())
            .then_some(())
    })
    .await;
    assert_eq!(host.said(&next, "dev").await, Vec::<String>::new());

    operator.stop().await;
    host.gitea.stop().await;
    scene.end().await;
}

impl Scene {
    /// Statuses of this commit that the Git server was sent.
    fn posts(&self, commit: &str) -> usize {
        let is_status = |path: &str| path == format!("/api/v1/repos/acme/orders/statuses/{commit}");
        let all = self.git.requests();
        all.iter().filter(|asked| asked.method == "POST" && is_status(&asked.path)).count()
    }
}

/// The lab's Git server stands in for a host: it knows no statuses, and says what it is told to.
#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_down_is_told_later_and_one_that_refuses_stops_nothing() {
    let mut scene = Scene::start().await;
    scene.statuses = vec![format!("{}=gitea", scene.git.address())];
    scene.git.set_fault("/api/", Some(Fault::Status(503)));
    let operator = scene.operator().await;
    scene.onboard(true).await;
    scene.onboard(false).await;
    until("dev runs", async || scene.image("dev").await.filter(|live| live == IMAGE_OF_A)).await;
    let first = scene.state("dev").await.unwrap().commit.unwrap();
    // Of two environments.
    until("it is tried again", async || (scene.posts(&first) >= 3).then_some(())).await;
    assert_eq!(scene.reported("dev").await, None);

    scene.git.set_fault("/api/", Some(Fault::Status(201)));
    until("pending is told", async || {
        scene
            .reported("dev")
            .await
            .filter(|told| told.state == CommitState::Pending && told.problem.is_none())
    })
    .await;
    until("success is told", async || {
        scene.instances_are_ready("dev").await;
        scene.reported("dev").await.filter(|told| told.state == CommitState::Success)
    })
    .await;

    // The host has no such page, nor has the account the right to it.
    scene.git.set_fault("/api/", None);
    let next = scene.push("dev", &[("imaas.yaml", &descriptor(IMAGE_OF_B, ""))]);
    until("the refusal is told", async || {
        scene.reported("dev").await.filter(|told| told.commit == next)?.problem
    })
    .await;
    until("dev runs the next", async || scene.image("dev").await.filter(|live| live == IMAGE_OF_B)).await;
    let success = until("its success is refused, too", async || {
        scene.instances_are_ready("dev").await;
        scene.reported("dev").await.filter(|told| told.state == CommitState::Success)
    })
    .await;
    assert!(success.problem.is_some(), "{success:?}");

    // What was refused rests, over a restart as well.
    operator.stop().await;
    scene.git.clear_requests();
    let operator = scene.operator().await;
    until("it looked", async || (scene.git.requests().len() >= 3).then_some(())).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(scene.posts(&next), 0);
    assert_eq!(scene.reported("dev").await, Some(success));

    operator.stop().await;
    scene.end().await;
}
