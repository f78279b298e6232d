//! `docs/reasons.md` is made from the closed lists in the code. `make generate` writes it: it sets `UPDATE_REFERENCE`.

use std::{env, fmt::Display, fs};

use longtask::{
    api::{
        queue::{QueueConditionReason, QueueConditionType},
        set::{SetConditionReason, SetConditionType, SetFailureReason, SetPhase, SetPhaseReason, SetStopReason},
        task::{
            AttemptReason, ConditionReason, ConditionType, FailureReason, Limit, Outcome, Phase, PhaseReason,
            StopReason,
        },
    },
    queue::plan::QueueEventReason,
    set::plan::SetEventReason,
    task::plan::EventReason,
};
use strum::{EnumMessage, IntoEnumIterator};

const COMMITTED: &str = "docs/reasons.md";

const HEAD: &str = "\
<!-- Generated from the closed lists in the code by `make generate`; do not edit. -->
# Phases, conditions, reasons and events

Every word that the operator can put into a status or an event, except the cluster's own. Scripts can rely on these words. Look a word
up in [troubleshooting](troubleshooting.md) to see what to do about it.
";

#[test]
fn the_committed_page_of_reasons_is_the_generated_one() {
    let generated = page();
    if env::var_os("UPDATE_REFERENCE").is_some() {
        fs::write(COMMITTED, &generated).expect("writable");
    }
    let committed = fs::read_to_string(COMMITTED).unwrap_or_default();
    assert!(committed == generated, "{COMMITTED} is out of date: run make generate");
}

fn page() -> String {
    let sections = [
        list::<Phase>("Phases", "`status.phase`: the state of a task in one word, for people."),
        list::<PhaseReason>(
            "Reasons of a phase",
            "`status.reason` says why a task is in its phase. It can also be an outcome with its reason, a reason to stop, a reason \
             to fail, or the reason of the condition Blocked.",
        ),
        list::<ConditionType>("Conditions", "`status.conditions`: facts that are true or false. Programs read these."),
        condition_reasons(),
        list::<Outcome>("Outcomes", "`status.recentAttempts[].outcome`: how an attempt ended."),
        attempt_reasons(),
        list::<StopReason>(
            "Reasons to stop",
            "`status.currentAttempt.stop.reason`: why the operator asked an attempt to stop. It is also the reason of the \
             outcome Stopped.",
        ),
        list::<Limit>("Limits", "`status.currentAttempt.cutBy`, and the reason of the outcome TimeLimit."),
        list::<FailureReason>(
            "Reasons to fail",
            "`status.reason` of the phase Failed, and the reason of the condition Failed.",
        ),
        list::<EventReason>("Events", "The reasons of events on a task."),
        list::<SetPhase>("Phases of a set", "`status.phase` of a LongTaskSet."),
        list::<SetConditionType>("Conditions of a set", "`status.conditions` of a LongTaskSet."),
        list::<SetConditionReason>(
            "Reasons of a set's condition",
            "`status.conditions[].reason` of a LongTaskSet, and its `status.reason` while it is Blocked. `Blocked` can have the API \
             server's own words as well, and `Failed`, `Finished` and `Stalled` have a reason to fail.",
        ),
        list::<SetPhaseReason>("Reasons of a set's phase", "`status.reason` of a LongTaskSet that nothing blocks."),
        list::<SetFailureReason>("Reasons of a set to fail", "`status.reason` of the phase Failed of a LongTaskSet."),
        list::<SetStopReason>(
            "Reasons of a set to stop",
            "`status.stop.reason` of a LongTaskSet: why all members were asked to stop.",
        ),
        list::<SetEventReason>("Events of a set", "The reasons of events on a LongTaskSet."),
        list::<QueueConditionType>("Conditions of a queue", "`status.conditions` of a TaskQueue."),
        list::<QueueConditionReason>("Reasons of a queue's condition", "`status.conditions[].reason` of a TaskQueue."),
        list::<QueueEventReason>("Events of a queue", "The reasons of events on a TaskQueue."),
    ];
    [HEAD.to_owned()].into_iter().chain(sections).collect::<Vec<_>>().join("\n")
}

fn list<W: EnumMessage + IntoEnumIterator + Display>(title: &str, about: &str) -> String {
    let rows = W::iter().map(|word| row(&[&code(&word), &meaning(&word)]));
    table(title, about, &["word", "meaning"], rows)
}

fn condition_reasons() -> String {
    let about = "`status.conditions[].reason`. `Blocked` and `AttemptOverdue` can have the cluster's own words as well, and `Failed`, \
                 `Finished` and `Stalled` have a reason to fail. A reason without a condition says why one does not hold any more.";
    // A refused creation is shown by its cause.
    let shown = ConditionReason::iter().filter(|reason| *reason != ConditionReason::CreationRefused);
    let rows = shown.map(|reason| {
        let conditions: Vec<_> = reason.conditions().iter().map(code).collect();
        row(&[&code(&reason), &conditions.join(", "), &meaning(&reason)])
    });
    table("Reasons of a condition", about, &["word", "of", "meaning"], rows)
}

fn attempt_reasons() -> String {
    let about = "`status.recentAttempts[].reason`: why an attempt ended so, where the outcome alone does not say it. \
                 `failurePolicy.rules[].onReasons` can name each of them.";
    let rows = AttemptReason::iter().map(|reason| {
        let outcomes: Vec<_> = reason.outcomes().iter().map(code).collect();
        row(&[&code(&reason), &outcomes.join(", "), &meaning(&reason)])
    });
    table("Reasons of an attempt", about, &["word", "with", "meaning"], rows)
}

fn table(title: &str, about: &str, head: &[&str], rows: impl Iterator<Item = String>) -> String {
    let line = format!("|{}\n", "---|".repeat(head.len()));
    [format!("## {title}\n\n{about}\n\n"), row(head), line].into_iter().chain(rows).collect()
}

fn row(cells: &[&str]) -> String {
    format!("| {} |\n", cells.join(" | "))
}

fn code(word: &impl Display) -> String {
    format!("`{word}`")
}

/// What the code says of a word; without it the page would be no help.
fn meaning<W: EnumMessage + Display>(word: &W) -> String {
    let text = word.get_documentation().unwrap_or_else(|| panic!("{word} has no words of documentation"));
    text.replace('\n', " ").trim().to_owned()
}
