//! What was deleted by policy: the note of it in the ledger, and which files it speaks of.
//!
//! Owns: the JSON of a note, and the reading of all of them. Does not own: the deleting ([`super::expire`]).
//! Invariant: a note is created before the first of its files is deleted, and never changed. It covers claims below the
//! heads that it holds, and no later one, so that a file which is lost some other way stays a fault.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use futures::{StreamExt, TryStreamExt, stream};
use object_store::{ObjectStore, ObjectStoreExt as _, path::Path};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Claim, FileEntry, LakeError, ledger, names};
use crate::offset::LaneId;

/// A larger note isn't read; it would hold some 200,000 partitions.
const NOTE_BYTES_MAX: u64 = 16 << 20;
/// Notes that are read at once.
const NOTES_AT_ONCE: usize = 8;

/// How the files of a note go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Means {
    /// `alluvium expire` deletes them.
    Deleted,
    /// Something else did or will, such as a lifecycle rule of the bucket.
    Declared,
}

/// One note. Created once, never changed, never deleted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expiry {
    pub format: u32,
    pub id: Uuid,
    /// Files whose hour, or day, ends at or before this.
    pub before: DateTime<Utc>,
    pub means: Means,
    pub reason: String,
    pub writer: String,
    pub created: DateTime<Utc>,
    /// Where each partition of each generation stood.
    pub heads: Vec<HeadOf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeadOf {
    pub generation: u32,
    pub partition: i32,
    pub head: i64,
}

/// Says that all that a note covers is gone. Nothing depends on it but whether an expiry is to be finished.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    pub format: u32,
    pub files: u64,
    pub rows: u64,
    pub bytes: u64,
    pub writer: String,
    pub created: DateTime<Utc>,
}

/// A note, ready to be asked.
#[derive(Clone, Debug)]
pub struct Known {
    pub note: Expiry,
    pub done: bool,
    heads: BTreeMap<(u32, i32), i64>,
}

/// Every note of a dataset.
#[derive(Debug, Default)]
pub struct Expiries {
    known: Vec<Known>,
    /// The notes that were read, and those that could not be.
    seen: BTreeSet<Uuid>,
    unreadable: Vec<(Path, String)>,
}

impl Expiries {
    pub async fn read(store: &dyn ObjectStore, dataset: &str) -> Result<Self, LakeError> {
        let mut this = Self::default();
        this.refresh(store, dataset).await?;
        Ok(this)
    }

    /// Reads the notes that have come since.
    pub async fn refresh(&mut self, store: &dyn ObjectStore, dataset: &str) -> Result<(), LakeError> {
        let folder = names::expiries(dataset);
        let (mut fresh, mut done) = (vec![], BTreeSet::new());
        let mut listing = store.list(Some(&folder));
        while let Some(object) = listing.try_next().await.map_err(LakeError::store("list", &folder))? {
            match names::expiry_id(&object.location) {
                Some((id, true)) => {
                    done.insert(id);
                }
                Some((id, false)) if !self.seen.contains(&id) => fresh.push((id, object)),
                _ => {}
            }
        }
        let mut reading = stream::iter(fresh)
            .map(|(id, object)| async move {
                let path = object.location;
                load(store, &path, object.size).await.map(|note| (id, path, note))
            })
            .buffered(NOTES_AT_ONCE);
        while let Some((id, path, note)) = reading.try_next().await? {
            self.seen.insert(id);
            match note {
                Ok(note) => self.known.push(Known::new(note)),
                Err(why) => self.unreadable.push((path, why)),
            }
        }
        self.known.iter_mut().for_each(|known| known.done |= done.contains(&known.note.id));
        for means in [Means::Deleted, Means::Declared] {
            self.drop_what_the_newest_says_too(means);
        }
        Ok(())
    }

    /// A daily expiry leaves hundreds of notes, and its last one says it all; each file is held against every note. An
    /// earlier one that was cut short is among them: whoever finishes the newest finishes it too.
    fn drop_what_the_newest_says_too(&mut self, means: Means) {
        let of_means = self.known.iter().filter(|known| known.note.means == means);
        let Some(newest) = of_means.max_by_key(|known| known.note.created).cloned() else { return };
        self.known
            .retain(|known| known.note.means != means || known.note.id == newest.note.id || !known.is_within(&newest));
    }

    /// The note that covers this file of a claim.
    #[must_use]
    pub fn covering(&self, id: &LaneId, claim: &Claim, entry: &FileEntry) -> Option<&Known> {
        self.known.iter().find(|known| known.covers(id, claim, entry))
    }

    /// Notes whose files were not all deleted yet, as far as anybody has said.
    pub fn unfinished(&self) -> impl Iterator<Item = &Known> {
        self.known.iter().filter(|known| !known.done && known.note.means == Means::Deleted)
    }

    /// Objects that stand where notes do, and why they can't be read.
    #[must_use]
    pub fn unreadable(&self) -> &[(Path, String)] {
        &self.unreadable
    }
}

async fn load(store: &dyn ObjectStore, path: &Path, size: u64) -> Result<Result<Expiry, String>, LakeError> {
    if size > NOTE_BYTES_MAX {
        return Ok(Err(format!("{size} bytes is too large for it")));
    }
    let bytes = async { store.get(path).await?.bytes().await }.await.map_err(LakeError::store("read", path))?;
    Ok(ledger::parse(&bytes))
}

