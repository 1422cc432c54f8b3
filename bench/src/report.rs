//! Figures → what is printed. Pure.

use std::{fmt, time::Duration};

use crate::{audit::Requests, bare::Lane, onboarding::Options};

/// What one run measured.
#[derive(Debug)]
pub struct Report {
    /// What was asked for.
    pub(crate) options: Options,
    /// Machine and programs.
    pub(crate) conditions: String,
    /// The bare client before the operator, and after it.
    pub(crate) bare: [Lane; 2],
    /// From the end of the push to the last Tenant that an independent watcher saw Ready.
    pub(crate) took: Duration,
    /// Tenants that were Ready then.
    pub tenants: usize,
    /// Of the operator, from the push until it was quiet.
    pub first: Requests,
    /// Of the operator, from its restart until it was quiet.
    pub second: Requests,
    /// From the restart to its last request.
    pub(crate) caught_up: Duration,
    /// Most resident memory: the operator in the first pass, in the second, the API server.
    pub(crate) memory: [u64; 3],
}

/// Objects a second.
#[expect(clippy::cast_precision_loss, reason = "counts of objects")]
pub(crate) fn rate(objects: u64, took: Duration) -> f64 {
    objects as f64 / took.as_secs_f64().max(0.001)
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            options,
            conditions,
            bare: [before, after],
            took,
            tenants,
            first,
            second,
            caught_up,
            memory,
        } = self;
        let floor = rate(before.objects + after.objects, before.took + after.took);
        let own = rate(first.created, *took);
        writeln!(f, "{tenants} tenants with {} services each, from one commit", options.services)?;
        writeln!(f, "{conditions}\n")?;
        let line = |f: &mut fmt::Formatter<'_>, who: &str, objects: u64, took: &Duration, rate: f64| {
            writeln!(
                f,
                "{who:<28} {objects:>7} objects  {:>7.1} s  {rate:>6.0} objects/s",
                took.as_secs_f64()
            )
        };
        line(f, "bare client, before", before.objects, &before.took, before.rate())?;
        line(f, "operator, push to all Ready", first.created, took, own)?;
        line(f, "bare client, after", after.objects, &after.took, after.rate())?;
        writeln!(f, "share of the bare client's rate {:.0} %\n", 100.0 * own / floor)?;
        writeln!(
            f,
            "first pass: {:.3} requests per created object ({} for {}), from the audit log:",
            first.per_object(),
            first.all,
            first.created
        )?;
        kinds(f, first)?;
        writeln!(
            f,
            "\nsecond pass, after a restart: {} writes, {} reads, caught up after {:.1} s:",
            second.writes,
            second.reads,
            caught_up.as_secs_f64()
        )?;
        kinds(f, second)?;
        let [one, two, server] = memory.map(|bytes| bytes / 1_000_000);
        write!(
            f,
            "\nmost resident memory: operator {one} MB, after its restart {two} MB; API server {server} MB"
        )
    }
}

fn kinds(f: &mut fmt::Formatter<'_>, requests: &Requests) -> fmt::Result {
    let mut kinds: Vec<_> = requests.kinds.iter().collect();
    kinds.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    for (kind, count) in kinds {
        writeln!(f, "  {count:>7}  {kind}")?;
    }
    Ok(())
}
