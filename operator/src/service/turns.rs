//! IO: gives each key its turns, at its moments and never two at a time.

use std::{
    fmt::Debug,
    hash::Hash,
    panic::AssertUnwindSafe,
    time::{Duration, Instant},
};

use futures::FutureExt;
use tokio::{sync::mpsc, task::JoinSet};

use super::schedule::Schedule;

/// After a panic, which is a defect of ours.
const AFTER_PANIC: Duration = Duration::from_mins(1);

/// Runs `turn`, which says when the next one is to come, of every key that is asked for, `most` at a time, until `shutdown`
/// resolves. Turns under way are then given up: they change nothing in the cluster.
pub(super) async fn run<K, F>(
    most: usize,
    mut asks: mpsc::UnboundedReceiver<(K, Duration)>,
    turn: impl Fn(K) -> F,
    shutdown: impl Future<Output = ()> + Send,
) where
    K: Clone + Debug + Eq + Hash + Send + 'static,
    F: Future<Output = Option<Duration>> + Send + 'static,
{
    let mut schedule = Schedule::<K>::default();
    let mut turns: JoinSet<(K, Option<Duration>)> = JoinSet::new();
    tokio::pin!(shutdown);
    loop {
        while turns.len() < most {
            let Some(key) = schedule.take(Instant::now()) else { break };
            let turn = AssertUnwindSafe(turn(key.clone())).catch_unwind();
            turns.spawn(async move {
                let next = turn.await.unwrap_or_else(|_| {
                    tracing::error!(?key, "a turn panicked; please report this");
                    Some(AFTER_PANIC)
                });
                (key, next)
            });
        }
        let next = schedule.next().filter(|_| turns.len() < most).map(tokio::time::Instant::from_std);
        tokio::select! {
            () = &mut shutdown => return,
            Some((key, pause)) = asks.recv() => schedule.ask(key, Instant::now() + pause),
            Some(ended) = turns.join_next() => if let Ok((key, pause)) = ended {
                let now = Instant::now();
                schedule.done(key, now, pause.map(|pause| now + pause));
            },
            () = tokio::time::sleep_until(next.unwrap_or_else(tokio::time::Instant::now)), if next.is_some() => {}
        }
    }
}
