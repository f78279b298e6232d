//! The agent beside the program of a model pod: what the operator hears of it, and what it leaves behind.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;

use crate::{
    contract::{
        agent::{self, Header, LastWord},
        report::{Report, Via},
    },
    task::{
        plan::LiveReport,
        render::{AgentConfig, ReportServer},
    },
    types::time::seconds_between,
};

/// The revision of the word of a program that has said nothing.
const NOTHING_SAID: i64 = 1;
/// The revision of the word of a program that has said all that it says.
const ALL_SAID: i64 = 2;
/// The most bytes that an agent leaves behind.
const LONGEST_WORD: usize = 4096;

/// An agent.
#[derive(Debug, Default)]
pub(super) struct SimAgent {
    /// Since when its program gives no sign of life.
    pub(super) silent_since: Option<Timestamp>,
    /// What the operator has heard last.
    pub(super) posted: Option<Arc<LiveReport>>,
}

impl SimAgent {
    /// How the operator was installed. Nobody connects to anybody here.
    pub(super) fn config() -> Arc<AgentConfig> {
        let reports = ReportServer { addresses: Vec::new(), certificate_authority: String::new() };
        Arc::new(AgentConfig { image: "longtask".to_owned(), reports: Some(reports) })
    }

    /// The agent in a pod, if it has one.
    pub(super) fn of(pod: &Pod) -> Option<Self> {
        let mut containers = pod.spec.iter().flat_map(|spec| spec.init_containers.iter().flatten());
        containers.any(|container| container.name == agent::CONTAINER).then(Self::default)
    }

    /// Tells the operator how it stands: a program says what it has to say at its end, or before it falls silent.
    pub(super) fn post(&mut self, report: &str, now: Timestamp) {
        let said = self.silent_since.map(|_| Report::read(report, Via::Agent));
        self.posted = Some(Arc::new(LiveReport {
            revision: if said.is_some() { ALL_SAID } else { NOTHING_SAID },
            receipt_time: now,
            silent_seconds: self.silent_since.map_or(0, |since| seconds_between(since, now)),
            quiet_seconds: None,
            checkpoint_time: None,
            report: said.unwrap_or_default(),
            save: None,
        }));
    }

    /// What an agent leaves behind of a program that ran.
    pub(super) fn last_word(report: &str) -> String {
        let header = Header { revision: ALL_SAID, ..Header::default() };
        LastWord::write(header, LONGEST_WORD, |_| format!("{report}\n"))
    }
}
