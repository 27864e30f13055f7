//! CSV by RFC 4180: one row without a header.
//!
//! Owns: how a row falls into cells, and what a bare text stands for in a column of some type. Does not own: whether the
//! value suits its field.
//!
//! Not the `csv` crate's reader, as that takes anything: it never tells of a quote that is left open or closed too early.
//! A test holds the two against each other where both have an answer.

use std::borrow::Cow;

use super::{CsvSettings, Reader, plan::Plan, refusal::Refusal, slot::Slot};
use crate::record::{Field, FieldKind, Reason, TimestampFormat};

/// What is known of the records before any is seen.
#[derive(Debug)]
pub(super) struct Csv {
    /// For each column of a row, the fields that are read from it.
    columns: Vec<Vec<(usize, FieldKind)>>,
    delimiter: u8,
    nulls: Vec<String>,
}

impl Csv {
    pub(super) fn new(settings: &CsvSettings, fields: &[Field]) -> Self {
        let all = || (0..).zip(fields);
        let read_from = |name: &String| {
            let here = all().filter(|(_, field)| matches!(field.path.as_slice(), [only] if only == name));
            here.map(|(slot, field)| (slot, field.kind)).collect()
        };
        let columns = match &settings.columns {
            Some(columns) => columns.iter().map(read_from).collect(),
            None => all().map(|(slot, field)| vec![(slot, field.kind)]).collect(),
        };
        Self { columns, delimiter: settings.delimiter, nulls: settings.nulls.clone() }
    }

    fn slot<'a>(&self, cell: Cell<'a>, kind: FieldKind) -> Slot<'a> {
        let Cell { text, quoted } = cell;
        if !quoted && self.nulls.iter().any(|null| *null == *text) { Slot::Null } else { typed(text, kind) }
    }
}

/// Reads the records of one batch.
#[derive(Debug)]
pub(super) struct CsvReader<'a> {
    csv: &'a Csv,
    slots: Vec<Slot<'a>>,
}

impl<'a> CsvReader<'a> {
    pub(super) fn new(csv: &'a Csv, plan: &Plan) -> Self {
        Self { csv, slots: vec![Slot::Absent; plan.slots()] }
    }

    fn put(&mut self, column: usize, cell: &Cell<'a>) {
        for &(slot, kind) in self.csv.columns.get(column).map_or(&[][..], Vec::as_slice) {
            if let Some(place) = self.slots.get_mut(slot) {
                *place = self.csv.slot(cell.clone(), kind);
            }
        }
    }
}

impl<'a> Reader<'a> for CsvReader<'a> {
    fn read(&mut self, bytes: &'a [u8]) -> Result<(), Refusal> {
        let text = str::from_utf8(bytes).map_err(|error| Refusal::not_utf8(Reason::NotCsv, error))?;
        let mut cells = Cells::new(without_line_break(text), self.csv.delimiter);
        let mut columns = 0;
        while let Some(cell) = cells.cut().map_err(|broken| broken.refusal(columns + 1))? {
            self.put(columns, &cell);
            columns += 1;
        }
        let expected = self.csv.columns.len();
        if columns == expected { Ok(()) } else { Err(Refusal::not_csv(format!("{columns} columns, not {expected}"))) }
    }

    fn slots(&mut self) -> &mut [Slot<'a>] {
        &mut self.slots
    }

    /// A line break inside quotes is text.
    fn line(&self, bytes: &'a [u8]) -> (&'a [u8], &'a [u8]) {
        let mut quoted = false;
        let end = bytes.iter().position(|byte| {
            quoted ^= *byte == b'"';
            *byte == b'\n' && !quoted
        });
        end.map_or((bytes, &[]), |end| bytes.split_at(end + 1))
    }
}

fn without_line_break(text: &str) -> &str {
    text.strip_suffix('\n').map_or(text, |line| line.strip_suffix('\r').unwrap_or(line))
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Cell<'a> {
    text: Cow<'a, str>,
    quoted: bool,
}

