//! Offsets that a person gives up, so that a lane can go on behind them.
//!
//! Owns: when that may be, and what is written down. Invariant: only the exact offsets that were typed, from the head on;
//! nothing that can be read, unless that is said too.

use std::{str::FromStr, time::Duration};

use super::{Doctor, LOOKED_EVERY};
use crate::{
    broker::{BrokerError, BrokerErrorKind, Partition},
    lake::{Claim, LakeError, Outcome},
    lane::{
        LaneError,
        place::{self, Extent},
    },
    offset::OffsetRange,
};

/// The offsets of a range that are looked at one by one, and how long that may take.
const OFFSETS_LOOKED_AT_MAX: usize = 10_000;
const LOOK_TIME_MAX: Duration = Duration::from_mins(1);
/// A fetch of one batch, whatever its size: brokers send at least that.
const ONE_BATCH: i32 = 1;

/// The offsets of a partition, as they are typed: `3:12345..12347`, the end not included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    pub partition: i32,
    pub range: OffsetRange,
}

/// Why a gap was not accepted; each says what would be right.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    #[error(transparent)]
    Lane(#[from] LaneError),
    #[error("partition {partition} is not in the lake yet: there is nothing to go on from")]
    NotBegun { partition: i32 },
    #[error(
        "the lake goes on at offset {head} in partition {partition}, so a gap begins there: type {partition}:{head}..END, \
         if that is what is meant"
    )]
    NotTheHead { partition: i32, head: i64 },
    #[error(
        "the partition ends at {latest}: nobody knows what stands behind it, so type {partition}:{head}..{latest} at most"
    )]
    BeyondTheEnd { partition: i32, head: i64, latest: i64 },
    #[error("the partition is read to its end, {latest}: there is nothing to give up")]
    NothingThere { latest: i64 },
    #[error(
        "the broker begins at {earliest}, and what is before is claimed by a lane that starts: start one, and look again"
    )]
    Retention { earliest: i64 },
    #[error("offset {offset} can be read, and would be lost: {advice}, or add --although-readable")]
    Readable { offset: i64, advice: String },
    #[error(
        "only offsets before {offset} could be looked at: take fewer, or add --although-readable if all may be lost"
    )]
    TooMany { offset: i64 },
    #[error("{by} has claimed these offsets in this moment: look again")]
    Fenced { by: String },
}

impl From<BrokerError> for Refusal {
    fn from(error: BrokerError) -> Self {
        Self::Lane(error.into())
    }
}

impl From<LakeError> for Refusal {
    fn from(error: LakeError) -> Self {
        Self::Lane(error.into())
    }
}

impl Doctor<'_> {
    /// Claims the offsets as a gap, for the reason given; `although_readable`, what stands there may be sound.
    pub async fn accept(&self, gap: Gap, reason: &str, although_readable: bool) -> Result<Claim, Refusal> {
        let Gap { partition: number, range } = gap;
        let Some(broker) = self.broker else { return Err(Refusal::NotBegun { partition: number }) };
        let ledger = self.ledger(number);
        let genesis = ledger.genesis().await?.ok_or(Refusal::NotBegun { partition: number })?;
        place::same_name(&genesis, &self.flow.topic)?;
        // As a writer: the newest claim must be published before another follows it.
        let head = ledger.head(&genesis).await?;
        let partition = broker.partition(&self.flow.topic, number).await?;
        let extent = Extent::of(&partition).await?;
        place::same_topic_still(self.settings.lake.generation, &partition, &head, extent).await?;
        fits(gap, head.position, extent)?;
        if !although_readable {
            unreadable(&partition, gap).await?;
        }
        match ledger.gap(range, head.seen(), &format!("accepted by {}: {reason}", self.writer)).await? {
            Outcome::Won(claim) => Ok(*claim),
            Outcome::Fenced { by } => Err(Refusal::Fenced { by }),
        }
    }
}

