//! What a failure of the registry means. Owns: its kinds and its words, which hold no secret.

use std::{error::Error, io};

/// How much of what a registry says of a refusal is shown.
const SAID_CHARS_MAX: usize = 200;

/// What is to be done about a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegistryErrorKind {
    /// A retry may mend it.
    Transient,
    /// A person must: credentials, certificates, a wrong URL, a schema that the registry does not take.
    Person,
}

/// A question that was not answered.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the schema registry{}: {reason}", at(.url))]
pub struct RegistryError {
    /// Empty if it is about no single one.
    url: String,
    reason: String,
    kind: RegistryErrorKind,
}

fn at(url: &str) -> String {
    if url.is_empty() { String::new() } else { format!(" at {url}") }
}

impl RegistryError {
    pub(super) fn person(reason: impl Into<String>) -> Self {
        Self { url: String::new(), reason: reason.into(), kind: RegistryErrorKind::Person }
    }

    pub(super) fn transient(reason: impl Into<String>) -> Self {
        Self { url: String::new(), reason: reason.into(), kind: RegistryErrorKind::Transient }
    }

    pub(super) fn at(self, url: &str) -> Self {
        Self { url: url.to_owned(), ..self }
    }

    #[must_use]
    pub fn kind(&self) -> RegistryErrorKind {
        self.kind
    }

    #[must_use]
    pub fn is_transient(&self) -> bool {
        self.kind == RegistryErrorKind::Transient
    }

    /// A request that got no answer. Its URL is left out: it is told already.
    pub(super) fn unanswered(error: reqwest::Error) -> Self {
        let error = error.without_url();
        if is_about_certificates(&error) {
            let hint = "name the file of the authority's certificate as `ca` under [registry]";
            return Self::person(format!("{}; {hint}", causes(&error)));
        }
        Self::transient(if error.is_timeout() { "no answer within `timeout`".to_owned() } else { causes(&error) })
    }
}

/// An error and what is behind it, in one line.
pub(super) fn causes(error: &dyn Error) -> String {
    let mut told = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_told = cause.to_string();
        if !told.ends_with(&cause_told) {
            told.push_str(": ");
            told.push_str(&cause_told);
        }
        next = cause.source();
    }
    told
}

/// What a registry says, on one short line.
pub(super) fn said(text: &str) -> String {
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    text.trim().chars().take(SAID_CHARS_MAX).map(plain).collect()
}

/// TLS was spoken, and one side does not trust the other: waiting does not mend that.
fn is_about_certificates(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(cause) = next {
        if let Some(tls) = cause.downcast_ref::<rustls::Error>() {
            return matches!(tls, rustls::Error::InvalidCertificate(_) | rustls::Error::AlertReceived(_));
        }
        // What an I/O error wraps is not among its sources; it may wrap another of its kind.
        let wrapped = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = match wrapped {
            Some(wrapped) => Some(wrapped),
            None => cause.source(),
        };
    }
    false
}
