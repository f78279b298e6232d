//! An attempt has ended: record it, exactly once, and decide what it means.

use std::sync::Arc;

use super::{
    backoff::{delay_after_interruption, delay_before_retry},
    blocked,
    budgets::{self, Class},
    charge::{self, Charge},
    draft::Draft,
    failure_policy, finish, limits, modifiers,
    observed::{Cause, PodFacts},
    outcome::{self, Ending},
    progress::{self, Merged},
    steps::{EventReason, PodRef},
    suspension,
};
use crate::{
    api::task::{
        Action, AttemptReason, AttemptState, ConditionReason, ConditionType, CurrentAttempt, EndedAttempt,
        FailureReason, LastFailure, Outcome, Phase, PhaseReason, Reason, Rule,
    },
    types::{time::after, truncate},
};

/// How many ended attempts stay in status.
const RECENT_ATTEMPTS: usize = 5;
/// The most bytes of a failure's message that stay in status.
const LONGEST_MESSAGE: usize = 1024;
/// The most bytes of a node's name in the history of attempts: few have more, and a status has to stay small.
const LONGEST_NODE: usize = 64;

/// Records an attempt that ended, and its verdict. What was reported is merged before anything is counted: a crash
/// after a checkpoint is a crash with progress.
pub(super) fn record_end(draft: &mut Draft<'_>, pod: Option<&Arc<PodFacts>>) {
    let Some(attempt) = draft.status.current_attempt.clone() else { return };
    let shown = blocked::shown(draft);
    let ending = outcome::ending(&attempt, pod.map(AsRef::as_ref), &draft.spec.segment, shown.as_ref(), draft.now);
    draft.status.active_seconds = draft.status.active_seconds.saturating_add(ending.active_seconds());
    let merged = progress::merge(&mut draft.status, &attempt, &ending, &draft.spec.checkpoint, draft.now);
    let external = budgets::is_external_progress(&ending, merged, draft.spec);
    if merged.is_progress || external {
        charge::reset_by_progress(draft);
    }
    record(draft, &attempt, pod.map(AsRef::as_ref), &ending, merged);
    warn_of_ignored_reports(draft, pod, &ending);
    verdict(draft, &attempt, pod, &ending, merged);
}

fn record(draft: &mut Draft<'_>, attempt: &CurrentAttempt, pod: Option<&PodFacts>, ending: &Ending, merged: Merged) {
    let node_name = pod.and_then(|pod| pod.node.clone()).or_else(|| attempt.node_name.clone());
    let reason = ending.reason_word();
    draft.update_attempt(|attempt| {
        attempt.state = AttemptState::Ended;
        attempt.started_at = ending.started_at;
        attempt.pod_uid = pod.map(|pod| pod.uid.clone()).or_else(|| attempt.pod_uid.take());
        attempt.node_name.clone_from(&node_name);
    });
    draft.mark_false(ConditionType::AttemptOverdue, ConditionReason::Ended, "");
    if ending.outcome == Outcome::StartFailed {
        blocked::show(draft, &Cause { reason: reason.clone(), message: ending.words.clone() });
    } else {
        blocked::unblock(draft, ConditionReason::Ended);
    }
    let status = &mut draft.status;
    status.next_attempt_time = None;
    // What never ran because of an edit or a pause is nobody's try.
    let is_a_try = ending.outcome != Outcome::Stopped || ending.started_at.is_some();
    status.totals.attempts = status.totals.attempts.saturating_add(i64::from(is_a_try));
    let was_in_vain = matches!(ending.outcome, Outcome::Failed | Outcome::Interrupted);
    if was_in_vain && !merged.has_new_checkpoint {
        status.totals.work_lost_seconds = status.totals.work_lost_seconds.saturating_add(ending.active_seconds());
    }
    status.recent_attempts.insert(
        0,
        EndedAttempt {
            number: attempt.number,
            segment: attempt.segment,
            outcome: ending.outcome,
            reason: reason.clone(),
            exit_code: ending.exit_code,
            started_at: ending.started_at,
            finished_at: ending.finished_at,
            node_name: node_name.as_deref().map(|node| truncate(node, LONGEST_NODE).to_owned()),
            checkpoint_sequence: status.checkpoint.as_ref().map(|checkpoint| checkpoint.sequence),
        },
    );
    status.recent_attempts.truncate(RECENT_ATTEMPTS);
    if was_in_vain || ending.outcome == Outcome::StartFailed {
        status.last_failure = Some(LastFailure {
            outcome: ending.outcome,
            reason,
            exit_code: ending.exit_code,
            code: ending.report.error.as_ref().and_then(|error| error.code.clone()),
            message: truncate(&ending.words, LONGEST_MESSAGE).to_owned(),
            attempt: attempt.number,
            node_name,
            time: ending.finished_at,
        });
    }
}

