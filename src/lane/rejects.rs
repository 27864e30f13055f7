//! How many of the records that a lane read lately were rejects, and when that is too many.
//!
//! Owns: the window, the share in it. Does not own: what makes a record a reject.
//! Invariant: what is held does not grow with the records.

use std::{collections::VecDeque, fmt, time::Duration};

use tokio::time::Instant;

use super::{LaneError, Status};
use crate::{
    lake::{Counts, Example, Segment},
    offset::LaneId,
};

/// A window is kept in so many pieces.
const PIECES: u32 = 60;
/// The window of the metric where no limit has one.
const WINDOW: Duration = Duration::from_mins(1);

/// When a lane is to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RejectLimit {
    pub above: Percentage,
    pub window: Duration,
    /// With fewer records in the window nothing is said of them.
    pub records_min: u64,
}

/// In hundredths of a percent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Percentage(pub u32);

impl Percentage {
    /// Everything.
    pub const WHOLE: u32 = 10_000;

    fn is_passed_by(self, part: u64, whole: u64) -> bool {
        u128::from(part) * u128::from(Self::WHOLE) > u128::from(self.0) * u128::from(whole)
    }
}

impl fmt::Display for Percentage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, hundredths) = (self.0 / 100, self.0 % 100);
        match hundredths {
            0 => write!(f, "{whole} %"),
            _ => write!(f, "{}.{} %", whole, format!("{hundredths:02}").trim_end_matches('0')),
        }
    }
}

/// What led to a lane's stop, for people.
#[derive(Debug, PartialEq, Eq)]
pub struct Excess {
    limit: RejectLimit,
    partition: i32,
    records: u64,
    rejects: u64,
    example: Option<Example>,
}

impl fmt::Display for Excess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { limit: RejectLimit { above, window, .. }, partition, records, rejects, example } = self;
        let share = u128::from(*rejects) * u128::from(Percentage::WHOLE) / u128::from(*records).max(1);
        let share = Percentage(u32::try_from(share).unwrap_or(Percentage::WHOLE));
        write!(f, "{rejects} of the {records} records read within {window:?} ({share}), and `stop_above` is {above}")?;
        if let Some(Example { offset, reason, detail }) = example {
            write!(f, "; such as partition {partition}, offset {offset}: {reason}: {detail}")?;
        }
        write!(
            f,
            ". What was in hand has not landed, and is still in the topic. Mend what sends them; or, if the pipeline is wrong, \
             mend its file; or raise `stop_above` under [rejected]; or let them land as they are with `alluvium batch \
             --accept-rejects`, then start again"
        )
    }
}

/// What a lane has read lately.
#[derive(Debug)]
pub(super) struct Watch {
    limit: Option<RejectLimit>,
    pieces: VecDeque<Piece>,
    records: u64,
    rejects: u64,
    example: Option<Example>,
}

#[derive(Clone, Copy, Debug)]
struct Piece {
    began: Instant,
    records: u64,
    rejects: u64,
}

impl Watch {
    pub(super) fn new(limit: Option<RejectLimit>) -> Self {
        Self { limit, pieces: VecDeque::new(), records: 0, rejects: 0, example: None }
    }

    /// Takes note of what a segment has taken in since it counted `before`; fails if there were too many rejects.
    pub(super) fn take(
        &mut self,
        id: &LaneId,
        status: &Status,
        before: Counts,
        segment: &Segment,
    ) -> Result<(), LaneError> {
        let now = segment.counts();
        self.example = segment.example().cloned().or_else(|| self.example.take());
        self.add(Instant::now(), now.records - before.records, now.rejected - before.rejected);
        status.rejects(self.share());
        let Some(limit) = self.limit else { return Ok(()) };
        if self.records < limit.records_min || !limit.above.is_passed_by(self.rejects, self.records) {
            return Ok(());
        }
        metrics::counter!("alluvium_reject_stops_total").increment(1);
        let (records, rejects, example) = (self.records, self.rejects, self.example.take());
        Err(LaneError::TooManyRejects(Box::new(Excess { limit, partition: id.partition, records, rejects, example })))
    }

    fn window(&self) -> Duration {
        self.limit.map_or(WINDOW, |limit| limit.window)
    }

    fn add(&mut self, now: Instant, records: u64, rejects: u64) {
        self.records += records;
        self.rejects += rejects;
        let window = self.window();
        match self.pieces.back_mut().filter(|piece| now - piece.began < window / PIECES) {
            Some(piece) => {
                piece.records += records;
                piece.rejects += rejects;
            }
            None => self.pieces.push_back(Piece { began: now, records, rejects }),
        }
        while let Some(old) = self.pieces.front().copied().filter(|piece| now - piece.began > window) {
            self.pieces.pop_front();
            self.records -= old.records;
            self.rejects -= old.rejects;
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "a share, for people and alerts")]
    fn share(&self) -> f64 {
        self.rejects as f64 / self.records.max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watch(above: u32) -> Watch {
        Watch::new(Some(RejectLimit { above: Percentage(above), window: Duration::from_mins(1), records_min: 10 }))
    }

    #[test]
    fn a_share_is_passed_only_beyond_it_and_shown_as_people_write_it() {
        assert!(!Percentage(5_000).is_passed_by(5, 10));
        assert!(Percentage(5_000).is_passed_by(6, 10));
        assert!(Percentage(0).is_passed_by(1, u64::MAX));
        let shown = [5_000, 5, 1_250, 10_000].map(|share| Percentage(share).to_string());
        assert_eq!(shown, ["50 %", "0.05 %", "12.5 %", "100 %"]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_older_than_the_window_does_not_count_and_the_pieces_stay_few() {
        let mut watch = watch(5_000);
        for _ in 0..10_000 {
            watch.add(Instant::now(), 2, 1);
            tokio::time::advance(Duration::from_millis(100)).await;
        }
        assert!(watch.pieces.len() <= PIECES as usize + 2, "{}", watch.pieces.len());
        assert!((1_190..=1_222).contains(&watch.records), "{}", watch.records);
        assert_eq!(watch.rejects * 2, watch.records);
        tokio::time::advance(Duration::from_mins(2)).await;
        watch.add(Instant::now(), 3, 0);
        assert_eq!((watch.records, watch.rejects, watch.pieces.len()), (3, 0, 1));
    }
}
