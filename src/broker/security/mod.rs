//! Who the broker is and who we are: TLS and SASL, on every connection.
//!
//! Owns: the settings, what is read of files for them, and the words for every refusal. Does not own: when a connection
//! is made ([`super::link`]).
//!
//! Invariant: no text and no `Debug` of anything here has a password, a token or an argument of a command in it.

mod connect;
mod diagnose;
mod refusal;
mod sasl;
mod stream;
mod token;

use std::{path::PathBuf, sync::Arc};

use rskafka::client::SaslConfig;
use rustls::ClientConfig;

pub(super) use self::{
    connect::{Line, connect},
    diagnose::why_ended,
};
use self::{
    sasl::Sasl,
    stream::{Stream, Tls, cannot_be_used},
};
use super::cause::Cause;
pub use crate::{secret::Secret, tls::Identity};

/// What `[source.tls]` and `[source.sasl]` say; by default neither is used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SecuritySettings {
    pub tls: Option<TlsSettings>,
    pub sasl: Option<SaslSettings>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsSettings {
    /// A file of certificates in PEM that are trusted in place of the system's.
    pub ca: Option<PathBuf>,
    /// Shown to brokers that ask for it.
    pub identity: Option<Identity>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SaslSettings {
    Login {
        mechanism: Mechanism,
        user: String,
        password: Password,
    },
    /// OAUTHBEARER.
    Token(TokenSource),
}

/// How a password is shown to the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mechanism {
    Plain,
    ScramSha256,
    ScramSha512,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Password {
    Given(Secret),
    /// Read for each connection.
    File(PathBuf),
}

/// Asked for each connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenSource {
    File(PathBuf),
    Command(token::TokenCommand),
}

pub use token::TokenCommand;

/// The settings, made ready for use.
#[derive(Debug, Default)]
pub(super) struct Security {
    tls: Option<Tls>,
    sasl: Option<Sasl>,
}

impl Security {
    /// Reads the certificates and the key.
    pub(super) fn open(settings: &SecuritySettings) -> Result<Self, Cause> {
        let tls = settings.tls.as_ref().map(Tls::open).transpose().map_err(|error| cannot_be_used(&error))?;
        Ok(Self { tls, sasl: settings.sasl.clone().map(Sasl::new) })
    }

    /// Whether a connection takes more than connecting.
    pub(super) fn is_any(&self) -> bool {
        self.tls.is_some() || self.sasl.is_some()
    }

    /// For the connections that rskafka makes by itself.
    pub(super) fn tls_config(&self) -> Option<Arc<ClientConfig>> {
        self.tls.as_ref().map(Tls::shared)
    }

    /// The same for its logins.
    pub(super) async fn sasl_config(&self) -> Result<Option<SaslConfig>, Cause> {
        match &self.sasl {
            None => Ok(None),
            Some(sasl) => sasl.lasting().await.map(Some),
        }
    }

    /// Says it where a password or a token would travel so that everyone on its way can read it.
    pub(super) fn warn_if_readable(&self, brokers: &[String]) {
        let readable = self.tls.is_none() && self.sasl.as_ref().is_some_and(Sasl::shows_the_secret);
        if let Some(broker) = brokers.iter().find(|broker| readable && !is_local(broker)) {
            tracing::warn!(broker, "what proves who we are travels unencrypted; use [source.tls] if the broker has it");
        }
    }
}

fn is_local(broker: &str) -> bool {
    let host = host_of(broker);
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// `broker.example` of `broker.example:9093`, `::1` of `[::1]:9093`.
fn host_of(address: &str) -> &str {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

impl Mechanism {
    fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_found_in_every_address() {
        assert_eq!(["b.example:9093", "[::1]:9093", "10.0.0.1:1"].map(host_of), ["b.example", "::1", "10.0.0.1"]);
        assert!(["localhost:1", "127.0.0.1:1", "[::1]:1"].into_iter().all(is_local) && !is_local("b.example:1"));
    }

    #[test]
    fn no_secret_is_shown() {
        let login = SaslSettings::Login {
            mechanism: Mechanism::Plain,
            user: "alice".into(),
            password: Password::Given(Secret::new("geheim")),
        };
        let command = TokenCommand::new(vec!["curl".into(), "-d".into(), "client_secret=geheim".into()]);
        for sasl in [login, SaslSettings::Token(TokenSource::Command(command))] {
            let settings = SecuritySettings { tls: None, sasl: Some(sasl) };
            let security = Security::open(&settings).unwrap();
            for shown in [format!("{settings:?}"), format!("{security:?}")] {
                assert!(!shown.contains("geheim"), "{shown}");
            }
        }
    }
}
