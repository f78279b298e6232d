//! The agents of pods that kwok plays, all in this process. Each posts as `longtask-agent` does: over TLS, with the token of
//! its pod, when its last answer lets it, and one at a time.

use std::{
    collections::{BTreeMap, HashSet},
    mem,
    pin::pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, bail};
use futures::StreamExt;
use k8s_openapi::api::{
    authentication::v1::TokenRequest,
    core::v1::{Pod, ServiceAccount},
};
use kube::{
    Api, Client, ResourceExt,
    api::PostParams,
    runtime::{WatchStreamExt, watcher},
};
use longtask::contract::agent::{
    self, Answer, Post, PostSettings, REPORTS_PATH, SERVER_NAME, Settings, TOKEN_AUDIENCE,
};
use rustls::{
    ClientConfig, HandshakeKind, RootCertStore,
    client::Resumption,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    select,
    sync::{Semaphore, watch},
    task::{JoinHandle, JoinSet},
    time::{Instant, sleep_until, timeout},
};
use tokio_rustls::TlsConnector;

/// How many tokens are asked for at a time.
const TOKENS_AT_ONCE: usize = 8;
/// How many post at a time, at the most.
const POSTS_AT_ONCE: usize = 250;
/// The longest that a post may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The time until a post that failed is tried again, which doubles.
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// The longest time until a post that failed is tried again.
const LAST_RETRY: Duration = Duration::from_secs(30);

/// Agents at work, until this is dropped.
pub(crate) struct Agents {
    have: watch::Sender<Have>,
    counted: Arc<Mutex<Counted>>,
    working: JoinHandle<()>,
}

/// What all programs have to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Have {
    /// Something new, all the time.
    News,
    /// Nothing: agents only show that they are there.
    Nothing,
    /// Nothing, and agents post that evenly, each so often, whatever they are answered.
    NothingEvery(Duration),
}

/// What became of posts.
#[derive(Debug, Default)]
pub(crate) struct Counted {
    /// How long each post took that was taken, in milliseconds.
    pub(crate) took: Vec<f64>,
    /// How many of these resumed a session of TLS.
    pub(crate) resumed: usize,
    /// Why others were not taken, and how many.
    pub(crate) failures: BTreeMap<String, usize>,
}

impl Agents {
    /// An agent for each of the first `count` pods of a namespace, as soon as it runs. They have news.
    pub(crate) fn of(client: &Client, namespace: &str, count: usize) -> Self {
        let have = watch::Sender::new(Have::News);
        let counted = Arc::<Mutex<Counted>>::default();
        let shared = Shared {
            client: client.clone(),
            have: have.subscribe(),
            counted: Arc::clone(&counted),
            tokens: Arc::new(Semaphore::new(TOKENS_AT_ONCE)),
            posts: Arc::new(Semaphore::new(POSTS_AT_ONCE)),
            count,
        };
        let working = tokio::spawn(work(shared, namespace.to_owned()));
        Self { have, counted, working }
    }

    /// From now on, all programs have that to say.
    pub(crate) fn have(&self, what: Have) {
        self.have.send_replace(what);
    }

    /// What became of the posts since this was asked last.
    pub(crate) fn counted(&self) -> Counted {
        mem::take(&mut *self.counted.lock().expect("no panic"))
    }
}

impl Drop for Agents {
    fn drop(&mut self) {
        self.working.abort();
    }
}

/// What all agents have in common.
#[derive(Clone)]
struct Shared {
    client: Client,
    have: watch::Receiver<Have>,
    counted: Arc<Mutex<Counted>>,
    tokens: Arc<Semaphore>,
    posts: Arc<Semaphore>,
    count: usize,
}

impl Shared {
    fn count_failure(&self, words: String) {
        *self.counted.lock().expect("no panic").failures.entry(words).or_default() += 1;
    }
}

