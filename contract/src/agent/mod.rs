//! What the operator tells the agent in a task's pod, and what the agent tells the operator.
//!
//! The agent is a mailbox: it passes on what the program reports, and decides nothing. A report is state, not an event: the
//! whole newest word, with a revision that only grows. Any may be lost, doubled or late; the next one heals it.
//!
//! Both sides ignore fields that they do not know, so that an agent and an operator one version apart understand each other.

mod last_word;
mod post;
mod saves;
mod settings;

pub use self::{
    last_word::{Header, HeldBack, LastWord},
    post::{Answer, LONGEST_POST, Post},
    saves::{
        LONGEST_PATH, MANIFEST, NoSaveName, RestoreError, RestoreTrouble, RestoreWord, Restored, SaveError, SaveName,
        SaveReport, SaveTrouble,
    },
    settings::{NamedSave, PostSettings, RestoreSettings, Settings, StoreSettings, UnknownVersion},
};

/// The variable with the agent's [`Settings`].
pub const SETTINGS: &str = "LONGTASK_AGENT";
/// The variable with the UID of the agent's pod: the downward API gives it, since nobody knows it before the pod is there.
pub const POD_UID: &str = "LONGTASK_POD_UID";
/// The container of the agent.
pub const CONTAINER: &str = "longtask-agent";
/// The container that restores a stored checkpoint before the program starts.
pub const RESTORE_CONTAINER: &str = "longtask-restore";
/// The volume that the agent and the main container share.
pub const VOLUME: &str = "longtask";
/// Where that volume is mounted.
pub const VOLUME_PATH: &str = "/longtask";
/// The agent's own directory there. Never the volume's root: that is open to all and sticky, and there a kernel with
/// `fs.protected_regular` refuses to open another user's file for writing.
pub const DIRECTORY: &str = "/longtask/run";
/// The file to which the program reports.
pub const REPORT_FILE: &str = "/longtask/run/report";
/// Its name in the agent's directory.
pub const REPORT_NAME: &str = "report";
/// The file in which the program finds the newest checkpoint that is safe, as one line: `{"path": "step-900"}`.
pub const SAVED_FILE: &str = "/longtask/run/saved";
/// Its name in the agent's directory.
pub const SAVED_NAME: &str = "saved";
/// The directory, below that of checkpoints, in which the program finds what to resume from.
pub const RESTORED: &str = "restored";
/// The volume for checkpoints, where the main container mounts none of its own.
pub const CHECKPOINTS_VOLUME: &str = "longtask-checkpoints";
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
