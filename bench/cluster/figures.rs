//! What is measured: processes by /proc, requests by the API server's own counters, times by percentiles.

use std::{
    collections::BTreeMap,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use kube::Client;
use serde::{Deserialize, Serialize};

/// A process that runs.
#[derive(Clone, Copy)]
pub(crate) struct Process {
    pub(crate) id: u32,
}

impl Process {
    /// All that run under a name.
    pub(crate) fn all_named(name: &str) -> Result<Vec<Self>> {
        let ids = fs::read_dir("/proc")?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        let is_named = |id: &u32| fs::read_to_string(format!("/proc/{id}/comm")).is_ok_and(|of| of.trim() == name);
        Ok(ids.filter(is_named).map(|id| Self { id }).collect())
    }

    /// The size of the file that it was started from, in MiB.
    pub(crate) fn program_size(self) -> Result<f64> {
        Ok(fs::metadata(format!("/proc/{}/exe", self.id))?.len() as f64 / 1024.0 / 1024.0)
    }

    /// The time that it has used of all processors together.
    pub(crate) fn cpu(self) -> Result<Duration> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.id))?;
        let (_, fields) = stat.rsplit_once(") ").context("/proc/PID/stat has a name in parentheses")?;
        let ticks = |n: usize| fields.split(' ').nth(n).and_then(|field| field.parse::<u64>().ok()).context("a number");
        // utime and stime, in hundredths of a second.
        Ok(Duration::from_millis((ticks(11)? + ticks(12)?) * 10))
    }

    /// Resident memory now, in MiB.
    pub(crate) fn resident(self) -> Result<f64> {
        self.memory("VmRSS:")
    }

    /// The most resident memory that it ever had, in MiB.
    pub(crate) fn resident_peak(self) -> Result<f64> {
        self.memory("VmHWM:")
    }

    fn memory(self, name: &str) -> Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id))?;
        let line = status.lines().find_map(|line| line.strip_prefix(name)).context("VmRSS")?;
        let kib: f64 = line.trim().trim_end_matches(" kB").parse()?;
        Ok(kib / 1024.0)
    }
}

/// Requests that changed something, and succeeded, since the API server started.
pub(crate) struct Writes(BTreeMap<String, f64>);

impl Writes {
    pub(crate) async fn now(client: &Client) -> Result<Self> {
        let metrics = client.request_text(http::Request::get("/metrics").body(Vec::new())?).await?;
        let mut writes = BTreeMap::new();
        for line in metrics.lines().filter_map(|line| line.strip_prefix("apiserver_request_total{")) {
            let (labels, value) = line.rsplit_once("} ").context("a sample has a value")?;
            let label = |name: &str| {
                let start = format!("{name}=\"");
                labels.split_once(&start).and_then(|(_, rest)| rest.split('"').next()).unwrap_or_default()
            };
            let is_write = matches!(label("verb"), "POST" | "PUT" | "PATCH" | "APPLY" | "DELETE");
            if is_write && label("code").starts_with('2') {
                let resource = [label("resource"), label("subresource")].join("/");
                let name = format!("{} {}", label("verb"), resource.trim_end_matches('/'));
                *writes.entry(name).or_default() += value.parse::<f64>()?;
            }
        }
        Ok(Self(writes))
    }

    /// What was written since then, by verb and resource.
    pub(crate) fn since(&self, before: &Self) -> BTreeMap<String, f64> {
        let more = |(name, count): (&String, &f64)| {
            let more = count - before.0.get(name).copied().unwrap_or_default();
            (more > 0.0).then(|| (name.clone(), more))
        };
        self.0.iter().filter_map(more).collect()
    }
}

/// The value that this share of all is not above.
pub(crate) fn percentile(sorted: &[f64], share: f64) -> f64 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index")]
    let rank = (share * (sorted.len().max(1) - 1) as f64).round() as usize;
    sorted.get(rank).copied().unwrap_or(f64::NAN)
}

/// What one run of one scenario gave.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Run {
    pub(crate) scenario: String,
    /// Who did it: LongTask, or a peer.
    pub(crate) side: String,
    /// When it ended, RFC 3339.
    pub(crate) at: String,
    /// By name, with the unit in it.
    pub(crate) figures: BTreeMap<String, f64>,
}

impl Run {
    pub(crate) fn of(scenario: &str, side: &str, figures: impl IntoIterator<Item = (String, f64)>) -> Self {
        let at = longtask::clock::Clock::wall().now().to_string();
        Self { scenario: scenario.into(), side: side.into(), at, figures: figures.into_iter().collect() }
    }

    /// Says it, and adds it to the results of its scenario.
    pub(crate) fn record(&self) -> Result<()> {
        println!("{} {}", self.scenario, self.side);
        for (name, value) in &self.figures {
            println!("    {name:<44} {value:>12.2}");
        }
        let mut file = fs::OpenOptions::new().create(true).append(true).open(results_of(&self.scenario))?;
        writeln!(file, "{}", serde_json::to_string(self)?)?;
        Ok(())
    }
}

/// The time to the millisecond, as the programs in pods have it.
#[expect(clippy::disallowed_methods, reason = "what is measured is real")]
pub(crate) fn now() -> Timestamp {
    Timestamp::now()
}

pub(crate) fn results_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("bench/results")
}

fn results_of(scenario: &str) -> PathBuf {
    results_folder().join(format!("{scenario}.jsonl"))
}

pub(crate) fn name(name: &str, value: f64) -> (String, f64) {
    (name.to_owned(), value)
}
