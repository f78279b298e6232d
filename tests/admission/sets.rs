//! LongTaskSets: what is refused with which words, what is fixed, and the borders of what is allowed.

use std::fmt::Write;

use crate::kubectl::{Answer, kubectl, try_apply};

/// The manifest of a set that nobody manages, with these lines below `spec`.
fn set(name: &str, spec: &str) -> String {
    let managed_by = if spec.contains("managedBy") { "" } else { "managedBy: tests.longtask.dev/nobody" };
    let template = if spec.contains("templateRef:") { "" } else { "templateRef: {name: x}" };
    let multiplied = if spec.contains("count:") || spec.contains("items:") { "" } else { "count: 8" };
    let lines = [managed_by, template, multiplied].into_iter().chain(spec.lines()).filter(|line| !line.is_empty());
    let spec = lines.collect::<Vec<_>>().join("\n  ");
    format!("apiVersion: longtask.dev/v1alpha1\nkind: LongTaskSet\nmetadata: {{name: {name}}}\nspec:\n  {spec}\n")
}

/// So many items, each with a text of so many letters.
fn items(number: usize, letters: usize) -> String {
    let text = "x".repeat(letters);
    let mut items = String::from("items: [");
    for index in 0..number {
        let separator = if index == 0 { "" } else { ", " };
        write!(items, "{separator}{{f: {text}}}").expect("a text takes all");
    }
    items.push(']');
    items
}

/// Fails the test unless the answer is a refusal in these words.
#[track_caller]
fn expect_refused(what: &str, answer: &Answer, words: &str) {
    assert!(
        !answer.is_ok && answer.err.contains(words),
        "{what}: expected {words:?}, got {}{}",
        answer.out,
        answer.err
    );
}

const NEITHER_OR_BOTH: &str = "spec: Invalid value: write either count, for members that are told their index, or items, for members with an input each";
const NOT_A_LIMIT: &str = "must be a number of members such as 20, or a share such as \"5%\"";

#[test]
fn a_sound_set_is_accepted() {
    let longest = "x".repeat(46);
    for (what, manifest) in [
        ("the least", set("least", "")),
        ("a name of 46 characters", set(&longest, "")),
        ("one member", set("one", "count: 1")),
        ("the most members", set("most", "count: 10000")),
        ("one item", set("one-item", "items: [{file: a.mp4}]")),
        ("an item without anything", set("empty-item", "items: [{}]")),
        ("items with lists and objects", set("deep", "items: [{a: {b: [1, null, true]}}, {c: 1.5}]\ninput: {d: {}}")),
        ("batches", set("batches", "items: [{a: 1}, {a: 2}, {a: 3}]\nbatch: 1000")),
        ("a batch of one beside a count", set("batch-of-one", "batch: 1")),
        ("one at a time", set("one-by-one", "maxParallel: 1")),
        ("a thousand at a time", set("wide", "maxParallel: 1000")),
        ("limits of failures as numbers", set("numbers", "tolerateFailed: 0\nmaxFailed: 9999")),
        ("limits of failures as shares", set("shares", "tolerateFailed: 5%\nmaxFailed: '100%'")),
        ("no failure at all", set("none", "tolerateFailed: '0%'\nmaxFailed: 0")),
        ("no successes kept, and all", set("history", "taskHistoryLimit: 0")),
        ("all successes kept", set("whole-history", "taskHistoryLimit: 10000")),
        ("limits of time", set("limits", "limits: {wallTime: 8h, deadline: '2030-01-01T00:00:00Z'}")),
        ("times to live", set("ttl", "ttlAfterFinished: 24h\nttlAfterFailed: 0s")),
        ("one that begins suspended", set("suspended", "suspend: true")),
        ("one that begins cancelled", set("cancelled", "cancel: true")),
        ("one that begins with a token", set("restarted", "restart: {token: v1, renew: true}")),
        ("null for a default", set("nulls", "batch: null\nmaxParallel: null\ntolerateFailed: null\nlimits: null")),
    ] {
        let answer = try_apply(&manifest);
        assert!(answer.is_ok, "{what}: {}", answer.err);
    }
}

