//! Programs that write to what they said was complete, at any moment of the save.

use std::{
    fs,
    io::Write,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    sync::Arc,
};

use longtask_agent::store::{flow::Flow, open::Opened};
use longtask_contract::agent::SaveTrouble;
use object_store::{ObjectStore, memory::InMemory};

use crate::{
    facts::shared::{Tree, World, bytes, file, tree, whole},
    faulty::Faulty,
};

/// What a program does to its checkpoint.
type Change = fn(&Path);

const CHANGES: [(&str, Change); 10] = [
    ("appends", |save| {
        let mut file = fs::OpenOptions::new().append(true).open(save.join("large")).expect("it is there");
        file.write_all(b"more").expect("written");
    }),
    ("truncates", |save| {
        fs::OpenOptions::new().write(true).open(save.join("large")).expect("it is there").set_len(10).expect("cut");
    }),
    ("writes over it", |save| {
        let mut file = fs::OpenOptions::new().write(true).open(save.join("large")).expect("it is there");
        file.write_all(b"other").expect("written");
        // Sooner than the clock of the file system ticks, nobody sees it.
        file.set_modified(std::time::SystemTime::UNIX_EPOCH).expect("set");
    }),
    ("replaces it", |save| {
        fs::write(save.join("new"), bytes(3500, 9)).expect("written");
        fs::rename(save.join("new"), save.join("large")).expect("renamed");
    }),
    ("removes it", |save| drop(fs::remove_file(save.join("model/a")))),
    ("adds a file", |save| fs::write(save.join("model/added"), "x").expect("written")),
    ("puts a link to a secret there", |save| {
        let _ = fs::remove_file(save.join("model/a"));
        let _ = symlink("../../../secret", save.join("model/a"));
    }),
    ("puts a link to a neighbour there", |save| {
        let _ = fs::remove_file(save.join("model/a"));
        let _ = symlink("../small", save.join("model/a"));
    }),
    ("puts a pipe there", |save| {
        let _ = fs::remove_file(save.join("model/a"));
        let place = save.join("model/a");
        let _ = rustix::fs::mknodat(rustix::fs::CWD, place, rustix::fs::FileType::Fifo, 0o666.into(), 0);
    }),
    ("puts a link in place of the directory", |save| {
        if fs::rename(save.join("model"), save.join("moved")).is_ok() {
            symlink("../../elsewhere", save.join("model")).expect("linked");
        }
    }),
];

fn content() -> Tree {
    tree([("large", file(bytes(3500, 1))), ("model/a", file("secret?")), ("small", file("small"))])
}

fn world() -> (World, PathBuf) {
    let opened = Opened { store: Arc::new(InMemory::new()), prefix: object_store::path::Path::default() };
    let mut world = World::new(&opened, "s3://bucket", "uid-1");
    world.flow = Flow::in_parts_of(1000);
    // The program's directory is below one that has something to hide.
    let hidden = world.folder.path().join("secret");
    fs::write(hidden, "secret!").expect("written");
    fs::create_dir_all(world.folder.path().join("elsewhere")).expect("made");
    fs::write(world.folder.path().join("elsewhere/a"), "secret!").expect("written");
    let save = world.folder.path().join("runs/step-1");
    world.write("runs/step-1", &content());
    (world, save)
}

async fn has_secret(store: &Arc<dyn ObjectStore>) -> bool {
    use futures::TryStreamExt;
    use object_store::ObjectStoreExt;
    let objects: Vec<_> = store.list(None).try_collect().await.expect("listed");
    for object in objects {
        let bytes = store.get(&object.location).await.expect("there").bytes().await.expect("read");
        if bytes.windows(7).any(|window| window == b"secret!") {
            return true;
        }
    }
    false
}

#[tokio::test(start_paused = true)]
async fn what_changes_while_it_is_saved_is_no_save() {
    for (what, change) in CHANGES {
        for moment in 1.. {
            let (world, save) = world();
            let store = Faulty::beside(&world.opened.store, move |request| {
                if request == moment {
                    change(&save);
                }
            });
            let opened = Opened { store: Arc::<Faulty>::clone(&store), ..world.opened.clone() };
            let saved = world.try_save(&world.room_in(&opened), "1-aa/1", "runs/step-1").await;
            assert!(!has_secret(&world.opened.store).await, "{what} at {moment}: it was followed");
            match saved {
                // The program may write again when its manifest is on the way: all that was sent is as it was.
                Ok(named) => {
                    world.restored(1, Some(&named), 0).await.expect("restored");
                    assert_eq!(world.found(), Some(whole(&content())), "{what} at {moment}");
                }
                Err(error) => {
                    assert_eq!(error.reason, SaveTrouble::ChangedWhileSaving, "{what} at {moment}: {error:?}");
                }
            }
            if moment > store.asked() {
                assert!(moment > 8, "{moment} requests are few");
                break;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_changed_before_the_last_look_is_never_named() {
    for (what, change) in CHANGES {
        let (world, save) = world();
        let store = Faulty::beside(&world.opened.store, move |request| {
            if request == 2 {
                change(&save);
            }
        });
        let opened = Opened { store, ..world.opened.clone() };
        let saved = world.try_save(&world.room_in(&opened), "1-aa/1", "runs/step-1").await;
        assert_eq!(saved.map_err(|error| error.reason), Err(SaveTrouble::ChangedWhileSaving), "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_restore_writes_through_no_link_that_a_program_has_left() {
    let (world, _) = world();
    let outside = tempfile::tempdir().expect("another folder");
    fs::write(outside.path().join("a"), "theirs").expect("written");
    let named = world.try_save(&world.room(), "1-aa/1", "runs/step-1").await.expect("saved");
    let restored = world.folder.path().join("restored");
    let traps: [&dyn Fn(); 4] = [
        &|| symlink(outside.path(), &restored).expect("linked"),
        &|| {
            fs::create_dir(&restored).expect("made");
            symlink(outside.path(), restored.join("model")).expect("linked");
        },
        &|| {
            fs::create_dir_all(restored.join("model")).expect("made");
            symlink(outside.path().join("a"), restored.join("model/a")).expect("linked");
        },
        &|| fs::write(&restored, "a file").expect("written"),
    ];
    for trap in traps {
        let _ = fs::remove_file(&restored);
        let _ = fs::remove_dir_all(&restored);
        trap();
        world.restored(1, Some(&named), 0).await.expect("restored");
        assert_eq!(world.found(), Some(whole(&content())));
        assert_eq!(fs::read_to_string(outside.path().join("a")).expect("readable"), "theirs");
        assert_eq!(fs::read_dir(outside.path()).expect("readable").count(), 1);
    }
}
