//! `alluvium demo`

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, ensure};
use arrow::{
    array::{Array, AsArray},
    error::ArrowError,
};
use clap::{Args, value_parser};
use futures::TryStreamExt;
use object_store::{ObjectStore, ObjectStoreExt};
use parquet::arrow::{ProjectionMask, arrow_reader::ParquetRecordBatchReaderBuilder};
use tokio_util::sync::CancellationToken;

use super::{Exit, Usage, audit, produce, run, summary};
use crate::{
    broker::{EmbeddedBroker, EmbeddedStorage},
    config,
    lake::{FileKind, Store, audit::Depth, names},
    pipeline::{Flow, Mode, Settings},
    simulate::{Source, encoding::Encoding, feed},
    telemetry::progress::{self, count},
};

const PIPELINE: &str = include_str!("demo.toml");
/// What stands in it.
const TOPIC: &str = "iris";
const DATASET: &str = "demo";
/// Tells a lake that the demo made from any other folder.
const MARKER: &str = ".made-by-alluvium-demo";

/// See the whole thing work: broker, model, lake, audit
///
/// Needs nothing but this program. Starts a broker in this process, produces simulated iris measurements as JSON,
/// scores them with the shipped model, lands them as Parquet, and audits the result. Run again, it starts a new
/// generation in its own lake: earlier runs stay as they are, and a folder that the demo did not make is left alone.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  alluvium demo\n  alluvium demo --records 100000 --lake /tmp/demo-lake")]
pub struct Demo {
    /// How many records to produce and score
    #[arg(long, default_value_t = 1_000_000)]
    records: u64,
    /// How many partitions the topic has
    #[arg(long, default_value_t = 4, value_parser = value_parser!(i32).range(1..=1000))]
    partitions: i32,
    /// The folder of the lake
    #[arg(long, default_value = "sink/lake")]
    lake: PathBuf,
    /// Simulates other records
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The model to score with
    #[arg(long, default_value = "models/iris")]
    model: PathBuf,
}

impl Demo {
    pub async fn run(self) -> anyhow::Result<Exit> {
        self.claim_folder()?;
        let any_port = ([127, 0, 0, 1], 0).into();
        let embedded = EmbeddedBroker::start(any_port, EmbeddedStorage::Memory).await.context("start the broker")?;
        let settings = self.settings(embedded.address().to_string())?;
        let sent = self.produce(&settings).await?;

        let cpu_before = cpu_time::ProcessTime::try_now()?;
        let outcome = run::run(settings.clone(), Mode::Batch).await?;
        let cpu_seconds = cpu_before.try_elapsed()?.as_secs_f64();

        let store = Store::open(&settings.lake.url)?;
        let flow = Flow { topic: TOPIC.into(), dataset: DATASET.into() };
        let report = audit::with_bar(&settings, &flow, &store, Depth::default(), false).await?;
        let (right, compared) = compare_with_truth(&settings, &store).await?;

        println!("{:<12} {}", "produced", count(sent));
        summary::print(&outcome, false)?;
        println!("{:<12} {cpu_seconds:.2} s of the batch run, the broker's part included", "CPU");
        println!("{:<12} {}", "accuracy", share(right, compared));
        print!("{:<12} {}", "audit", audit::verdict(&report));
        println!("\nThe predictions by class:\n\n  {}", self.query(&settings));
        ensure!(
            outcome.tally.counts.records == sent,
            "{} records were sent and {} read",
            sent,
            outcome.tally.counts.records
        );
        Ok(if report.is_clean() { summary::exit(&outcome) } else { Exit::Unclean })
    }

    /// Makes the folder, or finds it made by an earlier demo.
    fn claim_folder(&self) -> anyhow::Result<()> {
        let marker = self.lake.join(MARKER);
        if marker.exists() {
            return Ok(());
        }
        let folder = self.lake.display();
        if fs::read_dir(&self.lake).is_ok_and(|mut entries| entries.next().is_some()) {
            return Err(Usage(format!(
                "{folder} has something in it that the demo did not make; name another folder with --lake"
            ))
            .into());
        }
        fs::create_dir_all(&self.lake).with_context(|| format!("make the folder {folder}"))?;
        fs::write(&marker, "This lake was made by `alluvium demo`, and may be deleted.\n")
            .with_context(|| format!("write {}", marker.display()))
    }

    fn settings(&self, broker: String) -> anyhow::Result<Settings> {
        let generation = next_generation(&self.lake)?;
        let values: BTreeMap<&str, String> = [
            ("BROKER", broker),
            ("MODEL", self.model.display().to_string()),
            ("LAKE", self.lake.display().to_string()),
            ("GENERATION", generation.to_string()),
        ]
        .into();
        config::parse(PIPELINE, |name| values.get(name).cloned()).map_err(|faults| {
            let faults: Vec<_> = faults.iter().map(ToString::to_string).collect();
            Usage(faults.join("\n")).into()
        })
    }

