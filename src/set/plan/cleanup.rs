//! What is not needed any more is deleted: members whose success is counted, and at last the set.

use std::sync::Arc;

use jiff::Timestamp;

use super::{
    draft::Draft,
    observed::{Member, MemberPhase},
    steps::SetStep,
};
use crate::types::time::after;

/// How many members are deleted in one pass.
const MOST_DELETES: usize = 100;
/// How long a member stays after its creation and that of its last pod, in seconds: a create that lands late must meet the name
/// of what is there, else a success would run again.
const NAME_HELD: i64 = 30;

/// Deletes members whose success is counted, beyond those that are kept; and those that came to be when their index had been
/// counted already. As they were read: one that its user has restarted since is another reading.
pub(super) fn delete_counted(draft: &mut Draft<'_>) {
    let mut free = MOST_DELETES;
    let mut later: Option<Timestamp> = None;
    for member in to_delete(draft) {
        let free_at = after(member.last_create_time, NAME_HELD);
        if free_at > draft.now {
            later = Some(later.map_or(free_at, |known| known.min(free_at)));
        } else if free == 0 {
            draft.wake_at_once();
            break;
        } else {
            free -= 1;
            let (name, uid) = (member.name.clone(), member.uid.clone());
            let resource_version = member.resource_version.clone();
            draft.step(SetStep::Delete { name, uid, resource_version });
        }
    }
    if let Some(moment) = later {
        draft.wake_at(moment);
    }
}

fn to_delete(draft: &Draft<'_>) -> Vec<Arc<Member>> {
    let succeeded = &draft.status.succeeded.indexes;
    let counted =
        draft.seen.members.values().filter(|member| !member.is_being_deleted && succeeded.contains(member.index));
    let (mut done, mut unborn) = (Vec::new(), Vec::new());
    for member in counted {
        match member.phase {
            MemberPhase::Succeeded => done.push(Arc::clone(member)),
            MemberPhase::New => unborn.push(Arc::clone(member)),
            // Its user has restarted it by hand.
            MemberPhase::UnderWay | MemberPhase::Held | MemberPhase::Failed | MemberPhase::Cancelled => {}
        }
    }
    let kept = draft.set.spec.history_limit();
    if done.len() <= kept {
        done.clear();
    } else {
        done.sort_by_key(|member| (member.completion_time, member.index));
        done.truncate(done.len() - kept);
    }
    done.extend(unborn);
    done
}

/// Deletes a set that ended long enough ago.
pub(super) fn delete_when_expired(draft: &mut Draft<'_>) {
    let Some(phase) = draft.status.phase.filter(|phase| phase.is_terminal()) else { return };
    let Some((ttl, ended)) = draft.set.spec.ttl_after(phase).zip(draft.status.completion_time) else { return };
    let due = after(ended, ttl.as_secs());
    if due <= draft.now {
        draft.steps.clear();
        draft.step(SetStep::DeleteSet);
    } else {
        draft.wake_at(due);
    }
}
