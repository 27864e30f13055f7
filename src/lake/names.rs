//! Where everything in a lake stands; paths are relative to the lake.
//!
//! Invariant: a ledger name depends on dataset, generation, partition and start offset alone, so that at most one claim
//! for a start can ever exist.

use std::ops::Range;

use chrono::{DateTime, NaiveDate};
use object_store::path::Path;
use uuid::Uuid;

use super::{FileKind, PartitionBy};
use crate::offset::LaneId;

const MS_PER_HOUR: i64 = 3_600_000;
const MS_PER_DAY: i64 = 24 * MS_PER_HOUR;
const DATASET_CHARS_MAX: usize = 100;

/// Whether a name can be a dataset's: it becomes a folder's name, on every store.
#[must_use]
pub fn is_dataset(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let fits = !name.is_empty() && name.len() <= DATASET_CHARS_MAX && !name.starts_with(['.', '_']);
    fits && name.chars().all(plain)
}

/// The ledger of one partition.
#[must_use]
pub fn ledger(id: &LaneId) -> Path {
    Path::from_iter(["_ledger", &id.dataset, &id.generation_name(), &id.partition_name()])
}

#[must_use]
pub fn genesis(id: &LaneId) -> Path {
    ledger(id).join("genesis.json")
}

/// Where the partitions of one generation were begun, if that could not be told later.
#[must_use]
pub fn origin(dataset: &str, generation: u32) -> Path {
    Path::from_iter(["_ledger", dataset, &format!("g{generation}"), "start.json"])
}

#[must_use]
pub fn claim(id: &LaneId, start: i64) -> Path {
    ledger(id).join(format!("{start:020}.json"))
}

/// The start offset in a claim's file name; `None` for the ledger's other objects.
#[must_use]
pub fn claim_start(path: &Path) -> Option<i64> {
    let digits = path.filename()?.strip_suffix(".json")?;
    (digits.len() == 20 && digits.bytes().all(|b| b.is_ascii_digit())).then(|| digits.parse().ok())?
}

/// A revision of the claim that starts there, by its number from 1 on.
#[must_use]
pub fn revision(id: &LaneId, start: i64, number: u32) -> Path {
    revision_in(&ledger(id), start, number)
}

/// The same name in another folder.
#[must_use]
pub fn revision_in(folder: &Path, start: i64, number: u32) -> Path {
    folder.clone().join(format!("{start:020}.r{number}.json"))
}

/// The claim's start and the number in a revision's file name; `None` for the ledger's other objects.
#[must_use]
pub fn revision_number(path: &Path) -> Option<(i64, u32)> {
    numbered(path.filename()?.strip_suffix(".json")?)
}

/// `00000000000000012345.r1`
fn numbered(name: &str) -> Option<(i64, u32)> {
    let (digits, number) = name.split_once(".r")?;
    let start = (digits.len() == 20 && digits.bytes().all(|b| b.is_ascii_digit())).then(|| digits.parse().ok())??;
    let canonical = number.parse().ok().filter(|parsed: &u32| *parsed > 0 && parsed.to_string() == number)?;
    Some((start, canonical))
}

/// The newest claim's start, as a hint: where to begin looking.
#[must_use]
pub fn hint(id: &LaneId) -> Path {
    ledger(id).join("latest.json")
}

/// The staging of every partition of one generation.
#[must_use]
pub fn staging_of(id: &LaneId) -> Path {
    Path::from_iter(["_staging", &id.dataset, &id.generation_name(), &id.partition_name()])
}

#[must_use]
pub fn staging(id: &LaneId, attempt: Uuid) -> Path {
    staging_of(id).join(attempt.to_string())
}

/// What a revision stages says whose it is, so that a sweep can ask the ledger whether somebody still needs it.
#[must_use]
pub fn staged_revision(id: &LaneId, attempt: Uuid, start: i64, number: u32, file: usize) -> Path {
    staging(id, attempt).join(format!("{start:020}.r{number}-{file:04}.parquet"))
}

