//! A connection between two that breaks when it is told to: after so many bytes, in the middle of whatever they say.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_util::task::AbortOnDropHandle;

#[derive(Debug)]
pub struct Proxy {
    pub address: SocketAddr,
    /// After how many bytes from the broker each of the next connections breaks.
    breaks: Arc<Mutex<VecDeque<usize>>>,
    _serving: AbortOnDropHandle<()>,
}

impl Proxy {
    pub fn start(listener: TcpListener, target: String) -> Self {
        let address = listener.local_addr().unwrap();
        let breaks = Arc::new(Mutex::new(VecDeque::new()));
        let planned = breaks.clone();
        let serving = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let after = planned.lock().unwrap().pop_front();
                tokio::spawn(carry(client, target.clone(), after));
            }
        });
        Self { address, breaks, _serving: AbortOnDropHandle::new(serving) }
    }

    /// The next connections break after so many bytes each.
    pub fn break_after(&self, bytes: impl IntoIterator<Item = usize>) {
        self.breaks.lock().unwrap().extend(bytes);
    }

    /// How many connections are still to break.
    pub fn breaks_left(&self) -> usize {
        self.breaks.lock().unwrap().len()
    }
}

async fn carry(mut client: TcpStream, target: String, break_after: Option<usize>) -> Option<()> {
    let mut broker = TcpStream::connect(target).await.ok()?;
    let Some(mut left) = break_after else {
        return tokio::io::copy_bidirectional(&mut client, &mut broker).await.ok().map(|_| ());
    };
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_broker, mut to_broker) = broker.into_split();
    let asking = tokio::spawn(async move { tokio::io::copy(&mut from_client, &mut to_broker).await });
    let _asking = AbortOnDropHandle::new(asking);
    let mut bytes = vec![0; 4096];
    while left > 0 {
        let room = left.min(bytes.len());
        let read = from_broker.read(&mut bytes[..room]).await.ok().filter(|read| *read > 0)?;
        to_client.write_all(&bytes[..read]).await.ok()?;
        left -= read;
    }
    None
}
