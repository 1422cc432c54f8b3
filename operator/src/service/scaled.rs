//! IO: tells whether the number of a service's instances follows what it is to follow.

use super::{Problem, pass::Work, status::Observation, validate::ValidEnvironment};
use crate::{
    conditions::Reason,
    release::{
        self,
        scaling::{UNMEASURED, stuck},
        triggers,
    },
};

impl Work<'_> {
    /// Whether the number of its instances follows the load, where it is to.
    pub(super) fn scaled(
        &mut self,
        environment: &ValidEnvironment,
        target: &release::Target<'_>,
        observation: &mut Observation,
    ) {
        let (cluster, release) = (&self.platform.cluster, target.release);
        if release.spec.scaling.is_none() {
            return;
        }
        let now = (self.platform.now)();
        let object = cluster.scaler(&environment.namespace, &self.service.name);
        let autoscaler = cluster.autoscaler(&environment.namespace, &triggers::autoscaler(release));
        let there = (target.outside.sources(), cluster.has_scalers());
        let counted_at = triggers::counted_since(release, object.as_deref()).map(|since| since + UNMEASURED);
        let counted_at = counted_at.filter(|counted_at| now < *counted_at);
        self.look_again(counted_at);
        let heard = object.as_deref().filter(|_| counted_at.is_none());
        let unanswered = triggers::unanswered(release, there, heard);
        if !unanswered.is_empty() {
            let told = unanswered.into_iter().map(|message| Problem::new(Reason::NotScaling, message));
            return observation.problems.extend(told);
        }
        let left = triggers::left(release, object.as_deref());
        let Some(stuck) = left.or_else(|| autoscaler.as_deref().and_then(stuck)) else { return };
        let told_at = stuck.told_at();
        if now < told_at {
            self.look_again(Some(told_at));
        } else {
            observation.problems.push(Problem::new(Reason::NotScaling, stuck.message));
        }
    }
}
