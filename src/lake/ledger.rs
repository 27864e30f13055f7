//! The ledger of one partition: who owns which offsets. Stage, claim, publish.
//!
//! Owns: the order of the steps of a commit, and what follows from every way they can fail.
//! Invariant: claims tile `[genesis, head)` with no gap and no overlap, and only the newest can be unpublished.
//!
//! | a crash after…      | leaves                       | the next start                                     |
//! |---------------------|------------------------------|----------------------------------------------------|
//! | staging             | files that nobody reads      | reads the records again; a sweep has the files     |
//! | the claim           | a claim with staged files    | publishes them before anything else                |
//! | some files' publish | the rest still staged        | publishes the rest                                 |
//! | publishing          | an older hint                | walks one claim further                            |

use std::{
    error::Error,
    future::ready,
    pin::pin,
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use chrono::Utc;
use futures::{Stream, StreamExt, TryStreamExt, stream};
use object_store::path::Path;
use serde::{Serialize, de::DeserializeOwned};
use tokio::time::{Instant, sleep, timeout};
use uuid::Uuid;

use super::{
    Claim, Counts, Expiries, FileEntry, Fingerprint, Finished, Genesis, Kind, LakeError, Store,
    claim::FORMAT,
    names,
    store::{ANSWER_WAIT_MAX, Published},
};
use crate::{
    offset::{LaneId, OffsetRange},
    telemetry::meter::{Step, Steps},
};

/// A writer doesn't claim with staging older than this…
const ATTEMPT_AGE_MAX: Duration = Duration::from_hours(1);
/// …and only staging older than this is swept, so that no claim can name files that were swept.
pub(super) const STALE_STAGING_AGE: chrono::TimeDelta = chrono::TimeDelta::hours(24);
/// How often a claim is sent while its outcome stays unknown.
const CLAIM_TRIES_MAX: u32 = 8;
/// …and for how long, if every answer takes its time.
const CLAIM_SETTLE_MAX: Duration = Duration::from_mins(1);
const CLAIM_RETRY_WAIT: Duration = Duration::from_millis(50);
const CLAIM_RETRY_WAIT_MAX: Duration = Duration::from_secs(2);
/// Files of one segment on their way at once.
pub(super) const UPLOADS_MAX: usize = 4;

#[derive(Clone, Debug)]
pub struct Ledger {
    pub(super) store: Store,
    pub(super) id: LaneId,
    /// Names this process in claims, for people.
    pub(super) writer: Arc<str>,
    /// Who is told how long the steps of a commit take.
    steps: Option<Arc<Steps>>,
}

/// An object that is to be created once.
pub(super) struct Attempt<'a> {
    pub(super) path: &'a Path,
    pub(super) json: Bytes,
    pub(super) id: Uuid,
    /// Of the claim, for people.
    pub(super) start: i64,
    /// When its staging was begun.
    pub(super) began: SystemTime,
}

/// Whose an object of the ledger is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) attempt: Uuid,
    pub(super) writer: String,
}

/// Where a partition stands.
#[derive(Clone, Debug)]
pub struct Head {
    /// The next offset that nobody owns.
    pub position: i64,
    pub newest: Option<Claim>,
}

impl Head {
    /// The record that was read last, as far as the ledger tells.
    #[must_use]
    pub fn seen(&self) -> Option<Fingerprint> {
        self.newest.as_ref().and_then(|claim| claim.fingerprint)
    }
}

/// How a commit ended.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// Ours, and visible to readers.
    Won(Box<Claim>),
    /// Another writer owns these offsets.
    Fenced { by: String },
}

impl Ledger {
    #[must_use]
    pub fn new(store: Store, id: LaneId, writer: Arc<str>) -> Self {
        Self { store, id, writer, steps: None }
    }

    /// The same, which tells how long its steps take.
    #[must_use]
    pub fn timed(self, steps: Arc<Steps>) -> Self {
        Self { steps: Some(steps), ..self }
    }

    #[must_use]
    pub fn id(&self) -> &LaneId {
        &self.id
    }

    /// Where the partition's claims begin, if it has begun.
    pub async fn genesis(&self) -> Result<Option<Genesis>, LakeError> {
        self.read_json(&names::genesis(&self.id)).await
    }

