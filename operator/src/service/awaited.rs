//! IO: everything that a commit waits for besides what it waits for first, so that all of it can be mended at once.

use super::{
    Problem,
    choice::{SECRET_NAMED, frozen},
    neighbours::key,
    pass::Work,
    promote::{self, Wanted},
    resolve::{Resolved, Snapshot},
    uses,
    validate::ValidEnvironment,
};
use crate::{api::Use, conditions::Reason};

impl Work<'_> {
    /// What keeps the commit that `environment` follows from running there, besides what `wanted` and `told` say already.
    /// Nothing of one that is not read.
    pub(super) async fn also_awaited(
        &mut self,
        environment: &ValidEnvironment,
        (wanted, told): (&Wanted, &[Problem]),
        snapshot: Option<&Snapshot>,
    ) -> Vec<Problem> {
        let Some(asked) = promote::asked(self.service, environment, snapshot, &self.last.settled) else {
            return vec![];
        };
        let mut awaited = self.missing(environment, &asked);
        let is_new = matches!(wanted, Wanted::Nothing { .. });
        let uncoordinated = asked.uncoordinated.as_ref().filter(|_| is_new);
        awaited.extend(uncoordinated.map(|told| Problem::new(Reason::Uncoordinated, told.clone())));
        for name in &asked.settings.secrets {
            let named = std::iter::once(name.as_str());
            awaited.extend(self.secrets(environment, named, SECRET_NAMED).await.err());
        }
        if environment.frozen {
            awaited.push(frozen(environment, &asked.commit));
        }
        awaited.retain(|problem| !told.contains(problem));
        awaited
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
