//! The processes of pods, on the node: this machine, with the local cluster as with kind.

use std::{collections::BTreeSet, fs, path::PathBuf};

use super::outage::{Undo, as_root, assert_ended_well, run};

/// A process of a pod.
#[derive(Debug)]
pub(crate) struct Process {
    id: String,
}

/// The process of a pod with this name; there must be one.
pub(crate) fn process_of(pod_uid: &str, name: &str) -> Process {
    let mut named = ids_in(pod_uid).into_iter().filter(|id| name_of(id) == name);
    let found = named.next().unwrap_or_else(|| panic!("no {name} runs for pod {pod_uid} on this machine"));
    assert_eq!(named.next(), None, "pod {pod_uid} has more than one {name}");
    Process { id: found }
}

impl Process {
    /// Sends a signal, such as `KILL`.
    pub(crate) fn signal(&self, signal: &str) {
        assert_ended_well(&run(&as_root(&["kill", &format!("-{signal}"), &self.id])));
    }

    /// A file as the process sees it; none while it is not there.
    pub(crate) fn read(&self, path: &str) -> Option<String> {
        let read = run(&as_root(&["cat", &format!("/proc/{}/root{path}", self.id)]));
        read.status.success().then(|| String::from_utf8_lossy(&read.stdout).into_owned())
    }
}

/// Kills everything that runs for a pod, as the loss of its node would: its processes, and the runtime's own that looks
/// after them.
pub(crate) fn kill_all_of_pod(uid: &str) {
    let in_pod = ids_in(uid);
    assert!(!in_pod.is_empty(), "nothing runs for pod {uid}");
    let parents = in_pod.iter().filter_map(|id| parent_of(id)).filter(|id| name_of(id).starts_with("containerd-shim"));
    let parents: BTreeSet<String> = parents.collect();
    let kill = ["kill", "-KILL"].into_iter().chain(parents.iter().chain(&in_pod).map(String::as_str));
    assert_ended_well(&run(&as_root(&kill.collect::<Vec<_>>())));
}

/// Freezes all processes of a pod, by its control group.
pub(crate) fn freeze(pod_uid: &str) -> Undo {
    let (file, frozen, thawed) = freezer_of(pod_uid);
    let file = file.display();
    let thaw = as_root(&["sh", "-c", &format!("test ! -e {file} || echo {thawed} > {file}")]);
    let undo = Undo::by(&thaw.iter().map(String::as_str).collect::<Vec<_>>());
    assert_ended_well(&run(&as_root(&["sh", "-c", &format!("echo {frozen} > {file}")])));
    undo
}

/// The file that freezes a pod, and what to write there: cgroups of version 1, and of version 2.
fn freezer_of(pod_uid: &str) -> (PathBuf, &'static str, &'static str) {
    let ids = ids_in(pod_uid);
    let id = ids.first().unwrap_or_else(|| panic!("nothing runs for pod {pod_uid}"));
    let groups = fs::read_to_string(format!("/proc/{id}/cgroup")).expect("the groups of a process");
    let of_pod = |line: &str| {
        let path = line.splitn(3, ':').nth(2).expect("a line has three parts");
        let mut parts: Vec<_> = path.trim_start_matches('/').split('/').collect();
        while parts.last().is_some_and(|part| !is_of_pod(part, pod_uid)) {
            parts.pop();
        }
        parts.join("/")
    };
    let root = PathBuf::from("/sys/fs/cgroup");
    if let Some(line) = groups.lines().find(|line| line.contains(":freezer:")) {
        (root.join("freezer").join(of_pod(line)).join("freezer.state"), "FROZEN", "THAWED")
    } else {
        let line = groups.lines().find(|line| line.starts_with("0::")).expect("control groups of version 2");
        (root.join(of_pod(line)).join("cgroup.freeze"), "1", "0")
    }
}

/// The processes that run for a pod.
fn ids_in(pod_uid: &str) -> Vec<String> {
    let all = fs::read_dir("/proc").expect("a Linux machine").flatten();
    all.map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|id| id.parse::<u32>().is_ok())
        .filter(|id| fs::read_to_string(format!("/proc/{id}/cgroup")).is_ok_and(|groups| is_of_pod(&groups, pod_uid)))
        .collect()
}

/// Whether control groups are those of a pod. systemd's have no hyphens in their names.
fn is_of_pod(groups: &str, pod_uid: &str) -> bool {
    groups.contains(pod_uid) || groups.contains(&pod_uid.replace('-', "_"))
}

fn parent_of(id: &str) -> Option<String> {
    let status = fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("PPid:"))?;
    Some(line.trim().to_owned())
}

fn name_of(id: &str) -> String {
    fs::read_to_string(format!("/proc/{id}/comm")).unwrap_or_default().trim().to_owned()
}
