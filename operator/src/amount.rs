//! Amounts of CPU and memory that people write without meaning them, such as 64 bytes. Pure.

use crate::api::{Quantity, quantity};

/// The least memory of a container, in MiB. CRI-O starts none with less than 12 MiB (its `minMemoryLimit`), and no engine lives of
/// that; less is always a forgotten unit.
pub const LEAST_MEMORY: i128 = 16;
/// From so many cores on, one instance is not meant to have them: thousandths were. Few nodes have as many.
pub const MOST_CORES: i128 = 100;

/// Why a container, or the quota of several, cannot have this much memory.
pub fn memory_problem(asked: &Quantity) -> Option<String> {
    let Some(millis) = above_zero(asked) else {
        return Some(format!("{:?} is no amount above zero: write it like 512Mi or 16Gi", asked.0));
    };
    let least = LEAST_MEMORY * (1000 << 20);
    if millis >= least {
        return None;
    }
    let (number, unit) = split(asked);
    if ["", "m", "k", "Ki"].contains(&unit) {
        let is =
            if millis < 1000 { "less than a byte".to_owned() } else { format!("{} bytes", millis / 1000) };
        return Some(format!("{} is {is}; did you mean {number}Mi?", asked.0));
    }
    Some(format!("{} is less than {LEAST_MEMORY}Mi, with which no container starts: ask for more", asked.0))
}

/// Why nobody can have this much CPU.
pub fn cpu_problem(asked: &Quantity) -> Option<String> {
    let is_none = above_zero(asked).is_none();
    is_none.then(|| format!("{:?} is no amount above zero: write it like 250m or 2", asked.0))
}

/// Why one instance cannot have this much CPU.
pub fn instance_cpu_problem(asked: &Quantity) -> Option<String> {
    let Some(millis) = above_zero(asked).filter(|millis| *millis >= MOST_CORES * 1000) else {
        return cpu_problem(asked);
    };
    let meant = thousandths(asked).map(|meant| format!("did you mean {meant}?"));
    let meant = meant.unwrap_or_else(|| "write it like 250m or 2".to_owned());
    Some(format!("{} is {} cores; {meant}", asked.0, quantity::number(millis)))
}

/// What was probably meant by so many whole cores.
pub fn thousandths(asked: &Quantity) -> Option<String> {
    let (number, unit) = split(asked);
    let is_much = asked.millis().is_some_and(|millis| millis >= MOST_CORES * 1000);
    (is_much && unit.is_empty()).then(|| format!("{number}m"))
}

fn above_zero(asked: &Quantity) -> Option<i128> {
    asked.millis().filter(|millis| *millis > 0)
}

fn split(asked: &Quantity) -> (&str, &str) {
    asked.0.split_at(asked.0.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(asked.0.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forgotten_unit_is_told_with_the_one_that_was_meant() {
        let memory = |text: &str| memory_problem(&Quantity(text.to_owned()));
        for (text, told) in [
            ("64", "64 is 64 bytes; did you mean 64Mi?"),
            ("512m", "512m is less than a byte; did you mean 512Mi?"),
            ("512k", "512k is 512000 bytes; did you mean 512Mi?"),
            ("8Mi", "8Mi is less than 16Mi, with which no container starts: ask for more"),
            ("0", "\"0\" is no amount above zero: write it like 512Mi or 16Gi"),
            ("lots", "\"lots\" is no amount above zero: write it like 512Mi or 16Gi"),
        ] {
            assert_eq!(memory(text).as_deref(), Some(told));
        }
        for fine in ["16Mi", "17M", "16777216", "64Gi", "0.5Gi"] {
            assert_eq!(memory(fine), None, "{fine}");
        }
    }

    #[test]
    fn more_cores_than_a_node_has_are_thousandths() {
        let cpu = |text: &str| instance_cpu_problem(&Quantity(text.to_owned()));
        assert_eq!(cpu("250").as_deref(), Some("250 is 250 cores; did you mean 250m?"));
        assert_eq!(cpu("1Ki").as_deref(), Some("1Ki is 1024 cores; write it like 250m or 2"));
        assert_eq!(cpu("0").as_deref(), Some("\"0\" is no amount above zero: write it like 250m or 2"));
        for fine in ["1m", "250m", "99.5", "8"] {
            assert_eq!(cpu(fine), None, "{fine}");
        }
    }
}
