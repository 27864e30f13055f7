//! Opens the lanes, joins them, stops them.
//!
//! Owns: what a run works with, and where it stands. Does not own: which lanes are open at a time (`run`), what a lane's
//! failure means (`supervise`), what happens inside one ([`crate::lane`]).

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError, atomic::AtomicI32},
    time::Duration,
};

use serde::Serialize;
use tokio::{sync::watch, time::Instant};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use uuid::Uuid;

use self::{lanes::Lanes, models::Models, run::Run};
use crate::{
    broker::{self, Broker, BrokerError, GroupSettings, GroupStatus, Member, TopicPartition},
    decode,
    lake::{self, LakeError, Ledger, Store},
    lane::{Cpu, FetchSettings, Journal, LaneError, Limits, Memory, RejectLimit, Tally},
    model::{self, ModelError},
    offset::{LaneId, OffsetRange},
    outlet::{Outlet, OutletError, OutletSettings, OutletTally},
    registry,
    telemetry::http::HttpSettings,
};

pub mod doctor;
mod finder;
mod flows;
mod goals;
mod hand_on;
mod lanes;
mod membership;
mod models;
mod outlets;
mod past;
mod replay;
mod run;
mod sharing;
mod status;
mod supervise;
#[cfg(test)]
mod tests;

pub use self::{
    flows::{Flow, Flows, Found, Naming, TopicPattern},
    hand_on::{HandOn, HandedOn},
    past::{Bound, Past},
    replay::{Replay, Replayed, Replaying},
    sharing::Sharing,
};

/// The smallest fetch that many lanes and little memory may lead to.
const FETCH_BYTES_MIN: i32 = 32 << 10;
/// What share of the memory may be on its way from the broker: one part in this many.
const FETCH_MEMORY_SHARE: usize = 16;

/// Everything a run needs to know, checked: what a pipeline file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    pub source: broker::SourceSettings,
    pub flows: Flows,
    pub sharing: Sharing,
    pub broker: broker::BrokerLimits,
    pub decode: decode::DecodeSettings,
    /// Where schemas are asked for, if anywhere.
    pub registry: Option<registry::RegistrySettings>,
    pub model: model::ModelSettings,
    /// How often a stream looks for a newly promoted version, if it runs the champion.
    pub model_refresh: Duration,
    pub lake: lake::LakeSettings,
    pub limits: Limits,
    /// When a lane stops for its rejects; never, by default.
    pub rejects: Option<RejectLimit>,
    /// Who else is told of what is in the lake.
    pub outlets: OutletSettings,
    /// Where the run is looked at. A pipeline itself serves nothing.
    pub http: HttpSettings,
}

/// How long a run goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Until it is told to stop.
    Stream,
    /// To the offsets at which the partitions ended when it began.
    Batch,
    /// Over these offsets, and no others.
    Range(BTreeMap<TopicPartition, OffsetRange>),
}

impl Mode {
    /// As people know it: whatever has an end is a batch.
    #[must_use]
    pub fn name(&self) -> &'static str {
        if *self == Self::Stream { "stream" } else { "batch" }
    }
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
    outlets: Vec<Arc<Outlet>>,
    fetch: FetchSettings,
    writer: Arc<str>,
    stop: CancellationToken,
    lanes: Mutex<Lanes>,
    group: Mutex<Option<Arc<GroupStatus>>>,
    /// What all lanes tell of, for people.
    journal: Arc<Journal>,
    started_ms: i64,
}

