//! The import rule: `api` <- `render` <- `plan` <- `controller` <- `main`, `simulate` and `kubectl` beside
//! `controller`. What decides does no I/O and reads no clock.
//!
//! Read from the tokens of the source, so that neither formatting nor an alias nor a macro hides a path.

use std::{collections::HashMap, fs, path::Path};

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

/// Each room, whether it is pure, and the rooms of this crate that it may not use.
const ROOMS: [(&str, bool, &[&str]); 10] = [
    ("api", true, &["clock", "render", "plan", "simulate", "controller", "operator", "telemetry", "cli", "kubectl"]),
    ("render", true, &["clock", "plan", "simulate", "controller", "operator", "telemetry", "cli", "kubectl"]),
    ("plan", true, &["clock", "simulate", "controller", "operator", "telemetry", "cli", "kubectl"]),
    ("simulate", true, &["clock", "controller", "operator", "telemetry", "cli", "kubectl"]),
    ("clock", false, &["api", "render", "plan", "simulate", "controller", "operator", "telemetry", "cli", "kubectl"]),
    ("cli", false, &["api", "render", "plan", "simulate", "controller", "operator", "telemetry", "kubectl"]),
    ("telemetry", false, &["api", "render", "plan", "simulate", "controller", "operator", "kubectl"]),
    ("controller", false, &["simulate", "kubectl"]),
    ("operator", false, &["render", "plan", "simulate", "kubectl"]),
    ("kubectl", false, &["render", "plan", "simulate", "controller", "operator", "telemetry", "cli"]),
];

#[test]
fn every_room_uses_only_what_is_left_of_it() {
    let mut violations = Vec::new();
    for (file, module) in sources(Path::new("src"), &[]) {
        let text = fs::read_to_string(&file).expect("readable");
        violations.extend(violations_in(&module, &text).into_iter().map(|violation| format!("{file}: {violation}")));
    }
    assert!(violations.is_empty(), "{}", violations.join("\n"));
}

#[test]
fn the_text_of_the_plugin_is_made_without_io() {
    let texts: Vec<_> = sources(Path::new("src"), &[])
        .into_iter()
        .filter(|(_, module)| module.starts_with(&["kubectl".into(), "text".into()]))
        .collect();
    assert!(texts.len() > 3, "{texts:?}");
    for (file, module) in texts {
        let text = fs::read_to_string(&file).expect("readable");
        let used = paths_in(&module, &text);
        let hits: Vec<_> = used.iter().filter(|path| IMPURE.iter().any(|forbidden| reaches(path, forbidden))).collect();
        assert!(hits.is_empty(), "{file} uses {hits:?}");
    }
}

#[test]
fn every_room_is_on_the_list() {
    let mut rooms: Vec<_> =
        sources(Path::new("src"), &[]).into_iter().filter_map(|(_, m)| m.first().cloned()).collect();
    rooms.sort();
    rooms.dedup();
    let mut listed = ROOMS.map(|(room, ..)| room);
    listed.sort_unstable();
    assert_eq!(rooms, listed);
}

#[test]
fn the_environment_is_read_in_one_place() {
    for (file, module) in sources(Path::new("src"), &[]) {
        let text = fs::read_to_string(&file).expect("readable");
        let reads = paths_in(&module, &text).iter().any(|path| reaches(path, "std::env"));
        assert!(!reads || module == ["cli", "settings"], "{file} uses std::env");
    }
}

#[test]
fn a_violation_is_caught_however_it_is_written() {
    for (module, source) in [
        (["plan", "settle"], "use tokio::time;"),
        (["plan", "settle"], "use tokio as harmless;"),
        (["plan", "settle"], "use crate::{api::{GoDuration}, controller::{self}};"),
        (["plan", "settle"], "use super::super::controller::leader;"),
        (["plan", "settle"], "use crate :: /* not here */ controller\n  :: leader;"),
        (["plan", "settle"], "fn f() { let now = jiff::Timestamp::now(); }"),
        (["plan", "settle"], "use jiff::Timestamp; fn f() { let now = Timestamp::now(); }"),
        (["plan", "settle"], "use jiff::Timestamp as T; fn f() { let now = T::now(); }"),
        (["plan", "settle"], "fn f() { println!(\"{:?}\", std::env::args()); }"),
        (["plan", "settle"], "use std; fn f() { std::fs::read(\"x\"); }"),
        (["plan", "settle"], "use kube::*;"),
        (["plan", "settle"], "mod tests { use super::super::super::controller::run; }"),
        (["api", "spec"], "use crate::plan::plan;"),
        (["api", "spec"], "use kube::{CustomResource, Client};"),
        (["render", "pod"], "use crate::plan::Observed;"),
        (["simulate", "cluster"], "use crate::clock::Clock;"),
        (["kubectl", "status"], "use crate::plan::plan;"),
        (["controller", "execute"], "use crate::simulate::Script;"),
        (["telemetry", "logs"], "use crate::controller::run;"),
    ] {
        assert_ne!(violations_in(&module.map(Into::into), source), [""; 0], "{source}");
    }
}

#[test]
fn what_is_allowed_is_not_caught() {
    for (module, source) in [
        (["plan", "settle"], "use super::{limits, decision::Step}; use crate::{api::LongTask, render};"),
        (["plan", "settle"], "// use tokio::time;\nconst TEXT: &str = \"use tokio::time;\";"),
        (["plan", "settle"], "use jiff::Timestamp; fn f(now: Timestamp) -> Timestamp { Timestamp::MAX }"),
        (["plan", "settle"], "mod tests { use super::*; fn f() { env::add(1); } }"),
        (["simulate", "cluster"], "use crate::{api::LongTask, plan::plan};"),
        (["api", "spec"], "use kube::CustomResource; #[kube(group = \"x\")] struct S;"),
        (["controller", "execute"], "use crate::{plan::Plan, telemetry::metrics::Metrics}; use tokio::time;"),
    ] {
        assert_eq!(violations_in(&module.map(Into::into), source), [""; 0], "{source}");
    }
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
    let (room, is_pure, closed) = ROOMS.iter().find(|(room, ..)| *room == module[0]).expect("a room on the list");
    let rooms = closed.iter().map(|room| format!("crate::{room}"));
    let forbidden: Vec<_> = rooms.chain(IMPURE.iter().filter(|_| *is_pure).map(ToString::to_string)).collect();
    let used = paths_in(module, source);
    let hits = used.iter().filter(|path| forbidden.iter().any(|forbidden| reaches(path, forbidden)));
    hits.map(|path| format!("{room} may not use {path}")).collect()
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
        if path.contains("::") && !path.ends_with(':') {
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
