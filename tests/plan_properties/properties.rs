//! Properties of a single plan.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use longtask::{
    api::{
        queue::Admission,
        task::{Action, AttemptState, ConditionType, LongTaskStatus, Phase, StopReason, TicketState},
    },
    contract::report::Report,
    task::plan::{ClaimFacts, Deletion, LiveReport, Plan, PodFacts, PodPhase, Refusal, Step, plan},
    types::{mark_false, mark_true},
};
use proptest::{prelude::*, strategy::ValueTree, test_runner::TestRunner};

use crate::{
    arbitrary::{World, worlds},
    kstatus::breach,
};

fn creates(plan: &Plan) -> usize {
    plan.steps.iter().filter(|step| matches!(step, Step::CreatePod(_))).count()
}

fn number(status: Option<&LongTaskStatus>) -> i64 {
    status.and_then(|status| status.current_attempt.as_ref()).map_or(0, |attempt| attempt.number)
}

/// Whether a pod can have running containers, as the design defines the end of an attempt.
fn may_run(world: &World, pod: &PodFacts) -> bool {
    let is_terminal = matches!(pod.phase, PodPhase::Succeeded | PodPhase::Failed);
    let is_gone = pod.deletion.is_some_and(|deletion: Deletion| {
        let held = world.now.as_second().saturating_sub(deletion.at.as_second());
        deletion.grace == 0 && (pod.node.is_none() || held >= 60)
    });
    !is_terminal && !is_gone
}

/// Whether an attempt whose pod is created has its place, if its task waits in a queue: by a ticket that was called, or that it
/// has used before.
fn has_its_turn(world: &World, before: &LongTaskStatus, after: &LongTaskStatus) -> bool {
    let Admission::Open(open) = world.admission else { return true };
    let is_decided = before
        .live_attempt()
        .is_some_and(|attempt| Some(attempt.number) == after.current_attempt.as_ref().map(|now| now.number));
    let (Some(ticket), Some(attempt)) = (&after.queue, &after.current_attempt) else { return is_decided };
    let was = before.queue.as_ref().filter(|was| was.ticket == ticket.ticket).map(|was| was.state);
    let is_called = was == Some(TicketState::Admitted) || open.called == Some(ticket.ticket);
    is_decided || (ticket.state == TicketState::Admitted && attempt.ticket == Some(ticket.ticket) && is_called)
}

fn newest_sequence(status: &LongTaskStatus) -> i64 {
    status.checkpoint.as_ref().map_or(i64::MIN, |checkpoint| checkpoint.sequence)
}

/// Whether the recorded checkpoint stands or was followed by a newer one, or a rule that says so has dropped it: for the
/// one before it, or for none.
fn keeps_its_checkpoint(world: &World, before: &LongTaskStatus, after: &LongTaskStatus) -> bool {
    if newest_sequence(after) >= newest_sequence(before) {
        return true;
    }
    let kept = usize::try_from(world.task.spec.checkpoint.history_limit).unwrap_or(0);
    let previous = before.checkpoint_history.iter().take(kept).next();
    let is_rolled_back = after.checkpoint.as_ref() == previous;
    let is_started_over = after.checkpoint.is_none() && after.checkpoint_history.is_empty();
    world.task.spec.failure_policy.rules.iter().any(|rule| match rule.action {
        Action::Rollback => is_rolled_back,
        Action::StartOver => is_started_over,
        Action::Retry | Action::Ignore | Action::Fail | Action::Hold => false,
    })
}

