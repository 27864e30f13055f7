//! Reading ahead: the next batch is on its way while the lane works on this one.
//!
//! Owns: how far ahead, and the memory that waits for the lane. Does not own: retries ([`crate::pipeline`]).

use std::{
    sync::{
        Arc,
        atomic::{AtomicI32, Ordering::Relaxed},
    },
    time::Duration,
};

use futures::{Stream, stream};
use tokio::{sync::mpsc, time::Instant};
use tokio_util::task::AbortOnDropHandle;

use super::{LaneError, Memory, Status, memory::Reservation};
use crate::{
    broker::Partition,
    record::{Batch, Record},
    telemetry::meter::{Step, Steps},
};

/// Batches fetched and not yet taken by the lane; with one on its way and one being worked on, three at most.
const BATCHES_READY_MAX: usize = 1;
/// What a fetched byte may take in memory as records of their own, compression included.
const MEMORY_PER_FETCHED_BYTE: usize = 4;
/// A record's own structures, beside its bytes.
const MEMORY_PER_RECORD: usize = 160;
/// What a batch may open in its segment: a file's columns take this much before they hold a row, mostly dictionaries.
pub(super) const MEMORY_PER_BATCH: usize = 192 << 10;
/// How long the broker may send nothing although it says that there is more.
const SILENCE_MAX: Duration = Duration::from_mins(1);

/// A batch, and the memory that it takes until it is dropped.
#[derive(Debug)]
pub struct Fetched {
    pub batch: Batch,
    pub memory: Option<Reservation>,
}

impl Fetched {
    /// Without the records from `until` on; they prove that nothing else stands before it.
    pub(super) fn until(mut self, until: Option<i64>) -> Self {
        if let Some(until) = until.filter(|&until| until < self.batch.range.end) {
            let keep = self.batch.records.partition_point(|record| record.offset < until);
            self.batch.records.truncate(keep);
            self.batch.range.end = until;
        }
        self
    }
}

/// How the broker is asked.
#[derive(Clone, Debug)]
pub struct FetchSettings {
    /// What one fetch asks for; all lanes share it, and it changes with their number.
    pub bytes_max: Arc<AtomicI32>,
    pub wait_max: Duration,
    pub memory: Arc<Memory>,
}

/// The partition's batches from `position` on, read ahead by a task that ends with the stream.
pub fn read_ahead(
    partition: Arc<Partition>,
    position: i64,
    settings: FetchSettings,
    status: Arc<Status>,
    steps: Arc<Steps>,
) -> impl Stream<Item = Result<Fetched, LaneError>> + Send {
    let (ready, batches) = mpsc::channel(BATCHES_READY_MAX);
    let reader = AbortOnDropHandle::new(tokio::spawn(async move {
        if let Err(error) = read(&partition, position, &settings, (&status, &steps), &ready).await {
            // The lane may have gone first; then nobody needs to know.
            let _ = ready.send(Err(error)).await;
        }
    }));
    stream::unfold((batches, reader), |(mut batches, reader)| async move {
        let batch = batches.recv().await?;
        Some((batch, (batches, reader)))
    })
}

async fn read(
    partition: &Partition,
    mut position: i64,
    settings: &FetchSettings,
    (status, steps): (&Status, &Steps),
    ready: &mpsc::Sender<Result<Fetched, LaneError>>,
) -> Result<(), LaneError> {
    let mut silent_since = None;
    loop {
        let bytes_max = settings.bytes_max.load(Relaxed);
        let expected = usize::try_from(bytes_max).unwrap_or(0) * MEMORY_PER_FETCHED_BYTE + MEMORY_PER_BATCH;
        let mut memory = settings.memory.reserve(expected).await;
        let asked = Instant::now();
        let batch = partition.fetch(position, bytes_max, settings.wait_max).await?;
        status.ends_at(batch.high_watermark);
        if batch.range.is_empty() {
            if batch.high_watermark <= position {
                silent_since = None;
            } else if silent_since.get_or_insert_with(Instant::now).elapsed() > SILENCE_MAX {
                return Err(LaneError::Silent { position, end: batch.high_watermark });
            }
            continue;
        }
        silent_since = None;
        position = batch.range.end;
        steps.record(Step::Fetch, asked.elapsed());
        let (bytes, headers) = size(&batch.records);
        metrics::counter!("alluvium_fetched_bytes_total").increment(bytes as u64);
        memory.settle(MEMORY_PER_BATCH + bytes + MEMORY_PER_RECORD * (batch.records.len() + headers));
        if ready.send(Ok(Fetched { batch, memory: Some(memory) })).await.is_err() {
            return Ok(());
        }
    }
}

/// Bytes of keys, values and headers; how many headers there are.
fn size(records: &[Record]) -> (usize, usize) {
    let length = |part: &Option<Vec<u8>>| part.as_ref().map_or(0, Vec::len);
    records.iter().fold((0, 0), |(bytes, headers), record| {
        let of_headers: usize = record.headers.iter().map(|(key, value)| key.len() + value.len()).sum();
        (bytes + length(&record.key) + length(&record.value) + of_headers, headers + record.headers.len())
    })
}
