//! rskafka's errors, read: may a retry mend it, what do we tell a person, and is the connection still good.
//!
//! Owns: the only look into rskafka's error types. Does not own: where it happened, which the caller adds.

use std::{borrow::Cow, error::Error as StdError, sync::Arc, time::Duration};

use rskafka::{
    BackoffError, ConnectionError,
    client::error::{Error, ProtocolError, RequestError},
    messenger::SyncVersionsError,
    protocol::{api_key::ApiKey, frame, primitives::Int16},
};

use super::error::{BrokerError, BrokerErrorKind, Place};

const NOTHING_SKIPPED: &str = "nothing was skipped";
const REACH: &str = "check that the broker runs and can be reached from here";
const CLASSIC: &str = "set group_protocol = \"classic\"";
/// The request of the `consumer` protocol, which rskafka has no name for.
const CONSUMER_GROUP_HEARTBEAT: Int16 = Int16(68);
const BROKER_LOG: &str = "see the broker's log";
/// How like two names must be (Jaro-Winkler) for one to be offered for the other.
const LIKENESS_MIN: f64 = 0.8;

/// Why a call failed, without where.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is something else that a caller asks")]
pub(super) struct Cause {
    pub(super) kind: BrokerErrorKind,
    pub(super) text: String,
    pub(super) remedy: Cow<'static, str>,
    /// The connection can't be used again.
    pub(super) connection_lost: bool,
    /// The broker doesn't know the topic or partition, which just after its creation or a restart may pass.
    pub(super) unknown_topic: bool,
    pub(super) topic_exists: bool,
    /// What stands at the offset can't be read.
    pub(super) unreadable: bool,
    /// There is no token, or the broker refuses it; the next may be another.
    pub(super) of_the_token: bool,
}

impl Cause {
    fn new(kind: BrokerErrorKind, text: impl Into<String>, remedy: &'static str) -> Self {
        Self {
            kind,
            text: text.into(),
            remedy: remedy.into(),
            connection_lost: false,
            unknown_topic: false,
            topic_exists: false,
            unreadable: false,
            of_the_token: false,
        }
    }

    pub(super) fn person(text: impl Into<String>, remedy: &'static str) -> Self {
        Self::new(BrokerErrorKind::Person, text, remedy)
    }

    /// Who we are or who the broker is was refused; another connection would be too.
    pub(super) fn refused(text: impl Into<String>, remedy: &'static str) -> Self {
        Self { connection_lost: true, ..Self::person(text, remedy) }
    }

    pub(super) fn token(text: impl Into<String>, remedy: &'static str) -> Self {
        let refused = Self { of_the_token: true, ..Self::refused(text, remedy) };
        Self { kind: BrokerErrorKind::Transient, ..refused }
    }

    pub(super) fn connection(text: impl Into<String>) -> Self {
        let text = text.into();
        let mut cause = match text.as_str() {
            // Of a connection that rskafka made by itself. The next that is made here asks anew for password or token, and
            // tells a refusal in full.
            told if told.contains("Sasl") => {
                let remedy = "check the user name, the password and the SASL mechanism";
                Self::new(BrokerErrorKind::Transient, text, remedy)
            }
            told if told.contains("invalid peer certificate") => Self::person(text, "check the broker's certificate"),
            told if told.contains("Invalid Hostname") => {
                Self::person(text, "name the broker by a name or by an address of IPv4, where it speaks TLS")
            }
            told if told.contains("invalid socket address") || told.contains("invalid port value") => {
                Self::person(text, "write the broker as host:port")
            }
            // The frame is refused before anything of it is read, so every further try meets it again.
            told if told.contains("Message too large") => {
                Self::person(text, "is this the port of a Kafka broker, and are its batches under 100 MiB?")
            }
            _ => Self::new(BrokerErrorKind::Transient, text, REACH),
        };
        cause.connection_lost = true;
        cause
    }

    /// Nobody answered, so the connection may be dead without anyone having said so.
    pub(super) fn no_answer(waited: Duration) -> Self {
        Self::connection(format!("no answer within {waited:?}"))
    }

