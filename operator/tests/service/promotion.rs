//! What each way of moving a branch does, in a real repository: the rows of `docs/promotion.md`. The tenant's stage, which
//! tells the environments that a tenant is in, is played by the test, by that stage's own rules.

use std::{collections::BTreeSet, path::Path};

use imaas_operator::{
    api::{self, Environment, IntegrationService, Tenant},
    environment::check,
    tenant::validate::{ValidSpace, validate},
};
use kube::{
    Api,
    api::{ListParams, Patch, PatchParams, PostParams},
};
use serde_json::json;

use crate::scene::{IMAGE_OF_B, Scene, descriptor, digest, reasons, until};

const PLAIN: &str = "apiVersion: imaas.dev/v1alpha1\nkind: ServiceDescriptor\nconfig: config\n";

/// The scene, and the rows of the table that were tried in it.
struct Story {
    scene: Scene,
    rows: BTreeSet<String>,
}

impl Story {
    fn row(&mut self, row: &str) {
        println!("{row}");
        assert!(self.rows.insert(row.to_owned()), "{row} is tried twice");
    }

    /// What CI does with a new head of dev.
    fn built(&self, files: &[(&str, &str)], digit: char) -> String {
        let commit = self.scene.push("dev", files);
        self.scene.registry.has(&commit, &digest(digit));
        commit
    }

    async fn runs(&self, environment: &str, digit: char) {
        let wanted = digest(digit);
        until(&format!("{environment} runs {wanted}"), async || {
            self.scene.image(environment).await.filter(|image| *image == wanted)
        })
        .await;
    }

    /// It runs, and the test says that it runs well.
    async fn runs_well(&self, environment: &str, digit: char) {
        self.runs(environment, digit).await;
        self.scene.healthy(environment).await;
    }

    async fn waits(&self, environment: &str, digit: char) -> String {
        let board = until(&format!("{environment} waits"), async || {
            let board = self.scene.board().await;
            reasons(&board, environment).contains(&"NotPromoted".to_owned()).then_some(board)
        })
        .await;
        assert_eq!(self.scene.image(environment).await, Some(digest(digit)), "what runs goes on");
        let state = board.environments.iter().find(|state| state.name == environment).unwrap();
        state.waiting.iter().find(|waiting| waiting.reason == "NotPromoted").unwrap().message.clone()
    }

    async fn current(&self, environment: &str) -> Option<String> {
        let board = self.scene.board().await;
        board.environments.into_iter().find(|state| state.name == environment)?.current
    }

    async fn releases(&self, service: &str, environment: &str) -> usize {
        let all = self.scene.releases().list(&ListParams::default()).await.unwrap();
        let of_it = |r: &api::Release| r.spec.service == service && r.spec.environment == environment;
        all.into_iter().filter(of_it).count()
    }

    /// The operator saw `commit` on the branch of `environment`.
    async fn seen(&self, environment: &str, commit: &str) {
        until("the head is seen", async || {
            let board = self.scene.board().await;
            let state = board.environments.into_iter().find(|state| state.name == environment)?;
            (state.commit.as_deref() == Some(commit)).then_some(())
        })
        .await;
        self.scene.two_looks().await;
    }

