//! `alluvium rejects`

use std::{collections::BTreeMap, io, path::PathBuf};

use anyhow::Context;
use chrono::DateTime;
use clap::{Args, ValueEnum};
use serde::Serialize;

use self::{export::Export, record::Shown};
use super::{Exit, Usage, flows, grid::grid, run, wanted::WantedArgs};
use crate::{
    lake::{FileKind, Ledger, Place, RejectFiles, Rejected, RejectedFile, Store, Wanted},
    offset::LaneId,
    record::name::visible,
    telemetry::progress::{self, count},
};

mod export;
mod record;

/// Hours and reasons that are told apart; what is beyond is counted together.
const HOURS_TOLD_MAX: usize = 10_000;
/// Records that are shown, unless `--limit` says otherwise.
const SAMPLE: u64 = 5;
/// Records that `--limit` may have shown at once; an export has no such limit.
const SAMPLE_MAX: u64 = 10_000;
const MS_PER_HOUR: i64 = 3_600_000;

/// Show what was rejected, and why
///
/// Counts the rejects of the lake by reason and hour (UTC, by the record's time at the broker), and shows some of them:
/// where they are from, what is wrong, headers, key and value; text as text, other bytes in hex. Reads the lake alone, and
/// changes nothing.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  alluvium rejects pipelines/iris.toml\n  \
        alluvium rejects pipelines/iris.toml --reason wrong_type --since 36h --limit 20\n  \
        alluvium rejects pipelines/iris.toml --reason not_json --export bad.jsonl\n  \
        alluvium rejects pipelines/iris.toml --partition 3 --export - --form values | head\n\n\
        Once the cause is mended: `alluvium replay`.")]
pub(super) struct Rejects {
    /// The pipeline file that says where the lake is
    #[arg(value_name = "PIPELINE.toml")]
    pipeline: PathBuf,
    /// One dataset alone: of the pipeline, or another of its lake
    #[arg(long, value_name = "DATASET")]
    dataset: Option<String>,
    #[command(flatten)]
    wanted: WantedArgs,
    /// How many records are shown, or exported [default: 5 shown, all exported]
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// Write the records to a file, or to stdout with `-`, instead of showing some
    #[arg(long, value_name = "FILE|-", conflicts_with = "json")]
    export: Option<PathBuf>,
    /// What an export holds
    #[arg(long, value_enum, default_value_t = Form::Json, requires = "export")]
    form: Form,
    /// Print counts and sample as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Form {
    /// A line of JSON for each record, with key, value and headers in Base64
    Json,
    /// The values alone, byte for byte, each followed by a line feed
    Values,
}

/// What `--json` prints.
#[derive(Debug, Default, Serialize)]
struct Report {
    dataset: String,
    rejects: u64,
    by_reason: BTreeMap<String, u64>,
    by_hour: Vec<Hour>,
    sample: Vec<Shown>,
    /// Files that could not be read, and why.
    left_out: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Hour {
    #[serde(rename = "hour")]
    begins: String,
    reason: String,
    rejects: u64,
}

impl Rejects {
    pub(super) async fn run(self) -> anyhow::Result<Exit> {
        let settings = run::settings(&self.pipeline)?;
        if self.export.is_none() && self.limit.is_some_and(|limit| limit > SAMPLE_MAX) {
            return Err(Usage(format!("--limit takes at most {SAMPLE_MAX} without --export")).into());
        }
        let store = Store::open(&settings.lake.url).context("open the lake")?;
        let several = settings.flows.are_many() && self.dataset.is_none();
        let mut export = match &self.export {
            Some(target) => Some(Export::begin(target, self.form).context("begin the export")?),
            None => None,
        };
        let (mut reports, mut exit) = (vec![], Exit::Done);
        for flow in flows::chosen(&settings, &store, self.dataset.as_deref()).await? {
            let mut scan = Scan::new(&self, &flow.dataset);
            scan.run(&store, export.as_mut()).await?;
            let report = scan.report();
            if !report.left_out.is_empty() {
                exit = Exit::Failed;
            }
            report.left_out.iter().for_each(|why| tracing::error!("left out: {why}"));
            if export.is_none() && !self.json {
                let heading = if several { flows::heading(&settings, &flow) } else { String::new() };
                print!("{heading}{}{}", visible(&report.render()), if several { "\n" } else { "" });
            }
            reports.push(report);
        }
        match export {
            Some(export) => {
                let exported = export.finish().context("finish the export")?;
                tracing::info!("{} rejects exported", count(exported));
            }
            None => flows::close(&reports, several, self.json)?,
        }
        Ok(exit)
    }
}

/// One dataset's rejects on their way by.
struct Scan<'a> {
    dataset: &'a str,
    wanted: Wanted,
    limit: u64,
    counts: BTreeMap<(i64, String), u64>,
    beyond: u64,
    report: Report,
}

impl<'a> Scan<'a> {
    fn new(args: &Rejects, dataset: &'a str) -> Self {
        let wanted = args.wanted.wanted();
        let limit = args.limit.unwrap_or(if args.export.is_some() { u64::MAX } else { SAMPLE });
        let report = Report { dataset: dataset.into(), ..Report::default() };
        Self { dataset, wanted, limit, counts: BTreeMap::new(), beyond: 0, report }
    }

