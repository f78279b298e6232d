//! The program itself: its exit codes, what it leaves as its last word, and that it can be killed at any moment.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use longtask_agent::store::{digest::Digest, open::Address};
use longtask_contract::{
    agent::{LastWord, NamedSave, RestoreTrouble, RestoreWord, SaveTrouble, Settings, StoreSettings},
    report::{Report, ReportedCheckpoint, Via},
};
use tempfile::TempDir;

use crate::facts::shared::{Tree, World, bytes, file, read, tree, whole, write};

const POD: &str = "1a2b3c4d-0000-4000-8000-000000000000";

/// A pod whose store is a directory.
struct Pod {
    store: TempDir,
    world: World,
    run: TempDir,
}

impl Pod {
    fn new() -> Self {
        let store = tempfile::tempdir().expect("a folder");
        let url = format!("file://{}", store.path().display());
        let opened = Address { url: url.clone(), ..Address::default() }.open(Duration::ZERO).expect("opened");
        let world = World::new(&opened, &url, "uid-1");
        Self { store, world, run: tempfile::tempdir_in("/dev/shm").expect("a folder") }
    }

    fn start(&self, arguments: &[&str], store: StoreSettings) -> Child {
        let settings = Settings { version: Settings::VERSION, word_bytes: 4096, posts: None, store: Some(store) };
        Command::new(env!("CARGO_BIN_EXE_longtask-agent"))
            .args(arguments)
            .arg("--directory")
            .arg(self.run.path().join("run"))
            .arg("--message")
            .arg(self.message())
            .env("LONGTASK_AGENT", serde_json::to_string(&settings).expect("JSON"))
            .env("LONGTASK_POD_UID", POD)
            .stderr(Stdio::null())
            .spawn()
            .expect("started")
    }

    fn message(&self) -> PathBuf {
        self.run.path().join("message")
    }

    fn report(&self, line: &str) {
        let mut file =
            fs::OpenOptions::new().append(true).open(self.run.path().join("run/report")).expect("it is there");
        file.write_all(line.as_bytes()).expect("written");
    }

    fn name_checkpoint(&self, path: &str) {
        self.report(&format!("{{\"checkpoint\":{{\"path\":\"{path}\"}}}}\n"));
    }

    fn last_word(&self) -> Option<LastWord> {
        LastWord::read(&fs::read_to_string(self.message()).ok()?)
    }

    /// The checkpoint that the last word names.
    fn told(&self) -> Option<ReportedCheckpoint> {
        Report::read(&self.last_word()?.lines, Via::Agent).checkpoint
    }

    fn saved(&self) -> Option<String> {
        fs::read_to_string(self.run.path().join("run/saved")).ok()
    }

    fn restore(&self, store: StoreSettings) -> (Option<i32>, RestoreWord) {
        let code = self.start(&["restore"], store).wait().expect("it ends").code();
        let word = RestoreWord::read(&fs::read_to_string(self.message()).expect("a message")).expect("its word");
        (code, word)
    }
}

fn until<T>(what: &str, mut find: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = find() {
            return found;
        }
        assert!(begun.elapsed() < Duration::from_mins(1), "{what} never came");
        thread::yield_now();
    }
}

fn kill(mut child: Child) {
    child.kill().expect("killed");
    child.wait().expect("it is over");
}

fn terminate(mut child: Child) -> Option<i32> {
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("signalled");
    child.wait().expect("it is over").code()
}

fn content(seed: u8) -> Tree {
    let files: Vec<_> = (0..20).map(|number| (format!("model/{number}"), file(bytes(20_000, seed)))).collect();
    tree(files.iter().map(|(path, node)| (path.as_str(), node.clone())))
}

async fn named(pod: &Pod, save: &str, seed: u8) -> NamedSave {
    pod.world.save(save, &format!("step-{save}").replace('/', "-"), &content(seed)).await
}

#[tokio::test]
async fn a_restore_ends_with_the_word_and_the_code_of_its_trouble() {
    let pod = Pod::new();
    let (code, word) = pod.restore(pod.world.settings(1, None, 0));
    assert_eq!((code, word.restored, word.error), (Some(0), None, None), "there is nothing to restore");
    let named = named(&pod, "1-aa/1", 1).await;
    let (code, word) = pod.restore(pod.world.settings(2, Some(&named), 0));
    assert_eq!((code, word.restored.map(|restored| restored.uri)), (Some(0), Some(named.uri.clone())));
    assert_eq!(pod.world.found(), Some(whole(&content(1))));

    let reason = |word: RestoreWord| word.error.map(|error| error.reason);
    let without_settings = Command::new(env!("CARGO_BIN_EXE_longtask-agent"))
        .args(["restore", "--message"])
        .arg(pod.message())
        .env_remove("LONGTASK_AGENT")
        .stderr(Stdio::null())
        .status();
    assert_eq!(without_settings.expect("started").code(), Some(74));
    let mut other = pod.world.settings(2, Some(&named), 0);
    other.directory = "/no/such/directory".into();
    let (code, word) = pod.restore(other);
    assert_eq!((code, reason(word)), (Some(74), Some(RestoreTrouble::Failed)));
    let mut elsewhere = pod.world.settings(2, None, 0);
    elsewhere.url = "file:///no/such/directory".into();
    let (code, word) = pod.restore(elsewhere);
    assert_eq!((code, reason(word)), (Some(77), Some(RestoreTrouble::Unusable)));
    let mut gone = named;
    gone.digest = "sha256:00".into();
    let (code, word) = pod.restore(pod.world.settings(2, Some(&gone), 0));
    assert_eq!((code, reason(word)), (Some(65), Some(RestoreTrouble::Unreadable)));
}

