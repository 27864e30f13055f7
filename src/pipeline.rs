//! Opens the lanes, joins them, stops them.
//!
//! Owns: which lanes there are, and what a lane's failure means. Does not own: what happens inside one ([`crate::lane`]).

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use serde::Serialize;
use tokio::{
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, sleep},
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use uuid::Uuid;

use self::models::Models;
use crate::{
    broker::{self, Broker, BrokerError, Start},
    decode,
    lake::{self, LakeError, Ledger, Store},
    lane::{self, Cpu, FetchSettings, Lane, LaneError, Limits, Memory, Status, Tally},
    model::{self, ModelError},
    offset::{LaneId, OffsetRange},
    telemetry::chain,
};

pub mod doctor;
mod models;
mod past;

pub use past::{Bound, Past};

/// Between tries of a lane that failed; doubles up to the other.
const RETRY_WAIT: Duration = Duration::from_millis(200);
const RETRY_WAIT_MAX: Duration = Duration::from_secs(15);
/// The smallest fetch that many lanes and little memory may lead to.
const FETCH_BYTES_MIN: i32 = 32 << 10;
/// What share of the memory may be on its way from the broker: one part in this many.
const FETCH_MEMORY_SHARE: usize = 16;

/// Everything a run needs to know, checked: what a pipeline file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    pub source: broker::SourceSettings,
    pub broker: broker::BrokerLimits,
    pub decode: decode::DecodeSettings,
    pub model: model::ModelSettings,
    /// How often a stream looks for a newly promoted version, if it runs the champion.
    pub model_refresh: Duration,
    pub lake: lake::LakeSettings,
    pub limits: Limits,
    /// Where `/metrics` is served; nowhere by default.
    pub metrics: Option<SocketAddr>,
}

/// How long a run goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Until it is told to stop.
    Stream,
    /// To the offsets at which the partitions ended when it began.
    Batch,
    /// Over these offsets, by partition, and no others.
    Range(BTreeMap<i32, OffsetRange>),
}

/// A pipeline with everything it needs in hand, and no lane open yet.
#[derive(Debug)]
pub struct Pipeline {
    settings: Settings,
    mode: Mode,
    broker: Broker,
    store: Store,
    models: Arc<Models>,
    cpu: Cpu,
    memory: Arc<Memory>,
    writer: Arc<str>,
    stop: CancellationToken,
    lanes: Mutex<BTreeMap<i32, LaneState>>,
}

/// A lane as the pipeline sees it.
#[derive(Clone, Debug)]
struct LaneState {
    status: Arc<Status>,
    until: Option<i64>,
}

#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    #[error(transparent)]
    Broker(#[from] BrokerError),
    #[error(transparent)]
    Lake(#[from] LakeError),
    #[error(transparent)]
    Model(#[from] ModelError),
    #[error("can't start the threads that work on batches: {0}; lower `cpu_threads` under [limits]")]
    Threads(std::io::Error),
    #[error("the model does not fit the declared fields: {0}")]
    Fields(String),
    /// What was asked for is not a range that can be scored again.
    #[error("{0}")]
    Past(String),
    #[error(
        "its classes are {found}, and those of {of} are {expected}: the lake would get other columns, so start it with \
         a dataset of its own"
    )]
    Classes { found: String, of: String, expected: String },
}

/// What a run did.
#[derive(Debug, Serialize)]
pub struct Summary {
    #[serde(flatten)]
    pub tally: Tally,
    pub partitions: usize,
    /// Offsets that a batch run was to reach and did not.
    pub remaining: u64,
    pub seconds: f64,
    pub memory_peak_bytes: usize,
    /// One line for each lane that failed.
    pub failures: Vec<String>,
}

/// What happens right now, for bars and log lines.
#[derive(Clone, Copy, Debug, Default)]
pub struct Progress {
    pub advanced: u64,
    pub lag: u64,
    pub lanes: usize,
    pub lanes_open: usize,
    pub tally: Tally,
}

impl Pipeline {
    /// Loads the model, reaches the broker, and probes the store; whatever can't work fails here.
    pub async fn open(settings: Settings, mode: Mode, stop: CancellationToken) -> Result<Self, PipelineError> {
        let store = Store::open(&settings.lake.url)?;
        Self::over(store, settings, mode, stop).await
    }

