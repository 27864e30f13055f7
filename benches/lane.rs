//! The whole lane beside the bare fetch loop: records a second, CPU and memory of a batch run of the demo's pipeline.
//!
//! ```text
//! cargo bench --bench lane
//! ALLUVIUM_BENCH_RECORDS=10000000 cargo bench --bench lane -- --json
//! ```
//!
//! The embedded broker runs in a process of its own, and so does each run, so that CPU and memory are those of that run
//! alone. A round reads the topic bare, carries it into an empty lake, and reads it bare again.
#![expect(clippy::expect_used, reason = "a benchmark that can't run has nothing better to do than stop")]
// A run's whole work is one future; laying it out goes deeper than the compiler's default.
#![recursion_limit = "256"]

mod common;

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
    pipeline::{Mode, Pipeline},
    simulate::{
        Source,
        feed::{self, Feed, Key, Sent},
    },
    telemetry::progress::{bytes, count},
};
use anyhow::{Context, bail, ensure};
use common::{demo_settings, folder};
use cpu_time::ProcessTime;
use futures::{StreamExt, TryStreamExt, stream::FuturesUnordered};
use rskafka::client::{
    ClientBuilder,
    partition::{PartitionClient, UnknownTopicHandling},
};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

/// As the demo's pipeline has it.
const TOPIC: &str = "iris";
const PARTITIONS: i32 = 4;
const RECORDS: u64 = 1_000_000;
const ROUNDS: usize = 3;
/// Without `--bench`, as when all targets are tested, it is only shown that it works.
const RECORDS_SHOWN: u64 = 10_000;

const BARE: &str = "bare";
const LANE: &str = "lane";

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    match &*env::args().skip(1).collect::<Vec<_>>() {
        [what, broker] if what == BARE => print_json(&bare(broker).await?),
        [what, broker] if what == LANE => print_json(&lane(broker).await?),
        _ => compare(&Plan::from_environment()?).await,
    }
}

async fn compare(plan: &Plan) -> anyhow::Result<()> {
    let broker = BrokerProcess::start()?;
    let value_bytes = fill(&broker.address, plan.records).await?;
    let run = |what| run_apart(what, &broker.address, plan.records);
    let round = |_| Ok(Round { before: run(BARE)?, lane: run(LANE)?, after: run(BARE)? });
    let rounds = (0..plan.rounds).map(round).collect::<anyhow::Result<Vec<_>>>()?;
    let report = Report::new(plan, value_bytes, &rounds);
    if plan.json {
        return print_json(&report);
    }
    report.print();
    Ok(())
}

/// Runs this program again to measure one thing.
fn run_apart(what: &str, broker: &str, records: u64) -> anyhow::Result<Measured> {
    let run = Command::new(env::current_exe()?).args([what, broker]).stderr(Stdio::inherit()).output()?;
    ensure!(run.status.success(), "the {what} run failed");
    let measured: Measured = serde_json::from_slice(&run.stdout).context("read what a run measured")?;
    ensure!(measured.records == records, "the {what} run saw {} of {records} records", measured.records);
    Ok(measured)
}

fn print_json(what: &impl Serialize) -> anyhow::Result<()> {
    println!("{}", serde_json::to_string_pretty(what)?);
    Ok(())
}

struct Plan {
    records: u64,
    rounds: usize,
    json: bool,
}

impl Plan {
    fn from_environment() -> anyhow::Result<Self> {
        let given = |flag: &str| env::args().any(|argument| argument == flag);
        let (records, rounds) = if given("--bench") { (RECORDS, ROUNDS) } else { (RECORDS_SHOWN, 1) };
        let records = match env::var("ALLUVIUM_BENCH_RECORDS") {
            Ok(text) => text.parse().context("ALLUVIUM_BENCH_RECORDS is a number of records")?,
            Err(_) => records,
        };
        Ok(Self { records, rounds, json: given("--json") || env::var_os("ALLUVIUM_BENCH_JSON").is_some() })
    }
}

/// `alluvium broker`, until it is dropped.
struct BrokerProcess {
    address: String,
    process: Child,
    /// Kept open, since the broker has more to say than its address.
    _stdout: BufReader<ChildStdout>,
}