#[tokio::test]
async fn a_restore_that_the_kubelet_stops_ends_at_once_and_says_nothing() {
    let pod = Pod::new();
    let mut gone = named(&pod, "1-aa/1", 1).await;
    // It is looked for again and again, for seconds.
    gone.digest = Digest::of(b"another one").with_sort();
    let child = pod.start(&["restore"], pod.world.settings(2, Some(&gone), 0));
    until("its ear for signals", || catches_sigterm(&child).then_some(()));
    assert_eq!(terminate(child), Some(143));
    assert!(!pod.message().exists());
}

/// Whether a process has said that it heeds SIGTERM.
fn catches_sigterm(child: &Child) -> bool {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).map(str::trim);
    let caught = u64::from_str_radix(caught.unwrap_or("0"), 16).expect("a mask");
    caught >> (rustix::process::Signal::TERM.as_raw() - 1) & 1 == 1
}

#[tokio::test]
async fn a_restore_that_is_killed_at_any_moment_is_finished_by_the_next() {
    let pod = Pod::new();
    let named = named(&pod, "1-aa/1", 1).await;
    let settings = pod.world.settings(2, Some(&named), 0);
    for moment in 0..12 {
        let restored = pod.world.folder.path().join("restored");
        let _ = fs::remove_dir_all(&restored);
        let child = pod.start(&["restore"], settings.clone());
        // Until so many of its files have begun to land.
        let landed = || fs::read_dir(restored.join("model")).map_or(0, Iterator::count);
        until("a file", || (landed() >= moment).then_some(()));
        kill(child);
        assert_eq!(pod.restore(settings.clone()).0, Some(0));
        assert_eq!(read(&restored), whole(&content(1)), "killed after {moment} files");
    }
}

#[tokio::test]
async fn an_agent_that_is_killed_at_any_moment_names_nothing_torn_and_loses_nothing_that_it_named() {
    let pod = Pod::new();
    let settings = pod.world.settings(3, None, 0);
    let objects = || walk(pod.store.path());
    let mut told = None;
    for moment in (0..28_usize).step_by(4) {
        let path = format!("step-{moment}");
        write(&pod.world.folder.path().join(&path), &content(u8::try_from(moment).expect("small")));
        let agent = pod.start(&[], settings.clone());
        until("the report file", || pod.run.path().join("run/report").exists().then_some(()));
        let before = objects();
        pod.name_checkpoint(&path);
        // Until so much more is stored, or all of it is.
        let is_told = || pod.told().filter(|now| Some(now) != told.as_ref());
        until("an object", || (objects() >= before + moment || is_told().is_some()).then_some(()));
        kill(agent);
        told = pod.told();
        if let Some(ReportedCheckpoint::Reference { path: Some(path), uri, digest: Some(digest), .. }) = &told {
            let named = NamedSave { uri: uri.clone(), digest: digest.clone() };
            pod.world.restored(1, Some(&named), 0).await.expect("what is named is there");
            assert_eq!(pod.world.found(), Some(read(&pod.world.folder.path().join(path))), "killed at {moment}");
        }
    }
    // The one after them saves what the last one could not.
    let _ = fs::remove_file(pod.run.path().join("run/saved"));
    let agent = pod.start(&[], settings.clone());
    until("the last checkpoint", || pod.saved().filter(|saved| saved.contains("step-24")));
    assert_eq!(terminate(agent), Some(0));
    let Some(ReportedCheckpoint::Reference { path, .. }) = pod.told() else { panic!("{:?}", pod.last_word()) };
    assert_eq!(path.as_deref(), Some("step-24"));
}

#[tokio::test]
async fn what_is_named_in_the_last_moment_is_saved_before_the_agent_ends() {
    let pod = Pod::new();
    write(&pod.world.folder.path().join("last"), &content(7));
    let agent = pod.start(&[], pod.world.settings(3, None, 0));
    until("the agent", || pod.last_word());
    // Without its newline, as a program leaves it that is in a hurry.
    pod.report("{\"checkpoint\":{\"path\":\"last\"},\"progress\":{\"completed\":9}}");
    assert_eq!(terminate(agent), Some(0));
    let Some(ReportedCheckpoint::Reference { uri, digest: Some(digest), path, size_bytes }) = pod.told() else {
        panic!("{:?}", pod.last_word())
    };
    assert_eq!((path.as_deref(), size_bytes), (Some("last"), Some(400_000)));
    assert_eq!(pod.saved().as_deref(), Some("{\"path\":\"last\"}\n"));
    let named = NamedSave { uri, digest };
    pod.world.restored(4, Some(&named), 0).await.expect("restored");
    assert_eq!(pod.world.found(), Some(whole(&content(7))));
}

#[tokio::test]
async fn a_checkpoint_that_cannot_be_saved_is_told_at_the_end() {
    let pod = Pod::new();
    let mut settings = pod.world.settings(3, None, 0);
    settings.grace_seconds = 1;
    let agent = pod.start(&[], settings);
    until("the agent", || pod.last_word());
    pod.name_checkpoint("not there");
    assert_eq!(terminate(agent), Some(0));
    let save = pod.last_word().and_then(|word| word.header.save).expect("it is told");
    assert_eq!(save.error.map(|error| error.reason), Some(SaveTrouble::NoSuchPath));
}

/// How many objects there are.
fn walk(place: &Path) -> usize {
    let entries = fs::read_dir(place).into_iter().flatten().flatten();
    entries.map(|entry| if entry.path().is_dir() { walk(&entry.path()) } else { 1 }).sum()
}