/// What is wrong, what stands below `spec`, and what the user must read.
const REFUSED: &[(&str, &str, &str)] = &[
    ("both count and items", "count: 2\nitems: [{a: 1}]", NEITHER_OR_BOTH),
    ("a template without a name", "templateRef: {}", "spec.templateRef.name: Required value"),
    ("a batch of indexes", "batch: 2", "spec.batch: Invalid value: goes only with items"),
    ("an empty batch", "items: [{a: 1}]\nbatch: 0", "spec.batch in body should be greater than or equal to 1"),
    ("a batch of 1001", "items: [{a: 1}]\nbatch: 1001", "spec.batch in body should be less than or equal to 1000"),
    ("no member", "count: 0", "spec.count in body should be greater than or equal to 1"),
    ("10,001 members", "count: 10001", "spec.count in body should be less than or equal to 10000"),
    ("no item", "items: []", "spec.items in body should have at least 1 items"),
    ("items that are no objects", "items: [a.mp4]", "spec.items[0]"),
    ("an input that is no object", "input: [1]", "spec.input"),
    ("nobody at a time", "maxParallel: 0", "spec.maxParallel in body should be greater than or equal to 1"),
    ("1001 at a time", "maxParallel: 1001", "spec.maxParallel in body should be less than or equal to 1000"),
    ("fewer failures than none", "tolerateFailed: -1", NOT_A_LIMIT),
    ("a share without its sign", "tolerateFailed: '5'", NOT_A_LIMIT),
    ("a share above all", "tolerateFailed: 101%", NOT_A_LIMIT),
    ("a share with a fraction", "tolerateFailed: .5%", NOT_A_LIMIT),
    ("a fraction", "tolerateFailed: 0.5", "spec.tolerateFailed in body must be of type integer,string"),
    ("a text", "maxFailed: few", NOT_A_LIMIT),
    ("a negative share", "maxFailed: -5%", NOT_A_LIMIT),
    ("a long text", "maxFailed: 'a few'", "spec.maxFailed: Too long"),
    (
        "a history below none",
        "taskHistoryLimit: -1",
        "spec.taskHistoryLimit in body should be greater than or equal to 0",
    ),
    (
        "a history of more than there can be",
        "taskHistoryLimit: 10001",
        "spec.taskHistoryLimit in body should be less than or equal to 10000",
    ),
    ("no wall time", "limits: {wallTime: 0s}", "spec.limits.wallTime: Invalid value: \"0s\""),
    ("wall time in days", "limits: {wallTime: 3d}", "write 72h, not 3d"),
    ("a deadline in words", "limits: {deadline: tomorrow}", "must be a point in time with its zone"),
    ("a limit of tasks", "limits: {segments: 3}", "unknown field \"spec.limits.segments\""),
    ("a time to live in days", "ttlAfterFinished: 1d", "spec.ttlAfterFinished: Invalid value: \"1d\""),
    ("a restart without token", "restart: {renew: true}", "spec.restart.token: Required value"),
    ("an empty token", "restart: {token: ''}", "spec.restart.token in body should be at least 1 chars long"),
    ("a field of an Indexed Job", "parallelism: 3", "unknown field \"spec.parallelism\""),
    (
        "a definition of its own",
        "template: {spec: {containers: [{name: main, image: x}]}}",
        "unknown field \"spec.template\"",
    ),
];

#[test]
fn a_set_that_makes_no_sense_is_refused_with_words_that_help() {
    let head = "apiVersion: longtask.dev/v1alpha1\nkind: LongTaskSet\nmetadata: {name: wrong}\n";
    let whole = [
        (
            "a name of 47 characters",
            set(&"x".repeat(47), ""),
            "metadata.name: Invalid value: must be at most 46 characters: an index is appended to name its tasks",
        ),
        ("no spec", head.to_owned(), "spec: Required value"),
        ("no template", format!("{head}spec: {{count: 8}}\n"), "spec.templateRef: Required value"),
        ("neither count nor items", format!("{head}spec: {{templateRef: {{name: x}}}}\n"), NEITHER_OR_BOTH),
    ];
    let with_spec = REFUSED.iter().map(|(what, spec, words)| (*what, set("wrong", spec), *words));
    for (what, manifest, words) in whole.into_iter().chain(with_spec) {
        expect_refused(what, &try_apply(&manifest), words);
    }
}

