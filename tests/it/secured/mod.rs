//! Brokers behind TLS and SASL: whoever has the right papers lands every record, whoever has not is told what is wrong.

mod faults;
mod journeys;

use std::time::Duration;

use alluvium::broker::{
    BrokerLimits, Identity, Mechanism, Password, SaslSettings, Secret, SecuritySettings, TlsSettings,
};

use crate::support::secure::{Files, SecureKafka, USER};

/// A person is told within this time what is wrong.
const LIMITS: BrokerLimits = BrokerLimits {
    connect_timeout: Duration::from_secs(10),
    request_timeout: Duration::from_secs(30),
    fetch_bytes_max: 1 << 20,
    fetch_wait_max: Duration::from_millis(10),
};

fn trusting(files: &Files, ca: &str) -> TlsSettings {
    TlsSettings { ca: Some(files.path(ca)), identity: None }
}

fn showing(files: &Files, name: &str) -> TlsSettings {
    let [cert, key] = ["pem", "key"].map(|kind| files.path(&format!("{name}.{kind}")));
    TlsSettings { identity: Some(Identity { cert, key }), ..trusting(files, "lab-ca.pem") }
}

fn login(mechanism: Mechanism, password: &str) -> SaslSettings {
    SaslSettings::Login { mechanism, user: USER.into(), password: Password::Given(Secret::new(password)) }
}

/// TLS with the right authority, and a login.
fn secured(secure: &SecureKafka, sasl: SaslSettings) -> SecuritySettings {
    SecuritySettings { tls: Some(trusting(&secure.files, "lab-ca.pem")), sasl: Some(sasl) }
}