fn warn_of_ignored_reports(draft: &mut Draft<'_>, pod: Option<&Arc<PodFacts>>, ending: &Ending) {
    if !ending.report.problems.is_empty() {
        let note = format!("The report has faults: {}.", ending.report.problems.join("; "));
        draft.pod_warning(PodRef::to_seen(pod), EventReason::ReportIgnored, &note);
    }
}

/// What the end means: success, failure, or what to wait for. A limit is asked for before a budget.
fn verdict(
    draft: &mut Draft<'_>,
    attempt: &CurrentAttempt,
    pod: Option<&Arc<PodFacts>>,
    ending: &Ending,
    merged: Merged,
) {
    let what = format!("Attempt {} of segment {}", attempt.number, attempt.segment);
    if ending.outcome == Outcome::Completed {
        return finish::succeed(draft);
    }
    let class = budgets::class_of(ending, merged, draft.spec, draft.now);
    let rule = failure_policy::matching_rule(ending, pod.map(AsRef::as_ref), draft.spec);
    let charge = class.map(|class| charge::charge(rule, class, draft));
    if draft.spec.cancel || ends_by_decree(draft, &what, ending, rule) {
        return;
    }
    if let Some(AttemptReason::Limit(limit)) = ending.reason {
        return finish::fail_by_limit(draft, limit);
    }
    if matches!(ending.outcome, Outcome::TimeLimit | Outcome::Yielded) {
        draft.status.segment = draft.status.segment.saturating_add(1);
    }
    if limits::is_reached(&draft.spec.limits, &draft.status, draft.now) {
        return;
    }
    if let Some((class, Charge { in_a_row, exhausted: Some(reason) })) = class.zip(charge) {
        let message = match rule.filter(|_| reason == FailureReason::RuleLimitExceeded) {
            Some(rule) => rule_exhausted_message(rule, in_a_row, &what, ending),
            None => exhausted_message(class, in_a_row, &what, ending),
        };
        return charge::exhaust(draft, reason, &message);
    }
    let by_rule = rule.map(|rule| {
        let node = draft.status.current_attempt.as_ref().and_then(|attempt| attempt.node_name.clone());
        modifiers::adjust(rule, pod.map(AsRef::as_ref), node.as_deref(), &mut draft.status)
    });
    let delay = draft.delay(attempt, ending, class.zip(charge.map(|charge| charge.in_a_row)), rule);
    wait(draft, delay);
    announce(draft, &what, pod, ending, class, by_rule.as_deref());
}

/// Whether the end is decided without counting: a rule says Fail or Hold, or the program that it is no use and no rule
/// knows better.
fn ends_by_decree(draft: &mut Draft<'_>, what: &str, ending: &Ending, rule: Option<&Rule>) -> bool {
    let why = || format!("{what} ended with {}: {}", ending.reason_word(), ending.words);
    match rule.map(|rule| (rule.action, &rule.name)) {
        Some((Action::Fail, name)) => {
            finish::fail(draft, FailureReason::FailedByRule, &format!("rule {name}: {}", why()));
            true
        }
        Some((Action::Hold, name)) => {
            suspension::hold(draft, &format!("rule {name}: {}", why()));
            true
        }
        None if ending.reason == Some(AttemptReason::Permanent) => {
            let message = format!("{what} reported a permanent error: {}", ending.words);
            finish::fail(draft, FailureReason::PermanentError, &message);
            true
        }
        Some((Action::Retry | Action::Ignore | Action::Rollback | Action::StartOver, _)) | None => false,
    }
}