/// The world after the plan, in which nothing else has happened.
fn carried_out(world: &World, plan: &Plan) -> World {
    let mut after = world.clone();
    after.refusal = None;
    if let Some(status) = &plan.status {
        let written = serde_json::to_string(status).expect("a status");
        after.task.status = serde_json::from_str(&written).expect("the same status");
    }
    for step in &plan.steps {
        match step {
            Step::CreatePod(pod) => {
                let mut pod = (**pod).clone();
                pod.metadata.uid = pod.metadata.name.as_ref().map(|name| name.replace('t', "pod"));
                after.pods.push(Arc::new(PodFacts::of(&pod).expect("a pod of ours")));
            }
            Step::LowerDeadline { pod, seconds } => {
                change(&mut after, &pod.uid, |pod| pod.active_deadline = Some(*seconds));
            }
            Step::DeletePod(pod) => change(&mut after, &pod.uid, |pod| {
                pod.deletion = Some(Deletion { at: world.now, grace: pod.grace.max(1) });
            }),
            Step::CreateClaim(claim) => after.claims.push(ClaimFacts {
                name: claim.metadata.name.clone().expect("a name"),
                uid: "made".into(),
                task_uid: Some("task-uid".into()),
                is_being_deleted: false,
            }),
            Step::DeleteClaim(claim) => after.claims.retain(|known| known.uid != claim.uid),
            Step::FillIn(_) => {}
            Step::DeleteTask => after.task.metadata.deletion_timestamp = Some(Time(world.now)),
            Step::RestoreLabel(pod) => change(&mut after, &pod.uid, |pod| pod.has_task_label = true),
            Step::ReturnQuota(pod) => change(&mut after, &pod.uid, |pod| pod.returns_quota = true),
            Step::ReleasePod(pod) => change(&mut after, &pod.uid, |pod| pod.has_finalizer = false),
        }
    }
    after
}

fn change(world: &mut World, uid: &str, change: impl Fn(&mut PodFacts)) {
    for pod in world.pods.iter_mut().chain(&mut world.foreign).filter(|pod| pod.uid == uid) {
        change(Arc::make_mut(pod));
    }
}

/// Some seconds' worth; `PROPTEST_CASES` asks for more.
fn cases() -> u32 {
    ProptestConfig::default().cases.max(1000)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(cases()) })]

    #[test]
    fn a_plan_keeps_what_the_design_promises(world in worlds()) {
        let seen = world.observed();
        let plan = plan(&seen, world.now);
        let before = world.task.status.clone().unwrap_or_default();
        prop_assert!(creates(&plan) <= 1);
        if creates(&plan) == 1 {
            prop_assert!(plan.status.is_some(), "a create is guarded by a write");
            prop_assert!(world.task.metadata.deletion_timestamp.is_none());
            prop_assert!(!world.pods.iter().any(|pod| may_run(&world, pod)), "two pods at once");
            prop_assert!(!before.phase.is_some_and(Phase::is_terminal));
            let after = plan.status.as_ref().expect("a create is guarded by a write");
            prop_assert!(has_its_turn(&world, &before, after), "a start without a place");
        }
        if let Some(after) = &plan.status {
            prop_assert!(number(Some(after)) >= number(Some(&before)), "numbers only grow");
            prop_assert!(keeps_its_checkpoint(&world, &before, after), "a checkpoint is never lost");
            if before.phase.is_some_and(Phase::is_terminal) {
                prop_assert_eq!(after.phase, before.phase);
            }
            prop_assert!(after.phase.is_some());
        }
        for step in &plan.steps {
            if let Step::LowerDeadline { pod, seconds } = step {
                let current = world.pods.iter().find(|other| other.uid == pod.uid).and_then(|pod| pod.active_deadline);
                prop_assert!((1..=i64::from(i32::MAX)).contains(seconds) && current.is_none_or(|current| *seconds < current));
            }
        }
        prop_assert_eq!(&longtask::task::plan::plan(&seen, world.now), &plan, "the same plan again");
    }

    #[test]
    fn a_report_that_is_not_newer_than_what_is_recorded_changes_nothing_while_the_program_runs(mut world in worlds()) {
        let recorded = world.task.status.as_ref().and_then(|status| status.live_attempt()?.report.clone());
        let is_old = world.live.report.as_ref().is_none_or(|live| Some(live.revision) <= recorded.as_ref().map(|report| report.revision));
        prop_assume!(is_old);
        let live = |status: &LongTaskStatus| status.live_attempt().map(|attempt| attempt.number);
        let before = world.task.status.as_ref().and_then(live);
        // At its end, what is as new counts.
        let goes_on = |plan: &Plan| plan.status.as_ref().is_none_or(|status| live(status) == before);
        let with = plan(&world.observed(), world.now);
        world.live.report = world.live.report.map(|live| {
            let report = Report { quiet: live.report.quiet, ..Report::default() };
            Arc::new(LiveReport { report, ..(*live).clone() })
        });
        let without = plan(&world.observed(), world.now);
        if goes_on(&with) && goes_on(&without) {
            prop_assert_eq!(with.status, without.status);
        }
    }

    #[test]
    fn no_attempt_is_stopped_for_want_of_a_message_from_its_agent(mut world in worlds()) {
        world.live.report = None;
        let plan = plan(&world.observed(), world.now);
        let asked = plan.status.as_ref().and_then(|status| status.current_attempt.as_ref()?.stop.as_ref());
        let before = world.task.status.as_ref().and_then(|status| status.current_attempt.as_ref()?.stop.as_ref());
        prop_assert!(asked.is_none_or(|stop| stop.reason != StopReason::Hung || Some(stop) == before));
    }

    #[test]
    fn gitops_tools_read_every_status_right_that_follows_one_they_read_right(mut world in worlds()) {
        if let Some(status) = &mut world.task.status {
            let phase = status.phase.expect("it has begun");
            status.run.number = status.run.number.max(1);
            if let Some(attempt) = status.current_attempt.as_mut().filter(|_| phase == Phase::Suspended) {
                // A task is not paused while an attempt is under way.
                attempt.state = AttemptState::Ended;
            }
            let of_phase = [
                (ConditionType::Reconciling, !phase.is_terminal() && phase != Phase::Suspended),
                (ConditionType::Stalled, phase == Phase::Failed),
                (ConditionType::Suspended, phase == Phase::Suspended),
            ];
            for (type_, holds) in of_phase {
                if holds {
                    mark_true(&mut status.conditions, type_, "Because", "", world.now);
                } else {
                    mark_false(&mut status.conditions, type_, "Because", "", world.now);
                }
            }
        }
        if let Some(after) = plan(&world.observed(), world.now).status {
            prop_assert_eq!(breach(&after, world.task.metadata.generation), None);
        }
    }

    #[test]
    fn a_plan_that_was_carried_out_leaves_nothing_to_do(world in worlds()) {
        let first = plan(&world.observed(), world.now);
        let was_told = world.refusal.as_ref().is_some_and(|refusal| *refusal == Refusal::NameOfTerminatingPod);
        let mut after = carried_out(&world, &first);
        // A deletion in the same instant, or an unblocked pod, is news of its own: look once more.
        let second = plan(&after.observed(), after.now);
        after = carried_out(&after, &second);
        let third = plan(&after.observed(), after.now);
        after = carried_out(&after, &third);
        let last = plan(&after.observed(), after.now);
        if !was_told {
            prop_assert_eq!((last.status, last.steps, last.events), (None, vec![], vec![]));
        }
    }
}

