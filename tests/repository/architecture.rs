//! The import rule: each room uses only the rooms that its row allows. What decides does no I/O and reads no clock, a
//! kind never imports another kind, and no modules import each other in a circle. And the rule of the plan: what writes
//! its draft answers nothing.
//!
//! Read from the tokens of the source, so that neither formatting nor an alias nor a macro hides a path.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs,
    path::Path,
};

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// What the pure rooms may not touch: I/O, other tasks, chance, and the time.
const IMPURE: [&str; 17] = [
    "tokio",
    "tracing",
    "futures",
    "kube::Api",
    "kube::Client",
    "kube::api",
    "kube::client",
    "kube::runtime",
    "kube_runtime",
    "std::env",
    "std::fs",
    "std::net",
    "std::time::Instant",
    "std::time::SystemTime",
    "jiff::Timestamp::now",
    "jiff::Zoned",
    "rand",
];

/// Each room, whether it is pure, and what of this crate it may use beside itself. A new room adds one row.
///
/// Kinds meet in objects, not in calls: a kind's row never names the rooms of another kind, only `api`.
const ROOMS: [(&str, bool, &[&str]); 22] = [
    ("types", true, &["contract"]),
    // A package of its own, which the agent shares.
    ("contract", true, &[]),
    ("api", true, &["types"]),
    ("clock", false, &[]),
    ("cli", false, &[]),
    ("telemetry", false, &["cli", "clock"]),
    ("runtime", false, &["api::labels", "cli", "clock", "telemetry", "types"]),
    ("start", true, &["api", "contract", "types"]),
    // The one call.
    ("start::create", false, &["api", "start"]),
    // Only names its rooms.
    ("task", true, &[]),
    ("task::render", true, &["api", "contract", "types"]),
    (
        "task::plan",
        true,
        &[
            "api",
            "contract",
            "start::definition",
            "start::input",
            "start::name",
            "start::task",
            "task::render",
            "types",
        ],
    ),
    ("task::simulate", true, &["api", "contract", "task::plan", "task::render", "types"]),
    (
        "task::controller",
        false,
        &[
            "api",
            "cli",
            "clock",
            "contract",
            "runtime",
            "start::answer",
            "task::plan",
            "task::render",
            "telemetry",
            "types",
        ],
    ),
    // Only names its rooms.
    ("set", true, &[]),
    ("set::plan", true, &["api", "contract", "start::input", "start::task", "types"]),
    ("set::controller", false, &["api", "cli", "clock", "runtime", "set::plan", "start::answer", "telemetry", "types"]),
    // Only names its rooms.
    ("queue", true, &[]),
    ("queue::plan", true, &["api", "types"]),
    ("queue::controller", false, &["api", "cli", "clock", "queue::plan", "runtime", "telemetry", "types"]),
    // The order of a queue is the operator's own.
    ("kubectl", false, &["api", "clock", "contract", "queue::plan", "start", "types"]),
    ("operator", false, &["cli", "queue::controller", "runtime", "set::controller", "task::controller", "telemetry"]),
];

#[test]
fn every_room_uses_only_what_is_left_of_it() {
    let mut violations = Vec::new();
    for Source { file, module, text } in all_sources() {
        violations.extend(violations_in(&module, &text).into_iter().map(|violation| format!("{file}: {violation}")));
    }
    assert!(violations.is_empty(), "{}", violations.join("\n"));
}

#[test]
fn the_text_of_the_plugin_is_made_without_io() {
    let mut texts = all_sources();
    texts.retain(|source| source.module.starts_with(&["kubectl".into(), "text".into()]));
    assert!(texts.len() > 3, "{}", texts.len());
    for Source { file, module, text } in texts {
        let used = paths_in(&module, &text);
        let hits: Vec<_> = used.iter().filter(|path| IMPURE.iter().any(|forbidden| reaches(path, forbidden))).collect();
        assert!(hits.is_empty(), "{file} uses {hits:?}");
    }
}

