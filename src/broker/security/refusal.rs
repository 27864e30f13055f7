//! Why a broker or we ended a connection that was just made: what a person reads, and does about it.
//!
//! Owns: the only look into rskafka's errors of a login, and what is to be done about rustls's. A refusal is told at once and
//! not tried again, unless it is one of a token, which may be another by the next try.

use std::io;

use rskafka::{
    client::error::{ProtocolError, RequestError},
    messenger::{SaslError, SyncVersionsError},
    protocol::frame,
};
use rustls::{AlertDescription, CertificateError, Error as TlsError};

use super::{super::cause::Cause, host_of, sasl::Sasl, stream::Asked};
use crate::tls;

const NAMES: &str = "name the broker as its certificate does, in `brokers` and in its own advertised.listeners, or let \
     it have a certificate with this name";
const RENEW: &str = "let the broker have a new certificate, or set this machine's clock";
const TRUST: &str =
    "name the certificate of the authority that signed it with `ca` under [source.tls], or with --tls-ca";
const SHOW: &str = "name ours with `cert` and `key` under [source.tls], or with --tls-cert and --tls-key";
const OURS: &str = "see that ours has not expired, and that the broker trusts who signed it";
const BROKER_LOG: &str = "see the broker's log";
const LOGIN: &str = "check `user` and `password`, and that the broker knows this user for this mechanism";
const TOKEN: &str = "see that it has not expired, and that it was issued for this broker";
const MECHANISM: &str = "choose another `mechanism` under [source.sasl], or with --sasl";
const NO_LOGIN: &str = "leave out [source.sasl] and --sasl, or name the broker's port for SASL";

/// What rustls says of it, if it is from there.
pub(super) fn tls_of(error: &io::Error) -> Option<&TlsError> {
    error.get_ref()?.downcast_ref()
}

/// A handshake that failed; nothing if the broker ended it without a word, or not in TLS.
pub(super) fn of_handshake(error: &io::Error, asked: &Asked, address: &str) -> Option<Cause> {
    match tls_of(error) {
        None | Some(TlsError::InvalidMessage(_)) => None,
        Some(error) => Some(of_tls(error, asked, address).of_broker(address)),
    }
}

/// The connection ended before the first answer.
pub(super) fn of_first_answer(error: SyncVersionsError, asked: &Asked, address: &str) -> Cause {
    let told = match &error {
        SyncVersionsError::RequestError(error) => io_of(error).and_then(tls_of),
        _ => None,
    };
    if let Some(told) = told {
        return of_tls(told, asked, address).of_broker(address);
    }
    let mut cause = Cause::from(error);
    if cause.connection_lost && asked.was_asked() && !asked.has_identity() {
        // It may just as well be restarting, so it is asked again.
        cause.text = format!("it asked who we are, got no certificate, and ended the connection ({})", cause.text);
        cause.remedy = SHOW.into();
    }
    cause.of_broker(address)
}

fn io_of(error: &RequestError) -> Option<&io::Error> {
    match error {
        RequestError::Poisoned(error) => io_of(error),
        RequestError::IO(error)
        | RequestError::ReadFramedMessageError(frame::ReadError::IO(error))
        | RequestError::WriteMessageError(frame::WriteError::IO(error)) => Some(error),
        _ => None,
    }
}

fn of_tls(error: &TlsError, asked: &Asked, address: &str) -> Cause {
    match error {
        TlsError::InvalidCertificate(fault) => of_certificate(fault, host_of(address)),
        TlsError::AlertReceived(alert) => of_alert(*alert, asked),
        TlsError::PeerIncompatible(_) => {
            Cause::refused(format!("it speaks no TLS that we speak ({error})"), "let it speak TLS 1.2 or 1.3")
        }
        _ => Cause::refused(format!("the TLS handshake failed: {error}"), BROKER_LOG),
    }
}

fn of_certificate(fault: &CertificateError, host: &str) -> Cause {
    use CertificateError as E;

    let remedy = match fault {
        E::Expired | E::ExpiredContext { .. } | E::NotValidYet | E::NotValidYetContext { .. } => RENEW,
        E::NotValidForName | E::NotValidForNameContext { .. } => NAMES,
        E::UnknownIssuer | E::BadSignature => TRUST,
        _ => BROKER_LOG,
    };
    Cause::refused(tls::why_refused(fault, host), remedy)
}

