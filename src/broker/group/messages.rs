//! What is said to a group's coordinator, and what it answers.
//!
//! Owns: the fields of seven requests, in the versions that Kafka 2.3 to 4, Redpanda and the embedded broker share. Does
//! not own: what stands in the bytes that members hand each other ([`super::subscription`]).

use rskafka::{
    client::error::ProtocolError,
    protocol::{
        api_key::ApiKey,
        primitives::Int16,
        traits::{ReadError, WriteError},
    },
};
use uuid::Uuid;

use super::codec::{Answer, Reader, Request, Writer};

/// The kind of coordinator that knows groups.
const OF_GROUPS: i8 = 0;
const CONSUMER_GROUP_HEARTBEAT: ApiKey = ApiKey::Unknown(Int16(68));
/// The partition's leader is not asked for its epoch.
const NO_EPOCH: i32 = -1;

#[derive(Debug)]
pub(in crate::broker) struct FindCoordinator<'a> {
    pub(in crate::broker) group: &'a str,
}

#[derive(Debug)]
pub(in crate::broker) struct Found {
    pub(in crate::broker) error: Option<ProtocolError>,
    pub(in crate::broker) host: String,
    pub(in crate::broker) port: i32,
}

impl Request for FindCoordinator<'_> {
    const KEY: ApiKey = ApiKey::FindCoordinator;
    const VERSIONS: (i16, i16) = (1, 3);
    const FLEXIBLE: i16 = 3;
    type Answer = Found;

    fn write(&self, to: &mut Writer<'_>, _: i16) -> Result<(), WriteError> {
        to.string(self.group)?;
        to.int8(OF_GROUPS)
    }
}

impl Answer for Found {
    fn read(from: &mut Reader<'_>, _: i16) -> Result<Self, ReadError> {
        let _throttled_ms = from.int32()?;
        let error = ProtocolError::new(from.int16()?);
        let _message = from.nullable()?;
        let _node = from.int32()?;
        Ok(Self { error, host: from.string()?, port: from.int32()? })
    }
}

/// Who speaks, as most requests begin.
#[derive(Clone, Copy, Debug)]
pub(super) struct Speaker<'a> {
    pub(super) group: &'a str,
    /// The generation, or the epoch.
    pub(super) generation: i32,
    pub(super) member: &'a str,
    pub(super) instance: Option<&'a str>,
}

impl Speaker<'_> {
    fn write(self, to: &mut Writer<'_>) -> Result<(), WriteError> {
        to.string(self.group)?;
        to.int32(self.generation)?;
        to.string(self.member)?;
        to.nullable(self.instance)
    }
}

#[derive(Debug)]
pub(super) struct JoinGroup<'a> {
    pub(super) speaker: Speaker<'a>,
    pub(super) session_ms: i32,
    pub(super) rebalance_ms: i32,
    pub(super) protocol_type: &'a str,
    pub(super) protocol: &'a str,
    pub(super) metadata: &'a [u8],
    pub(super) reason: &'a str,
}

#[derive(Debug)]
pub(super) struct Joined {
    pub(super) error: Option<ProtocolError>,
    pub(super) generation: i32,
    pub(super) leader: String,
    /// The assignment that stands is to stay.
    pub(super) skip_assignment: bool,
    /// A leader that is back under its name is told that it leads; before version 9 it is not.
    pub(super) tells_returned_leader: bool,
    pub(super) member: String,
    /// Told to the leader alone: each member, and what it has to say.
    pub(super) members: Vec<(String, Vec<u8>)>,
}

impl Request for JoinGroup<'_> {
    const KEY: ApiKey = ApiKey::JoinGroup;
    const VERSIONS: (i16, i16) = (5, 9);
    const FLEXIBLE: i16 = 6;
    type Answer = Joined;

    fn write(&self, to: &mut Writer<'_>, version: i16) -> Result<(), WriteError> {
        to.string(self.speaker.group)?;
        to.int32(self.session_ms)?;
        to.int32(self.rebalance_ms)?;
        to.string(self.speaker.member)?;
        to.nullable(self.speaker.instance)?;
        to.string(self.protocol_type)?;
        to.array(&[(self.protocol, self.metadata)], |to, (name, metadata)| {
            to.string(name)?;
            to.bytes(metadata)?;
            to.tags()
        })?;
        if version >= 8 { to.nullable(Some(self.reason)) } else { Ok(()) }
    }
}

