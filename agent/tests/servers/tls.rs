//! TLS: the agent trusts the authorities that are compiled in and the one that it is given, and no other.

use std::{
    fs,
    process::{Command, Stdio},
};

use longtask_contract::agent::{RestoreWord, Settings, StoreSettings};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use crate::{
    facts::shared::{World, file, tree},
    s3::Gateway,
};

#[tokio::test]
async fn a_store_with_a_certificate_of_the_given_authority_is_used_and_no_other_is() {
    let gateway = Gateway::new();
    let url = "s3://bucket/runs";
    let content = tree([("x", file("x"))]);
    let plain = gateway.start(&[]);
    let world = World::new(&plain.open(url), url, "tls");
    let named = world.save("1-aa/1", "step-1", &content).await;
    drop(plain);

    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("an authority");
    let key = KeyPair::generate().expect("a key");
    let leaf =
        CertificateParams::new(["127.0.0.1".to_owned()]).expect("a name").signed_by(&key, &authority).expect("signed");
    let [certificate_file, key_file] = ["certificate", "key"].map(|name| world.folder.path().join(name));
    fs::write(&certificate_file, leaf.pem()).expect("written");
    fs::write(&key_file, key.serialize_pem()).expect("written");
    let path = |path: &std::path::Path| path.to_str().expect("UTF-8").to_owned();
    let server = gateway.start(&["--cert", &path(&certificate_file), "--key", &path(&key_file)]);

    let endpoint = Some(server.endpoint.replace("http://", "https://"));
    let settings = StoreSettings { endpoint, patience_seconds: 1, ..world.settings(2, Some(&named), 0) };
    let other = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("another").cert.pem();
    for (authority, code) in [(authority.pem(), 0), (other, 69), (String::new(), 69)] {
        assert_eq!(restore(&world, settings.clone(), &authority), Some(code), "{authority}");
    }
    assert_eq!(world.found(), Some(content));
}

/// The exit code of a restore that is given that authority.
fn restore(world: &World, store: StoreSettings, authority: &str) -> Option<i32> {
    let message = world.folder.path().join("message");
    let settings = Settings { version: Settings::VERSION, word_bytes: 4096, posts: None, store: Some(store) };
    let status = Command::new(env!("CARGO_BIN_EXE_longtask-agent"))
        .arg("restore")
        .arg("--message")
        .arg(&message)
        .env("LONGTASK_AGENT", serde_json::to_string(&settings).expect("JSON"))
        .env("CA_CERTIFICATE", authority)
        .stderr(Stdio::null())
        .status()
        .expect("started");
    RestoreWord::read(&fs::read_to_string(message).expect("a message")).expect("its word");
    status.code()
}
