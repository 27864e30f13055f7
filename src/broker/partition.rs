//! One partition: a connection of its own to the leader, from which records are fetched and to which they are sent.
//!
//! Owns: the connection, and making it anew after it failed. Does not own: when to try again after a failed fetch.

use std::{sync::Arc, time::Duration};

use rskafka::{
    chrono::DateTime,
    client::partition::{self, PartitionClient, UnknownTopicHandling},
};

use super::{
    Start, batches,
    cause::Cause,
    error::{BrokerError, BrokerErrorKind, Place},
    link::{Kept, Link, patiently, within},
    wire::{Answer, At, Wire, Wish},
};
use crate::{
    offset::OffsetRange,
    record::{Batch, Record},
};

/// What a fetch that only looks asks for. Most brokers send at least one batch, but the embedded one's file storage
/// sends nothing at all if the first record is larger.
const LOOK_BYTES_MAX: i32 = 64 << 10;
/// How long the broker may hold back a fetch that only looks what is there.
const LOOK_WAIT: Duration = Duration::from_millis(10);

/// How the records of a produce request are packed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Compression {
    #[default]
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

/// A partition of a topic.
///
/// Dropping any of its futures half-way is harmless. But the broker answers in order, what nobody waits for any more
/// too, so after a dropped fetch the next answer may come later by that fetch's wait.
#[derive(Debug)]
pub struct Partition {
    link: Arc<Link>,
    topic: Arc<str>,
    number: i32,
    wire: Kept<Wire>,
    /// Sends, and nothing else.
    producer: Kept<PartitionClient>,
}

/// What one fetch brought.
#[derive(Debug)]
struct Fetched {
    records: Vec<Record>,
    /// The first offset that the answer tells of, if it tells of any.
    begin: Option<i64>,
    /// One past the last offset that the answer tells of, with a record or without.
    end: i64,
    high_watermark: i64,
}

impl Partition {
    pub(super) async fn open(link: Arc<Link>, topic: &str, number: i32) -> Result<Self, BrokerError> {
        let this = Self { link, topic: topic.into(), number, wire: Kept::default(), producer: Kept::default() };
        let partition = &this;
        // A topic just created may be unknown for a moment, to some of the brokers.
        let attempt = |left| async move { partition.wire(left).await.map_err(Cause::or_later) };
        let opened = patiently(this.link.limits.request_timeout, attempt).await;
        opened.map_err(|cause| this.error(cause.settled(), "open the partition", None))?;
        Ok(this)
    }

    /// The first offset that is kept.
    pub async fn earliest(&self) -> Result<i64, BrokerError> {
        self.offset_at(At::Earliest).await
    }

    /// The offset that the next record will get.
    pub async fn latest(&self) -> Result<i64, BrokerError> {
        let told = self.offset_at(At::Latest).await?;
        // Some brokers tell an offset inside the last batch; what a fetch says beside its records is right everywhere.
        match self.fetch_once(told, LOOK_BYTES_MAX, LOOK_WAIT).await {
            Ok(fetched) => Ok(told.max(fetched.high_watermark)),
            Err(error) if error.kind() == BrokerErrorKind::OutOfRange => Ok(told),
            Err(error) => Err(error),
        }
    }

    /// The end of all that is written; beyond [`Partition::latest`] are the records of open transactions, and whatever
    /// was written after the first of them.
    pub async fn written(&self) -> Result<i64, BrokerError> {
        self.offset_at(At::Written).await
    }

    /// Where a reader begins.
    pub async fn start_offset(&self, start: Start) -> Result<i64, BrokerError> {
        match start {
            Start::Earliest => self.earliest().await,
            Start::Latest => self.latest().await,
            Start::Timestamp(time_ms) => self.first_since(time_ms).await,
            Start::Offset(offset) => Ok(offset),
        }
    }