    async fn run(&mut self, store: &Store, mut export: Option<&mut Export>) -> anyhow::Result<()> {
        let mut files = RejectFiles::of(store, self.dataset);
        let bar = progress::bar("reading", 0);
        loop {
            let places = files.more().await.context("list the rejects")?;
            if places.is_empty() {
                bar.finish_and_clear();
                return Ok(());
            }
            bar.inc_length(places.len() as u64);
            for place in places {
                if export.as_ref().is_some_and(|export| export.written() >= self.limit) {
                    return Ok(());
                }
                if self.wanted.takes_partition(place.1) {
                    self.claim(store, place, export.as_deref_mut()).await?;
                }
                bar.inc(1);
            }
        }
    }

    /// The rejects that a claim holds now.
    async fn claim(&mut self, store: &Store, place: Place, mut export: Option<&mut Export>) -> anyhow::Result<()> {
        let (generation, partition, start) = place;
        let id = LaneId { dataset: self.dataset.into(), generation, partition };
        let ledger = Ledger::new(store.clone(), id, "rejects".into());
        let Some(claim) = ledger.claim_at(start).await? else { return Ok(()) };
        let held = ledger.held(claim).await?;
        for file in held.files() {
            if file.entry.kind != FileKind::Rejected || !self.wanted.takes_file(file.entry) {
                continue;
            }
            let Some(bytes) = ledger.read_held(&file).await? else {
                if !ledger.is_expired_of(&held, &file).await {
                    let path = &file.entry.path;
                    self.report.left_out.push(format!("{path} is not there, or was replaced meanwhile; run it again"));
                }
                continue;
            };
            let mut reading = RejectedFile::open(&file.entry.path.as_str().into(), bytes)?;
            while let Some(rejected) = reading.some()? {
                self.take(place, &rejected, export.as_deref_mut())?;
            }
        }
        Ok(())
    }

    fn take(&mut self, place: Place, rejected: &Rejected, mut export: Option<&mut Export>) -> io::Result<()> {
        for row in 0..rejected.records.len() {
            let Some(record) = rejected.records.get(row).filter(|_| self.wanted.takes(rejected, row)) else { continue };
            self.count(record.timestamp_ms, rejected.reason(row));
            match export.as_deref_mut() {
                Some(export) if export.written() < self.limit => export.write(place, rejected, row)?,
                None if (self.report.sample.len() as u64) < self.limit => {
                    self.report.sample.extend(Shown::of(place, rejected, row));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn count(&mut self, timestamp_ms: i64, reason: &str) {
        self.report.rejects += 1;
        *self.report.by_reason.entry(reason.to_owned()).or_default() += 1;
        let place = (timestamp_ms.div_euclid(MS_PER_HOUR), reason.to_owned());
        if self.counts.len() < HOURS_TOLD_MAX || self.counts.contains_key(&place) {
            *self.counts.entry(place).or_default() += 1;
        } else {
            self.beyond += 1;
        }
    }

    fn report(self) -> Report {
        let hours =
            self.counts.into_iter().map(|((hour, reason), rejects)| Hour { begins: shown_hour(hour), reason, rejects });
        let beyond =
            (self.beyond > 0).then(|| Hour { begins: "others".into(), reason: "any".into(), rejects: self.beyond });
        Report { by_hour: hours.chain(beyond).collect(), ..self.report }
    }
}

fn shown_hour(hour: i64) -> String {
    let time = hour.checked_mul(MS_PER_HOUR).and_then(DateTime::from_timestamp_millis);
    time.map_or_else(|| "beyond all time".into(), |time| time.format("%Y-%m-%dT%H").to_string())
}

impl Report {
    /// A table of hours by reasons, then the sample.
    fn render(&self) -> String {
        if self.rejects == 0 {
            return "no rejects\n".into();
        }
        let mut hours: BTreeMap<&str, BTreeMap<&str, u64>> = BTreeMap::new();
        for Hour { begins, reason, rejects } in &self.by_hour {
            *hours.entry(begins).or_default().entry(reason).or_default() += rejects;
        }
        let reasons: Vec<&str> = self.by_reason.keys().map(String::as_str).collect();
        let row = |label: &str, of: &dyn Fn(&str) -> u64, sum: u64| {
            let cells = reasons.iter().map(|reason| count(of(reason)));
            [label.to_owned()].into_iter().chain(cells).chain([count(sum)]).collect::<Vec<_>>()
        };
        let titles = ["hour"].into_iter().chain(reasons.iter().copied()).chain(["all"]);
        let mut rows = vec![titles.map(str::to_owned).collect::<Vec<_>>()];
        for (hour, counts) in &hours {
            let sum = counts.values().sum();
            rows.push(row(hour, &|reason| counts.get(reason).copied().unwrap_or(0), sum));
        }
        rows.push(row("all", &|reason| self.by_reason.get(reason).copied().unwrap_or(0), self.rejects));
        let sample: Vec<_> = self.sample.iter().map(ToString::to_string).collect();
        [grid("", &rows)].into_iter().chain(sample).collect::<Vec<_>>().join("\n")
    }
}
