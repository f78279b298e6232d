//! Whatever the definition admits, the operator handles: no panic, no hot loop, and a status that says what is wrong.

use std::{collections::BTreeMap, time::Duration};

use kube::{
    Api,
    api::{ApiResource, DynamicObject, ListParams, Patch, PatchParams, PostParams},
};
use longtask::{
    api::task::{ConditionType, LongTask},
    types::is_condition_true,
};
use serde_json::{Map, Value, json};
use tokio::time::sleep;

use super::support::{Lab, PROGRAM, Random, story};

/// How many specifications are offered to the API server, and how many edits of those that it took.
const OFFERED: usize = 90;
const EDITS: usize = 45;
/// For how long the operator is watched afterwards.
const WATCHED: Duration = Duration::from_secs(10);
/// The most reconciles of a task in that time, on the average. A task that fails and starts anew all the time has about
/// ten for each attempt.
const RECONCILES: u64 = 40;
/// The largest status, in bytes of JSON.
const LARGEST_STATUS: usize = 18_048;

#[tokio::test]
async fn whatever_is_admitted_is_handled_and_explained() {
    story(async |lab| {
        let mut random = Random::seeded();
        let spec = spec_schema();
        let tasks: Api<DynamicObject> =
            Api::namespaced_with(lab.client.clone(), &lab.namespace, &ApiResource::erase::<LongTask>(&()));
        let mut admitted = Vec::new();
        for number in 0..OFFERED {
            let object = task(&mut random, &spec, number);
            if tasks.create(&PostParams::default(), &object).await.is_ok() {
                admitted.push(object.metadata.name.expect("a name"));
            }
        }
        let mut edited = 0;
        for _ in 0..EDITS {
            let patch = Patch::Merge(json!({ "spec": generated(&mut random, &spec, 12) }));
            let name = random.one_of(&admitted);
            edited += usize::from(tasks.patch(&name, &PatchParams::default(), &patch).await.is_ok());
        }
        println!("{} of {OFFERED} specifications admitted, {edited} of {EDITS} edits", admitted.len());
        assert!(admitted.len() > OFFERED / 4 && edited > EDITS / 6, "too little gets through to prove anything");
        every_task_is_explained(lab, admitted.len()).await;
        let before = lab.operators_reconciles().await;
        sleep(WATCHED).await;
        let reconciles = lab.operators_reconciles().await - before;
        println!("{reconciles} reconciles in {WATCHED:?}");
        assert!(reconciles <= RECONCILES * admitted.len() as u64, "a hot loop: {reconciles} reconciles");
        let log = lab.operators_log();
        let panics: Vec<_> = log.lines().filter(|line| line.contains("panicked")).collect();
        assert!(panics.is_empty(), "{panics:#?}");
    })
    .await;
}

/// Waits until each task's status answers to its latest generation, and is not silent about what is wrong.
async fn every_task_is_explained(lab: &Lab, admitted: usize) {
    let tasks: Api<LongTask> = lab.api();
    let mut silent = Vec::new();
    for _ in 0..60 {
        let all = tasks.list(&ListParams::default()).await.expect("whatever was admitted can be read").items;
        silent = all.iter().filter(|task| !is_explained(task)).map(|task| format!("{task:?}")).collect();
        // A ttlAfterFinished may have taken some.
        if silent.is_empty() && all.len() > admitted / 2 {
            println!("{:#?}", standings(&all));
            return;
        }
        sleep(Duration::from_secs(1)).await;
    }
    panic!("{} of {admitted} tasks are not explained, the first: {:?}", silent.len(), silent.first());
}

/// How many tasks stand where.
fn standings(tasks: &[LongTask]) -> BTreeMap<String, usize> {
    let mut standings = BTreeMap::new();
    for status in tasks.iter().filter_map(|task| task.status.as_ref()) {
        let phase = status.phase.map_or("-", Into::into);
        *standings.entry(format!("{phase} {}", status.reason)).or_default() += 1;
    }
    standings
}

fn is_explained(task: &LongTask) -> bool {
    if !task.spec.is_managed_by_us() {
        return task.status.is_none();
    }
    let Some(status) = &task.status else { return false };
    let size = serde_json::to_string(status).expect("a status").len();
    assert!(size < LARGEST_STATUS, "a status of {size} bytes: {status:?}");
    let is_blocked = is_condition_true(&status.conditions, ConditionType::Blocked);
    Some(status.observed_generation) == task.metadata.generation
        && status.phase.is_some()
        // Something is wrong with the pod, and nothing says so.
        && !(is_blocked && status.reason.is_empty() && !status.phase.is_some_and(longtask::api::task::Phase::is_terminal))
}

fn spec_schema() -> Value {
    let definition: Value =
        serde_saphyr::from_str(include_str!("../../crds/longtask.dev_longtasks.yaml")).expect("the definition parses");
    definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"].clone()
}

