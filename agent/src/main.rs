//! `longtask-agent`: see the library of the same name.

use std::process::ExitCode;

fn main() -> ExitCode {
    longtask_agent::main()
}
