//! The dashboards of the chart, with data: a Prometheus scrapes the operator of a story, and every panel shows something.

use std::{fs, net::TcpListener, path::Path, process::Stdio, time::Duration};

use longtask::api::{
    set::{LongTaskSet, SetPhase},
    task::Phase,
    template::LongTaskTemplate,
};
use serde_json::{Value, json};
use tokio::{
    process::{Child, Command},
    time::{Instant, sleep},
};

use super::{
    queues, sets,
    support::{Change, Lab, Store, http_get, manifest, story_of_reports},
};

/// Two scrapes after a round of the operator, which counts its tasks every half minute.
const SHOWN: Duration = Duration::from_mins(1);

#[tokio::test]
async fn every_panel_of_the_dashboards_has_data() {
    story_of_reports(async |lab| {
        lab.kill_operator().await;
        let operator = lab.new_operator(&["--leader-elect=off", "--task-metrics=10"]);
        operator.is_ready().await;
        let address = operator.listens_at().to_string();
        let prometheus = Prometheus::start(lab, &address);
        // What is counted before the first scrape has no rate.
        prometheus.answers("Leader", "longtask_leader").await;
        // One that fails, waits and loses work, and goes on, again and again: no panel has to be asked in time. Each segment
        // lasts for two intervals, so that its reports are recorded while it runs.
        let reporting = json!({ "mode": "Live", "interval": "5s" });
        let change = json!({ "spec": { "segment": { "duration": "10s" }, "reporting": reporting } });
        let fails = |attempt: u32| format!("attempt={attempt} start: sleep 2s; exit 1");
        let fails: Vec<String> = (1..100).map(|round| fails(4 * round)).collect();
        let mut arguments = vec!["--steps=1000", "--step-time=1s"];
        arguments.extend(fails.iter().map(String::as_str));
        let task = lab.submit(manifest("shown", &arguments).and(change.clone())).await;
        // One member after the other, so that some are counted whenever a panel is asked.
        sets::create::<LongTaskTemplate>(lab, sets::template("part", &["--steps=2", "--step-time=1s"])).await;
        let parts = json!({ "templateRef": { "name": "part" }, "count": 1000, "maxParallel": 1 });
        sets::create::<LongTaskSet>(lab, sets::set("parts", &parts)).await;
        let guard = json!({ "maxActive": 1, "breaker": { "counts": [{ "onErrorCodes": ["Down"] }] } });
        queues::make_queue(lab, guard).await;
        let store = Store::start(lab).await;
        let keeps = json!({ "spec": { "checkpoint": { "store": store.settings() } } });
        let files = ["--report=files", "--resume=files", "--steps=1000", "--step-time=1s"];
        let stored = lab.submit(manifest("stored", &files).and(change).and(keeps)).await;
        stored.until("a segment begins with what was restored", 120, |status| status.active_seconds > 20).await;
        task.until("a segment follows a retry", 120, |status| status.retries > 0 && status.segment > 4).await;

        let variables = [
            ("$namespace", lab.namespace.as_str()),
            ("$task_namespace", lab.namespace.as_str()),
            ("$task", "shown"),
            ("$__rate_interval", "1m"),
        ];
        for name in ["fleet", "task"] {
            for (panel, query) in queries(name, &variables) {
                prometheus.answers(&panel, &query).await;
            }
        }
        sets::change(lab, "parts", json!({ "cancel": true })).await;
        sets::ends_as(lab, "parts", SetPhase::Cancelled, 60).await;
        for task in [task, stored] {
            task.change(json!({ "cancel": true })).await;
            task.ends_as(Phase::Cancelled, 30).await;
        }
        drop(prometheus);
        operator.kill().await;
        lab.start_operator();
    })
    .await;
}

/// The titles and queries of a dashboard's panels, with its variables filled in, the longest names first.
fn queries(dashboard: &str, variables: &[(&str, &str)]) -> Vec<(String, String)> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("charts/longtask/dashboards/{dashboard}.json"));
    let text = fs::read_to_string(file).expect("a dashboard");
    let dashboard: Value = serde_json::from_str(&text).expect("JSON");
    let mut variables = variables.to_vec();
    variables.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
    let panels = dashboard["panels"].as_array().expect("panels").iter();
    let of_panel = |panel: &Value| {
        let title = panel["title"].as_str().expect("a title").to_owned();
        let targets = panel["targets"].as_array().cloned().unwrap_or_default();
        targets.into_iter().map(move |target| (title.clone(), target["expr"].as_str().expect("a query").to_owned()))
    };
    let filled = |query: String| variables.iter().fold(query, |query, (name, value)| query.replace(name, value));
    panels.flat_map(of_panel).map(|(title, query)| (title, filled(query))).collect()
}

/// A Prometheus of the distribution; killed when dropped.
struct Prometheus {
    port: u16,
    _process: Child,
}

impl Prometheus {
    fn start(lab: &Lab, operator: &str) -> Self {
        let job = |path: &str| {
            json!({
                "job_name": path, "metrics_path": path, "scrape_interval": "2s",
                "static_configs": [{ "targets": [operator], "labels": { "namespace": lab.namespace } }],
            })
        };
        let (config, data) = (lab.folder().join("prometheus.yaml"), lab.folder().join("prometheus"));
        // YAML contains JSON.
        let jobs = json!({ "scrape_configs": [job("/metrics"), job("/metrics/tasks")] });
        fs::write(&config, jobs.to_string()).expect("write the configuration");
        // Prometheus cannot choose a port and tell it. The one that is free now may be taken; then the test fails.
        let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port").port();
        let process = Command::new("prometheus")
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", data.display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("start prometheus: {error}. `make tools` installs it"));
        Self { port, _process: process }
    }

    /// Waits until a query returns a number.
    async fn answers(&self, panel: &str, query: &str) {
        let deadline = Instant::now() + SHOWN;
        let path = format!("/api/v1/query?query={}", percent_encoded(query));
        loop {
            let answer = http_get(([127, 0, 0, 1], self.port).into(), &path);
            if answer.as_deref().is_some_and(has_numbers) {
                return;
            }
            assert!(Instant::now() < deadline, "the panel {panel} shows nothing: {query}: {answer:?}");
            sleep(Duration::from_millis(500)).await;
        }
    }
}

/// Whether an answer has a series with a number; NaN is what a quantile of nothing is.
fn has_numbers(answer: &str) -> bool {
    let answer: Value = serde_json::from_str(answer).unwrap_or_default();
    let series = answer["data"]["result"].as_array().into_iter().flatten();
    series.filter_map(|one| one["value"][1].as_str()).any(|value| value != "NaN")
}

fn percent_encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |encoded, byte| encoded + &format!("%{byte:02X}"))
}
