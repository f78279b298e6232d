//! The registry of metrics: what `/metrics` serves.
//!
//! Each room registers its own metrics, before anything is served. Their labels are enums and static words, never names
//! of objects: the number of series does not grow with the cluster. Figures of single objects are a [`Page`] of their own.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use prometheus_client::{
    encoding::{EncodeLabelSet, prometheus_text},
    metrics::{counter::Counter, family::Family, histogram::Histogram, info::Info},
    registry::{self, Metric, Unit},
};

/// The `Content-Type` of [`Registry::encode`] and of every [`Page`].
pub const CONTENT_TYPE: &str = prometheus_text::CONTENT_TYPE;

/// All metrics of one operator.
#[derive(Debug)]
pub struct Registry {
    metrics: registry::Registry,
    pages: Vec<(&'static str, Vec<Page>)>,
}

impl Default for Registry {
    fn default() -> Self {
        Self::new()
    }
}

impl Registry {
    /// A registry that has only the version of the program.
    pub fn new() -> Self {
        let mut metrics = registry::Registry::with_prefix("longtask");
        metrics.register("build", "The version that runs", Info::new([("version", env!("CARGO_PKG_VERSION"))]));
        Self { metrics, pages: Vec::new() }
    }

    /// Registers a metric and returns it. A counter gets its suffix `_total` when it is encoded.
    pub fn register<M: Metric + Clone>(&mut self, name: &str, help: &str, metric: M) -> M {
        self.metrics.register(name, help, metric.clone());
        metric
    }

    /// Registers a metric that is in seconds and returns it. It gets the suffix `_seconds`.
    pub fn register_seconds<M: Metric + Clone>(&mut self, name: &str, help: &str, metric: M) -> M {
        self.metrics.register_with_unit(name, help, Unit::Seconds, metric.clone());
        metric
    }

    /// Adds a page that is served at `path`, beside `/metrics`. One that is there already gets a further part.
    pub fn page(&mut self, path: &'static str) -> Page {
        let page = Page::default();
        match self.pages.iter_mut().find(|(known, _)| *known == path) {
            Some((_, parts)) => parts.push(page.clone()),
            None => self.pages.push((path, vec![page.clone()])),
        }
        page
    }

    /// The pages beside `/metrics`, by their paths, each with its parts.
    pub(super) fn pages(&self) -> impl Iterator<Item = &(&'static str, Vec<Page>)> {
        self.pages.iter()
    }

    /// All metrics as text of [`CONTENT_TYPE`].
    ///
    /// # Errors
    /// When a metric cannot be written, which none of ours can fail to.
    pub fn encode(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        prometheus_text::encode(&mut text, &self.metrics)?;
        Ok(text)
    }
}

/// A text of [`CONTENT_TYPE`], or a part of one, that is written now and then, and served as it was written last. Clones share
/// it.
#[derive(Clone, Debug, Default)]
pub struct Page(Arc<Mutex<String>>);

impl Page {
    /// Replaces the text.
    pub fn write(&self, text: String) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = text;
    }

    /// The text that was written last; empty before the first.
    pub fn read(&self) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// What became of something that is sent behind the work.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fate {
    /// It has arrived.
    Sent,
    /// It was not taken.
    Failed,
    /// Too many were waiting.
    Dropped,
}

impl Fate {
    fn word(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Failed => "failed",
            Self::Dropped => "dropped",
        }
    }
}

#[derive(Clone, Debug, Eq, Hash, PartialEq, EncodeLabelSet)]
struct FateLabels {
    result: &'static str,
}

/// A counter of what is sent behind the work, by what became of it.
#[derive(Clone, Debug, Default)]
pub struct Fates(Family<FateLabels, Counter>);

impl Fates {
    /// Registers such a counter.
    pub fn register(registry: &mut Registry, name: &str, help: &str) -> Self {
        Self(registry.register(name, help, Family::default()))
    }

    /// Counts this many that had the same fate.
    pub fn count(&self, fate: Fate, number: usize) {
        let number = u64::try_from(number).unwrap_or(u64::MAX);
        self.0.get_or_create(&FateLabels { result: fate.word() }).inc_by(number);
    }
}

/// A histogram of times from 5 ms, a cached reconcile, to 10 s, a call that timed out.
pub fn short_times() -> Histogram {
    Histogram::new([0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0])
}

#[cfg(test)]
mod tests {
    use prometheus_client::metrics::gauge::Gauge;

    use super::*;

    #[test]
    fn a_metric_has_the_prefix_and_the_suffixes_of_its_kind_and_unit() {
        let mut registry = Registry::new();
        registry.register("runs", "Runs", Counter::<u64>::default()).inc();
        registry.register_seconds("age", "Age", Gauge::<i64>::default()).set(77);
        let fates = Fates::register(&mut registry, "letters", "Letters");
        fates.count(Fate::Dropped, 2);
        let text = registry.encode().expect("text");
        for line in [
            "longtask_runs_total 1",
            "longtask_age_seconds 77",
            r#"longtask_letters_total{result="dropped"} 2"#,
            concat!(r#"longtask_build_info{version=""#, env!("CARGO_PKG_VERSION"), r#""} 1"#),
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
    }
}
