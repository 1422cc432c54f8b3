//! The right to write. It ends by itself: nobody has to notice that it is over, so a process that was stopped for a
//! minute finds it gone before its next write.

use std::{
    future::{Future, pending, poll_fn},
    pin::pin,
    task::Poll,
    time::{Duration, Instant},
};

use tokio::{sync::watch, time::sleep_until};

/// Something was to be written by who does not lead.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("this operator does not lead, so it writes nothing")]
pub struct NotLeading;

/// Held until a moment of the monotonic clock, which runs on while the process is stopped. Not held at first. Cheap to
/// clone; all clones are one.
#[derive(Clone, Debug, Default)]
pub struct Mandate(watch::Sender<Option<Instant>>);

impl Mandate {
    /// Of who needs no lease: a command that is no operator, a test.
    pub fn unlimited() -> Self {
        let mandate = Self::default();
        mandate.hold(Instant::now() + Duration::from_secs(u32::MAX.into()));
        mandate
    }

    /// Is it held now?
    pub fn is_held(&self) -> bool {
        self.0.borrow().is_some_and(|until| Instant::now() < until)
    }

    /// Does `write` while it is held: it is not begun without, and left off at the end. Each step of it asks the clock, since
    /// a timer may come late.
    pub async fn during<T>(&self, write: impl Future<Output = T>) -> Result<T, NotLeading> {
        let (mut ended, mut write) = (pin!(self.ended()), pin!(write));
        poll_fn(|context| {
            if !self.is_held() || ended.as_mut().poll(context).is_ready() {
                return Poll::Ready(Err(NotLeading));
            }
            write.as_mut().poll(context).map(Ok)
        })
        .await
    }

    /// Held until then.
    pub(super) fn hold(&self, until: Instant) {
        self.0.send_replace(Some(until));
    }

    /// Over now.
    pub(super) fn end(&self) {
        self.0.send_replace(None);
    }

    /// Resolves once it is held.
    pub(super) async fn begun(&self) {
        // An error means that nobody can give it any more.
        if self.0.subscribe().wait_for(Option::is_some).await.is_err() {
            pending::<()>().await;
        }
    }

    /// Resolves once it is not held.
    pub(super) async fn ended(&self) {
        let mut changes = self.0.subscribe();
        loop {
            let Some(until) = *changes.borrow_and_update() else { return };
            tokio::select! {
                () = sleep_until(until.into()) => return,
                _ = changes.changed() => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_mins(1);
    const SHORT: Duration = Duration::from_millis(20);

    #[tokio::test]
    async fn nothing_is_begun_without_it_and_what_is_under_way_ends_with_it() {
        let mandate = Mandate::default();
        let begun = std::cell::Cell::new(false);
        let write = || async { begun.set(true) };
        assert!(!mandate.is_held() && mandate.during(write()).await.is_err() && !begun.get());

        mandate.hold(Instant::now() + LONG);
        assert!(mandate.is_held() && mandate.during(write()).await.is_ok() && begun.get());

        mandate.hold(Instant::now() + SHORT);
        assert!(mandate.during(pending::<()>()).await.is_err());
        assert!(!mandate.is_held(), "nobody ended it but the clock");

        begun.set(false);
        mandate.hold(Instant::now());
        assert!(mandate.during(write()).await.is_err() && !begun.get());
    }

    #[tokio::test]
    async fn a_renewal_extends_what_is_under_way_and_an_end_ends_it() {
        let mandate = Mandate::default();
        mandate.hold(Instant::now() + SHORT);
        let renewed = async {
            mandate.hold(Instant::now() + LONG);
            tokio::time::sleep(2 * SHORT).await;
            mandate.end();
        };
        let begun = Instant::now();
        let (write, ()) = tokio::join!(mandate.during(pending::<()>()), renewed);
        assert!(write.is_err() && begun.elapsed() >= 2 * SHORT && begun.elapsed() < LONG);
    }
}
