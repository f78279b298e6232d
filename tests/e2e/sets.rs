//! Sets: many tasks of one template, and what users do with them.

use std::{collections::BTreeMap, env, time::Duration};

use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, ResourceExt,
    api::{ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams},
};
use longtask::api::{
    set::{LongTaskSet, LongTaskSetStatus, SetPhase},
    task::{LongTask, LongTaskStatus, Phase},
    template::LongTaskTemplate,
};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::support::{Change, Lab, manifest, story};

/// A machine that also compiles is slower.
const PATIENCE: u32 = 3;

/// A template of the program with these arguments.
pub(super) fn template(name: &str, arguments: &[&str]) -> Value {
    let task = manifest(name, arguments);
    json!({
        "apiVersion": "longtask.dev/v1alpha1", "kind": "LongTaskTemplate", "metadata": { "name": name }, "spec": task["spec"],
    })
}

pub(super) fn set(name: &str, spec: &Value) -> Value {
    json!({ "apiVersion": "longtask.dev/v1alpha1", "kind": "LongTaskSet", "metadata": { "name": name }, "spec": spec })
}

pub(super) async fn create<K: kube::Resource<DynamicType = ()>>(lab: &Lab, manifest: Value) {
    let api: Api<DynamicObject> =
        Api::namespaced_with(lab.client.clone(), &lab.namespace, &ApiResource::erase::<K>(&()));
    let object: DynamicObject = serde_json::from_value(manifest).expect("an object");
    api.create(&PostParams::default(), &object).await.expect("the API server takes the manifest");
}

pub(super) async fn change(lab: &Lab, name: &str, spec: Value) {
    let patch = Patch::Merge(json!({ "spec": spec }));
    lab.api::<LongTaskSet>()
        .patch(name, &PatchParams::default(), &patch)
        .await
        .expect("the API server takes the change");
}

/// Gives a template the definition of another one.
async fn mend(lab: &Lab, name: &str, mended: &Value) {
    let patch = Patch::Merge(json!({ "spec": mended["spec"] }));
    let templates = lab.api::<LongTaskTemplate>();
    templates.patch(name, &PatchParams::default(), &patch).await.expect("the template is mended");
}

/// Waits until the status of a set is as described.
async fn until(
    lab: &Lab,
    name: &str,
    what: &str,
    seconds: u64,
    is_so: impl Fn(&LongTaskSetStatus) -> bool,
) -> LongTaskSetStatus {
    let deadline = Instant::now() + Duration::from_secs(seconds) * PATIENCE;
    loop {
        let status = lab.api::<LongTaskSet>().get(name).await.expect("the set").status.unwrap_or_default();
        if is_so(&status) {
            return status;
        }
        assert!(Instant::now() < deadline, "set {name}: waited in vain until {what}: {status:#?}");
        sleep(Duration::from_millis(200)).await;
    }
}

pub(super) async fn ends_as(lab: &Lab, name: &str, phase: SetPhase, seconds: u64) -> LongTaskSetStatus {
    let status =
        until(lab, name, "it has ended", seconds, |status| status.phase.is_some_and(SetPhase::is_terminal)).await;
    assert_eq!(status.phase, Some(phase), "{status:#?}");
    status
}

/// The members that are there, by name.
async fn members(lab: &Lab, set: &str) -> BTreeMap<String, LongTask> {
    let params = ListParams::default().labels(&format!("longtask.dev/set={set}"));
    let all = lab.api::<LongTask>().list(&params).await.expect("list the members");
    all.into_iter().map(|task| (task.name_any(), task)).collect()
}

fn status_of(task: &LongTask) -> LongTaskStatus {
    task.status.clone().unwrap_or_default()
}

/// The number of its last attempt, over all its runs.
fn last_attempt(task: &LongTask) -> i64 {
    status_of(task).current_attempt.map_or(0, |attempt| attempt.number)
}

async fn pods(lab: &Lab) -> usize {
    lab.api::<Pod>().list(&ListParams::default()).await.expect("list pods").items.len()
}

