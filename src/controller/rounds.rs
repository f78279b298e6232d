//! What is looked at every now and then, whatever happens.

use std::{collections::HashMap, time::Duration};

use kube::runtime::reflector::{ObjectRef, Store};
use tokio::{sync::mpsc::UnboundedSender, time};

use super::{
    pods::{PodIndex, TaskKey},
    watches::Guarded,
};
use crate::{api::Phase, telemetry::metrics::Metrics};

const EVERY: Duration = Duration::from_secs(30);

/// Makes a round every half minute, once the caches are filled: counts the tasks by phase, and names to the janitor
/// each task that is gone and still has pods: the deletion may have been missed.
pub(super) async fn make_rounds(
    tasks: Store<Guarded>,
    pods: PodIndex,
    metrics: Metrics,
    missing: UnboundedSender<TaskKey>,
) {
    let mut round = time::interval(EVERY);
    loop {
        round.tick().await;
        metrics.tasks(by_phase(&tasks));
        for task in pods.tasks_with_held_pods() {
            let reference = ObjectRef::<Guarded>::new(&task.name).within(&task.namespace);
            if tasks.get(&reference).is_none() {
                // The janitor ends only with us.
                let _ = missing.send(task);
            }
        }
    }
}

/// The number of tasks in each phase, those without any included.
fn by_phase(tasks: &Store<Guarded>) -> HashMap<&'static str, usize> {
    let mut numbers: HashMap<_, _> = Phase::ALL.iter().map(|phase| (phase.as_str(), 0)).collect();
    for task in tasks.state() {
        let status = task.0.as_ref().ok().and_then(|task| task.status.as_ref());
        let phase = status.and_then(|status| status.phase).unwrap_or(Phase::Pending);
        *numbers.entry(phase.as_str()).or_default() += 1;
    }
    numbers
}
