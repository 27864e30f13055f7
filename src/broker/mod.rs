//! The broker: connect, fetch, produce. The only folder that names rskafka.
//!
//! Owns: connections, their time limits, and what a failure means. Does not own: retrying a fetch, which is the lane's,
//! nor any knowledge of what the records are for.

mod batches;
mod cause;
#[cfg(feature = "embedded")]
mod embedded;
mod error;
mod group;
mod link;
mod partition;
mod partitioner;
mod security;
mod wire;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::{StreamExt, TryStreamExt, future::BoxFuture, stream};

#[cfg(feature = "embedded")]
pub use self::embedded::{EmbeddedBroker, EmbeddedStorage};
use self::{
    cause::Cause,
    link::{Link, patiently},
    security::Security,
};
pub use self::{
    error::{BrokerError, BrokerErrorKind, Place},
    group::{
        GroupProtocol, GroupSeen, GroupSettings, GroupStatus, Member, PeerSeen, Rebalance, Revocation, TopicPartition,
        Turn,
    },
    partition::{Compression, Partition},
    partitioner::partition,
    security::{
        Identity, Mechanism, Password, SaslSettings, Secret, SecuritySettings, TlsSettings, TokenCommand, TokenSource,
    },
};

/// How many partitions of a new topic are asked for their leader at once.
const LEADERS_ASKED_MAX: usize = 8;

/// Where the brokers are, and where to begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceSettings {
    /// `host:port`, at least one.
    pub brokers: Vec<String>,
    pub security: SecuritySettings,
    pub start: Start,
}

impl SourceSettings {
    pub async fn connect(&self, limits: BrokerLimits) -> Result<Broker, BrokerError> {
        Broker::secured(&self.brokers, &self.security, limits).await
    }
}

/// Where a partition that the lake doesn't know yet begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    Earliest,
    Latest,
    /// The first record at or after this time, in milliseconds since 1970, UTC.
    Timestamp(i64),
    /// Exactly there, whether or not the broker still has it.
    Offset(i64),
}

/// The limits on talking to a broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BrokerLimits {
    /// Connecting for the first time, with every retry in it.
    pub connect_timeout: Duration,
    /// Any one call after that.
    pub request_timeout: Duration,
    /// The most one fetch asks for; brokers send at least one record batch, however large.
    pub fetch_bytes_max: i32,
    /// How long the broker may hold a fetch back when there is nothing to send.
    pub fetch_wait_max: Duration,
}

/// A cluster of brokers.
#[derive(Clone, Debug)]
pub struct Broker {
    link: Arc<Link>,
}

impl Broker {
    /// Connects to the first of `brokers` that answers, in plain text and without a login.
    pub async fn connect(brokers: &[String], limits: BrokerLimits) -> Result<Self, BrokerError> {
        Self::secured(brokers, &SecuritySettings::default(), limits).await
    }

    /// Connects to the first of `brokers` that answers and takes us for who we are; every later connection is made alike.
    pub async fn secured(
        brokers: &[String],
        security: &SecuritySettings,
        limits: BrokerLimits,
    ) -> Result<Self, BrokerError> {
        let told = |cause: Cause| cause.at("reach a broker", Place::default());
        let security = Security::open(security).map_err(told)?;
        security.warn_if_readable(brokers);
        let link = Link::new(brokers, security, limits);
        // Boxed for the same reason as the calls that `link::within` waits for.
        let reached: BoxFuture<'_, _> = Box::pin(link.reach());
        reached.await.map_err(told)?;
        Ok(Self { link: Arc::new(link) })
    }

    /// The topic's partitions, ascending.
    pub async fn partitions(&self, topic: &str) -> Result<Vec<i32>, BrokerError> {
        let limit = self.link.limits.request_timeout;
        patiently(limit, |left| self.partitions_once(topic, left))
            .await
            .map_err(|cause| cause.at("list the partitions", Place::topic(topic)))
    }

    async fn partitions_once(&self, topic: &str, limit: Duration) -> Result<Vec<i32>, Cause> {
        let topics = self.link.once(limit, |client| async move { client.list_topics().await }).await?;
        let Some(found) = topics.iter().find(|known| known.name == topic) else {
            return Err(Cause::missing_topic(topic, topics.iter().map(|known| known.name.as_str())));
        };
        if found.partitions.is_empty() {
            return Err(Cause::no_partitions());
        }
        Ok(found.partitions.iter().copied().collect())
    }

    /// Every topic that this client may see, with its partitions.
    pub async fn topics(&self) -> Result<BTreeMap<String, Vec<i32>>, BrokerError> {
        let limit = self.link.limits.request_timeout;
        let topics =
            patiently(limit, |left| self.link.once(left, |client| async move { client.list_topics().await })).await;
        let topics = topics.map_err(|cause| cause.at("list the topics", Place::default()))?;
        Ok(topics.into_iter().map(|topic| (topic.name, topic.partitions.into_iter().collect())).collect())
    }

    /// Creates the topic and waits until each partition has a leader; `false` if there was one of that name.
    pub async fn create_topic(&self, topic: &str, partitions: i32, replication: i16) -> Result<bool, BrokerError> {
        let limit = self.link.limits.request_timeout;
        let create = patiently(limit, |left| self.create_once(topic, partitions, replication, left));
        let created = create.await.map_err(|cause| cause.at("create the topic", Place::topic(topic)))?;
        if created {
            stream::iter(0..partitions)
                .map(|partition| self.partition(topic, partition))
                .buffer_unordered(LEADERS_ASKED_MAX)
                .try_for_each(|_| async { Ok(()) })
                .await?;
        }
        Ok(created)
    }

    /// How many brokers keep each partition of the topic.
    pub async fn replication(&self, topic: &str) -> Result<usize, BrokerError> {
        let limit = self.link.limits.request_timeout;
        let asked = patiently(limit, |left| self.link.replication(topic, left)).await;
        asked.map_err(|cause| cause.at("ask how many brokers keep the topic", Place::topic(topic)))
    }

    async fn create_once(
        &self,
        topic: &str,
        partitions: i32,
        replication: i16,
        limit: Duration,
    ) -> Result<bool, Cause> {
        let limit_ms = i32::try_from(limit.as_millis()).unwrap_or(i32::MAX);
        let create = self.link.once(limit, |client| async move {
            client.controller_client()?.create_topic(topic, partitions, replication, limit_ms).await
        });
        match create.await {
            Ok(()) => Ok(true),
            Err(cause) if cause.topic_exists => Ok(false),
            Err(cause) => Err(cause),
        }
    }

    /// A connection of its own to the partition's leader.
    pub async fn partition(&self, topic: &str, partition: i32) -> Result<Partition, BrokerError> {
        Partition::open(Arc::clone(&self.link), topic, partition).await
    }
}
