//! IO: answers the decisions of people, each once, and keeps a bounded number. What follows is written before the answer,
//! and the answer before anything is rolled out: whoever ends in between finds the decision again, and nothing happens twice.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::StreamExt;
use kube::ResourceExt;

use super::{
    attempt::tried_again,
    decision::{
        Answer, Situation, Standing, age, answer, ended, expiry, is_answered, over, refused, standing,
    },
    pass::Work,
};
use crate::{
    api::{DecisionAction, DecisionState, Release, ReleaseDecision, ReleaseDecisionStatus, ReleaseStatus},
    cluster::ApplyError,
    names::tenant_of_home,
    platform::Platform,
    policies::Missing,
};

/// Decisions of a service that hold no more and are kept for who looks back; the newest.
const KEPT: usize = 50;
/// Decisions of a service that hold at a time; the newest.
const HOLDING: usize = 200;
/// Removed in one pass: what is removed wakes the next.
const AT_ONCE: usize = 5;

impl Work<'_> {
    /// Answers what has no answer, and says of each environment what holds there.
    pub(super) async fn decide(&mut self) -> BTreeMap<String, Standing> {
        if let Err(error) = self.answer_all().await {
            self.errors.push(error);
        }
        let now = (self.platform.now)();
        let standing = |name: &String| (name.clone(), standing(&self.decisions, name, now));
        let all = self.service.environments.iter().map(|environment| standing(&environment.name)).collect();
        let expiries = self.decisions.iter().filter(|one| holds(one)).filter_map(|one| expiry(one));
        let waits = expiries.filter_map(|expiry| Duration::try_from(expiry.duration_since(now)).ok());
        self.again = self.again.into_iter().chain(waits).min();
        all
    }

    async fn answer_all(&mut self) -> Result<(), ApplyError> {
        let mut open = self.decisions.clone();
        open.retain(|decision| !is_answered(decision));
        open.sort_by_key(|decision| age(decision));
        for decision in open {
            let answer = match self.policies.proven() {
                Ok(()) => self.judged(&decision),
                // What admits them is told to be there or not in a moment.
                Err(Missing::Untried | Missing::Unknown { .. }) => continue,
                Err(missing @ (Missing::NotEnforced(_) | Missing::Shadowed { .. })) => {
                    refused(format!("nothing proves that its author made it: {missing}; then make it again"))
                }
            };
            self.follow(&decision, answer).await?;
        }
        for (name, status) in ended(&self.decisions, (self.platform.now)()) {
            self.say(&name, status).await?;
        }
        self.prune_decisions().await
    }

    fn judged(&self, decision: &ReleaseDecision) -> Answer {
        let now = (self.platform.now)();
        let standing = standing(&self.decisions, &decision.spec.environment, now);
        let Self { service, before: board, history, .. } = self;
        answer(decision, Situation { service, board: *board, history, standing: &standing, now })
    }

    /// Does what follows from a decision, then answers it.
    async fn follow(&mut self, decision: &ReleaseDecision, answer: Answer) -> Result<(), ApplyError> {
        let name = decision.name_any();
        if let Some(release) = answer.tried_again.as_ref().and_then(|release| self.known(release)) {
            let status = tried_again(&release, &name, (self.platform.now)());
            self.tell_release(&release, status).await?;
        }
        if answer.resumes {
            let is_ended = |one: &&Arc<ReleaseDecision>| {
                holds(one)
                    && one.spec.environment == decision.spec.environment
                    && matches!(one.spec.action, DecisionAction::Hold | DecisionAction::Rollback)
            };
            let ended: Vec<_> = self.decisions.iter().filter(is_ended).cloned().collect();
            for one in ended {
                self.say(&one.name_any(), over(&one, &format!("resumed by {name}"))).await?;
            }
        }
        self.say(&name, answer.status).await
    }

    /// Git asks for something else than what the rollback went back from.
    pub(super) async fn end_rollback(&mut self, decision: &str) -> Result<(), ApplyError> {
        let Some(known) = self.decisions.iter().find(|one| one.name_any() == decision).cloned() else {
            return Ok(());
        };
        self.say(decision, over(&known, "Git asks for something else")).await
    }

    /// Writes what a decision came to.
    async fn say(&mut self, name: &str, status: ReleaseDecisionStatus) -> Result<(), ApplyError> {
        let Some(decision) = self.decisions.iter_mut().find(|one| one.name_any() == name) else {
            return Ok(());
        };
        if decision.status.as_ref() == Some(&status) {
            return Ok(());
        }
        self.platform.cluster.write_status(decision.as_ref(), &status).await?;
        let (action, state) = (decision.spec.action.as_str(), status.state);
        tracing::info!(decision = name, action, ?state, tenant = self.service.tenant, "decision answered");
        if let Some(uid) = decision.uid() {
            self.last.answered.insert(uid, status.clone());
        }
        Arc::make_mut(decision).status = Some(status);
        Ok(())
    }

    /// Writes what became of a release, and counts on it from now on.
    pub(super) async fn tell_release(
        &mut self,
        release: &Release,
        status: ReleaseStatus,
    ) -> Result<(), ApplyError> {
        let name = release.name_any();
        self.platform.cluster.write_status(release, &status).await?;
        self.history.told(&name, &status);
        for known in self.stored.iter_mut().chain(&mut self.last.releases) {
            if known.name_any() == name {
                Arc::make_mut(known).status = Some(status.clone());
            }
        }
        self.last.told.insert(name, status);
        Ok(())
    }

    /// Removes answered decisions beyond what is kept, the oldest first, as far as the watch shows them answered.
    async fn prune_decisions(&self) -> Result<(), ApplyError> {
        let mut all = self.decisions.clone();
        all.retain(|one| one.uid().is_some_and(|uid| !self.last.answered.contains_key(&uid)));
        all.sort_by_key(|one| std::cmp::Reverse(age(one)));
        let (holding, past): (Vec<_>, Vec<_>) =
            all.into_iter().filter(|one| is_answered(one)).partition(|one| holds(one));
        for decision in past.iter().skip(KEPT).chain(holding.iter().skip(HOLDING)).take(AT_ONCE) {
            self.platform.cluster.delete_unchanged(decision.as_ref()).await?;
        }
        Ok(())
    }
}

