//! A store that fails, lies or truncates at request n, for every n of a save, a restore and a clean-up: nothing torn is ever
//! named, and nothing named is ever lost.

use std::{sync::Arc, time::Duration};

use longtask_agent::store::{flow::Flow, open::Opened, room::Room};
use longtask_contract::agent::{NamedSave, RestoreTrouble};
use object_store::{ObjectStore, memory::InMemory, path::Path};
use tokio::time::timeout;

use crate::{
    facts::shared::{Node, Tree, World, bytes, file, name, tree, whole},
    faulty::{Fault, Faulty, When},
};

const FAULTS: [Fault; 7] = [
    Fault::Fails,
    Fault::AnswerIsLost,
    Fault::Lies,
    Fault::Truncates,
    Fault::IsMissing,
    Fault::FallsSilent,
    Fault::FallsSilentAfterwards,
];
/// Small, so that a small tree has files of several parts.
const PART: u64 = 1000;

fn content(seed: u8) -> Tree {
    tree([
        ("large", file(bytes(3500, seed))),
        ("model/a", file(bytes(900, seed))),
        ("model/link", Node::Link("a".into())),
        ("empty", file("")),
    ])
}

/// A task with one save, which its status names.
struct Story {
    world: World,
    named: NamedSave,
}

impl Story {
    async fn begin() -> Self {
        let opened = Opened { store: Arc::new(InMemory::new()), prefix: Path::from("runs") };
        let mut world = World::new(&opened, "s3://bucket/runs", "uid-1");
        world.flow = Flow::in_parts_of(PART);
        let named = world.save("1-aa/1", "step-1", &content(1)).await;
        world.write("step-2", &content(2));
        Self { world, named }
    }

    fn store(&self) -> &Arc<dyn ObjectStore> {
        &self.world.opened.store
    }

    fn through(&self, store: &Arc<Faulty>) -> Opened {
        let store: Arc<dyn ObjectStore> = Arc::<Faulty>::clone(store);
        Opened { store, ..self.world.opened.clone() }
    }

    fn room_through(&self, store: &Arc<Faulty>) -> Room {
        self.world.room_in(&self.through(store))
    }

    /// What a later attempt restores, with a store that is sound again.
    async fn seed_of_next(&self, named: &NamedSave) -> u8 {
        self.world.restored(9, Some(named), 0).await.expect("what is named is restored");
        self.seed_found()
    }

    /// Which of the trees was restored, wholly.
    fn seed_found(&self) -> u8 {
        let found = self.world.found().expect("restored");
        (1..=2).find(|seed| found == whole(&content(*seed))).unwrap_or_else(|| panic!("it is torn: {found:?}"))
    }

    /// Restores exactly what is named.
    async fn seed_of(&self, named: &NamedSave) -> u8 {
        let restored = self.world.restored(1, Some(named), 0).await.expect("restored");
        assert!(!restored.is_adopted);
        self.seed_found()
    }
}

