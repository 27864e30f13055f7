//! The way to the broker: a proxy that can reset connections in the middle of an answer, and lose answers.
//!
//! Owns: what happens to bytes on their way. Does not own: the broker, nor what the bytes mean.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
};
use tokio_util::task::AbortOnDropHandle;

const BUFFER_BYTES: usize = 16 << 10;

/// What the way does to answers; requests always arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Clear,
    /// Each connection is reset after so many bytes.
    CutAfter(usize),
    /// Nothing comes back. A connection that lost bytes is reset once the way is clear again.
    Swallows,
}

#[derive(Debug)]
pub struct Proxy {
    pub address: SocketAddr,
    way: Arc<watch::Sender<Way>>,
    _accepting: AbortOnDropHandle<()>,
}

impl Proxy {
    pub async fn start(to: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let way = Arc::new(watch::Sender::new(Way::Clear));
        let shared = way.clone();
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(carry(client, to, shared.subscribe()));
            }
        });
        Ok(Self { address, way, _accepting: AbortOnDropHandle::new(accepting) })
    }

    pub fn set(&self, way: Way) {
        self.way.send_replace(way);
    }
}

/// Carries one connection until either side, or the way, ends it.
async fn carry(client: TcpStream, to: SocketAddr, way: watch::Receiver<Way>) -> io::Result<()> {
    // Ends are to be noticed at once, as from a process that died.
    client.set_zero_linger()?;
    client.set_nodelay(true)?;
    let broker = TcpStream::connect(to).await?;
    broker.set_nodelay(true)?;
    let (from_client, to_client) = client.into_split();
    let (from_broker, to_broker) = broker.into_split();
    tokio::select! {
        asked = requests(from_client, to_broker) => asked,
        answered = answers(from_broker, to_client, way) => answered,
    }
}

async fn requests(mut client: OwnedReadHalf, mut broker: OwnedWriteHalf) -> io::Result<()> {
    tokio::io::copy(&mut client, &mut broker).await.map(drop)
}

async fn answers(
    mut broker: OwnedReadHalf,
    mut client: OwnedWriteHalf,
    mut way: watch::Receiver<Way>,
) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut left = usize::MAX;
    let mut lost = false;
    loop {
        let read = tokio::select! {
            changed = way.changed() => match (changed, *way.borrow_and_update()) {
                (Err(_), _) => return Ok(()),
                (Ok(()), _) if lost => return Ok(()),
                (Ok(()), Way::CutAfter(bytes)) => { left = bytes; continue }
                (Ok(()), _) => { left = usize::MAX; continue }
            },
            read = broker.read(&mut buffer) => read?,
        };
        let now = *way.borrow();
        match now {
            _ if read == 0 => return Ok(()),
            Way::Swallows => lost = true,
            Way::CutAfter(bytes) => {
                left = left.min(bytes);
                let whole = read.min(left);
                client.write_all(&buffer[..whole]).await?;
                left -= whole;
                if left == 0 {
                    client.flush().await?;
                    // So that what was written is read before the reset overtakes it.
                    tokio::time::sleep(Duration::from_millis(1)).await;
                    return Ok(());
                }
            }
            Way::Clear => client.write_all(&buffer[..read]).await?,
        }
    }
}
