//! Revisions: rejects of a claim that have become rows, beside the claim. Stage, create, publish, replace.
//!
//! Owns: the order of the steps, and what follows from every way they can fail. Does not own: the claims
//! ([`super::ledger`]), what is made of the rejects ([`super::recast`]).
//! Invariant: a revision is made of what the one before it left, when that one is published as a whole. So only a claim's
//! newest revision can be unpublished, and what anybody does late for an older one finds nothing to do.
//!
//! | a crash after…         | leaves                                   | the next replay, or `audit --repair`       |
//! |------------------------|------------------------------------------|--------------------------------------------|
//! | staging                | files that nobody reads                  | tries the rejects again; a sweep has them  |
//! | the revision           | a revision with staged files             | publishes them before anything else        |
//! | some files of rows     | records that are in rows and in rejects  | publishes the rest, then replaces rejects  |
//! | some files of rejects  | the same, fewer                          | replaces, or deletes, the rest             |
//! | the last               | nothing to do                            | goes on with what the revision left        |

use std::{collections::BTreeSet, future::ready, time::SystemTime};

use bytes::Bytes;
use chrono::Utc;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::path::Path;
use uuid::Uuid;

use super::{
    Claim, FileEntry, FileKind, Held, HeldFile, LakeError, Ledger, Moved, Recasted, Replaced, Revision,
    claim::FORMAT,
    ledger::{Attempt, Stamp, UPLOADS_MAX, to_json},
    names,
    store::Published,
};

/// Revisions of one claim; each takes at least one record out of its rejects.
pub(super) const REVISIONS_MAX: u32 = 10_000;

/// How a revision ended.
#[derive(Clone, Debug)]
pub enum Revised {
    /// Ours, and visible to readers.
    Won(Box<Revision>),
    /// Another replay has revised the claim meanwhile.
    Fenced { by: String },
}

impl Ledger {
    /// The claim with its revisions. A claim without rejects has none, and nobody is asked.
    pub async fn held(&self, claim: Claim) -> Result<Held, LakeError> {
        let mut held = Held::new(claim);
        if held.claim.counts.rejected == 0 {
            return Ok(held);
        }
        while let Some(revision) = self.revision_at(held.claim.start, held.number() + 1).await? {
            held.revisions.push(revision);
            if held.number() == REVISIONS_MAX {
                break;
            }
        }
        Ok(held)
    }

    /// Publishes what the claim and its newest revision name, if a crash left it undone; whether there was anything to do.
    pub async fn settle_held(&self, held: &Held) -> Result<bool, LakeError> {
        match held.newest() {
            // Before its first revision, nothing of the claim may be left that a late writer could publish once more.
            None if self.unpublished(&held.claim).await? > 0 => self.publish(&held.claim).await.map(|()| false),
            None => Ok(false),
            Some(newest) => self.publish_revision(&held.claim, newest).await,
        }
    }

    /// A held file's bytes, if they are what is expected. `None` if the file is gone or another: it was deleted by policy,
    /// or replaced meanwhile.
    pub async fn read_held(&self, file: &HeldFile<'_>) -> Result<Option<Bytes>, LakeError> {
        for place in [&file.entry.path, &file.entry.staged] {
            let found = self.store.read_large(&Path::from(place.as_str())).await?;
            let whole = found.filter(|bytes| crc32c::crc32c(bytes) == file.entry.crc32c);
            if whole.is_some() {
                return Ok(whole);
            }
        }
        Ok(None)
    }

    /// Whether a note says that the file was deleted by policy.
    pub async fn is_expired_of(&self, held: &Held, file: &HeldFile<'_>) -> bool {
        self.is_expired(&held.claim, file.entry).await
    }

    /// Stages what was made of the rejects, makes it the claim's next revision, and publishes it. `held` must have been
    /// settled before its rejects were read.
    pub async fn revise(&self, held: &Held, made: Recasted, began: SystemTime) -> Result<Revised, LakeError> {
        if held.number() == REVISIONS_MAX {
            let path = names::revision(&self.id, held.claim.start, REVISIONS_MAX);
            return Err(LakeError::Corrupt { path, reason: "is the last revision that a claim may have".into() });
        }
        let revision = self.stage_revision(held, made).await?;
        let path = names::revision(&self.id, revision.start, revision.number);
        let (start, number) = (revision.start, revision.number);
        let json = to_json(&revision, &path)?;
        let attempt = Attempt { path: &path, json, id: revision.attempt, start, began };
        match self.create_once(attempt, || self.revision_stamp(start, number)).await? {
            None => {
                self.publish_revision(&held.claim, &revision).await?;
                Ok(Revised::Won(Box::new(revision)))
            }
            Some(rival) => {
                self.drop_staging(revision.attempt, revision.staged()).await;
                Ok(Revised::Fenced { by: rival.writer })
            }
        }
    }

    async fn revision_at(&self, start: i64, number: u32) -> Result<Option<Revision>, LakeError> {
        let path = names::revision(&self.id, start, number);
        let Some(revision) = self.read_json::<Revision>(&path).await? else { return Ok(None) };
        if (revision.start, revision.number) != (start, number) {
            let reason = format!("says that it is revision {} of {}", revision.number, revision.start);
            return Err(LakeError::Corrupt { path, reason });
        }
        Ok(Some(revision))
    }

    async fn revision_stamp(&self, start: i64, number: u32) -> Result<Option<Stamp>, LakeError> {
        let standing = self.revision_at(start, number).await?;
        Ok(standing.map(|revision| Stamp { attempt: revision.attempt, writer: revision.writer }))
    }