/// The attempt, the claim's start and the revision's number, by the name of a file that a revision staged.
#[must_use]
pub fn staged_revision_of(path: &Path) -> Option<(Uuid, i64, u32)> {
    let parts: Vec<_> = path.parts().collect();
    let [.., attempt, file] = parts.as_slice() else { return None };
    let (revision, _) = file.as_ref().strip_suffix(".parquet")?.split_once('-')?;
    let (start, number) = numbered(revision)?;
    Some((attempt.as_ref().parse().ok()?, start, number))
}

/// Where probes of the store leave their traces for a moment; no dataset can have this name.
#[must_use]
pub fn probes() -> Path {
    Path::from_iter(["_staging", "_probes"])
}

#[must_use]
pub fn probe(attempt: Uuid) -> Path {
    probes().join(attempt.to_string())
}

/// All data files of a dataset, of one kind.
#[must_use]
pub fn data(kind: FileKind, dataset: &str) -> Path {
    Path::from_iter([kind.folder(), dataset])
}

/// The `date=…/hour=…` folder that rows are filed under; the numbers order as the hours do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Bucket {
    start_ms: i64,
    by: PartitionBy,
}

impl Bucket {
    #[must_use]
    pub fn of(event_ms: i64, by: PartitionBy) -> Self {
        let start_ms = match by {
            PartitionBy::Hour => event_ms - event_ms.rem_euclid(MS_PER_HOUR),
            PartitionBy::Day => event_ms - event_ms.rem_euclid(MS_PER_DAY),
            PartitionBy::None => 0,
        };
        Self { start_ms, by }
    }

    /// The one that all of these times are filed under, if it is one.
    #[must_use]
    pub fn of_all(event_ms: &[i64], by: PartitionBy) -> Option<Self> {
        let first = Self::of(*event_ms.iter().min()?, by);
        (first == Self::of(*event_ms.iter().max()?, by)).then_some(first)
    }

    /// `date=2026-11-21/hour=07`, `date=2026-11-21` or nothing.
    #[must_use]
    pub fn folders(self) -> Vec<String> {
        let start = DateTime::from_timestamp_millis(self.start_ms).unwrap_or_default();
        match self.by {
            PartitionBy::Hour => vec![start.format("date=%Y-%m-%d").to_string(), start.format("hour=%H").to_string()],
            PartitionBy::Day => vec![start.format("date=%Y-%m-%d").to_string()],
            PartitionBy::None => vec![],
        }
    }
}

/// The final name of a data file: `scored/iris/date=2026-11-21/hour=07/g0-p0003-00000000000000012345.parquet`.
#[must_use]
pub fn data_file(kind: FileKind, id: &LaneId, bucket: Bucket, start: i64) -> Path {
    let file = format!("{}-{}-{start:020}.parquet", id.generation_name(), id.partition_name());
    let mut path = data(kind, &id.dataset);
    path.extend(bucket.folders());
    path.join(file)
}

/// The final name of rows that a revision made of rejects: `…/g0-p0003-00000000000000012345-r1.parquet`.
#[must_use]
pub fn revised_file(id: &LaneId, bucket: Bucket, start: i64, number: u32) -> Path {
    let of_claim = data_file(FileKind::Scored, id, bucket, start);
    Path::from(format!("{}-r{number}.parquet", of_claim.as_ref().trim_end_matches(".parquet")))
}

/// Generation, partition and claim start in a data file's name, be it the claim's own or a revision's; `None` if it is not
/// one of ours.
#[must_use]
pub fn data_file_claim(path: &Path) -> Option<(u32, i32, i64)> {
    let mut parts = path.filename()?.strip_suffix(".parquet")?.splitn(4, '-');
    let generation = parts.next()?.strip_prefix('g')?.parse().ok()?;
    let partition = parts.next()?.strip_prefix('p')?.parse().ok()?;
    let start = parts.next()?.parse().ok()?;
    let is_number = |number: &str| number.strip_prefix('r').is_some_and(|number| number.parse::<u32>().is_ok());
    parts.next().is_none_or(is_number).then_some((generation, partition, start))
}

