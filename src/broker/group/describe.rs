//! A group as its coordinator sees it, without being in it.
//!
//! Owns: the question, and whether a member of ours could join. Does not own: membership ([`super`]).

use std::{collections::BTreeSet, time::Duration};

use rskafka::{
    client::error::ProtocolError,
    protocol::{
        api_key::ApiKey,
        traits::{ReadError, WriteError},
    },
};

use super::{
    GroupProtocol, TopicPartition,
    codec::{Answer, Reader, Request, Writer},
    subscription::{PROTOCOL, PROTOCOL_TYPE, read_assignment},
};
use crate::broker::{
    Broker, BrokerError, Place,
    cause::Cause,
    link::{patiently, within},
};

/// Where nobody has ever joined.
const DEAD: &str = "Dead";

/// What a coordinator says of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupSeen {
    /// As the broker calls it, such as `Stable`.
    pub state: String,
    protocol_type: String,
    /// How its members share; empty without members.
    protocol: String,
    pub members: Vec<PeerSeen>,
}

/// One of its members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerSeen {
    pub id: String,
    pub instance: Option<String>,
    pub host: String,
    /// Empty while the group forms anew.
    pub partitions: BTreeSet<TopicPartition>,
}

impl Broker {
    /// Asks the group's coordinator for it; nothing is joined.
    pub async fn look_at_group(&self, group: &str) -> Result<GroupSeen, BrokerError> {
        let limit = self.link.limits.request_timeout;
        let seen = patiently(limit, |left| self.look_at_group_once(group, left)).await;
        seen.map_err(|cause| cause.of_group(group).at("look at the group", Place::default()))
    }

    async fn look_at_group_once(&self, group: &str, limit: Duration) -> Result<GroupSeen, Cause> {
        let wire = self.link.coordinator(group, limit).await?;
        let described = within(limit, Box::pin(wire.ask(DescribeGroup { group }))).await?;
        described.error.map_or(Ok(described.group), |error| Err(Cause::from(error)))
    }
}

impl GroupSeen {
    /// Whether anybody has ever joined, as far as this broker remembers.
    #[must_use]
    pub fn is_there(&self) -> bool {
        self.state != DEAD && !self.state.is_empty()
    }

    /// Why a member of ours would be turned away.
    #[must_use]
    pub fn refuses(&self, protocol: GroupProtocol) -> Option<String> {
        if !self.protocol_type.is_empty() && self.protocol_type != PROTOCOL_TYPE {
            let kind = &self.protocol_type;
            return Some(format!("it is no group of consumers, but of the kind `{kind}`; choose another name"));
        }
        let other = protocol == GroupProtocol::Classic && !self.protocol.is_empty() && self.protocol != PROTOCOL;
        other.then(|| {
            let protocol = &self.protocol;
            format!("its members share by `{protocol}`, and ours by `{PROTOCOL}`; stop them, or choose another name")
        })
    }
}

#[derive(Debug)]
struct DescribeGroup<'a> {
    group: &'a str,
}

#[derive(Debug)]
struct Described {
    error: Option<ProtocolError>,
    group: GroupSeen,
}

impl Request for DescribeGroup<'_> {
    const KEY: ApiKey = ApiKey::DescribeGroups;
    const VERSIONS: (i16, i16) = (1, 5);
    const FLEXIBLE: i16 = 5;
    type Answer = Described;

    fn write(&self, to: &mut Writer<'_>, version: i16) -> Result<(), WriteError> {
        to.array(&[self.group], |to, group| to.string(group))?;
        let operations = false;
        if version >= 3 { to.bool(operations) } else { Ok(()) }
    }
}

impl Answer for Described {
    fn read(from: &mut Reader<'_>, version: i16) -> Result<Self, ReadError> {
        let _throttled_ms = from.int32()?;
        let groups = from.array(|from| {
            let error = ProtocolError::new(from.int16()?);
            let _group = from.string()?;
            let (state, protocol_type, protocol) = (from.string()?, from.string()?, from.string()?);
            let members = from.array(|from| peer(from, version))?;
            let _operations = if version >= 3 { from.int32()? } else { 0 };
            from.tags()?;
            Ok(Self { error, group: GroupSeen { state, protocol_type, protocol, members } })
        })?;
        Ok(groups.into_iter().next().unwrap_or(Self { error: None, group: GroupSeen::default() }))
    }
}

fn peer(from: &mut Reader<'_>, version: i16) -> Result<PeerSeen, ReadError> {
    let id = from.string()?;
    let instance = if version >= 4 { from.nullable()? } else { None };
    let _client = from.string()?;
    let host = from.string()?;
    let _subscription = from.bytes()?;
    // Another kind of group writes something else there.
    let partitions = read_assignment(from.bytes()?).unwrap_or_default();
    from.tags()?;
    Ok(PeerSeen { id, instance, host, partitions })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(protocol_type: &str, protocol: &str) -> GroupSeen {
        let (protocol_type, protocol) = (protocol_type.into(), protocol.into());
        GroupSeen { state: "Stable".into(), protocol_type, protocol, members: vec![] }
    }

    #[test]
    fn a_group_of_another_kind_or_with_another_way_of_sharing_is_told_before_it_turns_a_member_away() {
        let refused = |seen: GroupSeen| seen.refuses(GroupProtocol::Classic);
        assert_eq!(refused(seen("", "")), None);
        assert_eq!(refused(seen(PROTOCOL_TYPE, "")), None);
        assert_eq!(refused(seen(PROTOCOL_TYPE, PROTOCOL)), None);
        assert!(refused(seen("connect", "compatible")).is_some_and(|told| told.contains("of the kind `connect`")));
        assert!(refused(seen(PROTOCOL_TYPE, "range")).is_some_and(|told| told.contains("share by `range`")));
    }
}
