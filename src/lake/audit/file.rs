//! One data file: whole, and holding what its claim says.
//!
//! The bytes are read once for their CRC. Of a file that is too large to be kept meanwhile, the columns that are looked
//! at are then read again; a row group of them is in memory at a time. A deep audit looks at every column.

use std::{ops::Range, sync::Arc};

use arrow::{
    array::{Array, ArrowPrimitiveType, AsArray, PrimitiveArray},
    datatypes::{Int32Type, Int64Type},
    record_batch::RecordBatch,
};
use bytes::Bytes;
use futures::TryStreamExt;
use object_store::{GetResult, ObjectStore, path::Path};
use parquet::{
    DecodeResult,
    arrow::{
        ProjectionMask,
        arrow_reader::ArrowReaderOptions,
        push_decoder::{ParquetPushDecoder, ParquetPushDecoderBuilder},
    },
    errors::ParquetError,
    file::metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataPushDecoder, RowGroupMetaData},
};

use super::{AuditError, Depth, FILE_HELD_BYTES_MAX, Fault, Lake, Stop, merge::Places};
use crate::{
    lake::{FileEntry, layout::ROW},
    offset::OffsetRange,
};

const COLUMNS: [&str; 4] = ["_generation", "_partition", "_offset", ROW];
const BATCH_ROWS: usize = 8192;
/// What a batch of every column is to take once decoded, going by what its row group says of itself.
const DEEP_BATCH_BYTES: i64 = 16 << 20;

/// What a file's claim and its name say of it.
#[derive(Clone, Debug)]
pub(super) struct Expected {
    /// Where it was found.
    pub(super) file: Path,
    pub(super) entry: FileEntry,
    pub(super) generation: u32,
    pub(super) partition: i32,
    pub(super) range: OffsetRange,
    /// Whether the rows must be set beside those of other files. Those of a file that numbers them always are.
    pub(super) keep: bool,
}

/// The file's rows if they are to be kept, else none of them.
pub(super) async fn check(lake: &Lake, found: GetResult, expected: Expected) -> Result<Places, Stop> {
    let size = found.meta.size;
    let file = expected.file.clone();
    if size != expected.entry.bytes {
        return Err(Fault::Size { file, found: size, expected: expected.entry.bytes }.into());
    }
    let (crc, held) = read(found, &file).await?;
    if crc != expected.entry.crc32c {
        return Err(Fault::Crc { file, found: crc, expected: expected.entry.crc32c }.into());
    }
    decode(&Source { lake, file, size, held }, expected).await
}

/// The CRC-32C of the bytes, and the bytes too unless there are too many.
async fn read(found: GetResult, file: &Path) -> Result<(u32, Option<Bytes>), Stop> {
    if found.meta.size <= FILE_HELD_BYTES_MAX {
        let bytes = found.bytes().await.map_err(AuditError::store("read", file))?;
        let summed = bytes.clone();
        let crc = off_the_async_threads(file, move || Ok(crc32c::crc32c(&summed))).await?;
        return Ok((crc, Some(bytes)));
    }
    // The chunks are of a few kilobytes, a matter of microseconds each.
    let sum = |crc, chunk: Bytes| std::future::ready(Ok(crc32c::crc32c_append(crc, &chunk)));
    let crc = found.into_stream().try_fold(0, sum).await.map_err(AuditError::store("read", file))?;
    Ok((crc, None))
}

/// Where the decoder's bytes come from.
struct Source<'a> {
    lake: &'a Lake,
    file: Path,
    size: u64,
    held: Option<Bytes>,
}

impl Source<'_> {
    async fn ranges(&self, ranges: &[Range<u64>]) -> Result<Vec<Bytes>, Stop> {
        if ranges.iter().any(|range| range.start > range.end || range.end > self.size) {
            let why = "it points outside itself".into();
            return Err(Fault::Undecodable { file: self.file.clone(), why }.into());
        }
        if let Some(bytes) = &self.held {
            return Ok(ranges.iter().filter_map(|range| slice(bytes, range)).collect());
        }
        let read = self.lake.store.get_ranges(&self.file, ranges).await;
        Ok(read.map_err(AuditError::store("read", &self.file))?)
    }
}

