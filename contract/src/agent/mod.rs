//! What the operator tells the agent in a task's pod, and what the agent tells the operator.
//!
//! The agent is a mailbox: it passes on what the program reports, and decides nothing. A report is state, not an event: the
//! whole newest word, with a revision that only grows. Any may be lost, doubled or late; the next one heals it.
//!
//! Both sides ignore fields that they do not know, so that an agent and an operator one version apart understand each other.

mod last_word;
mod post;
mod settings;

pub use self::{
    last_word::{Header, HeldBack, LastWord},
    post::{Answer, LONGEST_POST, Post},
    settings::{PostSettings, Settings, UnknownVersion},
};

/// The variable with the agent's [`Settings`].
pub const SETTINGS: &str = "LONGTASK_AGENT";
/// The container of the agent.
pub const CONTAINER: &str = "longtask-agent";
/// The volume that the agent and the main container share.
pub const VOLUME: &str = "longtask";
/// Where that volume is mounted.
pub const VOLUME_PATH: &str = "/longtask";
/// The agent's own directory there. Never the volume's root: that is open to all and sticky, and there a kernel with
/// `fs.protected_regular` refuses to open another user's file for writing.
pub const DIRECTORY: &str = "/longtask/run";
/// The file to which the program reports.
pub const REPORT_FILE: &str = "/longtask/run/report";
/// The volume with the agent's token.
pub const TOKEN_VOLUME: &str = "longtask-token";
/// Where that volume is mounted: the token is the file `token` in it.
pub const TOKEN_PATH: &str = "/var/run/secrets/longtask.dev";
/// Whom the token is for.
pub const TOKEN_AUDIENCE: &str = "longtask.dev/reports";
/// The one name of the server that takes reports, whatever its address.
pub const SERVER_NAME: &str = "reports.longtask.dev";
/// Where reports are posted.
pub const REPORTS_PATH: &str = "/v1/reports";