/// Steps and phases that a plan has, by name.
fn named(plan: &Plan) -> impl Iterator<Item = String> {
    let steps = plan.steps.iter().map(|step| match step {
        Step::CreateClaim(_) => "create claim".to_owned(),
        Step::CreatePod(_) => "create pod".to_owned(),
        Step::LowerDeadline { .. } => "lower deadline".to_owned(),
        Step::DeletePod(_) => "delete pod".to_owned(),
        Step::DeleteClaim(_) => "delete claim".to_owned(),
        Step::DeleteTask => "delete task".to_owned(),
        Step::FillIn(_) => "fill in".to_owned(),
        Step::RestoreLabel(_) => "restore label".to_owned(),
        Step::ReturnQuota(_) => "return quota".to_owned(),
        Step::ReleasePod(_) => "release pod".to_owned(),
    });
    let phase = plan.status.as_ref().and_then(|status| status.phase).map(|phase| phase.to_string());
    steps.chain(phase)
}

#[test]
fn the_worlds_lead_to_every_step_and_every_phase() {
    let mut runner = TestRunner::deterministic();
    let mut seen = BTreeMap::<String, u32>::new();
    for _ in 0..6000 {
        let world = worlds().new_tree(&mut runner).expect("a world").current();
        named(&plan(&world.observed(), world.now)).for_each(|name| *seen.entry(name).or_default() += 1);
    }
    seen.retain(|_, times| *times > 5);
    let names: Vec<_> = seen.keys().map(String::as_str).collect();
    let steps = [
        "create claim",
        "create pod",
        "delete claim",
        "delete pod",
        "delete task",
        "lower deadline",
        "release pod",
        "restore label",
        "return quota",
    ];
    let phases = ["Cancelled", "Failed", "Pending", "Running", "Stopping", "Succeeded", "Suspended", "Waiting"];
    assert_eq!(names, [&phases[..], &steps].concat());
}
