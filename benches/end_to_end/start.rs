//! How long a start takes with a long ledger: a batch run that has one record to fetch, from its start to its exit.
//!
//! The claims are planted, with the names and contents of real ones, over records that are there; the newest of each
//! partition is real, so that the run finds the broker's record to be the one that it read last.

use std::{fs, io, path::Path};

use alluvium::{
    broker::Compression,
    lake::{Claim, Counts, FileEntry, FileKind, Genesis, Kind, PartitionBy, names},
    offset::LaneId,
    record::{ModelRef, Record},
    telemetry::progress::count,
};
use anyhow::ensure;
use chrono::Utc;
use object_store::path::Path as LakePath;
use serde::Serialize;
use tokio::process::Command;
use uuid::Uuid;

use crate::{apart::median, args::Args, goals, job::Job, report::Outcome, stand::Stand};

/// Of the ledger's JSON.
const FORMAT: u32 = 1;
const WRITER: &str = "planted";
/// Other records than those that the topic was filled with.
const SEED: u64 = 2;

pub async fn measure(args: &Args, stand: &mut Stand) -> anyhow::Result<Outcome> {
    let claims = args.claims().div_ceil(u64::try_from(args.partitions)?);
    let (long, short) = (ledger(args, stand, claims, true).await?, ledger(args, stand, claims, false).await?);
    let mut rounds = vec![];
    for _ in 0..args.rounds() {
        rounds.push(Round {
            hinted: started(stand, &long, true).await?,
            unhinted: started(stand, &long, false).await?,
            short_hinted: started(stand, &short, true).await?,
            short_unhinted: started(stand, &short, false).await?,
        });
    }
    Start::new(args.partitions, claims, rounds).told()
}

/// A topic whose records are all in the lake: in one claim a partition, or all but the last in one each.
async fn ledger(args: &Args, stand: &mut Stand, claims: u64, planted: bool) -> anyhow::Result<Job> {
    let partitions = u64::try_from(args.partitions)?;
    let topic = stand.topic(args.partitions, (claims + 1) * partitions).await?;
    let job = stand.job(&topic)?;
    for partition in (0..args.partitions).filter(|_| planted) {
        plant(&job.local, &lane(&job, partition), &topic.name, i64::try_from(claims)?)?;
    }
    // Or each later fsync would wait for some of these files too.
    ensure!(Command::new("sync").status().await?.success(), "`sync` failed");
    job.batch(if planted { partitions } else { topic.records }).await?;
    Ok(job)
}

fn lane(job: &Job, partition: i32) -> LaneId {
    LaneId { dataset: job.dataset.into(), generation: 0, partition }
}

fn plant(lake: &Path, id: &LaneId, topic: &str, claims: i64) -> anyhow::Result<()> {
    fs::create_dir_all(within(lake, &names::ledger(id)))?;
    let genesis = Genesis { format: FORMAT, start: 0, topic: topic.into(), writer: WRITER.into(), created: Utc::now() };
    fs::write(within(lake, &names::genesis(id)), serde_json::to_vec(&genesis)?)?;
    for start in 0..claims {
        // A start publishes the newest claim's files, and these are not there.
        let claim = claim(id, start, start + 1 < claims);
        fs::write(within(lake, &names::claim(id, start)), serde_json::to_vec(&claim)?)?;
    }
    Ok(())
}

fn within(lake: &Path, path: &LakePath) -> std::path::PathBuf {
    lake.join(path.as_ref())
}

/// Of one record, as large as a real one.
fn claim(id: &LaneId, start: i64, with_file: bool) -> Claim {
    let (attempt, now) = (Uuid::new_v4(), Utc::now());
    let bucket = names::Bucket::of(now.timestamp_millis(), PartitionBy::Hour);
    let file = || FileEntry {
        kind: FileKind::Scored,
        staged: names::staging(id, attempt).join("0000.parquet").to_string(),
        path: names::data_file(FileKind::Scored, id, bucket, start).to_string(),
        rows: 1,
        bytes: 5_000,
        crc32c: 1,
        undated: false,
    };
    Claim {
        format: FORMAT,
        start,
        end: start + 1,
        kind: Kind::Segment,
        attempt,
        writer: WRITER.into(),
        committed: now,
        model: Some(ModelRef { name: "planted".into(), version: 1, digest: "0".repeat(64) }),
        counts: Counts { records: 1, scored: 1, ..Counts::default() },
        fingerprint: None,
        files: with_file.then(file).into_iter().collect(),
    }
}

/// How long a run lives that finds one new record.
async fn started(stand: &Stand, job: &Job, hinted: bool) -> anyhow::Result<f64> {
    let mut value = vec![];
    stand.pipeline.source().stream(SEED, 0).json(&mut value, true);
    let record = Record { timestamp_ms: Utc::now().timestamp_millis(), value: Some(value), ..Record::default() };
    stand.broker.partition(&job.topic.name, 0).await?.produce(vec![record], Compression::None).await?;
    for partition in (0..job.topic.partitions).filter(|_| !hinted) {
        remove(&within(&job.local, &names::hint(&lane(job, partition))))?;
    }
    Ok(job.batch(1).await?.seconds)
}

fn remove(file: &Path) -> io::Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        outcome => outcome,
    }
}

/// Seconds.
#[derive(Serialize)]
struct Round {
    hinted: f64,
    unhinted: f64,
    short_hinted: f64,
    short_unhinted: f64,
}

#[derive(Serialize)]
struct Start {
    partitions: i32,
    claims: u64,
    /// The medians.
    seconds: Round,
    rounds: Vec<Round>,
}

impl Start {
    fn new(partitions: i32, claims_each: u64, rounds: Vec<Round>) -> Self {
        let of = |which: fn(&Round) -> f64| median(rounds.iter().map(which));
        let seconds = Round {
            hinted: of(|round| round.hinted),
            unhinted: of(|round| round.unhinted),
            short_hinted: of(|round| round.short_hinted),
            short_unhinted: of(|round| round.short_unhinted),
        };
        Self { partitions, claims: claims_each * u64::from(partitions.unsigned_abs()), seconds, rounds }
    }

    fn told(self) -> anyhow::Result<Outcome> {
        let Round { hinted, unhinted, short_hinted, short_unhinted } = self.seconds;
        let figures = vec![goals::START.held_against(hinted), goals::START_UNHINTED.held_against(unhinted)];
        let lines = vec![
            format!("{} partitions; from start to exit, one record fetched and committed", self.partitions),
            format!("{:>9} claims: {hinted:.3} s, without the hints {unhinted:.3} s", count(self.claims)),
            format!("{:>9} claims: {short_hinted:.3} s, without the hints {short_unhinted:.3} s", self.partitions),
        ];
        Ok(Outcome { figures, details: serde_json::to_value(&self)?, lines })
    }
}
