//! Posting to the operator: one at a time, to whichever address answers.

use std::{fs, io, path::PathBuf, time::Duration};

use longtask_contract::agent::{Post, PostSettings, REPORTS_PATH, SERVER_NAME, TOKEN_PATH};
use reqwest::{
    Certificate, Client, ClientBuilder, StatusCode,
    dns::{Addrs, Name, Resolve, Resolving},
    header::RETRY_AFTER,
};
use tokio::net::lookup_host;

use crate::{
    office::{Courier, Posted},
    tls,
};

/// The longest that a post may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The longest that the operator can ask to wait.
const LONGEST_RETRY_AFTER: Duration = Duration::from_mins(5);

/// Posts to one of several addresses, and stays with the one that answers.
pub(crate) struct Poster {
    servers: Vec<Server>,
    current: usize,
    token: PathBuf,
}

/// One address at which the operator may be.
struct Server {
    address: String,
    url: String,
    client: Client,
}

/// Why nothing can be posted at all.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PosterError {
    /// The settings name no address that can be used.
    #[error("the settings name no address of the form host:port")]
    NoAddress,
    /// TLS cannot be set up.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] reqwest::Error),
}

impl Poster {
    /// A poster with these settings.
    pub(crate) fn of(settings: &PostSettings) -> Result<Self, PosterError> {
        tls::use_ring();
        let authority = Certificate::from_pem_bundle(settings.certificate_authority.as_bytes())?;
        let servers: Vec<_> = settings
            .addresses
            .iter()
            .filter_map(|address| Server::of(address, &authority).transpose())
            .collect::<Result<_, _>>()?;
        if servers.is_empty() {
            return Err(PosterError::NoAddress);
        }
        Ok(Self { servers, current: 0, token: PathBuf::from(TOKEN_PATH).join("token") })
    }

    async fn post_to_current(&self, post: &Post) -> Result<Posted, String> {
        let server = &self.servers[self.current];
        // Read each time: the kubelet renews it.
        let token =
            fs::read_to_string(&self.token).map_err(|error| format!("read {}: {error}", self.token.display()))?;
        let body = serde_json::to_vec(post).map_err(|error| error.to_string())?;
        let request = server.client.post(&server.url).bearer_auth(token.trim()).body(body);
        let to = |error: reqwest::Error| format!("post to {}: {}", server.address, with_causes(&error));
        let response = request.send().await.map_err(to)?;
        let status = response.status();
        let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        let answer = response.bytes().await.map_err(to)?;
        Ok(match status {
            StatusCode::OK => match serde_json::from_slice(&answer) {
                Ok(answer) => Posted::Taken(answer),
                Err(error) => Posted::Failed(format!("the answer of {} cannot be read: {error}", server.address)),
            },
            StatusCode::GONE => Posted::Superseded,
            StatusCode::SERVICE_UNAVAILABLE => {
                let after = retry_after.map_or(TIMEOUT, Duration::from_secs);
                Posted::Later(after.min(LONGEST_RETRY_AFTER))
            }
            status => Posted::Failed(format!("{} answers {status}", server.address)),
        })
    }
}

impl Courier for Poster {
    /// Posts to the server that answered last, else to the others, each once.
    async fn post(&mut self, post: &Post) -> Posted {
        let mut failures = Vec::new();
        for _ in 0..self.servers.len() {
            match self.post_to_current(post).await {
                Ok(posted) => return posted,
                Err(failure) => failures.push(failure),
            }
            self.current = (self.current + 1) % self.servers.len();
        }
        Posted::Failed(failures.join("; "))
    }
}

impl Server {
    /// None for an address without a port.
    fn of(address: &str, authority: &[Certificate]) -> Result<Option<Self>, PosterError> {
        let Some((host, port)) = address.rsplit_once(':').filter(|(_, port)| port.parse::<u16>().is_ok()) else {
            return Ok(None);
        };
        let client = ClientBuilder::new()
            .tls_certs_only(authority.to_vec())
            .https_only(true)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .dns_resolver(At(host.trim_matches(['[', ']']).to_owned()))
            .timeout(TIMEOUT)
            .build()?;
        let url = format!("https://{SERVER_NAME}:{port}{REPORTS_PATH}");
        Ok(Some(Self { address: address.to_owned(), url, client }))
    }
}

/// Finds the one name that the certificates have at a host of another name.
struct At(String);

impl Resolve for At {
    fn resolve(&self, _: Name) -> Resolving {
        let host = self.0.clone();
        Box::pin(async move {
            let found: io::Result<Vec<_>> = lookup_host((host, 0)).await.map(Iterator::collect);
            Ok(Box::new(found?.into_iter()) as Addrs)
        })
    }
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        words = format!("{words}: {error}");
        cause = error.source();
    }
    words
}
