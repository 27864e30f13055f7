//! Which fields a source has. Told by the source itself: they are the fields of its first record.

use super::{Source, label::Labelled, row::Row};

/// A field of a source's records, in the order in which it stands there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    pub name: &'static str,
    pub kind: Kind,
    /// It tells of what happened: neither the record's number, time and entity, nor the truth.
    pub observed: bool,
}

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Whole,
    Decimal,
    Flag,
    Text,
    Time,
}

#[derive(Debug, Default)]
struct Fields {
    all: Vec<Field>,
    with_truth: bool,
}

/// The fields of a source's records.
#[must_use]
pub fn of_records(source: Source, with_truth: bool) -> Vec<Field> {
    let mut fields = Fields { all: Vec::new(), with_truth };
    source.stream(1, 0).next(&mut fields);
    fields.all
}

/// The fields of the labels that a source sends to the topic of the truth.
#[must_use]
pub fn of_labels(source: Source) -> Vec<Field> {
    let mut labelled = Labelled::new(Fields::default());
    source.stream(1, 0).next(&mut labelled);
    let mut fields = Fields { all: Vec::new(), with_truth: true };
    labelled.label.draw(&mut fields);
    fields.all
}

/// The names in their order, as a header of CSV.
#[must_use]
pub fn header(fields: &[Field]) -> String {
    fields.iter().map(|field| field.name).collect::<Vec<_>>().join(",")
}

impl Fields {
    fn push(&mut self, name: &'static str, kind: Kind, observed: bool) {
        self.all.push(Field { name, kind, observed });
    }
}

impl Row for Fields {
    fn id(&mut self, _: u64) {
        self.push("id", Kind::Whole, false);
    }

    fn whole(&mut self, name: &'static str, _: i64) {
        self.push(name, Kind::Whole, true);
    }

    fn decimal(&mut self, name: &'static str, _: f64, _: u32) {
        self.push(name, Kind::Decimal, true);
    }

    fn flag(&mut self, name: &'static str, _: bool) {
        self.push(name, Kind::Flag, true);
    }

    fn text(&mut self, name: &'static str, _: &str) {
        self.push(name, Kind::Text, true);
    }

    fn time(&mut self, name: &'static str, _: i64) {
        self.push(name, Kind::Time, false);
    }

    fn entity(&mut self, name: &'static str, _: char, _: u64) {
        self.push(name, Kind::Text, false);
    }

    fn truth(&mut self, name: &'static str, _: &'static str) {
        if self.with_truth {
            self.push(name, Kind::Text, false);
        }
    }
}
