//! The JSON of the registry's answers, and of what is sent to it.

use serde::{Deserialize, Deserializer, Serialize};

use super::{Reference, RegistryError};
use crate::record::SchemaKind;

const KINDS: [(&str, SchemaKind); 3] =
    [("AVRO", SchemaKind::Avro), ("PROTOBUF", SchemaKind::Protobuf), ("JSON", SchemaKind::Json)];

/// Of `/schemas/ids/…`; a registration has the same form.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct SchemaAnswer {
    pub(super) schema: String,
    /// Left out for Avro.
    #[serde(rename = "schemaType", default, skip_serializing_if = "Option::is_none")]
    kind: Option<String>,
    #[serde(default, deserialize_with = "none_or_some", skip_serializing_if = "Vec::is_empty")]
    pub(super) references: Vec<Reference>,
}

impl SchemaAnswer {
    pub(super) fn new(kind: SchemaKind, text: &str, references: &[Reference]) -> Self {
        let kind =
            KINDS.iter().find(|(_, of)| *of == kind && kind != SchemaKind::Avro).map(|(name, _)| (*name).to_owned());
        Self { schema: text.to_owned(), kind, references: references.to_vec() }
    }

    pub(super) fn kind(&self) -> Result<SchemaKind, RegistryError> {
        let Some(name) = &self.kind else { return Ok(SchemaKind::Avro) };
        let known = KINDS.iter().find(|(known, _)| known == name).map(|(_, kind)| *kind);
        known.ok_or_else(|| RegistryError::person(format!("a schema is of the unknown kind {name:?}")))
    }
}

/// Of `/subjects/…/versions/…`
#[derive(Debug, Deserialize)]
pub(super) struct SubjectAnswer {
    pub(super) id: u32,
    pub(super) version: u32,
    #[serde(flatten)]
    pub(super) schema: SchemaAnswer,
}

#[derive(Debug, Deserialize)]
pub(super) struct RegisteredAnswer {
    pub(super) id: u32,
}

/// Of anything that was refused.
#[derive(Debug, Default, Deserialize)]
pub(super) struct FaultAnswer {
    pub(super) error_code: Option<u32>,
    #[serde(default)]
    pub(super) message: String,
}

/// Some registries write `null` for an empty list.
fn none_or_some<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Reference>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}
