//! An attempt has ended: record it, exactly once, and judge what that means.

use std::sync::Arc;

use jiff::Timestamp;

use super::{
    actions::Meaning,
    backoff::{delay_after_interruption, delay_before_jitter, delay_before_retry},
    blocked,
    budgets::{self, Class},
    charge::{self, Charge},
    draft::Draft,
    failure_policy, finish, heartbeat, limits,
    modifiers::Changes,
    next::Next,
    observed::{Cause, PodFacts},
    outcome::{self, Ending},
    parent,
    progress::{self, Gain, Merging},
    queued, save_failing,
    steps::{EventReason, PodRef, Why},
    stored_checkpoint, suspension,
};
use crate::{
    api::task::{
        AttemptReason, AttemptState, ConditionReason, ConditionType, CurrentAttempt, EndedAttempt, FailureReason,
        LastFailure, LongTaskStatus, OnExhausted, Outcome, Phase, PhaseReason, Reason, Rule,
    },
    types::{
        time::{after, seconds_between},
        truncate,
    },
};

/// How many ended attempts stay in status.
const RECENT_ATTEMPTS: usize = 5;
/// The most bytes of a failure's message that stay in status.
const LONGEST_MESSAGE: usize = 1024;
/// The most bytes of a node's name in the history of attempts: few have more, and a status has to stay small.
const LONGEST_NODE: usize = 64;

/// An attempt that ended, as it is to be judged.
pub(super) struct Ended {
    attempt: CurrentAttempt,
    pod: Option<Arc<PodFacts>>,
    ending: Ending,
    gain: Gain,
}

/// What the end of an attempt means.
#[derive(Debug, PartialEq)]
pub(super) struct Verdict<'a> {
    charge: Option<Charge<'a>>,
    then: Then,
}

/// What follows the end of an attempt.
#[derive(Clone, Debug, PartialEq)]
enum Then {
    /// The program is done.
    Succeed,
    /// The task fails.
    Fail(FailureReason, String),
    /// The task is held for a human.
    Hold(String),
    /// The user has cancelled the task, or a limit is reached: nothing follows from this end.
    Moot,
    /// Another attempt follows.
    GoOn(Delay),
}

/// When the next attempt may start; none for at once.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Delay {
    until: Option<Timestamp>,
    before_jitter: Option<Timestamp>,
}

impl Ended {
    /// How the attempt under way ended; `pod` is none when it is gone.
    pub(super) fn of(draft: &Draft<'_>, pod: Option<Arc<PodFacts>>) -> Option<Self> {
        let attempt = draft.status.current_attempt.clone()?;
        let shown = blocked::shown(draft);
        let live = draft.seen.live.report.as_deref();
        let segment = &draft.spec.segment;
        let mut ending = outcome::ending(&attempt, pod.as_deref(), live, segment, shown.as_ref(), draft.now);
        if ending.reason == Some(AttemptReason::Hung) {
            let silent = ending.started_at.and_then(|started_at| heartbeat::hung_for(draft, started_at));
            ending.words = heartbeat::words(silent, segment.heartbeat_timeout, &draft.status);
        }
        let gain = progress::gain_of_attempt(&draft.status, &attempt, &ending.report);
        Some(Self { attempt, pod, ending, gain })
    }

    /// The attempt, at the start of a sentence.
    fn what(&self) -> String {
        format!("Attempt {} of segment {}", self.attempt.number, self.attempt.segment)
    }

    fn node(&self) -> Option<&str> {
        let seen = self.pod.as_ref().and_then(|pod| pod.node.as_deref());
        seen.or(self.attempt.node_name.as_deref())
    }

    /// How it ended, for a message.
    fn why(&self) -> String {
        format!("{} ended with {}: {}", self.what(), self.ending.reason_word(), self.ending.words)
    }
}

