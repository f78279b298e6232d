//! Who has a place in a queue, and who waits, in order.

use std::sync::Arc;

use jiff::Timestamp;
use kube::ResourceExt;
use serde::Serialize;

use super::{
    style::{BAD, BOLD, DIM, GOOD, WARNING, paint},
    table::{Cell, table},
    time::{ago, span},
};
use crate::{
    api::queue::{BreakerState, QueueConditionType, TaskQueue, TaskQueueStatus, task_name},
    queue::plan::{ObservedQueue, QueuedTask, in_order},
    types::{find_condition, time::seconds_between},
};

/// How many of those who wait are printed for people.
const MOST_ROWS: usize = 50;

/// The facts that `queue` tells, as `-o json` prints them.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::kubectl) struct QueueView {
    namespace: String,
    name: String,
    suspend: bool,
    status: TaskQueueStatus,
    /// Those who wait, the next one first.
    waits: Vec<Waiting>,
    /// The namespaces whose tasks the user may not list; `*` for all others.
    not_seen: Vec<String>,
}

/// A task that waits.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Waiting {
    task: String,
    priority: i64,
    queue_time: Option<Timestamp>,
}

/// Where a task stands in its queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::kubectl) struct PlaceInLine {
    queue: String,
    before: usize,
    last_wait: Option<String>,
    stands_still: Option<&'static str>,
}

impl QueueView {
    /// The facts of a queue with the tasks that its user may see.
    pub(in crate::kubectl) fn of(
        queue: &TaskQueue,
        tasks: Vec<Arc<QueuedTask>>,
        not_seen: Vec<String>,
        now: Timestamp,
    ) -> Self {
        let seen = ObservedQueue::of(queue, tasks);
        let waits = in_order(&seen, now).into_iter().map(|task| Waiting {
            task: task_name(&task.namespace, &task.name),
            priority: task.priority,
            queue_time: task.ticket.as_ref().map(|ticket| ticket.since),
        });
        Self {
            namespace: queue.namespace().unwrap_or_default(),
            name: queue.name_any(),
            suspend: queue.spec.suspend,
            status: queue.status.clone().unwrap_or_default(),
            waits: waits.collect(),
            not_seen,
        }
    }

    /// Where a task stands, if it waits here and all who wait are seen.
    pub(in crate::kubectl) fn place_of(&self, namespace: &str, name: &str) -> Option<PlaceInLine> {
        let task = task_name(namespace, name);
        let before = self.waits.iter().position(|waiting| waiting.task == task).filter(|_| self.not_seen.is_empty())?;
        let breaker = self.status.breaker.as_ref().map(|breaker| breaker.state);
        let stands_still = match breaker {
            _ if self.suspend => Some("the queue is suspended"),
            Some(BreakerState::Open) => Some("its breaker is open"),
            Some(BreakerState::HalfOpen) => Some("its breaker is half open, and a few are tried"),
            Some(BreakerState::Closed) | None => None,
        };
        let last_wait = self.status.last_wait.map(|wait| span(wait.as_secs()));
        Some(PlaceInLine { queue: self.name.clone(), before, last_wait, stands_still })
    }

    /// The facts as text, for people.
    pub(in crate::kubectl) fn text(&self, now: Timestamp) -> String {
        let status = &self.status;
        let summary = if status.summary.is_empty() { "not taken up yet" } else { &status.summary };
        // The status may be ten seconds old.
        let seen = i64::try_from(self.waits.len()).unwrap_or(i64::MAX);
        let waiting = if self.not_seen.is_empty() { seen } else { status.waiting };
        let mut text = format!("{}  {summary} active, {waiting} waiting\n", paint(BOLD, &self.name));
        let facts = self.facts(now);
        let lines = facts.iter().map(|(name, fact)| format!("{}{fact}\n", paint(DIM, &format!("{name:<12}"))));
        text += &lines.collect::<String>();
        if !status.holders.is_empty() {
            let rows = status.holders.iter().map(|holder| {
                let probe = if holder.probe { Cell::styled("probe", WARNING) } else { Cell::from("") };
                [Cell::from(&*holder.task), Cell::from(holder.ticket.to_string()), probe]
            });
            text += "\n";
            text += &table(["HAS A PLACE", "TICKET", ""], rows.collect());
        }
        if !self.waits.is_empty() {
            let rows = self.waits.iter().take(MOST_ROWS).enumerate().map(|(index, waiting)| {
                let waited = waiting.queue_time.map_or_else(|| "-".to_owned(), |time| span(seconds_between(time, now)));
                [
                    Cell::from((index + 1).to_string()),
                    Cell::from(&*waiting.task),
                    Cell::from(waiting.priority.to_string()),
                    Cell::from(waited),
                ]
            });
            text += "\n";
            text += &table(["", "WAITS", "PRIORITY", "FOR"], rows.collect());
        }
        if let Some(more) = self.waits.len().checked_sub(MOST_ROWS).filter(|more| *more > 0) {
            text += &paint(DIM, &format!("and {more} more; `-o json` lists all\n"));
        }
        if !self.not_seen.is_empty() {
            let hidden = self.not_seen.join(", ").replace('*', "all other namespaces");
            text +=
                &paint(DIM, &format!("\nYou may not list the tasks of {hidden}: those who wait there are left out.\n"));
        }
        text
    }

