//! The columns of the lake's files, and how they are encoded.
//!
//! Owns: from a decoded, scored batch to the record batches that are written. Does not own: which file a row goes to
//! ([`super::segment`]).

use std::sync::Arc;

use arrow::{
    array::{
        ArrayRef, BinaryArray, BinaryBuilder, DictionaryArray, Float32Array, Int32Array, Int64Array, ListBuilder,
        StringArray, StringBuilder, StructBuilder, TimestampMillisecondArray, UInt8Array, new_null_array,
    },
    datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit},
    error::ArrowError,
    record_batch::RecordBatch,
};
use parquet::{
    basic::{Compression as Codec, Encoding, ZstdLevel},
    file::properties::{WriterProperties, WriterPropertiesPtr},
    schema::types::ColumnPath,
};

use super::{Compression, FileKind, LakeError, LakeSettings, PartitionBy, numbers::Numbers};
use crate::record::{Decoded, ModelRef, Record, Reject, Scores};

/// The most rows that a row group holds; a segment's memory while it grows is mostly one row group per file.
pub(super) const ROW_GROUP_ROWS_MAX: usize = 1 << 20;

/// The buffer for a column's differences, of which a page fills some kilobytes; the rest is never touched, and so takes no
/// memory.
const DELTA_BUFFER: usize = 1 << 20;

/// Which of its record's rows a row is; there where a record may be several.
pub(super) const ROW: &str = "_row";

/// What every lane's segments have in common.
#[derive(Clone, Debug)]
pub struct Layout {
    pub(super) model: ModelRef,
    pub(super) partition_by: PartitionBy,
    pub(super) hours_max: usize,
    scored: SchemaRef,
    rejected: SchemaRef,
    scored_properties: WriterPropertiesPtr,
    rejected_properties: WriterPropertiesPtr,
    classes: Arc<StringArray>,
    generation: i32,
    numbered: bool,
}

impl Layout {
    /// `fields` are the decoded columns, `classes` the model's. Where a record may be several rows, they are `numbered`.
    pub fn new(
        settings: &LakeSettings,
        fields: &Schema,
        numbered: bool,
        classes: &[String],
        model: ModelRef,
    ) -> Result<Self, LakeError> {
        let too_large = |_| LakeError::Generation { generation: settings.generation };
        let generation = i32::try_from(settings.generation).map_err(too_large)?;
        let scored = Arc::new(scored_schema(fields, numbered, classes));
        let rejected = Arc::new(rejected_schema());
        Ok(Self {
            model,
            partition_by: settings.partition_by,
            hours_max: settings.segment_hours_max,
            scored_properties: Arc::new(properties(&scored, settings.compression)),
            rejected_properties: Arc::new(properties(&rejected, settings.compression)),
            scored,
            rejected,
            classes: Arc::new(StringArray::from_iter_values(classes)),
            generation,
            numbered,
        })
    }

    /// Which model's rows these are.
    #[must_use]
    pub fn model(&self) -> &ModelRef {
        &self.model
    }

    /// The columns of `scored`.
    #[must_use]
    pub fn scored_columns(&self) -> &SchemaRef {
        &self.scored
    }

    pub(super) fn schema(&self, kind: FileKind) -> &SchemaRef {
        match kind {
            FileKind::Scored => &self.scored,
            FileKind::Rejected => &self.rejected,
        }
    }

    /// What a file that is being written says it takes, and hardly touches.
    pub(super) fn untouched(&self, kind: FileKind) -> usize {
        self.schema(kind).fields().iter().filter(|field| is_steady(field) && !Numbers::takes(field)).count()
            * DELTA_BUFFER
    }

    pub(super) fn properties(&self, kind: FileKind) -> &WriterPropertiesPtr {
        match kind {
            FileKind::Scored => &self.scored_properties,
            FileKind::Rejected => &self.rejected_properties,
        }
    }

