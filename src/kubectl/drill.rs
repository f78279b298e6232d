//! `drill`: interrupts the running attempt on purpose, and shows what that costs.

use std::{process::ExitCode, time::Duration};

use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    ResourceExt,
    api::{DeleteParams, EvictParams, Preconditions},
};

use super::{
    args::{DrillArgs, Output},
    error::Error,
    print,
    session::Session,
    text::drill::{Drill, Interrupted, Resumption},
    watch::{Change, changes},
};
use crate::{
    api::{
        labels,
        task::{AttemptState, CheckpointSource, LongTask, Phase},
    },
    contract::env,
    types::time::seconds_between,
};

/// Interrupts the running attempt, waits until the next one runs, and says from where it went on.
pub(super) async fn drill(session: &Session, args: &DrillArgs) -> Result<ExitCode, Error> {
    let before = session.task(&args.name).await?;
    let mut drill = Drill::new(interrupted(&before, session)?, keeps_its_own(&before));
    let say = |text: String| if args.output.is_none() { print(&text) } else { Ok(()) };
    say(drill.beginning())?;
    interrupt(session, &drill.interrupted, args.delete).await?;
    drill.interrupted_at = session.clock.now();
    say(drill.interruption(args.delete))?;

    let limit = Duration::try_from(args.timeout.as_signed()).unwrap_or(Duration::MAX);
    let watched = tokio::time::timeout(limit, watch(session, &before, &mut drill, say)).await;
    watched.map_err(|_| Error::NotNow(drill.timed_out(args.timeout)))??;
    print(&match args.output {
        None => drill.conclusion(),
        Some(Output::Json) => serde_json::to_string_pretty(&drill.facts())? + "\n",
    })?;
    Ok(if drill.has_passed() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The attempt to interrupt.
fn interrupted(task: &LongTask, session: &Session) -> Result<Interrupted, Error> {
    let name = task.name_any();
    let status = task.status.clone().unwrap_or_default();
    let running = status.current_attempt.filter(|attempt| attempt.state == AttemptState::Running);
    let Some(attempt) = running else {
        let phase = status.phase.map_or("not started yet", Into::into);
        return Err(Error::NotNow(format!(
            "nothing of {name} runs that could be interrupted (it is {phase}); `kubectl longtask status {name}` says why"
        )));
    };
    Ok(Interrupted {
        task: name,
        ran_seconds: attempt.started_at.map_or(0, |start| seconds_between(start, session.clock.now())),
        attempt: attempt.number,
        segment: attempt.segment,
        pod: attempt.pod_name,
        pod_uid: attempt.pod_uid,
        node: attempt.node_name,
        checkpoint: status.checkpoint.map(|checkpoint| checkpoint.sequence),
        lost_before: status.totals.work_lost_seconds,
    })
}

fn keeps_its_own(task: &LongTask) -> bool {
    task.spec.checkpoint.source == CheckpointSource::External
}

/// Evicts the pod as a drain of its node would, or deletes it.
async fn interrupt(session: &Session, interrupted: &Interrupted, by_delete: bool) -> Result<(), Error> {
    let Interrupted { task, pod, pod_uid, .. } = interrupted;
    let pods = session.api::<Pod>();
    let preconditions = pod_uid.clone().map(|uid| Preconditions { uid: Some(uid), resource_version: None });
    let params = DeleteParams { preconditions, ..DeleteParams::default() };
    if by_delete {
        pods.delete(pod, &params).await.map_err(Error::of_call(format!("delete pod {pod}")))?;
        return Ok(());
    }
    let params = EvictParams { delete_options: Some(params), ..EvictParams::default() };
    match pods.evict(pod, &params).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 429 => Err(Error::NotNow(format!(
            "pod {pod} may not be evicted now: {}; `kubectl longtask drill {task} --delete` goes around that",
            status.message
        ))),
        Err(error) => Err(Error::of_call(format!("evict pod {pod}"))(error)),
    }
}

/// Follows the task until its next attempt runs, or nothing more will.
async fn watch(
    session: &Session,
    task: &LongTask,
    drill: &mut Drill,
    say: impl Fn(String) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut changes = changes(session, task);
    while let Some(change) = changes.next().await {
        let task = match change? {
            Change::Task(task) => task,
            Change::TaskIsGone => return Err(Error::NotNow(format!("{} was deleted", drill.interrupted.task))),
            Change::Pod => continue,
        };
        let Some(status) = &task.status else { continue };
        let now = session.clock.now();
        if drill.note_end(status, now) {
            say(drill.end())?;
        }
        let next = status.current_attempt.as_ref().filter(|attempt| attempt.number > drill.interrupted.attempt);
        if let Some(attempt) = next.filter(|attempt| attempt.started_at.is_some()) {
            let pods = session.api::<Pod>();
            let pod = pods.get_opt(&attempt.pod_name).await;
            let pod = pod.map_err(Error::of_call(format!("get pod {}", attempt.pod_name)))?;
            drill.resumption = Some(Resumption {
                attempt: attempt.number,
                pod: attempt.pod_name.clone(),
                node: attempt.node_name.clone(),
                seconds: attempt.started_at.map_or(0, |start| seconds_between(drill.interrupted_at, start)).max(0),
                given: pod.as_ref().and_then(|pod| variable(pod, env::CHECKPOINT_SEQUENCE)?.parse().ok()),
            });
            return say(drill.resumed());
        }
        // It stands still, for a reason of its own.
        if drill.has_ended() && status.phase.is_some_and(|phase| phase.is_terminal() || phase == Phase::Suspended) {
            drill.stands = status.phase;
            return Ok(());
        }
    }
    Ok(())
}

/// The value of a variable that the main container was given.
fn variable(pod: &Pod, name: &str) -> Option<String> {
    let main = pod.annotations().get(labels::DEFAULT_CONTAINER)?;
    let container = pod.spec.as_ref()?.containers.iter().find(|container| container.name == *main)?;
    container.env.iter().flatten().find(|variable| variable.name == name)?.value.clone()
}
