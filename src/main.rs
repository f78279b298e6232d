//! The `longtask` program: parse, dispatch.

use std::{io::Write, process::ExitCode};

use clap::{CommandFactory, Parser, error::ErrorKind};
use longtask::{
    cli::{Cli, Command, RunArgs, Surroundings},
    operator::{self, Operator, Shutdown},
    telemetry::logs,
};

#[tokio::main]
async fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Run(args) => run(*args).await,
        Command::Crd => print(&crd_yaml()),
        Command::Version => print(concat!("longtask ", env!("CARGO_PKG_VERSION"), "\n")),
    }
}

async fn run(args: RunArgs) -> ExitCode {
    let settings = args.settings(&Surroundings::look()).unwrap_or_else(|contradiction| {
        Cli::command().error(ErrorKind::ArgumentConflict, contradiction).exit();
    });
    match operator::run(settings, controllers).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = logs::with_causes(&error), "ended");
            ExitCode::FAILURE
        }
    }
}

/// Unlike `print!`, no panic when the reader has gone, as in `longtask crd | head`.
fn print(text: &str) -> ExitCode {
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

// MERGE: `longtask::api::crd::yaml()` in its place.
fn crd_yaml() -> String {
    include_str!("../crds/longtask.dev_longtasks.yaml").to_owned()
}

// MERGE: `longtask::controller::run` in its place.
async fn controllers(operator: Operator, shutdown: Shutdown) {
    operator.health.reached(longtask::telemetry::health::Stage::Working);
    shutdown.await;
}
