//! The chart and the kinds on a real API server: what is installed, what is refused, what the operator may do.
//! All promises share one control plane, and every one that is broken is told. What is written of the values needs none.

mod installation;
mod kinds;
mod members;
mod namespaces;
mod own;
mod retirement;
mod rights;
mod scalers;
mod secrets;
mod values;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use lab::{Lab, LabOptions, Progress, gateway, helm::Release, keda, kubectl::Kubectl};

/// The operator's namespace.
const NAMESPACE: &str = "imaas-system";
/// The operator, as the API server names it.
const OPERATOR: &str = "system:serviceaccount:imaas-system:imaas-operator";

/// Broken promises, with what was seen.
#[derive(Default)]
struct Broken(Vec<String>);

impl Broken {
    fn unless(&mut self, kept: bool, promise: impl Into<String>) {
        if !kept {
            self.0.push(promise.into());
        }
    }
}

/// Values that an installation cannot be without.
const REQUIRED: [&str; 2] =
    ["registry.host=registry.example.com", "registry.auth.realm=https://registry.example.com/token"];

/// The folder of the repository.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Standard output, or the refusal's words as `Err`.
async fn ask(kubectl: &Kubectl, arguments: &[&str], stdin: Option<&str>) -> Result<Result<String, String>> {
    let output = kubectl.output(arguments, stdin).await?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    Ok(if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) })
}

async fn every_promise(lab: &Lab, progress: &Progress) -> Result<Vec<String>> {
    let mut broken = Broken::default();
    gateway::install_kinds(lab.kubectl(), progress).await?;
    keda::install_kinds(lab.kubectl(), progress).await?;
    installation::installs_and_keeps_its_keys(lab, progress, &mut broken).await?;
    installation::an_external_registry_needs_none_of_ours(lab, progress, &mut broken).await?;
    kinds::are_served(lab.kubectl(), &mut broken).await?;
    kinds::bad_objects_are_refused(lab.kubectl(), &mut broken).await?;
    kinds::samples_are_accepted(lab.kubectl(), &mut broken).await?;
    kinds::a_release_is_immutable(lab.kubectl(), &mut broken).await?;
    rights::are_narrow(lab.kubectl(), &mut broken).await?;
    rights::suffice_to_lead(lab, &mut broken).await?;
    namespaces::people(lab.kubectl()).await?;
    namespaces::creation(lab.kubectl(), &mut broken).await?;
    namespaces::every_change_every_way(lab.kubectl(), &mut broken).await?;
    namespaces::a_deleted_one_goes(lab.kubectl(), &mut broken).await?;
    namespaces::a_tenant_goes_only_when_it_is_meant(lab.kubectl(), &mut broken).await?;
    retirement::its_marks_are_the_operators_alone(lab.kubectl(), &mut broken).await?;
    rights::bindings_stay_in_tenant_namespaces(lab.kubectl(), &mut broken).await?;
    rights::the_walls_of_a_namespace_stay(lab.kubectl(), &mut broken).await?;
    own::the_operator_writes_one_pair_a_tenant(lab.kubectl(), &mut broken).await?;
    secrets::are_no_logins_and_the_operators_own_stay(lab.kubectl(), &mut broken).await?;
    secrets::are_bounded_in_bytes(lab.kubectl(), &mut broken).await?;
    scalers::say_what_the_operator_says(lab.kubectl(), &mut broken).await?;
    members::may_do_what_their_role_says(lab, &mut broken).await?;
    rights::the_operator_observes_and_proves(lab, &mut broken).await?;
    Ok(broken.0)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_chart_on_a_real_api_server() -> Result<()> {
    let progress = Progress::new(|line| eprintln!("{line}"));
    let lab = Lab::start(LabOptions { users: members::users(), ..LabOptions::default() }, &progress).await?;
    let outcome = every_promise(&lab, &progress).await;
    lab.stop().await?;
    let broken = outcome?;
    if !broken.is_empty() {
        bail!("{} promises are broken:\n{}", broken.len(), broken.join("\n"));
    }
    Ok(())
}

/// Installs or upgrades the chart without waiting: nothing runs pods here.
async fn install(lab: &Lab, progress: &Progress, set: &[&str]) -> Result<String> {
    let chart = root().join("charts/imaas-operator");
    let chart = chart.to_str().context("path of the chart is not UTF-8")?;
    let set = [&REQUIRED, set].concat();
    let release = Release { name: "imaas", namespace: NAMESPACE, chart, values: &[], set: &set };
    lab.helm(progress).await?.install(&release, None).await
}
