//! The metrics: all of them, their conventions, and their documentation.

use std::{
    collections::BTreeSet,
    fs,
    io::Write,
    process::{Command, Stdio},
};

use longtask::{
    api::queue::BreakerState,
    queue::controller::queue_figures::{self, QueueFigures},
    set::controller::set_figures::{self, SetFigures},
    task::controller::task_metrics::{self, TaskFigures},
};

use super::support::stderr;

/// Every metric, with a value: a unit test holds that these are the operator's.
pub(crate) fn all_metrics() -> String {
    fs::read_to_string("tests/chart/snapshots/metrics.txt").expect("a snapshot")
}

/// Every figure of a task, of a set and of a queue, with a value.
pub(crate) fn all_figures() -> String {
    let task = TaskFigures {
        completed: Some(1),
        total: Some(2),
        checkpoint_recorded: Some(3),
        next_attempt: Some(4),
        last_report: Some(5),
        ..TaskFigures::default()
    };
    let queue = QueueFigures { breaker: Some(BreakerState::Open), ..QueueFigures::default() };
    let of_tasks = task_metrics::encode(&[task]).expect("text");
    let of_sets = set_figures::encode(&[SetFigures::default()]).expect("text");
    of_tasks + &of_sets + &queue_figures::encode(&[queue]).expect("text")
}

/// The names of our metrics in an expression.
fn metrics_in(expression: &str) -> BTreeSet<String> {
    let words = expression.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':'));
    words.filter(|word| word.starts_with("longtask_")).map(str::to_owned).collect()
}

/// Asserts that an expression asks for our metrics, and only for known ones.
#[track_caller]
pub(crate) fn assert_known(expression: &str, known: &str) {
    let asked = metrics_in(expression);
    assert!(!asked.is_empty(), "{expression}");
    let served: BTreeSet<_> = known.lines().filter_map(|line| line.split(['{', ' ']).next()).collect();
    for metric in asked {
        assert!(served.contains(metric.as_str()), "{metric} in {expression}");
    }
}

#[test]
fn the_metrics_follow_the_conventions_of_prometheus() {
    let mut linter = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("start promtool");
    linter
        .stdin
        .take()
        .expect("its input")
        .write_all((all_metrics() + &all_figures()).as_bytes())
        .expect("write to promtool");
    let output = linter.wait_with_output().expect("promtool ends");
    assert!(output.status.success(), "{}", stderr(&output));
}

/// Each metric's name and type, as served.
fn served() -> BTreeSet<(String, String)> {
    let text = all_metrics() + &all_figures();
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    types.map(|(name, kind)| (name.to_owned(), kind.to_owned())).collect()
}

#[test]
fn every_metric_is_documented_and_none_is_made_up() {
    let page = fs::read_to_string("docs/metrics.md").expect("docs/metrics.md");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `longtask_")?.split_once("` | "));
    let documented = rows.map(|(name, rest)| {
        let kind = rest.split(" |").next().unwrap_or_default();
        (format!("longtask_{name}"), kind.to_owned())
    });
    assert_eq!(documented.collect::<BTreeSet<_>>(), served());
}

#[test]
fn no_label_is_a_name_that_a_user_chooses() {
    for line in all_metrics().lines().filter(|line| !line.starts_with('#')) {
        for name in ["task", "name", "namespace", "pod", "node"] {
            assert!(!line.contains(&format!("{name}=\"")), "{line}");
        }
    }
}
