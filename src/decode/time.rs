//! Times and dates as text. Pure.

use chrono::{DateTime, NaiveDate};

const SECONDS_PER_DAY: i64 = 86_400;
const MICROS_PER_SECOND: i64 = 1_000_000;
const MICROS_DIGITS: usize = 6;

/// Microseconds since 1970, UTC, of an RFC 3339 timestamp with any offset; what is finer is cut off.
pub(super) fn rfc3339_micros(text: &str) -> Option<i64> {
    usual_micros(text.as_bytes())
        .or_else(|| DateTime::parse_from_rfc3339(text).ok().map(|time| time.timestamp_micros()))
}

/// Days since 1970 of a date written `2026-11-21`.
pub(super) fn date_days(text: &str) -> Option<i32> {
    let &[y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = text.as_bytes() else { return None };
    let year = digits(&[y1, y2, y3, y4])?.try_into().ok()?;
    NaiveDate::from_ymd_opt(year, digits(&[m1, m2])?, digits(&[d1, d2])?).map(|date| date.to_epoch_days())
}

/// The shape that nearly every producer writes, `2026-11-21T07:59:59.999Z`; any other is left to chrono, which takes
/// several times as long.
fn usual_micros(text: &[u8]) -> Option<i64> {
    let (date, time) = text.split_at_checked(10)?;
    let &[b'T', h1, h2, b':', m1, m2, b':', s1, s2, ref rest @ ..] = time else { return None };
    let (hour, minute, second) = (digits(&[h1, h2])?, digits(&[m1, m2])?, digits(&[s1, s2])?);
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let days = i64::from(date_days(str::from_utf8(date).ok()?)?);
    let seconds = days * SECONDS_PER_DAY + i64::from(hour * 3_600 + minute * 60 + second);
    Some(seconds * MICROS_PER_SECOND + i64::from(fraction_micros(rest.strip_suffix(b"Z")?)?))
}

/// `.25` is 250,000; nothing is 0.
fn fraction_micros(text: &[u8]) -> Option<u32> {
    let Some((point, fraction)) = text.split_first() else { return Some(0) };
    if *point != b'.' || fraction.is_empty() || fraction.len() > MICROS_DIGITS {
        return None;
    }
    let missing = u32::try_from(MICROS_DIGITS - fraction.len()).ok()?;
    Some(digits(fraction)? * 10_u32.pow(missing))
}

/// The number that a few digits make; callers give no more than six.
fn digits(text: &[u8]) -> Option<u32> {
    text.iter().try_fold(0, |number, byte| byte.is_ascii_digit().then(|| number * 10 + u32::from(byte - b'0')))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn dates_are_days_since_1970_and_nothing_else_is_a_date() {
        assert_eq!(date_days("1970-01-01"), Some(0));
        assert_eq!(date_days("1969-12-31"), Some(-1));
        assert_eq!(date_days("2026-11-21"), Some(20_778));
        for text in ["", "2026-11-31", "2026-1-1", "+026-11-21", "2026-11-21T00:00:00Z", "2026/11/21", "２026-11-21"] {
            assert_eq!(date_days(text), None, "{text}");
        }
    }

    #[test]
    fn timestamps_are_microseconds_in_utc() {
        for (text, micros) in [
            ("1970-01-01T00:00:00Z", 0),
            ("1970-01-01T00:00:00.25Z", 250_000),
            ("1969-12-31T23:59:59.999999Z", -1),
            ("1970-01-01T02:00:00.000001+02:00", 1),
            ("1970-01-01t00:00:01z", 1_000_000),
            ("1970-01-01T00:00:00.1234569Z", 123_456),
        ] {
            assert_eq!(rfc3339_micros(text), Some(micros), "{text}");
        }
    }

    #[test]
    fn what_is_no_timestamp_is_none() {
        for text in ["", "now", "1970-01-01", "1970-01-01T00:00:00", "1970-01-01T24:00:00Z", "1970-01-01T00:00:00.Z"] {
            assert_eq!(rfc3339_micros(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn the_short_way_agrees_with_chrono(text in "[0-9]{4}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-6][0-9]:[0-6][0-9](\\.[0-9]{1,7})?Z") {
            let chrono = DateTime::parse_from_rfc3339(&text).ok().map(|time| time.timestamp_micros());
            prop_assert_eq!(rfc3339_micros(&text), chrono);
        }
    }
}
