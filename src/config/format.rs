//! `[format]`: how a record's value is written, and what follows from it for the fields.
//!
//! Owns: the rules between a format's keys and the fields. Does not own: reading a record ([`crate::decode`]).

use super::{
    by_schema,
    fields::Declared,
    keys::{self, FormatName, Key},
    section::Section,
    value::{self, Given, Refusal, quoted},
};
use crate::{
    decode::{CsvSettings, Envelope, Format, JsonSettings, Lines},
    record::{Field, FieldKind},
};

/// Keys that are for some formats alone.
const FOR: [(&Key, &[FormatName]); 10] = [
    (&keys::LINES, &[FormatName::Json, FormatName::Csv]),
    (&keys::ENVELOPE, &[FormatName::Json, FormatName::Avro, FormatName::Protobuf]),
    (&keys::COLUMNS, &[FormatName::Csv]),
    (&keys::DELIMITER, &[FormatName::Csv]),
    (&keys::NULLS, &[FormatName::Csv]),
    (&keys::ENCODING, &[FormatName::Avro, FormatName::Protobuf]),
    (&keys::SCHEMA, &[FormatName::Avro]),
    (&keys::READER_SCHEMA, &[FormatName::Avro]),
    (&keys::DESCRIPTOR, &[FormatName::Protobuf]),
    (&keys::MESSAGE, &[FormatName::Protobuf]),
];

pub(super) fn format(
    table: &mut Section<'_, '_>,
    fields: &[Declared],
    segment_hours_max: Option<usize>,
    has_registry: bool,
) -> Option<Format> {
    let name = table.choice(&keys::FORMAT, &keys::FORMATS)?;
    let sound = note_foreign(table, name);
    let several = table.read(&keys::LINES, value::flag);
    let lines =
        several.zip(segment_hours_max).map(|(several, hours_max)| Several(several.then_some(Lines { hours_max })));
    let format = match name {
        FormatName::Json => json(table, lines),
        FormatName::Csv => csv(table, lines, fields),
        FormatName::Avro => by_schema::avro(table, has_registry),
        FormatName::Protobuf => by_schema::protobuf(table, has_registry),
        FormatName::Raw => raw(table, fields),
    };
    format.filter(|_| sound)
}

/// Keys of another format than the one that is set. Whether there are none.
fn note_foreign(table: &mut Section<'_, '_>, name: FormatName) -> bool {
    let mut sound = true;
    for (key, formats) in FOR.into_iter().filter(|(_, formats)| !formats.contains(&name)) {
        if table.has(key) {
            let names = keys::FORMATS.iter().filter(|(_, format)| formats.contains(format)).map(|(name, _)| *name);
            let told = format!("{} is for {}", key.name, names.collect::<Vec<_>>().join(" and "));
            table.note(key, Refusal::because(told).hint("set type, or leave this out"));
            sound = false;
        }
    }
    sound
}

/// Whether values are of several lines.
struct Several(Option<Lines>);

fn json(table: &mut Section<'_, '_>, lines: Option<Several>) -> Option<Format> {
    let envelope = table.choice(&keys::ENVELOPE, &keys::ENVELOPES)?;
    let Several(lines) = lines?;
    if lines.is_some() && envelope != Envelope::None {
        let told = Refusal::because("lines and envelope exclude each other");
        return table.refuse(&keys::LINES, told.hint("an envelope holds one change"));
    }
    Some(Format::Json(JsonSettings { lines, envelope }))
}

fn csv(table: &mut Section<'_, '_>, lines: Option<Several>, fields: &[Declared]) -> Option<Format> {
    let columns = if table.has(&keys::COLUMNS) {
        table.list(&keys::COLUMNS, ',', |given| Ok(given.as_text()?.trim().to_owned())).map(Some)
    } else {
        Some(None)
    };
    let delimiter = table.read(&keys::DELIMITER, delimiter);
    let nulls = if table.has(&keys::NULLS) {
        table.list(&keys::NULLS, ',', |given| Ok(given.as_blank_or_text()?.to_owned()))
    } else {
        Some(CsvSettings::default().nulls)
    };
    let (columns, Several(lines)) = (columns?, lines?);
    note_misplaced(table, columns.as_deref(), fields)?;
    Some(Format::Csv(CsvSettings { lines, columns, delimiter: delimiter?, nulls: nulls? }))
}

fn delimiter(given: &Given<'_>) -> Result<u8, Refusal> {
    let text = given.as_blank_or_text()?;
    match text.as_bytes() {
        [b'"' | b' ' | b'\r' | b'\n'] => Err(Refusal::default()),
        [byte] if byte.is_ascii() && !byte.is_ascii_alphanumeric() => Ok(*byte),
        _ => Err(Refusal::default()),
    }
}

/// Fields that no column leads to; `None` if there are any.
fn note_misplaced(table: &mut Section<'_, '_>, columns: Option<&[String]>, fields: &[Declared]) -> Option<()> {
    let fields = || fields.iter().filter_map(|declared| declared.field.as_ref());
    let Some(columns) = columns else {
        let Some(field) = fields().find(|field| field.path != [field.name.clone()]) else { return Some(()) };
        let told = format!("field {} has a path, and csv has no names", quoted(&field.name));
        return table.refuse(&keys::FORMAT, Refusal::because(told).hint("name them all, in order, with columns"));
    };
    if let Some(twin) =
        columns.iter().enumerate().find(|(at, name)| columns.iter().take(*at).any(|other| other == *name))
    {
        let told = format!("columns has {} twice", quoted(twin.1));
        return table.refuse(&keys::COLUMNS, Refusal::because(told));
    }
    let is_there = |field: &&Field| matches!(field.path.as_slice(), [name] if columns.contains(name));
    match fields().find(|field| !is_there(field)) {
        None => Some(()),
        Some(field) => {
            let told = format!(
                "columns has no {}, which field {} is read from",
                quoted(&field.path.join(".")),
                quoted(&field.name)
            );
            table.refuse(&keys::COLUMNS, Refusal::because(told))
        }
    }
}

/// There is one value, so there is one field.
fn raw(table: &mut Section<'_, '_>, fields: &[Declared]) -> Option<Format> {
    match fields {
        [only] if only.field.as_ref().is_none_or(|field| field.kind == FieldKind::String) => Some(Format::Raw),
        // The lack of any has its own fault.
        [] => None,
        _ => {
            let told = Refusal::because("raw needs exactly one field, of type string");
            table.refuse(&keys::FORMAT, told.hint("it gets the whole value"))
        }
    }
}
