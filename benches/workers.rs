//! What sharing costs: batch runs of the demo's pipeline by 1, 2 and 4 workers that share 16 partitions by a group.
//!
//! ```text
//! cargo bench --bench workers
//! ALLUVIUM_BENCH_RECORDS=20000000 cargo bench --bench workers -- --json
//! ```
//!
//! The embedded broker runs in a process of its own, and so does each worker. The workers of a run start at once, as they
//! do anywhere: who comes first has all the partitions for a moment, and hands most of them over. A round has a run of
//! each number of workers, each into an empty lake and by a new group.
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
use anyhow::{Context, ensure};
use apart::{BrokerProcess, Measured, Plan, Run, fill, measure, median, print_json};
use common::{demo_settings_of_a_group, folder};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

const PARTITIONS: i32 = 16;
const RECORDS: u64 = 10_000_000;
const WORKERS: [usize; 3] = [1, 2, 4];

const WORKER: &str = "worker";

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    match &*env::args().skip(1).collect::<Vec<_>>() {
        [what, broker, lake, group] if what == WORKER => print_json(&worker(broker, Path::new(lake), group).await?),
        _ => compare(&Plan::from_environment(RECORDS)?).await,
    }
}

async fn compare(plan: &Plan) -> anyhow::Result<()> {
    let broker = BrokerProcess::start()?;
    fill(&broker.address, PARTITIONS, plan.records).await?;
    let mut runs: [Vec<Shared>; WORKERS.len()] = Default::default();
    for round in 0..plan.rounds {
        for (workers, runs) in WORKERS.into_iter().zip(&mut runs) {
            runs.push(Shared::run(&broker.address, workers, &format!("{workers}-{round}"), plan.records)?);
        }
    }
    let report = Report::new(plan, &runs);
    if plan.json {
        return print_json(&report);
    }
    report.print();
    Ok(())
}

/// A batch run that shares the topic with the others of its group.
async fn worker(broker: &str, lake: &Path, group: &str) -> anyhow::Result<Measured> {
    let settings = demo_settings_of_a_group(broker, lake, group);
    let pipeline = Pipeline::open(settings, Mode::Batch, CancellationToken::new()).await?;
    measure(async {
        let summary = pipeline.run().await?;
        ensure!(summary.failures.is_empty(), "{}", summary.failures.join("\n"));
        Ok(summary.tally.counts.scored)
    })
    .await
}

/// What the workers of one run took together.
struct Shared {
    seconds: f64,
    cpu_seconds: f64,
    /// Of the worker that took most.
    peak_bytes: Option<u64>,
    /// The records of the worker that had most of them, as a part of all.
    largest_share: f64,
}

impl Shared {
    fn run(broker: &str, workers: usize, group: &str, records: u64) -> anyhow::Result<Self> {
        let folder = folder();
        let lake = folder.path().to_str().context("the folder's name is text")?;
        let runs =
            (0..workers).map(|_| Run::start(&[WORKER, broker, lake, group])).collect::<anyhow::Result<Vec<_>>>()?;
        let measured = runs.into_iter().map(Run::measured).collect::<anyhow::Result<Vec<_>>>()?;
        let seen: u64 = measured.iter().map(|run| run.records).sum();
        ensure!(seen == records, "{workers} workers committed {seen} of {records} records");
        Ok(Self::of(&measured, records))
    }

    #[expect(clippy::cast_precision_loss, reason = "for people")]
    fn of(workers: &[Measured], records: u64) -> Self {
        let largest = workers.iter().map(|worker| worker.records).max().unwrap_or_default();
        Self {
            seconds: workers.iter().map(|worker| worker.seconds).fold(0.0, f64::max),
            cpu_seconds: workers.iter().map(|worker| worker.cpu_seconds).sum(),
            peak_bytes: workers.iter().filter_map(|worker| worker.peak_bytes).max(),
            largest_share: largest as f64 / records as f64,
        }
    }
}

#[derive(Serialize)]
struct Report {
    records: u64,
    partitions: i32,
    rounds: usize,
    shared: Vec<Figures>,
}

#[derive(Serialize)]
struct Figures {
    workers: usize,
    records_per_second: f64,
    /// Of all workers together.
    cpu_seconds_per_million: f64,
    /// Over one worker's of the same round; the median.
    cpu_of_one: f64,
    largest_share: f64,
    /// Of one worker, in the worst run.
    #[serde(skip_serializing_if = "Option::is_none")]
    peak_bytes: Option<u64>,
}

impl Report {
    fn new(plan: &Plan, runs: &[Vec<Shared>; WORKERS.len()]) -> Self {
        let [alone, ..] = runs;
        let shared =
            WORKERS.into_iter().zip(runs).map(|(workers, runs)| Figures::of(plan.records, workers, runs, alone));
        Self { records: plan.records, partitions: PARTITIONS, rounds: plan.rounds, shared: shared.collect() }
    }

    fn print(&self) {
        let Self { records, partitions, rounds, shared } = self;
        println!("{} records, {partitions} partitions, {rounds} rounds, medians\n", count(*records));
        println!(
            "{:>7} {:>12} {:>14} {:>8} {:>14} {:>14}",
            "workers", "records/s", "CPU s/million", "of one", "largest share", "peak memory"
        );
        shared.iter().for_each(Figures::print);
    }
}

#[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "for people")]
impl Figures {
    fn of(records: u64, workers: usize, runs: &[Shared], alone: &[Shared]) -> Self {
        let records = records as f64;
        Self {
            workers,
            records_per_second: median(runs.iter().map(|run| records / run.seconds)),
            cpu_seconds_per_million: median(runs.iter().map(|run| run.cpu_seconds / records * 1e6)),
            cpu_of_one: median(runs.iter().zip(alone).map(|(run, alone)| run.cpu_seconds / alone.cpu_seconds)),
            largest_share: median(runs.iter().map(|run| run.largest_share)),
            peak_bytes: runs.iter().filter_map(|run| run.peak_bytes).max(),
        }
    }

    fn print(&self) {
        let (speed, share) = (count(self.records_per_second as u64), self.largest_share * 100.0);
        let peak = self.peak_bytes.map(bytes).unwrap_or_default();
        println!(
            "{:>7} {speed:>12} {:>14.2} {:>8.2} {share:>13.0}% {peak:>14}",
            self.workers, self.cpu_seconds_per_million, self.cpu_of_one
        );
    }
}