fn of_alert(alert: AlertDescription, asked: &Asked) -> Cause {
    use AlertDescription as A;

    match alert {
        A::CertificateRequired
        | A::BadCertificate
        | A::HandshakeFailure
        | A::CertificateUnknown
        | A::UnsupportedCertificate
        | A::CertificateRevoked
        | A::CertificateExpired
        | A::UnknownCA
        | A::AccessDenied
            if asked.was_asked() =>
        {
            if asked.has_identity() {
                Cause::refused(format!("it refuses our certificate ({})", words(alert)), OURS)
            } else {
                Cause::refused("it asks for a certificate of ours, and none is named", SHOW)
            }
        }
        A::ProtocolVersion => Cause::refused("it speaks no TLS that we speak", "let it speak TLS 1.2 or 1.3"),
        _ => Cause::refused(format!("it ended the TLS handshake ({})", words(alert)), BROKER_LOG),
    }
}

/// `certificate expired` of `CertificateExpired`.
fn words(alert: AlertDescription) -> String {
    let name = format!("{alert:?}");
    let mut words = String::with_capacity(name.len() + 4);
    for (at, c) in name.char_indices() {
        let inside = at > 0 && c.is_ascii_uppercase() && !words.ends_with('C');
        words.push_str(if inside { " " } else { "" });
        words.push(c);
    }
    words.to_lowercase()
}

/// Whether the broker was asked for a mechanism that it does not have.
pub(super) fn is_of_the_mechanism(error: &SaslError) -> bool {
    matches!(error, SaslError::UnsupportedSaslMechanism | SaslError::ApiError(ProtocolError::UnsupportedSaslMechanism))
}

/// A login that failed; `offered` are the mechanisms that the broker takes, where it was asked.
pub(super) fn of_login(error: SaslError, sasl: &Sasl, offered: Option<Vec<String>>) -> Cause {
    let mechanism = sasl.mechanism();
    match error {
        error if is_of_the_mechanism(&error) => {
            let offered = offered.map_or_else(String::new, |offered| format!(", but {}", offered.join(", ")));
            Cause::refused(format!("it does not take {mechanism}{offered}"), MECHANISM)
        }
        SaslError::ApiError(ProtocolError::SaslAuthenticationFailed) => of_secret(sasl),
        SaslError::ApiError(ProtocolError::IllegalSaslState)
        | SaslError::RequestError(RequestError::NoVersionMatch { .. }) => {
            Cause::refused("this port takes no login by SASL", NO_LOGIN)
        }
        SaslError::ApiError(error) => Cause::refused(format!("the login by {mechanism} failed: {error}"), BROKER_LOG),
        SaslError::RequestError(error) => Cause::from(error),
        // The broker answers a token that it does not take with its reasons, which end the exchange.
        SaslError::SaslSessionError(_) if sasl.user().is_none() => of_secret(sasl),
        // What it says may hold pieces of what was exchanged.
        SaslError::SaslSessionError(_) => Cause::refused(
            format!("the login by {mechanism} failed: it could not prove that it knows the password"),
            LOGIN,
        ),
        SaslError::InvalidSaslMechanism(_) | SaslError::InvalidConfig(_) | SaslError::Callback(_) => {
            Cause::refused(format!("the login by {mechanism} failed"), LOGIN)
        }
        SaslError::UnsupportedSaslMechanism => Cause::refused(format!("it does not take {mechanism}"), MECHANISM),
    }
}

fn of_secret(sasl: &Sasl) -> Cause {
    match sasl.user() {
        Some(user) => {
            let mechanism = sasl.mechanism();
            Cause::refused(format!("it refuses the user `{user}` or the password (SASL {mechanism})"), LOGIN)
        }
        None => Cause::token("it refuses the token (SASL OAUTHBEARER)", TOKEN),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alert_is_told_in_words() {
        use AlertDescription as A;

        let told = [A::CertificateExpired, A::UnknownCA, A::BadCertificate].map(words);
        assert_eq!(told, ["certificate expired", "unknown ca", "bad certificate"]);
    }
}
