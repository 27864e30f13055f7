//! Keeps a lane going.
//!
//! Owns: what a lane's failure means, and how long it is tried again. Does not own: what happens inside one.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep};

use super::Mode;
use crate::{
    broker::Broker,
    lane::{self, Lane, LaneError, Limits, Standing},
    telemetry::chain,
};

/// Between tries of a lane that failed; doubles up to the other.
const RETRY_WAIT: Duration = Duration::from_millis(200);
const RETRY_WAIT_MAX: Duration = Duration::from_secs(15);

/// How long a lane is tried again while it gets nowhere.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// For ever, if none.
    failing: Option<Duration>,
    refused: Duration,
}

impl Patience {
    /// A batch gives a lane up in the end; a stream does so only where its credentials are refused.
    pub(super) fn of(mode: &Mode, limits: &Limits) -> Self {
        let failing = (*mode != Mode::Stream).then_some(limits.retry_for_max);
        Self { failing, refused: limits.retry_for_max }
    }
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
pub(super) async fn supervise(lane: Lane, broker: Broker, patience: Patience) -> Result<(), String> {
    let id = lane.ledger.id().clone();
    let mut stuck = Stuck::default();
    let mut wait = RETRY_WAIT;
    loop {
        let before = lane.status.position();
        let Err(error) = attempt(&lane, &broker).await else {
            lane.status.stands(Standing::Ended);
            return Ok(());
        };
        let trouble = chain(&error);
        if lane.status.position() > before {
            stuck = Stuck::default();
            wait = RETRY_WAIT;
        }
        if stuck.ends_with(&error, patience) {
            let told = format!("{id}: {trouble}");
            tracing::error!("lane stopped: {told}");
            metrics::counter!("alluvium_lanes_stopped_total").increment(1);
            lane.journal.tell("stop", &told);
            lane.status.stands(Standing::Stopped(trouble));
            return Err(told);
        }
        tracing::warn!(lane = %id, error = trouble, "trying again from the ledger in {wait:?}");
        metrics::counter!("alluvium_retries_total", "cause" => error.cause()).increment(1);
        lane.journal.retried();
        lane.journal.tell("retry", &format!("{id}: {trouble}"));
        lane.status.stands(Standing::Waiting(trouble));
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
