//! A connection to one broker, for what the reading of a partition needs: its leader, its offsets, its records.
//!
//! Owns: requests, and what their answers must look like. Does not own: what stands in the records ([`super::batches`]).
//!
//! rskafka's own client asks for committed records only, but its answer holds the records of aborted transactions too,
//! and doesn't say which they are; it fails at the marker that ends a transaction, and knows nothing of offsets without
//! a record. So reading goes over its messenger, with its requests, and the answer to a fetch is read here.

use std::{
    io::{Cursor, Read},
    time::Duration,
};

use bytes::{Buf, Bytes};
use rskafka::{
    client::error::ProtocolError,
    protocol::{
        api_key::ApiKey,
        api_version::{ApiVersion, ApiVersionRange},
        messages::{
            FetchRequest, FetchRequestPartition, FetchRequestTopic, FetchResponseAbortedTransaction, IsolationLevel,
            ListOffsetsRequest, ListOffsetsRequestPartition, ListOffsetsRequestTopic, MetadataRequest,
            MetadataRequestTopic, MetadataResponseBroker, MetadataResponseTopic, NORMAL_CONSUMER, ReadVersionedError,
            ReadVersionedType, RequestBody, WriteVersionedError, WriteVersionedType,
        },
        primitives::{Boolean, Int16, Int32, Int64, String_},
        traits::{ReadError, ReadType},
    },
};

use super::{
    cause::Cause,
    group::codec::{Ask, Request, Told as Answered},
    group::messages::FindCoordinator,
    security::{self, Line, Security},
};

/// How the protocol writes the first offset and the last in place of a time.
const EARLIEST: i64 = -2;
const LATEST: i64 = -1;
/// A broker that sends nothing at all is not asked again at once.
const THROTTLED_MIN: Duration = Duration::from_millis(10);

#[derive(Debug)]
pub(super) struct Wire(Line);

/// Where a partition's leader listens, or a group's coordinator.
#[derive(Debug)]
pub(super) struct Leader {
    pub(super) host: String,
    pub(super) port: u16,
}

/// Which offset is asked for.
#[derive(Clone, Copy, Debug)]
pub(super) enum At {
    Earliest,
    /// The end of what can be read: of the committed records.
    Latest,
    /// The end of all that is written, records of open transactions among it.
    Written,
    /// The first record at or after this time, in milliseconds since 1970, UTC.
    Time(i64),
}

/// What a fetch asks for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wish {
    pub(super) partition: i32,
    pub(super) offset: i64,
    pub(super) bytes_max: i32,
    pub(super) wait: Duration,
}

/// The answer to a fetch: record batches as they stand in the log, and what must be known to read them.
#[derive(Debug)]
pub(super) struct Answer {
    topic: String,
    partition: i32,
    error: Option<ProtocolError>,
    /// The partition's end for those who read nothing of open transactions.
    pub(super) readable_end: i64,
    pub(super) aborted: Vec<FetchResponseAbortedTransaction>,
    pub(super) batches: Bytes,
}

impl Wire {
    pub(super) async fn connect(address: &str, security: &Security) -> Result<Self, Cause> {
        security::connect(address, security).await.map(Self)
    }

    /// Who leads the partition. A topic that is not there is not created by the question.
    pub(super) async fn leader(&self, topic: &str, partition: i32) -> Result<Leader, Cause> {
        let (brokers, told) = self.metadata(topic).await?;
        let found = told.partitions.iter().find(|found| found.partition_index.0 == partition);
        let found = found.ok_or_else(Cause::missing_partition)?;
        let leader = brokers.into_iter().find(|broker| broker.node_id == found.leader_id);
        // Without a leader its replicas may still be told, as an error of the partition.
        let leader = leader.ok_or_else(|| found.error.unwrap_or(ProtocolError::LeaderNotAvailable))?;
        Ok(Leader { host: leader.host.0, port: port(leader.port.0)? })
    }

    /// How many brokers keep each partition of the topic; of several numbers, the lowest.
    pub(super) async fn replication(&self, topic: &str) -> Result<usize, Cause> {
        let (_, told) = self.metadata(topic).await?;
        let kept = told.partitions.iter().map(|partition| partition.replica_nodes.0.as_ref().map_or(0, Vec::len));
        Ok(kept.min().unwrap_or_default())
    }

