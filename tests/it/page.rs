//! The HTTP side of a run, byte by byte: what is told, who is told, and what a stranger can't do to it.

use std::{fs, net::SocketAddr, time::Duration};

use alluvium::telemetry::{
    history::Told,
    http::{Client, DEFAULT_ADDRESS, HttpLimits, HttpSettings, Identity, Token, TokenFrom},
    status::{Scored, Status},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};

use crate::support::{
    LIMIT, program,
    proxy::Proxy,
    stage::{Stage, value},
    until,
    web::{self, LIMITS, Shown, anywhere, ask, code, get, get_with, made_up, serving},
};

const TOKEN: &str = "planted-token-of-32-characters-x";
const PAGE: &str = "[http]\nlisten = \"127.0.0.1:0\"\n";

#[tokio::test]
async fn the_page_is_there_before_the_broker_and_ready_when_every_lane_is_open() {
    let stage = Stage::new(2).await;
    // Takes connections and says nothing, until something stands behind it.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let away = silent.local_addr().unwrap().to_string();
    let text = stage.pipeline(stage.lake_folder("lake").to_str().unwrap(), PAGE).replace(&stage.brokers, &away);
    let run = Shown::stream(&program::written(&stage, &(text + "roll_age = \"200ms\"\n"))).await;
    assert_eq!(get(run.address, "/healthz").await.body, "alive\n");
    let opening = get(run.address, "/readyz").await;
    assert_eq!(opening.code, 503);
    assert!(opening.body.starts_with("not ready\nthe pipeline is being opened"), "{}", opening.body);
    let metrics = get(run.address, "/metrics").await;
    assert!(metrics.code == 200 && metrics.body.contains("alluvium_segments_total 0"), "{}", metrics.body);

    let _proxy = Proxy::start(silent, stage.brokers.clone());
    until("every lane is open", async || code(run.address, "/readyz").await == 200).await;
    stage.send_flowers(2, 30).await;
    stage.send(0, vec![value("no JSON <script>")]).await;
    until("all of it is told", async || run.status().await["totals"]["records"] == 61).await;
    let told: Told = serde_json::from_value(run.status().await).unwrap();
    assert_eq!((told.status.totals.scored, told.status.totals.rejected), (60, 1));
    assert_eq!((told.status.mode.as_str(), told.status.ready, told.status.partitions.len()), ("stream", true, 2));
    assert!(!told.history.is_empty() && told.status.totals.lag_records == 0, "{told:?}");
    assert_eq!(run.stop().await, Some(0));
}

#[tokio::test]
async fn a_default_address_that_is_taken_is_a_warning_and_one_that_was_written_is_an_error() {
    let stage = Stage::new(1).await;
    stage.send_flowers(1, 5).await;
    // Where somebody else has it, it is taken as well.
    let _held = TcpListener::bind(DEFAULT_ADDRESS).await;
    let file = program::pipeline_file(&stage, "[http]\n", "");
    let ran = program::run(["batch".as_ref(), file.as_os_str()]).await;
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(ran.stderr.contains("this run has no page: 127.0.0.1:9184"), "{}", ran.stderr);

    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let listen = format!("[http]\nlisten = \"{}\"\n", taken.local_addr().unwrap());
    let file = program::pipeline_file(&stage, &listen, "");
    let ran = program::run(["batch".as_ref(), file.as_os_str()]).await;
    ran.assert_refused(1, &["can't serve the page at", "name another address with listen under [http]"]);
}

#[tokio::test]
async fn a_token_opens_what_is_closed_without_it() {
    let settings = HttpSettings { token: Token::new(TOKEN).map(TokenFrom::Text), ..anywhere() };
    let server = serving(&settings, LIMITS, made_up(2, "secret of the run")).await;
    let at = server.address();
    for path in ["/", "/status", "/events", "/metrics", "/nothing", "/session"] {
        let closed = get(at, path).await;
        assert_eq!(closed.code, 401, "{path}");
        assert!(!closed.body.contains("secret of the run"), "{path}");
    }
    assert_eq!(get(at, "/healthz").await.code, 200);
    assert_eq!(get(at, "/readyz").await.body, "not ready\n", "what is in the way is not for strangers");
    let shown = format!("Authorization: Bearer {TOKEN}\n");
    assert_eq!(get_with(at, "/readyz", &shown).await.body, "not ready\nsecret of the run\n");
    for path in ["/", "/status", "/metrics"] {
        assert_eq!(get_with(at, path, &shown).await.code, 200, "{path}");
        assert_eq!(get_with(at, path, "Authorization: Bearer of-another-run-entirely\n").await.code, 401, "{path}");
    }
    let session = get_with(at, "/session", &shown).await;
    let cookie = session.header("set-cookie").unwrap().to_owned();
    assert!(cookie.contains("HttpOnly; SameSite=Strict") && !cookie.contains(TOKEN), "{cookie}");
    let cookie = format!("Cookie: {}\n", cookie.split(';').next().unwrap());
    assert_eq!(get_with(at, "/status", &cookie).await.code, 200);
    // Whoever has the token may call it by any name.
    assert_eq!(get_with(at, "/status", &format!("Host: a.example\n{shown}")).await.code, 200);
}