#[tokio::test]
async fn those_that_failed_go_on_from_their_checkpoints_on_the_mended_template() {
    story(async |lab| {
        let broken = template("work", &["--steps=4", "--step-time=100ms", "run=1 step=2: exit 1"]);
        let once = json!({ "spec": { "retry": { "budgets": { "failures": 0 } } } });
        create::<LongTaskTemplate>(lab, broken.and(once)).await;
        let spec = json!({ "templateRef": { "name": "work" }, "count": 4, "maxParallel": 2, "taskHistoryLimit": 100 });
        create::<LongTaskSet>(lab, set("mended", &spec)).await;
        let failed = ends_as(lab, "mended", SetPhase::Failed, 90).await;
        assert_eq!((failed.reason.as_str(), failed.failed.count), ("MembersFailed", 4));
        let before = pods(lab).await;

        let mended = template("work", &["--steps=4", "--step-time=100ms"]);
        mend(lab, "work", &mended).await;
        change(lab, "mended", json!({ "restart": { "token": "again", "renew": true } })).await;
        until(lab, "mended", "the second round begins", 30, |status| status.round.number == 2).await;
        let done = ends_as(lab, "mended", SetPhase::Succeeded, 90).await;
        assert_eq!((done.round.number, done.succeeded.count), (2, 4));
        assert_eq!(pods(lab).await, before + 4, "one more pod each");
        for (name, task) in members(lab, "mended").await {
            let status = status_of(&task);
            assert_eq!((status.run.number, status.run.round, status.phase), (2, 2, Some(Phase::Succeeded)), "{name}");
            assert!(status.checkpoint_sequence > 1, "{name} went on from its checkpoint");
        }
    })
    .await;
}

#[tokio::test]
async fn one_bad_item_of_many_fails_the_set_before_the_first_pod() {
    story(async |lab| {
        let schema = json!({ "spec": { "inputSchema": { "required": ["file"] } } });
        create::<LongTaskTemplate>(lab, template("typed", &["--steps=1"]).and(schema)).await;
        let items: Vec<_> =
            (0..200).map(|n| if n == 137 { json!({ "fil": n }) } else { json!({ "file": n }) }).collect();
        create::<LongTaskSet>(lab, set("typo", &json!({ "templateRef": { "name": "typed" }, "items": items }))).await;
        let failed = ends_as(lab, "typo", SetPhase::Failed, 20).await;
        assert_eq!((failed.reason.as_str(), failed.next), ("InvalidInput", 0));
        let message =
            failed.conditions.iter().find(|condition| condition.type_ == "Failed").expect("it failed").message.clone();
        assert!(message.contains("member 137") && message.contains("/file: is required"), "{message}");
        assert_eq!((pods(lab).await, members(lab, "typo").await.len()), (0, 0));
    })
    .await;
}

#[tokio::test]
async fn a_suspended_set_has_all_its_members_write_checkpoints_and_changes_none_of_their_specs() {
    story(async |lab| {
        create::<LongTaskTemplate>(lab, template("slow", &["--steps=600", "--step-time=1s"])).await;
        let spec = json!({ "templateRef": { "name": "slow" }, "count": 8, "maxParallel": 8 });
        create::<LongTaskSet>(lab, set("paused", &spec)).await;
        let all_run = async || {
            let running = members(lab, "paused").await;
            running.len() == 8 && running.values().all(|task| status_of(task).phase == Some(Phase::Running))
        };
        wait(60, "all members run", all_run).await;
        sleep(Duration::from_secs(3)).await;
        change(lab, "paused", json!({ "suspend": true })).await;
        let all_rest = async || {
            let resting = members(lab, "paused").await;
            resting
                .values()
                .all(|task| status_of(task).reason == "SuspendedBySet" && status_of(task).checkpoint.is_some())
        };
        wait(40, "all members rest with a checkpoint", all_rest).await;
        assert!(members(lab, "paused").await.values().all(|task| task.metadata.generation == Some(1)));
        change(lab, "paused", json!({ "suspend": false })).await;
        wait(60, "all members run again", all_run).await;
        change(lab, "paused", json!({ "cancel": true })).await;
        let cancelled = ends_as(lab, "paused", SetPhase::Cancelled, 40).await;
        assert_eq!((cancelled.waiting.count, cancelled.active), (8, 0));
    })
    .await;
}

async fn wait(seconds: u64, what: &str, is_so: impl AsyncFn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(seconds) * PATIENCE;
    while !is_so().await {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        sleep(Duration::from_millis(300)).await;
    }
}

#[tokio::test]
async fn a_set_all_of_whose_members_are_held_says_so_and_goes_on_by_a_token() {
    story(async |lab| {
        let holds = json!({ "spec": { "failurePolicy": { "rules": [
            { "name": "ask", "onExitCodes": { "operator": "In", "values": [3] }, "action": "Hold" },
        ] } } });
        create::<LongTaskTemplate>(
            lab,
            template("held", &["--steps=2", "--step-time=100ms", "attempt=1 step=1: checkpoint; exit 3"]).and(holds),
        )
        .await;
        create::<LongTaskSet>(lab, set("held", &json!({ "templateRef": { "name": "held" }, "count": 2 }))).await;
        until(lab, "held", "it is blocked", 60, |status| status.reason == "MembersHeld").await;
        change(lab, "held", json!({ "restart": { "token": "go" } })).await;
        let done = ends_as(lab, "held", SetPhase::Succeeded, 60).await;
        assert_eq!((done.round.number, done.succeeded.count), (2, 2));
    })
    .await;
}

