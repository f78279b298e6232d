//! What a shell offers while a command is typed.

use std::{
    ffi::{OsStr, OsString},
    fmt::Debug,
    io,
    time::Duration,
};

use clap::{CommandFactory, FromArgMatches};
use clap_complete::{
    Shell,
    engine::{ArgValueCandidates, CompletionCandidate, complete},
};
use k8s_openapi::NamespaceResourceScope;
use kube::{ResourceExt, api::ListParams};
use serde::de::DeserializeOwned;

use super::{
    args::{ClusterArgs, NAME, Plugin, QUEUE, SET, TASK, TEMPLATE},
    error::Error,
    session::Session,
};
use crate::{
    api::{queue::TaskQueue, set::LongTaskSet, task::LongTask, template::LongTaskTemplate},
    clock::Clock,
};

/// A shell waits for this at a press of a key.
const PATIENCE: Duration = Duration::from_secs(2);

/// Tells the shell, in the language of kubectl's own completion, to offer files when there is nothing else, or nothing.
const OR_FILES: &str = ":0\n";
const NOTHING_ELSE: &str = ":4\n";

/// A script that teaches a shell to complete `kubectl-longtask`.
pub(super) fn script(shell: Shell) -> String {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Plugin::command().bin_name(NAME), NAME, &mut text);
    String::from_utf8_lossy(&text).into_owned()
}

/// Answers kubectl, which asks for completions of the words behind `kubectl longtask`: a candidate a line, with its
/// explanation behind a tab, then a directive.
pub(super) async fn answer(words: Vec<OsString>, clock: Clock) -> Result<String, Error> {
    let names = tokio::time::timeout(PATIENCE, names(&words, clock)).await.unwrap_or_default();
    let lines: String = candidates(words, &names).map_err(Error::Print)?.iter().map(line).collect();
    Ok(if lines.is_empty() { OR_FILES.to_owned() } else { lines + NOTHING_ELSE })
}

/// What could stand in place of the last word.
fn candidates(words: Vec<OsString>, names: &Names) -> io::Result<Vec<CompletionCandidate>> {
    let mut command = with_names(Plugin::command(), names);
    let (at, last) = (words.len(), words.last().cloned().unwrap_or_default());
    let words = [OsString::from(NAME)].into_iter().chain(words).collect();
    let mut candidates = complete(&mut command, words, at, None)?;
    // As kubectl does: options only to who begins one.
    let is_option = |text: &OsStr| text.to_string_lossy().starts_with('-');
    candidates.retain(|candidate| !candidate.is_hide_set() && (is_option(&last) || !is_option(candidate.get_value())));
    Ok(candidates)
}

fn line(candidate: &CompletionCandidate) -> String {
    let value = candidate.get_value().to_string_lossy();
    let help = candidate.get_help().map(ToString::to_string);
    let help = help.iter().flat_map(|help| help.lines()).next().map(|help| format!("\t{help}"));
    format!("{value}{}\n", help.unwrap_or_default())
}

/// The verbs that take a set as lts/NAME in place of a task.
const TAKE_SETS: [&str; 5] = ["status", "suspend", "resume", "cancel", "restart"];

/// The command with the names of tasks, sets, queues and templates to offer wherever one is asked for.
fn with_names(command: clap::Command, names: &Names) -> clap::Command {
    command.mut_subcommands(|verb| {
        let takes_sets = TAKE_SETS.contains(&verb.get_name());
        verb.mut_args(|arg| {
            let asks_for =
                |what: &str| arg.get_value_names().is_some_and(|of_value| of_value.iter().any(|name| *name == *what));
            let names = if asks_for(TASK) {
                let sets = names.sets.iter().filter(|_| takes_sets).map(|set| format!("lts/{set}"));
                names.tasks.iter().cloned().chain(sets).collect()
            } else if asks_for(TEMPLATE) {
                names.templates.clone()
            } else if asks_for(SET) {
                names.sets.clone()
            } else if asks_for(QUEUE) {
                names.queues.clone()
            } else {
                return arg;
            };
            let candidates = move || names.iter().map(CompletionCandidate::new).collect();
            arg.add(ArgValueCandidates::new(candidates))
        })
    })
}

/// The names that there are.
#[derive(Default)]
struct Names {
    tasks: Vec<String>,
    templates: Vec<String>,
    sets: Vec<String>,
    queues: Vec<String>,
}

/// The names that the words ask for. A cluster that does not answer has none to offer.
async fn names(words: &[OsString], clock: Clock) -> Names {
    let words = [OsString::from(NAME)].into_iter().chain(words.iter().cloned());
    let Ok(matches) = Plugin::command().ignore_errors(true).try_get_matches_from(words) else {
        return Names::default();
    };
    let Ok(cluster) = ClusterArgs::from_arg_matches(&matches) else { return Names::default() };
    let Ok(session) = Session::connect(cluster, clock).await else { return Names::default() };
    if matches.subcommand_name() == Some("start") {
        return Names { templates: names_of::<LongTaskTemplate>(&session).await, ..Names::default() };
    }
    if matches.subcommand_name() == Some("results") {
        return Names { sets: names_of::<LongTaskSet>(&session).await, ..Names::default() };
    }
    if matches.subcommand_name() == Some("queue") {
        return Names { queues: names_of::<TaskQueue>(&session).await, ..Names::default() };
    }
    let sets = async {
        match matches.subcommand_name() {
            Some(verb) if TAKE_SETS.contains(&verb) => names_of::<LongTaskSet>(&session).await,
            _ => Vec::new(),
        }
    };
    let (tasks, sets) = tokio::join!(names_of::<LongTask>(&session), sets);
    Names { tasks, sets, ..Names::default() }
}

async fn names_of<K>(session: &Session) -> Vec<String>
where
    K: kube::Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + DeserializeOwned + Debug,
{
    let objects = session.api::<K>().list_metadata(&ListParams::default()).await;
    objects.into_iter().flatten().map(|object| object.name_any()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offered(words: &[&str]) -> Vec<String> {
        let names = Names {
            tasks: vec!["import".into(), "export".into()],
            templates: vec!["transcode".into()],
            sets: vec!["night".into()],
            queues: vec!["partner-api".into()],
        };
        let candidates = candidates(words.iter().map(OsString::from).collect(), &names).expect("candidates");
        candidates.iter().map(|candidate| candidate.get_value().to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn verbs_names_and_values_are_offered() {
        assert_eq!(offered(&["sta"]), ["status", "start"]);
        assert_eq!(offered(&["status", ""]), ["import", "export", "lts/night"]);
        assert_eq!(offered(&["restart", "import", "lts/"]), ["lts/night"]);
        assert_eq!(offered(&["logs", ""]), ["import", "export"]);
        assert_eq!(offered(&["suspend", "import", "ex"]), ["export"]);
        assert_eq!(offered(&["start", ""]), ["transcode"]);
        assert_eq!(offered(&["results", ""]), ["night"]);
        assert_eq!(offered(&["queue", ""]), ["partner-api"]);
        assert_eq!(offered(&["status", "import", "--output", ""]), ["json"]);
        assert_eq!(offered(&["logs", "import", "--fo"]), ["--follow"]);
    }

    #[test]
    fn there_is_a_script_for_each_shell() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let script = script(shell);
            assert!(script.contains("dead-letters") && script.contains(NAME), "{shell}: {script}");
        }
    }
}