#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    #[error(transparent)]
    Broker(#[from] BrokerError),
    #[error(transparent)]
    Lake(#[from] LakeError),
    #[error(transparent)]
    Model(#[from] ModelError),
    #[error(transparent)]
    Registry(#[from] registry::RegistryError),
    #[error("can't start the threads that work on batches: {0}; lower `cpu_threads` under [limits]")]
    Threads(std::io::Error),
    #[error("the model does not fit the declared fields: {0}")]
    Fields(String),
    #[error(transparent)]
    Outlet(#[from] OutletError),
    #[error("`where` under [results] names the class `{class}`, and the model tells these apart: {known}")]
    Condition { class: String, known: String },
    #[error("the broker has no topic that fits `topics`; look at them under [source], and at what this user may see")]
    NoTopic,
    /// Rejects could not be taken through the pipeline.
    #[error(transparent)]
    Lane(#[from] LaneError),
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
    /// That this worker had at any time.
    pub partitions: usize,
    /// Offsets that a batch run was to reach and did not.
    pub remaining: u64,
    pub seconds: f64,
    pub memory_peak_bytes: usize,
    /// What each outlet has sent.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub outlets: Vec<OutletTally>,
    /// One line for each lane, and each partition of an outlet, that failed.
    pub failures: Vec<String>,
}

/// What happens right now, for bars and log lines.
#[derive(Clone, Copy, Debug, Default)]
pub struct Progress {
    pub advanced: u64,
    pub lag: u64,
    pub lanes: usize,
    pub lanes_open: usize,
    /// Of all topics, whoever has them.
    pub partitions: usize,
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
        let models = Models::load(&settings).await?;
        let journal = Arc::new(Journal::new(models.classes().to_vec()));
        let models = Arc::new(models.telling(journal.clone()));
        store.probe().await?;
        let broker = settings.source.connect(settings.broker).await?;
        let outlets = outlets::outlets(&settings, &store, &broker, &models)?;
        let memory = Memory::new(settings.limits.memory_bytes_max);
        let fetch = FetchSettings {
            bytes_max: Arc::new(AtomicI32::new(settings.broker.fetch_bytes_max)),
            wait_max: settings.broker.fetch_wait_max,
            memory: memory.clone(),
        };
        Ok(Self {
            cpu: Cpu::new(settings.limits.cpu_threads).map_err(PipelineError::Threads)?,
            writer: writer_name(),
            lanes: Mutex::default(),
            group: Mutex::default(),
            journal,
            started_ms: chrono::Utc::now().timestamp_millis(),
            settings,
            mode,
            broker,
            store,
            models,
            memory,
            outlets,
            fetch,
            stop,
        })
    }

    /// Runs the lanes of this worker's partitions. A lane that a person must mend ends alone; the others go on.
    pub async fn run(&self) -> Result<Summary, PipelineError> {
        self.run_by(|settings, topics| self.broker.join_group(settings, topics)).await
    }

    /// The same, with another way into the group.
    async fn run_by(
        &self,
        join: impl FnOnce(GroupSettings, watch::Receiver<Arc<[Arc<str>]>>) -> Member,
    ) -> Result<Summary, PipelineError> {
        let began = Instant::now();
        let mut run = Run::begin(self).await?;
        let _following = self.follow();
        let failures = run.go_on(join).await?;
        let Progress { tally, .. } = self.progress();
        let lanes = self.lanes();
        Ok(Summary {
            tally,
            partitions: lanes.ever(),
            remaining: lanes.remaining(),
            seconds: began.elapsed().as_secs_f64(),
            memory_peak_bytes: self.memory.peak(),
            outlets: run.outlet_tallies(),
            failures,
        })
    }

    /// The outlets of a file, to be asked what they would do. What can't be told of one is told as an error of its own.
    pub async fn outlets_of(settings: &Settings, broker: &Broker) -> Result<Vec<Arc<Outlet>>, PipelineError> {
        let store = Store::open(&settings.lake.url)?;
        let models = Models::load(settings).await?;
        outlets::outlets(settings, &store, broker, &models)
    }

    /// A look at all lanes.
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.lanes().progress()
    }

    /// Where this worker stands in its group; none where it is in no group, or has not joined yet.
    #[must_use]
    pub fn group(&self) -> Option<Arc<GroupStatus>> {
        self.group.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Many lanes fetch less each, so that what is on its way stays a small part of the memory.
    fn fetch_bytes_for(&self, lanes: usize) -> i32 {
        let share = self.memory.limit() / FETCH_MEMORY_SHARE / lanes.max(1);
        let limit = self.settings.broker.fetch_bytes_max;
        i32::try_from(share).unwrap_or(limit).clamp(FETCH_BYTES_MIN.min(limit), limit)
    }

    fn ledger(&self, dataset: &Arc<str>, partition: i32) -> Ledger {
        let id = LaneId { dataset: dataset.clone(), generation: self.settings.lake.generation, partition };
        Ledger::new(self.store.clone(), id, self.writer.clone()).timed(self.journal.steps.clone())
    }

    /// A stream that runs the champion changes over to the next one.
    fn follow(&self) -> Option<AbortOnDropHandle<()>> {
        let follows = self.mode == Mode::Stream && self.settings.model.version.is_none();
        let (models, every) = (self.models.clone(), self.settings.model_refresh);
        follows.then(|| AbortOnDropHandle::new(tokio::spawn(async move { models.follow(every).await })))
    }

    fn lanes(&self) -> std::sync::MutexGuard<'_, Lanes> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells this process from any other, in claims and in log lines.
fn writer_name() -> Arc<str> {
    let run = Uuid::new_v4().simple().to_string();
    format!("{}-{}", std::process::id(), &run[..8]).into()
}
