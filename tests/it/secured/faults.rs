//! Every mistake that people make with certificates and passwords, and what they read.

use std::{fs, time::Duration};

use alluvium::broker::{
    Broker, BrokerError, BrokerErrorKind, Mechanism, Password, SaslSettings, Secret, SecuritySettings, TlsSettings,
    TokenCommand, TokenSource,
};

use super::{LIMITS, login, secured, showing, trusting};
use crate::support::secure::{SecureKafka, token};

const MAX: Duration = Duration::from_secs(10);

async fn refused(address: &str, security: &SecuritySettings) -> BrokerError {
    let brokers = [address.to_owned()];
    let outcome = tokio::time::timeout(MAX, Broker::secured(&brokers, security, LIMITS)).await;
    outcome.expect("it is told in time").map(drop).expect_err("it is refused")
}

/// A person is told what is wrong with which broker, and what to do; nothing is tried again.
async fn assert_told(address: &str, security: &SecuritySettings, what: &str, remedy: &str) {
    let error = refused(address, security).await;
    let told = error.to_string();
    assert!(told.contains(what) && told.contains(remedy), "`{what}` and `{remedy}` in: {told}");
    assert!(told.contains(address), "which broker: {told}");
    assert_eq!(error.kind(), BrokerErrorKind::Person, "{told}");
}

fn with_tls(tls: TlsSettings) -> SecuritySettings {
    SecuritySettings { tls: Some(tls), sasl: None }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_can_not_prove_who_it_is_is_named_with_the_reason() {
    let Some(secure) = SecureKafka::shared().await else { return };
    let ours = || with_tls(trusting(&secure.files, "lab-ca.pem"));
    for (listener, security, what, remedy) in [
        ("EXPIRED", ours(), "its certificate has expired (on 2021-01-01)", "let the broker have a new certificate"),
        (
            "OTHERNAME",
            ours(),
            "its certificate is not for `localhost`, but for elsewhere.example",
            "name the broker as its certificate does",
        ),
        (
            "TLS",
            with_tls(trusting(&secure.files, "nobody-ca.pem")),
            "signed by no authority that is trusted here",
            "with `ca` under [source.tls]",
        ),
    ] {
        assert_told(&secure.address(listener), &security, what, remedy).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_of_ours_that_is_missing_or_refused_is_told() {
    let Some(secure) = SecureKafka::shared().await else { return };
    let address = secure.address("MUTUAL");
    let without = with_tls(trusting(&secure.files, "lab-ca.pem"));
    assert_told(&address, &without, "it asks for a certificate of ours, and none is named", "`cert` and `key`").await;
    for name in ["client-expired", "client-unknown"] {
        let security = with_tls(showing(&secure.files, name));
        assert_told(&address, &security, "it refuses our certificate", "see that ours has not expired").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_wrong_kind_of_port_is_told() {
    let Some(secure) = SecureKafka::shared().await else { return };
    let plain = SecuritySettings::default();
    let tls = || with_tls(trusting(&secure.files, "lab-ca.pem"));
    let scram = |tls| SecuritySettings { tls, sasl: Some(login(Mechanism::ScramSha512, &secure.password)) };
    let offered = "PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER";
    for (address, security, what, remedy) in [
        (secure.address("TLS"), plain.clone(), "this port speaks TLS".to_owned(), "turn it on with [source.tls]"),
        (secure.kafka.brokers(), tls(), "this port speaks no TLS".into(), "name the broker's port for TLS"),
        (secure.address("SASL"), plain, "asks for a login by SASL (SCRAM-SHA-256)".into(), "with [source.sasl]"),
        (secure.address("SASLTLS"), scram(None), "this port speaks TLS".into(), "turn it on with [source.tls]"),
        (secure.kafka.brokers(), scram(None), "this port takes no login by SASL".into(), "leave out [source.sasl]"),
        (secure.address("TLS"), scram(tls().tls), "this port takes no login by SASL".into(), "leave out [source.sasl]"),
        (secure.address("SASL"), scram(None), "does not take SCRAM-SHA-512, but SCRAM-SHA-256".into(), "`mechanism`"),
    ] {
        assert_told(&address, &security, &what, remedy).await;
    }
    let told = refused(&secure.address("SASLTLS"), &tls()).await.to_string();
    let listed = told.split_once("SASL (").and_then(|(_, rest)| rest.split_once(')')).expect(&told).0;
    let (mut listed, mut all): (Vec<_>, Vec<_>) = (listed.split(", ").collect(), offered.split(", ").collect());
    listed.sort_unstable();
    all.sort_unstable();
    assert_eq!(listed, all);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_and_an_unknown_user_are_told_and_never_shown() {
    let Some(secure) = SecureKafka::shared().await else { return };
    let address = secure.address("SASLTLS");
    for (mechanism, name) in [
        (Mechanism::Plain, "PLAIN"),
        (Mechanism::ScramSha256, "SCRAM-SHA-256"),
        (Mechanism::ScramSha512, "SCRAM-SHA-512"),
    ] {
        let unknown = SaslSettings::Login {
            mechanism,
            user: "mallory".into(),
            password: Password::Given(Secret::new(&*secure.password)),
        };
        for (sasl, user) in [(login(mechanism, "wr0ng geheim"), "alice"), (unknown, "mallory")] {
            let security = secured(secure, sasl);
            let what = format!("it refuses the user `{user}` or the password (SASL {name})");
            assert_told(&address, &security, &what, "check `user` and `password`").await;
            let error = refused(&address, &security).await;
            for shown in [error.to_string(), format!("{error:?}"), format!("{security:?}")] {
                assert!(!shown.contains("geheim") && !shown.contains(&secure.password), "{shown}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_refused_or_missing_is_told_and_never_shown() {
    let Some(secure) = SecureKafka::shared().await else { return };
    let (address, folder) = (secure.address("SASLTLS"), tempfile::tempdir().unwrap());
    let (expired, file) = (token("alice", -100), folder.path().join("token"));
    fs::write(&file, &expired).unwrap();
    let print = TokenCommand::new(vec!["cat".into(), file.to_str().unwrap().into()]);
    for source in [TokenSource::File(file), TokenSource::Command(print)] {
        let security = secured(secure, SaslSettings::Token(source));
        let refusal = "it refuses the token (SASL OAUTHBEARER)";
        assert_told(&address, &security, refusal, "see that it has not expired").await;
        let error = refused(&address, &security).await;
        assert!(!format!("{error} {error:?} {security:?}").contains(&expired));
    }
    let failing = TokenCommand::new(["sh", "-c", "echo geheim; exit 7"].map(str::to_owned).into());
    let security = secured(secure, SaslSettings::Token(TokenSource::Command(failing)));
    let error = refused(&address, &security).await;
    let told = error.to_string();
    assert!(told.contains("`sh` of token_command failed (exit status: 7)") && !told.contains("geheim"), "{told}");
    assert_eq!(error.kind(), BrokerErrorKind::Person);
}

#[tokio::test]
async fn files_that_can_not_be_used_are_told_before_anything_is_connected() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("empty.pem"), "no certificate").unwrap();
    for (name, why) in [("missing.pem", "No such file"), ("empty.pem", "there is no certificate in it")] {
        let security = with_tls(TlsSettings { ca: Some(path(name)), identity: None });
        let error = refused("localhost:9", &security).await;
        let told = error.to_string();
        assert!(told.contains(name) && told.contains(why) && told.contains("`ca`"), "{told}");
        assert_eq!(error.kind(), BrokerErrorKind::Person);
    }
}
