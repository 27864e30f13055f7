//! Takes rejects from the lake through the pipeline of now.
//!
//! Owns: which rejects are tried, claim by claim, and what follows from each outcome. Does not own: decoding and scoring
//! ([`crate::lane::Works`]), the files ([`crate::lake::Recast`]), the commit (`lake::revise`).
//! Invariant: a claim's revision is settled before its rejects are read, so that nothing is taken twice.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, SystemTime},
};

use futures::{StreamExt, TryStreamExt, stream};
use serde::Serialize;
use tokio::{
    sync::Semaphore,
    time::{Instant, sleep},
};

use super::{PipelineError, Settings, models::Models};
use crate::{
    decode::Schemas,
    lake::{
        FileEntry, FileKind, Held, HeldFile, LakeError, LakeSettings, Ledger, Place, Recast, Recasted, RejectFiles,
        Rejected, RejectedFile, Revised, Store, Wanted,
    },
    lane::{Cpu, LaneError, Works},
    offset::{LaneId, OffsetRange},
    record::Batch,
    telemetry::chain,
};

/// Claims that are worked on at once, if there are as many threads; what they take together stays within the memory budget.
const CLAIMS_AT_ONCE: usize = 4;
/// How often a claim is looked at again that others revise at the same time, or that needs several revisions.
const LOOKS_MAX: u32 = 1000;
/// Between tries of a claim whose store failed; doubles up to the other.
const RETRY_WAIT: Duration = Duration::from_millis(200);
const RETRY_WAIT_MAX: Duration = Duration::from_secs(15);
/// What could not be taken is told this often.
const KEPT_TOLD_MAX: usize = 20;
/// A claim's rejects are in memory as they were, as what stays of them, and as rows.
const MEMORY_FOR_EACH_BYTE: u64 = 3;
const KIB: u64 = 1 << 10;

/// Which rejects are to be tried once more.
#[derive(Debug)]
pub struct Replay<'a> {
    /// The pipeline as it is now.
    pub settings: &'a Settings,
    pub store: &'a Store,
    pub dataset: &'a str,
    pub wanted: Wanted,
    /// Only tell what would become of them.
    pub dry_run: bool,
    /// Who does it, for people.
    pub writer: Arc<str>,
}

/// What a replay did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Replayed {
    /// Claims that have rejects, or had.
    pub claims: u64,
    /// Rejects that were tried.
    pub taken: u64,
    /// …and became rows.
    pub scored: u64,
    /// …and are nothing that is to be scored.
    pub filtered: u64,
    /// …and stay, by what is wrong with them now.
    pub still_rejected: BTreeMap<&'static str, u64>,
    /// Rejects that were not asked for.
    pub left_out: u64,
    pub revisions: u64,
    /// Revisions that had been cut short, and were finished.
    pub finished: u64,
    /// Times that another replay was first.
    pub fences: u64,
    /// Files of rejects that were deleted by policy.
    pub expired_files: u64,
    /// What could not be tried, and why.
    pub kept: Vec<String>,
}

/// How far a replay has come.
#[derive(Clone, Copy, Debug, Default)]
pub struct Replaying {
    pub claims_done: u64,
    /// As many as are known of.
    pub claims_total: u64,
}

/// One look at a claim's rejects.
#[derive(Debug, Default)]
struct Pass {
    scored: u64,
    filtered: u64,
    still_rejected: BTreeMap<&'static str, u64>,
    left_out: u64,
    expired_files: u64,
    kept: Vec<String>,
}

/// What a look led to.
enum Looked {
    /// A file of rejects was replaced meanwhile.
    Changed,
    Tried {
        pass: Box<Pass>,
        made: Option<Box<Recasted>>,
    },
}

/// What is shared by all claims of a run.
struct Hands {
    cpu: Cpu,
    memory_kib: u32,
    memory: Semaphore,
    told: Mutex<Replayed>,
    done: AtomicU64,
    total: AtomicU64,
}

