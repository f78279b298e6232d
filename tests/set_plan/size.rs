//! How large a status gets.

use longtask::{
    api::set::{LongTaskSetStatus, MemberFailure, Members},
    set::plan::MemberPhase,
    types::Ranges,
};
use serde_json::json;

use crate::support::given;

#[test]
fn a_status_of_ten_thousand_stays_within_its_bounds() {
    let bytes = |status: &LongTaskSetStatus| serde_json::to_vec(status).expect("JSON").len();
    let at_work =
        given(10_000).spec(json!({ "maxParallel": 1000 })).lists(5000, "0-3999", "", "").all(MemberPhase::UnderWay, 1);
    let mut status = at_work.at("10:00:00").status();
    // A thousand that run between those that are done, and as many messages as there can be.
    let scattered: Ranges = (0..2000).filter(|index| index % 2 == 0).collect();
    status.succeeded = Members::from(Ranges::below(5000).without(&scattered));
    status.last_failure =
        Some(MemberFailure { index: 9, task: "s".repeat(52), reason: "r".repeat(40), message: "m".repeat(256) });
    assert!(bytes(&status) < 8 * 1024, "{} bytes", bytes(&status));
}
