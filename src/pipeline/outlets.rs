//! The outlets of a run: a follower for each partition that this worker has, beside its lane.
//!
//! Owns: when a follower is started, tried again and stopped, and what its failure means. Does not own: what it does
//! ([`crate::outlet`]). Invariant: no lane ever waits for an outlet.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep, timeout_at},
};
use tokio_util::sync::CancellationToken;

use super::{Mode, Pipeline, PipelineError, Settings, models::Models};
use crate::{
    broker::Broker,
    decode::EventTime,
    lake::{FileKind, Ledger, Store},
    lane::{Journal, Status},
    offset::LaneId,
    outlet::{
        self, Arrived, Follower, Order, Outlet, OutletError, OutletTally, PostgresSettings, ResultsSettings, Table,
        Target, Topic,
    },
    telemetry::chain,
};

/// Between tries of a follower that failed; doubles up to the other.
pub(super) const RETRY_WAIT: Duration = Duration::from_millis(200);
pub(super) const RETRY_WAIT_MAX: Duration = Duration::from_secs(15);
/// The same for what a person must mend: a stream looks again, as it may have been mended.
const MEND_WAIT: Duration = Duration::from_secs(30);

/// The outlets that the settings ask for.
pub(super) fn outlets(
    settings: &Settings,
    store: &Store,
    broker: &Broker,
    models: &Models,
) -> Result<Vec<Arc<Outlet>>, PipelineError> {
    let mut outlets = vec![];
    if let Some(to) = &settings.outlets.results {
        outlets.push(results(settings, to, store, broker, models)?);
    }
    if let Some(to) = &settings.outlets.rejected {
        let topic = Target::Topic(Box::new(Topic::of_rejects(to, broker.clone())));
        outlets.push(Outlet::new("rejected", FileKind::Rejected, topic, store.clone()));
    }
    if let Some(to) = &settings.outlets.postgres {
        outlets.push(postgres(to, store, models)?);
    }
    Ok(outlets.into_iter().map(Arc::new).collect())
}

/// The outlet of `[results]`.
pub(super) fn results(
    settings: &Settings,
    results: &ResultsSettings,
    store: &Store,
    broker: &Broker,
    models: &Models,
) -> Result<Outlet, PipelineError> {
    if let Some(class) = results.condition.as_ref().and_then(|condition| condition.unknown_class(models.classes())) {
        return Err(PipelineError::Condition { class, known: models.classes().join(", ") });
    }
    let event = match settings.decode.event_time {
        EventTime::Field(index) => settings.decode.fields.get(index).map(|field| field.name.clone()),
        EventTime::Broker => None,
    };
    let columns = models.works().borrow().layout.scored_columns().clone();
    let topic = Topic::of_results(results, broker.clone(), columns, event, models.registry());
    Ok(Outlet::new("results", FileKind::Scored, Target::Topic(Box::new(topic)), store.clone()))
}

/// The outlet of `[postgres]`.
pub(super) fn postgres(to: &PostgresSettings, store: &Store, models: &Models) -> Result<Outlet, PipelineError> {
    let table = Table::new(to, models.works().borrow().layout.scored_columns().clone())?;
    Ok(Outlet::new("postgres", FileKind::Scored, Target::Table(Box::new(table)), store.clone()))
}

/// The followers of a run.
pub(super) struct Followers {
    outlets: Vec<Arc<Outlet>>,
    tasks: JoinSet<Result<(), String>>,
    lanes: BTreeMap<LaneId, Followed>,
    patience: Option<Duration>,
    stop: CancellationToken,
    journal: Arc<Journal>,
}

/// The followers of one lane.
struct Followed {
    topic: Arc<str>,
    order: watch::Sender<Order>,
    status: Arc<Status>,
    arrived: Vec<(&'static str, Arc<Arrived>)>,
    /// Dropped with their lane: that is as good as a kill.
    tasks: Vec<AbortOnDrop>,
}

impl Followers {
    pub fn new(pipeline: &Pipeline) -> Self {
        let mode = &pipeline.mode;
        // A stream tries for ever.
        let patience = (*mode != Mode::Stream).then_some(pipeline.settings.limits.retry_for_max);
        Self {
            outlets: if matches!(mode, Mode::Range(_)) { vec![] } else { pipeline.outlets.clone() },
            tasks: JoinSet::new(),
            lanes: BTreeMap::new(),
            patience,
            stop: pipeline.stop.clone(),
            journal: pipeline.journal.clone(),
        }
    }

    /// A lane has been opened. Tells where its followers stand, by the names of the outlets.
    pub fn open(
        &mut self,
        topic: &Arc<str>,
        ledger: &Ledger,
        status: &Arc<Status>,
    ) -> Vec<(&'static str, Arc<Arrived>)> {
        if self.outlets.is_empty() {
            return vec![];
        }
        let (order, orders) = watch::channel(Order::Follow);
        let mut lane = Followed { topic: topic.clone(), order, status: status.clone(), arrived: vec![], tasks: vec![] };
        for outlet in &self.outlets {
            let arrived = Arc::<Arrived>::default();
            lane.arrived.push((outlet.name, arrived.clone()));
            let follower = Follower {
                outlet: outlet.clone(),
                topic: topic.clone(),
                ledger: ledger.clone(),
                commits: status.commits(),
                order: orders.clone(),
                arrived,
            };
            let task = self.tasks.spawn(supervise(follower, self.patience, self.stop.clone(), self.journal.clone()));
            lane.tasks.push(AbortOnDrop(task));
        }
        let arrived = lane.arrived.clone();
        self.lanes.insert(ledger.id().clone(), lane);
        arrived
    }

