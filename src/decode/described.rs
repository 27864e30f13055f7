//! What a schema says of its fields, for people who are to declare them.
//!
//! Owns: the form of the answer. Does not own: the schemas' languages.

use super::{AvroSchema, protobuf};
use crate::record::{FieldKind, Schema, SchemaKind};

/// Members within members that are described; schemas may point back at themselves.
pub(super) const DEPTH_MAX: usize = 16;
/// A schema of more members is described in part.
pub(super) const MEMBERS_MAX: usize = 2_000;

/// A place in a record where a field may be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    pub path: Vec<String>,
    /// `None` if no field can hold it; the note says why.
    pub kind: Option<FieldKind>,
    pub nullable: bool,
    pub note: Option<String>,
}

/// The places of a registry's schema, in its order; of Protobuf, those of the message that is named, or of the first.
pub fn describe(schema: &Schema, message: Option<&str>) -> Result<Vec<Described>, String> {
    match schema.kind {
        SchemaKind::Avro => {
            let imports = schema.imports.iter().map(|import| import.text.as_str());
            Ok(AvroSchema::parse(imports.chain([schema.text.as_str()]))?.describe())
        }
        SchemaKind::Protobuf => protobuf::describe(schema, message),
        SchemaKind::Json => Err(format!("it is {}", schema.kind)),
    }
}

/// The places as they are found.
pub(super) struct Places {
    pub(super) path: Vec<String>,
    pub(super) found: Vec<Described>,
}

impl Places {
    pub(super) fn new() -> Self {
        Self { path: Vec::new(), found: Vec::new() }
    }

    pub(super) fn is_full(&self) -> bool {
        self.found.len() >= MEMBERS_MAX || self.path.len() > DEPTH_MAX
    }

    pub(super) fn field(&mut self, kind: FieldKind, nullable: bool, note: Option<&str>) {
        self.push(Some(kind), nullable, note);
    }

    pub(super) fn no_field(&mut self, nullable: bool, why: &str) {
        self.push(None, nullable, Some(why));
    }

    fn push(&mut self, kind: Option<FieldKind>, nullable: bool, note: Option<&str>) {
        // What is at the top has no name that a field could be read by.
        if !self.path.is_empty() {
            self.found.push(Described { path: self.path.clone(), kind, nullable, note: note.map(str::to_owned) });
        }
    }
}
