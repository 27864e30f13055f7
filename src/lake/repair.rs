//! Mends what can be mended without doubt.
//!
//! Owns: finishing what a crash cut short, and sweeping what nobody needs. Does not own: finding faults
//! ([`super::audit`]). Never touches a claim, and never makes one; never deletes a row, but those that a person's own
//! expiry names.
//!
//! It may run beside writers. It publishes what a claim names, as every writer does, any number of times; a staged file
//! moves only if it is whole and nothing stands at its final name. It sweeps only what is older than a day and in no
//! claim: a writer claims nothing that it staged more than an hour before, and the staging is listed before the claims.

use std::{
    collections::{BTreeMap, BTreeSet},
    error::Error as _,
};

use chrono::{DateTime, Utc};
use futures::{TryStreamExt, pin_mut};
use object_store::path::Path;
use serde::Serialize;

use super::{
    FileKind, Held, HeldFile, Revision, Store,
    audit::{
        AuditError, Depth, Lake,
        claim::{Places, places},
        ledger::{self, Step},
        revision,
    },
    expire,
    ledger::STALE_STAGING_AGE,
    names,
    store::Published,
};
use crate::offset::LaneId;

/// Staged objects that are held at once; with more, the rest is left to another run.
const STAGED_HELD_MAX: usize = 100_000;
/// What could not be mended is told this often.
const LEFT_TOLD_MAX: usize = 20;

/// What was mended, and what was not.
#[derive(Debug, Default, Serialize)]
pub struct Repaired {
    /// Files that a claim names and that were still in staging.
    pub published: Vec<String>,
    /// Staged objects that nobody needs any more.
    pub swept: u64,
    pub swept_bytes: u64,
    /// Expiries that had been cut short, and the files that went.
    pub expiries: u64,
    pub expired_files: u64,
    pub left: Vec<String>,
}

/// Mends one dataset of a lake.
pub async fn repair(store: &Store, dataset: &str, writer: &str) -> Result<Repaired, AuditError> {
    let lake = Lake::new(store.objects(), dataset, Depth::default());
    let mut repair = Repair { store, lake: &lake, done: Repaired::default() };
    let mut staging = repair.staging(dataset).await?;
    for id in store.lanes(dataset).await? {
        let folder = names::staging_of(&id);
        let (staged, others) = staging.into_iter().partition(|object: &Staged| object.path.prefix_matches(&folder));
        staging = others;
        repair.lane(&id, staged).await?;
    }
    // No ledger names what is left: drafts, probes, and partitions that have none.
    repair.sweep(staging, &BTreeSet::new()).await;
    let (found, finished) = expire::finish_all(store, dataset, writer).await?;
    repair.done.expiries = finished;
    repair.done.expired_files = found.files;
    for why in found.kept {
        repair.leave(why);
    }
    Ok(repair.done)
}

struct Repair<'a> {
    store: &'a Store,
    lake: &'a Lake,
    done: Repaired,
}

/// An object in staging.
struct Staged {
    path: Path,
    bytes: u64,
    since: DateTime<Utc>,
}

