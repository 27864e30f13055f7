//! The HTTP side as a stranger sees it: bytes out, bytes in; and a run that is made up.

use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

use alluvium::telemetry::{
    http::{self, HttpLimits, HttpSettings, Listen, Server, Sources},
    status::{
        Class, Event, Group, Memory, Model, Outlet, Partition, Rejects, Sample, Scored, State, Status, Step, Totals,
    },
};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    process::{Child, Command},
    time::timeout,
};

use super::{LIMIT, program};

/// For what is no limit of the test at hand.
pub const LIMITS: HttpLimits = HttpLimits {
    connections_max: 64,
    pages_max: 8,
    head_wait_max: Duration::from_mins(1),
    taken_wait_max: Duration::from_mins(1),
};

pub fn anywhere() -> HttpSettings {
    HttpSettings { listen: Listen::At(([127, 0, 0, 1], 0).into()), ..HttpSettings::default() }
}

/// A server that tells of a run that is made up.
pub async fn serving(
    settings: &HttpSettings,
    limits: HttpLimits,
    status: impl Fn() -> Status + Send + Sync + 'static,
) -> Server {
    let sources =
        Sources { status: Box::new(status), metrics: Box::new(|status| format!("lanes {}\n", status.totals.lanes)) };
    http::serve_within(settings, sources, limits).await.unwrap().expect("it is not off")
}

#[derive(Debug)]
pub struct Reply {
    pub code: u16,
    pub head: String,
    pub body: String,
}

impl Reply {
    pub fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.into_iter().find(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

/// Sends the lines of a request's head, and reads to the end of the connection; `None` if nothing comes.
pub async fn ask(address: SocketAddr, head: &str) -> Option<Reply> {
    send(address, format!("{}\r\n\r\n", head.replace('\n', "\r\n")).as_bytes()).await
}

pub async fn send(address: SocketAddr, bytes: &[u8]) -> Option<Reply> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    // What is refused early may be cut off before all of it is sent.
    let _ = stream.write_all(bytes).await;
    let mut answer = vec![];
    let _ = timeout(LIMIT, stream.read_to_end(&mut answer)).await.expect("the connection ends");
    reply(&String::from_utf8_lossy(&answer))
}

fn reply(answer: &str) -> Option<Reply> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let code = head.split(' ').nth(1)?.parse().ok()?;
    Some(Reply { code, head: head.to_owned(), body: body.to_owned() })
}

pub async fn get(address: SocketAddr, path: &str) -> Reply {
    get_with(address, path, "").await
}

/// With further lines of the head, each ended by a line feed.
pub async fn get_with(address: SocketAddr, path: &str, more: &str) -> Reply {
    let head = format!("GET {path} HTTP/1.1\nHost: {address}\n{more}Connection: close");
    ask(address, &head).await.unwrap_or(Reply { code: 0, head: String::new(), body: String::new() })
}

pub async fn code(address: SocketAddr, path: &str) -> u16 {
    get(address, path).await.code
}

/// The real program with its page.
#[derive(Debug)]
pub struct Shown {
    pub child: Child,
    pub address: SocketAddr,
}

impl Shown {
    /// Starts it, and waits until it says where its page is.
    pub async fn start(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let found = async {
            while let Some(line) = lines.next_line().await.unwrap() {
                if let Some((_, url)) = line.split_once("the page is at ") {
                    return url.split("://").nth(1).and_then(|rest| rest.trim_end_matches('/').parse().ok());
                }
            }
            None
        };
        let address = timeout(LIMIT, found).await.unwrap().expect("it says where its page is");
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Self { child, address }
    }

    pub async fn stream(pipeline: &Path) -> Self {
        Self::start(program::command(["stream".as_ref(), pipeline.as_os_str()])).await
    }

    pub async fn status(&self) -> serde_json::Value {
        serde_json::from_str(&get(self.address, "/status").await.body).unwrap_or_default()
    }

    pub async fn stop(mut self) -> Option<i32> {
        program::signal(&self.child, &["TERM"]);
        timeout(LIMIT, self.child.wait()).await.expect("it ends").unwrap().code()
    }
}

/// A run of so many partitions, in which `text` stands wherever text can stand that comes from outside.
pub fn made_up(partitions: i32, text: &str) -> impl Fn() -> Status + Send + Sync + 'static {
    let (text, looks) = (text.to_owned(), Arc::new(std::sync::atomic::AtomicU64::new(0)));
    move || {
        let look = looks.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        status(partitions, &text, look)
    }
}

fn status(partitions: i32, text: &str, look: u64) -> Status {
    let text = || text.to_owned();
    let now_ms = chrono::Utc::now().timestamp_millis();
    let each = u64::try_from(partitions).unwrap_or(0);
    let scored = look * each * 10;
    let lanes = (0..partitions).map(|number| partition(number, look, &text())).collect();
    let class = |name: String, records| Class { name, records, ..Class::default() };
    Status {
        version: "0.0.0".into(),
        mode: "stream".into(),
        started_ms: now_ms - 60_000,
        now_ms,
        ready: false,
        not_ready: vec![text()],
        totals: Totals {
            records: scored,
            scored,
            rejected: look,
            advanced: scored,
            lag_records: 7 * each,
            lag_seconds: Some(3.5),
            freshness_seconds: Some(12.0),
            lanes: each,
            lanes_open: each - 1,
            lanes_stopped: 1,
            ..Totals::default()
        },
        steps: [(text(), Step { times: 3, seconds: 1.5, ..Step::default() })].into(),
        memory: Memory { used_bytes: 1 << 20, peak_bytes: 2 << 20, limit_bytes: 1 << 30 },
        group: Some(Group { name: text(), generation: 3, joined: true, partitions: 2 }),
        partitions: lanes,
        classes: vec![class(text(), scored / 2), class("fraud".into(), scored / 4), class("other".into(), scored / 4)],
        rejects: vec![Rejects {
            reason: text(),
            records: look,
            sample: Some(Sample { dataset: text(), detail: text(), value: text(), ..Sample::default() }),
        }],
        model: Some(Model { name: text(), version: 3, metrics: vec![(text(), 0.97)], next: text() }),
        newest: vec![Scored {
            dataset: text(),
            offset: i64::try_from(look).unwrap_or(0),
            event_ms: now_ms,
            prediction: text(),
            confidence: 0.5,
            fields: vec![(text(), text())],
            ..Scored::default()
        }],
        outlets: vec![Outlet { name: text(), to: text(), sent: 3, behind: 4 }],
        events: vec![Event { at_ms: now_ms, kind: text(), text: text() }],
        ..Status::default()
    }
}

fn partition(number: i32, look: u64, text: &str) -> Partition {
    let stopped = number == 0;
    Partition {
        topic: if stopped { text.into() } else { "payments".into() },
        dataset: "payments".into(),
        partition: number,
        state: if stopped { State::Stopped } else { State::Running },
        trouble: stopped.then(|| text.to_owned()),
        position: i64::try_from(look).unwrap_or(0) * 10,
        end: i64::try_from(look).unwrap_or(0) * 10 + 7,
        lag_records: 7,
        lag_seconds: Some(3.5),
        freshness_seconds: Some(12.0),
        scored: look * 10,
        model: Some("fraud v3".into()),
        ..Partition::default()
    }
}
