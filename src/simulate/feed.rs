//! Feeds a simulated stream to a topic: round robin over its partitions, as fast as it goes or at an even pace.

use std::{
    num::NonZeroU64,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::Semaphore,
    task::{JoinSet, spawn_blocking},
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::{Source, Stream};
use crate::{
    broker::{Broker, BrokerError, Compression, Partition},
    record::Record,
};

/// Both together keep a batch below the megabyte that brokers take by default.
const BATCH_RECORDS_MAX: u64 = 7_000;
/// Of keys and values.
const BATCH_BYTES_MAX: u64 = 800_000;
/// Room for nearly every record.
const RECORD_BYTES: usize = 256;
/// How many batches are made or under way at once, over all partitions; never two of the same partition.
const IN_FLIGHT_MAX: usize = 8;
/// With a pace, how long records may wait for others to go with.
const TICK: Duration = Duration::from_millis(50);

/// What is sent where.
#[derive(Clone, Debug)]
pub struct Feed {
    pub topic: String,
    pub source: Source,
    pub seed: u64,
    /// Over all partitions.
    pub count: u64,
    /// Records a second over all partitions; as fast as it goes if not set.
    pub rate: Option<NonZeroU64>,
    pub key: Key,
    pub compression: Compression,
    /// Put the answer that a model is to find into the records.
    pub with_truth: bool,
}

/// What a record's key is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Key {
    /// No key
    #[default]
    None,
    /// The record's `id`, as text
    Id,
    /// Whom the record is about: its card, machine, user or visitor; of a flower, its `id`
    Entity,
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
}

/// Sends `feed` until all is acknowledged or `stop` is set. `sent` is right at any time, after an error too.
pub async fn run(
    feed: &Feed,
    broker: &Broker,
    partitions: &[i32],
    sent: &Arc<Sent>,
    stop: &CancellationToken,
) -> Result<(), BrokerError> {
    let pace = feed.rate.map(|rate| Pace { start: Instant::now(), rate });
    let permits = Arc::new(Semaphore::new(IN_FLIGHT_MAX));
    let lanes = partitions.len() as u64;
    let mut running = JoinSet::new();
    for (place, &partition) in (0..).zip(partitions) {
        let lane = Lane {
            partition: broker.partition(&feed.topic, partition).await?,
            stream: feed.source.stream(feed.seed, partition),
            turns: Turns { place, lanes, share: share(feed.count, lanes, place) },
            key: feed.key,
            compression: feed.compression,
            with_truth: feed.with_truth,
        };
        running.spawn(lane.run(pace, Arc::clone(&permits), Arc::clone(sent), stop.clone()));
    }
    while let Some(ended) = running.join_next().await {
        ended.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))?;
    }
    Ok(())
}

/// How many of `count` records fall to one lane.
fn share(count: u64, lanes: u64, place: u64) -> u64 {
    count / lanes + u64::from(place < count % lanes)
}

/// The records of one partition.
struct Lane {
    partition: Partition,
    stream: Stream,
    turns: Turns,
    key: Key,
    compression: Compression,
    with_truth: bool,
}

impl Lane {
    async fn run(
        mut self,
        pace: Option<Pace>,
        permits: Arc<Semaphore>,
        sent: Arc<Sent>,
        stop: CancellationToken,
    ) -> Result<(), BrokerError> {
        while self.stream.next_id() < self.turns.share {
            let next = self.stream.next_id();
            let due = async {
                let due = match pace {
                    None => self.turns.share,
                    Some(pace) => pace.until_due(self.turns, next).await,
                };
                (due, permits.acquire().await)
            };
            // The semaphore is never closed; were it, this would be the end too.
            let (due, Ok(_permit)) = (tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                due = due => due,
            }) else {
                return Ok(());
            };
            let count = due.saturating_sub(next).min(BATCH_RECORDS_MAX);
            let (lane, batch) = self.batch(count).await;
            self = lane;
            let made = batch.records.len() as u64;
            self.partition.produce(batch.records, self.compression).await?;
            sent.records.fetch_add(made, Ordering::Relaxed);
            sent.bytes.fetch_add(batch.bytes, Ordering::Relaxed);
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
        let timestamp_ms = chrono::Utc::now().timestamp_millis();
        let (mut records, mut bytes) = (Vec::new(), 0);
        while (records.len() as u64) < count && bytes < BATCH_BYTES_MAX {
            let record = self.record(timestamp_ms);
            bytes += (record.value.as_ref().map_or(0, Vec::len) + record.key.as_ref().map_or(0, Vec::len)) as u64;
            records.push(record);
        }
        Outgoing { records, bytes }
    }

