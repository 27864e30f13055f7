//! Which offsets are to be scored again, and whether the dataset that is to have them may.
//!
//! Owns: from what a person asked for to a range for each partition, by the ledgers of both datasets and the broker. Only
//! reads. Does not own: the run ([`super::Pipeline`], with [`super::Mode::Range`]).

use std::{collections::BTreeMap, str::FromStr};

use chrono::DateTime;

use super::{Flow, PipelineError, Settings};
use crate::{
    broker::{Broker, Partition, Start, TopicPartition},
    lake::{Fingerprint, Genesis, Head, Ledger, Store},
    lane::place,
    offset::{LaneId, OffsetRange},
    record::ModelRef,
};

/// Where a range begins or ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bound {
    /// The same offset in every partition.
    Offset(i64),
    /// The first record at or after this time, in milliseconds since 1970, UTC.
    Time(i64),
    /// By partition; the others are left out.
    Each(BTreeMap<i32, i64>),
}

/// A past range, and the dataset beside the first one that is to have it.
#[derive(Debug)]
pub struct Past<'a> {
    /// Of the pipeline that wrote the first dataset.
    pub settings: &'a Settings,
    /// The topic, and the first dataset.
    pub flow: &'a Flow,
    pub into: &'a str,
    pub model: &'a ModelRef,
    /// Without it: where the dataset begins, `into` if it has begun, else the first.
    pub from: Option<&'a Bound>,
    /// Without it: where the first dataset ends.
    pub to: Option<&'a Bound>,
}

/// A dataset's partition that has begun.
struct Standing {
    genesis: Genesis,
    head: Head,
}

impl Past<'_> {
    /// A range for each partition that has something to score again.
    pub async fn ranges(&self) -> Result<BTreeMap<TopicPartition, OffsetRange>, PipelineError> {
        let Settings { source, lake, broker, .. } = self.settings;
        let Flow { topic, dataset } = self.flow;
        if *self.into == **dataset {
            return Err(refused(format!("`{}` is the first dataset, which is never touched", self.into)));
        }
        let store = Store::open(&lake.url)?;
        let broker = Broker::secured(&source.brokers, &source.security, *broker).await?;
        let mut ranges = BTreeMap::new();
        for number in broker.partitions(topic).await? {
            let partition = broker.partition(topic, number).await?;
            if let Some(range) = self.range(number, &partition, &store).await?.filter(|range| !range.is_empty()) {
                ranges.insert(TopicPartition { topic: topic.clone(), partition: number }, range);
            }
        }
        Ok(ranges)
    }

    async fn range(
        &self,
        number: i32,
        partition: &Partition,
        store: &Store,
    ) -> Result<Option<OffsetRange>, PipelineError> {
        let (first_ledger, ledger) =
            (self.ledger(&self.flow.dataset, number, store), self.ledger(self.into, number, store));
        let first = self.standing(&first_ledger).await?;
        let begun = self.standing(&ledger).await?;
        if let Some(begun) = &begun {
            self.check_model(&ledger, begun).await?;
        }
        if let Some(first) = &first {
            self.check_topic(&first_ledger, first, partition).await?;
        }
        let begins = begun.as_ref().or(first.as_ref()).map(|standing| standing.genesis.start);
        let from = resolve(self.from, number, partition, begins).await?;
        let to = resolve(self.to, number, partition, first.as_ref().map(|first| first.head.position)).await?;
        let Some((start, end)) = from.zip(to) else { return Ok(None) };
        if let Some(begun) = begun.filter(|begun| begun.genesis.start != start) {
            let told = format!(
                "{} begins at offset {}, and not at {start}; leave `--from` out to go on with it, or give `--into` another name",
                ledger.id(),
                begun.genesis.start
            );
            return Err(refused(told));
        }
        Ok(OffsetRange::new(start, end.min(partition.latest().await?)))
    }

    fn ledger(&self, dataset: &str, partition: i32, store: &Store) -> Ledger {
        let id = LaneId { dataset: dataset.into(), generation: self.settings.lake.generation, partition };
        Ledger::new(store.clone(), id, "rescore".into())
    }

    async fn standing(&self, ledger: &Ledger) -> Result<Option<Standing>, PipelineError> {
        let Some(genesis) = ledger.genesis().await? else { return Ok(None) };
        let (asked, topic) = (&*self.flow.topic, &genesis.topic);
        if topic != asked {
            let told = format!("{} was begun from topic `{topic}`, and the pipeline file names `{asked}`", ledger.id());
            return Err(refused(told));
        }
        let head = ledger.look(&genesis).await?;
        Ok(Some(Standing { genesis, head }))
    }

    /// A dataset of one version's answers holds no other's.
    async fn check_model(&self, ledger: &Ledger, begun: &Standing) -> Result<(), PipelineError> {
        let oldest = ledger.claim_at(begun.genesis.start).await?;
        let models = [oldest.as_ref(), begun.head.newest.as_ref()]
            .into_iter()
            .flatten()
            .filter_map(|claim| claim.model.as_ref());
        match models.into_iter().find(|&found| found != self.model) {
            None => Ok(()),
            Some(other) => {
                let id = ledger.id();
                let told =
                    format!("{id} holds what {other} scored, and not {}; give `--into` another name", self.model);
                Err(refused(told))
            }
        }
    }

    /// The records must be those that the first dataset was made of, as far as the newest of them can tell.
    async fn check_topic(&self, ledger: &Ledger, first: &Standing, partition: &Partition) -> Result<(), PipelineError> {
        let Some(seen) = first.head.seen() else { return Ok(()) };
        let gone = first.head.position > partition.latest().await?;
        let found = if gone { None } else { place::still_at(partition, seen.offset).await? };
        if gone || found.is_some_and(|record| Fingerprint::of(&record) != seen) {
            let told =
                format!("the topic was created again since {} was written, and its records are gone", ledger.id());
            return Err(refused(told));
        }
        Ok(())
    }
}

