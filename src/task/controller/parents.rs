//! What tasks are parts of, such as sets: looked up by whoever knows them. The controller of tasks knows no other kind.

use std::sync::Arc;

use futures::{
    FutureExt, StreamExt,
    future::{BoxFuture, Shared},
    stream::{self, BoxStream},
};
use kube::{core::DeserializeGuard, runtime::reflector::ObjectRef};
use tokio::sync::mpsc::UnboundedReceiver;

use super::queues::{QueueLinks, Queues};
use crate::{
    api::{parent::Parent, task::LongTask},
    runtime::fanout::{Fanout, Listener},
};

/// A task as it is watched.
type Guarded = DeserializeGuard<LongTask>;

/// Looks up what a task sees of the object that it is a part of; none where it is part of nothing that is known here.
pub type ParentOf = Arc<dyn Fn(&LongTask) -> Option<Parent> + Send + Sync>;

/// How tasks and the objects of one kind that they are parts of hear of each other.
pub struct ParentLinks {
    /// Looks up the parent of a task.
    pub parent_of: ParentOf,
    /// Ends when all parents are known.
    pub filled: BoxFuture<'static, ()>,
    /// The tasks to look at again, since their parent has changed for them.
    pub touched: UnboundedReceiver<ObjectRef<Guarded>>,
    /// Hears of all tasks.
    pub listener: Listener<Guarded>,
}

/// The links to all kinds that tasks can be parts of, and to the queues that they wait in.
#[derive(Default)]
pub(super) struct Links {
    parents: Parents,
    queues: Queues,
    touched: Vec<UnboundedReceiver<ObjectRef<Guarded>>>,
    pub(super) listeners: Fanout<Guarded>,
}

impl Links {
    /// Adds the links to a kind.
    pub(super) fn add(&mut self, links: ParentLinks) {
        let ParentLinks { parent_of, filled, touched, listener } = links;
        self.parents.0.push((parent_of, filled.shared()));
        self.touched.push(touched);
        self.listeners.add(listener);
    }

    /// Adds the links to queues.
    pub(super) fn add_queues(&mut self, links: QueueLinks) {
        let QueueLinks { admission_of, filled, touched, listener } = links;
        self.queues = Queues::known_by(admission_of, filled);
        self.touched.push(touched);
        self.listeners.add(listener);
    }

    /// What looks up parents and queues, the tasks to look at again because of them, and who listens to the tasks.
    pub(super) fn split(self) -> (Parents, Queues, BoxStream<'static, ObjectRef<Guarded>>, Fanout<Guarded>) {
        let Self { parents, queues, touched, listeners } = self;
        // A stream of none would be over, and it is to last.
        let streams = touched.into_iter().map(|mut touched| stream::poll_fn(move |cx| touched.poll_recv(cx)));
        let touched = stream::select_all(streams).chain(stream::pending()).boxed();
        (parents, queues, touched, listeners)
    }
}

/// Looks up the parents of tasks.
#[derive(Clone, Default)]
pub(super) struct Parents(Vec<(ParentOf, Shared<BoxFuture<'static, ()>>)>);

impl Parents {
    /// What a task sees of its parent, once all of that kind are known; none for one that is part of nothing.
    pub(super) async fn of(&self, task: &LongTask) -> Option<Parent> {
        for (parent_of, filled) in &self.0 {
            if parent_of(task).is_some() {
                filled.clone().await;
                return parent_of(task);
            }
        }
        None
    }

    /// Likewise, as far as it is known now.
    pub(super) fn of_now(&self, task: &LongTask) -> Option<Parent> {
        self.0.iter().find_map(|(parent_of, _)| parent_of(task))
    }
}
