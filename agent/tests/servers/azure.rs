//! Azure Blob Storage: Azurite.

use base64::{Engine, prelude::BASE64_STANDARD};
use longtask_agent::store::failure::Cause;
use longtask_contract::agent::SaveTrouble;
use ring::hmac;

use crate::{
    facts::shared::{World, file, tree},
    hold_every_fact,
    server::{Server, client, free_port},
};

/// The account that Azurite has. Its key is a published one.
const ACCOUNT: &str = "devstoreaccount1";
const VERSION: &str = "2023-11-03";

#[tokio::test]
async fn every_fact_holds_with_azurite() {
    let (port, folder) = (free_port(), tempfile::tempdir().expect("a folder"));
    let number = port.to_string();
    let arguments = [
        "--blobPort",
        &number,
        "--location",
        folder.path().to_str().expect("UTF-8"),
        "--silent",
        "--skipApiVersionCheck",
        "--disableTelemetry",
    ];
    let mut server = Server::start("azurite-blob", &arguments, port);
    server.endpoint = format!("{}/{ACCOUNT}", server.endpoint);
    make_container(&server, "container").await;
    let url = "az://container/runs";
    hold_every_fact(&server.open(url), url).await;
    let url = "az://no-such-container/runs";
    let world = World::new(&server.open(url), url, "no-container");
    world.write("step-1", &tree([("x", file("x"))]));
    let failed = world.try_save(&world.room(), "1-aa/1", "step-1").await.expect_err("there is no container");
    assert_eq!(failed.reason, SaveTrouble::NoSuchBucket, "{failed:?}");
    assert_eq!(world.room().saves().await.map_err(|failure| failure.cause), Err(Cause::NoBucket));
}

/// Makes a container: the library that stores things there cannot.
async fn make_container(server: &Server, name: &str) {
    let date = jiff::Timestamp::now().strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    let resource = format!("/{ACCOUNT}/{ACCOUNT}/{name}\nrestype:container");
    let signed = format!("PUT\n\n\n\n\n\n\n\n\n\n\n\nx-ms-date:{date}\nx-ms-version:{VERSION}\n{resource}");
    let key = std::env::var("AZURE_STORAGE_ACCOUNT_KEY").expect("`make stores` sets it");
    let key = BASE64_STANDARD.decode(key).expect("a key");
    let signature = BASE64_STANDARD.encode(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), signed.as_bytes()));
    let answer = client()
        .put(format!("{}/{name}?restype=container", server.endpoint))
        .header("x-ms-date", date)
        .header("x-ms-version", VERSION)
        .header("content-length", "0")
        .header("authorization", format!("SharedKey {ACCOUNT}:{signature}"))
        .send()
        .await
        .expect("answered");
    let status = answer.status();
    assert!(status.is_success(), "{status}: {}", answer.text().await.unwrap_or_default());
}