#[test]
fn what_a_set_multiplies_is_fixed() {
    let patched = |name: &str, patch: &str| {
        kubectl(&["patch", "longtaskset", name, "--type=merge", "--dry-run=server", "--patch", patch], "")
    };
    kubectl(&["create", "-f", "-"], &set("counted", "count: 8\ninput: {preset: hq}")).expect_ok();
    kubectl(&["create", "-f", "-"], &set("itemized", "items: [{a: 1}, {a: 2}]\nbatch: 2")).expect_ok();
    for (name, patch, field) in [
        ("counted", r#"{"spec":{"templateRef":{"name":"y"}}}"#, "templateRef"),
        ("counted", r#"{"spec":{"count":9}}"#, "count"),
        ("counted", r#"{"spec":{"count":7}}"#, "count"),
        ("counted", r#"{"spec":{"count":null,"items":[{"a":1}]}}"#, "count"),
        ("counted", r#"{"spec":{"count":null,"items":[{"a":1}]}}"#, "items"),
        ("counted", r#"{"spec":{"input":{"preset":"lq"}}}"#, "input"),
        ("counted", r#"{"spec":{"input":null}}"#, "input"),
        ("itemized", r#"{"spec":{"items":[{"a":1},{"a":3}]}}"#, "items"),
        ("itemized", r#"{"spec":{"items":[{"a":1}]}}"#, "items"),
        ("itemized", r#"{"spec":{"input":{"preset":"hq"}}}"#, "input"),
        ("itemized", r#"{"spec":{"batch":1}}"#, "batch"),
        ("itemized", r#"{"spec":{"batch":null}}"#, "batch"),
    ] {
        let words = format!("spec.{field}: Invalid value: is fixed: make another set");
        expect_refused(patch, &patched(name, patch), &words);
    }
    expect_refused(
        "another controller",
        &patched("counted", r#"{"spec":{"managedBy":"longtask.dev/operator"}}"#),
        "spec.managedBy: Invalid value: is immutable: delete the set and create it anew",
    );
}

#[test]
fn how_a_set_works_may_change_at_any_time() {
    kubectl(&["create", "-f", "-"], &set("changed", "items: [{a: {b: 1}}, {a: {b: 2}}]\ninput: {p: 1}")).expect_ok();
    let change = "maxParallel: 1\ntolerateFailed: 5%\nmaxFailed: 3\ntaskHistoryLimit: 0\nlimits: {wallTime: 1h}\n\
        suspend: true\nttlAfterFinished: 1h\nttlAfterFailed: 2h\nrestart: {token: v2, renew: true}\n\
        items: [{a: {b: 1}}, {a: {b: 2}}]\ninput: {p: 1}";
    kubectl(&["replace", "-f", "-"], &set("changed", change)).expect_ok();
}

#[test]
fn a_cancelled_set_goes_on_only_with_a_new_token() {
    let apply = |spec: &str| try_apply(&set("cancelled-set", spec));
    kubectl(&["apply", "-f", "-"], &set("cancelled-set", "cancel: true")).expect_ok();
    let for_good =
        "spec.cancel: Invalid value: is for good and can be taken back only together with a new spec.restart.token";
    for spec in ["cancel: false", ""] {
        expect_refused(spec, &apply(spec), for_good);
    }
    expect_refused(
        "a round of a set that stays cancelled",
        &apply("cancel: true\nrestart: {token: v2}"),
        "spec.restart.token: Invalid value: a new token starts another round: set spec.cancel to false with it",
    );
    apply("cancel: true\nmaxParallel: 3").expect_ok();
    apply("cancel: false\nrestart: {token: v2}").expect_ok();
}

#[test]
fn ten_thousand_items_and_128_kib_of_them_are_taken_and_compared() {
    // An item of n letters has 9 + n bytes with its comma: 10,000 of 4 letters are 127 KiB, and the eight others 128 KiB.
    for (name, number, letters) in [("many-items", 10_000, 4), ("large-items", 8, 16 * 1024 - 9)] {
        let spec = items(number, letters);
        // Not by apply, which keeps a copy of all of it in an annotation.
        kubectl(&["create", "-f", "-"], &set(name, &spec)).expect_ok();
        let total = kubectl(&["get", "longtaskset", name, "-o", "jsonpath={.spec.items[*].f}"], "").expect_ok();
        assert_eq!(total.split(' ').count(), number);
        kubectl(&["replace", "-f", "-"], &set(name, &format!("{spec}\nsuspend: true"))).expect_ok();
        let other = items(number, letters).replacen("{f: x", "{f: y", 1);
        expect_refused(
            "another first item",
            &kubectl(&["replace", "-f", "-"], &set(name, &other)),
            "spec.items: Invalid value: is fixed: make another set",
        );
        kubectl(&["delete", "longtaskset", name], "").expect_ok();
    }
    let one_more = kubectl(&["create", "--dry-run=server", "-f", "-"], &set("too-many", &items(10_001, 1)));
    expect_refused("10,001 items", &one_more, "spec.items: Too many");
}

#[test]
fn what_is_left_out_of_a_set_is_filled_in() {
    let fields = "jsonpath={.spec.batch} {.spec.maxParallel} {.spec.tolerateFailed} {.spec.maxFailed} \
        {.spec.taskHistoryLimit} {.spec.limits} {.spec.suspend} {.spec.cancel}";
    let apply = ["apply", "--dry-run=server", "-o", fields, "-f", "-"];
    // Of maxFailed the default depends on tolerateFailed: it is not stored.
    assert_eq!(kubectl(&apply, &set("defaults", "")).expect_ok(), "1 10 0  10 {} false false");
}

#[test]
fn a_set_is_printed_with_its_progress() {
    kubectl(&["apply", "-f", "-"], &set("printed-set", "count: 8000")).expect_ok();
    let status = r#"{"status":{"phase":"Running","active":20,"progress":{"summary":"3127/8000"},"failed":{"count":4,"indexes":"1-4"}}}"#;
    kubectl(&["patch", "lts", "printed-set", "--subresource=status", "--type=merge", "--patch", status], "")
        .expect_ok();
    let printed = kubectl(&["get", "lts", "printed-set", "-o", "wide"], "").expect_ok();
    let mut lines = printed.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let (head, row) = (lines.next().expect("columns"), lines.next().expect("a row"));
    assert_eq!(head, ["NAME", "PHASE", "PROGRESS", "ACTIVE", "FAILED", "AGE", "TEMPLATE", "PARALLEL", "ETA", "REASON"]);
    assert_eq!(row[..5], ["printed-set", "Running", "3127/8000", "20", "4"], "{printed}");
    assert_eq!(row[6..8], ["x", "10"], "{printed}");
    for (selector, name) in [("status.phase=Running", true), ("spec.templateRef.name=y", false)] {
        let found = kubectl(&["get", "lts", "--field-selector", selector, "-o", "name"], "").expect_ok();
        assert_eq!(found.contains("longtaskset.longtask.dev/printed-set"), name, "{selector}: {found}");
    }
}

#[test]
fn a_second_apply_of_a_set_changes_nothing() {
    let manifest = set("again", "items: [{a: {b: [1, 2]}}, {a: {}}]\nmaxFailed: 5%\nrestart: {token: v1}");
    kubectl(&["apply", "-f", "-"], &manifest).expect_ok();
    let second = kubectl(&["apply", "-f", "-"], &manifest).expect_ok();
    assert!(second.ends_with(" unchanged\n"), "{second}");
}
