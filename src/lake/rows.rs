//! The rows of a claim, read back from its files in the order of their offsets.
//!
//! Owns: putting the files of several hours together again, a batch at a time. Does not own: which files are read, and
//! what is done with the rows. Invariant: what comes is ascending by offset, and of each file a row group is held.

use std::{ops::Range, sync::Arc, time::Duration};

use arrow::{
    array::{AsArray, Int32Array, Int64Array, RecordBatch},
    compute::interleave_record_batch,
    datatypes::{Int32Type, Int64Type},
    error::ArrowError,
};
use bytes::Bytes;
use futures::{FutureExt, StreamExt, future::BoxFuture};
use object_store::{ObjectStore, ObjectStoreExt, path::Path};
use parquet::{
    arrow::{
        ParquetRecordBatchStreamBuilder,
        arrow_reader::ArrowReaderOptions,
        async_reader::{AsyncFileReader, ParquetRecordBatchStream},
    },
    errors::ParquetError,
    file::metadata::{ParquetMetaData, ParquetMetaDataReader},
};
use tokio::time::timeout;

use super::{FileEntry, LakeError, Store};

/// Of a batch that is read or put together.
const BATCH_ROWS_MAX: usize = 8192;
/// A file's next batch is not waited for longer; it may need a whole row group from the store.
const ROWS_WAIT_MAX: Duration = Duration::from_mins(2);

/// Some files of one claim, from an offset on.
pub struct Rows {
    files: Vec<File>,
}

struct File {
    path: Path,
    stream: ParquetRecordBatchStream<Object>,
    batch: Option<Keyed>,
}

/// A batch, and how far it has been handed on.
struct Keyed {
    rows: RecordBatch,
    offsets: Int64Array,
    /// A record's further rows are told apart by their number.
    numbers: Option<Int32Array>,
    at: usize,
}

impl Rows {
    /// Opens those of `files` that are there; `None` in place of a file that is not.
    pub async fn open(store: &Store, files: &[&FileEntry]) -> Result<(Self, Vec<bool>), LakeError> {
        let (mut opened, mut there) = (vec![], vec![]);
        for entry in files {
            let file = File::open(store, entry).await?;
            there.push(file.is_some());
            opened.extend(file);
        }
        Ok((Self { files: opened }, there))
    }

    /// The next rows whose offset is `from` or a later one.
    pub async fn next(&mut self, from: i64) -> Result<Option<RecordBatch>, LakeError> {
        for file in &mut self.files {
            file.fill(from).await?;
        }
        self.files.retain(|file| file.batch.is_some());
        let mut batches: Vec<_> = self.files.iter_mut().filter_map(|file| file.batch.as_mut()).collect();
        let rows = match batches.as_mut_slice() {
            [] => return Ok(None),
            [only] => only.rest(),
            several => merged(several).map_err(|source| LakeError::Assemble { what: "a claim's rows", source })?,
        };
        Ok(Some(rows))
    }
}

impl File {
    async fn open(store: &Store, entry: &FileEntry) -> Result<Option<Self>, LakeError> {
        let path = Path::from(entry.path.as_str());
        let found = match timeout(ROWS_WAIT_MAX, store.objects().head(&path)).await {
            Ok(Ok(found)) => found,
            Ok(Err(object_store::Error::NotFound { .. })) => return Ok(None),
            Ok(Err(error)) => return Err(LakeError::store("read", &path)(error)),
            Err(_) => return Err(silent(&path)),
        };
        if found.size != entry.bytes {
            let reason =
                format!("has {} bytes, and {} by its claim: `alluvium audit` tells more", found.size, entry.bytes);
            return Err(LakeError::Corrupt { path, reason });
        }
        let reader = Object { store: store.objects().clone(), path: path.clone(), size: found.size };
        let opening = timeout(ROWS_WAIT_MAX, ParquetRecordBatchStreamBuilder::new(reader));
        let opened = opening.await.map_err(|_| silent(&path))?;
        let stream = opened.and_then(|file| file.with_batch_size(BATCH_ROWS_MAX).build());
        let stream = stream.map_err(|error| of_parquet(&path, error))?;
        Ok(Some(Self { path, stream, batch: None }))
    }

