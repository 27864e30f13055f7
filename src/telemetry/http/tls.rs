//! rustls's settings for the server, and for who asks it. Does not own: reading certificates and keys ([`crate::tls`]).

use std::{path::Path, sync::Arc};

use rustls::{ClientConfig, ServerConfig, sign::SingleCertAndKey};
use tokio_rustls::TlsAcceptor;

use crate::tls::{self, Identity, TlsError};

pub(super) fn acceptor(identity: &Identity) -> Result<TlsAcceptor, TlsError> {
    let own = SingleCertAndKey::from(tls::certified(identity)?);
    let builder = ServerConfig::builder_with_provider(tls::provider()).with_safe_default_protocol_versions()?;
    let mut config = builder.with_no_client_auth().with_cert_resolver(Arc::new(own));
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// For a client that trusts these certificates, or the system's, and shows none.
pub(super) fn trusting(ca: Option<&Path>) -> Result<Arc<ClientConfig>, TlsError> {
    Ok(Arc::new(tls::builder()?.with_root_certificates(tls::roots(ca)?).with_no_client_auth()))
}
