//! `alluvium produce`: records for a topic, simulated or from files.

mod file;
mod registry;
mod simulated;
mod topic;

use std::{convert::Infallible, sync::Arc, time::Duration};

use clap::{ArgAction, ArgGroup, Args};
use indicatif::ProgressBar;
use tokio_util::sync::CancellationToken;

use self::{registry::RegistryArgs, topic::Topic};
use super::{Exit, Usage, run::Signals, security::SecurityArgs};
use crate::{
    broker::{Broker, BrokerLimits, Compression},
    simulate::{
        Rate, Share, Source,
        corruption::Corruption,
        duration,
        encoding::Format,
        feed::{Sent, Stamps},
    },
    telemetry::progress,
};

const LIMITS: BrokerLimits = BrokerLimits {
    connect_timeout: Duration::from_secs(10),
    request_timeout: Duration::from_secs(30),
    fetch_bytes_max: 1 << 20,
    fetch_wait_max: Duration::from_millis(500),
};
const CORRUPT: &str = "The share that is broken, in every way (1%) or by kind (truncated=1%,nan=0.5%): truncated, \
    wrong_type, missing_field, not_json, nan, oversized, empty";
const BAR_INTERVAL: Duration = Duration::from_millis(100);

/// Send simulated records, or the rows of files, to a topic
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("what").required(true).args(["source", "file"]), after_help = "\
Examples:
  alluvium produce --brokers localhost:9092 --topic iris --source iris --partitions 4
  alluvium produce --brokers localhost:9092 --topic iris --source iris --count 60000 --rate 1000 --compression zstd
  alluvium produce --brokers localhost:9092 --topic payments --source transactions --partitions 4 --key entity --truth
  alluvium produce --brokers localhost:9092 --topic sensors --source sensors --rate 1000..50000/10m --for 1h
  alluvium produce --brokers localhost:9092 --topic weblogs --source weblogs --late 1% --out-of-order 2% \
      --duplicates 0.5% --corrupt truncated=0.5%,wrong_type=1%
  alluvium produce --source sensors --format avro --show-schema > sensors.avsc
  alluvium produce --brokers localhost:9092 --topic sensors --source sensors --format avro --registry http://localhost:8081
  ALLUVIUM_PASSWORD=… alluvium produce --brokers kafka:9093 --topic iris --source iris --tls-ca ca.pem \
      --sasl scram-sha-512 --user alice
  alluvium produce --brokers localhost:9092 --topic trips --file trips/2026-*.parquet --key vehicle --rate 5000
  alluvium produce --brokers localhost:9092 --topic trips --file s3://bucket/trips --pauses begun_at --speed 60 --loop

The same seed gives the same records in the same order in each partition, whatever the rate; docs/streams.md tells what \
each source holds. A record that a broker did not acknowledge in time is sent again, so a topic may come to hold it twice.")]
pub(super) struct Produce {
    #[command(flatten)]
    topic: Topic,
    /// What to simulate
    #[arg(long, value_enum)]
    source: Option<Source>,
    /// Send the rows of these files or folders instead: CSV, JSON lines or Parquet, here or on S3
    #[arg(long, value_name = "PATH|URL", num_args = 1..)]
    file: Vec<String>,
    /// How many records to send, over all partitions [default: 1000000, of files all]
    #[arg(long, value_name = "N", conflicts_with = "time")]
    count: Option<u64>,
    /// For how long to send, such as 30s or 2h: at a rate, the records of that time exactly
    #[arg(id = "time", long = "for", value_name = "TIME", value_parser = duration)]
    time: Option<Duration>,
    /// Records a second: a number, a ramp (1000..50000/10m) or a wave (1000~5000/1h) [default: as fast as it goes]
    #[arg(long, value_name = "RATE")]
    rate: Option<Rate>,
    /// How a record is written
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// The records' keys: none, id or entity (whom the record is about); of files, a column [default: none]
    #[arg(long, value_name = "KEY|COLUMN")]
    key: Option<String>,
    /// How batches are packed on their way
    #[arg(long, value_enum, default_value_t)]
    compression: Compression,
    /// Print the schema of --format avro, or the header of --format csv, and send nothing
    #[arg(long)]
    show_schema: bool,
    #[command(flatten)]
    simulated: SimulatedArgs,
    #[command(flatten)]
    files: FileArgs,
    #[command(flatten)]
    registry: RegistryArgs,
    #[command(flatten)]
    security: SecurityArgs,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Simulated records")]
struct SimulatedArgs {
    /// Which of the endless streams to send
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Put the answer that a model is to find into each record
    #[arg(long, conflicts_with = "file")]
    with_truth: bool,
    /// Send that answer to the topic TOPIC.truth, with the record's key
    #[arg(long, conflicts_with = "file")]
    truth: bool,
    /// The share that comes late by 5 minutes to an hour of the stream's own time, such as 1%
    #[arg(long, value_name = "SHARE", conflicts_with = "file", default_value = "0%", hide_default_value = true)]
    late: Share,
    /// The share that comes after 1 to 50 records that followed it
    #[arg(long, value_name = "SHARE", conflicts_with = "file", default_value = "0%", hide_default_value = true)]
    out_of_order: Share,
    /// The share that comes a second time, 1 to 500 records later
    #[arg(long, value_name = "SHARE", conflicts_with = "file", default_value = "0%", hide_default_value = true)]
    duplicates: Share,
    #[arg(long, value_name = "SHARES", help = CORRUPT, conflicts_with = "file", default_value = "0%", hide_default_value = true)]
    corrupt: Corruption,
    /// The timestamp that the broker is told
    #[arg(long, value_enum, default_value_t, conflicts_with = "file")]
    timestamps: Stamps,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Files")]
struct FileArgs {
    /// Wait between rows as long as the times in this column lie apart
    #[arg(long, value_name = "COLUMN", conflicts_with_all = ["source", "rate"])]
    pauses: Option<String>,
    /// How many times faster than these pauses
    #[arg(long, value_name = "FACTOR", requires = "pauses", default_value_t = 1.0, value_parser = speed)]
    speed: f64,
    /// Begin again at the end, so many times in all; for ever if no number is given
    #[arg(id = "rounds", long = "loop", value_name = "TIMES", conflicts_with = "source", num_args = 0..=1,
          default_missing_value = "0", value_parser = clap::value_parser!(u64), action = ArgAction::Set)]
    rounds: Option<u64>,
}