    /// Makes sure that there is a batch with rows to hand on, unless the file is at its end.
    async fn fill(&mut self, from: i64) -> Result<(), LakeError> {
        while self.batch.as_ref().is_none_or(Keyed::is_used_up) {
            let next = timeout(ROWS_WAIT_MAX, self.stream.next()).await.map_err(|_| silent(&self.path))?;
            let Some(rows) = next.transpose().map_err(|error| of_parquet(&self.path, error))? else {
                self.batch = None;
                return Ok(());
            };
            self.batch = Some(Keyed::new(rows, from).ok_or_else(|| self.corrupt("has no column `_offset`"))?);
        }
        Ok(())
    }

    fn corrupt(&self, reason: &str) -> LakeError {
        LakeError::Corrupt { path: self.path.clone(), reason: reason.into() }
    }
}

impl Keyed {
    fn new(rows: RecordBatch, from: i64) -> Option<Self> {
        let offsets = rows.column_by_name("_offset")?.as_primitive_opt::<Int64Type>()?.clone();
        let numbers = rows.column_by_name("_row").and_then(|column| column.as_primitive_opt::<Int32Type>()).cloned();
        let at = offsets.values().partition_point(|offset| *offset < from);
        Some(Self { rows, offsets, numbers, at })
    }

    fn is_used_up(&self) -> bool {
        self.at >= self.offsets.len()
    }

    fn key(&self) -> (i64, i32) {
        let number = self.numbers.as_ref().map_or(0, |numbers| numbers.value(self.at));
        (self.offsets.value(self.at), number)
    }

    fn rest(&mut self) -> RecordBatch {
        let rest = self.rows.slice(self.at, self.rows.num_rows() - self.at);
        self.at = self.rows.num_rows();
        rest
    }
}

/// Until one of them is used up, whose next batch must be seen before anything else is handed on.
fn merged(batches: &mut [&mut Keyed]) -> Result<RecordBatch, ArrowError> {
    let mut taken = Vec::with_capacity(BATCH_ROWS_MAX);
    while taken.len() < BATCH_ROWS_MAX && !batches.iter().any(|batch| batch.is_used_up()) {
        let next = batches.iter_mut().enumerate().min_by_key(|(_, batch)| batch.key());
        let Some((which, batch)) = next else { break };
        taken.push((which, batch.at));
        batch.at += 1;
    }
    let rows: Vec<_> = batches.iter().map(|batch| &batch.rows).collect();
    interleave_record_batch(&rows, &taken)
}

/// A file's bytes, wherever they are.
struct Object {
    store: Arc<dyn ObjectStore>,
    path: Path,
    size: u64,
}

impl AsyncFileReader for Object {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes, ParquetError>> {
        self.store.get_range(&self.path, range).map(|bytes| bytes.map_err(external)).boxed()
    }

    fn get_byte_ranges(&mut self, ranges: Vec<Range<u64>>) -> BoxFuture<'_, Result<Vec<Bytes>, ParquetError>> {
        async move { self.store.get_ranges(&self.path, &ranges).await.map_err(external) }.boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        _options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, Result<Arc<ParquetMetaData>, ParquetError>> {
        let size = self.size;
        async move { ParquetMetaDataReader::new().load_and_finish(self, size).await.map(Arc::new) }.boxed()
    }
}

fn external(error: object_store::Error) -> ParquetError {
    ParquetError::External(Box::new(error))
}

fn silent(path: &Path) -> LakeError {
    LakeError::store("read", path)(object_store::Error::Generic {
        store: "lake",
        source: format!("no answer within {ROWS_WAIT_MAX:?}").into(),
    })
}

