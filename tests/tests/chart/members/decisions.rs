//! What people decide of releases: by nobody's name but their own, and only where they have the right to it.

use std::fs;

use anyhow::Result;
use imaas_operator::api::ReleaseDecision;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use lab::{Lab, kubectl::Kubectl};
use serde_json::{Value, json};

use super::{Person, named};
use crate::{Broken, ask, rights, root};

const ACTIONS: [&str; 13] = [
    "approve", "pass", "reject", "hold", "resume", "pause", "skip", "abort", "rollback", "retry", "bypass",
    "run", "scale",
];

/// By `author`, about an environment.
fn decision(author: &str, action: &str, (namespace, environment): (&str, &str)) -> Value {
    let mut decision = json!({
        "apiVersion": "imaas.dev/v1alpha1", "kind": "ReleaseDecision",
        "metadata": { "generateName": "tried-", "namespace": namespace },
        "spec": {
            "service": "orders", "environment": environment, "action": action, "reason": "tried", "author": author,
        },
    });
    match action {
        "approve" => decision["spec"]["target"] = "4f2a".repeat(10).into(),
        "pass" => decision["spec"]["gate"] = "load-test".into(),
        "scale" => {
            decision["spec"]["replicas"] = 3.into();
            decision["spec"]["expiresAt"] = "2100-01-01T00:00:00Z".into();
        }
        _ => {}
    }
    decision
}

async fn create(kubectl: &Kubectl, decision: &Value, flags: &[&str]) -> Result<Result<String, String>> {
    let arguments = [&["create", "-o", "name", "-f", "-"], flags].concat();
    ask(kubectl, &arguments, Some(&decision.to_string())).await
}

/// Each person, each action, in each environment; then by another's name, elsewhere, and what comes after.
pub async fn are_their_authors_and_need_the_right_in_the_environment(
    lab: &Lab,
    people: &[Person],
    broken: &mut Broken,
) -> Result<()> {
    let builder = "system:serviceaccount:ci:builder";
    for (who, author, may) in [
        ("nora", "nora", ["dev", "prod"].as_slice()),
        ("nick", "nick", &["dev"]),
        ("builder", builder, &["dev"]),
        ("nell", "nell", &[]),
        ("sam", "sam", &[]),
        ("otto", "otto", &[]),
    ] {
        let person = named(people, who)?;
        for (environment, action) in
            ["dev", "prod"].iter().flat_map(|one| ACTIONS.iter().map(move |action| (*one, *action)))
        {
            let decision = decision(author, action, ("north-home", environment));
            let answer = create(&person.kubectl, &decision, &["--dry-run=server"]).await?;
            let may = match action {
                // Another pair of eyes than the developers', and a check outside that has a role of its own.
                "approve" => who == "nora",
                "pass" => false,
                _ => may.contains(&environment),
            };
            let fits =
                answer.is_ok() == may && answer.as_ref().err().is_none_or(|no| no.contains("orbidden"));
            broken.unless(fits, format!("{who} may {action} in {environment}: {answer:?}, not {may}"));
        }
    }
    examples_are_accepted(people, broken).await?;
    refusals_say_why(people, broken).await?;
    nobody_else_answers(lab, people, broken).await
}

/// As their author, in another tenant.
async fn examples_are_accepted(people: &[Person], broken: &mut Broken) -> Result<()> {
    let nora = named(people, "nora")?;
    for file in fs::read_dir(root().join("examples/decisions"))? {
        let path = file?.path();
        let text = fs::read_to_string(&path)?;
        let text = text.replace("acme-home", "north-home").replace("nora@acme.example", "nora");
        let arguments = ["create", "--dry-run=server", "--validate=strict", "-f", "-"];
        let answer = ask(&nora.kubectl, &arguments, Some(&text)).await?;
        broken.unless(answer.is_ok(), format!("{} is accepted: {answer:?}", path.display()));
    }
    Ok(())
}

