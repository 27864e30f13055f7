//! A default of the reader's schema, as what it puts into the slots.
//!
//! Owns: how a default stands in a schema's JSON.

use serde_json::Value as Json;

use super::{
    program::{Constant, Value, Whole},
    schema::{Form, Logical, Type, TypeId, Types},
};
use crate::decode::{
    shape::Node,
    slot::{Slot, Unit},
    target::float,
};

pub(super) struct Defaults<'s> {
    types: &'s Types,
    pub(super) constants: Vec<Constant>,
}

impl<'s> Defaults<'s> {
    pub(super) fn new(types: &'s Types) -> Self {
        Self { types, constants: Vec::new() }
    }

    /// What a node's slots get; goes no deeper than the declared paths.
    pub(super) fn put(&mut self, of: TypeId, json: &Json, node: &Node) {
        let of = self.types.get(of);
        match (&of.form, json) {
            (Form::Union(branches), _) => match branches.iter().find(|branch| self.fits(**branch, json)) {
                Some(branch) => self.put(*branch, json, node),
                None => self.refuse(node),
            },
            (Form::Record { fields, .. }, Json::Object(members)) => {
                self.these(&node.fields, &Value::Plain(Slot::Object));
                for (name, node) in node.members() {
                    let Some(field) = fields.iter().find(|field| field.name == name) else { continue };
                    match members.get(name).or(field.default.as_ref()) {
                        Some(json) => self.put(field.of, json, node),
                        None => self.refuse(node),
                    }
                }
            }
            (Form::Map(values), Json::Object(members)) => {
                self.these(&node.fields, &Value::Plain(Slot::Object));
                for (name, node) in node.members() {
                    members.get(name).into_iter().for_each(|json| self.put(*values, json, node));
                }
            }
            _ => match plain(of, json) {
                None => self.refuse(node),
                Some(value) => {
                    self.these(&node.fields, &value);
                    let under = if json.is_null() { Slot::Absent } else { Slot::NoObject };
                    self.these(&node.below, &Value::Plain(under));
                }
            },
        }
    }

    /// Every slot of the node asks for something that is not there.
    pub(super) fn refuse(&mut self, node: &Node) {
        // The index is told by `number_misfits`.
        self.these(&node.fields, &Value::Misfit(0));
        self.these(&node.below, &Value::Misfit(0));
    }

    /// Whether there are any; then they all are that one.
    pub(super) fn number_misfits(&mut self, number: usize) -> bool {
        let mut any = false;
        for constant in &mut self.constants {
            if let Value::Misfit(index) = &mut constant.value {
                *index = number;
                any = true;
            }
        }
        any
    }

    fn these(&mut self, slots: &[usize], value: &Value) {
        self.constants.extend(slots.iter().map(|slot| Constant { slot: *slot, value: value.clone() }));
    }

    fn fits(&self, of: TypeId, json: &Json) -> bool {
        let of = self.types.get(of);
        match &of.form {
            Form::Record { .. } | Form::Map(_) => json.is_object(),
            _ => plain(of, json).is_some(),
        }
    }
}

/// A default without parts; `None` if it is not of the type.
fn plain(of: &Type, json: &Json) -> Option<Value> {
    let slot = match (&of.form, json) {
        (Form::Null, Json::Null) => Slot::Null,
        (Form::Bool, Json::Bool(value)) => Slot::Bool(*value),
        (Form::Int, _) if of.logical == Some(Logical::Date) => Whole::Days.of(whole(json)?),
        (Form::Int | Form::Long, _) => match of.logical {
            Some(Logical::Millis) => Whole::Instant(Unit::Millis).of(whole(json)?),
            Some(Logical::Micros) => Whole::Instant(Unit::Micros).of(whole(json)?),
            Some(Logical::Nanos) => Whole::Instant(Unit::Nanos).of(whole(json)?),
            _ => Whole::Number.of(whole(json)?),
        },
        (Form::Float | Form::Double, Json::Number(number)) => float(number.as_f64()?),
        (Form::Array(_), Json::Array(_)) => Slot::Array,
        (Form::Text, Json::String(text)) => return Some(Value::Text(text.clone())),
        (Form::Enum { symbols, .. }, Json::String(symbol)) if symbols.contains(symbol) => {
            return Some(Value::Text(symbol.clone()));
        }
        (Form::Bytes, Json::String(text)) => return Some(bytes(of, latin(text)?)),
        (Form::Fixed { size, .. }, Json::String(text)) => {
            return latin(text).filter(|bytes| bytes.len() == *size).map(|fixed| bytes(of, fixed));
        }
        _ => return None,
    };
    Some(Value::Plain(slot))
}

fn whole(json: &Json) -> Option<i64> {
    json.as_i64()
}

fn bytes(of: &Type, bytes: Vec<u8>) -> Value {
    match of.logical {
        Some(Logical::Decimal { scale }) => Value::Decimal(bytes, scale),
        Some(Logical::Uuid) => match uuid::Uuid::from_slice(&bytes) {
            Ok(uuid) => Value::Text(uuid.to_string()),
            Err(_) => Value::Bytes(bytes),
        },
        _ => Value::Bytes(bytes),
    }
}

/// "Code points 0 to 255 stand for the bytes of that value."
fn latin(text: &str) -> Option<Vec<u8>> {
    text.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect()
}
