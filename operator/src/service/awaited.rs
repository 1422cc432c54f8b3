//! IO: everything that a commit waits for besides what it waits for first, so that all of it can be mended at once.

use std::collections::BTreeSet;

use super::{
    Problem,
    choice::SECRET_NAMED,
    entry::New,
    neighbours::key,
    pass::Work,
    promote::{self, Target},
    resolve::Resolved,
    snapshot::Snapshot,
    uses,
    validate::ValidEnvironment,
};
use crate::{
    api::{Use, environment::Network},
    conditions::Reason,
    release::triggers::{NO_SCALER, asks},
};

/// In the place of one that is not known yet: what else is wrong does not depend on it.
const ANY_IMAGE: &str = "sha256:0000000000000000000000000000000000000000000000000000000000000000";

/// What to do about a Secret that a trigger names.
const LOGIN_NAMED: &str = "which `scaling.triggers` name for the login at a broker: an owner of the tenant creates it; what runs stays until then";

impl Work<'_> {
    /// What keeps the head that `environment` follows from running there besides its image. Nothing of one that is not read.
    pub(super) async fn awaited_of_head(
        &mut self,
        environment: &ValidEnvironment,
        networks: &[Network],
        snapshot: Option<&Snapshot>,
    ) -> Vec<Problem> {
        let asked = promote::asked(self.service, environment, snapshot, &self.last.settled);
        let Some(resolved) = asked else { return vec![] };
        let uncoordinated = resolved.uncoordinated.iter();
        let told = uncoordinated.map(|told| Problem::new(Reason::Uncoordinated, told.clone())).collect();
        let known = promote::known_image(&resolved, &environment.name, &self.history);
        let asked = Target { resolved, digest: known.unwrap_or_else(|| ANY_IMAGE.to_owned()) };
        self.also_awaited(environment, (&asked, networks), told).await
    }

    /// What is `told`, and everything else that keeps what is asked for from running in `environment`.
    pub(super) async fn also_awaited(
        &mut self,
        environment: &ValidEnvironment,
        (asked, networks): (&Target, &[Network]),
        mut told: Vec<Problem>,
    ) -> Vec<Problem> {
        let resolved = &asked.resolved;
        let mut more = self.missing(environment, resolved);
        let mut alone = asked.clone();
        if !more.is_empty() {
            // What is told already would hide what else is wrong.
            alone.resolved.settings.uses.clear();
        }
        more.extend(self.rendered(environment, &alone, networks).err());
        let named = resolved.settings.secrets.iter().map(String::as_str);
        more.extend(self.secrets(environment, named, SECRET_NAMED).await.err().into_iter().flatten());
        more.extend(self.unscaled(environment, resolved).await);
        let digest = Some(asked.digest.as_str()).filter(|digest| *digest != ANY_IMAGE);
        let new = New { commit: &resolved.commit, digest, without_git: false, was_let_in: false };
        more.extend(self.let_in(environment, new));
        more.retain(|problem| !told.contains(problem));
        told.extend(more);
        told
    }

    /// What is missing of that by which the number of its instances is to follow what waits. Another version of a login
    /// replaces no pod: they do not read it.
    pub(super) async fn unscaled(
        &mut self,
        environment: &ValidEnvironment,
        asked: &Resolved,
    ) -> Vec<Problem> {
        let triggers = &asked.settings.scaling.triggers;
        if !asks(&asked.settings.scaling) {
            return vec![];
        }
        let logins: BTreeSet<_> = triggers.iter().filter_map(|trigger| trigger.secret.as_deref()).collect();
        let missing = self.secrets(environment, logins.into_iter(), LOGIN_NAMED).await.err();
        let scaler = (!self.platform.cluster.has_scalers())
            .then(|| Problem::new(Reason::ScalerMissing, asked.placed(NO_SCALER)));
        scaler.into_iter().chain(missing.into_iter().flatten()).collect()
    }

    /// Each service of its `uses` that cannot be called.
    fn missing(&self, environment: &ValidEnvironment, asked: &Resolved) -> Vec<Problem> {
        let (who, uses) = (self.asker(environment), &asked.settings.uses);
        let key = |used: &Use| key(used.tenant.as_deref().unwrap_or(who.tenant), &used.service);
        // Before the look, so that no change falls in between.
        self.relations.asks(&self.key, uses.iter().map(key));
        let missing = uses::missing(who, uses, |used| self.neighbours().face(who, used));
        missing.into_iter().map(|one| Problem::new(one.reason, asked.placed(&one.message))).collect()
    }
}