/// The time that a data file's folders stand for, in milliseconds since 1970; `None` if it lies in no date's folder.
#[must_use]
pub fn data_file_time(path: &Path) -> Option<Range<i64>> {
    let parts: Vec<_> = path.parts().collect();
    let [.., above, folder, _file] = parts.as_slice() else { return None };
    if let Some(day_ms) = date_ms(folder.as_ref()) {
        return Some(day_ms..day_ms + MS_PER_DAY);
    }
    let hour = folder.as_ref().strip_prefix("hour=")?.parse::<u8>().ok().filter(|&hour| hour < 24)?;
    let start = date_ms(above.as_ref())? + i64::from(hour) * MS_PER_HOUR;
    Some(start..start + MS_PER_HOUR)
}

/// When the day of a folder such as `date=2026-11-21` begins.
#[must_use]
pub fn date_ms(folder: &str) -> Option<i64> {
    let date: NaiveDate = folder.strip_prefix("date=")?.parse().ok()?;
    Some(date.and_hms_opt(0, 0, 0)?.and_utc().timestamp_millis())
}

/// How far an outlet has come with a partition: beside the claims, and of no use to readers.
#[must_use]
pub fn outlet(outlet: &str, to: &str, id: &LaneId) -> Path {
    let file = format!("{}.json", id.partition_name());
    Path::from_iter(["_outlets", &id.dataset, outlet, to, &id.generation_name(), &file])
}

/// Marks of the revisions that an outlet has handed on, each under its revision's own name.
#[must_use]
pub fn outlet_revisions(outlet: &str, to: &str, id: &LaneId) -> Path {
    Path::from_iter(["_outlets", &id.dataset, outlet, to, &id.generation_name(), &id.partition_name()])
}

/// The schema of what an outlet sends, under a name that follows from it.
#[must_use]
pub fn outlet_schema(dataset: &str, outlet: &str, to: &str, fingerprint: &str) -> Path {
    Path::from_iter(["_outlets", dataset, outlet, to, "schemas", &format!("{fingerprint}.avsc")])
}

/// The notes of what was deleted by policy. No generation has this name, so nobody takes it for a partition's ledger.
#[must_use]
pub fn expiries(dataset: &str) -> Path {
    Path::from_iter(["_ledger", dataset, "expired"])
}

#[must_use]
pub fn expiry(dataset: &str, id: Uuid) -> Path {
    expiries(dataset).join(format!("{id}.json"))
}

/// Stands beside the note once all that it covers is deleted.
#[must_use]
pub fn expiry_done(dataset: &str, id: Uuid) -> Path {
    expiries(dataset).join(format!("{id}.done.json"))
}

