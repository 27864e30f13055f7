//! Asks another process of Alluvium, for `alluvium top` and `alluvium health`.
//!
//! Owns: one GET over HTTP/1.1, with or without TLS, and its limits. Invariant: the token stands in no text.

use std::{io, path::Path, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Empty};
use hyper::{
    Request, StatusCode, Uri,
    body::Incoming,
    client::conn::http1,
    header::{AUTHORIZATION, HOST, HeaderValue},
};
use hyper_util::rt::TokioIo;
use rustls::{CertificateError, ClientConfig, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;
use tokio_util::task::AbortOnDropHandle;

use super::{DEFAULT_ADDRESS, Token, tls::trusting};
use crate::tls::{self, TlsError};

/// From the connection to the last byte of an answer.
const ANSWER_WAIT_MAX: Duration = Duration::from_secs(10);
/// A status of many thousand partitions has less.
const ANSWER_BYTES_MAX: usize = 32 << 20;
/// Of an answer that is not the one that was wanted.
const ANSWER_CHARS_SHOWN: usize = 200;

/// Whom to ask.
#[derive(Debug)]
pub struct Client {
    url: String,
    authority: String,
    host: String,
    port: u16,
    tls: Option<Arc<ClientConfig>>,
    token: Option<Token>,
    wait_max: Duration,
}

/// What a run says, whatever its code.
#[derive(Debug)]
pub struct Answer {
    pub code: StatusCode,
    pub text: Bytes,
}

#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("{url} is not the address of a page; one is http://127.0.0.1:9184")]
    Url { url: String },
    #[error("can't speak TLS with {url}")]
    Trust { url: String, source: TlsError },
    #[error("nobody answers at {url}: {source}; does a stream or batch run there, with listen under [http]?")]
    Connect { url: String, source: io::Error },
    #[error("can't speak TLS with {url}: {why}")]
    Handshake { url: String, why: String },
    #[error("what answers at {url} does not speak HTTP: {source}; ask by https:// where the run has tls_cert")]
    Foreign { url: String, source: hyper::Error },
    #[error("{url} breaks off: {source}")]
    Http { url: String, source: hyper::Error },
    #[error("{url} wants the token that is set under [http]; hand it over as ALLUVIUM_HTTP_TOKEN")]
    Token { url: String },
    #[error("{url} answers {code}: {text}")]
    Answer { url: String, code: StatusCode, text: String },
    #[error("{url} does not answer within {wait_max:?}")]
    Silent { url: String, wait_max: Duration },
    #[error("{url} answers with more than {ANSWER_BYTES_MAX} bytes")]
    Large { url: String },
}

