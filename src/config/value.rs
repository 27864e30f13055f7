//! One value: what was written, and what it can be taken for.
//!
//! Owns: units, and the wording of a refusal. Does not own: which key takes what ([`super::keys`]).

use std::{borrow::Cow, fmt};

use chrono::DateTime;
use toml::de::{DeInteger, DeValue};

use super::{Lookup, keys::Takes, variables};
use crate::record::short;

pub(super) const KIB: u64 = 1024;
pub(super) const MIB: u64 = 1024 * KIB;
pub(super) const GIB: u64 = 1024 * MIB;
pub(super) const SECOND: u64 = 1000;
pub(super) const HOUR: u64 = 3600 * SECOND;
pub(super) const DAY: u64 = 24 * HOUR;

type Units = [(&'static str, u64)];

const SIZES: &Units =
    &[("GiB", GIB), ("MiB", MIB), ("KiB", KIB), ("GB", 1_000_000_000), ("MB", 1_000_000), ("KB", 1_000), ("B", 1)];
const DURATIONS: &Units = &[("d", DAY), ("h", HOUR), ("m", 60 * SECOND), ("s", SECOND), ("ms", 1)];

/// Less alike than this is no suggestion.
const ALIKE_MIN: f64 = 0.8;
/// Of a value shown in a fault.
const SHOWN_CHARS_MAX: usize = 60;

/// A value as it was written, its variables filled in.
#[derive(Clone, Debug)]
pub(super) struct Given<'a> {
    form: Form,
    text: Cow<'a, str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Text,
    /// A variable's whole value or a key's default: text that may stand for any type.
    Free,
    Number,
    Flag,
    Time,
    Other,
}

impl<'a> Given<'a> {
    pub(super) fn text(text: impl Into<Cow<'a, str>>) -> Self {
        Self { form: Form::Text, text: text.into() }
    }

    pub(super) fn free(text: impl Into<Cow<'a, str>>) -> Self {
        Self { form: Form::Free, text: text.into() }
    }

    pub(super) fn of(value: &'a DeValue<'_>, lookup: Lookup<'_>) -> Result<Self, Vec<Refusal>> {
        let (form, text) = match value {
            DeValue::String(text) => return variables::fill(text, lookup),
            DeValue::Integer(number) => (Form::Number, decimal(number).into()),
            DeValue::Boolean(flag) => (Form::Flag, flag.to_string().into()),
            DeValue::Datetime(time) => (Form::Time, time.to_string().into()),
            DeValue::Float(number) => (Form::Other, number.as_str().into()),
            DeValue::Array(_) => (Form::Other, "a list".into()),
            DeValue::Table(_) => (Form::Other, "a table".into()),
        };
        Ok(Self { form, text })
    }

    /// Its text, if it is text; never blank.
    pub(super) fn as_text(&self) -> Result<&str, Refusal> {
        self.as_one_of(&[Form::Text])
    }

    /// As [`Self::as_text`], of spaces alone or empty too.
    pub(super) fn as_blank_or_text(&self) -> Result<&str, Refusal> {
        if matches!(self.form, Form::Text | Form::Free) { Ok(&self.text) } else { Err(Refusal::default()) }
    }

    /// The text of a number, or of what may stand for one.
    fn as_number(&self) -> Result<&str, Refusal> {
        self.as_one_of(&[Form::Number])
    }

    fn as_one_of(&self, forms: &[Form]) -> Result<&str, Refusal> {
        let fits = self.form == Form::Free || forms.contains(&self.form);
        if fits && !self.text.trim().is_empty() { Ok(&self.text) } else { Err(Refusal::default()) }
    }

    /// The parts of a list written as one text; what is no text stays whole.
    pub(super) fn split(&self, separator: char) -> Vec<Given<'_>> {
        match self.form {
            Form::Text | Form::Free => self.text.split(separator).map(Given::text).collect(),
            Form::Number | Form::Flag | Form::Time | Form::Other => vec![self.clone()],
        }
    }
}

/// The value as a fault shows it.
impl fmt::Display for Given<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.form {
            Form::Text | Form::Free => f.write_str(&quoted(&self.text)),
            Form::Number | Form::Flag | Form::Time | Form::Other => f.write_str(&self.text),
        }
    }
}

/// Why a value was not taken. Without a reason, the fault says what the key takes.
#[derive(Clone, Debug, Default)]
pub(super) struct Refusal {
    pub(super) reason: Option<String>,
    pub(super) hint: Option<String>,
}