    /// The same over a store that is open already, whatever the settings name.
    pub async fn over(
        store: Store,
        settings: Settings,
        mode: Mode,
        stop: CancellationToken,
    ) -> Result<Self, PipelineError> {
        let models = Arc::new(Models::load(&settings).await?);
        store.probe().await?;
        let broker = Broker::connect(&settings.source.brokers, settings.broker).await?;
        let memory = Memory::new(settings.limits.memory_bytes_max);
        let cpu = Cpu::new(settings.limits.cpu_threads).map_err(PipelineError::Threads)?;
        let writer = writer_name();
        let lanes = Mutex::default();
        Ok(Self { settings, mode, broker, store, models, cpu, memory, writer, stop, lanes })
    }

    /// Runs every partition's lane. A lane that a person must mend ends alone; the others go on.
    pub async fn run(&self) -> Result<Summary, PipelineError> {
        let began = Instant::now();
        let mut running = JoinSet::new();
        let topic: Arc<str> = self.settings.source.topic.as_str().into();
        let partitions = self.partitions(&topic).await?;
        let fetch = self.fetch_settings(partitions.len());
        for partition in partitions {
            let (start, until) = self.bounds(&topic, partition).await?;
            running.spawn(self.supervised(self.lane(&topic, partition, start, until, &fetch)));
        }
        let _following = self.follow();
        let mut failures = vec![];
        let mut refresh = interval(self.settings.limits.partitions_refresh);
        refresh.set_missed_tick_behavior(MissedTickBehavior::Delay);
        refresh.reset();
        while !running.is_empty() {
            tokio::select! {
                Some(ended) = running.join_next() => failures.extend(failure(ended)),
                _ = refresh.tick(), if self.mode == Mode::Stream => {
                    for partition in self.new_partitions(&topic).await {
                        tracing::info!(%topic, partition, "a new partition");
                        // Whatever `start` says: it was empty when this run began.
                        let lane = self.lane(&topic, partition, Start::Earliest, None, &fetch);
                        running.spawn(self.supervised(lane));
                    }
                }
            }
        }
        Ok(self.summary(began, failures))
    }

    /// A look at all lanes.
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.lanes().values().fold(Progress::default(), |mut sum, lane| {
            sum.advanced += lane.status.advanced();
            sum.lag += lane.status.lag();
            sum.lanes += 1;
            sum.lanes_open += usize::from(lane.status.is_open());
            sum.tally += lane.status.tally();
            sum
        })
    }

    fn lane(&self, topic: &Arc<str>, partition: i32, start: Start, until: Option<i64>, fetch: &FetchSettings) -> Lane {
        let lake = &self.settings.lake;
        let id = LaneId { dataset: lake.dataset.as_str().into(), generation: lake.generation, partition };
        let status = Arc::new(Status::default());
        self.lanes().insert(partition, LaneState { status: status.clone(), until });
        Lane {
            topic: topic.clone(),
            start,
            ledger: Ledger::new(self.store.clone(), id, self.writer.clone()),
            works: self.models.works(),
            cpu: self.cpu.clone(),
            fetch: fetch.clone(),
            roll: lake.roll,
            until,
            stop: self.stop.clone(),
            share: self.memory.share(),
            status,
            swept: Mutex::default(),
        }
    }

    /// Many lanes fetch less each, so that what is on its way stays a small part of the memory.
    fn fetch_settings(&self, lanes: usize) -> FetchSettings {
        let share = self.memory.limit() / FETCH_MEMORY_SHARE / lanes.max(1);
        let limit = self.settings.broker.fetch_bytes_max;
        let bytes_max = i32::try_from(share).unwrap_or(limit).clamp(FETCH_BYTES_MIN.min(limit), limit);
        FetchSettings { bytes_max, wait_max: self.settings.broker.fetch_wait_max, memory: self.memory.clone() }
    }

    async fn partitions(&self, topic: &str) -> Result<Vec<i32>, PipelineError> {
        match &self.mode {
            Mode::Stream | Mode::Batch => Ok(self.broker.partitions(topic).await?),
            Mode::Range(ranges) => Ok(ranges.keys().copied().collect()),
        }
    }

    /// Where a partition begins that the lake does not know yet, and where this run leaves it.
    async fn bounds(&self, topic: &str, partition: i32) -> Result<(Start, Option<i64>), PipelineError> {
        let start = self.settings.source.start;
        match &self.mode {
            Mode::Stream => Ok((start, None)),
            Mode::Batch => Ok((start, Some(self.broker.partition(topic, partition).await?.latest().await?))),
            Mode::Range(ranges) => {
                let range = ranges.get(&partition);
                Ok((range.map_or(start, |range| Start::Offset(range.start)), range.map(|range| range.end)))
            }
        }
    }

    /// A stream that runs the champion changes over to the next one.
    fn follow(&self) -> Option<AbortOnDropHandle<()>> {
        let follows = self.mode == Mode::Stream && self.settings.model.version.is_none();
        let (models, every) = (self.models.clone(), self.settings.model_refresh);
        follows.then(|| AbortOnDropHandle::new(tokio::spawn(async move { models.follow(every).await })))
    }

    /// A batch gives a lane up in the end; a stream does so only where its credentials are refused.
    fn supervised(&self, lane: Lane) -> impl Future<Output = Result<(), String>> + use<> {
        let retry_for_max = self.settings.limits.retry_for_max;
        let patience =
            Patience { failing: (self.mode != Mode::Stream).then_some(retry_for_max), refused: retry_for_max };
        supervise(lane, self.broker.clone(), patience)
    }

    async fn new_partitions(&self, topic: &str) -> Vec<i32> {
        match self.broker.partitions(topic).await {
            Ok(partitions) => {
                let known = self.lanes();
                partitions.into_iter().filter(|partition| !known.contains_key(partition)).collect()
            }
            Err(error) => {
                tracing::warn!(%error, "could not look for new partitions");
                vec![]
            }
        }
    }

    fn summary(&self, began: Instant, failures: Vec<String>) -> Summary {
        let Progress { tally, lanes: partitions, .. } = self.progress();
        let lanes = self.lanes();
        let remaining = |lane: &LaneState| lane.until.map_or(0, |until| (until - lane.status.position()).max(0));
        Summary {
            tally,
            partitions,
            remaining: lanes.values().map(|lane| remaining(lane).unsigned_abs()).sum(),
            seconds: began.elapsed().as_secs_f64(),
            memory_peak_bytes: self.memory.peak(),
            failures,
        }
    }

    fn lanes(&self) -> std::sync::MutexGuard<'_, BTreeMap<i32, LaneState>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells this process from any other, in claims and in log lines.
