//! Deletes old data by whole hours, or notes that something else did.
//!
//! Owns: the order of the steps, and which files go. Does not own: the note ([`super::expiry`]); the ledger, of which
//! nothing is ever deleted.
//!
//! | a crash after…     | leaves                               | the next expiry, or `audit --repair` |
//! |--------------------|--------------------------------------|--------------------------------------|
//! | nothing            | the lake as it was                   | begins anew                          |
//! | the note           | a note, and files that it covers     | deletes them                         |
//! | some files         | the same                             | deletes the rest                     |
//! | the last file      | a note that nobody has said is done  | finds nothing to delete, and says so |
//!
//! The newest claim is published first, so that nothing of it is staged that a writer might publish afterwards. What a
//! stream commits meanwhile lies beyond the heads of the note, and stays until the next expiry.

use std::{collections::BTreeSet, ops::Range, slice};

use chrono::{DateTime, Utc};
use futures::{StreamExt, TryStreamExt, stream};
use object_store::{ObjectMeta, path::Path};
use serde::Serialize;
use uuid::Uuid;

use super::{
    Expiries, Expiry, FileKind, LakeError, Ledger, Means, Store,
    claim::FORMAT,
    expiry::{Done, HeadOf, Known},
    lanes, ledger, names,
};
use crate::offset::LaneId;

/// Files that are looked up and deleted at once.
const FILES_AT_ONCE: usize = 16;
/// Partitions whose head is looked for at once.
const LANES_AT_ONCE: usize = 8;
/// What is kept for a reason is told this often; the rest is as it is.
const KEPT_TOLD_MAX: usize = 20;

/// What is to go, of which dataset, and why.
#[derive(Debug)]
pub struct Expire<'a> {
    pub store: &'a Store,
    pub dataset: &'a str,
    /// Whole hours that end at or before this.
    pub before: DateTime<Utc>,
    pub reason: &'a str,
    /// Who does it, for people.
    pub writer: &'a str,
}

/// What an expiry found, and did if it was to do anything.
#[derive(Debug, Default, Serialize)]
pub struct Expired {
    #[serde(flatten)]
    pub found: Found,
    /// The note in the ledger, if one was made.
    pub note: Option<String>,
    /// Earlier expiries that had been cut short, and were finished, or would be.
    pub finished: u64,
}

/// Files, and what they hold.
#[derive(Debug, Default, Serialize)]
pub struct Found {
    pub files: u64,
    pub scored: u64,
    pub rejected: u64,
    pub bytes: u64,
    /// When the hours, or days, begin.
    #[serde(skip)]
    pub hours: BTreeSet<DateTime<Utc>>,
    /// What was left alone although it may be old, and why.
    pub kept: Vec<String>,
}

impl Expire<'_> {
    /// What there is to delete, with what was cut short before; changes nothing.
    pub async fn survey(&self) -> Result<Expired, LakeError> {
        let notes = Expiries::read(self.store.objects().as_ref(), self.dataset).await?;
        let mut all: Vec<_> = notes.unfinished().cloned().collect();
        let finished = all.len() as u64;
        let (note, kept) = self.note(Means::Deleted).await?;
        all.push(Known::new(note));
        let mut found = visit(self.store, self.dataset, &all, false).await?;
        found.keep_all(unreadable(&notes));
        found.keep_all(kept);
        Ok(Expired { found, note: None, finished })
    }

    /// Notes it, then deletes. Finishes first what was cut short before.
    pub async fn delete(&self) -> Result<Expired, LakeError> {
        let (mut found, finished) = finish_all(self.store, self.dataset, self.writer).await?;
        let (note, kept) = self.note(Means::Deleted).await?;
        found.keep_all(kept);
        let known = Known::new(note);
        let old = visit(self.store, self.dataset, slice::from_ref(&known), false).await?;
        if old.files == 0 {
            return Ok(Expired { found, note: None, finished });
        }
        let note = self.create(&known.note).await?;
        found += finish(self.store, self.dataset, &known, self.writer).await?;
        Ok(Expired { found, note: Some(note), finished })
    }

    /// Notes that the files are gone, or will go, without a hand in it; finds those that are still there.
    pub async fn declare(&self) -> Result<Expired, LakeError> {
        let (note, kept) = self.note(Means::Declared).await?;
        let path = self.create(&note).await?;
        let mut found = visit(self.store, self.dataset, &[Known::new(note)], false).await?;
        found.keep_all(kept);
        Ok(Expired { found, note: Some(path), finished: 0 })
    }

    /// A note over everything that the ledger holds now, and the partitions that it leaves out.
    async fn note(&self, means: Means) -> Result<(Expiry, Vec<String>), LakeError> {
        let all = self.store.lanes(self.dataset).await?;
        let asked = stream::iter(all).map(|id| self.head(id)).buffered(LANES_AT_ONCE);
        let answers: Vec<Result<HeadOf, String>> = asked.try_collect().await?;
        let (mut heads, mut kept) = (vec![], vec![]);
        for answer in answers {
            match answer {
                Ok(head) => heads.push(head),
                Err(why) => kept.push(why),
            }
        }
        let note = Expiry {
            format: FORMAT,
            id: Uuid::new_v4(),
            before: self.before,
            means,
            reason: self.reason.into(),
            writer: self.writer.into(),
            created: Utc::now(),
            heads,
        };
        Ok((note, kept))
    }

    /// Where a partition stands; or why nothing of it can be judged.
    async fn head(&self, id: LaneId) -> Result<Result<HeadOf, String>, LakeError> {
        let (generation, partition) = (id.generation, id.partition);
        let ledger = Ledger::new(self.store.clone(), id, self.writer.into());
        let head = async {
            match ledger.genesis().await? {
                Some(genesis) => ledger.look(&genesis).await.map(Some),
                None => Ok(None),
            }
        };
        match head.await {
            Ok(Some(head)) => Ok(Ok(HeadOf { generation, partition, head: head.position })),
            Ok(None) => Ok(Err(format!("{} has no genesis.json, and is left alone", ledger.id()))),
            Err(LakeError::Corrupt { path, reason }) => {
                Ok(Err(format!("{} is left alone, for {path}: {reason}", ledger.id())))
            }
            Err(error) => Err(error),
        }
    }

    async fn create(&self, note: &Expiry) -> Result<String, LakeError> {
        let path = names::expiry(self.dataset, note.id);
        self.store.create(&path, ledger::to_json(note, &path)?).await?;
        Ok(path.to_string())
    }
}

