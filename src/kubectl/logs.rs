//! `logs`: what all attempts have written, in order, as if it were one program.

use std::{
    io::{self, Write},
    time::Duration,
};

use futures::{AsyncBufReadExt, StreamExt};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerState, Pod};
use kube::{ResourceExt, api::LogParams};

use super::{
    args::{LogsArgs, Output},
    error::{Error, answer, is_object_missing},
    session::Session,
    text::log::{self, Chapter, Line},
    watch::{Change, changes, number, pods_of},
};
use crate::api::{
    labels,
    task::{AttemptState, LongTask, Phase},
};

/// Pause before a log that broke off is taken up again.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Prints what the attempts have written, and with `--follow` what they write until the task ends.
pub(super) async fn logs(session: &Session, args: &LogsArgs) -> Result<(), Error> {
    let task = session.task(&args.name).await?;
    let mut reader = Reader { session, args, task, told: 0 };
    reader.print_what_is_there().await?;
    if args.follow && args.attempt.is_none() {
        reader.follow().await?;
    }
    Ok(())
}

/// Reads one log after the other.
struct Reader<'a> {
    session: &'a Session,
    args: &'a LogsArgs,
    task: LongTask,
    /// The highest attempt that was dealt with.
    told: i64,
}

/// How far the container of an attempt is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// It runs or has run.
    Started,
    /// It may still start.
    Coming,
    /// It never will.
    Never,
}

impl Reader<'_> {
    async fn print_what_is_there(&mut self) -> Result<(), Error> {
        let mut pods = pods_of(self.session, &self.task).await?;
        let latest = self.latest();
        if let Some(wanted) = self.args.attempt {
            pods.retain(|(attempt, _)| *attempt == wanted);
            if pods.is_empty() {
                return Err(Error::NotNow(log::no_such_attempt(wanted, latest)));
            }
            self.told = wanted.saturating_sub(1);
        }
        self.print_all(&pods).await?;
        let waits = self.args.follow && pods.last().is_some_and(|(_, pod)| self.stage(pod) == Stage::Coming);
        if waits || self.args.attempt.is_some() { Ok(()) } else { self.print_missing(latest) }
    }

    /// Tells of these attempts, as far as they are not told yet; when followed, up to one that has still to start.
    async fn print_all(&mut self, pods: &[(i64, Pod)]) -> Result<(), Error> {
        for (attempt, pod) in pods {
            if *attempt <= self.told {
                continue;
            }
            self.print_missing(attempt.saturating_sub(1))?;
            match self.stage(pod) {
                Stage::Coming if self.args.follow && self.args.attempt.is_none() => return Ok(()),
                Stage::Coming => note(&log::without(*attempt, "it has not started yet"))?,
                Stage::Never => note(&log::without(*attempt, "its program was never started"))?,
                Stage::Started => self.print(*attempt, pod).await?,
            }
            self.told = *attempt;
        }
        Ok(())
    }

    /// Tells of attempts up to this one of which the pod is gone, and the log with it.
    fn print_missing(&mut self, up_to: i64) -> Result<(), Error> {
        let first = self.told.saturating_add(1);
        self.told = self.told.max(up_to);
        log::missing(first, up_to, self.task.spec.pod_history_limit).map_or(Ok(()), |text| note(&text))
    }

    /// The latest attempt that has, or had, a pod.
    fn latest(&self) -> i64 {
        let latest = self.task.status.as_ref().and_then(|status| status.current_attempt.as_ref());
        latest.map_or(0, |attempt| match attempt.state {
            AttemptState::Creating | AttemptState::Withdrawn => attempt.number.saturating_sub(1),
            AttemptState::Starting | AttemptState::Running | AttemptState::Stopping | AttemptState::Ended => {
                attempt.number
            }
        })
    }

    /// Tells of the attempts that come, until the task has ended.
    async fn follow(&mut self) -> Result<(), Error> {
        while let Some(pods) = self.next().await? {
            self.print_all(&pods).await?;
        }
        Ok(())
    }

    /// Waits for the next attempt that has started, or never will. None when there will be none.
    async fn next(&mut self) -> Result<Option<Vec<(i64, Pod)>>, Error> {
        let mut changes = changes(self.session, &self.task);
        let mut phase = None;
        while let Some(change) = changes.next().await {
            let has_ended = match change? {
                Change::TaskIsGone => {
                    note(&log::task_gone())?;
                    return Ok(None);
                }
                Change::Task(task) => {
                    let now = task.status.as_ref().and_then(|status| status.phase);
                    if phase != now && now.is_some_and(|phase| phase == Phase::Suspended || phase == Phase::Waiting) {
                        note(&log::pause(&task))?;
                    }
                    self.task = *task;
                    phase = now;
                    now.is_some_and(Phase::is_terminal)
                }
                Change::Pod => false,
            };
            // Looked at after the change was seen: what started before a task's end is there.
            let pods = pods_of(self.session, &self.task).await?;
            let is_news = |(attempt, pod): &(i64, Pod)| *attempt > self.told && self.stage(pod) != Stage::Coming;
            if pods.iter().any(is_news) {
                return Ok(Some(pods));
            }
            if has_ended {
                self.print_missing(self.latest())?;
                if let Some(phase) = phase {
                    note(&log::end(phase))?;
                }
                return Ok(None);
            }
        }
        Ok(None)
    }

    fn stage(&self, pod: &Pod) -> Stage {
        stage_of(pod, self.container(pod).as_deref())
    }

    /// The one that was asked for, else the main one.
    fn container(&self, pod: &Pod) -> Option<String> {
        self.args.container.clone().or_else(|| pod.annotations().get(labels::DEFAULT_CONTAINER).cloned())
    }

    /// Prints the log of one attempt, to its end when it is followed.
    async fn print(&self, attempt: i64, pod: &Pod) -> Result<(), Error> {
        let chapter =
            Chapter { attempt, segment: number(pod, labels::SEGMENT).unwrap_or_default(), pod: pod.name_any() };
        note(&chapter.head())?;
        let mut params = LogParams {
            container: self.container(pod),
            follow: self.args.follow,
            tail_lines: self.args.tail,
            // To know where to go on when a log breaks off.
            timestamps: true,
            ..LogParams::default()
        };
        let mut last = None;
        loop {
            match self.read(&chapter, &params, &mut last).await {
                Ok(()) => {}
                Err(Failure::Print(error)) => return Err(Error::Print(error)),
                // The pod is gone since; what it wrote was read.
                Err(Failure::Gone) if last.is_some() => return Ok(()),
                Err(Failure::Gone) => return note(&log::without(attempt, "its pod is gone, and its log with it")),
                Err(Failure::Read(message)) => note(&log::broken(attempt, &message))?,
            }
            if !self.args.follow || !self.still_runs(&chapter.pod).await? {
                return Ok(());
            }
            // The connection broke, or the kubelet rotated the log. The API takes whole seconds: what was printed
            // already is skipped by its time.
            (params.since_time, params.tail_lines) = (last, None);
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    async fn read(&self, chapter: &Chapter, params: &LogParams, last: &mut Option<Timestamp>) -> Result<(), Failure> {
        let log = self.session.api::<Pod>().log_stream(&chapter.pod, params).await;
        let mut log =
            Box::pin(log.map_err(|error| {
                if is_object_missing(&error) { Failure::Gone } else { Failure::Read(answer(&error)) }
            })?);
        let mut bytes = Vec::new();
        let printed_before = *last;
        loop {
            bytes.clear();
            let length = log.read_until(b'\n', &mut bytes).await.map_err(|error| Failure::Read(error.to_string()))?;
            if length == 0 {
                return Ok(());
            }
            let line = Line::of(&bytes);
            if line.time.is_some() && line.time <= printed_before {
                continue;
            }
            *last = line.time.or(*last);
            let text = match self.args.output {
                Some(Output::Json) => line.json(chapter),
                None => line.bytes(self.args.timestamps),
            };
            // As it was written, colours and all: it is the program's, not ours.
            let mut out = io::stdout().lock();
            out.write_all(&text).and_then(|()| out.flush()).map_err(Failure::Print)?;
        }
    }

    /// Whether the container whose log ended goes on.
    async fn still_runs(&self, pod: &str) -> Result<bool, Error> {
        match self.session.api::<Pod>().get(pod).await {
            Ok(pod) => Ok(is_running(&pod, self.container(&pod).as_deref())),
            Err(error) if is_object_missing(&error) => Ok(false),
            Err(error) => Err(Error::of_call(format!("get pod {pod}"))(error)),
        }
    }
}

fn stage_of(pod: &Pod, container: Option<&str>) -> Stage {
    if state_of(pod, container).is_some_and(|state| state.running.is_some() || state.terminated.is_some()) {
        return Stage::Started;
    }
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    let is_over = pod.metadata.deletion_timestamp.is_some() || matches!(phase, Some("Succeeded" | "Failed"));
    if is_over { Stage::Never } else { Stage::Coming }
}

fn is_running(pod: &Pod, container: Option<&str>) -> bool {
    state_of(pod, container).is_some_and(|state| state.running.is_some())
}

fn state_of<'a>(pod: &'a Pod, container: Option<&str>) -> Option<&'a ContainerState> {
    let status = pod.status.as_ref()?;
    let mut all = [&status.init_container_statuses, &status.container_statuses].into_iter().flatten().flatten();
    all.find(|status| Some(status.name.as_str()) == container)?.state.as_ref()
}

