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
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    entries
        .flat_map(|path| if path.is_dir() { pages(&path) } else { vec![path] })
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .collect()
}

#[test]
fn every_link_to_a_file_leads_somewhere() {
    let mut broken = Vec::new();
    let roots = ["README.md", "CHANGELOG.md"].map(PathBuf::from);
    for page in ["docs", "examples"].iter().flat_map(|folder| pages(Path::new(folder))).chain(roots) {
        let text = fs::read_to_string(&page).expect("readable");
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = target.split('#').next().unwrap_or_default();
            let is_elsewhere = target.contains("://") || file.is_empty();
            if !is_elsewhere && !page.parent().is_some_and(|folder| folder.join(file).exists()) {
                broken.push(format!("{}: {target}", page.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn the_contract_names_every_variable_that_a_program_gets() {
    let task: LongTask = serde_json::from_value(json!({
        "apiVersion": "longtask.dev/v1alpha1",
        "kind": "LongTask",
        "metadata": { "name": "task", "namespace": "default" },
        "spec": { "template": { "spec": { "containers": [{ "name": "main" }] } } },
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
        created_at: Timestamp::UNIX_EPOCH,
        started_at: None,
        cut_by: None,
        stop: None,
    };
    let checkpoint = Checkpoint {
        sequence: 1,
        attempt: 1,
        segment: 1,
        recorded_at: Timestamp::UNIX_EPOCH,
        data: Some(json!({})),
        uri: None,
        digest: None,
        size_bytes: None,
    };
    let status = LongTaskStatus { checkpoint: Some(checkpoint), ..LongTaskStatus::default() };
    let pod = render::pod(&task, "uid", &status, &attempt, 60).spec.expect("a spec");
    let given: BTreeSet<_> = pod.containers[0].env.iter().flatten().map(|variable| variable.name.clone()).collect();

    let contract = fs::read_to_string("docs/task-contract.md").expect("the contract");
    let rows = contract.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").next());
    let names = rows.flat_map(|cell| cell.split(", ")).map(|name| name.trim_matches('`').to_owned());
    let documented: BTreeSet<_> = names.filter(|name| name.starts_with("LONGTASK_") || name == "TRACEPARENT").collect();
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
    // The health of a task for Argo CD is that of its work, of which an old checkpoint tells nothing.
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
            assert!(is_told || (page == argo && trouble == ConditionType::CheckpointStale), "{page}: {trouble}");
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
