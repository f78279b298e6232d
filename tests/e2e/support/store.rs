//! An object store for stories: moto, which speaks S3, on the node's address.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    process::{Child, Command, Stdio},
    time::Duration,
};

use k8s_openapi::api::core::v1::Secret;
use kube::api::PostParams;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::lab::{Lab, PATIENCE};

const BUCKET: &str = "checkpoints";

/// A store of the story's own. It is gone with it.
#[must_use = "it is stopped when this is dropped"]
pub(crate) struct Store {
    server: Child,
    address: SocketAddr,
}

/// A save in the store.
#[derive(Debug, Clone)]
pub(crate) struct Save {
    /// The key of its manifest, be it there or not.
    manifest: String,
    pub(crate) attempt: i64,
    number: i64,
    /// Whether it has its manifest.
    pub(crate) is_complete: bool,
}

impl Save {
    /// Whether it is one of the task with this UID.
    pub(crate) fn is_of(&self, task: &str) -> bool {
        self.manifest.contains(&format!("/{task}/"))
    }

    /// Whether a checkpoint of the status is this one.
    pub(crate) fn is_at(&self, uri: &str) -> bool {
        uri.ends_with(&self.manifest)
    }
}

impl Store {
    /// Starts one, makes its bucket, and puts keys for it into a Secret `store` of the story's namespace.
    pub(crate) async fn start(lab: &Lab) -> Self {
        let address = lab.free_address().await;
        let log = fs::File::create(lab.folder().join("store.log")).expect("a log for the store");
        let server = Command::new("moto_server")
            .args(["-H", &address.ip().to_string(), "-p", &address.port().to_string()])
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("the log again"))
            .stderr(log)
            .spawn()
            .expect("make puts moto_server into PATH");
        let store = Self { server, address };
        store.make_bucket().await;
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

    /// The saves that are there, complete or not, oldest first.
    pub(crate) fn saves(&self) -> Vec<Save> {
        let mut saves: Vec<Save> = Vec::new();
        for key in self.keys() {
            // runs/<namespace>/<name>/<uid>/<attempt>-<pod>/<number>/..., or what is no save.
            let parts: Vec<_> = key.splitn(7, '/').collect();
            let [.., of_pod, number, file] = parts.as_slice() else { continue };
            let Some(attempt) = of_pod.split_once('-').and_then(|(attempt, _)| attempt.parse().ok()) else { continue };
            let Ok(number) = number.parse() else { continue };
            let is_manifest = *file == "manifest.json";
            match saves.iter_mut().find(|save| (save.attempt, save.number) == (attempt, number)) {
                Some(save) => save.is_complete |= is_manifest,
                None => {
                    let manifest = parts[..6].join("/") + "/manifest.json";
                    saves.push(Save { manifest, attempt, number, is_complete: is_manifest });
                }
            }
        }
        saves.sort_by_key(|save| (save.attempt, save.number));
        saves
    }

    /// Waits until the saves are as described. The store has no watch, so this looks often.
    pub(crate) async fn until(&self, what: &str, limit: Duration, is_so: impl Fn(&[Save]) -> bool) -> Vec<Save> {
        let limit = limit * PATIENCE;
        let deadline = Instant::now() + limit;
        loop {
            let saves = self.saves();
            if is_so(&saves) {
                return saves;
            }
            assert!(Instant::now() < deadline, "waited {limit:?} in vain until {what}: {saves:?}");
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// The path of a save as the program reported it.
    pub(crate) fn path_of(&self, save: &Save) -> String {
        let manifest: Value =
            serde_json::from_str(&self.request("GET", &format!("/{}", save.manifest), &[])).expect("JSON");
        manifest["path"].as_str().expect("a manifest names it").to_owned()
    }

    /// Puts other bytes in the place of a manifest.
    pub(crate) fn spoil(&self, save: &Save) {
        self.request("PUT", &format!("/{}", save.manifest), b"something else");
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

    /// Waits until it answers.
    async fn make_bucket(&self) {
        let limit = Duration::from_secs(20) * PATIENCE;
        let deadline = Instant::now() + limit;
        while self.try_request("PUT", "", &[]).is_none() {
            assert!(Instant::now() < deadline, "the store does not answer within {limit:?}: see store.log");
            sleep(Duration::from_millis(100)).await;
        }
    }

    fn request(&self, method: &str, path: &str, body: &[u8]) -> String {
        self.try_request(method, path, body).unwrap_or_else(|| panic!("the store does not take {method} {path}"))
    }

    fn try_request(&self, method: &str, path: &str, body: &[u8]) -> Option<String> {
        let mut stream = TcpStream::connect(self.address).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
        let (host, length) = (&self.address, body.len());
        // moto wants a signature, and does not check it.
        let signed = "Authorization: AWS4-HMAC-SHA256 Credential=story/20260101/us-east-1/s3/aws4_request, \
                      SignedHeaders=host, Signature=0";
        let head = format!(
            "{method} /{BUCKET}{path} HTTP/1.0\r\nHost: {host}\r\n{signed}\r\nContent-Length: {length}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).ok()?;
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
