//! The ledger as it is found: partitions, where each begins, and its claims end to end.

use std::collections::BTreeSet;

use futures::{Stream, StreamExt, TryStreamExt, pin_mut, stream};
use object_store::path::Path;

use super::{AuditError, Fault, Faults, Lake, STARTS_HELD_MAX, Stop, claim, revision};
use crate::{
    lake::{Claim, names},
    offset::{LaneId, OffsetRange},
};

/// Where the partition's claims begin.
pub(in crate::lake) async fn genesis(lake: &Lake, id: &LaneId) -> Result<i64, Stop> {
    let path = names::genesis(id);
    let Some(bytes) = lake.read(&path).await? else { return Err(Fault::GenesisMissing { lane: id.clone() }.into()) };
    let start = claim::parse_genesis(&path, &bytes)?.start;
    if start < 0 {
        return Err(Fault::GenesisNegative { lane: id.clone(), start }.into());
    }
    Ok(start)
}

/// A step from genesis towards the head.
#[derive(Debug)]
pub(in crate::lake) enum Step {
    Claim {
        claim: Box<Claim>,
        newest: bool,
    },
    /// The claim can't be followed: the last step.
    Broken(Fault),
}

enum Found {
    Claim(Box<Claim>),
    Broken(Fault),
    Nothing,
}

enum Next {
    At(i64),
    Read(Found),
}

/// The claims from `start` on, each where the one before it ends.
pub(in crate::lake) fn walk<'a>(
    lake: &'a Lake,
    id: &'a LaneId,
    start: i64,
) -> impl Stream<Item = Result<Step, AuditError>> + use<'a> {
    stream::try_unfold(Next::At(start), move |next| async move {
        let found = match next {
            Next::At(start) => read(lake, id, start).await?,
            Next::Read(found) => found,
        };
        match found {
            Found::Nothing => Ok(None),
            Found::Broken(fault) => Ok(Some((Step::Broken(fault), Next::Read(Found::Nothing)))),
            Found::Claim(claim) => {
                let next = read(lake, id, claim.end).await?;
                let newest = matches!(next, Found::Nothing);
                Ok(Some((Step::Claim { claim, newest }, Next::Read(next))))
            }
        }
    })
}

async fn read(lake: &Lake, id: &LaneId, start: i64) -> Result<Found, AuditError> {
    match load(lake, id, start).await {
        Ok(Some(claim)) => Ok(Found::Claim(Box::new(claim))),
        Ok(None) => Ok(Found::Nothing),
        Err(stop) => stop.into_fault().map(Found::Broken),
    }
}

async fn load(lake: &Lake, id: &LaneId, start: i64) -> Result<Option<Claim>, Stop> {
    let path = names::claim(id, start);
    let Some(bytes) = lake.read(&path).await? else { return Ok(None) };
    Ok(Some(claim::parse(&path, start, &bytes)?))
}

/// Whether a claim, or a revision of it, names this data file. One that can't be read gets the benefit of the doubt: it is a
/// fault already.
pub(super) async fn names_file(lake: &Lake, id: &LaneId, start: i64, file: &Path) -> Result<bool, AuditError> {
    let claim = match read(lake, id, start).await? {
        Found::Claim(claim) => claim,
        Found::Broken(_) => return Ok(true),
        Found::Nothing => return Ok(false),
    };
    if claim.files.iter().any(|entry| entry.path == file.as_ref()) {
        return Ok(true);
    }
    let (held, broken) = revision::held(lake, id, *claim).await?;
    let made = held.revisions.iter().flat_map(|revision| &revision.files);
    Ok(broken.is_some() || made.into_iter().any(|entry| entry.path == file.as_ref()))
}

/// The claim that starts there, if it can be read.
pub(in crate::lake) async fn claim_at(lake: &Lake, id: &LaneId, start: i64) -> Result<Option<Claim>, AuditError> {
    match read(lake, id, start).await? {
        Found::Claim(claim) => Ok(Some(*claim)),
        Found::Broken(_) | Found::Nothing => Ok(None),
    }
}

