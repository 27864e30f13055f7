//! What a claim says, checked without looking at its files. Pure.

use chrono::NaiveDate;
use object_store::path::Path;
use serde::{Deserialize, de::DeserializeOwned};

use super::Fault;
use crate::{
    lake::{Claim, FileEntry, FileKind, Genesis, Kind, claim::FORMAT, names},
    offset::LaneId,
};

/// All that a reader may rely on in a format it doesn't know.
#[derive(Deserialize)]
struct Versioned {
    format: u64,
}

pub(super) fn parse_genesis(path: &Path, bytes: &[u8]) -> Result<Genesis, Fault> {
    parse_json(path, bytes)
}

/// The claim in the object named after `start`, if the walk can go on from it.
pub(super) fn parse(path: &Path, start: i64, bytes: &[u8]) -> Result<Claim, Fault> {
    let claim: Claim = parse_json(path, bytes)?;
    if claim.start != start {
        return Err(Fault::Misnamed { claim: path.clone(), start: claim.start });
    }
    if claim.end <= claim.start {
        return Err(Fault::Backwards { claim: path.clone(), end: claim.end });
    }
    Ok(claim)
}

fn parse_json<T: DeserializeOwned>(path: &Path, bytes: &[u8]) -> Result<T, Fault> {
    let unreadable = |error: serde_json::Error| Fault::Unreadable { path: path.clone(), why: error.to_string() };
    let Versioned { format } = serde_json::from_slice(bytes).map_err(unreadable)?;
    if format > u64::from(FORMAT) {
        return Err(Fault::NewerFormat { path: path.clone(), format });
    }
    serde_json::from_slice(bytes).map_err(unreadable)
}

/// The faults of the claim itself.
pub(super) fn check(path: &Path, claim: &Claim) -> Vec<Fault> {
    let counts = claim.counts;
    let mut faults = vec![];
    if !counts.account_for(claim.range()) {
        faults.push(Fault::Counts { claim: path.clone(), range: claim.range(), counts });
    }
    if matches!(claim.kind, Kind::Gap { .. }) && (counts.records > 0 || !claim.files.is_empty()) {
        faults.push(Fault::GapHoldsRecords { claim: path.clone() });
    }
    faults.extend(check_rows(path, claim, FileKind::Scored, counts.scored.saturating_add(counts.further_rows)));
    faults.extend(check_rows(path, claim, FileKind::Rejected, counts.rejected));
    faults
}

fn check_rows(path: &Path, claim: &Claim, kind: FileKind, counted: u64) -> Option<Fault> {
    let entries = claim.files.iter().filter(|entry| entry.kind == kind);
    let rows = entries.fold(0, |rows: u64, entry| rows.saturating_add(entry.rows));
    (rows != counted).then(|| Fault::FileCounts { claim: path.clone(), kind, counted, rows })
}

/// Where a file of a claim stands, or stood until it was published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::lake) struct Places {
    pub(in crate::lake) file: Path,
    pub(in crate::lake) staged: Path,
}

/// The places that the entry names, if they are such as a writer of this claim would choose.
pub(in crate::lake) fn places(path: &Path, id: &LaneId, claim: &Claim, entry: &FileEntry) -> Result<Places, Fault> {
    let refused = |name: &str| Fault::FileName { claim: path.clone(), path: name.to_owned() };
    let file = Path::parse(&entry.path).ok().filter(|file| is_final_name(file, id, claim, entry.kind));
    let staged = Path::parse(&entry.staged).ok();
    let staged = staged.filter(|staged| staged.prefix_matches(&names::staging(id, claim.attempt)));
    Ok(Places {
        file: file.ok_or_else(|| refused(&entry.path))?,
        staged: staged.ok_or_else(|| refused(&entry.staged))?,
    })
}

