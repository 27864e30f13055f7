//! The `consumer` protocol (KIP-848): the broker shares out the partitions, one kind of request does the rest.
//!
//! Owns: that request, and what follows from each answer. Does not own: what is held ([`super::seat`]).

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    sync::Arc,
    time::Duration,
};

use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::{
    super::cause::Cause,
    TopicPartition,
    coordinator::Coordinator,
    members::{Pause, ask_max, millis, rebalance_timeout, recover, refused},
    messages::{ConsumerHeartbeat, Kept, Speaker},
    offsets::commit_offsets,
    seat::Seat,
    subscription::by_topic,
    topics::AskTopics,
    trouble::Trouble,
};

/// In place of an epoch: to join, to leave, and to leave for a moment under an instance's name.
const JOINING: i32 = 0;
const LEAVING: i32 = -1;
const BACK_SOON: i32 = -2;
/// However seldom the broker wants to hear of us, and however often.
const BEAT_MIN: Duration = Duration::from_millis(100);

/// A member of the `consumer` protocol.
#[derive(Debug)]
pub(super) struct Consumer {
    pub(super) seat: Seat,
    pub(super) coordinator: Coordinator,
    /// The broker calls topics by their ids.
    topics: BTreeMap<Arc<str>, Uuid>,
    /// As it was told last, in the broker's words: what it told of may not be known here yet.
    assigned: Vec<(Uuid, Vec<i32>)>,
    beat: Duration,
}

impl Consumer {
    pub(super) fn new(mut seat: Seat, coordinator: Coordinator) -> Self {
        seat.generation = JOINING;
        let beat = seat.settings.heartbeat_every;
        Self { seat, coordinator, topics: BTreeMap::new(), assigned: vec![], beat }
    }

    /// Until only a person can help.
    pub(super) async fn run(&mut self) -> Result<Infallible, Cause> {
        let mut pause = Pause::default();
        loop {
            match self.turn().await {
                Ok(()) => pause = Pause::default(),
                Err(trouble) => {
                    recover(&mut self.seat, &mut self.coordinator, trouble, JOINING).await?;
                    if self.seat.held().is_empty() {
                        self.assigned.clear();
                    }
                    pause.wait().await;
                }
            }
        }
    }

    /// One heartbeat, and what follows from its answer until the next.
    async fn turn(&mut self) -> Result<(), Trouble> {
        self.seat.session_over()?;
        self.heartbeat().await?;
        commit_offsets(&mut self.seat, &mut self.coordinator).await;
        self.settle().await?;
        tokio::select! {
            () = self.seat.given_up() => {
                commit_offsets(&mut self.seat, &mut self.coordinator).await;
                self.seat.let_go();
            }
            Ok(()) = self.seat.topics.changed() => {}
            () = sleep(self.beat) => {}
        }
        Ok(())
    }

    /// Says all there is to say each time, so that no answer that was lost can leave the broker with half of it.
    async fn heartbeat(&mut self) -> Result<(), Trouble> {
        self.know_topics().await?;
        let held = self.held_by_id();
        let asked = Instant::now();
        let kept = self.ask(self.seat.generation, &held).await?;
        self.seat.heard(asked);
        if let Some(member) = kept.member {
            self.seat.member = member;
        }
        self.seat.generation = kept.epoch;
        self.beat = Duration::from_millis(u64::try_from(kept.beat_ms).unwrap_or(0))
            .clamp(BEAT_MIN, self.seat.settings.heartbeat_every.max(BEAT_MIN));
        if let Some(assigned) = kept.assignment {
            self.assigned = assigned;
        }
        Ok(())
    }

    async fn ask(&mut self, epoch: i32, held: &[(Uuid, Vec<i32>)]) -> Result<Kept, Trouble> {
        let wanted = self.seat.wanted();
        let topics: Vec<&str> = wanted.iter().map(|topic| &**topic).collect();
        let settings = &self.seat.settings;
        let request = ConsumerHeartbeat {
            speaker: Speaker { generation: epoch, ..self.seat.speaker() },
            rebalance_ms: millis(rebalance_timeout(settings)),
            topics: &topics,
            held,
        };
        let limit = ask_max(&self.seat, &self.coordinator);
        let kept = self.coordinator.ask(request, limit).await?;
        if let (Some(error), Some(message)) = (kept.error, &kept.message) {
            tracing::debug!(group = self.seat.settings.name, %error, message, "the coordinator refuses");
        }
        refused(kept.error)?;
        Ok(kept)
    }

    fn held_by_id(&self) -> Vec<(Uuid, Vec<i32>)> {
        let held = by_topic(self.seat.held().iter().map(|held| (&*held.topic, held.partition)));
        let by_id = |(topic, partitions): (&str, Vec<i32>)| Some((*self.topics.get(topic)?, partitions));
        held.into_iter().filter_map(by_id).collect()
    }

    /// Does what the newest assignment says, unless the one before is still being worked off.
    async fn settle(&mut self) -> Result<(), Trouble> {
        if self.seat.is_giving_up() {
            return Ok(());
        }
        let assigned = self.assigned_by_name();
        if assigned != *self.seat.held() {
            self.seat.rebalance("the broker shared out the partitions anew");
        }
        if assigned != *self.seat.held() || self.seat.is_rebalancing() {
            self.seat.take(&assigned, false).await;
        }
        Ok(())
    }

    fn assigned_by_name(&self) -> BTreeSet<TopicPartition> {
        let mut named = BTreeSet::new();
        for (topic, id) in &self.topics {
            let partitions = self.assigned.iter().filter(|(assigned, _)| assigned == id).flat_map(|(_, all)| all);
            named
                .extend(partitions.map(|partition| TopicPartition { topic: Arc::clone(topic), partition: *partition }));
        }
        named
    }

    /// Asks for ids while one is missing: of a topic that is wanted, or of one that was assigned.
    async fn know_topics(&mut self) -> Result<(), Trouble> {
        let wanted = self.seat.wanted();
        let known = |id: &Uuid| self.topics.values().any(|known| known == id);
        if wanted.iter().all(|topic| self.topics.contains_key(topic)) && self.assigned.iter().all(|(id, _)| known(id)) {
            return Ok(());
        }
        let names: Vec<&str> = wanted.iter().map(|topic| &**topic).collect();
        let limit = ask_max(&self.seat, &self.coordinator);
        for topic in self.coordinator.ask(AskTopics(&names), limit).await?.0 {
            if topic.error.is_none() && !topic.id.is_nil() {
                self.topics.insert(topic.name.into(), topic.id);
            }
        }
        Ok(())
    }

    /// Over a new connection, as the old one may be waiting for an answer.
    pub(super) async fn leave(&mut self, for_good: bool) -> Result<(), Trouble> {
        self.coordinator.moved();
        commit_offsets(&mut self.seat, &mut self.coordinator).await;
        if self.seat.member.is_empty() {
            return Ok(());
        }
        let back_soon = self.seat.settings.instance.is_some() && !for_good;
        self.ask(if back_soon { BACK_SOON } else { LEAVING }, &[]).await.map(drop)
    }
}
