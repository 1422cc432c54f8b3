//! What asks for nothing any more.

use super::*;
use crate::sample;

#[test]
fn what_runs_or_is_tried_has_begun_and_nothing_else() {
    let before: EnvironmentState = serde_saphyr::from_str(
        "{name: dev, branch: dev, lastGood: good, candidate: c, trial: {release: b, passed: 0, steps: 2, weight: 10, begun: t}}",
    )
    .unwrap();
    let current = sample::release("a", "");
    let has_begun = |release| has_begun(release, Some(&current), Some(&before));
    assert_eq!(["a", "b", "c", "good"].map(has_begun), [true, true, false, false]);
    assert!(!super::has_begun("a", None, None), "the first");
}