    async fn produce(&self, settings: &Settings) -> anyhow::Result<u64> {
        let broker = settings.source.connect(settings.broker).await?;
        broker.create_topic(TOPIC, self.partitions, 1).await?;
        let feed = feed::Feed {
            topic: TOPIC.into(),
            source: Source::Iris,
            seed: self.seed,
            count: self.records,
            encoding: Encoding::json(true),
            ..feed::Feed::default()
        };
        let partitions: Vec<i32> = (0..self.partitions).collect();
        let (sent, never) = (Arc::default(), CancellationToken::new());
        let feeding = feed::run(&feed, &broker, &partitions, &sent, &never);
        produce::with_bar(progress::bar("producing", self.records), &sent, feeding).await?;
        Ok(sent.records())
    }

    fn query(&self, settings: &Settings) -> String {
        let files = pattern(&self.lake.display().to_string()) + "/scored/demo/**/*.parquet";
        let sql = format!(
            "SELECT prediction, count(*) AS records, round(avg(confidence), 3) AS confidence \
             FROM read_parquet({}) WHERE _generation = {} GROUP BY ALL ORDER BY ALL",
            sql_text(&files),
            settings.lake.generation
        );
        format!("duckdb -c {}", shell_word(&sql))
    }
}

/// A folder's name in a pattern of DuckDB's: in brackets, a character stands for itself.
fn pattern(folder: &str) -> String {
    let folder = folder.trim_end_matches('/');
    folder.chars().map(|c| if matches!(c, '*' | '?' | '[') { format!("[{c}]") } else { c.to_string() }).collect()
}

fn sql_text(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// In double quotes, as SQL has single ones; whatever a shell would read in them is escaped.
fn shell_word(text: &str) -> String {
    let escaped = text.chars().flat_map(|c| matches!(c, '"' | '$' | '`' | '\\').then_some('\\').into_iter().chain([c]));
    format!("\"{}\"", escaped.collect::<String>())
}

/// One past the newest generation in the demo's ledger.
fn next_generation(lake: &Path) -> anyhow::Result<u32> {
    let ledger = lake.join("_ledger/demo");
    if !ledger.exists() {
        return Ok(0);
    }
    let mut next = 0;
    for entry in fs::read_dir(&ledger).with_context(|| format!("look into {}", ledger.display()))? {
        let name = entry?.file_name();
        let generation = name.to_str().and_then(|name| name.strip_prefix('g')).and_then(|n| n.parse::<u32>().ok());
        next = next.max(generation.map_or(0, |generation| generation.saturating_add(1)));
    }
    Ok(next)
}

/// How many of this generation's predictions name the simulated species, and of how many.
async fn compare_with_truth(settings: &Settings, store: &Store) -> anyhow::Result<(u64, u64)> {
    let ours = settings.lake.generation;
    let folder = names::data(FileKind::Scored, DATASET);
    let mut files = store.objects().list(Some(&folder));
    let (mut right, mut compared) = (0, 0);
    while let Some(file) = files.try_next().await? {
        if names::data_file_claim(&file.location).is_some_and(|(generation, ..)| generation == ours) {
            let bytes = store.objects().get(&file.location).await?.bytes().await?;
            let (file_right, rows) = tokio::task::spawn_blocking(move || right_rows(bytes)).await??;
            right += file_right;
            compared += rows;
        }
    }
    Ok((right, compared))
}

fn right_rows(file: bytes::Bytes) -> anyhow::Result<(u64, u64)> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(file)?;
    let columns = ProjectionMask::columns(reader.parquet_schema(), ["prediction", "species"]);
    let (mut right, mut rows) = (0, 0);
    for batch in reader.with_projection(columns).build()? {
        let batch = batch?;
        let text = |name: &str| {
            let column = batch.column_by_name(name).and_then(|column| column.as_string_opt::<i32>());
            column.ok_or_else(|| ArrowError::SchemaError(format!("no text column `{name}`")))
        };
        let (said, truth) = (text("prediction")?, text("species")?);
        right += said.iter().zip(truth).filter(|(said, truth)| said == truth).count() as u64;
        rows += said.len() as u64;
    }
    Ok((right, rows))
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
fn share(right: u64, compared: u64) -> String {
    let percent = 100.0 * right as f64 / compared.max(1) as f64;
    format!("{percent:.2} % of {} against the simulated truth", count(compared))
}
