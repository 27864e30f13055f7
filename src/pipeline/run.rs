//! Which lanes are open at a time: those of this worker's share, or those that its group hands it.
//!
//! Owns: when a lane is opened, closed or dropped, and when a run is over. Does not own: who hands out what
//! ([`super::membership`]), what a lane does. Invariant: a lane may be dropped at any moment; what it had in hand is read
//! again by whoever opens its partition next.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::pending,
    sync::{Arc, Mutex, atomic::Ordering::Relaxed},
    time::Duration,
};

use tokio::{
    sync::watch,
    task::{Id, JoinError, JoinSet},
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::{
    Flow, Found, Mode, Pipeline, PipelineError, TopicPartition,
    finder::{self, Finder},
    goals::Goals,
    lanes::Held,
    membership::{Membership, some},
    outlets::Followers,
    supervise::{Patience, supervise},
};
use crate::{
    broker::{BrokerError, GroupSettings, Member, Revocation, Start, Turn},
    lake::Origin,
    lane::{Lane, Standing, Status},
    outlet::OutletTally,
};

/// How often the group is told how far its partitions are.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// A run while it goes on.
pub(super) struct Run<'p> {
    pipeline: &'p Pipeline,
    tasks: JoinSet<Result<(), String>>,
    followers: Followers,
    /// Of the partitions that were there when it began.
    bounds: BTreeMap<TopicPartition, Bounds>,
    /// The topics that were there when it began.
    topics: Arc<[Arc<str>]>,
    misnamed: BTreeSet<String>,
    /// Of this run alone: it also stops where the group has no place for it.
    stop: CancellationToken,
    failures: Vec<String>,
    refused: Option<Refused>,
}

/// Where a partition begins that the lake does not know yet, and where this run leaves it.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    start: Start,
    until: Option<i64>,
}

/// The group has no place for this worker, and what is in hand must be committed by then.
struct Refused {
    error: BrokerError,
    /// None once that has been done.
    by: Option<Instant>,
}

impl<'p> Run<'p> {
    /// Finds out what there is to read. Without a group the lanes begin one after the other, as each partition's end is
    /// known, and not all at once.
    pub async fn begin(pipeline: &'p Pipeline) -> Result<Self, PipelineError> {
        let found = match &pipeline.mode {
            Mode::Stream | Mode::Batch => pipeline.settings.flows.at(&pipeline.broker).await?,
            Mode::Range(ranges) => {
                let mut topics: BTreeMap<String, Vec<i32>> = BTreeMap::new();
                for TopicPartition { topic, partition } in ranges.keys() {
                    topics.entry(topic.to_string()).or_default().push(*partition);
                }
                pipeline.settings.flows.found_in(topics)
            }
        };
        match pipeline.mode {
            Mode::Stream if found.flows.is_empty() => tracing::warn!("no topic fits `topics` yet; waiting for one"),
            Mode::Batch | Mode::Range(_) if found.flows.is_empty() => return Err(PipelineError::NoTopic),
            _ => {}
        }
        let mut run = Self {
            pipeline,
            tasks: JoinSet::new(),
            followers: Followers::new(pipeline),
            bounds: BTreeMap::new(),
            topics: found.flows.keys().map(|flow| flow.topic.clone()).collect(),
            misnamed: BTreeSet::new(),
            stop: pipeline.stop.child_token(),
            failures: vec![],
            refused: None,
        };
        let origins = run.origins(&found).await?;
        let in_group = pipeline.settings.sharing.group().is_some();
        for place in run.places(found) {
            if in_group || run.is_ours(&place) {
                let bounds = run.bounds_at(&place, &origins).await?;
                run.bounds.insert(place.clone(), bounds);
                if !in_group {
                    run.open(place);
                }
            }
        }
        pipeline.lanes().begun = true;
        Ok(run)
    }

