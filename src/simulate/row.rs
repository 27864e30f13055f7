//! A record while it is drawn, field by field.
//!
//! Owns: what a field looks like in JSON; other formats are beside it. Does not own: which fields a source has, and what is in them.

use std::ops::Range;

const MS_PER_DAY: i64 = 86_400_000;
/// An entity's name is a letter and so many digits.
const ENTITY_DIGITS: usize = 7;

/// Where a source puts a record's fields: a JSON object for a topic, or the columns of a table for training. A source
/// gives the same fields in the same order each time.
pub trait Row {
    /// The record's number in its stream, from 0 on.
    fn id(&mut self, id: u64);
    fn whole(&mut self, name: &'static str, value: i64);
    /// Rounded to so many places behind the point.
    fn decimal(&mut self, name: &'static str, value: f64, places: u32);
    fn flag(&mut self, name: &'static str, value: bool);
    fn text(&mut self, name: &'static str, value: &str);
    /// Milliseconds since 1970, UTC.
    fn time(&mut self, name: &'static str, ms: i64);
    /// Whom the record is about, and so its natural key.
    fn entity(&mut self, name: &'static str, letter: char, number: u64);
    /// What a model is to find out; the last field.
    fn truth(&mut self, name: &'static str, class: &'static str);
}

/// A JSON object at the end of a buffer.
#[derive(Debug)]
pub struct Json<'a> {
    value: &'a mut Vec<u8>,
    with_truth: bool,
    key: Range<usize>,
}

impl<'a> Json<'a> {
    pub fn begin(value: &'a mut Vec<u8>, with_truth: bool) -> Self {
        value.push(b'{');
        Self { value, with_truth, key: 0..0 }
    }

    /// Closes the object, and tells where in the buffer its natural key stands: the entity's name, or else the id.
    #[must_use]
    pub fn end(self) -> Range<usize> {
        if self.value.last() == Some(&b',') {
            self.value.pop();
        }
        self.value.push(b'}');
        self.key
    }

    #[inline]
    fn field(&mut self, name: &str, write: impl FnOnce(&mut Vec<u8>)) {
        self.value.push(b'"');
        self.value.extend_from_slice(name.as_bytes());
        self.value.extend_from_slice(b"\":");
        write(self.value);
        self.value.push(b',');
    }
}

impl Row for Json<'_> {
    #[inline]
    fn id(&mut self, id: u64) {
        self.field("id", |value| value.extend_from_slice(itoa::Buffer::new().format(id).as_bytes()));
        let end = self.value.len() - 1;
        self.key = end - digits(id)..end;
    }

    #[inline]
    fn whole(&mut self, name: &'static str, whole: i64) {
        self.field(name, |value| value.extend_from_slice(itoa::Buffer::new().format(whole).as_bytes()));
    }

    #[inline]
    fn decimal(&mut self, name: &'static str, decimal: f64, places: u32) {
        self.field(name, |value| push_units(value, units(decimal, places), places));
    }

    #[inline]
    fn flag(&mut self, name: &'static str, flag: bool) {
        self.field(name, |value| value.extend_from_slice(if flag { b"true" } else { b"false" }));
    }

    #[inline]
    fn text(&mut self, name: &'static str, text: &str) {
        self.field(name, |value| push_text(value, text));
    }

    #[inline]
    fn time(&mut self, name: &'static str, ms: i64) {
        self.field(name, |value| {
            value.push(b'"');
            push_time(value, ms);
            value.push(b'"');
        });
    }

    #[inline]
    fn entity(&mut self, name: &'static str, letter: char, number: u64) {
        self.field(name, |value| {
            value.push(b'"');
            push_entity(value, letter, number);
            value.push(b'"');
        });
        let end = self.value.len() - 2;
        self.key = end - digits(number).max(ENTITY_DIGITS) - letter.len_utf8()..end;
    }

    #[inline]
    fn truth(&mut self, name: &'static str, class: &'static str) {
        if self.with_truth {
            self.text(name, class);
        }
    }
}

/// `12.34` to two places is 1234.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "what does not fit ends at the ends; no source comes near them")]
pub(super) fn units(decimal: f64, places: u32) -> i64 {
    let scaled = decimal * scale(places);
    (scaled + 0.5_f64.copysign(scaled)) as i64
}

/// How many units make one.
#[inline]
pub(super) fn scale(places: u32) -> f64 {
    f64::from(10_u32.pow(places))
}

/// Room for the digits of a number, its sign and its point.
const NUMBER_BYTES: usize = 24;

/// Written from its end, into a place of its own, so that the buffer is asked for room once.
#[inline]
pub(super) fn push_units(value: &mut Vec<u8>, units: i64, places: u32) {
    let mut text = [0; NUMBER_BYTES];
    let (mut at, mut left, mut places) = (NUMBER_BYTES, units.unsigned_abs(), places);
    let mut put = |byte| {
        at = at.saturating_sub(1);
        text[at] = byte;
    };
    while places > 0 {
        put(digit(left));
        (left, places) = (left / 10, places - 1);
    }
    put(b'.');
    loop {
        put(digit(left));
        left /= 10;
        if left == 0 {
            break;
        }
    }
    if units < 0 {
        put(b'-');
    }
    value.extend_from_slice(&text[at..]);
}

/// The last digit of a number.
#[inline]
fn digit(number: u64) -> u8 {
    b'0' + (number % 10) as u8
}

#[inline]
pub(super) fn digits(number: u64) -> usize {
    number.checked_ilog10().map_or(1, |log| log as usize + 1)
}

#[inline]
fn push_text(value: &mut Vec<u8>, text: &str) {
    value.push(b'"');
    if text.bytes().any(|byte| byte < b' ' || byte == b'"' || byte == b'\\') {
        for c in text.chars() {
            push_escaped(value, c);
        }
    } else {
        value.extend_from_slice(text.as_bytes());
    }
    value.push(b'"');
}

fn push_escaped(value: &mut Vec<u8>, c: char) {
    match c {
        '"' | '\\' => value.extend_from_slice(&[b'\\', c as u8]),
        '\n' => value.extend_from_slice(b"\\n"),
        // No source has another control character in its words.
        c if c.is_control() => value.push(b' '),
        c => value.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
    }
}

/// `c0001234`
pub(super) fn push_entity(value: &mut Vec<u8>, letter: char, number: u64) {
    value.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
    let missing = ENTITY_DIGITS.saturating_sub(digits(number));
    value.extend_from_slice(&b"0000000"[..missing]);
    value.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// `2025-01-01T07:59:59.999Z`
pub(super) fn push_time(value: &mut Vec<u8>, ms: i64) {
    let mut text = *b"0000-00-00T00:00:00.000Z";
    let (year, month, day) = date(ms.div_euclid(MS_PER_DAY));
    let ms = ms.rem_euclid(MS_PER_DAY).unsigned_abs();
    put_padded(&mut text[0..4], year);
    put_padded(&mut text[5..7], month);
    put_padded(&mut text[8..10], day);
    put_padded(&mut text[11..13], ms / 3_600_000);
    put_padded(&mut text[14..16], ms / 60_000 % 60);
    put_padded(&mut text[17..19], ms / 1_000 % 60);
    put_padded(&mut text[20..23], ms % 1_000);
    value.extend_from_slice(&text);
}

/// Year, month and day of a day since 1970. Counted in years that begin with March, of which 400 have always as many
/// days: a day of leap is the last of its year. This is done for every record, and chrono takes several times as long.
#[inline]
fn date(days: i64) -> (u64, u64, u64) {
    const DAYS_OF_400_YEARS: i64 = 146_097;
    const DAYS_UNTIL_1970: i64 = 719_468;
    let days = days + DAYS_UNTIL_1970;
    let (era, day) = (days.div_euclid(DAYS_OF_400_YEARS), days.rem_euclid(DAYS_OF_400_YEARS));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let (month, next_year) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    ((400 * era + year + next_year).unsigned_abs(), month.unsigned_abs(), day.unsigned_abs())
}

#[inline]
fn put_padded(text: &mut [u8], mut number: u64) {
    for place in text.iter_mut().rev() {
        *place = digit(number);
        number /= 10;
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use proptest::prelude::*;

    use super::*;

    fn drawn(with_truth: bool, draw: impl FnOnce(&mut Json<'_>)) -> (String, String) {
        let mut value = b"before ".to_vec();
        let mut json = Json::begin(&mut value, with_truth);
        draw(&mut json);
        let key = json.end();
        let key = String::from_utf8(value[key].to_vec()).unwrap();
        (String::from_utf8(value).unwrap(), key)
    }

    #[test]
    fn every_kind_of_field_is_json() {
        let (value, key) = drawn(true, |json| {
            json.id(1_000);
            json.time("time", 1_735_689_600_007);
            json.entity("card", 'c', 42);
            json.decimal("amount", -0.054, 2);
            json.flag("new", true);
            json.text("said", "a \"b\" \\ é 😊\n");
            json.whole("status", -404);
            json.truth("verdict", "fraud");
        });
        let wanted = r#"before {"id":1000,"time":"2025-01-01T00:00:00.007Z","card":"c0000042","amount":-0.05,"new":true,"said":"a \"b\" \\ é 😊\n","status":-404,"verdict":"fraud"}"#;
        assert_eq!((value.as_str(), key.as_str()), (wanted, "c0000042"));
    }

    #[test]
    fn the_truth_is_kept_out_and_the_id_is_the_key_where_there_is_no_entity() {
        let (value, key) = drawn(false, |json| {
            json.id(0);
            json.truth("species", "setosa");
        });
        assert_eq!((value.as_str(), key.as_str()), (r#"before {"id":0}"#, "0"));
        let (_, key) = drawn(false, |json| json.entity("card", 'c', 123_456_789));
        assert_eq!(key, "c123456789");
    }

    proptest! {
        #[test]
        fn a_decimal_is_read_back_as_its_units(decimal in -1e9..1e9_f64, places in 1..4_u32) {
            let mut text = vec![];
            push_units(&mut text, units(decimal, places), places);
            let read: f64 = std::str::from_utf8(&text).unwrap().parse().unwrap();
            #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
            let column = units(decimal, places) as f64 / scale(places);
            prop_assert_eq!(read.to_bits(), column.to_bits(), "{}", read);
        }

        #[test]
        fn a_time_is_what_chrono_writes(ms in 0..4_102_444_800_000_i64) {
            let mut text = vec![];
            push_time(&mut text, ms);
            let chrono = DateTime::from_timestamp_millis(ms).unwrap().format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string();
            prop_assert_eq!(String::from_utf8(text).unwrap(), chrono);
        }
    }
}
