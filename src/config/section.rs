//! One table of the file: takes its keys' values.
//!
//! Invariant: whoever gets `None` from here may be sure that a fault has been noted.

use std::time::Duration;

use toml::de::{DeTable, DeValue};

use super::{
    keys::{Fallback, Key, header, keys_of, tables},
    reader::{Reader, Value, belongs_in, is_table, moved},
    value::{self, Given, Refusal, closest, did_you_mean, quoted},
};

/// A fault was noted, where the lack of a value is none.
pub(super) struct Noted;

pub(super) struct Section<'r, 'a> {
    reader: &'r mut Reader<'a>,
    name: &'static str,
    /// Of its header.
    at: usize,
    table: Option<&'a DeTable<'a>>,
}

impl<'r, 'a> Section<'r, 'a> {
    /// `table` is absent if the file has none of that name.
    pub(super) fn new(
        reader: &'r mut Reader<'a>,
        name: &'static str,
        at: usize,
        table: Option<&'a DeTable<'a>>,
    ) -> Self {
        let mut section = Self { reader, name, at, table };
        section.note_unknown_keys();
        section
    }

    /// Whether the file has this table at all.
    pub(super) fn is_there(&self) -> bool {
        self.table.is_some()
    }

    pub(super) fn has(&self, key: &Key) -> bool {
        self.get(key).is_some()
    }

