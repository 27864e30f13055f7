//! A round's lake: a folder or a bucket of its own, to be read by us without any of the faults; and the pipeline file
//! that leads there.
//!
//! Owns: where the lake is, and how far its ledger has come. Does not own: whether it is
//! right ([`super::verdict`]).

use std::{
    collections::BTreeMap,
    path::{Path as FilePath, PathBuf},
    sync::Arc,
};

use alluvium::{
    lake::{Claim, names},
    offset::LaneId,
};
use anyhow::Context;
use futures::TryStreamExt;
use object_store::{Error as StoreError, ObjectStore, ObjectStoreExt, local::LocalFileSystem, path::Path};

use super::{
    plan::{Place, Plan},
    store::{BUCKET, S3Server},
};

pub const DATASET: &str = "chaos";

#[derive(Debug)]
pub struct TestLake {
    pub objects: Arc<dyn ObjectStore>,
    /// As it stands in the pipeline file.
    pub url: String,
    folder: PathBuf,
    pub s3: Option<S3Server>,
}

impl TestLake {
    pub async fn new(place: Place, folder: &FilePath) -> anyhow::Result<Self> {
        let folder = folder.join("lake");
        std::fs::create_dir_all(&folder)?;
        if place == Place::S3 {
            let s3 = S3Server::start().await?;
            return Ok(Self { objects: s3.objects.clone(), url: format!("s3://{BUCKET}"), folder, s3: Some(s3) });
        }
        let objects = Arc::new(LocalFileSystem::new_with_prefix(&folder)?);
        Ok(Self { objects, url: folder.display().to_string(), folder, s3: None })
    }

    /// The lake as files, for a reader that knows nothing else; a bucket is written out for it.
    pub async fn as_folder(&self) -> anyhow::Result<&FilePath> {
        if self.s3.is_some() {
            let found: Vec<_> = self.objects.list(None).try_collect().await?;
            for object in found {
                let file = self.folder.join(object.location.as_ref());
                std::fs::create_dir_all(file.parent().context("an object is in a folder")?)?;
                std::fs::write(file, self.objects.get(&object.location).await?.bytes().await?)?;
            }
        }
        Ok(&self.folder)
    }
}

/// How far each partition's ledger has come, followed claim by claim.
#[derive(Debug)]
pub struct Heads {
    objects: Arc<dyn ObjectStore>,
    by_partition: BTreeMap<i32, i64>,
    /// Every claim seen: who made it, and when, in milliseconds since 1970.
    pub claims: Vec<(String, i64)>,
}

impl Heads {
    pub fn new(lake: &TestLake, partitions: i32) -> Self {
        let by_partition = (0..partitions).map(|partition| (partition, 0)).collect();
        Self { objects: lake.objects.clone(), by_partition, claims: vec![] }
    }

    /// How many offsets are committed now.
    pub async fn committed(&mut self) -> anyhow::Result<usize> {
        for (partition, head) in &mut self.by_partition {
            let id = LaneId { dataset: DATASET.into(), generation: 0, partition: *partition };
            while let Some(claim) = claim_at(&self.objects, &names::claim(&id, *head)).await? {
                *head = claim.end;
                self.claims.push((claim.writer, claim.committed.timestamp_millis()));
            }
        }
        Ok(usize::try_from(self.by_partition.values().sum::<i64>())?)
    }
}

async fn claim_at(objects: &Arc<dyn ObjectStore>, path: &Path) -> anyhow::Result<Option<Claim>> {
    match objects.get(path).await {
        Ok(found) => Ok(Some(serde_json::from_slice(&found.bytes().await?).with_context(|| format!("read {path}"))?)),
        Err(StoreError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Small fetches, small segments and short limits, so that much happens in little time.
pub fn pipeline_file(broker: &str, topic: &str, lake: &str, plan: &Plan) -> String {
    let model = concat!(env!("CARGO_MANIFEST_DIR"), "/models/iris");
    let measurements: String = ["sepal_length", "sepal_width", "petal_length", "petal_width"]
        .map(|name| format!("[[fields]]\nname = \"{name}\"\ntype = \"float64\"\nnullable = false\n"))
        .concat();
    let Plan { roll_rows, roll_age_ms, segment_hours, fetch_wait_ms, .. } = plan;
    format!(
        "[source]\nbrokers = \"{broker}\"\ntopic = \"{topic}\"\n\n[[fields]]\nname = \"id\"\ntype = \"int64\"\n\
         {measurements}\n[model]\npath = \"{model}\"\n\n[lake]\nurl = \"{lake}\"\ndataset = \"{DATASET}\"\n\
         roll_rows = {roll_rows}\nroll_age = \"{roll_age_ms}ms\"\n\n[limits]\nrecord_bytes = \"4KiB\"\n\
         fetch_bytes = \"16KiB\"\nfetch_wait = \"{fetch_wait_ms}ms\"\nconnect_timeout = \"3s\"\nrequest_timeout = \"2s\"\n\
         retry_for = \"30s\"\nsegment_hours = {segment_hours}\n"
    )
}