#[tokio::test]
async fn each_member_is_counted_once_although_the_operator_is_killed_again_and_again() {
    story(async |lab| {
        create::<LongTaskTemplate>(lab, template("short", &["--steps=1", "--step-time=100ms"])).await;
        let spec = json!({ "templateRef": { "name": "short" }, "count": 24, "maxParallel": 6, "taskHistoryLimit": 2 });
        create::<LongTaskSet>(lab, set("killed", &spec)).await;
        for _ in 0..5 {
            sleep(Duration::from_secs(4)).await;
            lab.kill_operator().await;
            lab.start_operator();
        }
        let done = ends_as(lab, "killed", SetPhase::Succeeded, 180).await;
        assert_eq!(
            (done.succeeded.count, done.succeeded.indexes.to_string(), done.failed.count),
            (24, "0-23".into(), 0)
        );
        wait(60, "all but two members are deleted", async || members(lab, "killed").await.len() == 2).await;
    })
    .await;
}

#[tokio::test]
async fn those_that_failed_go_on_on_the_mended_template_while_the_others_run_undisturbed() {
    story(async |lab| {
        let once = json!({ "spec": { "retry": { "budgets": { "failures": 0 } } } });
        let arguments = ["--steps=60", "--step-time=500ms", "$(LONGTASK_INPUT_rule)"];
        create::<LongTaskTemplate>(lab, template("mixed", &arguments).and(once)).await;
        let items = json!([{ "rule": "step=2: exit 1" }, { "rule": "end: checkpoint" }, { "rule": "end: checkpoint" }]);
        let spec = json!({ "templateRef": { "name": "mixed" }, "items": items, "taskHistoryLimit": 100 });
        create::<LongTaskSet>(lab, set("mixed", &spec)).await;
        until(lab, "mixed", "one has failed", 60, |status| status.failed.count == 1).await;

        let mended = template("mixed", &["--steps=60", "--step-time=100ms", "end: checkpoint"]);
        mend(lab, "mixed", &mended).await;
        change(lab, "mixed", json!({ "restart": { "token": "again", "renew": true } })).await;
        let done = ends_as(lab, "mixed", SetPhase::Succeeded, 120).await;
        assert_eq!((done.round.number, done.succeeded.count), (2, 3));
        let attempts: Vec<_> = members(lab, "mixed").await.values().map(last_attempt).collect();
        assert_eq!(attempts, [2, 1, 1], "the two that ran were not disturbed");
    })
    .await;
}

/// With how many failures the rest of a set is stopped. `LONGTASK_E2E_FAILURES` says otherwise.
fn most_failures() -> i64 {
    env::var("LONGTASK_E2E_FAILURES").ok().and_then(|most| most.parse().ok()).unwrap_or(10)
}

#[tokio::test]
async fn too_many_failures_of_a_thousand_stop_the_rest_and_the_next_round_takes_it() {
    story(async |lab| {
        const PARALLEL: i64 = 4;
        let most = most_failures();
        let patience = 60 + most.unsigned_abs();
        let once = json!({ "spec": { "retry": { "budgets": { "failures": 0 } } } });
        create::<LongTaskTemplate>(lab, template("broken", &["--steps=1", "step: exit 1"]).and(once)).await;
        let spec = json!({
            "templateRef": { "name": "broken" }, "count": 1000, "maxParallel": PARALLEL, "maxFailed": most,
            "taskHistoryLimit": 0,
        });
        create::<LongTaskSet>(lab, set("thousand", &spec)).await;
        let failed = ends_as(lab, "thousand", SetPhase::Failed, patience).await;
        assert_eq!(failed.reason, "TooManyFailed");
        assert!(failed.next <= most + PARALLEL, "{} were started", failed.next);
        let left = i64::try_from(members(lab, "thousand").await.len()).expect("few");
        assert!(left <= failed.next, "{left} tasks are left");
        println!("{} started, {} failed, {left} tasks left", failed.next, failed.failed.count);

        let mended = template("broken", &["--steps=1", "--step-time=100ms"]);
        mend(lab, "broken", &mended).await;
        change(lab, "thousand", json!({ "restart": { "token": "again", "renew": true } })).await;
        let goes_on = |status: &LongTaskSetStatus| status.succeeded.count >= failed.next + 2;
        let rest = until(lab, "thousand", "it takes the rest", 2 * patience, goes_on).await;
        assert_eq!((rest.round.number, rest.failed.count), (2, 0));
        change(lab, "thousand", json!({ "cancel": true })).await;
        ends_as(lab, "thousand", SetPhase::Cancelled, 60).await;
    })
    .await;
}