#[tokio::test]
async fn without_a_token_it_answers_to_this_machine_s_own_names_alone() {
    let server = serving(&anywhere(), LIMITS, made_up(1, "x")).await;
    let of = async |host: &str, path: &str| {
        ask(server.address(), &format!("GET {path} HTTP/1.1\nHost: {host}\nConnection: close")).await.unwrap()
    };
    assert_eq!(of("localhost:1", "/status").await.code, 200);
    let other = of("evil.example", "/status").await;
    assert!(other.code == 421 && other.body.contains("localhost"), "{other:?}");
    assert_eq!(of("evil.example", "/healthz").await.code, 200);
}

#[tokio::test]
async fn answers_can_not_be_kept_framed_or_taken_for_something_else() {
    let server = serving(&anywhere(), LIMITS, made_up(1, "x")).await;
    for path in ["/", "/status", "/metrics", "/healthz", "/readyz", "/nothing"] {
        let reply = get(server.address(), path).await;
        assert_eq!(reply.header("cache-control"), Some("no-store"), "{path}");
        assert_eq!(reply.header("x-content-type-options"), Some("nosniff"), "{path}");
        let policy = reply.header("content-security-policy").unwrap();
        assert!(
            policy.starts_with("default-src 'none'") && policy.contains("frame-ancestors 'none'"),
            "{path}: {policy}"
        );
        assert!(!policy.contains("unsafe"), "{path}: {policy}");
    }
}

#[tokio::test]
async fn what_is_no_plain_request_is_refused() {
    let server = serving(&anywhere(), LIMITS, made_up(1, "x")).await;
    let at = server.address();
    let of = async |head: String| ask(at, &head).await.map_or(0, |reply| reply.code);
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "BREW"] {
        assert_eq!(of(format!("{method} /status HTTP/1.1\nHost: {at}")).await, 405, "{method}");
    }
    assert_eq!(of(format!("GET /status HTTP/1.1\nHost: {at}\nContent-Length: 5")).await, 413);
    assert_eq!(of(format!("GET /status HTTP/1.1\nHost: {at}\nTransfer-Encoding: chunked")).await, 413);
    for path in
        ["/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "//etc/passwd", "/status/..", "/page.js", "/statu", "/*"]
    {
        assert_eq!(code(at, path).await, 404, "{path}");
    }
    let huge = format!("GET / HTTP/1.1\nHost: {at}\nX: {}", "x".repeat(64 << 10));
    assert_eq!(of(huge).await, 431);
    let many = (0..200).map(|n| format!("X-{n}: x\n")).collect::<Vec<_>>().concat();
    assert_eq!(of(format!("GET / HTTP/1.1\n{many}Host: {at}")).await, 431);
    for noise in ["\0\0\0\0\r\n\r\n", "GET / HTTP/9\r\n\r\n", "\u{16}\u{3}\u{1}\r\n\r\n", "GET\r\n\r\n"] {
        let refused = web::send(at, noise.as_bytes()).await.map_or(400, |reply| reply.code);
        assert_eq!(refused, 400, "{noise:?}");
    }
    let head = ask(at, &format!("HEAD /status HTTP/1.1\nHost: {at}\nConnection: close")).await.unwrap();
    assert!(head.code == 200 && head.body.is_empty(), "{head:?}");
    assert_eq!(code(at, "/status").await, 200, "it goes on");
}