    async fn metadata(&self, topic: &str) -> Result<(Vec<MetadataResponseBroker>, MetadataResponseTopic), Cause> {
        let topics = Some(vec![MetadataRequestTopic { name: String_(topic.into()) }]);
        let request = MetadataRequest { topics, allow_auto_topic_creation: Some(Boolean(false)) };
        let answer = self.0.request(request).await?;
        let told = only(answer.topics, "topics")?;
        told.error.map_or(Ok(()), |error| Err(Cause::from(error)))?;
        Ok((answer.brokers, told))
    }

    /// Which broker keeps the group.
    pub(super) async fn coordinator(&self, group: &str) -> Result<Leader, Cause> {
        let found = self.ask(FindCoordinator { group }).await?;
        found.error.map_or(Ok(()), |error| Err(Cause::from(error)))?;
        Ok(Leader { host: found.host, port: port(found.port)? })
    }

    pub(super) async fn ask<R: Request + Send>(&self, request: R) -> Result<R::Answer, Cause> {
        let Answered(answer) = self.0.request(Ask(request)).await?;
        Ok(answer)
    }

    pub(super) async fn offset(&self, topic: &str, partition: i32, at: At) -> Result<i64, Cause> {
        let (timestamp, isolation) = match at {
            At::Earliest => (EARLIEST, IsolationLevel::ReadCommitted),
            At::Latest => (LATEST, IsolationLevel::ReadCommitted),
            At::Written => (LATEST, IsolationLevel::ReadUncommitted),
            At::Time(time_ms) => (time_ms, IsolationLevel::ReadCommitted),
        };
        let partition = ListOffsetsRequestPartition {
            partition_index: Int32(partition),
            timestamp: Int64(timestamp),
            max_num_offsets: Some(Int32(1)),
        };
        let request = ListOffsetsRequest {
            replica_id: NORMAL_CONSUMER,
            isolation_level: Some(isolation),
            topics: vec![ListOffsetsRequestTopic { name: String_(topic.into()), partitions: vec![partition] }],
        };
        let answer = self.0.request(request).await?;
        let told = only(only(answer.topics, "topics")?.partitions, "partitions")?;
        told.error_code.map_or(Ok(()), |error| Err(Cause::from(error)))?;
        let oldest = || told.old_style_offsets.and_then(|offsets| offsets.0?.into_iter().next());
        let offset = told.offset.or_else(oldest).ok_or_else(|| Cause::senseless("it holds no offset"))?;
        Ok(offset.0)
    }

    pub(super) async fn fetch(&self, topic: &str, wish: Wish) -> Result<Answer, Cause> {
        let answer = loop {
            match self.0.request(Fetch(wish.request(topic))).await? {
                Told::Answer(answer) => break answer,
                Told::Later(throttled) => {
                    tracing::debug!(topic, partition = wish.partition, ?throttled, "the broker's quota is used up");
                    tokio::time::sleep(throttled).await;
                }
            }
        };
        if (answer.topic.as_str(), answer.partition) != (topic, wish.partition) {
            return Err(Cause::senseless("it tells of another partition"));
        }
        match answer.error {
            Some(error) => Err(error.into()),
            None => Ok(answer),
        }
    }
}

impl Wish {
    fn request(self, topic: &str) -> FetchRequest {
        let partition = FetchRequestPartition {
            partition: Int32(self.partition),
            fetch_offset: Int64(self.offset),
            partition_max_bytes: Int32(self.bytes_max),
        };
        FetchRequest {
            replica_id: NORMAL_CONSUMER,
            max_wait_ms: Int32(i32::try_from(self.wait.as_millis()).unwrap_or(i32::MAX)),
            min_bytes: Int32(1),
            max_bytes: Some(Int32(self.bytes_max)),
            isolation_level: Some(IsolationLevel::ReadCommitted),
            topics: vec![FetchRequestTopic { topic: String_(topic.into()), partitions: vec![partition] }],
        }
    }
}

