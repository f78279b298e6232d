//! The tasks of a namespace, as the API server lists them.

use std::{collections::HashMap, env, fs, path::PathBuf, time::Duration};

use jiff::Timestamp;
use reqwest::{Certificate, Client};
use serde::Deserialize;

use crate::tls;

/// The longest that the API server may take for an answer.
const API_TIMEOUT: Duration = Duration::from_secs(30);
/// How many tasks are listed in one request.
const PAGE: u32 = 500;
/// What a pod knows of its service account.
const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// A task that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// When it succeeded, if it has.
    pub succeeded: Option<Timestamp>,
}

/// The API server, as a pod reaches it.
pub(super) struct Cluster {
    client: Client,
    address: String,
    token: String,
    /// The namespace of the pod.
    pub(super) namespace: String,
}

/// One page of the tasks, as far as they matter.
#[derive(Deserialize)]
struct Page {
    metadata: PageMetadata,
    items: Vec<Item>,
}

#[derive(Deserialize)]
struct PageMetadata {
    #[serde(default, rename = "continue")]
    next: String,
}

#[derive(Deserialize)]
struct Item {
    metadata: ItemMetadata,
    #[serde(default)]
    status: ItemStatus,
}

#[derive(Deserialize)]
struct ItemMetadata {
    uid: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ItemStatus {
    #[serde(default)]
    phase: String,
    #[serde(default)]
    completion_time: Option<Timestamp>,
}

impl Cluster {
    /// As this pod reaches it.
    pub(super) fn of_pod() -> Result<Self, String> {
        let file = |name: &str| {
            let path = PathBuf::from(SERVICE_ACCOUNT).join(name);
            fs::read_to_string(&path).map_err(|error| format!("read {}: {error}", path.display()))
        };
        let variable = |name: &str| env::var(name).map_err(|_| format!("{name} is not set: run it in a pod"));
        let (host, port) = (variable("KUBERNETES_SERVICE_HOST")?, variable("KUBERNETES_SERVICE_PORT")?);
        let host = if host.contains(':') { format!("[{host}]") } else { host };
        let authorities =
            Certificate::from_pem_bundle(file("ca.crt")?.as_bytes()).map_err(|error| error.to_string())?;
        tls::use_ring();
        let client = Client::builder()
            .tls_certs_only(authorities)
            .https_only(true)
            .no_proxy()
            .timeout(API_TIMEOUT)
            .build()
            .map_err(|error| error.to_string())?;
        let (token, namespace) = (file("token")?.trim().to_owned(), file("namespace")?.trim().to_owned());
        Ok(Self { client, address: format!("https://{host}:{port}"), token, namespace })
    }

    /// All tasks of the namespace, by their UIDs.
    pub(super) async fn tasks(self) -> Result<HashMap<String, Known>, String> {
        let (mut tasks, mut next) = (HashMap::new(), String::new());
        loop {
            let page = self.page(&next).await?;
            tasks.extend(page.items.into_iter().map(|item| {
                let ItemStatus { phase, completion_time } = item.status;
                (item.metadata.uid, Known { succeeded: completion_time.filter(|_| phase == "Succeeded") })
            }));
            next = page.metadata.next;
            if next.is_empty() {
                return Ok(tasks);
            }
        }
    }

    async fn page(&self, next: &str) -> Result<Page, String> {
        let Self { address, namespace, .. } = self;
        let mut url = format!("{address}/apis/longtask.dev/v1alpha1/namespaces/{namespace}/longtasks?limit={PAGE}");
        if !next.is_empty() {
            // The API server's tokens are of letters that need not be escaped.
            url = format!("{url}&continue={next}");
        }
        let answer = self.client.get(url).bearer_auth(&self.token).send().await.map_err(|error| error.to_string())?;
        let status = answer.status();
        let body = answer.bytes().await.map_err(|error| error.to_string())?;
        if !status.is_success() {
            return Err(format!("the API server answers {status}: {}", String::from_utf8_lossy(&body)));
        }
        serde_json::from_slice(&body).map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    #[tokio::test]
    async fn all_pages_of_tasks_are_read() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = format!("http://{}", listener.local_addr().expect("bound"));
        let serving = tokio::spawn(async move {
            let mut asked = Vec::new();
            for body in [
                "{\"metadata\":{\"continue\":\"abc\"},\"items\":[{\"metadata\":{\"uid\":\"1\"}}]}",
                "{\"metadata\":{},\"items\":[{\"metadata\":{\"uid\":\"2\"},\"status\":{\"phase\":\"Succeeded\",\
                 \"completionTime\":\"2026-11-24T10:20:00Z\"}},{\"metadata\":{\"uid\":\"3\"},\"status\":{\"phase\":\
                 \"Failed\",\"completionTime\":\"2026-11-24T10:20:00Z\"}}]}",
            ] {
                let (mut connection, _) = listener.accept().await.expect("a connection");
                let mut request = Vec::new();
                while !request.windows(4).any(|end| end == b"\r\n\r\n") {
                    connection.read_buf(&mut request).await.expect("a request");
                }
                asked.push(String::from_utf8_lossy(&request).lines().next().unwrap_or_default().to_owned());
                let answer =
                    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
                connection.write_all(answer.as_bytes()).await.expect("answered");
            }
            asked
        });
        tls::use_ring();
        let client = Client::builder().no_proxy().tls_certs_only([]).build().expect("a client");
        let cluster = Cluster { client, address, token: "t".into(), namespace: "ml".into() };
        let tasks = cluster.tasks().await.expect("listed");
        let succeeded = |uid: &str| tasks.get(uid).map(|known| known.succeeded.is_some());
        assert_eq!(["1", "2", "3", "4"].map(succeeded), [Some(false), Some(true), Some(false), None]);
        let asked = serving.await.expect("it has served");
        assert!(asked[0].contains("/namespaces/ml/longtasks?limit=500 "), "{asked:?}");
        assert!(asked[1].contains("limit=500&continue=abc"), "{asked:?}");
    }
}