#[tokio::test]
async fn a_client_that_takes_nothing_is_cut_off() {
    let large = || Status {
        newest: vec![Scored { prediction: "x".repeat(64 << 20), ..Scored::default() }],
        ..Status::default()
    };
    let limits = HttpLimits { connections_max: 1, taken_wait_max: Duration::from_millis(300), ..LIMITS };
    let server = serving(&anywhere(), limits, large).await;
    let mut slow = TcpStream::connect(server.address()).await.unwrap();
    slow.write_all(format!("GET /status HTTP/1.1\r\nHost: {}\r\n\r\n", server.address()).as_bytes()).await.unwrap();
    let mut first = [0; 1];
    slow.read_exact(&mut first).await.unwrap();
    // Its seat is the only one.
    until("it is cut off", async || code(server.address(), "/healthz").await == 200).await;
    let mut rest = vec![];
    let _ = timeout(LIMIT, slow.read_to_end(&mut rest)).await.expect("it has ended");
    assert!(rest.len() < 64 << 20, "{} bytes", rest.len());
}

#[tokio::test]
async fn a_client_that_asks_too_slowly_is_cut_off() {
    let limits = HttpLimits { head_wait_max: Duration::from_millis(200), ..LIMITS };
    let server = serving(&anywhere(), limits, made_up(1, "x")).await;
    for begun in
        ["", "GET /stat", "GET /status HTTP/1.1\r\nHost: 127.0.0.1\r\n", "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"]
    {
        let mut slow = TcpStream::connect(server.address()).await.unwrap();
        slow.write_all(begun.as_bytes()).await.unwrap();
        let ended = timeout(LIMIT, slow.read_to_end(&mut vec![])).await;
        assert!(ended.is_ok(), "a connection that says {begun:?} ends");
    }
}

#[tokio::test]
async fn connections_and_pages_are_counted() {
    let limits = HttpLimits { connections_max: 3, pages_max: 1, ..LIMITS };
    let server = serving(&anywhere(), limits, made_up(1, "x")).await;
    let at = server.address();
    let mut page = events(at).await;
    let mut begun = [0; 12];
    page.read_exact(&mut begun).await.unwrap();
    assert_eq!(&begun, b"HTTP/1.1 200");
    let refused = get(at, "/events").await;
    assert!(refused.code == 503 && refused.header("retry-after").is_some(), "{refused:?}");

    let idle = [TcpStream::connect(at).await.unwrap(), TcpStream::connect(at).await.unwrap()];
    until("all seats are taken", async || code(at, "/healthz").await == 503).await;
    drop(idle);
    until("seats are free again", async || code(at, "/healthz").await == 200).await;
    drop(page);
    until("a page can be opened again", async || {
        let mut page = events(at).await;
        let mut begun = [0; 12];
        page.read_exact(&mut begun).await.is_ok() && &begun == b"HTTP/1.1 200"
    })
    .await;
}

async fn events(at: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(at).await.unwrap();
    stream.write_all(format!("GET /events HTTP/1.1\r\nHost: {at}\r\n\r\n").as_bytes()).await.unwrap();
    stream
}

#[tokio::test]
async fn a_page_hears_the_past_and_then_every_second() {
    let server = serving(&anywhere(), LIMITS, made_up(3, "x")).await;
    let mut stream = events(server.address()).await;
    let (mut heard, mut piece) = (String::new(), [0; 8192]);
    while heard.matches("event: now").count() < 3 {
        let read = timeout(LIMIT, stream.read(&mut piece)).await.expect("it speaks").unwrap();
        assert!(read > 0, "it goes on");
        heard.push_str(&String::from_utf8_lossy(&piece[..read]));
    }
    assert!(heard.contains("content-type: text/event-stream"), "{heard}");
    assert!(heard.find("event: history\ndata: [{").unwrap() < heard.find("event: now\ndata: {").unwrap());
}

