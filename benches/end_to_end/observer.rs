//! A reader of the lake that knows nothing but its files: how old is the newest row that it can see?
//!
//! Owns: what a reader sees, and when. Does not own: who writes.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
    time::Duration,
};

use alluvium::lake::{FileKind, Store, names};
use anyhow::{Context, ensure};
use chrono::Utc;
use clap::Args;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt, path::Path};
use parquet::{
    errors::ParquetError,
    file::{
        metadata::{ParquetMetaData, ParquetMetaDataReader},
        statistics::Statistics,
    },
};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, MissedTickBehavior, interval};

const LOOK_EVERY: Duration = Duration::from_millis(50);
/// So long may it take until there is a row of every partition.
const FIRST_ROWS_WAIT_MAX: Duration = Duration::from_mins(1);
/// Most footers are in it.
const FOOTER_BYTES: u64 = 64 << 10;
const FOOTERS_AT_ONCE: usize = 4;

#[derive(Debug, Args)]
pub struct Watch {
    pub lake: String,
    pub dataset: String,
    pub partitions: usize,
    /// From the first row of the last partition to have one.
    pub warm_up_ms: u64,
    /// Of the time after that, which counts.
    pub length_ms: u64,
}

/// The age of the newest visible row, of the worst partition, over all looks.
#[derive(Debug, Serialize, Deserialize)]
pub struct Ages {
    pub looks: usize,
    pub files: usize,
    pub p50_ms: i64,
    pub p99_ms: i64,
    pub max_ms: i64,
}

impl Watch {
    pub fn words(&self) -> Vec<String> {
        let Self { lake, dataset, partitions, warm_up_ms, length_ms } = self;
        let numbers = [partitions.to_string(), warm_up_ms.to_string(), length_ms.to_string()];
        ["observe", lake, dataset].map(str::to_owned).into_iter().chain(numbers).collect()
    }

    pub async fn run(&self) -> anyhow::Result<Ages> {
        let store = Store::open(&self.lake)?;
        let mut view = View::new(store.objects().clone(), &self.dataset);
        let mut ticks = interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let began = Instant::now();
        while view.newest_ms.len() < self.partitions {
            let seen = view.newest_ms.len();
            ensure!(began.elapsed() < FIRST_ROWS_WAIT_MAX, "rows of {seen} of {} partitions came", self.partitions);
            ticks.tick().await;
            view.look().await?;
        }
        let counted_from = Instant::now() + Duration::from_millis(self.warm_up_ms);
        let end = counted_from + Duration::from_millis(self.length_ms);
        let mut ages = vec![];
        while Instant::now() < end {
            ticks.tick().await;
            let age = view.look().await?;
            if Instant::now() >= counted_from {
                ages.push(age);
            }
        }
        Ages::of(ages, view.known.len())
    }
}

impl Ages {
    fn of(mut ages: Vec<i64>, files: usize) -> anyhow::Result<Self> {
        ages.sort_unstable();
        let rank = |percent: usize| (ages.len() * percent).div_ceil(100).saturating_sub(1);
        let at = |percent| ages.get(rank(percent)).copied().context("nobody looked");
        Ok(Self { looks: ages.len(), files, p50_ms: at(50)?, p99_ms: at(99)?, max_ms: at(100)? })
    }
}

struct View {
    objects: Arc<dyn ObjectStore>,
    folder: Path,
    known: HashSet<Path>,
    newest_ms: BTreeMap<i32, i64>,
}

impl View {
    fn new(objects: Arc<dyn ObjectStore>, dataset: &str) -> Self {
        let folder = names::data(FileKind::Scored, dataset);
        Self { objects, folder, known: HashSet::new(), newest_ms: BTreeMap::new() }
    }

    /// Takes in what is new, and tells how old the newest row of the worst partition is now.
    async fn look(&mut self) -> anyhow::Result<i64> {
        let files: Vec<ObjectMeta> = self.objects.list(Some(&self.folder)).try_collect().await?;
        let new: Vec<_> = files.into_iter().filter(|file| !self.known.contains(&file.location)).collect();
        let objects = &self.objects;
        let read = |file| async move { newest_of(objects, file).await };
        let read: Vec<_> = stream::iter(new).map(read).buffer_unordered(FOOTERS_AT_ONCE).try_collect().await?;
        for (path, partition, newest_ms) in read {
            let newest = self.newest_ms.entry(partition).or_insert(newest_ms);
            *newest = newest_ms.max(*newest);
            self.known.insert(path);
        }
        let worst = self.newest_ms.values().min().copied().unwrap_or_default();
        Ok(Utc::now().timestamp_millis() - worst)
    }
}

/// Whose rows are in the file, and the newest of them.
async fn newest_of(objects: &Arc<dyn ObjectStore>, file: ObjectMeta) -> anyhow::Result<(Path, i32, i64)> {
    let (_, partition, _) = names::data_file_claim(&file.location).context("a name that is not the lake's")?;
    let newest_ms = newest(&footer(objects, &file).await?);
    Ok((file.location, partition, newest_ms.context("a footer does not tell the largest _timestamp")?))
}

async fn footer(objects: &Arc<dyn ObjectStore>, file: &ObjectMeta) -> anyhow::Result<ParquetMetaData> {
    let mut wanted = FOOTER_BYTES;
    loop {
        let tail = objects.get_range(&file.location, file.size.saturating_sub(wanted)..file.size).await?;
        let mut reader = ParquetMetaDataReader::new();
        match reader.try_parse_sized(&tail, file.size) {
            Err(ParquetError::NeedMoreData(more)) if more as u64 > wanted => wanted = more as u64,
            parsed => {
                parsed?;
                return Ok(reader.finish()?);
            }
        }
    }
}

fn newest(footer: &ParquetMetaData) -> Option<i64> {
    let columns = footer.file_metadata().schema_descr().columns();
    let column = columns.iter().position(|column| column.path().string() == "_timestamp")?;
    let largest = footer.row_groups().iter().map(|group| match group.column(column).statistics() {
        Some(Statistics::Int64(told)) => told.max_opt().copied(),
        _ => None,
    });
    largest.collect::<Option<Vec<_>>>()?.into_iter().max()
}
