//! When each record is due. Pure, but for the waiting.
//!
//! Owns: how a rate is written, and how many records are due at any moment. Does not own: what is in the records, which
//! never depends on the pace.

use std::{f64::consts::TAU, str::FromStr, time::Duration};

use tokio::time::{Instant, sleep_until};

/// Records a second that may be asked for.
const RATE_MAX: f64 = 1e9;
/// Steps of the search for a moment of a wave; each halves what is left of a period.
const HALVINGS_MAX: u32 = 60;
/// How long records may wait for others to go with.
pub(super) const TICK: Duration = Duration::from_millis(50);

/// Records a second, over all partitions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rate {
    /// `1000`
    Even(f64),
    /// `1000..50000/10m`: from one to the other within that time, and then on at the second.
    Ramp { from: f64, to: f64, over_seconds: f64 },
    /// `1000~5000/1h`: up and down between the two, beginning at the low, once in that time.
    Wave { low: f64, high: f64, period_seconds: f64 },
}

impl Rate {
    /// How many records are due after so many seconds; grows, or stands still.
    #[must_use]
    fn due_after(self, seconds: f64) -> f64 {
        match self {
            Self::Even(rate) => rate * seconds,
            Self::Ramp { from, to, over_seconds } => {
                let rising = seconds.min(over_seconds);
                let change = (to - from) / over_seconds;
                from * rising + 0.5 * change * rising * rising + to * (seconds - rising)
            }
            Self::Wave { low, high, period_seconds } => {
                let (middle, swing) = (0.5 * (low + high), 0.5 * (high - low));
                let turn = TAU / period_seconds;
                middle * seconds - swing / turn * (turn * seconds).sin()
            }
        }
    }

    /// After how many seconds record `number`, counted from 0, is due.
    #[must_use]
    fn seconds_until(self, number: f64) -> f64 {
        match self {
            _ if number <= 0.0 => 0.0,
            Self::Even(rate) => number / rate,
            Self::Ramp { from, to, over_seconds } => {
                let by_then = 0.5 * (from + to) * over_seconds;
                if number >= by_then {
                    return over_seconds + (number - by_then) / to;
                }
                let change = (to - from) / over_seconds;
                2.0 * number / (from + (from * from + 2.0 * change * number).max(0.0).sqrt())
            }
            Self::Wave { low, high, period_seconds } => {
                // Each period has as many as the middle rate would give.
                let each = 0.5 * (low + high) * period_seconds;
                let before = (number / each).floor();
                before * period_seconds + self.seconds_within(number - before * each, period_seconds)
            }
        }
    }

    fn seconds_within(self, number: f64, period_seconds: f64) -> f64 {
        let (mut from, mut to) = (0.0, period_seconds);
        for _ in 0..HALVINGS_MAX {
            let middle = 0.5 * (from + to);
            if self.due_after(middle) < number {
                from = middle;
            } else {
                to = middle;
            }
        }
        to
    }

    /// How many records go out within `time`.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a float ends at the ends")]
    pub fn records_within(self, time: Duration) -> u64 {
        // What is due at the very end is not within; what a rounding put there, is.
        (self.due_after(time.as_secs_f64()) - 1e-6).ceil().max(0.0) as u64
    }
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let rate = if let Some((from, rest)) = text.split_once("..") {
            let (to, over) = rest.split_once('/').ok_or_else(|| refusal(text))?;
            Self::Ramp { from: number(from, text)?, to: number(to, text)?, over_seconds: seconds(over)? }
        } else if let Some((low, rest)) = text.split_once('~') {
            let (high, period) = rest.split_once('/').ok_or_else(|| refusal(text))?;
            Self::Wave { low: number(low, text)?, high: number(high, text)?, period_seconds: seconds(period)? }
        } else {
            Self::Even(number(text, text)?)
        };
        rate.checked().ok_or_else(|| refusal(text))
    }
}

impl Rate {
    fn checked(self) -> Option<Self> {
        let sound = match self {
            Self::Even(rate) => rate > 0.0,
            Self::Ramp { to, .. } => to > 0.0,
            Self::Wave { low, high, .. } => low < high,
        };
        sound.then_some(self)
    }
}

fn refusal(text: &str) -> String {
    format!(
        "`{text}` is no rate: write records a second (1000), a ramp (1000..50000/10m) or a wave (1000~5000/1h), and \
         never an end at nothing"
    )
}

fn number(text: &str, rate: &str) -> Result<f64, String> {
    let number = text.trim().replace('_', "").parse::<f64>().map_err(|_| refusal(rate))?;
    if (0.0..=RATE_MAX).contains(&number) { Ok(number) } else { Err(refusal(rate)) }
}

fn seconds(text: &str) -> Result<f64, String> {
    duration(text).map(|time| time.as_secs_f64())
}

/// `500ms`, `30s`, `10m`, `1h`, `2d`; never nothing.
pub fn duration(text: &str) -> Result<Duration, String> {
    let refusal =
        || format!("`{text}` is no time: write a whole number and its unit, such as 500ms, 30s, 10m, 1h or 2d");
    let text = text.trim();
    let (digits, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let ms_per_unit = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(refusal()),
    };
    let ms = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(ms_per_unit)).filter(|ms| *ms > 0);
    ms.map(Duration::from_millis).ok_or_else(refusal)
}

/// A rate from a moment on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    pub(super) start: Instant,
    pub(super) rate: Rate,
}

impl Pace {
    pub(super) fn new(rate: Rate) -> Self {
        Self { start: Instant::now(), rate }
    }

