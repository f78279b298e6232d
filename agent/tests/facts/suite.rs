//! The facts, each for a store and a task of its own.

use futures::TryStreamExt;
use jiff::Timestamp;
use longtask_agent::store::{
    gc::{Errand, Known},
    open::Opened,
};
use longtask_contract::{
    agent::{NamedSave, RestoreTrouble, SaveName},
    types::GoDuration,
};
use object_store::{ObjectStoreExt, path::Path};

use super::shared::{Node, Tree, World, bytes, file, name, tree, whole};

/// Makes a test of each fact. Where no server answers, nobody waits: time is virtual.
#[macro_export]
macro_rules! facts {
    ($store:path, start_paused = $paused:tt: $($fact:ident),* $(,)?) => {
        $(
            #[tokio::test(start_paused = $paused)]
            async fn $fact() {
                let (opened, url, _kept) = $store();
                $crate::facts::suite::$fact(&opened, &url).await;
            }
        )*
    };
}

const MIB: usize = 1024 * 1024;

/// A tree with something of everything.
fn everything() -> Tree {
    tree([
        ("empty", file("")),
        ("empty directory", Node::Directory),
        ("model/rank-0.pt", file(bytes(100_000, 1))),
        ("model/rank-1.pt", Node::File(bytes(100_000, 2), 0o600)),
        ("model/run.sh", Node::File(b"#!/bin/sh\n".to_vec(), 0o755)),
        ("model/latest", Node::Link("rank-1.pt".into())),
        ("latest", Node::Link("model".into())),
        ("odd/ä #1 %20 [x] {y} ~*?\\\"<>|^`", file("odd")),
        ("odd/.hidden", file("hidden")),
        ("odd/dangling", Node::Link("../model/not there".into())),
        ("a/b/c/d/e/f/g", file("deep")),
    ])
}

/// What is saved is restored, byte for byte, with links and modes; also over what an earlier restore has left.
pub(crate) async fn a_tree_is_restored_as_it_was_saved(opened: &Opened, url: &str) {
    let world = World::new(opened, url, "tree");
    let named = world.save("1-aa/1", "step-1", &everything()).await;
    for _ in 0..2 {
        let restored = world.restored(2, Some(&named), 0).await.expect("restored");
        assert_eq!(world.found(), Some(whole(&everything())));
        assert_eq!(
            (restored.uri.as_str(), restored.path.as_str(), restored.is_adopted),
            (named.uri.as_str(), "step-1", false)
        );
        world.write("restored", &tree([("model/rank-0.pt", file("x")), ("more/x", file("x")), ("a/b/x", file("x"))]));
    }
}

/// Large files go in parts.
pub(crate) async fn a_file_of_several_parts_is_restored(opened: &Opened, url: &str) {
    let world = World::new(opened, url, "parts");
    let large = tree([("large", file(bytes(33 * MIB + 7, 3))), ("exact", file(bytes(32 * MIB, 4)))]);
    let named = world.save("1-aa/1", "step-1", &large).await;
    world.restored(2, Some(&named), 0).await.expect("restored");
    assert!(world.found() == Some(large), "it is another tree");
}

/// A path may lead to a single file.
pub(crate) async fn a_single_file_is_restored_under_its_name(opened: &Opened, url: &str) {
    let world = World::new(opened, url, "single");
    world.write("runs", &tree([("step-1.pt", file("model")), ("step-2.pt", file("another"))]));
    let named = world.try_save(&world.room(), "1-aa/1", "runs/step-1.pt").await.expect("saved");
    world.restored(2, Some(&named), 0).await.expect("restored");
    assert_eq!(world.found(), Some(tree([("step-1.pt", file("model"))])));
}

/// What was saved and not told is found above what is named, never below, and only if it is complete.
pub(crate) async fn the_newest_complete_save_above_the_named_one_is_adopted(opened: &Opened, url: &str) {
    let world = World::new(opened, url, "adopted");
    let of = |content: &str| tree([("x", file(content))]);
    assert_eq!(world.restored(1, None, 0).await, None, "there is nothing");
    let first = world.save("1-aa/1", "step-1", &of("1-1")).await;
    let second = world.save("1-aa/2", "step-2", &of("1-2")).await;
    world.save("2-bb/1", "step-3", &of("2-1")).await;
    let begun = world.save("2-bb/2", "step-4", &of("2-2")).await;
    world.room().store().delete(&world.room().manifest(&name("2-bb/2"))).await.expect("never written");
    for (attempt, named, epoch, found, is_adopted) in [
        (3, Some(&first), 0, Some("2-1"), true),
        (3, None, 0, Some("2-1"), true),
        (2, Some(&first), 0, Some("1-2"), true),
        (2, Some(&second), 0, Some("1-2"), false),
        (3, Some(&first), 3, Some("1-1"), false),
        (3, None, 3, None, false),
    ] {
        let restored = world.restored(attempt, named, epoch).await;
        assert_eq!(restored.map(|restored| restored.is_adopted), found.map(|_| is_adopted));
        assert_eq!(world.found(), found.map(of), "attempt {attempt}, epoch {epoch}");
    }
    assert_eq!(world.trouble(3, &begun).await, Some(RestoreTrouble::Unreadable), "named, and not there");
}

