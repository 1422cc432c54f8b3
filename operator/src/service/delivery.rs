//! DORA's figures of one environment, as metrics: how often it deploys, how many of that fail, how long a commit takes and
//! how long a failure (<https://dora.dev/guides/dora-metrics-four-keys/>). IO: counts only.

use std::time::Duration;

use jiff::Timestamp;
use prometheus::HistogramVec;

use super::{
    history::{History, Past},
    pass::Work,
    snapshot::{Branch, Snapshot},
};
use crate::{
    api::Release,
    metrics::{DEPLOYMENTS, LEAD_TIME, RESTORE_TIME},
};

impl Work<'_> {
    /// All instances of `release` are ready, which is told on it for the first time or after it was given up.
    pub(super) fn count_healthy(&self, release: &Release, past: &Past, now: Timestamp) {
        if !past.of_git || past.healthy {
            return;
        }
        let environment = &release.spec.environment;
        DEPLOYMENTS.with_label_values(&[self.service.tenant.as_str(), environment, "healthy"]).inc();
        let begun = begun(release, self.snapshot.as_deref(), &self.history);
        self.count_time(&LEAD_TIME, environment, (begun, now));
    }

    /// `release` was given up. A restart of the operator until all is well again loses the time that it took.
    pub(super) fn count_failed(&mut self, release: &Release, past: &Past, now: Timestamp) {
        let environment = &release.spec.environment;
        if past.of_git {
            DEPLOYMENTS.with_label_values(&[self.service.tenant.as_str(), environment, "failed"]).inc();
            self.last.failing.entry(environment.clone()).or_insert(now);
        }
    }

    /// All instances in `environment` are ready.
    pub(super) fn count_restored(&mut self, environment: &str, now: Timestamp) {
        let since = self.last.failing.remove(environment);
        self.count_time(&RESTORE_TIME, environment, (since, now));
    }

    /// Nothing where it is not known when it began, or that was after `now`.
    fn count_time(
        &self,
        times: &HistogramVec,
        environment: &str,
        (begun, now): (Option<Timestamp>, Timestamp),
    ) {
        if let Some(took) = begun.and_then(|begun| Duration::try_from(now.duration_since(begun)).ok()) {
            let labels = [self.service.tenant.as_str(), environment];
            times.with_label_values(&labels).observe(took.as_secs_f64());
        }
    }
}

/// When what `release` runs was begun: when its commit was made or, where that is known no more or was a merge of something
/// older, when the first release of the same build was.
fn begun(release: &Release, snapshot: Option<&Snapshot>, history: &History) -> Option<Timestamp> {
    let heads = snapshot.into_iter().flat_map(|snapshot| snapshot.branches.values());
    let committed = heads.filter_map(|branch| match branch {
        Branch::Head { commit, content: Ok(content) } if *commit == release.spec.commit => content.committed,
        Branch::Head { .. } | Branch::Missing => None,
    });
    committed.chain(history.first_made(&release.spec.build_id)).min()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn what_is_deployed_began_with_its_first_release_or_with_its_commit() {
        let made = |build: &str, second| Past {
            build_id: build.to_owned(),
            made: Some(at(second)),
            ..Past::default()
        };
        let release = sample::release("orders-prod-abc", "");
        let build = &release.spec.build_id;
        let history = History(vec![made("other", 1), made(build, 5), made(build, 9)]);
        assert_eq!(begun(&release, None, &history), Some(at(5)), "in dev, long before it was merged");
        assert_eq!(begun(&release, None, &History::default()), None, "nothing is known of it");
        let head = |commit: &str, second| {
            let content = sample::content(commit, Some(at(second)));
            let head = Branch::Head { commit: commit.to_owned(), content: Ok(content.into()) };
            Snapshot { branches: [("prod".to_owned(), head)].into(), ..Snapshot::default() }
        };
        let own = head(&release.spec.commit, 3);
        assert_eq!(begun(&release, Some(&own), &history), Some(at(3)), "before CI had built it");
        assert_eq!(
            begun(&release, Some(&head(&release.spec.commit, 7)), &history),
            Some(at(5)),
            "a merge of it"
        );
        assert_eq!(begun(&release, Some(&head("another", 3)), &history), Some(at(5)));
    }
}
