//! Columns of CSV. Names are not in the records, so they are told or numbered.

use std::collections::BTreeMap;

use csv::{ReaderBuilder, StringRecord};

use super::{
    ANY_HOURS, CsvSettings, Format, Holds, Inferred, Member, count,
    seen::{Seen, Value},
};
use crate::record::FieldKind;

pub(super) fn infer<'v>(values: impl Iterator<Item = &'v [u8]>, delimiter: u8, names: &[String]) -> Inferred {
    let (mut rows, mut odd, mut several) = (vec![], BTreeMap::new(), false);
    for value in values {
        match read(value, delimiter) {
            Some(found) => {
                several |= found.len() > 1;
                rows.extend(found);
            }
            None => count(&mut odd, "not CSV"),
        }
    }
    let columns = if names.is_empty() { usual_columns(&rows) } else { names.len() };
    let unusual = rows.len();
    rows.retain(|row| row.len() == columns);
    if unusual > rows.len() {
        odd.insert(format!("not of {columns} columns"), (unusual - rows.len()) as u64);
    }
    let names: Vec<String> =
        (0..columns).map(|at| names.get(at).cloned().unwrap_or(format!("column_{}", at + 1))).collect();
    let mut seen = Seen::default();
    for row in &rows {
        for (name, cell) in names.iter().zip(row) {
            seen.note(std::slice::from_ref(name), value(cell));
        }
    }
    let lines = several.then_some(ANY_HOURS);
    let format = Format::Csv(CsvSettings { lines, delimiter, ..CsvSettings::default() });
    let mut inferred = Inferred::new(format, rows.len() as u64, &seen, odd);
    inferred.members.iter_mut().for_each(as_column);
    inferred
}

fn read(value: &[u8], delimiter: u8) -> Option<Vec<StringRecord>> {
    let mut builder = ReaderBuilder::new();
    builder.has_headers(false).flexible(true).delimiter(delimiter);
    builder.from_reader(value).records().collect::<Result<Vec<_>, _>>().ok().filter(|rows| !rows.is_empty())
}

/// As many as most rows have.
fn usual_columns(rows: &[StringRecord]) -> usize {
    let mut counts = BTreeMap::new();
    for row in rows {
        *counts.entry(row.len()).or_insert(0) += 1;
    }
    counts.into_iter().max_by_key(|(_, rows)| *rows).map_or(0, |(columns, _)| columns)
}

fn value(cell: &str) -> Value<'_> {
    let word = cell.trim_ascii();
    if cell.is_empty() {
        return Value::Null;
    }
    if let Ok(number) = word.parse() {
        return Value::Int(number);
    }
    match word.parse::<f64>() {
        Ok(number) if number.is_finite() => Value::Float,
        _ if word.eq_ignore_ascii_case("true") || word.eq_ignore_ascii_case("false") => Value::Bool,
        _ => Value::Text(cell),
    }
}

/// Every column is a field, for they are told apart by their places alone; text holds anything.
fn as_column(member: &mut Member) {
    if member.holds == Holds::NoField {
        member.holds = Holds::Kind(FieldKind::String);
    }
}
