//! What keeps the next pod from running: the condition `Blocked`.

use super::{draft::Draft, observed::Words};
use crate::api::{ConditionType, cut, find_condition};

/// How much of the cluster's words fits into a condition beside ours, in bytes.
const LONGEST_WORDS: usize = 360;

/// Shows what keeps the next pod from running, and what to do about it, with an event.
///
/// Said again only when the reason or the specification changes: the cluster's messages carry figures that move.
pub(super) fn block(draft: &mut Draft<'_>, reason: &str, words: &str) {
    if !is_known(draft, reason) {
        set(draft, reason, words);
        let note = format!("Cannot start ({reason}): {}. What to do: {}.", sentence(words), remedy(reason));
        draft.warn_of_block(reason, &note);
    }
}

/// Shows why the last start failed, until one succeeds. There is an event for that already.
pub(super) fn show(draft: &mut Draft<'_>, reason: &str, words: &str) {
    if shown(draft).is_some_and(|shown| shown.reason == reason) {
        return;
    }
    set(draft, reason, words);
}

fn set(draft: &mut Draft<'_>, reason: &str, words: &str) {
    let message = format!("{}; {}", cut(sentence(words), LONGEST_WORDS), remedy(reason));
    draft.set_condition(ConditionType::Blocked, true, reason, &message);
}

/// The next pod could be created and started after all, or is not wanted any more.
pub(super) fn unblock(draft: &mut Draft<'_>, reason: &str) {
    draft.set_condition(ConditionType::Blocked, false, reason, "");
}

/// The kubelet tells the same trouble now by this name, now by that: while it pulls, and while it waits to pull again.
pub(super) fn is_same_trouble(shown: &str, seen: &str) -> bool {
    shown == seen || (shown == "ErrImagePull" && seen == "ImagePullBackOff")
}

/// What is shown now, if anything is.
pub(super) fn shown(draft: &Draft<'_>) -> Option<Words> {
    find_condition(&draft.status.conditions, ConditionType::Blocked)
        .filter(|blocked| blocked.status == "True")
        .map(|blocked| Words { reason: blocked.reason.clone(), message: blocked.message.clone() })
}

fn is_known(draft: &Draft<'_>, reason: &str) -> bool {
    let is_known_edit = draft.status.observed_generation == draft.seen.generation();
    is_known_edit && shown(draft).is_some_and(|shown| is_same_trouble(&shown.reason, reason))
}

fn sentence(words: &str) -> &str {
    words.trim_end_matches(['.', ' ', '\n'])
}

/// What the user can do. Everything is tried on by itself, so it is never "restart".
fn remedy(reason: &str) -> &'static str {
    match reason {
        "Unschedulable" => "make room or lower what spec.template requests; it goes on by itself when there is room",
        "SchedulingGated" => "it goes on by itself when the pod's scheduling gates are removed",
        "QuotaExceeded" => "make room or raise the quota; it goes on by itself when there is room",
        "SchedulerError" => "see the scheduler's log; it is tried again",
        "ErrImagePull" | "ImagePullBackOff" | "InvalidImageName" | "ErrImageNeverPull" => {
            "check the image's name and the pull secrets in spec.template"
        }
        "RegistryUnavailable" | "ImageInspectError" => {
            "see whether the registry and the node's container runtime are well; it is tried again"
        }
        "SignatureValidationFailed" => "sign the image, or have the policy of signatures changed",
        "CreateContainerConfigError" => "create what is missing, or correct spec.template",
        "StartError" | "RunContainerError" | "CreateContainerError" => {
            "check the command in spec.template and the image"
        }
        "PreCreateHookError" | "PreStartHookError" => "see the kubelet's log on that node; it is tried again",
        "PostStartHookError" => "correct the container's postStart hook in spec.template",
        "CrashLoopBackOff" => "see the log of the sidecar that ends again and again: kubectl logs --previous",
        "PodOSNotSupported" | "PodOSSelectorNodeLabelDoesNotMatch" => {
            "choose nodes of that operating system by nodeSelector, or correct spec.template"
        }
        "AppArmor"
        | "EmptyPodSharedPoolError"
        | "InitContainerRestartPolicyForbidden"
        | "PodLevelResourcesNotSupported"
        | "SupplementalGroupsPolicyNotSupported"
        | "SysctlForbidden" => "choose nodes that support it by nodeSelector, or leave it out of spec.template",
        "InitContainerFailed" => "see the init container's log",
        "UnknownCheckpoint" => "set spec.restart.checkpointSequence to one that exists",
        "NameTaken" => "delete or rename that pod",
        "PodSecurityViolation" | "Forbidden" => "correct spec.template, or have the policy changed",
        "Invalid" | "BadRequest" => "correct spec.template",
        _ => "correct spec.template if the cause lies there; it is tried again either way",
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
            (&["NameTaken"], "delete or rename that pod"),
            (&["PodSecurityViolation", "Forbidden"], "have the policy changed"),
            (&["Invalid", "BadRequest"], "correct spec.template"),
            (&["SomethingElse"], "it is tried again either way"),
        ] {
            for reason in reasons {
                assert!(remedy(reason).contains(remedy_says), "{reason}: {}", remedy(reason));
            }
        }
        assert!(!remedy("Invalid").contains("tried again"), "it fails until it is corrected");
    }
}
