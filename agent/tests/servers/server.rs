//! A server on this machine, for as long as a test needs it.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use longtask_agent::store::open::{Address, Opened};

/// How long a server may take to start: Azurite takes seconds.
const START: Duration = Duration::from_secs(60);

/// A server that ends with this.
pub(crate) struct Server {
    child: Child,
    pub(crate) endpoint: String,
}

/// A port that nobody uses.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    listener.local_addr().expect("bound").port()
}

/// A store at that endpoint, opened as the agent opens it.
pub(crate) fn open_at(endpoint: &str, url: &str) -> Opened {
    let address = Address { url: url.into(), endpoint: Some(endpoint.into()), region: None };
    address.open(Duration::from_secs(10)).expect("opened")
}

/// A client for what no store is needed for.
pub(crate) fn client() -> reqwest::Client {
    // An error means that it is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::new()
}

impl Server {
    /// Starts a program, and waits until it listens on that port.
    pub(crate) fn start(program: &str, arguments: &[&str], port: u16) -> Self {
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command
            .spawn()
            .unwrap_or_else(|error| panic!("{program} cannot be started: {error}; `make stores` installs it"));
        let mut server = Self { child, endpoint: format!("http://127.0.0.1:{port}") };
        let begun = Instant::now();
        while TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).is_err() {
            let ended = server.child.try_wait().expect("it can be asked");
            assert!(ended.is_none() && begun.elapsed() < START, "{program} does not listen: {ended:?}");
            thread::yield_now();
        }
        server
    }

    /// A store there.
    pub(crate) fn open(&self, url: &str) -> Opened {
        open_at(&self.endpoint, url)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