/// From the head exactly, and not beyond the partition's end.
fn fits(Gap { partition, range }: Gap, head: i64, extent: Extent) -> Result<(), Refusal> {
    let Extent { earliest, latest } = extent;
    if head >= latest {
        return Err(Refusal::NothingThere { latest });
    }
    if range.start != head {
        return Err(Refusal::NotTheHead { partition, head });
    }
    if head < earliest {
        return Err(Refusal::Retention { earliest });
    }
    if range.end > latest {
        return Err(Refusal::BeyondTheEnd { partition, head, latest });
    }
    Ok(())
}

/// Nothing of the range can be read.
async fn unreadable(partition: &Partition, Gap { partition: number, range }: Gap) -> Result<(), Refusal> {
    match first_readable(partition, range).await? {
        Found::Nothing => Ok(()),
        Found::NotUpTo(offset) => Err(Refusal::TooMany { offset }),
        Found::At(offset) if offset == range.start => {
            let advice = "a lane does not stop here, so look again".into();
            Err(Refusal::Readable { offset, advice })
        }
        Found::At(offset) => {
            let advice = format!("type {number}:{}..{offset}", range.start);
            Err(Refusal::Readable { offset, advice })
        }
    }
}

/// The first offset of a range with a record that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    At(i64),
    Nothing,
    /// It was looked for so far, and no further.
    NotUpTo(i64),
}

/// Asks for one offset after the other: a broker sends the batch that the offset is in, and a batch that can't be read
/// does not say where it ends.
pub(super) async fn first_readable(partition: &Partition, range: OffsetRange) -> Result<Found, BrokerError> {
    let mut at = range.start;
    let looking = async {
        for _ in 0..OFFSETS_LOOKED_AT_MAX {
            if at >= range.end {
                return Ok(Found::Nothing);
            }
            match partition.fetch(at, ONE_BATCH, LOOKED_EVERY).await {
                Ok(batch) => match batch.records.first() {
                    Some(first) if first.offset < range.end => return Ok(Found::At(first.offset)),
                    Some(_) => return Ok(Found::Nothing),
                    // Not a word about what is there: that is no proof that it can't be read.
                    None if batch.range.is_empty() => return Ok(Found::NotUpTo(at)),
                    None => at = batch.range.end,
                },
                Err(error) if error.unreadable() || error.kind() == BrokerErrorKind::OutOfRange => at += 1,
                Err(error) => return Err(error),
            }
        }
        Ok(Found::NotUpTo(at))
    };
    match tokio::time::timeout(LOOK_TIME_MAX, looking).await {
        Ok(found) => found,
        Err(_) => Ok(Found::NotUpTo(at)),
    }
}

impl FromStr for Gap {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parsed = || {
            let (partition, offsets) = text.split_once(':')?;
            let (start, end) = offsets.split_once("..")?;
            let range = OffsetRange::new(start.parse().ok()?, end.parse().ok()?).filter(|range| !range.is_empty())?;
            let partition = partition.parse().ok().filter(|&partition| partition >= 0)?;
            Some(Self { partition, range })
        };
        parsed().ok_or("write PARTITION:START..END, such as 3:12345..12347; the end is the first offset that is kept")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXTENT: Extent = Extent { earliest: 10, latest: 50 };

    fn gap(text: &str) -> Gap {
        text.parse().unwrap()
    }

    #[test]
    fn a_gap_is_typed_as_a_partition_and_two_offsets() {
        assert_eq!(gap("3:12345..12347"), Gap { partition: 3, range: OffsetRange { start: 12345, end: 12347 } });
        for wrong in ["", "3", "3:5", "3:5..", "3:5..5", "3:6..5", "-1:5..6", "3:-5..6", "3:5-6", "x:5..6"] {
            assert!(wrong.parse::<Gap>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_gap_begins_at_the_head_and_ends_inside_the_partition() {
        assert!(fits(gap("0:20..50"), 20, EXTENT).is_ok());
        let refused = |text, head| fits(gap(text), head, EXTENT).unwrap_err().to_string();
        for start in ["0:19..21", "0:21..22"] {
            assert!(refused(start, 20).contains("type 0:20..END"), "{start}");
        }
        assert!(refused("0:20..51", 20).contains("type 0:20..50 at most"));
        assert!(refused("0:50..51", 50).contains("nothing to give up"));
        assert!(refused("0:5..20", 5).contains("the broker begins at 10"));
    }
}