impl<'a> Verdict<'a> {
    /// What the end of an attempt means that is recorded. A limit is asked for before a budget.
    pub(super) fn on(ended: &Ended, draft: &Draft<'a>) -> Self {
        let Ended { attempt, pod, ending, gain } = ended;
        let class = budgets::class_of(ending, *gain, draft.spec, draft.now);
        let rule = failure_policy::matching_rule(ending, pod.as_deref(), draft.spec);
        let is_free = ending.outcome == Outcome::Failed && queued::is_probe(draft, attempt);
        let charge = class.map(|class| Charge::of(class, rule, draft));
        let charge = charge.map(|charge| if is_free { charge.free() } else { charge });
        let then = success(ending)
            .or_else(|| parent::cancels(draft).then_some(Then::Moot))
            .or_else(|| decree(ended, rule))
            .or_else(|| nothing_can_be_read(ended, rule, draft))
            .or_else(|| end_by_limit(ending, draft))
            .or_else(|| exhaustion(ended, charge?, draft))
            .unwrap_or_else(|| Then::GoOn(delay(ended, charge, draft)));
        Self { charge, then }
    }

    /// What comes next, if the end of the attempt is that of the run.
    pub(super) fn end_of_run(&self) -> Option<Next> {
        match &self.then {
            Then::Succeed => Some(Next::Succeed),
            Then::Fail(reason, message) => Some(Next::Fail(*reason, message.clone())),
            Then::Hold(_) | Then::Moot | Then::GoOn(_) => None,
        }
    }
}

fn success(ending: &Ending) -> Option<Then> {
    (ending.outcome == Outcome::Completed).then_some(Then::Succeed)
}

/// What is decided without counting: a rule says Fail or Hold, or the program that it is no use and no rule knows better.
fn decree(ended: &Ended, rule: Option<&Rule>) -> Option<Then> {
    match rule.map(|rule| (Meaning::of(rule), &rule.name)) {
        Some((Meaning::Fail, name)) => {
            Some(Then::Fail(FailureReason::FailedByRule, format!("rule {name}: {}", ended.why())))
        }
        Some((Meaning::Hold, name)) => Some(Then::Hold(format!("rule {name}: {}", ended.why()))),
        None if ended.ending.reason == Some(AttemptReason::Permanent) => {
            let message = format!("{} reported a permanent error: {}", ended.what(), ended.ending.words);
            Some(Then::Fail(FailureReason::PermanentError, message))
        }
        Some((Meaning::TryAgain { .. }, _)) | None => None,
    }
}

/// The last checkpoint that is recorded cannot be read: to begin anew is the user's word.
fn nothing_can_be_read(ended: &Ended, rule: Option<&Rule>, draft: &Draft<'_>) -> Option<Then> {
    let is_the_last = draft.status.checkpoint_history.is_empty();
    let is_unreadable = stored_checkpoint::is_unreadable(&ended.ending) && rule.is_none();
    (is_unreadable && is_the_last).then(|| {
        let message = stored_checkpoint::nothing_left(&draft.status, &ended.ending.words);
        Then::Fail(FailureReason::CheckpointUnreadable, message)
    })
}

/// A limit has cut the attempt, or forbids another one.
fn end_by_limit(ending: &Ending, draft: &Draft<'_>) -> Option<Then> {
    if let Some(AttemptReason::Limit(limit)) = ending.reason {
        return Some(Then::Fail(limit.into(), finish::limit_message(limit, &draft.status)));
    }
    limits::is_reached(&draft.spec.limits, &draft.status, draft.now).then_some(Then::Moot)
}

/// Tries are used up: the task fails or is held, as the policy says.
fn exhaustion(ended: &Ended, charge: Charge<'_>, draft: &Draft<'_>) -> Option<Then> {
    let reason = charge.exhausted?;
    let message = match charge.rule.filter(|_| reason == FailureReason::RuleLimitExceeded) {
        Some(rule) => rule_exhausted_message(rule, charge.in_a_row, ended),
        None => exhausted_message(charge.class, charge.in_a_row, ended),
    };
    Some(match draft.spec.failure_policy.on_exhausted {
        OnExhausted::Fail => Then::Fail(reason, message),
        OnExhausted::Hold => Then::Hold(format!("{reason}: {message}")),
    })
}

