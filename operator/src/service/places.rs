//! How many services get a changed runtime at a time, in each environment. In memory: what an operator before this one began
//! is counted as soon as its service is looked at.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::sync::mpsc;

use super::poll::Key;

/// The places in all environments.
pub struct Places {
    /// In each.
    most: usize,
    lines: Mutex<HashMap<String, Line>>,
    wake: mpsc::UnboundedSender<Key>,
}

#[derive(Default)]
struct Line {
    /// Services that are given the change now.
    inside: HashSet<Key>,
    /// Those that are to be woken when there is a place, the first first.
    waiting: VecDeque<Key>,
}

impl Places {
    /// `most` in each environment; the other end says whose turn it is.
    pub fn new(most: usize) -> (Self, mpsc::UnboundedReceiver<Key>) {
        let (wake, woken) = mpsc::unbounded_channel();
        (Self { most, lines: Mutex::default(), wake }, woken)
    }

    /// May `service` begin in `environment`? If not, it is woken when it is its turn; the error is how many are given the
    /// change at a time.
    pub fn enter(&self, environment: &str, service: &Key) -> Result<(), usize> {
        let mut lines = self.lines();
        let line = lines.entry(environment.to_owned()).or_default();
        if line.inside.contains(service) || line.inside.len() < self.most {
            line.waiting.retain(|waiting| waiting != service);
            line.inside.insert(service.clone());
            return Ok(());
        }
        if !line.waiting.contains(service) {
            line.waiting.push_back(service.clone());
        }
        Err(self.most)
    }

    /// A pass ended: `service` rolls out in these environments, and in which of them a changed runtime. Elsewhere its place is
    /// free, whatever became of it: one that fails or is blocked holds up nobody.
    pub fn tell(&self, service: &Key, rolls_out: &BTreeMap<String, bool>) {
        let mut lines = self.lines();
        for environment in rolls_out.iter().filter(|(_, is_of_runtime)| **is_of_runtime).map(|(name, _)| name)
        {
            lines.entry(environment.clone()).or_default().inside.insert(service.clone());
        }
        for (environment, line) in lines.iter_mut() {
            if !rolls_out.contains_key(environment) {
                line.inside.remove(service);
            }
            let free = self.most.saturating_sub(line.inside.len()).min(line.waiting.len());
            for next in line.waiting.drain(..free) {
                // An error means that the controller has ended, and with it the operator.
                let _ = self.wake.send(next);
            }
        }
    }

    fn lines(&self) -> MutexGuard<'_, HashMap<String, Line>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use kube::runtime::reflector::ObjectRef;

    use super::*;

    fn key(name: &str) -> Key {
        ObjectRef::new(name).within("acme-home")
    }

    fn rolls_out(environments: &[(&str, bool)]) -> BTreeMap<String, bool> {
        environments.iter().map(|(name, is_of_runtime)| ((*name).to_owned(), *is_of_runtime)).collect()
    }

    fn woken(receiver: &mut mpsc::UnboundedReceiver<Key>) -> Vec<String> {
        std::iter::from_fn(|| receiver.try_recv().ok()).map(|key| key.name).collect()
    }

    #[test]
    fn no_more_than_so_many_are_given_the_change_and_the_next_is_woken_when_one_is_done() {
        let (places, mut wakes) = Places::new(2);
        let enter = |name: &str| places.enter("dev", &key(name));
        assert_eq!(
            [enter("a"), enter("b"), enter("c"), enter("d"), enter("c")],
            [Ok(()), Ok(()), Err(2), Err(2), Err(2)]
        );
        assert_eq!(enter("a"), Ok(()), "it is inside");
        assert_eq!(places.enter("test", &key("c")), Ok(()), "each environment by itself");
        for still in ["a", "b"] {
            places.tell(&key(still), &rolls_out(&[("dev", true)]));
        }
        places.tell(&key("d"), &rolls_out(&[]));
        assert_eq!(woken(&mut wakes), [""; 0]);
        places.tell(&key("a"), &rolls_out(&[]));
        assert_eq!(woken(&mut wakes), ["c"], "the first of those that wait, once");
        assert_eq!(
            [enter("d"), enter("c")],
            [Ok(()), Err(2)],
            "whoever comes first has it, and the other waits on"
        );
        places.tell(&key("b"), &rolls_out(&[("test", true)]));
        assert_eq!(woken(&mut wakes), ["c"]);
        assert_eq!(enter("c"), Ok(()));
    }

    #[test]
    fn one_that_was_woken_and_does_not_come_lets_the_next_in() {
        let (places, mut wakes) = Places::new(1);
        for name in ["a", "b", "c"] {
            let _ = places.enter("dev", &key(name));
        }
        places.tell(&key("a"), &rolls_out(&[]));
        assert_eq!(woken(&mut wakes), ["b"]);
        places.tell(&key("b"), &rolls_out(&[]));
        assert_eq!(woken(&mut wakes), ["c"]);
    }

    #[test]
    fn what_an_operator_before_began_counts_and_a_commit_that_follows_keeps_the_place() {
        let (places, _wakes) = Places::new(1);
        places.tell(&key("a"), &rolls_out(&[("dev", true)]));
        places.tell(&key("b"), &rolls_out(&[("dev", false)]));
        assert_eq!(places.enter("dev", &key("c")), Err(1), "a commit takes no place, and a change does");
        places.tell(&key("a"), &rolls_out(&[("dev", false)]));
        assert_eq!(places.enter("dev", &key("c")), Err(1));
        places.tell(&key("a"), &rolls_out(&[]));
        assert_eq!(places.enter("dev", &key("c")), Ok(()));
    }
}