    /// The first record at or after a time, or the end if there is none.
    async fn first_since(&self, time_ms: i64) -> Result<i64, BrokerError> {
        let end = self.latest().await?;
        // Below zero the protocol means something else, and nothing is older.
        let mut at = self.offset_at(At::Time(time_ms.max(0))).await?;
        // Brokers answer in records or in whole batches, and "none" as -1 or as 0: so look.
        while (0..end).contains(&at) {
            let batch = self.fetch(at, self.link.limits.fetch_bytes_max, LOOK_WAIT).await?;
            if let Some(first) = batch.records.iter().find(|record| record.timestamp_ms >= time_ms) {
                return Ok(first.offset);
            }
            if batch.range.is_empty() {
                // The broker is slow to find what it says is there: rather too early than too late.
                return Ok(at);
            }
            at = batch.range.end;
        }
        Ok(end)
    }

    /// The records from `offset` on, at most about `bytes_max` of them; none if there is nothing within `wait`.
    pub async fn fetch(&self, offset: i64, bytes_max: i32, wait: Duration) -> Result<Batch, BrokerError> {
        let mut fetched = self.fetch_once(offset, bytes_max, wait).await?;
        if fetched.begins_late(offset) {
            fetched = self.fetch_from_before(offset, fetched).await?;
        }
        // A batch's own offset stands outside its checksum. What was written meanwhile is beyond the end that was told.
        if fetched.high_watermark < fetched.end && self.latest().await? < fetched.end {
            let cause = Cause::senseless("it holds offsets beyond the partition's end");
            return Err(self.error(cause, "fetch", Some(offset)));
        }
        Ok(Batch {
            records: fetched.records,
            range: OffsetRange { start: offset, end: fetched.end },
            high_watermark: fetched.high_watermark,
        })
    }

    /// Looks from before `offset` whether the offsets that were not `found` are really absent.
    ///
    /// After compaction they are. But the embedded broker's memory storage answers a fetch that begins inside a batch
    /// with the next batch, and what it left out must not count as absent.
    async fn fetch_from_before(&self, offset: i64, found: Fetched) -> Result<Fetched, BrokerError> {
        let Some(mut seen) = self.batch_before(offset).await? else { return Ok(found) };
        loop {
            if offset < seen.end {
                seen.records.retain(|record| record.offset >= offset);
                return Ok(seen);
            }
            if seen.end == offset {
                return Ok(found);
            }
            seen = self.fetch_once(seen.end, LOOK_BYTES_MAX, LOOK_WAIT).await?;
            if seen.begins_at_or_after(offset) {
                return Ok(found);
            }
        }
    }

