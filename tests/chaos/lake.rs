//! A round's lake: a folder or a bucket of its own, to be read by us without any of the faults; and the pipeline file
//! that leads there.
//!
//! Owns: where the lake is, and how far its ledger has come. Does not own: whether it is
//! right ([`super::verdict`]).

use std::{
    collections::{BTreeMap, BTreeSet},
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
    plan::{Place, Plan, Share, WORKERS_MAX},
    store::{BUCKET, S3Server},
};

pub const DATASET: &str = "chaos";
const HEARTBEATS_A_SESSION: u64 = 4;

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
    /// Every claim seen, those of one partition in their order.
    pub claims: Vec<Seen>,
}

#[derive(Debug)]
pub struct Seen {
    pub partition: i32,
    pub writer: String,
    /// When it was made, in milliseconds since 1970.
    pub at_ms: i64,
}

impl Seen {
    /// Whether this process made it.
    pub fn is_by(&self, pid: u32) -> bool {
        self.writer.split_once('-').is_some_and(|(writer, _)| writer.parse() == Ok(pid))
    }
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
                let at_ms = claim.committed.timestamp_millis();
                self.claims.push(Seen { partition: *partition, writer: claim.writer, at_ms });
            }
        }
        Ok(usize::try_from(self.by_partition.values().sum::<i64>())?)
    }

    /// Up to where a partition is claimed.
    pub fn of(&self, partition: i32) -> i64 {
        self.by_partition.get(&partition).copied().unwrap_or_default()
    }

    /// The partitions whose newest claims this process made.
    pub fn held_by(&self, pid: u32) -> BTreeSet<i32> {
        let newest: BTreeMap<i32, &Seen> = self.claims.iter().map(|claim| (claim.partition, claim)).collect();
        newest.into_iter().filter(|(_, claim)| claim.is_by(pid)).map(|(partition, _)| partition).collect()
    }

    /// When the process made its last claim of a partition, and when another the next.
    pub fn succession(&self, partition: i32, pid: u32) -> Option<(i64, i64)> {
        let mut newest_first = self.claims.iter().rev().filter(|claim| claim.partition == partition);
        let mut next = newest_first.next()?;
        for claim in newest_first {
            if claim.is_by(pid) {
                return (!next.is_by(pid)).then_some((claim.at_ms, next.at_ms));
            }
            next = claim;
        }
        None
    }
}

async fn claim_at(objects: &Arc<dyn ObjectStore>, path: &Path) -> anyhow::Result<Option<Claim>> {
    match objects.get(path).await {
        Ok(found) => Ok(Some(serde_json::from_slice(&found.bytes().await?).with_context(|| format!("read {path}"))?)),
        Err(StoreError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// One for each worker that there can be.
pub fn pipeline_files(
    broker: &str,
    topic: &str,
    lake: &str,
    plan: &Plan,
    folder: &FilePath,
) -> anyhow::Result<Vec<PathBuf>> {
    let written = |worker| {
        let file = folder.join(format!("worker-{worker}.toml"));
        std::fs::write(&file, pipeline_file(broker, topic, &share(plan, topic, worker), lake, plan))?;
        Ok(file)
    };
    (0..WORKERS_MAX).map(written).collect()
}

/// The lines of `[source]` that make a worker share the topic.
fn share(plan: &Plan, group: &str, worker: usize) -> String {
    let shares = plan.workers.len();
    match plan.share {
        Share::All => String::new(),
        Share::Worker => format!("worker = \"{}/{shares}\"\n", worker % shares + 1),
        Share::Group => {
            let name = if plan.named_members { format!("group_instance = \"{worker}\"\n") } else { String::new() };
            let (session_ms, heartbeat_ms) = (plan.session_ms, plan.session_ms / HEARTBEATS_A_SESSION);
            format!(
                "group = \"{group}\"\n{name}session_timeout = \"{session_ms}ms\"\nheartbeat = \"{heartbeat_ms}ms\"\n\
                 handover = \"3s\"\n"
            )
        }
    }
}

/// Small fetches, small segments and short limits, so that much happens in little time.
pub fn pipeline_file(broker: &str, topic: &str, share: &str, lake: &str, plan: &Plan) -> String {
    let model = concat!(env!("CARGO_MANIFEST_DIR"), "/models/iris");
    let measurements: String = ["sepal_length", "sepal_width", "petal_length", "petal_width"]
        .map(|name| format!("[[fields]]\nname = \"{name}\"\ntype = \"float64\"\nnullable = false\n"))
        .concat();
    let Plan { roll_rows, roll_age_ms, segment_hours, fetch_wait_ms, .. } = plan;
    format!(
        "[source]\nbrokers = \"{broker}\"\ntopic = \"{topic}\"\n{share}\n[[fields]]\nname = \"id\"\ntype = \"int64\"\n\
         {measurements}\n[model]\npath = \"{model}\"\n\n[lake]\nurl = \"{lake}\"\ndataset = \"{DATASET}\"\n\
         roll_rows = {roll_rows}\nroll_age = \"{roll_age_ms}ms\"\n\n[limits]\nrecord_bytes = \"4KiB\"\n\
         fetch_bytes = \"16KiB\"\nfetch_wait = \"{fetch_wait_ms}ms\"\nconnect_timeout = \"3s\"\nrequest_timeout = \"2s\"\n\
         retry_for = \"30s\"\nsegment_hours = {segment_hours}\n\n[http]\nlisten = \"off\"\n"
    )
}
