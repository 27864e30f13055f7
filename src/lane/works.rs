//! How a batch becomes rows of the lake: decoder, model and columns, bound to each other and swapped as one.
//!
//! Invariant: what goes into a segment was decoded and scored by the works that the segment was begun with.

use std::sync::Arc;

use super::{Fetched, LaneError, memory::Reservation};
use crate::{
    decode::Decoder,
    lake::{Layout, Scored, Segment},
    model::Scorer,
    record::Batch,
};

/// What all lanes share, until a newly promoted model brings others.
#[derive(Debug)]
pub struct Works {
    pub decoder: Decoder,
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
    /// Takes a batch into a segment that was begun with these works; gives back what didn't fit.
    pub(super) fn append(
        self: Arc<Self>,
        segment: &mut Segment,
        work: Work,
        now_ms: i64,
    ) -> Result<Option<Work>, LaneError> {
        let scored = match work {
            Work::Fetched(fetched) => self.score(fetched.batch, now_ms)?,
            Work::Left { scored, by } if Arc::ptr_eq(&by, &self) => *scored,
            Work::Left { scored, .. } => self.score(scored.batch, now_ms)?,
        };
        let left = segment.append(scored)?;
        Ok(left.map(|scored| Work::Left { scored: Box::new(scored), by: self }))
    }

    /// Decodes and scores a batch: the one way there is for a record to become a row.
    pub fn score(&self, batch: Batch, now_ms: i64) -> Result<Scored, LaneError> {
        let decoded = self.decoder.decode(&batch.records, now_ms)?;
        let scores = self.scorer.score(&decoded.rows.columns)?;
        Ok(Scored { batch, decoded, scores })
    }
}