#[tokio::test]
async fn a_member_that_somebody_deletes_is_made_again_with_the_same_prefix() {
    story(async |lab| {
        create::<LongTaskTemplate>(lab, template("slow", &["--steps=600", "--step-time=1s"])).await;
        create::<LongTaskSet>(lab, set("again", &json!({ "templateRef": { "name": "slow" }, "count": 1 }))).await;
        let prefix_of_another = async |known: &str| {
            let pods = lab.api::<Pod>().list(&ListParams::default()).await.expect("list pods");
            let pod = pods.into_iter().find(|pod| pod.metadata.uid.as_deref() != Some(known))?;
            let variables = pod.spec?.containers.into_iter().flat_map(|container| container.env.unwrap_or_default());
            let mut named = variables.filter(|variable| variable.name == "LONGTASK_IDEMPOTENCY_PREFIX");
            Some((pod.metadata.uid?, named.next()?.value?))
        };
        wait(60, "it has a pod", async || prefix_of_another("").await.is_some()).await;
        let (first, prefix) = prefix_of_another("").await.expect("a pod");
        lab.api::<LongTask>().delete("again-0", &DeleteParams::default()).await.expect("the member is deleted");
        wait(60, "another pod", async || prefix_of_another(&first).await.is_some()).await;
        let (_, same) = prefix_of_another(&first).await.expect("another pod");
        assert_eq!(same, prefix);
        let uid = lab.api::<LongTaskSet>().get("again").await.expect("the set").uid().expect("a UID");
        assert_eq!(prefix, format!("{uid}/0"));
        change(lab, "again", json!({ "cancel": true })).await;
        ends_as(lab, "again", SetPhase::Cancelled, 40).await;
    })
    .await;
}

#[tokio::test]
async fn a_name_that_is_taken_keeps_one_member_back_and_the_others_finish() {
    story(async |lab| {
        create::<LongTaskTemplate>(lab, template("short", &["--steps=1", "--step-time=100ms"])).await;
        lab.submit(manifest("taken-1", &["--steps=1"])).await.ends_as(Phase::Succeeded, 30).await;
        create::<LongTaskSet>(lab, set("taken", &json!({ "templateRef": { "name": "short" }, "count": 3 }))).await;
        let blocked = until(lab, "taken", "the others are done", 60, |status| status.succeeded.count == 2);
        let blocked = blocked.await;
        assert_eq!((blocked.reason.as_str(), blocked.succeeded.indexes.to_string()), ("NameTaken", "0,2".into()));
        lab.api::<LongTask>().delete("taken-1", &DeleteParams::default()).await.expect("the other task is deleted");
        ends_as(lab, "taken", SetPhase::Succeeded, 120).await;
    })
    .await;
}

#[tokio::test]
async fn a_deleted_set_takes_its_members_along_or_leaves_them_behind() {
    story(async |lab| {
        create::<LongTaskTemplate>(lab, template("slow", &["--steps=3", "--step-time=2s"])).await;
        let spec = || json!({ "templateRef": { "name": "slow" }, "count": 2 });
        for (name, params) in [("along", DeleteParams::foreground()), ("behind", DeleteParams::orphan())] {
            create::<LongTaskSet>(lab, set(name, &spec())).await;
            until(lab, name, "its members run", 30, |status| status.active == 2).await;
            wait(30, "both are there", async || members(lab, name).await.len() == 2).await;
            lab.api::<LongTaskSet>().delete(name, &params).await.expect("the set is deleted");
        }
        wait(60, "the first two are gone", async || members(lab, "along").await.is_empty()).await;
        let all_done = async || {
            let left = members(lab, "behind").await;
            left.len() == 2 && left.values().all(|task| status_of(task).phase == Some(Phase::Succeeded))
        };
        wait(60, "those left behind end by themselves", all_done).await;
        let left = members(lab, "behind").await;
        assert!(left.values().all(|task| task.owner_references().is_empty()), "tasks like any others");
    })
    .await;
}
