//! A stream's look for topics and partitions that were not there when it began.
//!
//! Owns: when it is looked. Does not own: what is wanted ([`super::flows`]), what is done with what was found
//! ([`super::run`]).

use std::future::pending;

use tokio::{
    sync::mpsc,
    time::{MissedTickBehavior, interval},
};
use tokio_util::task::AbortOnDropHandle;

use super::{Flow, Found, Pipeline};
use crate::{
    broker::Start,
    lake::{LakeError, LateOrigins},
};

/// A look that nobody has taken yet.
const FOUND_WAITING_MAX: usize = 1;

/// Looks in a task of its own: a broker that does not answer must not hold up what the group asks for.
pub(super) struct Finder {
    found: mpsc::Receiver<Found>,
    _looking: AbortOnDropHandle<()>,
}

impl Finder {
    pub fn start(pipeline: &Pipeline) -> Self {
        let (flows, broker) = (pipeline.settings.flows.clone(), pipeline.broker.clone());
        let every = pipeline.settings.limits.partitions_refresh;
        let mut late = (pipeline.settings.source.start == Start::Latest).then(|| {
            LateOrigins::new(pipeline.store.clone(), pipeline.settings.lake.generation, pipeline.writer.clone())
        });
        let (send, found) = mpsc::channel(FOUND_WAITING_MAX);
        let looking = async move {
            let mut refresh = interval(every);
            refresh.set_missed_tick_behavior(MissedTickBehavior::Delay);
            refresh.reset();
            while !send.is_closed() {
                refresh.tick().await;
                let found = match flows.look(&broker).await {
                    Ok(found) => found,
                    Err(error) => {
                        tracing::warn!(%error, "could not look for new partitions");
                        continue;
                    }
                };
                if let Err(error) = begin_late(late.as_mut(), &found).await {
                    tracing::warn!(%error, "new topics have to wait");
                    continue;
                }
                // The run is over when nobody takes it.
                let _ = send.send(found).await;
            }
        };
        Self { found, _looking: AbortOnDropHandle::new(tokio::spawn(looking)) }
    }
}

async fn begin_late(late: Option<&mut LateOrigins>, found: &Found) -> Result<(), LakeError> {
    let Some(late) = late else { return Ok(()) };
    for Flow { dataset, .. } in found.flows.keys() {
        late.begin(dataset).await?;
    }
    Ok(())
}

/// What the next look finds; nothing, where nobody looks.
pub(super) async fn found(finder: Option<&mut Finder>) -> Option<Found> {
    match finder {
        Some(finder) => finder.found.recv().await,
        None => pending().await,
    }
}
