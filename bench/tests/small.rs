//! The benchmark itself works, and its promises hold at a small size. Counts only: times are for exclusive machines.

use bench::onboarding::{self, Options};
use lab::Progress;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_commit_is_onboarded_by_a_request_an_object_and_a_restart_writes_nothing() {
    let progress = Progress::new(|line| println!("{line}"));
    let options = Options { tenants: 20, services: 1, simulated: false, small: true };
    let report = onboarding::run(options, &progress).await.unwrap();
    println!("{report}");
    assert_eq!(report.tenants, 20);
    // Four namespaces each, and more than five objects in each.
    assert!(report.first.created > 20 * 4 * 6, "{report}");
    assert!(report.first.per_object() < 1.5, "{report}");
    assert_eq!(report.second.writes, 0, "{report}");
    assert!(report.second.reads > 0, "the restarted operator was not counted: {report}");
}
