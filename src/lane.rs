//! The story of one partition, from where the ledger says it stands to its last commit.
//!
//! Owns: the order of things. Does not own: any of the things; each verb here is a call into a stage.
//! Invariant: strictly sequential in offsets. A segment is committed before the next one is begun.

mod change;
mod cpu;
mod fetch;
mod journal;
mod memory;
pub mod place;
mod rejects;
mod schemas;
mod status;
mod works;

use std::{
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::{Stream, StreamExt};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

pub use self::{
    cpu::{Cpu, Cut},
    fetch::{FetchSettings, Fetched},
    journal::{DATASETS_TOLD_MAX, Journal, OTHER_DATASETS},
    memory::{Memory, Share},
    rejects::{Excess, Percentage, RejectLimit},
    schemas::Writers,
    status::{Standing, Status, Tally, Times},
    works::Works,
};
use self::{place::Extent, rejects::Watch, works::Work};
use crate::{
    broker::{BrokerError, BrokerErrorKind, Partition, Start},
    decode::{DecodeError, Schemas},
    lake::{Claim, FileKind, Fingerprint, LakeError, Ledger, Outcome, Roll, Seen, Segment},
    model::ModelError,
    offset::OffsetRange,
    registry::RegistryError,
    telemetry::meter::Step,
};

/// A lane that is opened again sweeps no sooner after the last time.
const SWEEP_EVERY: Duration = Duration::from_hours(24);

/// The limits of a lane, and of all lanes together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// What all lanes together may hold in memory: fetched records and segments.
    pub memory_bytes_max: usize,
    /// From the first signal to the end of the process.
    pub stop_timeout: Duration,
    /// How long a batch run keeps retrying what a retry may mend. A stream does so for ever, but as long as this when the
    /// store refuses its credentials.
    pub retry_for_max: Duration,
    /// How often a stream looks for new partitions.
    pub partitions_refresh: Duration,
    /// How many batches are decoded, scored and encoded at once.
    pub cpu_threads: usize,
}

/// One partition's lane: everything it works with.
#[derive(Debug)]
pub struct Lane {
    pub topic: Arc<str>,
    pub start: Start,
    pub ledger: Ledger,
    /// How a batch becomes rows; a newly promoted model brings others, which hold from the next segment on.
    pub works: watch::Receiver<Arc<Works>>,
    /// What decodes, scores and encodes, for all lanes together.
    pub cpu: Cpu,
    pub fetch: FetchSettings,
    pub roll: Roll,
    /// When there are so many rejects that a person should look first.
    pub rejects: Option<RejectLimit>,
    /// A batch run ends here; a stream never does.
    pub until: Option<i64>,
    pub stop: CancellationToken,
    pub share: Share,
    pub status: Arc<Status>,
    /// What this lane and all others of the run tell.
    pub journal: Arc<Journal>,
    /// When stale staging was last swept: that needs a listing, which is not made whenever the lane is opened again.
    pub swept: Mutex<Option<Instant>>,
}

#[derive(Debug, thiserror::Error)]
pub enum LaneError {
    #[error(transparent)]
    Broker(#[from] BrokerError),
    #[error(transparent)]
    Lake(#[from] LakeError),
    #[error(transparent)]
    Registry(#[from] RegistryError),
    #[error(transparent)]
    Decode(#[from] DecodeError),
    #[error(transparent)]
    Model(#[from] ModelError),
    #[error("the work on a batch was cut short: {0}")]
    Cut(#[from] Cut),
    /// Law L10.
    #[error(
        "the topic was re-created or truncated: {evidence}. Nothing was skipped. Set `generation = {}` under \
         [lake] to begin a new generation beside the old one", generation + 1
    )]
    Recreated { evidence: String, generation: u32 },
    #[error("this dataset's generation was begun from topic `{begun_from}`, not `{topic}`; choose another dataset")]
    OtherTopic { begun_from: String, topic: String },
    #[error("too many rejects: {0}")]
    TooManyRejects(Box<Excess>),
    #[error("the task that reads the partition ended without a word")]
    ReaderGone,
    #[error(
        "the broker says that there are records from offset {position} up to {end}, and sends none; nothing was skipped. \
         Look at the partition with another reader"
    )]
    Silent { position: i64, end: i64 },
}

impl LaneError {
    /// Whether going on from the ledger may mend it; everything else needs a person.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Broker(error) => error.kind() != BrokerErrorKind::Person,
            Self::Lake(error) => error.is_transient(),
            Self::Registry(error) => error.is_transient(),
            Self::ReaderGone => true,
            _ => false,
        }
    }

