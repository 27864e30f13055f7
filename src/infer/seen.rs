//! What was seen at each place of the records, and which type holds it all.

use std::collections::HashMap;

use chrono::{DateTime, NaiveDate};

use super::{Holds, Member};
use crate::record::{FieldKind, TimestampFormat};

/// Places that are looked at; a record with more of them has names that are data.
const PLACES_MAX: usize = 10_000;

/// 2000-01-01 and 2100-01-01 in seconds: whole numbers between them are often times.
const TIMES: [i64; 2] = [946_684_800, 4_102_444_800];
const UNITS: [(&str, i64); 4] = [("s", 1), ("ms", 1_000), ("us", 1_000_000), ("ns", 1_000_000_000)];

/// Where no more than one value in so many is of another sort than the rest, the rest decides what the field holds: a topic
/// has broken records now and then.
const ODD_ONE_IN: u64 = 20;

/// What values may be, as far as one field can hold them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sort {
    Booleans,
    Numbers,
    Texts,
    Arrays,
    Objects,
}

impl Sort {
    /// `1 text`, `2 texts`.
    fn counted(self, rows: u64) -> String {
        let one = match self {
            Self::Booleans => "boolean",
            Self::Numbers => "number",
            Self::Texts => "text",
            Self::Arrays => "array",
            Self::Objects => "object",
        };
        format!("{rows} {one}{}", if rows == 1 { "" } else { "s" })
    }
}

/// A value, as far as its type goes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Value<'v> {
    Null,
    Bool,
    Int(i64),
    /// A fraction, or an integer that no `i64` holds.
    Float,
    Text(&'v str),
    Array,
    Object,
}

/// The places, in the order in which they were met.
#[derive(Debug, Default)]
pub(super) struct Seen {
    at: HashMap<Vec<String>, usize>,
    places: Vec<Place>,
}

#[derive(Debug)]
struct Place {
    path: Vec<String>,
    bools: u64,
    ints: u64,
    floats: u64,
    texts: u64,
    /// Of the texts.
    times: u64,
    dates: u64,
    arrays: u64,
    objects: u64,
    smallest: i64,
    largest: i64,
}

impl Seen {
    pub(super) fn note(&mut self, path: &[String], value: Value<'_>) {
        let at = match self.at.get(path) {
            Some(at) => *at,
            None if self.places.len() == PLACES_MAX => return,
            None => {
                self.at.insert(path.to_vec(), self.places.len());
                self.places.push(Place::new(path));
                self.places.len() - 1
            }
        };
        if let Some(place) = self.places.get_mut(at) {
            place.take(value);
        }
    }

    /// What there is in `rows` rows.
    pub(super) fn members(&self, rows: u64) -> Vec<Member> {
        let plain_objects = self.places.iter().filter(|place| !place.is_object());
        plain_objects.map(|place| self.member(place, rows)).collect()
    }

    fn member(&self, place: &Place, rows: u64) -> Member {
        let (holds, note) = match self.odd_ancestor(place) {
            Some(odd) => (Holds::NoField, Some(format!("{odd} is not always an object"))),
            None => place.holds(),
        };
        let present = place.present();
        Member { path: place.path.clone(), present, nullable: present < rows, holds, note }
    }

    /// What the path leads through and is not an object in every row.
    fn odd_ancestor(&self, place: &Place) -> Option<String> {
        let mut ancestors = (1..place.path.len()).filter_map(|members| place.path.get(..members));
        let odd =
            |path: &&[String]| self.at.get(*path).and_then(|at| self.places.get(*at)).is_some_and(|at| !at.is_object());
        ancestors.find(odd).map(|path| format!("{:?}", path.join(".")))
    }
}

impl Place {
    fn new(path: &[String]) -> Self {
        let path = path.to_vec();
        let [bools, ints, floats, texts, times, dates, arrays, objects] = [0; 8];
        let (smallest, largest) = (i64::MAX, i64::MIN);
        Self { path, bools, ints, floats, texts, times, dates, arrays, objects, smallest, largest }
    }

