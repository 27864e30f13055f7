//! Data files that no claim names.
//!
//! Every file that a claim names has been looked at by now, and counted. So the files listed below a partition's head
//! need only be counted too: where there are no more of them than that, none is a stranger. Elsewhere each is looked up.

use std::{collections::BTreeMap, future::ready};

use futures::{Stream, StreamExt, TryStreamExt, pin_mut, stream};
use object_store::{ObjectStore, path::Path};

use super::{AuditError, Fault, Lake, PartitionReport, Report, ledger};
use crate::{
    lake::{FileKind, names},
    offset::LaneId,
};

/// How many files there are.
pub(super) async fn count(lake: &Lake) -> Result<u64, AuditError> {
    data_files(lake).try_fold(0, |count, _| ready(Ok(count + 1))).await
}

fn data_files(lake: &Lake) -> impl Stream<Item = Result<Path, AuditError>> + use<'_> {
    stream::iter([FileKind::Scored, FileKind::Rejected]).flat_map(|kind| {
        let folder = names::data(kind, &lake.dataset);
        let listing = lake.store.list(Some(&folder)).map_ok(|object| object.location);
        listing.map_err(move |source| AuditError::store("list", &folder)(source))
    })
}

/// The files of one partition below its head.
#[derive(Debug, Default)]
struct Settled {
    head: i64,
    claimed: u64,
    listed: u64,
}

type Lanes = BTreeMap<(u32, i32), Settled>;

pub(super) async fn find(lake: &Lake, report: &mut Report) -> Result<(), AuditError> {
    let below = |p: &PartitionReport| Settled { head: p.head.unwrap_or(0), claimed: p.files, listed: 0 };
    let mut lanes: Lanes = report.partitions.iter().map(|p| ((p.generation, p.partition), below(p))).collect();

    let listing = data_files(lake);
    pin_mut!(listing);
    while let Some(file) = listing.try_next().await? {
        match below_head(&mut lanes, &file) {
            Some(settled) => settled.listed += 1,
            None => look_up(lake, report, file).await?,
        }
    }
    lanes.retain(|_, lane| lane.listed > lane.claimed);
    if lanes.is_empty() {
        return Ok(());
    }
    let listing = data_files(lake);
    pin_mut!(listing);
    while let Some(file) = listing.try_next().await? {
        if below_head(&mut lanes, &file).is_some() {
            look_up(lake, report, file).await?;
        }
    }
    Ok(())
}

fn below_head<'a>(lanes: &'a mut Lanes, file: &Path) -> Option<&'a mut Settled> {
    let (generation, partition, start) = names::data_file_claim(file)?;
    lanes.get_mut(&(generation, partition)).filter(|lane| start < lane.head)
}

/// Asks the ledger itself: the file may be newer than the audit's walk.
async fn look_up(lake: &Lake, report: &mut Report, path: Path) -> Result<(), AuditError> {
    let known = match names::data_file_claim(&path) {
        None => false,
        Some((generation, partition, start)) => {
            let id = LaneId { dataset: lake.dataset.clone(), generation, partition };
            ledger::names_file(lake, &id, start, &path).await?
        }
    };
    if !known {
        report.faults.push(Fault::Stranger { path });
    }
    Ok(())
}
