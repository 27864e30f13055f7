//! A writer's schema as it goes from a registry to the decoder: a text, and what it imports.

use std::fmt;

/// The language that a schema is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SchemaKind {
    Avro,
    Protobuf,
    Json,
}

/// A schema, whole: with what it imports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schema {
    pub kind: SchemaKind,
    pub text: String,
    /// What it imports, those imported by others first; each once.
    pub imports: Vec<Import>,
}

/// A schema under the name by which others import it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Import {
    pub name: String,
    pub text: String,
}

impl fmt::Display for SchemaKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Avro => "Avro",
            Self::Protobuf => "Protobuf",
            Self::Json => "JSON Schema",
        })
    }
}
