//! Feeds a simulated stream to a topic: round robin over its partitions, as fast as it goes or at a pace.
//!
//! Owns: when a partition's records are sent, and in what batches. Does not own: which records these are, which is
//! `script`'s and depends on neither.

use std::{
    convert::Infallible,
    future,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::Semaphore,
    task::{JoinSet, spawn_blocking},
    time::sleep,
};
use tokio_util::sync::CancellationToken;

pub use super::label::Key;
use super::{
    Disorder, Source,
    corruption::Corruption,
    encoding::Encoding,
    pace::{Pace, Rate, Turns},
    script::Script,
};
use crate::{
    broker::{Broker, BrokerError, Compression, Partition},
    record::Record,
};

/// Both together keep a batch below the megabyte that brokers take by default.
pub(super) const BATCH_RECORDS_MAX: u64 = 7_000;
/// Of keys and values.
pub(super) const BATCH_BYTES_MAX: u64 = 800_000;
/// How many batches are made or under way at once, over all partitions; never two of the same partition.
const IN_FLIGHT_MAX: usize = 8;

/// What is sent where.
#[derive(Clone, Debug)]
pub struct Feed {
    pub topic: String,
    pub source: Source,
    pub seed: u64,
    /// Over all partitions; those that come again among them.
    pub count: u64,
    /// At a rate, the records of this time; without one, as many as go in it.
    pub time: Option<Duration>,
    /// Over all partitions; as fast as it goes if not set.
    pub rate: Option<Rate>,
    pub key: Key,
    pub compression: Compression,
    pub encoding: Encoding,
    pub disorder: Disorder,
    pub corruption: Corruption,
    pub stamps: Stamps,
    /// Send what is true of each record to `<topic>.truth`.
    pub truth_topic: bool,
}

impl Default for Feed {
    fn default() -> Self {
        Self {
            topic: String::new(),
            source: Source::default(),
            seed: 1,
            count: u64::MAX,
            time: None,
            rate: None,
            key: Key::default(),
            compression: Compression::default(),
            encoding: Encoding::default(),
            disorder: Disorder::default(),
            corruption: Corruption::default(),
            stamps: Stamps::default(),
            truth_topic: false,
        }
    }
}

impl Feed {
    /// Tells what can't be, before anything is sent.
    pub fn check(&self) -> Result<(), String> {
        self.disorder.check()?;
        self.corruption.shares(self.source, self.encoding.format).map(drop)
    }

    /// How many records go out at most.
    #[must_use]
    pub fn records_max(&self) -> u64 {
        let within = self.rate.zip(self.time).map_or(u64::MAX, |(rate, time)| rate.records_within(time));
        self.count.min(within)
    }

    #[must_use]
    pub fn truth_topic_name(&self) -> String {
        format!("{}.truth", self.topic)
    }
}

/// Which time the broker is told for a record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Stamps {
    /// When it was made; of a late record that is some time before it was sent
    #[default]
    Now,
    /// The stream's own, which begins with the year 2025: the same on every day
    Stream,
}

/// What the broker has acknowledged so far, for whoever watches.
#[derive(Debug, Default)]
pub struct Sent {
    records: AtomicU64,
    bytes: AtomicU64,
}

impl Sent {
    pub fn records(&self) -> u64 {
        self.records.load(Ordering::Relaxed)
    }

    /// Of keys and values, before compression.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    pub(super) fn note(&self, records: u64, bytes: u64) {
        self.records.fetch_add(records, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// Why a feed ended early.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// The feed can't be; [`Feed::check`] would have told.
    #[error("{0}")]
    Choice(String),
}

/// Sends `feed` until all is acknowledged, its time is over or `stop` is set. `sent` is right at any time, after an error
/// too.
pub async fn run(
    feed: &Feed,
    broker: &Broker,
    partitions: &[i32],
    sent: &Arc<Sent>,
    stop: &CancellationToken,
) -> Result<(), FeedError> {
    feed.check().map_err(FeedError::Choice)?;
    let (permits, stop) = (Arc::new(Semaphore::new(IN_FLIGHT_MAX)), stop.child_token());
    let pace = feed.rate.map(Pace::new);
    let mut running = JoinSet::new();
    for (place, &partition) in (0..).zip(partitions) {
        let turns = Turns::new(feed.records_max(), partitions.len() as u64, place);
        let lane = Lane::open(feed, broker, partition, turns).await?;
        running.spawn(lane.run(pace, Arc::clone(&permits), Arc::clone(sent), stop.clone()));
    }
    let ended = async {
        while let Some(ended) = running.join_next().await {
            ended.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))?;
        }
        Ok(())
    };
    // At a rate, the time is a number of records already.
    let time = feed.time.filter(|_| feed.rate.is_none());
    tokio::select! {
        ended = ended => ended,
        never = stop_after(time, &stop) => match never {},
    }
}

