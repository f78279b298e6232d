//! Traces, sent to an OpenTelemetry collector by OTLP over HTTP.
//!
//! A span is handed in whole, when it is over, by the code that knows its times and identifiers: an attempt may outlive
//! the process that records it. Spans are sent behind the work, and nothing waits for them: when the collector does not
//! keep up, they are dropped and counted.

use std::time::{Duration, SystemTime};

use opentelemetry::{
    InstrumentationScope, KeyValue, SpanId, TraceFlags, TraceId, Value,
    trace::{SpanContext, SpanKind, Status, TraceState},
};
pub use opentelemetry_otlp::ExporterBuildError;
use opentelemetry_otlp::{Protocol, WithExportConfig};
use opentelemetry_sdk::{
    Resource,
    trace::{SpanData, SpanEvents, SpanExporter, SpanLinks},
};
use tokio::sync::mpsc;
use tracing::{debug, warn};

use super::metrics::{Fate, Fates, Registry};

/// How many spans may wait to be sent.
const QUEUE: usize = 4096;
/// How many spans are sent at once.
const BATCH: usize = 512;
/// How long one sending may take.
const SEND_LIMIT: Duration = Duration::from_secs(5);

/// A span that is over. Identifiers are hexadecimal, as in a `traceparent`.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    /// Of few values: what the span is, not which.
    pub name: &'static str,
    /// The trace, 32 digits.
    pub trace_id: String,
    /// The span, 16 digits.
    pub id: String,
    /// The span that it is a part of, if any.
    pub parent_id: Option<String>,
    /// When it began.
    pub start: SystemTime,
    /// When it ended.
    pub end: SystemTime,
    /// What went wrong, if something did.
    pub error: Option<String>,
    /// What else is to be said of it.
    pub attributes: Vec<(&'static str, Value)>,
}

/// Where spans are handed in. Clones send to the same collector.
#[derive(Clone, Debug)]
pub struct Traces {
    queue: Option<mpsc::Sender<Span>>,
    fates: Fates,
}

impl Traces {
    /// Spans go nowhere.
    pub fn off() -> Self {
        Self { queue: None, fates: Fates::default() }
    }

    /// Spans go to the collector at this base address; `/v1/traces` is appended. They are counted in this registry.
    ///
    /// They are sent for as long as the returned future is polled. It ends when every clone of the first is gone and
    /// what waited has been sent.
    ///
    /// # Errors
    /// When `endpoint` is not a URL.
    pub fn to(
        endpoint: &str,
        registry: &mut Registry,
    ) -> Result<(Self, impl Future<Output = ()> + use<>), ExporterBuildError> {
        let mut exporter = opentelemetry_otlp::SpanExporter::builder()
            .with_http()
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(format!("{}/v1/traces", endpoint.trim_end_matches('/')))
            .with_timeout(SEND_LIMIT)
            .build()?;
        let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
        exporter.set_resource(&Resource::builder().with_service_name("longtask").with_attribute(version).build());
        Ok(Self::through(exporter, registry))
    }

    fn through<E: SpanExporter>(exporter: E, registry: &mut Registry) -> (Self, impl Future<Output = ()> + use<E>) {
        let fates = Fates::register(registry, "trace_spans", "Spans of traces, by what became of them");
        let (queue, waiting) = mpsc::channel(QUEUE);
        (Self { queue: Some(queue), fates: fates.clone() }, send_all(waiting, exporter, fates))
    }

    /// Whether spans go anywhere. Making one costs a little.
    pub fn are_on(&self) -> bool {
        self.queue.is_some()
    }

    /// Has a span sent soon; drops it when too many wait.
    pub fn emit(&self, span: Span) {
        let Some(queue) = &self.queue else { return };
        if queue.try_send(span).is_err() {
            self.fates.count(Fate::Dropped, 1);
        }
    }

    /// Gives each metric a value.
    #[cfg(test)]
    pub(crate) fn fill_metrics(&self) {
        self.fates.count(Fate::Sent, 1);
    }
}

