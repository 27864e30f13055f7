//! Proves from the ledger and the Parquet files that each offset from genesis to head is in exactly one place.
//!
//! Owns: reading everything a writer left behind, and saying what is wrong with it. Does not own: mending it, or any of
//! the writers' code. Nothing found in a lake is trusted: not a name, not a number, not a byte.
//!
//! ```text
//! for each partition   ledger   the claims lead from genesis to the head, by name, and no other claim is there
//!    for each claim    claim    it accounts for its range, and names its files as the contract says
//!       for each file  file     it is there, whole, and holds offsets of the range only, ascending
//!                      merge    no offset is in two files
//! for each data file   strangers   a claim names it
//! ```
//!
//! Memory doesn't grow with claims or files: listings are streamed, `CLAIMS_AT_ONCE` claims are in hand at a time.
//! A lake may be written to while it is audited: the audit speaks of what the ledger held when the walk came by.

mod claim;
mod fault;
mod file;
mod ledger;
mod merge;
mod partition;
mod report;
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

pub use fault::Fault;
pub use report::{Faults, PartitionReport, Report, Totals, Verdict};

/// The claims that are checked at once, each one file after the other.
const CLAIMS_AT_ONCE: usize = 3;
/// A smaller file is read once and kept while it is checked; a larger one is streamed, and its three columns read again.
const FILE_HELD_BYTES_MAX: u64 = 16 << 20;
/// A larger claim isn't read; it would name some 30,000 files.
const CLAIM_BYTES_MAX: u64 = 16 << 20;
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
    #[error("the audit was stopped while it checked {path}")]
    Stopped { path: Path },
}

/// Audits one dataset of the lake at the root of `store`. `broker` is what the broker holds of the newest generation,
/// empty if it could not be asked.
pub async fn audit(
    store: &Arc<dyn ObjectStore>,
    dataset: &str,
    broker: &BTreeMap<i32, BrokerOffsets>,
    progress: impl Fn(Progress) + Sync,
) -> Result<Report, AuditError> {
    let lake = Lake { store: Arc::clone(store), dataset: dataset.into() };
    let files_total = strangers::count(&lake).await?;
    let done = AtomicU64::new(0);
    let count_file = || progress(Progress { files_done: done.fetch_add(1, Relaxed) + 1, files_total });

    let mut report = Report::new(dataset);
    for id in ledger::lanes(&lake).await? {
        let partition = partition::audit(&lake, &id, &mut report.faults, &mut report.notes, &count_file).await?;
        report.partitions.push(partition);
    }
    strangers::find(&lake, &mut report).await?;
    report.compare_with_broker(broker);
    report.settle();
    Ok(report)
}

/// The lake as it is read here.
#[derive(Debug)]
struct Lake {
    store: Arc<dyn ObjectStore>,
    dataset: Arc<str>,
}

impl Lake {
    async fn get(&self, path: &Path) -> Result<Option<GetResult>, AuditError> {
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

impl AuditError {
    fn store(action: &'static str, path: &Path) -> impl FnOnce(StoreError) -> Self {
        move |source| Self::Store { action, path: path.to_string(), source }
    }
}

/// Why a check went no further: the lake is wrong, or it could not be read.
#[derive(Debug)]
enum Stop {
    Fault(Box<Fault>),
    Error(AuditError),
}

impl Stop {
    /// The fault, to be noted; an error goes on to the caller.
    fn into_fault(self) -> Result<Fault, AuditError> {
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
