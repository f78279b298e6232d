//! What is asked of stored checkpoints: what the status names can be read, what nobody was told of is found again and nothing
//! else is, and what can be read is not given up.

use std::collections::BTreeSet;

use longtask::{
    api::task::{AttemptReason, Checkpoint, LongTaskStatus, Outcome},
    contract::agent::{MANIFEST, RestoreWord, SaveName},
};
use serde_json::Value;

use crate::{
    judge::{number, status_of},
    objects::Kind,
    restoring::{Wants, is_unreadable, uid_of_saves},
    store::{
        bucket::Stored,
        directory::place_in,
        room::{Room, Task},
    },
    world::World,
};

/// What has been seen of saves.
#[derive(Default)]
pub(crate) struct Saves {
    /// Named by a status that somebody has written over a newer one: they may have been removed before.
    excused: BTreeSet<String>,
    /// Named as well, by a status that knew less of attempts than there had been: places go back then.
    are_mixed_up: bool,
}

/// The place that a checkpoint has, whoever keeps it.
pub(crate) fn place_of(checkpoint: &Checkpoint) -> Option<u64> {
    match &checkpoint.data {
        Some(data) => data["n"].as_u64(),
        None => place_in(checkpoint.path.as_ref()?),
    }
}

/// The checkpoints that a status names.
fn named(status: &LongTaskStatus) -> impl Iterator<Item = &Checkpoint> {
    status.checkpoint.iter().chain(&status.checkpoint_history)
}

fn names(status: &LongTaskStatus, uri: &str) -> bool {
    named(status).any(|checkpoint| checkpoint.uri.as_deref() == Some(uri))
}

/// Whether a status falls back from a checkpoint to the one before it, since that cannot be read, and says so.
pub(crate) fn falls_back(before: &LongTaskStatus, after: &LongTaskStatus) -> bool {
    let last = after.recent_attempts.first();
    let is_new = last.map(|ended| ended.number) != before.recent_attempts.first().map(|ended| ended.number);
    let unreadable = AttemptReason::CheckpointUnreadable.to_string();
    let says_so = last.is_some_and(|ended| ended.outcome == Outcome::StartFailed && ended.reason == unreadable);
    let earlier = before.checkpoint_history.first().map(|earlier| earlier.sequence);
    let now = after.checkpoint.as_ref().map(|checkpoint| checkpoint.sequence);
    is_new && says_so && now.is_some() && now == earlier
}

impl World {
    /// A status is being written over one that knows more.
    pub(crate) fn excuse_saves(&mut self, saved: &Value) {
        let saved = status_of(saved);
        let uris = named(&saved).filter_map(|checkpoint| checkpoint.uri.clone());
        self.judge.saves.excused.extend(uris);
        self.judge.saves.are_mixed_up = true;
    }

    /// The place of a save that this task may read: one of another task is none, and a status that was written back for a task
    /// made anew may name such.
    fn own_place_of(&self, uid: &str, uri: &str, digest: Option<&str>) -> Option<u64> {
        SaveName::in_uri(uri, uid)?;
        self.bucket.place_of(uri, digest)
    }

    fn is_excused(&self, uri: &str) -> bool {
        self.bucket.is_harmed(uri) || self.judge.saves.excused.contains(uri)
    }

    /// A status is being written.
    pub(crate) fn judge_named(&mut self, uid: &str, before: &LongTaskStatus, after: &LongTaskStatus) {
        let is_new = |checkpoint: &&Checkpoint| checkpoint.uri.as_ref().is_some_and(|uri| !names(before, uri));
        let new: Vec<_> = named(after).filter(is_new).cloned().collect();
        for checkpoint in new {
            let uri = checkpoint.uri.clone().unwrap_or_default();
            let there = self.bucket.place_of(&uri, checkpoint.digest.as_deref());
            if there != place_of(&checkpoint) && !self.is_excused(&uri) {
                self.accuse(format!("I13: the status names {uri}, where {there:?} can be read"));
            }
        }
        self.judge_adoption(uid, before, after);
        if let Some(dropped) = before.checkpoint.as_ref().filter(|_| falls_back(before, after)).cloned() {
            let there = self.own_place_of(uid, dropped.uri.as_deref().unwrap_or_default(), dropped.digest.as_deref());
            if there.is_some() {
                self.accuse(format!("I3: checkpoint {} is given up, and can be read", dropped.sequence));
            }
        }
    }

    /// What an earlier attempt has saved is adopted if it is newer than what is known, and was not dropped.
    fn judge_adoption(&mut self, uid: &str, before: &LongTaskStatus, after: &LongTaskStatus) {
        let save_of = |checkpoint: &Checkpoint| SaveName::in_uri(checkpoint.uri.as_deref()?, uid);
        let known = before.checkpoint.as_ref().and_then(save_of);
        let adopted = named(after).filter(|one| one.attempt < number(before));
        let adopted: Vec<_> =
            adopted.filter(|one| one.uri.as_ref().is_some_and(|uri| !names(before, uri))).filter_map(save_of).collect();
        for save in adopted {
            if save.attempt < before.checkpoint_epoch {
                self.accuse(format!("save {save} is adopted, and attempts from {} on count", before.checkpoint_epoch));
            }
            if known.as_ref().is_some_and(|known| save < *known) {
                self.accuse(format!("I3: save {save} is adopted after {known:?}"));
            }
        }
    }