/// Why a log could not be copied.
enum Failure {
    Gone,
    Read(String),
    Print(io::Error),
}

/// What is not of the log goes to standard error, so that the log can be piped.
fn note(text: &str) -> Result<(), Error> {
    anstream::stderr().write_all(text.as_bytes()).map_err(Error::Print)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn stage(status: &Value, is_deleted: bool) -> Stage {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {
                "name": "a-1",
                "annotations": { labels::DEFAULT_CONTAINER: "main" },
                "deletionTimestamp": is_deleted.then_some("2026-11-25T06:00:00Z"),
            },
            "status": status,
        }))
        .expect("a pod");
        stage_of(&pod, Some("main"))
    }

    #[test]
    fn a_log_is_there_once_the_container_has_started() {
        let statuses = |state: Value| {
            let status = |name: &str, state: &Value| json!({ "name": name, "image": "i", "imageID": "", "ready": false, "restartCount": 0, "state": state });
            json!([status("sidecar", &json!({ "running": {} })), status("main", &state)])
        };
        for (status, is_deleted, expected) in [
            (json!({ "phase": "Pending" }), false, Stage::Coming),
            (json!({ "phase": "Pending" }), true, Stage::Never),
            (json!({ "phase": "Failed" }), false, Stage::Never),
            (json!({ "containerStatuses": statuses(json!({ "waiting": {} })) }), false, Stage::Coming),
            (json!({ "containerStatuses": statuses(json!({ "running": {} })) }), false, Stage::Started),
            (
                json!({ "containerStatuses": statuses(json!({ "terminated": { "exitCode": 1 } })) }),
                true,
                Stage::Started,
            ),
        ] {
            assert_eq!(stage(&status, is_deleted), expected, "{status}");
        }
    }
}