#[tokio::test(start_paused = true)]
async fn a_save_with_a_fault_at_any_request_is_whole_or_is_none() {
    for fault in FAULTS {
        for request in 1.. {
            let story = Story::begin().await;
            let faulty = Faulty::new(story.store(), fault, When::At(request));
            let room = story.room_through(&faulty);
            let saving = story.world.try_save(&room, "2-bb/1", "step-2");
            // One that nobody answers is killed.
            let saved = timeout(Duration::from_hours(1), saving).await;
            if !faulty.was_hit() {
                saved.expect("it was answered").expect("nothing was wrong");
                assert!(request > 11, "{request} requests are few");
                break;
            }
            if let Ok(Ok(saved)) = saved {
                assert_eq!(story.seed_of(&saved).await, 2, "{fault:?} at {request}: it is named, and not readable");
            }
            assert_eq!(story.seed_of(&story.named).await, 1, "{fault:?} at {request}: what was named is lost");
            story.seed_of_next(&story.named).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_save_whose_answer_alone_was_lost_is_found_by_the_next_attempt() {
    let story = Story::begin().await;
    let last = {
        let faulty = Faulty::new(story.store(), Fault::Fails, When::At(usize::MAX));
        story.world.try_save(&story.room_through(&faulty), "2-bb/1", "step-2").await.expect("saved");
        story.world.room().remove(&name("2-bb/1")).await.expect("removed");
        faulty.asked()
    };
    let faulty = Faulty::new(story.store(), Fault::AnswerIsLost, When::At(last));
    story.world.try_save(&story.room_through(&faulty), "2-bb/2", "step-2").await.expect_err("its answer is lost");
    assert_eq!(story.seed_of_next(&story.named).await, 2);
}

#[tokio::test(start_paused = true)]
async fn a_restore_with_a_fault_at_any_request_restores_all_the_same() {
    for fault in FAULTS {
        for request in 1.. {
            let story = Story::begin().await;
            story.world.try_save(&story.world.room(), "2-bb/1", "step-2").await.expect("saved");
            let faulty = Faulty::new(story.store(), fault, When::At(request));
            let settings = story.world.settings(3, Some(&story.named), 0);
            let word = story.world.restore_through(&story.through(&faulty), &settings).await;
            if !faulty.was_hit() {
                assert!(request > 8, "{request} requests are few");
                break;
            }
            match word.error.map(|error| error.reason) {
                None => drop(story.seed_found()),
                // Whoever does not answer is waited for until the start has no more time.
                Some(RestoreTrouble::Unreachable) => {
                    assert!(matches!(fault, Fault::FallsSilent | Fault::FallsSilentAfterwards));
                }
                Some(other) => panic!("{fault:?} at {request}: {other:?}"),
            }
            assert_eq!(story.seed_of_next(&story.named).await, 2, "{fault:?} at {request}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_restore_that_is_killed_at_any_request_is_finished_by_the_next() {
    for request in 1.. {
        let story = Story::begin().await;
        let faulty = Faulty::new(story.store(), Fault::FallsSilent, When::From(request));
        let settings = story.world.settings(2, Some(&story.named), 0);
        let through = story.through(&faulty);
        let restoring = story.world.restore_through(&through, &settings);
        if timeout(Duration::from_mins(1), restoring).await.is_ok() {
            assert!(!faulty.was_hit() && request > 6, "{request}");
            return;
        }
        assert_eq!(story.seed_of(&story.named).await, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_stays_away_is_waited_for_until_the_start_has_no_more_time() {
    for fault in [Fault::Fails, Fault::FallsSilent] {
        for request in 1..6 {
            let story = Story::begin().await;
            let faulty = Faulty::new(story.store(), fault, When::From(request));
            let settings = story.world.settings(2, Some(&story.named), 0);
            let word = story.world.restore_through(&story.through(&faulty), &settings).await;
            let reason = word.error.map(|error| error.reason);
            assert_eq!(reason, Some(RestoreTrouble::Unreachable), "{fault:?} from {request} on");
            assert!((440..=480).contains(&word.seconds), "{fault:?} from {request} on: {} s", word.seconds);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_comes_back_in_time_is_restored_from() {
    let story = Story::begin().await;
    for requests in [1, 3, 5, 8] {
        // It fails so many times, from its first request on.
        let mut opened = story.world.opened.clone();
        for request in 1..=requests {
            opened.store = Faulty::new(&opened.store, Fault::Fails, When::At(request));
        }
        let word = story.world.restore_through(&opened, &story.world.settings(2, Some(&story.named), 0)).await;
        assert_eq!((word.error, story.seed_found()), (None, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn a_removal_with_a_fault_at_any_request_leaves_what_is_named_and_nothing_torn() {
    for fault in FAULTS {
        for request in 1.. {
            let story = Story::begin().await;
            story.world.try_save(&story.world.room(), "2-bb/1", "step-2").await.expect("saved");
            let faulty = Faulty::new(story.store(), fault, When::At(request));
            let room = story.room_through(&faulty);
            let save = name("2-bb/1");
            let removed = timeout(Duration::from_mins(1), room.remove(&save)).await;
            if !faulty.was_hit() {
                removed.expect("it was answered").expect("nothing was wrong");
                assert_eq!(story.seed_of_next(&story.named).await, 1);
                break;
            }
            story.seed_of_next(&story.named).await;
            story.world.room().remove(&save).await.expect("the next one finishes it");
            assert_eq!(story.seed_of_next(&story.named).await, 1, "{fault:?} at {request}");
        }
    }
}
