//! What happens to a store and to what is in it, and to those who restore from it.

use longtask::contract::agent::MANIFEST;
use serde_json::json;

use super::bucket::{Closed, short};
use crate::{
    judge::status_of,
    mail::STORES,
    objects::Kind,
    troubles::TASK,
    world::{Event, World},
};

impl World {
    /// Something happens to the store.
    pub(crate) fn trouble_the_store(&mut self) {
        if self.is_peace {
            return;
        }
        let pause = self.bucket.dice.between(200, self.bucket.pause);
        self.happen_in(pause, Event::StoreTrouble);
        match self.bucket.dice.between(0, 11) {
            0..=2 => self.close_the_store(Closed::Unreachable),
            3 => self.close_the_store(Closed::KeysRefused),
            4 => self.close_the_store(Closed::BucketGone),
            5..=7 => self.harm_a_save(),
            8 => {
                let restoring = self.lives.iter().filter(|(_, life)| life.is_restoring());
                if let Some(uid) = restoring.map(|(uid, _)| uid.clone()).next_back() {
                    self.kill_restore(&uid);
                }
            }
            9 => {
                let url = self.bucket.dice.one_of(&STORES);
                self.edit(&format!("stores in {url}"), |spec| {
                    if spec["checkpoint"]["store"].is_object() {
                        spec["checkpoint"]["store"]["url"] = json!(url);
                    }
                });
            }
            _ => {}
        }
    }

    fn close_the_store(&mut self, closed: Closed) {
        let longest = self.bucket.dice.one_of(&[5000, 30_000, 120_000]);
        let until = self.now() + self.bucket.dice.between(1000, longest);
        self.bucket.closed = Some((closed, until));
        self.tell("store", format!("is {closed:?} until {until}"));
    }

    /// Somebody deletes or overwrites an object of a save: of the one that the status names, or of any other.
    fn harm_a_save(&mut self) {
        let Some(task) = self.store.get(Kind::Task, TASK) else { return };
        let uid = task["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
        let named = status_of(task).checkpoint.and_then(|checkpoint| checkpoint.uri);
        let saves: Vec<_> = self.bucket.saves(&uid).into_iter().map(|save| save.uri).collect();
        if saves.is_empty() {
            return;
        }
        let any = self.bucket.dice.one_of(&saves);
        let is_named = self.bucket.dice.happens(600);
        let uri = named.filter(|uri| is_named && saves.contains(uri)).unwrap_or(any);
        let objects =
            uri.strip_suffix(&format!("/{MANIFEST}")).map(|place| self.bucket.list(place)).unwrap_or_default();
        // Of a save of which nothing is left, it cannot be told from an empty store.
        if objects.len() < 2 {
            return;
        }
        let location = self.bucket.dice.one_of(&objects);
        self.bucket.harmed.insert(uri);
        if self.bucket.dice.happens(500) {
            self.bucket.remove(&location);
            self.tell("somebody", format!("deletes {}", short(&location)));
        } else {
            let now = self.now();
            self.bucket.put(&location, b"spoiled".to_vec(), now);
            self.tell("somebody", format!("overwrites {}", short(&location)));
        }
    }

    /// The store works again.
    pub(crate) fn mend_the_store(&mut self) {
        self.bucket.closed = None;
    }
}