    /// Whether the store refused the credentials: worth some tries, not endless ones.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Lake(error) if error.is_refusal())
    }

    /// Who was in the way, as a label: the list is closed.
    #[must_use]
    pub fn cause(&self) -> &'static str {
        match self {
            Self::Broker(_) | Self::ReaderGone | Self::Silent { .. } => "broker",
            Self::Lake(error) if error.is_refusal() => "credentials",
            Self::Lake(_) => "store",
            Self::Registry(_) => "registry",
            Self::Decode(_) | Self::Model(_) | Self::Cut(_) => "program",
            Self::Recreated { .. } | Self::OtherTopic { .. } => "topic",
            Self::TooManyRejects(_) => "rejects",
        }
    }
}

/// Runs the lane from where the ledger stands until it is told to stop, or to `until`.
pub async fn run(lane: &Lane, partition: Arc<Partition>) -> Result<(), LaneError> {
    loop {
        let mark = tokio::select! {
            () = lane.stop.cancelled() => return Ok(()),
            mark = open(lane, &partition) => mark?,
        };
        lane.status.carries();
        let batches = lane.read_ahead(partition.clone(), mark.position);
        match carry(lane, mark, batches).await? {
            Carried::ToTheEnd => return Ok(()),
            Carried::Fenced { at, by } => fenced(lane, at, &by),
        }
    }
}

/// Finds where to go on: the ledger's head, checked against what the broker has.
async fn open(lane: &Lane, partition: &Partition) -> Result<Mark, LaneError> {
    let genesis = match lane.ledger.genesis().await? {
        Some(genesis) => genesis,
        None => lane.ledger.begin(&lane.topic, partition.start_offset(lane.start).await?).await?,
    };
    place::same_name(&genesis, &lane.topic)?;
    loop {
        let head = lane.ledger.head(&genesis).await?;
        if lane.is_to_sweep() {
            lane.ledger.sweep(head.newest.as_ref()).await?;
            *lane.swept() = Some(Instant::now());
        }
        let extent = Extent::of(partition).await?;
        lane.status.opened(head.position, extent.latest, head.seen().map(|seen| seen.timestamp_ms));
        head.newest.iter().for_each(|claim| change::found(lane, claim));
        place::same_topic_still(lane.ledger.id().generation, partition, &head, extent).await?;
        let goal = lane.until.unwrap_or(i64::MAX);
        if extent.earliest <= head.position || head.position >= goal {
            return Ok(Mark { position: head.position, seen: head.seen() });
        }
        claim_gap(lane, OffsetRange { start: head.position, end: extent.earliest.min(goal) }, head.seen()).await?;
    }
}

/// Law L3: offsets that are gone are claimed too, and said.
async fn claim_gap(lane: &Lane, range: OffsetRange, seen: Option<Fingerprint>) -> Result<(), LaneError> {
    let id = lane.ledger.id();
    match lane.ledger.gap(range, seen, "the broker no longer has these offsets (retention)").await? {
        Outcome::Won(claim) => {
            tracing::warn!(lane = %id, offsets = %range, "a gap: these offsets were deleted before they were read");
            metrics::counter!("alluvium_gap_offsets_total").increment(range.len());
            lane.journal.tell("gap", &format!("{id}: offsets {range} were deleted before they were read"));
            lane.status.committed(&claim);
        }
        Outcome::Fenced { by } => fenced(lane, range.start, &by),
    }
    Ok(())
}

/// Law L6: another writer owns what this one had in hand. Nothing is lost but work.
fn fenced(lane: &Lane, at: i64, by: &str) {
    tracing::warn!(lane = %lane.ledger.id(), offset = at, %by, "fenced: another writer has committed these offsets");
    metrics::counter!("alluvium_fences_total").increment(1);
    lane.status.fenced();
    lane.journal.tell("fence", &format!("{}: at offset {at} {by} was first", lane.ledger.id()));
}

/// How far a lane has come: the next offset, and the record that was read last before it.
#[derive(Clone, Copy, Debug)]
struct Mark {
    position: i64,
    seen: Option<Fingerprint>,
}

/// How a lane's batches were carried to the lake.
#[derive(Debug)]
enum Carried {
    ToTheEnd,
    Fenced { at: i64, by: String },
}