async fn work(shared: Shared, namespace: String) {
    let api: Api<Pod> = Api::namespaced(shared.client.clone(), &namespace);
    let mut pods = pin!(watcher(api, watcher::Config::default()).default_backoff().applied_objects());
    // They end with this.
    let (mut known, mut agents) = (HashSet::new(), JoinSet::new());
    while agents.len() < shared.count {
        match pods.next().await {
            Some(Ok(pod)) => {
                let runs = pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Running");
                if runs && known.insert(pod.uid()) {
                    let (number, shared) = (agents.len(), shared.clone());
                    agents.spawn(async move {
                        match Agent::of(&pod, number, shared.clone()).await {
                            Ok(agent) => agent.work().await,
                            Err(failure) => shared.count_failure(format!("{failure:#}")),
                        }
                    });
                }
            }
            Some(Err(error)) => eprintln!("the watch of pods with agents: {error}"),
            None => break,
        }
    }
    while agents.join_next().await.is_some() {}
}

/// The agent of one pod.
struct Agent {
    number: usize,
    settings: PostSettings,
    tls: TlsConnector,
    token: String,
    shared: Shared,
    begun: Instant,
}

/// What became of a post.
enum Posted {
    Taken(Answer),
    Superseded,
    Later(Duration),
}

impl Agent {
    async fn of(pod: &Pod, number: usize, shared: Shared) -> Result<Self> {
        let settings = settings(pod)?.posts.context("the operator takes reports")?;
        let token = {
            let _place = shared.tokens.acquire().await?;
            token(&shared.client, pod).await.context("a token")?
        };
        let tls = TlsConnector::from(Arc::new(tls(&settings)?));
        Ok(Self { number, settings, tls, token, shared, begun: Instant::now() })
    }

    /// Posts, until another attempt is under way.
    async fn work(mut self) {
        let PostSettings { next_seconds: next, keep_alive_seconds: keep_alive, .. } = self.settings;
        let (mut answer, mut taken) = (Answer { next, keep_alive, keep: None }, None::<Instant>);
        let (mut not_before, mut retry) = (self.begun, FIRST_RETRY);
        let (mut have, mut newest) = (Have::News, Post::default());
        loop {
            let before = mem::replace(&mut have, *self.shared.have.borrow_and_update());
            let wait = match have {
                Have::News => Some(answer.next),
                Have::Nothing => Some(answer.keep_alive),
                Have::NothingEvery(every) => {
                    if have != before {
                        not_before = Instant::now() + every.mul_f64(self.number as f64 / self.shared.count as f64);
                    }
                    None
                }
            };
            let due = taken.zip(wait).map(|(taken, wait)| taken + Duration::from_secs(wait.into()));
            select! {
                () = sleep_until(due.map_or(not_before, |due| due.max(not_before))) => {}
                changed = self.shared.have.changed() => match changed {
                    Ok(()) => continue,
                    Err(_) => return,
                }
            }
            match have {
                Have::News => newest = self.news(),
                Have::Nothing => {}
                Have::NothingEvery(every) => not_before += every,
            }
            let posted = timeout(TIMEOUT, self.post(&newest)).await;
            match posted.unwrap_or_else(|_| Err(anyhow!("took too long"))) {
                Ok(Posted::Taken(answered)) => {
                    (taken, answer, retry) = (Some(Instant::now()), answered, FIRST_RETRY);
                }
                Ok(Posted::Superseded) => return self.shared.count_failure("superseded".into()),
                Ok(Posted::Later(later)) => {
                    self.shared.count_failure("asked to come later".into());
                    not_before = Instant::now() + later;
                }
                Err(failure) => {
                    self.shared.count_failure(format!("{failure:#}"));
                    not_before = Instant::now() + retry.mul_f64(fastrand::f64());
                    retry = (retry * 2).min(LAST_RETRY);
                }
            }
        }
    }

