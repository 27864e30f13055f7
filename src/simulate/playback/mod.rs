//! The rows of files, sent to a topic one after the other: at full speed, at a rate, or with the pauses that the rows tell.
//!
//! Owns: the order of things, and which partition a row goes to. Does not own: reading the files (`table`), what a row
//! looks like on its way (`writer`), when it is due (`schedule`).

mod columns;
mod schedule;
mod writer;

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};
use tokio::{
    sync::mpsc,
    task::{JoinError, spawn_blocking},
};
use tokio_util::sync::CancellationToken;

pub use self::schedule::Timing;
use self::{schedule::Schedule, writer::Writer};
use super::{
    encoding::Format,
    feed::{BATCH_BYTES_MAX, BATCH_RECORDS_MAX, Sent, bytes_of},
};
use crate::{
    broker::{self, Broker, BrokerError, Compression, Partition},
    record::Record,
    table::{TableError, Whole},
};

/// Chunks of rows that wait to be sent.
const CHUNKS_MAX: usize = 2;
/// Partitions that are sent to at once.
const PARTITIONS_AT_ONCE_MAX: usize = 8;

/// What is asked of the rows.
#[derive(Clone, Debug)]
pub struct Options {
    pub format: Format,
    /// The column whose value is the key.
    pub key: Option<String>,
    pub timing: Timing,
    /// How many times the files are gone through; for ever if not set.
    pub rounds: Option<u64>,
    /// At most so many rows.
    pub count: Option<u64>,
}

/// Why files can't be played, or no further.
#[derive(Debug, thiserror::Error)]
pub enum PlayError {
    #[error(transparent)]
    Broker(#[from] BrokerError),
    #[error(transparent)]
    Table(#[from] TableError),
    /// What was asked for does not fit the files.
    #[error("{0}")]
    Choice(String),
    /// A row can't be sent as asked.
    #[error("{0}")]
    Row(String),
    #[error("read the files")]
    Task(#[from] JoinError),
}

/// A row on its way.
#[derive(Debug)]
pub(super) struct Row {
    key: Option<Vec<u8>>,
    value: Vec<u8>,
    /// What the column of times says, in milliseconds since 1970.
    at_ms: Option<i64>,
}

/// Some rows in their order.
#[derive(Debug)]
pub(super) struct Chunk {
    rows: Vec<Row>,
    /// Times begin anew.
    begins: bool,
}

/// Files that are ready to be played.
#[derive(Debug)]
pub struct Playback {
    files: Arc<Whole>,
    writer: Writer,
    options: Options,
}

impl Playback {
    /// Finds the files and what they hold, and whether what is asked for can be done with it. Reads files.
    pub fn open(inputs: &[String], options: Options) -> Result<Self, PlayError> {
        let files = Whole::open(inputs)?;
        let writer = Writer::new(&files, &options)?;
        Ok(Self { files: Arc::new(files), writer, options })
    }

    /// The schema of the records in Avro; of the other formats, the names in their order.
    #[must_use]
    pub fn described(&self) -> &str {
        self.writer.described()
    }

    /// In Confluent's wire format, under the number that a registry gave to the schema.
    pub fn register(&mut self, schema_id: u32) {
        self.writer.register(schema_id);
    }

    /// Sends all the rows, or those that come until `stop` is set. `sent` is right at any time, after an error too.
    pub async fn run(
        self,
        destination: &Destination,
        sent: &Arc<Sent>,
        stop: &CancellationToken,
    ) -> Result<(), PlayError> {
        let mut schedule = Schedule::new(self.options.timing.clone());
        let (chunks, mut coming) = mpsc::channel(CHUNKS_MAX);
        let reading = spawn_blocking(move || self.read(&chunks));
        let mut turn = 0;
        while let Some(chunk) = coming.recv().await {
            let mut rows = schedule.plan(chunk?).into_iter().peekable();
            while rows.peek().is_some() {
                let due = tokio::select! {
                    biased;
                    () = stop.cancelled() => return Ok(()),
                    due = schedule.take_due(&mut rows) => due,
                };
                destination.send(due, &mut turn, sent).await?;
            }
        }
        Ok(reading.await?)
    }

    /// Reads and writes rows until all are read or nobody takes them any more.
    fn read(self, chunks: &mpsc::Sender<Result<Chunk, PlayError>>) {
        let mut left = self.options.count.unwrap_or(u64::MAX);
        let rounds = self.options.rounds.unwrap_or(u64::MAX);
        for _ in 0..rounds {
            let (mut begins, before) = (true, left);
            for rows in self.writer.rows(&self.files) {
                let failed = rows.is_err();
                let chunk = rows.map(|mut rows| {
                    rows.truncate(usize::try_from(left).unwrap_or(usize::MAX));
                    left -= rows.len() as u64;
                    Chunk { rows, begins }
                });
                begins = false;
                if chunks.blocking_send(chunk).is_err() || failed || left == 0 {
                    return;
                }
            }
            // Files without a row would be gone through for ever.
            if left == before {
                return;
            }
        }
    }
}

/// The partitions of a topic.
#[derive(Debug)]
pub struct Destination {
    partitions: Vec<Partition>,
    compression: Compression,
}

impl Destination {
    pub async fn open(
        broker: &Broker,
        topic: &str,
        partitions: &[i32],
        compression: Compression,
    ) -> Result<Self, BrokerError> {
        let open = partitions.iter().map(|&partition| broker.partition(topic, partition));
        let partitions = stream::iter(open).buffered(PARTITIONS_AT_ONCE_MAX).try_collect().await?;
        Ok(Self { partitions, compression })
    }

    /// Rows with a key go where Kafka's own clients would send them, those without in turns.
    async fn send(&self, rows: Vec<Row>, turn: &mut usize, sent: &Sent) -> Result<(), BrokerError> {
        let mut shares: Vec<Vec<Record>> = self.partitions.iter().map(|_| Vec::new()).collect();
        let timestamp_ms = chrono::Utc::now().timestamp_millis();
        for Row { key, value, .. } in rows {
            let place = broker::partition(key.as_deref(), *turn, shares.len());
            *turn += usize::from(key.is_none());
            if let Some(share) = shares.get_mut(place) {
                share.push(Record { timestamp_ms, key, value: Some(value), ..Record::default() });
            }
        }
        let sending = self.partitions.iter().zip(shares).map(|(partition, share)| self.send_to(partition, share, sent));
        stream::iter(sending).buffer_unordered(PARTITIONS_AT_ONCE_MAX).try_collect().await
    }

    async fn send_to(&self, partition: &Partition, records: Vec<Record>, sent: &Sent) -> Result<(), BrokerError> {
        let mut records = records.into_iter().peekable();
        while records.peek().is_some() {
            let (mut batch, mut bytes) = (Vec::new(), 0);
            while (batch.len() as u64) < BATCH_RECORDS_MAX
                && let Some(record) = records.next_if(|next| bytes == 0 || bytes + bytes_of(next) <= BATCH_BYTES_MAX)
            {
                bytes += bytes_of(&record).max(1);
                batch.push(record);
            }
            let (made, bytes) = (batch.len() as u64, batch.iter().map(bytes_of).sum());
            partition.produce(batch, self.compression).await?;
            sent.note(made, bytes);
        }
        Ok(())
    }
}
