//! How a batch becomes rows of the lake: decoder, model and columns, bound to each other and swapped as one.
//!
//! Invariant: what goes into a segment was decoded and scored by the works that the segment was begun with.

use std::sync::Arc;

use super::{Fetched, LaneError, memory::Reservation, schemas::Writers};
use crate::{
    decode::{Decoder, Schemas},
    lake::{Layout, Scored, Segment},
    model::Scorer,
    record::{Batch, Record},
    registry::RegistryError,
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

    /// Takes a batch into a segment that was begun with these works; gives back what didn't fit.
    pub(super) fn append(
        self: Arc<Self>,
        segment: &mut Segment,
        work: Work,
        schemas: &Schemas,
        now_ms: i64,
    ) -> Result<Option<Work>, LaneError> {
        let scored = match work {
            Work::Fetched(fetched) => self.score(fetched.batch, schemas, now_ms)?,
            Work::Left { scored, by } if Arc::ptr_eq(&by, &self) => *scored,
            Work::Left { scored, .. } => self.score(scored.batch, schemas, now_ms)?,
        };
        let left = segment.append(scored)?;
        Ok(left.map(|scored| Work::Left { scored: Box::new(scored), by: self }))
    }

    /// Decodes and scores a batch: the one way there is for a record to become a row.
    pub fn score(&self, batch: Batch, schemas: &Schemas, now_ms: i64) -> Result<Scored, LaneError> {
        let decoded = self.decoder.decode_with(&batch.records, schemas, now_ms)?;
        let scores = self.scorer.score(&decoded.rows.columns)?;
        Ok(Scored { batch, decoded, scores })
    }
}
