//! The harness: a lab for each story, and what it takes to look into it.

mod admission;
mod collector;
mod events;
mod journal;
mod lab;
mod operator;
mod outage;
mod posting;
mod processes;
mod random;
mod record;
mod relay;
mod store;
mod task;

pub(crate) use admission::{NOBODY, Obstacle, Writes, ask_webhook, inject, refuse};
pub(crate) use collector::{Collector, ReceivedSpan};
pub(crate) use journal::Entry;
pub(crate) use lab::{
    Lab, RUN_LABEL, is_not_found, story, story_alone, story_of_an_outage, story_of_relayed_reports, story_of_reports,
    story_of_the_node, this_run,
};
pub(crate) use operator::{OperatorProcess, http_get};
pub(crate) use outage::{Undo, set_on_the_node, stop};
pub(crate) use processes::{Process, freeze, kill_all_of_pod, process_of};
pub(crate) use random::Random;
pub(crate) use record::{COPY_LABEL, PodExt, PodHistory, Sightings};
pub(crate) use store::{Save, Store};
pub(crate) use task::{
    Change, PROGRAM, PROGRAM_OF_ROOT, PROGRAM_OF_USER_1000, Task, container, manifest, message_of, pod, thin,
};
