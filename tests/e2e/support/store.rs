//! An object store for stories: moto, which speaks S3, on the node's address.

use std::{
    env, fs,
    io::{Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use k8s_openapi::api::core::v1::Secret;
use kube::api::PostParams;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::lab::{Lab, PATIENCE};

/// The bucket that every store of a story has.
pub(crate) const BUCKET: &str = "checkpoints";

/// A store of the story's own. It is gone with it.
#[must_use = "it is stopped when this is dropped"]
pub(crate) struct Store {
    server: Child,
    address: String,
}

impl Store {
    /// Starts one, and puts its keys into a Secret `store` of the story's namespace.
    pub(crate) async fn start(lab: &Lab) -> Self {
        let address = lab.free_address_of_node().await;
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/support/store.py");
        let (host, port) = address.rsplit_once(':').expect("an address has a port");
        let log = fs::File::create(lab.folder().join("store.log")).expect("a log for the store");
        let server = Command::new("python3")
            .arg(script)
            .args([host, port, BUCKET])
            .env("PYTHONPATH", packages())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("the log again"))
            .stderr(log)
            .spawn()
            .expect("python3 is installed");
        let store = Self { server, address };
        store.until_ready().await;
        let keys = json!({
            "metadata": { "name": "store" },
            "stringData": { "AWS_ACCESS_KEY_ID": "story", "AWS_SECRET_ACCESS_KEY": "no secret" },
        });
        let keys: Secret = serde_json::from_value(keys).expect("a Secret");
        lab.api::<Secret>().create(&PostParams::default(), &keys).await.expect("make the Secret");
        store
    }

    /// What a task says to use it.
    pub(crate) fn settings(&self) -> Value {
        json!({
            "url": format!("s3://{BUCKET}/runs"), "endpoint": format!("http://{}", self.address), "region": "us-east-1",
            "secretRef": { "name": "store" },
        })
    }

    /// The keys of all objects.
    pub(crate) fn keys(&self) -> Vec<String> {
        let answer = self.request("GET", "?list-type=2&max-keys=1000", &[]);
        let keys = answer.split("<Key>").skip(1).filter_map(|rest| rest.split_once("</Key>"));
        keys.map(|(key, _)| key.to_owned()).collect()
    }

    /// The keys of all manifests, oldest first.
    pub(crate) fn manifests(&self) -> Vec<String> {
        let number = |key: &String| {
            let mut parts = key.rsplit('/').skip(1);
            let number: u64 = parts.next().and_then(|number| number.parse().ok()).unwrap_or_default();
            let attempt = parts.next().and_then(|part| part.split('-').next()?.parse().ok()).unwrap_or(0_u64);
            (attempt, number)
        };
        let mut manifests: Vec<_> = self.keys().into_iter().filter(|key| key.ends_with("/manifest.json")).collect();
        manifests.sort_by_key(number);
        manifests
    }

    /// Puts other bytes in the place of an object.
    pub(crate) fn overwrite(&self, key: &str) {
        self.request("PUT", &format!("/{key}"), b"something else");
    }

    /// Lets it answer nobody, until [`Self::go_on`].
    pub(crate) fn hang(&self) {
        self.signal("-STOP");
    }

    /// Lets it answer again.
    pub(crate) fn go_on(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([signal, &self.server.id().to_string()]).status();
        assert!(sent.is_ok_and(|status| status.success()), "the store runs");
    }

    async fn until_ready(&self) {
        let limit = Duration::from_secs(20) * PATIENCE;
        let deadline = Instant::now() + limit;
        while self.try_request("GET", "?list-type=2", &[]).is_none() {
            assert!(Instant::now() < deadline, "the store does not answer within {limit:?}: see store.log");
            sleep(Duration::from_millis(100)).await;
        }
    }

    fn request(&self, method: &str, path: &str, body: &[u8]) -> String {
        self.try_request(method, path, body).unwrap_or_else(|| panic!("the store does not take {method} {path}"))
    }

    fn try_request(&self, method: &str, path: &str, body: &[u8]) -> Option<String> {
        let mut stream = TcpStream::connect(&self.address).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
        let (host, length) = (&self.address, body.len());
        write!(stream, "{method} /{BUCKET}{path} HTTP/1.0\r\nHost: {host}\r\nContent-Length: {length}\r\n\r\n").ok()?;
        stream.write_all(body).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        head.lines().next()?.contains(" 200 ").then(|| body.to_owned())
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.go_on();
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// Where `make` has put the packages of Python.
fn packages() -> PathBuf {
    let cache = env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cache"))).expect("a home");
    cache.join("longtask/moto")
}
