//! How records are written. Owns: which formats there are, and what each needs beside the record.

use super::{
    Source, Stream,
    avro::{Avro, schema},
    csv::Csv,
    fields,
    label::{Label, Labelled},
    row::Json,
};
use crate::record::avro;

/// How a record is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// An object
    #[default]
    Json,
    /// Single-object encoding; Confluent's wire format with --registry
    Avro,
    /// A line without a header
    Csv,
}

/// How the records of a source are written, and their labels.
#[derive(Clone, Debug, Default)]
pub struct Encoding {
    pub format: Format,
    /// Put the answer that a model is to find into the records.
    pub with_truth: bool,
    /// What a record in Avro begins with.
    prefix: Vec<u8>,
    label_prefix: Vec<u8>,
}

/// What a reader needs to know of the records and of their labels: schemas in Avro, headers in CSV.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    pub records: String,
    pub labels: String,
}

impl Encoding {
    #[must_use]
    pub fn json(with_truth: bool) -> Self {
        Self { with_truth, ..Self::default() }
    }

    #[must_use]
    pub fn csv(with_truth: bool) -> Self {
        Self { format: Format::Csv, with_truth, ..Self::default() }
    }

    /// Avro in single-object encoding.
    pub fn avro(source: Source, with_truth: bool) -> Result<Self, serde_json::Error> {
        let Described { records, labels } = describe(Format::Avro, source, with_truth);
        let (prefix, label_prefix) = (avro::own_single_object(&records)?, avro::own_single_object(&labels)?);
        Ok(Self { format: Format::Avro, with_truth, prefix, label_prefix })
    }

    /// Avro in Confluent's wire format, with the numbers that a registry has given to the schemas.
    #[must_use]
    pub fn registered(with_truth: bool, records: u32, labels: u32) -> Self {
        let (prefix, label_prefix) = (avro::registered(records), avro::registered(labels));
        Self { format: Format::Avro, with_truth, prefix, label_prefix }
    }

    /// Appends the next record of `stream`.
    #[inline]
    pub fn push(&self, stream: &mut Stream, value: &mut Vec<u8>) -> Label {
        match self.format {
            Format::Json => {
                let mut row = Labelled::new(Json::begin(value, self.with_truth));
                stream.next(&mut row);
                let _ = row.row.end();
                row.label
            }
            Format::Csv => {
                let mut row = Labelled::new(Csv::begin(value, self.with_truth));
                stream.next(&mut row);
                row.row.end();
                row.label
            }
            Format::Avro => {
                let mut row = Labelled::new(Avro::begin(value, &self.prefix, self.with_truth));
                stream.next(&mut row);
                row.label
            }
        }
    }

    /// A label as a record of its own.
    #[must_use]
    pub fn label(&self, label: &Label) -> Vec<u8> {
        let mut value = Vec::new();
        match self.format {
            Format::Json => {
                let mut row = Json::begin(&mut value, true);
                label.draw(&mut row);
                let _ = row.end();
            }
            Format::Csv => {
                let mut row = Csv::begin(&mut value, true);
                label.draw(&mut row);
                row.end();
            }
            Format::Avro => label.draw(&mut Avro::begin(&mut value, &self.label_prefix, true)),
        }
        value
    }

    pub(super) fn prefix_bytes(&self) -> usize {
        self.prefix.len()
    }
}

/// The schemas, or the headers; of JSON the names of the members.
#[must_use]
pub fn describe(format: Format, source: Source, with_truth: bool) -> Described {
    let (records, labels) = (fields::of_records(source, with_truth), fields::of_labels(source));
    match format {
        Format::Avro => Described {
            records: schema(source.name(), &records),
            labels: schema(&format!("{}_truth", source.name()), &labels),
        },
        Format::Json | Format::Csv => Described { records: fields::header(&records), labels: fields::header(&labels) },
    }
}

#[cfg(test)]
mod tests {
    use apache_avro::{Schema, from_avro_datum, types::Value};

    use super::*;

    fn avro_value(schema: &str, bytes: &[u8]) -> Value {
        let schema = Schema::parse_str(schema).unwrap();
        let mut rest = bytes.get(10..).unwrap();
        let value = from_avro_datum(&schema, &mut rest, None).unwrap();
        assert!(rest.is_empty(), "{} bytes are left over", rest.len());
        value
    }

    /// As it stands in the same record's JSON.
    fn as_json(value: Value) -> serde_json::Value {
        match value {
            Value::Record(fields) => fields.into_iter().map(|(name, value)| (name, as_json(value))).collect(),
            Value::TimestampMillis(ms) => {
                let mut text = vec![];
                crate::simulate::row::push_time(&mut text, ms);
                String::from_utf8(text).unwrap().into()
            }
            Value::Long(long) => long.into(),
            Value::Double(double) => double.into(),
            Value::Boolean(flag) => flag.into(),
            Value::String(text) => text.into(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn avro_says_what_json_says() {
        for source in Source::ALL {
            for with_truth in [false, true] {
                let described = describe(Format::Avro, source, with_truth);
                let avro = Encoding::avro(source, with_truth).unwrap();
                let (mut one, mut other) = (source.stream(3, 1), source.stream(3, 1));
                for _ in 0..200 {
                    let (mut in_avro, mut in_json) = (vec![], vec![]);
                    let label = avro.push(&mut one, &mut in_avro);
                    Encoding::json(with_truth).push(&mut other, &mut in_json);
                    assert_eq!(in_avro[..2], [0xC3, 0x01]);
                    let json: serde_json::Value = serde_json::from_slice(&in_json).unwrap();
                    assert_eq!(as_json(avro_value(&described.records, &in_avro)), json);
                    let label_json: serde_json::Value =
                        serde_json::from_slice(&Encoding::json(false).label(&label)).unwrap();
                    assert_eq!(as_json(avro_value(&described.labels, &avro.label(&label))), label_json);
                }
            }
        }
    }

    #[test]
    fn confluent_s_format_begins_with_nought_and_the_number() {
        let mut value = vec![];
        Encoding::registered(false, 258, 7).push(&mut Source::Iris.stream(1, 0), &mut value);
        assert_eq!(value[..5], [0, 0, 0, 1, 2]);
    }

    #[test]
    fn csv_has_as_many_cells_as_its_header() {
        for source in Source::ALL {
            let header = describe(Format::Csv, source, true);
            let mut lines = header.records.clone().into_bytes();
            let mut stream = source.stream(3, 0);
            for _ in 0..100 {
                lines.push(b'\n');
                Encoding::csv(true).push(&mut stream, &mut lines);
            }
            let mut reader = csv::Reader::from_reader(lines.as_slice());
            assert_eq!(reader.records().map(Result::unwrap).count(), 100);
            assert!(header.records.ends_with(source.truth()) && header.labels.ends_with(source.truth()));
        }
        assert_eq!(describe(Format::Csv, Source::Sensors, false).labels, "id,time,machine,condition");
    }
}
