//! Amounts of memory as users write them: `512Mi`, `16Gi`, `1073741824`.

use std::{borrow::Cow, fmt, str::FromStr};

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::Value;

use super::{Decimal, cel::rule};

/// An amount of memory in bytes, written as a Kubernetes quantity: `512Mi`, `16Gi`, `2G`.
///
/// The quantities that users write elsewhere in a pod are read as well, fractions (`1.5Gi`) and exponents (`1e9`)
/// included; a part of a byte counts as one, as the kubelet has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MemorySize(i64);

/// Suffixes with what they stand for, the largest first.
const SUFFIXES: [(&str, i64); 12] = [
    ("Ei", 1 << 60),
    ("E", 1_000_000_000_000_000_000),
    ("Pi", 1 << 50),
    ("P", 1_000_000_000_000_000),
    ("Ti", 1 << 40),
    ("T", 1_000_000_000_000),
    ("Gi", 1 << 30),
    ("G", 1_000_000_000),
    ("Mi", 1 << 20),
    ("M", 1_000_000),
    ("Ki", 1 << 10),
    ("k", 1_000),
];

impl MemorySize {
    /// The amount times a factor, at most the largest amount that a quantity can hold.
    #[must_use]
    pub fn times(self, factor: Decimal) -> Self {
        let product = i128::from(self.0) * i128::from(factor.thousandths());
        Self(i64::try_from(product.div_euclid(1000) + i128::from(product % 1000 > 0)).unwrap_or(i64::MAX))
    }
}

/// A text that is not an amount of memory.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an amount of memory: write a whole number with Ki, Mi, Gi or Ti, such as 512Mi or 16Gi")]
pub struct NotAMemorySize(String);

impl FromStr for MemorySize {
    type Err = NotAMemorySize;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        bytes(text).map(Self).ok_or_else(|| NotAMemorySize(text.chars().take(32).collect()))
    }
}

/// The bytes of a quantity; none when it is no quantity, not positive, or too large.
fn bytes(text: &str) -> Option<i64> {
    let (number, scale) = match SUFFIXES.iter().find_map(|(suffix, scale)| Some((text.strip_suffix(suffix)?, *scale))) {
        Some((number, scale)) => (number, i128::from(scale)),
        // 1e9 and 1E9; the suffix E was asked for above, and stands at the end.
        None => match text.split_once(['e', 'E']) {
            Some((number, exponent)) => (number, 10_i128.checked_pow(exponent.parse().ok()?)?),
            None => (text, 1),
        },
    };
    let (whole, decimals) = number.split_once('.').unwrap_or((number, ""));
    let is_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if !is_digits(whole) || !is_digits(decimals) || decimals.len() > 9 {
        return None;
    }
    let numerator = format!("{whole}{decimals}").parse::<i128>().ok()?.checked_mul(scale)?;
    let denominator = 10_i128.pow(u32::try_from(decimals.len()).ok()?);
    let rounded_up = numerator / denominator + i128::from(numerator % denominator > 0);
    i64::try_from(rounded_up).ok().filter(|bytes| *bytes > 0)
}

impl TryFrom<&Quantity> for MemorySize {
    type Error = NotAMemorySize;

    fn try_from(quantity: &Quantity) -> Result<Self, Self::Error> {
        quantity.0.parse()
    }
}

impl From<MemorySize> for Quantity {
    fn from(size: MemorySize) -> Self {
        Self(size.to_string())
    }
}

impl fmt::Display for MemorySize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match SUFFIXES.iter().find(|(_, scale)| self.0 % scale == 0) {
            Some((suffix, scale)) => write!(f, "{}{suffix}", self.0 / scale),
            None => self.0.fmt(f),
        }
    }
}

impl Serialize for MemorySize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for MemorySize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::String(text) => text.parse().map_err(de::Error::custom),
            Value::Number(number) => number.to_string().parse().map_err(de::Error::custom),
            other => Err(de::Error::custom(NotAMemorySize(other.to_string()))),
        }
    }
}

impl JsonSchema for MemorySize {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "MemorySize".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "x-kubernetes-int-or-string": true,
            "maxLength": 16,
            "x-kubernetes-validations": [rule(
                "type(self) == int ? self > 0 : self.matches('^[1-9][0-9]{0,8}([KMGT]i|[kMGT])?$')",
                "must be a whole amount of memory: write 512Mi or 16Gi",
            )],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size(text: &str) -> MemorySize {
        text.parse().expect(text)
    }

    #[test]
    fn every_form_of_a_quantity_is_read() {
        for (text, bytes) in [
            ("1", 1),
            ("512Mi", 512 << 20),
            ("2G", 2_000_000_000),
            ("1.5Gi", 3 << 29),
            ("0.0001k", 1),
            ("1e3", 1000),
            ("2E6", 2_000_000),
            ("1E", 1_000_000_000_000_000_000),
            ("7Ei", 7 << 60),
        ] {
            assert_eq!(size(text), MemorySize(bytes), "{text}");
        }
    }

    #[test]
    fn what_is_no_amount_is_refused() {
        for text in ["", "0", "-1", "1.2.3", "Mi", "1Mb", "8Ei", "9e99", "1e", "a", "1.0000000001", " 1", "1e-3"] {
            assert!(text.parse::<MemorySize>().is_err(), "{text:?}");
        }
        assert!(serde_json::from_str::<MemorySize>("null").is_err());
        assert!(serde_json::from_str::<MemorySize>("1.5").is_ok_and(|size| size == MemorySize(2)));
    }

    #[test]
    fn an_amount_is_written_with_the_largest_suffix_that_keeps_it_whole() {
        for (given, shown) in [
            ("1024Mi", "1Gi"),
            ("1536Mi", "1536Mi"),
            ("16000M", "16G"),
            ("1000", "1k"),
            ("1025", "1025"),
            ("1.5Gi", "1536Mi"),
        ] {
            assert_eq!(size(given).to_string(), shown);
        }
    }

    #[test]
    fn an_amount_grows_by_its_factor_and_never_past_the_largest_one() {
        let factor = |text: &str| text.parse::<Decimal>().expect("a factor");
        assert_eq!(size("100Mi").times(factor("2")).to_string(), "200Mi");
        assert_eq!(size("100M").times(factor("1.5")).to_string(), "150M");
        assert_eq!(size("3").times(factor("1.001")), MemorySize(4), "a part of a byte counts as one");
        assert_eq!(size("7Ei").times(factor("10")), MemorySize(i64::MAX));
    }
}
