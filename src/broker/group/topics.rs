//! How many partitions topics have, and the ids by which the `consumer` protocol calls them.

use rskafka::{
    client::error::ProtocolError,
    protocol::{
        api_key::ApiKey,
        traits::{ReadError, WriteError},
    },
};
use uuid::Uuid;

use super::codec::{Answer, Reader, Request, Writer};

/// From this version on a broker tells the topics' ids.
const WITH_IDS: i16 = 10;

/// A question about topics by name. One that is not there is not created by the question.
#[derive(Debug)]
pub(super) struct AskTopics<'a>(pub(super) &'a [&'a str]);

#[derive(Debug)]
pub(super) struct Topics(pub(super) Vec<Topic>);

#[derive(Debug)]
pub(super) struct Topic {
    pub(super) error: Option<ProtocolError>,
    pub(super) name: String,
    /// Nil where the broker knows no ids.
    pub(super) id: Uuid,
    pub(super) partitions: Vec<i32>,
}

impl Request for AskTopics<'_> {
    const KEY: ApiKey = ApiKey::Metadata;
    const VERSIONS: (i16, i16) = (4, 12);
    const FLEXIBLE: i16 = 9;
    type Answer = Topics;

    fn write(&self, to: &mut Writer<'_>, version: i16) -> Result<(), WriteError> {
        to.array(self.0, |to, topic| {
            if version >= WITH_IDS {
                to.uuid(Uuid::nil());
            }
            to.string(topic)?;
            to.tags()
        })?;
        let (create, tell_of_cluster_rights, tell_of_topic_rights) = (false, false, false);
        to.bool(create)?;
        if (8..=10).contains(&version) {
            to.bool(tell_of_cluster_rights)?;
        }
        if version >= 8 { to.bool(tell_of_topic_rights) } else { Ok(()) }
    }
}

impl Answer for Topics {
    fn read(from: &mut Reader<'_>, version: i16) -> Result<Self, ReadError> {
        let _throttled_ms = from.int32()?;
        from.array(|from| {
            let _broker = (from.int32()?, from.string()?, from.int32()?, from.nullable()?);
            from.tags()
        })?;
        let _cluster = from.nullable()?;
        let _controller = from.int32()?;
        let topics = from.array(|from| Topic::read(from, version))?;
        if (8..=10).contains(&version) {
            let _cluster_rights = from.int32()?;
        }
        Ok(Self(topics))
    }
}

impl Topic {
    fn read(from: &mut Reader<'_>, version: i16) -> Result<Self, ReadError> {
        let error = ProtocolError::new(from.int16()?);
        let name = from.nullable()?.unwrap_or_default();
        let id = if version >= WITH_IDS { from.uuid()? } else { Uuid::nil() };
        let _internal = from.bool()?;
        let partitions = from.array(|from| read_partition(from, version))?;
        if version >= 8 {
            let _topic_rights = from.int32()?;
        }
        from.tags()?;
        Ok(Self { error, name, id, partitions })
    }
}

fn read_partition(from: &mut Reader<'_>, version: i16) -> Result<i32, ReadError> {
    let _error = from.int16()?;
    let partition = from.int32()?;
    let _leader = from.int32()?;
    if version >= 7 {
        let _leader_epoch = from.int32()?;
    }
    let _replicas = from.array(Reader::int32)?;
    let _in_sync = from.array(Reader::int32)?;
    if version >= 5 {
        let _offline = from.array(Reader::int32)?;
    }
    from.tags()?;
    Ok(partition)
}
