//! The file as tables, and every fault in it, gathered instead of stopping at the first.
//!
//! Owns: where a fault lies, and which tables there are. Does not own: what the tables mean ([`super::sections`]).

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    Fault, Lookup,
    keys::{self, FIELDS, KEYS, header},
    section::Section,
    value::{Given, closest, quoted},
};

pub(super) type Value<'a> = Spanned<DeValue<'a>>;

pub(super) struct Reader<'a> {
    text: &'a str,
    root: &'a DeTable<'a>,
    lookup: Lookup<'a>,
    faults: Vec<Fault>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(text: &'a str, root: &'a DeTable<'a>, lookup: Lookup<'a>) -> Self {
        let mut reader = Self { text, root, lookup, faults: Vec::new() };
        for (name, value) in root {
            if !keys::tables().any(|table| table == name.get_ref()) {
                reader.note_unknown(name.span().start, name.get_ref(), value.get_ref());
            }
        }
        reader
    }

    /// In the order of the file.
    pub(super) fn into_faults(mut self) -> Vec<Fault> {
        self.faults.sort_by_key(|fault| (fault.line, fault.column));
        self.faults
    }

    pub(super) fn note(&mut self, at: usize, message: impl Into<String>, hint: Option<String>) {
        self.faults.push(Fault::at(self.text, at, message.into(), hint));
    }

    /// The file's own text there.
    pub(super) fn raw(&self, span: std::ops::Range<usize>) -> Option<&'a str> {
        self.text.get(span)
    }

    /// A table that is written once. Its absence is a fault if one of its keys is required.
    pub(super) fn section(&mut self, name: &'static str) -> Section<'_, 'a> {
        if let Some(value) = self.at(name) {
            return self.element(name, value);
        }
        self.note_missing(name);
        Section::new(self, name, 0, None)
    }

    /// What stands under a table's name, which may be inside another: `source.tls`.
    fn at(&self, name: &str) -> Option<&'a Value<'a>> {
        match name.split_once('.') {
            Some((outer, inner)) => self.root.get(outer)?.get_ref().as_table()?.get(inner),
            None => self.root.get(name),
        }
    }

    /// The tables of a list of tables; an empty list is a fault.
    pub(super) fn elements(&mut self, name: &'static str) -> &'a [Value<'a>] {
        let Some(value) = self.root.get(name) else {
            self.note_missing(name);
            return &[];
        };
        match value.get_ref().as_array() {
            Some(elements) if !elements.is_empty() => return elements,
            Some(_) => self.note(value.span().start, format!("{} needs at least one table", header(name)), None),
            None => self.note_not_a_table(name, value.span().start),
        }
        &[]
    }

    /// The table that `value` ought to be.
    pub(super) fn element(&mut self, name: &'static str, value: &'a Value<'a>) -> Section<'_, 'a> {
        let (at, table) = (value.span().start, value.get_ref().as_table());
        if table.is_none() {
            self.note_not_a_table(name, at);
        }
        Section::new(self, name, at, table)
    }

    /// What stands at `value`, unless it names a variable that isn't there.
    pub(super) fn given<'v>(&mut self, value: &'v Value<'_>) -> Option<Given<'v>> {
        match Given::of(value.get_ref(), self.lookup) {
            Ok(given) => Some(given),
            Err(refusals) => {
                for refusal in refusals {
                    self.note(value.span().start, refusal.reason.unwrap_or_default(), refusal.hint);
                }
                None
            }
        }
    }

    fn note_not_a_table(&mut self, name: &str, at: usize) {
        let tables = if name == FIELDS { "a list of tables" } else { "one table" };
        self.note(at, format!("{name} is {tables}"), Some(format!("write {}", header(name))));
    }

    /// Silent if the table seems to be there under a misspelt name, for that has been noted.
    fn note_missing(&mut self, name: &str) {
        let misspelt = |unknown: &str| closest(unknown, keys::tables()) == Some(name);
        let required: Vec<_> = keys::keys_of(name).filter(|key| key.is_required()).map(|key| key.name).collect();
        if !required.is_empty() && !self.root.keys().any(|unknown| misspelt(unknown.get_ref())) {
            let hint = format!("it needs {}", required.join(" and "));
            self.note(0, format!("missing table {}", header(name)), Some(hint));
        }
    }

    fn note_unknown(&mut self, at: usize, name: &str, value: &DeValue<'_>) {
        if is_table(value) {
            let moved = keys::MOVED_TABLES.iter().find(|(from, _)| *from == name).map(|(_, to)| (*to).to_owned());
            let inner = keys::tables().find(|table| table.split_once('.').is_some_and(|(_, inner)| inner == name));
            let meant = || {
                let meant = inner.or_else(|| closest(name, keys::tables()));
                meant.map(|table| format!("did you mean {}?", header(table)))
            };
            let hint = moved.or_else(meant);
            self.note(at, format!("unknown table {}", quoted(name)), hint);
        } else {
            self.note(at, format!("unknown key {} outside any table", quoted(name)), belongs_in(name));
        }
    }
}

/// A table or a list of them.
pub(super) fn is_table(value: &DeValue<'_>) -> bool {
    match value {
        DeValue::Table(_) => true,
        DeValue::Array(elements) => elements.first().is_some_and(|first| first.get_ref().is_table()),
        _ => false,
    }
}

/// The hint for a key that an earlier release had here.
pub(super) fn moved(table: &str, name: &str) -> Option<String> {
    let moved = keys::MOVED.iter().find(|(from, key, _)| *from == table && *key == name);
    moved.map(|(.., to)| (*to).to_owned())
}

/// The hint for a key that is right, but in the wrong table.
pub(super) fn belongs_in(name: &str) -> Option<String> {
    KEYS.iter().find(|key| key.name == name).map(|key| format!("it belongs in {}", header(key.table)))
}