fn writer_name() -> Arc<str> {
    let run = Uuid::new_v4().simple().to_string();
    format!("{}-{}", std::process::id(), &run[..8]).into()
}

/// How long a lane is tried again while it gets nowhere.
#[derive(Clone, Copy, Debug)]
struct Patience {
    /// For ever, if none.
    failing: Option<Duration>,
    refused: Duration,
}

/// How long a lane has been getting nowhere.
#[derive(Clone, Copy, Debug, Default)]
struct Stuck {
    failing: Option<Instant>,
    refused: Option<Instant>,
}

impl Stuck {
    /// Whether one failure more is one too many.
    fn ends_with(&mut self, error: &LaneError, patience: Patience) -> bool {
        let failing_for = self.failing.get_or_insert_with(Instant::now).elapsed();
        if !error.is_refusal() {
            self.refused = None;
        }
        let refused_for = error.is_refusal().then(|| self.refused.get_or_insert_with(Instant::now).elapsed());
        let over = |limit: Option<Duration>| limit.is_some_and(|limit| failing_for >= limit);
        !error.is_transient() || over(patience.failing) || refused_for.is_some_and(|time| time >= patience.refused)
    }
}

/// Keeps a lane going: what a retry may mend is tried again from the ledger, as long as there is patience.
async fn supervise(lane: Lane, broker: Broker, patience: Patience) -> Result<(), String> {
    let id = lane.ledger.id().clone();
    let mut stuck = Stuck::default();
    let mut wait = RETRY_WAIT;
    loop {
        let before = lane.status.position();
        let Err(error) = attempt(&lane, &broker).await else { return Ok(()) };
        if lane.status.position() > before {
            stuck = Stuck::default();
            wait = RETRY_WAIT;
        }
        if stuck.ends_with(&error, patience) {
            let told = format!("{id}: {}", chain(&error));
            tracing::error!("lane stopped: {told}");
            metrics::counter!("alluvium_lanes_stopped_total").increment(1);
            return Err(told);
        }
        tracing::warn!(lane = %id, error = chain(&error), "trying again from the ledger in {wait:?}");
        metrics::counter!("alluvium_retries_total").increment(1);
        tokio::select! {
            () = lane.stop.cancelled() => return Ok(()),
            () = sleep(wait) => wait = (wait * 2).min(RETRY_WAIT_MAX),
        }
    }
}

async fn attempt(lane: &Lane, broker: &Broker) -> Result<(), LaneError> {
    let opened = broker.partition(&lane.topic, lane.ledger.id().partition);
    let partition = tokio::select! {
        () = lane.stop.cancelled() => return Ok(()),
        partition = opened => partition?,
    };
    lane::run(lane, Arc::new(partition)).await
}

fn failure(ended: Result<Result<(), String>, tokio::task::JoinError>) -> Option<String> {
    ended.unwrap_or_else(|panic| Err(format!("a lane ended abnormally: {panic}"))).err()
}
