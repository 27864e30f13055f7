//! What goes to one partition, record by record, in the order sent.
//!
//! All of it follows from the seed, the partition and the options, and nothing from the pace or from where batches are
//! cut: a record's bytes and its place come from dice that are thrown record by record.

use super::{
    Stream,
    corruption::{Corrupter, Spoiled},
    disorder::Shuffle,
    encoding::Encoding,
    feed::{Feed, Stamps},
    label::Key,
};
use crate::record::Record;

/// Room for nearly every record.
const RECORD_BYTES: usize = 256;

/// A record on its way, and what is true of it.
#[derive(Debug)]
pub(super) struct Drawn {
    pub(super) record: Record,
    /// For the topic of the truth; a record that comes again brings none.
    pub(super) truth: Option<Record>,
    pub(super) oversized: bool,
}

impl Drawn {
    /// As it comes again.
    fn again(&self) -> Self {
        Self { record: self.record.clone(), truth: None, oversized: self.oversized }
    }
}

/// The records of one partition.
#[derive(Debug)]
pub(super) struct Script {
    writer: Writer,
    shuffle: Shuffle<Drawn>,
    made: u64,
    count: u64,
}

impl Script {
    /// `count` records, those that come again among them.
    pub(super) fn new(feed: &Feed, partition: i32, count: u64) -> Result<Self, String> {
        let shares = feed.corruption.shares(feed.source, feed.encoding.format)?;
        let corrupter = (!shares.iter().all(|share| share.is_none()))
            .then(|| Corrupter::new(shares, feed.source, &feed.encoding, feed.seed, partition));
        let writer = Writer {
            stream: feed.source.stream(feed.seed, partition),
            encoding: feed.encoding.clone(),
            corrupter,
            key: feed.key,
            stamps: feed.stamps,
            with_labels: feed.truth_topic,
        };
        Ok(Self { writer, shuffle: Shuffle::new(feed.disorder, feed.seed, partition, Drawn::again), made: 0, count })
    }

    /// How many came so far.
    pub(super) fn made(&self) -> u64 {
        self.made
    }

    pub(super) fn left(&self) -> u64 {
        self.count - self.made
    }

    /// The next record; there must be some left. Those drawn now say that it is `now_ms`.
    pub(super) fn next(&mut self, now_ms: i64) -> Drawn {
        let (left, writer) = (self.left(), &mut self.writer);
        let drawn = self.shuffle.next(left, || {
            let drawn = writer.draw(now_ms);
            (writer.stream.now_ms().unsigned_abs(), drawn)
        });
        self.made += 1;
        drawn
    }
}

/// Draws records in the order in which they happen.
#[derive(Debug)]
struct Writer {
    stream: Stream,
    encoding: Encoding,
    corrupter: Option<Corrupter>,
    key: Key,
    stamps: Stamps,
    with_labels: bool,
}

impl Writer {
    fn draw(&mut self, now_ms: i64) -> Drawn {
        let mut value = Vec::with_capacity(RECORD_BYTES);
        let label = self.encoding.push(&mut self.stream, &mut value);
        let spoiled = self.corrupter.as_mut().and_then(|corrupter| corrupter.pass(&mut value));
        let timestamp_ms = match self.stamps {
            Stamps::Now => now_ms,
            Stamps::Stream => self.stream.now_ms(),
        };
        let record = |value| Record { timestamp_ms, key: label.key(self.key), value: Some(value), ..Record::default() };
        Drawn {
            truth: self.with_labels.then(|| record(self.encoding.label(&label))),
            record: record(value),
            oversized: spoiled == Some(Spoiled::Oversized),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::{Disorder, Source};

    const COUNT: u64 = 4_000;

    fn feed() -> Feed {
        let share = |text: &str| text.parse().unwrap();
        Feed {
            source: Source::Transactions,
            key: Key::Entity,
            disorder: Disorder { late: share("5%"), out_of_order: share("5%"), duplicates: share("5%") },
            corruption: "truncated=2%,empty=1%".parse().unwrap(),
            stamps: Stamps::Stream,
            truth_topic: true,
            ..Feed::default()
        }
    }

    fn records(feed: &Feed, count: u64) -> Vec<(Record, Option<Record>)> {
        let mut script = Script::new(feed, 3, count).unwrap();
        let mut now_ms = 0;
        let mut records = vec![];
        while script.left() > 0 {
            now_ms += 1_000;
            let drawn = script.next(now_ms);
            records.push((drawn.record, drawn.truth));
        }
        records
    }

    #[test]
    fn a_seed_gives_the_same_records_in_the_same_order() {
        assert_eq!(records(&feed(), COUNT), records(&feed(), COUNT));
        let other = Feed { seed: 2, ..feed() };
        assert_ne!(records(&feed(), COUNT), records(&other, COUNT));
    }

    #[test]
    fn fewer_records_are_the_same_ones_up_to_those_held_back_at_the_end() {
        let (few, many) = (records(&feed(), COUNT), records(&feed(), 2 * COUNT));
        let alike = few.iter().zip(&many).take_while(|(one, other)| one == other).count();
        assert!(alike > 3_000, "{alike}");
    }

    #[test]
    fn what_is_broken_or_out_of_order_does_not_change_the_others() {
        let plain = Feed { disorder: Disorder::default(), corruption: "0%".parse().unwrap(), ..feed() };
        let sound: std::collections::HashSet<_> =
            records(&plain, COUNT).into_iter().map(|(record, _)| record.value).collect();
        let damaged = records(&feed(), COUNT);
        let whole = damaged.iter().filter(|(record, _)| sound.contains(&record.value)).count();
        assert!((3_800..3_950).contains(&whole), "all but about three in a hundred: {whole}");
    }

    #[test]
    fn every_record_brings_its_truth_once_even_if_it_is_broken() {
        let records = records(&feed(), COUNT);
        let truths: Vec<_> = records.iter().filter_map(|(record, truth)| Some((record, truth.as_ref()?))).collect();
        let mut ids = std::collections::BTreeSet::new();
        for (record, truth) in &truths {
            assert_eq!(record.key, truth.key);
            assert_eq!(record.timestamp_ms, truth.timestamp_ms);
            let label: serde_json::Value = serde_json::from_slice(truth.value.as_ref().unwrap()).unwrap();
            let names: Vec<_> = label.as_object().unwrap().keys().map(String::as_str).collect();
            assert_eq!(names, ["card", "id", "time", "verdict"]);
            assert_eq!(label["card"].as_str().map(str::as_bytes), record.key.as_deref());
            assert!(ids.insert(label["id"].as_u64().unwrap()));
        }
        assert_eq!(ids.last().copied(), Some(ids.len() as u64 - 1));
        let again = records.len() - truths.len();
        assert!((150..250).contains(&again), "{again} came again");
    }
}
