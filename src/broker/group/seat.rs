//! A member's place in its group: what it holds, what it is giving up, what it has told its worker.
//!
//! Owns: turns, revocations, the session's clock, the status. Does not own: what is said to the coordinator, which
//! differs by protocol ([`super::classic`], [`super::consumer`]).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
};

use chrono::Utc;
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, timeout_at},
};
use tokio_util::sync::CancellationToken;

use super::{
    super::{BrokerError, cause::Cause, error::Place},
    GroupSettings, GroupStatus, Rebalance, Revocation, TopicPartition, Turn,
    messages::Speaker,
    subscription::NO_GENERATION,
    trouble::Trouble,
};

/// The first offset of each partition that is not in the lake, as far as it is not yet told.
#[derive(Debug, Default)]
pub(super) struct Reached(Mutex<BTreeMap<TopicPartition, i64>>);

impl Reached {
    pub(super) fn note(&self, partition: TopicPartition, offset: i64) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(partition, offset);
    }

    /// Of those that are held: a word about any other is for its new owner to say.
    fn take(&self, held: &BTreeSet<TopicPartition>) -> BTreeMap<TopicPartition, i64> {
        let mut noted = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        noted.retain(|partition, _| held.contains(partition));
        noted
    }

    /// What could not be told, unless more is known meanwhile.
    fn put_back(&self, untold: BTreeMap<TopicPartition, i64>) {
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (partition, offset) in untold {
            noted.entry(partition).or_insert(offset);
        }
    }
}

/// Where turns go, and where the status is seen.
#[derive(Debug)]
pub(super) struct Outlets {
    pub(super) turns: mpsc::Sender<Result<Turn, BrokerError>>,
    pub(super) status: watch::Sender<Arc<GroupStatus>>,
    pub(super) reached: Arc<Reached>,
}

#[derive(Debug)]
pub(super) struct Seat {
    pub(super) settings: GroupSettings,
    pub(super) topics: watch::Receiver<Arc<[Arc<str>]>>,
    pub(super) member: String,
    /// The generation, or the epoch.
    pub(super) generation: i32,
    /// Until they are given up, those that are to be given up among them.
    held: BTreeSet<TopicPartition>,
    /// The generation that gave them out; a join that came to nothing makes no claim newer.
    held_since: i32,
    giving_up: Option<GivingUp>,
    /// Since when another member has had this one's name.
    pub(super) name_taken_since: Option<Instant>,
    /// When the newest request was sent that the coordinator has answered as a member's.
    heard: Instant,
    rebalancing: Option<Rebalancing>,
    outlets: Outlets,
}

#[derive(Debug)]
struct GivingUp {
    partitions: BTreeSet<TopicPartition>,
    by: Instant,
    given_up: CancellationToken,
}

#[derive(Debug)]
struct Rebalancing {
    since: Instant,
    why: String,
}

impl Seat {
    pub(super) fn new(settings: GroupSettings, topics: watch::Receiver<Arc<[Arc<str>]>>, outlets: Outlets) -> Self {
        let rebalancing = Some(Rebalancing { since: Instant::now(), why: "the worker started".into() });
        Self {
            settings,
            topics,
            member: String::new(),
            generation: NO_GENERATION,
            held: BTreeSet::new(),
            held_since: NO_GENERATION,
            giving_up: None,
            name_taken_since: None,
            heard: Instant::now(),
            rebalancing,
            outlets,
        }
    }

    pub(super) fn held(&self) -> &BTreeSet<TopicPartition> {
        &self.held
    }

    pub(super) fn held_since(&self) -> i32 {
        self.held_since
    }