    pub(super) fn missing_topic<'a>(topic: &str, known: impl Iterator<Item = &'a str>) -> Self {
        let nearest = known.map(|name| (strsim::jaro_winkler(topic, name), name)).max_by(|a, b| a.0.total_cmp(&b.0));
        let mut cause = Self::person("there is no such topic", "create it, or check its name");
        cause.unknown_topic = true;
        if let Some((_, name)) = nearest.filter(|(likeness, _)| *likeness >= LIKENESS_MIN) {
            cause.remedy = format!("did you mean `{name}`?").into();
        }
        cause
    }

    pub(super) fn missing_partition() -> Self {
        unknown_topic("there is no such partition")
    }

    /// The broker answered something else than it was asked; the next answer may be sounder.
    pub(super) fn senseless(what: &str) -> Self {
        let mut cause = Self::connection(format!("the broker's answer makes no sense: {what}"));
        cause.remedy = BROKER_LOG.into();
        cause
    }

    pub(super) fn no_partitions() -> Self {
        Self::new(BrokerErrorKind::Transient, "the topic has no partitions yet", BROKER_LOG)
    }

    /// The embedded broker ended by itself; another port may suit it better.
    #[cfg(feature = "embedded")]
    pub(super) fn ended(text: impl Into<String>) -> Self {
        Self::new(BrokerErrorKind::Transient, text, "listen on another port")
    }

    /// Says which broker, where rskafka does not or says it at length.
    pub(super) fn of_broker(mut self, broker: &str) -> Self {
        let told = self.text.strip_prefix(&format!("error connecting to broker \"{broker}\": ")).unwrap_or(&self.text);
        self.text = format!("{broker}: {}", told.strip_prefix("IO Error: ").unwrap_or(told));
        self
    }

    pub(super) fn of_group(self, group: &str) -> Self {
        Self { text: format!("`{group}`: {}", self.text), ..self }
    }

    /// Another broker failed too: only when both are beyond a retry is the whole. What a person is to do goes before what
    /// may pass.
    pub(super) fn and(self, other: Self) -> Self {
        let text = format!("{}, {}", self.text, other.text);
        let (milder, graver) = if self.kind == BrokerErrorKind::Transient { (self, other) } else { (other, self) };
        let remedy = if graver.kind == BrokerErrorKind::Person { graver.remedy } else { milder.remedy };
        Self { text, remedy, ..milder }
    }

    /// An unknown topic may become known.
    pub(super) fn or_later(self) -> Self {
        if self.unknown_topic { Self { kind: BrokerErrorKind::Transient, ..self } } else { self }
    }

    /// A token that is refused at the start is a mistake rather than one that has run out.
    pub(super) fn at_once(self) -> Self {
        if self.of_the_token { Self { kind: BrokerErrorKind::Person, ..self } } else { self }
    }

    /// An unknown topic will stay unknown.
    pub(super) fn settled(self) -> Self {
        if self.unknown_topic { Self { kind: BrokerErrorKind::Person, ..self } } else { self }
    }

    /// A question over the connection that stands would fail again, or go to a broker that leads no longer.
    pub(super) fn asks_for_another_connection(&self) -> bool {
        self.kind == BrokerErrorKind::Transient || self.unknown_topic
    }

    pub(super) fn at(self, doing: &'static str, place: Place) -> BrokerError {
        BrokerError {
            kind: self.kind,
            doing,
            place,
            cause: self.text,
            remedy: self.remedy,
            unknown_topic: self.unknown_topic,
            unreadable: self.unreadable,
        }
    }
}

impl From<Error> for Cause {
    fn from(error: Error) -> Self {
        of_error(&error)
    }
}

impl From<RequestError> for Cause {
    fn from(error: RequestError) -> Self {
        of_request(&error)
    }
}

impl From<SyncVersionsError> for Cause {
    fn from(error: SyncVersionsError) -> Self {
        match error {
            SyncVersionsError::RequestError(error) => of_request(&error),
            other => Self::person(other.to_string(), "is this the port of a Kafka broker?"),
        }
    }
}

