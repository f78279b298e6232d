//! The `longtask` program: parse, dispatch. Under the name `kubectl-longtask` it is a plugin of kubectl.

use std::{
    env, fs,
    io::{self, Write},
    panic,
    path::Path,
    process::ExitCode,
};

use clap::{CommandFactory, Parser, error::ErrorKind};
use longtask::{
    api::crd,
    cli::{Cli, Command, CrdResource, Environment, Output, RunArgs, SimulateArgs},
    clock::Clock,
    kubectl::{self, Plugin},
    operator,
    task::simulate::{self, Setup},
    telemetry::logs,
};

/// The exit code of arguments that are wrong, as clap has it.
const WRONG_ARGUMENTS: u8 = 2;

#[tokio::main]
async fn main() -> ExitCode {
    let mut words = env::args_os();
    match words.next().and_then(|program| kubectl::Name::of(&program)) {
        Some(kubectl::Name::Plugin) => return end(kubectl::run(Plugin::parse(), Clock::wall()).await),
        Some(kubectl::Name::Completion) => return end(kubectl::complete(words.collect(), Clock::wall()).await),
        None => {}
    }
    match Cli::parse().command {
        Command::Run(args) => run(*args).await,
        Command::Crd { resource } => match definitions(resource) {
            Ok(yaml) => print(&yaml),
            Err(error) => {
                eprintln!("{}", logs::with_causes(&error));
                ExitCode::FAILURE
            }
        },
        Command::Simulate(args) => match simulation(args) {
            Ok(text) => print(&text),
            Err(message) => {
                eprintln!("error: {message}");
                ExitCode::from(WRONG_ARGUMENTS)
            }
        },
        Command::Version => print(concat!("longtask ", env!("CARGO_PKG_VERSION"), "\n")),
    }
}

/// The definition of one resource, or of all, as YAML.
fn definitions(resource: Option<CrdResource>) -> Result<String, crd::CannotPrint> {
    match resource {
        None => crd::yaml(),
        Some(resource) => Ok(crd::yaml_of(resource.plural())?.unwrap_or_default()),
    }
}

/// How the plugin of kubectl ends.
fn end(done: Result<ExitCode, kubectl::Error>) -> ExitCode {
    done.unwrap_or_else(|error| {
        eprintln!("error: {}", logs::with_causes(&error));
        ExitCode::from(error.exit_code())
    })
}

async fn run(args: RunArgs) -> ExitCode {
    let settings = args.settings(&Environment::detect()).unwrap_or_else(|contradiction| {
        Cli::command().error(ErrorKind::ArgumentConflict, contradiction).exit();
    });
    // On a worker thread, as the reconciles are: to the main thread each event and each result would have to be handed over.
    let ended = tokio::spawn(operator::run(settings)).await;
    match ended.unwrap_or_else(|panicked| panic::resume_unwind(panicked.into_panic())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = logs::with_causes(&error), "ended");
            ExitCode::FAILURE
        }
    }
}

/// What `longtask simulate` prints, or what is wrong with its arguments.
fn simulation(args: SimulateArgs) -> Result<String, String> {
    let SimulateArgs { filename, script, uid, start, max_attempts, events, output } = args;
    let script = script.parse().map_err(|error| format!("--script: {error}"))?;
    let file = filename.display();
    let yaml = read(&filename).map_err(|error| format!("read {file}: {error}"))?;
    let task = simulate::read_task(&yaml).map_err(|error| format!("{file}: {error}"))?;
    let start = start.map_or_else(Clock::wall, |start| Clock::from_fn(move || start)).now();
    let history = simulate::simulate(task, script, &Setup { uid, start, most_attempts: max_attempts.get() });
    match output {
        Output::Text => Ok(history.table(events)),
        Output::Json => history.json_lines(events).map_err(|error| error.to_string()),
    }
}

/// The text of a file; `-` is standard input.
fn read(file: &Path) -> io::Result<String> {
    if file == Path::new("-") { io::read_to_string(io::stdin()) } else { fs::read_to_string(file) }
}

/// Unlike `print!`, no panic when the reader has gone, as in `longtask crd | head`.
fn print(text: &str) -> ExitCode {
    match io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