fn delay(ended: &Ended, charge: Option<Charge<'_>>, draft: &Draft<'_>) -> Delay {
    let at = |time| Delay { until: Some(time), before_jitter: None };
    let ending = &ended.ending;
    let asked = match ending.outcome {
        Outcome::Yielded => ending.report.resume_after,
        Outcome::Failed => ending.report.error.as_ref().and_then(|error| error.retry_after),
        Outcome::Completed | Outcome::TimeLimit | Outcome::Stopped | Outcome::StartFailed | Outcome::Interrupted => {
            None
        }
    };
    if let Some(asked) = asked {
        return at(asked.end(draft.now, draft.spec.retry.max_retry_after));
    }
    // A probe goes behind the others in its queue.
    let Some(Charge { class, rule, in_a_row, is_free: false, .. }) = charge else { return Delay::default() };
    if let Some(delay) = rule.and_then(|rule| rule.delay) {
        return at(after(draft.now, delay.as_secs()));
    }
    match class {
        Class::StartFailure if stored_checkpoint::is_unreadable(ending) && rule.is_none() => Delay::default(),
        Class::Stall => Delay::default(),
        Class::Interruption => at(after(draft.now, delay_after_interruption(in_a_row))),
        Class::Failure | Class::StartFailure => {
            let backoff = &draft.spec.retry.backoff;
            let drawn = delay_before_retry(in_a_row, backoff, draft.seen.uid, ended.attempt.number);
            let before = delay_before_jitter(in_a_row, backoff);
            let before_jitter = (before != drawn).then(|| after(draft.now, before));
            Delay { until: Some(after(draft.now, drawn)), before_jitter }
        }
    }
}

/// Records an attempt that ended. What was reported is merged before anything is counted: a crash after a checkpoint is a
/// crash with progress.
pub(super) fn record(draft: &mut Draft<'_>, ended: &Ended) {
    let Ended { attempt, ending, gain, .. } = ended;
    draft.status.active_seconds = draft.status.active_seconds.saturating_add(ending.active_seconds());
    let when = Merging { now: draft.now, active_seconds: draft.status.active_seconds, is_at_end: true };
    if let Some(pod) = ended.pod.as_deref().filter(|_| ending.started_at.is_some()) {
        stored_checkpoint::adopt(draft, pod);
    }
    let had_own = progress::has_own_checkpoint(&draft.status, attempt);
    progress::merge(&mut draft.status, attempt, &ending.report, &draft.spec.checkpoint, when);
    if !had_own && progress::has_own_checkpoint(&draft.status, attempt) {
        save_failing::tell_grace_too_short(draft, ended.pod.as_deref(), ending.save.as_ref());
    }
    save_failing::tell_at_end(draft, ended.pod.as_deref(), ending.save.as_ref());
    if stored_checkpoint::is_unreadable(ending) {
        stored_checkpoint::tell_unreadable(draft, ended.pod.as_deref(), &ending.words);
    }
    if gain.is_progress || budgets::is_external_progress(ending, *gain, draft.spec) {
        charge::reset_by_progress(draft);
    }
    if matches!(ending.outcome, Outcome::TimeLimit | Outcome::Yielded) {
        draft.status.segment = draft.status.segment.saturating_add(1);
    }
    record_attempt(draft, ended);
    warn_of_ignored_reports(draft, ended);
}

/// Counts an end, and prepares the attempt that follows, if one does.
pub(super) fn settle(draft: &mut Draft<'_>, ended: &Ended, verdict: &Verdict<'_>) {
    let Verdict { charge, then } = verdict;
    if let Some(charge) = charge {
        charge.count(&mut draft.status);
    }
    let rule = charge.and_then(|charge| charge.rule);
    let mut before_jitter = None;
    match then {
        Then::Succeed | Then::Fail(..) | Then::Moot => {}
        Then::Hold(why) => suspension::hold(draft, why),
        Then::GoOn(delay) => {
            let pod = ended.pod.as_deref();
            let unreadable = stored_checkpoint::is_unreadable(&ended.ending);
            let changes = match rule {
                Some(rule) => Some(Changes::by(rule, pod, ended.node(), &draft.status)),
                None => unreadable.then(|| Changes::by_unreadable_checkpoint(&draft.status)),
            };
            if let Some(changes) = &changes {
                changes.apply(&mut draft.status);
            }
            draft.status.next_attempt_time = delay.until.filter(|until| *until > draft.now);
            before_jitter = delay.before_jitter;
            announce(draft, ended, charge.as_ref(), changes.as_ref());
        }
    }
    draft.explain(Why { rule: rule.map(|rule| rule.name.clone()), before_jitter });
}

