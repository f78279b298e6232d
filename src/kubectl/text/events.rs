//! The events of a task and its pods.

use jiff::Timestamp;
use serde::Serialize;

use super::{
    style::{DIM, PLAIN, WARNING},
    table::{Cell, table},
    time::ago,
};

/// An event as it is told.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::kubectl) struct Told {
    /// When it happened last.
    pub(in crate::kubectl) time: Timestamp,
    /// How often.
    pub(in crate::kubectl) count: i32,
    /// Normal or Warning.
    #[serde(rename = "type")]
    pub(in crate::kubectl) type_: String,
    /// What happened, in one word.
    pub(in crate::kubectl) reason: String,
    /// The object that it is about, such as pod/import-3.
    pub(in crate::kubectl) object: String,
    /// What happened, for people.
    pub(in crate::kubectl) message: String,
}

/// A table of events, the oldest first.
pub(in crate::kubectl) fn events(told: &[Told], now: Timestamp) -> String {
    let rows = told.iter().map(|event| {
        let style = if event.type_ == "Warning" { WARNING } else { PLAIN };
        let times = if event.count > 1 { format!(" (x{})", event.count) } else { String::new() };
        [
            Cell::styled(ago(event.time, now) + &times, DIM),
            Cell::styled(&*event.type_, style),
            Cell::styled(&*event.reason, style),
            Cell::from(&*event.object),
            // A message of several lines would break the table.
            Cell::from(event.message.split_whitespace().collect::<Vec<_>>().join(" ")),
        ]
    });
    table(["SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"], rows.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_one_a_line_with_how_often_they_were_seen() {
        let at = |second: i64| Timestamp::from_second(second).expect("in range");
        let told = |second, count, type_: &str, message: &str| Told {
            time: at(second),
            count,
            type_: type_.to_owned(),
            reason: "Pulled".to_owned(),
            object: "pod/a-1".to_owned(),
            message: message.to_owned(),
        };
        let text = events(&[told(10, 1, "Normal", "one\n two"), told(70, 3, "Warning", "three")], at(100));
        let expected = "\
SEEN          TYPE     REASON  OBJECT   MESSAGE
90s ago       Normal   Pulled  pod/a-1  one two
30s ago (x3)  Warning  Pulled  pod/a-1  three
";
        assert_eq!(anstream::adapter::strip_str(&text).to_string(), expected);
    }
}
