//! `kubectl longtask`: the same program under the name of a kubectl plugin.
//!
//! Each verb has a file: it asks the API server and hands the facts to `text`, which makes what is printed without
//! I/O and without a clock.

mod args;
mod change;
mod completion;
mod convert;
mod drill;
mod error;
mod events;
mod job;
mod lifecycle;
mod list;
mod logs;
mod man;
mod manifests;
mod queues;
mod session;
mod sets;
mod start;
mod status;
mod text;
mod watch;

use std::{
    ffi::{OsStr, OsString},
    io::{self, Write},
    path::Path,
    process::ExitCode,
};

pub use self::{args::Plugin, error::Error};
use self::{
    args::{DryRun, Format, Verb},
    session::Session,
};
use crate::clock::Clock;

/// By which of its names as a plugin a program was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name {
    /// `kubectl-longtask`, which kubectl starts for `kubectl longtask`.
    Plugin,
    /// `kubectl_complete-longtask`, which kubectl asks what could be typed next.
    Completion,
}

impl Name {
    /// The name that a program was started by, if it is one of these.
    pub fn of(program: &OsStr) -> Option<Self> {
        match Path::new(program).file_name()?.to_str()? {
            args::NAME => Some(Self::Plugin),
            "kubectl_complete-longtask" => Some(Self::Completion),
            _ => None,
        }
    }
}

/// Does what the arguments say and prints what there is to say.
///
/// # Errors
/// When it could not be done; the message says what to do.
pub async fn run(plugin: Plugin, clock: Clock) -> Result<ExitCode, Error> {
    quietly_when_unread(dispatch(plugin, clock).await)
}

/// Prints what could be typed next behind these words, for kubectl.
///
/// # Errors
/// When it cannot be printed.
pub async fn complete(words: Vec<OsString>, clock: Clock) -> Result<ExitCode, Error> {
    let said = completion::answer(words, clock).await.and_then(|answer| print(&answer));
    quietly_when_unread(said.map(|()| ExitCode::SUCCESS))
}

/// A reader that has gone, as in `| head`, has seen enough.
fn quietly_when_unread(done: Result<ExitCode, Error>) -> Result<ExitCode, Error> {
    match done {
        Err(Error::Print(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        done => done,
    }
}

async fn dispatch(plugin: Plugin, clock: Clock) -> Result<ExitCode, Error> {
    let Plugin { cluster, verb } = plugin;
    let session = || Session::connect(cluster, clock);
    let said = match verb {
        Verb::Status(args) => status::status(&session().await?, &args).await?,
        Verb::Logs(args) => return logs::logs(&session().await?, &args).await.map(|()| ExitCode::SUCCESS),
        Verb::Events(args) => events::events(&session().await?, &args).await?,
        Verb::Results(args) => sets::results(&session().await?, &args).await?,
        Verb::Queue(args) => queues::show(&session().await?, &args).await?,
        Verb::Top(args) => list::top(&session().await?, &args).await?,
        Verb::DeadLetters(args) => list::dead_letters(&session().await?, &args).await?,
        Verb::Suspend(args) => lifecycle::suspend(&session().await?, &args).await?,
        Verb::Resume(args) => lifecycle::resume(&session().await?, &args).await?,
        Verb::Cancel(args) => lifecycle::cancel(&session().await?, &args).await?,
        Verb::Restart(args) => lifecycle::restart(&session().await?, &args).await?,
        Verb::Drill(args) => return drill::drill(&session().await?, &args).await,
        Verb::Start(args) => start::start(&session().await?, &args).await?,
        Verb::Create(args) if args.dry_run == DryRun::Client => {
            manifests::written(&manifests::task_of(&args), args.output.unwrap_or(Format::Yaml))?
        }
        Verb::Create(args) => manifests::create(&session().await?, &args).await?,
        Verb::Convert(args) => {
            let (manifests, notes) = convert::convert(&args)?;
            let notes: String = notes.iter().flat_map(|note| [note, "\n"]).collect();
            anstream::stderr().write_all(notes.as_bytes()).map_err(Error::Print)?;
            manifests
        }
        Verb::Completion { shell } => completion::script(shell),
        Verb::Man { folder: None } => man::page()?,
        Verb::Man { folder: Some(folder) } => man::write_pages(&folder)?,
    };
    print(&said)?;
    Ok(ExitCode::SUCCESS)
}

/// Prints to standard output, with colours only when a person reads it.
fn print(text: &str) -> Result<(), Error> {
    anstream::stdout().write_all(text.as_bytes()).map_err(Error::Print)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plugin_is_known_by_the_name_it_is_started_by() {
        for (program, name) in [
            ("/usr/local/bin/kubectl-longtask", Some(Name::Plugin)),
            ("kubectl_complete-longtask", Some(Name::Completion)),
            ("/usr/bin/longtask", None),
            ("longtask-kubectl", None),
            ("", None),
        ] {
            assert_eq!(Name::of(OsStr::new(program)), name, "{program}");
        }
    }
}