    fn facts(&self, now: Timestamp) -> Vec<(&'static str, String)> {
        let mut facts = Vec::new();
        if let Some(wait) = self.status.last_wait {
            facts.push(("last wait", format!("{} of the task that was called last", span(wait.as_secs()))));
        }
        if self.suspend {
            let words = format!("nobody is called; `kubectl longtask resume tq/{}` lets it go on", self.name);
            facts.push(("suspended", paint(WARNING, &words)));
        }
        if let Some(breaker) = &self.status.breaker {
            let style = match breaker.state {
                BreakerState::Closed => GOOD,
                BreakerState::HalfOpen => WARNING,
                BreakerState::Open => BAD,
            };
            let state = paint(style, breaker.state.into());
            facts.push(("breaker", format!("{state}, since {}", ago(breaker.transition_time, now))));
        }
        let open = find_condition(&self.status.conditions, QueueConditionType::BreakerOpen);
        if let Some(open) = open.filter(|open| open.status == "True") {
            facts.push(("why", paint(WARNING, &open.message)));
        }
        facts
    }
}

impl PlaceInLine {
    /// What a task can be told about its turn.
    pub(in crate::kubectl) fn words(&self) -> String {
        let Self { queue, before, last_wait, stands_still } = self;
        let wait = last_wait.as_ref().map(|wait| format!("; the last one called had waited {wait}"));
        let still = stands_still.map(|why| format!("; nobody else is called meanwhile: {why}"));
        format!(
            "it starts when TaskQueue {queue} calls it, {before} before it{}{}",
            wait.unwrap_or_default(),
            still.unwrap_or_default()
        )
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::api::task::LongTask;

    fn task(name: &str, priority: i32, since: &str) -> Arc<QueuedTask> {
        let task: LongTask = serde_json::from_value(json!({
            "apiVersion": "longtask.dev/v1alpha1", "kind": "LongTask",
            "metadata": { "name": name, "namespace": "orders", "uid": format!("uid-of-{name}") },
            "spec": { "queueName": "shared/partner-api", "priority": priority,
                      "template": { "spec": { "containers": [{ "name": "main" }] } } },
            "status": { "queue": { "name": "shared/partner-api", "ticket": 1, "state": "Waiting", "queueTime": since } },
        }))
        .expect("a task");
        Arc::new(QueuedTask::of(&task).expect("a task with a queue"))
    }

    fn view(spec: &Value, status: &Value, not_seen: &[&str]) -> QueueView {
        let mut whole = json!({ "maxActive": 2, "allowedNamespaces": ["orders"] });
        whole.as_object_mut().expect("a spec").extend(spec.as_object().expect("fields").clone());
        let queue = serde_json::from_value(json!({
            "apiVersion": "longtask.dev/v1alpha1", "kind": "TaskQueue",
            "metadata": { "name": "partner-api", "namespace": "shared" }, "spec": whole, "status": status,
        }));
        let tasks = vec![
            task("b", 0, "2026-11-24T09:59:00Z"),
            task("a", 0, "2026-11-24T09:58:00Z"),
            task("c", 5, "2026-11-24T09:59:30Z"),
        ];
        let not_seen = not_seen.iter().map(|&namespace| namespace.to_owned()).collect();
        QueueView::of(&queue.expect("a queue"), tasks, not_seen, now())
    }

    fn now() -> Timestamp {
        "2026-11-24T10:00:00Z".parse().expect("a timestamp")
    }

    fn plain(view: &QueueView) -> String {
        anstream::adapter::strip_str(&view.text(now())).to_string()
    }

    #[test]
    fn a_queue_shows_who_has_a_place_and_who_waits_in_the_order_of_their_turns() {
        let status = json!({
            "active": 2, "summary": "2/2", "waiting": 3, "lastWait": "41s",
            "holders": [{ "task": "orders/x", "uid": "u", "ticket": 17 }, { "task": "orders/y", "uid": "v", "ticket": 2 }],
        });
        let expected = "\
partner-api  2/2 active, 3 waiting
last wait   41s of the task that was called last

HAS A PLACE  TICKET
orders/x     17
orders/y     2

   WAITS     PRIORITY  FOR
1  orders/c  5         30s
2  orders/a  0         2m
3  orders/b  0         60s
";
        let view = view(&json!({}), &status, &[]);
        assert_eq!(plain(&view), expected);
        let place = view.place_of("orders", "b").expect("it waits");
        assert_eq!(
            place.words(),
            "it starts when TaskQueue partner-api calls it, 2 before it; the last one called had waited 41s"
        );
        assert_eq!(view.place_of("orders", "x"), None);
    }

    #[test]
    fn what_keeps_a_queue_from_calling_is_said() {
        let status = json!({
            "summary": "1/2", "waiting": 3, "holders": [{ "task": "orders/x", "uid": "u", "ticket": 17, "probe": true }],
            "breaker": { "state": "HalfOpen", "transitionTime": "2026-11-24T09:59:48Z", "openings": 2 },
            "conditions": [{ "type": "BreakerOpen", "status": "True", "reason": "Probing", "message": "tasks are tried, 1 at a time",
                             "lastTransitionTime": "2026-11-24T09:59:48Z" }],
        });
        let view = view(&json!({ "suspend": true }), &status, &["billing"]);
        let text = plain(&view);
        for line in [
            "suspended   nobody is called; `kubectl longtask resume tq/partner-api` lets it go on\n",
            "breaker     HalfOpen, since 12s ago\n",
            "why         tasks are tried, 1 at a time\n",
            "orders/x     17      probe\n",
            "You may not list the tasks of billing: those who wait there are left out.\n",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
        assert_eq!(view.place_of("orders", "b"), None, "who may wait before it is not seen");
    }
}