fn task(random: &mut Random, spec: &Value, number: usize) -> DynamicObject {
    let mut spec = generated(random, spec, 25);
    spec["template"] = template(random);
    // All of them, however they are made: the API server checks the rest.
    let name = if random.happens(10) { format!("{number:0>52}") } else { format!("fuzz-{number}") };
    serde_json::from_value(json!({
        "apiVersion": "longtask.dev/v1alpha1", "kind": "LongTask", "metadata": { "name": name }, "spec": spec,
    }))
    .expect("an object")
}

/// Pods that run, that fail, that report nonsense, that cannot start, that the API server refuses.
fn template(random: &mut Random) -> Value {
    let arguments = random.one_of(&[
        json!(["--steps=1", "--step-time=0"]),
        json!(["start: exit 1"]),
        json!(["start: exit 75"]),
        json!([r#"start: write {"checkpoint": 7, "progress": []}; exit 3"#]),
        json!([r#"start: report {"error": {"code": "A", "permanent": true}}; exit 4"#]),
        json!(["start: fill 64Ki; exit 5"]),
    ]);
    let mut container = json!({ "name": "main", "image": PROGRAM, "args": arguments });
    let changes = random.one_of(&[
        json!({}),
        json!({}),
        json!({ "image": "localhost/there-is-no-such-image:1", "imagePullPolicy": "Never" }),
        json!({ "image": "NOT AN IMAGE" }),
        json!({ "resources": { "requests": { "cpu": "100000" } } }),
        json!({ "resources": { "limits": { "memory": "1Gi" }, "requests": { "memory": "2Gi" } } }),
        json!({ "env": [{ "name": "LONGTASK_REPORT", "value": "/nowhere" }] }),
        json!({ "envFrom": [{ "configMapRef": { "name": "missing" } }] }),
        json!({ "volumeMounts": [{ "name": "missing", "mountPath": "/x" }] }),
        json!({ "command": ["/there-is-no-such-program"] }),
    ]);
    container.as_object_mut().expect("a container").extend(changes.as_object().expect("fields").clone());
    json!({ "spec": { "containers": [container] } })
}

/// A value of the schema, mostly: each field of an object is there `percent` times out of a hundred.
fn generated(random: &mut Random, schema: &Value, percent: usize) -> Value {
    if let Some(choices) = schema["enum"].as_array() {
        return random.one_of(choices);
    }
    match schema["type"].as_str() {
        Some("object") if schema["properties"].is_object() => object(random, schema, percent),
        Some("object") if schema["x-kubernetes-preserve-unknown-fields"] == true => json!({ "a": [random.below(9)] }),
        Some("array") => array(random, schema),
        Some("boolean") => json!(random.happens(50)),
        Some("integer") => json!(integer(random, schema)),
        Some("string") => json!(text(random, schema)),
        _ => random.one_of(&[json!(2), json!("1.5"), json!("512Mi"), json!("16Gi"), json!(10)]),
    }
}

fn object(random: &mut Random, schema: &Value, percent: usize) -> Value {
    let required = schema["required"].as_array().cloned().unwrap_or_default();
    let mut fields = Map::new();
    for (name, field) in schema["properties"].as_object().into_iter().flatten().filter(|(name, _)| *name != "template")
    {
        // What another controller manages proves nothing.
        let is_rare = name == "managedBy" && !random.happens(10);
        if required.contains(&json!(name)) || (random.happens(percent) && !is_rare) {
            fields.insert(name.clone(), generated(random, field, percent));
        }
    }
    Value::Object(fields)
}

fn array(random: &mut Random, schema: &Value) -> Value {
    let most = schema["maxItems"].as_u64().and_then(|most| usize::try_from(most).ok()).unwrap_or(3);
    let items = if random.happens(10) { most } else { 1 + random.below(most.min(3)) };
    let mut all: Vec<Value> = Vec::new();
    for _ in 0..items {
        let item = generated(random, &schema["items"], 30);
        if !all.contains(&item) {
            all.push(item);
        }
    }
    Value::Array(all)
}

fn integer(random: &mut Random, schema: &Value) -> i64 {
    let bound = |name: &str| schema[name].as_f64().map(|bound| format!("{bound:.0}").parse::<i64>().expect("whole"));
    let least = bound("minimum").unwrap_or(-1);
    let largest = bound("maximum").unwrap_or(i64::from(i32::MAX));
    random.one_of(&[least, least + 1, least + 2, least + 3, largest])
}

fn text(random: &mut Random, schema: &Value) -> String {
    let most = schema["maxLength"].as_u64().and_then(|most| usize::try_from(most).ok()).unwrap_or(63);
    match most {
        // A duration, which is 18 characters at most, and a point in time, of 25.
        18 => {
            let forms = ["1s", "5s", "10s", "1m", "15m", "1h30m", "168h", "99999h99999h99999h", "0s"];
            random.one_of(&forms).to_owned()
        }
        25 => random.one_of(&["2026-11-24T00:00:00Z", "8999-12-31T23:59:59+14:00", "2030-01-01T00:00:00Z"]).to_owned(),
        _ if random.happens(30) => "n".repeat(most),
        _ => random.one_of(&["a", "b", "main", "A", "Error"]).to_owned(),
    }
}
