//! The registry's areas, tried by a real client through the installed token service.

use anyhow::{Context, Result, ensure};
use flows::Sample;
use lab::image::{self, Image, Pusher};

use crate::Flow;

const TAG: &str = "tried";

/// Promise: a push account pushes and pulls in its own area, a pull account only pulls there, nobody else gets in.
pub async fn areas(flow: &Flow) -> Result<String> {
    let push = flow.stand.registry_account("acme", "imaas-registry-push", "home").await?;
    let pull = flow.stand.registry_account("acme", "imaas-registry-pull", "dev").await?;
    let (registry, progress) = (flow.stand.registry.endpoint(), flow.progress.clone());
    let tried = tokio::task::spawn_blocking(move || {
        let image = image::go_image(&Sample::Inventory.directory(), "inventory", &[8080])?;
        let account = |account: Option<&(String, String)>| {
            Pusher::new(
                &registry,
                account.map(|(user, password)| (user.as_str(), password.as_str())),
                &progress,
            )
        };
        let forged = (push.0.clone(), pull.1.clone());
        let crossed = (push.0.replace("acme", "globex"), push.1.clone());
        let pushers = [account(Some(&push))?, account(Some(&pull))?, account(None)?, account(Some(&forged))?];
        own_area(&pushers, &image)?;
        foreign_area(&pushers, &account(Some(&crossed))?, &image)
    });
    let refused = tried.await.context("the trial died")??;
    Ok(format!("{refused} refusals"))
}

fn own_area([push, pull, nobody, forged]: &[Pusher; 4], image: &Image) -> Result<()> {
    let digest = push.push(image, "acme/tried", TAG).context("push to its own area")?;
    for reader in [push, pull] {
        ensure!(
            reader.digest("acme/tried", TAG).context("pull from its own area")? == digest,
            "another image"
        );
    }
    let directory = tempfile::tempdir()?;
    pull.unpack("acme/tried", TAG, directory.path()).context("pull all of it")?;
    ensure!(directory.path().join("inventory").exists(), "the image's file is not there");
    refused("a pull account pushes", pull.push(image, "acme/pulled", TAG))?;
    refused("a pull account moves a tag", pull.push(image, "acme/tried", "other"))?;
    refused("nobody pulls", nobody.digest("acme/tried", TAG))?;
    refused("nobody pushes", nobody.push(image, "acme/nobody", TAG))?;
    refused("a wrong password pushes", forged.push(image, "acme/forged", TAG))
}

fn foreign_area(pushers: &[Pusher; 4], crossed: &Pusher, image: &Image) -> Result<usize> {
    let [push, pull, nobody, _] = pushers;
    for repository in ["globex/tried", "acmeother/tried", "platform/tried", "acme"] {
        refused(&format!("acme pushes to {repository}"), push.push(image, repository, TAG))?;
    }
    refused("another tenant's account with its own password", crossed.push(image, "globex/tried", TAG))?;
    for reader in [push, pull, nobody] {
        refused("acme pulls what globex has", reader.digest("globex/inventory", TAG))?;
    }
    Ok(13)
}

/// A refusal, and not an error of another kind.
fn refused(what: &str, outcome: Result<String>) -> Result<()> {
    let words = match outcome {
        Ok(digest) => anyhow::bail!("{what}: it was let, {digest}"),
        Err(error) => format!("{error:#}"),
    };
    let is_refusal = ["UNAUTHORIZED", "DENIED", "401", "403"].iter().any(|word| words.contains(word));
    ensure!(is_refusal, "{what}: {words}");
    Ok(())
}
