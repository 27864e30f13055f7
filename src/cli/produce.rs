//! `alluvium produce`: simulated records for a topic.

use std::{
    num::NonZeroU64,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context;
use clap::Args;
use indicatif::ProgressBar;
use tokio_util::sync::CancellationToken;

use super::{Exit, run::Signals};
use crate::{
    broker::{Broker, BrokerLimits, Compression},
    simulate::{
        Source,
        feed::{self, Feed, Key, Sent},
    },
    telemetry::progress,
};

const LIMITS: BrokerLimits = BrokerLimits {
    connect_timeout: Duration::from_secs(10),
    request_timeout: Duration::from_secs(30),
    fetch_bytes_max: 1 << 20,
    fetch_wait_max: Duration::from_millis(500),
};
const BAR_INTERVAL: Duration = Duration::from_millis(100);

/// Send simulated records to a topic.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  alluvium produce --brokers localhost:9092 --topic iris --source iris --partitions 4
  alluvium produce --brokers localhost:9092 --topic iris --source iris --count 60000 --rate 1000 --compression zstd
  alluvium produce --brokers localhost:9092 --topic transactions --source transactions --partitions 4 --key entity

The same seed gives the same records in each partition, whatever the rate. A record that a broker did not \
acknowledge in time is sent again, so a topic may come to hold it twice.")]
pub(super) struct Produce {
    /// The brokers to begin with; one that answers is enough.
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',', required = true)]
    brokers: Vec<String>,
    #[arg(long)]
    topic: String,
    /// What to simulate.
    #[arg(long, value_enum)]
    source: Source,
    /// How many records to send, over all partitions.
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    count: u64,
    /// Send this many records a second; as fast as it goes if not given.
    #[arg(long, value_name = "N")]
    rate: Option<NonZeroU64>,
    /// Create the topic with this many partitions if it doesn't exist.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..))]
    partitions: Option<i32>,
    /// How many brokers keep each partition of a topic that is created.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(i16).range(1..))]
    replication: i16,
    /// The records' keys.
    #[arg(long, value_enum, default_value_t)]
    key: Key,
    #[arg(long, value_enum, default_value_t)]
    compression: Compression,
    /// Which of the endless streams to send.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Put the answer that a model is to find into each record.
    #[arg(long)]
    with_truth: bool,
}

impl Produce {
    pub(super) async fn run(self) -> anyhow::Result<Exit> {
        let broker = Broker::connect(&self.brokers, LIMITS).await?;
        let partitions = self.topic_partitions(&broker).await?;
        let (began, sent, stop) = (Instant::now(), Arc::new(Sent::default()), CancellationToken::new());
        let feed = self.into_feed();
        let outcome = {
            let watching = tokio::spawn(stop_on_signal(stop.clone()));
            let outcome = feed_with_bar(&feed, &broker, &partitions, &sent, &stop).await;
            watching.abort();
            outcome
        };
        outcome.with_context(|| format!("{} records were sent", progress::count(sent.records())))?;
        println!("{}", summary(&feed, partitions.len(), &sent, began.elapsed()));
        Ok(Exit::Done)
    }

    async fn topic_partitions(&self, broker: &Broker) -> anyhow::Result<Vec<i32>> {
        if let Some(partitions) = self.partitions {
            broker.create_topic(&self.topic, partitions, self.replication).await?;
        }
        match broker.partitions(&self.topic).await {
            Err(error) if error.unknown_topic() => Err(error).context("add --partitions N to create the topic"),
            outcome => Ok(outcome?),
        }
    }

    fn into_feed(self) -> Feed {
        Feed {
            topic: self.topic,
            source: self.source,
            seed: self.seed,
            count: self.count,
            rate: self.rate,
            key: self.key,
            compression: self.compression,
            with_truth: self.with_truth,
        }
    }
}

/// Feeds with a progress bar on stderr.
pub(crate) async fn feed_with_bar(
    feed: &Feed,
    broker: &Broker,
    partitions: &[i32],
    sent: &Arc<Sent>,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let bar = progress::bar("producing", feed.count);
    let feeding = feed::run(feed, broker, partitions, sent, stop);
    let outcome = tokio::select! {
        outcome = feeding => outcome,
        never = follow(&bar, sent) => match never {},
    };
    bar.finish_and_clear();
    Ok(outcome?)
}

async fn follow(bar: &ProgressBar, sent: &Sent) -> std::convert::Infallible {
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

fn summary(feed: &Feed, partitions: usize, sent: &Sent, took: Duration) -> String {
    let records = sent.records();
    let verb = if records < feed.count { "stopped; sent" } else { "sent" };
    let millis = took.as_millis().max(1);
    let per_second = u64::try_from(u128::from(records) * 1_000 / millis).unwrap_or(u64::MAX);
    format!(
        "{verb} {} of {} records ({}) to {partitions} partitions of `{}` in {:.1} s: {} records/s",
        progress::count(records),
        progress::count(feed.count),
        progress::bytes(sent.bytes()),
        feed.topic,
        took.as_secs_f64(),
        progress::count(per_second),
    )
}