#[test]
fn every_room_is_on_the_list() {
    let sources = all_sources();
    for Source { file, module, .. } in &sources {
        assert!(room_of(&module.join("::")).is_some(), "{file} is in no room on the list");
    }
    for (room, ..) in ROOMS {
        let is_in = |source: &Source| room_of(&source.module.join("::")).is_some_and(|(of, ..)| of == room);
        assert!(sources.iter().any(is_in), "there is no room {room}");
    }
}

#[test]
fn the_page_on_the_architecture_has_the_same_list() {
    let page = fs::read_to_string("docs/architecture.md").expect("the page");
    let (_, section) = page.split_once("\n## Rooms\n").expect("a section on rooms");
    let rows =
        section.lines().skip_while(|line| !line.starts_with("|---")).skip(1).take_while(|line| line.starts_with('|'));
    let quoted = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<BTreeSet<_>>();
    let written: BTreeMap<_, _> = rows
        .filter_map(|row| {
            let (room, rest) = row.trim_matches('|').split_once(" | ")?;
            let (_, may_use) = rest.rsplit_once(" | ")?;
            Some((quoted(room).pop_first()?.trim_end_matches(".rs").to_owned(), quoted(may_use)))
        })
        .filter(|(room, _)| room != "main")
        .collect();
    let as_path = |room: &str| room.replace("::", "/");
    let listed: BTreeMap<_, BTreeSet<_>> = ROOMS
        .iter()
        .filter(|(room, ..)| !["queue", "set", "task"].contains(room))
        .map(|(room, _, may_use)| (as_path(room), may_use.iter().map(|room| as_path(room)).collect()))
        .collect();
    assert_eq!(written, listed);
}

#[test]
fn modules_do_not_import_each_other_in_a_circle() {
    let sources = all_sources();
    let modules: Vec<String> = sources.iter().map(|source| source.module.join("::")).collect();
    let imports: HashMap<&str, Vec<&str>> = sources
        .iter()
        .zip(&modules)
        .map(|(Source { module: path, text, .. }, module)| {
            let used = paths_in(path, text);
            let mut imported: Vec<_> = used.iter().filter_map(|path| module_of(path, &modules)).collect();
            imported.retain(|imported| imported != module);
            (module.as_str(), imported)
        })
        .collect();
    let circles = circles(&imports);
    assert!(circles.is_empty(), "{}", circles.join("\n"));
}

#[test]
fn a_circle_is_found() {
    let imports = HashMap::from([("a", vec!["b"]), ("b", vec!["c", "d"]), ("c", vec!["a"]), ("d", vec![])]);
    assert_eq!(circles(&imports), ["a -> b -> c -> a"]);
    assert_eq!(circles(&HashMap::from([("a", vec!["b"]), ("b", vec![])])), [""; 0]);
}

#[test]
fn the_environment_is_read_in_one_place() {
    for Source { file, module, text } in all_sources() {
        let reads = paths_in(&module, &text).iter().any(|path| reaches(path, "std::env"));
        assert!(!reads || module == ["cli", "settings"], "{file} uses std::env");
    }
}

