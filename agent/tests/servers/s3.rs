//! S3: moto has its semantics, versitygw its checks of keys and its speed.

use std::fs;

use longtask_agent::store::failure::Cause;
use longtask_contract::agent::SaveTrouble;
use tempfile::TempDir;

use crate::{
    facts::shared::{World, file, tree},
    hold_every_fact,
    server::{Server, client, free_port},
};

/// As in the Makefile.
const KEYS: [&str; 2] = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"];

#[tokio::test]
async fn every_fact_holds_with_moto() {
    let port = free_port();
    let server = Server::start("moto_server", &["-p", &port.to_string()], port);
    let bucket = format!("{}/bucket", server.endpoint);
    client().put(bucket).send().await.expect("answered").error_for_status().expect("a bucket");
    let url = "s3://bucket/runs";
    hold_every_fact(&server.open(url), url).await;
    without_a_bucket(&server).await;
}

/// A place that versitygw serves.
pub(crate) struct Gateway {
    folder: TempDir,
    keys: [String; 2],
}

impl Gateway {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["data/bucket", "beside"] {
            fs::create_dir_all(folder.path().join(name)).expect("made");
        }
        Self { folder, keys: KEYS.map(|key| std::env::var(key).expect("`make stores` sets it")) }
    }

    /// Serves it.
    pub(crate) fn start(&self, options: &[&str]) -> Server {
        let ([access, secret], port) = (&self.keys, free_port());
        let place = |name: &str| self.folder.path().join(name).to_str().expect("UTF-8").to_owned();
        let (address, data, beside) = (format!("127.0.0.1:{port}"), place("data"), place("beside"));
        let keys = ["--access", access, "--secret", secret, "--port", &address];
        // What the file system cannot keep beside a file is kept beside the data.
        let places = ["posix", "--sidecar", &beside, &data];
        Server::start("versitygw", &[&keys[..], options, &places].concat(), port)
    }
}

#[tokio::test]
async fn every_fact_holds_with_versitygw() {
    let gateway = Gateway::new();
    let server = gateway.start(&[]);
    let url = "s3://bucket/runs";
    hold_every_fact(&server.open(url), url).await;
    without_a_bucket(&server).await;
    drop(server);
    let [access, _] = gateway.keys.clone();
    let gateway = Gateway { keys: [access, "another secret".into()], ..gateway };
    let server = gateway.start(&[]);
    let world = World::new(&server.open(url), url, "denied");
    world.write("step-1", &tree([("x", file("x"))]));
    let denied = world.try_save(&world.room(), "1-aa/1", "step-1").await.expect_err("the key is another one");
    assert_eq!(denied.reason, SaveTrouble::AccessDenied, "{denied:?}");
    assert_eq!(world.room().saves().await.map_err(|failure| failure.cause), Err(Cause::Refused));
}

async fn without_a_bucket(server: &Server) {
    let url = "s3://no-such-bucket/runs";
    let world = World::new(&server.open(url), url, "no-bucket");
    world.write("step-1", &tree([("x", file("x"))]));
    let failed = world.try_save(&world.room(), "1-aa/1", "step-1").await.expect_err("there is no bucket");
    assert_eq!(failed.reason, SaveTrouble::NoSuchBucket, "{failed:?}");
    assert_eq!(world.room().saves().await.map_err(|failure| failure.cause), Err(Cause::NoBucket));
}