/// Why a row does not fall into cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Broken {
    LeftOpen,
    ClosedEarly,
    BareQuote,
    LineBreak,
}

impl Broken {
    #[cold]
    fn refusal(self, column: usize) -> Refusal {
        let what = match self {
            Self::LeftOpen => "a quote is left open",
            Self::ClosedEarly => "a quote is closed before its end",
            Self::BareQuote => "there is a quote in it, and it does not begin with one",
            Self::LineBreak => "a line break ends it, and more follows",
        };
        Refusal::not_csv(format!("column {column}: {what}"))
    }
}

/// The cells of one row.
struct Cells<'a> {
    rest: Option<&'a str>,
    delimiter: u8,
    /// No quote and no line break is in the row, as mostly.
    plain: bool,
}

impl<'a> Cells<'a> {
    fn new(row: &'a str, delimiter: u8) -> Self {
        Self { rest: Some(row), delimiter, plain: !row.bytes().any(|byte| matches!(byte, b'"' | b'\n')) }
    }

    #[inline]
    fn cut(&mut self) -> Result<Option<Cell<'a>>, Broken> {
        let Some(rest) = self.rest.take() else { return Ok(None) };
        if !self.plain && rest.starts_with('"') {
            return self.quoted(rest.get(1..).unwrap_or_default()).map(Some);
        }
        let text = match rest.bytes().position(|byte| byte == self.delimiter) {
            Some(end) => {
                self.rest = rest.get(end + 1..);
                rest.get(..end).unwrap_or_default()
            }
            None => rest,
        };
        if !self.plain && text.contains('\n') {
            return Err(Broken::LineBreak);
        }
        if !self.plain && text.contains('"') {
            return Err(Broken::BareQuote);
        }
        Ok(Some(Cell { text: Cow::Borrowed(text), quoted: false }))
    }

    /// A cell whose opening quote is behind; two quotes in it stand for one.
    fn quoted(&mut self, inner: &'a str) -> Result<Cell<'a>, Broken> {
        let (mut unescaped, mut rest) = (String::new(), inner);
        loop {
            let (piece, after) = rest.split_once('"').ok_or(Broken::LeftOpen)?;
            match after.as_bytes().first() {
                Some(b'"') => {
                    unescaped.extend([piece, "\""]);
                    rest = after.get(1..).unwrap_or_default();
                    continue;
                }
                Some(next) if *next == self.delimiter => self.rest = after.get(1..),
                Some(_) => return Err(Broken::ClosedEarly),
                None => {}
            }
            let text = if unescaped.is_empty() { Cow::Borrowed(piece) } else { Cow::Owned(unescaped + piece) };
            return Ok(Cell { text, quoted: true });
        }
    }
}

/// What a text stands for in a column of this kind; what it can't stand for stays text. Spaces around a number, a time or a
/// boolean are not part of it.
#[inline]
fn typed(text: Cow<'_, str>, kind: FieldKind) -> Slot<'_> {
    let word = text.trim_ascii();
    let value = match kind {
        FieldKind::Float32 | FieldKind::Float64 => float(word),
        FieldKind::Int32 | FieldKind::Int64 => whole(word),
        FieldKind::Timestamp(TimestampFormat::Rfc3339) | FieldKind::Date if word.len() < text.len() => {
            Some(Slot::Text(Cow::Owned(word.to_owned())))
        }
        FieldKind::Timestamp(format) if format != TimestampFormat::Rfc3339 => whole(word),
        FieldKind::Bool if word.eq_ignore_ascii_case("true") => Some(Slot::Bool(true)),
        FieldKind::Bool if word.eq_ignore_ascii_case("false") => Some(Slot::Bool(false)),
        FieldKind::Bool | FieldKind::String | FieldKind::Timestamp(_) | FieldKind::Date => None,
    };
    value.unwrap_or(Slot::Text(text))
}

/// As it would be read from JSON: a whole number stays exact.
#[inline]
fn whole(word: &str) -> Option<Slot<'static>> {
    let int = || word.parse().map(Slot::Int);
    let huge = |_| word.parse().map(Slot::Huge);
    int().or_else(huge).ok().or_else(|| float(word))
}