    /// The rows of a batch as they are written.
    pub(super) fn scored_rows(
        &self,
        partition: i32,
        records: &[Record],
        decoded: &Decoded,
        scores: Scores,
    ) -> Result<RecordBatch, ArrowError> {
        let rows = &decoded.rows;
        let mut columns: Vec<ArrayRef> = rows.columns.columns().to_vec();
        let class = UInt8Array::from(scores.class);
        columns.push(Arc::new(DictionaryArray::try_new(class, self.classes.clone())?));
        columns.push(Arc::new(Float32Array::from(scores.confidence)));
        columns.extend(scores.probabilities.into_iter().map(|p| Arc::new(Float32Array::from(p)) as ArrayRef));
        columns.extend(self.provenance(partition, records, &rows.source));
        if self.numbered {
            columns.push(Arc::new(Int32Array::from(rows.row.clone())));
        }
        columns.push(self.model_column(rows.source.len())?);
        RecordBatch::try_new(self.scored.clone(), columns)
    }

    /// The rejects of a batch as they are written: the record byte for byte, and why.
    pub(super) fn rejected_rows(
        &self,
        partition: i32,
        records: &[Record],
        rejects: &[Reject],
    ) -> Result<RecordBatch, ArrowError> {
        let source: Vec<u32> = rejects.iter().map(|reject| reject.source).collect();
        let values: BinaryArray = of(records, &source).map(|record| record.value.as_deref()).collect();
        let reasons = StringArray::from_iter_values(rejects.iter().map(|reject| reject.reason.code()));
        let details = StringArray::from_iter_values(rejects.iter().map(|reject| &reject.detail));
        let mut columns = self.provenance(partition, records, &source);
        columns.push(Arc::new(values));
        columns.push(headers(of(records, &source))?);
        columns.push(Arc::new(reasons));
        columns.push(Arc::new(details));
        RecordBatch::try_new(self.rejected.clone(), columns)
    }

    /// One pass over the records, which are larger than all that is taken from them.
    fn provenance(&self, partition: i32, records: &[Record], source: &[u32]) -> Vec<ArrayRef> {
        let rows = source.len();
        let (mut offsets, mut times, mut keys) = (Vec::with_capacity(rows), Vec::with_capacity(rows), Keys::new(rows));
        for record in of(records, source) {
            offsets.push(record.offset);
            times.push(record.timestamp_ms);
            keys.push(record.key.as_deref());
        }
        vec![
            Arc::new(Int32Array::from(vec![self.generation; rows])),
            Arc::new(Int32Array::from(vec![partition; rows])),
            Arc::new(Int64Array::from(offsets)),
            Arc::new(TimestampMillisecondArray::from(times).with_timezone("UTC")),
            keys.finish(),
        ]
    }

    fn model_column(&self, rows: usize) -> Result<ArrayRef, ArrowError> {
        let model = Arc::new(StringArray::from_iter_values([self.model.to_string()]));
        Ok(Arc::new(DictionaryArray::try_new(UInt8Array::from(vec![0; rows]), model)?))
    }
}

/// The records' keys; where there are none, as in many topics, they are not looked at one by one.
struct Keys {
    absent: usize,
    rows: usize,
    some: Option<BinaryBuilder>,
}

impl Keys {
    fn new(rows: usize) -> Self {
        Self { absent: 0, rows, some: None }
    }

    fn push(&mut self, key: Option<&[u8]>) {
        match (&mut self.some, key) {
            (None, None) => self.absent += 1,
            (Some(keys), key) => keys.append_option(key),
            (None, Some(key)) => {
                let mut keys = BinaryBuilder::with_capacity(self.rows, self.rows * key.len());
                keys.append_nulls(self.absent);
                keys.append_value(key);
                self.some = Some(keys);
            }
        }
    }

    fn finish(self) -> ArrayRef {
        match self.some {
            Some(mut keys) => Arc::new(keys.finish()),
            None => new_null_array(&DataType::Binary, self.absent),
        }
    }
}

/// The records behind some rows.
fn of<'a>(records: &'a [Record], source: &[u32]) -> impl Iterator<Item = &'a Record> {
    source.iter().filter_map(|&at| records.get(at as usize))
}

