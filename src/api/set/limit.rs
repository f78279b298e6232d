//! A number of members, or a share of them.

use std::{borrow::Cow, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::Value;

use crate::types::cel::rule;

/// How many members: a number such as `20`, or a share of all such as `"5%"`, rounded down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberLimit {
    /// So many.
    Number(u32),
    /// So many of a hundred.
    Percent(u8),
}

impl MemberLimit {
    /// How many of `total` members that is.
    pub fn of(self, total: u32) -> u32 {
        match self {
            Self::Number(number) => number,
            Self::Percent(percent) => {
                let share = u64::from(total) * u64::from(percent.min(100)) / 100;
                u32::try_from(share).unwrap_or(total)
            }
        }
    }
}

impl Default for MemberLimit {
    fn default() -> Self {
        Self::Number(0)
    }
}

/// A text that is neither a number of members nor a share of them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is neither a number of members such as 20 nor a share such as \"5%\"")]
pub struct NotAMemberLimit(String);

impl FromStr for MemberLimit {
    type Err = NotAMemberLimit;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let not_a_limit = || NotAMemberLimit(text.chars().take(16).collect());
        let number = text.strip_suffix('%').unwrap_or(text);
        if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(not_a_limit());
        }
        let number: u32 = number.parse().map_err(|_| not_a_limit())?;
        if text.ends_with('%') {
            u8::try_from(number).ok().filter(|percent| *percent <= 100).map(Self::Percent).ok_or_else(not_a_limit)
        } else {
            Ok(Self::Number(number))
        }
    }
}

impl fmt::Display for MemberLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

impl Serialize for MemberLimit {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Number(number) => serializer.serialize_u32(*number),
            Self::Percent(_) => serializer.collect_str(self),
        }
    }
}

impl<'de> Deserialize<'de> for MemberLimit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::String(text) => text.parse().map_err(de::Error::custom),
            other => other.to_string().parse().map_err(de::Error::custom),
        }
    }
}

impl JsonSchema for MemberLimit {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "MemberLimit".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "x-kubernetes-int-or-string": true,
            "maxLength": 4,
            "x-kubernetes-validations": [rule(
                "type(self) == int ? self >= 0 : self.matches('^(100|[0-9]{1,2})%$')",
                "must be a number of members such as 20, or a share such as \"5%\"",
            )],
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_share_is_rounded_down() {
        for (limit, total, members) in
            [(json!(20), 5, 20), (json!("5%"), 199, 9), (json!("0%"), 100, 0), (json!("100%"), 10_000, 10_000)]
        {
            let limit: MemberLimit = serde_json::from_value(limit).expect("a limit");
            assert_eq!(limit.of(total), members, "{limit} of {total}");
        }
    }

    #[test]
    fn a_limit_is_written_as_it_was_read_and_nothing_else_is_read() {
        for limit in [json!(0), json!(100), json!("5%"), json!("100%")] {
            let read: MemberLimit = serde_json::from_value(limit.clone()).expect("a limit");
            assert_eq!(serde_json::to_value(read).expect("JSON"), limit);
        }
        for limit in [json!(-1), json!("101%"), json!("-5%"), json!("%"), json!(""), json!("1.5%"), json!(null)] {
            assert!(serde_json::from_value::<MemberLimit>(limit.clone()).is_err(), "{limit}");
        }
    }
}