/// What is not what was saved is refused; what was saved before it can still be read.
pub(crate) async fn what_was_damaged_is_unreadable(opened: &Opened, url: &str) {
    let world = World::new(opened, url, "damaged");
    let content = tree([("x", file(bytes(1000, 1))), ("y", file("y"))]);
    let before = world.save("1-aa/1", "step-1", &content).await;
    let (room, save) = (world.room(), name("1-aa/2"));
    let named = world.save("1-aa/2", "step-2", &content).await;
    let (x, manifest) = (room.file(&save, "x"), room.manifest(&save));
    for (what, key, bytes) in [
        ("another content", &x, Some(bytes(1000, 2))),
        ("longer", &x, Some(bytes(1001, 1))),
        ("shorter", &x, Some(bytes(999, 1))),
        ("empty", &x, Some(vec![])),
        ("gone", &x, None),
        ("a manifest that says something else", &manifest, Some(b"{\"version\":1}".to_vec())),
        ("no manifest", &manifest, None),
    ] {
        let original = room.store().get(key).await.expect("there").bytes().await.expect("read");
        match bytes {
            Some(bytes) => drop(room.store().put(key, bytes.into()).await.expect("written")),
            None => room.store().delete(key).await.expect("deleted"),
        }
        // What is there already and matches need not be read.
        world.restored(2, None, 9).await;
        assert_eq!(world.trouble(2, &named).await, Some(RestoreTrouble::Unreadable), "{what}");
        world.restored(1, Some(&before), 0).await.expect("the one before");
        assert_eq!(world.found(), Some(content.clone()));
        room.store().put(key, original.into()).await.expect("written");
    }
    let other = NamedSave { digest: before.digest.clone(), ..named.clone() };
    assert_eq!(world.trouble(2, &other).await, Some(RestoreTrouble::Unreadable), "another digest");
    let foreign = NamedSave { uri: named.uri.replace("damaged", "foreign"), ..named };
    assert_eq!(world.trouble(2, &foreign).await, Some(RestoreTrouble::Unreadable), "of another task");
}

/// An emptied store, or another one, drops nothing.
pub(crate) async fn a_store_without_anything_of_the_task_is_unusable(opened: &Opened, url: &str) {
    let world = World::new(opened, url, "emptied");
    let named = world.save("1-aa/1", "step-1", &tree([("x", file("x"))])).await;
    world.room().remove(&name("1-aa/1")).await.expect("removed");
    assert_eq!(world.trouble(2, &named).await, Some(RestoreTrouble::Unusable));
}

/// Saves are listed with those that are not complete, and removed one by one.
pub(crate) async fn saves_are_listed_and_removed_one_by_one(opened: &Opened, url: &str) {
    let world = World::new(opened, url, "listed");
    let content = tree([("x", file("x")), ("a/y", file("y"))]);
    let named = world.save("1-aa/1", "step-1", &content).await;
    for save in ["1-aa/2", "1-aa/10", "2-bb/1"] {
        world.save(save, "step-1", &content).await;
    }
    let room = world.room();
    room.store().delete(&room.manifest(&name("1-aa/2"))).await.expect("deleted");
    let listed = async || room.saves().await.expect("listed").into_iter().collect::<Vec<SaveName>>();
    assert_eq!(listed().await, ["1-aa/1", "1-aa/2", "1-aa/10", "2-bb/1"].map(name));
    for save in ["1-aa/10", "1-aa/2", "2-bb/1"] {
        room.remove(&name(save)).await.expect("removed");
        room.remove(&name(save)).await.expect("it is not there any more");
    }
    assert_eq!(listed().await, [name("1-aa/1")]);
    world.restored(1, Some(&named), 1).await.expect("restored");
}

/// A clean-up lists what is gone, and deletes it only when it is told to.
pub(crate) async fn a_clean_up_deletes_what_is_gone_and_nothing_else(opened: &Opened, url: &str) {
    let prefix = opened.prefix.clone().join("clean-up");
    let opened = Opened { prefix, ..opened.clone() };
    let url = format!("{url}/clean-up");
    let content = tree([("x", file("x"))]);
    let (gone, there) = (World::new(&opened, &url, "gone"), World::new(&opened, &url, "there"));
    gone.save("1-aa/1", "step-1", &content).await;
    let named = there.save("1-aa/1", "step-1", &content).await;
    let foreign = opened.prefix.clone().join("web").join("train").join("gone").join("x");
    opened.store.put(&foreign, "x".into()).await.expect("written");
    let keys = async || {
        let keys = opened.store.list(Some(&opened.prefix)).map_ok(|object| object.location);
        keys.try_collect::<Vec<Path>>().await.expect("listed").len()
    };
    assert_eq!(keys().await, 5);
    let later = Timestamp::from_second(i64::from(u32::MAX)).expect("in range");
    for (yes, left) in [(false, 5), (true, 3)] {
        let spare = GoDuration::from_hours(168);
        let errand = Errand { url: url.clone(), endpoint: None, region: None, succeeded_after: None, spare, yes };
        let known = async { Ok([("there".to_owned(), Known { succeeded: None })].into()) };
        let mut told = Vec::new();
        errand.run_with(&opened, "ml", known, later, |line| told.push(line)).await.expect("cleaned up");
        assert_eq!((told.len(), keys().await), (1, left), "{told:?}");
    }
    there.restored(2, Some(&named), 0).await.expect("restored");
}