/// Finishes every expiry that was cut short; gives back what was deleted, and how many there were.
pub(super) async fn finish_all(store: &Store, dataset: &str, writer: &str) -> Result<(Found, u64), LakeError> {
    let notes = Expiries::read(store.objects().as_ref(), dataset).await?;
    let (mut found, mut finished) = (Found::default(), 0);
    for known in notes.unfinished() {
        found += finish(store, dataset, known, writer).await?;
        finished += 1;
    }
    found.keep_all(unreadable(&notes));
    Ok((found, finished))
}

fn unreadable(notes: &Expiries) -> impl Iterator<Item = String> {
    let unreadable = notes.unreadable().iter();
    unreadable.map(|(path, why)| format!("{path} can't be read, and so not be finished: {why}"))
}

/// Deletes what the note covers, and says that it is done.
async fn finish(store: &Store, dataset: &str, known: &Known, writer: &str) -> Result<Found, LakeError> {
    publish(store, dataset, known, writer).await?;
    let found = visit(store, dataset, slice::from_ref(known), true).await?;
    let path = names::expiry_done(dataset, known.note.id);
    let (files, rows, bytes) = (found.files, found.scored + found.rejected, found.bytes);
    let done = Done { format: FORMAT, files, rows, bytes, writer: writer.into(), created: Utc::now() };
    if found.kept.is_empty()
        && let Err(error) = store.create(&path, ledger::to_json(&done, &path)?).await
        && !store.has(&path).await?
    {
        return Err(error);
    }
    Ok(found)
}

/// Publishes the newest claims that the note knows of, as their writers would: what is staged could come to light later.
async fn publish(store: &Store, dataset: &str, known: &Known, writer: &str) -> Result<(), LakeError> {
    let published = stream::iter(known.note.heads.clone()).map(|at| async move {
        let id = LaneId { dataset: dataset.into(), generation: at.generation, partition: at.partition };
        let ledger = Ledger::new(store.clone(), id, writer.into());
        let published = async {
            match ledger.genesis().await? {
                Some(genesis) => ledger.head(&genesis).await.map(drop),
                None => Ok(()),
            }
        };
        match published.await {
            // Its files are kept then, each with this reason.
            Err(LakeError::Corrupt { .. }) => Ok(()),
            published => published,
        }
    });
    published.buffer_unordered(LANES_AT_ONCE).try_collect().await
}