/// What the store said, where it was the store; else the file is not what its claim says.
fn of_parquet(path: &Path, error: ParquetError) -> LakeError {
    match error {
        ParquetError::External(source) => {
            let source = match source.downcast::<object_store::Error>() {
                Ok(error) => *error,
                Err(source) => object_store::Error::Generic { store: "lake", source },
            };
            LakeError::store("read", path)(source)
        }
        other => LakeError::Corrupt { path: path.clone(), reason: format!("can't be read: {other}") },
    }
}

impl std::fmt::Debug for Rows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.files.iter().map(|file| Arc::<str>::from(file.path.as_ref()))).finish()
    }
}

#[cfg(test)]
mod tests {
    use arrow::{
        array::StringArray,
        datatypes::{DataType, Field, Schema},
    };
    use parquet::arrow::ArrowWriter;

    use super::*;
    use crate::lake::FileKind;

    async fn file(store: &Store, name: &str, offsets: &[i64]) -> FileEntry {
        let schema = Arc::new(Schema::new(vec![
            Field::new("text", DataType::Utf8, false),
            Field::new("_offset", DataType::Int64, false),
        ]));
        let texts = StringArray::from_iter_values(offsets.iter().map(|offset| format!("{name}{offset}")));
        let rows =
            RecordBatch::try_new(schema.clone(), vec![Arc::new(texts), Arc::new(Int64Array::from(offsets.to_vec()))]);
        let mut writer = ArrowWriter::try_new(vec![], schema, None).unwrap();
        writer.write(&rows.unwrap()).unwrap();
        let bytes = Bytes::from(writer.into_inner().unwrap());
        let size = bytes.len() as u64;
        store.write(&Path::from(name), bytes).await.unwrap();
        let (staged, rows) = (String::new(), offsets.len() as u64);
        FileEntry { kind: FileKind::Scored, staged, path: name.into(), rows, bytes: size, crc32c: 0, undated: false }
    }

    async fn read(store: &Store, files: &[&FileEntry], from: i64) -> Vec<(i64, String)> {
        let (mut rows, _) = Rows::open(store, files).await.unwrap();
        let mut all = vec![];
        while let Some(batch) = rows.next(from).await.unwrap() {
            assert!(batch.num_rows() > 0);
            let texts = batch.column(0).as_string::<i32>();
            let offsets = batch.column(1).as_primitive::<Int64Type>();
            all.extend((0..batch.num_rows()).map(|row| (offsets.value(row), texts.value(row).to_owned())));
        }
        all
    }

    #[tokio::test]
    async fn several_files_come_in_the_order_of_their_offsets() {
        let store = Store::open("memory://").unwrap();
        let even: Vec<i64> = (0..20_000).map(|n| n * 2).collect();
        let odd: Vec<i64> = (0..20_000).map(|n| n * 2 + 1).collect();
        let late: Vec<i64> = (40_000..40_100).collect();
        let (even, odd, late) =
            (file(&store, "e", &even).await, file(&store, "o", &odd).await, file(&store, "l", &late).await);
        let all = read(&store, &[&late, &odd, &even], 0).await;
        assert!(all.iter().map(|(offset, _)| *offset).eq(0..40_100));
        assert_eq!((all[7].1.as_str(), all[8].1.as_str(), all[40_000].1.as_str()), ("o7", "e8", "l40000"));
        let rest = read(&store, &[&late, &odd, &even], 39_999).await;
        assert!(rest.iter().map(|(offset, _)| *offset).eq(39_999..40_100));
    }

    #[tokio::test]
    async fn a_file_that_is_gone_is_told_and_one_of_another_size_is_a_fault() {
        let store = Store::open("memory://").unwrap();
        let one = file(&store, "a", &[1]).await;
        let gone = FileEntry { path: "b".into(), ..one.clone() };
        assert_eq!(Rows::open(&store, &[&one, &gone]).await.unwrap().1, [true, false]);
        let other = FileEntry { bytes: one.bytes + 1, ..one };
        let error = Rows::open(&store, &[&other]).await.unwrap_err();
        assert!(error.to_string().contains("by its claim"), "{error}");
    }
}
