//! Records that are longer than what is read of them.

use alluvium::{
    broker::{Broker, Compression},
    record::Record,
    simulate::{Source, Stream},
};
use chrono::Utc;
use futures::{TryStreamExt, stream::FuturesUnordered};

/// Below the megabyte that brokers take by default.
const BATCH_BYTES: usize = 800_000;

/// Sends simulated records in JSON, the truth in them, to all partitions, and tells how many bytes of values they are.
pub async fn send(
    broker: &Broker,
    topic: &str,
    source: Source,
    partitions: i32,
    records: u64,
    padding: usize,
) -> anyhow::Result<u64> {
    let shares = (0..partitions).map(|partition| async move {
        let target = broker.partition(topic, partition).await?;
        let mut stream = source.stream(1, partition);
        let (mut left, mut bytes) = (share(records, partitions, partition), 0);
        while left > 0 {
            let batch = batch(&mut stream, left, padding);
            left -= batch.len() as u64;
            bytes +=
                batch.iter().filter_map(|record| record.value.as_ref()).map(|value| value.len() as u64).sum::<u64>();
            target.produce(batch, Compression::None).await?;
        }
        anyhow::Ok(bytes)
    });
    let shares: FuturesUnordered<_> = shares.collect();
    shares.try_fold(0, |sum, bytes| async move { Ok(sum + bytes) }).await
}

fn share(records: u64, partitions: i32, partition: i32) -> u64 {
    let [partitions, partition] = [partitions, partition].map(|number| u64::try_from(number).unwrap_or_default());
    records / partitions + u64::from(partition < records % partitions)
}

fn batch(stream: &mut Stream, records_max: u64, padding: usize) -> Vec<Record> {
    let mut records = vec![];
    let mut bytes = 0;
    let timestamp_ms = Utc::now().timestamp_millis();
    while bytes < BATCH_BYTES && (records.len() as u64) < records_max {
        let mut value = vec![];
        stream.json(&mut value, true);
        value.truncate(value.len().saturating_sub(1));
        value.extend_from_slice(b",\"note\":\"");
        // Words, as a text has them; every byte of it is looked at all the same.
        value.extend(b"what it says is not read ".iter().cycle().take(padding));
        value.extend_from_slice(b"\"}");
        bytes += value.len();
        records.push(Record { timestamp_ms, value: Some(value), ..Record::default() });
    }
    records
}