    /// A lane has ended. What it has committed is still sent, unless the partition is another worker's now.
    pub fn lane_ended(&self, id: &LaneId, is_ours: bool) {
        if let Some(followed) = self.lanes.get(id) {
            let order = if is_ours { Order::Drain(followed.status.position()) } else { Order::Quit };
            followed.order.send_replace(order);
        }
    }

    /// Until all have sent what is in the lake, or have failed for good. A run that is told to stop waits no longer than
    /// `grace`: the next start goes on.
    pub async fn finish(&mut self, grace: Duration) -> Vec<String> {
        let mut failures = vec![];
        let mut stopped = self.stop.is_cancelled().then(|| Instant::now() + grace);
        loop {
            let far = Instant::now() + Duration::from_hours(24);
            let ended = tokio::select! {
                ended = timeout_at(stopped.unwrap_or(far), self.tasks.join_next()) => ended,
                () = self.stop.cancelled(), if stopped.is_none() => {
                    stopped = Some(Instant::now() + grace);
                    continue;
                }
            };
            match ended {
                Ok(Some(Ok(outcome))) => failures.extend(outcome.err()),
                Ok(Some(Err(cut))) if cut.is_cancelled() => {}
                Ok(Some(Err(panic))) => failures.push(format!("an outlet ended abnormally: {panic}")),
                Ok(None) => return failures,
                Err(_) if stopped.is_some() => {
                    tracing::info!("an outlet is not done; the next start goes on where it is");
                    self.tasks.abort_all();
                    return failures;
                }
                Err(_) => {}
            }
        }
    }

    /// What each outlet has done.
    pub fn tallies(&self) -> Vec<OutletTally> {
        let behind = |name: &str| {
            let of_lane = |followed: &Followed| {
                let arrived = followed.arrived.iter().find(|(outlet, _)| *outlet == name);
                let position = arrived.map_or(0, |(_, arrived)| arrived.position());
                u64::try_from(followed.status.position().saturating_sub(position)).unwrap_or(0)
            };
            self.lanes.values().map(of_lane).sum()
        };
        let source = only(self.lanes.iter().map(|(id, followed)| (&*followed.topic, &*id.dataset)));
        self.outlets.iter().map(|outlet| outlet.tally(behind(outlet.name), source)).collect()
    }
}

/// The one that all of them are, if they are.
pub(super) fn only<T: PartialEq>(mut all: impl Iterator<Item = T>) -> Option<T> {
    let first = all.next()?;
    all.all(|other| other == first).then_some(first)
}

struct AbortOnDrop(tokio::task::AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Keeps a follower going: always from the position that its target's side remembers.
async fn supervise(
    mut follower: Follower,
    patience: Option<Duration>,
    stop: CancellationToken,
    journal: Arc<Journal>,
) -> Result<(), String> {
    let (mut failing, mut wait): (Option<Instant>, _) = (None, RETRY_WAIT);
    let mut before = None;
    loop {
        let Err(error) = outlet::run(&mut follower).await else { return Ok(()) };
        let position = follower.arrived.position();
        if before != Some(position) {
            (before, failing, wait) = (Some(position), None, RETRY_WAIT);
        }
        let failing_for = failing.get_or_insert_with(Instant::now).elapsed();
        let (outlet, id) = (&follower.outlet, follower.ledger.id());
        let told = format!(
            "{} of {id} to {}: {}",
            outlet.name,
            outlet.target().of(&follower.topic, &id.dataset),
            chain(&error)
        );
        metrics::counter!("alluvium_outlet_errors_total", "outlet" => outlet.name).increment(1);
        journal.tell("outlet", &told);
        if let Some(patience) = patience
            && (!error.is_transient() || failing_for >= patience)
        {
            tracing::error!("outlet stopped: {told}");
            return Err(told);
        }
        let pause = if error.is_transient() { wait } else { MEND_WAIT };
        say(&error, &told, pause);
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = over(&mut follower.order) => return Ok(()),
            () = sleep(pause) => wait = (wait * 2).min(RETRY_WAIT_MAX),
        }
    }
}

fn say(error: &OutletError, told: &str, pause: Duration) {
    if error.is_transient() {
        tracing::warn!("{told}; trying again in {pause:?}");
    } else {
        tracing::error!("{told}; the lake goes on, and this is looked at again in {pause:?}");
    }
}

/// When the partition is another worker's.
async fn over(order: &mut watch::Receiver<Order>) {
    if order.wait_for(|order| *order == Order::Quit).await.is_err() {
        std::future::pending::<()>().await;
    }
}
