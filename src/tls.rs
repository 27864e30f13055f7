//! What a side of a TLS connection trusts and how it proves who it is: from files in PEM to rustls's settings.
//!
//! Owns: reading certificates and keys, and in which words another side's certificate is refused. Does not own: which
//! connection uses them, nor what is to be done about a failed handshake.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use chrono::DateTime;
use rustls::{
    CertificateError, ClientConfig, ConfigBuilder, RootCertStore, WantsVerifier,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    sign::CertifiedKey,
};

/// The files by which a client, or the server of the page, proves who it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The certificate, and those between it and an authority.
    pub cert: PathBuf,
    pub key: PathBuf,
}

/// Certificates or a key that can't be used. No text of it has anything of a key in it.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("{}: {why}", path.display())]
    File { path: PathBuf, why: String },
    #[error("this system has no certificates to trust")]
    NothingTrusted,
    #[error("TLS can't be set up: {0}")]
    Unsupported(#[from] rustls::Error),
}

#[must_use]
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// Where all settings of clients begin.
pub fn builder() -> Result<ConfigBuilder<ClientConfig, WantsVerifier>, TlsError> {
    Ok(ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?)
}

/// The authorities of a file, or those that this system trusts.
pub fn roots(ca: Option<&Path>) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    if let Some(path) = ca {
        for certificate in certificates(path)? {
            roots.add(certificate).map_err(|error| bad(path, error.to_string()))?;
        }
        return Ok(roots);
    }
    // One that can't be read is no reason to trust none of the others.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() { Err(TlsError::NothingTrusted) } else { Ok(roots) }
}

/// Reads both files; fails if one is not of the other.
pub fn certified(identity: &Identity) -> Result<CertifiedKey, TlsError> {
    let Identity { cert, key } = identity;
    let chain = certificates(cert)?;
    let private = PrivateKeyDer::from_pem_file(key)
        .map_err(|_| bad(key, "there is no private key in it; one with a passphrase can't be read"))?;
    CertifiedKey::from_der(chain, private, &provider()).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => bad(key, format!("it is not the key of {}", cert.display())),
        _ => bad(key, "this kind of key is not supported"),
    })
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found = CertificateDer::pem_file_iter(path).map_err(|error| bad(path, error.to_string()))?;
    let found = found.collect::<Result<Vec<_>, _>>().map_err(|error| bad(path, error.to_string()))?;
    if found.is_empty() { Err(bad(path, "there is no certificate in it")) } else { Ok(found) }
}

fn bad(path: &Path, why: impl Into<String>) -> TlsError {
    TlsError::File { path: path.to_owned(), why: why.into() }
}

/// Names of a certificate.
const NAMES_SHOWN_MAX: usize = 5;

/// Why another side's certificate is none for us; `host` is whom we meant to speak to.
#[must_use]
pub fn why_refused(fault: &CertificateError, host: &str) -> String {
    use CertificateError as E;

    match fault {
        E::Expired => "its certificate has expired".into(),
        E::ExpiredContext { not_after, .. } => {
            let day = i64::try_from(not_after.as_secs()).ok().and_then(|secs| DateTime::from_timestamp(secs, 0));
            let day = day.map(|day| day.format(" (on %Y-%m-%d)").to_string()).unwrap_or_default();
            format!("its certificate has expired{day}")
        }
        E::NotValidYet | E::NotValidYetContext { .. } => "its certificate is not valid yet".into(),
        E::NotValidForName => format!("its certificate is not for `{host}`"),
        E::NotValidForNameContext { presented, .. } => {
            format!("its certificate is not for `{host}`{}", but_for(presented))
        }
        // The second, if an authority of the same name is trusted.
        E::UnknownIssuer | E::BadSignature => "its certificate is signed by no authority that is trusted here".into(),
        // What `openssl req -x509` makes unless it is told otherwise.
        E::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => {
            "its certificate is an authority's (CA:TRUE), which is none for a server".into()
        }
        _ => format!("its certificate can't be accepted: {fault}"),
    }
}

/// rustls names them as `DnsName("b.example")`.
fn but_for(names: &[String]) -> String {
    let bare = |name: &String| name.split('"').nth(1).map_or(name.clone(), str::to_owned);
    let mut shown: Vec<_> = names.iter().take(NAMES_SHOWN_MAX).map(bare).collect();
    if names.len() > NAMES_SHOWN_MAX {
        shown.push("…".into());
    }
    if shown.is_empty() { String::new() } else { format!(", but for {}", shown.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_names_of_a_certificate_are_shown() {
        let names =
            |count: usize| -> Vec<String> { (0..count).map(|n| format!("DnsName(\"b{n}.example\")")).collect() };
        assert_eq!(but_for(&[]), "");
        assert_eq!(but_for(&names(2)), ", but for b0.example, b1.example");
        assert!(but_for(&names(7)).ends_with("b4.example, …"));
    }
}
