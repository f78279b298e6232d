//! `longtask-agent`: the mailbox in a task's pod. It reads what the program writes to its report file, posts the newest word
//! to the operator, and leaves it as its own termination message. With a store it also saves the checkpoints that the program
//! names, and restores one before the program starts. What a report means, it does not ask.
//!
//! As a sidecar it always exits 0: one that fails says nothing about the program, and no kubelet should think so. The exit
//! code of `restore` is its word, and so is that of `gc`.

mod clock;
mod files;
mod kept;
mod mailbox;
mod office;
mod poster;
mod report_file;
mod run;
pub mod store;
mod tls;

use std::{
    env,
    future::{self, Future},
    path::PathBuf,
    process::ExitCode,
    thread,
};

use clap::{Parser, Subcommand};
use longtask_contract::agent::{self, RestoreError, RestoreTrouble, RestoreWord, Settings, StoreSettings};
use tokio::{
    runtime::Builder,
    select,
    signal::unix::{SignalKind, signal},
};
use tracing::{error, info};

use crate::{
    clock::Clock,
    files::Files,
    poster::Poster,
    run::Agent,
    store::{gc::Errand, restore::Restore, saver::Saver},
};

/// The most threads that wait for stores. More would only take memory.
const THREADS: usize = 4;
/// The most threads that wait for files.
const FILE_THREADS: usize = 16;
/// The exit code of a restore that the kubelet has stopped, as a shell would tell it.
const STOPPED: u8 = 143;

/// Passes on what the program in a LongTask's pod reports, and stores its checkpoints. The operator starts it; its settings
/// are in LONGTASK_AGENT.
#[derive(Parser)]
#[command(version)]
struct Args {
    /// The agent's own directory, with the file to which the program reports.
    #[arg(long, global = true, hide = true, default_value = agent::DIRECTORY)]
    directory: PathBuf,
    /// The file of the termination message.
    #[arg(long, global = true, hide = true, default_value = "/dev/termination-log")]
    message: PathBuf,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Makes the report file, before the program starts.
    Prepare,
    /// Restores the checkpoint to resume from, before the program starts.
    Restore,
    /// Removes what is stored of tasks that are gone, in the namespace of the pod that it runs in. Lists only without --yes.
    Gc(Errand),
}

/// The program.
pub fn main() -> ExitCode {
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_target(false).with_ansi(false).init();
    let Args { directory, message, command } = Args::parse();
    let files = Files::at(directory, message);
    match command {
        None => pass_on(files),
        Some(Command::Prepare) => {
            prepare(&files);
            ExitCode::SUCCESS
        }
        Some(Command::Restore) => restore(&files),
        Some(Command::Gc(errand)) => gc(&errand),
    }
}

fn prepare(files: &Files) {
    if let Err(problem) = files.prepare() {
        error!(%problem, "the report file cannot be made: nothing can be reported");
    }
}

fn pass_on(files: Files) -> ExitCode {
    // Also without the hook: the program may have started before it, and the kubelet starts the agent again if it dies.
    prepare(&files);
    match settings() {
        Ok(settings) => {
            let posts = settings.posts.as_ref();
            let poster = posts.and_then(|posts| match Poster::of(posts) {
                Ok(poster) => Some(poster),
                Err(problem) => {
                    error!(%problem, "nothing is posted");
                    None
                }
            });
            let clock = Clock::wall();
            let saver = settings.store.as_ref().map(|store| Saver::of(store, &pod_uid(), &clock));
            let threads = if saver.is_some() { THREADS } else { 1 };
            run_on(threads, Agent::new(settings, files, clock).run(poster, saver));
        }
        Err(problem) => error!(problem, "{} cannot be read: nothing is passed on", agent::SETTINGS),
    }
    ExitCode::SUCCESS
}

fn restore(files: &Files) -> ExitCode {
    let store = settings().and_then(|settings| settings.store.ok_or_else(|| "it names no store".into()));
    let word = match store {
        Ok(store) => match run_on(THREADS, restored(&store)) {
            Some(None) => {
                info!("stopped");
                return ExitCode::from(STOPPED);
            }
            Some(Some(word)) => Ok(word),
            None => Err("no threads can be started".into()),
        },
        Err(problem) => Err(format!("{} cannot be read: {problem}", agent::SETTINGS)),
    };
    // A program that finds nothing restored begins anew. So nothing is said to be in order that is not.
    let word = word.unwrap_or_else(|message| {
        let error = RestoreError { reason: RestoreTrouble::Failed, message };
        RestoreWord { error: Some(error), ..RestoreWord::default() }
    });
    let code = word.error.as_ref().map_or(0, |error| error.reason.exit_code());
    match (&word.error, &word.restored) {
        (Some(error), _) => error!(reason = ?error.reason, message = error.message, "nothing is restored"),
        (None, Some(restored)) => {
            info!(uri = restored.uri, bytes = restored.size_bytes, seconds = word.seconds, "restored");
        }
        (None, None) => info!("there is nothing to restore"),
    }
    if let Err(problem) = files.write_last_word(&word.written()) {
        error!(%problem, "the last word cannot be written");
    }
    ExitCode::from(code)
}

/// What becomes of a restore; none if it is stopped before. The first process of a container heeds SIGTERM only if it says
/// so: else a pod that nobody wants any more would stay for all of its grace.
async fn restored(store: &StoreSettings) -> Option<RestoreWord> {
    let terminated = async {
        match signal(SignalKind::terminate()) {
            Ok(mut terminate) => {
                terminate.recv().await;
            }
            Err(problem) => {
                error!(%problem, "signals cannot be received");
                future::pending::<()>().await;
            }
        }
    };
    let restore = Restore::begin(store);
    select! {
        word = restore.run() => Some(word),
        () = terminated => None,
    }
}

#[expect(clippy::print_stdout, reason = "it is a command for people")]
fn gc(errand: &Errand) -> ExitCode {
    let now = Clock::wall().now();
    match run_on(THREADS, errand.run(now, |line| println!("{line}"))) {
        Some(Ok(())) => ExitCode::SUCCESS,
        Some(Err(problem)) => {
            error!(%problem, "not everything was looked at");
            ExitCode::FAILURE
        }
        None => ExitCode::FAILURE,
    }
}

/// An agent without a store waits, most of the time: one thread does. A store is waited for on several.
fn run_on<T>(threads: usize, work: impl Future<Output = T>) -> Option<T> {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let mut builder = if threads == 1 { Builder::new_current_thread() } else { Builder::new_multi_thread() };
    match builder.worker_threads(threads.min(cores)).max_blocking_threads(FILE_THREADS).enable_all().build() {
        Ok(runtime) => Some(runtime.block_on(work)),
        Err(problem) => {
            error!(%problem, "no threads can be started");
            None
        }
    }
}

fn settings() -> Result<Settings, String> {
    let text = env::var(agent::SETTINGS).map_err(|error| error.to_string())?;
    let settings: Settings = serde_json::from_str(&text).map_err(|error| error.to_string())?;
    settings.check_version().map_err(|error| error.to_string())?;
    Ok(settings)
}

fn pod_uid() -> String {
    env::var(agent::POD_UID).unwrap_or_else(|problem| {
        error!(%problem, "{} cannot be read: saves of this pod have no name of their own", agent::POD_UID);
        "unknown".into()
    })
}
