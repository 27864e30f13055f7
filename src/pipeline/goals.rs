//! What a batch run of a group is to reach, whoever does it.
//!
//! Owns: the look at all partitions' heads in the ledger. Does not own: what follows from it ([`super::membership`]).

use std::{collections::BTreeMap, time::Duration};

use tokio::{sync::watch, time::sleep};
use tokio_util::task::AbortOnDropHandle;

use super::Pipeline;
use crate::{
    broker::TopicPartition,
    lake::{LakeError, Ledger},
};

/// Between two looks at what others have not finished.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Where each partition ended when the run began.
#[derive(Debug)]
pub(super) struct Goals(BTreeMap<TopicPartition, i64>);

/// A look that goes on until all is done.
pub(super) struct Watched {
    unfinished: watch::Receiver<usize>,
    _looking: AbortOnDropHandle<()>,
}

impl Goals {
    pub fn new(goals: BTreeMap<TopicPartition, i64>) -> Self {
        Self(goals)
    }

    pub fn watch(&self, pipeline: &Pipeline) -> Watched {
        let flows = &pipeline.settings.flows;
        let of = |(place, goal): (&TopicPartition, &i64)| {
            let flow = flows.of_topic(&place.topic)?;
            Some((pipeline.ledger(&flow.dataset, place.partition), *goal))
        };
        let mut open: Vec<(Ledger, i64)> = self.0.iter().filter_map(of).collect();
        let (told, unfinished) = watch::channel(open.len());
        let looking = async move {
            loop {
                let mut still = vec![];
                for (ledger, goal) in open {
                    match is_at(&ledger, goal).await {
                        Ok(true) => {}
                        Ok(false) => still.push((ledger, goal)),
                        Err(error) => {
                            tracing::warn!(lane = %ledger.id(), %error, "could not look how far it is");
                            still.push((ledger, goal));
                        }
                    }
                }
                open = still;
                told.send_replace(open.len());
                if open.is_empty() {
                    return;
                }
                sleep(LOOK_EVERY).await;
            }
        };
        Watched { unfinished, _looking: AbortOnDropHandle::new(tokio::spawn(looking)) }
    }
}

impl Watched {
    pub fn unfinished(&self) -> usize {
        *self.unfinished.borrow()
    }
}

async fn is_at(ledger: &Ledger, goal: i64) -> Result<bool, LakeError> {
    match ledger.genesis().await? {
        Some(genesis) => Ok(genesis.start >= goal || ledger.look(&genesis).await?.position >= goal),
        None => Ok(goal == 0),
    }
}
