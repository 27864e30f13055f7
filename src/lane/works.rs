//! How a batch becomes rows of the lake: decoder, model and columns, bound to each other and swapped as one.
//!
//! Invariant: what goes into a segment was decoded and scored by the works that the segment was begun with.

use std::{sync::Arc, time::Instant};

use super::{Fetched, LaneError, memory::Reservation, schemas::Writers};
use crate::{
    decode::{Decoder, Schemas},
    lake::{Layout, Scored, Segment},
    model::Scorer,
    record::{Batch, Record},
    registry::RegistryError,
    telemetry::meter::{Step, Steps},
};

/// What all lanes share, until a newly promoted model brings others.
#[derive(Debug)]
pub struct Works {
    pub decoder: Decoder,
    /// Whoever decodes asks for a batch's schemas first, see [`Self::schemas`].
    pub writers: Writers,
    pub scorer: Scorer,
    pub layout: Arc<Layout>,
}

/// A batch on its way into a segment.
#[derive(Debug)]
pub(super) enum Work {
    Fetched(Fetched),
    /// What is left of a batch that the last segment had to be cut in, and who scored it.
    Left {
        scored: Box<Scored>,
        by: Arc<Works>,
    },
}

impl Work {
    /// When its first record was written to the broker.
    pub(super) fn first_ms(&self) -> Option<i64> {
        let records = match self {
            Self::Fetched(fetched) => &fetched.batch.records,
            Self::Left { scored, .. } => &scored.batch.records,
        };
        records.first().map(|record| record.timestamp_ms)
    }

    /// What was set aside for the batch: it is to outlive it until the segment is counted.
    pub(super) fn take_memory(&mut self) -> Option<Reservation> {
        match self {
            Self::Fetched(fetched) => fetched.memory.take(),
            Self::Left { .. } => None,
        }
    }
}

impl Works {
    /// The schemas that some records were written by, for [`Decoder::decode_with`]; may ask the registry.
    pub async fn schemas(&self, records: &[Record]) -> Result<Schemas, RegistryError> {
        self.writers.of(&self.decoder, records).await
    }

    /// The same for what is to be done; what is decoded already needs none.
    pub(super) async fn schemas_for(self: &Arc<Self>, work: &Work) -> Result<Schemas, RegistryError> {
        match work {
            Work::Fetched(fetched) => self.schemas(&fetched.batch.records).await,
            Work::Left { by, .. } if Arc::ptr_eq(by, self) => Ok(Schemas::default()),
            Work::Left { scored, .. } => self.schemas(&scored.batch.records).await,
        }
    }

    /// Takes a batch into a segment that was begun with these works; gives back what didn't fit. Tells how long it took.
    pub(super) fn append(
        self: Arc<Self>,
        segment: &mut Segment,
        work: Work,
        schemas: &Schemas,
        now_ms: i64,
        steps: &Steps,
    ) -> Result<Option<Work>, LaneError> {
        let scored = match work {
            Work::Fetched(fetched) => self.score_timed(fetched.batch, schemas, now_ms, steps)?,
            Work::Left { scored, by } if Arc::ptr_eq(&by, &self) => *scored,
            Work::Left { scored, .. } => self.score_timed(scored.batch, schemas, now_ms, steps)?,
        };
        let began = Instant::now();
        let left = segment.append(scored)?;
        steps.record(Step::Encode, began.elapsed());
        Ok(left.map(|scored| Work::Left { scored: Box::new(scored), by: self }))
    }

    /// Decodes and scores a batch.
    pub fn score(&self, batch: Batch, schemas: &Schemas, now_ms: i64) -> Result<Scored, LaneError> {
        self.score_timed(batch, schemas, now_ms, &Steps::default())
    }

    /// The one way there is for a record to become a row.
    fn score_timed(&self, batch: Batch, schemas: &Schemas, now_ms: i64, steps: &Steps) -> Result<Scored, LaneError> {
        let began = Instant::now();
        let decoded = self.decoder.decode_with(&batch.records, schemas, now_ms)?;
        let decoded_at = Instant::now();
        let scores = self.scorer.score(&decoded.rows.columns)?;
        steps.record(Step::Decode, decoded_at - began);
        steps.record(Step::Score, decoded_at.elapsed());
        Ok(Scored { batch, decoded, scores })
    }
}
