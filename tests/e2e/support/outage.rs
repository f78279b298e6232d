//! What stories do to the cluster itself, and how it is undone.

use std::{
    fs, io,
    io::Write as _,
    process::{Command, Output},
    thread,
};

/// Something done to the cluster; undone when this goes, be it in a panic.
#[must_use = "it is undone when this is dropped"]
pub(crate) struct Undo(Vec<String>);

impl Undo {
    /// Makes sure that a command is run at the end; it must do no harm when there is nothing to undo.
    pub(crate) fn by(command: &[&str]) -> Self {
        Self(command.iter().map(ToString::to_string).collect())
    }

    /// Undoes it now.
    pub(crate) async fn now(mut self) {
        let command = std::mem::take(&mut self.0);
        let undone = tokio::task::spawn_blocking(move || run(&command)).await.expect("the command does not panic");
        assert_ended_well(&undone);
    }
}

impl Drop for Undo {
    fn drop(&mut self) {
        if self.0.is_empty() {
            return;
        }
        let undone = run(&self.0);
        if thread::panicking() {
            eprintln!("undone: {undone:?}");
        } else {
            assert_ended_well(&undone);
        }
    }
}

fn run(command: &[String]) -> Output {
    let (program, arguments) = command.split_first().expect("a command has a name");
    let output = Command::new(program).args(arguments).output();
    output.unwrap_or_else(|error| panic!("{program} cannot be run, make puts it into PATH: {error}"))
}

fn assert_ended_well(output: &Output) {
    assert!(output.status.success(), "{output:?}");
}

/// Whether the cluster is the one of `make cluster-up`, whose components can be stopped; it is repaired on the way.
pub(super) fn has_local_cluster() -> bool {
    /// What the tool says of any other cluster.
    const NOT_OURS: i32 = 3;
    let started = run(&["cluster".into(), "start".into(), "kubelet".into()]);
    if started.status.code() == Some(NOT_OURS) {
        let story = thread::current().name().unwrap_or("a story").to_owned();
        // Past the capture of the test's output, which nobody sees when a test is well.
        let _ = writeln!(io::stderr(), "SKIPPED {story}: only the local cluster's components can be stopped");
        return false;
    }
    assert_ended_well(&started);
    true
}

/// Stops a component of the local cluster.
pub(crate) fn stop(component: &str) -> Undo {
    let started_again = Undo::by(&["cluster", "start", component]);
    assert_ended_well(&run(&["cluster".into(), "stop".into(), component.into()]));
    started_again
}

/// Kills everything that runs for a pod, as the loss of its node would: its processes, and the runtime's own that looks
/// after them.
pub(crate) fn kill_all_of_pod(uid: &str) {
    let in_pod: Vec<String> = fs::read_dir("/proc")
        .expect("a Linux machine")
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|pid| pid.parse::<u32>().is_ok())
        .filter(|pid| fs::read_to_string(format!("/proc/{pid}/cgroup")).is_ok_and(|groups| groups.contains(uid)))
        .collect();
    assert!(!in_pod.is_empty(), "nothing runs for pod {uid}");
    let parents = in_pod.iter().filter_map(|pid| parent(pid)).filter(|pid| name(pid).starts_with("containerd-shim"));
    let mut kill: Vec<String> = vec!["kill".into(), "-KILL".into()];
    kill.extend(parents.collect::<std::collections::BTreeSet<_>>());
    kill.extend(in_pod.iter().cloned());
    assert_ended_well(&run(&kill));
}

fn parent(pid: &str) -> Option<String> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("PPid:"))?;
    Some(line.trim().to_owned())
}

fn name(pid: &str) -> String {
    fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default()
}
