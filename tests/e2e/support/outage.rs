//! What stories do to the cluster itself, and how it is undone.

use std::{
    fs, io,
    io::Write as _,
    os::unix::fs::MetadataExt,
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

pub(super) fn run(command: &[String]) -> Output {
    let (program, arguments) = command.split_first().expect("a command has a name");
    let output = Command::new(program).args(arguments).output();
    output.unwrap_or_else(|error| panic!("{program} cannot be run, make puts it into PATH: {error}"))
}

pub(super) fn assert_ended_well(output: &Output) {
    assert!(output.status.success(), "{output:?}");
}

/// A command that root must run.
pub(super) fn as_root(command: &[&str]) -> Vec<String> {
    let is_root = fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0);
    let sudo = ["sudo", "--non-interactive"].into_iter().filter(|_| !is_root);
    sudo.chain(command.iter().copied()).map(str::to_owned).collect()
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

/// Sets a kernel parameter of the local cluster's node.
pub(crate) fn set_on_the_node(parameter: &str, value: &str) -> Undo {
    let setting = |value: &str| as_root(&["sysctl", "--quiet", "--write", &format!("{parameter}={value}")]);
    let path = format!("/proc/sys/{}", parameter.replace('.', "/"));
    let before = fs::read_to_string(path).expect("a parameter of the kernel");
    let set_back = Undo(setting(before.trim()));
    assert_ended_well(&run(&setting(value)));
    set_back
}
