//! Members that do as they are asked, and the floor on which they hold partitions.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use alluvium::broker::{
    Broker, BrokerError, BrokerLimits, GroupProtocol, GroupSettings, GroupStatus, Member, Revocation, TopicPartition,
    Turn,
};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
};

use crate::support::until;

pub type Share = BTreeSet<TopicPartition>;

/// Who holds what, by all that the members were told.
#[derive(Clone, Debug, Default)]
pub struct Floor {
    holders: Arc<Mutex<BTreeMap<TopicPartition, String>>>,
    moves: Arc<AtomicUsize>,
    overlaps: Arc<AtomicUsize>,
}

/// One member.
pub struct Hand {
    pub name: String,
    held: Arc<Mutex<Share>>,
    losses: Arc<AtomicUsize>,
    status: Arc<Mutex<Arc<GroupStatus>>>,
    error: Arc<Mutex<Option<BrokerError>>>,
    topics: watch::Sender<Arc<[Arc<str>]>>,
    orders: mpsc::UnboundedSender<Order>,
    working: JoinHandle<()>,
}

enum Order {
    Reached(TopicPartition, i64),
    /// Revocations are kept from now on, until told otherwise.
    Cling(bool),
    Leave {
        for_good: bool,
        done: oneshot::Sender<()>,
    },
}

pub const LIMITS: BrokerLimits = BrokerLimits {
    connect_timeout: Duration::from_secs(30),
    request_timeout: Duration::from_secs(10),
    fetch_bytes_max: 1 << 20,
    fetch_wait_max: Duration::from_millis(100),
};

/// The shortest session that a broker allows by default, so that no test waits longer than it must.
pub const SESSION: Duration = Duration::from_secs(6);

pub fn settings(group: &str) -> GroupSettings {
    GroupSettings {
        name: group.into(),
        instance: None,
        protocol: GroupProtocol::Classic,
        session_timeout: SESSION,
        heartbeat_every: Duration::from_millis(200),
        handover_max: Duration::from_secs(20),
    }
}

pub fn as_instance(group: &str, instance: &str) -> GroupSettings {
    GroupSettings { instance: Some(instance.into()), ..settings(group) }
}

pub fn topics(names: &[&str]) -> Arc<[Arc<str>]> {
    names.iter().map(|name| Arc::from(*name)).collect()
}

impl Floor {
    pub async fn joins(&self, brokers: &str, name: &str, settings: GroupSettings, topic: &str) -> Hand {
        let brokers: Vec<String> = brokers.split(',').map(str::to_owned).collect();
        let broker = Broker::connect(&brokers, LIMITS).await.unwrap();
        let (topics, wanted) = watch::channel(topics(&[topic]));
        let member = broker.join_group(settings, wanted);
        let (orders, taken) = mpsc::unbounded_channel();
        let work = Work {
            name: name.into(),
            floor: self.clone(),
            held: Arc::default(),
            losses: Arc::default(),
            status: Arc::new(Mutex::new(member.status())),
            error: Arc::default(),
            clinging: None,
        };
        Hand {
            name: name.into(),
            held: Arc::clone(&work.held),
            losses: Arc::clone(&work.losses),
            status: Arc::clone(&work.status),
            error: Arc::clone(&work.error),
            topics,
            orders,
            working: tokio::spawn(work.go(member, taken)),
        }
    }

    /// How often a partition has come to another holder than before.
    pub fn moves(&self) -> usize {
        self.moves.load(Ordering::SeqCst)
    }

    /// How often a partition was given to one while another still held it.
    pub fn overlaps(&self) -> usize {
        self.overlaps.load(Ordering::SeqCst)
    }

    /// Waits until the hands hold all partitions between them, each as many as its fair share.
    pub async fn shared_evenly(&self, hands: &[&Hand], partitions: usize) {
        let fair = partitions / hands.len()..=partitions.div_ceil(hands.len());
        until("the partitions are shared evenly", async || {
            let shares: Vec<Share> = hands.iter().map(|hand| hand.held()).collect();
            let all: Share = shares.iter().flatten().cloned().collect();
            all.len() == partitions && shares.iter().all(|share| fair.contains(&share.len()))
        })
        .await;
        let held: usize = hands.iter().map(|hand| hand.held().len()).sum();
        assert_eq!(held, partitions, "no partition is held twice");
    }

