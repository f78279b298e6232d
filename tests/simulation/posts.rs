//! Posts on their way from an agent to an operator: past TLS and tokens, to the desk that each operator has while it leads.

use std::time::Duration;

use longtask::{
    contract::agent::{Answer, Post},
    task::controller::{PodIdentity, Verdict},
};
use tokio::time::sleep;

use crate::{
    defects,
    kubelet::Node,
    mail::PostFate,
    office::{Courier, Posted},
    replica::name,
    world::{Shared, World},
};

/// The longest that an agent waits for an answer.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How soon an agent comes again that was not taken.
const AGAIN: Duration = Duration::from_secs(5);

/// The way from one agent to the operators, each of which it tries in turn.
pub(crate) struct Line {
    world: Shared,
    pod: PodIdentity,
    /// The one that answered last.
    slot: usize,
}

impl Line {
    pub(crate) fn new(world: &Shared, pod: &PodIdentity) -> Self {
        Self { world: world.clone(), pod: pod.clone(), slot: 0 }
    }

    /// What is answered from the slot; none where nobody does.
    async fn ask(&self, post: &Post) -> Option<Verdict> {
        let (there, back, fate) = self.world.lock().post_fate(&self.pod.uid, self.slot);
        sleep(Duration::from_millis(there)).await;
        let (verdict, again) = match fate {
            PostFate::Lost => (None, None),
            PostFate::Late(after) => (None, Some(after)),
            PostFate::Arrives => (self.arrive(post), None),
            PostFate::Twice(after) => (self.arrive(post), Some(after)),
            PostFate::Unanswered => {
                self.arrive(post);
                (None, None)
            }
        };
        if let Some(after) = again {
            let (world, pod, slot, post) = (self.world.clone(), self.pod.clone(), self.slot, post.clone());
            // On its own: what is under way arrives even when its agent is gone.
            tokio::spawn(async move {
                sleep(Duration::from_millis(after)).await;
                world.lock().post_arrives(slot, &pod, &post);
            });
        }
        let is_refused = verdict.is_none() && matches!(fate, PostFate::Arrives);
        sleep(if verdict.is_some() || is_refused { Duration::from_millis(back) } else { TIMEOUT }).await;
        verdict
    }

    fn arrive(&self, post: &Post) -> Option<Verdict> {
        self.world.lock().post_arrives(self.slot, &self.pod, post)
    }

    fn heard(&self, mut answer: Answer) -> Answer {
        defects::forget_what_to_keep(answer.keep.as_mut(), self.world.lock().defect);
        answer
    }

    fn hear_off(&self) {
        if let Some(agent) = self.world.lock().lives.get_mut(&self.pod.uid).and_then(|life| life.agent.as_mut()) {
            agent.has_heard_off = true;
        }
    }

    /// A machine that is gone posts nothing.
    fn is_lost(&self) -> bool {
        self.world.lock().lives.get(&self.pod.uid).is_none_or(|life| life.node == Node::Lost)
    }
}

impl Courier for Line {
    async fn post(&mut self, post: &Post) -> Posted {
        let slots = self.world.lock().slots.len();
        for _ in 0..slots {
            if self.is_lost() {
                return std::future::pending().await;
            }
            match self.ask(post).await {
                Some(Verdict::Accepted(answer) | Verdict::Stale(answer)) => return Posted::Taken(self.heard(answer)),
                Some(Verdict::Superseded) => {
                    self.hear_off();
                    return Posted::Superseded;
                }
                Some(Verdict::UnknownPod | Verdict::Busy) => return Posted::Later(AGAIN),
                Some(Verdict::Refused | Verdict::Malformed) => return Posted::Failed("refused".into()),
                None => self.slot = (self.slot + 1) % slots,
            }
        }
        Posted::Failed("nobody answers".into())
    }
}

impl World {
    /// A post reaches the process in a slot, if there is one that takes posts.
    fn post_arrives(&mut self, slot: usize, pod: &PodIdentity, post: &Post) -> Option<Verdict> {
        if !self.slots[slot].is_alive {
            return None;
        }
        let verdict = defects::hand_in(self, slot, pod, post);
        let to = name(slot, self.slots[slot].process);
        let what = verdict.as_ref().map_or("nobody takes it".to_owned(), |verdict| format!("{verdict:?}"));
        let quiet = post.quiet_seconds.map(|quiet| format!(" quiet {quiet}")).unwrap_or_default();
        let said = format!("{} silent {}{quiet}: {:.60}", post.revision, post.silent_seconds, post.lines.trim_end());
        self.tell("post", format!("{} to {to}: {said} -> {what}", pod.name));
        if let Some(verdict) = &verdict {
            self.hear(slot, pod, post, verdict);
        }
        verdict
    }
}
