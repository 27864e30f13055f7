//! A broker inside this process, for the demo, for tests, and for people who have none at hand.
//!
//! Owns: the life of the embedded broker. Does not own: what is said to it; it is spoken to over TCP like any other.

mod group;
mod groups;

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use futures::future::BoxFuture;
use rama_core::{Context, Service};
use tansu_storage::{BrokerRegistrationRequest, Storage, StorageContainer};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{interval, sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use url::Url;
use uuid::Uuid;

use self::groups::Groups;
use super::{
    Broker, BrokerError, BrokerLimits,
    cause::Cause,
    error::{BrokerErrorKind, Place},
};

/// Another process may take a free port between our finding and our using it.
const PORTS_TRIED_MAX: usize = 5;
const LISTENING_ASKED_EVERY: Duration = Duration::from_millis(5);
/// How often what is past its retention is put away.
const KEPT_UP_EVERY: Duration = Duration::from_mins(10);
const NODE: i32 = 1;
const CLUSTER: &str = "alluvium";

const OWN_LIMITS: BrokerLimits = BrokerLimits {
    connect_timeout: Duration::from_secs(10),
    request_timeout: Duration::from_secs(10),
    fetch_bytes_max: 1 << 20,
    fetch_wait_max: Duration::from_millis(10),
};

/// Where the embedded broker keeps its records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EmbeddedStorage {
    /// Gone when the broker stops.
    Memory,
    /// Kept in a `SQLite` file, which is created if need be.
    File(PathBuf),
}

/// A broker inside this process. It stops when it is dropped.
#[derive(Debug)]
pub struct EmbeddedBroker {
    address: SocketAddr,
    serving: AbortOnDropHandle<Result<(), tansu_broker::Error>>,
}

impl EmbeddedBroker {
    /// Starts a broker and waits until it answers; port 0 means a free one.
    pub async fn start(listen: SocketAddr, storage: EmbeddedStorage) -> Result<Self, BrokerError> {
        Self::start_behind(listen, None, storage).await
    }

    /// The same behind a proxy or a forwarded port: clients are told to come to `advertised`, `host:port`.
    pub async fn start_behind(
        listen: SocketAddr,
        advertised: Option<&str>,
        storage: EmbeddedStorage,
    ) -> Result<Self, BrokerError> {
        let storage = storage_url(&storage)?;
        for _ in 1..PORTS_TRIED_MAX {
            let outcome = Self::serve(free_address(listen).await?, advertised, storage.clone()).await;
            if listen.port() != 0 || !outcome.as_ref().is_err_and(|error| error.kind() == BrokerErrorKind::Transient) {
                return outcome;
            }
        }
        Self::serve(free_address(listen).await?, advertised, storage).await
    }

    async fn serve(address: SocketAddr, advertised: Option<&str>, storage: Url) -> Result<Self, BrokerError> {
        let advertised = match advertised {
            Some(elsewhere) => tcp(elsewhere)?,
            None => tcp(reachable(address))?,
        };
        let build = StorageContainer::builder()
            .cluster_id(CLUSTER)
            .node_id(NODE)
            .advertised_listener(advertised)
            .schema_registry(None)
            .lake_house(None)
            .storage(storage)
            .cancellation(CancellationToken::new())
            .silent(true)
            .build();
        // Boxed, as it is nested so deep that the compiler refuses to lay out what holds it.
        let build: BoxFuture<'_, _> = Box::pin(build);
        let storage =
            build.await.map_err(|error| failed(error.to_string(), "check the file that it keeps its records in"))?;
        let serving = tokio::spawn(serve(address, storage));
        let mut broker = Self { address, serving: AbortOnDropHandle::new(serving) };
        broker.ready().await?;
        Ok(broker)
    }