    fn given(&self, name: &str, partitions: &[TopicPartition]) {
        let mut holders = self.holders.lock().unwrap();
        for partition in partitions {
            match holders.insert(partition.clone(), name.into()) {
                Some(other) if other != name => drop(self.overlaps.fetch_add(1, Ordering::SeqCst)),
                _ => {}
            }
        }
        self.moves.fetch_add(partitions.len(), Ordering::SeqCst);
    }

    fn given_up(&self, name: &str, partitions: &[TopicPartition]) {
        let mut holders = self.holders.lock().unwrap();
        holders.retain(|partition, holder| holder != name || !partitions.contains(partition));
    }
}

impl Hand {
    pub fn held(&self) -> Share {
        self.held.lock().unwrap().clone()
    }

    /// How often it was told that all is lost.
    pub fn losses(&self) -> usize {
        self.losses.load(Ordering::SeqCst)
    }

    pub fn status(&self) -> Arc<GroupStatus> {
        self.status.lock().unwrap().clone()
    }

    pub fn wants(&self, names: &[&str]) {
        self.topics.send_replace(topics(names));
    }

    pub fn reached(&self, partition: &TopicPartition, offset: i64) {
        self.orders.send(Order::Reached(partition.clone(), offset)).unwrap();
    }

    pub fn clings(&self, clings: bool) {
        self.orders.send(Order::Cling(clings)).unwrap();
    }

    pub async fn leaves(self, for_good: bool) {
        let (done, left) = oneshot::channel();
        self.orders.send(Order::Leave { for_good, done }).unwrap();
        left.await.unwrap();
    }

    /// As by `kill -9`: without a word.
    pub async fn dies(self) {
        self.working.abort();
        let _aborted = self.working.await;
    }

    pub async fn fails(&self) -> String {
        until("a person is called", async || self.error.lock().unwrap().is_some()).await;
        self.error.lock().unwrap().as_ref().unwrap().to_string()
    }
}

struct Work {
    name: String,
    floor: Floor,
    held: Arc<Mutex<Share>>,
    losses: Arc<AtomicUsize>,
    status: Arc<Mutex<Arc<GroupStatus>>>,
    error: Arc<Mutex<Option<BrokerError>>>,
    clinging: Option<Vec<Revocation>>,
}

impl Work {
    async fn go(mut self, mut member: Member, mut orders: mpsc::UnboundedReceiver<Order>) {
        loop {
            tokio::select! {
                turn = member.next() => {
                    *self.status.lock().unwrap() = member.status();
                    match turn {
                        Ok(turn) => self.turn(turn),
                        Err(error) => drop(self.error.lock().unwrap().replace(error)),
                    }
                }
                order = orders.recv() => match order {
                    Some(Order::Reached(partition, offset)) => member.reached(partition, offset),
                    Some(Order::Cling(true)) => drop(self.clinging.get_or_insert_default()),
                    Some(Order::Cling(false)) => {
                        for revocation in self.clinging.take().into_iter().flatten() {
                            self.give_up(revocation);
                        }
                    }
                    Some(Order::Leave { for_good, done }) => {
                        let held: Vec<_> = std::mem::take(&mut *self.held.lock().unwrap()).into_iter().collect();
                        self.floor.given_up(&self.name, &held);
                        member.leave(for_good).await;
                        done.send(()).unwrap();
                        return;
                    }
                    None => return,
                }
            }
        }
    }

    fn turn(&mut self, turn: Turn) {
        match turn {
            Turn::Assigned(partitions) => {
                self.floor.given(&self.name, &partitions);
                let mut held = self.held.lock().unwrap();
                for partition in partitions {
                    assert!(held.insert(partition.clone()), "{} has {partition} already", self.name);
                }
            }
            Turn::Revoked(revocation) => match &mut self.clinging {
                Some(clinging) => clinging.push(revocation),
                None => self.give_up(revocation),
            },
            Turn::Lost { partitions, .. } => {
                self.clinging = None;
                self.losses.fetch_add(1, Ordering::SeqCst);
                self.floor.given_up(&self.name, &partitions);
                let mut held = self.held.lock().unwrap();
                assert_eq!(*held, partitions.into_iter().collect(), "{} loses all that it has", self.name);
                held.clear();
            }
        }
    }

    fn give_up(&self, revocation: Revocation) {
        self.floor.given_up(&self.name, &revocation.partitions);
        let mut held = self.held.lock().unwrap();
        for partition in &revocation.partitions {
            assert!(held.remove(partition), "{} gives up what it has", self.name);
        }
        drop(held);
        revocation.done();
    }
}
