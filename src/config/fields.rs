//! `[[fields]]`, and `[event_time]`, which names one of them.
//!
//! Owns: which names a column may have. They come from a person's file and go to folders, warehouses and other tools.

use std::collections::HashSet;

use super::{
    keys,
    reader::Reader,
    section::Section,
    value::{self, Given, Refusal, did_you_mean, quoted},
};
use crate::{
    decode::{EventTime, EventWindow},
    record::{Field, FieldKind, name},
};

const FIELDS_MAX: usize = 1000;
/// Decoders go down a path one call a member.
const PATH_MEMBERS_MAX: usize = 32;

/// A field as far as it could be read.
pub(super) struct Declared {
    /// As written, allowed or not.
    name: Option<String>,
    pub(super) field: Option<Field>,
}

pub(super) fn declared(reader: &mut Reader<'_>) -> Vec<Declared> {
    let tables = reader.elements(keys::FIELDS);
    if let Some(first_too_many) = tables.get(FIELDS_MAX) {
        reader.note(first_too_many.span().start, format!("more than {FIELDS_MAX} fields"), None);
    }
    let mut taken = HashSet::new();
    let mut declare = |table| declare(&mut reader.element(keys::FIELDS, table), &mut taken);
    tables.iter().take(FIELDS_MAX).map(&mut declare).collect()
}

fn declare(table: &mut Section<'_, '_>, taken: &mut HashSet<String>) -> Declared {
    let name = table.read(&keys::NAME, |given| Ok(given.as_text()?.to_owned()));
    let column = name.clone().and_then(|name| match column_name(&name, taken) {
        Ok(()) => Some(name),
        Err(refusal) => table.refuse(&keys::NAME, refusal),
    });
    Declared { name, field: field(table, column) }
}

fn field(table: &mut Section<'_, '_>, name: Option<String>) -> Option<Field> {
    let kind = kind(table);
    let nullable = table.read(&keys::NULLABLE, value::flag);
    let path = if table.has(&keys::PATH) { path(table) } else { name.clone().map(|name| vec![name]) };
    Some(Field { name: name?, kind: kind?, nullable: nullable?, path: path? })
}

fn kind(table: &mut Section<'_, '_>) -> Option<FieldKind> {
    let kind = table.choice(&keys::TYPE, &keys::TYPES);
    let unit = table.choice(&keys::UNIT, &keys::UNITS);
    match kind? {
        FieldKind::Timestamp(_) => unit.map(FieldKind::Timestamp),
        _ if table.has(&keys::UNIT) => table.refuse(&keys::UNIT, Refusal::because("unit is for timestamps only")),
        kind => Some(kind),
    }
}

fn path(table: &mut Section<'_, '_>) -> Option<Vec<String>> {
    let path = table.list(&keys::PATH, '.', |given| Ok(given.as_text()?.to_owned()))?;
    if path.len() <= PATH_MEMBERS_MAX {
        return Some(path);
    }
    table.refuse(&keys::PATH, Refusal::because(format!("path has more than {PATH_MEMBERS_MAX} members")))
}

/// Whether a column may have this name, where no other has.
#[must_use]
pub fn is_column_name(name: &str) -> bool {
    column_name(name, &mut HashSet::new()).is_ok()
}

/// Whether a column may have this name; `taken` are those before it.
fn column_name(name: &str, taken: &mut HashSet<String>) -> Result<(), Refusal> {
    let folded = name.to_lowercase();
    let refuse = |why: &str| Err(Refusal::because(format!("field name {} {why}", quoted(name))));
    let reserved = |what: &str| {
        let hint = format!("choose another name, with path = {}", quoted(name));
        refuse(&format!("is reserved for {what}")).map_err(|refusal: Refusal| refusal.hint(hint))
    };
    if let Some(why) = name::fault(name) {
        return refuse(&why);
    }
    match folded.as_str() {
        "prediction" | "confidence" => reserved("the model's result"),
        "date" | "hour" => reserved("the lake's folders"),
        folded if folded.starts_with("p_") => reserved("the classes' probabilities (p_…)"),
        folded if folded.starts_with('_') => reserved("the record's origin (_…)"),
        _ if !taken.insert(folded.clone()) => {
            refuse("is there already").map_err(|refusal| refusal.hint("warehouses don't tell upper from lower case"))
        }
        _ => Ok(()),
    }
}

pub(super) fn event_time(table: &mut Section<'_, '_>, fields: &[Declared]) -> Option<(EventTime, EventWindow)> {
    let event_time =
        table.read_or(&keys::EVENT_FIELD, EventTime::Broker, |given| event_field(fields, given).map(EventTime::Field));
    let earliest_ms = table.read(&keys::EARLIEST, value::time);
    let ahead_ms = table.number(&keys::AHEAD);
    Some((event_time?, EventWindow { earliest_ms: earliest_ms?, ahead_ms: ahead_ms? }))
}

/// The index of the timestamp field of that name.
fn event_field(fields: &[Declared], given: &Given<'_>) -> Result<usize, Refusal> {
    let wanted = given.as_text()?;
    let mut found = fields.iter().enumerate().filter(|(_, field)| field.name.as_deref() == Some(wanted));
    match found.next() {
        // One that could not be read has its own fault already.
        Some((index, Declared { field: None, .. })) => Ok(index),
        Some((index, Declared { field: Some(field), .. })) if is_timestamp(field) => Ok(index),
        Some(_) => Err(Refusal::because(format!("field {} is not a timestamp", quoted(wanted)))),
        None => {
            let names = fields.iter().filter_map(|field| field.name.as_deref());
            let reason = Some(format!("no field has the name {}", quoted(wanted)));
            Err(Refusal { reason, ..did_you_mean(wanted, names) })
        }
    }
}

fn is_timestamp(field: &Field) -> bool {
    matches!(field.kind, FieldKind::Timestamp(_))
}