/// Why a segment is committed.
#[derive(Debug)]
enum Reason {
    Full,
    Old,
    MemoryShort,
    /// A newly promoted model waits for the next segment.
    NewModel,
    AtEnd,
    Stopped,
    /// Nothing more can be read now; what was read is worth keeping.
    Failed(LaneError),
}

/// Carries batches into segments and segments into the lake, one after the other.
async fn carry(
    lane: &Lane,
    mut mark: Mark,
    batches: impl Stream<Item = Result<Fetched, LaneError>>,
) -> Result<Carried, LaneError> {
    let mut batches = pin!(batches);
    let mut works = lane.works.clone();
    let mut rest = None;
    let mut watch = Watch::new(lane.rejects);
    lane.share.set(0);
    loop {
        let (segment, reason) = fill(lane, mark, &mut works, &mut rest, &mut watch, &mut batches).await?;
        if let Some(segment) = segment {
            match commit(lane, segment, &reason).await? {
                Outcome::Won(claim) => mark = Mark { position: claim.end, seen: claim.fingerprint },
                Outcome::Fenced { by } => return Ok(Carried::Fenced { at: mark.position, by }),
            }
        }
        match reason {
            Reason::Failed(error) => return Err(error),
            Reason::Stopped | Reason::AtEnd => return Ok(Carried::ToTheEnd),
            Reason::Full | Reason::Old | Reason::MemoryShort | Reason::NewModel => {}
        }
    }
}

/// Fills a segment until there is a reason to commit it; none is begun before there is something to put into it. What
/// didn't fit stays in `rest` for the next one.
async fn fill(
    lane: &Lane,
    mark: Mark,
    works: &mut watch::Receiver<Arc<Works>>,
    rest: &mut Option<Work>,
    rejects: &mut Watch,
    batches: &mut (impl Stream<Item = Result<Fetched, LaneError>> + Unpin),
) -> Result<(Option<Segment>, Reason), LaneError> {
    let mut work = match rest.take() {
        Some(rest) => rest,
        None if lane.is_done_at(mark.position) => return Ok((None, Reason::AtEnd)),
        None => match first(lane, batches).await {
            Ok(work) => work,
            Err(reason) => return Ok((None, reason)),
        },
    };
    let old_at = Instant::now() + lane.roll.age_max;
    // Whatever is promoted from here on, one version scores the whole segment.
    let current = works.borrow_and_update().clone();
    lane.status.begun(work.first_ms());
    let segment = Segment::new(lane.ledger.id().clone(), current.layout.clone(), mark.position);
    let mut segment = segment.after(mark.seen);
    loop {
        let schemas = match schemas(lane, &current, &work).await {
            Ok(schemas) => schemas,
            // What was read before is worth keeping; this batch is read again.
            Err(reason) => return Ok(((segment.range().end > mark.position).then_some(segment), reason)),
        };
        let before = segment.counts();
        (segment, *rest) = take_in(lane, current.clone(), segment, work, schemas).await?;
        rejects.take(lane.ledger.id(), &lane.status, before, &segment)?;
        lane.status.reached(segment.range().end);
        let full = segment.rows() >= lane.roll.rows_max || segment.memory() >= lane.roll.bytes_max;
        if full || rest.is_some() {
            return Ok((Some(segment), Reason::Full));
        }
        if lane.is_done_at(segment.range().end) {
            return Ok((Some(segment), Reason::AtEnd));
        }
        work = match next(lane, old_at, works, batches).await {
            Ok(work) => work,
            Err(reason) => return Ok((Some(segment), reason)),
        };
    }
}

/// A segment's first batch, or the reason not to wait for it.
async fn first(
    lane: &Lane,
    batches: &mut (impl Stream<Item = Result<Fetched, LaneError>> + Unpin),
) -> Result<Work, Reason> {
    tokio::select! {
        biased;
        () = lane.stop.cancelled() => Err(Reason::Stopped),
        next = batches.next() => lane.work(next),
    }
}

/// A segment's next batch, or the reason to commit it without.
async fn next(
    lane: &Lane,
    old_at: Instant,
    works: &mut watch::Receiver<Arc<Works>>,
    batches: &mut (impl Stream<Item = Result<Fetched, LaneError>> + Unpin),
) -> Result<Work, Reason> {
    tokio::select! {
        biased;
        () = lane.stop.cancelled() => Err(Reason::Stopped),
        () = lane.share.pressed() => Err(Reason::MemoryShort),
        () = sleep_until(old_at) => Err(Reason::Old),
        Ok(()) = works.changed() => Err(Reason::NewModel),
        next = batches.next() => lane.work(next),
    }
}