async fn refusals_say_why(people: &[Person], broken: &mut Broken) -> Result<()> {
    let home = |environment| ("north-home", environment);
    let with = |field: &str, value: Value| {
        let mut decision = decision("nora", "hold", home("dev"));
        decision["metadata"][field] = value;
        decision
    };
    let owner = json!([{ "apiVersion": "v1", "kind": "Secret", "name": "x", "uid": "x" }]);
    let record = json!([{ "manager": "x", "operation": "Update", "apiVersion": "imaas.dev/v1alpha1",
        "fieldsType": "FieldsV1", "fieldsV1": { "f:metadata": { "f:annotations": { "f:a": { "f:deep": {} } } } } }]);
    for (who, decision, words) in [
        ("nick", decision("nora", "hold", home("dev")), "spec.author: must be you, nick"),
        ("nick", decision("nick", "rollback", home("prod")), "you may not rollback releases in north-prod"),
        // Where a member may make one by RBAC, since the role is the same in all namespaces.
        ("nora", decision("nora", "hold", ("north-dev", "dev")), "stands in a tenant's home namespace"),
        // What an administrator alone could remove, or what takes room.
        ("nora", with("finalizers", json!(["example.com/never"])), "has no finalizers and no owners"),
        ("nora", with("ownerReferences", owner), "has no finalizers and no owners"),
        ("nora", with("annotations", json!({ "a": "x".repeat(5000) })), "8 annotations of 4096 characters"),
        ("nora", with("managedFields", record), "has no finalizers and no owners"),
        ("nora", with("annotations", json!({ "a": "x".repeat(4096) })), ""),
        ("sam", decision("sam", "hold", ("south-home", "prod")), ""),
        ("sam", decision("sam", "hold", home("prod")), "cannot create resource"),
    ] {
        let answer = create(&named(people, who)?.kubectl, &decision, &["--dry-run=server"]).await?;
        let told = match &answer {
            Ok(_) => words.is_empty(),
            Err(told) => !words.is_empty() && told.contains(words),
        };
        broken.unless(told, format!("{who}: {decision} is told {words:?}: {answer:?}"));
    }
    Ok(())
}

/// Neither changed nor answered nor taken back, by whoever made it or may do everything else.
async fn nobody_else_answers(lab: &Lab, people: &[Person], broken: &mut Broken) -> Result<()> {
    let admin = lab.kubectl();
    let nora = named(people, "nora")?;
    let made = create(&nora.kubectl, &decision("nora", "hold", ("north-home", "dev")), &[]).await?;
    let Ok(name) = &made else {
        broken.unless(false, format!("nora holds dev: {made:?}"));
        return Ok(());
    };
    let patch = |change: &'static str| ["patch", name, "-n", "north-home", "--type=merge", "-p", change];
    let status = r#"{"status": {"state": "Done", "message": "forged"}}"#;
    let spec = r#"{"spec": {"action": "reject"}}"#;
    for (what, arguments, kubectl, words) in [
        (
            "an owner answers",
            [&patch(status)[..], &["--subresource=status"]].concat(),
            &nora.kubectl,
            "orbidden",
        ),
        ("an owner changes", patch(spec).to_vec(), &nora.kubectl, "orbidden"),
        ("an owner takes back", vec!["delete", name, "-n", "north-home"], &nora.kubectl, "orbidden"),
        (
            "the administrator answers",
            [&patch(status)[..], &["--subresource=status"]].concat(),
            admin,
            "only the operator answers",
        ),
        ("the administrator changes", patch(spec).to_vec(), admin, "is never changed"),
    ] {
        let answer = ask(kubectl, &arguments, None).await?;
        let told = answer.as_ref().err().is_some_and(|no| no.contains(words));
        broken.unless(told, format!("{what}: {answer:?}"));
    }
    let name = name.rsplit_once('/').map_or(name.as_str(), |(_, name)| name);
    let operator = Api::<ReleaseDecision>::namespaced(rights::operator_client(lab).await?, "north-home");
    let answered = serde_json::from_str::<Value>(status)?;
    let answer = operator.patch_status(name, &PatchParams::default(), &Patch::Merge(answered)).await;
    broken.unless(answer.is_ok(), format!("the operator answers: {answer:?}"));
    Ok(())
}