impl Draft<'_> {
    /// When the next attempt may start; none for at once.
    fn delay(
        &self,
        attempt: &CurrentAttempt,
        ending: &Ending,
        counted: Option<(Class, i64)>,
        rule: Option<&Rule>,
    ) -> Option<jiff::Timestamp> {
        let asked = match ending.outcome {
            Outcome::Yielded => ending.report.resume_after,
            Outcome::Failed => ending.report.error.as_ref().and_then(|error| error.retry_after),
            Outcome::Completed
            | Outcome::TimeLimit
            | Outcome::Stopped
            | Outcome::StartFailed
            | Outcome::Interrupted => None,
        };
        if let Some(asked) = asked {
            return Some(asked.end(self.now, self.spec.retry.max_retry_after));
        }
        if let Some(delay) = rule.and_then(|rule| rule.delay) {
            return Some(after(self.now, delay.as_secs()));
        }
        let seconds = match counted? {
            (Class::Stall, _) => return None,
            (Class::Interruption, n) => delay_after_interruption(n),
            (Class::Failure | Class::StartFailure, n) => {
                delay_before_retry(n, &self.spec.retry.backoff, self.seen.uid, attempt.number)
            }
        };
        Some(after(self.now, seconds))
    }
}

fn wait(draft: &mut Draft<'_>, until: Option<jiff::Timestamp>) {
    draft.status.next_attempt_time = until.filter(|until| *until > draft.now);
}

fn announce(
    draft: &mut Draft<'_>,
    what: &str,
    pod: Option<&Arc<PodFacts>>,
    ending: &Ending,
    class: Option<Class>,
    by_rule: Option<&str>,
) {
    let pod = PodRef::to_seen(pod);
    let time = draft.status.next_attempt_time.map_or_else(|| "at once".to_owned(), |time| format!("at {time}"));
    let then = by_rule.map_or_else(|| time.clone(), |by_rule| format!("{time} ({by_rule})"));
    let why = ending.reason.map_or_else(|| Reason::from(ending.outcome), Reason::from);
    let (said, exit) = (said(ending, 512), exit(ending));
    match ending.outcome {
        Outcome::Completed => {}
        Outcome::TimeLimit | Outcome::Yielded => {
            draft.status.reason.clear();
            let stall = if class.is_some() { " without progress" } else { "" };
            draft.pod_event(
                pod,
                EventReason::SegmentEnded,
                &format!("{what} ended{stall} ({why}{exit}); going on {then}."),
            );
            set_waiting(draft, PhaseReason::ResumeAfter);
        }
        Outcome::Stopped => draft.pod_event(pod, EventReason::SegmentEnded, &format!("{what} stopped ({why}{exit}).")),
        Outcome::StartFailed => {
            draft.status.retries = draft.status.retries.saturating_add(1);
            draft.pod_warning(
                pod,
                EventReason::StartFailed,
                &format!("{what} did not start ({why}){said}; retrying {then}."),
            );
            set_waiting(draft, why);
        }
        Outcome::Interrupted => {
            let note = format!("{what} was interrupted ({why}){said}; resuming {then}.");
            draft.pod_event(pod, EventReason::AttemptInterrupted, &note);
            set_waiting(draft, why);
        }
        Outcome::Failed => {
            draft.status.retries = draft.status.retries.saturating_add(1);
            let note = format!("{what} failed ({why}{exit}){said}; retrying {then}.");
            draft.pod_warning(pod, EventReason::AttemptFailed, &note);
            set_waiting(draft, why);
        }
    }
}

fn set_waiting(draft: &mut Draft<'_>, reason: impl Into<Reason>) {
    if draft.status.next_attempt_time.is_some() {
        draft.set_phase_because(Phase::Waiting, reason);
    }
}

/// What the program or the cluster said, at the end of a sentence.
fn said(ending: &Ending, limit: usize) -> String {
    if ending.words.is_empty() { String::new() } else { format!(": {}", truncate(&ending.words, limit)) }
}

/// The exit code, behind a reason.
fn exit(ending: &Ending) -> String {
    ending.exit_code.map(|code| format!(", exit {code}")).unwrap_or_default()
}

fn rule_exhausted_message(rule: &Rule, in_a_row: i64, what: &str, ending: &Ending) -> String {
    let (said, exit) = (said(ending, 192), exit(ending));
    format!("{what} was number {in_a_row} in a row for rule {} ({}{exit}){said}", rule.name, ending.reason_word())
}

fn exhausted_message(class: Class, in_a_row: i64, what: &str, ending: &Ending) -> String {
    let (said, exit) = (said(ending, 192), exit(ending));
    match class {
        Class::Stall => format!(
            "{in_a_row} segments in a row ended without progress; report a checkpoint or progress to \
             $LONGTASK_REPORT, or set spec.checkpoint.source to External if the program keeps its own"
        ),
        Class::Failure | Class::StartFailure | Class::Interruption => {
            format!("{what} was try {in_a_row} in a row without progress ({}{exit}){said}", ending.reason_word())
        }
    }
}