    async fn ready(&mut self) -> Result<(), BrokerError> {
        let address = reachable(self.address);
        let brokers = [address.to_string()];
        tokio::select! {
            biased;
            ended = &mut self.serving => Err(Cause::ended(format!("{ended:?}")).at("start the embedded broker", Place::default())),
            // If it doesn't listen in time, connecting tells why.
            _ = timeout(OWN_LIMITS.connect_timeout, listening(address)) => {
                Broker::connect(&brokers, OWN_LIMITS).await.map(drop)
            }
        }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops it and waits until its port is let go. Its file may stay locked for longer where clients were at work: each
    /// has a connection to it that is closed later.
    pub async fn stop(self) {
        self.serving.abort();
        // It ends as cancelled, which is what was asked for.
        let _cancelled = self.serving.await;
    }
}

/// Takes connections until it is aborted, which ends them too.
async fn serve(address: SocketAddr, storage: StorageContainer) -> Result<(), tansu_broker::Error> {
    let registration = BrokerRegistrationRequest {
        broker_id: NODE,
        cluster_id: CLUSTER.into(),
        incarnation_id: Uuid::new_v4(),
        rack: None,
    };
    storage.register_broker(registration).await?;
    let groups = Groups::new(storage.clone())?;
    let listener = TcpListener::bind(address).await?;
    let mut connections = JoinSet::new();
    let mut upkeep = interval(KEPT_UP_EVERY);
    loop {
        tokio::select! {
            Ok((stream, _)) = listener.accept() => {
                stream.set_nodelay(true)?;
                let talk = tansu_broker::service::services(CLUSTER, groups.clone(), storage.clone(), None)?;
                connections.spawn(async move {
                    if let Err(error) = talk.serve(Context::default(), stream).await {
                        tracing::debug!(%error, "a connection to the embedded broker ended");
                    }
                });
            }
            _ = upkeep.tick() => {
                if let Err(error) = storage.maintain(SystemTime::now()).await {
                    tracing::warn!(%error, "the embedded broker could not put old records away");
                }
            }
            Some(_ended) = connections.join_next() => {}
        }
    }
}

/// Returns when the port is open, which a task of the broker's own sees to.
async fn listening(address: SocketAddr) {
    while TcpStream::connect(address).await.is_err() {
        sleep(LISTENING_ASKED_EVERY).await;
    }
}

async fn free_address(listen: SocketAddr) -> Result<SocketAddr, BrokerError> {
    let probe = TcpListener::bind(listen).await;
    probe
        .and_then(|probe| probe.local_addr())
        .map_err(|error| failed(format!("{listen}: {error}"), "listen on another address or port"))
}

/// The address for a client on this machine.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

fn tcp(address: impl fmt::Display) -> Result<Url, BrokerError> {
    Url::parse(&format!("tcp://{address}"))
        .map_err(|error| failed(format!("{address}: {error}"), "use another address"))
}

fn storage_url(storage: &EmbeddedStorage) -> Result<Url, BrokerError> {
    match storage {
        EmbeddedStorage::Memory => {
            Url::parse("memory://alluvium/").map_err(|error| failed(error.to_string(), "report this"))
        }
        EmbeddedStorage::File(path) => file_url(path),
    }
}

/// The storage takes a URL's path as it stands: what a URL can only hold encoded would become another file's name.
fn file_url(path: &Path) -> Result<Url, BrokerError> {
    let remedy = "use a path of letters, digits, `/`, `.`, `_` and `-`";
    let absolute = std::path::absolute(path).map_err(|error| failed(format!("{}: {error}", path.display()), remedy))?;
    let absolute = absolute.display().to_string();
    match Url::parse(&format!("sqlite:///{absolute}")) {
        Ok(url) if url.path().strip_prefix('/') == Some(absolute.as_str()) => Ok(url),
        _ => Err(failed(format!("it can't keep its records in `{absolute}`"), remedy)),
    }
}

fn failed(cause: impl Into<String>, remedy: &'static str) -> BrokerError {
    Cause::person(cause, remedy).at("start the embedded broker", Place::default())
}