impl From<ProtocolError> for Cause {
    fn from(error: ProtocolError) -> Self {
        of_server(error, None)
    }
}

fn of_error(error: &Error) -> Cause {
    match error {
        Error::Connection(error) => of_connection(error),
        Error::Request(error) => of_request(error),
        Error::RetryFailed(error) => of_retry(error),
        Error::ServerError { protocol_error, error_message, .. } => {
            of_server(*protocol_error, error_message.as_deref())
        }
        Error::InvalidResponse(text) => of_invalid_response(text),
        other => Cause::new(BrokerErrorKind::Transient, other.to_string(), REACH),
    }
}

fn of_connection(error: &ConnectionError) -> Cause {
    match error {
        ConnectionError::Metadata(error) => of_request(error),
        ConnectionError::RetryFailed(error) => of_retry(error),
        ConnectionError::Transport { broker, error } => Cause::connection(error.to_string()).of_broker(broker),
        other => Cause::connection(other.to_string()),
    }
}

/// rskafka gives up at the first failure (see `link`), so what it gave up over is the cause.
fn of_retry(error: &BackoffError) -> Cause {
    let BackoffError::DeadlineExceded { source, .. } = error;
    let source: &(dyn StdError + 'static) = source.as_ref();
    if let Some(error) = source.downcast_ref::<Error>() {
        of_error(error)
    } else if let Some(error) = source.downcast_ref::<RequestError>() {
        of_request(error)
    } else if let Some(error) = source.downcast_ref::<Arc<dyn StdError + Send + Sync>>() {
        Cause::connection(error.to_string())
    } else {
        Cause::connection(source.to_string())
    }
}

fn of_request(error: &RequestError) -> Cause {
    match error {
        RequestError::Poisoned(error) => of_request(error),
        RequestError::IO(_)
        | RequestError::ReadFramedMessageError(_)
        | RequestError::WriteMessageError(frame::WriteError::IO(_)) => Cause::connection(error.to_string()),
        RequestError::NoVersionMatch { api_key } => of_old_broker(error.to_string(), *api_key),
        RequestError::WriteError(_) | RequestError::WriteMessageError(_) => {
            Cause::person(error.to_string(), "send smaller batches")
        }
        other => Cause::senseless(&other.to_string()),
    }
}

fn of_old_broker(text: String, asked: ApiKey) -> Cause {
    match asked {
        ApiKey::Unknown(CONSUMER_GROUP_HEARTBEAT) => {
            Cause::person("the broker does not know the `consumer` protocol of groups", CLASSIC)
        }
        ApiKey::JoinGroup | ApiKey::SyncGroup | ApiKey::Heartbeat | ApiKey::LeaveGroup | ApiKey::OffsetCommit => {
            Cause::person(text, "groups need Apache Kafka 2.3 or newer, or Redpanda; without one, set `worker`")
        }
        _ => Cause::person(text, "this needs Apache Kafka 0.11 or newer, or Redpanda"),
    }
}

/// What stands in the partition can't be read; says what is in the way, as well as can be known.
pub(super) fn undecodable(text: &str) -> Cause {
    let (told, remedy) = if text.contains("out of range integral type conversion") {
        (
            "a record has a header without a value (null), which is not supported".into(),
            "let the producer write an empty header value, or start behind that record",
        )
    } else {
        (
            format!("the broker's answer can't be decoded ({text})"),
            "check the records there with another client, or start behind them",
        )
    };
    Cause { unreadable: true, ..Cause::person(format!("{told}; {NOTHING_SKIPPED}"), remedy) }
}

fn of_invalid_response(text: &str) -> Cause {
    if text.starts_with("Could not find metadata for partition") {
        return Cause::missing_partition();
    }
    Cause::new(BrokerErrorKind::Transient, text, BROKER_LOG)
}

fn unknown_topic(text: &str) -> Cause {
    let mut cause = Cause::person(text, "check the topic's name and that it was not deleted");
    cause.unknown_topic = true;
    cause
}

fn of_server(error: ProtocolError, message: Option<&str>) -> Cause {
    use ProtocolError as E;

    let text = message.map_or_else(|| error.to_string(), |message| format!("{error}: {message}"));
    match error {
        E::OffsetOutOfRange | E::PositionOutOfRange => Cause::new(
            BrokerErrorKind::OutOfRange,
            "the partition does not keep that offset",
            "retention took it, or the topic was created again",
        ),
        E::UnknownTopicOrPartition | E::UnknownTopicId => unknown_topic("the broker knows no such topic or partition"),
        E::TopicAuthorizationFailed | E::ClusterAuthorizationFailed => {
            Cause::person(text, "let an administrator grant this user access to the topic")
        }
        E::SaslAuthenticationFailed | E::UnsupportedSaslMechanism | E::IllegalSaslState => {
            Cause::person(text, "check the user name, the password and the SASL mechanism")
        }
        E::MessageTooLarge | E::RecordListTooLarge => {
            Cause::person(text, "send smaller batches, or raise the topic's max.message.bytes")
        }
        E::InvalidReplicationFactor => Cause::person(text, "ask for no more replicas than there are brokers"),
        E::TopicAlreadyExists => Cause { topic_exists: true, ..Cause::person(text, "use another name") },
        E::InvalidPartitions => Cause::person(text, "ask for at least one partition"),
        E::InvalidTopicException => Cause::person(text, "use letters, digits, `.`, `_` and `-` in the topic's name"),
        error if passes(error) => Cause::new(BrokerErrorKind::Transient, text, BROKER_LOG),
        error => {
            let (refusal, remedy) = group_refusal(error).unwrap_or((&text, BROKER_LOG));
            Cause::person(refusal, remedy)
        }
    }
}

/// Why a group can't be joined, and what a person does about it.
fn group_refusal(error: ProtocolError) -> Option<(&'static str, &'static str)> {
    use ProtocolError as E;

    Some(match error {
        E::GroupAuthorizationFailed => {
            ("this user may not join it", "let an administrator grant this user READ on the group")
        }
        E::InconsistentGroupProtocol => {
            ("its members share out partitions in another way", "stop them, or give this pipeline a group of its own")
        }
        E::FencedInstanceId => {
            ("another process has joined under this worker's group_instance", "give each worker a name of its own")
        }
        E::GroupMaxSizeReached => (
            "it has as many members as the broker allows",
            "start fewer workers, or raise group.max.size at the broker",
        ),
        E::InvalidSessionTimeout => (
            "the broker does not allow this session_timeout",
            "choose one between its group.min.session.timeout.ms and group.max.session.timeout.ms, 6 s and 30 min by default",
        ),
        E::InvalidGroupId => ("this is no name for a group", "choose another"),
        E::UnsupportedVersion => ("the broker does not take part in the `consumer` protocol", CLASSIC),
        _ => return None,
    })
}

/// Failures that Kafka itself calls retriable, or that tell of a moment in the cluster's life.
fn passes(error: ProtocolError) -> bool {
    use ProtocolError as E;

    matches!(
        error,
        E::UnknownServerError
            | E::CorruptMessage
            | E::LeaderNotAvailable
            | E::NotLeaderOrFollower
            | E::RequestTimedOut
            | E::BrokerNotAvailable
            | E::ReplicaNotAvailable
            | E::StaleControllerEpoch
            | E::NetworkException
            | E::CoordinatorLoadInProgress
            | E::CoordinatorNotAvailable
            | E::NotCoordinator
            | E::NotEnoughReplicas
            | E::NotEnoughReplicasAfterAppend
            | E::NotController
            | E::KafkaStorageError
            | E::ReassignmentInProgress
            | E::FetchSessionIdNotFound
            | E::InvalidFetchSessionEpoch
            | E::FencedLeaderEpoch
            | E::UnknownLeaderEpoch
            | E::StaleBrokerEpoch
            | E::OffsetNotAvailable
            | E::PreferredLeaderNotAvailable
            | E::EligibleLeadersNotAvailable
            | E::ThrottlingQuotaExceeded
            | E::InconsistentTopicId
    )
}
