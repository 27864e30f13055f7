//! The bound: every partition fetched at once, the records dropped as they come.

use std::{fs, path::Path};

use futures::{StreamExt, TryStreamExt, stream::FuturesUnordered};
use rskafka::client::{
    ClientBuilder,
    partition::{PartitionClient, UnknownTopicHandling},
};
use serde::{Deserialize, Serialize};

use crate::pipeline::settings;

#[derive(Debug, Serialize, Deserialize)]
pub struct Fetched {
    pub records: u64,
}

/// To the topic's end, as much a fetch as the pipeline file asks for.
pub async fn run(file: &Path, topic: &str, partitions: i32) -> anyhow::Result<Fetched> {
    let settings = settings(&fs::read_to_string(file)?)?;
    let client = ClientBuilder::new(settings.source.brokers.clone()).build().await?;
    let mut clients = vec![];
    for partition in 0..partitions {
        clients.push(client.partition_client(topic, partition, UnknownTopicHandling::Error).await?);
    }
    let bytes_max = settings.broker.fetch_bytes_max;
    let wait_ms = i32::try_from(settings.broker.fetch_wait_max.as_millis())?;
    let readers = clients.into_iter().map(|client| tokio::spawn(drain(client, bytes_max, wait_ms)));
    let readers: FuturesUnordered<_> = readers.collect();
    let records = readers.map(|read| read?).try_fold(0, |sum, read| async move { Ok(sum + read) }).await?;
    Ok(Fetched { records })
}

async fn drain(client: PartitionClient, bytes_max: i32, wait_ms: i32) -> anyhow::Result<u64> {
    let (mut offset, mut read) = (0, 0);
    loop {
        let (records, end) = client.fetch_records(offset, 1..bytes_max, wait_ms).await?;
        read += records.len() as u64;
        offset = records.last().map_or(offset, |last| last.offset + 1);
        if offset >= end {
            return Ok(read);
        }
    }
}
