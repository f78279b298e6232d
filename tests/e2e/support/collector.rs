//! A real OpenTelemetry collector, as a process that writes what it receives to a file.

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use serde_json::Value;
use tokio::{
    process::{Child, Command},
    time::{Instant, sleep},
};

use super::lab::PATIENCE;

/// A collector; killed when dropped.
pub(crate) struct Collector {
    pub(crate) endpoint: String,
    received: PathBuf,
    _process: Child,
}

/// A span, as the collector received it.
#[derive(Clone, Debug)]
pub(crate) struct ReceivedSpan(Value);

impl Collector {
    /// Starts one that keeps its file in this folder.
    pub(crate) fn start(folder: &Path) -> Self {
        let received = folder.join("traces.json");
        let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port");
        let process = Command::new("collector")
            .args([free.to_string().as_ref(), received.as_os_str()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("start the collector, which `make tools` builds");
        Self { endpoint: format!("http://{free}"), received, _process: process }
    }

    /// Waits until it has received a span of this name, and gives all that it has.
    pub(crate) async fn spans_with(&self, name: &str) -> Vec<ReceivedSpan> {
        let limit = Duration::from_secs(10) * PATIENCE;
        let deadline = Instant::now() + limit;
        loop {
            let spans = self.spans();
            if spans.iter().any(|span| span.name() == name) {
                return spans;
            }
            assert!(Instant::now() < deadline, "no span {name} within {limit:?}: {spans:?}");
            sleep(Duration::from_millis(100)).await;
        }
    }

    fn spans(&self) -> Vec<ReceivedSpan> {
        let text = fs::read_to_string(&self.received).unwrap_or_default();
        let batches = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let scopes = batches.flat_map(|batch| parts(&batch, "resourceSpans"));
        let spans = scopes.flat_map(|resource| parts(&resource, "scopeSpans")).flat_map(|scope| parts(&scope, "spans"));
        spans.map(ReceivedSpan).collect()
    }
}

fn parts(of: &Value, field: &str) -> Vec<Value> {
    of[field].as_array().cloned().unwrap_or_default()
}

impl ReceivedSpan {
    pub(crate) fn name(&self) -> &str {
        self.text("name")
    }

    /// A field of the span itself.
    pub(crate) fn text(&self, field: &str) -> &str {
        self.0[field].as_str().unwrap_or_default()
    }

    /// An attribute, as text. OTLP writes 64-bit integers as text, too.
    pub(crate) fn attribute(&self, name: &str) -> Option<&str> {
        let attributes = self.0["attributes"].as_array()?;
        let value = &attributes.iter().find(|attribute| attribute["key"] == name)?["value"];
        value["stringValue"].as_str().or_else(|| value["intValue"].as_str())
    }

    /// Whether it is marked as an error.
    pub(crate) fn is_error(&self) -> bool {
        self.0["status"]["code"] == 2
    }
}
