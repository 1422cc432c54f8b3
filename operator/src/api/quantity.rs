//! A Kubernetes quantity as a user writes it: `8`, `"250m"`, `16Gi`.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize};

/// CPU or memory. Numbers and strings are both accepted, as Kubernetes does; compared by value, not by spelling.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Quantity(pub String);

const PATTERN: &str = r"^[0-9]+(\.[0-9]+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?$";

impl Quantity {
    /// In thousandths of the unit (millicores, millibytes); `None` where it is not a quantity or is too large.
    ///
    /// ```
    /// # use imaas_operator::api::Quantity;
    /// assert_eq!(Quantity("1.5".into()).millis(), Quantity("1500m".into()).millis());
    /// assert_eq!(Quantity("1Ki".into()).millis(), Some(1_024_000));
    /// ```
    pub fn millis(&self) -> Option<i128> {
        let digits = self.0.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(self.0.len());
        let (number, unit) = self.0.split_at(digits);
        let scale: i128 = match unit {
            "m" => 1,
            "" => 1_000,
            "k" => 1_000_000,
            "M" => 1_000_000_000,
            "G" => 1_000_000_000_000,
            "T" => 1_000_000_000_000_000,
            "Ki" => 1_000 << 10,
            "Mi" => 1_000 << 20,
            "Gi" => 1_000 << 30,
            "Ti" => 1_000 << 40,
            _ => return None,
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let is_digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
        if whole.is_empty()
            || whole.len() > 15
            || fraction.len() > 9
            || !is_digits(whole)
            || !is_digits(fraction)
        {
            return None;
        }
        let denominator = 10_i128.pow(u32::try_from(fraction.len()).ok()?);
        let numerator = whole.parse::<i128>().ok()? * denominator
            + if fraction.is_empty() { 0 } else { fraction.parse::<i128>().ok()? };
        // Rounded up, as Kubernetes does with what is finer than a thousandth.
        Some((numerator * scale + denominator - 1) / denominator)
    }
}

/// Thousandths as one would write them: `2`, `250m`.
pub fn number(millis: i128) -> String {
    if millis % 1000 == 0 { (millis / 1000).to_string() } else { format!("{millis}m") }
}

/// Thousandths of bytes in the largest unit that divides them: `9Gi`.
pub fn bytes(millis: i128) -> String {
    let units = [("Ti", 40), ("Gi", 30), ("Mi", 20), ("Ki", 10)];
    let fits = units.into_iter().find(|(_, power)| millis % (1000_i128 << power) == 0);
    fits.map_or_else(|| number(millis), |(unit, power)| format!("{}{unit}", millis / (1000_i128 << power)))
}

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Wire {
            Integer(u64),
            Float(f64),
            Text(String),
        }
        Ok(Self(match Wire::deserialize(deserializer)? {
            Wire::Integer(number) => number.to_string(),
            Wire::Float(number) => number.to_string(),
            Wire::Text(text) => text,
        }))
    }
}

impl JsonSchema for Quantity {
    fn schema_name() -> Cow<'static, str> {
        "Quantity".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "x-kubernetes-int-or-string": true,
            "anyOf": [{ "type": "integer" }, { "type": "string" }],
            "pattern": PATTERN,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn millis(text: &str) -> Option<i128> {
        Quantity(text.into()).millis()
    }

    #[test]
    fn is_compared_by_value() {
        assert_eq!(millis("0.25"), Some(250));
        assert_eq!(millis("250m"), Some(250));
        assert_eq!(millis("1024Mi"), millis("1Gi"));
        assert_eq!(millis("0.0001"), Some(1));
    }

    #[test]
    fn sums_are_written_as_one_would() {
        let shown = |text: &str| (number(millis(text).unwrap()), bytes(millis(text).unwrap()));
        assert_eq!((shown("2").0, shown("0.25").0), ("2".into(), "250m".into()));
        assert_eq!((shown("3072Mi").1, shown("1500M").1), ("3Gi".into(), "1500000000".into()));
    }

    #[test]
    fn nonsense_is_not_a_quantity() {
        for bad in ["", "m", "-1", "1e9", "1.2.3", "9999999999999999999", "1 Gi", "Gi"] {
            assert_eq!(millis(bad), None, "{bad}");
        }
    }

    #[test]
    fn numbers_and_strings_are_both_read() {
        let numbers: Vec<Quantity> = serde_json::from_str("[8, 0.5, \"16Gi\"]").unwrap();
        assert_eq!(numbers, [Quantity("8".into()), Quantity("0.5".into()), Quantity("16Gi".into())]);
    }
}