impl BrokerProcess {
    fn start() -> anyhow::Result<Self> {
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

/// Fills the topic, and tells how many bytes of values it holds.
async fn fill(broker: &str, records: u64) -> anyhow::Result<u64> {
    let settings = demo_settings(broker, Path::new("lake"));
    let broker = Broker::connect(&settings.source.brokers, settings.broker).await?;
    broker.create_topic(TOPIC, PARTITIONS, 1).await?;
    let feed = Feed {
        topic: TOPIC.to_owned(),
        source: Source::Iris,
        seed: 1,
        count: records,
        rate: None,
        key: Key::None,
        compression: Compression::None,
        with_truth: true,
    };
    let sent = Arc::new(Sent::default());
    let partitions: Vec<i32> = (0..PARTITIONS).collect();
    feed::run(&feed, &broker, &partitions, &sent, &CancellationToken::new()).await?;
    Ok(sent.bytes())
}

/// The bound: every partition fetched at once, the records dropped as they come.
async fn bare(broker: &str) -> anyhow::Result<Measured> {
    let settings = demo_settings(broker, Path::new("lake"));
    let client = ClientBuilder::new(settings.source.brokers.clone()).build().await?;
    let mut clients = vec![];
    for partition in 0..PARTITIONS {
        clients.push(client.partition_client(TOPIC, partition, UnknownTopicHandling::Error).await?);
    }
    let bytes_max = settings.broker.fetch_bytes_max;
    let wait_ms = i32::try_from(settings.broker.fetch_wait_max.as_millis())?;
    measure(async {
        let readers = clients.into_iter().map(|client| tokio::spawn(drain(client, bytes_max, wait_ms)));
        let readers: FuturesUnordered<_> = readers.collect();
        readers.map(|read| read?).try_fold(0, |sum, read| async move { Ok(sum + read) }).await
    })
    .await
}

async fn drain(client: PartitionClient, bytes_max: i32, wait_ms: i32) -> anyhow::Result<u64> {
    let (mut offset, mut read) = (0, 0);
    loop {
        let (records, end) = client.fetch_records(offset, 1..bytes_max, wait_ms).await?;
        read += records.len() as u64;
        offset = records.last().map_or(offset, |last| last.offset + 1);
        if offset >= end {
            return Ok(read);
        }
    }
}

/// A batch run into an empty lake.
async fn lane(broker: &str) -> anyhow::Result<Measured> {
    let folder = folder();
    let settings = demo_settings(broker, folder.path());
    let pipeline = Pipeline::open(settings, Mode::Batch, CancellationToken::new()).await?;
    measure(async {
        let summary = pipeline.run().await?;
        ensure!(summary.failures.is_empty(), "{}", summary.failures.join("\n"));
        Ok(summary.tally.counts.scored)
    })
    .await
}

/// What a run took of its process, from the first fetch to the last record dropped or committed.
#[derive(Serialize, Deserialize)]
struct Measured {
    records: u64,
    seconds: f64,
    cpu_seconds: f64,
    peak_bytes: Option<u64>,
}

async fn measure(run: impl Future<Output = anyhow::Result<u64>>) -> anyhow::Result<Measured> {
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

struct Round {
    before: Measured,
    lane: Measured,
    after: Measured,
}

impl Round {
    fn bare(&self) -> [&Measured; 2] {
        [&self.before, &self.after]
    }

    fn of_bare(&self) -> f64 {
        f64::midpoint(self.before.seconds, self.after.seconds) / self.lane.seconds
    }
}

#[derive(Serialize)]
struct Report {
    records: u64,
    value_bytes: u64,
    partitions: i32,
    rounds: usize,
    bare: Figures,
    lane: Figures,
    /// The lane's speed as a part of the bare loop's of the same round; the median.
    lane_of_bare: f64,
}

#[derive(Serialize)]
struct Figures {
    records_per_second: f64,
    cpu_seconds_per_million: f64,
    /// In the worst run.
    #[serde(skip_serializing_if = "Option::is_none")]
    peak_bytes: Option<u64>,
}

impl Report {
    fn new(plan: &Plan, value_bytes: u64, rounds: &[Round]) -> Self {
        let bare: Vec<_> = rounds.iter().flat_map(Round::bare).collect();
        let lane: Vec<_> = rounds.iter().map(|round| &round.lane).collect();
        Self {
            records: plan.records,
            value_bytes,
            partitions: PARTITIONS,
            rounds: rounds.len(),
            bare: Figures::of(plan.records, &bare),
            lane: Figures::of(plan.records, &lane),
            lane_of_bare: median(rounds.iter().map(Round::of_bare)),
        }
    }

    fn print(&self) {
        let (records, mean_bytes) = (count(self.records), self.value_bytes / self.records.max(1));
        println!("{records} records of {mean_bytes} bytes, {PARTITIONS} partitions, {} rounds, medians\n", self.rounds);
        println!("{:16} {:>12} {:>9} {:>16} {:>12}", "", "records/s", "of bare", "CPU s/million", "peak memory");
        self.bare.print("bare fetch loop", 1.0);
        self.lane.print("the whole lane", self.lane_of_bare);
    }
}

#[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "for people")]
impl Figures {
    fn of(records: u64, runs: &[&Measured]) -> Self {
        let records = records as f64;
        Self {
            records_per_second: median(runs.iter().map(|run| records / run.seconds)),
            cpu_seconds_per_million: median(runs.iter().map(|run| run.cpu_seconds / records * 1e6)),
            peak_bytes: runs.iter().filter_map(|run| run.peak_bytes).max(),
        }
    }

    fn print(&self, what: &str, of_bare: f64) {
        let (speed, cpu) = (count(self.records_per_second as u64), self.cpu_seconds_per_million);
        let peak = self.peak_bytes.map(bytes).unwrap_or_default();
        println!("{what:16} {speed:>12} {:>8.0}% {cpu:>16.2} {peak:>12}", of_bare * 100.0);
    }
}

fn median(figures: impl Iterator<Item = f64>) -> f64 {
    let mut figures: Vec<f64> = figures.collect();
    figures.sort_by(f64::total_cmp);
    let last = figures.len().saturating_sub(1);
    let at = |place: usize| *figures.get(place).expect("at least one round");
    f64::midpoint(at(last / 2), at(last.div_ceil(2)))
}
