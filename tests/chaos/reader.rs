//! A reader of our own, by the Parquet files alone; also one that reads again and again while all goes on.
//!
//! Owns: what a reader sees. Does not own: what it should have seen ([`super::verdict`]).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use alluvium::lake::FileKind;
use anyhow::{Context, ensure};
use arrow::{
    array::{Array, ArrayRef, AsArray, RecordBatch},
    datatypes::{Float64Type, Int32Type, Int64Type, TimestampMillisecondType},
};
use bytes::Bytes;
use futures::TryStreamExt;
use object_store::{ObjectStore, ObjectStoreExt, path::Path};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use tokio_util::sync::CancellationToken;

use super::{lake::DATASET, load::Spot};

/// What a row says.
#[derive(Clone, Debug)]
pub struct Row {
    pub spot: Spot,
    pub kind: FileKind,
    pub timestamp_ms: i64,
    pub key: Option<Vec<u8>>,
    /// The `date=…/hour=…` of its file.
    pub folder: String,
    pub body: Body,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    Scored { id: Option<i64>, petal_length: Option<f64>, prediction: String },
    Rejected { value: Option<Vec<u8>>, headers: BTreeMap<String, Vec<u8>>, reason: String },
}

/// The data files that are visible.
pub async fn files(objects: &Arc<dyn ObjectStore>) -> anyhow::Result<Vec<(FileKind, Path)>> {
    let mut files = vec![];
    for kind in [FileKind::Scored, FileKind::Rejected] {
        let folder = Path::from_iter([kind.folder(), DATASET]);
        let found: Vec<_> = objects.list(Some(&folder)).try_collect().await?;
        files.extend(found.into_iter().map(|object| (kind, object.location)));
    }
    Ok(files)
}

/// Every row of every file.
pub async fn rows(objects: &Arc<dyn ObjectStore>) -> anyhow::Result<Vec<Row>> {
    let mut rows = vec![];
    for (kind, path) in files(objects).await? {
        for batch in batches(objects, &path).await? {
            rows_of(kind, &path, &batch, &mut rows).with_context(|| format!("read {path}"))?;
        }
    }
    Ok(rows)
}

async fn batches(objects: &Arc<dyn ObjectStore>, path: &Path) -> anyhow::Result<Vec<RecordBatch>> {
    let bytes: Bytes = objects.get(path).await?.bytes().await?;
    let read = || -> anyhow::Result<Vec<RecordBatch>> {
        Ok(ParquetRecordBatchReaderBuilder::try_new(bytes)?.build()?.collect::<Result<_, _>>()?)
    };
    read().with_context(|| format!("read {path}"))
}

fn column<'a>(batch: &'a RecordBatch, name: &str) -> anyhow::Result<&'a ArrayRef> {
    batch.column_by_name(name).with_context(|| format!("there is no column `{name}`"))
}

fn spots(batch: &RecordBatch) -> anyhow::Result<Vec<Spot>> {
    let partitions = column(batch, "_partition")?.as_primitive::<Int32Type>();
    let offsets = column(batch, "_offset")?.as_primitive::<Int64Type>();
    Ok(partitions.values().iter().copied().zip(offsets.values().iter().copied()).collect())
}

fn rows_of(kind: FileKind, path: &Path, batch: &RecordBatch, rows: &mut Vec<Row>) -> anyhow::Result<()> {
    let times = column(batch, "_timestamp")?.as_primitive::<TimestampMillisecondType>();
    let keys = column(batch, "_key")?.as_binary::<i32>();
    let folder = path.parts().skip(2).take(2).map(|part| part.as_ref().to_owned()).collect::<Vec<_>>().join("/");
    for (at, spot) in spots(batch)?.into_iter().enumerate() {
        let body = match kind {
            FileKind::Scored => scored(batch, at)?,
            FileKind::Rejected => rejected(batch, at)?,
        };
        let key = keys.is_valid(at).then(|| keys.value(at).to_vec());
        rows.push(Row { spot, kind, timestamp_ms: times.value(at), key, folder: folder.clone(), body });
    }
    Ok(())
}

fn scored(batch: &RecordBatch, at: usize) -> anyhow::Result<Body> {
    let ids = column(batch, "id")?.as_primitive::<Int64Type>();
    let petals = column(batch, "petal_length")?.as_primitive::<Float64Type>();
    let prediction = column(batch, "prediction")?.as_string::<i32>().value(at).to_owned();
    let id = ids.is_valid(at).then(|| ids.value(at));
    Ok(Body::Scored { id, petal_length: petals.is_valid(at).then(|| petals.value(at)), prediction })
}

fn rejected(batch: &RecordBatch, at: usize) -> anyhow::Result<Body> {
    let values = column(batch, "_value")?.as_binary::<i32>();
    let pairs = column(batch, "_headers")?.as_list::<i32>().value(at);
    let pairs = pairs.as_struct();
    let (names, contents) = (pairs.column(0).as_string::<i32>(), pairs.column(1).as_binary::<i32>());
    let headers = (0..pairs.len()).map(|n| (names.value(n).to_owned(), contents.value(n).to_vec())).collect();
    let reason = column(batch, "reason")?.as_string::<i32>().value(at).to_owned();
    Ok(Body::Rejected { value: values.is_valid(at).then(|| values.value(at).to_vec()), headers, reason })
}

/// What a reader saw that looked all the while.
#[derive(Debug, Default)]
pub struct Watched {
    pub looks: u64,
    files: BTreeSet<Path>,
    spots: BTreeSet<Spot>,
}

/// Looks again and again until told to stop: each offset once, no file that is gone later, no error.
pub async fn watch(objects: Arc<dyn ObjectStore>, every: Duration, stop: CancellationToken) -> anyhow::Result<Watched> {
    let mut watched = Watched::default();
    loop {
        let last = stop.is_cancelled();
        watched.look(&objects).await.with_context(|| format!("a reader's look number {}", watched.looks + 1))?;
        if last {
            return Ok(watched);
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(every) => {}
        }
    }
}

impl Watched {
    /// Only what is new is read: a file that appeared whole doesn't change, which the end checks byte for byte.
    async fn look(&mut self, objects: &Arc<dyn ObjectStore>) -> anyhow::Result<()> {
        let now: BTreeSet<_> = files(objects).await?.into_iter().map(|(_, path)| path).collect();
        let gone = self.files.difference(&now).next();
        ensure!(gone.is_none(), "{gone:?} was there and is gone");
        for path in now.difference(&self.files) {
            for batch in batches(objects, path).await? {
                for spot in spots(&batch)? {
                    ensure!(self.spots.insert(spot), "offset {spot:?} is there twice, the second time in {path}");
                }
            }
        }
        self.files = now;
        self.looks += 1;
        Ok(())
    }
}
