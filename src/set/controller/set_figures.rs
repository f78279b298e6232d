//! Figures of single sets, by name: what `/metrics/tasks` serves of them, for those who ask for it.

use std::fmt;

use prometheus_client::{
    encoding::{EncodeLabelSet, prometheus_text},
    metrics::{family::Family, gauge::Gauge},
    registry::Registry,
};

/// Where one set stands, in figures.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SetFigures {
    /// Namespace of the set.
    pub namespace: String,
    /// Name of the set.
    pub name: String,
    /// How many members there are.
    pub size: i64,
    /// How many have succeeded.
    pub succeeded: i64,
    /// How many have failed in this round.
    pub failed: i64,
    /// How many have their turn.
    pub active: i64,
}

type Figure = (&'static str, &'static str, fn(&SetFigures) -> i64);

const FIGURES: [Figure; 4] = [
    ("size", "How many members there are", |set| set.size),
    ("succeeded", "Members that have succeeded", |set| set.succeeded),
    ("failed", "Members that have failed in this round", |set| set.failed),
    ("active", "Members that have their turn", |set| set.active),
];

// Not `namespace`: Prometheus puts the operator's own there.
#[derive(Clone, Debug, Eq, Hash, PartialEq, EncodeLabelSet)]
struct SetLabels {
    set_namespace: String,
    set: String,
}

/// The figures as text of [`crate::telemetry::metrics::CONTENT_TYPE`].
///
/// # Errors
/// When a figure cannot be written, which none of ours can fail to.
pub fn encode(sets: &[SetFigures]) -> Result<String, fmt::Error> {
    let mut all = Registry::with_prefix("longtask_set");
    for (name, help, value) in FIGURES {
        let family = Family::<SetLabels, Gauge>::default();
        for set in sets {
            let labels = SetLabels { set_namespace: set.namespace.clone(), set: set.name.clone() };
            family.get_or_create(&labels).set(value(set));
        }
        all.register(name, help, family);
    }
    let mut text = String::new();
    prometheus_text::encode(&mut text, &all)?;
    Ok(text)
}
