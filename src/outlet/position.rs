//! How far an outlet has come, kept in the lake beside the claims.
//!
//! Owns: the JSON of it. Invariant: it is written after everything below it has arrived, so that a crash between the two
//! sends again and never leaves out. Nothing of the lake depends on it.

use std::{collections::BTreeSet, future::ready};

use chrono::{DateTime, Utc};
use futures::TryStreamExt;
use object_store::path::Path;
use serde::{Deserialize, Serialize};

use super::{OutletError, Source};
use crate::lake::{
    LakeError, Store,
    ledger::{parse, to_json},
    names,
};

const FORMAT: u32 = 1;

/// Up to where all has arrived: of the claim that starts at `claim`, whatever lies below `position`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    pub claim: i64,
    pub position: i64,
}

impl Mark {
    /// Where one claim ends and the next begins.
    #[must_use]
    pub fn at(start: i64) -> Self {
        Self { claim: start, position: start }
    }
}

#[derive(Serialize, Deserialize)]
struct Kept {
    format: u32,
    claim: i64,
    position: i64,
    /// Of the partition's genesis.
    begun_by: String,
    written: DateTime<Utc>,
}

/// Where to go on; where the partition begins, if nothing is known.
pub(super) async fn read(store: &Store, path: &Path, source: &Source) -> Result<Mark, OutletError> {
    let Some(bytes) = store.read(path).await? else { return Ok(Mark::at(source.genesis)) };
    let corrupt = |reason: String| LakeError::Corrupt { path: path.clone(), reason };
    let kept: Kept = parse(&bytes).map_err(&corrupt)?;
    if kept.begun_by != source.begun_by || kept.claim > kept.position || kept.claim < source.genesis {
        let reason = "belongs to another ledger than this partition's: delete it, and all is sent again".to_owned();
        return Err(corrupt(reason).into());
    }
    Ok(Mark { claim: kept.claim, position: kept.position })
}

pub(super) async fn write(store: &Store, path: &Path, source: &Source, mark: Mark) -> Result<(), OutletError> {
    let Mark { claim, position } = mark;
    let kept = Kept { format: FORMAT, claim, position, begun_by: source.begun_by.clone(), written: Utc::now() };
    Ok(store.write(path, to_json(&kept, path)?).await?)
}

/// All of this revision has arrived.
#[derive(Serialize)]
struct Sent<'a> {
    format: u32,
    claim: i64,
    revision: u32,
    begun_by: &'a str,
    written: DateTime<Utc>,
}

/// The revisions that have arrived, by the names of their marks.
pub(super) async fn revisions(store: &Store, folder: &Path) -> Result<BTreeSet<(i64, u32)>, OutletError> {
    let marks = store.list(folder).try_filter_map(|object| ready(Ok(names::revision_number(&object.location))));
    Ok(marks.try_collect().await?)
}

pub(super) async fn mark_revision(
    store: &Store,
    folder: &Path,
    source: &Source,
    place: (i64, u32),
) -> Result<(), OutletError> {
    let (claim, revision) = place;
    let path = names::revision_in(folder, claim, revision);
    let sent = Sent { format: FORMAT, claim, revision, begun_by: &source.begun_by, written: Utc::now() };
    Ok(store.write(&path, to_json(&sent, &path)?).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(begun_by: &str) -> Source {
        let id = crate::offset::LaneId { dataset: "iris".into(), generation: 0, partition: 3 };
        Source { id, topic: "t".into(), begun_by: begun_by.into(), genesis: 7, revision: None }
    }

    #[tokio::test]
    async fn a_position_is_what_was_written_and_the_partition_s_begin_before() {
        let (store, path) = (Store::open("memory://").unwrap(), Path::from("_outlets/x.json"));
        assert_eq!(read(&store, &path, &source("w")).await.unwrap(), Mark::at(7));
        let mark = Mark { claim: 10, position: 15 };
        write(&store, &path, &source("w"), mark).await.unwrap();
        assert_eq!(read(&store, &path, &source("w")).await.unwrap(), mark);
    }

    #[tokio::test]
    async fn another_ledger_s_position_and_a_damaged_one_are_never_used() {
        let (store, path) = (Store::open("memory://").unwrap(), Path::from("_outlets/x.json"));
        write(&store, &path, &source("w"), Mark { claim: 10, position: 15 }).await.unwrap();
        let told = read(&store, &path, &source("other")).await.unwrap_err().to_string();
        assert!(told.contains("belongs to another ledger"), "{told}");
        store.write(&path, "{\"format\":2}".into()).await.unwrap();
        let told = read(&store, &path, &source("w")).await.unwrap_err().to_string();
        assert!(told.contains("use a newer release"), "{told}");
    }
}
