//! Where a set stands.

use jiff::Timestamp;
use kube::ResourceExt;
use serde::Serialize;

use super::{
    style::{BAD, BOLD, BUSY, DIM, GOOD, WARNING, paint},
    time::{ago, span},
};
use crate::{
    api::{
        set::{LongTaskSet, LongTaskSetStatus, SetConditionType, SetPhase},
        task::MANAGED_BY_US,
    },
    types::{find_condition, time::seconds_between},
};

/// How much of a long list of indexes is printed, in bytes.
const LONGEST_LIST: usize = 100;

/// The facts that `status lts/NAME` tells, as `-o json` prints them.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::kubectl) struct SetView {
    namespace: String,
    name: String,
    template: String,
    max_parallel: i32,
    status: LongTaskSetStatus,
    next: String,
}

impl SetView {
    /// The facts of a set.
    pub(in crate::kubectl) fn of(set: &LongTaskSet) -> Self {
        let status = set.status.clone().unwrap_or_default();
        Self {
            namespace: set.namespace().unwrap_or_default(),
            name: set.name_any(),
            template: set.spec.template_ref.name.clone(),
            max_parallel: set.spec.max_parallel,
            next: next(set, &status),
            status,
        }
    }

    /// The facts as text, for people.
    pub(in crate::kubectl) fn text(&self, now: Timestamp) -> String {
        let status = &self.status;
        let phase = status.phase.map_or("not started yet", Into::into);
        let reason = if status.reason.is_empty() { String::new() } else { format!(" ({})", status.reason) };
        let started = status.round.start_time.map(|time| format!(", started {}", ago(time, now))).unwrap_or_default();
        let head = format!(
            "{}  {}  round {}{started}\n\n",
            paint(BOLD, &self.name),
            paint(of_phase(status.phase), &format!("{phase}{reason}")),
            status.round.number
        );
        let end = status.progress.estimated_completion_time;
        let eta = end.map(|end| format!(", done in {}", span(seconds_between(now, end)))).unwrap_or_default();
        let list = |members: &crate::api::set::Members| {
            let indexes = members.indexes.to_string();
            let shown = crate::types::truncate(&indexes, LONGEST_LIST);
            let more = if shown.len() < indexes.len() { "..." } else { "" };
            let gap = if indexes.is_empty() { "" } else { "  " };
            format!("{}{gap}{}", members.count, paint(DIM, &format!("{shown}{more}")))
        };
        let mut rows = vec![
            ("template", self.template.clone()),
            ("progress", format!("{} ({} %){eta}", status.progress.summary, status.progress.percent)),
            ("active", format!("{} of up to {}", status.active, self.max_parallel)),
            ("succeeded", list(&status.succeeded)),
            ("failed", list(&status.failed)),
            ("waiting", list(&status.waiting)),
        ];
        if let Some(failure) = &status.last_failure {
            let said = if failure.message.is_empty() { String::new() } else { format!(": {}", failure.message) };
            rows.push(("last failure", format!("{}: {}{said}", failure.task, failure.reason)));
        }
        if let Some(blocked) =
            find_condition(&status.conditions, SetConditionType::Blocked).filter(|one| one.status == "True")
        {
            rows.push(("why", paint(WARNING, &format!("{}: {}", blocked.reason, blocked.message))));
        }
        rows.push(("next", self.next.clone()));
        let lines = rows.iter().map(|(name, value)| format!("{}{value}\n", paint(DIM, &format!("{name:<14}"))));
        [head].into_iter().chain(lines).collect()
    }
}

/// How a phase looks.
pub(super) fn of_phase(phase: Option<SetPhase>) -> anstyle::Style {
    match phase {
        Some(SetPhase::Running) => BUSY,
        Some(SetPhase::Stopping | SetPhase::Suspended) => WARNING,
        Some(SetPhase::Succeeded) => GOOD,
        Some(SetPhase::Failed) => BAD,
        None | Some(SetPhase::Cancelled) => DIM,
    }
}

/// What happens next, or what the user can do, in a line.
fn next(set: &LongTaskSet, status: &LongTaskSetStatus) -> String {
    let name = set.name_any();
    if set.spec.managed_by != MANAGED_BY_US {
        return format!("another operator runs it: spec.managedBy is {}", set.spec.managed_by);
    }
    match status.phase {
        None => {
            "the operator has not taken it up yet; does one run? kubectl get pods -A -l app.kubernetes.io/name=longtask"
                .to_owned()
        }
        Some(SetPhase::Running) => {
            let left = status.total.saturating_sub(status.next).saturating_add(status.waiting.count);
            format!("{} run, {left} are still to start", status.active)
        }
        Some(SetPhase::Stopping) => {
            format!("{} are stopping, each with a last checkpoint; then it ends", status.active)
        }
        Some(SetPhase::Suspended) => format!("`kubectl longtask resume lts/{name}` lets it go on"),
        Some(SetPhase::Succeeded) => "nothing: it is done".to_owned(),
        Some(SetPhase::Failed | SetPhase::Cancelled) => {
            format!("nothing by itself; `kubectl longtask restart lts/{name}` has those go on that have not succeeded")
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_set_shows_its_lists_its_last_failure_and_what_is_next() {
        let set: LongTaskSet = serde_json::from_value(json!({
            "apiVersion": "longtask.dev/v1alpha1", "kind": "LongTaskSet", "metadata": { "name": "night", "namespace": "n" },
            "spec": { "templateRef": { "name": "transcode" }, "count": 8000, "maxParallel": 20 },
            "status": {
                "phase": "Running", "round": { "number": 1, "startTime": "2026-11-25T06:08:00Z" },
                "total": 8000, "next": 3151, "active": 20,
                "succeeded": { "count": 3127, "indexes": "0-700,702-3127" }, "failed": { "count": 4, "indexes": "701,3128,3130,3140" },
                "progress": { "completed": 3127, "total": 8000, "percent": 39, "summary": "3127/8000",
                              "estimatedCompletionTime": "2026-11-25T08:20:00Z" },
                "lastFailure": { "index": 3140, "task": "night-3140", "reason": "FailureBudgetExhausted", "message": "bad row" },
            },
        }))
        .expect("a set");
        let text = SetView::of(&set).text("2026-11-25T07:00:00Z".parse().expect("a time"));
        let expected = "\
night  Running  round 1, started 52m ago

template      transcode
progress      3127/8000 (39 %), done in 80m
active        20 of up to 20
succeeded     3127  0-700,702-3127
failed        4  701,3128,3130,3140
waiting       0
last failure  night-3140: FailureBudgetExhausted: bad row
next          20 run, 4849 are still to start
";
        assert_eq!(anstream::adapter::strip_str(&text).to_string(), expected);
    }
}
