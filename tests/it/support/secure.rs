//! Apache Kafka with a listener for every way to be secure, certificates made for the test, and users of its own.

use std::{
    fmt::Write as _,
    fs,
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, SanType, date_time_ymd,
};
use tokio::sync::OnceCell;

use super::kafka::{Further, Kafka, Setup, free_port};

pub const USER: &str = "alice";
const MAP: [(&str, &str); 7] = [
    ("TLS", "SSL"),
    ("MUTUAL", "SSL"),
    ("EXPIRED", "SSL"),
    ("OTHERNAME", "SSL"),
    ("SASLTLS", "SASL_SSL"),
    ("SASL", "SASL_PLAINTEXT"),
    ("SHORT", "SASL_PLAINTEXT"),
];
/// How long a login at the listener `SHORT` holds.
const SHORT_MS: u32 = 1_500;

static SHARED: OnceCell<Option<SecureKafka>> = OnceCell::const_new();

/// One broker; each of its listeners is secure in another way.
pub struct SecureKafka {
    pub kafka: Kafka,
    pub files: Files,
    /// Of the user, with characters in it that mean something elsewhere.
    pub password: String,
    ports: Vec<u16>,
}

/// Certificates and keys, in PEM.
pub struct Files {
    folder: PathBuf,
}

impl SecureKafka {
    /// The one that all tests share; `None` where there is no Kafka, which is said.
    pub async fn shared() -> Option<&'static Self> {
        SHARED.get_or_init(Self::start).await.as_ref()
    }

    async fn start() -> Option<Self> {
        let password = format!("p'ä$$ w=rd;{{}}%#{}", &uuid::Uuid::new_v4().simple().to_string()[..12]);
        let ports: Vec<u16> = MAP.iter().map(|_| free_port()).collect();
        let further = |folder: &Path| {
            let files = Files::written(folder);
            Further {
                listeners: MAP.iter().zip(&ports).map(|((name, _), port)| ((*name).to_owned(), *port)).collect(),
                settings: settings(&files, &password),
                users: [256, 512].map(|bits| format!("SCRAM-SHA-{bits}=[name={USER},password=\"{password}\"]")).into(),
            }
        };
        let kafka = Kafka::started(Setup { brokers: 1, advertised_port: 0 }, further).await?;
        let files = Files { folder: kafka.folder().join("tls") };
        Some(Self { kafka, files, password, ports })
    }

    /// `host:port` of a listener.
    pub fn address(&self, listener: &str) -> String {
        let at = MAP.iter().position(|(name, _)| *name == listener).expect("there is such a listener");
        format!("localhost:{}", self.ports[at])
    }
}

impl Files {
    fn written(folder: &Path) -> Self {
        let folder = folder.join("tls");
        fs::create_dir(&folder).unwrap();
        let files = Self { folder };
        let [ours, theirs] = ["lab", "nobody"].map(|name| files.authority(name));
        let here = || {
            vec![SanType::DnsName("localhost".try_into().unwrap()), SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST))]
        };
        let elsewhere = || vec![SanType::DnsName("elsewhere.example".try_into().unwrap())];
        for (name, authority, names, expired) in [
            ("good", &ours, here(), false),
            ("expired", &ours, here(), true),
            ("othername", &ours, elsewhere(), false),
            ("client", &ours, vec![], false),
            ("client-expired", &ours, vec![], true),
            ("client-unknown", &theirs, vec![], false),
        ] {
            files.certificate(name, authority, names, expired);
        }
        files
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The path as a pipeline file has it.
    pub fn quoted(&self, name: &str) -> String {
        format!("{:?}", self.path(name).to_str().unwrap())
    }

    fn authority(&self, name: &str) -> Issuer<'static, KeyPair> {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        fs::write(self.path(&format!("{name}-ca.pem")), params.self_signed(&key).unwrap().pem()).unwrap();
        Issuer::new(params, key)
    }

    /// `name.pem`, `name.key`, and both in `name.both` as brokers want them.
    fn certificate(&self, name: &str, by: &Issuer<'_, KeyPair>, names: Vec<SanType>, expired: bool) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.subject_alt_names = names;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(if expired { 2021 } else { 2049 }, 1, 1);
        let (cert, key) = (params.signed_by(&key, by).unwrap().pem(), key.serialize_pem());
        for (kind, text) in [("pem", &cert), ("key", &key), ("both", &format!("{key}{cert}"))] {
            fs::write(self.path(&format!("{name}.{kind}")), text).unwrap();
        }
    }
}

/// A token as the broker's own validator for tests takes it: who it is and until when, and no signature.
pub fn token(user: &str, seconds_left: i64) -> String {
    let now = chrono::Utc::now().timestamp();
    let claims = serde_json::json!({ "sub": user, "iat": now - 1_000, "exp": now + seconds_left });
    let [header, claims] = [r#"{"alg":"none"}"#, &claims.to_string()].map(|part| URL_SAFE_NO_PAD.encode(part));
    format!("{header}.{claims}.")
}

fn settings(files: &Files, password: &str) -> String {
    let mut text = String::from("listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT");
    for (name, protocol) in MAP {
        write!(text, ",{name}:{protocol}").unwrap();
    }
    text.push('\n');
    for (listener, certificate) in
        [("tls", "good"), ("mutual", "good"), ("sasltls", "good"), ("expired", "expired"), ("othername", "othername")]
    {
        let path = files.path(&format!("{certificate}.both"));
        let of = format!("listener.name.{listener}.ssl.keystore");
        writeln!(text, "{of}.type=PEM\n{of}.location={}", path.display()).unwrap();
    }
    let of = "listener.name.mutual.ssl";
    let ca = files.path("lab-ca.pem");
    writeln!(text, "{of}.client.auth=required\n{of}.truststore.type=PEM\n{of}.truststore.location={}", ca.display())
        .unwrap();
    let module = "org.apache.kafka.common.security";
    for (listener, mechanisms) in [
        ("sasltls", &["plain", "scram-sha-256", "scram-sha-512", "oauthbearer"][..]),
        ("sasl", &["scram-sha-256"]),
        ("short", &["scram-sha-256"]),
    ] {
        let of = format!("listener.name.{listener}");
        writeln!(text, "{of}.sasl.enabled.mechanisms={}", mechanisms.join(",").to_uppercase()).unwrap();
        for mechanism in mechanisms {
            let login = match *mechanism {
                "plain" => format!("{module}.plain.PlainLoginModule required user_{USER}=\"{password}\";"),
                "oauthbearer" => format!(
                    "{module}.oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub=\"broker\";"
                ),
                _ => format!("{module}.scram.ScramLoginModule required;"),
            };
            writeln!(text, "{of}.{mechanism}.sasl.jaas.config={}", property(&login)).unwrap();
        }
    }
    writeln!(text, "listener.name.short.scram-sha-256.connections.max.reauth.ms={SHORT_MS}").unwrap();
    text
}

/// As a file of properties has it, which is in Latin-1 and gives a backslash a meaning.
fn property(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii() { c.to_string() } else { format!("\\u{:04x}", u32::from(c)) }).collect()
}
