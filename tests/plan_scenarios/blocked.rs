//! What keeps the next pod from starting is shown until one starts, once for each cause.

use crate::support::{Given, Planned, given, pod};

/// An attempt that could not be started, for this reason of the container's.
fn could_not_start(given: Given, number: i64, reason: &str) -> Planned {
    given.creating(number).only(pod(number).start_error(reason)).at("10:00:03")
}

fn blocked(planned: &Planned) -> (String, String, String) {
    let conditions = planned.status().conditions;
    let blocked = conditions.into_iter().find(|condition| condition.type_ == "Blocked").expect("it is shown");
    (blocked.status, blocked.reason, blocked.message)
}

#[test]
fn why_the_last_start_failed_is_shown_with_the_clusters_words_and_a_remedy() {
    let planned = could_not_start(given(), 1, "StartError");
    let (status, reason, message) = blocked(&planned);
    assert_eq!((status.as_str(), reason.as_str()), ("True", "StartError"));
    assert_eq!(message, "exec: no such file. What to do: check the command in spec.template and the image");
}

#[test]
fn another_cause_takes_the_place_of_the_one_shown_and_the_same_one_does_not() {
    let first = could_not_start(given(), 1, "StartError").then();
    let same = first.clone().creating(2).only(pod(2).start_error("StartError").merged(serde_json::json!({
        "status": { "containerStatuses": [{
            "name": "main", "image": "i", "imageID": "", "ready": false, "restartCount": 0,
            "state": { "terminated": { "exitCode": 128, "reason": "StartError", "message": "other figures" } },
        }] },
    })));
    assert_eq!(
        blocked(&same.at("10:00:03")).2,
        "exec: no such file. What to do: check the command in spec.template and the image"
    );
    let other = could_not_start(first, 2, "CreateContainerError");
    assert_eq!(blocked(&other).1, "CreateContainerError");
}

#[test]
fn an_image_that_cannot_be_pulled_is_one_trouble_by_whatever_name() {
    let pulling = |reason: &str| pod(1).scheduled("10:00:01").waiting(reason, "not found");
    let first = given().creating(1).pod(pulling("ErrImagePull")).at("10:00:05");
    let later = first.then().only(pulling("ImagePullBackOff")).at("10:00:15");
    assert!(later.plan.events.is_empty() && later.plan.status.is_none(), "{:?}", later.plan);
    let other = later.then().only(pulling("InvalidImageName")).at("10:00:25");
    other.expect_containing(&["Blocked True InvalidImageName", "Warning Blocked"]);
    // A pod that waited to pull from the start is told by that name.
    let backing_off = given().creating(1).pod(pulling("ImagePullBackOff")).at("10:00:05");
    backing_off.then().only(pulling("ErrImagePull")).at("10:00:15").expect_containing(&["Blocked True ErrImagePull"]);
}

#[test]
fn why_an_earlier_attempt_did_not_start_is_shown_until_one_does() {
    let failed = could_not_start(given(), 1, "StartError").then();
    let next = failed.at("10:01:00").then().only(pod(2).scheduled("10:00:31"));
    let starting = next.clone().at("10:00:40").expect_without(&["Blocked", "phase", "Normal"]).then();
    let long = next.at("10:01:01").expect_containing(&["phase Pending ContainerCreating"]);
    assert_eq!(
        blocked(&long.expect_without(&["Blocked", "Normal"])).1,
        "StartError",
        "what is in progress hides nothing"
    );
    starting.only(pod(2).runs("10:01:02")).at("10:01:02").expect_containing(&["Blocked False", "phase Running"]);
}