/// Goes through all data files that may be old, and deletes those that a note covers if it is to.
async fn visit(store: &Store, dataset: &str, notes: &[Known], delete: bool) -> Result<Found, LakeError> {
    let mut found = Found::default();
    let before = notes.iter().map(|known| known.note.before).max();
    let before_ms = before.map_or(i64::MIN, |before| before.timestamp_millis());
    for kind in [FileKind::Scored, FileKind::Rejected] {
        for folder in lanes::folders(store.objects().as_ref(), &names::data(kind, dataset)).await? {
            let begins_ms = folder.filename().and_then(names::date_ms);
            if begins_ms.is_some_and(|begins_ms| begins_ms < before_ms) {
                visit_date(store, dataset, notes, delete, &folder, &mut found).await?;
            }
        }
    }
    Ok(found)
}

async fn visit_date(
    store: &Store,
    dataset: &str,
    notes: &[Known],
    delete: bool,
    folder: &Path,
    found: &mut Found,
) -> Result<(), LakeError> {
    let judged = store.list(folder).map_ok(|object| async move {
        let judgement = judge(store, dataset, notes, &object).await?;
        if let (Judgement::Old(_), true) = (&judgement, delete) {
            store.delete(&object.location).await?;
        }
        Ok((object, judgement))
    });
    let mut judged = std::pin::pin!(judged.try_buffer_unordered(FILES_AT_ONCE));
    let mut emptied = BTreeSet::new();
    while let Some((object, judgement)) = judged.try_next().await? {
        match judgement {
            Judgement::Spared => {}
            Judgement::Unknown(why) => found.keep_all([why]),
            Judgement::Old(old) => {
                found.add(&old, object.size);
                emptied.extend(parent(&object.location));
            }
        }
    }
    if delete {
        for hour in emptied.iter().chain([folder]) {
            store.remove_empty_folder(hour).await;
        }
    }
    Ok(())
}

fn parent(file: &Path) -> Option<Path> {
    file.as_ref().rsplit_once('/').map(|(folder, _)| Path::from(folder))
}

enum Judgement {
    Spared,
    /// It may be old, but its claim can't be read.
    Unknown(String),
    Old(Old),
}

struct Old {
    kind: FileKind,
    rows: u64,
    time_ms: Range<i64>,
}

/// A file goes only if a claim below a note's heads names it: a stranger is the audit's to tell.
async fn judge(store: &Store, dataset: &str, notes: &[Known], object: &ObjectMeta) -> Result<Judgement, LakeError> {
    let path = &object.location;
    let Some((generation, partition, start)) = names::data_file_claim(path) else { return Ok(Judgement::Spared) };
    let Some(time_ms) = names::data_file_time(path) else { return Ok(Judgement::Spared) };
    let id = LaneId { dataset: dataset.into(), generation, partition };
    let may_cover = |known: &Known| {
        known.head(&id).is_some_and(|head| start < head) && time_ms.start < known.note.before.timestamp_millis()
    };
    if !notes.iter().any(may_cover) {
        return Ok(Judgement::Spared);
    }
    let ledger = Ledger::new(store.clone(), id.clone(), "".into());
    let held = async {
        match ledger.claim_at(start).await? {
            Some(claim) => ledger.held(claim).await.map(Some),
            None => Ok(None),
        }
    };
    let held = match held.await {
        Ok(Some(held)) => held,
        Ok(None) => return Ok(Judgement::Spared),
        Err(LakeError::Corrupt { path: claim, reason }) => {
            return Ok(Judgement::Unknown(format!("{path} is kept, for {claim}: {reason}")));
        }
        Err(error) => return Err(error),
    };
    let files = held.files();
    let entry = files.iter().map(|file| file.entry).find(|entry| entry.path == path.as_ref());
    let old = entry.filter(|entry| notes.iter().any(|known| known.covers(&id, &held.claim, entry)));
    Ok(old.map_or(Judgement::Spared, |entry| Judgement::Old(Old { kind: entry.kind, rows: entry.rows, time_ms })))
}

impl Found {
    fn add(&mut self, old: &Old, bytes: u64) {
        self.files += 1;
        self.bytes += bytes;
        match old.kind {
            FileKind::Scored => self.scored = self.scored.saturating_add(old.rows),
            FileKind::Rejected => self.rejected = self.rejected.saturating_add(old.rows),
        }
        self.hours.extend(DateTime::from_timestamp_millis(old.time_ms.start));
    }

    fn keep_all(&mut self, whys: impl IntoIterator<Item = String>) {
        let room = KEPT_TOLD_MAX.saturating_sub(self.kept.len());
        self.kept.extend(whys.into_iter().take(room));
    }
}

impl std::ops::AddAssign for Found {
    fn add_assign(&mut self, other: Self) {
        self.files += other.files;
        self.scored = self.scored.saturating_add(other.scored);
        self.rejected = self.rejected.saturating_add(other.rejected);
        self.bytes += other.bytes;
        self.hours.extend(other.hours);
        self.keep_all(other.kept);
    }
}
