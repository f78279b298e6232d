//! `kubectl longtask`: the same program under the name of a kubectl plugin.
//!
//! Each verb has a file: it asks the API server and hands the facts to [`text`], which makes what is printed without
//! I/O and without a clock.

mod args;
mod error;
mod events;
mod session;
mod status;
mod steer;
mod text;

use std::{
    ffi::OsStr,
    io::{self, Write},
    path::Path,
    process::ExitCode,
};

pub use self::{args::Plugin, error::Error};
use self::{args::Verb, session::Session};
use crate::clock::Clock;

/// Whether a program that was started by this name is the plugin.
pub fn is_called(program: &OsStr) -> bool {
    Path::new(program).file_stem() == Some(OsStr::new(args::NAME))
}

/// Does what the arguments say and prints what there is to say.
///
/// # Errors
/// When it could not be done; the message says what to do.
pub async fn run(plugin: Plugin, clock: Clock) -> Result<ExitCode, Error> {
    let Plugin { cluster, verb } = plugin;
    let session = Session::connect(cluster, clock).await?;
    let said = match verb {
        Verb::Status(args) => status::status(&session, &args).await?,
        Verb::Events(args) => events::events(&session, &args).await?,
        Verb::Suspend(args) => steer::suspend(&session, &args).await?,
        Verb::Resume(args) => steer::resume(&session, &args).await?,
        Verb::Cancel(args) => steer::cancel(&session, &args).await?,
        Verb::Restart(args) => steer::restart(&session, &args).await?,
    };
    print(&said)?;
    Ok(ExitCode::SUCCESS)
}

/// Prints to standard output, with colours only when a person reads it. A reader that has gone, as in `| head`, has
/// seen enough.
fn print(text: &str) -> Result<(), Error> {
    match anstream::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.map_err(Error::Print),
    }
}
