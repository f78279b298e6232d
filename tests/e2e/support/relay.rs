//! A way from agents to an operator that can be cut.

use std::net::SocketAddr;

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    select,
    sync::watch,
    task::{JoinHandle, JoinSet},
};

/// Passes on what comes to one address to another one, for as long as it is there.
pub(crate) struct Relay {
    is_cut: watch::Sender<bool>,
    passing: JoinHandle<()>,
}

impl Relay {
    pub(super) async fn start(from: SocketAddr, to: SocketAddr) -> Self {
        let listener = TcpListener::bind(from).await.expect("the address is free");
        let is_cut = watch::Sender::new(false);
        let passing = tokio::spawn(serve(listener, to, is_cut.subscribe()));
        Self { is_cut, passing }
    }

    /// Nothing gets through any more, and nobody is told so: as with a firewall that drops.
    pub(crate) fn cut(&self) {
        self.is_cut.send_replace(true);
    }

    /// What comes from now on gets through.
    pub(crate) fn mend(&self) {
        self.is_cut.send_replace(false);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.passing.abort();
    }
}

async fn serve(listener: TcpListener, to: SocketAddr, is_cut: watch::Receiver<bool>) {
    // They end with this.
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        if let Ok((stream, _)) = listener.accept().await {
            connections.spawn(pass(stream, to, is_cut.clone()));
        }
    }
}

/// Until one of the two hangs up, or, on a way that is cut, until it is mended.
async fn pass(mut agent: TcpStream, to: SocketAddr, mut is_cut: watch::Receiver<bool>) {
    let conversation = async {
        let mut operator = TcpStream::connect(to).await?;
        copy_bidirectional(&mut agent, &mut operator).await
    };
    select! {
        biased;
        _ = is_cut.wait_for(|is_cut| *is_cut) => {}
        _ = conversation => return,
    }
    let _ = is_cut.wait_for(|is_cut| !*is_cut).await;
}
