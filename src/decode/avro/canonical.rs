//! The fingerprint by which a record in the single-object encoding names its schema.
//!
//! Owns: the specification's "parsing canonical form".

use std::{collections::HashSet, fmt::Write};

use serde_json::Value;

use super::schema::{Form, TypeId, Types};
use crate::record::avro;

pub(super) fn fingerprint(types: &Types) -> u64 {
    avro::fingerprint(&canonical_form(types))
}

fn canonical_form(types: &Types) -> String {
    let mut form = Canonical { types, written: HashSet::new(), text: String::new() };
    form.any(types.root);
    form.text
}

struct Canonical<'t> {
    types: &'t Types,
    /// Types with a name are written out once.
    written: HashSet<&'t str>,
    text: String,
}

impl<'t> Canonical<'t> {
    fn any(&mut self, id: TypeId) {
        match &self.types.get(id).form {
            Form::Null => self.text.push_str("\"null\""),
            Form::Bool => self.text.push_str("\"boolean\""),
            Form::Int => self.text.push_str("\"int\""),
            Form::Long => self.text.push_str("\"long\""),
            Form::Float => self.text.push_str("\"float\""),
            Form::Double => self.text.push_str("\"double\""),
            Form::Bytes => self.text.push_str("\"bytes\""),
            Form::Text => self.text.push_str("\"string\""),
            Form::Array(items) => self.wrapped("{\"type\":\"array\",\"items\":", *items),
            Form::Map(values) => self.wrapped("{\"type\":\"map\",\"values\":", *values),
            Form::Union(branches) => self.list('[', branches.iter().copied(), Self::any, ']'),
            Form::Fixed { name, size } => {
                if self.begins(&name.full, "fixed") {
                    let _ = write!(self.text, ",\"size\":{size}}}");
                }
            }
            Form::Enum { name, symbols, .. } => {
                if self.begins(&name.full, "enum") {
                    self.text.push_str(",\"symbols\":");
                    self.list('[', symbols.iter(), |form, symbol| form.quoted(symbol), ']');
                    self.text.push('}');
                }
            }
            Form::Record { name, fields } => {
                if self.begins(&name.full, "record") {
                    self.text.push_str(",\"fields\":");
                    self.list('[', fields.iter(), |form, field| form.field(&field.name, field.of), ']');
                    self.text.push('}');
                }
            }
            Form::Awaited(name) => self.quoted(name),
        }
    }

    /// Whether the type is to be written out; else its name was.
    fn begins(&mut self, name: &'t str, of: &str) -> bool {
        if !self.written.insert(name) {
            self.quoted(name);
            return false;
        }
        self.text.push_str("{\"name\":");
        self.quoted(name);
        let _ = write!(self.text, ",\"type\":\"{of}\"");
        true
    }

    fn field(&mut self, name: &str, of: TypeId) {
        self.text.push_str("{\"name\":");
        self.quoted(name);
        self.wrapped(",\"type\":", of);
    }

    fn wrapped(&mut self, before: &str, inner: TypeId) {
        self.text.push_str(before);
        self.any(inner);
        self.text.push('}');
    }

    fn list<T>(
        &mut self,
        open: char,
        parts: impl Iterator<Item = T>,
        mut write: impl FnMut(&mut Self, T),
        close: char,
    ) {
        self.text.push(open);
        for (place, part) in parts.enumerate() {
            if place > 0 {
                self.text.push(',');
            }
            write(self, part);
        }
        self.text.push(close);
    }

    fn quoted(&mut self, text: &str) {
        let _ = write!(self.text, "{}", Value::from(text));
    }
}