impl Client {
    /// `url` is a page's. Without `http://` a host will do, and the port is then the one that a run has by default. `ca` is
    /// trusted in place of the system's certificates.
    pub fn new(url: &str, ca: Option<&Path>, token: Option<Token>) -> Result<Self, ClientError> {
        let bad = || ClientError::Url { url: url.to_owned() };
        let (whole, port) = match url.split_once("://") {
            Some(("https", _)) => (url.to_owned(), 443),
            Some(_) => (url.to_owned(), 80),
            None => (format!("http://{url}"), DEFAULT_ADDRESS.port()),
        };
        let uri: Uri = whole.parse().map_err(|_| bad())?;
        let (scheme, authority) = uri.scheme_str().zip(uri.authority()).ok_or_else(bad)?;
        let secure = match scheme {
            "http" => false,
            "https" => true,
            _ => return Err(bad()),
        };
        if authority.as_str().contains('@') || !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(bad());
        }
        let trust = |source| ClientError::Trust { url: url.to_owned(), source };
        let port = authority.port_u16().unwrap_or(port);
        let authority =
            if url.contains("://") { authority.to_string() } else { format!("{}:{port}", authority.host()) };
        Ok(Self {
            url: format!("{scheme}://{authority}"),
            host: uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned(),
            authority,
            port,
            tls: secure.then(|| trusting(ca)).transpose().map_err(trust)?,
            token,
            wait_max: ANSWER_WAIT_MAX,
        })
    }

    /// Waits for an answer no longer than this.
    #[must_use]
    pub fn within(self, wait_max: Duration) -> Self {
        Self { wait_max, ..self }
    }

    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What stands at a path.
    pub async fn get(&self, path: &str) -> Result<Bytes, ClientError> {
        let Answer { code, text } = self.ask(path).await?;
        match code {
            StatusCode::OK => Ok(text),
            StatusCode::UNAUTHORIZED => Err(ClientError::Token { url: self.url.clone() }),
            _ => {
                let text = String::from_utf8_lossy(&text).chars().take(ANSWER_CHARS_SHOWN).collect::<String>();
                Err(ClientError::Answer { url: self.url.clone(), code, text: text.trim().to_owned() })
            }
        }
    }

    /// What is answered at a path.
    pub async fn ask(&self, path: &str) -> Result<Answer, ClientError> {
        let silent = |_| ClientError::Silent { url: self.url.clone(), wait_max: self.wait_max };
        timeout(self.wait_max, self.converse(path)).await.map_err(silent)?
    }

    async fn converse(&self, path: &str) -> Result<Answer, ClientError> {
        let handshake =
            |error: io::Error| ClientError::Handshake { url: self.url.clone(), why: why_ended(&error, &self.host) };
        let connect = |source| ClientError::Connect { url: self.url.clone(), source };
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await.map_err(connect)?;
        let Some(tls) = &self.tls else { return self.ask_over(stream, path).await };
        let name = ServerName::try_from(self.host.clone()).map_err(|_| ClientError::Url { url: self.url.clone() })?;
        let stream = TlsConnector::from(tls.clone()).connect(name, stream).await.map_err(handshake)?;
        self.ask_over(stream, path).await
    }

    async fn ask_over<S>(&self, stream: S, path: &str) -> Result<Answer, ClientError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let http = |source: hyper::Error| {
            let url = self.url.clone();
            if source.is_parse() { ClientError::Foreign { url, source } } else { ClientError::Http { url, source } }
        };
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(http)?;
        let _conversing = AbortOnDropHandle::new(tokio::spawn(connection));
        let mut request = Request::new(Empty::<Bytes>::new());
        let unfit = |_| ClientError::Url { url: self.url.clone() };
        *request.uri_mut() = path.parse().map_err(|_| ClientError::Url { url: self.url.clone() })?;
        request.headers_mut().insert(HOST, HeaderValue::try_from(&self.authority).map_err(unfit)?);
        if let Some(token) = &self.token {
            let mut shown = HeaderValue::try_from(format!("Bearer {}", token.reveal())).map_err(unfit)?;
            shown.set_sensitive(true);
            request.headers_mut().insert(AUTHORIZATION, shown);
        }
        let answer = sender.send_request(request).await.map_err(http)?;
        let code = answer.status();
        Ok(Answer { code, text: self.read(answer.into_body()).await? })
    }

    async fn read(&self, mut body: Incoming) -> Result<Bytes, ClientError> {
        let mut text = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|source| ClientError::Http { url: self.url.clone(), source })?;
            text.extend_from_slice(frame.data_ref().map_or(&[], Bytes::as_ref));
            if text.len() > ANSWER_BYTES_MAX {
                return Err(ClientError::Large { url: self.url.clone() });
            }
        }
        Ok(text.freeze())
    }
}

const NO_TLS: &str = "what answers there speaks no TLS; ask by http:// where the run has no tls_cert";

/// Why there was no handshake, and what to do.
fn why_ended(error: &io::Error, host: &str) -> String {
    match error.get_ref().and_then(|error| error.downcast_ref()) {
        Some(rustls::Error::InvalidCertificate(
            fault @ (CertificateError::UnknownIssuer | CertificateError::BadSignature),
        )) => {
            format!("{}; name the authority's with --ca-file", tls::why_refused(fault, host))
        }
        Some(rustls::Error::InvalidCertificate(fault)) => {
            format!("{}; give the run another as tls_cert under [http]", tls::why_refused(fault, host))
        }
        Some(rustls::Error::InvalidMessage(_)) => NO_TLS.into(),
        None if error.kind() == io::ErrorKind::UnexpectedEof => NO_TLS.into(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_page_s_or_is_refused() {
        for (given, meant) in [
            ("http://127.0.0.1:9184", "http://127.0.0.1:9184"),
            ("127.0.0.1:1", "http://127.0.0.1:1"),
            ("worker", "http://worker:9184"),
            ("[::1]", "http://[::1]:9184"),
            ("https://alluvium.example/", "https://alluvium.example"),
            ("http://[::1]:9184/", "http://[::1]:9184"),
        ] {
            assert_eq!(Client::new(given, None, None).unwrap().url(), meant);
        }
        for wrong in [
            "",
            "ftp://a",
            "http://u:p@a",
            "http://a/status",
            "http://a?x",
            "http:// a",
            "a b:1",
            "me:secret@host:1",
            "worker/path",
            "a\r\nb:1",
        ] {
            assert!(Client::new(wrong, None, None).is_err(), "{wrong}");
        }
    }
}
