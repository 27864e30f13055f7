//! Proves from the ledger and the Parquet files that each offset from genesis to head is in exactly one place.
//!
//! Owns: reading everything a writer left behind, and saying what is wrong with it. Does not own: mending it, or any of
//! the writers' code. Nothing found in a lake is trusted: not a name, not a number, not a byte.
//!
//! ```text
//! for each partition   ledger   the claims lead from genesis to the head, by name, and no other claim is there
//!    for each claim    claim    it accounts for its range, and names its files as the contract says
//!                      revision its revisions follow each other, and account for the rejects that became rows
//!       for each file  file     it is there, whole, and holds offsets of the range only, ascending
//!                      merge    no offset is in two files
//! for each data file   strangers   a claim names it
//! ```
//!
//! A file that a note of the ledger covers (`expiry`) may be missing: it was deleted by policy.
//!
//! Memory doesn't grow with claims or files: listings are streamed, `CLAIMS_AT_ONCE` claims are in hand at a time.
//! A lake may be written to while it is audited: the audit speaks of what the ledger held when the walk came by.

pub(super) mod claim;
mod fault;
mod file;
pub(super) mod ledger;
mod merge;
mod partition;
mod report;
pub(super) mod revision;
mod strangers;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use bytes::Bytes;
use object_store::{Error as StoreError, GetResult, ObjectStore, ObjectStoreExt, path::Path};
use serde::Serialize;
use tokio::sync::RwLock;

pub use fault::Fault;
pub use report::{Faults, PartitionReport, Report, Totals, Verdict};

use super::{Claim, Expiries, FileEntry, LakeError, Means, lanes};
use crate::offset::LaneId;

/// The claims that are checked at once, each one file after the other.
const CLAIMS_AT_ONCE: usize = 3;
/// A smaller file is read once and kept while it is checked; a larger one is streamed, and its three columns read again.
const FILE_HELD_BYTES_MAX: u64 = 16 << 20;
/// A larger claim isn't read; it would name some 30,000 files.
const CLAIM_BYTES_MAX: u64 = 16 << 20;
/// How often a claim is looked at again that a replay revises at that moment.
const LOOKS_MAX: usize = 20;
/// The faults that are named; further ones are counted.
const FAULTS_KEPT_MAX: usize = 100;
/// The claim names held at once to find those that the walk doesn't reach; only where their number shows there are some.
const STARTS_HELD_MAX: usize = 1 << 20;

/// What the broker holds of one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct BrokerOffsets {
    pub earliest: i64,
    /// One past the last record.
    pub latest: i64,
}

/// How far the audit has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    pub files_done: u64,
    /// As many as were there at the start; a lake that is written to may come to hold more.
    pub files_total: u64,
}

/// The audit could not finish; this says nothing about the lake.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    #[error("the audit could not finish: {action} {path}")]
    Store { action: &'static str, path: String, source: StoreError },
    #[error("the audit could not finish: {0}")]
    Lake(LakeError),
    #[error("the audit was stopped while it checked {path}")]
    Stopped { path: Path },
}

/// How much of a file is looked at, beside its size, its CRC and its footer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Depth {
    /// Where its rows are from: generation, partition and offset.
    #[default]
    Provenance,
    /// Every column of every row group is decoded.
    EveryColumn,
}

/// Audits one dataset of the lake at the root of `store`. `broker` is what the broker holds of the newest generation,
/// empty if it could not be asked.
pub async fn audit(
    store: &Arc<dyn ObjectStore>,
    dataset: &str,
    broker: &BTreeMap<i32, BrokerOffsets>,
    progress: impl Fn(Progress) + Sync,
) -> Result<Report, AuditError> {
    audit_to(Depth::default(), store, dataset, broker, progress).await
}

/// The same, looking at as much of each file as `depth` says.
pub async fn audit_to(
    depth: Depth,
    store: &Arc<dyn ObjectStore>,
    dataset: &str,
    broker: &BTreeMap<i32, BrokerOffsets>,
    progress: impl Fn(Progress) + Sync,
) -> Result<Report, AuditError> {
    let lake = Lake::new(store, dataset, depth);
    let files_total = strangers::count(&lake).await?;
    lake.refresh_expiries().await?;
    let done = AtomicU64::new(0);
    let count_file = || progress(Progress { files_done: done.fetch_add(1, Relaxed) + 1, files_total });

    let mut report = Report::new(dataset);
    for id in lanes::lanes(lake.store.as_ref(), dataset).await? {
        let partition = partition::audit(&lake, &id, &mut report.faults, &mut report.notes, &count_file).await?;
        report.partitions.push(partition);
    }
    strangers::find(&lake, &mut report).await?;
    lake.tell_expiries(&mut report).await;
    report.compare_with_broker(broker);
    report.settle();
    Ok(report)
}

