//! The last minutes of a run, so that who opens the page sees where it comes from.
//!
//! Owns: rates, made of totals; what is remembered of them and for how long. Does not own: when it is looked.

use std::{collections::VecDeque, time::Duration};

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::status::{Status, Totals};

/// A look is taken this often; a point of the history is every second look.
pub const LOOK_EVERY: Duration = Duration::from_secs(1);
const LOOKS_PER_POINT: u64 = 2;
/// Five minutes of points.
const POINTS_MAX: usize = 150;
/// Looks that a rate is taken over.
const RATE_LOOKS_MAX: usize = 6;
/// Classes that a point counts, the first of the model's; a page could tell no more of them apart.
const POINT_CLASSES_MAX: usize = 32;

/// What `/status` tells.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Told {
    #[serde(flatten)]
    pub status: Status,
    #[serde(default)]
    pub rates: Rates,
    /// Oldest first.
    #[serde(default)]
    pub history: Vec<Point>,
}

/// Of the last seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Rates {
    pub records_per_second: f64,
    pub rejected_per_second: f64,
}

/// One moment of the past.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Point {
    pub at_ms: i64,
    pub records_per_second: f64,
    pub rejected_per_second: f64,
    pub lag_records: u64,
    pub lag_seconds: Option<f64>,
    pub freshness_seconds: Option<f64>,
    /// Scored records of each class by then, in the order of the status.
    pub classes: Vec<u64>,
}

#[derive(Debug, Default)]
pub struct History {
    points: VecDeque<Point>,
    looks: VecDeque<Look>,
    looked: u64,
}

#[derive(Clone, Copy, Debug)]
struct Look {
    at: Instant,
    advanced: u64,
    rejected: u64,
}

impl History {
    /// Takes a look in; every second one is a point, which is given back too.
    pub fn take(&mut self, status: &Status, at: Instant) -> (Rates, Option<Point>) {
        let Totals { advanced, rejected, .. } = status.totals;
        self.looks.push_back(Look { at, advanced, rejected });
        if self.looks.len() > RATE_LOOKS_MAX {
            self.looks.pop_front();
        }
        let before = self.looks.len().saturating_sub(1 + usize::try_from(LOOKS_PER_POINT).unwrap_or(1));
        let point = self.looked.is_multiple_of(LOOKS_PER_POINT).then(|| point(status, self.rates_since(before)));
        self.looked += 1;
        if let Some(point) = &point {
            self.points.push_back(point.clone());
            if self.points.len() > POINTS_MAX {
                self.points.pop_front();
            }
        }
        (self.rates_since(0), point)
    }

    #[must_use]
    pub fn points(&self) -> Vec<Point> {
        self.points.iter().cloned().collect()
    }

    #[expect(clippy::cast_precision_loss, reason = "for people")]
    fn rates_since(&self, look: usize) -> Rates {
        let (Some(before), Some(now)) = (self.looks.get(look), self.looks.back()) else { return Rates::default() };
        let seconds = now.at.duration_since(before.at).as_secs_f64();
        let rate =
            |before: u64, now: u64| if seconds > 0.0 { now.saturating_sub(before) as f64 / seconds } else { 0.0 };
        Rates {
            records_per_second: rate(before.advanced, now.advanced),
            rejected_per_second: rate(before.rejected, now.rejected),
        }
    }
}

fn point(status: &Status, rates: Rates) -> Point {
    let totals = &status.totals;
    Point {
        at_ms: status.now_ms,
        records_per_second: rates.records_per_second,
        rejected_per_second: rates.rejected_per_second,
        lag_records: totals.lag_records,
        lag_seconds: totals.lag_seconds,
        freshness_seconds: totals.freshness_seconds,
        classes: status.classes.iter().take(POINT_CLASSES_MAX).map(|class| class.records).collect(),
    }
}

#[cfg(test)]
#[allow(clippy::float_cmp, reason = "the numbers are whole")]
mod tests {
    use super::*;
    use crate::telemetry::status::Class;

    fn status(at: u64, advanced: u64) -> Status {
        let totals = Totals { advanced, rejected: advanced / 10, lag_records: 7, ..Totals::default() };
        let classes = vec![Class { name: "a".into(), records: advanced, ..Class::default() }];
        Status { now_ms: i64::try_from(at).unwrap() * 1000, totals, classes, ..Status::default() }
    }

    /// A thousand records a second for so many seconds, at once.
    fn after(seconds: u64) -> (History, Rates) {
        let (mut history, began, mut rates) = (History::default(), Instant::now(), Rates::default());
        for second in 0..seconds {
            let at = began + Duration::from_secs(second);
            (rates, _) = history.take(&status(second, second * 1000), at);
        }
        (history, rates)
    }

    #[test]
    fn rates_are_those_of_the_last_seconds() {
        let (mut history, rates) = after(20);
        assert_eq!(rates, Rates { records_per_second: 1000.0, rejected_per_second: 100.0 });
        let later = Instant::now() + Duration::from_mins(10);
        let (rates, _) = history.take(&status(600, 19_000), later);
        assert!(rates.records_per_second < 10.0, "a rate of long ago is none of now: {rates:?}");
    }

    #[test]
    fn a_first_look_has_no_rate() {
        let (history, rates) = after(1);
        assert_eq!((rates, history.points().len()), (Rates::default(), 1));
    }

    #[test]
    fn five_minutes_are_remembered_and_no_more() {
        let (history, _) = after(1000);
        let points = history.points();
        let (first, last) = (points.first().unwrap(), points.last().unwrap());
        assert_eq!((points.len(), last.at_ms - first.at_ms), (POINTS_MAX, 298_000));
        assert_eq!(
            (last.records_per_second, last.lag_records, last.classes.as_slice()),
            (1000.0, 7, [998_000].as_slice())
        );
    }

    #[test]
    fn what_is_told_is_read_back_whole() {
        let (history, rates) = after(4);
        let told = Told { status: status(4, 4000), rates, history: history.points() };
        let read: Told = serde_json::from_slice(&serde_json::to_vec(&told).unwrap()).unwrap();
        assert_eq!(read, told);
    }
}
