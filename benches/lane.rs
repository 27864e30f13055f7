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

#[path = "common/apart.rs"]
mod apart;
mod common;

use std::{env, path::Path};

use alluvium::{
    pipeline::{Mode, Pipeline},
    telemetry::progress::{bytes, count},
};
use anyhow::ensure;
use apart::{BrokerProcess, Measured, Plan, Run, TOPIC, fill, measure, median, print_json};
use common::{demo_settings, folder};
use futures::{StreamExt, TryStreamExt, stream::FuturesUnordered};
use rskafka::client::{
    ClientBuilder,
    partition::{PartitionClient, UnknownTopicHandling},
};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

const PARTITIONS: i32 = 4;
const RECORDS: u64 = 1_000_000;

const BARE: &str = "bare";
const LANE: &str = "lane";

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    match &*env::args().skip(1).collect::<Vec<_>>() {
        [what, broker] if what == BARE => print_json(&bare(broker).await?),
        [what, broker] if what == LANE => print_json(&lane(broker).await?),
        _ => compare(&Plan::from_environment(RECORDS)?).await,
    }
}

async fn compare(plan: &Plan) -> anyhow::Result<()> {
    let broker = BrokerProcess::start()?;
    let value_bytes = fill(&broker.address, PARTITIONS, plan.records).await?;
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

fn run_apart(what: &str, broker: &str, records: u64) -> anyhow::Result<Measured> {
    let measured = Run::start(&[what, broker])?.measured()?;
    ensure!(measured.records == records, "the {what} run saw {} of {records} records", measured.records);
    Ok(measured)
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
