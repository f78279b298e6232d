//! Volumes of the task's own. The cluster needs no storage class: the stories make their volumes by hand.

use std::{fs, time::Duration};

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use kube::{
    Api,
    api::{DeleteParams, PostParams},
    runtime::{conditions, wait::await_condition},
};
use longtask::api::task::{ConditionType, LongTaskStatus, Phase};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::support::{Change, Lab, RUN_LABEL, Task, Undo, manifest, message_of, story, this_run};

/// A task with a claim that is mounted at /data.
fn with_claim(name: &str, rules: &[&str], policy: &Value) -> Value {
    let arguments: Vec<_> = ["--steps=4", "--step-time=200ms"].iter().chain(rules).copied().collect();
    let claim = json!({
        "accessModes": ["ReadWriteOnce"], "storageClassName": "", "resources": { "requests": { "storage": "1Mi" } },
    });
    let mut manifest = manifest(name, &arguments).and(json!({ "spec": {
        "volumeClaimTemplates": [{ "metadata": { "name": "data" }, "spec": claim }],
        "persistentVolumeClaimRetentionPolicy": policy,
        "retry": { "budgets": { "failures": 0 } },
    } }));
    manifest["spec"]["template"]["spec"]["containers"][0]["volumeMounts"] =
        json!([{ "name": "data", "mountPath": "/data" }]);
    manifest
}

/// A volume for the claim of a task, in the story's own folder; taken away when this is undone.
async fn offer_volume(lab: &Lab, task: &str, number: u32) -> Undo {
    let name = format!("{}-{task}-{number}", lab.namespace);
    let folder = lab.folder().join(&name);
    fs::create_dir_all(&folder).expect("make the volume's folder");
    let volume = json!({
        "metadata": { "name": name, "labels": { RUN_LABEL: this_run() } },
        "spec": {
            "capacity": { "storage": "1Mi" }, "accessModes": ["ReadWriteOnce"], "storageClassName": "",
            "persistentVolumeReclaimPolicy": "Retain", "hostPath": { "path": folder },
            "claimRef": { "namespace": lab.namespace, "name": format!("data-{task}") },
        },
    });
    let volume: PersistentVolume = serde_json::from_value(volume).expect("a volume");
    let undo = Undo::by(&["kubectl", "delete", "--ignore-not-found", "--wait=false", "persistentvolume", &name]);
    Api::all(lab.client.clone()).create(&PostParams::default(), &volume).await.expect("offer a volume");
    undo
}

async fn claim_of(lab: &Lab, task: &Task<'_>) -> Option<PersistentVolumeClaim> {
    lab.api().get_opt(&format!("data-{}", task.name)).await.expect("read the claim")
}

async fn uid_of_claim(lab: &Lab, task: &Task<'_>) -> String {
    claim_of(lab, task).await.and_then(|claim| claim.metadata.uid).expect("the claim exists")
}

async fn until_deleted(lab: &Lab, claim: &str, uid: &str) {
    let gone = await_condition(lab.api::<PersistentVolumeClaim>(), claim, conditions::is_deleted(uid));
    timeout(Duration::from_mins(1), gone).await.expect("it is deleted in time").expect("it is watched");
}

#[tokio::test]
async fn claims_go_with_their_task_if_the_user_says_so_and_a_claim_of_others_is_not_mounted_then() {
    story(async |lab| {
        let delete = json!({ "whenDeleted": "Delete" });
        let volume = offer_volume(lab, "goes", 1).await;
        let mut others: PersistentVolumeClaim = serde_json::from_value(json!({
            "metadata": { "name": "data-goes" },
            "spec": with_claim("goes", &[], &delete)["spec"]["volumeClaimTemplates"][0]["spec"],
        }))
        .expect("a claim");
        others.metadata.namespace = Some(lab.namespace.clone());
        let claims: Api<PersistentVolumeClaim> = lab.api();
        claims.create(&PostParams::default(), &others).await.expect("make somebody's claim");
        let task = lab.submit(with_claim("goes", &[], &delete)).await;
        let is_blocked = |status: &LongTaskStatus| {
            message_of(status, ConditionType::Blocked).is_some_and(|(reason, _)| reason == "NameTaken")
        };
        let blocked = task.until("the claim is not its own", 20, is_blocked).await;
        let (_, words) = message_of(&blocked, ConditionType::Blocked).expect("it is blocked");
        assert!(words.contains("data-goes"), "{words}");
        claims.delete("data-goes", &DeleteParams::default()).await.expect("delete that claim");
        volume.now().await;
        let volume = offer_volume(lab, "goes", 2).await;
        task.ends_as(Phase::Succeeded, 60).await;
        let uid = uid_of_claim(lab, &task).await;
        task.delete(DeleteParams::background()).await;
        until_deleted(lab, "data-goes", &uid).await;
        volume.now().await;
    })
    .await;
}
