//! The classic protocol: members join, one of them leads and shares out the partitions, all keep theirs by heartbeats.
//!
//! Owns: the order of join, sync and heartbeats, and what follows from each refusal. Does not own: who gets what
//! ([`super::assign`]), what is held ([`super::seat`]).

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    sync::Arc,
    time::Duration,
};

use rskafka::{client::error::ProtocolError, protocol::traits::WriteError};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::{
    super::cause::Cause,
    TopicPartition,
    assign::{Members, Plan, assign},
    coordinator::Coordinator,
    members::{Pause, ask_max, millis, rebalance_timeout, recover, refused},
    messages::{Heartbeat, JoinGroup, Joined, LeaveGroup, SyncGroup},
    offsets::commit_offsets,
    seat::Seat,
    subscription::{NO_GENERATION, PROTOCOL, PROTOCOL_TYPE, Subscription, read_assignment, write_assignment},
    topics::{AskTopics, Topic},
    trouble::Trouble,
};

/// How often the member that leads looks whether topics have more partitions now.
const TOPICS_ASKED_EVERY: Duration = Duration::from_secs(5);

/// Partitions by topic, as the broker has them.
type Partitions = BTreeMap<Arc<str>, Vec<i32>>;

/// A member of the classic protocol.
#[derive(Debug)]
pub(super) struct Classic {
    pub(super) seat: Seat,
    pub(super) coordinator: Coordinator,
    /// While this member leads.
    lead: Option<Lead>,
    /// It has come back under its name to a broker that would not say.
    may_lead: bool,
}

/// What the member that leads must watch.
#[derive(Debug)]
struct Lead {
    /// As they were shared out.
    partitions: Partitions,
    /// What any member wants, whether or not it is there.
    topics: BTreeSet<Arc<str>>,
    looked: Instant,
    /// When the partitions are to be shared out anew whatever happens, and why.
    anew_at: Option<(Instant, &'static str)>,
}

impl Classic {
    pub(super) fn new(seat: Seat, coordinator: Coordinator) -> Self {
        Self { seat, coordinator, lead: None, may_lead: false }
    }

    /// Generation after generation, until only a person can help.
    pub(super) async fn run(&mut self) -> Result<Infallible, Cause> {
        let mut pause = Pause::default();
        loop {
            match self.generation().await {
                Ok(()) => pause = Pause::default(),
                // It was told the name to join by, and does.
                Err(Trouble::Named) => {}
                Err(trouble) => {
                    recover(&mut self.seat, &mut self.coordinator, trouble, NO_GENERATION).await?;
                    pause.wait().await;
                }
            }
        }
    }

    /// One generation: joins, takes what is given, and keeps it until the group forms anew.
    async fn generation(&mut self) -> Result<(), Trouble> {
        let joined = self.join().await?;
        let plan = self.lead(joined).await?;
        let assigned = self.sync(plan).await?;
        self.seat.take(&assigned, self.lead.is_some()).await;
        self.keep().await
    }

    /// Answered when all members have joined, or the slowest has had its time.
    async fn join(&mut self) -> Result<Joined, Trouble> {
        let subscription = Subscription {
            topics: self.seat.wanted(),
            held: self.seat.held().clone(),
            generation: self.seat.held_since(),
        };
        let metadata = subscription.write().map_err(|error| Cause::senseless(&error.to_string()))?;
        let settings = &self.seat.settings;
        let request = JoinGroup {
            speaker: self.seat.speaker(),
            session_ms: millis(settings.session_timeout),
            rebalance_ms: millis(rebalance_timeout(settings)),
            protocol_type: PROTOCOL_TYPE,
            protocol: PROTOCOL,
            metadata: &metadata,
            reason: self.seat.why(),
        };
        let (named, comes_back) = (settings.instance.is_some(), self.seat.member.is_empty());
        let joined = self.coordinator.ask(request, self.formation_max()).await?;
        self.may_lead = named && comes_back && !joined.tells_returned_leader;
        if joined.error == Some(ProtocolError::MemberIdRequired) {
            self.seat.member.clone_from(&joined.member);
        }
        refused(joined.error)?;
        self.seat.heard(Instant::now());
        self.seat.member.clone_from(&joined.member);
        self.seat.generation = joined.generation;
        Ok(joined)
    }

