//! Requests of one pod to the store, with what can happen on the way.

use std::{fmt, future, time::Duration};

use tokio::time::sleep;

use super::{
    bucket::Fate,
    failure::{Cause, Failure},
};
use crate::{
    defects::Defect,
    kubelet::Node,
    world::{Shared, World},
};

/// How long it takes until a request is given up that nobody answers: the library's tries, all together.
const TIMEOUT: Duration = Duration::from_secs(8);

/// How much a request brings or fetches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Load {
    Little,
    /// What a program has written.
    File,
}

/// The way from one pod to the store.
pub(crate) struct Way {
    world: Shared,
    pod: String,
}

impl fmt::Debug for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the way of {}", self.pod)
    }
}

impl Way {
    pub(crate) fn new(world: &Shared, pod: &str) -> Self {
        Self { world: world.clone(), pod: pod.to_owned() }
    }

    pub(crate) fn has(&self, defect: Defect) -> bool {
        self.world.lock().defect == Some(defect)
    }

    /// Whether the program has written to what it said was complete.
    pub(crate) fn finds_the_program_at_fault(&self) -> bool {
        let mut world = self.world.lock();
        let is_peace = world.is_peace;
        world.bucket.finds_the_program_at_fault(is_peace)
    }

    pub(crate) async fn get(&self, location: &str, load: Load) -> Result<Vec<u8>, Failure> {
        let location = location.to_owned();
        self.ask(load, move |world, _| {
            let missing = || Failure::new(Cause::Missing, format!("{location} is not there"));
            world.bucket.get(&location).map(<[u8]>::to_vec).ok_or_else(missing)
        })
        .await
    }

    pub(crate) async fn put(&self, location: &str, bytes: Vec<u8>, load: Load) -> Result<(), Failure> {
        let location = location.to_owned();
        self.ask(load, move |world, pod| {
            world.store_object(pod, &location, bytes);
            Ok(())
        })
        .await
    }

    /// What is not there need not be deleted.
    pub(crate) async fn delete(&self, location: &str) -> Result<(), Failure> {
        let location = location.to_owned();
        self.ask(Load::Little, move |world, pod| {
            world.delete_object(pod, &location);
            Ok(())
        })
        .await
    }

    /// All objects below a directory.
    pub(crate) async fn list(&self, directory: &str) -> Result<Vec<String>, Failure> {
        let directory = directory.to_owned();
        self.ask(Load::Little, move |world, _| Ok(world.bucket.list(&directory))).await
    }

    /// The names of the directories in a directory.
    pub(crate) async fn directories(&self, directory: &str) -> Result<Vec<String>, Failure> {
        let directory = directory.to_owned();
        self.ask(Load::Little, move |world, _| Ok(world.bucket.directories(&directory))).await
    }

    /// Asks the store for something that takes effect when the request arrives.
    async fn ask<T: Send + 'static>(
        &self,
        load: Load,
        effect: impl FnOnce(&mut World, &str) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        if self.is_lost() {
            return future::pending().await;
        }
        let (there, back, fate) = self.world.lock().request_fate(&self.pod, load);
        sleep(Duration::from_millis(there)).await;
        let answer = match fate {
            Fate::Refused(cause) => Err(Failure::new(cause, "the store refuses it")),
            Fate::Lost => return self.give_up().await,
            Fate::Unanswered => {
                self.arrive(effect).await?;
                return self.give_up().await;
            }
            Fate::Arrives => self.arrive(effect).await,
            Fate::ArrivesAnyhow(later) => {
                // On its own: what is under way arrives even when its agent is gone.
                let (world, pod) = (self.world.clone(), self.pod.clone());
                let arriving = tokio::spawn(async move {
                    sleep(Duration::from_millis(later)).await;
                    effect(&mut world.lock(), &pod)
                });
                arriving.await.expect("it does not panic")
            }
        };
        sleep(Duration::from_millis(back)).await;
        answer
    }

    /// A machine that is gone asks for nothing.
    fn is_lost(&self) -> bool {
        self.world.lock().lives.get(&self.pod).is_none_or(|life| life.node == Node::Lost)
    }

    async fn arrive<T>(&self, effect: impl FnOnce(&mut World, &str) -> Result<T, Failure>) -> Result<T, Failure> {
        if self.is_lost() {
            return future::pending().await;
        }
        effect(&mut self.world.lock(), &self.pod)
    }

    async fn give_up<T>(&self) -> Result<T, Failure> {
        sleep(TIMEOUT).await;
        Err(Failure::new(Cause::Unreachable, "the store does not answer"))
    }
}