    /// Steps back from `offset`, further each time, to a batch that begins before it; none if there is no such batch.
    async fn batch_before(&self, offset: i64) -> Result<Option<Fetched>, BrokerError> {
        let mut step = 1;
        loop {
            let from = (offset - step).max(0);
            match self.fetch_once(from, LOOK_BYTES_MAX, LOOK_WAIT).await {
                Ok(seen) if !seen.begins_at_or_after(offset) => return Ok(Some(seen)),
                Ok(_) if from == 0 => return Ok(None),
                Ok(_) => step *= 2,
                Err(error) if error.kind() == BrokerErrorKind::OutOfRange => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }

    /// The record at exactly `offset`, if it is still kept.
    pub async fn record_at(&self, offset: i64) -> Result<Option<Record>, BrokerError> {
        match self.fetch(offset, LOOK_BYTES_MAX, self.link.limits.fetch_wait_max).await {
            Ok(batch) => Ok(batch.records.into_iter().next().filter(|record| record.offset == offset)),
            Err(error) if error.kind() == BrokerErrorKind::OutOfRange => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Sends records, whose own offsets are ignored, and tells those that they got. At least once: a try that failed may
    /// have arrived too, at offsets that nobody told.
    pub async fn produce(&self, records: Vec<Record>, compression: Compression) -> Result<Vec<i64>, BrokerError> {
        let records = records.into_iter().map(outgoing).collect::<Result<Vec<_>, _>>();
        let records = records.map_err(|cause| self.error(cause, "send records", None))?;
        let records = &records;
        let attempt = |left| async move {
            let producer = self.producer(left).await?;
            let sent = within(left, Box::pin(producer.produce(records.clone(), compression.into()))).await;
            if sent.as_ref().is_err_and(Cause::asks_for_another_connection) {
                self.producer.forget(&producer).await;
            }
            sent
        };
        let sent = patiently(self.link.limits.request_timeout, attempt).await;
        sent.map_err(|cause| self.error(cause, "send records", None))
    }

    async fn offset_at(&self, at: At) -> Result<i64, BrokerError> {
        let limit = self.link.limits.request_timeout;
        let asked = self.ask(limit, |wire| async move { wire.offset(&self.topic, self.number, at).await });
        asked.await.map_err(|cause| self.error(cause.or_later(), "ask for an offset", None))
    }

    async fn fetch_once(&self, offset: i64, bytes_max: i32, wait: Duration) -> Result<Fetched, BrokerError> {
        let wish = Wish { partition: self.number, offset, bytes_max: bytes_max.max(1), wait };
        let limit = self.link.limits.request_timeout + wait;
        let asked = self.ask(limit, |wire| async move { wire.fetch(&self.topic, wish).await });
        let fetched = asked.await.and_then(|answer| Fetched::read(answer, offset));
        fetched.map_err(|cause| self.error(cause.or_later(), "fetch", Some(offset)))
    }

    /// One question to the leader. After a failure that may pass, the next one goes over a new connection.
    async fn ask<T, F>(&self, limit: Duration, ask: impl FnOnce(Arc<Wire>) -> F) -> Result<T, Cause>
    where
        F: Future<Output = Result<T, Cause>> + Send,
    {
        let wire = self.wire(limit).await?;
        let answer = within(limit, Box::pin(ask(Arc::clone(&wire)))).await;
        if answer.as_ref().is_err_and(Cause::asks_for_another_connection) {
            self.wire.forget(&wire).await;
        }
        answer
    }

    async fn wire(&self, limit: Duration) -> Result<Arc<Wire>, Cause> {
        self.wire.get(|| self.link.leader(&self.topic, self.number, limit)).await
    }

    async fn producer(&self, limit: Duration) -> Result<Arc<PartitionClient>, Cause> {
        let open = || {
            self.link.once(limit, |cluster| async move {
                // rskafka would believe its old metadata, in which the partition may have no leader, for ever.
                cluster.list_topics().await?;
                cluster.partition_client(&*self.topic, self.number, UnknownTopicHandling::Error).await
            })
        };
        self.producer.get(open).await
    }

    fn error(&self, cause: Cause, doing: &'static str, offset: Option<i64>) -> BrokerError {
        let place = Place { topic: Some(Arc::clone(&self.topic)), partition: Some(self.number), offset };
        cause.at(doing, place)
    }
}

impl Fetched {
    fn read(answer: Answer, offset: i64) -> Result<Self, Cause> {
        let batches::Contents { records, begin, end } = batches::read(&answer.batches, answer.aborted, offset)?;
        Ok(Self { records, begin, end, high_watermark: answer.readable_end })
    }

    /// Not with the offset asked for, though the partition goes on beyond it.
    fn begins_late(&self, offset: i64) -> bool {
        self.begin.map_or(offset < self.high_watermark, |begin| offset < begin)
    }

    fn begins_at_or_after(&self, offset: i64) -> bool {
        self.begin.is_none_or(|begin| offset <= begin)
    }
}

fn outgoing(record: Record) -> Result<rskafka::record::Record, Cause> {
    let timestamp = DateTime::from_timestamp_millis(record.timestamp_ms)
        .ok_or_else(|| Cause::person(format!("a timestamp of {} ms is no time", record.timestamp_ms), "correct it"))?;
    Ok(rskafka::record::Record { key: record.key, value: record.value, headers: record.headers, timestamp })
}

impl From<Compression> for partition::Compression {
    fn from(compression: Compression) -> Self {
        match compression {
            Compression::None => Self::NoCompression,
            Compression::Gzip => Self::Gzip,
            Compression::Snappy => Self::Snappy,
            Compression::Lz4 => Self::Lz4,
            Compression::Zstd => Self::Zstd,
        }
    }
}