#[inline]
fn float(word: &str) -> Option<Slot<'static>> {
    let value: f64 = word.parse().ok()?;
    Some(if value.is_finite() { Slot::Float(value) } else { Slot::NotFinite(Cow::Owned(word.to_owned())) })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cells(row: &str) -> Result<Vec<(String, bool)>, Broken> {
        let (mut cells, mut all) = (Cells::new(row, b','), vec![]);
        while let Some(Cell { text, quoted }) = cells.cut()? {
            all.push((text.into_owned(), quoted));
        }
        Ok(all)
    }

    fn texts(row: &str) -> Vec<String> {
        cells(row).unwrap().into_iter().map(|(text, _)| text).collect()
    }

    #[test]
    fn a_row_falls_into_cells() {
        for (row, expected) in [
            ("", &[""][..]),
            ("a", &["a"]),
            (",", &["", ""]),
            ("a,,b,", &["a", "", "b", ""]),
            ("\"a,b\",\"c\"", &["a,b", "c"]),
            ("\"\",\"\"\"\"", &["", "\""]),
            ("\"a\"\"b\nc\",d", &["a\"b\nc", "d"]),
            (" a , b", &[" a ", " b"]),
            ("é,\"ü\"", &["é", "ü"]),
        ] {
            assert_eq!(texts(row), expected, "{row}");
        }
        assert_eq!(cells("\"\",").unwrap(), [(String::new(), true), (String::new(), false)]);
    }

    #[test]
    fn what_is_broken_is_told_apart() {
        for (row, expected) in [
            ("a,\"b", Broken::LeftOpen),
            ("\"", Broken::LeftOpen),
            ("\"a\"\"", Broken::LeftOpen),
            ("\"a\"b,c", Broken::ClosedEarly),
            ("a\"b", Broken::BareQuote),
            ("a, \"b\"", Broken::BareQuote),
            ("a\nb", Broken::LineBreak),
        ] {
            assert_eq!(cells(row), Err(expected), "{row}");
        }
    }

    /// Bits of which rows are made that are often sound, and often not quite.
    fn row() -> impl Strategy<Value = String> {
        let piece = prop::sample::select(vec!["a", "\"", "\"\"", ",", "é", " ", "\"x\"", "\"y,\"\"z\"", "\r", "1"]);
        prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn what_the_csv_crate_writes_is_read(row in prop::collection::vec(".{0,5}|[\",\n\r]{0,4}", 1..6)) {
            let mut writer = ::csv::WriterBuilder::new().quote_style(::csv::QuoteStyle::Necessary).from_writer(vec![]);
            writer.write_record(&row).unwrap();
            let line = String::from_utf8(writer.into_inner().unwrap()).unwrap();
            prop_assert_eq!(texts(without_line_break(&line)), row);
        }

        #[test]
        fn a_row_that_is_sound_is_the_same_to_the_csv_crate(row in row()) {
            if let (Ok(ours), false) = (cells(&row), row.is_empty()) {
                let mut builder = ::csv::ReaderBuilder::new();
                builder.has_headers(false).flexible(true).terminator(::csv::Terminator::Any(b'\n'));
                let theirs = builder.from_reader(row.as_bytes()).records().next().unwrap().unwrap();
                prop_assert!(ours.iter().map(|(text, _)| text.as_str()).eq(theirs.iter()), "{ours:?} {theirs:?}");
            }
        }

        #[test]
        fn no_text_makes_it_panic(row in "\\PC{0,40}") {
            let _ = cells(&row);
        }
    }
}
