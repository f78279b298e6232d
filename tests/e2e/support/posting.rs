//! Reports posted by hand, as an agent would, or somebody who pretends to be one.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    time::Duration,
};

use k8s_openapi::api::core::v1::Secret;
use longtask::contract::agent::{Post, REPORTS_PATH, SERVER_NAME};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    crypto::ring,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};

use super::lab::{AUTHORITY, Lab};

impl Lab {
    /// Posts a report to the operator, and returns the status of its answer.
    pub(crate) async fn post(&self, token: &str, post: &Post) -> u16 {
        let secret = self.api::<Secret>().get(AUTHORITY).await.expect("the certificate authority");
        let authority = &secret.data.as_ref().expect("the operator has filled it")["tls.crt"].0;
        let body = serde_json::to_string(post).expect("a post");
        answer_to(self.reports_address(), authority, token, &body)
    }

    /// A token of the story's service account for somebody, bound to a pod if one is named.
    pub(crate) async fn token(&self, audience: &str, pod: Option<&str>) -> String {
        let mut create = vec!["create".to_owned(), "token".into(), "default".into(), format!("--audience={audience}")];
        create.extend(
            pod.iter().flat_map(|pod| ["--bound-object-kind=Pod".into(), format!("--bound-object-name={pod}")]),
        );
        self.kubectl_output(&create.iter().map(String::as_str).collect::<Vec<_>>()).await.trim().to_owned()
    }
}

fn answer_to(address: SocketAddr, authority: &[u8], token: &str, body: &str) -> u16 {
    let mut trusted = RootCertStore::empty();
    trusted.add(CertificateDer::from_pem_slice(authority).expect("PEM")).expect("a certificate");
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions of TLS")
        .with_root_certificates(trusted)
        .with_no_client_auth();
    let name = ServerName::try_from(SERVER_NAME).expect("a name");
    let connection = ClientConnection::new(Arc::new(config), name).expect("a connection");
    let stream = TcpStream::connect(address).expect("the operator listens");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a socket");
    let mut tls = StreamOwned::new(connection, stream);
    let length = body.len();
    let head = format!("POST {REPORTS_PATH} HTTP/1.1\r\nHost: {SERVER_NAME}\r\nContent-Length: {length}");
    write!(tls, "{head}\r\nAuthorization: Bearer {token}\r\n\r\n{body}").expect("the operator reads it");
    let mut answer = [0; 12];
    tls.read_exact(&mut answer).expect("the operator answers");
    let answer = String::from_utf8_lossy(&answer);
    answer.rsplit(' ').next().and_then(|status| status.parse().ok()).unwrap_or_else(|| panic!("{answer}"))
}