    /// The longest that the others may keep this member waiting.
    fn formation_max(&self) -> Duration {
        self.seat.settings.handover_max + self.seat.settings.session_timeout + self.coordinator.limits().request_timeout
    }

    /// What each member gets, if this one leads.
    async fn lead(&mut self, joined: Joined) -> Result<Plan, Trouble> {
        let known = self.lead.take().map_or_else(Partitions::new, |lead| lead.partitions);
        if joined.leader != joined.member {
            return Ok(Plan::default());
        }
        let members: Members = joined.members.into_iter().map(|(member, said)| (member, heed(said))).collect();
        let topics: BTreeSet<Arc<str>> = members.values().flat_map(|member| member.topics.iter().cloned()).collect();
        let partitions = self.partitions(&topics, &known).await?;
        let plan = if joined.skip_assignment { Plan::default() } else { assign(&members, &partitions) };
        let patience = self.seat.settings.handover_max + self.seat.settings.session_timeout;
        self.lead = Some(Lead {
            partitions,
            topics,
            looked: Instant::now(),
            anew_at: if joined.skip_assignment {
                // It came back by its name and took over what it had shared out before; what had changed meanwhile it
                // does not know.
                Some((Instant::now(), "the leader is back, and looks what has changed"))
            } else {
                // Who was to give them up may be gone, or never have held them, and has no reason to join again.
                let late = "partitions that were to be given up are still nobody's";
                (!plan.held_back.is_empty()).then(|| (Instant::now() + patience, late))
            },
        });
        Ok(plan)
    }

    /// Where the broker can't tell for now, it is as it was.
    async fn partitions(&mut self, topics: &BTreeSet<Arc<str>>, known: &Partitions) -> Result<Partitions, Trouble> {
        let names: Vec<&str> = topics.iter().map(|topic| &**topic).collect();
        let limit = ask_max(&self.seat, &self.coordinator);
        let told = self.coordinator.ask(AskTopics(&names), limit).await?.0;
        let mut partitions = Partitions::new();
        for Topic { error, name, partitions: of_topic, .. } in told {
            match (error, known.get_key_value(&*name)) {
                (None, _) => drop(partitions.insert(name.into(), of_topic)),
                (Some(error), Some((topic, before))) if error != ProtocolError::UnknownTopicOrPartition => {
                    tracing::info!(%topic, %error, "the broker can't tell the topic's partitions for now");
                    partitions.insert(Arc::clone(topic), before.clone());
                }
                // Another member may see what this one may not, or know what is not everywhere known yet.
                (Some(error), _) => tracing::warn!(topic = name, %error, "the topic's partitions are not shared out"),
            }
        }
        Ok(partitions)
    }

    async fn sync(&mut self, plan: Plan) -> Result<BTreeSet<TopicPartition>, Trouble> {
        let shares = plan.shares.into_iter().map(|(member, share)| Ok((member, write_assignment(&share)?)));
        let assignments: Vec<_> =
            shares.collect::<Result<_, WriteError>>().map_err(|error| Cause::senseless(&error.to_string()))?;
        let request = SyncGroup {
            speaker: self.seat.speaker(),
            protocol_type: PROTOCOL_TYPE,
            protocol: PROTOCOL,
            assignments: &assignments,
        };
        let synced = self.coordinator.ask(request, self.formation_max()).await?;
        refused(synced.error)?;
        self.seat.heard(Instant::now());
        Ok(read_assignment(synced.assignment).map_err(|error| Cause::senseless(&error.to_string()))?)
    }