async fn send_all(mut waiting: mpsc::Receiver<Span>, exporter: impl SpanExporter, fates: Fates) {
    let (mut batch, mut fails) = (Vec::new(), false);
    loop {
        let count = waiting.recv_many(&mut batch, BATCH).await;
        if count == 0 {
            return;
        }
        match exporter.export(batch.drain(..).filter_map(data).collect()).await {
            Ok(()) => {
                fates.count(Fate::Sent, count);
                fails = false;
            }
            Err(error) => {
                fates.count(Fate::Failed, count);
                if fails {
                    debug!(%error, spans = count, "could not send spans");
                } else {
                    warn!(%error, spans = count, "could not send spans to the collector; not told again until it works");
                }
                fails = true;
            }
        }
    }
}

/// The span in the words of the exporter; none when its identifiers are not hexadecimal.
fn data(span: Span) -> Option<SpanData> {
    let Span { name, trace_id, id, parent_id, start, end, error, attributes } = span;
    let parent = parent_id.map(|id| SpanId::from_hex(&id)).transpose().ok()?;
    let (trace, id) = (TraceId::from_hex(&trace_id).ok()?, SpanId::from_hex(&id).ok()?);
    Some(SpanData {
        span_context: SpanContext::new(trace, id, TraceFlags::SAMPLED, false, TraceState::NONE),
        parent_span_id: parent.unwrap_or(SpanId::INVALID),
        parent_span_is_remote: false,
        span_kind: SpanKind::Internal,
        name: name.into(),
        start_time: start,
        end_time: end.max(start),
        attributes: attributes.into_iter().map(|(name, value)| KeyValue::new(name, value)).collect(),
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        status: error.map_or(Status::Unset, Status::error),
        instrumentation_scope: InstrumentationScope::builder("longtask").build(),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};

    use super::*;

    #[derive(Clone, Debug, Default)]
    struct Collector {
        received: Arc<Mutex<Vec<SpanData>>>,
        is_down: bool,
    }

    impl SpanExporter for Collector {
        async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
            if self.is_down {
                return Err(OTelSdkError::InternalFailure("connection refused".into()));
            }
            self.received.lock().expect("no panic").extend(batch);
            Ok(())
        }
    }

    fn span() -> Span {
        Span {
            name: "attempt",
            trace_id: "4bf92f3577b34da6a3ce929d0e0e4736".into(),
            id: "00f067aa0ba902b7".into(),
            parent_id: Some("53995c3f42cd8ad8".into()),
            start: SystemTime::UNIX_EPOCH,
            end: SystemTime::UNIX_EPOCH + Duration::from_mins(1),
            error: Some("OOMKilled".into()),
            attributes: vec![("longtask.attempt", 7.into())],
        }
    }

    #[tokio::test]
    async fn what_is_told_arrives_whole() {
        let collector = Collector::default();
        let (traces, sending) = Traces::through(collector.clone(), &mut Registry::new());
        traces.emit(span());
        drop(traces);
        sending.await;
        let received = collector.received.lock().expect("no panic");
        let [told] = received.as_slice() else { panic!("{received:?}") };
        assert_eq!(told.span_context.trace_id().to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(told.span_context.span_id().to_string(), "00f067aa0ba902b7");
        assert_eq!(told.parent_span_id.to_string(), "53995c3f42cd8ad8");
        assert_eq!(told.end_time.duration_since(told.start_time).expect("in order"), Duration::from_mins(1));
        assert_eq!((&told.status, told.attributes.len()), (&Status::error("OOMKilled"), 1));
    }

    #[tokio::test]
    async fn what_the_collector_does_not_take_is_counted() {
        let mut registry = Registry::new();
        let (traces, sending) = Traces::through(Collector { is_down: true, ..Collector::default() }, &mut registry);
        for _ in 0..=QUEUE {
            traces.emit(span());
        }
        drop(traces);
        sending.await;
        let text = registry.encode().expect("text");
        assert!(text.contains("longtask_trace_spans_total{result=\"dropped\"} 1\n"), "{text}");
        assert!(text.contains(&format!("longtask_trace_spans_total{{result=\"failed\"}} {QUEUE}\n")), "{text}");
    }

    #[test]
    fn without_a_collector_nothing_is_made() {
        assert!(!Traces::off().are_on());
        Traces::off().emit(span());
    }

    #[test]
    fn an_address_that_is_no_url_is_refused() {
        assert!(Traces::to("not a url", &mut Registry::new()).is_err());
    }
}
