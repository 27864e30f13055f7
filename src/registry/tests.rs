//! The client against a server in this process that says what a test wants.

use std::{
    collections::VecDeque,
    fs,
    io::{Read, Write},
    net::SocketAddr,
    path::Path,
    process::{Command, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    http::{Response, header},
};
use rustls::{
    ServerConfig, ServerConnection,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tokio::net::TcpListener;

use super::*;

const SCHEMA: &str = r#"{"schema":"\"long\""}"#;

/// What the server was asked, and what it is to say; the last answer is said again and again.
#[derive(Clone, Default)]
struct Script {
    asked: Arc<Mutex<Vec<String>>>,
    answers: Arc<Mutex<VecDeque<(u16, String)>>>,
    silent: bool,
}

impl Script {
    fn of<'a>(answers: impl IntoIterator<Item = (u16, &'a str)>) -> Self {
        let answers = answers.into_iter().map(|(status, body)| (status, body.to_owned())).collect();
        Self { answers: Arc::new(Mutex::new(answers)), ..Self::default() }
    }

    async fn start(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let app = Router::new().fallback(answer).with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        url
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

async fn answer(State(script): State<Script>, request: Request) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let body = String::from_utf8(to_bytes(body, 1 << 20).await.unwrap().to_vec()).unwrap();
    let auth = parts.headers.get(header::AUTHORIZATION).map_or("", |value| value.to_str().unwrap());
    let told = format!("{} {} {auth} {body}", parts.method, parts.uri);
    script.asked.lock().unwrap().push(told.trim().to_owned());
    if script.silent {
        std::future::pending::<()>().await;
    }
    let mut answers = script.answers.lock().unwrap();
    let (status, body) = if answers.len() > 1 { answers.pop_front() } else { answers.front().cloned() }.unwrap();
    Response::builder().status(status).body(Body::from(body)).unwrap()
}

fn settings(url: &str) -> RegistrySettings {
    RegistrySettings {
        urls: vec![url.to_owned()],
        user: None,
        password: None,
        ca: None,
        timeout: Duration::from_secs(20),
        schemas_max: 10,
    }
}

fn with_password(url: &str) -> RegistrySettings {
    RegistrySettings { user: Some("me".into()), password: Some(Secret::new("geheim")), ..settings(url) }
}

async fn registry(script: &Script) -> Registry {
    Registry::open(&settings(&script.start().await)).unwrap()
}

#[expect(clippy::unnecessary_wraps, reason = "it stands for an answer")]
fn avro(text: &str) -> Option<Arc<Schema>> {
    Some(Arc::new(Schema { kind: SchemaKind::Avro, text: text.into(), imports: vec![] }))
}

#[tokio::test]
async fn a_schema_is_asked_for_once() {
    let script = Script::of([(200, SCHEMA)]);
    let registry = registry(&script).await;
    for _ in 0..3 {
        assert_eq!(registry.schema(7).await.unwrap(), avro("\"long\""));
    }
    assert_eq!(script.asked(), ["GET /schemas/ids/7"]);
}

#[tokio::test]
async fn it_is_reached_if_it_answers() {
    let script = Script::of([(200, "[\"a\"]"), (403, "{}")]);
    let registry = registry(&script).await;
    assert!(registry.reach().await.is_ok());
    assert_eq!(registry.reach().await.unwrap_err().kind(), RegistryErrorKind::Person);
    assert_eq!(script.asked(), ["GET /schemas/types", "GET /schemas/types"]);
}

#[tokio::test]
async fn a_path_in_the_url_is_kept() {
    let script = Script::of([(200, SCHEMA)]);
    let url = format!("{}/apis/ccompat/v7/", script.start().await);
    Registry::open(&settings(&url)).unwrap().schema(7).await.unwrap();
    assert_eq!(script.asked(), ["GET /apis/ccompat/v7/schemas/ids/7"]);
}

#[tokio::test]
async fn what_a_schema_imports_comes_with_it_those_needed_first_before() {
    let script = Script::of([
        (
            200,
            r#"{"schema":"top","schemaType":"PROTOBUF","references":[{"name":"a.proto","subject":"a b","version":2},{"name":"c.proto","subject":"c","version":1}]}"#,
        ),
        (
            200,
            r#"{"subject":"a b","version":2,"id":5,"schema":"A","schemaType":"PROTOBUF","references":[{"name":"c.proto","subject":"c","version":1}]}"#,
        ),
        (
            200,
            r#"{"subject":"c","version":1,"id":6,"schema":"C","schemaType":"PROTOBUF","references":[{"name":"a.proto","subject":"a b","version":2}]}"#,
        ),
    ]);
    let schema = registry(&script).await.schema(7).await.unwrap().unwrap();
    let imports: Vec<_> = schema.imports.iter().map(|import| (&*import.name, &*import.text)).collect();
    assert_eq!((schema.kind, &*schema.text), (SchemaKind::Protobuf, "top"));
    assert_eq!(imports, [("c.proto", "C"), ("a.proto", "A")], "each once, though they import each other");
    assert_eq!(script.asked(), ["GET /schemas/ids/7", "GET /subjects/a%20b/versions/2", "GET /subjects/c/versions/1"]);
}

#[tokio::test]
async fn a_schema_that_imports_without_end_is_refused() {
    let endless = |n: usize| {
        format!(r#"{{"id":1,"version":1,"schema":"s","references":[{{"name":"x","subject":"s{n}","version":1}}]}}"#)
    };
    let answers: Vec<_> = (0..=IMPORTS_MAX + 1).map(endless).collect();
    let script = Script::of(answers.iter().map(|answer| (200, &**answer)));
    let error = registry(&script).await.schema(7).await.unwrap_err();
    assert_eq!(error.to_string(), format!("the schema registry: a schema imports more than {IMPORTS_MAX} others"));
}

#[tokio::test]
async fn the_newest_schema_of_a_subject_is_told_with_its_id() {
    let script = Script::of([
        (200, r#"{"subject":"s","version":3,"id":9,"schema":"\"int\""}"#),
        (404, r#"{"error_code":40401,"message":"Subject 'none' not found."}"#),
    ]);
    let registry = registry(&script).await;
    let latest = registry.latest("s").await.unwrap().unwrap();
    assert_eq!((latest.id, latest.version, Some(latest.schema)), (9, 3, avro("\"int\"")));
    assert_eq!(registry.latest("none").await.unwrap(), None);
}

#[tokio::test]
async fn a_schema_is_registered_with_its_references() {
    let script = Script::of([(200, r#"{"id":4}"#)]);
    let registry = registry(&script).await;
    let reference = Reference { name: "a".into(), subject: "s".into(), version: 1 };
    assert_eq!(registry.register("t-value", SchemaKind::Avro, "\"int\"", &[]).await.unwrap(), 4);
    assert_eq!(registry.register("t-value", SchemaKind::Protobuf, "p", &[reference]).await.unwrap(), 4);
    assert_eq!(
        script.asked(),
        [
            r#"POST /subjects/t-value/versions  {"schema":"\"int\""}"#,
            r#"POST /subjects/t-value/versions  {"schema":"p","schemaType":"PROTOBUF","references":[{"name":"a","subject":"s","version":1}]}"#,
        ]
    );
}

#[tokio::test]
async fn an_unknown_id_is_no_fault_and_a_url_without_a_registry_is_one() {
    let script = Script::of([(404, r#"{"error_code":40403,"message":"Schema 7 not found"}"#), (404, "<html>")]);
    let registry = registry(&script).await;
    assert_eq!(registry.schema(7).await.unwrap(), None);
    assert_eq!(registry.schema(7).await.unwrap(), None, "from memory");
    let error = registry.schema(8).await.unwrap_err();
    assert_eq!(error.kind(), RegistryErrorKind::Person);
    assert!(error.to_string().ends_with("404 Not Found; there is no schema registry at this URL: look at its path"));
    assert_eq!(script.asked().len(), 2);
}

#[tokio::test]
async fn a_wrong_password_is_told_at_once_and_never_shown() {
    let script = Script::of([(401, r#"{"error_code":401,"message":"Unauthorized\u001b[31m"}"#)]);
    let url = script.start().await;
    let registry = Registry::open(&with_password(&url)).unwrap();
    let error = registry.schema(7).await.unwrap_err();
    assert_eq!(error.kind(), RegistryErrorKind::Person);
    assert_eq!(
        error.to_string(),
        format!(
            "the schema registry at {url}/: 401 Unauthorized: Unauthorized [31m; look at `user` and `password` under [registry]"
        )
    );
    // me:geheim
    assert_eq!(script.asked(), ["GET /schemas/ids/7 Basic bWU6Z2VoZWlt"]);
    for shown in [format!("{registry:?}"), format!("{:?}", with_password(&url)), format!("{error:?}")] {
        assert!(!shown.contains("geheim") && !shown.contains("bWU6Z2VoZWlt"), "{shown}");
    }
}

#[tokio::test]
async fn what_a_retry_may_mend_is_tried_again() {
    for (status, body) in [(500, "oh"), (503, ""), (429, ""), (200, "{\"schema\":"), (200, "<html>")] {
        let script = Script::of([(status, body), (200, SCHEMA)]);
        assert_eq!(registry(&script).await.schema(7).await.unwrap(), avro("\"long\""), "{status}");
        assert_eq!(script.asked().len(), 2, "{status}");
    }
}

#[tokio::test]
async fn what_stays_broken_is_given_up_as_passing_and_asked_for_again_later() {
    let script = Script::of([(500, ""), (500, ""), (500, ""), (500, ""), (200, SCHEMA)]);
    let registry = registry(&script).await;
    assert!(registry.schema(7).await.unwrap_err().is_transient());
    assert_eq!(registry.schema(7).await.unwrap(), avro("\"long\""));
}

#[tokio::test]
async fn a_refusal_is_said_in_the_registry_s_words() {
    let script = Script::of([(409, r#"{"error_code":409,"message":"Schema being registered is incompatible"}"#)]);
    let error = registry(&script).await.register("s", SchemaKind::Avro, "x", &[]).await.unwrap_err();
    assert_eq!(error.kind(), RegistryErrorKind::Person);
    assert!(error.to_string().ends_with("409 Conflict: Schema being registered is incompatible"), "{error}");
    assert_eq!(script.asked().len(), 1);
}

#[tokio::test]
async fn a_huge_answer_is_not_read_to_its_end() {
    let huge = "x".repeat(9 << 20);
    let script = Script::of([(200, &*huge)]);
    let error = registry(&script).await.schema(7).await.unwrap_err();
    assert_eq!(error.kind(), RegistryErrorKind::Person);
    assert!(error.to_string().ends_with("its answer is larger than 8388608 bytes"), "{error}");
}

#[tokio::test]
async fn a_server_that_says_nothing_is_waited_for_in_vain() {
    let script = Script { silent: true, ..Script::default() };
    let url = script.start().await;
    let registry = Registry::open(&RegistrySettings { timeout: Duration::from_millis(50), ..settings(&url) }).unwrap();
    let error = registry.schema(7).await.unwrap_err();
    assert!(error.is_transient() && error.to_string().contains("no answer within `timeout`"), "{error}");
}

#[tokio::test]
async fn the_next_url_is_asked_when_one_does_not_answer() {
    let script = Script::of([(200, SCHEMA)]);
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let urls = vec![format!("http://{closed}"), script.start().await];
    let registry = Registry::open(&RegistrySettings { urls, ..settings("") }).unwrap();
    assert_eq!(registry.schema(7).await.unwrap(), avro("\"long\""));
    assert_eq!(registry.client.first(), 1, "who has answered is asked first from now on");
}

#[test]
fn what_can_not_be_used_is_told_when_it_is_opened() {
    let of = |settings: RegistrySettings| Registry::open(&settings).unwrap_err().to_string();
    assert!(of(settings("ftp://a")).contains("`ftp://` is not spoken"));
    assert!(!of(settings("http://me:geheim@a")).contains("geheim"));
    assert!(of(RegistrySettings { urls: vec![], ..settings("") }).contains("no URL"));
    let ca = |path: &str| of(RegistrySettings { ca: Some(path.into()), ..settings("https://a") });
    assert!(ca("no/such/file").contains("read the certificates of no/such/file"));
    assert!(ca("Cargo.toml").contains("there is none in it"));
}

#[tokio::test]
async fn tls_trusts_the_file_s_authority_and_no_other() {
    let folder = tempfile::tempdir().unwrap();
    if !certificates(folder.path()) {
        assert!(std::env::var_os("ALLUVIUM_TEST_ALL_PARTS").is_none_or(|all| all != "1"), "openssl is missing");
        eprintln!("skipped: openssl is not installed");
        return;
    }
    let address = tls_server(folder.path());
    let ca = |name: &str| RegistrySettings { ca: Some(folder.path().join(name)), ..settings("") };
    let of = |settings: RegistrySettings| {
        let urls = vec![format!("https://localhost:{}", address.port())];
        Registry::open(&RegistrySettings { urls, ..settings }).unwrap()
    };
    assert_eq!(of(ca("ca.pem")).schema(7).await.unwrap(), avro("\"long\""));
    let error = of(ca("other.pem")).schema(7).await.unwrap_err();
    assert_eq!(error.kind(), RegistryErrorKind::Person, "{error}");
    assert!(error.to_string().contains("as `ca` under [registry]"), "{error}");
}

/// An authority, another one, and what the first says of localhost.
fn certificates(folder: &Path) -> bool {
    let openssl = |line: &str| {
        let mut command = Command::new("openssl");
        let command = command.args(line.split(' ')).current_dir(folder);
        command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    };
    fs::write(folder.join("names"), "subjectAltName=DNS:localhost").unwrap();
    openssl("version")
        && ["ca", "other"].into_iter().all(|name| {
            openssl(&format!(
                "req -x509 -newkey rsa:2048 -nodes -keyout {name}.key -out {name}.pem -days 2 -subj /CN={name}"
            ))
        })
        && openssl("req -newkey rsa:2048 -nodes -keyout server.key -out server.csr -subj /CN=localhost")
        && openssl(
            "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out server.pem -days 2 -extfile names",
        )
}

/// A server of one fixed answer, in a thread that ends with the process.
fn tls_server(folder: &Path) -> SocketAddr {
    let chain = CertificateDer::pem_file_iter(folder.join("server.pem")).unwrap();
    let chain = chain.collect::<Result<Vec<_>, _>>().unwrap();
    let key = PrivateKeyDer::from_pem_file(folder.join("server.key")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = Arc::new(config.with_no_client_auth().with_single_cert(chain, key).unwrap());
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            // Who does not trust the server hangs up.
            let _ = connection.and_then(|connection| serve(connection, &config));
        }
    });
    address
}

fn serve(mut connection: std::net::TcpStream, config: &Arc<ServerConfig>) -> std::io::Result<()> {
    let mut session = ServerConnection::new(config.clone()).map_err(std::io::Error::other)?;
    let mut tls = rustls::Stream::new(&mut session, &mut connection);
    tls.read_exact(&mut [0; 16])?;
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", SCHEMA.len());
    tls.write_all(format!("{head}{SCHEMA}").as_bytes())?;
    tls.conn.send_close_notify();
    tls.flush()
}
