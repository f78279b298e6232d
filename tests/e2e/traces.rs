//! What a real collector receives.

use longtask::api::task::Phase;
use serde_json::json;

use super::support::{Change, Collector, ReceivedSpan, manifest, story};

#[tokio::test]
async fn a_run_is_one_trace_with_a_span_per_attempt_and_the_programs_spans_join_it() {
    story(async |lab| {
        lab.kill_operator().await;
        let collector = Collector::start(lab.folder());
        let endpoint = format!("--otlp-endpoint={}", collector.endpoint);
        let operator = lab.new_operator(&["--leader-elect=off", &endpoint, "--trace-one-reconcile-in=1"]);
        let arguments = ["--steps=2", "--step-time=0", "attempt=1 start: exit 3", "attempt=2 before=2: exit 75"];
        let backoff = json!({ "spec": { "retry": { "backoff": { "initial": "1s" } } } });
        let task = lab.submit(manifest("traced", &arguments).and(backoff)).await;
        task.ends_as(Phase::Succeeded, 45).await;

        let spans = collector.spans_with("run").await;
        let named = |name: &str| spans.iter().filter(|span| span.name() == name).collect::<Vec<_>>();
        let [run] = named("run")[..] else { panic!("one run: {spans:?}") };
        assert_eq!(run.attribute("longtask.phase"), Some("Succeeded"));
        assert!(!run.is_error());
        assert!(spans.iter().all(|span| span.text("traceId") == run.text("traceId")), "one trace: {spans:?}");

        let attempts = named("attempt");
        let said = |span: &&ReceivedSpan| {
            let attribute = |name| span.attribute(name).unwrap_or_default().to_owned();
            (attribute("longtask.attempt"), attribute("longtask.outcome"), span.is_error())
        };
        let expected = [("1", "Failed", true), ("2", "Yielded", false), ("3", "Completed", false)];
        let expected = expected.map(|(attempt, outcome, is_error)| (attempt.to_owned(), outcome.to_owned(), is_error));
        assert_eq!(attempts.iter().map(said).collect::<Vec<_>>(), expected);
        for (number, span) in (1..).zip(&attempts) {
            assert_eq!(span.text("parentSpanId"), run.text("spanId"));
            let told = task.journal().start_of(number).env["TRACEPARENT"].clone();
            assert_eq!(told, format!("00-{}-{}-01", span.text("traceId"), span.text("spanId")));
        }
        assert!(!named("reconcile").is_empty(), "every reconcile is sampled: {spans:?}");
        operator.kill().await;
        lab.start_operator();
    })
    .await;
}
