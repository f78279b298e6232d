//! The pod object.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{Pod, PodSpec},
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
};
use kube::Resource;

use super::env;
use crate::api::{CurrentAttempt, LongTask, LongTaskStatus, labels};

/// The name of an attempt's pod. Task names have at most 52 characters, so it fits into 63.
pub fn pod_name(task: &str, attempt: i64) -> String {
    format!("{task}-{attempt}")
}

/// The pod of an attempt that may run for `slice_seconds` once its main container runs.
pub fn pod(task: &LongTask, uid: &str, status: &LongTaskStatus, attempt: &CurrentAttempt, slice_seconds: i64) -> Pod {
    let template = &task.spec.template;
    let mut spec = template.spec.clone().unwrap_or_default();
    let main = main_container(task, &spec);
    let segment = &task.spec.segment;
    spec.restart_policy = Some("Never".into());
    spec.termination_grace_period_seconds = Some(segment.grace_period.as_secs());
    let deadline = segment.start_timeout.as_secs().saturating_add(slice_seconds);
    spec.active_deadline_seconds = Some(deadline.clamp(1, i64::from(i32::MAX)));
    spec.automount_service_account_token = Some(spec.automount_service_account_token.unwrap_or(false));
    let ours = env::for_every_container(task, uid, status, attempt);
    for container in spec.containers.iter_mut().chain(spec.init_containers.iter_mut().flatten()) {
        env::add(container, ours.iter().cloned());
    }
    if let Some(container) = spec.containers.iter_mut().find(|container| container.name == main) {
        let report = env::report_path(container);
        env::add(container, [report]);
    }
    Pod { metadata: metadata(task, uid, status, attempt, main), spec: Some(spec), status: None }
}

fn metadata(task: &LongTask, uid: &str, status: &LongTaskStatus, attempt: &CurrentAttempt, main: String) -> ObjectMeta {
    let template = task.spec.template.metadata.clone().unwrap_or_default();
    let name = task.metadata.name.clone().unwrap_or_default();
    let mut all_labels = template.labels.unwrap_or_default();
    all_labels.extend(BTreeMap::from([
        (labels::TASK.to_owned(), name.clone()),
        (labels::TASK_UID.to_owned(), uid.to_owned()),
        (labels::RUN.to_owned(), status.run.number.to_string()),
        (labels::SEGMENT.to_owned(), attempt.segment.to_string()),
        (labels::ATTEMPT.to_owned(), attempt.number.to_string()),
    ]));
    let mut annotations = template.annotations.unwrap_or_default();
    annotations.insert(labels::GENERATION.to_owned(), attempt.generation.to_string());
    annotations.insert(labels::SEGMENT_SECONDS.to_owned(), task.spec.segment.duration.as_secs().to_string());
    annotations.insert(labels::DEFAULT_CONTAINER.to_owned(), main);
    ObjectMeta {
        name: Some(attempt.pod_name.clone()),
        namespace: task.metadata.namespace.clone(),
        labels: Some(all_labels),
        annotations: Some(annotations),
        finalizers: Some(vec![labels::OUTCOME_FINALIZER.to_owned()]),
        owner_references: Some(vec![OwnerReference {
            api_version: LongTask::api_version(&()).into_owned(),
            kind: LongTask::kind(&()).into_owned(),
            name,
            uid: uid.to_owned(),
            controller: Some(true),
            block_owner_deletion: Some(true),
        }]),
        ..ObjectMeta::default()
    }
}

/// The container whose exit code and report count: the one that `segment.container` names, else the one that the
/// template marks, else the first.
fn main_container(task: &LongTask, spec: &PodSpec) -> String {
    let template = task.spec.template.metadata.as_ref();
    let marked = template.and_then(|meta| meta.annotations.as_ref()?.get(labels::DEFAULT_CONTAINER));
    let is_there = |name: &&String| spec.containers.iter().any(|container| container.name == **name);
    let named = task.spec.segment.container.as_ref().filter(is_there).or(marked.filter(is_there));
    let first = || spec.containers.first().map(|container| container.name.clone());
    named.cloned().or_else(first).unwrap_or_default()
}
