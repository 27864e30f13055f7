//! What members of a group tell each other through the coordinator, which passes it on unread: the consumer protocol.
//!
//! Owns: the bytes of a subscription and of an assignment, as every Kafka client and tool reads them. Does not own: who
//! gets what ([`super::assign`]).

use std::{collections::BTreeSet, io::Cursor, sync::Arc};

use rskafka::protocol::traits::{ReadError, WriteError};

use super::{
    TopicPartition,
    codec::{Reader, Writer},
};

pub(super) const PROTOCOL_TYPE: &str = "consumer";
/// The assignor's name, under which other clients do the same.
pub(super) const PROTOCOL: &str = "cooperative-sticky";
/// The generation of one that has not been in any.
pub(super) const NO_GENERATION: i32 = -1;
/// Version 1 added the partitions held, 2 the generation they are of, 3 the rack.
const VERSION: i16 = 3;
const NO_BYTES: i32 = -1;

/// What a member wants, and what it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Subscription {
    pub(super) topics: BTreeSet<Arc<str>>,
    pub(super) held: BTreeSet<TopicPartition>,
    /// When it was given what it holds.
    pub(super) generation: i32,
}

impl Subscription {
    pub(super) fn write(&self) -> Result<Vec<u8>, WriteError> {
        let mut bytes = vec![];
        let mut to = Writer::plain(&mut bytes);
        to.int16(VERSION)?;
        let topics: Vec<_> = self.topics.iter().collect();
        to.array(&topics, |to, topic| to.string(topic))?;
        to.int32(NO_BYTES)?;
        write_partitions(&mut to, &self.held)?;
        to.int32(self.generation)?;
        let rack = None;
        to.nullable(rack)?;
        Ok(bytes)
    }

    pub(super) fn read(bytes: Vec<u8>) -> Result<Self, ReadError> {
        let mut bytes = Cursor::new(bytes);
        let mut from = Reader::plain(&mut bytes);
        let version = from.int16()?;
        let topics = from.array(|from| from.string().map(Arc::from))?.into_iter().collect();
        skip_bytes(&mut from)?;
        let held = if version >= 1 { read_partitions(&mut from)? } else { BTreeSet::new() };
        let generation = if version >= 2 { from.int32()? } else { NO_GENERATION };
        Ok(Self { topics, held, generation })
    }
}

pub(super) fn write_assignment(partitions: &BTreeSet<TopicPartition>) -> Result<Vec<u8>, WriteError> {
    let mut bytes = vec![];
    let mut to = Writer::plain(&mut bytes);
    to.int16(VERSION)?;
    write_partitions(&mut to, partitions)?;
    to.int32(NO_BYTES)?;
    Ok(bytes)
}

/// A member that the leader knew nothing of gets no bytes at all.
pub(super) fn read_assignment(bytes: Vec<u8>) -> Result<BTreeSet<TopicPartition>, ReadError> {
    if bytes.is_empty() {
        return Ok(BTreeSet::new());
    }
    let mut bytes = Cursor::new(bytes);
    let mut from = Reader::plain(&mut bytes);
    let _version = from.int16()?;
    read_partitions(&mut from)
}

fn write_partitions(to: &mut Writer<'_>, partitions: &BTreeSet<TopicPartition>) -> Result<(), WriteError> {
    let topics = by_topic(partitions.iter().map(|one| (&*one.topic, one.partition)));
    to.array(&topics, |to, (topic, partitions)| {
        to.string(topic)?;
        to.array(partitions, |to, partition| to.int32(*partition))
    })
}

fn read_partitions(from: &mut Reader<'_>) -> Result<BTreeSet<TopicPartition>, ReadError> {
    let topics = from.array(|from| {
        let topic: Arc<str> = from.string()?.into();
        let partitions = from.array(Reader::int32)?;
        Ok(partitions.into_iter().map(move |partition| TopicPartition { topic: Arc::clone(&topic), partition }))
    })?;
    Ok(topics.into_iter().flatten().collect())
}

fn skip_bytes(from: &mut Reader<'_>) -> Result<(), ReadError> {
    let _bytes = from.array(Reader::int8)?;
    Ok(())
}

/// As requests want them, from what is sorted by topic: each topic once.
pub(super) fn by_topic<'a, T>(sorted: impl Iterator<Item = (&'a str, T)>) -> Vec<(&'a str, Vec<T>)> {
    let mut topics: Vec<(&str, Vec<T>)> = vec![];
    for (topic, item) in sorted {
        match topics.last_mut() {
            Some((last, items)) if *last == topic => items.push(item),
            _ => topics.push((topic, vec![item])),
        }
    }
    topics
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const IRIS: &[u8] = b"\x00\x04iris";
    const NULL: &[u8] = b"\xff\xff\xff\xff";

    fn held(partitions: &[i32]) -> BTreeSet<TopicPartition> {
        partitions.iter().map(|partition| TopicPartition { topic: "iris".into(), partition: *partition }).collect()
    }

    #[test]
    fn a_subscription_is_written_as_every_client_reads_it() {
        let topics = BTreeSet::from(["iris".into()]);
        let subscription = Subscription { topics, held: held(&[1, 2]), generation: 7 };
        let one = b"\x00\x00\x00\x01";
        let partitions = b"\x00\x00\x00\x02\x00\x00\x00\x01\x00\x00\x00\x02";
        let expected =
            [b"\x00\x03", &one[..], IRIS, NULL, one, IRIS, &partitions[..], b"\x00\x00\x00\x07", b"\xff\xff"];
        let bytes = subscription.write().unwrap();
        assert_eq!(bytes, expected.concat());
        assert_eq!(Subscription::read(bytes).unwrap(), subscription);
    }

    #[test]
    fn an_assignment_is_written_as_every_client_reads_it() {
        let bytes = write_assignment(&held(&[2])).unwrap();
        let one = b"\x00\x00\x00\x01";
        assert_eq!(bytes, [b"\x00\x03", &one[..], IRIS, one, b"\x00\x00\x00\x02", NULL].concat());
        assert_eq!(read_assignment(bytes).unwrap(), held(&[2]));
        assert_eq!(read_assignment(vec![]).unwrap(), BTreeSet::new());
    }

    #[test]
    fn what_older_clients_say_is_understood() {
        let bytes = [b"\x00\x00", &b"\x00\x00\x00\x01"[..], IRIS, b"\x00\x00\x00\x03abc"].concat();
        let topics = BTreeSet::from(["iris".into()]);
        let said = Subscription { topics, held: BTreeSet::new(), generation: NO_GENERATION };
        assert_eq!(Subscription::read(bytes).unwrap(), said);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Subscription::read(bytes.clone());
            let _ = read_assignment(bytes);
        }
    }
}