#[test]
fn a_violation_is_caught_however_it_is_written() {
    for (module, source) in [
        ("task::plan::limits", "use tokio::time;"),
        ("set::plan::count", "use crate::task::plan::plan;"),
        ("queue::plan::order", "use crate::task::plan::plan;"),
        ("queue::plan::rate", "fn f() { let now = jiff::Timestamp::now(); }"),
        ("set::controller::execute", "use crate::task::controller::TaskController;"),
        ("task::controller::observe", "use crate::set::controller::SetLinks;"),
        ("task::plan::limits", "use tokio as harmless;"),
        ("task::plan::limits", "use crate::{types::GoDuration, task::controller::{self}};"),
        ("task::plan::limits", "use super::super::controller::run;"),
        ("task::plan::limits", "use crate :: /* not here */ runtime\n  :: leader;"),
        ("task::plan::limits", "fn f() { let now = jiff::Timestamp::now(); }"),
        ("task::plan::limits", "use jiff::Timestamp; fn f() { let now = Timestamp::now(); }"),
        ("task::plan::limits", "use jiff::Timestamp as T; fn f() { let now = T::now(); }"),
        ("task::plan::limits", "fn f() { println!(\"{:?}\", std::env::args()); }"),
        ("task::plan::limits", "use std; fn f() { std::fs::read(\"x\"); }"),
        ("task::plan::limits", "use kube::*;"),
        ("task::plan::limits", "use crate::*;"),
        ("task::plan::limits", "use crate::task::*;"),
        ("task::plan::limits", "mod tests { use super::super::super::controller::run; }"),
        ("api::task::spec", "use crate::task::plan::plan;"),
        ("api::task::spec", "use kube::{CustomResource, Client};"),
        ("types::duration", "use crate::api::task::LongTask;"),
        ("task::render::pod", "use crate::task::plan::Observed;"),
        ("task::simulate::cluster", "use crate::clock::Clock;"),
        ("task::plan::fill_in", "use crate::start::create::create;"),
        ("start::input", "use kube::Client;"),
        ("kubectl::status", "use crate::task::plan::plan;"),
        ("task::controller::execute", "use crate::task::simulate::Script;"),
        ("telemetry::logs", "use crate::task::controller::run;"),
        ("runtime::leader", "use crate::api::task::LongTask;"),
        ("runtime::leader", "fn f() { crate::operator::resources(); }"),
    ] {
        assert_ne!(violations_in(&words(module), source), [""; 0], "{source}");
    }
}

#[test]
fn what_writes_the_draft_of_a_plan_answers_nothing() {
    let mut violations = Vec::new();
    for Source { file, module, text } in all_sources() {
        if ["task", "set", "queue"].iter().any(|kind| module.starts_with(&[(*kind).into(), "plan".into()])) {
            violations.extend(writers_that_answer(&text).into_iter().map(|name| format!("{file}: {name}")));
        }
    }
    assert!(violations.is_empty(), "these take the draft or the status by &mut and return something: {violations:#?}");
}

#[test]
fn a_question_that_acts_is_caught_however_it_is_written() {
    for source in [
        "fn must_wait(draft: &mut Draft<'_>) -> bool { true }",
        "pub(super) fn record<'a>(seen: &Observed<'a>, draft: &mut Draft<'a>) -> Verdict { todo() }",
        "fn count(class: Class, status: &mut LongTaskStatus) -> i64 { 1 }",
        "fn with<F: Fn(u8) -> u8>(draft: & /* here */ mut super::draft::Draft<'_>, f: F) -> Option<()> { None }",
        "impl Draft<'_> { fn step(&mut self, step: Step) -> bool { true } }",
        "impl<'a> Draft<'a> { fn step(self: &mut Self) -> bool { true } }",
        "mod inner { fn f() { fn g(d: &mut Draft<'_>) -> bool { true } } }",
        "fn f(draft: &'a mut Draft<'a>) -> bool { true }",
    ] {
        assert_eq!(writers_that_answer(source).len(), 1, "{source}");
    }
    for source in [
        "fn wait(draft: &mut Draft<'_>) { draft.set_phase(Phase::Waiting); }",
        "fn must_wait(draft: &Draft<'_>) -> Option<Timestamp> { None }",
        "fn update(draft: &mut Draft<'_>, update: impl FnOnce(&mut CurrentAttempt) -> bool) { }",
        "fn update(draft: &mut Draft<'_>) where F: Fn() -> bool { }",
        "impl Draft<'_> { fn finish(mut self) -> Plan { plan } fn of(seen: &Observed) -> Self { seen } }",
        "impl Other { fn next(&mut self) -> bool { true } }",
        "fn f() -> bool { let write = |draft: &mut Draft<'_>| draft.guard(); true }",
    ] {
        assert_eq!(writers_that_answer(source), [""; 0], "{source}");
    }
}

