//! What keeps the next pod from running: the condition `Blocked`.

use super::{draft::Draft, filling::FILL_IN_REFUSED, observed::Cause, steps::EventType, waits};
use crate::{
    api::task::{AttemptReason, ConditionReason, ConditionType, Reason},
    types::{find_condition, truncate},
};

/// How much of the cluster's words fits into a condition beside ours, in bytes.
const LONGEST_WORDS: usize = 320;

/// What stands between the cluster's words and what the user can do.
pub(super) const REMEDY: &str = ". What to do: ";

/// Shows what keeps the next pod from running, and what to do about it, with an event.
///
/// Said again only when the reason or the specification changes: the cluster's messages carry figures that move.
pub(super) fn block(draft: &mut Draft<'_>, cause: &Cause) {
    if !is_known(draft, &cause.reason) {
        let remedy = full_remedy(draft, cause);
        set(draft, cause, &remedy);
        let note = format!("Cannot start ({}): {}{REMEDY}{remedy}.", cause.reason, sentence(&cause.message));
        draft.say_of_block(EventType::Warning, &cause.reason, &note);
    }
}

/// Likewise, of what may be nothing but work in progress: it does not hide why an earlier attempt did not start.
pub(super) fn show_progress(draft: &mut Draft<'_>, cause: &Cause) {
    let is_hidden = shown(draft).is_some_and(|shown| !waits::is_stage(&shown.reason));
    if !is_hidden && !is_known(draft, &cause.reason) {
        let remedy = full_remedy(draft, cause);
        set(draft, cause, &remedy);
        let note = format!("Has not started yet ({}): {}.", cause.reason, sentence(&cause.message));
        draft.say_of_block(EventType::Normal, &cause.reason, &note);
    }
}

/// Shows why the last start failed, until one succeeds. There is an event for that already.
pub(super) fn show(draft: &mut Draft<'_>, cause: &Cause) {
    if shown(draft).is_some_and(|shown| shown.reason == cause.reason) {
        return;
    }
    let remedy = full_remedy(draft, cause);
    set(draft, cause, &remedy);
}

fn set(draft: &mut Draft<'_>, cause: &Cause, remedy: &str) {
    let message = format!("{}{REMEDY}{remedy}", truncate(sentence(&cause.message), LONGEST_WORDS));
    draft.mark_true(ConditionType::Blocked, Reason::of_cluster(&cause.reason), &message);
}

/// The next pod could be created and started after all, or is not wanted any more.
pub(super) fn unblock(draft: &mut Draft<'_>, reason: ConditionReason) {
    draft.mark_false(ConditionType::Blocked, reason, "");
}

/// Whether two reasons tell the same trouble: the kubelet alternates between `ErrImagePull` while it pulls and
/// `ImagePullBackOff` while it waits to pull again.
pub(super) fn is_same_trouble(shown: &str, seen: &str) -> bool {
    let is_pull = |word: &str, reason: AttemptReason| word.parse() == Ok(reason);
    shown == seen || (is_pull(shown, AttemptReason::ErrImagePull) && is_pull(seen, AttemptReason::ImagePullBackOff))
}

/// What is shown now, if anything is: the cluster's words, without what the user can do. In the end there is nothing left
/// to do, and a promise would be a lie.
pub(super) fn shown(draft: &Draft<'_>) -> Option<Cause> {
    let blocked = find_condition(&draft.status.conditions, ConditionType::Blocked)?;
    let message = blocked.message.rsplit_once(REMEDY).map_or(blocked.message.as_str(), |(words, _)| words);
    (blocked.status == "True").then(|| Cause { reason: blocked.reason.clone(), message: message.to_owned() })
}

fn is_known(draft: &Draft<'_>, reason: &str) -> bool {
    let is_known_edit = draft.status.observed_generation == draft.seen.generation();
    is_known_edit && shown(draft).is_some_and(|shown| is_same_trouble(&shown.reason, reason))
}

/// Whether the words say that something does not exist which may come.
fn is_missing(words: &str) -> bool {
    words.contains("not found") || (words.contains("no ") && words.contains(" was found"))
}