    fn take(&mut self, value: Value<'_>) {
        match value {
            Value::Null => {}
            Value::Bool => self.bools += 1,
            Value::Int(value) => {
                self.ints += 1;
                self.smallest = self.smallest.min(value);
                self.largest = self.largest.max(value);
            }
            Value::Float => self.floats += 1,
            Value::Text(text) => {
                self.texts += 1;
                self.times += u64::from(DateTime::parse_from_rfc3339(text).is_ok());
                self.dates += u64::from(is_date(text));
            }
            Value::Array => self.arrays += 1,
            Value::Object => self.objects += 1,
        }
    }

    fn present(&self) -> u64 {
        self.bools + self.ints + self.floats + self.texts + self.arrays + self.objects
    }

    fn is_object(&self) -> bool {
        self.objects > 0 && self.objects == self.present()
    }

    /// What nearly all values here are; else nothing, with all that they are.
    fn holds(&self) -> (Holds, Option<String>) {
        let kinds = [
            (self.bools, Sort::Booleans),
            (self.ints + self.floats, Sort::Numbers),
            (self.texts, Sort::Texts),
            (self.arrays, Sort::Arrays),
            (self.objects, Sort::Objects),
        ];
        let mut there: Vec<_> = kinds.into_iter().filter(|(rows, _)| *rows > 0).collect();
        // The commonest first; of equals, the first in the list.
        there.sort_by_key(|(rows, _)| std::cmp::Reverse(*rows));
        let Some((&(rows, sort), others)) = there.split_first() else {
            return (Holds::NoField, Some("always null".into()));
        };
        let named =
            |kinds: &[(u64, Sort)]| kinds.iter().map(|(rows, sort)| sort.counted(*rows)).collect::<Vec<_>>().join(", ");
        if rows.saturating_mul(ODD_ONE_IN) < self.present().saturating_mul(ODD_ONE_IN - 1) {
            return (Holds::NoField, Some(format!("of several types: {}", named(&there))));
        }
        let (holds, note) = match sort {
            Sort::Arrays => (Holds::NoField, Some("an array, which no field holds".into())),
            Sort::Objects => (Holds::NoField, Some(format!("of several types: {}", named(&there)))),
            Sort::Booleans => (Holds::Kind(FieldKind::Bool), None),
            Sort::Numbers => self.number(),
            Sort::Texts => (Holds::Kind(self.text()), None),
        };
        let odd = (!others.is_empty() && holds != Holds::NoField)
            .then(|| format!("besides {}, which would be rejects", named(others)));
        (holds, odd.or(note))
    }

    fn number(&self) -> (Holds, Option<String>) {
        if self.floats > 0 {
            return (Holds::Kind(FieldKind::Float64), None);
        }
        let note = self.time_unit().map(|unit| format!("may be a time: type = \"timestamp\", unit = \"{unit}\""));
        (Holds::Kind(FieldKind::Int64), note)
    }

    fn text(&self) -> FieldKind {
        match self {
            Self { texts, times, .. } if times == texts => FieldKind::Timestamp(TimestampFormat::Rfc3339),
            Self { texts, dates, .. } if dates == texts => FieldKind::Date,
            _ => FieldKind::String,
        }
    }

    fn time_unit(&self) -> Option<&'static str> {
        let [first, last] = TIMES;
        let is_time = |scale: i64| first * scale <= self.smallest && self.largest <= last.saturating_mul(scale);
        UNITS.iter().find(|(_, scale)| is_time(*scale)).map(|(unit, _)| *unit)
    }
}

fn is_date(text: &str) -> bool {
    NaiveDate::parse_from_str(text, "%Y-%m-%d").is_ok_and(|date| date.format("%Y-%m-%d").to_string() == text)
}