    /// Heartbeats, until there is a reason to join again.
    async fn keep(&mut self) -> Result<(), Trouble> {
        let mut beat = interval(self.seat.settings.heartbeat_every);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // While partitions are being given up, whatever else calls for a rejoin waits for that.
        let mut rejoin = false;
        loop {
            if rejoin && !self.seat.is_giving_up() {
                return Ok(());
            }
            tokio::select! {
                () = self.seat.given_up() => {
                    commit_offsets(&mut self.seat, &mut self.coordinator).await;
                    self.seat.let_go();
                    self.seat.rebalance("partitions were given up for others");
                    rejoin = true;
                }
                _ = beat.tick() => rejoin |= self.beat().await?,
                Ok(()) = self.seat.topics.changed(), if !rejoin => {
                    self.seat.rebalance("this worker reads other topics now");
                    rejoin = true;
                }
            }
        }
    }

    /// Whether to join again.
    async fn beat(&mut self) -> Result<bool, Trouble> {
        self.seat.session_over()?;
        let limit = ask_max(&self.seat, &self.coordinator);
        let asked = Instant::now();
        let told = match self.coordinator.ask(Heartbeat(self.seat.speaker()), limit).await {
            Ok(told) => refused(told.error),
            Err(cause) => Err(cause.into()),
        };
        match told {
            Ok(()) => self.seat.heard(asked),
            Err(Trouble::Again) => {
                self.seat.heard(asked);
                self.seat.rebalance("members came or went");
                return Ok(true);
            }
            // The session goes on as long as its time does: the next one may be answered, maybe elsewhere.
            Err(Trouble::Passing(cause)) => {
                tracing::info!(group = self.seat.settings.name, cause = cause.text, "a heartbeat came to nothing");
                self.coordinator.moved();
                return Ok(false);
            }
            Err(trouble) => return Err(trouble),
        }
        commit_offsets(&mut self.seat, &mut self.coordinator).await;
        self.look().await
    }

    /// Whether what this member has shared out, if it leads, must be shared out anew.
    async fn look(&mut self) -> Result<bool, Trouble> {
        let Some(lead) = &mut self.lead else {
            let asks = std::mem::take(&mut self.may_lead);
            if asks {
                self.seat.rebalance("back under its name, and asking who leads");
            }
            return Ok(asks);
        };
        if let Some((_, why)) = lead.anew_at.filter(|(at, _)| *at <= Instant::now()) {
            self.seat.rebalance(why);
            return Ok(true);
        }
        if lead.looked.elapsed() < TOPICS_ASKED_EVERY {
            return Ok(false);
        }
        lead.looked = Instant::now();
        let (topics, known) = (lead.topics.clone(), lead.partitions.clone());
        match self.partitions(&topics, &known).await {
            Ok(now) if now != known => {
                self.seat.rebalance("topics have other partitions now");
                Ok(true)
            }
            Ok(_) | Err(Trouble::Passing(_)) => Ok(false),
            Err(trouble) => Err(trouble),
        }
    }

    /// Over a new connection, as the old one may be waiting for an answer.
    pub(super) async fn leave(&mut self, for_good: bool) -> Result<(), Trouble> {
        self.coordinator.moved();
        commit_offsets(&mut self.seat, &mut self.coordinator).await;
        if self.seat.member.is_empty() || (self.seat.settings.instance.is_some() && !for_good) {
            return Ok(());
        }
        let limit = ask_max(&self.seat, &self.coordinator);
        let request = LeaveGroup { speaker: self.seat.speaker(), reason: "the worker stopped" };
        refused(self.coordinator.ask(request, limit).await?.error)
    }
}

/// What a member says; one that can't be understood gets nothing.
fn heed(said: Vec<u8>) -> Subscription {
    Subscription::read(said).unwrap_or_else(|error| {
        tracing::warn!(%error, "a member of the group can't be understood, and gets no partitions");
        Subscription { topics: BTreeSet::new(), held: BTreeSet::new(), generation: NO_GENERATION }
    })
}
