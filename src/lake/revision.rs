//! What a replay made of a claim's rejects, and what holds of the claim since.
//!
//! Owns: the JSON of a revision, and what follows from a claim with its revisions. Does not own: making one
//! ([`super::revise`]). Pure.
//! Invariant: a claim's revisions are numbered from 1 without a gap, and each speaks of what the one before it left.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Claim, Counts, FileEntry, FileKind};
use crate::record::ModelRef;

/// Some rejects of a claim have become rows. Created once, beside the claim; never changed, never deleted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revision {
    pub format: u32,
    /// The claim's.
    pub start: i64,
    /// From 1 on.
    pub number: u32,
    /// Names the staging folder, and tells a writer its own revision from another's.
    pub attempt: Uuid,
    pub writer: String,
    pub committed: DateTime<Utc>,
    pub model: ModelRef,
    pub counts: Moved,
    /// The new files of rows.
    pub files: Vec<FileEntry>,
    /// What became of the files of rejects that it took records from.
    pub rejected: Vec<Replaced>,
}

/// Where rejects went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moved {
    /// Became rows.
    pub scored: u64,
    /// Turned out to be nothing that is to be scored.
    pub filtered: u64,
    /// That the claim has still, in all its files.
    pub rejected: u64,
    /// Rows beyond one a record that became rows.
    #[serde(default, skip_serializing_if = "is_none")]
    pub further_rows: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde asks for it")]
fn is_none(count: &u64) -> bool {
    *count == 0
}

/// A file of rejects that holds fewer than before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replaced {
    /// Its name, which stays the same.
    pub path: String,
    /// What it holds now; gone, if none is left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub now: Option<FileEntry>,
}

/// A claim, and what its revisions made of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    pub claim: Claim,
    pub revisions: Vec<Revision>,
}

/// A file that holds records of a claim now.
#[derive(Clone, Copy, Debug)]
pub struct HeldFile<'a> {
    pub entry: &'a FileEntry,
    /// Whose staging it came from.
    pub attempt: Uuid,
    /// The revision that made it; 0 for the claim itself.
    pub by: u32,
}

impl Held {
    /// A claim that nobody has revised.
    #[must_use]
    pub fn new(claim: Claim) -> Self {
        Self { claim, revisions: vec![] }
    }

    #[must_use]
    pub fn newest(&self) -> Option<&Revision> {
        self.revisions.last()
    }

    /// How many there are; the newest one's number.
    #[must_use]
    pub fn number(&self) -> u32 {
        self.newest().map_or(0, |newest| newest.number)
    }

    /// Where each offset is now. Never overflows: the numbers are what somebody wrote.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.revisions.iter().fold(self.claim.counts, |counts, revision| Counts {
            scored: counts.scored.saturating_add(revision.counts.scored),
            filtered: counts.filtered.saturating_add(revision.counts.filtered),
            rejected: revision.counts.rejected,
            further_rows: counts.further_rows.saturating_add(revision.counts.further_rows),
            ..counts
        })
    }

    /// Every file that holds records now, rows and rejects.
    #[must_use]
    pub fn files(&self) -> Vec<HeldFile<'_>> {
        let of_claim = self.claim.files.iter().filter(|entry| self.replaced(&entry.path).is_none());
        let of_claim = of_claim.map(|entry| HeldFile { entry, attempt: self.claim.attempt, by: 0 });
        let made = self.revisions.iter().flat_map(|revision| revision.files.iter().map(|entry| of(revision, entry)));
        of_claim.chain(made).chain(self.last_words().filter_map(|(_, now)| now)).collect()
    }

    /// Files of rejects that are gone, as none is left; and by which revision.
    #[must_use]
    pub fn gone(&self) -> Vec<(&str, u32)> {
        let of_claim = self.claim.files.iter().filter(|entry| entry.kind == FileKind::Rejected);
        let replaced = of_claim.filter_map(|entry| self.replaced(&entry.path));
        replaced.filter(|(_, replaced)| replaced.now.is_none()).map(|(by, at)| (at.path.as_str(), by.number)).collect()
    }

    /// What the newest revision that speaks of this file of rejects says of it.
    fn replaced(&self, path: &str) -> Option<(&Revision, &Replaced)> {
        let newest_first = self.revisions.iter().rev();
        newest_first.flat_map(|by| by.rejected.iter().map(move |at| (by, at))).find(|(_, at)| at.path == path)
    }

    /// Each file of rejects that was replaced, with what holds now.
    fn last_words(&self) -> impl Iterator<Item = (&str, Option<HeldFile<'_>>)> {
        let of_claim = self.claim.files.iter();
        of_claim.filter_map(|entry| {
            let (by, at) = self.replaced(&entry.path)?;
            Some((at.path.as_str(), at.now.as_ref().map(|now| of(by, now))))
        })
    }
}

