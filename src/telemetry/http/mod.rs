//! What a run shows of itself over HTTP: the page, `/events`, `/status`, `/metrics`, `/healthz` and `/readyz`.
//!
//! Owns: connections, how many and how slow they may be. Does not own: what is answered (`site`), who may ask (`auth`), where
//! the run stands, which it is told by [`Sources`]. Invariant: nothing that comes in over a connection costs more than a
//! named limit, and no answer waits for the pipeline.

use std::{
    fmt, io,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::task::AbortOnDropHandle;

mod auth;
mod client;
mod looks;
mod page;
mod site;
mod slow;
mod tls;

use self::{auth::Door, looks::Looks, site::Site, slow::Prompt};
pub use self::{
    auth::{TOKEN_CHARACTERS_MAX, TOKEN_CHARACTERS_MIN, Token, TokenFrom},
    client::{Answer, Client, ClientError},
};
use super::{chain, status::Status};
pub use crate::tls::Identity;
use crate::tls::TlsError;

/// Where a run is looked at unless its file says otherwise.
pub const DEFAULT_ADDRESS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9184);
/// Connections at a time; one more is told so and closed.
const CONNECTIONS_MAX: usize = 128;
/// Of these, pages that are kept up to date.
const PAGES_MAX: usize = 32;
/// A request has no more before its body, and a body it may not have.
const HEAD_BYTES_MAX: usize = 16 << 10;
const HEADERS_MAX: usize = 64;
/// Until a connection has asked, for the first time and again.
const HEAD_WAIT_MAX: Duration = Duration::from_secs(15);
/// Until all that was sent of an answer is taken.
const TAKEN_WAIT_MAX: Duration = Duration::from_secs(30);
const HANDSHAKE_WAIT_MAX: Duration = Duration::from_secs(10);
/// After a connection could not be taken in, such as when the process has no more files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// What the pipeline file says of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpSettings {
    pub listen: Listen,
    pub token: Option<TokenFrom>,
    pub tls: Option<Identity>,
}

impl HttpSettings {
    fn read(&self) -> Result<(Option<Token>, Option<TlsAcceptor>), HttpError> {
        let token = self.token.as_ref().map(TokenFrom::read).transpose()?;
        Ok((token, self.tls.as_ref().map(tls::acceptor).transpose()?))
    }

    /// Reads the files that they name, and listens nowhere. Tells how a run would serve, as `https://0.0.0.0:9184/ with a
    /// token`; `None` if there is nothing that could be wrong.
    pub fn check(&self) -> Result<Option<String>, HttpError> {
        let address = match self.listen {
            Listen::Off => return Ok(None),
            Listen::Default => DEFAULT_ADDRESS,
            Listen::At(address) => address,
        };
        if self.token.is_none() && self.tls.is_none() {
            return Ok(None);
        }
        let (token, tls) = self.read()?;
        let token = token.map_or("without a token", |_| "with a token");
        Ok(Some(format!("{} {token}", url(tls.is_some(), address))))
    }
}

fn url(secure: bool, address: SocketAddr) -> String {
    format!("{}://{address}/", if secure { "https" } else { "http" })
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Listen {
    /// At [`DEFAULT_ADDRESS`], and nowhere if another process has it.
    #[default]
    Default,
    At(SocketAddr),
    Off,
}

/// What is told, asked anew each time.
pub struct Sources {
    pub status: Box<dyn Fn() -> Status + Send + Sync>,
    /// In Prometheus's text.
    pub metrics: Box<dyn Fn(&Status) -> String + Send + Sync>,
}

/// How much a server puts up with.
#[derive(Clone, Copy, Debug)]
pub struct HttpLimits {
    pub connections_max: usize,
    pub pages_max: usize,
    pub head_wait_max: Duration,
    pub taken_wait_max: Duration,
}

#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    #[error("can't serve the page at {address}: {source}; name another address with listen under [http], or \"off\"")]
    Listen { address: SocketAddr, source: io::Error },
    #[error("can't read the {what} of [http] from {}: {source}", path.display())]
    File { what: &'static str, path: PathBuf, source: io::Error },
    #[error(
        "{} holds no token for [http]: one is {TOKEN_CHARACTERS_MIN} to {TOKEN_CHARACTERS_MAX} letters, digits and signs, \
         such as `openssl rand -hex 32` makes", path.display()
    )]
    Token { path: PathBuf },
    #[error("can't serve the page over TLS with tls_cert and tls_key of [http]")]
    Tls(#[from] TlsError),
}

