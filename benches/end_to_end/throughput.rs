//! Records a second, share of the bare loop, CPU and memory of a batch run into an empty lake.

use alluvium::telemetry::progress::{bytes, count};
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
    let topic = stand.topic(args.partitions, args.records()).await?;
    let mut rounds = vec![];
    for _ in 0..args.rounds() {
        let job = stand.job(&topic)?;
        rounds.push(Round {
            before: job.bare().await?,
            run: job.batch(topic.records).await?,
            after: job.bare().await?,
        });
    }
    Throughput::new(&topic, rounds).told()
}

#[derive(Serialize)]
struct Round {
    before: Measured,
    run: Measured,
    after: Measured,
}

impl Round {
    fn of_bare(&self) -> f64 {
        f64::midpoint(self.before.seconds, self.after.seconds) / self.run.seconds
    }
}

#[derive(Serialize)]
struct Throughput {
    records: u64,
    mean_bytes: u64,
    partitions: i32,
    bare: Speed,
    run: Speed,
    /// The run's speed as a part of the bare loop's of the same round; the median.
    of_bare: f64,
    rounds: Vec<Round>,
}

#[derive(Serialize)]
struct Speed {
    records_per_second: f64,
    cpu_seconds_per_million: f64,
    /// In the worst run.
    peak_bytes: u64,
}

impl Throughput {
    fn new(topic: &Topic, rounds: Vec<Round>) -> Self {
        let bare: Vec<_> = rounds.iter().flat_map(|round| [&round.before, &round.after]).collect();
        let runs: Vec<_> = rounds.iter().map(|round| &round.run).collect();
        Self {
            records: topic.records,
            mean_bytes: topic.mean_bytes(),
            partitions: topic.partitions,
            bare: Speed::of(topic.records, &bare),
            run: Speed::of(topic.records, &runs),
            of_bare: median(rounds.iter().map(Round::of_bare)),
            rounds,
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "for people")]
    fn told(self) -> anyhow::Result<Outcome> {
        let figures = vec![
            goals::SPEED.held_against(self.run.records_per_second),
            goals::SHARE.held_against(self.of_bare),
            goals::CPU.held_against(self.run.cpu_seconds_per_million),
            goals::MEMORY.held_against(self.run.peak_bytes as f64),
        ];
        let Self { records, mean_bytes, partitions, rounds, .. } = &self;
        let lines = vec![
            format!(
                "{} records of {mean_bytes} bytes, {partitions} partitions; medians of {}",
                count(*records),
                rounds.len()
            ),
            format!("{:16} {:>12} {:>9} {:>14} {:>12}", "", "records/s", "of bare", "CPU s/million", "peak memory"),
            self.bare.line("bare fetch loop", 1.0),
            self.run.line("the whole way", self.of_bare),
        ];
        Ok(Outcome { figures, details: serde_json::to_value(&self)?, lines })
    }
}

impl Speed {
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    fn of(records: u64, runs: &[&Measured]) -> Self {
        Self {
            records_per_second: median(runs.iter().map(|run| records as f64 / run.seconds)),
            cpu_seconds_per_million: median(runs.iter().map(|run| run.cpu_per_million(records))),
            peak_bytes: runs.iter().map(|run| run.peak_bytes).max().unwrap_or_default(),
        }
    }

    fn line(&self, what: &str, of_bare: f64) -> String {
        let speed = Unit::RecordsPerSecond.told(self.records_per_second);
        let (cpu, peak) = (self.cpu_seconds_per_million, bytes(self.peak_bytes));
        format!("{what:16} {speed:>12} {:>8.0}% {cpu:>14.2} {peak:>12}", of_bare * 100.0)
    }
}
