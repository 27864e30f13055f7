//! When each row is due.

use std::{iter::Peekable, time::Duration, vec};

use tokio::time::{Instant, sleep_until};

use super::{Chunk, Row};
use crate::simulate::pace::{Pace, Rate, TICK};

/// At what pace rows are sent.
#[derive(Clone, Debug, Default)]
pub enum Timing {
    /// As fast as it goes.
    #[default]
    Full,
    Rate(Rate),
    /// With the pauses between the times in this column, so many times faster.
    Pauses {
        column: String,
        speed: f64,
    },
}

/// A row, and how long after the first it is due.
#[derive(Debug)]
pub(super) struct Planned {
    row: Row,
    after: Duration,
}

/// Where a playback stands.
#[derive(Debug)]
pub(super) struct Schedule {
    timing: Timing,
    pace: Option<Pace>,
    start: Instant,
    /// Of the row that was planned last.
    after: Duration,
    last_ms: Option<i64>,
    sent: u64,
}

impl Schedule {
    pub(super) fn new(timing: Timing) -> Self {
        let pace = match timing {
            Timing::Rate(rate) => Some(Pace::new(rate)),
            Timing::Full | Timing::Pauses { .. } => None,
        };
        Self { timing, pace, start: Instant::now(), after: Duration::ZERO, last_ms: None, sent: 0 }
    }

    /// Says of each row when it is due. A time that is not after the one before it is no pause, and neither is the step
    /// from the end of the files to their beginning.
    pub(super) fn plan(&mut self, chunk: Chunk) -> Vec<Planned> {
        if chunk.begins {
            self.last_ms = None;
        }
        chunk.rows.into_iter().map(|row| self.planned(row)).collect()
    }

    fn planned(&mut self, row: Row) -> Planned {
        if let (Timing::Pauses { speed, .. }, Some(at_ms)) = (&self.timing, row.at_ms) {
            let pause = self.last_ms.map_or(0, |last_ms| at_ms.saturating_sub(last_ms).max(0)).unsigned_abs();
            let pause = Duration::try_from_secs_f64(Duration::from_millis(pause).as_secs_f64() / speed);
            self.after = self.after.saturating_add(pause.unwrap_or(Duration::MAX));
            self.last_ms = Some(self.last_ms.map_or(at_ms, |last_ms| last_ms.max(at_ms)));
        }
        Planned { row, after: self.after }
    }

    /// Waits until the next row is due, and takes all that are by then.
    pub(super) async fn take_due(&mut self, rows: &mut Peekable<vec::IntoIter<Planned>>) -> Vec<Row> {
        match (&self.timing, self.pace) {
            (Timing::Pauses { .. }, _) => self.take_timed(rows).await,
            (_, Some(pace)) => {
                let due = pace.until_due(self.sent).await - self.sent;
                let due: Vec<Row> =
                    rows.take(usize::try_from(due).unwrap_or(usize::MAX)).map(|planned| planned.row).collect();
                self.sent += due.len() as u64;
                due
            }
            (_, None) => rows.map(|planned| planned.row).collect(),
        }
    }

    async fn take_timed(&self, rows: &mut Peekable<vec::IntoIter<Planned>>) -> Vec<Row> {
        let Some(next) = rows.peek() else { return Vec::new() };
        let now = Instant::now();
        // A row of long ago joins those that are due with it; a pause beyond the end of time is as good as for ever.
        let due = self.start.checked_add(next.after).unwrap_or_else(|| now + Duration::from_hours(24 * 365));
        if due > now {
            sleep_until(due.max(now + TICK)).await;
        }
        let elapsed = self.start.elapsed();
        let mut due: Vec<Row> = rows.next().map(|planned| planned.row).into_iter().collect();
        while let Some(planned) = rows.next_if(|planned| planned.after <= elapsed) {
            due.push(planned.row);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(times: &[Option<i64>], begins: bool) -> Chunk {
        let row = |at_ms: &Option<i64>| Row { key: None, value: vec![], at_ms: *at_ms };
        Chunk { rows: times.iter().map(row).collect(), begins }
    }

    fn schedule(speed: f64) -> Schedule {
        Schedule::new(Timing::Pauses { column: "time".into(), speed })
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_are_those_of_the_column_and_never_go_back() {
        let mut schedule = schedule(2.0);
        let times = [Some(1_000), Some(3_000), None, Some(2_000), Some(5_000)];
        let first = schedule.plan(chunk(&times, true));
        let again = schedule.plan(chunk(&[Some(0), Some(500)], true));
        let after: Vec<_> = first.iter().chain(&again).map(|planned| planned.after.as_millis()).collect();
        assert_eq!(after, [0, 1_000, 1_000, 1_000, 2_000, 2_000, 2_250]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_row_is_sent_when_it_is_due_with_those_that_are_due_too() {
        let mut schedule = schedule(1.0);
        let rows = schedule.plan(chunk(&[Some(0), Some(0), Some(10_000), Some(10_010), Some(20_000)], true));
        let mut rows = rows.into_iter().peekable();
        let mut seen = vec![];
        while rows.peek().is_some() {
            let due = schedule.take_due(&mut rows).await.len();
            seen.push((due, schedule.start.elapsed().as_secs()));
        }
        assert_eq!(seen, [(2, 0), (1, 10), (1, 10), (1, 20)]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_rate_counts_over_all_chunks() {
        let mut schedule = Schedule::new(Timing::Rate("10".parse().unwrap()));
        for begins in [true, false] {
            let mut rows = schedule.plan(chunk(&[None; 100], begins)).into_iter().peekable();
            while rows.peek().is_some() {
                schedule.take_due(&mut rows).await;
            }
        }
        let took = schedule.start.elapsed().as_millis();
        assert!((19_800..20_100).contains(&took), "{took}");
    }
}
