//! What a Protobuf message says of its fields. Owns: which type of field suits which of Protobuf's.

use prost_reflect::{Cardinality, FieldDescriptor, Kind, MessageDescriptor};

use super::compile::{TIMESTAMP, WRAPPERS};
use crate::{
    decode::described::{Described, Places},
    record::{FieldKind, TimestampFormat},
};

pub(super) fn describe(message: &MessageDescriptor) -> Vec<Described> {
    let mut places = Places::new();
    members(message, false, &mut vec![], &mut places);
    places.found
}

/// `within` are the messages that this one stands in: one that holds itself has no end.
fn members(message: &MessageDescriptor, nullable: bool, within: &mut Vec<MessageDescriptor>, places: &mut Places) {
    within.push(message.clone());
    for field in message.fields() {
        places.path.push(field.name().to_owned());
        member(&field, nullable, within, places);
        places.path.pop();
    }
    within.pop();
}

fn member(field: &FieldDescriptor, nullable: bool, within: &mut Vec<MessageDescriptor>, places: &mut Places) {
    let nullable = nullable || field.supports_presence();
    if field.is_map() {
        return places.no_field(nullable, "a map: a path can lead to one of its keys, if these are strings");
    }
    if field.cardinality() == Cardinality::Repeated {
        return places.no_field(nullable, "an array");
    }
    let Kind::Message(message) = field.kind() else { return plain(&field.kind(), nullable, places) };
    match message.full_name() {
        TIMESTAMP => places.field(FieldKind::Timestamp(TimestampFormat::Microseconds), nullable, None),
        name if WRAPPERS.contains(&name) => {
            message.get_field(1).into_iter().for_each(|value| plain(&value.kind(), true, places));
        }
        _ if within.contains(&message) || places.is_full() => {
            places.no_field(nullable, "a message within a message of its kind, and so on");
        }
        _ => members(&message, nullable, within, places),
    }
}

fn plain(kind: &Kind, nullable: bool, places: &mut Places) {
    let kind = match kind {
        Kind::Double => FieldKind::Float64,
        Kind::Float => FieldKind::Float32,
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => FieldKind::Int32,
        Kind::Uint64 | Kind::Fixed64 => {
            return places.field(FieldKind::Int64, nullable, Some("unsigned: beyond int64 it is a reject"));
        }
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 | Kind::Uint32 | Kind::Fixed32 => FieldKind::Int64,
        Kind::Bool => FieldKind::Bool,
        Kind::String | Kind::Enum(_) => FieldKind::String,
        Kind::Bytes | Kind::Message(_) => {
            return places.no_field(nullable, "bytes: a string can hold them if they are UTF-8");
        }
    };
    places.field(kind, nullable, None);
}
