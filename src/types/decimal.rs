//! Decimal factors as users write them: `2` or `"1.5"`.

use std::{borrow::Cow, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::Value;

use super::cel::rule;

/// A factor from 1 to 10 with up to three decimals, written as an integer or a string (`2`, `"1.5"`).
///
/// Not a float: the API conventions advise against them, since they do not survive a round trip in every language.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Decimal {
    thousandths: u16,
}

impl Decimal {
    /// A whole factor; below 1 it counts as 1, above 10 as 10.
    pub const fn whole(units: u16) -> Self {
        let units = if units < 1 {
            1
        } else if units > 10 {
            10
        } else {
            units
        };
        Self { thousandths: units * 1000 }
    }

    /// The factor in thousandths.
    pub(crate) fn thousandths(self) -> u16 {
        self.thousandths
    }

    /// The factor as a number to multiply with.
    pub fn as_f64(self) -> f64 {
        f64::from(self.thousandths) / 1000.0
    }
}

/// A text that is not a factor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a factor: write a number from 1 to 10 with up to three decimals, such as 2 or \"1.5\"")]
pub struct NotADecimal(String);

impl FromStr for Decimal {
    type Err = NotADecimal;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let not_a_decimal = || NotADecimal(text.chars().take(16).collect());
        let is_number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        let (units, decimals) = text.split_once('.').unwrap_or((text, "0"));
        if !is_number(units) || !is_number(decimals) || units.len() > 2 || decimals.len() > 3 {
            return Err(not_a_decimal());
        }
        let thousandths = format!("{units}{decimals:0<3}").parse().map_err(|_| not_a_decimal())?;
        if (1000..=10_000).contains(&thousandths) { Ok(Self { thousandths }) } else { Err(not_a_decimal()) }
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.thousandths / 1000, self.thousandths % 1000) {
            (units, 0) => write!(f, "{units}"),
            (units, decimals) => write!(f, "{units}.{}", format!("{decimals:03}").trim_end_matches('0')),
        }
    }
}

impl Serialize for Decimal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.thousandths % 1000 {
            0 => serializer.serialize_u16(self.thousandths / 1000),
            _ => serializer.serialize_str(&self.to_string()),
        }
    }
}

impl<'de> Deserialize<'de> for Decimal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Number(u64),
            Text(String),
        }
        let text = match Written::deserialize(deserializer)? {
            Written::Number(number) => number.to_string(),
            Written::Text(text) => text,
        };
        text.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for Decimal {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Decimal".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "x-kubernetes-int-or-string": true, "maxLength": 6 })
    }
}

/// The rule of a factor field.
pub(crate) fn factor_from_1_to_10() -> Value {
    rule(
        "type(self) == int ? self >= 1 && self <= 10 \
         : self.matches('^([1-9]([.][0-9]{1,3})?|10([.]0{1,3})?)$')",
        "must be a number from 1 to 10 with up to three decimals: write 2 or \"1.5\"",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factors_survive_a_round_trip() {
        for (json, factor) in [("2", 2.0), ("\"1.5\"", 1.5), ("10", 10.0), ("\"1.025\"", 1.025)] {
            let decimal: Decimal = serde_json::from_str(json).expect(json);
            assert!((decimal.as_f64() - factor).abs() < 1e-9, "{json}");
            assert_eq!(serde_json::to_string(&decimal).expect("serializes"), json);
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for json in
            ["0", "11", "\"0.9\"", "\"10.1\"", "\"-2\"", "1.5", "\"1e1\"", "\"\"", "\".5\"", "\"1.2345\"", "null"]
        {
            assert!(serde_json::from_str::<Decimal>(json).is_err(), "{json}");
        }
    }
}