impl Lane {
    fn read_ahead(
        &self,
        partition: Arc<Partition>,
        position: i64,
    ) -> impl Stream<Item = Result<Fetched, LaneError>> + use<> {
        let (status, steps) = (self.status.clone(), self.journal.steps.clone());
        fetch::read_ahead(partition, position, self.fetch.clone(), status, steps)
    }

    fn is_to_sweep(&self) -> bool {
        self.swept().is_none_or(|swept| swept.elapsed() >= SWEEP_EVERY)
    }

    fn swept(&self) -> MutexGuard<'_, Option<Instant>> {
        self.swept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_done_at(&self, position: i64) -> bool {
        self.until.is_some_and(|until| position >= until)
    }

    fn work(&self, next: Option<Result<Fetched, LaneError>>) -> Result<Work, Reason> {
        match next {
            Some(Ok(fetched)) => Ok(Work::Fetched(fetched.until(self.until))),
            Some(Err(error)) => Err(Reason::Failed(error)),
            None => Err(Reason::Failed(LaneError::ReaderGone)),
        }
    }
}

/// What a batch can't be decoded without, or the reason not to wait for it.
async fn schemas(lane: &Lane, works: &Arc<Works>, work: &Work) -> Result<Schemas, Reason> {
    tokio::select! {
        biased;
        () = lane.stop.cancelled() => Err(Reason::Stopped),
        schemas = works.schemas_for(work) => schemas.map_err(|error| Reason::Failed(error.into())),
    }
}

/// Decodes, scores and encodes a batch, away from the async threads.
async fn take_in(
    lane: &Lane,
    works: Arc<Works>,
    mut segment: Segment,
    mut work: Work,
    schemas: Schemas,
) -> Result<(Segment, Option<Work>), LaneError> {
    let now_ms = chrono::Utc::now().timestamp_millis();
    let memory = work.take_memory();
    let steps = lane.journal.steps.clone();
    let work = lane.cpu.run(move || {
        let left = works.append(&mut segment, work, &schemas, now_ms, &steps)?;
        Ok::<_, LaneError>((segment, left))
    });
    let (segment, left) = work.await??;
    lane.share.take_over(memory, segment.memory());
    Ok((segment, left))
}

async fn commit(lane: &Lane, mut segment: Segment, reason: &Reason) -> Result<Outcome, LaneError> {
    let seen = segment.take_seen();
    let steps = lane.journal.steps.clone();
    let finished = lane.cpu.run(move || {
        let began = std::time::Instant::now();
        let finished = segment.finish();
        steps.record(Step::Encode, began.elapsed());
        finished
    });
    let finished = finished.await??;
    let outcome = lane.ledger.commit(finished).await?;
    lane.share.set(0);
    if let Outcome::Won(claim) = &outcome {
        committed(lane, claim, reason, seen);
    }
    Ok(outcome)
}

fn committed(lane: &Lane, claim: &Claim, reason: &Reason, seen: Seen) {
    tracing::debug!(lane = %lane.ledger.id(), offsets = %claim.range(), ?reason, files = claim.files.len(), "committed");
    metrics::counter!("alluvium_segments_total").increment(1);
    metrics::counter!("alluvium_records_total", "outcome" => "scored").increment(claim.counts.scored);
    metrics::counter!("alluvium_records_total", "outcome" => "rejected").increment(claim.counts.rejected);
    metrics::counter!("alluvium_records_total", "outcome" => "filtered").increment(claim.counts.filtered);
    metrics::counter!("alluvium_further_rows_total").increment(claim.counts.further_rows);
    for (kind, folder) in [(FileKind::Scored, "scored"), (FileKind::Rejected, "rejected")] {
        let files = claim.files.iter().filter(|file| file.kind == kind);
        metrics::counter!("alluvium_written_bytes_total", "kind" => folder)
            .increment(files.map(|file| file.bytes).sum());
    }
    lane.status.committed(claim);
    lane.journal.committed(lane.ledger.id(), claim, seen);
    change::committed(lane, claim);
}

#[cfg(test)]
mod tests;