    /// Writes the files where nobody reads.
    async fn stage_revision(&self, held: &Held, made: Recasted) -> Result<Revision, LakeError> {
        let (start, number, attempt) = (held.claim.start, held.number() + 1, Uuid::new_v4());
        let staged = |file: usize| names::staged_revision(&self.id, attempt, start, number, file);
        let (mut uploads, mut files, mut rejected) = (vec![], vec![], vec![]);
        for file in made.rows {
            let place = staged(uploads.len());
            let path = names::revised_file(&self.id, file.bucket, start, number);
            files.push(entry(FileKind::Scored, &place, path.as_ref(), file.rows, &file.bytes, false));
            uploads.push((place, file.bytes));
        }
        let left = held.counts().rejected.saturating_sub(made.scored + made.filtered);
        for file in made.rejects {
            let now = file.left.map(|(rows, bytes)| {
                let place = staged(uploads.len());
                // They are as old as they were.
                let now = entry(FileKind::Rejected, &place, &file.entry.path, rows, &bytes, file.entry.undated);
                uploads.push((place, bytes));
                now
            });
            rejected.push(Replaced { path: file.entry.path, now });
        }
        let uploads = uploads.into_iter().map(|(place, bytes)| async move { self.store.write(&place, bytes).await });
        stream::iter(uploads).buffered(UPLOADS_MAX).try_collect::<()>().await?;
        Ok(Revision {
            format: FORMAT,
            start,
            number,
            attempt,
            writer: self.writer.to_string(),
            committed: Utc::now(),
            model: made.model,
            counts: Moved {
                scored: made.scored,
                filtered: made.filtered,
                rejected: left,
                further_rows: made.further_rows,
            },
            files,
            rejected,
        })
    }

    /// Rows first, so that at every moment a record is where readers see it. Anybody may do it, any number of times.
    async fn publish_revision(&self, claim: &Claim, revision: &Revision) -> Result<bool, LakeError> {
        let mut did = false;
        for file in &revision.files {
            let (staged, path) = (Path::from(file.staged.as_str()), Path::from(file.path.as_str()));
            let published = self.store.publish(&staged, &path).await?;
            did |= self.is_done(claim, revision, file, published).await;
        }
        for Replaced { path, now } in &revision.rejected {
            let path = Path::from(path.as_str());
            match now {
                Some(file) => {
                    let staged = Path::from(file.staged.as_str());
                    let published = self.store.replace(&staged, &path, file.crc32c).await?;
                    did |= self.is_done(claim, revision, file, published).await;
                }
                None if self.store.has(&path).await? => {
                    self.store.delete_durably(&path).await?;
                    did = true;
                }
                None => {}
            }
        }
        self.store.remove_empty_folder(&names::staging(&self.id, revision.attempt)).await;
        Ok(did)
    }

    async fn is_done(&self, claim: &Claim, revision: &Revision, file: &FileEntry, published: Published) -> bool {
        let next = names::revision(&self.id, revision.start, revision.number + 1);
        let missing = published == Published::Missing && !self.store.has(&next).await.unwrap_or(false);
        if missing && !self.is_expired(claim, file).await {
            let path = &file.path;
            tracing::warn!(lane = %self.id, %path, "a file of a claim's newest revision is gone, and no note says that it was expired");
        }
        published == Published::Now
    }

    /// Whether a revision may have taken the place of this file of a claim's.
    pub(super) async fn is_revised(&self, claim: &Claim, file: &FileEntry) -> bool {
        file.kind == FileKind::Rejected
            && self.store.has(&names::revision(&self.id, claim.start, 1)).await.unwrap_or(false)
    }

    /// All revisions of this partition: their claims' starts, and their numbers.
    pub async fn revisions(&self) -> Result<BTreeSet<(i64, u32)>, LakeError> {
        let folder = names::ledger(&self.id);
        let listing = self.store.list(&folder);
        listing.try_filter_map(|object| ready(Ok(names::revision_number(&object.location)))).try_collect().await
    }

    /// How many revisions have something in staging yet: their replay was cut short, or is under way.
    pub async fn revisions_on_their_way(&self) -> Result<usize, LakeError> {
        let folder = names::staging_of(&self.id);
        let mut found = BTreeSet::new();
        let mut listing = self.store.list(&folder);
        while let Some(object) = listing.try_next().await? {
            let staged = object.location;
            if let Some((_, start, number)) = names::staged_revision_of(&staged)
                && self.is_of_a_revision(&staged).await?
            {
                found.insert((start, number));
            }
        }
        Ok(found.len())
    }

    /// Whether a revision that was made names this staged object: then somebody will publish it yet.
    pub(super) async fn is_of_a_revision(&self, staged: &Path) -> Result<bool, LakeError> {
        let Some((attempt, start, number)) = names::staged_revision_of(staged) else { return Ok(false) };
        match self.revision_stamp(start, number).await {
            Ok(standing) => Ok(standing.is_some_and(|standing| standing.attempt == attempt)),
            // What can't be read may name it.
            Err(LakeError::Corrupt { .. }) => Ok(true),
            Err(error) => Err(error),
        }
    }
}

impl Revision {
    /// All that it has staged, or had.
    pub fn staged(&self) -> impl Iterator<Item = &FileEntry> {
        self.files.iter().chain(self.rejected.iter().filter_map(|replaced| replaced.now.as_ref()))
    }
}

fn entry(kind: FileKind, staged: &Path, path: &str, rows: u64, bytes: &Bytes, undated: bool) -> FileEntry {
    FileEntry {
        kind,
        staged: staged.to_string(),
        path: path.into(),
        rows,
        bytes: bytes.len() as u64,
        crc32c: crc32c::crc32c(bytes),
        undated,
    }
}