/// Serves until it is dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    secure: bool,
    _serving: AbortOnDropHandle<()>,
    _looking: AbortOnDropHandle<()>,
}

/// Serves where the settings say; `None` where they say nowhere, or nothing and the default address is taken.
pub async fn serve(settings: &HttpSettings, sources: Sources) -> Result<Option<Server>, HttpError> {
    serve_within(settings, sources, HttpLimits::default()).await
}

/// The same with limits of one's own.
pub async fn serve_within(
    settings: &HttpSettings,
    sources: Sources,
    limits: HttpLimits,
) -> Result<Option<Server>, HttpError> {
    if settings.listen == Listen::Off {
        return Ok(None);
    }
    let (token, tls) = settings.read()?;
    let Some((listener, address)) = bind(settings.listen).await? else { return Ok(None) };
    if token.is_none() && !address.ip().is_loopback() {
        tracing::warn!("whoever reaches {address} sees this run, its records too; set a token under [http]");
    }
    let door = Door::new(token.as_ref(), address, tls.is_some());
    let (looks, looking) = Looks::begin(sources.status);
    let site = Arc::new(Site::new(door, looks, sources.metrics, limits.pages_max));
    let secure = tls.is_some();
    let serving = tokio::spawn(accept(listener, tls, site, limits));
    let (serving, looking) = (AbortOnDropHandle::new(serving), AbortOnDropHandle::new(looking));
    let server = Server { address, secure, _serving: serving, _looking: looking };
    tracing::info!("the page is at {}", server.url());
    Ok(Some(server))
}

impl Server {
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    #[must_use]
    pub fn url(&self) -> String {
        url(self.secure, self.address)
    }
}

/// A default is no more than an offer; an address that somebody chose is needed.
async fn bind(listen: Listen) -> Result<Option<(TcpListener, SocketAddr)>, HttpError> {
    let (address, chosen) = match listen {
        Listen::Off => return Ok(None),
        Listen::Default => (DEFAULT_ADDRESS, false),
        Listen::At(address) => (address, true),
    };
    let bound = async {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        Ok((listener, address))
    };
    match bound.await {
        Ok(bound) => Ok(Some(bound)),
        Err(source) if chosen => Err(HttpError::Listen { address, source }),
        Err(error) => {
            tracing::warn!("this run has no page: {address}: {error}; name another address with listen under [http]");
            Ok(None)
        }
    }
}

/// Takes connections in, for ever; those that it has end with it.
async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, site: Arc<Site>, limits: HttpLimits) {
    let (seats, mut connections) = (Arc::new(Semaphore::new(limits.connections_max)), JoinSet::new());
    loop {
        while connections.try_join_next().is_some() {}
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::debug!(%error, "a connection to the page was not taken in");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Ok(seat) = seats.clone().try_acquire_owned() else {
            turn_away(&stream);
            continue;
        };
        let (tls, site) = (tls.clone(), site.clone());
        connections.spawn(async move {
            converse(stream, tls, site, limits).await;
            drop(seat);
        });
    }
}

/// With one try at saying why.
fn turn_away(stream: &TcpStream) {
    let _ = stream.try_write(b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
}

async fn converse(stream: TcpStream, tls: Option<TlsAcceptor>, site: Arc<Site>, limits: HttpLimits) {
    // Without it a small answer would wait for the acknowledgement of the one before.
    let _ = stream.set_nodelay(true);
    let Some(tls) = tls else { return answer(stream, site, limits).await };
    match timeout(HANDSHAKE_WAIT_MAX, tls.accept(stream)).await {
        Ok(Ok(stream)) => answer(stream, site, limits).await,
        Ok(Err(error)) => tracing::debug!(error = %chain(&error), "no TLS was agreed upon with who asked for the page"),
        Err(_) => tracing::debug!("who asked for the page did not begin with TLS in time"),
    }
}

async fn answer<S: AsyncRead + AsyncWrite + Unpin>(stream: S, site: Arc<Site>, limits: HttpLimits) {
    let service = service_fn(move |request| {
        let site = site.clone();
        async move { site.answer(request).await }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_wait_max)
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(Prompt::new(stream, limits.taken_wait_max)), service);
    if let Err(error) = served.await {
        tracing::debug!(error = %chain(&error), "a connection to the page has ended");
    }
}

impl Default for HttpLimits {
    fn default() -> Self {
        Self {
            connections_max: CONNECTIONS_MAX,
            pages_max: PAGES_MAX,
            head_wait_max: HEAD_WAIT_MAX,
            taken_wait_max: TAKEN_WAIT_MAX,
        }
    }
}

impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sources").finish_non_exhaustive()
    }
}