fn headers<'a>(records: impl Iterator<Item = &'a Record>) -> Result<ArrayRef, ArrowError> {
    let pair =
        StructBuilder::new(header_fields(), vec![Box::new(StringBuilder::new()), Box::new(BinaryBuilder::new())]);
    let mut list = ListBuilder::new(pair).with_field(header_item());
    for record in records {
        for (key, value) in &record.headers {
            let pair = list.values();
            let missing = || ArrowError::SchemaError("the header columns are text and binary".into());
            pair.field_builder::<StringBuilder>(0).ok_or_else(missing)?.append_value(key);
            pair.field_builder::<BinaryBuilder>(1).ok_or_else(missing)?.append_value(value);
            pair.append(true);
        }
        list.append(true);
    }
    Ok(Arc::new(list.finish()))
}

fn scored_schema(fields: &Schema, numbered: bool, classes: &[String]) -> Schema {
    let mut all: Vec<Arc<Field>> = fields.fields().iter().cloned().collect();
    let mut add = |field: Field| all.push(Arc::new(field));
    add(Field::new("prediction", constant_text(), false));
    add(Field::new("confidence", DataType::Float32, false));
    for class in classes {
        add(Field::new(format!("p_{class}"), DataType::Float32, false));
    }
    all.extend(provenance_fields());
    if numbered {
        all.push(Arc::new(Field::new(ROW, DataType::Int32, false)));
    }
    all.push(Arc::new(Field::new("_model", constant_text(), false)));
    Schema::new(all)
}

pub(super) fn rejected_schema() -> Schema {
    let mut all = provenance_fields();
    let mut add = |field: Field| all.push(Arc::new(field));
    add(Field::new("_value", DataType::Binary, true));
    add(Field::new("_headers", DataType::List(header_item()), false));
    add(Field::new("reason", DataType::Utf8, false));
    add(Field::new("detail", DataType::Utf8, false));
    Schema::new(all)
}

fn provenance_fields() -> Vec<Arc<Field>> {
    let time = DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()));
    let fields = [
        Field::new("_generation", DataType::Int32, false),
        Field::new("_partition", DataType::Int32, false),
        Field::new("_offset", DataType::Int64, false),
        Field::new("_timestamp", time, false),
        Field::new("_key", DataType::Binary, true),
    ];
    fields.map(Arc::new).to_vec()
}

/// Text of which a file holds only a few values; in memory an index a row, in Parquet plain text.
fn constant_text() -> DataType {
    DataType::Dictionary(Box::new(DataType::UInt8), Box::new(DataType::Utf8))
}

fn header_fields() -> Fields {
    vec![Field::new("key", DataType::Utf8, false), Field::new("value", DataType::Binary, false)].into()
}

fn header_item() -> Arc<Field> {
    Arc::new(Field::new("item", DataType::Struct(header_fields()), false))
}

/// Whether a column is written as the differences from row to row, which are mostly small.
pub(super) fn is_steady(field: &Field) -> bool {
    matches!(field.data_type(), DataType::Int64 | DataType::Timestamp(..)) || field.name() == ROW
}

/// Without the Arrow schema inside, readers see plain text where we hold dictionaries.
fn properties(schema: &Schema, compression: Compression) -> WriterProperties {
    let mut properties = WriterProperties::builder()
        .set_created_by(concat!("alluvium ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(match compression {
            Compression::None => Codec::UNCOMPRESSED,
            Compression::Snappy => Codec::SNAPPY,
            Compression::Zstd => Codec::ZSTD(ZstdLevel::default()),
        });
    for field in schema.fields() {
        let column = ColumnPath::from(field.name().as_str());
        match field.data_type() {
            // Hardly two alike: a dictionary would only be built to be given up.
            DataType::Float32 | DataType::Float64 => {
                properties = properties.set_column_dictionary_enabled(column, false);
            }
            _ if is_steady(field) => {
                properties = properties
                    .set_column_dictionary_enabled(column.clone(), false)
                    .set_column_encoding(column, Encoding::DELTA_BINARY_PACKED);
            }
            _ => {}
        }
    }
    properties.build()
}