    /// Begins the partition at `start`, unless somebody has: then theirs holds.
    pub async fn begin(&self, topic: &str, start: i64) -> Result<Genesis, LakeError> {
        let genesis = Genesis {
            format: FORMAT,
            start,
            topic: topic.into(),
            writer: self.writer.to_string(),
            created: Utc::now(),
        };
        let path = names::genesis(&self.id);
        let created = self.store.create(&path, to_json(&genesis, &path)?).await;
        match (self.genesis().await?, created) {
            (Some(standing), _) => Ok(standing),
            (None, Err(error)) => Err(error),
            (None, Ok(())) => Err(LakeError::Corrupt { path, reason: "was created and can't be found".into() }),
        }
    }

    /// Finds the newest claim and finishes its publishing; from then on its end is the position.
    pub async fn head(&self, genesis: &Genesis) -> Result<Head, LakeError> {
        let head = self.look(genesis).await?;
        if let Some(claim) = &head.newest {
            self.publish(claim).await?;
            self.leave_hint(claim).await;
        }
        Ok(head)
    }

    /// Finds the newest claim, for one who only reads: it is left as it is, published or not.
    pub async fn look(&self, genesis: &Genesis) -> Result<Head, LakeError> {
        let mut position = match self.hinted().await? {
            Some(start) => start,
            None => self.newest_listed().await?.unwrap_or(genesis.start),
        };
        let mut newest = None;
        while let Some(claim) = self.claim_at(position).await? {
            position = claim.end;
            newest = Some(claim);
        }
        Ok(Head { position, newest })
    }

    /// Stages a finished segment, claims its offsets and publishes it.
    pub async fn commit(&self, segment: Finished) -> Result<Outcome, LakeError> {
        let began = SystemTime::now();
        let attempt = Uuid::new_v4();
        let (counts, range, fingerprint, model) =
            (segment.counts, segment.range, segment.fingerprint, segment.model.clone());
        let files = self.timing(Step::Stage, self.stage(attempt, segment)).await?;
        let claim =
            Claim { model: Some(model), files, ..self.draft(range, Kind::Segment, attempt, counts, fingerprint) };
        self.settle(claim, began).await
    }

    /// Claims offsets that the broker doesn't have any more; `seen` is the record that was read last before them.
    pub async fn gap(&self, range: OffsetRange, seen: Option<Fingerprint>, reason: &str) -> Result<Outcome, LakeError> {
        let counts = Counts { absent: range.len(), ..Counts::default() };
        let kind = Kind::Gap { reason: reason.into() };
        self.settle(self.draft(range, kind, Uuid::new_v4(), counts, seen), SystemTime::now()).await
    }

    /// Removes staging that no live writer can still want.
    pub async fn sweep(&self, newest: Option<&Claim>) -> Result<usize, LakeError> {
        let mut swept = 0;
        let mut stale = pin!(self.stale(newest));
        while let Some(path) = stale.try_next().await? {
            self.store.remove(&path).await;
            swept += 1;
        }
        Ok(swept)
    }

    /// How many objects a sweep would remove.
    pub async fn stale_staging(&self, newest: Option<&Claim>) -> Result<usize, LakeError> {
        self.stale(newest).try_fold(0, |count, _| ready(Ok(count + 1))).await
    }