impl Answer for Joined {
    fn read(from: &mut Reader<'_>, version: i16) -> Result<Self, ReadError> {
        let _throttled_ms = from.int32()?;
        let error = ProtocolError::new(from.int16()?);
        let generation = from.int32()?;
        if version >= 7 {
            let _protocol_type = from.nullable()?;
        }
        let _protocol = from.nullable()?;
        let leader = from.string()?;
        let tells_returned_leader = version >= 9;
        let skip_assignment = tells_returned_leader && from.bool()?;
        let member = from.string()?;
        let members = from.array(|from| {
            let member = from.string()?;
            let _instance = from.nullable()?;
            let metadata = from.bytes()?;
            from.tags()?;
            Ok((member, metadata))
        })?;
        Ok(Self { error, generation, leader, skip_assignment, tells_returned_leader, member, members })
    }
}

#[derive(Debug)]
pub(super) struct SyncGroup<'a> {
    pub(super) speaker: Speaker<'a>,
    pub(super) protocol_type: &'a str,
    pub(super) protocol: &'a str,
    /// By the leader alone: what each member gets.
    pub(super) assignments: &'a [(String, Vec<u8>)],
}

#[derive(Debug)]
pub(super) struct Synced {
    pub(super) error: Option<ProtocolError>,
    pub(super) assignment: Vec<u8>,
}

impl Request for SyncGroup<'_> {
    const KEY: ApiKey = ApiKey::SyncGroup;
    const VERSIONS: (i16, i16) = (3, 5);
    const FLEXIBLE: i16 = 4;
    type Answer = Synced;

    fn write(&self, to: &mut Writer<'_>, version: i16) -> Result<(), WriteError> {
        self.speaker.write(to)?;
        if version >= 5 {
            to.nullable(Some(self.protocol_type))?;
            to.nullable(Some(self.protocol))?;
        }
        to.array(self.assignments, |to, (member, assignment)| {
            to.string(member)?;
            to.bytes(assignment)?;
            to.tags()
        })
    }
}

impl Answer for Synced {
    fn read(from: &mut Reader<'_>, version: i16) -> Result<Self, ReadError> {
        let _throttled_ms = from.int32()?;
        let error = ProtocolError::new(from.int16()?);
        if version >= 5 {
            let _protocol_type = from.nullable()?;
            let _protocol = from.nullable()?;
        }
        Ok(Self { error, assignment: from.bytes()? })
    }
}

#[derive(Debug)]
pub(super) struct Heartbeat<'a>(pub(super) Speaker<'a>);

/// No more than whether it went well.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) error: Option<ProtocolError>,
}

impl Request for Heartbeat<'_> {
    const KEY: ApiKey = ApiKey::Heartbeat;
    const VERSIONS: (i16, i16) = (3, 4);
    const FLEXIBLE: i16 = 4;
    type Answer = Outcome;

    fn write(&self, to: &mut Writer<'_>, _: i16) -> Result<(), WriteError> {
        self.0.write(to)
    }
}

impl Answer for Outcome {
    fn read(from: &mut Reader<'_>, _: i16) -> Result<Self, ReadError> {
        let _throttled_ms = from.int32()?;
        Ok(Self { error: ProtocolError::new(from.int16()?) })
    }
}

#[derive(Debug)]
pub(super) struct LeaveGroup<'a> {
    pub(super) speaker: Speaker<'a>,
    pub(super) reason: &'a str,
}

#[derive(Debug)]
pub(super) struct Left {
    pub(super) error: Option<ProtocolError>,
}

impl Request for LeaveGroup<'_> {
    const KEY: ApiKey = ApiKey::LeaveGroup;
    const VERSIONS: (i16, i16) = (3, 5);
    const FLEXIBLE: i16 = 4;
    type Answer = Left;

    fn write(&self, to: &mut Writer<'_>, version: i16) -> Result<(), WriteError> {
        to.string(self.speaker.group)?;
        to.array(&[self.speaker], |to, speaker| {
            to.string(speaker.member)?;
            to.nullable(speaker.instance)?;
            if version >= 5 {
                to.nullable(Some(self.reason))?;
            }
            to.tags()
        })
    }
}

