//! The broker: connect, fetch, produce. The only folder that names rskafka.

use std::time::Duration;

/// Which topic to read, and from where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceSettings {
    /// `host:port`, at least one.
    pub brokers: Vec<String>,
    pub topic: String,
    pub start: Start,
}

/// Where a partition that the lake doesn't know yet begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    Earliest,
    Latest,
    /// The first record at or after this time, in milliseconds since 1970, UTC.
    Timestamp(i64),
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
