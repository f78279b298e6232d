//! The claims of a task's own, and the volumes that they are in its pods.

use k8s_openapi::{
    api::core::v1::{
        PersistentVolumeClaim, PersistentVolumeClaimTemplate, PersistentVolumeClaimVolumeSource, PodSpec, Volume,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use super::owner;
use crate::api::{
    labels,
    task::{ClaimRetention, LongTask},
};

/// The claims that the pods of a task mount.
pub fn claims(task: &LongTask, uid: &str) -> impl Iterator<Item = PersistentVolumeClaim> {
    task.spec.volume_claim_templates.iter().map(|template| claim(template, task, uid))
}

/// Their names.
pub fn claim_names(task: &LongTask) -> impl Iterator<Item = String> {
    task.spec.volume_claim_templates.iter().map(|template| claim_name(template, task))
}

/// Adds the claims to a pod, each as a volume of the template's name.
pub(super) fn add(spec: &mut PodSpec, task: &LongTask) {
    if task.spec.volume_claim_templates.is_empty() {
        return;
    }
    let volumes = task.spec.volume_claim_templates.iter().map(|template| Volume {
        name: template_name(template).to_owned(),
        persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource {
            claim_name: claim_name(template, task),
            read_only: None,
        }),
        ..Volume::default()
    });
    spec.volumes.get_or_insert_default().extend(volumes);
}

/// A claim is owned by its task only if it is to go with it.
fn claim(template: &PersistentVolumeClaimTemplate, task: &LongTask, uid: &str) -> PersistentVolumeClaim {
    let given = template.metadata.clone().unwrap_or_default();
    let mut all_labels = given.labels.unwrap_or_default();
    all_labels.insert(labels::TASK.to_owned(), task.metadata.name.clone().unwrap_or_default());
    all_labels.insert(labels::TASK_UID.to_owned(), uid.to_owned());
    let goes_with_task = task.spec.persistent_volume_claim_retention_policy.when_deleted == ClaimRetention::Delete;
    PersistentVolumeClaim {
        metadata: ObjectMeta {
            name: Some(claim_name(template, task)),
            namespace: task.metadata.namespace.clone(),
            labels: Some(all_labels),
            annotations: given.annotations,
            owner_references: goes_with_task.then(|| vec![owner::reference(task, uid)]),
            ..ObjectMeta::default()
        },
        spec: Some(template.spec.clone()),
        status: None,
    }
}

fn claim_name(template: &PersistentVolumeClaimTemplate, task: &LongTask) -> String {
    format!("{}-{}", template_name(template), task.metadata.name.as_deref().unwrap_or_default())
}

fn template_name(template: &PersistentVolumeClaimTemplate) -> &str {
    template.metadata.as_ref().and_then(|metadata| metadata.name.as_deref()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn task(policy: &Value) -> LongTask {
        let claim = json!({ "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "10Gi" } } });
        let mut task: LongTask = serde_json::from_value(json!({
            "apiVersion": "longtask.dev/v1alpha1", "kind": "LongTask", "metadata": { "name": "t", "namespace": "n" },
            "spec": {
                "template": { "spec": { "containers": [{ "name": "main" }] } },
                "persistentVolumeClaimRetentionPolicy": policy,
                "volumeClaimTemplates": [
                    { "metadata": { "name": "data", "labels": { "tier": "fast", "longtask.dev/task": "other" } }, "spec": claim },
                    { "metadata": { "name": "cache", "annotations": { "note": "kept" } }, "spec": claim },
                ],
            },
        }))
        .expect("a task");
        task.metadata.uid = Some("uid".into());
        task
    }

    #[test]
    fn a_claim_is_the_templates_with_the_tasks_labels() {
        let all: Vec<_> = claims(&task(&json!({})), "uid").map(|claim| json!(claim)).collect();
        let spec = json!({ "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "10Gi" } } });
        assert_eq!(
            all[0]["metadata"],
            json!({
                "name": "data-t", "namespace": "n",
                "labels": { "tier": "fast", "longtask.dev/task": "t", "longtask.dev/task-uid": "uid" },
            })
        );
        assert_eq!((&all[0]["spec"], &all[1]["spec"]), (&spec, &spec));
        assert_eq!(
            (&all[1]["metadata"]["name"], &all[1]["metadata"]["annotations"]),
            (&json!("cache-t"), &json!({ "note": "kept" }))
        );
        assert_eq!(claim_names(&task(&json!({}))).collect::<Vec<_>>(), ["data-t", "cache-t"]);
    }

    #[test]
    fn a_claim_that_goes_with_its_task_is_owned_by_it() {
        let owned =
            |policy| claims(&task(&policy), "uid").filter(|claim| claim.metadata.owner_references.is_some()).count();
        assert_eq!(owned(json!({ "whenDeleted": "Delete" })), 2);
        assert_eq!(owned(json!({ "whenDeleted": "Retain", "whenSucceeded": "Delete" })), 0);
    }

    #[test]
    fn a_pod_has_each_claim_as_a_volume_of_the_templates_name() {
        let mut spec =
            PodSpec { volumes: Some(vec![Volume { name: "own".into(), ..Volume::default() }]), ..PodSpec::default() };
        add(&mut spec, &task(&json!({})));
        assert_eq!(
            json!(spec.volumes),
            json!([
                { "name": "own" },
                { "name": "data", "persistentVolumeClaim": { "claimName": "data-t" } },
                { "name": "cache", "persistentVolumeClaim": { "claimName": "cache-t" } },
            ])
        );
    }
}
