//! Log lines: JSON for machines, text for people, both on standard error.
//!
//! A JSON line is flat. Fields of the spans around an event stand beside the event's own, so that a query for
//! `task="import-orders"` finds every line about that task, whoever wrote it.

use std::{
    error::Error,
    fmt, io,
    sync::{Arc, Mutex, PoisonError},
};

use serde::Serialize;
use serde_json::{Map, Value};
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
    info,
};
use tracing_subscriber::{
    EnvFilter, Layer, Registry,
    filter::ParseError,
    fmt::{
        FmtContext, FormatEvent, FormatFields, FormattedFields, MakeWriter,
        format::{JsonFields, Writer},
        layer,
        time::{FormatTime, SystemTime},
    },
    layer::SubscriberExt,
    registry::{LookupSpan, Scope},
    reload,
    util::SubscriberInitExt,
};

use crate::cli::{LogFormat, LogSettings};

/// The client logs every 5xx as an error, without a word about the object. Each of our calls is reported by its caller.
const QUIET: &str = "kube_client::client::builder=off";

/// Sends log lines of this process to standard error from now on, and hands out what can change which.
///
/// A second call in one process changes nothing.
pub fn init(settings: &LogSettings) -> LogFilter {
    let (filter, handle) = LogFilter::new(&settings.filter);
    let _ = tracing_subscriber::registry().with(lines(settings.format, handle, io::stderr)).try_init();
    filter
}

fn lines<S, W>(format: LogFormat, filter: Reloadable<S>, writer: W) -> impl Layer<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let format: Box<dyn Layer<S> + Send + Sync> = match format {
        LogFormat::Json => layer().fmt_fields(JsonFields::new()).event_format(FlatJson).with_writer(writer).boxed(),
        LogFormat::Text => layer().with_target(false).with_writer(writer).boxed(),
    };
    format.with_filter(filter)
}

type Reloadable<S> = reload::Layer<EnvFilter, S>;

/// Which log lines are written; can be changed at any time. Clones change the same.
#[derive(Clone, Debug)]
pub struct LogFilter {
    wanted: Arc<Mutex<String>>,
    handle: reload::Handle<EnvFilter, Registry>,
}

/// A filter could not be changed.
#[derive(Debug, thiserror::Error)]
pub enum LogFilterError {
    /// It cannot be read.
    #[error("cannot read the filter: {0}; write a level, or levels by module, such as info,longtask=debug")]
    Unreadable(#[from] ParseError),
    /// Nothing is logged any more.
    #[error("cannot change the filter: {0}")]
    Gone(#[from] reload::Error),
}

impl LogFilter {
    /// A filter, and what it is filtered with. `wanted` is known to parse.
    pub(super) fn new(wanted: &str) -> (Self, Reloadable<Registry>) {
        let (layer, handle) = reload::Layer::new(EnvFilter::new(with_quiet(wanted)));
        (Self { wanted: Arc::new(Mutex::new(wanted.to_owned())), handle }, layer)
    }

    /// The filter, as it was written.
    pub fn current(&self) -> String {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Filters by `wanted` from now on, until the process ends.
    ///
    /// # Errors
    /// When `wanted` cannot be read; the filter stays as it was.
    pub fn change(&self, wanted: &str) -> Result<(), LogFilterError> {
        self.handle.reload(EnvFilter::try_new(with_quiet(wanted))?)?;
        let before =
            std::mem::replace(&mut *self.wanted.lock().unwrap_or_else(PoisonError::into_inner), wanted.to_owned());
        info!(before, now = wanted, "changed the log filter");
        Ok(())
    }
}

fn with_quiet(filter: &str) -> String {
    format!("{QUIET},{filter}")
}

/// An error with everything that caused it, as one line.
///
/// Some libraries already repeat a cause in their own words; it is then left out.
pub fn with_causes(error: &(dyn Error + 'static)) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = error.to_string();
        if !line.contains(&words) {
            line = format!("{line}: {words}");
        }
        cause = error.source();
    }
    line
}

/// Writes each event as one flat JSON object.
struct FlatJson;

#[derive(Serialize)]
struct Line<'a> {
    timestamp: &'a str,
    level: &'a str,
    target: &'a str,
    #[serde(flatten)]
    fields: Map<String, Value>,
}

impl<S, N> FormatEvent<S, N> for FlatJson
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut timestamp = String::new();
        SystemTime.format_time(&mut Writer::new(&mut timestamp))?;
        let metadata = event.metadata();
        let line = Line {
            timestamp: &timestamp,
            level: metadata.level().as_str(),
            target: metadata.target(),
            fields: fields(context, event),
        };
        writeln!(out, "{}", serde_json::to_string(&line).map_err(|_| fmt::Error)?)
    }
}

/// The fields of the event and of the spans around it; the innermost wins.
fn fields<S, N>(context: &FmtContext<'_, S, N>, event: &Event<'_>) -> Map<String, Value>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    let mut fields = Map::new();
    for span in context.event_scope().into_iter().flat_map(Scope::from_root) {
        if let Some(written) = span.extensions().get::<FormattedFields<N>>()
            && let Ok(Value::Object(of_span)) = serde_json::from_str(written)
        {
            fields.extend(of_span);
        }
    }
    event.record(&mut Collect(&mut fields));
    fields
}

