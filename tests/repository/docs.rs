//! The documentation keeps up with the code.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use longtask::{
    api::task::{
        AttemptReason, AttemptState, Checkpoint, ConditionReason, ConditionType, CurrentAttempt, FailureReason,
        LongTask, LongTaskStatus, PhaseReason, StopReason,
    },
    task::{plan::EventReason, render},
};
use serde_json::json;
use strum::IntoEnumIterator;

fn pages(folder: &Path) -> Vec<PathBuf> {
    files(folder, "md")
}

/// The files with this extension in a folder and those below it.
fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    entries
        .flat_map(|path| if path.is_dir() { files(&path, extension) } else { vec![path] })
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .collect()
}

/// What comes behind the `#` of a link to a heading, for each heading of a page.
fn anchors(text: &str) -> BTreeSet<String> {
    let outside_of_code = text.split("```").step_by(2).flat_map(str::lines);
    let headings = outside_of_code.filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    let is_left_out = |c: char| !c.is_alphanumeric() && !" -_".contains(c);
    headings.map(|heading| heading.to_lowercase().replace(is_left_out, "").replace(' ', "-")).collect()
}

#[test]
fn every_link_to_a_file_or_a_heading_leads_somewhere() {
    let folders = [".github", "bench", "charts", "docs", "examples", "tests"];
    let roots = fs::read_dir(".").expect("the root").map(|entry| entry.expect("an entry").path());
    let roots = roots.filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    let mut broken = Vec::new();
    for page in folders.iter().flat_map(|folder| pages(Path::new(folder))).chain(roots) {
        let text = fs::read_to_string(&page).expect("readable");
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let (file, heading) = target.split_once('#').unwrap_or((target, ""));
            let aim = if file.is_empty() { page.clone() } else { page.parent().expect("a folder").join(file) };
            let has_heading = || anchors(&fs::read_to_string(&aim).expect("readable")).contains(heading);
            let is_right = target.contains("://") || aim.exists() && (heading.is_empty() || has_heading());
            if !is_right {
                broken.push(format!("{}: {target}", page.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// A handler of signals interrupts Python at any line, also where the program holds the lock of an `Event` that it waits for.
#[test]
fn no_python_program_shown_here_sets_an_event_in_a_signal_handler() {
    let read = |path: &PathBuf| fs::read_to_string(path).expect("readable");
    let name = |path: &PathBuf| path.display().to_string();
    let programs = files(Path::new("examples"), "py");
    let programs = programs.iter().map(|path| (name(path), read(path)));
    let pages: Vec<_> = ["docs", "examples"].iter().flat_map(|folder| pages(Path::new(folder))).collect();
    let snippets = pages.iter().flat_map(|page| {
        let text = read(page);
        let blocks: Vec<_> = text.split("```python").skip(1).filter_map(|rest| rest.split("```").next()).collect();
        blocks.into_iter().map(|block| (name(page), block.to_owned())).collect::<Vec<_>>()
    });
    let with_handler: Vec<_> =
        programs.chain(snippets).filter(|(_, program)| program.contains("signal.signal(")).collect();
    assert!(with_handler.len() >= 3, "{with_handler:?}");
    let wrong: Vec<_> =
        with_handler.iter().filter(|(_, program)| program.contains("Event(")).map(|(at, _)| at).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[test]
fn every_path_that_contributors_are_told_of_exists() {
    let page = fs::read_to_string("CONTRIBUTING.md").expect("the page");
    let code = page.split('`').skip(1).step_by(2);
    let paths: Vec<_> = code
        .filter(|word| ["src/", "tests/", "docs/", "charts/", "crds/", "deploy/"].iter().any(|f| word.starts_with(f)))
        .filter(|path| !path.contains("KIND"))
        .collect();
    assert!(paths.len() > 20, "{paths:?}");
    let missing: Vec<_> = paths.iter().filter(|path| !Path::new(path).exists()).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn every_decision_has_a_status_and_a_row_in_the_index() {
    let index = fs::read_to_string("docs/decisions/README.md").expect("the index");
    let decisions = pages(Path::new("docs/decisions")).into_iter().filter_map(|page| {
        let name = page.file_name()?.to_str()?.to_owned();
        (name.starts_with(|first: char| first.is_ascii_digit()) && name != "0000-template.md").then_some((name, page))
    });
    let wrong: Vec<_> = decisions
        .filter(|(name, page)| {
            let text = fs::read_to_string(page).expect("readable");
            let status = text.lines().find_map(|line| line.strip_prefix("Status: ")).unwrap_or_default();
            let is_known = ["proposed", "accepted", "replaced by "].iter().any(|word| status.starts_with(word));
            !is_known || !index.contains(&format!("]({name})"))
        })
        .map(|(name, _)| name)
        .collect();
    assert!(wrong.is_empty(), "no status or no row: {wrong:?}");
}

#[test]
fn the_contract_names_every_variable_that_a_program_gets() {
    let task: LongTask = serde_json::from_value(json!({
        "apiVersion": "longtask.dev/v1alpha1",
        "kind": "LongTask",
        "metadata": {
            "name": "task", "namespace": "default",
            "labels": { "longtask.dev/set": "s", "longtask.dev/index": "7" },
            "annotations": { "longtask.dev/set-uid": "u", "longtask.dev/set-count": "9" },
        },
        "spec": { "template": { "spec": { "containers": [{ "name": "main" }] } }, "input": { "key": 1 } },
    }))
    .expect("a task");
    let attempt = CurrentAttempt {
        number: 1,
        segment: 1,
        state: AttemptState::Creating,
        pod_name: "task-1".into(),
        pod_uid: None,
        node_name: None,
        generation: 1,
        template_hash: None,
        creation_time: Timestamp::UNIX_EPOCH,
        started_at: None,
        cut_by: None,
        stop: None,
        report: None,
        ticket: None,
        pod_group: None,
    };
    let checkpoint = Checkpoint {
        sequence: 1,
        attempt: 1,
        segment: 1,
        record_time: Timestamp::UNIX_EPOCH,
        path: None,
        data: Some(json!({})),
        uri: None,
        digest: None,
        size_bytes: None,
    };
    let status = LongTaskStatus { checkpoint: Some(checkpoint), ..LongTaskStatus::default() };
    let pod = render::pod(&task, "uid", &status, &attempt, 60, None).spec.expect("a spec");
    let given: BTreeSet<_> = pod.containers[0].env.iter().flatten().map(|variable| variable.name.clone()).collect();

    let contract = fs::read_to_string("docs/task-contract.md").expect("the contract");
    let rows = contract.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").next());
    let names = rows.flat_map(|cell| cell.split(", ")).map(|name| name.trim_matches('`').replace("<key>", "key"));
    let documented: BTreeSet<_> = names
        .filter(|name| {
            name.starts_with("LONGTASK_") || ["TRACEPARENT", "JOB_COMPLETION_INDEX"].contains(&name.as_str())
        })
        .collect();
    assert_eq!(documented, given);
}

#[test]
fn troubleshooting_has_a_row_for_all_that_the_operator_can_say() {
    let page = fs::read_to_string("docs/troubleshooting.md").expect("the page");
    let cells = page.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").next());
    let rows: BTreeSet<_> = cells.flat_map(|cell| cell.split(", ")).collect();
    let is_trouble = |type_: &ConditionType| ConditionType::troubles().any(|trouble| trouble == *type_);
    let of_troubles = ConditionReason::iter().filter(|reason| reason.conditions().iter().any(is_trouble));
    let words: [Vec<_>; 7] = [
        ConditionType::iter().map(|type_| type_.to_string()).collect(),
        of_troubles.map(|reason| reason.to_string()).collect(),
        PhaseReason::iter().map(|reason| reason.to_string()).collect(),
        EventReason::iter().map(|reason| reason.to_string()).collect(),
        FailureReason::iter().map(|reason| reason.to_string()).collect(),
        StopReason::iter().map(|reason| reason.to_string()).collect(),
        AttemptReason::iter().map(|reason| reason.to_string()).collect(),
    ];
    let missing: Vec<_> = words.iter().flatten().filter(|word| !rows.contains(word.as_str())).collect();
    assert!(missing.is_empty(), "no row for {missing:?}");
}

#[test]
fn each_trouble_is_named_where_troubles_are_counted_and_told() {
    // The health of a task for Argo CD is that of its work, of which an old checkpoint tells nothing, and neither do reports
    // that are read only at the end, or checkpoints that are not saved yet.
    let says_nothing_of_work =
        [ConditionType::CheckpointStale, ConditionType::ReportsMissing, ConditionType::SaveFailing];
    let argo = "deploy/argocd/health.lua";
    for (page, begins) in [
        ("docs/metrics.md", "| `longtask_tasks_with_condition` "),
        ("docs/kubectl-longtask.md", "does: the message of "),
        ("charts/longtask/files/rules.yaml", ""),
        (argo, ""),
    ] {
        let text = fs::read_to_string(page).expect("readable");
        let told: String = text.lines().filter(|line| line.starts_with(begins)).collect();
        for trouble in ConditionType::troubles() {
            let is_told = told.contains(&trouble.to_string());
            assert!(is_told || (page == argo && says_nothing_of_work.contains(&trouble)), "{page}: {trouble}");
        }
    }
}

#[test]
fn the_page_on_failures_lists_each_reason_with_each_outcome_that_it_comes_with() {
    let page = fs::read_to_string("docs/failure-handling.md").expect("the page");
    let (_, section) = page.split_once("\n## Reasons\n").expect("a section on reasons");
    let rows = section.lines().take_while(|line| !line.starts_with("## ")).filter_map(|line| line.strip_prefix("| "));
    let listed: BTreeSet<_> = rows
        .filter_map(|row| row.split_once(" | "))
        .flat_map(|(reasons, rest)| reasons.split(", ").map(move |reason| (reason, rest.split(" | ").next())))
        .filter_map(|(reason, outcome)| Some(format!("{reason} {}", outcome?)))
        .filter(|row| row != "reason outcome")
        .collect();
    let ends = |reason: AttemptReason| reason.outcomes().iter().map(move |outcome| format!("{reason} {outcome}"));
    assert_eq!(listed, AttemptReason::iter().flat_map(ends).collect());
}