/// Which note a name is of, and whether it says that it is done.
#[must_use]
pub fn expiry_id(path: &Path) -> Option<(Uuid, bool)> {
    let name = path.filename()?.strip_suffix(".json")?;
    let done = name.strip_suffix(".done");
    Some((done.unwrap_or(name).parse().ok()?, done.is_some()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lane() -> LaneId {
        LaneId { dataset: "iris".into(), generation: 0, partition: 3 }
    }

    #[test]
    fn names_are_those_of_the_contract() {
        let at = DateTime::parse_from_rfc3339("2026-11-21T07:59:59.999Z").unwrap().timestamp_millis();
        let file = data_file(FileKind::Scored, &lane(), Bucket::of(at, PartitionBy::Hour), 12345);
        assert_eq!(file.as_ref(), "scored/iris/date=2026-11-21/hour=07/g0-p0003-00000000000000012345.parquet");
        assert_eq!(claim(&lane(), 12345).as_ref(), "_ledger/iris/g0/p0003/00000000000000012345.json");
        assert_eq!(genesis(&lane()).as_ref(), "_ledger/iris/g0/p0003/genesis.json");
        assert_eq!(revision(&lane(), 12345, 2).as_ref(), "_ledger/iris/g0/p0003/00000000000000012345.r2.json");
        let file = revised_file(&lane(), Bucket::of(at, PartitionBy::Hour), 12345, 2);
        assert_eq!(file.as_ref(), "scored/iris/date=2026-11-21/hour=07/g0-p0003-00000000000000012345-r2.parquet");
    }

    #[test]
    fn a_revision_s_names_tell_its_claim_and_number_and_nothing_else_is_taken_for_one() {
        assert_eq!(revision_number(&revision(&lane(), 77, 12)), Some((77, 12)));
        assert_eq!(claim_start(&revision(&lane(), 77, 12)), None);
        for foreign in ["x/00000000000000000077.json", "x/77.r1.json", "x/00000000000000000077.r0.json"] {
            assert_eq!(revision_number(&Path::from(foreign)), None, "{foreign}");
        }
        assert_eq!(revision_number(&Path::from("x/00000000000000000077.r01.json")), None);
        let file = revised_file(&lane(), Bucket::of(0, PartitionBy::Hour), 77, 3);
        assert_eq!(data_file_claim(&file), Some((0, 3, 77)));
        assert_eq!(data_file_claim(&Path::from("g0-p0003-00000000000000000077-x1.parquet")), None);
        let attempt = Uuid::from_u128(5);
        assert_eq!(staged_revision_of(&staged_revision(&lane(), attempt, 77, 3, 0)), Some((attempt, 77, 3)));
        assert_eq!(staged_revision_of(&staging(&lane(), attempt).join("0000.parquet")), None);
    }

    #[test]
    fn coarser_buckets_have_fewer_folders() {
        let at = DateTime::parse_from_rfc3339("1969-12-31T23:00:00Z").unwrap().timestamp_millis();
        assert_eq!(Bucket::of(at, PartitionBy::Day).folders(), ["date=1969-12-31"]);
        assert!(Bucket::of(at, PartitionBy::None).folders().is_empty());
        assert_eq!(Bucket::of(1, PartitionBy::None), Bucket::of(i64::MAX, PartitionBy::None));
    }

    #[test]
    fn a_name_tells_its_claim_and_foreign_names_tell_none() {
        assert_eq!(claim_start(&claim(&lane(), 77)), Some(77));
        assert_eq!(claim_start(&genesis(&lane())), None);
        assert_eq!(claim_start(&Path::from("a/0077.json")), None);
        let file = data_file(FileKind::Rejected, &lane(), Bucket::of(0, PartitionBy::Hour), 77);
        assert_eq!(data_file_claim(&file), Some((0, 3, 77)));
        assert_eq!(data_file_claim(&Path::from("scored/iris/notes.parquet")), None);
    }

    #[test]
    fn a_data_file_tells_its_time_by_its_folders() {
        let at = DateTime::parse_from_rfc3339("2026-11-21T07:30:00Z").unwrap().timestamp_millis();
        let time = |by| data_file_time(&data_file(FileKind::Scored, &lane(), Bucket::of(at, by), 5));
        let hour = at - 30 * 60_000;
        assert_eq!(time(PartitionBy::Hour), Some(hour..hour + MS_PER_HOUR));
        let day = hour - 7 * MS_PER_HOUR;
        assert_eq!(time(PartitionBy::Day), Some(day..day + MS_PER_DAY));
        assert_eq!(time(PartitionBy::None), None);
        for foreign in ["a/date=2026-13-01/x", "a/date=2026-11-21/hour=24/x", "a/hour=07/x", "x"] {
            assert_eq!(data_file_time(&Path::from(foreign)), None, "{foreign}");
        }
    }

    #[test]
    fn a_note_and_its_end_are_told_apart_and_are_no_lane() {
        let id = Uuid::from_u128(7);
        assert_eq!(expiry_id(&expiry("iris", id)), Some((id, false)));
        assert_eq!(expiry_id(&expiry_done("iris", id)), Some((id, true)));
        assert_eq!(expiry_id(&claim(&lane(), 77)), None);
    }
}
