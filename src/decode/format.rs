//! How records' values are written. Owns: what there is to set for each format. Does not own: reading them, which is a
//! module a format.

use super::{Lines, avro::AvroSettings, protobuf::ProtobufSettings};

/// The format of a topic's records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Format {
    Json(JsonSettings),
    Csv(CsvSettings),
    Avro(AvroSettings),
    Protobuf(ProtobufSettings),
    /// The value as it is, as the one declared field.
    Raw,
}

/// One object a record, or a line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JsonSettings {
    pub lines: Option<Lines>,
    pub envelope: Envelope,
}

/// One row a record, or a line; no header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CsvSettings {
    pub lines: Option<Lines>,
    /// The columns as they stand in a row; without a list they are the declared fields in their order.
    pub columns: Option<Vec<String>>,
    /// ASCII.
    pub delimiter: u8,
    /// What stands for null, unless it is quoted.
    pub nulls: Vec<String>,
}

/// What is around the fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Envelope {
    #[default]
    None,
    /// A change of a row in a database, of which the row as it is afterwards lands.
    Debezium,
}

impl Format {
    pub(super) fn lines(&self) -> Option<Lines> {
        match self {
            Self::Json(json) => json.lines,
            Self::Csv(csv) => csv.lines,
            Self::Avro(_) | Self::Protobuf(_) | Self::Raw => None,
        }
    }

    pub(super) fn envelope(&self) -> Envelope {
        match self {
            Self::Json(json) => json.envelope,
            Self::Avro(avro) => avro.envelope,
            Self::Protobuf(protobuf) => protobuf.envelope,
            Self::Csv(_) | Self::Raw => Envelope::None,
        }
    }
}

impl Default for Format {
    fn default() -> Self {
        Self::Json(JsonSettings::default())
    }
}

impl Default for CsvSettings {
    fn default() -> Self {
        Self { lines: None, columns: None, delimiter: b',', nulls: vec![String::new()] }
    }
}
