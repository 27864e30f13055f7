//! What an Avro schema says of its fields. Owns: which type of field suits which of Avro's.

use super::schema::{Field, Form, Logical, Type, TypeId, Types};
use crate::{
    decode::described::{Described, Places},
    record::{FieldKind, TimestampFormat},
};

pub(super) fn describe(types: &Types) -> Vec<Described> {
    let mut places = Places::new();
    any(types, types.root, false, &mut vec![], &mut places);
    places.found
}

/// `within` are the types that this one stands in: one that holds itself has no end.
fn any(types: &Types, id: TypeId, nullable: bool, within: &mut Vec<TypeId>, places: &mut Places) {
    let of = types.get(id);
    match &of.form {
        Form::Union(branches) => union(types, branches, nullable, within, places),
        Form::Record { .. } if within.contains(&id) || places.is_full() => {
            places.no_field(nullable, "a record within a record of its kind, and so on");
        }
        Form::Record { fields, .. } => {
            within.push(id);
            for field in fields {
                member(types, field, nullable, within, places);
            }
            within.pop();
        }
        _ => plain(of, nullable, places),
    }
}

fn member(types: &Types, field: &Field, nullable: bool, within: &mut Vec<TypeId>, places: &mut Places) {
    places.path.push(field.name.clone());
    any(types, field.of, nullable, within, places);
    places.path.pop();
}

fn union(types: &Types, branches: &[TypeId], nullable: bool, within: &mut Vec<TypeId>, places: &mut Places) {
    let is_null = |id: &&TypeId| types.get(**id).form == Form::Null;
    let nullable = nullable || branches.iter().any(|id| is_null(&id));
    let values: Vec<TypeId> = branches.iter().filter(|id| !is_null(id)).copied().collect();
    match values.as_slice() {
        [only] => any(types, *only, nullable, within, places),
        [] => places.no_field(true, "never anything but null"),
        _ => places.no_field(nullable, "one of several types"),
    }
}

fn plain(of: &Type, nullable: bool, places: &mut Places) {
    let kind = match (&of.form, of.logical) {
        (Form::Bool, _) => FieldKind::Bool,
        (Form::Int, Some(Logical::Date)) => FieldKind::Date,
        (Form::Int, _) => FieldKind::Int32,
        (Form::Long, Some(Logical::Millis)) => FieldKind::Timestamp(TimestampFormat::Milliseconds),
        (Form::Long, Some(Logical::Micros)) => FieldKind::Timestamp(TimestampFormat::Microseconds),
        (Form::Long, Some(Logical::Nanos)) => FieldKind::Timestamp(TimestampFormat::Nanoseconds),
        (Form::Long, _) => FieldKind::Int64,
        (Form::Float, _) => FieldKind::Float32,
        (Form::Double, _) => FieldKind::Float64,
        (Form::Bytes | Form::Fixed { .. }, Some(Logical::Decimal { .. })) => {
            return places.field(FieldKind::Float64, nullable, Some("a decimal: as a string it keeps every digit"));
        }
        (Form::Text | Form::Enum { .. }, _) | (Form::Fixed { .. }, Some(Logical::Uuid)) => FieldKind::String,
        (Form::Bytes | Form::Fixed { .. }, _) => {
            return places.no_field(nullable, "bytes: a string can hold them if they are UTF-8");
        }
        (Form::Array(_), _) => return places.no_field(nullable, "an array"),
        (Form::Map(_), _) => return places.no_field(nullable, "a map: a path can lead to one of its keys"),
        _ => return places.no_field(true, "never anything but null"),
    };
    places.field(kind, nullable, None);
}