impl Known {
    pub(super) fn new(note: Expiry) -> Self {
        let heads = note.heads.iter().map(|at| ((at.generation, at.partition), at.head)).collect();
        Self { note, done: false, heads }
    }

    /// Where the partition stood, if the note knows of it.
    #[must_use]
    pub fn head(&self, id: &LaneId) -> Option<i64> {
        self.heads.get(&(id.generation, id.partition)).copied()
    }

    /// Covers nothing that the other doesn't.
    fn is_within(&self, other: &Self) -> bool {
        let known =
            |(lane, head): (&(u32, i32), &i64)| other.heads.get(lane).is_some_and(|their_head| head <= their_head);
        self.note.before <= other.note.before && self.heads.iter().all(known)
    }

    #[must_use]
    pub fn covers(&self, id: &LaneId, claim: &Claim, entry: &FileEntry) -> bool {
        self.head(id).is_some_and(|head| claim.start < head) && self.note.is_old(claim, entry)
    }
}

impl Expiry {
    fn is_old(&self, claim: &Claim, entry: &FileEntry) -> bool {
        let Some(time) = names::data_file_time(&Path::from(entry.path.as_str())) else { return false };
        if entry.undated {
            return claim.committed < self.before;
        }
        time.end <= self.before.timestamp_millis()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lake::{Counts, FileKind, Kind};

    const HOUR: i64 = 3_600_000;

    fn at(hours: i64) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(hours * HOUR).unwrap()
    }

    fn lane() -> LaneId {
        LaneId { dataset: "iris".into(), generation: 0, partition: 3 }
    }

    /// Before hour 5, with the partition's head at 100.
    fn known() -> Known {
        Known::new(Expiry {
            format: 1,
            id: Uuid::nil(),
            before: at(5),
            means: Means::Deleted,
            reason: "r".into(),
            writer: "w".into(),
            created: at(9),
            heads: vec![HeadOf { generation: 0, partition: 3, head: 100 }],
        })
    }

    fn claim(start: i64, committed: i64) -> Claim {
        Claim {
            format: 1,
            start,
            end: start + 10,
            kind: Kind::Segment,
            attempt: Uuid::nil(),
            writer: "w".into(),
            committed: at(committed),
            model: None,
            counts: Counts::default(),
            fingerprint: None,
            files: vec![],
        }
    }

    fn entry(kind: FileKind, folders: &str) -> FileEntry {
        let path = format!("{kind}/iris/{folders}g0-p0003-00000000000000000000.parquet");
        FileEntry { kind, staged: String::new(), path, rows: 1, bytes: 1, crc32c: 0, undated: false }
    }

    #[test]
    fn a_note_covers_whole_hours_before_its_time_and_no_later_ones() {
        let covers = |folders: &str| known().covers(&lane(), &claim(90, 8), &entry(FileKind::Scored, folders));
        assert!(covers("date=1970-01-01/hour=04/") && covers("date=1969-12-31/"));
        for young in ["date=1970-01-01/hour=05/", "date=1970-01-01/", ""] {
            assert!(!covers(young), "{young}");
        }
    }

    #[test]
    fn a_note_covers_no_claim_from_its_heads_on_and_no_partition_it_does_not_know() {
        let old = entry(FileKind::Scored, "date=1970-01-01/hour=01/");
        assert!(known().covers(&lane(), &claim(99, 8), &old));
        assert!(!known().covers(&lane(), &claim(100, 8), &old));
        assert!(!known().covers(&LaneId { generation: 1, ..lane() }, &claim(0, 8), &old));
    }

    #[test]
    fn rejects_without_a_time_are_as_old_as_their_claim() {
        let dated = entry(FileKind::Rejected, "date=1970-01-01/hour=00/");
        let undated = FileEntry { undated: true, ..dated.clone() };
        assert!(known().covers(&lane(), &claim(0, 4), &undated));
        assert!(!known().covers(&lane(), &claim(0, 5), &undated));
        assert!(known().covers(&lane(), &claim(0, 5), &dated));
    }

    #[test]
    fn of_notes_that_say_ever_more_the_newest_is_kept_and_whatever_says_something_else() {
        let note = |n: u128, before, head| {
            let heads = vec![HeadOf { generation: 0, partition: 3, head }];
            let created = at(9 + i64::try_from(n).unwrap());
            let note = Expiry { id: Uuid::from_u128(n), before: at(before), heads, created, ..known().note };
            Known { done: true, ..Known::new(note) }
        };
        let unfinished = Known { done: false, ..note(4, 1, 1) };
        let known = vec![note(1, 3, 50), note(2, 4, 300), note(3, 5, 200), unfinished, note(9, 6, 200)];
        let mut expiries = Expiries { known, ..Expiries::default() };
        expiries.drop_what_the_newest_says_too(Means::Deleted);
        let kept: Vec<_> = expiries.known.iter().map(|known| known.note.id.as_u128()).collect();
        assert_eq!(kept, [2, 9], "1 and 3 are within 9, and so is 4, which was cut short; 2 goes further");
    }
}