/// The lake as it is read here.
#[derive(Debug)]
pub(super) struct Lake {
    store: Arc<dyn ObjectStore>,
    dataset: Arc<str>,
    depth: Depth,
    /// What is missing because it was to go.
    expiries: RwLock<Expiries>,
}

impl Lake {
    pub(super) fn new(store: &Arc<dyn ObjectStore>, dataset: &str, depth: Depth) -> Self {
        Self { store: Arc::clone(store), dataset: dataset.into(), depth, expiries: RwLock::default() }
    }

    async fn refresh_expiries(&self) -> Result<(), AuditError> {
        Ok(self.expiries.write().await.refresh(self.store.as_ref(), &self.dataset).await?)
    }

    /// How a file of a claim was to go, if it was.
    async fn expired(&self, id: &LaneId, claim: &Claim, entry: &FileEntry) -> Option<Means> {
        self.expiries.read().await.covering(id, claim, entry).map(|known| known.note.means)
    }

    /// The same for a file that is missing: it may have gone since the notes were read.
    pub(super) async fn is_expired(&self, id: &LaneId, claim: &Claim, entry: &FileEntry) -> Result<bool, AuditError> {
        if self.expired(id, claim, entry).await.is_some() {
            return Ok(true);
        }
        self.refresh_expiries().await?;
        Ok(self.expired(id, claim, entry).await.is_some())
    }

    async fn tell_expiries(&self, report: &mut Report) {
        let expiries = self.expiries.read().await;
        for (path, why) in expiries.unreadable() {
            report.faults.push(Fault::Unreadable { path: path.clone(), why: why.clone() });
        }
        for known in expiries.unfinished() {
            let (before, made) = (known.note.before.to_rfc3339(), known.note.created.to_rfc3339());
            report.notes.push(format!(
                "the expiry of everything before {before}, begun {made}, is not finished; run it again, or `audit --repair`"
            ));
        }
    }

    pub(super) async fn get(&self, path: &Path) -> Result<Option<GetResult>, AuditError> {
        match self.store.get(path).await {
            Ok(found) => Ok(Some(found)),
            Err(StoreError::NotFound { .. }) => Ok(None),
            Err(source) => Err(AuditError::store("read", path)(source)),
        }
    }

    /// An object of the ledger; these are small.
    async fn read(&self, path: &Path) -> Result<Option<Bytes>, Stop> {
        let Some(found) = self.get(path).await? else { return Ok(None) };
        if found.meta.size > CLAIM_BYTES_MAX {
            let why = format!("{} bytes is too large for it", found.meta.size);
            return Err(Fault::Unreadable { path: path.clone(), why }.into());
        }
        Ok(Some(found.bytes().await.map_err(AuditError::store("read", path))?))
    }
}

impl From<LakeError> for AuditError {
    fn from(error: LakeError) -> Self {
        match error {
            LakeError::Store { action, path, source } => Self::Store { action, path, source },
            other => Self::Lake(other),
        }
    }
}

impl AuditError {
    pub(super) fn store(action: &'static str, path: &Path) -> impl FnOnce(StoreError) -> Self {
        move |source| Self::Store { action, path: path.to_string(), source }
    }
}

/// Why a check went no further: the lake is wrong, or it could not be read.
#[derive(Debug)]
pub(super) enum Stop {
    Fault(Box<Fault>),
    Error(AuditError),
}

impl Stop {
    /// The fault, to be noted; an error goes on to the caller.
    pub(super) fn into_fault(self) -> Result<Fault, AuditError> {
        match self {
            Self::Fault(fault) => Ok(*fault),
            Self::Error(error) => Err(error),
        }
    }
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self::Fault(Box::new(fault))
    }
}

impl From<AuditError> for Stop {
    fn from(error: AuditError) -> Self {
        Self::Error(error)
    }
}