impl Repair<'_> {
    /// What is staged now, of this dataset and of the probes.
    async fn staging(&mut self, dataset: &str) -> Result<Vec<Staged>, AuditError> {
        let mut staged = vec![];
        for folder in [Path::from_iter(["_staging", dataset]), names::probes()] {
            let mut listing = self.store.list(&folder);
            while let Some(object) = listing.try_next().await? {
                if staged.len() == STAGED_HELD_MAX {
                    self.leave(format!(
                        "{folder} holds more than {STAGED_HELD_MAX} objects; run it again for the rest"
                    ));
                    break;
                }
                staged.push(Staged { path: object.location, bytes: object.size, since: object.last_modified });
            }
        }
        Ok(staged)
    }

    /// Publishes what the partition's claims still have in staging, and sweeps the rest of it.
    async fn lane(&mut self, id: &LaneId, staged: Vec<Staged>) -> Result<(), AuditError> {
        self.revisions(id).await?;
        if staged.is_empty() {
            return Ok(());
        }
        let by_path: BTreeMap<&Path, u64> = staged.iter().map(|object| (&object.path, object.bytes)).collect();
        let mut needed = BTreeSet::new();
        if self.walk(id, &by_path, &mut needed).await? {
            self.sweep(staged, &needed).await;
        } else {
            self.leave(format!("{}: its staging is not swept, as its ledger is not whole", names::staging_of(id)));
        }
        Ok(())
    }

    /// Finishes what replays have left undone.
    async fn revisions(&mut self, id: &LaneId) -> Result<(), AuditError> {
        let lake = self.lake;
        let revisions = ledger::revisions(lake, id);
        pin_mut!(revisions);
        while let Some((start, number)) = revisions.try_next().await? {
            if number == 1
                && let Some(held) = self.held(id, start).await?
            {
                self.finish(id, &held).await?;
            }
        }
        Ok(())
    }

    /// A claim with its revisions, if all of them can be read.
    async fn held(&mut self, id: &LaneId, start: i64) -> Result<Option<Held>, AuditError> {
        let Some(claim) = ledger::claim_at(self.lake, id, start).await? else { return Ok(None) };
        let (held, broken) = revision::held(self.lake, id, claim).await?;
        Ok(broken.is_none().then_some(held))
    }

    /// Rows first; what is left of rejects, and what is not left of them, only when all rows are where readers see them.
    async fn finish(&mut self, id: &LaneId, held: &Held) -> Result<(), AuditError> {
        let mut sound = true;
        let (rows, rejects): (Vec<_>, Vec<_>) =
            held.files().into_iter().filter(|file| file.by > 0).partition(|file| file.entry.kind == FileKind::Scored);
        for file in rows.into_iter().chain(rejects) {
            sound &= match places(id, &held.claim, &file) {
                Ok(places) if sound => self.finish_file(id, held, &file, &places).await?,
                _ => false,
            };
        }
        for (path, by) in held.gone() {
            let Some(file) = Path::parse(path).ok().filter(|_| sound) else { continue };
            if self.store.has(&file).await? {
                self.store.delete_durably(&file).await?;
                self.done.published.push(format!("{file}, which is gone (revision {by})"));
            }
        }
        for revision in &held.revisions {
            self.store.remove_empty_folder(&names::staging(id, revision.attempt)).await;
        }
        Ok(())
    }

    /// Whether the file is where it belongs, now or before.
    async fn finish_file(
        &mut self,
        id: &LaneId,
        held: &Held,
        file: &HeldFile<'_>,
        places: &Places,
    ) -> Result<bool, AuditError> {
        let entry = file.entry;
        let replaces = entry.kind == FileKind::Rejected;
        let Some(staged) = self.crc(&places.staged).await? else {
            return Ok(self.store.has(&places.file).await? || self.lake.is_expired(id, &held.claim, entry).await?);
        };
        if staged != entry.crc32c {
            self.leave(format!("{}: its staged copy {} is not whole", places.file, places.staged));
            return Ok(false);
        }
        let published = if replaces {
            self.store.replace(&places.staged, &places.file, entry.crc32c).await?
        } else {
            self.store.publish(&places.staged, &places.file).await?
        };
        if published == Published::Now {
            self.done.published.push(places.file.to_string());
        }
        Ok(true)
    }

    /// Goes from claim to claim; whether all claims were met that there are.
    async fn walk(
        &mut self,
        id: &LaneId,
        staged: &BTreeMap<&Path, u64>,
        needed: &mut BTreeSet<Path>,
    ) -> Result<bool, AuditError> {
        let mut end = match ledger::genesis(self.lake, id).await {
            Ok(genesis) => genesis,
            Err(stop) => return stop.into_fault().map(|_| false),
        };
        let lake = self.lake;
        let steps = ledger::walk(lake, id, end);
        pin_mut!(steps);
        let (mut met, mut whole) = (0, true);
        while let Some(step) = steps.try_next().await? {
            let Step::Claim { claim, .. } = step else { return Ok(false) };
            met += 1;
            end = claim.end;
            let (held, broken) = revision::held(lake, id, *claim).await?;
            whole &= broken.is_none();
            needed
                .extend(held.revisions.iter().flat_map(Revision::staged).flat_map(|entry| Path::parse(&entry.staged)));
            for file in held.files().iter().filter(|file| file.by == 0 && whole) {
                self.file(id, &held, file, staged, needed).await?;
            }
        }
        let listed = ledger::list(lake, id, end).await?;
        let goes_on = listed.beyond == 0 || ledger::has_claim(lake, id, end).await?;
        Ok(listed.below == met && goes_on && whole)
    }

    /// Publishes a file of a claim if it is staged, whole, and nowhere else.
    async fn file(
        &mut self,
        id: &LaneId,
        held: &Held,
        file: &HeldFile<'_>,
        staged: &BTreeMap<&Path, u64>,
        needed: &mut BTreeSet<Path>,
    ) -> Result<(), AuditError> {
        let (claim, entry) = (&held.claim, file.entry);
        let Ok(places) = places(id, claim, file) else {
            // A fault, which the audit tells; what the claim names stays as it is.
            needed.extend(Path::parse(&entry.staged));
            return Ok(());
        };
        let Some(&bytes) = staged.get(&places.staged) else { return Ok(()) };
        if let Some(crc) = self.crc(&places.file).await? {
            if crc != entry.crc32c {
                self.leave(format!(
                    "{} is damaged, and {} may be whole: it is kept. If it has {} bytes, delete the damaged one and repair \
                     again",
                    places.file, places.staged, entry.bytes
                ));
                needed.insert(places.staged);
            }
            return Ok(());
        }
        if self.lake.is_expired(id, claim, entry).await? {
            return Ok(());
        }
        if bytes != entry.bytes || self.crc(&places.staged).await?.is_some_and(|crc| crc != entry.crc32c) {
            self.leave(format!("{}: its staged copy {} is not whole", places.file, places.staged));
        } else if self.store.publish(&places.staged, &places.file).await? == Published::Now {
            self.done.published.push(places.file.to_string());
        }
        needed.insert(places.staged);
        self.store.remove_empty_folder(&names::staging(id, claim.attempt)).await;
        Ok(())
    }

    /// The checksum of a file; `None` if it isn't there, or has been published meanwhile.
    async fn crc(&self, path: &Path) -> Result<Option<u32>, AuditError> {
        let Some(found) = self.lake.get(path).await? else { return Ok(None) };
        let sum = |crc, chunk: bytes::Bytes| std::future::ready(Ok(crc32c::crc32c_append(crc, &chunk)));
        let crc = found.into_stream().try_fold(0, sum).await;
        crc.map(Some).map_err(AuditError::store("read", path))
    }

    async fn sweep(&mut self, staged: Vec<Staged>, needed: &BTreeSet<Path>) {
        let stale_since = Utc::now() - STALE_STAGING_AGE;
        for object in staged {
            if object.since < stale_since && !needed.contains(&object.path) {
                match self.store.delete(&object.path).await {
                    Ok(()) => {
                        self.done.swept += 1;
                        self.done.swept_bytes += object.bytes;
                    }
                    Err(error) => {
                        let why = error.source().map_or_else(|| error.to_string(), ToString::to_string);
                        self.leave(format!("{} is stale, and could not be deleted: {why}", object.path));
                    }
                }
            }
        }
    }

    fn leave(&mut self, why: String) {
        if self.done.left.len() < LEFT_TOLD_MAX {
            self.done.left.push(why);
        }
    }
}