fn sentence(words: &str) -> &str {
    words.trim_end_matches(['.', ' ', '\n'])
}

/// What the user can do, with what a rule of theirs has to do with it.
fn full_remedy(draft: &Draft<'_>, cause: &Cause) -> String {
    let remedy = remedy(&cause.reason, &cause.message);
    match (draft.status.memory, &draft.status.memory_rule) {
        (Some(memory), Some(rule)) if cause.message.contains("memory") => format!(
            "rule {rule} raised the main container's memory to {memory} (status.memory): lower its memory.max or remove \
             the rule; or {remedy}"
        ),
        _ => remedy.to_owned(),
    }
}

/// What the user can do. Everything is tried on by itself, so it is never "restart".
fn remedy(reason: &str, words: &str) -> &'static str {
    if words.starts_with(FILL_IN_REFUSED) {
        return "let the operator update longtasks, or correct the LongTaskTemplate; it is tried again within a minute";
    }
    let of_refusal = reason.parse().map(|reason| remedy_of_refusal(reason, words));
    let of_start = || reason.parse().map(|reason| remedy_of_start(reason, words));
    of_refusal.or_else(|_| of_start()).unwrap_or(IN_GENERAL)
}

const IN_GENERAL: &str = "correct spec.template if the cause lies there; it is tried again either way";
const CREATE_WHAT_IS_MISSING: &str = "create what is missing; it goes on by itself then";

/// What the user can do where the API server refuses the pod, or the operator says what is the matter.
fn remedy_of_refusal(reason: ConditionReason, words: &str) -> &'static str {
    use ConditionReason as Reason;
    match reason {
        // The pods and claims of the chain itself count as well.
        Reason::QuotaExceeded if words.contains("count/pods") => {
            "lower spec.podHistoryLimit, since kept pods count too, or raise the quota; it goes on by itself when there is room"
        }
        Reason::QuotaExceeded => "make room or raise the quota; it goes on by itself when there is room",
        Reason::PodSecurityViolation | Reason::Forbidden | Reason::Invalid | Reason::BadRequest
            if is_missing(words) =>
        {
            CREATE_WHAT_IS_MISSING
        }
        Reason::PodSecurityViolation | Reason::Forbidden => "correct spec.template, or have the policy changed",
        Reason::Invalid | Reason::BadRequest => "correct spec.template",
        Reason::NamespaceTerminating => "nothing: the namespace is being deleted, and this task with it",
        Reason::WebhookFailed => {
            "see that the webhook's service runs, or remove its webhook configuration; it goes on by itself when it answers"
        }
        Reason::NoAnswer | Reason::NoConnection => {
            "see whether the API server and the webhooks for pods are well; it goes on by itself when they answer"
        }
        Reason::NameTaken if words.starts_with("a claim") => {
            "delete that claim, or set spec.persistentVolumeClaimRetentionPolicy.whenDeleted to Retain to use it; it goes on by \
             itself then"
        }
        Reason::NameTaken => {
            "delete that pod, or give the task another name if something makes the pod again; it goes on by itself when the \
             name is free"
        }
        Reason::UnknownCheckpoint => "set spec.restart.checkpointSequence to one that exists",
        Reason::WaitingForOldPod | Reason::WaitingForOldTask => {
            "see what keeps that pod: its node, or a finalizer; it goes on by itself when the pod is gone"
        }
        Reason::WaitingForOldClaim => {
            "delete what else mounts that claim, or see whose finalizer keeps it; it goes on by itself with a new one"
        }
        Reason::NotScheduled => {
            "check spec.template.spec.schedulerName, that this scheduler runs, and that the template's resource claims exist"
        }
        Reason::NodeNotResponding => {
            "check the node with `kubectl get node`; it goes on by itself when its kubelet answers"
        }
        Reason::NotReadyToStart => {
            "create the Secret, ConfigMap, claim or device that is missing, or correct spec.template"
        }
        Reason::StoreMissing => {
            "set spec.checkpoint.store again, or begin elsewhere: a new spec.restart.token with from: Beginning, or from: \
             Checkpoint with one that is not stored"
        }
        Reason::TemplateNotFound => {
            "create that LongTaskTemplate in this namespace, or cancel the task; it goes on by itself when the template is there"
        }
        Reason::SetByTemplate => {
            "remove that field from the task, or write it into the LongTaskTemplate; it goes on by itself then"
        }
        Reason::InvalidSchema => "correct spec.inputSchema of the LongTaskTemplate; it goes on by itself then",
        Reason::FillInOff => {
            "have the operator installed with operator.fillIn, or write the definition into the task itself"
        }
        Reason::TakenBack => {
            "see which mutating webhook or policy changes longtasks; then remove the annotation longtask.dev/template-generation, \
             and it is tried again"
        }
        Reason::InputChanged => {
            "write spec.input as it was, or cancel the task and run it again with the new one and a new spec.restart.token"
        }
        Reason::QueueNotFound => "create that TaskQueue, or correct spec.queueName; it goes on by itself then",
        Reason::QueueNotAllowed => {
            "have the namespace added to spec.allowedNamespaces of the TaskQueue, or correct spec.queueName; it goes on by itself \
             then"
        }
        Reason::QueueNotWatched => {
            "name a TaskQueue of the task's own namespace, or have the operator installed for all namespaces"
        }
        Reason::AgentNotConfigured => "have the operator installed with --agent-image, which the chart sets",
        Reason::PodInitializing | Reason::Restoring | Reason::ContainerCreating => {
            "nothing, if it is at work; it ends with segment.startTimeout"
        }
        _ => IN_GENERAL,
    }
}