#[tokio::test]
async fn over_tls_a_client_that_trusts_it_is_answered() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let made = |names: &[&str]| {
        rcgen::generate_simple_self_signed(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap()
    };
    let (own, other) = (made(&["127.0.0.1", "localhost"]), made(&["localhost"]));
    fs::write(path("own.pem"), own.cert.pem()).unwrap();
    fs::write(path("own.key"), own.signing_key.serialize_pem()).unwrap();
    fs::write(path("other.pem"), other.cert.pem()).unwrap();
    fs::write(path("token"), format!("{TOKEN}\n")).unwrap();
    let settings = HttpSettings {
        token: Some(TokenFrom::File(path("token"))),
        tls: Some(Identity { cert: path("own.pem"), key: path("own.key") }),
        ..anywhere()
    };
    let server = serving(&settings, LIMITS, made_up(2, "x")).await;
    let url = server.url();
    assert!(url.starts_with("https://127.0.0.1:"), "{url}");
    let client = |ca: &str, token| Client::new(&url, Some(&path(ca)), token).unwrap();
    let answer = client("own.pem", Token::new(TOKEN)).get("/status").await.unwrap();
    assert_eq!(serde_json::from_slice::<Told>(&answer).unwrap().status.totals.lanes, 2);
    let closed = client("own.pem", None).get("/status").await.unwrap_err();
    assert!(closed.to_string().contains("ALLUVIUM_HTTP_TOKEN"), "{closed}");
    let stranger = client("other.pem", Token::new(TOKEN)).get("/status").await.unwrap_err();
    assert!(stranger.to_string().contains("certificate"), "{stranger}");
    assert_eq!(get(server.address(), "/status").await.code, 0, "nothing is said without TLS");
    let health = async |url: &str, ca: &str, token: &str| {
        let arguments = ["health", "--ready", url, "--ca-file", path(ca).to_str().unwrap()].map(ToOwned::to_owned);
        program::ended(program::command(arguments).env("ALLUVIUM_HTTP_TOKEN", token).spawn().unwrap()).await
    };
    health(&url, "own.pem", TOKEN).await.assert_refused(1, &["/readyz with 503", "not ready"]);
    health(&url, "other.pem", "").await.assert_refused(1, &["can't speak TLS with https://127.0.0.1:", "--ca-file"]);
    let plain = server.address().to_string();
    health(&plain, "own.pem", "").await.assert_refused(1, &["does not speak HTTP", "https://"]);
    health(&plain, "own.pem", "short").await.assert_refused(2, &["ALLUVIUM_HTTP_TOKEN holds no token"]);
}

#[tokio::test]
async fn a_token_or_certificate_that_is_none_is_told_by_its_file() {
    let stage = Stage::new(1).await;
    let path = stage.folder.path().join("token");
    fs::write(&path, "too short").unwrap();
    let mixed = {
        let made = |name: &str| rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        let (cert, key) = (stage.folder.path().join("page.pem"), stage.folder.path().join("other.key"));
        fs::write(&cert, made("page").cert.pem()).unwrap();
        fs::write(&key, made("other").signing_key.serialize_pem()).unwrap();
        format!("tls_cert = \"{}\"\ntls_key = \"{}\"\n", cert.display(), key.display())
    };
    for (keys, told) in [
        (format!("token_file = \"{}\"\n", path.display()), "holds no token for [http]"),
        ("token_file = \"no/such/file\"\n".into(), "can't read the token of [http] from no/such/file"),
        ("tls_cert = \"no.pem\"\ntls_key = \"no.key\"\n".into(), "tls_key of [http]: no.pem: "),
        (mixed, "it is not the key of "),
    ] {
        let file = program::pipeline_file(&stage, &format!("{PAGE}{keys}"), "");
        program::run(["batch".as_ref(), file.as_os_str()]).await.assert_refused(1, &[told]);
        program::run(["check".as_ref(), file.as_os_str(), "--offline".as_ref()]).await.assert_told(1, &["page", told]);
    }
}

#[tokio::test]
async fn top_shows_what_the_page_shows() {
    let settings = HttpSettings { token: Token::new(TOKEN).map(TokenFrom::Text), ..anywhere() };
    let server = serving(&settings, LIMITS, made_up(1000, "payments\x1b[2J")).await;
    let url = server.url();
    let top = async |more: &[&str], token: Option<&str>| {
        let mut command = program::command(["top", url.trim_end_matches('/')].iter().chain(more));
        command.env_remove("ALLUVIUM_HTTP_TOKEN");
        token.map(|token| command.env("ALLUVIUM_HTTP_TOKEN", token));
        program::ended(command.spawn().unwrap()).await
    };
    let once = top(&["--once"], Some(TOKEN)).await;
    once.assert_told(0, &["NOT READY", "lag", "7,000", "999 of 1000", "payments·[2J", "fraud"]);
    assert!(!once.stdout.contains('\x1b') && once.stdout.lines().count() > 1000, "{}", once.stdout);
    let json = top(&["--json"], Some(TOKEN)).await;
    assert_eq!(serde_json::from_str::<Told>(&json.stdout).unwrap().status.partitions.len(), 1000);
    top(&[], None).await.assert_refused(1, &["wants the token", "ALLUVIUM_HTTP_TOKEN"]);
    top(&[], Some("short")).await.assert_refused(2, &["ALLUVIUM_HTTP_TOKEN holds no token"]);
    drop(server);
    top(&["--once"], Some(TOKEN)).await.assert_refused(1, &["nobody answers at http://127.0.0.1:"]);
}
