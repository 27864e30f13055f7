//! Reading a lake as a stranger would: by its files alone.

use std::sync::Arc;

use alluvium::lake::FileKind;
use arrow::{
    array::{Array, AsArray, RecordBatch},
    compute::{SortColumn, concat_batches, lexsort_to_indices, take_record_batch},
    datatypes::{Int32Type, Int64Type},
};
use futures::TryStreamExt;
use object_store::{ObjectStore, ObjectStoreExt, path::Path};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

/// All rows of a dataset, ordered by partition and offset; `None` if there is no file.
pub async fn rows(objects: &Arc<dyn ObjectStore>, kind: FileKind, dataset: &str) -> Option<RecordBatch> {
    let folder = Path::from_iter([kind.folder(), dataset]);
    let files: Vec<_> = objects.list(Some(&folder)).try_collect().await.unwrap();
    let mut batches = vec![];
    for file in files {
        let bytes = objects.get(&file.location).await.unwrap().bytes().await.unwrap();
        let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap().build().unwrap();
        batches.extend(reader.map(|batch| batch.unwrap()));
    }
    let all = concat_batches(&batches.first()?.schema(), &batches).unwrap();
    let by = |name| SortColumn { values: all.column_by_name(name).unwrap().clone(), options: None };
    let order = lexsort_to_indices(&[by("_partition"), by("_offset")], None).unwrap();
    Some(take_record_batch(&all, &order).unwrap())
}

/// Each row's partition and offset.
pub fn places(rows: &RecordBatch) -> Vec<(i32, i64)> {
    let partitions = rows.column_by_name("_partition").unwrap().as_primitive::<Int32Type>();
    let offsets = rows.column_by_name("_offset").unwrap().as_primitive::<Int64Type>();
    partitions.values().iter().copied().zip(offsets.values().iter().copied()).collect()
}

/// A text column's values.
pub fn texts(rows: &RecordBatch, column: &str) -> Vec<String> {
    let values = rows.column_by_name(column).unwrap().as_string::<i32>();
    (0..values.len()).map(|row| values.value(row).to_owned()).collect()
}

/// A binary column's values.
pub fn binaries(rows: &RecordBatch, column: &str) -> Vec<Option<Vec<u8>>> {
    rows.column_by_name(column).unwrap().as_binary::<i32>().iter().map(|value| value.map(<[u8]>::to_vec)).collect()
}
