//! One partition: from its genesis, claim by claim, to its head.

use std::collections::BTreeSet;

use futures::{TryStreamExt, pin_mut};
use object_store::{GetResult, path::Path};

use super::{
    AuditError, CLAIMS_AT_ONCE, Fault, Faults, Lake, PartitionReport, claim, file,
    ledger::{self, Step},
    merge::{self, Places},
};
use crate::{
    lake::{Claim, FileEntry, Means, names},
    offset::{LaneId, OffsetRange},
};

pub(super) async fn audit(
    lake: &Lake,
    id: &LaneId,
    faults: &mut Faults,
    notes: &mut Vec<String>,
    file_done: &(impl Fn() + Sync),
) -> Result<PartitionReport, AuditError> {
    let mut report = PartitionReport::new(id);
    let genesis = match ledger::genesis(lake, id).await {
        Ok(genesis) => genesis,
        Err(stop) => {
            faults.push(stop.into_fault()?);
            return Ok(report);
        }
    };
    report.begin(genesis);

    let steps = ledger::walk(lake, id, genesis).map_ok(|step| check(lake, id, step, file_done));
    let steps = steps.try_buffered(CLAIMS_AT_ONCE);
    pin_mut!(steps);
    let mut broken = false;
    while let Some(checked) = steps.try_next().await? {
        match checked {
            Checked::Claim { claim, files } => {
                report.reach(&claim);
                report.take(files, faults);
            }
            Checked::Broken(fault) => {
                faults.push(fault);
                broken = true;
            }
        }
    }
    if report.expired_files_left > 0 {
        let left = report.expired_files_left;
        notes.push(format!("{id}: {left} files of expired hours are there; `alluvium expire` run again deletes them"));
    }
    if !report.published {
        notes.push(format!("{id}: a claim's files are not all published yet; its writer does so when it goes on"));
    }
    check_listing(lake, id, &report, broken, faults, notes).await?;
    Ok(report)
}

enum Checked {
    Claim { claim: Box<Claim>, files: Files },
    Broken(Fault),
}

async fn check(lake: &Lake, id: &LaneId, step: Step, file_done: &(impl Fn() + Sync)) -> Result<Checked, AuditError> {
    match step {
        Step::Broken(fault) => Ok(Checked::Broken(fault)),
        Step::Claim { claim, newest } => {
            let path = names::claim(id, claim.start);
            let check = ClaimCheck { lake, id, claim: &claim, path, newest };
            let files = check.run(file_done).await?;
            Ok(Checked::Claim { claim, files })
        }
    }
}

/// What became of the files of one claim.
#[derive(Debug, Default)]
struct Files {
    visible: u64,
    bytes: u64,
    staged: u64,
    expired: u64,
    expired_rows: u64,
    /// There, although they were to be deleted.
    expired_left: u64,
    faults: Vec<Fault>,
}

impl PartitionReport {
    fn take(&mut self, files: Files, faults: &mut Faults) {
        self.files += files.visible;
        self.bytes = self.bytes.saturating_add(files.bytes);
        self.published &= files.staged == 0;
        self.expired_files += files.expired;
        self.expired_rows = self.expired_rows.saturating_add(files.expired_rows);
        self.expired_files_left += files.expired_left;
        files.faults.into_iter().for_each(|fault| faults.push(fault));
    }
}

struct ClaimCheck<'a> {
    lake: &'a Lake,
    id: &'a LaneId,
    claim: &'a Claim,
    path: Path,
    newest: bool,
}

