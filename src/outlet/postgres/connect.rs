//! Connections to PostgreSQL: a few, shared by all followers, made when they are needed.
//!
//! Owns: what a URL means, TLS, how long an answer is waited for. Invariant: no text that leaves here has the password in
//! it, and a connection that an error was seen on is never used again.

use std::{
    fmt,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rustls::{
    ClientConfig, DigitallySignedStruct, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use tokio::time::timeout;
use tokio_postgres::{
    Client, Config,
    config::{Host, SslMode},
};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::{OutletError, PostgresSettings, Shared};
use crate::tls::{self, TlsError};

/// Kept between two uses.
const IDLE_MAX: usize = 4;
/// The server ends a transaction of a worker that stands still, so that nobody waits for it for ever.
const SESSION: &str = "SET idle_in_transaction_session_timeout = '15s'; SET lock_timeout = '30s'";

pub(super) struct Connections {
    config: Shared,
    tls: Arc<ClientConfig>,
    idle: Mutex<Vec<Client>>,
    connect_timeout: Duration,
    answer_timeout: Duration,
}

impl Connections {
    pub(super) fn new(settings: &PostgresSettings) -> Result<Self, OutletError> {
        let Address { mut config, verifies } = Address::parse(settings.url.reveal()).map_err(OutletError::Misfit)?;
        config.application_name("alluvium").connect_timeout(settings.connect_timeout);
        let verifies = verifies || settings.ca.is_some();
        if settings.ca.is_some() && config.get_ssl_mode() != SslMode::Disable {
            config.ssl_mode(SslMode::Require);
        }
        let tls = tls(verifies, settings.ca.as_deref()).map_err(OutletError::Misfit)?;
        Ok(Self {
            config: Arc::new(config),
            tls: Arc::new(tls),
            idle: Mutex::default(),
            connect_timeout: settings.connect_timeout,
            answer_timeout: settings.answer_timeout,
        })
    }

    /// One that is idle, or a new one.
    pub(super) async fn get(&self) -> Result<Client, OutletError> {
        let idle = std::iter::from_fn(|| self.idle().pop()).find(|client| !client.is_closed());
        if let Some(client) = idle {
            return Ok(client);
        }
        let doing = "connect to PostgreSQL";
        let connecting = self.config.connect(MakeRustlsConnect::new((*self.tls).clone()));
        let silent = |_| OutletError::Silent { doing, seconds: self.connect_timeout.as_secs() };
        let connected = timeout(self.connect_timeout, connecting).await.map_err(silent)?;
        let (client, connection) = connected.map_err(|source| OutletError::Postgres { doing, source })?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection to PostgreSQL has ended");
            }
        });
        within(self, doing, client.batch_execute(SESSION)).await?;
        Ok(client)
    }

    pub(super) fn give_back(&self, client: Client) {
        let mut idle = self.idle();
        if idle.len() < IDLE_MAX {
            idle.push(client);
        }
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Client>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An answer of the server's, or that there was none in time.
pub(super) async fn within<T>(
    connections: &Connections,
    doing: &'static str,
    answer: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> Result<T, OutletError> {
    let limit = connections.answer_timeout;
    let silent = |_| OutletError::Silent { doing, seconds: limit.as_secs() };
    let answered = timeout(limit, answer).await.map_err(silent)?;
    answered.map_err(|source| OutletError::Postgres { doing, source })
}

impl fmt::Display for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let config = &self.config;
        let host = config.get_hosts().first().map_or_else(
            || "localhost".to_owned(),
            |host| match host {
                Host::Tcp(name) => name.clone(),
                #[cfg(unix)]
                Host::Unix(path) => path.display().to_string(),
            },
        );
        let port = config.get_ports().first().copied().unwrap_or(5432);
        write!(f, "{host}:{port}/{}", config.get_dbname().or(config.get_user()).unwrap_or_default())
    }
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Connections({self})")
    }
}

/// Whether a text can be the URL of a server; what is wrong with it, without showing it.
pub fn check_url(url: &str) -> Result<(), String> {
    Address::parse(url).map(|_| ())
}

/// A URL, read.
struct Address {
    config: Config,
    /// Whether the server must prove who it is.
    verifies: bool,
}