impl Answer for Left {
    fn read(from: &mut Reader<'_>, _: i16) -> Result<Self, ReadError> {
        let _throttled_ms = from.int32()?;
        let error = ProtocolError::new(from.int16()?);
        let of_members = from.array(|from| {
            let _member = from.string()?;
            let _instance = from.nullable()?;
            let error = ProtocolError::new(from.int16()?);
            from.tags()?;
            Ok(error)
        })?;
        Ok(Self { error: error.or_else(|| of_members.into_iter().flatten().next()) })
    }
}

#[derive(Debug)]
pub(super) struct OffsetCommit<'a> {
    pub(super) speaker: Speaker<'a>,
    /// By topic: partitions, and the first offset that is not in the lake.
    pub(super) offsets: &'a [(&'a str, Vec<(i32, i64)>)],
}

impl Request for OffsetCommit<'_> {
    const KEY: ApiKey = ApiKey::OffsetCommit;
    const VERSIONS: (i16, i16) = (7, 9);
    const FLEXIBLE: i16 = 8;
    type Answer = Committed;

    fn write(&self, to: &mut Writer<'_>, _: i16) -> Result<(), WriteError> {
        self.speaker.write(to)?;
        to.array(self.offsets, |to, (topic, partitions)| {
            to.string(topic)?;
            to.array(partitions, |to, (partition, offset)| {
                to.int32(*partition)?;
                to.int64(*offset)?;
                to.int32(NO_EPOCH)?;
                to.nullable(None)?;
                to.tags()
            })?;
            to.tags()
        })
    }
}

/// The first partition's refusal: what refuses one mostly refuses all.
#[derive(Debug)]
pub(super) struct Committed {
    pub(super) error: Option<ProtocolError>,
}

impl Answer for Committed {
    fn read(from: &mut Reader<'_>, _: i16) -> Result<Self, ReadError> {
        let _throttled_ms = from.int32()?;
        let topics = from.array(|from| {
            let _topic = from.string()?;
            let errors = from.array(|from| {
                let _partition = from.int32()?;
                let error = ProtocolError::new(from.int16()?);
                from.tags()?;
                Ok(error)
            })?;
            from.tags()?;
            Ok(errors)
        })?;
        Ok(Self { error: topics.into_iter().flatten().flatten().next() })
    }
}

/// The one request of the `consumer` protocol (KIP-848): joins, keeps, tells what is held, leaves.
#[derive(Debug)]
pub(super) struct ConsumerHeartbeat<'a> {
    pub(super) speaker: Speaker<'a>,
    pub(super) rebalance_ms: i32,
    pub(super) topics: &'a [&'a str],
    pub(super) held: &'a [(Uuid, Vec<i32>)],
}

#[derive(Debug)]
pub(super) struct Kept {
    pub(super) error: Option<ProtocolError>,
    pub(super) message: Option<String>,
    pub(super) member: Option<String>,
    pub(super) epoch: i32,
    pub(super) beat_ms: i32,
    /// None: as it was.
    pub(super) assignment: Option<Vec<(Uuid, Vec<i32>)>>,
}

impl Request for ConsumerHeartbeat<'_> {
    const KEY: ApiKey = CONSUMER_GROUP_HEARTBEAT;
    const VERSIONS: (i16, i16) = (0, 0);
    const FLEXIBLE: i16 = 0;
    type Answer = Kept;

    fn write(&self, to: &mut Writer<'_>, _: i16) -> Result<(), WriteError> {
        let Speaker { group, generation, member, instance } = self.speaker;
        to.string(group)?;
        to.string(member)?;
        to.int32(generation)?;
        to.nullable(instance)?;
        let (rack, assignor) = (None, None);
        to.nullable(rack)?;
        to.int32(self.rebalance_ms)?;
        to.array(self.topics, |to, topic| to.string(topic))?;
        to.nullable(assignor)?;
        to.array(self.held, |to, (topic, partitions)| {
            to.uuid(*topic);
            to.array(partitions, |to, partition| to.int32(*partition))?;
            to.tags()
        })
    }
}

