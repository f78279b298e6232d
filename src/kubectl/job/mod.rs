//! A batch/v1 Job as a LongTask. No I/O.
//!
//! The rule: what an API server accepts as a Job, it accepts as the task that is made from it. What a task cannot say
//! is brought within its bounds or left out, and a note tells it.

mod bounds;
mod env;
mod metadata;
mod rules;
mod template;
#[cfg(test)]
mod tests;

use k8s_openapi::api::batch::v1::{CronJob, CronJobSpec, Job, JobSpec};
use kube::Resource;
use serde_json::{Map, Value, json};

use self::{
    bounds::{LONGEST, clamped},
    template::Parts,
};
use crate::{api::task::LongTask, types::GoDuration};

/// The controller of Jobs, by the name that `spec.managedBy` has for it.
const JOB_CONTROLLER: &str = "kubernetes.io/job-controller";

/// A task that was made from a Job.
#[derive(Debug)]
pub(super) struct Converted {
    /// The manifest.
    pub(super) task: Value,
    /// What the user should know: what has no counterpart, and what means something else now.
    pub(super) notes: Vec<String>,
}

/// The task that does what the Job does.
pub(super) fn convert(job: Job) -> Result<Converted, serde_json::Error> {
    let mut notes = Vec::new();
    let Job { metadata, spec, status: _ } = job;
    // Without `..`: a field that a later version of Kubernetes adds must not be forgotten here.
    let JobSpec {
        active_deadline_seconds,
        backoff_limit,
        backoff_limit_per_index,
        completion_mode,
        completions,
        managed_by,
        manual_selector,
        max_failed_indexes,
        parallelism,
        pod_failure_policy,
        // When a pod may be replaced: the pods of a task never overlap.
        pod_replacement_policy: _,
        scheduling,
        selector: _,
        success_policy,
        suspend,
        template,
        ttl_seconds_after_finished,
    } = spec.unwrap_or_default();

    for (field, given) in [("completions", completions), ("parallelism", parallelism.filter(|pods| *pods != 0))] {
        if given.is_some_and(|number| number != 1) {
            notes.push(format!(
                "spec.{field}: dropped; a task runs one pod at a time: make a task for each piece of work"
            ));
        }
    }
    if completion_mode.is_some_and(|mode| mode == "Indexed") {
        notes.push(
            "spec.completionMode: dropped; it has no counterpart, and the program gets no JOB_COMPLETION_INDEX"
                .to_owned(),
        );
    }
    for (field, is_given) in [
        ("backoffLimitPerIndex", backoff_limit_per_index.is_some()),
        ("maxFailedIndexes", max_failed_indexes.is_some()),
        ("successPolicy", success_policy.is_some()),
        ("managedBy", managed_by.is_some_and(|manager| manager != JOB_CONTROLLER)),
        ("manualSelector", manual_selector == Some(true)),
        ("scheduling", scheduling.is_some()),
    ] {
        if is_given {
            notes.push(format!("spec.{field}: dropped; it has no counterpart"));
        }
    }
    let Parts { template, segment, main } = template::of_task(template, &mut notes);
    let mut spec = Map::new();
    if let Some(seconds) = active_deadline_seconds
        && let Some(limit) = bounded("spec.activeDeadlineSeconds", seconds, GoDuration::from_secs(1), &mut notes)
    {
        spec.insert("limits".into(), json!({ "wallTime": limit }));
    }
    if let Some(failures) = backoff_limit {
        spec.insert("retry".into(), json!({ "budgets": { "failures": failures } }));
    }
    if let Some(seconds) = ttl_seconds_after_finished
        && let Some(ttl) = bounded("spec.ttlSecondsAfterFinished", seconds.into(), GoDuration::from_secs(0), &mut notes)
    {
        // The TTL of a Job does not ask how it ended.
        spec.insert("ttlAfterFinished".into(), json!(ttl));
        spec.insert("ttlAfterFailed".into(), json!(ttl));
    }
    if parallelism == Some(0) {
        notes.push("spec.parallelism: 0 is suspend: true now".to_owned());
    }
    if suspend == Some(true) || parallelism == Some(0) {
        spec.insert("suspend".into(), json!(true));
    }
    if let Some(policy) = pod_failure_policy {
        let rules = rules::of_task(policy, &main, &mut notes);
        if !rules.is_empty() {
            spec.insert("failurePolicy".into(), json!({ "rules": rules }));
        }
    }
    spec.insert("segment".into(), segment);
    spec.insert("template".into(), serde_json::to_value(template)?);
    let task = json!({
        "apiVersion": LongTask::api_version(&()),
        "kind": LongTask::kind(&()),
        "metadata": metadata::of_task(metadata, &mut notes),
        "spec": spec,
    });
    Ok(Converted { task, notes })
}

/// The task that does what each Job of a CronJob does.
pub(super) fn convert_scheduled(cron_job: CronJob) -> Result<Converted, serde_json::Error> {
    let CronJob { metadata, spec, status: _ } = cron_job;
    // All but the template is about when, and how many at once.
    let CronJobSpec {
        concurrency_policy: _,
        failed_jobs_history_limit: _,
        job_template,
        schedule,
        starting_deadline_seconds: _,
        successful_jobs_history_limit: _,
        suspend: _,
        time_zone: _,
    } = spec;
    // As the controller of CronJobs makes them: the Jobs get the template's labels and annotations, not the CronJob's.
    let mut of_jobs = job_template.metadata.unwrap_or_default();
    of_jobs.namespace = metadata.namespace;
    of_jobs.name = metadata.name;
    of_jobs.generate_name = metadata.generate_name;
    let Converted { task, mut notes } = convert(Job { metadata: of_jobs, spec: job_template.spec, status: None })?;
    let name = task["metadata"]["name"].as_str().unwrap_or_default();
    let prefix = metadata::prefix_of(name);
    let told = format!(
        "spec.schedule: {schedule:?} is dropped with all that belongs to it; a LongTask runs once, when it is created. To \
         start one at each time, keep a CronJob whose container runs kubectl create with this manifest, \
         metadata.generateName: {prefix} in place of the name"
    );
    notes.insert(0, told);
    Ok(Converted { task, notes })
}

/// A number of seconds as a duration that a task takes; none if it cannot be written.
fn bounded(field: &str, seconds: i64, shortest: GoDuration, notes: &mut Vec<String>) -> Option<GoDuration> {
    if GoDuration::from_secs(seconds) > LONGEST {
        notes.push(format!("{field}: dropped; {seconds} seconds are as good as for ever, and so is no limit"));
        return None;
    }
    Some(clamped(field, seconds, shortest, LONGEST, notes))
}
