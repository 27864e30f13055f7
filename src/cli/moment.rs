//! A moment, as it is typed: a day, an hour, a time, or an age.

use std::str::FromStr;

use chrono::{DateTime, NaiveDate, NaiveDateTime, TimeDelta, Utc};

/// What `--since` and `--until` take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moment {
    Time(DateTime<Utc>),
    Age(TimeDelta),
}

impl Moment {
    /// In milliseconds since 1970, UTC.
    pub(super) fn ms(self) -> i64 {
        let time = match self {
            Self::Time(time) => time,
            Self::Age(age) => Utc::now().checked_sub_signed(age).unwrap_or(DateTime::<Utc>::MIN_UTC),
        };
        time.timestamp_millis()
    }
}

impl FromStr for Moment {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let age = |suffix, minutes| {
            let number: u32 = text.strip_suffix(suffix)?.parse().ok().filter(|&number| number > 0)?;
            TimeDelta::try_minutes(i64::from(number) * minutes)
        };
        let day = || text.parse::<NaiveDate>().ok()?.and_hms_opt(0, 0, 0);
        let hour = || NaiveDateTime::parse_from_str(&format!("{text}:00"), "%Y-%m-%dT%H:%M").ok();
        let time = || DateTime::parse_from_rfc3339(text).ok().map(|time| Self::Time(time.to_utc()));
        let naive = |time: NaiveDateTime| Self::Time(time.and_utc());
        age("d", 24 * 60)
            .or_else(|| age("h", 60))
            .or_else(|| age("m", 1))
            .map(Self::Age)
            .or_else(|| day().or_else(hour).map(naive))
            .or_else(time)
            .ok_or("write a day such as 2026-11-01, an hour such as 2026-11-01T07, a time such as 2026-11-01T07:30:00Z, or an age such as 30d, 36h or 15m")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_day_an_hour_a_time_or_an_age() {
        let at = |text: &str| Moment::Time(text.parse().unwrap());
        assert_eq!("2026-11-01".parse(), Ok(at("2026-11-01T00:00:00Z")));
        assert_eq!("2026-11-01T07".parse(), Ok(at("2026-11-01T07:00:00Z")));
        assert_eq!("2026-11-01T07:30:00+01:00".parse(), Ok(at("2026-11-01T06:30:00Z")));
        assert_eq!("15m".parse(), Ok(Moment::Age(TimeDelta::minutes(15))));
        assert_eq!("2d".parse(), Ok(Moment::Age(TimeDelta::days(2))));
        for wrong in ["", "0h", "-3d", "30", "2026-13-01", "yesterday", "2026-11-01T07:30"] {
            assert!(wrong.parse::<Moment>().is_err(), "{wrong}");
        }
    }
}