fn of<'a>(revision: &'a Revision, entry: &'a FileEntry) -> HeldFile<'a> {
    HeldFile { entry, attempt: revision.attempt, by: revision.number }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lake::Kind;

    fn entry(kind: FileKind, path: &str, rows: u64) -> FileEntry {
        FileEntry { kind, staged: String::new(), path: path.into(), rows, bytes: 1, crc32c: 0, undated: false }
    }

    fn revision(number: u32, counts: Moved, files: Vec<FileEntry>, rejected: Vec<Replaced>) -> Revision {
        Revision {
            format: 1,
            start: 0,
            number,
            attempt: Uuid::from_u128(u128::from(number)),
            writer: "w".into(),
            committed: DateTime::UNIX_EPOCH,
            model: ModelRef { name: "m".into(), version: 1, digest: "d".into() },
            counts,
            files,
            rejected,
        }
    }

    /// Ten records: five rows, rejects in two files, three and two.
    fn claim() -> Claim {
        use FileKind::{Rejected, Scored};
        Claim {
            format: 1,
            start: 0,
            end: 10,
            kind: Kind::Segment,
            attempt: Uuid::nil(),
            writer: "w".into(),
            committed: DateTime::UNIX_EPOCH,
            model: None,
            counts: Counts { records: 10, scored: 5, rejected: 5, ..Counts::default() },
            fingerprint: None,
            files: vec![entry(Scored, "s", 5), entry(Rejected, "a", 3), entry(Rejected, "b", 2)],
        }
    }

    fn shown(held: &Held) -> Vec<(&str, u64, u32)> {
        held.files().iter().map(|file| (file.entry.path.as_str(), file.entry.rows, file.by)).collect()
    }

    #[test]
    fn what_holds_is_what_the_newest_revision_that_speaks_of_a_file_says() {
        use FileKind::{Rejected, Scored};
        let mut held = Held::new(claim());
        assert_eq!((shown(&held), held.number()), (vec![("s", 5, 0), ("a", 3, 0), ("b", 2, 0)], 0));

        let fewer = Replaced { path: "a".into(), now: Some(entry(Rejected, "a", 1)) };
        let first = Moved { scored: 1, filtered: 1, rejected: 3, further_rows: 2 };
        held.revisions.push(revision(1, first, vec![entry(Scored, "s-r1", 3)], vec![fewer]));
        assert_eq!(shown(&held), [("s", 5, 0), ("b", 2, 0), ("s-r1", 3, 1), ("a", 1, 1)]);
        assert!(held.gone().is_empty());

        let gone = |path: &str| Replaced { path: path.into(), now: None };
        let second = Moved { scored: 3, ..Moved::default() };
        held.revisions.push(revision(2, second, vec![entry(Scored, "s-r2", 3)], vec![gone("a"), gone("b")]));
        assert_eq!(shown(&held), [("s", 5, 0), ("s-r1", 3, 1), ("s-r2", 3, 2)]);
        assert_eq!((held.gone(), held.number()), (vec![("a", 2), ("b", 2)], 2));
        let counts = held.counts();
        assert_eq!((counts.scored, counts.filtered, counts.rejected, counts.further_rows), (9, 1, 0, 2));
        assert!(counts.account_for(held.claim.range()));
    }
}
