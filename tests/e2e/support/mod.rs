//! The harness: a lab for each story, and what it takes to look into it.

mod admission;
mod collector;
mod events;
mod journal;
mod lab;
mod operator;
mod outage;
mod random;
mod record;
mod task;

pub(crate) use admission::{NOBODY, Obstacle, Writes, ask_webhook, refuse};
pub(crate) use collector::{Collector, ReceivedSpan};
pub(crate) use lab::{
    Lab, RUN_LABEL, is_not_found, story, story_alone, story_of_an_outage, story_of_reports, this_run,
};
pub(crate) use operator::{OperatorProcess, http_get};
pub(crate) use outage::{Undo, kill_all_of_pod, stop};
pub(crate) use random::Random;
pub(crate) use record::{COPY_LABEL, PodExt, PodHistory, Sightings};
pub(crate) use task::{Change, PROGRAM, Task, container, manifest, message_of, pod};