/// Refuses what is decided of services that are not there, until `shutdown` resolves, and keeps no more of that than of a
/// service.
pub(super) async fn refuse_strays(platform: Platform, shutdown: impl Future<Output = ()> + Send) {
    let mut changes = std::pin::pin!(platform.decisions.changes().take_until(shutdown));
    while let Some(changed) = changes.next().await {
        let home = changed.namespace.as_deref().unwrap_or_default();
        let is_home = tenant_of_home(home).is_some_and(|tenant| platform.cluster.takes(home, tenant));
        let Some(stray) = platform.decisions.named_in(home, &changed.name).filter(|_| is_home) else {
            continue;
        };
        let is_stray = |one: &ReleaseDecision| platform.services.named_in(home, &one.spec.service).is_none();
        if !is_stray(&stray) {
            continue;
        }
        let mut strays = platform.decisions.all_in(home);
        strays.retain(|one| is_stray(one));
        strays.sort_by_key(|one| std::cmp::Reverse(age(one)));
        let outcome = match strays.get(KEPT) {
            Some(oldest) => platform.cluster.delete_unchanged(oldest.as_ref()).await,
            None if is_answered(&stray) => Ok(()),
            None => {
                let answer = refused(format!("there is no service {} in {home}", stray.spec.service));
                platform.cluster.write_status(stray.as_ref(), &answer.status).await
            }
        };
        if let Err(error) = outcome {
            tracing::warn!(error = &error as &dyn std::error::Error, "decision not answered");
        }
    }
}

fn holds(decision: &ReleaseDecision) -> bool {
    decision.status.as_ref().is_some_and(|status| status.state == Some(DecisionState::InForce))
}