impl ClaimCheck<'_> {
    async fn run(&self, file_done: &(impl Fn() + Sync)) -> Result<Files, AuditError> {
        let mut files = Files { faults: claim::check(&self.path, self.claim), ..Files::default() };
        let mut named = BTreeSet::new();
        let mut held = vec![];
        for entry in &self.claim.files {
            match claim::places(&self.path, self.id, self.claim, entry) {
                Err(fault) => files.faults.push(fault),
                Ok(places) if !named.insert(entry.path.as_str()) => {
                    files.faults.push(Fault::NamedTwice { claim: self.path.clone(), path: places.file });
                }
                Ok(places) => {
                    held.extend(self.file(entry, &places, &mut files).await?);
                    file_done();
                }
            }
        }
        let together = self.check_together(held, files.faults.is_empty()).await?;
        files.faults.extend(together);
        Ok(files)
    }

    /// The faults of files that are each right by itself. `held` is what is there and whole; counts are looked at only if
    /// all else is `sound`.
    async fn check_together(&self, held: Vec<Places>, sound: bool) -> Result<Vec<Fault>, AuditError> {
        let all_there = held.len() == self.claim.files.len();
        if held.iter().all(|places| places.offsets.is_empty()) {
            return Ok(vec![]);
        }
        let claim = || self.path.clone();
        let merged = tokio::task::spawn_blocking(move || merge::merge(&held)).await;
        let merged = merged.map_err(|_| AuditError::Stopped { path: claim() })?;
        let mut faults = vec![];
        if let Some((offsets, first)) = merged.doubled {
            faults.push(Fault::Doubled { claim: claim(), offsets, first });
        }
        // Of a record, rows may be in a file that was deleted by policy.
        if let Some(offset) = merged.misnumbered.filter(|_| all_there) {
            faults.push(Fault::RowNumbers { claim: claim(), offset });
        }
        let counted = self.claim.counts.scored.saturating_add(self.claim.counts.rejected);
        if all_there && sound && faults.is_empty() && merged.records != counted {
            faults.push(Fault::RecordsFound { claim: claim(), counted, found: merged.records });
        }
        Ok(faults)
    }

    /// What is to be kept of the file's rows, if it is there and whole.
    async fn file(
        &self,
        entry: &FileEntry,
        places: &claim::Places,
        files: &mut Files,
    ) -> Result<Option<Places>, AuditError> {
        let Some((found, at)) = self.find(entry, places, files).await? else { return Ok(None) };
        let expected = file::Expected {
            file: at.clone(),
            entry: entry.clone(),
            generation: self.id.generation,
            partition: self.id.partition,
            range: self.claim.range(),
            keep: self.claim.files.len() > 1 || self.claim.counts.further_rows > 0,
        };
        match file::check(self.lake, found, expected).await {
            Ok(kept) => Ok(Some(kept)),
            Err(stop) => {
                files.faults.push(stop.into_fault()?);
                Ok(None)
            }
        }
    }

    /// Looks for the file at its final name, then where it was staged.
    async fn find<'p>(
        &self,
        entry: &FileEntry,
        places: &'p claim::Places,
        files: &mut Files,
    ) -> Result<Option<(GetResult, &'p Path)>, AuditError> {
        let mut published = self.lake.get(&places.file).await?;
        if published.is_none() {
            if let Some(staged) = self.lake.get(&places.staged).await? {
                files.staged += 1;
                if !self.newest {
                    files.faults.push(Fault::Unpublished { claim: self.path.clone(), file: places.file.clone() });
                }
                return Ok(Some((staged, &places.staged)));
            }
            // It may have been published between the two looks.
            published = self.lake.get(&places.file).await?;
        }
        let Some(found) = published else {
            if self.lake.is_expired(self.id, self.claim, entry).await? {
                files.expired += 1;
                files.expired_rows = files.expired_rows.saturating_add(entry.rows);
                return Ok(None);
            }
            files.faults.push(Fault::Missing { claim: self.path.clone(), file: places.file.clone() });
            return Ok(None);
        };
        let left = self.lake.expired(self.id, self.claim, entry).await == Some(Means::Deleted);
        files.expired_left += u64::from(left);
        files.visible += 1;
        files.bytes = files.bytes.saturating_add(found.meta.size);
        Ok(Some((found, &places.file)))
    }
}

/// Whether the claims that the walk met are all that are in the folder.
async fn check_listing(
    lake: &Lake,
    id: &LaneId,
    report: &PartitionReport,
    broken: bool,
    faults: &mut Faults,
    notes: &mut Vec<String>,
) -> Result<(), AuditError> {
    let (Some(genesis), Some(head)) = (report.genesis, report.head) else { return Ok(()) };
    let listed = ledger::list(lake, id, head).await?;
    if listed.below > report.claims {
        ledger::find_strays(lake, id, OffsetRange { start: genesis, end: head }, faults).await?;
    }
    let Some(first) = listed.first_beyond else { return Ok(()) };
    let claims = listed.beyond;
    if broken {
        // The broken one is among them.
        if claims > 1 {
            faults.push(Fault::Unreached { lane: id.clone(), from: head, claims: claims - 1 });
        }
    } else if ledger::has_claim(lake, id, head).await? {
        notes.push(format!("{id}: written to while it was audited; offsets from {head} on are left to the next audit"));
    } else {
        faults.push(Fault::Hole { lane: id.clone(), missing: OffsetRange { start: head, end: first }, claims });
    }
    Ok(())
}