#[test]
fn what_is_allowed_is_not_caught() {
    for (module, source) in [
        ("task::plan::limits", "use super::{draft, steps::Step}; use crate::{api::task::LongTask, task::render};"),
        ("task::plan::limits", "// use tokio::time;\nconst TEXT: &str = \"use tokio::time;\";"),
        ("task::plan::limits", "use jiff::Timestamp; fn f(now: Timestamp) -> Timestamp { Timestamp::MAX }"),
        ("task::plan::limits", "mod tests { use super::*; fn f() { env::add(1); } }"),
        ("task::simulate::cluster", "use crate::{api::task::LongTask, task::plan::plan};"),
        ("api::task::spec", "use kube::CustomResource; #[kube(group = \"x\")] struct S;"),
        ("task::controller::execute", "use crate::{task::plan::Plan, telemetry::metrics::Registry}; use tokio::time;"),
        ("operator", "fn f() { crate::task::controller::run(); }"),
    ] {
        assert_eq!(violations_in(&words(module), source), [""; 0], "{source}");
    }
}

fn words(path: &str) -> Vec<String> {
    path.split("::").map(Into::into).collect()
}

/// A source file.
struct Source {
    file: String,
    /// The path of its module, from the root of the program.
    module: Vec<String>,
    text: String,
}

/// Every source file of the program, and of the package `contract`, which it knows as a module of its own.
fn all_sources() -> Vec<Source> {
    let read = |(file, module)| {
        let text = fs::read_to_string(&file).expect("readable");
        Source { file, module, text }
    };
    let own = sources(Path::new("src"), &[]).into_iter().map(read);
    let contract = sources(Path::new("contract/src"), &["contract".to_owned()]).into_iter().map(read);
    // Its root is not the program's.
    own.chain(contract.map(|source| Source { text: source.text.replace("crate::", "crate::contract::"), ..source }))
        .collect()
}

/// Every source file below `folder`, with the path of its module.
fn sources(folder: &Path, module: &[String]) -> Vec<(String, Vec<String>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        let inner = || module.iter().cloned().chain([name.clone()]).collect::<Vec<_>>();
        if path.is_dir() {
            found.extend(sources(&path, &inner()));
        } else if path.extension().is_some_and(|extension| extension == "rs") && !["lib", "main"].contains(&&*name) {
            let module = if name == "mod" { module.to_vec() } else { inner() };
            found.push((path.display().to_string(), module));
        }
    }
    found
}

/// The forbidden paths that the source of a module uses.
fn violations_in(module: &[String], source: &str) -> Vec<String> {
    let (room, is_pure, allowed) = room_of(&module.join("::")).expect("a room on the list");
    let is_allowed = |path: &str| {
        let Some(inner) = path.strip_prefix("crate::") else {
            return !is_pure || !IMPURE.iter().any(|forbidden| reaches(path, forbidden));
        };
        let is_of = |outer: &&str| inner == *outer || inner.starts_with(&format!("{outer}::"));
        room_of(inner).is_some_and(|(of, ..)| of == room) || allowed.iter().any(is_of)
    };
    let used = paths_in(module, source);
    used.iter().filter(|path| !is_allowed(path)).map(|path| format!("{room} may not use {path}")).collect()
}

/// The functions in a source that take a `Draft`, or the status in it, by `&mut` and return something.
fn writers_that_answer(source: &str) -> Vec<String> {
    let mut found = Vec::new();
    collect_writers_that_answer(source.parse().expect("Rust"), false, &mut found);
    found
}

fn collect_writers_that_answer(tokens: TokenStream, is_of_draft: bool, found: &mut Vec<String>) {
    let tokens: Vec<_> = tokens.into_iter().collect();
    let mut is_in_draft = is_of_draft;
    for (at, token) in tokens.iter().enumerate() {
        match token {
            TokenTree::Group(group) => collect_writers_that_answer(group.stream(), is_in_draft, found),
            token if is_word(token, "impl") => {
                let head: Vec<_> = tokens[at..].iter().take_while(|token| !is_braced(token)).collect();
                is_in_draft = is_of_draft || head.iter().any(|token| is_word(token, "Draft"));
            }
            token if is_word(token, "fn") => {
                let [name, rest @ ..] = &tokens[at + 1..] else { continue };
                let [TokenTree::Group(parameters), behind, ..] = behind_generics(rest) else { continue };
                if is_mark(behind, '-') && takes_draft_by_mut(parameters.stream(), is_in_draft) {
                    found.push(name.to_string());
                }
            }
            _ => {}
        }
    }
}

