//! Volumes of the task's own. The cluster needs no storage class: the stories make their volumes by hand.

use std::{fs, time::Duration};

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
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
async fn a_claim_is_kept_over_segments_and_made_again_when_it_was_deleted() {
    story(async |lab| {
        let volume = offer_volume(lab, "keeps", 1).await;
        let two_waits =
            ["attempt=1 step=2: checkpoint; exit 75", "attempt=2 before=3: wait /journal/go; checkpoint; exit 75"];
        let task = lab.submit(with_claim("keeps", &two_waits, &json!({}))).await;
        task.journal().until_step(2, Duration::from_secs(30)).await;
        task.until("attempt 2 runs", 30, |status| status.phase == Some(Phase::Running) && status.segment == 2).await;
        let first = uid_of_claim(lab, &task).await;
        let mounted = |pod: &Pod| {
            let volumes = pod.spec.as_ref().and_then(|spec| spec.volumes.clone()).unwrap_or_default();
            volumes.into_iter().find_map(|volume| volume.persistent_volume_claim).map(|claim| claim.claim_name)
        };
        let mounts: Vec<_> = task.pods().iter().map(|pod| mounted(pod.latest())).collect();
        assert_eq!(mounts, [Some("data-keeps".to_owned()), Some("data-keeps".to_owned())]);
        // It goes when the pod that mounts it has ended.
        lab.api::<PersistentVolumeClaim>()
            .delete("data-keeps", &DeleteParams::default())
            .await
            .expect("delete the claim");
        volume.now().await;
        let again = offer_volume(lab, "keeps", 2).await;
        lab.touch("go");
        task.ends_as(Phase::Succeeded, 60).await;
        assert_ne!(uid_of_claim(lab, &task).await, first);
        assert_eq!(task.pods().len(), 3);
        again.now().await;
    })
    .await;
}

#[tokio::test]
async fn the_claims_of_a_task_that_succeeded_go_if_the_user_says_so_and_those_of_one_that_failed_stay() {
    story(async |lab| {
        let delete = json!({ "whenSucceeded": "Delete" });
        let volumes = [offer_volume(lab, "succeeds", 1).await, offer_volume(lab, "fails", 1).await];
        let succeeds = lab.submit(with_claim("succeeds", &["step=2: wait /journal/go"], &delete)).await;
        let fails = lab.submit(with_claim("fails", &["step=2: exit 1"], &delete)).await;
        succeeds.until_phase(Phase::Running, 30).await;
        let uid = uid_of_claim(lab, &succeeds).await;
        lab.touch("go");
        succeeds.ends_as(Phase::Succeeded, 30).await;
        until_deleted(lab, "data-succeeds", &uid).await;
        fails.ends_as(Phase::Failed, 30).await;
        assert!(claim_of(lab, &fails).await.is_some_and(|claim| claim.metadata.deletion_timestamp.is_none()));
        for volume in volumes {
            volume.now().await;
        }
    })
    .await;
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
