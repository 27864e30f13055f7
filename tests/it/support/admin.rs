//! What an administrator does to topics, and a reader that shares nothing with Alluvium's.

use std::time::Duration;

use alluvium::record::Record;
use rskafka::{
    client::{
        Client, ClientBuilder,
        partition::{OffsetAt, PartitionClient, UnknownTopicHandling},
    },
    messenger::Messenger,
    protocol::{
        messages::{CreateTopicConfig, CreateTopicRequest, CreateTopicsRequest, MetadataRequest, MetadataRequestTopic},
        primitives::{Boolean, Int16, Int32, NullableString, String_},
    },
};
use tokio::{io::BufStream, net::TcpStream, time::timeout};

use super::LIMIT;

const PATIENCE_MS: i32 = 20_000;
/// A broker that is starting may take a connection and say nothing.
const TRY: Duration = Duration::from_secs(10);

pub struct Admin {
    messenger: Messenger<BufStream<TcpStream>>,
    client: Client,
}

/// A partition's leader, and how many replicas are in sync.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leadership {
    pub leader: i32,
    pub in_sync: usize,
}

impl Admin {
    /// One that talks to the first of the brokers named.
    pub async fn connect(brokers: &str) -> Result<Self, String> {
        let first = brokers.split(',').next().unwrap();
        let connect = async {
            let stream = TcpStream::connect(first).await.map_err(|error| error.to_string())?;
            let mut messenger = Messenger::new(BufStream::new(stream), 100 << 20, "admin".into());
            messenger.sync_versions().await.map_err(|error| error.to_string())?;
            let client = ClientBuilder::new(brokers.split(',').map(str::to_owned).collect()).build().await;
            Ok(Self { messenger, client: client.map_err(|error| error.to_string())? })
        };
        timeout(TRY, connect).await.unwrap_or_else(|_| Err(format!("{first} does not answer")))
    }

    pub async fn create(
        &self,
        topic: &str,
        partitions: i32,
        replicas: i16,
        settings: &[(&str, &str)],
    ) -> Result<(), String> {
        let config = |(name, value): &(&str, &str)| CreateTopicConfig {
            name: String_((*name).into()),
            value: NullableString(Some((*value).into())),
            tagged_fields: None,
        };
        let topic = CreateTopicRequest {
            name: String_(topic.into()),
            num_partitions: Int32(partitions),
            replication_factor: Int16(replicas),
            assignments: vec![],
            configs: settings.iter().map(config).collect(),
            tagged_fields: None,
        };
        let request = CreateTopicsRequest {
            topics: vec![topic],
            timeout_ms: Int32(PATIENCE_MS),
            validate_only: Some(Boolean(false)),
            tagged_fields: None,
        };
        let answer = timeout(LIMIT, self.messenger.request(request)).await.expect("topics are created in time");
        match answer.map_err(|error| error.to_string())?.topics.into_iter().find_map(|topic| topic.error) {
            Some(error) => Err(error.to_string()),
            None => Ok(()),
        }
    }

    pub async fn delete(&self, topic: &str) {
        let controller = self.client.controller_client().unwrap();
        timeout(LIMIT, controller.delete_topic(topic, PATIENCE_MS)).await.expect("topics are deleted in time").unwrap();
    }

    pub async fn knows(&self, topic: &str) -> bool {
        self.client.list_topics().await.unwrap().iter().any(|known| known.name == topic)
    }

    /// What retention does, at once.
    pub async fn delete_records(&self, topic: &str, partition: i32, before: i64) {
        let partition = self.partition(topic, partition).await;
        partition.delete_records(before, PATIENCE_MS).await.unwrap();
    }

    pub async fn leadership(&self, topic: &str) -> Option<Leadership> {
        let topics = Some(vec![MetadataRequestTopic { name: String_(topic.into()) }]);
        let request = MetadataRequest { topics, allow_auto_topic_creation: Some(Boolean(false)) };
        let answer = timeout(TRY, self.messenger.request(request)).await.ok()?.ok()?;
        let partition = answer.topics.into_iter().next()?.partitions.into_iter().next()?;
        let in_sync = partition.isr_nodes.0.map_or(0, |nodes| nodes.len());
        Some(Leadership { leader: partition.leader_id.0, in_sync })
    }

    /// Every record that rskafka's own client finds, one after the other.
    pub async fn read(&self, topic: &str, partition: i32) -> Vec<Record> {
        let partition = self.partition(topic, partition).await;
        let mut at = partition.get_offset(OffsetAt::Earliest).await.unwrap();
        let end = partition.get_offset(OffsetAt::Latest).await.unwrap();
        let mut records = vec![];
        while at < end {
            let (found, _) = partition.fetch_records(at, 1..1 << 20, 10).await.unwrap();
            // Compacted away, maybe: it tells nothing of offsets without a record.
            at = found.last().map_or(at + 1, |last| last.offset + 1);
            records.extend(found.into_iter().map(|found| Record {
                offset: found.offset,
                timestamp_ms: found.record.timestamp.timestamp_millis(),
                key: found.record.key,
                value: found.record.value,
                headers: found.record.headers,
            }));
        }
        records
    }

    async fn partition(&self, topic: &str, partition: i32) -> PartitionClient {
        let opened = self.client.partition_client(topic, partition, UnknownTopicHandling::Retry);
        timeout(LIMIT, opened).await.expect("the partition has a leader").unwrap()
    }
}
