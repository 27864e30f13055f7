//! What partitions cost: CPU per record with many of them over that with few, the same records in both, in turns.

use alluvium::telemetry::progress::count;
use serde::Serialize;

use crate::{apart::median, args::Args, goals, measured::Measured, report::Outcome, stand::Stand};

pub async fn measure(args: &Args, stand: &mut Stand) -> anyhow::Result<Outcome> {
    let few = stand.topic(args.partitions, args.records()).await?;
    let many = stand.topic(args.many, args.records()).await?;
    let mut rounds = vec![];
    for _ in 0..args.rounds() {
        rounds.push(Round {
            few: stand.job(&few)?.batch(few.records).await?,
            many: stand.job(&many)?.batch(many.records).await?,
        });
    }
    let per_million =
        |of: fn(&Round) -> &Measured| median(rounds.iter().map(|round| of(round).cpu_per_million(args.records())));
    Partitions {
        records: args.records(),
        few: args.partitions,
        many: args.many,
        few_cpu_seconds_per_million: per_million(|round| &round.few),
        many_cpu_seconds_per_million: per_million(|round| &round.many),
        ratio: median(rounds.iter().map(Round::ratio)),
        rounds,
    }
    .told()
}

#[derive(Serialize)]
struct Round {
    few: Measured,
    many: Measured,
}

impl Round {
    fn ratio(&self) -> f64 {
        self.many.cpu_seconds / self.few.cpu_seconds
    }
}

#[derive(Serialize)]
struct Partitions {
    records: u64,
    few: i32,
    many: i32,
    few_cpu_seconds_per_million: f64,
    many_cpu_seconds_per_million: f64,
    /// Of the runs of one round; the median.
    ratio: f64,
    rounds: Vec<Round>,
}

impl Partitions {
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    fn told(self) -> anyhow::Result<Outcome> {
        let figures = vec![goals::PARTITIONS.held_against(self.ratio)];
        let row = |partitions: i32, cpu: f64, of: fn(&Round) -> &Measured| {
            let speed = median(self.rounds.iter().map(|round| self.records as f64 / of(round).seconds));
            let peak = self.rounds.iter().map(|round| of(round).peak_bytes).max().unwrap_or_default();
            let (speed, peak) = (goals::Unit::RecordsPerSecond.told(speed), goals::Unit::Bytes.told(peak as f64));
            format!("{partitions:>4} partitions: {cpu:.3} CPU s/million, {speed} records/s, peak memory {peak}")
        };
        let lines = vec![
            format!("{} records; medians of {} rounds", count(self.records), self.rounds.len()),
            row(self.few, self.few_cpu_seconds_per_million, |round| &round.few),
            row(self.many, self.many_cpu_seconds_per_million, |round| &round.many),
        ];
        Ok(Outcome { figures, details: serde_json::to_value(&self)?, lines })
    }
}
