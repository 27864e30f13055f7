//! Whether a record costs more the longer a run has gone on: CPU per record of a large run over that of small ones.
//!
//! The start is taken off both, or it would flatter the large run: it is what a run on the same topic and lake takes that
//! finds nothing new. Small runs are made before and after the large one, so that a machine whose speed drifts does not
//! spoil it.

use alluvium::telemetry::progress::count;
use serde::Serialize;

use crate::{
    apart::median,
    args::Args,
    goals::{self, Unit},
    measured::Measured,
    report::Outcome,
    stand::{Stand, Topic},
};

pub async fn measure(args: &Args, stand: &mut Stand) -> anyhow::Result<Outcome> {
    let base = stand.topic(args.partitions, args.growth_base()).await?;
    let large_topic = stand.topic(args.partitions, args.growth_records()).await?;
    let mut small = vec![];
    for _ in 0..args.rounds() {
        small.push(Pair::run(stand, &base).await?);
    }
    let large = Pair::run(stand, &large_topic).await?;
    for _ in 0..args.rounds() {
        small.push(Pair::run(stand, &base).await?);
    }
    Growth::new(&base, small, &large_topic, large).told()
}

/// A run, and one after it that has nothing to do.
#[derive(Serialize)]
struct Pair {
    run: Measured,
    idle: Measured,
}

impl Pair {
    async fn run(stand: &mut Stand, topic: &Topic) -> anyhow::Result<Self> {
        let job = stand.job(topic)?;
        Ok(Self { run: job.batch(topic.records).await?, idle: job.batch(0).await? })
    }
}

#[derive(Serialize)]
struct Growth {
    partitions: i32,
    small_records: u64,
    large_records: u64,
    /// Of both kinds of runs; the median.
    start_cpu_seconds: f64,
    /// Without the start.
    small_cpu_seconds_per_million: f64,
    large_cpu_seconds_per_million: f64,
    /// The start included.
    ratio_with_start: f64,
    ratio: f64,
    small: Vec<Pair>,
    large: Pair,
}

impl Growth {
    #[expect(clippy::cast_precision_loss, reason = "records are fewer than 2^52")]
    fn new(small_topic: &Topic, small: Vec<Pair>, large_topic: &Topic, large: Pair) -> Self {
        let start = median(small.iter().chain([&large]).map(|pair| pair.idle.cpu_seconds));
        let each = |pair: &Pair, records: u64| (pair.run.cpu_seconds - start) / records as f64 * 1e6;
        let with_start = median(small.iter().map(|pair| pair.run.cpu_per_million(small_topic.records)));
        let small_each = median(small.iter().map(|pair| each(pair, small_topic.records)));
        let large_each = each(&large, large_topic.records);
        Self {
            partitions: large_topic.partitions,
            small_records: small_topic.records,
            large_records: large_topic.records,
            start_cpu_seconds: start,
            small_cpu_seconds_per_million: small_each,
            large_cpu_seconds_per_million: large_each,
            ratio_with_start: large.run.cpu_per_million(large_topic.records) / with_start,
            ratio: large_each / small_each,
            small,
            large,
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "for people")]
    fn told(self) -> anyhow::Result<Outcome> {
        let figures = vec![goals::GROWTH.held_against(self.ratio)];
        let runs = self.small.len();
        let (small, large) = (self.small_cpu_seconds_per_million, self.large_cpu_seconds_per_million);
        let speed = |records: u64, seconds: f64| Unit::RecordsPerSecond.told(records as f64 / seconds);
        let large_speed = speed(self.large_records, self.large.run.seconds);
        let lines = vec![
            format!("{} records: {large:.3} CPU s/million, {large_speed} records/s", count(self.large_records)),
            format!("{} records: {small:.3} CPU s/million, the median of {runs} runs", count(self.small_records)),
            format!("a start: {:.3} CPU s, taken off both", self.start_cpu_seconds),
            format!("peak memory of the large run: {}", Unit::Bytes.told(self.large.run.peak_bytes as f64)),
        ];
        Ok(Outcome { figures, details: serde_json::to_value(&self)?, lines })
    }
}
