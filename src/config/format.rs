//! `[format]`: how a record's value is written, and what follows from it for the fields.
//!
//! Owns: the rules between a format's keys and the fields. Does not own: reading a record ([`crate::decode`]).

use super::{
    by_schema,
    fields::Declared,
    keys::{self, FormatName},
    section::Section,
    value::Refusal,
};
use crate::{
    decode::{Format, JsonSettings},
    record::FieldKind,
};

pub(super) fn format(table: &mut Section<'_, '_>, fields: &[Declared], has_registry: bool) -> Option<Format> {
    match table.choice(&keys::FORMAT, &keys::FORMATS)? {
        FormatName::Json => by_schema::none_of_them(table).map(|()| Format::Json(JsonSettings {})),
        FormatName::Avro => by_schema::avro(table, has_registry),
        FormatName::Protobuf => by_schema::protobuf(table, has_registry),
        FormatName::Raw => by_schema::none_of_them(table).and(raw(table, fields)),
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
