//! `alluvium replay`

use std::{fmt, path::PathBuf, sync::Arc};

use anyhow::Context;
use clap::Args;
use serde::Serialize;

use super::{Exit, flows, run, wanted::WantedArgs, who};
use crate::{
    lake::Store,
    pipeline::{Flow, HandOn, HandedOn, Replay, Replayed, Settings},
    telemetry::progress::{self, count},
};

/// Take rejected records from the lake through the pipeline once more
///
/// For when the cause is mended: a field was added, a type was set right, a limit was raised. Reads the rejects of the lake,
/// byte for byte as they came, and decodes and scores them as the pipeline file says now. Those that pass become rows of
/// `scored`, exactly once, under the partition and offset that they came from; the others stay in `rejected` as they are.
/// Needs no broker, unless the file has [results]: in the end the new rows go to the results topic and to the table of
/// [postgres]. Run twice, it changes nothing the second time; cut short at any moment, the next run finishes it. A stream
/// may run meanwhile, and so may another replay.
#[derive(Debug, Args)]
#[command(
    name = "replay",
    after_help = "Examples:\n  alluvium replay pipelines/iris.toml --dry-run\n  \
        alluvium replay pipelines/iris.toml\n  \
        alluvium replay pipelines/iris.toml --reason missing_field --since 36h --partition 3\n\n\
        Look at the rejects first with `alluvium rejects`."
)]
pub(super) struct ReplayArgs {
    /// The pipeline file, as it is now
    #[arg(value_name = "PIPELINE.toml")]
    pipeline: PathBuf,
    /// One dataset alone: of the pipeline, or another of its lake
    #[arg(long, value_name = "DATASET")]
    dataset: Option<String>,
    #[command(flatten)]
    wanted: WantedArgs,
    /// Only show what would become of them
    #[arg(long)]
    dry_run: bool,
    /// Print the outcome as JSON
    #[arg(long)]
    json: bool,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Report {
    dataset: String,
    dry_run: bool,
    #[serde(flatten)]
    replayed: Replayed,
    /// What of all replays' rows went to other programs now.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    outlets: Vec<HandedOn>,
}

impl ReplayArgs {
    pub(super) async fn run(self) -> anyhow::Result<Exit> {
        let settings = run::settings(&self.pipeline)?;
        let store = Store::open(&settings.lake.url).context("open the lake")?;
        let several = settings.flows.are_many() && self.dataset.is_none();
        let (mut reports, mut exit) = (vec![], Exit::Done);
        for flow in flows::chosen(&settings, &store, self.dataset.as_deref()).await? {
            let report = self.replay(&settings, &store, &flow).await?;
            if !report.replayed.kept.is_empty() || report.outlets.iter().any(|outlet| outlet.failure.is_some()) {
                exit = Exit::Failed;
            }
            if !self.json {
                let heading = if several { flows::heading(&settings, &flow) } else { String::new() };
                print!("{heading}{report}{}", if several { "\n" } else { "" });
            }
            reports.push(report);
        }
        flows::close(&reports, several, self.json)?;
        Ok(exit)
    }

    async fn replay(&self, settings: &Settings, store: &Store, flow: &Flow) -> anyhow::Result<Report> {
        let dataset = &*flow.dataset;
        let wanted = self.wanted.wanted();
        let (writer, dry_run): (Arc<str>, _) = (who().into(), self.dry_run);
        let bar = progress::bar("replaying", 0);
        let replay = Replay { settings, store, dataset, wanted, dry_run, writer: writer.clone() };
        let replayed = replay.run(|at| {
            bar.set_length(at.claims_total);
            bar.set_position(at.claims_done);
        });
        let replayed = replayed.await.with_context(|| {
            format!("replay the rejects of {dataset}; what is done is done, and the same command goes on with the rest")
        })?;
        bar.finish_and_clear();
        let mut outlets = vec![];
        if !dry_run {
            let hand_on = HandOn { settings, store, flow, writer }.run().await;
            outlets = hand_on.with_context(|| {
                format!("the lake has the rows of {dataset}; hand them on: run the same command again, and it goes on")
            })?;
        }
        Ok(Report { dataset: dataset.into(), dry_run, replayed, outlets })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Replayed { claims, taken, scored, filtered, still_rejected, .. } = &self.replayed;
        writeln!(f, "taken        {} rejects of {} segments", count(*taken), count(*claims))?;
        writeln!(f, "became rows  {}", count(*scored))?;
        if *filtered > 0 {
            writeln!(f, "filtered     {}", count(*filtered))?;
        }
        let still: u64 = still_rejected.values().sum();
        let why: Vec<_> = still_rejected.iter().map(|(reason, n)| format!("{} {reason}", count(*n))).collect();
        let why = if why.is_empty() { String::new() } else { format!(": {}", why.join(", ")) };
        writeln!(f, "still        {}{why}", count(still))?;
        let Replayed { left_out, finished, fences, expired_files, kept, .. } = &self.replayed;
        for (label, number, meaning) in [
            ("left out", *left_out, "that were not asked for"),
            ("finished", *finished, "replays of a segment that had been cut short"),
            ("fenced", *fences, "times by another replay"),
            ("expired", *expired_files, "files, deleted by policy"),
        ] {
            if number > 0 {
                writeln!(f, "{label:<12} {} {meaning}", count(number))?;
            }
        }
        for kept in kept {
            writeln!(f, "kept         {kept}")?;
        }
        for HandedOn { outlet, to, sent, expired, failure } in &self.outlets {
            let expired = if *expired == 0 { String::new() } else { format!(", {} expired before", count(*expired)) };
            writeln!(f, "{outlet:<12} {} rows to {to}{expired}", count(*sent))?;
            if let Some(why) = failure {
                writeln!(f, "             failed: {why}")?;
                writeln!(
                    f,
                    "             the lake has all of them; run the same command again, and it hands on the rest"
                )?;
            }
        }
        if self.dry_run { writeln!(f, "nothing is changed yet") } else { Ok(()) }
    }
}
