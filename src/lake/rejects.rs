//! Reading rejects back from the lake: the files there are, and the records in them, a handful at a time.
//!
//! Owns: from a file of rejects to the records as the broker gave them. Does not own: what is done with them.
//! Invariant: what is decoded at once stays small, however large a file unpacks.

use std::{collections::BTreeSet, sync::Arc};

use arrow::{
    array::{Array, AsArray, BinaryArray, RecordBatch, StringArray, StructArray},
    compute::cast,
    datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, TimestampMillisecondType},
};
use bytes::Bytes;
use futures::TryStreamExt;
use object_store::path::Path;
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};

use super::{FileEntry, FileKind, LakeError, Store, layout, names};
use crate::record::Record;

/// Rows that are read at once…
const ROWS_AT_ONCE: usize = 1024;
/// …and the keys and values that are unpacked at once; a single record may be larger.
const UNPACKED_BYTES_MAX: usize = 8 << 20;
/// Claims that are known at once to have rejects; where there are more, the files are listed again for the rest.
const CLAIMS_HELD_MAX: usize = 1 << 20;

/// A claim that has, or had, a file of rejects: by generation, partition and start.
pub type Place = (u32, i32, i64);

/// Where a dataset's rejects are, in the order of their offsets.
#[derive(Debug)]
pub struct RejectFiles<'a> {
    store: &'a Store,
    dataset: &'a str,
    /// The last one that was given out.
    after: Option<Place>,
    is_over: bool,
}

impl<'a> RejectFiles<'a> {
    #[must_use]
    pub fn of(store: &'a Store, dataset: &'a str) -> Self {
        Self { store, dataset, after: None, is_over: false }
    }

    /// The next claims that have rejects, or a revision on its way; none at the end.
    pub async fn more(&mut self) -> Result<BTreeSet<Place>, LakeError> {
        let mut places = BTreeSet::new();
        if self.is_over {
            return Ok(places);
        }
        let rejected = names::data(FileKind::Rejected, self.dataset);
        let staging = Path::from_iter(["_staging", self.dataset]);
        let mut left_out = false;
        for folder in [rejected, staging] {
            let mut listing = self.store.list(&folder);
            while let Some(object) = listing.try_next().await? {
                let place = place_of(&object.location).filter(|place| self.after.is_none_or(|after| *place > after));
                places.extend(place);
                if places.len() > CLAIMS_HELD_MAX {
                    places.pop_last();
                    left_out = true;
                }
            }
        }
        self.is_over = !left_out;
        self.after = places.last().copied().or(self.after);
        Ok(places)
    }
}

fn place_of(path: &Path) -> Option<Place> {
    let Some((_, start, _)) = names::staged_revision_of(path) else { return names::data_file_claim(path) };
    let parts: Vec<_> = path.parts().collect();
    let [_, _, generation, partition, ..] = parts.as_slice() else { return None };
    let number = |text: &str, prefix| text.strip_prefix(prefix).map(str::to_owned);
    let generation = number(generation.as_ref(), 'g')?.parse().ok()?;
    Some((generation, number(partition.as_ref(), 'p')?.parse().ok()?, start))
}

/// Some records of a file of rejects.
#[derive(Clone, Debug)]
pub struct Rejected {
    /// As they stand in the file.
    pub rows: RecordBatch,
    /// As the broker gave them.
    pub records: Vec<Record>,
    reasons: StringArray,
    details: StringArray,
}

impl Rejected {
    /// Why the record was rejected when it came: the code.
    #[must_use]
    pub fn reason(&self, row: usize) -> &str {
        self.reasons.value(row)
    }

    /// The same for people.
    #[must_use]
    pub fn detail(&self, row: usize) -> &str {
        self.details.value(row)
    }
}

/// Which rejects are meant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// None means all.
    pub partitions: BTreeSet<i32>,
    /// Reason codes; none means all.
    pub reasons: BTreeSet<String>,
    /// By the time that the broker keeps with the record, in milliseconds since 1970, UTC.
    pub since_ms: Option<i64>,
    pub until_ms: Option<i64>,
}

impl Wanted {
    #[must_use]
    pub fn takes_partition(&self, partition: i32) -> bool {
        self.partitions.is_empty() || self.partitions.contains(&partition)
    }

    /// Whether a file may hold such, going by the hour of its folder.
    #[must_use]
    pub fn takes_file(&self, entry: &FileEntry) -> bool {
        // Rejects without a time of their own are filed anywhere.
        let hour = names::data_file_time(&Path::from(entry.path.as_str())).filter(|_| !entry.undated);
        hour.is_none_or(|hour| {
            self.since_ms.is_none_or(|since| since < hour.end) && self.until_ms.is_none_or(|until| hour.start < until)
        })
    }