impl Answer for Kept {
    fn read(from: &mut Reader<'_>, _: i16) -> Result<Self, ReadError> {
        let _throttled_ms = from.int32()?;
        let error = ProtocolError::new(from.int16()?);
        let message = from.nullable()?;
        let member = from.nullable()?;
        let epoch = from.int32()?;
        let beat_ms = from.int32()?;
        let assignment = from.struct_if_there(|from| {
            let topics = from.array(|from| {
                let topic = from.uuid()?;
                let partitions = from.array(Reader::int32)?;
                from.tags()?;
                Ok((topic, partitions))
            })?;
            from.tags()?;
            Ok(topics)
        })?;
        Ok(Self { error, message, member, epoch, beat_ms, assignment })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use rskafka::protocol::{
        api_version::ApiVersion,
        messages::{ReadVersionedType as _, WriteVersionedType as _},
    };

    use super::{
        super::codec::{Ask, Told},
        *,
    };

    const SPEAKER: Speaker<'_> = Speaker { group: "g", generation: 7, member: "me", instance: None };

    fn written<R: Request>(request: R, version: i16) -> Vec<u8> {
        let mut bytes = vec![];
        Ask(request).write_versioned(&mut bytes, ApiVersion(Int16(version))).unwrap();
        bytes
    }

    fn read<R: Request>(bytes: &[u8], version: i16) -> R::Answer {
        let mut from = Cursor::new(bytes.to_vec());
        let Told(answer) = Told::<R>::read_versioned(&mut from, ApiVersion(Int16(version))).unwrap();
        assert_eq!(from.position(), u64::try_from(bytes.len()).unwrap(), "read to its end");
        answer
    }

    #[test]
    fn a_heartbeat_has_the_bytes_of_both_forms() {
        assert_eq!(written(Heartbeat(SPEAKER), 3), b"\x00\x01g\x00\x00\x00\x07\x00\x02me\xff\xff");
        assert_eq!(written(Heartbeat(SPEAKER), 4), b"\x02g\x00\x00\x00\x07\x03me\x00\x00");
        assert_eq!(read::<Heartbeat<'_>>(b"\0\0\0\0\x00\x1b", 3).error, Some(ProtocolError::RebalanceInProgress));
        assert_eq!(read::<Heartbeat<'_>>(b"\0\0\0\0\x00\x00\x00", 4).error, None);
    }

    #[test]
    fn offsets_are_committed_in_the_bytes_of_both_forms() {
        let commit = || OffsetCommit { speaker: SPEAKER, offsets: &[] };
        assert_eq!(written(commit(), 7), b"\x00\x01g\x00\x00\x00\x07\x00\x02me\xff\xff\x00\x00\x00\x00");
        let offsets = [("t", vec![(3, 300)])];
        let commit = OffsetCommit { speaker: SPEAKER, offsets: &offsets };
        let offset = b"\x00\x00\x00\x03\x00\x00\x00\x00\x00\x00\x01\x2c\xff\xff\xff\xff\x00\x00";
        let expected = [b"\x02g\x00\x00\x00\x07\x03me\x00\x02\x02t\x02", &offset[..], b"\x00\x00"].concat();
        assert_eq!(written(commit, 9), expected);
        let told = b"\0\0\0\0\x02\x02t\x02\x00\x00\x00\x03\x00\x16\x00\x00\x00";
        assert_eq!(read::<OffsetCommit<'_>>(told, 9).error, Some(ProtocolError::IllegalGeneration));
    }

    #[test]
    fn a_leader_learns_who_has_joined() {
        let told = b"\0\0\0\0\x00\x00\x00\x00\x00\x05\x00\x00\x00\x01a\x00\x01a\x00\x00\x00\x01\x00\x01a\xff\xff\x00\x00\x00\x02hi";
        let joined = read::<JoinGroup<'_>>(told, 5);
        assert_eq!((joined.generation, joined.leader, joined.skip_assignment), (5, "a".into(), false));
        assert_eq!(joined.members, [("a".to_owned(), b"hi".to_vec())]);
        let told = b"\0\0\0\0\x00\x00\x00\x00\x00\x05\x00\x00\x02a\x01\x02a\x02\x02a\x00\x03hi\x00\x00";
        let joined = read::<JoinGroup<'_>>(told, 9);
        assert_eq!((joined.generation, joined.member, joined.skip_assignment), (5, "a".into(), true));
        assert_eq!(joined.members, [("a".to_owned(), b"hi".to_vec())]);
    }

    #[test]
    fn an_assignment_that_did_not_change_is_left_out() {
        let told = b"\0\0\0\0\x00\x00\x00\x00\x00\x00\x00\x09\x00\x00\x13\x88\xff\x00";
        let kept = read::<ConsumerHeartbeat<'_>>(told, 0);
        assert_eq!((kept.epoch, kept.beat_ms, kept.assignment), (9, 5000, None));
    }
}