fn speed(text: &str) -> Result<f64, String> {
    let factor = text.parse::<f64>().ok().filter(|factor| (0.001..=1e9).contains(factor));
    factor.ok_or_else(|| format!("`{text}` is no factor from 0.001 to 1000000000"))
}

impl Produce {
    pub(super) async fn run(self) -> anyhow::Result<Exit> {
        match self.source {
            Some(source) => self.simulate(source).await,
            None => self.play().await,
        }
    }

    async fn connect(&self) -> anyhow::Result<Broker> {
        Ok(Broker::secured(&self.topic.brokers, &self.security.settings()?, LIMITS).await?)
    }
}

/// Does the work with a bar on stderr, and stops it at a signal.
async fn watched<E>(
    bar: ProgressBar,
    sent: &Arc<Sent>,
    stop: &CancellationToken,
    work: impl Future<Output = Result<(), E>>,
) -> Result<(), E> {
    let watching = tokio::spawn(stop_on_signal(stop.clone()));
    let outcome = with_bar(bar, sent, work).await;
    watching.abort();
    outcome
}

/// Does the work with a bar on stderr.
pub(super) async fn with_bar<E>(
    bar: ProgressBar,
    sent: &Sent,
    work: impl Future<Output = Result<(), E>>,
) -> Result<(), E> {
    let outcome = tokio::select! {
        outcome = work => outcome,
        never = follow(&bar, sent) => match never {},
    };
    bar.finish_and_clear();
    outcome
}

async fn follow(bar: &ProgressBar, sent: &Sent) -> Infallible {
    let mut tick = tokio::time::interval(BAR_INTERVAL);
    loop {
        tick.tick().await;
        bar.set_position(sent.records());
    }
}

async fn stop_on_signal(stop: CancellationToken) {
    match Signals::new() {
        Ok(mut signals) => {
            signals.next().await;
            stop.cancel();
        }
        Err(error) => tracing::warn!(%error, "Ctrl-C will end this at once: signals can't be caught"),
    }
}

/// `sent 100 of 100 records (1 KiB) to 4 partitions of `iris` in 0.1 s: 1,000 records/s`
fn summary(sent: &Sent, wanted: Option<u64>, partitions: usize, topic: &str, took: Duration) -> String {
    let records = sent.records();
    let verb = if wanted.is_some_and(|wanted| records < wanted) { "stopped; sent" } else { "sent" };
    let of = wanted.map(|wanted| format!(" of {}", progress::count(wanted))).unwrap_or_default();
    let millis = took.as_millis().max(1);
    let per_second = u64::try_from(u128::from(records) * 1_000 / millis).unwrap_or(u64::MAX);
    format!(
        "{verb} {}{of} records ({}) to {partitions} partitions of `{topic}` in {:.1} s: {} records/s",
        progress::count(records),
        progress::bytes(sent.bytes()),
        took.as_secs_f64(),
        progress::count(per_second),
    )
}
