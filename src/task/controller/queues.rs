//! The queues that tasks wait in: looked up by whoever knows them. The controller of tasks knows no other kind.

use std::sync::Arc;

use futures::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use kube::{ResourceExt, core::DeserializeGuard, runtime::reflector::ObjectRef};
use tokio::sync::mpsc::UnboundedReceiver;

use crate::{
    api::{
        queue::{Admission, QueueKey},
        task::LongTask,
    },
    cli::Scope,
    runtime::fanout::Listener,
};

/// A task as it is watched.
type Guarded = DeserializeGuard<LongTask>;

/// Looks up what a task sees of the queue that it names.
pub type AdmissionOf = Arc<dyn Fn(&LongTask) -> Admission + Send + Sync>;

/// How tasks and the queues that they wait in hear of each other.
pub struct QueueLinks {
    /// Looks up what a task sees of its queue.
    pub admission_of: AdmissionOf,
    /// Ends when all queues are known.
    pub filled: BoxFuture<'static, ()>,
    /// The tasks to look at again, since their queue has changed for them.
    pub touched: UnboundedReceiver<ObjectRef<Guarded>>,
    /// Hears of all tasks.
    pub listener: Listener<Guarded>,
}

/// Looks up the queues of tasks.
#[derive(Clone, Default)]
pub(super) struct Queues(Option<(AdmissionOf, Shared<BoxFuture<'static, ()>>)>);

impl Queues {
    /// Queues that are looked up so, once all are known.
    pub(super) fn known_by(admission_of: AdmissionOf, filled: BoxFuture<'static, ()>) -> Self {
        Self(Some((admission_of, filled.shared())))
    }

    /// What a task sees of its queue, once all queues are known.
    pub(super) async fn of(&self, task: &LongTask, scope: &Scope) -> Admission {
        let Some((admission_of, filled)) = &self.0 else { return Admission::NotAsked };
        let Some(name) = &task.spec.queue_name else { return Admission::NotAsked };
        let key = QueueKey::meant_by(name, &task.namespace().unwrap_or_default());
        if matches!(scope, Scope::Namespace(watched) if *watched != key.namespace) {
            return Admission::NotWatched;
        }
        filled.clone().await;
        admission_of(task)
    }
}
