//! The bytes to and from a broker, over TCP alone or over TLS.
//!
//! Owns: the handshake. Does not own: what its failure means ([`super::refusal`]).

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use rustls::{ClientConfig, SignatureScheme, client::ResolvesClientCert, pki_types::ServerName, sign::CertifiedKey};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{super::cause::Cause, TlsSettings, host_of};
use crate::tls::{self, TlsError};

/// A connection's bytes.
#[derive(Debug)]
pub(in crate::broker) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// What is trusted, and what is shown to brokers that ask who we are.
#[derive(Debug)]
pub(super) struct Tls {
    config: Arc<ClientConfig>,
    identity: Option<Arc<CertifiedKey>>,
}

/// What this handshake was asked for.
#[derive(Debug)]
pub(super) struct Asked {
    identity: Option<Arc<CertifiedKey>>,
    asked: AtomicBool,
}

impl Tls {
    pub(super) fn open(settings: &TlsSettings) -> Result<Self, TlsError> {
        let identity = settings.identity.as_ref().map(tls::certified).transpose()?.map(Arc::new);
        let trusting = tls::builder()?.with_root_certificates(tls::roots(settings.ca.as_deref())?);
        let config = Arc::new(trusting.with_client_cert_resolver(Asked::by(identity.clone())));
        Ok(Self { config, identity })
    }

    pub(super) fn shared(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.config)
    }

    /// Shakes hands; whether the broker asked who we are is told even if it fails.
    pub(super) async fn shake_hands(&self, address: &str, stream: TcpStream) -> (Arc<Asked>, io::Result<Stream>) {
        let asked = Asked::by(self.identity.clone());
        let mut config = (*self.config).clone();
        config.client_auth_cert_resolver = Arc::<Asked>::clone(&asked);
        let shaken = async {
            let name = ServerName::try_from(host_of(address).to_owned()).map_err(io::Error::other)?;
            TlsConnector::from(Arc::new(config)).connect(name, stream).await
        };
        let shaken = shaken.await.map(|stream| Stream::Tls(Box::new(stream)));
        (asked, shaken)
    }
}

impl Asked {
    fn by(identity: Option<Arc<CertifiedKey>>) -> Arc<Self> {
        Arc::new(Self { identity, asked: AtomicBool::new(false) })
    }

    pub(super) fn was_asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }

    pub(super) fn has_identity(&self) -> bool {
        self.identity.is_some()
    }
}

impl ResolvesClientCert for Asked {
    fn resolve(&self, _root_hint_subjects: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.asked.store(true, Ordering::Relaxed);
        self.identity.clone()
    }

    fn has_certs(&self) -> bool {
        self.identity.is_some()
    }
}

/// The settings name something that can't be read.
pub(super) fn cannot_be_used(error: &TlsError) -> Cause {
    let remedy = match error {
        TlsError::File { .. } => "name files in PEM with `ca`, `cert` and `key` under [source.tls]",
        TlsError::NothingTrusted => "name the certificate of the broker's authority with `ca` under [source.tls]",
        TlsError::Unsupported(_) => "report this",
    };
    Cause::person(error.to_string(), remedy)
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