    /// What a program reports that has got on since.
    fn news(&self) -> Post {
        let elapsed = self.begun.elapsed();
        let step = elapsed.as_secs() + 1;
        let lines = json!({
            "checkpoint": { "step": step }, "progress": { "completed": step, "total": 1_000_000, "unit": "steps" },
        });
        Post {
            revision: i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX).saturating_add(1),
            checkpoint_age_seconds: Some(0),
            lines: format!("{lines}\n"),
            ..Post::default()
        }
    }

    async fn post(&self, post: &Post) -> Result<Posted> {
        let _place = self.shared.posts.acquire().await?;
        let began = Instant::now();
        let body = serde_json::to_vec(post)?;
        let address = self.settings.addresses.first().context("an address")?;
        let stream = TcpStream::connect(address).await.context("connect")?;
        let mut stream = self.tls.connect(ServerName::try_from(SERVER_NAME)?, stream).await.context("TLS")?;
        let is_resumed = stream.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed);
        let head = format!(
            "POST {REPORTS_PATH} HTTP/1.1\r\nhost: {SERVER_NAME}\r\nauthorization: Bearer {}\r\ncontent-length: {}\r\n\r\n",
            self.token,
            body.len(),
        );
        stream.write_all(&[head.as_bytes(), &body].concat()).await.context("write")?;
        let mut answer = Vec::new();
        // A server that closes without a word of TLS has said all the same what it had to.
        if let Err(error) = stream.read_to_end(&mut answer).await
            && answer.is_empty()
        {
            return Err(error).context("read");
        }
        let posted = read(&String::from_utf8_lossy(&answer))?;
        if matches!(posted, Posted::Taken(_)) {
            let mut counted = self.shared.counted.lock().expect("no panic");
            counted.took.push(began.elapsed().as_secs_f64() * 1000.0);
            counted.resumed += usize::from(is_resumed);
        }
        Ok(posted)
    }
}

fn read(answer: &str) -> Result<Posted> {
    let (head, body) = answer.split_once("\r\n\r\n").context("an answer of HTTP")?;
    let status = head.split(' ').nth(1).context("an answer has a status")?;
    Ok(match status {
        "200" => Posted::Taken(serde_json::from_str(body)?),
        "410" => Posted::Superseded,
        "503" => {
            let header = |line: &str| {
                line.split_once(": ").filter(|(name, _)| name.eq_ignore_ascii_case("retry-after"))?.1.parse().ok()
            };
            Posted::Later(head.lines().find_map(header).map_or(TIMEOUT, Duration::from_secs))
        }
        status => bail!("answered {status}"),
    })
}

/// What the operator tells the agent of a pod.
fn settings(pod: &Pod) -> Result<Settings> {
    let spec = pod.spec.as_ref().context("a pod has a spec")?;
    let agent = spec.init_containers.iter().flatten().find(|container| container.name == agent::CONTAINER);
    let variables = agent.context("the pod has an agent")?.env.iter().flatten();
    let settings = variables.filter(|variable| variable.name == agent::SETTINGS).find_map(|it| it.value.as_ref());
    Ok(serde_json::from_str(settings.context("the agent has settings")?)?)
}

/// A token such as the kubelet projects it.
async fn token(client: &Client, pod: &Pod) -> Result<String> {
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), &pod.namespace().unwrap_or_default());
    let request: TokenRequest = serde_json::from_value(json!({ "spec": {
        "audiences": [TOKEN_AUDIENCE], "expirationSeconds": 2 * 3600,
        "boundObjectRef": { "apiVersion": "v1", "kind": "Pod", "name": pod.name_any(), "uid": pod.uid() },
    } }))?;
    let answer = accounts.create_token_request("default", &PostParams::default(), &request).await?;
    answer.status.and_then(|status| status.token).context("an answer has a token")
}

/// TLS as an agent has it, with a memory of its own.
fn tls(settings: &PostSettings) -> Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(settings.certificate_authority.as_bytes()).context("the authority")?)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.resumption = Resumption::in_memory_sessions(1);
    Ok(config)
}