impl Leader {
    pub(super) fn address(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

fn port(told: i32) -> Result<u16, Cause> {
    u16::try_from(told).map_err(|_| Cause::senseless("a broker's port is no port"))
}

/// A broker that was asked about one thing tells of one thing.
fn only<T>(told: Vec<T>, what: &str) -> Result<T, Cause> {
    let count = told.len();
    let mut told = told.into_iter();
    match (told.next(), told.next()) {
        (Some(only), None) => Ok(only),
        _ => Err(Cause::senseless(&format!("it tells of {count} {what}, and was asked about one"))),
    }
}

/// rskafka's request, with an answer whose batches are left as they are.
#[derive(Debug)]
struct Fetch(FetchRequest);

impl RequestBody for Fetch {
    type ResponseBody = Told;
    const API_KEY: ApiKey = FetchRequest::API_KEY;
    const API_VERSION_RANGE: ApiVersionRange = FetchRequest::API_VERSION_RANGE;
    const FIRST_TAGGED_FIELD_IN_REQUEST_VERSION: ApiVersion = FetchRequest::FIRST_TAGGED_FIELD_IN_REQUEST_VERSION;
}

impl WriteVersionedType<Vec<u8>> for Fetch {
    fn write_versioned(&self, writer: &mut Vec<u8>, version: ApiVersion) -> Result<(), WriteVersionedError> {
        self.0.write_versioned(writer, version)
    }
}

/// What comes back from a fetch.
#[derive(Debug)]
enum Told {
    Answer(Answer),
    /// Nothing at all, as the client has used up its quota: ask again after so long.
    Later(Duration),
}

/// Version 4, the only one that is asked for.
impl ReadVersionedType<Cursor<Vec<u8>>> for Told {
    fn read_versioned(reader: &mut Cursor<Vec<u8>>, version: ApiVersion) -> Result<Self, ReadVersionedError> {
        let throttled_ms = u64::try_from(Int32::read(reader)?.0).unwrap_or(0);
        match Int32::read(reader)?.0 {
            0 => Ok(Self::Later(Duration::from_millis(throttled_ms).max(THROTTLED_MIN))),
            1 => Answer::read(reader, version).map(Self::Answer),
            count => Err(too_many(count, "topics").into()),
        }
    }
}

impl Answer {
    /// From its one topic on.
    fn read(reader: &mut Cursor<Vec<u8>>, version: ApiVersion) -> Result<Self, ReadVersionedError> {
        let topic = String_::read(reader)?.0;
        one(reader, "partitions")?;
        let partition = Int32::read(reader)?.0;
        let error = ProtocolError::new(Int16::read(reader)?.0);
        let high_watermark = Int64::read(reader)?.0;
        let last_stable = Int64::read(reader)?.0;
        let aborted = (0..Int32::read(reader)?.0.max(0))
            .map(|_| FetchResponseAbortedTransaction::read_versioned(reader, version))
            .collect::<Result<_, _>>()?;
        let batches = rest(reader)?;
        // Where there are no transactions, some brokers leave it at -1.
        let readable_end = if last_stable < 0 { high_watermark } else { last_stable.min(high_watermark) };
        Ok(Self { topic, partition, error, readable_end, aborted, batches })
    }
}

/// The bytes that are the last of a message, without a copy of them.
fn rest(reader: &mut Cursor<Vec<u8>>) -> Result<Bytes, ReadError> {
    let length = usize::try_from(Int32::read(reader)?.0.max(0))?;
    let at = usize::try_from(reader.position())?;
    // What is left behind is read to its end, which is what rskafka looks for.
    let mut rest = Bytes::from(std::mem::take(reader.get_mut()));
    reader.set_position(0);
    rest.advance(at.min(rest.len()));
    match rest.len() {
        left if left == length => Ok(rest),
        left => Err(ReadError::Malformed(format!("{left} bytes of records are left, and {length} are told of").into())),
    }
}

fn one(reader: &mut impl Read, what: &str) -> Result<(), ReadError> {
    match Int32::read(reader)?.0 {
        1 => Ok(()),
        count => Err(too_many(count, what)),
    }
}

fn too_many(count: i32, what: &str) -> ReadError {
    ReadError::Malformed(format!("it tells of {count} {what}, and was asked about one").into())
}
