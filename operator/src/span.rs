//! Spans of time as people write them, such as `30m` or `1h30m`. Pure.

use std::{ops::RangeBounds, time::Duration};

use jiff::SignedDuration;

/// What `text` says, where that is within `bounds`.
pub fn span(text: &str, bounds: impl RangeBounds<Duration>) -> Option<Duration> {
    let span = text.parse::<SignedDuration>().ok().and_then(|span| Duration::try_from(span).ok());
    span.filter(|span| bounds.contains(span))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_written_as_people_write_it_and_within_its_bounds() {
        let (second, hour) = (Duration::from_secs(1), Duration::from_hours(1));
        for (text, wanted) in
            [("1s", Some(1)), ("1m30s", Some(90)), ("1h", Some(3600)), ("60 minutes", Some(3600))]
        {
            assert_eq!(span(text, second..=hour), wanted.map(Duration::from_secs), "{text}");
        }
        for wrong in ["", "2", "soon", "0s", "-5s", "999ms", "1h1s"] {
            assert_eq!(span(wrong, second..=hour), None, "{wrong}");
        }
    }
}