impl Refusal {
    pub(super) fn because(reason: impl Into<String>) -> Self {
        Self { reason: Some(reason.into()), hint: None }
    }

    pub(super) fn with_hint(hint: impl Into<String>) -> Self {
        Self::default().hint(hint)
    }

    pub(super) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }
}

/// A count, a size in bytes or a duration in milliseconds, inside its range.
pub(super) fn number(takes: Takes, given: &Given<'_>) -> Result<u64, Refusal> {
    let (number, min, max) = match takes {
        Takes::Count(min, max) => (whole(given.as_number()?)?, min, max),
        Takes::Size(min, max) => (size(given)?, min, max),
        Takes::Duration(min, max) => (milliseconds(given)?, min, max),
        Takes::Text(_) | Takes::Flag | Takes::Time | Takes::Choice(_) => return Err(Refusal::default()),
    };
    if (min..=max).contains(&number) { Ok(number) } else { Err(Refusal::default()) }
}

pub(super) fn whole(digits: &str) -> Result<u64, Refusal> {
    digits.trim().replace('_', "").parse().map_err(|_| Refusal::default())
}

pub(super) fn flag(given: &Given<'_>) -> Result<bool, Refusal> {
    given.as_one_of(&[Form::Flag])?.trim().parse().map_err(|_| Refusal::default())
}

/// A time in milliseconds since 1970, UTC.
pub(super) fn time(given: &Given<'_>) -> Result<i64, Refusal> {
    let text = given.as_one_of(&[Form::Text, Form::Time])?;
    DateTime::parse_from_rfc3339(text.trim()).map(|time| time.timestamp_millis()).map_err(|_| Refusal::default())
}

/// A share, in hundredths of a percent; neither none nor all.
pub(super) fn percentage(given: &Given<'_>) -> Result<u32, Refusal> {
    let text = given.as_text()?.trim();
    let Some(number) = text.strip_suffix('%') else {
        let hint = whole(text).map(|number| Refusal::with_hint(format!("with its sign it is \"{number}%\"")));
        return Err(hint.unwrap_or_default());
    };
    let (percent, hundredths) = number.trim_end().split_once('.').unwrap_or((number.trim_end(), "0"));
    let fits = hundredths.len() <= 2 && hundredths.bytes().all(|b| b.is_ascii_digit());
    let hundredths = if fits { whole(&format!("{hundredths:0<2}"))? } else { return Err(Refusal::default()) };
    let share = whole(percent)?.checked_mul(100).and_then(|share| share.checked_add(hundredths));
    let share = share.filter(|share| (1..10_000).contains(share)).and_then(|share| u32::try_from(share).ok());
    share.ok_or_else(Refusal::default)
}

/// A positive number, given as one or by a variable.
pub(super) fn version(given: &Given<'_>) -> Result<u32, Refusal> {
    let version = u32::try_from(whole(given.as_number()?)?).map_err(|_| Refusal::default())?;
    if version > 0 { Ok(version) } else { Err(Refusal::default()) }
}

pub(super) fn choice<T: Copy>(choices: &[(&str, T)], given: &Given<'_>) -> Result<T, Refusal> {
    let word = given.as_text()?;
    match choices.iter().find(|(name, _)| *name == word) {
        Some((_, choice)) => Ok(*choice),
        None => Err(did_you_mean(word, choices.iter().map(|(name, _)| *name))),
    }
}

/// A refusal that suggests the most alike of `known`, if any is alike.
pub(super) fn did_you_mean<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Refusal {
    closest(word, known).map_or_else(Refusal::default, did_you_mean_this)
}

pub(super) fn did_you_mean_this(word: &str) -> Refusal {
    Refusal::with_hint(format!("did you mean {}?", quoted(word)))
}

/// The most alike of `known`, whatever the case.
pub(super) fn closest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let word = word.to_lowercase();
    known
        .into_iter()
        .map(|known| (strsim::jaro_winkler(&word, &known.to_lowercase()), known))
        .filter(|(alike, _)| *alike >= ALIKE_MIN)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, known)| known)
}

/// Text from outside, on one line, with nothing in it that a terminal would obey.
pub(super) fn quoted(text: &str) -> String {
    short::quoted(text, SHOWN_CHARS_MAX)
}