async fn stop_after(time: Option<Duration>, stop: &CancellationToken) -> Infallible {
    if let Some(time) = time {
        sleep(time).await;
        stop.cancel();
    }
    future::pending().await
}

/// The records of one partition on their way.
struct Lane {
    partition: Partition,
    truth: Option<Partition>,
    script: Script,
    turns: Turns,
    compression: Compression,
}

impl Lane {
    async fn open(feed: &Feed, broker: &Broker, partition: i32, turns: Turns) -> Result<Self, FeedError> {
        let truth =
            if feed.truth_topic { Some(broker.partition(&feed.truth_topic_name(), partition).await?) } else { None };
        Ok(Self {
            partition: broker.partition(&feed.topic, partition).await?,
            truth,
            script: Script::new(feed, partition, turns.share).map_err(FeedError::Choice)?,
            turns,
            compression: feed.compression,
        })
    }

    async fn run(
        mut self,
        pace: Option<Pace>,
        permits: Arc<Semaphore>,
        sent: Arc<Sent>,
        stop: CancellationToken,
    ) -> Result<(), FeedError> {
        while self.script.left() > 0 {
            let next = self.script.made();
            let due = async {
                let due = match pace {
                    None => self.turns.share,
                    Some(pace) => self.turns.own(pace.until_due(self.turns.overall(next)).await),
                };
                (due.max(next + 1), permits.acquire().await)
            };
            // The semaphore is never closed; were it, this would be the end too.
            let (due, Ok(_permit)) = (tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                due = due => due,
            }) else {
                return Ok(());
            };
            let (lane, batch) = self.batch((due - next).min(BATCH_RECORDS_MAX)).await;
            self = lane;
            self.send(batch, &sent).await?;
        }
        Ok(())
    }

    /// Makes the next records, at most so many, on a thread where it holds up nobody.
    async fn batch(mut self, count: u64) -> (Self, Outgoing) {
        let made = spawn_blocking(move || {
            let batch = self.make(count);
            (self, batch)
        });
        made.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
    }

    fn make(&mut self, count: u64) -> Outgoing {
        let now_ms = chrono::Utc::now().timestamp_millis();
        let mut batch = Outgoing::default();
        let end = self.script.made() + count.min(self.script.left());
        while self.script.made() < end && batch.bytes < BATCH_BYTES_MAX {
            let drawn = self.script.next(now_ms);
            batch.bytes += bytes_of(&drawn.record);
            batch.oversized |= drawn.oversized;
            batch.records.push(drawn.record);
            batch.truths.extend(drawn.truth);
        }
        batch
    }

    async fn send(&self, batch: Outgoing, sent: &Sent) -> Result<(), BrokerError> {
        let compression = match self.compression {
            // A broker takes no batch of more than a megabyte, and what makes the record too long packs well.
            Compression::None if batch.oversized => Compression::Gzip,
            compression => compression,
        };
        let made = batch.records.len() as u64;
        self.partition.produce(batch.records, compression).await?;
        sent.note(made, batch.bytes);
        if let Some(truth) = &self.truth
            && !batch.truths.is_empty()
        {
            truth.produce(batch.truths, self.compression).await?;
        }
        Ok(())
    }
}

/// Of key and value.
pub(super) fn bytes_of(record: &Record) -> u64 {
    (record.value.as_ref().map_or(0, Vec::len) + record.key.as_ref().map_or(0, Vec::len)) as u64
}

#[derive(Default)]
struct Outgoing {
    records: Vec<Record>,
    truths: Vec<Record>,
    bytes: u64,
    oversized: bool,
}
