//! How large a status gets.

use serde_json::json;

use crate::support::{given, waiting};

#[test]
fn a_status_of_a_thousand_places_stays_within_its_bounds() {
    let bytes = |places: usize| {
        let mut given = given(json!({ "maxActive": places, "allowedNamespaces": ["*"] }));
        for number in 0..places {
            given = given.task(waiting(&format!("a-namespace/a-task-of-some-name-{number:05}")));
        }
        let status = given.at("10:00:00").status.expect("a status");
        assert_eq!(status.holders.len(), places);
        serde_json::to_vec(&status).expect("JSON").len()
    };
    assert!(bytes(50) < 6 * 1024, "{} bytes", bytes(50));
    assert!(bytes(1000) < 100 * 1024, "{} bytes", bytes(1000));
}
