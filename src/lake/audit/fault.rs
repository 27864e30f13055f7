//! Everything that can be wrong with a lake, each in one sentence.

use object_store::path::Path;

use super::super::{Counts, FileKind, claim::FORMAT};
use crate::offset::{LaneId, OffsetRange};

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("{lane}: there is no genesis.json, so nobody can say where its claims begin")]
    GenesisMissing { lane: LaneId },
    #[error("{lane}: its genesis.json begins at {start}, and there are no offsets below zero")]
    GenesisNegative { lane: LaneId, start: i64 },
    #[error("{path} can't be read: {why}")]
    Unreadable { path: Path, why: String },
    #[error("{path} has format {format}, and this program knows {FORMAT} at most: audit with a newer one")]
    NewerFormat { path: Path, format: u64 },

    #[error("{claim} says that it starts at {start}: its name and its content disagree")]
    Misnamed { claim: Path, start: i64 },
    #[error("{claim} ends at {end}, which is not after its start")]
    Backwards { claim: Path, end: i64 },
    #[error("{lane}: the {claims} claims from offset {from} on could not be checked, as the way to them is broken")]
    Unreached { lane: LaneId, from: i64, claims: u64 },
    #[error("{lane}: offsets {missing} are in no claim, yet {claims} claims lie beyond them")]
    Hole { lane: LaneId, missing: OffsetRange, claims: u64 },
    #[error("{claim} overlaps the claims that lead from genesis past it: its offsets are claimed twice")]
    Overlap { claim: Path },
    #[error("{claim} lies before genesis, where no claim can be")]
    BeforeGenesis { claim: Path },

    #[error(
        "{claim}: its counts ({} scored, {} rejected, {} filtered, {} absent, {} records) don't add up to the {} \
         offsets of {range}",
        counts.scored, counts.rejected, counts.filtered, counts.absent, counts.records, range.len()
    )]
    Counts { claim: Path, range: OffsetRange, counts: Counts },
    #[error("{claim} is a gap, which has no records and no files, and it names some")]
    GapHoldsRecords { claim: Path },
    #[error("{claim} counts {counted} {kind} rows, and its {kind} files are said to hold {rows}")]
    FileCounts { claim: Path, kind: FileKind, counted: u64, rows: u64 },
    #[error("{claim} names {path:?}, which is no place for a file of it")]
    FileName { claim: Path, path: String },
    #[error("{claim} names {path} twice")]
    NamedTwice { claim: Path, path: Path },

    #[error("{file} is missing: it is not there and not in staging, and {claim} names it")]
    Missing { claim: Path, file: Path },
    #[error(
        "{file} is still in staging, yet {claim}, which names it, is not the newest claim: `alluvium audit --repair` \
         publishes it"
    )]
    Unpublished { claim: Path, file: Path },
    #[error("{file} has {found} bytes, and its claim says {expected}")]
    Size { file: Path, found: u64, expected: u64 },
    #[error("{file} has CRC-32C {found:08x}, and its claim says {expected:08x}")]
    Crc { file: Path, found: u32, expected: u32 },
    #[error("{file} can't be decoded: {why}")]
    Undecodable { file: Path, why: String },
    #[error("{file} holds {found} rows, and its claim says {expected}")]
    Rows { file: Path, found: u64, expected: u64 },
    #[error("{file} has no column `{column}` of {kind} without nulls")]
    Column { file: Path, column: &'static str, kind: String },
    #[error("{file} has {found} in `{column}`, where its name says {expected}")]
    Provenance { file: Path, column: &'static str, found: i32, expected: i64 },
    #[error("{file} holds offset {offset}, outside its claim's {range}")]
    OutOfRange { file: Path, offset: i64, range: OffsetRange },
    #[error("{file} holds offset {offset} after {after}: offsets ascend within a file, each once")]
    NotAscending { file: Path, offset: i64, after: i64 },
    #[error("{claim}: {offsets} offsets are in more than one of its files, the first is {first}")]
    Doubled { claim: Path, offsets: u64, first: i64 },

    #[error("{claim}: the rows of offset {offset} are not numbered from 0 on, each once")]
    RowNumbers { claim: Path, offset: i64 },
    #[error("{claim} counts {counted} records that are in its files, and they are of {found}")]
    RecordsFound { claim: Path, counted: u64, found: u64 },

    #[error("{path} is in no claim: readers see a file that the ledger doesn't know")]
    Stranger { path: Path },
    #[error(
        "{lane}: the lake's head {head} lies beyond the broker's end {latest}: the topic was re-created or truncated; \
         start a new `generation`"
    )]
    BeyondBroker { lane: LaneId, head: i64, latest: i64 },
}