    fn record(&mut self, timestamp_ms: i64) -> Record {
        let id = self.stream.next_id();
        let mut value = Vec::with_capacity(RECORD_BYTES);
        let entity = self.stream.json(&mut value, self.with_truth);
        let key = match self.key {
            Key::None => None,
            Key::Id => Some(id.to_string().into_bytes()),
            Key::Entity => value.get(entity).map(<[u8]>::to_vec),
        };
        Record { timestamp_ms, key, value: Some(value), ..Record::default() }
    }
}

struct Outgoing {
    records: Vec<Record>,
    bytes: u64,
}

/// Which of all records, counted from 0, fall to a lane: every `lanes`-th one from `place` on.
#[derive(Clone, Copy)]
struct Turns {
    place: u64,
    lanes: u64,
    share: u64,
}

impl Turns {
    /// Where the lane's record number `own` stands among all.
    fn overall(self, own: u64) -> u64 {
        own * self.lanes + self.place
    }

    /// How many of the first `overall` records are the lane's.
    fn own(self, overall: u64) -> u64 {
        share(overall, self.lanes, self.place).min(self.share)
    }
}

/// Evenly spaced moments, one for each record.
#[derive(Clone, Copy)]
struct Pace {
    start: Instant,
    rate: NonZeroU64,
}

impl Pace {
    /// Waits until the lane's record `next` is due, a tick longer for others to join it, and tells up to which are due.
    async fn until_due(self, turns: Turns, next: u64) -> u64 {
        let due = self.start + self.after(turns.overall(next));
        sleep_until(due.max(Instant::now() + TICK)).await;
        turns.own(self.due_by(self.start.elapsed())).max(next + 1)
    }

    fn after(self, records: u64) -> Duration {
        let rate = self.rate.get();
        let nanos = u128::from(records % rate) * 1_000_000_000 / u128::from(rate);
        Duration::from_secs(records / rate) + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    fn due_by(self, elapsed: Duration) -> u64 {
        let due = elapsed.as_nanos() * u128::from(self.rate.get()) / 1_000_000_000 + 1;
        u64::try_from(due).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_shared_out_evenly_and_none_is_left_over() {
        let shares: Vec<u64> = (0..4).map(|place| share(10, 4, place)).collect();
        assert_eq!(shares, [3, 3, 2, 2]);
    }

    #[test]
    fn a_lane_has_every_nth_record() {
        let turns = Turns { place: 1, lanes: 4, share: 3 };
        assert_eq!([0, 1, 2].map(|own| turns.overall(own)), [1, 5, 9]);
        assert_eq!([0, 1, 2, 5, 6, 9, 10, 99].map(|overall| turns.own(overall)), [0, 0, 1, 1, 2, 2, 3, 3]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_pace_is_even_and_never_ahead() {
        let pace = Pace { start: Instant::now(), rate: NonZeroU64::new(1_000).unwrap() };
        let turns = Turns { place: 0, lanes: 2, share: 1_000 };
        let mut next = 0;
        while next < 500 {
            next = pace.until_due(turns, next).await;
            let elapsed_ms = u64::try_from(pace.start.elapsed().as_millis()).unwrap();
            assert!(next.abs_diff(elapsed_ms / 2) <= 1, "{next} after {elapsed_ms} ms");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_pace_waits_for_the_record() {
        let pace = Pace { start: Instant::now(), rate: NonZeroU64::new(1).unwrap() };
        let turns = Turns { place: 0, lanes: 1, share: 10 };
        assert_eq!(pace.until_due(turns, 3).await, 4);
        assert_eq!(pace.start.elapsed().as_secs(), 3);
    }
}
