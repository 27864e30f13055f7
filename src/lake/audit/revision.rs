//! A claim's revisions as they are found, checked without looking at their files.

use std::collections::BTreeMap;

use object_store::path::Path;

use super::{AuditError, Fault, Lake, Stop, claim::parse_json};
use crate::{
    lake::{Claim, FileKind, Held, Revision, names, revise::REVISIONS_MAX},
    offset::LaneId,
};

/// The claim with its revisions, up to one that can't be followed.
pub(in crate::lake) async fn held(lake: &Lake, id: &LaneId, claim: Claim) -> Result<(Held, Option<Fault>), AuditError> {
    let mut held = Held::new(claim);
    if held.claim.counts.rejected == 0 {
        return Ok((held, None));
    }
    while held.number() < REVISIONS_MAX {
        match load(lake, id, held.claim.start, held.number() + 1).await {
            Ok(Some(revision)) => held.revisions.push(revision),
            Ok(None) => break,
            Err(stop) => return stop.into_fault().map(|fault| (held, Some(fault))),
        }
    }
    Ok((held, None))
}

async fn load(lake: &Lake, id: &LaneId, start: i64, number: u32) -> Result<Option<Revision>, Stop> {
    let path = names::revision(id, start, number);
    let Some(bytes) = lake.read(&path).await? else { return Ok(None) };
    parse(&path, start, number, &bytes).map(Some).map_err(Stop::from)
}

fn parse(path: &Path, start: i64, number: u32, bytes: &[u8]) -> Result<Revision, Fault> {
    let revision: Revision = parse_json(path, bytes)?;
    if (revision.start, revision.number) != (start, number) {
        let why =
            format!("its name and its content disagree: it says revision {} of {}", revision.number, revision.start);
        return Err(Fault::Revision { revision: path.clone(), why });
    }
    Ok(revision)
}

/// Whether there is a revision beyond those that are known.
pub(super) async fn has_grown(lake: &Lake, id: &LaneId, held: &Held) -> Result<bool, AuditError> {
    let next = names::revision(id, held.claim.start, held.number() + 1);
    Ok(held.claim.counts.rejected > 0 && lake.get(&next).await?.is_some())
}

/// Whether a revision follows a claim with rejects, or another revision.
pub(super) async fn follows(lake: &Lake, id: &LaneId, start: i64, number: u32) -> Result<bool, AuditError> {
    if number > 1 {
        return Ok(lake.get(&names::revision(id, start, number - 1)).await?.is_some());
    }
    super::ledger::has_rejects(lake, id, start).await
}

/// The faults of the revisions themselves. Pure.
pub(super) fn check(id: &LaneId, held: &Held) -> Vec<Fault> {
    let of_claim = held.claim.files.iter().filter(|entry| entry.kind == FileKind::Rejected);
    let mut rejects: BTreeMap<&str, u64> = of_claim.map(|entry| (entry.path.as_str(), entry.rows)).collect();
    let mut left = held.claim.counts.rejected;
    let mut faults = vec![];
    for revision in &held.revisions {
        let whys = check_one(revision, &mut rejects, &mut left);
        let path = names::revision(id, revision.start, revision.number);
        faults.extend(whys.into_iter().map(|why| Fault::Revision { revision: path.clone(), why }));
    }
    faults
}

/// Holds a revision against what the one before it left, and takes its word for what it leaves.
fn check_one<'a>(revision: &'a Revision, rejects: &mut BTreeMap<&'a str, u64>, left: &mut u64) -> Vec<String> {
    let counts = revision.counts;
    let mut whys = vec![];
    let settled = counts.scored.checked_add(counts.filtered).and_then(|n| n.checked_add(counts.rejected));
    if settled != Some(*left) {
        let (rows, filtered, stay) = (counts.scored, counts.filtered, counts.rejected);
        whys.push(format!(
            "{rows} rows, {filtered} filtered and {stay} that stay are not the {left} rejects before it"
        ));
    }
    let rows = revision.files.iter().fold(0, |rows: u64, entry| rows.saturating_add(entry.rows));
    if rows != counts.scored.saturating_add(counts.further_rows)
        || revision.files.iter().any(|entry| entry.kind != FileKind::Scored)
    {
        whys.push(format!("it counts {} rows, and its files are said to hold {rows}", counts.scored));
    }
    for replaced in &revision.rejected {
        let (path, now) = (replaced.path.as_str(), replaced.now.as_ref());
        let rows = now.map_or(0, |now| now.rows);
        let before = rejects.remove(path);
        let fits = now.is_none_or(|now| now.path == path && now.kind == FileKind::Rejected && now.rows > 0);
        if !fits || before.is_none_or(|before| rows >= before) {
            whys.push(format!("{path:?} is no file of rejects that it could have taken some from"));
        }
        if rows > 0 {
            rejects.insert(path, rows);
        }
    }
    let stay = rejects.values().fold(0, |rows: u64, left| rows.saturating_add(*left));
    if stay != counts.rejected {
        whys.push(format!("it says that {} rejects stay, and the files are said to hold {stay}", counts.rejected));
    }
    *left = counts.rejected;
    whys
}
