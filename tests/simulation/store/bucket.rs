//! The objects of a store in memory, and what becomes of requests for them.

use std::collections::{BTreeMap, BTreeSet};

use longtask::contract::agent::{MANIFEST, SaveName};

use super::{
    digest::Digest,
    failure::Cause,
    manifest::{Entry, Manifest},
    way::Load,
};
use crate::{dice::Dice, world::World};

/// A store, and what a seed lets go wrong with it. Drawn from dice of its own.
pub(crate) struct Bucket {
    pub(super) dice: Dice,
    objects: BTreeMap<String, Object>,
    /// Of a thousand requests, those that something happens to.
    requests: u64,
    /// The longest that a file takes, in milliseconds.
    slowest: u64,
    /// The longest pause between two troubles of this sort, in milliseconds.
    pub(super) pause: u64,
    /// What keeps everybody from it, and until when.
    pub(super) closed: Option<(Closed, u64)>,
    /// Saves of which somebody has spoiled something, by the addresses of their manifests.
    pub(super) harmed: BTreeSet<String>,
}

/// An object.
struct Object {
    bytes: Vec<u8>,
    at: u64,
}

/// What keeps everybody from a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Closed {
    Unreachable,
    KeysRefused,
    BucketGone,
}

/// What happens to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Arrives,
    /// It arrives so many milliseconds later, whatever becomes of who has sent it.
    ArrivesAnyhow(u64),
    /// It arrives, and no answer comes.
    Unanswered,
    Lost,
    Refused(Cause),
}

/// A save as it is in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) name: SaveName,
    pub(crate) uri: String,
    /// When its manifest came.
    pub(crate) at: u64,
}

impl Bucket {
    pub(crate) fn draw(seed: u64) -> Self {
        let mut dice = Dice::from_seed(seed ^ 0x0062_75c4_e1f0_93ad);
        Self {
            objects: BTreeMap::new(),
            requests: dice.one_of(&[0, 20, 60, 200]),
            slowest: dice.one_of(&[100, 2000, 10_000, 40_000]),
            pause: dice.one_of(&[10_000, 40_000, 120_000]),
            closed: None,
            harmed: BTreeSet::new(),
            dice,
        }
    }

    /// For people, in one line.
    pub(crate) fn weather(&self) -> String {
        let Self { requests, slowest, pause, .. } = self;
        format!("Bucket {{ requests: {requests}, slowest: {slowest}, pause: {pause} }}")
    }

    pub(super) fn get(&self, location: &str) -> Option<&[u8]> {
        self.objects.get(location).map(|object| object.bytes.as_slice())
    }

    pub(super) fn put(&mut self, location: &str, bytes: Vec<u8>, at: u64) {
        self.objects.insert(location.to_owned(), Object { bytes, at });
    }

    pub(super) fn remove(&mut self, location: &str) -> bool {
        self.objects.remove(location).is_some()
    }

    fn below(&self, directory: &str) -> impl Iterator<Item = (&String, &str)> {
        let directory = format!("{directory}/");
        let from = directory.clone();
        self.objects.range(from..).map_while(move |(location, _)| {
            let rest = location.strip_prefix(&directory)?;
            Some((location, rest))
        })
    }

    pub(super) fn list(&self, directory: &str) -> Vec<String> {
        self.below(directory).map(|(location, _)| location.clone()).collect()
    }

    pub(super) fn directories(&self, directory: &str) -> Vec<String> {
        let mut names: Vec<_> = self
            .below(directory)
            .filter_map(|(_, rest)| rest.split_once('/'))
            .map(|(name, _)| name.to_owned())
            .collect();
        names.dedup();
        names
    }

    /// The complete saves of a task, wherever they are.
    pub(crate) fn saves(&self, task_uid: &str) -> Vec<Stored> {
        let stored = |(uri, object): (&String, &Object)| {
            SaveName::in_uri(uri, task_uid).map(|name| Stored { name, uri: uri.clone(), at: object.at })
        };
        self.objects.iter().filter_map(stored).collect()
    }

    /// The place that a save has, if all of it can be read and is what that digest says.
    pub(crate) fn place_of(&self, uri: &str, digest: Option<&str>) -> Option<u64> {
        let bytes = self.get(uri)?;
        if digest.is_some_and(|digest| Digest::of(bytes).with_sort() != digest) {
            return None;
        }
        let manifest: Manifest = serde_json::from_slice(bytes).ok()?;
        let [Entry::File { path, sha256, .. }] = manifest.files.as_slice() else { return None };
        let content = self.get(&format!("{}files/{path}", uri.strip_suffix(MANIFEST)?))?;
        if Digest::of(content) != *sha256 {
            return None;
        }
        str::from_utf8(content).ok()?.parse().ok()
    }

    /// Whether somebody has spoiled something of that save.
    pub(crate) fn is_harmed(&self, uri: &str) -> bool {
        self.harmed.contains(uri)
    }

    /// Whether somebody has spoiled something that this pod has saved.
    pub(crate) fn has_harmed(&self, task_uid: &str, attempt: i64, pod: &str) -> bool {
        let mut harmed = self.harmed.iter().filter_map(|uri| SaveName::in_uri(uri, task_uid));
        harmed.any(|save| save.attempt == attempt && save.pod == pod)
    }

    pub(super) fn finds_the_program_at_fault(&mut self, is_peace: bool) -> bool {
        !is_peace && self.requests > 0 && self.dice.happens(20)
    }

    fn fate(&mut self, now: u64, is_peace: bool, load: Load) -> (u64, u64, Fate) {
        let there = match load {
            Load::Little => self.dice.between(2, 30),
            Load::File => self.dice.between(5, if is_peace { 100 } else { self.slowest }),
        };
        let back = self.dice.between(1, 15);
        let closed = self.closed.filter(|(_, until)| now < *until && !is_peace).map(|(closed, _)| closed);
        let fate = match closed {
            Some(Closed::Unreachable) => Fate::Lost,
            Some(Closed::KeysRefused) => Fate::Refused(Cause::Refused),
            Some(Closed::BucketGone) => Fate::Refused(Cause::NoBucket),
            None if !is_peace && self.dice.happens(self.requests) => {
                let later = self.dice.one_of(&[500, 5000, 30_000]);
                let later = self.dice.between(1, later);
                self.dice.one_of(&[
                    Fate::Lost,
                    Fate::Unanswered,
                    Fate::ArrivesAnyhow(later),
                    Fate::Refused(Cause::Unreachable),
                    Fate::Refused(Cause::Unreachable),
                ])
            }
            None => Fate::Arrives,
        };
        (there, back, fate)
    }
}

impl World {
    pub(super) fn request_fate(&mut self, pod: &str, load: Load) -> (u64, u64, Fate) {
        self.judge_request(pod);
        let (now, is_peace) = (self.now(), self.is_peace);
        self.bucket.fate(now, is_peace, load)
    }

    pub(super) fn store_object(&mut self, pod: &str, location: &str, bytes: Vec<u8>) {
        let now = self.now();
        self.bucket.put(location, bytes, now);
        self.tell("store", format!("{pod} puts {}", short(location)));
    }

    pub(super) fn delete_object(&mut self, pod: &str, location: &str) {
        self.judge_removal(pod, location);
        if self.bucket.remove(location) {
            self.tell("store", format!("{pod} deletes {}", short(location)));
        }
    }
}

/// A location without what all of them begin with.
pub(super) fn short(location: &str) -> String {
    let mut parts: Vec<_> = location.rsplit('/').take(4).collect();
    parts.reverse();
    parts.join("/")
}