    /// Staging so old that nobody will claim it, but for that of the newest claim and of revisions that are not published.
    fn stale(&self, newest: Option<&Claim>) -> impl Stream<Item = Result<Path, LakeError>> + use<'_> {
        let folder = names::staging_of(&self.id);
        let kept = newest.map(|claim| names::staging(&self.id, claim.attempt));
        let stale_since = Utc::now() - STALE_STAGING_AGE;
        self.store.list(&folder).try_filter_map(move |object| {
            let kept = kept.as_ref().is_some_and(|kept| object.location.prefix_matches(kept));
            let stale = (object.last_modified < stale_since && !kept).then_some(object.location);
            async move {
                match stale {
                    Some(path) if self.is_of_a_revision(&path).await? => Ok(None),
                    stale => Ok(stale),
                }
            }
        })
    }

    /// How many files of a claim are still in staging.
    pub async fn unpublished(&self, claim: &Claim) -> Result<usize, LakeError> {
        let mut staged = 0;
        for file in &claim.files {
            staged += usize::from(self.store.has(&Path::from(file.staged.as_str())).await?);
        }
        Ok(staged)
    }

    async fn timing<T>(&self, step: Step, work: impl Future<Output = T>) -> T {
        let began = Instant::now();
        let done = work.await;
        self.steps.iter().for_each(|steps| steps.record(step, began.elapsed()));
        done
    }

    fn draft(
        &self,
        range: OffsetRange,
        kind: Kind,
        attempt: Uuid,
        counts: Counts,
        fingerprint: Option<Fingerprint>,
    ) -> Claim {
        Claim {
            format: FORMAT,
            start: range.start,
            end: range.end,
            kind,
            attempt,
            writer: self.writer.to_string(),
            committed: Utc::now(),
            model: None,
            counts,
            fingerprint,
            files: vec![],
        }
    }

    /// Writes the segment's files where nobody reads.
    async fn stage(&self, attempt: Uuid, segment: Finished) -> Result<Vec<FileEntry>, LakeError> {
        let folder = names::staging(&self.id, attempt);
        let start = segment.range.start;
        let uploads = segment.files.into_iter().enumerate().map(|(n, file)| {
            let staged = folder.clone().join(format!("{n:04}.parquet"));
            let path = names::data_file(file.kind, &self.id, file.bucket, start);
            async move {
                let entry = FileEntry {
                    kind: file.kind,
                    staged: staged.to_string(),
                    path: path.to_string(),
                    rows: file.rows,
                    bytes: file.bytes.len() as u64,
                    crc32c: file.crc32c,
                    undated: file.undated,
                };
                self.store.write(&staged, file.bytes).await.map(|()| entry)
            }
        });
        stream::iter(uploads).buffered(UPLOADS_MAX).try_collect().await
    }

    /// Claims, and does what the answer asks for.
    async fn settle(&self, claim: Claim, began: SystemTime) -> Result<Outcome, LakeError> {
        match self.timing(Step::Claim, self.claim(&claim, began)).await? {
            None => {
                self.timing(Step::Publish, self.publish(&claim)).await?;
                self.leave_hint(&claim).await;
                Ok(Outcome::Won(Box::new(claim)))
            }
            Some(rival) => {
                self.drop_staging(claim.attempt, &claim.files).await;
                Ok(Outcome::Fenced { by: rival.writer })
            }
        }
    }

    /// The one commit point. `None` means won, else the claim that stands there.
    async fn claim(&self, claim: &Claim, began: SystemTime) -> Result<Option<Stamp>, LakeError> {
        let path = names::claim(&self.id, claim.start);
        let attempt =
            Attempt { path: &path, json: to_json(claim, &path)?, id: claim.attempt, start: claim.start, began };
        self.create_once(attempt, || self.claim_stamp(claim.start)).await
    }

    async fn claim_stamp(&self, start: i64) -> Result<Option<Stamp>, LakeError> {
        let standing = self.claim_at(start).await?;
        Ok(standing.map(|claim| Stamp { attempt: claim.attempt, writer: claim.writer }))
    }

    /// Creates an object of the ledger that can be created only once. `None` means that it is ours, else whose it is.
    ///
    /// Any answer but Ok says nothing for certain: a retry below us may have collided with our own write, and a timeout
    /// may hide a write that landed. So the object itself is asked.
    pub(super) async fn create_once<F: Future<Output = Result<Option<Stamp>, LakeError>>>(
        &self,
        attempt: Attempt<'_>,
        look: impl Fn() -> F,
    ) -> Result<Option<Stamp>, LakeError> {
        let Attempt { path, json, id, start, began } = attempt;
        let (settling, mut wait, mut tries) = (Instant::now(), CLAIM_RETRY_WAIT, 0);
        loop {
            if began.elapsed().map_or(true, |age| age > ATTEMPT_AGE_MAX) {
                return Err(self.abandoned(start, "its staging has become too old to be claimed", None));
            }
            let Err(error) = self.store.create(path, json.clone()).await else { return Ok(None) };
            match look().await {
                Ok(Some(standing)) if standing.attempt == id => return Ok(None),
                Ok(Some(standing)) => return Ok(Some(standing)),
                Err(hopeless) if !hopeless.is_transient() || hopeless.is_refusal() => return Err(hopeless),
                Ok(None) | Err(_) => {}
            }
            // Whether it landed all the same, the ledger says to whoever opens the partition next.
            if error.is_refusal() {
                return Err(error);
            }
            tries += 1;
            if tries == CLAIM_TRIES_MAX || settling.elapsed() > CLAIM_SETTLE_MAX {
                return Err(self.abandoned(start, "the store gave no answer that settles it", Some(error)));
            }
            tracing::warn!(lane = %self.id, error = &error as &dyn Error, "claim not settled; sending it again");
            sleep(wait).await;
            wait = (wait * 2).min(CLAIM_RETRY_WAIT_MAX);
        }
    }

    fn abandoned(&self, start: i64, reason: &'static str, last: Option<LakeError>) -> LakeError {
        LakeError::Abandoned { id: self.id.clone(), start, reason, source: last.map(Box::new) }
    }

    /// Moves every file of a claim to its final name; any writer may do it, any number of times.
    pub(super) async fn publish(&self, claim: &Claim) -> Result<(), LakeError> {
        for file in &claim.files {
            let (staged, path) = (Path::from(file.staged.as_str()), Path::from(file.path.as_str()));
            let missing = self.store.publish(&staged, &path).await? == Published::Missing;
            if missing && !self.is_revised(claim, file).await && !self.is_expired(claim, file).await {
                tracing::warn!(lane = %self.id, %path, "a file of the newest claim is gone, and no note says that it was expired");
            }
        }
        self.store.remove_empty_folder(&names::staging(&self.id, claim.attempt)).await;
        Ok(())
    }

    /// Whether a note says that the file was deleted by policy; notes that can't be read say nothing.
    pub(super) async fn is_expired(&self, claim: &Claim, file: &FileEntry) -> bool {
        let reading = Expiries::read(self.store.objects().as_ref(), &self.id.dataset);
        let Ok(Ok(notes)) = timeout(ANSWER_WAIT_MAX, reading).await else { return false };
        notes.covering(&self.id, claim, file).is_some()
    }

    pub(super) async fn drop_staging<'a>(&self, attempt: Uuid, files: impl IntoIterator<Item = &'a FileEntry>) {
        for file in files {
            self.store.remove(&Path::from(file.staged.as_str())).await;
        }
        self.store.remove_empty_folder(&names::staging(&self.id, attempt)).await;
    }

    /// The claim that starts there, if there is one.
    pub async fn claim_at(&self, start: i64) -> Result<Option<Claim>, LakeError> {
        let path = names::claim(&self.id, start);
        let Some(claim) = self.read_json::<Claim>(&path).await? else { return Ok(None) };
        let corrupt = |reason: String| Err(LakeError::Corrupt { path: path.clone(), reason });
        if claim.start != start {
            return corrupt(format!("says that it starts at {}", claim.start));
        }
        if claim.end <= claim.start {
            return corrupt(format!("covers nothing: {}", claim.range()));
        }
        Ok(Some(claim))
    }

    /// The hint, if the claim it names exists.
    async fn hinted(&self) -> Result<Option<i64>, LakeError> {
        let Ok(Some(bytes)) = self.store.read(&names::hint(&self.id)).await else { return Ok(None) };
        let Ok(hint) = serde_json::from_slice::<Hint>(&bytes) else { return Ok(None) };
        Ok(self.claim_at(hint.start).await?.map(|claim| claim.start))
    }

    async fn newest_listed(&self) -> Result<Option<i64>, LakeError> {
        let folder = names::ledger(&self.id);
        let listing = self.store.list(&folder);
        let starts = listing.try_filter_map(|object| async move { Ok(names::claim_start(&object.location)) });
        starts.try_fold(None, |newest, start| async move { Ok(newest.max(Some(start))) }).await
    }

    /// Spares the next start the listing; nothing depends on it.
    async fn leave_hint(&self, claim: &Claim) {
        let path = names::hint(&self.id);
        let hint = Hint { start: claim.start };
        if let Ok(json) = to_json(&hint, &path)
            && let Err(error) = self.store.write_loosely(&path, json).await
        {
            tracing::debug!(lane = %self.id, %error, "the hint was not written");
        }
    }

    pub(super) async fn read_json<T: DeserializeOwned>(&self, path: &Path) -> Result<Option<T>, LakeError> {
        let Some(bytes) = self.store.read(path).await? else { return Ok(None) };
        parse(&bytes).map(Some).map_err(|reason| LakeError::Corrupt { path: path.clone(), reason })
    }
}

#[derive(Serialize, serde::Deserialize)]
struct Hint {
    start: i64,
}

/// Reads an object of the ledger, unless a newer release wrote it.
pub(crate) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    #[derive(serde::Deserialize)]
    struct Versioned {
        format: u32,
    }
    let versioned: Versioned = serde_json::from_slice(bytes).map_err(|e| format!("can't be read: {e}"))?;
    if versioned.format > FORMAT {
        let found = versioned.format;
        return Err(format!("has format {found}, and this release reads up to {FORMAT}: use a newer release"));
    }
    serde_json::from_slice(bytes).map_err(|e| format!("can't be read: {e}"))
}

pub(crate) fn to_json(value: &impl Serialize, path: &Path) -> Result<Bytes, LakeError> {
    let json = serde_json::to_vec_pretty(value);
    json.map(Bytes::from).map_err(|e| LakeError::Corrupt { path: path.clone(), reason: e.to_string() })
}
