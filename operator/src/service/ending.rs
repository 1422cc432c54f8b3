//! Why what runs of a service ends, and where that stands. Pure.
//!
//! A service ends with its entry in the tenant file, with its tenant, and in an environment that the tenant left. What
//! was applied by hand has no entry, so it ends with its tenant only.

use jiff::Timestamp;
use kube::ResourceExt;

use super::Problem;
use crate::{
    api::{IntegrationService, Retirement, RetirementStage, Tenant, tenant::TenantEnvironment},
    conditions::Reason,
    names::{MANAGED_BY, MANAGER},
    retirement::{Left, Periods, Progress},
};

/// What ends, and how far it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// The stage, and until when.
    pub retirement: Retirement,
    /// The sentence to tell.
    pub message: String,
}

impl Ending {
    /// `what` ends, by `by`; `undo` is what brings it back.
    fn new(retirement: Retirement, (what, by, undo): (&str, &str, &str)) -> Self {
        let by = if by.is_empty() { String::new() } else { format!(" ({by})") };
        let until = &retirement.until;
        let message = match retirement.stage {
            RetirementStage::Orphaned => format!("{what}{by}: it serves on until {until}; {undo} to keep it"),
            RetirementStage::Retiring => {
                format!("retired to zero: {what}{by}; removed after {until}; {undo} to bring it back")
            }
        };
        Self { retirement, message }
    }

    /// Has it no instance any more?
    pub fn is_at_rest(&self) -> bool {
        match self.retirement.stage {
            RetirementStage::Orphaned => false,
            RetirementStage::Retiring => true,
        }
    }

    /// As the status tells it.
    pub fn problem(&self) -> Problem {
        let reason = match self.retirement.stage {
            RetirementStage::Orphaned => Reason::Orphaned,
            RetirementStage::Retiring => Reason::Retiring,
        };
        Problem::new(reason, self.message.clone())
    }
}

/// Everything of a tenant that Git no longer has.
pub fn of_tenant(tenant: &Tenant, periods: &Periods) -> Option<Ending> {
    let left = Left::of(tenant.annotations())?;
    let what = "the tenants repository has no file of the tenant";
    Some(Ending::new(left.retirement(periods), (what, &left.by, "restore it")))
}

/// A service that its tenant file no longer lists.
pub fn of_service(service: &IntegrationService, periods: &Periods) -> Option<Ending> {
    let left = left(service)?;
    let what = "the tenant file no longer lists this service";
    Some(Ending::new(left.retirement(periods), (what, &left.by, "list it again")))
}

/// What runs where the tenant is no longer.
pub fn of_environment(environment: &TenantEnvironment) -> Option<Ending> {
    let what = format!("the tenant is no longer in {}", environment.name);
    let undo = "put it back into the tenant file";
    environment.retirement.clone().map(|retirement| Ending::new(retirement, (&what, "", undo)))
}

/// The one that is furthest, and the first of those.
pub fn gravest<const N: usize>(endings: [Option<Ending>; N]) -> Option<Ending> {
    endings.into_iter().flatten().rev().max_by_key(|ending| ending.retirement.stage)
}

/// Is everything of the service itself to be removed at `now`?
pub fn is_due(service: &IntegrationService, periods: &Periods, now: Timestamp) -> bool {
    left(service).is_some_and(|left| left.progress(periods, now) == Progress::Due)
}

/// How long until [`is_due`]; nothing for a service that does not end, or is not in its last stage.
pub fn wait(service: &IntegrationService, periods: &Periods, now: Timestamp) -> Option<std::time::Duration> {
    left(service).filter(|left| left.retiring.is_some()).map(|left| left.wait(periods, now))
}

/// How long ago it was to be removed.
pub fn overdue(service: &IntegrationService, periods: &Periods, now: Timestamp) -> std::time::Duration {
    left(service).map(|left| left.overdue(periods, now)).unwrap_or_default()
}