    pub(super) fn speaker(&self) -> Speaker<'_> {
        Speaker {
            group: &self.settings.name,
            generation: self.generation,
            member: &self.member,
            instance: self.settings.instance.as_deref(),
        }
    }

    /// The coordinator has answered what was asked at `asked`.
    pub(super) fn heard(&mut self, asked: Instant) {
        self.heard = self.heard.max(asked);
        self.name_taken_since = None;
    }

    /// Whether the coordinator may have given this member up, by our own clock: it may be gone, and this process may
    /// have stood still.
    pub(super) fn session_over(&self) -> Result<(), Trouble> {
        let silence = self.heard.elapsed();
        if self.held.is_empty() || silence <= self.settings.session_timeout {
            return Ok(());
        }
        Err(Trouble::expelled(format!("no heartbeat was answered for {:.1} s", silence.as_secs_f64())))
    }

    /// A rebalance begins; the first reason is the one that is told.
    pub(super) fn rebalance(&mut self, why: impl Into<String>) {
        self.rebalancing.get_or_insert_with(|| Rebalancing { since: Instant::now(), why: why.into() });
    }

    pub(super) fn is_rebalancing(&self) -> bool {
        self.rebalancing.is_some()
    }

    pub(super) fn why(&self) -> &str {
        self.rebalancing.as_ref().map_or("", |rebalancing| &rebalancing.why)
    }

    /// What this member is to have from now on, when nothing is being given up: passes on what is new, and asks for what it is to give up.
    pub(super) async fn take(&mut self, assigned: &BTreeSet<TopicPartition>, leads: bool) {
        let revoked: BTreeSet<_> = self.held.difference(assigned).cloned().collect();
        let gained: BTreeSet<_> = assigned.difference(&self.held).cloned().collect();
        self.held.extend(gained.iter().cloned());
        self.held_since = self.generation;
        self.settle(leads, &gained, &revoked);
        if !revoked.is_empty() {
            let turn = self.revoke(revoked);
            self.turn(turn).await;
        }
        if !gained.is_empty() {
            self.turn(Turn::Assigned(gained.into_iter().collect())).await;
        }
    }

    fn revoke(&mut self, partitions: BTreeSet<TopicPartition>) -> Turn {
        let by = Instant::now() + self.settings.handover_max;
        let (revocation, given_up) = Revocation::new(partitions.iter().cloned().collect(), by);
        self.giving_up = Some(GivingUp { partitions, by, given_up });
        Turn::Revoked(revocation)
    }

    pub(super) fn is_giving_up(&self) -> bool {
        self.giving_up.is_some()
    }

    /// Returns when what is to move has been given up, or its time is over; never, if nothing is to move.
    pub(super) fn given_up(&self) -> impl Future<Output = ()> + Send + use<> {
        let going = self.giving_up.as_ref().map(|going| (going.given_up.clone(), going.by));
        async move {
            let Some((given_up, by)) = going else { return std::future::pending().await };
            if timeout_at(by, given_up.cancelled()).await.is_err() {
                tracing::warn!("partitions were not given up in time; the group goes on");
            }
        }
    }

    /// They are no longer this member's.
    pub(super) fn let_go(&mut self) {
        if let Some(going) = self.giving_up.take() {
            self.held.retain(|held| !going.partitions.contains(held));
            self.show(|_| {});
        }
    }

    /// All is lost.
    pub(super) async fn lose(&mut self, why: String) {
        self.giving_up = None;
        self.held_since = NO_GENERATION;
        self.rebalance(why.clone());
        let partitions: Vec<_> = std::mem::take(&mut self.held).into_iter().collect();
        self.show(|status| status.expelled += u64::from(!partitions.is_empty()));
        if partitions.is_empty() {
            tracing::info!(group = self.settings.name, why, "joining the group anew");
            return;
        }
        metrics::counter!("alluvium_group_losses_total").increment(1);
        tracing::warn!(group = self.settings.name, partitions = partitions.len(), why, "all partitions are lost");
        self.turn(Turn::Lost { partitions, why }).await;
    }

    /// The end: told, and nothing comes after it.
    pub(super) async fn fail(&mut self, cause: Cause) {
        let error = cause.of_group(&self.settings.name).at("take part in the group", Place::default());
        if !self.held.is_empty() {
            self.lose(error.to_string()).await;
        }
        let _nobody_listens = self.outlets.turns.send(Err(error)).await;
    }

    /// Waits where nobody takes turns: who works on nothing is no member, and the session may end over it.
    async fn turn(&self, turn: Turn) {
        let _nobody_listens = self.outlets.turns.send(Ok(turn)).await;
    }

    fn settle(&mut self, leads: bool, gained: &BTreeSet<TopicPartition>, given_up: &BTreeSet<TopicPartition>) {
        let Some(Rebalancing { since, why }) = self.rebalancing.take() else {
            return self.show(|status| status.leads = leads);
        };
        let took_ms = u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX);
        let list = |partitions: &BTreeSet<TopicPartition>| partitions.iter().cloned().collect::<Vec<_>>();
        let rebalance = Rebalance { at: Utc::now(), why, took_ms, gained: list(gained), given_up: list(given_up) };
        tracing::info!(
            group = self.settings.name,
            generation = self.generation,
            why = rebalance.why,
            gained = gained.len(),
            given_up = given_up.len(),
            held = self.held.len() - given_up.len(),
            "rebalanced"
        );
        metrics::counter!("alluvium_group_rebalances_total").increment(1);
        self.show(|status| {
            status.leads = leads;
            status.rebalances += 1;
            status.rebalancing_ms += took_ms;
            status.last_rebalance = Some(rebalance);
        });
    }

    fn show(&self, change: impl FnOnce(&mut GroupStatus)) {
        self.outlets.status.send_modify(|status| {
            let status = Arc::make_mut(status);
            status.member_id = (!self.member.is_empty()).then(|| self.member.clone());
            status.generation = self.generation;
            status.assigned = self.held.iter().cloned().collect();
            change(status);
        });
    }

    pub(super) fn unsaid(&self) -> BTreeMap<TopicPartition, i64> {
        self.outlets.reached.take(&self.held)
    }

    pub(super) fn said_nothing(&self, untold: BTreeMap<TopicPartition, i64>) {
        self.outlets.reached.put_back(untold);
    }

    pub(super) fn wanted(&mut self) -> BTreeSet<Arc<str>> {
        self.topics.borrow_and_update().iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{super::GroupProtocol, *};

    const SESSION: Duration = Duration::from_secs(10);

    fn seat() -> (Seat, mpsc::Receiver<Result<Turn, BrokerError>>) {
        let settings = GroupSettings {
            name: "iris-lake".into(),
            instance: None,
            protocol: GroupProtocol::Classic,
            session_timeout: SESSION,
            heartbeat_every: Duration::from_secs(1),
            handover_max: Duration::from_secs(30),
        };
        let (turns, taken) = mpsc::channel(8);
        let status = watch::Sender::new(Arc::new(GroupStatus::new(&settings)));
        let (_, topics) = watch::channel([].into());
        (Seat::new(settings, topics, Outlets { turns, status, reached: Arc::default() }), taken)
    }

    fn share(partitions: &[i32]) -> BTreeSet<TopicPartition> {
        partitions.iter().map(|partition| TopicPartition { topic: "iris".into(), partition: *partition }).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn what_moves_stays_held_until_it_is_given_up() {
        let (mut seat, mut turns) = seat();
        seat.take(&share(&[0, 1]), false).await;
        assert!(matches!(turns.recv().await.unwrap().unwrap(), Turn::Assigned(given) if given.len() == 2));
        seat.take(&share(&[1, 2]), false).await;
        let Turn::Revoked(revocation) = turns.recv().await.unwrap().unwrap() else { panic!("0 is to move") };
        assert!(matches!(turns.recv().await.unwrap().unwrap(), Turn::Assigned(given) if given.len() == 1));
        assert_eq!((seat.held(), revocation.partitions.len()), (&share(&[0, 1, 2]), 1));
        drop(revocation);
        seat.given_up().await;
        seat.let_go();
        assert_eq!(seat.held(), &share(&[1, 2]));
        assert_eq!(seat.outlets.status.borrow().assigned.len(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_given_up_is_gone_when_its_time_is_over() {
        let (mut seat, mut turns) = seat();
        seat.take(&share(&[0]), false).await;
        seat.take(&share(&[]), false).await;
        let (_assigned, kept) = (turns.recv().await.unwrap(), turns.recv().await.unwrap());
        let Turn::Revoked(revocation) = kept.unwrap() else { panic!("0 is to move") };
        seat.given_up().await;
        assert!(Instant::now() >= revocation.by);
        seat.let_go();
        assert_eq!(seat.held(), &BTreeSet::new());
    }

    #[tokio::test(start_paused = true)]
    async fn a_process_that_stood_still_for_longer_than_a_session_has_lost_all() {
        let (mut seat, mut turns) = seat();
        seat.take(&share(&[0]), false).await;
        let _assigned = turns.recv().await.unwrap();
        tokio::time::advance(SESSION).await;
        assert!(seat.session_over().is_ok());
        tokio::time::advance(Duration::from_millis(1)).await;
        let Err(Trouble::Expelled { why, .. }) = seat.session_over() else { panic!("it is over") };
        seat.lose(why).await;
        let Turn::Lost { partitions, why } = turns.recv().await.unwrap().unwrap() else { panic!("all is lost") };
        assert_eq!((partitions.len(), why.as_str()), (1, "no heartbeat was answered for 10.0 s"));
        assert!(seat.session_over().is_ok(), "there is nothing to lose any more");
    }

    #[tokio::test]
    async fn offsets_that_could_not_be_told_do_not_hide_newer_ones() {
        let (mut seat, _turns) = seat();
        seat.take(&share(&[0, 1]), false).await;
        let [first, second] = share(&[0, 1]).into_iter().collect::<Vec<_>>().try_into().unwrap();
        seat.outlets.reached.note(first.clone(), 10);
        seat.outlets.reached.note(second.clone(), 10);
        let unsaid = seat.unsaid();
        seat.outlets.reached.note(first.clone(), 20);
        seat.said_nothing(unsaid);
        assert_eq!(seat.unsaid(), [(first, 20), (second, 10)].into());
    }
}