fn slice(bytes: &Bytes, range: &Range<u64>) -> Option<Bytes> {
    let range = usize::try_from(range.start).ok()?..usize::try_from(range.end).ok()?;
    Some(bytes.slice_ref(bytes.get(range)?))
}

async fn decode(source: &Source<'_>, expected: Expected) -> Result<Places, Stop> {
    let metadata = read_metadata(source).await?;
    let file = &source.file;
    let rows = u64::try_from(metadata.file_metadata().num_rows()).unwrap_or(u64::MAX);
    if rows != expected.entry.rows {
        return Err(Fault::Rows { file: file.clone(), found: rows, expected: expected.entry.rows }.into());
    }
    let depth = source.lake.depth;
    let mut reading = off_the_async_threads(file, move || Reading::new(metadata, expected, depth)).await?;
    loop {
        let (next, wanted) = off_the_async_threads(file, move || reading.advance()).await?;
        reading = next;
        if wanted.is_empty() {
            return Ok(reading.finish()?);
        }
        let bytes = source.ranges(&wanted).await?;
        reading.decoder.push_ranges(wanted, bytes).map_err(undecodable(file))?;
    }
}

async fn read_metadata(source: &Source<'_>) -> Result<ParquetMetaData, Stop> {
    let file = &source.file;
    let decoder = ParquetMetaDataPushDecoder::try_new(source.size).map_err(undecodable(file))?;
    let mut decoder = decoder.with_page_index_policy(PageIndexPolicy::Skip);
    loop {
        let (next, result) = off_the_async_threads(file, move || {
            let result = decoder.try_decode();
            Ok((decoder, result))
        })
        .await?;
        decoder = next;
        match result.map_err(undecodable(file))? {
            DecodeResult::Data(metadata) => return Ok(metadata),
            DecodeResult::NeedsData(wanted) => {
                let bytes = source.ranges(&wanted).await?;
                decoder.push_ranges(wanted, bytes).map_err(undecodable(file))?;
            }
            DecodeResult::Finished => {
                return Err(Fault::Undecodable { file: file.clone(), why: "it has no footer".into() }.into());
            }
        }
    }
}

fn undecodable(file: &Path) -> impl Fn(ParquetError) -> Fault {
    move |error| Fault::Undecodable { file: file.clone(), why: error.to_string() }
}

/// Runs CPU work where it may take its time, and where a decoder that panics over a file's bytes harms nobody.
async fn off_the_async_threads<T: Send + 'static>(
    file: &Path,
    work: impl FnOnce() -> Result<T, Fault> + Send + 'static,
) -> Result<T, Stop> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => Ok(done?),
        Err(error) if error.is_panic() => {
            Err(Fault::Undecodable { file: file.clone(), why: "the decoder panicked".into() }.into())
        }
        Err(_) => Err(AuditError::Stopped { path: file.clone() }.into()),
    }
}

/// A file half read.
struct Reading {
    decoder: ParquetPushDecoder,
    expected: Expected,
    rows: u64,
    last: Option<(i64, i32)>,
    kept: Places,
}

impl Reading {
    fn new(metadata: ParquetMetaData, expected: Expected, depth: Depth) -> Result<Self, Fault> {
        let failed = undecodable(&expected.file);
        let deep_rows = deep_batch_rows(&metadata);
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let builder = ParquetPushDecoderBuilder::try_new_decoder_with_options(Arc::new(metadata), options);
        let builder = builder.map_err(&failed)?;
        let builder = match depth {
            Depth::Provenance => {
                let mask = ProjectionMask::columns(builder.parquet_schema(), COLUMNS);
                builder.with_batch_size(BATCH_ROWS).with_projection(mask)
            }
            Depth::EveryColumn => builder.with_batch_size(deep_rows),
        };
        let decoder = builder.build().map_err(failed)?;
        Ok(Self { decoder, expected, rows: 0, last: None, kept: Places::default() })
    }