/// Whether there is such a claim, with rejects. One that can't be read gets the benefit of the doubt.
pub(super) async fn has_rejects(lake: &Lake, id: &LaneId, start: i64) -> Result<bool, AuditError> {
    Ok(match read(lake, id, start).await? {
        Found::Claim(claim) => claim.counts.rejected > 0,
        Found::Broken(_) => true,
        Found::Nothing => false,
    })
}

pub(in crate::lake) async fn has_claim(lake: &Lake, id: &LaneId, start: i64) -> Result<bool, AuditError> {
    Ok(lake.get(&names::claim(id, start)).await?.is_some())
}

/// The claims in a partition's folder that start below its head, and from there on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::lake) struct Listed {
    pub(in crate::lake) below: u64,
    pub(in crate::lake) beyond: u64,
    pub(super) first_beyond: Option<i64>,
    /// Revisions of claims below the head.
    pub(super) revisions: u64,
}

pub(in crate::lake) async fn list(lake: &Lake, id: &LaneId, head: i64) -> Result<Listed, AuditError> {
    let objects = objects(lake, id);
    pin_mut!(objects);
    let mut listed = Listed::default();
    while let Some(path) = objects.try_next().await? {
        match names::claim_start(&path) {
            Some(start) if start < head => listed.below += 1,
            Some(start) => {
                listed.beyond += 1;
                listed.first_beyond = Some(listed.first_beyond.map_or(start, |first| first.min(start)));
            }
            None => {
                listed.revisions += u64::from(names::revision_number(&path).is_some_and(|(start, _)| start < head));
            }
        }
    }
    Ok(listed)
}

fn objects<'a>(lake: &'a Lake, id: &LaneId) -> impl Stream<Item = Result<Path, AuditError>> + use<'a> {
    let folder = names::ledger(id);
    let listing = lake.store.list(Some(&folder)).map_ok(|object| object.location);
    listing.map_err(move |source| AuditError::store("list", &folder)(source))
}

fn starts<'a>(lake: &'a Lake, id: &LaneId) -> impl Stream<Item = Result<i64, AuditError>> + use<'a> {
    objects(lake, id).try_filter_map(|path| async move { Ok(names::claim_start(&path)) })
}

/// Every revision that is listed: its claim's start, and its number.
pub(in crate::lake) fn revisions<'a>(
    lake: &'a Lake,
    id: &LaneId,
) -> impl Stream<Item = Result<(i64, u32), AuditError>> + use<'a> {
    objects(lake, id).try_filter_map(|path| async move { Ok(names::revision_number(&path)) })
}

/// Names the revisions below the head that follow nothing.
pub(super) async fn find_stray_revisions(
    lake: &Lake,
    id: &LaneId,
    head: i64,
    faults: &mut Faults,
) -> Result<(), AuditError> {
    let listed = revisions(lake, id).try_filter(|(start, _)| std::future::ready(*start < head));
    pin_mut!(listed);
    while let Some((start, number)) = listed.try_next().await? {
        if !revision::follows(lake, id, start, number).await? {
            faults.push(Fault::StrayRevision { revision: names::revision(id, start, number) });
        }
    }
    Ok(())
}

/// Names the claims below the head that the walk from genesis doesn't meet. Walks again for each [`STARTS_HELD_MAX`].
pub(super) async fn find_strays(
    lake: &Lake,
    id: &LaneId,
    reached: OffsetRange,
    faults: &mut Faults,
) -> Result<(), AuditError> {
    let below = starts(lake, id).try_filter(|start| std::future::ready(*start < reached.end));
    let chunks = below.try_chunks(STARTS_HELD_MAX);
    pin_mut!(chunks);
    while let Some(chunk) = chunks.next().await {
        let mut unmet: BTreeSet<i64> = chunk.map_err(|error| error.1)?.into_iter().collect();
        let mut at = reached.start;
        while at < reached.end {
            let Found::Claim(claim) = read(lake, id, at).await? else { break };
            unmet.remove(&at);
            at = claim.end;
        }
        for start in unmet {
            let claim = names::claim(id, start);
            let before = start < reached.start;
            faults.push(if before { Fault::BeforeGenesis { claim } } else { Fault::Overlap { claim } });
        }
    }
    Ok(())
}