    fn git(&self, commands: &[&[&str]]) -> String {
        commands.iter().map(|arguments| self.scene.in_clone(arguments)).last().unwrap_or_default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_way_of_moving_a_branch_does_what_the_table_says() {
    let scene = Scene::start().await;
    let mut story = Story { scene, rows: BTreeSet::new() };
    let first = story.built(&[("imaas.yaml", PLAIN), ("main.go", "package main")], '1');
    story.git(&[&["push", "--quiet", "origin", "dev:test"]]);
    story.scene.onboard(true).await;
    story.scene.onboard(false).await;
    let operator = story.scene.operator().await;

    story.row("push to dev");
    story.runs_well("dev", '1').await;
    story.runs_well("test", '1').await;
    story.row("move a tag in the registry");
    story.scene.registry.has(&first, &digest('9'));
    story.scene.two_looks().await;
    for environment in ["dev", "test"] {
        assert_eq!(story.scene.image(environment).await, Some(digest('1')));
    }
    forwards(&mut story).await;
    back(&mut story).await;
    without_a_build(&mut story).await;
    a_digest(&mut story).await;
    a_monorepo(&mut story).await;
    one_branch(&mut story).await;
    without_test(&mut story).await;

    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/promotion.md");
    let page = std::fs::read_to_string(page).unwrap();
    let table = page.split("| what you do | what happens |\n|---|---|\n").nth(1).unwrap();
    let told = table.lines().take_while(|line| line.starts_with("| "));
    let told = told.map(|line| line.split('|').nth(1).unwrap().trim().to_owned()).collect();
    assert_eq!(story.rows, told, "the table and what was tried");
    operator.stop().await;
    story.scene.end().await;
}

async fn forwards(story: &mut Story) {
    story.row("fast-forward test to dev");
    story.built(&[("main.go", "package two")], '2');
    story.runs("dev", '2').await;
    story.git(&[&["push", "--quiet", "origin", "dev:test"]]);
    story.waits("test", '1').await;
    story.scene.healthy("dev").await;
    story.runs_well("test", '2').await;

    story.row("merge dev into test");
    story.built(&[("main.go", "package three")], '3');
    story.runs_well("dev", '3').await;
    story.git(&[
        &["fetch", "--quiet"],
        &["checkout", "--quiet", "-B", "test", "origin/test"],
        &["merge", "--quiet", "--no-ff", "-m", "merge", "dev"],
        &["push", "--quiet", "origin", "test"],
    ]);
    story.runs_well("test", '3').await;

    story.row("squash dev into test");
    story.built(&[("main.go", "package four")], '4');
    story.runs_well("dev", '4').await;
    story.git(&[
        &["checkout", "--quiet", "test"],
        &["merge", "--quiet", "--squash", "dev"],
        &["commit", "--quiet", "-m", "all of it"],
        &["push", "--quiet", "origin", "test"],
    ]);
    story.runs_well("test", '4').await;

    story.row("cherry-pick one of two commits");
    story.built(&[("five.go", "package main")], '5');
    story.runs_well("dev", '5').await;
    story.built(&[("six.go", "package main")], '6');
    story.runs_well("dev", '6').await;
    let cherry_pick = |commit: &str| {
        story.git(&[
            &["checkout", "--quiet", "test"],
            &["cherry-pick", commit],
            &["push", "--quiet", "origin", "test"],
        ]);
    };
    cherry_pick("dev");
    story.waits("test", '4').await;

    cherry_pick("dev~1");
    story.row("cherry-pick the other one, too");
    story.runs_well("test", '6').await;
}

async fn back(story: &mut Story) {
    story.row("revert on test");
    let before = story.releases("orders", "test").await;
    let six = story.current("test").await;
    story.git(&[
        &["checkout", "--quiet", "test"],
        &["revert", "--no-edit", "HEAD~2..HEAD"],
        &["push", "--quiet", "origin", "test"],
    ]);
    story.runs("test", '4').await;
    assert_eq!(story.releases("orders", "test").await, before, "the release is an older one");

    story.row("force-push test");
    story.git(&[
        &["checkout", "--quiet", "-B", "test", "dev"],
        &["push", "--quiet", "--force", "origin", "test"],
    ]);
    story.runs("test", '6').await;
    until("the older release is current", async || (story.current("test").await == six).then_some(())).await;

    story.row("force-push dev back and forth");
    let (before, six) = (story.releases("orders", "dev").await, story.current("dev").await);
    story.git(&[&["push", "--quiet", "--force", "origin", "dev~1:dev"]]);
    story.runs("dev", '5').await;
    story.git(&[&["push", "--quiet", "--force", "origin", "dev"]]);
    story.runs("dev", '6').await;
    until("the older release is current", async || (story.current("dev").await == six).then_some(())).await;
    assert_eq!(story.releases("orders", "dev").await, before, "none is made twice");
}

async fn without_a_build(story: &mut Story) {
    story.row("commit documentation");
    let current = story.current("dev").await;
    let commit = story.scene.push("dev", &[("README.md", "# Orders")]);
    story.seen("dev", &commit).await;
    let board = story.scene.board().await;
    assert!(!reasons(&board, "dev").contains(&"ImageMissing".to_owned()), "{board:?}");
    assert_eq!(story.current("dev").await, current);

    story.row("change a setting of dev only");
    let in_test = story.current("test").await;
    let overridden = format!("{PLAIN}environments: {{dev: {{env: {{MODE: try}}}}}}\n");
    story.scene.push("dev", &[("imaas.yaml", &overridden)]);
    until("dev has another release", async || (story.current("dev").await != current).then_some(())).await;
    story.runs_well("dev", '6').await;
    let merged = story.git(&[
        &["checkout", "--quiet", "test"],
        &["merge", "--quiet", "--no-ff", "-m", "merge", "dev"],
        &["push", "--quiet", "origin", "test"],
        &["rev-parse", "HEAD"],
    ]);
    story.seen("test", &merged).await;
    assert_eq!(story.current("test").await, in_test);
    assert_eq!(story.scene.image("test").await, Some(digest('6')));

    story.row("commit a fix on test only");
    let fix = story.scene.push("test", &[("main.go", "package fixed")]);
    story.seen("test", &fix).await;
    let told = story.waits("test", '6').await;
    assert!(told.contains(&fix) && told.contains("merge the commit into dev"), "{told}");
    story.git(&[
        &["checkout", "--quiet", "-B", "test", "dev"],
        &["push", "--quiet", "--force", "origin", "test"],
    ]);
    until("test has what dev has", async || {
        (!reasons(&story.scene.board().await, "test").contains(&"NotPromoted".to_owned())).then_some(())
    })
    .await;
}

async fn a_digest(story: &mut Story) {
    story.row("let CI commit the digest");
    story.scene.push("dev", &[("imaas.yaml", &descriptor(IMAGE_OF_B, ""))]);
    story.git(&[&["push", "--quiet", "origin", "dev:test"]]);
    let runs = async |environment: &str| {
        until("the digest runs", async || {
            story.scene.image(environment).await.filter(|image| image == IMAGE_OF_B)
        })
        .await;
    };
    runs("dev").await;
    story.waits("test", '6').await;
    story.scene.healthy("dev").await;
    runs("test").await;
}

async fn a_monorepo(story: &mut Story) {
    story.row("commit beside a service in a monorepo");
    story.built(
        &[("billing/imaas.yaml", &PLAIN.replace("config: config\n", "")), ("billing/main.go", "")],
        '7',
    );
    let service = json!({
        "apiVersion": api::API_VERSION, "kind": "IntegrationService",
        "metadata": { "name": "billing", "namespace": "acme-home" },
        "spec": {
            "repository": { "url": story.scene.git.url("/acme/orders.git"), "credentials": "orders-git" },
            "path": "billing", "runtime": "container",
        },
    });
    let service: IntegrationService = serde_json::from_value(service).unwrap();
    story.scene.services().create(&PostParams::default(), &service).await.unwrap();
    let deployment = async || story.scene.deployments("dev").get_opt("billing").await.unwrap();
    until("billing runs", async || deployment().await.map(|_| ())).await;

    let commit = story.scene.push("dev", &[("main.go", "package eight"), ("billing.go", "package main")]);
    until("billing sees the head", async || {
        let board = story.scene.services().get("billing").await.unwrap().status?;
        board.environments.iter().any(|state| state.commit.as_deref() == Some(&commit)).then_some(())
    })
    .await;
    story.scene.two_looks().await;
    assert_eq!(story.releases("billing", "dev").await, 1);
    let board = story.scene.services().get("billing").await.unwrap().status.unwrap();
    assert!(!reasons(&board, "dev").contains(&"ImageMissing".to_owned()), "{board:?}");
    assert_eq!(deployment().await.unwrap().metadata.generation, Some(1), "nothing happened to it");
}

async fn one_branch(story: &mut Story) {
    story.row("let dev and test read one branch");
    let descriptor = PLAIN.replace("config: config\n", "");
    story.built(&[("shared/imaas.yaml", &descriptor), ("shared/main.go", "package main")], '8');
    let service = json!({
        "apiVersion": api::API_VERSION, "kind": "IntegrationService",
        "metadata": { "name": "shared", "namespace": "acme-home" },
        "spec": {
            "repository": { "url": story.scene.git.url("/acme/orders.git"), "credentials": "orders-git" },
            "path": "shared", "runtime": "container", "branches": { "test": "dev" },
        },
    });
    let service: IntegrationService = serde_json::from_value(service).unwrap();
    story.scene.services().create(&PostParams::default(), &service).await.unwrap();
    let runs =
        async |environment: &str| story.scene.deployments(environment).get_opt("shared").await.unwrap();
    until("shared runs in dev", async || runs("dev").await.map(drop)).await;
    until("shared waits in test", async || {
        let board = story.scene.services().get("shared").await.unwrap().status?;
        reasons(&board, "test").contains(&"NotPromoted".to_owned()).then_some(())
    })
    .await;
    story.scene.two_looks().await;
    assert!(runs("test").await.is_none(), "nothing was healthy in dev");
    story.scene.healthy("dev").await;
    let image = until("shared runs in test", async || {
        runs("test").await?.spec?.template.spec?.containers.remove(0).image
    })
    .await;
    assert!(image.ends_with(&digest('8')), "{image}");
}

/// An environment behind test, and its namespace.
const PROD: &str = "
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Namespace, metadata: {name: acme-prod, labels: {app.kubernetes.io/managed-by: imaas-operator, imaas.dev/tenant: acme}}}
- {apiVersion: imaas.dev/v1alpha1, kind: Environment, metadata: {name: prod}, spec: {default: true, promotesFrom: test}}
";

impl Scene {
    /// From now on there is prod, which promotes from test, and the tenant's file leaves test out.
    async fn omit_test(&self) {
        self.lab.kubectl().run(&["apply", "-f", "-"], Some(PROD)).await.unwrap();
        let tenants = Api::<Tenant>::all(self.client.clone());
        let omits = Patch::Merge(json!({ "spec": { "environments": { "test": { "omit": true } } } }));
        let tenant = tenants.patch("acme", &PatchParams::default(), &omits).await.unwrap();
        let all = Api::<Environment>::all(self.client.clone()).list(&ListParams::default()).await.unwrap();
        let valid = validate(&tenant, &check(&all.items)).unwrap();
        let told = |space: &ValidSpace| json!({ "name": space.environment, "namespace": space.namespace, "promotesFrom": space.promotes_from });
        let environments: Vec<_> = valid.environments.iter().map(told).collect();
        let status = Patch::Merge(json!({ "status": { "environments": environments } }));
        tenants.patch_status("acme", &PatchParams::default(), &status).await.unwrap();
    }
}

async fn without_test(story: &mut Story) {
    story.row("omit test, and merge dev into prod");
    story.built(&[("imaas.yaml", PLAIN), ("main.go", "package nine")], 'c');
    story.runs_well("dev", 'c').await;
    let in_test = story.scene.image("test").await;
    story.git(&[&["push", "--quiet", "origin", "dev:prod"]]);
    story.scene.omit_test().await;
    story.runs_well("prod", 'c').await;

    story.built(&[("main.go", "package ten")], 'd');
    story.runs("dev", 'd').await;
    story.git(&[
        &["fetch", "--quiet"],
        &["checkout", "--quiet", "-B", "prod", "origin/prod"],
        &["merge", "--quiet", "--no-ff", "-m", "merge", "dev"],
        &["push", "--quiet", "origin", "prod"],
    ]);
    let told = story.waits("prod", 'c').await;
    assert!(told.contains("dev") && !told.contains("test"), "{told}");
    story.scene.healthy("dev").await;
    story.runs("prod", 'd').await;
    assert_eq!(story.scene.image("test").await, in_test, "what ran there is no part of it");
}
