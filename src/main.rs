//! The `longtask` program: parse, dispatch.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use clap::{CommandFactory, Parser, error::ErrorKind};
use longtask::{
    api::crd,
    cli::{Cli, Command, RunArgs, Surroundings},
    controller, operator,
    telemetry::logs,
};

#[tokio::main]
async fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Run(args) => run(*args).await,
        Command::Crd => match crd::yaml() {
            Ok(yaml) => print(&yaml),
            Err(error) => {
                eprintln!("{}", logs::with_causes(&error));
                ExitCode::FAILURE
            }
        },
        Command::Version => print(concat!("longtask ", env!("CARGO_PKG_VERSION"), "\n")),
    }
}

async fn run(args: RunArgs) -> ExitCode {
    let settings = args.settings(&Surroundings::look()).unwrap_or_else(|contradiction| {
        Cli::command().error(ErrorKind::ArgumentConflict, contradiction).exit();
    });
    match operator::run(settings, controller::run).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = logs::with_causes(&error), "ended");
            ExitCode::FAILURE
        }
    }
}

/// Unlike `print!`, no panic when the reader has gone, as in `longtask crd | head`.
fn print(text: &str) -> ExitCode {
    match io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