    /// Waits until record `next` of all is due, a tick longer for others to join it, and tells how many are due by then.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a float ends at the ends")]
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    pub(super) async fn until_due(self, next: u64) -> u64 {
        let after = Duration::try_from_secs_f64(self.rate.seconds_until(next as f64)).unwrap_or(Duration::MAX);
        // What is due beyond the end of time is as good as never due.
        let due = self.start.checked_add(after).unwrap_or_else(|| self.start + Duration::from_hours(24 * 365));
        sleep_until(due.max(Instant::now() + TICK)).await;
        let due = self.rate.due_after(self.start.elapsed().as_secs_f64());
        (due as u64).saturating_add(1).max(next + 1)
    }
}

/// Which of all records, counted from 0, fall to a lane: every `lanes`-th one from `place` on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turns {
    pub(super) place: u64,
    pub(super) lanes: u64,
    /// How many they are.
    pub(super) share: u64,
}

impl Turns {
    pub(super) fn new(count: u64, lanes: u64, place: u64) -> Self {
        Self { place, lanes, share: share(count, lanes, place) }
    }

    /// Where the lane's record number `own` stands among all.
    pub(super) fn overall(self, own: u64) -> u64 {
        own.saturating_mul(self.lanes).saturating_add(self.place)
    }

    /// How many of the first `overall` records are the lane's.
    pub(super) fn own(self, overall: u64) -> u64 {
        share(overall, self.lanes, self.place).min(self.share)
    }
}

/// How many of `count` records fall to one lane.
fn share(count: u64, lanes: u64, place: u64) -> u64 {
    count / lanes + u64::from(place < count % lanes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(text: &str) -> Rate {
        text.parse().unwrap()
    }

    #[test]
    fn records_are_shared_out_evenly_and_none_is_left_over() {
        let shares: Vec<u64> = (0..4).map(|place| share(10, 4, place)).collect();
        assert_eq!(shares, [3, 3, 2, 2]);
    }

    #[test]
    fn a_lane_has_every_nth_record() {
        let turns = Turns { place: 1, lanes: 4, share: 3 };
        assert_eq!([0, 1, 2].map(|own| turns.overall(own)), [1, 5, 9]);
        assert_eq!([0, 1, 2, 5, 6, 9, 10, 99].map(|overall| turns.own(overall)), [0, 0, 1, 1, 2, 2, 3, 3]);
    }

    #[test]
    fn a_rate_is_a_number_a_ramp_or_a_wave() {
        assert_eq!(rate("1000"), Rate::Even(1_000.0));
        assert_eq!(rate("1000..50000/10m"), Rate::Ramp { from: 1_000.0, to: 50_000.0, over_seconds: 600.0 });
        assert_eq!(rate("1_000~5_000/1h"), Rate::Wave { low: 1_000.0, high: 5_000.0, period_seconds: 3_600.0 });
        for text in ["", "0", "-1", "fast", "1..2", "1..0/1m", "5~1/1m", "5~5/1m", "1~2/1y", "1..2/0s", "NaN", "inf"] {
            let refused = text.parse::<Rate>().unwrap_err();
            assert!(refused.contains("1000..50000/10m") || refused.contains("500ms"), "{text}: {refused}");
        }
    }

    #[test]
    fn a_time_has_a_unit() {
        assert_eq!(duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("2d"), Ok(Duration::from_hours(48)));
        for text in ["", "10", "0s", "1.5h", "s", "99999999999999999999s", "9999999999999999999d"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_ramp_and_a_wave_have_the_rates_that_they_name() {
        let at = |rate: Rate, seconds: f64| (rate.due_after(seconds + 0.001) - rate.due_after(seconds)) / 0.001;
        for (text, moments) in [
            ("100..500/10s", [(0.0, 100.0), (5.0, 300.0), (10.0, 500.0), (99.0, 500.0)]),
            ("500..100/10s", [(0.0, 500.0), (5.0, 300.0), (10.0, 100.0), (99.0, 100.0)]),
            ("100~500/10s", [(0.0, 100.0), (5.0, 500.0), (10.0, 100.0), (12.5, 300.0)]),
        ] {
            for (seconds, wanted) in moments {
                assert!((at(rate(text), seconds) - wanted).abs() < 1.0, "{text} after {seconds} s");
            }
        }
    }

    #[test]
    fn a_record_is_due_when_so_many_are() {
        for text in ["7", "0..500/10s", "500..100/10s", "100~500/10s", "0~500/3s"] {
            let rate = rate(text);
            for number in [0.0, 1.0, 17.0, 1_234.0, 1_500.0, 99_999.0] {
                let due = rate.due_after(rate.seconds_until(number));
                assert!((due - number).abs() < 0.01, "{text}: record {number} at {due}");
            }
        }
    }

    #[test]
    fn a_time_at_a_rate_is_a_number_of_records() {
        for (text, seconds, wanted) in
            [("1000", 60, 60_000), ("3", 1, 3), ("0..1000/10s", 20, 15_000), ("100~300/10s", 30, 6_000)]
        {
            assert_eq!(rate(text).records_within(Duration::from_secs(seconds)), wanted, "{text}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_pace_is_even_and_never_ahead() {
        let (pace, turns) = (Pace::new(rate("1000")), Turns::new(2_000, 2, 0));
        let mut next = 0;
        while next < 500 {
            next = turns.own(pace.until_due(turns.overall(next)).await);
            let elapsed_ms = u64::try_from(pace.start.elapsed().as_millis()).unwrap();
            assert!(next.abs_diff(elapsed_ms / 2) <= 1, "{next} after {elapsed_ms} ms");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_pace_waits_for_the_record() {
        let pace = Pace::new(rate("1"));
        assert_eq!(pace.until_due(3).await, 4);
        assert_eq!(pace.start.elapsed().as_secs(), 3);
    }
}