/// What stands behind the generics of a function. The arrow of a closure's type can be in them.
fn behind_generics(tokens: &[TokenTree]) -> &[TokenTree] {
    let mut depth = 0;
    for (at, token) in tokens.iter().enumerate() {
        let is_arrow = at > 0 && is_mark(&tokens[at - 1], '-');
        match token {
            token if is_mark(token, '<') => depth += 1,
            token if is_mark(token, '>') && !is_arrow => depth -= 1,
            _ if depth == 0 => return &tokens[at..],
            _ => {}
        }
    }
    &[]
}

/// Whether one of the parameters is a `&mut` of the draft or the status, or of `self` where that is the draft.
fn takes_draft_by_mut(parameters: TokenStream, is_of_draft: bool) -> bool {
    let tokens: Vec<_> = parameters.into_iter().collect();
    tokens.split(|token| is_mark(token, ',')).any(|parameter| {
        let is_by_mut = parameter.iter().enumerate().any(|(at, token)| {
            // Between the two a lifetime may be.
            is_mark(token, '&') && parameter[at + 1..].iter().take(3).any(|token| is_word(token, "mut"))
        });
        let is_named = parameter.iter().any(|token| is_word(token, "Draft") || is_word(token, "LongTaskStatus"));
        let is_self = is_of_draft && parameter.iter().any(|token| is_word(token, "self"));
        is_by_mut && (is_named || is_self)
    })
}

fn is_braced(token: &TokenTree) -> bool {
    matches!(token, TokenTree::Group(group) if group.delimiter() == Delimiter::Brace)
}

/// The room that a path of this crate is in: the innermost on the list.
fn room_of(path: &str) -> Option<(&'static str, bool, &'static [&'static str])> {
    let is_in = |room: &str| path == room || path.starts_with(&format!("{room}::"));
    ROOMS.into_iter().filter(|(room, ..)| is_in(room)).max_by_key(|(room, ..)| room.len())
}

/// The module that a path leads into, of these.
fn module_of<'a>(path: &str, modules: &'a [String]) -> Option<&'a str> {
    let path = path.strip_prefix("crate::")?;
    let leads_into = |module: &&String| path == **module || path.starts_with(&format!("{module}::"));
    modules.iter().filter(leads_into).max_by_key(|module| module.len()).map(String::as_str)
}

/// One way round each circle, from the first of its modules by name.
fn circles(imports: &HashMap<&str, Vec<&str>>) -> Vec<String> {
    fn way_back<'a>(imports: &HashMap<&'a str, Vec<&'a str>>, way: &mut Vec<&'a str>, seen: &mut Vec<&'a str>) -> bool {
        let at = way[way.len() - 1];
        for next in imports.get(at).into_iter().flatten() {
            if *next == way[0] {
                return true;
            }
            if *next > way[0] && !seen.contains(next) {
                seen.push(next);
                way.push(next);
                if way_back(imports, way, seen) {
                    return true;
                }
                way.pop();
            }
        }
        false
    }
    let mut starts: Vec<_> = imports.keys().copied().collect();
    starts.sort_unstable();
    let ways = starts.into_iter().filter_map(|start| {
        let mut way = vec![start];
        way_back(imports, &mut way, &mut Vec::new()).then(|| format!("{} -> {start}", way.join(" -> ")))
    });
    ways.collect()
}

/// Whether a path names the forbidden thing, something in it, or by a glob everything around it.
fn reaches(path: &str, forbidden: &str) -> bool {
    let is_in = |inner: &str, outer: &str| inner == outer || inner.starts_with(&format!("{outer}::"));
    is_in(path, forbidden) || path.strip_suffix("::*").is_some_and(|around| is_in(forbidden, around))
}

/// Every path in the source of a module, from the crate's root or with the name of another crate in front.
fn paths_in(module: &[String], source: &str) -> Vec<String> {
    let tokens = source.parse().expect("Rust");
    let (mut imports, mut paths) = (HashMap::new(), Vec::new());
    collect_imports(tokens, module, &mut imports, &mut paths);
    collect_paths(source.parse().expect("Rust"), module, &imports, &mut paths);
    paths
}

