//! Runs in processes of their own, over a topic of the embedded broker: what each takes of CPU and memory is its alone.

use std::{
    env, fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
    sync::Arc,
    time::Instant,
};

use alluvium::{
    broker::{Broker, Compression},
    simulate::{
        Source,
        encoding::Encoding,
        feed::{self, Feed, Sent},
    },
};
use anyhow::{Context, bail, ensure};
use cpu_time::ProcessTime;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::common::demo_settings;

/// As the demo's pipeline has it.
pub const TOPIC: &str = "iris";
const ROUNDS: usize = 3;
/// Without `--bench`, as when all targets are tested, it is only shown that it works.
const RECORDS_SHOWN: u64 = 10_000;

/// How much is measured, and how it is told.
pub struct Plan {
    pub records: u64,
    pub rounds: usize,
    pub json: bool,
}

impl Plan {
    pub fn from_environment(records: u64) -> anyhow::Result<Self> {
        let given = |flag: &str| env::args().any(|argument| argument == flag);
        let (records, rounds) = if given("--bench") { (records, ROUNDS) } else { (RECORDS_SHOWN, 1) };
        let records = match env::var("ALLUVIUM_BENCH_RECORDS") {
            Ok(text) => text.parse().context("ALLUVIUM_BENCH_RECORDS is a number of records")?,
            Err(_) => records,
        };
        Ok(Self { records, rounds, json: given("--json") || env::var_os("ALLUVIUM_BENCH_JSON").is_some() })
    }
}

/// `alluvium broker`, until it is dropped.
pub struct BrokerProcess {
    pub address: String,
    process: Child,
    /// Kept open, since the broker has more to say than its address.
    _stdout: BufReader<ChildStdout>,
}

impl BrokerProcess {
    pub fn start() -> anyhow::Result<Self> {
        let mut process = Command::new(env!("CARGO_BIN_EXE_alluvium"))
            .args(["broker", "--listen", "127.0.0.1:0", "--log", "error"])
            .stdout(Stdio::piped())
            .spawn()
            .context("start the broker")?;
        let mut stdout = BufReader::new(process.stdout.take().context("the broker's output")?);
        let mut line = String::new();
        stdout.read_line(&mut line).context("read the broker's address")?;
        match line.trim().strip_prefix("listening on ") {
            Some(address) => Ok(Self { address: address.to_owned(), process, _stdout: stdout }),
            None => bail!("the broker did not say where it listens"),
        }
    }
}

impl Drop for BrokerProcess {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Fills the demo's topic.
pub async fn fill(address: &str, partitions: i32, records: u64) -> anyhow::Result<()> {
    let broker = broker_at(address).await?;
    broker.create_topic(TOPIC, partitions, 1).await?;
    send(&broker, TOPIC, Source::Iris, partitions, records, Compression::None).await.map(drop)
}

pub async fn broker_at(address: &str) -> anyhow::Result<Broker> {
    let settings = demo_settings(address, Path::new("lake"));
    Ok(Broker::connect(&settings.source.brokers, settings.broker).await?)
}

/// Sends simulated records in JSON to a topic, the truth in them, and tells how many bytes of values they are.
pub async fn send(
    broker: &Broker,
    topic: &str,
    source: Source,
    partitions: i32,
    records: u64,
    compression: Compression,
) -> anyhow::Result<u64> {
    let (topic, encoding) = (topic.to_owned(), Encoding::json(true));
    let feed = Feed { topic, source, count: records, encoding, compression, ..Feed::default() };
    let sent = Arc::new(Sent::default());
    let partitions: Vec<i32> = (0..partitions).collect();
    feed::run(&feed, broker, &partitions, &sent, &CancellationToken::new()).await?;
    Ok(sent.bytes())
}

/// This program once more, to measure one thing.
pub struct Run(Child);

impl Run {
    pub fn start(arguments: &[&str]) -> anyhow::Result<Self> {
        let mut run = Command::new(env::current_exe()?);
        run.args(arguments).stdout(Stdio::piped()).stderr(Stdio::inherit());
        Ok(Self(run.spawn().context("start a run")?))
    }

    pub fn measured(self) -> anyhow::Result<Measured> {
        let output = self.0.wait_with_output()?;
        ensure!(output.status.success(), "a run failed");
        serde_json::from_slice(&output.stdout).context("read what a run measured")
    }
}

/// What a run took of its process, from the first fetch to the last record dropped or committed.
#[derive(Serialize, Deserialize)]
pub struct Measured {
    pub records: u64,
    pub seconds: f64,
    pub cpu_seconds: f64,
    pub peak_bytes: Option<u64>,
}

pub async fn measure(run: impl Future<Output = anyhow::Result<u64>>) -> anyhow::Result<Measured> {
    let (began, cpu_began) = (Instant::now(), ProcessTime::try_now()?);
    let records = run.await?;
    let (seconds, cpu_seconds) = (began.elapsed().as_secs_f64(), cpu_began.try_elapsed()?.as_secs_f64());
    Ok(Measured { records, seconds, cpu_seconds, peak_bytes: peak_bytes() })
}

/// Resident, of this process; only Linux tells.
fn peak_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

pub fn print_json(what: &impl Serialize) -> anyhow::Result<()> {
    println!("{}", serde_json::to_string_pretty(what)?);
    Ok(())
}

pub fn median(figures: impl Iterator<Item = f64>) -> f64 {
    let mut figures: Vec<f64> = figures.collect();
    figures.sort_by(f64::total_cmp);
    let last = figures.len().saturating_sub(1);
    let at = |place: usize| *figures.get(place).expect("at least one round");
    f64::midpoint(at(last / 2), at(last.div_ceil(2)))
}