    /// A pod asks for something in the store.
    pub(crate) fn judge_request(&mut self, pod: &str) {
        if self.lives.get(pod).and_then(|life| life.agent.as_ref()).is_some_and(|agent| agent.has_heard_off) {
            self.accuse(format!("{pod} goes on in the store, and has heard that its attempt is over"));
        }
    }

    /// A pod removes an object.
    pub(crate) fn judge_removal(&mut self, pod: &str, location: &str) {
        let parts: Vec<_> = location.split('/').collect();
        let Some(life) = self.lives.get(pod) else { return };
        let Some(place) = parts.iter().position(|part| *part == life.task_uid) else {
            return self.accuse(format!("{pod} removes {location}, which is none of its task's"));
        };
        let uri = format!("{}/{MANIFEST}", parts[..(place + 3).min(parts.len())].join("/"));
        let task = self.store.all(Kind::Task).find(|task| task["metadata"]["uid"] == life.task_uid.as_str());
        let is_named = task.is_some_and(|task| names(&status_of(task), &uri));
        if is_named && !self.is_excused(&uri) {
            self.accuse(format!("I13: {pod} removes {location}, and the status names that save"));
        }
    }

    /// An agent tells its program that a checkpoint is safe.
    pub(crate) fn judge_told(&mut self, pod: &str, path: &str) {
        let Some(life) = self.lives.get(pod) else { return };
        let (uid, attempt, own) = (&life.task_uid, life.attempt, uid_of_saves(pod));
        let saves = self.bucket.saves(uid);
        let mut of_pod = saves.iter().filter(|save| save.name.attempt == attempt && save.name.pod == own);
        let is_there = of_pod.any(|save| self.bucket.place_of(&save.uri, None) == place_in(path));
        if !is_there && !self.bucket.has_harmed(uid, attempt, &own) {
            self.accuse(format!("R5: {pod} is told that {path} is safe, and it is not stored"));
        }
    }

    /// A container has restored what its program resumes from, or says why not.
    pub(crate) fn judge_restore(&mut self, pod: &str, word: &RestoreWord) {
        let Some(life) = self.lives.get(pod) else { return };
        let Some(restore) = &life.restore else { return };
        let (wants, attempt, began) = (restore.wants.clone(), life.attempt, restore.began());
        let (uid, url, task) = (life.task_uid.clone(), restore.settings.url.clone(), Task::of(&restore.settings));
        if is_unreadable(word) {
            let named = wants.named.as_ref();
            let there = named.and_then(|(address, digest)| self.own_place_of(&uid, address, Some(digest)));
            if there.is_some() {
                self.accuse(format!("{pod} is told that {:?} cannot be read, and it can", wants.named));
            }
            return;
        }
        if word.error.is_some() {
            return;
        }
        let restored = word.restored.clone();
        match &restored {
            Some(restored) if !restored.is_adopted => {
                let told = Some((restored.uri.clone(), restored.digest.clone()));
                if told != wants.named {
                    self.accuse(format!("{pod} resumes from {told:?}, and the status names {:?}", wants.named));
                }
            }
            Some(restored) => self.judge_adopted(pod, &uid, attempt, &wants, &restored.uri),
            None if wants.named.is_some() => {
                self.accuse(format!("R6: {pod} begins anew, and the status names {:?}", wants.named));
            }
            None => {}
        }
        if let Some(restored) = restored {
            let there = self.bucket.place_of(&restored.uri, Some(&restored.digest));
            if there.is_some() && there != place_in(&restored.path) {
                self.accuse(format!("{pod} resumes from {} as {}, and it is {there:?}", restored.uri, restored.path));
            }
        }
        let resumed = word.restored.as_ref().and_then(|restored| SaveName::in_uri(&restored.uri, &uid));
        let of_named = wants.named.as_ref().and_then(|(uri, _)| Room::url_of_store(uri, &task));
        let is_looked_at = |uri: &str| uri.starts_with(&url) || of_named.is_some_and(|url| uri.starts_with(url));
        let is_passed_over = |save: &&Stored| {
            let is_wanted = save.name.attempt >= wants.epoch && save.name.attempt < attempt && is_looked_at(&save.uri);
            is_wanted && save.at < began && Some(&save.name) > resumed.as_ref()
        };
        let saves = self.bucket.saves(&uid);
        let passed_over = saves
            .iter()
            .filter(is_passed_over)
            .find(|save| !self.bucket.is_harmed(&save.uri) && self.bucket.place_of(&save.uri, None).is_some());
        if let Some(save) = passed_over {
            self.accuse(format!("R3: {pod} resumes from {resumed:?}, and {} is newer", save.name));
        }
    }

    fn judge_adopted(&mut self, pod: &str, uid: &str, attempt: i64, wants: &Wants, uri: &str) {
        let Some(save) = SaveName::in_uri(uri, uid) else {
            return self.accuse(format!("{pod} resumes from {uri}, which is none of its task's"));
        };
        let named = wants.named.as_ref().and_then(|(uri, _)| SaveName::in_uri(uri, uid));
        if save.attempt < wants.epoch || save.attempt >= attempt || Some(&save) <= named.as_ref() {
            let epoch = wants.epoch;
            self.accuse(format!("{pod} resumes from {save}, and the status names {named:?}, from attempt {epoch} on"));
        }
    }

    /// Whether places may go back, since somebody has written an older status over a newer one.
    pub(crate) fn are_saves_mixed_up(&self) -> bool {
        self.judge.saves.are_mixed_up
    }
}