/// The paths of all `use` declarations, and what each imported name stands for.
fn collect_imports(
    tokens: TokenStream,
    module: &[String],
    imports: &mut HashMap<String, String>,
    paths: &mut Vec<String>,
) {
    let tokens: Vec<_> = tokens.into_iter().collect();
    for (at, token) in tokens.iter().enumerate() {
        match token {
            TokenTree::Group(group) => {
                collect_imports(group.stream(), &module_inside(module, &tokens[..at]), imports, paths);
            }
            token if is_word(token, "use") => {
                let tree =
                    tokens[at + 1..].iter().take_while(|token| !is_mark(token, ';')).cloned().collect::<Vec<_>>();
                for (path, name) in leaves(&tree, "") {
                    let path = absolute(&path, module);
                    imports.insert(name, path.clone());
                    paths.push(path);
                }
            }
            _ => {}
        }
    }
}

/// The leaves of a use tree: what is imported, and under which name.
fn leaves(tree: &[TokenTree], prefix: &str) -> Vec<(String, String)> {
    let mut path = prefix.to_owned();
    for (at, token) in tree.iter().enumerate() {
        match token {
            TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => {
                let inner: Vec<_> = group.stream().into_iter().collect();
                return inner.split(|token| is_mark(token, ',')).flat_map(|branch| leaves(branch, &path)).collect();
            }
            token if is_word(token, "as") => {
                return vec![(path, tree[at + 1..].iter().map(ToString::to_string).collect())];
            }
            TokenTree::Ident(word) if word == "self" && !path.is_empty() => {}
            token if is_mark(token, ':') => {}
            token => {
                path += if path.is_empty() { "" } else { "::" };
                path += &token.to_string();
            }
        }
    }
    let name = path.rsplit("::").next().unwrap_or_default().to_owned();
    if path == prefix && tree.is_empty() { Vec::new() } else { vec![(path, name)] }
}

/// Every path of two words or more outside `use`, in macros and attributes too.
fn collect_paths(tokens: TokenStream, module: &[String], imports: &HashMap<String, String>, paths: &mut Vec<String>) {
    let tokens: Vec<_> = tokens.into_iter().collect();
    let mut path = String::new();
    for (at, token) in tokens.iter().enumerate() {
        match token {
            TokenTree::Group(group) => {
                collect_paths(group.stream(), &module_inside(module, &tokens[..at]), imports, paths);
            }
            TokenTree::Ident(word) if path.ends_with("::") => path += &word.to_string(),
            TokenTree::Ident(word) => path = word.to_string(),
            token if is_mark(token, ':') => path.push(':'),
            _ => path.clear(),
        }
        let goes_on = tokens.get(at + 1).is_some_and(|next| is_mark(next, ':'));
        if path.contains("::") && !path.ends_with(':') && !goes_on {
            let (first, rest) = path.split_once("::").unwrap_or_default();
            let known = imports.get(first).map(|import| format!("{import}::{rest}"));
            paths.push(known.unwrap_or_else(|| absolute(&path, module)));
        }
    }
}

/// The module of a group of tokens: a deeper one when `mod name` stands before it.
fn module_inside(module: &[String], before: &[TokenTree]) -> Vec<String> {
    let mut module = module.to_vec();
    if let [.., keyword, name] = before
        && is_word(keyword, "mod")
    {
        module.push(name.to_string());
    }
    module
}

/// A path that begins with `self` or `super`, from the crate's root.
fn absolute(path: &str, module: &[String]) -> String {
    let (mut around, mut rest) = (module, path);
    let mut is_relative = false;
    while let Some((first, tail)) = rest.split_once("::").filter(|(first, _)| ["self", "super"].contains(first)) {
        if first == "super" {
            around = around.split_last().map_or(around, |(_, outer)| outer);
        }
        (rest, is_relative) = (tail, true);
    }
    if !is_relative {
        return path.to_owned();
    }
    ["crate"].into_iter().chain(around.iter().map(String::as_str)).chain([rest]).collect::<Vec<_>>().join("::")
}

fn is_word(token: &TokenTree, word: &str) -> bool {
    matches!(token, TokenTree::Ident(ident) if ident == word)
}

fn is_mark(token: &TokenTree, mark: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == mark)
}
