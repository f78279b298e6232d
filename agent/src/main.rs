//! `longtask-agent`: the mailbox in a task's pod. It reads what the program writes to its report file, posts the newest word
//! to the operator, and leaves it as its own termination message. What a report means, it does not ask.
//!
//! It always exits 0: a sidecar that fails says nothing about the program, and no kubelet should think so.

mod clock;
mod files;
mod kept;
mod mailbox;
mod office;
mod poster;
mod report_file;
mod run;

use std::{env, process::ExitCode};

use clap::{Parser, Subcommand};
use longtask_contract::agent::{self, Settings};
use tracing::error;

use crate::{clock::Clock, files::Files, poster::Poster, run::Agent};

/// Passes on what the program in a LongTask's pod reports. The operator starts it; its settings are in LONGTASK_AGENT.
#[derive(Parser)]
#[command(version)]
struct Args {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Makes the report file, before the program starts.
    Prepare,
}

/// One thread: an agent waits, most of the time.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_target(false).with_ansi(false).init();
    let files = Files::of_pod();
    // Also without the hook: the program may have started before it, and the kubelet starts the agent again if it dies.
    if let Err(problem) = files.prepare() {
        error!(%problem, "the report file cannot be made: nothing can be reported");
    }
    if let Args { command: Some(Command::Prepare) } = Args::parse() {
        return ExitCode::SUCCESS;
    }
    match settings() {
        Ok(settings) => {
            let poster = settings.posts.as_ref().and_then(|posts| match Poster::of(posts) {
                Ok(poster) => Some(poster),
                Err(problem) => {
                    error!(%problem, "nothing is posted");
                    None
                }
            });
            Agent::new(settings, files, Clock::wall()).run(poster).await;
        }
        Err(problem) => error!(problem, "{} cannot be read: nothing is passed on", agent::SETTINGS),
    }
    ExitCode::SUCCESS
}

fn settings() -> Result<Settings, String> {
    let text = env::var(agent::SETTINGS).map_err(|error| error.to_string())?;
    let settings: Settings = serde_json::from_str(&text).map_err(|error| error.to_string())?;
    settings.check_version().map_err(|error| error.to_string())?;
    Ok(settings)
}
