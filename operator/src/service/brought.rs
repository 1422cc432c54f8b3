//! What configurations hold, on its way from Git to the one pass that writes it. Pure.
//!
//! A tenant chooses how much that is, so it is nowhere kept: a few are here for a moment, whatever the number of services.

use std::collections::VecDeque;

use super::{Problem, poll::Key};
use crate::release::Contents;

/// So many are here at a time, of at most a mebibyte each. One that has to give way is brought again.
const MOST: usize = 8;

/// A configuration directory of a service, at a commit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// 40 hexadecimal digits.
    pub commit: String,
    /// Below the service's path.
    pub directory: String,
}

/// The oldest first.
#[derive(Debug, Default)]
pub(super) struct Brought(VecDeque<(Key, Place, Result<Contents, Problem>)>);

impl Brought {
    /// Lays down what was read, or why it could not be.
    pub fn put(&mut self, key: Key, place: Place, contents: Result<Contents, Problem>) {
        self.0.retain(|(of, at, _)| (of, at) != (&key, &place));
        self.0.push_back((key, place, contents));
        let surplus = self.0.len().saturating_sub(MOST);
        self.0.drain(..surplus);
    }

    /// Takes it away.
    pub fn take(&mut self, key: &Key, place: &Place) -> Option<Result<Contents, Problem>> {
        let at = self.0.iter().position(|(of, at, _)| (of, at) == (key, place))?;
        self.0.remove(at).map(|(_, _, contents)| contents)
    }

    /// Of a service that is gone.
    pub fn forget(&mut self, key: &Key) {
        self.0.retain(|(of, _, _)| of != key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn however_many_services_ask_only_a_few_configurations_are_held() {
        let key = |n: usize| Key::new(&format!("s{n}")).within("acme-home");
        let place = Place { commit: "4f2a".repeat(10), directory: "config".to_owned() };
        let mut brought = Brought::default();
        for n in 0..300 {
            brought.put(key(n), place.clone(), Ok(Contents::new()));
        }
        assert_eq!(brought.0.len(), MOST);
        assert_eq!(brought.take(&key(0), &place), None, "it is brought again");
        assert_eq!(brought.take(&key(299), &place), Some(Ok(Contents::new())));
        assert_eq!(brought.take(&key(299), &place), None, "it is handed out once");
        brought.forget(&key(298));
        assert_eq!((brought.take(&key(298), &place), brought.0.len()), (None, MOST - 2));
    }
}
