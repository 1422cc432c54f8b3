//! What ends takes nothing new, whatever its branch says.

use super::*;
use crate::{
    api::{Retirement, RetirementStage},
    service::ending::Ending,
};

#[test]
fn what_ends_asks_for_nothing_and_says_why_and_the_others_go_on() {
    let ready = [('1', Tag::Found(IMAGE_OF_A.to_owned()))];
    let seen = snapshot([("dev", head('1', "A", "")), ("test", head('2', "A", ""))], &ready);
    let history = History(vec![made(1, "dev", "A", IMAGE_OF_A, true)]);
    let mut service = three();
    let retirement = Retirement { stage: RetirementStage::Orphaned, until: String::new() };
    service.environments[0].ending = Some(Ending { retirement, message: "it serves on".to_owned() });
    let wanted =
        |at: usize| wanted(&service, &service.environments[at], Some(&seen), (&history, &Settled::default()));
    let waiting = vec![Problem::new(Reason::Orphaned, "it serves on")];
    assert_eq!(wanted(0), Wanted::nothing(waiting));
    assert!(matches!(wanted(1), Wanted::Target(_)), "{:?}", wanted(1));
}
