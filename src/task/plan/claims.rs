//! The volumes of a task's own: which claims are to be made, which cannot be mounted, which are to be deleted.

use k8s_openapi::api::core::v1::PersistentVolumeClaim;

use super::{
    draft::Draft,
    observed::{ClaimFacts, Refusal},
    steps::ClaimRef,
};
use crate::{
    api::task::{ClaimRetention, Phase},
    task::render,
};

/// The claims that the next pod mounts and that do not exist.
pub(super) fn missing(draft: &Draft<'_>) -> Vec<PersistentVolumeClaim> {
    let is_missing = |claim: &PersistentVolumeClaim| {
        draft.seen.claims.iter().all(|known| claim.metadata.name.as_ref() != Some(&known.name))
    };
    render::claims(draft.seen.task, draft.seen.uid).filter(is_missing).collect()
}

/// A claim that the next pod would mount, and cannot.
///
/// A claim that another task left behind is mounted, as a StatefulSet does, unless the claims of this one are to be deleted
/// with it: then it would be somebody else's that is deleted, or this one's that stays.
pub(super) fn unusable(draft: &Draft<'_>) -> Option<Refusal> {
    let deletes = draft.spec.persistent_volume_claim_retention_policy.when_deleted == ClaimRetention::Delete;
    let names = render::claim_names(draft.seen.task);
    names.filter_map(|name| draft.seen.claims.iter().find(|claim| claim.name == name)).find_map(|claim| {
        if claim.is_being_deleted {
            Some(Refusal::ClaimGoing(claim.name.clone()))
        } else if deletes && !is_own(draft, claim) {
            Some(Refusal::ClaimTaken(claim.name.clone()))
        } else {
            None
        }
    })
}

/// The claims that a task which has succeeded does not keep.
pub(super) fn to_delete(draft: &Draft<'_>) -> Vec<ClaimRef> {
    if !are_done_with(draft) {
        return Vec::new();
    }
    let kept = |claim: &&ClaimFacts| !claim.is_being_deleted && is_own(draft, claim);
    let reference = |claim: &ClaimFacts| ClaimRef { name: claim.name.clone(), uid: claim.uid.clone() };
    draft.seen.claims.iter().filter(kept).map(reference).collect()
}

/// Whether a claim is to go, or goes. Kubernetes removes it only when no pod object mounts it any more, and a pod that has
/// ended counts.
pub(super) fn go(draft: &Draft<'_>) -> bool {
    let mut names = render::claim_names(draft.seen.task);
    let is_going = |name| draft.seen.claims.iter().any(|claim| claim.name == name && claim.is_being_deleted);
    are_done_with(draft) || names.any(is_going)
}

/// Whether the task has claims, has succeeded, and is not to keep them.
fn are_done_with(draft: &Draft<'_>) -> bool {
    let deletes = draft.spec.persistent_volume_claim_retention_policy.when_succeeded == ClaimRetention::Delete;
    let has_claims = !draft.spec.volume_claim_templates.is_empty();
    draft.status.phase == Some(Phase::Succeeded) && deletes && has_claims
}

fn is_own(draft: &Draft<'_>, claim: &ClaimFacts) -> bool {
    claim.task_uid.as_deref() == Some(draft.seen.uid)
}