    /// A key's value, or its default.
    pub(super) fn read<T>(&mut self, key: &Key, convert: impl Fn(&Given<'_>) -> Result<T, Refusal>) -> Option<T> {
        match (self.get(key), key.default) {
            (Some(value), _) => self.convert(key, value, &convert),
            (None, Fallback::Value(default)) => self.take(key, self.at, &Given::free(default), &convert),
            (None, Fallback::Required | Fallback::Unless(_) | Fallback::Rule(_)) => self.note_missing(key),
        }
    }

    /// As [`Self::read`], for a key whose default is no value of its own.
    pub(super) fn read_or<T>(
        &mut self,
        key: &Key,
        default: T,
        convert: impl Fn(&Given<'_>) -> Result<T, Refusal>,
    ) -> Option<T> {
        if self.has(key) { self.read(key, convert) } else { Some(default) }
    }

    pub(super) fn number<T: TryFrom<u64>>(&mut self, key: &Key) -> Option<T> {
        self.read(key, |given| {
            let number = value::number(key.takes, given)?;
            T::try_from(number).map_err(|_| Refusal::default())
        })
    }

    pub(super) fn duration(&mut self, key: &Key) -> Option<Duration> {
        self.number(key).map(Duration::from_millis)
    }

    pub(super) fn choice<T: Copy>(&mut self, key: &Key, choices: &[(&str, T)]) -> Option<T> {
        self.read(key, |given| value::choice(choices, given))
    }

    /// A list, or one text with `separator` between its parts. Every faulty part is noted; an empty list is a fault.
    pub(super) fn list<T>(
        &mut self,
        key: &Key,
        separator: char,
        convert: impl Fn(&Given<'_>) -> Result<T, Refusal>,
    ) -> Option<Vec<T>> {
        let Some(value) = self.get(key) else { return self.note_missing(key) };
        let parts: Vec<Option<T>> = match value.get_ref() {
            DeValue::Array(elements) if elements.is_empty() => {
                return self.refuse(key, Refusal::because(format!("{} is an empty list", key.name)));
            }
            DeValue::Array(elements) => elements.iter().map(|part| self.convert(key, part, &convert)).collect(),
            _ => {
                let given = self.reader.given(value)?;
                let at = value.span().start;
                given.split(separator).iter().map(|part| self.take(key, at, part, &convert)).collect()
            }
        };
        parts.into_iter().collect()
    }

    /// Notes a fault at the key's value.
    pub(super) fn note(&mut self, key: &Key, refusal: Refusal) {
        let at = self.get(key).map_or(self.at, |value| value.span().start);
        self.reader.note(at, refusal.reason.unwrap_or_default(), refusal.hint);
    }

    /// Notes a fault inside the key's text, so many bytes from its begin.
    pub(super) fn note_inside(&mut self, key: &Key, at: usize, refusal: Refusal) {
        let Some(value) = self.get(key) else { return };
        let start = value.span().start;
        let place = value.get_ref().as_str().and_then(|text| {
            let raw = self.reader.raw(value.span())?;
            Some(start + inside(raw, text, at)?)
        });
        self.reader.note(place.unwrap_or(start), refusal.reason.unwrap_or_default(), refusal.hint);
    }

    /// As [`Self::note`], in place of a value.
    pub(super) fn refuse<T>(&mut self, key: &Key, refusal: Refusal) -> Option<T> {
        self.note(key, refusal);
        None
    }

    fn get(&self, key: &Key) -> Option<&'a Value<'a>> {
        self.table?.get(key.name)
    }

    fn convert<T>(
        &mut self,
        key: &Key,
        value: &Value<'_>,
        convert: &impl Fn(&Given<'_>) -> Result<T, Refusal>,
    ) -> Option<T> {
        let given = self.reader.given(value)?;
        self.take(key, value.span().start, &given, convert)
    }

    fn take<T>(
        &mut self,
        key: &Key,
        at: usize,
        given: &Given<'_>,
        convert: &impl Fn(&Given<'_>) -> Result<T, Refusal>,
    ) -> Option<T> {
        match convert(given) {
            Ok(taken) => Some(taken),
            Err(Refusal { reason, hint }) => {
                let takes = || format!("{} takes {}, not {given}", key.name, key.takes);
                self.reader.note(at, reason.unwrap_or_else(takes), hint);
                None
            }
        }
    }

    fn note_unknown_keys(&mut self) {
        for (name, value) in self.unknown_keys() {
            let (at, name) = (name.span().start, name.get_ref());
            let hint = moved(self.name, name)
                .or_else(|| belongs_in(name))
                .or_else(|| did_you_mean(name, self.key_names()).hint);
            let what = if is_table(value.get_ref()) { "table" } else { "key" };
            self.reader.note(at, format!("unknown {what} {} in {}", quoted(name), header(self.name)), hint);
        }
    }

    /// Silent if the key seems to be there under a misspelt name, or its whole table is missing: that has been noted.
    fn note_missing<T>(&mut self, key: &Key) -> Option<T> {
        let misspelt = |unknown: &str| closest(unknown, self.key_names()) == Some(key.name);
        let told = self.table.is_none() || self.unknown_keys().any(|(unknown, _)| misspelt(unknown.get_ref()));
        if !told {
            let message = format!("missing key \"{}\" in {}", key.name, header(self.name));
            let or = match key.default {
                Fallback::Unless(other) => format!(", or write {other} in its place"),
                _ => String::new(),
            };
            self.reader.note(self.at, message, Some(format!("it takes {}{or}", key.takes)));
        }
        None
    }

    fn unknown_keys(
        &self,
    ) -> impl Iterator<Item = (&'a toml::Spanned<toml::de::DeString<'a>>, &'a Value<'a>)> + use<'a> {
        let table = self.name;
        let keys = self.table.into_iter().flatten();
        let known = move |name: &str| keys_of(table).any(|key| key.name == name) || is_inner(table, name);
        keys.filter(move |(name, _)| !known(name.get_ref()))
    }

    fn key_names(&self) -> impl Iterator<Item = &'static str> + use<> {
        keys_of(self.name).map(|key| key.name)
    }
}

/// Whether there is a table of that name inside this one.
fn is_inner(table: &str, name: &str) -> bool {
    tables().any(|known| known.split_once('.') == Some((table, name)))
}

/// Where a byte of `text` stands in `raw`, which is the text as TOML writes it; `None` where that can't be told.
fn inside(raw: &str, text: &str, at: usize) -> Option<usize> {
    let quotes = ["\"\"\"", "'''", "\"", "'"].into_iter().find(|quotes| raw.starts_with(quotes))?;
    let mut rest = raw.get(quotes.len()..)?;
    for c in text.get(..at)?.chars() {
        if let Some(escaped) = rest.strip_prefix('\\').filter(|_| quotes.starts_with('"')) {
            // Longer ones, such as \u00e9, are not worth the counting.
            let one = escaped.chars().next().filter(|one| "btnfr\"\\e".contains(*one))?;
            rest = escaped.get(one.len_utf8()..)?;
        } else {
            rest = rest.strip_prefix(c)?;
        }
    }
    Some(raw.len() - rest.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_in_a_text_is_found_in_what_was_written() {
        assert_eq!(inside("'a = 1'", "a = 1", 2), Some(3));
        assert_eq!(inside("\"a = \\\"x\\\" !\"", "a = \"x\" !", 8), Some(11));
        assert_eq!(inside("'''a'''", "a", 1), Some(4));
        assert_eq!(inside("\"\\u0061!\"", "a!", 1), None);
    }
}