    /// Goes through what has been read; then says what to read next, and nothing at the end.
    fn advance(mut self) -> Result<(Self, Vec<Range<u64>>), Fault> {
        loop {
            let step = self.decoder.try_decode().map_err(undecodable(&self.expected.file))?;
            match step {
                DecodeResult::Data(rows) => self.take(&rows)?,
                DecodeResult::NeedsData(wanted) => return Ok((self, wanted)),
                DecodeResult::Finished => return Ok((self, vec![])),
            }
        }
    }

    fn take(&mut self, rows: &RecordBatch) -> Result<(), Fault> {
        let expected = &self.expected;
        expected.constant(rows, "_generation", i64::from(expected.generation))?;
        expected.constant(rows, "_partition", i64::from(expected.partition))?;
        let offsets = expected.column::<Int64Type>(rows, "_offset")?.values();
        let numbers: &[i32] = match rows.column_by_name(ROW) {
            Some(_) => expected.column::<Int32Type>(rows, ROW)?.values(),
            None => &[],
        };
        for (at, &offset) in offsets.iter().enumerate() {
            let place = (offset, numbers.get(at).copied().unwrap_or(0));
            expected.follows(self.last, place)?;
            self.last = Some(place);
        }
        self.rows += offsets.len() as u64;
        if expected.keep || !numbers.is_empty() {
            self.kept.offsets.extend_from_slice(offsets);
            self.kept.rows.extend_from_slice(numbers);
        }
        Ok(())
    }

    fn finish(self) -> Result<Places, Fault> {
        let Expected { file, entry, .. } = self.expected;
        if self.rows != entry.rows {
            return Err(Fault::Rows { file, found: self.rows, expected: entry.rows });
        }
        Ok(self.kept)
    }
}

/// Fewer rows at once where rows are large.
fn deep_batch_rows(metadata: &ParquetMetaData) -> usize {
    let row_bytes = |group: &RowGroupMetaData| group.total_byte_size().max(0) / group.num_rows().max(1);
    let largest = metadata.row_groups().iter().map(row_bytes).max().unwrap_or(0);
    usize::try_from(DEEP_BATCH_BYTES / largest.max(1)).unwrap_or(1).clamp(1, BATCH_ROWS)
}

impl Expected {
    fn column<'a, T: ArrowPrimitiveType>(
        &self,
        rows: &'a RecordBatch,
        column: &'static str,
    ) -> Result<&'a PrimitiveArray<T>, Fault> {
        let found = rows.column_by_name(column).and_then(|values| values.as_primitive_opt::<T>());
        let whole = found.filter(|values| values.null_count() == 0);
        let kind = T::DATA_TYPE.to_string();
        whole.ok_or_else(|| Fault::Column { file: self.file.clone(), column, kind })
    }

    fn constant(&self, rows: &RecordBatch, column: &'static str, expected: i64) -> Result<(), Fault> {
        let values = self.column::<Int32Type>(rows, column)?.values();
        match values.iter().find(|&&value| i64::from(value) != expected) {
            None => Ok(()),
            Some(&found) => Err(Fault::Provenance { file: self.file.clone(), column, found, expected }),
        }
    }

    fn follows(&self, last: Option<(i64, i32)>, place: (i64, i32)) -> Result<(), Fault> {
        let (offset, _) = place;
        let file = || self.file.clone();
        if !self.range.contains(offset) {
            return Err(Fault::OutOfRange { file: file(), offset, range: self.range });
        }
        match last {
            Some(before) if place <= before => Err(Fault::NotAscending { file: file(), offset, after: before.0 }),
            _ => Ok(()),
        }
    }
}
