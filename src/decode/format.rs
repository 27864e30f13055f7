//! How records' values are written. Owns: what there is to set for each format. Does not own: reading them, which is a
//! module a format.

use super::{avro::AvroSettings, protobuf::ProtobufSettings};

/// The format of a topic's records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Format {
    Json(JsonSettings),
    Avro(AvroSettings),
    Protobuf(ProtobufSettings),
    /// The value as it is, as the one declared field.
    Raw,
}

impl Default for Format {
    fn default() -> Self {
        Self::Json(JsonSettings::default())
    }
}

/// One object a record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JsonSettings {}