/// `64KiB`, for people.
pub(super) fn bytes(n: u64) -> String {
    in_units(n, SIZES)
}

/// `30s`, for people.
pub(super) fn duration(ms: u64) -> String {
    if ms == 0 { "0s".to_owned() } else { in_units(ms, DURATIONS) }
}

fn in_units(n: u64, units: &Units) -> String {
    let even = units.iter().find(|(_, scale)| n.is_multiple_of(*scale));
    even.map_or_else(|| n.to_string(), |(unit, scale)| format!("{}{unit}", n / scale))
}

/// Text with a unit, or a number of bytes.
fn size(given: &Given<'_>) -> Result<u64, Refusal> {
    let text = given.as_one_of(&[Form::Text, Form::Number])?;
    whole(text).or_else(|_| measured(text, SIZES))
}

fn milliseconds(given: &Given<'_>) -> Result<u64, Refusal> {
    let text = given.as_one_of(&[Form::Text, Form::Number])?;
    if whole(text).is_ok() {
        return Err(Refusal::with_hint(format!("with its unit it is \"{}s\" or \"{0}ms\"", text.trim())));
    }
    measured(text, DURATIONS)
}

fn measured(text: &str, units: &Units) -> Result<u64, Refusal> {
    let text = text.trim();
    let (digits, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit() && c != '_').unwrap_or(text.len()));
    let (number, unit) = (whole(digits)?, unit.trim_start());
    match units.iter().find(|(name, _)| *name == unit) {
        Some((_, scale)) => number.checked_mul(*scale).ok_or_else(Refusal::default),
        None => Err(unknown_unit(digits, unit, units)),
    }
}

fn unknown_unit(digits: &str, unit: &str, units: &Units) -> Refusal {
    let names = || units.iter().map(|(name, _)| *name);
    match closest(unit, names()) {
        Some(unit) => did_you_mean_this(&format!("{digits}{unit}")),
        None => Refusal::with_hint(format!("the units are {}", names().collect::<Vec<_>>().join(", "))),
    }
}

/// An integer of any radix as people write numbers; one that is beyond all ranges stays as it was written.
fn decimal(number: &DeInteger<'_>) -> String {
    i128::from_str_radix(number.as_str(), number.radix()).map_or_else(|_| number.to_string(), |n| n.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size_of(text: &str) -> Option<u64> {
        size(&Given::text(text)).ok()
    }

    #[test]
    fn sizes_and_durations_have_units() {
        assert_eq!(size_of("128MiB"), Some(128 * MIB));
        assert_eq!(size_of(" 1_000 KB "), Some(1_000_000));
        assert_eq!(size_of("4096"), Some(4096));
        assert_eq!(size_of("99999999999999999999GiB"), None);
        assert_eq!(milliseconds(&Given::text("5m")).ok(), Some(300_000));
        assert_eq!(milliseconds(&Given::text("-5m")).ok(), None);
    }

    #[test]
    fn a_quantity_shows_in_its_largest_even_unit() {
        assert_eq!([bytes(64 * KIB), bytes(GIB), bytes(1025)], ["64KiB", "1GiB", "1025B"]);
        assert_eq!([duration(0), duration(500), duration(3_600_000)], ["0s", "500ms", "1h"]);
    }

    #[test]
    fn text_from_outside_is_shown_on_one_short_line() {
        assert_eq!(quoted("a\n\u{1b}[31m"), r#""a\n\u{1b}[31m""#);
        assert_eq!(quoted(&"é".repeat(100)), format!("{:?}…", "é".repeat(60)));
    }

    #[test]
    fn a_share_has_its_sign_and_two_digits_at_most() {
        let share = |text| percentage(&Given::text(text)).ok();
        assert_eq!(["50%", "0.5 %", "99.99%", "0.01%"].map(share), [Some(5000), Some(50), Some(9999), Some(1)]);
        for wrong in ["50", "0%", "100%", "0.001%", "-1%", "%", "1.-1%", "99999999999999999999%", "1.é%"] {
            assert_eq!(share(wrong), None, "{wrong}");
        }
        assert_eq!(percentage(&Given::text("50")).unwrap_err().hint.unwrap(), "with its sign it is \"50%\"");
    }

    #[test]
    fn a_suggestion_is_alike_or_none() {
        assert_eq!(closest("TOPIK", ["topic", "start"]), Some("topic"));
        assert_eq!(closest("colour", ["topic", "start"]), None);
    }
}