impl Address {
    /// As libpq reads it, which has modes that the driver does not know.
    fn parse(url: &str) -> Result<Self, String> {
        if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
            return Err("it does not begin with postgres://".into());
        }
        let (base, query) = url.split_once('?').unwrap_or((url, ""));
        let (modes, others): (Vec<_>, Vec<_>) =
            query.split('&').filter(|part| !part.is_empty()).partition(|part| part.starts_with("sslmode="));
        let mode = modes.last().and_then(|mode| mode.strip_prefix("sslmode=")).unwrap_or("prefer");
        let (ssl_mode, verifies) = match mode {
            "disable" => (SslMode::Disable, false),
            "allow" | "prefer" => (SslMode::Prefer, false),
            "require" => (SslMode::Require, false),
            "verify-ca" | "verify-full" => (SslMode::Require, true),
            _ => return Err("its sslmode is none of disable, prefer, require, verify-full".into()),
        };
        if others.iter().any(|part| part.starts_with("sslrootcert=")) {
            return Err("it has sslrootcert in it: write `ca` under [postgres] in its place".into());
        }
        let rest = if others.is_empty() { base.to_owned() } else { format!("{base}?{}", others.join("&")) };
        // What the driver says of a bad one may hold pieces of it.
        let mut config: Config =
            rest.parse().map_err(|_| "it can't be read as postgres://user:password@host/database")?;
        config.ssl_mode(ssl_mode);
        if config.get_hosts().is_empty() {
            return Err("it names no host".into());
        }
        if config.get_user().is_none() {
            return Err("it names no user".into());
        }
        Ok(Self { config, verifies })
    }
}

fn tls(verifies: bool, ca: Option<&Path>) -> Result<ClientConfig, String> {
    let builder = tls::builder().map_err(|error| error.to_string())?;
    if !verifies {
        let unproven = Arc::new(Unproven(tls::provider()));
        return Ok(builder.dangerous().with_custom_certificate_verifier(unproven).with_no_client_auth());
    }
    let roots = tls::roots(ca).map_err(|error| match error {
        TlsError::File { .. } => format!("`ca` under [postgres]: {error}"),
        _ => format!("{error}; name some with `ca` under [postgres]"),
    })?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// `sslmode=prefer` and `require` mean, as everywhere: secret from who listens, whoever it is that answers.
#[derive(Debug)]
struct Unproven(Arc<CryptoProvider>);

impl ServerCertVerifier for Unproven {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outlet::{Secret, TableName};

    fn settings(url: &str) -> PostgresSettings {
        PostgresSettings {
            url: Secret::new(url),
            table: TableName::new("t").unwrap(),
            ca: None,
            connect_timeout: Duration::from_millis(100),
            answer_timeout: Duration::from_millis(100),
        }
    }

    #[test]
    fn a_url_is_read_as_elsewhere() {
        let of = |url: &str| {
            let address = Address::parse(url).unwrap();
            (address.config.get_ssl_mode(), address.verifies)
        };
        assert_eq!(of("postgres://u@h/d"), (SslMode::Prefer, false));
        assert_eq!(of("postgresql://u@h/d?sslmode=disable"), (SslMode::Disable, false));
        assert_eq!(of("postgres://u@h/d?connect_timeout=3&sslmode=require"), (SslMode::Require, false));
        assert_eq!(of("postgres://u@h/d?sslmode=verify-full"), (SslMode::Require, true));
    }

    #[test]
    fn what_is_wrong_with_a_url_is_told_without_showing_it() {
        for (url, told) in [
            ("mysql://u:s3cret@h/d", "begin with postgres://"),
            ("postgres://u:s3cret@h/d?sslmode=maybe", "sslmode is none of"),
            ("postgres://u:s3cret@h:port/d", "can't be read"),
            ("postgres://h/d?sslrootcert=x", "write `ca`"),
            ("postgres://h/d", "names no user"),
        ] {
            let error = check_url(url).unwrap_err();
            assert!(error.contains(told) && !error.contains("s3cret"), "{url}: {error}");
        }
    }

    #[tokio::test]
    async fn the_password_is_never_shown() {
        // Nobody listens on the port of discarding.
        let settings = settings("postgres://someone:s3cret@127.0.0.1:9/db");
        let connections = Connections::new(&settings).unwrap();
        let error = connections.get().await.unwrap_err();
        assert!(error.is_transient());
        for shown in [format!("{settings:?}"), format!("{connections:?}"), error.to_string(), format!("{error:?}")] {
            assert!(!shown.contains("s3cret"), "{shown}");
        }
        assert_eq!(connections.to_string(), "127.0.0.1:9/db");
    }
}