struct Collect<'a>(&'a mut Map<String, Value>);

impl Collect<'_> {
    fn put(&mut self, field: &Field, value: impl Into<Value>) {
        self.0.insert(field.name().to_owned(), value.into());
    }
}

impl Visit for Collect<'_> {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::Write,
        sync::{Arc, Mutex},
    };

    use serde_json::json;
    use tracing::{Span, debug, error_span, info_span, subscriber::with_default, warn};
    use tracing_subscriber::registry;

    use super::*;

    #[derive(Clone, Default)]
    struct Captured(Arc<Mutex<Vec<u8>>>);

    impl Write for Captured {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("no panic").write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: LogFormat, filter: &str, work: impl FnOnce()) -> Vec<String> {
        let captured = Captured::default();
        let writer = captured.clone();
        with_default(registry().with(lines(format, LogFilter::new(filter).1, move || writer.clone())), work);
        let bytes = captured.0.lock().expect("no panic").clone();
        String::from_utf8(bytes).expect("text").lines().map(str::to_owned).collect()
    }

    fn json_lines(filter: &str, work: impl FnOnce()) -> Vec<Value> {
        let lines = logged(LogFormat::Json, filter, work);
        lines.iter().map(|line| serde_json::from_str(line).expect("a JSON object")).collect()
    }

    fn span() -> Span {
        error_span!("task", task = "import-orders", namespace = "team-a", attempt = 7)
    }

    #[test]
    fn a_line_carries_the_fields_of_the_spans_around_it_flat() {
        let lines =
            json_lines("info", || span().in_scope(|| info!(outcome = "Failed", exit_code = 137, "attempt ended")));
        let [line] = lines.as_slice() else { panic!("{lines:?}") };
        for (field, value) in [
            ("task", json!("import-orders")),
            ("namespace", json!("team-a")),
            ("attempt", json!(7)),
            ("outcome", json!("Failed")),
            ("exit_code", json!(137)),
            ("message", json!("attempt ended")),
            ("level", json!("INFO")),
            ("target", json!("longtask::telemetry::logs::tests")),
        ] {
            assert_eq!(line[field], value, "{field} in {line}");
        }
        assert!(line["timestamp"].as_str().is_some_and(|time| time.ends_with('Z')), "{line}");
    }

    #[test]
    fn nested_spans_and_stricter_filters_keep_the_task() {
        let lines = json_lines("warn", || {
            span().in_scope(|| {
                info_span!("execute", step = "create pod").in_scope(|| {
                    info!("not shown");
                    warn!(attempt = 8, "retrying");
                });
            });
        });
        let [line] = lines.as_slice() else { panic!("{lines:?}") };
        assert_eq!((&line["task"], &line["attempt"]), (&json!("import-orders"), &json!(8)));
    }

    #[test]
    fn a_line_break_in_a_value_does_not_break_the_line() {
        let lines = json_lines("info", || info!(error = %"one\ntwo", "failed"));
        assert_eq!(lines[0]["error"], json!("one\ntwo"));
    }

    #[derive(Debug, thiserror::Error)]
    #[error("create pod import-3: refused")]
    struct Outer(#[source] Inner);

    #[derive(Debug, thiserror::Error)]
    #[error("refused")]
    struct Inner(#[source] io::Error);

    #[test]
    fn causes_are_told_once_each() {
        let error = Outer(Inner(io::Error::other("quota")));
        assert_eq!(with_causes(&error), "create pod import-3: refused: quota");
    }

    #[test]
    fn a_filter_that_is_changed_takes_effect_at_once() {
        let captured = Captured::default();
        let writer = captured.clone();
        let (filter, layer) = LogFilter::new("info");
        with_default(registry().with(lines(LogFormat::Json, layer, move || writer.clone())), || {
            let work = || debug!(target: "longtask::controller", "in detail");
            work();
            filter.change("info,longtask=debug").expect("it parses");
            work();
            filter.change("info").expect("it parses");
            work();
        });
        let bytes = captured.0.lock().expect("no panic").clone();
        let text = String::from_utf8(bytes).expect("text");
        assert_eq!(text.matches("in detail").count(), 1, "{text}");
        assert_eq!(text.matches("changed the log filter").count(), 2, "{text}");
    }

    #[test]
    fn text_shows_the_task_too() {
        let lines = logged(LogFormat::Text, "info", || span().in_scope(|| info!("attempt ended")));
        assert!(lines[0].contains("import-orders") && lines[0].contains("attempt ended"), "{lines:?}");
    }

    #[test]
    fn the_clients_own_errors_are_left_out_unless_asked_for() {
        let noise = || {
            tracing::error!(target: "kube_client::client::builder", "failed with status 500");
            debug!("detail");
        };
        assert_eq!(json_lines("info", noise).len(), 0);
        assert_eq!(json_lines("debug,kube_client::client::builder=error", noise).len(), 2);
    }
}
