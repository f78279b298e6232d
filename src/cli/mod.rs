//! The command line: arguments and environment, checked once and handed on as [`Settings`].
//!
//! Only `settings` reads the environment.

mod args;
mod settings;

pub use self::{
    args::{Cli, Command, CrdResource, LogFormat, Output, RunArgs, SimulateArgs},
    settings::{
        Environment, LeaseSettings, LogSettings, ReportSettings, Scope, Settings, SettingsError, TraceSettings,
    },
};
