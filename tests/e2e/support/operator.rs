//! An operator as a process of its own, outside the cluster.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::PathBuf,
    process::Stdio,
    time::Duration,
};

use tokio::{
    process::{Child, Command},
    time::{Instant, sleep},
};

/// An operator process; killed when dropped.
pub(crate) struct OperatorProcess {
    child: Child,
    log: PathBuf,
}

impl OperatorProcess {
    pub(super) fn start(namespace: &str, log: PathBuf, arguments: &[&str]) -> Self {
        let file = File::create_new(&log).expect("create the operator's log");
        let child = Command::new(env!("CARGO_BIN_EXE_longtask"))
            .args([
                "run",
                "--namespace",
                namespace,
                "--listen=127.0.0.1:0",
                "--log-format=json",
                "--log=info,longtask=debug",
            ])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(file)
            .kill_on_drop(true)
            .spawn()
            .expect("start the operator");
        Self { child, log }
    }

    /// SIGKILL; returns when the process is dead.
    pub(crate) async fn kill(mut self) {
        self.child.kill().await.expect("kill the operator");
    }

    /// Waits until it works, or stands by.
    pub(crate) async fn is_ready(&self) {
        self.get("/readyz").await;
    }

    /// Write requests that it has sent, by verb and resource; events and leases left out.
    pub(crate) async fn writes(&self) -> Vec<(String, u64)> {
        writes_in(&self.get("/metrics").await)
    }

    /// How often it has looked at a task.
    pub(crate) async fn reconciles(&self) -> u64 {
        self.sum_of("longtask_reconciles_total").await
    }

    /// How many reports it has answered in this way.
    pub(crate) async fn answers(&self, result: &str) -> u64 {
        self.sum_of(&format!("longtask_reports_total{{result=\"{result}\"}}")).await
    }

    /// The sum of its counters whose names begin in this way.
    async fn sum_of(&self, begin: &str) -> u64 {
        let metrics = self.get("/metrics").await;
        let counts = metrics.lines().filter(|line| line.starts_with(begin));
        counts.filter_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok()).sum()
    }

    /// Asks until the answer is 200.
    async fn get(&self, path: &str) -> String {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let address = self.address();
            if let Some(body) = address.and_then(|address| http_get(address, path)) {
                return body;
            }
            assert!(Instant::now() < deadline, "{path} of the operator at {address:?} did not answer 200 in 20s");
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Where it serves health and metrics, once it is ready.
    pub(crate) fn listens_at(&self) -> SocketAddr {
        self.address().expect("it has logged its address")
    }

    /// Where it listens: the system chose the port, and the log tells.
    fn address(&self) -> Option<SocketAddr> {
        let log = fs::read_to_string(&self.log).ok()?;
        let (_, after) = log.split_once(r#""address":""#)?;
        after.split('"').next()?.parse().ok()
    }
}

/// The body of an answer that is 200.
pub(crate) fn http_get(address: SocketAddr, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: operator\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    head.lines().next()?.contains(" 200 ").then(|| body.to_owned())
}

fn writes_in(metrics: &str) -> Vec<(String, u64)> {
    let mut writes = BTreeMap::<String, u64>::new();
    for line in metrics.lines() {
        let Some((labels, count)) =
            line.strip_prefix("longtask_api_requests_total{").and_then(|rest| rest.split_once("} "))
        else {
            continue;
        };
        let label = |name: &str| {
            let (_, after) = labels.split_once(&format!("{name}=\""))?;
            after.split('"').next()
        };
        let (verb, resource) = (label("verb").unwrap_or_default(), label("resource").unwrap_or_default());
        if !matches!(verb, "get" | "list" | "watch") && !matches!(resource, "events" | "leases") {
            let count: u64 = count.trim().parse().expect("a counter is a number");
            *writes.entry(format!("{verb} {resource}")).or_default() += count;
        }
    }
    writes.into_iter().collect()
}
