//! What a broker wants that ended a connection without a word: asked over a connection of its own, once it has failed.
//!
//! Owns: telling a port with TLS from one without, and which SASL mechanisms a port takes. Where it finds nothing, the
//! failure stays what it was: the broker may just be restarting.

use std::{sync::Arc, time::Duration};

use rskafka::protocol::messages::SaslHandshakeRequest;
use rustls::{RootCertStore, pki_types::ServerName};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::{
    super::cause::Cause,
    Security, Stream,
    connect::{greet, greeted, tcp},
    host_of, refusal,
};
use crate::tls;

/// It comes on top of a failure that is told anyway.
const DIAGNOSIS_MAX: Duration = Duration::from_secs(2);

/// The port speaks TLS, and was not spoken to in TLS.
pub(super) async fn wants_tls(address: &str) -> Option<Cause> {
    let speaks = timeout(DIAGNOSIS_MAX, speaks_tls(address)).await.ok()??;
    let remedy = "turn it on with [source.tls] or --tls, or name the broker's port without TLS";
    speaks.then(|| Cause::refused("this port speaks TLS", remedy).of_broker(address))
}

/// The port speaks no TLS, and was spoken to in TLS.
pub(super) async fn wants_no_tls(address: &str) -> Option<Cause> {
    let greeted = timeout(DIAGNOSIS_MAX, async { greet(Stream::Plain(tcp(address).await.ok()?)).await.ok() });
    greeted.await.ok()??;
    let remedy = "name the broker's port for TLS, or leave out [source.tls] and --tls";
    Some(Cause::refused("this port speaks no TLS", remedy).of_broker(address))
}

/// A connection was ended without a word, before or at the first question.
pub(in crate::broker) async fn why_ended(address: &str, security: &Security) -> Option<Cause> {
    // Whatever else is wrong with TLS or a login has been told by the connection that was tried before.
    match security {
        Security { sasl: Some(_), .. } => None,
        Security { tls: Some(_), .. } => wants_login(address, security).await,
        _ => match wants_login(address, security).await {
            None => wants_tls(address).await,
            login => login,
        },
    }
}

/// The port takes nobody who has not logged in.
async fn wants_login(address: &str, security: &Security) -> Option<Cause> {
    let text = format!("this port asks for a login by SASL ({})", mechanisms(address, security).await?.join(", "));
    let remedy = "say who is asking with [source.sasl] or --sasl, or name the broker's port without SASL";
    Some(Cause::refused(text, remedy).of_broker(address))
}

/// What the port takes; nothing where it takes no login.
pub(super) async fn mechanisms(address: &str, security: &Security) -> Option<Vec<String>> {
    let asked = timeout(DIAGNOSIS_MAX, async {
        let line = greeted(address, security).await.ok()?;
        // One that no broker offers: then it says what it has, and nothing has begun.
        line.request(SaslHandshakeRequest::new("?")).await.ok()
    });
    let answer = Box::pin(asked).await.ok()??;
    let offered: Vec<String> = answer.mechanisms.0?.into_iter().map(|name| name.0).collect();
    (!offered.is_empty()).then_some(offered)
}

/// Any answer in TLS will do, the refusal of a certificate among them.
async fn speaks_tls(address: &str) -> Option<bool> {
    let trusting_nobody = tls::builder().ok()?.with_root_certificates(RootCertStore::empty()).with_no_client_auth();
    let name = ServerName::try_from(host_of(address).to_owned()).ok()?;
    let stream = tcp(address).await.ok()?;
    let shaken = TlsConnector::from(Arc::new(trusting_nobody)).connect(name, stream).await;
    Some(match shaken {
        Ok(_) => true,
        Err(error) => !matches!(refusal::tls_of(&error), None | Some(rustls::Error::InvalidMessage(_))),
    })
}