/// Nothing for one that was applied by hand: no file lists it, so none can cease to.
fn left(service: &IntegrationService) -> Option<Left> {
    let is_ours = service.labels().get(MANAGED_BY).map(String::as_str) == Some(MANAGER);
    Left::of(service.annotations()).filter(|_| is_ours)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(by: &str, retiring: &str) -> IntegrationService {
        serde_saphyr::from_str(&format!(
            r#"
            apiVersion: imaas.dev/v1alpha1
            kind: IntegrationService
            metadata:
              name: orders
              namespace: acme-home
              labels: {{app.kubernetes.io/managed-by: {by}}}
              annotations: {{imaas.dev/orphaned-since: "2026-01-01T00:00:00Z", imaas.dev/orphaned-by: commit 4f2a{retiring}}}
            spec: {{repository: {{url: "https://git.example.com/acme/orders.git"}}, runtime: camel}}
            "#
        ))
        .unwrap()
    }

    const RETIRING: &str = r#", imaas.dev/retiring-since: "2026-01-02T00:00:00Z""#;

    #[test]
    fn it_is_told_until_when_it_serves_and_how_to_undo_it() {
        let told = |retiring| of_service(&service(MANAGER, retiring), &Periods::default()).unwrap();
        let serves = told("");
        assert_eq!(
            (serves.message.as_str(), serves.problem().reason, serves.is_at_rest()),
            (
                "the tenant file no longer lists this service (commit 4f2a): it serves on until 2026-01-02T00:00:00Z; list it again to keep it",
                Reason::Orphaned,
                false
            )
        );
        let rests = told(RETIRING);
        assert_eq!(
            (rests.message.as_str(), rests.problem().reason, rests.is_at_rest()),
            (
                "retired to zero: the tenant file no longer lists this service (commit 4f2a); removed after 2026-01-05T00:00:00Z; list it again to bring it back",
                Reason::Retiring,
                true
            )
        );
    }

    #[test]
    fn it_is_due_after_its_last_stage_and_never_before_that() {
        let at = |text: &str| -> Timestamp { text.parse().unwrap() };
        let due = |retiring, now| is_due(&service(MANAGER, retiring), &Periods::default(), at(now));
        assert!(!due("", "2027-01-01T00:00:00Z"), "nobody began its second stage");
        assert!(!due(RETIRING, "2026-01-04T23:59:59Z"));
        assert!(due(RETIRING, "2026-01-05T00:00:00Z"));
        let waits =
            |retiring| wait(&service(MANAGER, retiring), &Periods::default(), at("2026-01-04T00:00:00Z"));
        assert_eq!(waits("").map(|wait| wait.as_secs()), None, "its end is not ours to bring about");
        assert_eq!(waits(RETIRING).map(|wait| wait.as_secs()), Some(24 * 3600));
        let overdue =
            |retiring, now| overdue(&service(MANAGER, retiring), &Periods::default(), at(now)).as_secs();
        assert_eq!(overdue(RETIRING, "2026-01-05T00:59:00Z"), 59 * 60);
        assert_eq!(overdue(RETIRING, "2026-01-04T00:00:00Z"), 0);
        assert_eq!(overdue("", "2027-01-01T00:00:00Z"), 0);
    }

    #[test]
    fn what_was_applied_by_hand_is_not_ended_by_a_mark() {
        let by_hand = service("kubectl", RETIRING);
        assert_eq!(of_service(&by_hand, &Periods::default()), None);
        assert!(!is_due(&by_hand, &Periods::default(), "2027-01-01T00:00:00Z".parse().unwrap()));
    }

    #[test]
    fn the_gravest_is_told_and_of_equals_the_first() {
        let of = |stage, message: &str| {
            let retirement = Retirement { stage, until: String::new() };
            Some(Ending { retirement, message: message.to_owned() })
        };
        let told = |endings| gravest::<2>(endings).map(|ending| ending.message);
        let (orphaned, retiring) = (RetirementStage::Orphaned, RetirementStage::Retiring);
        assert_eq!(told([of(orphaned, "a"), of(retiring, "b")]).as_deref(), Some("b"));
        assert_eq!(told([of(retiring, "a"), of(orphaned, "b")]).as_deref(), Some("a"));
        assert_eq!(told([of(orphaned, "a"), of(orphaned, "b")]).as_deref(), Some("a"));
        assert_eq!(told([None, None]), None);
    }
}