    /// Until every lane has ended and no other can come. Tells what has failed.
    pub async fn go_on(
        &mut self,
        join: impl FnOnce(GroupSettings, watch::Receiver<Arc<[Arc<str>]>>) -> Member,
    ) -> Result<Vec<String>, PipelineError> {
        let mut group = self.pipeline.settings.sharing.group().cloned().map(|settings| {
            let (topics, watched) = watch::channel(self.topics.clone());
            Membership::new(&settings, topics, join(settings.clone(), watched), self.goals())
        });
        let mut finder = (self.pipeline.mode == Mode::Stream).then(|| Finder::start(self.pipeline));
        let mut tick = interval(TELL_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !self.is_over(group.as_mut()) {
            let due = self.due(group.as_ref());
            tokio::select! {
                Some(ended) = self.tasks.join_next_with_id() => self.ended(ended, group.as_mut()),
                turn = turn(group.as_mut()) => self.take(turn, group.as_mut()),
                Some(found) = finder::found(finder.as_mut()) => self.found(found, group.as_mut()),
                _ = tick.tick() => {
                    self.tell(group.as_mut());
                    self.wait_for_others(group.as_mut());
                }
                () = due => self.drop_overdue(group.as_mut()),
                () = self.stop.cancelled(), if self.tasks.is_empty() => {}
            }
        }
        self.end(group).await
    }

    async fn end(&mut self, group: Option<Membership>) -> Result<Vec<String>, PipelineError> {
        let grace = self.pipeline.settings.limits.stop_timeout / 2;
        self.failures.extend(self.followers.finish(grace).await);
        if let Some(mut group) = group {
            self.tell(Some(&mut group));
            // A batch that is done does not come back.
            group.leave(!self.stop.is_cancelled()).await;
        }
        match self.refused.take() {
            Some(refused) => Err(refused.error.into()),
            None => Ok(std::mem::take(&mut self.failures)),
        }
    }

    fn is_over(&self, group: Option<&mut Membership>) -> bool {
        match (&self.pipeline.mode, group) {
            (_, group) if !self.tasks.is_empty() => {
                group.into_iter().for_each(Membership::look_anew);
                false
            }
            _ if self.stop.is_cancelled() => true,
            (Mode::Stream, Some(_)) => false,
            // Where there were lanes, all have failed for good.
            (Mode::Stream, None) => self.pipeline.lanes().ever() > 0,
            // Whoever brought it to the lake. What this worker has failed at does not get better by waiting.
            (Mode::Batch | Mode::Range(_), Some(group)) => {
                !self.failures.is_empty() || group.look(self.pipeline).short.is_empty()
            }
            (Mode::Batch | Mode::Range(_), None) => true,
        }
    }

    /// A batch that is done with its own stays until the others are, so that it is there if one of them dies. Two may wait
    /// for each other, as the one that began later has further to go: so each reads on in the end. Where nothing moves
    /// any more, nobody is there to be waited for.
    fn wait_for_others(&mut self, group: Option<&mut Membership>) {
        let Some(group) = group.filter(|_| self.tasks.is_empty() && self.pipeline.mode != Mode::Stream) else { return };
        let standing = group.look(self.pipeline);
        for (place, end) in standing.ends.clone() {
            self.read_on(place, end);
        }
        let Pipeline { settings, .. } = self.pipeline;
        let limit = settings.limits.retry_for_max + settings.lake.roll.age_max;
        if group.quiet_for() < limit || !self.tasks.is_empty() {
            return;
        }
        let places: Vec<_> = group.look(self.pipeline).short.keys().cloned().collect();
        self.failures.push(format!(
            "not done, and nothing has moved for {limit:?}: {}; `alluvium check` shows who is in the group, as another \
             program may be; run it again to go on",
            some(&places)
        ));
    }

    /// Goes on to where a partition of this worker's ends by now.
    fn read_on(&mut self, place: TopicPartition, end: i64) {
        let bounds = self.bounds.entry(place.clone()).or_insert(Bounds { start: Start::Earliest, until: Some(0) });
        if bounds.until.is_none_or(|until| until >= end) {
            return;
        }
        bounds.until = Some(end);
        tracing::info!(partition = %place, end, "others are not done; reading on meanwhile");
        let mut lanes = self.pipeline.lanes();
        if let Some(done) = lanes.of(&place).filter(|held| held.task.is_finished()).map(|held| held.task.id()) {
            lanes.forget(done);
        }
        drop(lanes);
        self.open(place);
    }

    fn take(&mut self, turn: Result<Turn, BrokerError>, group: Option<&mut Membership>) {
        let Some(group) = group else { return };
        match turn {
            Ok(Turn::Assigned(places)) => {
                tracing::info!(partitions = %some(&places), "the group has handed over");
                self.tell_of_group(&format!("handed over: {}", some(&places)));
                for place in places {
                    self.open(place);
                }
            }
            Ok(Turn::Revoked(revocation)) => self.give_up(revocation, group),
            Ok(Turn::Lost { partitions, why }) => self.lose(&partitions, &why),
            Err(error) => {
                tracing::error!(%error, "the group has no place for this worker; committing what is in hand");
                self.tell_of_group(&format!("no place for this worker: {error}"));
                self.refused =
                    Some(Refused { error, by: Some(Instant::now() + self.pipeline.settings.limits.stop_timeout) });
                self.stop.cancel();
            }
        }
        self.tell(Some(group));
    }

    fn tell_of_group(&self, text: &str) {
        self.pipeline.journal.tell("group", text);
    }

    fn open(&mut self, place: TopicPartition) {
        let pipeline = self.pipeline;
        let Some(Flow { dataset, .. }) = pipeline.settings.flows.of_topic(&place.topic) else { return };
        let Some(Bounds { start, until }) = self.bounds_of(&place) else {
            return tracing::info!(partition = %place, "came after the start; left to the next batch");
        };
        let ledger = pipeline.ledger(&dataset, place.partition);
        let id = ledger.id().clone();
        if self.stop.is_cancelled() || pipeline.lanes().has(&id) {
            return;
        }
        let (status, stop) = (Arc::<Status>::default(), self.stop.child_token());
        let outlets = self.followers.open(&place.topic, &ledger, &status);
        let lane = Lane {
            topic: place.topic.clone(),
            start,
            ledger,
            works: pipeline.models.works(),
            cpu: pipeline.cpu.clone(),
            fetch: pipeline.fetch.clone(),
            roll: pipeline.settings.lake.roll,
            rejects: pipeline.settings.rejects,
            until,
            stop: stop.clone(),
            share: pipeline.memory.share(),
            status: status.clone(),
            journal: pipeline.journal.clone(),
            swept: Mutex::default(),
        };
        let patience = Patience::of(&pipeline.mode, &pipeline.settings.limits);
        let task = self.tasks.spawn(supervise(lane, pipeline.broker.clone(), patience));
        pipeline.lanes().add(Held { id, place, until, status, outlets, stop, task, leaving: false, told: None });
        self.share_fetches();
    }

    /// Has the lanes commit what they have in hand, if the group waits for so long.
    fn give_up(&mut self, revocation: Revocation, group: &mut Membership) {
        tracing::info!(partitions = %some(&revocation.partitions), "to be given up: committing what is in hand");
        self.tell_of_group(&format!("to be given up: {}", some(&revocation.partitions)));
        self.tell(Some(group));
        let mut closing = BTreeMap::new();
        let mut lanes = self.pipeline.lanes();
        for place in &revocation.partitions {
            let Some(held) = lanes.of(place) else { continue };
            held.stop.cancel();
            held.leaving = true;
            let task = held.task.clone();
            if task.is_finished() {
                self.followers.lane_ended(&held.id, false);
                lanes.forget(task.id());
            } else {
                closing.insert(place.clone(), task);
            }
        }
        drop(lanes);
        group.hand_over(revocation, closing);
    }

    /// Others may have them already.
    fn lose(&mut self, places: &[TopicPartition], why: &str) {
        tracing::warn!(partitions = %some(places), %why, "lost; what was in hand is dropped");
        self.tell_of_group(&format!("lost {}: {why}", some(places)));
        let mut lanes = self.pipeline.lanes();
        let mut over = vec![];
        for held in lanes.all_of(places) {
            held.leaving = true;
            held.task.abort();
            if held.task.is_finished() {
                self.followers.lane_ended(&held.id, false);
                over.push(held.task.id());
            }
        }
        for task in over {
            lanes.forget(task);
        }
    }

    fn ended(&mut self, ended: Result<(Id, Result<(), String>), JoinError>, group: Option<&mut Membership>) {
        let (task, failure) = match ended {
            Ok((task, outcome)) => (task, outcome.err()),
            Err(cut) if cut.is_cancelled() => (cut.id(), None),
            Err(panic) => {
                let told = format!("a lane ended abnormally: {panic}");
                let mut lanes = self.pipeline.lanes();
                lanes.get(panic.id()).into_iter().for_each(|held| held.status.stands(Standing::Stopped(told.clone())));
                (panic.id(), Some(told))
            }
        };
        self.failures.extend(failure);
        if let Some(group) = group {
            let mut lanes = self.pipeline.lanes();
            lanes.get(task).into_iter().for_each(|held| group.reached(held));
            drop(lanes);
            group.closed(task);
        }
        let mut lanes = self.pipeline.lanes();
        if let Some(held) = lanes.get(task) {
            self.followers.lane_ended(&held.id, !held.leaving);
        }
        lanes.ended(task);
        drop(lanes);
        self.share_fetches();
    }

    /// More topics or partitions may be there than before.
    fn found(&mut self, found: Found, group: Option<&mut Membership>) {
        let topics: Arc<[Arc<str>]> = found.flows.keys().map(|flow| flow.topic.clone()).collect();
        let places = self.places(found);
        if let Some(group) = group {
            return group.read(topics);
        }
        for place in places.into_iter().filter(|place| self.is_ours(place)).collect::<Vec<_>>() {
            if self.pipeline.lanes().of(&place).is_none() {
                tracing::info!(topic = %place.topic, partition = place.partition, "a new partition");
                self.open(place);
            }
        }
    }

    /// The partitions of what was found. Says which topics can't be read.
    fn places(&mut self, found: Found) -> Vec<TopicPartition> {
        for topic in found.misnamed {
            if self.misnamed.insert(topic.clone()) {
                tracing::warn!(%topic, "fits `topics`, but can't name a dataset, and is left out; see `dataset` under [lake]");
            }
        }
        let places = found.flows.into_iter().flat_map(|(Flow { topic, .. }, partitions)| {
            partitions.into_iter().map(move |partition| TopicPartition { topic: topic.clone(), partition })
        });
        let places: Vec<_> = places.collect();
        self.pipeline.lanes().partitions = places.len();
        places
    }

    fn is_ours(&self, place: &TopicPartition) -> bool {
        let settings = &self.pipeline.settings;
        let first_of = settings.flows.are_many().then_some(&*place.topic);
        settings.sharing.has(first_of, place.partition)
    }

    /// Where `start = "latest"` is, of each topic.
    async fn origins(&self, found: &Found) -> Result<BTreeMap<Arc<str>, Origin>, PipelineError> {
        let Pipeline { settings, mode, store, .. } = self.pipeline;
        let mut origins = BTreeMap::new();
        if settings.source.start != Start::Latest || matches!(mode, Mode::Range(_)) {
            return Ok(origins);
        }
        for (flow, partitions) in &found.flows {
            let standing = store.origin(&flow.dataset, settings.lake.generation).await?;
            let origin = if let Some(origin) = standing { origin } else { self.begin_now(flow, partitions).await? };
            origins.insert(flow.topic.clone(), origin);
        }
        Ok(origins)
    }

    async fn begin_now(&self, flow: &Flow, partitions: &[i32]) -> Result<Origin, PipelineError> {
        let Pipeline { settings, store, broker, writer, .. } = self.pipeline;
        let mut ends = BTreeMap::new();
        for &partition in partitions {
            ends.insert(partition, broker.partition(&flow.topic, partition).await?.latest().await?);
        }
        Ok(store.begin_at(&flow.dataset, settings.lake.generation, ends, writer).await?)
    }

    async fn bounds_at(
        &self,
        place: &TopicPartition,
        origins: &BTreeMap<Arc<str>, Origin>,
    ) -> Result<Bounds, PipelineError> {
        let start = match origins.get(&place.topic) {
            Some(origin) => origin.ends.get(&place.partition).map_or(Start::Earliest, |end| Start::Offset(*end)),
            None => self.pipeline.settings.source.start,
        };
        Ok(match &self.pipeline.mode {
            Mode::Stream => Bounds { start, until: None },
            Mode::Batch => {
                let partition = self.pipeline.broker.partition(&place.topic, place.partition).await?;
                Bounds { start, until: Some(partition.latest().await?) }
            }
            Mode::Range(ranges) => {
                let range = ranges.get(place);
                Bounds {
                    start: range.map_or(start, |range| Start::Offset(range.start)),
                    until: range.map(|range| range.end),
                }
            }
        })
    }

    /// What came after the start is read whole by a stream, whatever `start` says, and left to the next batch.
    fn bounds_of(&self, place: &TopicPartition) -> Option<Bounds> {
        let since = Bounds { start: Start::Earliest, until: None };
        self.bounds.get(place).copied().or_else(|| (self.pipeline.mode == Mode::Stream).then_some(since))
    }

    pub fn outlet_tallies(&self) -> Vec<OutletTally> {
        self.followers.tallies()
    }

    fn goals(&self) -> Goals {
        let goals = self.bounds.iter().filter_map(|(place, bounds)| Some((place.clone(), bounds.until?)));
        Goals::new(goals.collect())
    }

    fn tell(&self, group: Option<&mut Membership>) {
        let Some(group) = group else { return };
        self.pipeline.lanes().staying().for_each(|held| group.reached(held));
        let status = group.status();
        *self.pipeline.group.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(status);
    }

    /// When something in hand is to be dropped, if its lane has not ended by then.
    fn due(&self, group: Option<&Membership>) -> impl Future<Output = ()> + use<> {
        let refused = self.refused.as_ref().and_then(|refused| refused.by).filter(|_| !self.tasks.is_empty());
        let handover = group.and_then(Membership::due);
        let due = refused.into_iter().chain(handover).min();
        async move {
            match due {
                Some(due) => sleep_until(due).await,
                None => pending().await,
            }
        }
    }

    fn drop_overdue(&mut self, group: Option<&mut Membership>) {
        let now = Instant::now();
        if let Some(refused) = &mut self.refused
            && refused.by.take_if(|by| *by <= now).is_some()
        {
            self.tasks.abort_all();
        }
        if let Some(group) = group {
            group.drop_overdue(now);
        }
    }

    /// The fewer lanes run, the more each may fetch.
    fn share_fetches(&self) {
        let bytes = self.pipeline.fetch_bytes_for(self.tasks.len());
        self.pipeline.fetch.bytes_max.store(bytes, Relaxed);
    }
}

async fn turn(group: Option<&mut Membership>) -> Result<Turn, BrokerError> {
    match group {
        Some(group) => group.next().await,
        None => pending().await,
    }
}