/// A bound's offset in a partition; `None` leaves the partition out.
async fn resolve(
    bound: Option<&Bound>,
    number: i32,
    partition: &Partition,
    otherwise: Option<i64>,
) -> Result<Option<i64>, PipelineError> {
    Ok(match bound {
        None => otherwise,
        Some(Bound::Offset(offset)) => Some(*offset),
        Some(Bound::Time(ms)) => Some(partition.start_offset(Start::Timestamp(*ms)).await?),
        Some(Bound::Each(offsets)) => offsets.get(&number).copied(),
    })
}

fn refused(told: String) -> PipelineError {
    PipelineError::Past(told)
}

impl FromStr for Bound {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(offset) = offset(text) {
            return Ok(Self::Offset(offset));
        }
        if let Ok(time) = DateTime::parse_from_rfc3339(text) {
            return Ok(Self::Time(time.timestamp_millis()));
        }
        let pair = |pair: &str| {
            let (partition, at) = pair.split_once(':')?;
            Some((offset(partition).and_then(|number| i32::try_from(number).ok())?, offset(at)?))
        };
        let pairs: Option<Vec<_>> = text.split(',').map(pair).collect();
        let pairs = pairs.ok_or("write an offset, a time such as 2026-11-01T00:00:00Z, or PARTITION:OFFSET,…")?;
        let count = pairs.len();
        let each: BTreeMap<_, _> = pairs.into_iter().collect();
        if each.len() == count { Ok(Self::Each(each)) } else { Err("a partition is named twice") }
    }
}

fn offset(text: &str) -> Option<i64> {
    text.trim().parse().ok().filter(|offset| *offset >= 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_is_an_offset_a_time_or_an_offset_for_each_partition() {
        assert_eq!("1500".parse(), Ok(Bound::Offset(1500)));
        assert_eq!("2026-11-01T02:00:00+02:00".parse(), Ok(Bound::Time(1_793_491_200_000)));
        assert_eq!("0:1000, 3:500".parse(), Ok(Bound::Each([(0, 1000), (3, 500)].into())));
        for wrong in ["", "-1", "0:", "0:-5", "0:1,0:2", "yesterday", "2026-11-01", "99999999999:1"] {
            assert!(wrong.parse::<Bound>().is_err(), "{wrong}");
        }
    }
}
