//! Which services have to do with which others, and whom a change of one wakes. In memory: each service's first pass tells
//! again.

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::sync::mpsc;

use super::poll::Key;

/// What every pass told of its service.
pub struct Relations {
    known: Mutex<HashMap<Key, Relation>>,
    wake: mpsc::UnboundedSender<Key>,
}

#[derive(Default)]
struct Relation {
    /// Services that it uses, or that its instances may.
    uses: HashSet<Key>,
    /// Hash of what others see of it; nothing before its first pass ended.
    shown: Option<String>,
}

impl Relations {
    /// Knows nothing yet; the other end says whom to look at.
    pub fn new() -> (Self, mpsc::UnboundedReceiver<Key>) {
        let (wake, woken) = mpsc::unbounded_channel();
        (Self { known: Mutex::default(), wake }, woken)
    }

    /// `service` is about to look at `providers`: it is woken by every change of them that comes after.
    pub fn asks(&self, service: &Key, providers: impl IntoIterator<Item = Key>) {
        let mut providers = providers.into_iter().peekable();
        if providers.peek().is_some() {
            self.known().entry(service.clone()).or_default().uses.extend(providers);
        }
    }

    /// A pass ended: `service` uses these, and others see this of it. Whom that concerns is woken where it is new.
    pub fn tell(&self, service: &Key, uses: HashSet<Key>, shown: String) {
        let mut known = self.known();
        let before = known.insert(service.clone(), Relation { uses, shown: Some(shown) });
        if before.as_ref().and_then(|before| before.shown.as_ref())
            != known.get(service).and_then(|now| now.shown.as_ref())
        {
            self.changed(service, before.as_ref(), &known);
        }
    }

    /// There is no such service any more.
    pub fn gone(&self, service: &Key) {
        let mut known = self.known();
        let before = known.remove(service);
        self.changed(service, before.as_ref(), &known);
    }

    fn changed(&self, service: &Key, before: Option<&Relation>, known: &HashMap<Key, Relation>) {
        let users = known.iter().filter(|(_, other)| other.uses.contains(service)).map(|(key, _)| key);
        let used = before.into_iter().chain(known.get(service)).flat_map(|relation| &relation.uses);
        let concerned: HashSet<_> = users.chain(used).filter(|key| *key != service).collect();
        for key in concerned {
            // An error means that the controller has ended, and with it the operator.
            let _ = self.wake.send(key.clone());
        }
    }

    fn known(&self) -> MutexGuard<'_, HashMap<Key, Relation>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use kube::runtime::reflector::ObjectRef;

    use super::*;

    fn key(name: &str) -> Key {
        ObjectRef::new(name).within("acme-home")
    }

    fn woken(receiver: &mut mpsc::UnboundedReceiver<Key>) -> Vec<String> {
        let mut names: Vec<_> = std::iter::from_fn(|| receiver.try_recv().ok()).map(|key| key.name).collect();
        names.sort();
        names
    }

    fn uses(names: &[&str]) -> HashSet<Key> {
        names.iter().map(|name| key(name)).collect()
    }

    #[test]
    fn a_change_wakes_both_sides_once_and_no_change_wakes_nobody() {
        let (relations, mut wakes) = Relations::new();
        let tell =
            |name: &str, used: &[&str], shown: &str| relations.tell(&key(name), uses(used), shown.into());
        tell("stock", &[], "8080");
        assert_eq!(woken(&mut wakes), [""; 0]);
        tell("orders", &["stock"], "a");
        assert_eq!(woken(&mut wakes), ["stock"], "it may have to let it in");
        tell("orders", &["stock"], "a");
        assert_eq!(woken(&mut wakes), [""; 0]);
        tell("stock", &[], "9090");
        assert_eq!(woken(&mut wakes), ["orders"], "its address changed");
        tell("orders", &[], "b");
        assert_eq!(woken(&mut wakes), ["stock"], "it is to close again");
        tell("stock", &[], "8080");
        assert_eq!(woken(&mut wakes), [""; 0]);
    }

    #[test]
    fn who_looks_hears_of_what_comes_after_though_its_pass_has_not_ended() {
        let (relations, mut wakes) = Relations::new();
        relations.asks(&key("orders"), [key("stock")]);
        relations.tell(&key("stock"), uses(&[]), "8080".into());
        assert_eq!(woken(&mut wakes), ["orders"]);
        relations.gone(&key("stock"));
        assert_eq!(woken(&mut wakes), ["orders"]);
    }
}
