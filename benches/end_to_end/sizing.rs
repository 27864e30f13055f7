//! What a machine must be for a stream: batch runs that differ from one another in one thing each, the cores, the
//! partitions, the length of a record or the size of the network.

use alluvium::telemetry::progress::{bytes, count};
use anyhow::ensure;
use serde::Serialize;

use crate::{
    apart::median,
    args::Args,
    goals::Unit,
    measured::Measured,
    model,
    pipeline::Pipeline,
    report::Outcome,
    stand::{Stand, Topic, Variation},
};

const PARTITIONS: [i32; 4] = [1, 16, 64, 256];
/// What a record has more than is read of it.
const PADDING: [usize; 3] = [400, 2_000, 8_000];
const HIDDEN: [&str; 3] = ["64,64", "128,64", "256,256"];
/// No topic is larger, as the built-in broker holds it in memory.
const TOPIC_BYTES_MAX: u64 = 4 << 30;

pub async fn measure(args: &Args, stand: &mut Stand) -> anyhow::Result<Outcome> {
    ensure!(args.pipeline == Pipeline::Iris, "sizing trains its networks on irises: leave --pipeline out");
    let topic = stand.topic(args.partitions, args.records()).await?;
    let mut cases = vec![Case::new("as it is", &topic)];
    for cores in 1..std::thread::available_parallelism()?.get() {
        cases.push(Case { cores: Some(cores), ..Case::new(&format!("cores: {cores}"), &topic) });
    }
    for hidden in HIDDEN {
        let model = model::trained(stand.folder(), hidden).await?;
        cases.push(Case { model: Some(model), ..Case::new(&format!("hidden: {hidden}"), &topic) });
    }
    for partitions in PARTITIONS {
        let topic = stand.topic(partitions, args.records()).await?;
        cases.push(Case::new(&format!("partitions: {partitions}"), &topic));
    }
    for padding in PADDING {
        let records = args.records().min(TOPIC_BYTES_MAX / (padding as u64 + topic.mean_bytes()));
        let topic = stand.padded_topic(args.partitions, records, padding).await?;
        cases.push(Case::new(&format!("record: {} bytes", topic.mean_bytes()), &topic));
    }
    for _ in 0..args.rounds() {
        for case in &mut cases {
            let variation = Variation { cores: case.cores, model: case.model.as_deref(), roll_age: None };
            let run = stand.varied_job(&case.topic, variation)?.batch(case.topic.records).await?;
            case.runs.push(run);
        }
    }
    told(cases)
}

/// Runs that are alike.
#[derive(Serialize)]
struct Case {
    name: String,
    #[serde(skip)]
    topic: Topic,
    cores: Option<usize>,
    #[serde(skip)]
    model: Option<String>,
    runs: Vec<Measured>,
}

impl Case {
    fn new(name: &str, topic: &Topic) -> Self {
        Self { name: name.to_owned(), topic: topic.clone(), cores: None, model: None, runs: vec![] }
    }

    #[expect(clippy::cast_precision_loss, reason = "for people")]
    fn told(self) -> Told {
        let Topic { records, value_bytes, partitions, .. } = self.topic;
        let per_second = |of: u64| median(self.runs.iter().map(|run| of as f64 / run.seconds));
        Told {
            records,
            partitions,
            records_per_second: per_second(records),
            bytes_per_second: per_second(value_bytes),
            cpu_seconds_per_million: median(self.runs.iter().map(|run| run.cpu_per_million(records))),
            peak_bytes: self.runs.iter().map(|run| run.peak_bytes).max().unwrap_or_default(),
            case: self,
        }
    }
}

#[derive(Serialize)]
struct Told {
    #[serde(flatten)]
    case: Case,
    records: u64,
    partitions: i32,
    records_per_second: f64,
    bytes_per_second: f64,
    cpu_seconds_per_million: f64,
    peak_bytes: u64,
}

impl Told {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "for people")]
    fn line(&self) -> String {
        let (speed, bandwidth) = (Unit::RecordsPerSecond.told(self.records_per_second), self.bytes_per_second as u64);
        let (cpu, peak) = (self.cpu_seconds_per_million, bytes(self.peak_bytes));
        format!("{:20} {speed:>12} {:>12} {cpu:>14.2} {peak:>12}", self.case.name, bytes(bandwidth))
    }
}

fn told(cases: Vec<Case>) -> anyhow::Result<Outcome> {
    let cases: Vec<Told> = cases.into_iter().map(Case::told).collect();
    let largest = cases.iter().map(|case| case.records).max().unwrap_or_default();
    let mut lines = vec![
        format!(
            "up to {} records a run; medians of {}",
            count(largest),
            cases.first().map_or(0, |c| c.case.runs.len())
        ),
        format!("{:20} {:>12} {:>12} {:>14} {:>12}", "", "records/s", "bytes/s", "CPU s/million", "peak memory"),
    ];
    lines.extend(cases.iter().map(Told::line));
    Ok(Outcome { figures: vec![], details: serde_json::to_value(&cases)?, lines })
}