    #[must_use]
    pub fn takes(&self, rejected: &Rejected, row: usize) -> bool {
        let Some(record) = rejected.records.get(row) else { return false };
        (self.reasons.is_empty() || self.reasons.contains(rejected.reason(row)))
            && self.since_ms.is_none_or(|since| record.timestamp_ms >= since)
            && self.until_ms.is_none_or(|until| record.timestamp_ms < until)
    }
}

/// A file of rejects that is being read.
#[expect(missing_debug_implementations, reason = "the reader has none")]
pub struct RejectedFile {
    path: Path,
    reader: ParquetRecordBatchReader,
    /// What is left of the rows that were read last.
    rest: Option<RecordBatch>,
}

impl RejectedFile {
    pub fn open(path: &Path, bytes: Bytes) -> Result<Self, LakeError> {
        let options = ArrowReaderOptions::new().with_schema(lean(&layout::rejected_schema()));
        let reader = ParquetRecordBatchReaderBuilder::try_new_with_options(bytes, options)
            .and_then(|builder| builder.with_batch_size(ROWS_AT_ONCE).build())
            .map_err(|error| unreadable(path, error))?;
        Ok(Self { path: path.clone(), reader, rest: None })
    }

    /// The next records; `None` at the end.
    pub fn some(&mut self) -> Result<Option<Rejected>, LakeError> {
        let rows = match self.rest.take() {
            Some(rest) => rest,
            None => match self.reader.next() {
                None => return Ok(None),
                Some(rows) => rows.map_err(|error| unreadable(&self.path, error))?,
            },
        };
        let some = rows_within(&rows, UNPACKED_BYTES_MAX);
        self.rest = (some < rows.num_rows()).then(|| rows.slice(some, rows.num_rows() - some));
        unpack(&rows.slice(0, some)).map(Some).map_err(|error| unreadable(&self.path, error))
    }
}

fn unreadable(path: &Path, error: impl std::fmt::Display) -> LakeError {
    LakeError::Corrupt { path: path.clone(), reason: format!("can't be read as a file of rejects: {error}") }
}

/// The same columns, with keys and values that share the bytes they were read from: a small file may hold one large value
/// a thousand times.
fn lean(schema: &Schema) -> SchemaRef {
    let fields = schema.fields().iter().map(|field| match field.data_type() {
        DataType::Binary => Arc::new(Field::new(field.name(), DataType::BinaryView, field.is_nullable())),
        _ => field.clone(),
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// How many of the first rows unpack to that many bytes; at least one.
fn rows_within(rows: &RecordBatch, bytes_max: usize) -> usize {
    let views = || rows.columns().iter().filter_map(|column| column.as_binary_view_opt());
    let of_row = |row| views().map(|view| if view.is_null(row) { 0 } else { view.value(row).len() }).sum::<usize>();
    let mut bytes = 0;
    let fits = |row: &usize| {
        bytes += of_row(*row);
        bytes <= bytes_max
    };
    (0..rows.num_rows()).take_while(fits).count().max(1).min(rows.num_rows())
}

fn unpack(lean: &RecordBatch) -> Result<Rejected, String> {
    let schema = Arc::new(layout::rejected_schema());
    let columns = lean.columns().iter().zip(schema.fields()).map(|(column, field)| cast(column, field.data_type()));
    let columns = columns.collect::<Result<Vec<_>, _>>().map_err(|error| error.to_string())?;
    let rows = RecordBatch::try_new(schema, columns).map_err(|error| error.to_string())?;
    let column = |name: &str| rows.column_by_name(name).ok_or_else(|| format!("it has no column `{name}`"));
    let offsets = column("_offset")?.as_primitive::<Int64Type>();
    let times = column("_timestamp")?.as_primitive::<TimestampMillisecondType>();
    let (keys, values) = (column("_key")?.as_binary::<i32>(), column("_value")?.as_binary::<i32>());
    let headers = column("_headers")?.as_list::<i32>();
    let mut records = Vec::with_capacity(rows.num_rows());
    for row in 0..rows.num_rows() {
        records.push(Record {
            offset: offsets.value(row),
            timestamp_ms: times.value(row),
            key: bytes_at(keys, row),
            value: bytes_at(values, row),
            headers: pairs(headers.value(row).as_struct())?,
        });
    }
    let text = |name| column(name).map(|column| column.as_string::<i32>().clone());
    Ok(Rejected { records, reasons: text("reason")?, details: text("detail")?, rows })
}

fn bytes_at(column: &BinaryArray, row: usize) -> Option<Vec<u8>> {
    (!column.is_null(row)).then(|| column.value(row).to_vec())
}

fn pairs(headers: &StructArray) -> Result<std::collections::BTreeMap<String, Vec<u8>>, String> {
    let [keys, values] = headers.columns() else { return Err("a header is a key and a value".into()) };
    let keys = keys.as_string::<i32>().iter().flatten().map(str::to_owned);
    Ok(keys.zip(values.as_binary::<i32>().iter().map(|value| value.unwrap_or_default().to_vec())).collect())
}
