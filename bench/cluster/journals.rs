//! What the programs of the end-to-end tests write down about themselves, on the machine that their pods run on.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use anyhow::Result;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/bench/journals");

/// The journals of one measurement.
pub(crate) struct Journals(PathBuf);

/// One line of a journal.
#[derive(Deserialize)]
pub(crate) struct Entry {
    pub(crate) time: Timestamp,
    pub(crate) event: String,
    pub(crate) step: i64,
}

impl Journals {
    /// None yet.
    pub(crate) fn new() -> Result<Self> {
        let folder = PathBuf::from(FOLDER);
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir_all(&folder)?;
        // The program is nobody.
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o777))?;
        Ok(Self(folder))
    }

    /// The spec of a pod whose program keeps a journal of that name.
    pub(crate) fn pod_spec(&self, journal: &str, arguments: &[&str]) -> Value {
        let journal = format!("--journal=/journals/{journal}");
        let arguments: Vec<_> = [journal.as_str()].into_iter().chain(arguments.iter().copied()).collect();
        json!({
            "automountServiceAccountToken": false,
            "containers": [{
                "name": "main", "image": "localhost/longtask-e2e-program:dev", "command": ["/bin/program"],
                "args": arguments, "volumeMounts": [{ "name": "journals", "mountPath": "/journals" }],
            }],
            "volumes": [{ "name": "journals", "hostPath": { "path": self.0, "type": "Directory" } }],
        })
    }

    /// The whole lines of a journal; none if it does not exist yet.
    pub(crate) fn read(&self, journal: &str) -> Result<Vec<Entry>> {
        let text = fs::read_to_string(self.path(journal)).unwrap_or_default();
        let (whole, _) = text.rsplit_once('\n').unwrap_or_default();
        whole.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
    }

    fn path(&self, journal: &str) -> PathBuf {
        Path::new(&self.0).join(journal)
    }
}