fn is_final_name(file: &Path, id: &LaneId, claim: &Claim, kind: FileKind) -> bool {
    let Some(name) = file.filename() else { return false };
    let Some(parts) = file.prefix_match(&names::data(kind, &id.dataset)) else { return false };
    let parts: Vec<_> = parts.collect();
    let Some((_, folders)) = parts.split_last() else { return false };
    let folders: Vec<&str> = folders.iter().map(AsRef::as_ref).collect();
    let expected = names::data_file(kind, id, names::Bucket::of(0, crate::lake::PartitionBy::None), claim.start);
    Some(name) == expected.filename() && are_buckets(&folders)
}

/// `date=2026-11-21`, `hour=07`; a shorter list is a coarser partitioning.
fn are_buckets(folders: &[&str]) -> bool {
    match folders {
        [] => true,
        [date] => is_date(date),
        [date, hour] => is_date(date) && is_hour(hour),
        _ => false,
    }
}

fn is_date(folder: &str) -> bool {
    let Some(date) = folder.strip_prefix("date=") else { return false };
    NaiveDate::parse_from_str(date, "%Y-%m-%d").is_ok_and(|parsed| parsed.to_string() == date)
}

fn is_hour(folder: &str) -> bool {
    let Some(hour) = folder.strip_prefix("hour=") else { return false };
    hour.parse().is_ok_and(|number: u8| number < 24 && format!("{number:02}") == hour)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn name() -> Path {
        Path::from("_ledger/iris/g0/p0000/00000000000000000000.json")
    }

    #[test]
    fn folders_are_taken_only_in_the_contract_s_spelling() {
        assert!(are_buckets(&[]));
        assert!(are_buckets(&["date=2026-11-21"]));
        assert!(are_buckets(&["date=2026-11-21", "hour=00"]));
        for wrong in ["hour=07", "date=2026-13-01", "date=2026-1-1", "day=2026-11-21", "date="] {
            assert!(!are_buckets(&[wrong]), "{wrong}");
        }
        for wrong in ["hour=7", "hour=24", "hour=+7", "hour=", "date=2026-11-21"] {
            assert!(!are_buckets(&["date=2026-11-21", wrong]), "{wrong}");
        }
    }

    /// A claim with any numbers and any names in it.
    fn hostile_claim() -> impl Strategy<Value = serde_json::Value> {
        let number = || prop_oneof![any::<u64>(), Just(0), Just(u64::MAX), Just(i64::MAX as u64)];
        let file = ("\\PC{0,40}", number(), number()).prop_map(|(path, rows, bytes)| {
            serde_json::json!({"kind": "scored", "staged": path, "path": path, "rows": rows, "bytes": bytes, "crc32c": 0})
        });
        let counts = (number(), number(), number(), number(), number()).prop_map(
            |(a, b, c, d, e)| serde_json::json!({"records": a, "scored": b, "rejected": c, "filtered": d, "absent": e}),
        );
        (any::<i64>(), counts, prop::collection::vec(file, 0..4)).prop_map(|(end, counts, files)| {
            serde_json::json!({
                "format": 1, "start": 0, "end": end, "kind": "segment", "attempt": uuid::Uuid::nil(), "writer": "w",
                "committed": "2026-11-21T07:00:00Z", "counts": counts, "files": files,
            })
        })
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parser_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(parse(&name(), 0, &bytes).is_err());
            prop_assert!(parse_genesis(&name(), &bytes).is_err());
        }

        #[test]
        fn no_claim_makes_the_checks_panic(claim in hostile_claim(), dataset in "[a-z]{1,8}") {
            let id = LaneId { dataset: dataset.as_str().into(), generation: 0, partition: 0 };
            if let Ok(claim) = parse(&name(), 0, claim.to_string().as_bytes()) {
                check(&name(), &claim);
                for entry in &claim.files {
                    prop_assert!(places(&name(), &id, &claim, entry).is_err());
                }
            }
        }
    }

    #[test]
    fn a_format_from_the_future_is_told_from_rubbish() {
        let newer = parse(&name(), 0, br#"{"format": 18446744073709551615, "shape": "unknown"}"#);
        assert_eq!(newer, Err(Fault::NewerFormat { path: name(), format: u64::MAX }));
        assert!(matches!(parse(&name(), 0, br#"{"format": 1}"#), Err(Fault::Unreadable { .. })));
    }
}