fn record_attempt(draft: &mut Draft<'_>, ended: &Ended) {
    let Ended { attempt, pod, ending, .. } = ended;
    let node_name = ended.node().map(str::to_owned);
    let reason = ending.reason_word();
    draft.update_attempt(|attempt| {
        attempt.state = AttemptState::Ended;
        attempt.started_at = ending.started_at;
        attempt.pod_uid = pod.as_ref().map(|pod| pod.uid.clone()).or_else(|| attempt.pod_uid.take());
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
    if was_in_vain {
        let lost = work_lost_seconds(ended, status);
        status.totals.work_lost_seconds = status.totals.work_lost_seconds.saturating_add(lost);
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
            ticket: attempt.ticket,
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

/// The running time whose work has to be done again: since its last checkpoint where an agent tells when that was, else all
/// of it or none.
fn work_lost_seconds(ended: &Ended, status: &LongTaskStatus) -> i64 {
    let Ended { attempt, pod, ending, gain } = ended;
    let has_agent = pod.as_ref().is_some_and(|pod| pod.agent.is_some()) || attempt.report.is_some();
    let own = status.checkpoint.as_ref().filter(|checkpoint| checkpoint.attempt == attempt.number);
    match own.filter(|_| has_agent) {
        Some(checkpoint) => {
            let since = ending.checkpoint_time.unwrap_or(checkpoint.record_time);
            seconds_between(since, ending.finished_at).clamp(0, ending.active_seconds())
        }
        None if gain.has_new_checkpoint => 0,
        None => ending.active_seconds(),
    }
}

fn warn_of_ignored_reports(draft: &mut Draft<'_>, ended: &Ended) {
    let problems = &ended.ending.report.problems;
    if !problems.is_empty() {
        let note = format!("The report has faults: {}.", problems.join("; "));
        draft.pod_warning(PodRef::to_seen(ended.pod.as_ref()), EventReason::ReportIgnored, &note);
    }
}

/// Says how the attempt ended, and when the next one starts.
fn announce(draft: &mut Draft<'_>, ended: &Ended, charge: Option<&Charge<'_>>, changes: Option<&Changes<'_>>) {
    let Ended { pod, ending, .. } = ended;
    let (what, pod) = (ended.what(), PodRef::to_seen(pod.as_ref()));
    let time = draft.status.next_attempt_time.map_or_else(|| at_once(draft), |time| format!("at {time}"));
    let then = changes.map_or_else(|| time.clone(), |changes| format!("{time} ({changes})"));
    let why = ending.reason.map_or_else(|| Reason::from(ending.outcome), Reason::from);
    let (said, exit) = (said(ending, 512), exit(ending));
    match ending.outcome {
        Outcome::Completed => {}
        Outcome::TimeLimit | Outcome::Yielded => {
            draft.status.reason.clear();
            let stall = if charge.is_some() { " without progress" } else { "" };
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
            let probe =
                if charge.is_some_and(|charge| charge.is_free) { " It was a probe, and is not counted." } else { "" };
            let note = format!("{what} failed ({why}{exit}){said}; retrying {then}.{probe}");
            draft.pod_warning(pod, EventReason::AttemptFailed, &note);
            set_waiting(draft, why);
        }
    }
}

/// When the next attempt starts that need not wait.
fn at_once(draft: &Draft<'_>) -> String {
    draft.spec.queue_name.as_ref().map_or_else(|| "at once".to_owned(), |queue| format!("when queue {queue} calls it"))
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

fn rule_exhausted_message(rule: &Rule, in_a_row: i64, ended: &Ended) -> String {
    let Ended { ending, .. } = ended;
    let (what, said, exit) = (ended.what(), said(ending, 192), exit(ending));
    format!("{what} was number {in_a_row} in a row for rule {} ({}{exit}){said}", rule.name, ending.reason_word())
}

fn exhausted_message(class: Class, in_a_row: i64, ended: &Ended) -> String {
    let Ended { ending, .. } = ended;
    let (what, said, exit) = (ended.what(), said(ending, 192), exit(ending));
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