/// What the user can do where a pod does not start.
fn remedy_of_start(reason: AttemptReason, words: &str) -> &'static str {
    use AttemptReason as Reason;
    match reason {
        Reason::Unschedulable if is_missing(words) => CREATE_WHAT_IS_MISSING,
        Reason::Unschedulable => {
            "make room or lower what spec.template requests; it goes on by itself when there is room"
        }
        Reason::SchedulingGated => "it goes on by itself when the pod's scheduling gates are removed",
        Reason::SchedulerError => "see the scheduler's log; it is tried again",
        Reason::ErrImagePull | Reason::ImagePullBackOff | Reason::InvalidImageName | Reason::ErrImageNeverPull => {
            "check the image's name and the pull secrets in spec.template"
        }
        Reason::RegistryUnavailable | Reason::ImageInspectError => {
            "see whether the registry and the node's container runtime are well; it is tried again"
        }
        Reason::SignatureValidationFailed => "sign the image, or have the policy of signatures changed",
        Reason::CreateContainerConfigError => "create what is missing, or correct spec.template",
        Reason::StartError | Reason::RunContainerError | Reason::CreateContainerError => {
            "check the command in spec.template and the image"
        }
        Reason::PreCreateHookError | Reason::PreStartHookError => {
            "see the kubelet's log on that node; it is tried again"
        }
        Reason::PostStartHookError => "correct the container's postStart hook in spec.template",
        Reason::CrashLoopBackOff => "see the log of the sidecar that ends again and again: kubectl logs --previous",
        Reason::PodOSNotSupported | Reason::PodOSSelectorNodeLabelDoesNotMatch => {
            "choose nodes of that operating system by nodeSelector, or correct spec.template"
        }
        Reason::AppArmor
        | Reason::EmptyPodSharedPoolError
        | Reason::InitContainerRestartPolicyForbidden
        | Reason::PodLevelResourcesNotSupported
        | Reason::SupplementalGroupsPolicyNotSupported
        | Reason::SysctlForbidden => "choose nodes that support it by nodeSelector, or leave it out of spec.template",
        Reason::InitContainerFailed => "see the init container's log",
        Reason::CheckpointUnreadable => "nothing: the next attempt resumes from the checkpoint before",
        Reason::StoreUnusable => {
            "correct spec.checkpoint.store, its Secret or its bucket; it is tried again until budgets.startFailures is used up, \
             and the checkpoint stays recorded"
        }
        _ => IN_GENERAL,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cause_has_a_remedy_of_its_own() {
        for (reasons, remedy_says) in [
            (&["Unschedulable"][..], "lower what spec.template requests"),
            (&["SchedulingGated"], "scheduling gates"),
            (&["QuotaExceeded"], "raise the quota"),
            (&["ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"], "pull secrets"),
            (&["CreateContainerConfigError"], "create what is missing"),
            (&["StartError", "RunContainerError", "CreateContainerError"], "check the command"),
            (&["WebhookFailed"], "webhook's service"),
            (&["NoAnswer", "NoConnection"], "API server and the webhooks"),
            (&["SchedulerError"], "scheduler's log"),
            (&["RegistryUnavailable", "ImageInspectError"], "registry"),
            (&["SignatureValidationFailed"], "sign the image"),
            (&["PreCreateHookError", "PreStartHookError"], "kubelet's log"),
            (&["PostStartHookError"], "postStart"),
            (&["CrashLoopBackOff"], "log of the sidecar"),
            (&["PodOSNotSupported", "PodOSSelectorNodeLabelDoesNotMatch"], "operating system"),
            (&["AppArmor", "SysctlForbidden", "SupplementalGroupsPolicyNotSupported"], "nodes that support it"),
            (&["InitContainerFailed"], "init container's log"),
            (&["UnknownCheckpoint"], "checkpointSequence"),
            (&["NameTaken"], "another name"),
            (&["NamespaceTerminating"], "namespace is being deleted"),
            (&["NotScheduled"], "schedulerName"),
            (&["NodeNotResponding"], "kubectl get node"),
            (&["NotReadyToStart"], "claim or device"),
            (&["PodInitializing", "Restoring", "ContainerCreating"], "startTimeout"),
            (&["StoreMissing"], "spec.checkpoint.store again"),
            (&["AgentNotConfigured"], "--agent-image"),
            (&["TemplateNotFound"], "create that LongTaskTemplate"),
            (&["SetByTemplate"], "remove that field"),
            (&["InvalidSchema"], "spec.inputSchema"),
            (&["FillInOff"], "operator.fillIn"),
            (&["InputChanged"], "new spec.restart.token"),
            (&["TakenBack"], "mutating webhook"),
            (&["QueueNotFound"], "create that TaskQueue"),
            (&["QueueNotAllowed"], "spec.allowedNamespaces"),
            (&["QueueNotWatched"], "for all namespaces"),
            (&["StoreUnusable"], "its Secret"),
            (&["CheckpointUnreadable"], "checkpoint before"),
            (&["WaitingForOldPod", "WaitingForOldTask", "WaitingForOldClaim"], "finalizer"),
            (&["PodSecurityViolation", "Forbidden"], "have the policy changed"),
            (&["Invalid", "BadRequest"], "correct spec.template"),
            (&["SomethingElse"], "it is tried again either way"),
        ] {
            for reason in reasons {
                let remedy = remedy(reason, "");
                assert!(remedy.contains(remedy_says), "{reason}: {remedy}");
            }
        }
        assert!(!remedy("Invalid", "").contains("tried again"), "it fails until it is corrected");
    }

    #[test]
    fn the_servers_words_choose_the_remedy_where_its_reason_says_too_little() {
        let missing = "pods \"t-1\" is forbidden: error looking up service account n/importer: serviceaccount \"importer\" not found";
        assert!(remedy("Forbidden", missing).contains("create what is missing"));
        let class = "pods \"t-1\" is forbidden: no PriorityClass with name urgent was found";
        assert!(remedy("Forbidden", class).contains("create what is missing"));
        assert!(
            remedy("Unschedulable", "persistentvolumeclaim \"absent\" not found").contains("create what is missing")
        );
        for denied in ["denied by a policy", "no privileged containers", "this was found to be insecure"] {
            assert!(remedy("Forbidden", denied).contains("have the policy changed"), "{denied}");
        }
        let own_pods = "exceeded quota: q, requested: count/pods=1, used: count/pods=2, limited: count/pods=2";
        assert!(remedy("QuotaExceeded", own_pods).contains("podHistoryLimit"));
        assert!(!remedy("QuotaExceeded", "exceeded quota: q, requested: pods=1").contains("podHistoryLimit"));
    }
}
