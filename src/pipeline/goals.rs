//! What a batch run of a group is to reach, whoever does it.
//!
//! Owns: the look at all partitions' heads in the ledger, and at the ends of this worker's. Does not own: what follows
//! from it ([`super::membership`], [`super::run`]).

use std::{collections::BTreeMap, time::Duration};

use tokio::{
    sync::watch,
    time::{Instant, sleep},
};
use tokio_util::task::AbortOnDropHandle;

use super::Pipeline;
use crate::{
    broker::{Broker, TopicPartition},
    lake::{LakeError, Ledger},
};

/// Between two looks at what others have not finished.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Where each partition ended when the run began.
#[derive(Debug)]
pub(super) struct Goals(BTreeMap<TopicPartition, i64>);

/// What a look shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Standing {
    /// The partitions that are not where this batch would have them, and where they are.
    pub short: BTreeMap<TopicPartition, i64>,
    /// Where this worker's partitions end by now, once it has waited in vain.
    pub ends: BTreeMap<TopicPartition, i64>,
}

/// A look that goes on until all is done.
pub(super) struct Watched {
    standing: watch::Receiver<Standing>,
    _looking: AbortOnDropHandle<()>,
}

/// What is looked at.
struct Look {
    open: BTreeMap<TopicPartition, Aim>,
    held: Vec<TopicPartition>,
    broker: Broker,
}

struct Aim {
    ledger: Ledger,
    goal: i64,
    /// As it was seen last.
    head: i64,
}

impl Goals {
    pub fn new(goals: BTreeMap<TopicPartition, i64>) -> Self {
        Self(goals)
    }

    /// Until all is done; each time that `patience` has gone by, also at the ends of what this worker holds.
    pub fn watch(&self, pipeline: &Pipeline, held: Vec<TopicPartition>, patience: Duration) -> Watched {
        let of = |(place, goal): (&TopicPartition, &i64)| {
            let flow = pipeline.settings.flows.of_topic(&place.topic)?;
            let ledger = pipeline.ledger(&flow.dataset, place.partition);
            Some((place.clone(), Aim { ledger, goal: *goal, head: 0 }))
        };
        let open: BTreeMap<_, _> = self.0.iter().filter_map(of).collect();
        let short = open.keys().map(|place| (place.clone(), 0)).collect();
        let (told, standing) = watch::channel(Standing { short, ..Standing::default() });
        let look = Look { open, held, broker: pipeline.broker.clone() };
        Watched { standing, _looking: AbortOnDropHandle::new(tokio::spawn(look.go_on(told, patience))) }
    }
}

impl Watched {
    pub fn standing(&self) -> Standing {
        self.standing.borrow().clone()
    }
}

impl Look {
    async fn go_on(mut self, told: watch::Sender<Standing>, patience: Duration) {
        let mut in_vain = Instant::now() + patience;
        let mut ends = BTreeMap::new();
        loop {
            let short = self.heads().await;
            if !short.is_empty() && Instant::now() >= in_vain {
                ends.append(&mut self.ends().await);
                in_vain = Instant::now() + patience;
            }
            let done = short.is_empty();
            told.send_replace(Standing { short, ends: ends.clone() });
            if done {
                return;
            }
            sleep(LOOK_EVERY).await;
        }
    }

    async fn heads(&mut self) -> BTreeMap<TopicPartition, i64> {
        let mut short = BTreeMap::new();
        for (place, mut aim) in std::mem::take(&mut self.open) {
            let done = aim.is_reached().await.unwrap_or_else(|error| {
                tracing::warn!(lane = %aim.ledger.id(), %error, "could not look how far it is");
                false
            });
            if !done {
                short.insert(place.clone(), aim.head);
                self.open.insert(place, aim);
            }
        }
        short
    }

    async fn ends(&self) -> BTreeMap<TopicPartition, i64> {
        let mut ends = BTreeMap::new();
        for place in &self.held {
            let end = async { self.broker.partition(&place.topic, place.partition).await?.latest().await };
            match end.await {
                Ok(end) => drop(ends.insert(place.clone(), end)),
                Err(error) => tracing::warn!(%place, %error, "could not look where it ends by now"),
            }
        }
        ends
    }
}

impl Aim {
    /// Whether readers see all of it: who brought it there may have died before the last was published.
    async fn is_reached(&mut self) -> Result<bool, LakeError> {
        let Some(genesis) = self.ledger.genesis().await? else { return Ok(self.goal == 0) };
        self.head = self.ledger.look(&genesis).await?.position;
        if self.head < self.goal {
            return Ok(false);
        }
        self.ledger.head(&genesis).await?;
        Ok(true)
    }
}