impl Replay<'_> {
    pub async fn run(&self, progress: impl Fn(Replaying) + Sync) -> Result<Replayed, PipelineError> {
        if !self.dry_run {
            self.store.probe().await?;
        }
        let memory_kib = u32::try_from(self.settings.limits.memory_bytes_max as u64 / KIB).unwrap_or(u32::MAX);
        let hands = Hands {
            cpu: Cpu::new(self.settings.limits.cpu_threads).map_err(PipelineError::Threads)?,
            memory_kib,
            memory: Semaphore::new(memory_kib as usize),
            told: Mutex::default(),
            done: AtomicU64::new(0),
            total: AtomicU64::new(0),
        };
        let mut files = RejectFiles::of(self.store, self.dataset);
        loop {
            let places = files.more().await?;
            if places.is_empty() {
                break;
            }
            self.places(&hands, places, &progress).await?;
        }
        Ok(hands.told.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    async fn places(
        &self,
        hands: &Hands,
        places: BTreeSet<Place>,
        progress: &(impl Fn(Replaying) + Sync),
    ) -> Result<(), PipelineError> {
        let wanted: Vec<Place> =
            places.into_iter().filter(|(_, partition, _)| self.wanted.takes_partition(*partition)).collect();
        hands.total.fetch_add(wanted.len() as u64, Relaxed);
        for generation in wanted.chunk_by(|one, next| one.0 == next.0) {
            let Some((number, ..)) = generation.first() else { continue };
            let works = self.works(*number).await?;
            let claims = stream::iter(generation.to_vec()).map(|place| self.patiently(hands, works.clone(), place));
            let at_once = CLAIMS_AT_ONCE.min(self.settings.limits.cpu_threads.max(1));
            let mut claims = claims.buffer_unordered(at_once);
            while claims.try_next().await?.is_some() {
                let claims_done = hands.done.fetch_add(1, Relaxed) + 1;
                progress(Replaying { claims_done, claims_total: hands.total.load(Relaxed) });
            }
        }
        Ok(())
    }

    /// Decoder, model and columns of now, for rows of that generation.
    async fn works(&self, generation: u32) -> Result<Arc<Works>, PipelineError> {
        let lake = LakeSettings { generation, ..self.settings.lake.clone() };
        let models = Models::load(&Settings { lake, ..self.settings.clone() }).await?;
        let works = models.works().borrow().clone();
        Ok(works)
    }

    /// Goes through one claim; what a retry may mend is tried again for a while.
    async fn patiently(&self, hands: &Hands, works: Arc<Works>, place: Place) -> Result<(), PipelineError> {
        let (began, mut wait) = (Instant::now(), RETRY_WAIT);
        let (generation, partition, start) = place;
        let id = LaneId { dataset: self.dataset.into(), generation, partition };
        let ledger = Ledger::new(self.store.clone(), id, self.writer.clone());
        loop {
            match self.claim(hands, &works, &ledger, start).await {
                Ok(()) => return Ok(()),
                Err(LaneError::Lake(LakeError::Corrupt { path, reason })) => {
                    let id = ledger.id();
                    let why = format!("the rejects of {id} at {start} are left alone, for {path}: {reason}");
                    hands.tell(|told| told.keep(why));
                    return Ok(());
                }
                Err(error) if error.is_transient() && began.elapsed() < self.settings.limits.retry_for_max => {
                    tracing::warn!(lane = %ledger.id(), start, error = chain(&error), "trying again in {wait:?}");
                    sleep(wait).await;
                    wait = (wait * 2).min(RETRY_WAIT_MAX);
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    async fn claim(&self, hands: &Hands, works: &Arc<Works>, ledger: &Ledger, start: i64) -> Result<(), LaneError> {
        for _ in 0..LOOKS_MAX {
            // A file that no claim names is the audit's to tell.
            let Some(claim) = ledger.claim_at(start).await? else { return Ok(()) };
            let held = ledger.held(claim).await?;
            if !self.dry_run && ledger.settle_held(&held).await? {
                hands.tell(|told| told.finished += 1);
            }
            let began = SystemTime::now();
            let Looked::Tried { mut pass, made } = self.look(hands, works, ledger, &held).await? else { continue };
            let is_cut = made.as_ref().is_some_and(|made| made.is_cut);
            if let Some(made) = made {
                (pass.scored, pass.filtered) = made.moved();
                match ledger.revise(&held, *made, began).await? {
                    Revised::Won(revision) => {
                        tracing::info!(lane = %ledger.id(), start, revision = revision.number, rows = pass.scored, "rejects became rows");
                    }
                    Revised::Fenced { by } => {
                        tracing::info!(lane = %ledger.id(), start, %by, "another replay was first; looking again");
                        hands.tell(|told| told.fences += 1);
                        continue;
                    }
                }
                hands.tell(|told| told.revisions += 1);
            }
            hands.tell(|told| told.add(*pass, is_cut));
            if !is_cut {
                return Ok(());
            }
        }
        let why = format!("the rejects of {} at {start} were given up after {LOOKS_MAX} looks", ledger.id());
        hands.tell(|told| told.keep(why));
        Ok(())
    }

    /// Tries the rejects that the claim holds now.
    async fn look(&self, hands: &Hands, works: &Arc<Works>, ledger: &Ledger, held: &Held) -> Result<Looked, LaneError> {
        let mut pass = Pass::default();
        let all = held.files();
        let files: Vec<_> = all.iter().filter(|file| file.entry.kind == FileKind::Rejected).collect();
        let bytes: u64 = files.iter().map(|file| file.entry.bytes).sum();
        let needed_kib = u32::try_from(bytes.saturating_mul(MEMORY_FOR_EACH_BYTE).div_ceil(KIB)).unwrap_or(u32::MAX);
        if needed_kib > hands.memory_kib {
            let needed = u64::from(needed_kib) * KIB;
            let (id, start) = (ledger.id(), held.claim.start);
            pass.kept.push(format!(
                "the rejects of {id} at {start} need {needed} bytes of memory: raise `memory` under [limits] to as much"
            ));
            return Ok(Looked::Tried { pass: Box::new(pass), made: None });
        }
        let _room = hands.memory.acquire_many(needed_kib).await;
        let room = self.settings.lake.roll.bytes_max;
        let mut recast = (!self.dry_run).then(|| Recast::new(ledger.id().clone(), works.layout.clone(), room));
        for file in files {
            if !self.wanted.takes_file(file.entry) {
                pass.left_out += file.entry.rows;
                continue;
            }
            let Some(bytes) = ledger.read_held(file).await? else {
                if ledger.held(held.claim.clone()).await?.number() != held.number() {
                    return Ok(Looked::Changed);
                }
                self.missing(ledger, held, file, &mut pass).await;
                continue;
            };
            let reading = RejectedFile::open(&file.entry.path.as_str().into(), bytes)?;
            let trial = Trial { works: works.clone(), wanted: self.wanted.clone(), recast, pass };
            (recast, pass) = trial.file(&hands.cpu, reading, file.entry).await?;
        }
        let made = match recast {
            Some(recast) => hands.cpu.run(move || recast.finish()).await??,
            None => None,
        };
        Ok(Looked::Tried { pass: Box::new(pass), made: made.map(Box::new) })
    }

    async fn missing(&self, ledger: &Ledger, held: &Held, file: &HeldFile<'_>, pass: &mut Pass) {
        if ledger.is_expired_of(held, file).await {
            pass.expired_files += 1;
        } else {
            let path = &file.entry.path;
            pass.kept.push(format!("{path} is missing, or is not what the ledger says: `alluvium audit` tells more"));
        }
    }
}

/// One file of rejects on its way through the pipeline.
struct Trial {
    works: Arc<Works>,
    wanted: Wanted,
    /// Without it, nothing is made of what passes.
    recast: Option<Recast>,
    pass: Pass,
}

impl Trial {
    /// Gives back what was made, and what came of it.
    async fn file(
        mut self,
        cpu: &Cpu,
        mut reading: RejectedFile,
        entry: &FileEntry,
    ) -> Result<(Option<Recast>, Pass), LaneError> {
        if let Some(recast) = &mut self.recast {
            recast.open(entry)?;
        }
        let now_ms = chrono::Utc::now().timestamp_millis();
        loop {
            let some;
            (reading, some) = cpu
                .run(move || {
                    let some = reading.some();
                    (reading, some)
                })
                .await?;
            let Some(rejected) = some? else { return Ok((self.recast, self.pass)) };
            let (tried, batch) = self.chosen(&rejected);
            let schemas = self.works.schemas(&batch.records).await?;
            self = cpu.run(move || self.some(&rejected, &tried, batch, &schemas, now_ms)).await??;
        }
    }

    /// The rejects that were asked for: where they stand among these, and as the broker gave them.
    fn chosen(&mut self, rejected: &Rejected) -> (Vec<u32>, Batch) {
        let rows = 0..rejected.records.len();
        let tried: Vec<usize> = rows.filter(|&row| self.wanted.takes(rejected, row)).collect();
        self.pass.left_out += (rejected.records.len() - tried.len()) as u64;
        let records: Vec<_> = tried.iter().filter_map(|&row| rejected.records.get(row)).cloned().collect();
        let ends = records.first().zip(records.last()).map(|(first, last)| (first.offset, last.offset + 1));
        let (start, end) = ends.unwrap_or_default();
        let batch = Batch { records, range: OffsetRange { start, end }, high_watermark: end };
        (tried.iter().filter_map(|&row| u32::try_from(row).ok()).collect(), batch)
    }

    fn some(
        mut self,
        rejected: &Rejected,
        tried: &[u32],
        batch: Batch,
        schemas: &Schemas,
        now_ms: i64,
    ) -> Result<Self, LaneError> {
        let scored = self.works.score(batch, schemas, now_ms)?;
        let decoded = &scored.decoded;
        for reject in &decoded.rejects {
            *self.pass.still_rejected.entry(reject.reason.code()).or_default() += 1;
        }
        self.pass.scored += decoded.rows.records() as u64;
        self.pass.filtered += decoded.filtered.len() as u64;
        if let Some(recast) = &mut self.recast {
            recast.take(rejected, tried, &scored)?;
        }
        Ok(self)
    }
}

impl Hands {
    fn tell(&self, tell: impl FnOnce(&mut Replayed)) {
        tell(&mut self.told.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Replayed {
    /// Takes in a look at a claim. After one that was cut another follows, and counts what stays.
    fn add(&mut self, pass: Pass, is_cut: bool) {
        self.scored += pass.scored;
        self.filtered += pass.filtered;
        self.taken += pass.scored + pass.filtered;
        if is_cut {
            return;
        }
        self.claims += 1;
        self.left_out += pass.left_out;
        self.expired_files += pass.expired_files;
        for (reason, count) in pass.still_rejected {
            self.taken += count;
            *self.still_rejected.entry(reason).or_default() += count;
        }
        pass.kept.into_iter().for_each(|why| self.keep(why));
    }

    fn keep(&mut self, why: String) {
        if self.kept.len() < KEPT_TOLD_MAX {
            self.kept.push(why);
        }
    }
}

impl std::ops::AddAssign for Replayed {
    fn add_assign(&mut self, other: Self) {
        self.claims += other.claims;
        self.taken += other.taken;
        self.scored += other.scored;
        self.filtered += other.filtered;
        for (reason, count) in other.still_rejected {
            *self.still_rejected.entry(reason).or_default() += count;
        }
        self.left_out += other.left_out;
        self.revisions += other.revisions;
        self.finished += other.finished;
        self.fences += other.fences;
        self.expired_files += other.expired_files;
        other.kept.into_iter().for_each(|why| self.keep(why));
    }
}
