//! `alluvium audit`

use std::{collections::BTreeMap, fmt::Write as _, path::PathBuf, time::Duration};

use anyhow::Context;
use clap::Args;

use serde::Serialize;

use super::{Exit, flows, grid::grid, run, who};
use crate::{
    lake::{
        Counts, Repaired, Store,
        audit::{self, BrokerOffsets, Depth, PartitionReport, Report},
        repair,
    },
    pipeline::{Flow, Settings},
    record::name::visible,
    telemetry::progress::{self, bytes, count},
};

/// How long the broker may take, all in all, to tell its offsets; the audit goes on without them.
const BROKER_TIMEOUT: Duration = Duration::from_secs(15);

/// Proves that each offset is in exactly one place of the lake.
///
/// Reads the ledger and every data file: its size, its checksum, its footer, and where its rows are from. Compares them
/// with the broker's offsets if it can be reached. Changes nothing, unless asked to repair. Exits with 3 if anything is
/// wrong.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  alluvium audit pipelines/iris.toml\n  alluvium audit pipelines/iris.toml --deep --json\n  \
                        alluvium audit pipelines/iris.toml --repair"
)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
pub struct Audit {
    /// The pipeline file that says where the lake is.
    #[arg(value_name = "PIPELINE.toml")]
    pipeline: PathBuf,
    /// One dataset alone: of the pipeline, or another of its lake, such as one that `alluvium rescore` wrote.
    #[arg(long, value_name = "DATASET")]
    dataset: Option<String>,
    /// Decode every column of every row group too.
    #[arg(long)]
    deep: bool,
    /// First mend what can be mended without doubt: publish what claims name, finish an expiry that was cut short, sweep
    /// staging that is older than a day. No other row is deleted, and no claim is touched; a stream may run meanwhile.
    #[arg(long)]
    repair: bool,
    /// Don't ask the broker.
    #[arg(long)]
    offline: bool,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
}

/// What `--json` prints of a dataset.
#[derive(Serialize)]
struct Outcome {
    #[serde(flatten)]
    report: Report,
    #[serde(skip_serializing_if = "Option::is_none")]
    repaired: Option<Repaired>,
}

/// What `--json` prints where the pipeline has several.
#[derive(Serialize)]
struct Outcomes {
    verdict: &'static str,
    datasets: Vec<Outcome>,
}

impl Audit {
    pub async fn run(self) -> anyhow::Result<Exit> {
        let settings = run::settings(&self.pipeline)?;
        let store = Store::open(&settings.lake.url).context("open the lake")?;
        let mut datasets = vec![];
        for flow in flows::chosen(&settings, &store, self.dataset.as_deref()).await? {
            let outcome = self.audit(&settings, &flow, &store).await?;
            if !self.json {
                let heading = if self.dataset.is_none() { flows::heading(&settings, &flow) } else { String::new() };
                let mended = outcome.repaired.as_ref().map(mended).unwrap_or_default();
                print!("{heading}{}", visible(&format!("{mended}{}", render(&outcome.report))));
                print!("{}", if heading.is_empty() { "" } else { "\n" });
            }
            datasets.push(outcome);
        }
        let clean = datasets.iter().all(|outcome| outcome.report.is_clean());
        let several = settings.flows.are_many() && self.dataset.is_none();
        match datasets.as_slice() {
            [only] if !several && self.json => println!("{}", serde_json::to_string_pretty(only)?),
            _ if self.json => {
                let outcomes = Outcomes { verdict: if clean { "clean" } else { "unclean" }, datasets };
                println!("{}", serde_json::to_string_pretty(&outcomes)?);
            }
            [] => println!("clean: there is nothing yet of this pipeline in this lake"),
            all if several => println!("{}", verdict_of_all(all)),
            _ => {}
        }
        Ok(if clean { Exit::Done } else { Exit::Unclean })
    }

    async fn audit(&self, settings: &Settings, flow: &Flow, store: &Store) -> anyhow::Result<Outcome> {
        let repaired = if self.repair {
            Some(repair(store, &flow.dataset, &who()).await.context("repair the lake")?)
        } else {
            None
        };
        let depth = if self.deep { Depth::EveryColumn } else { Depth::default() };
        let report = with_bar(settings, flow, store, depth, self.offline).await?;
        Ok(Outcome { report, repaired })
    }
}

fn verdict_of_all(outcomes: &[Outcome]) -> String {
    let (all, unclean) = (outcomes.len(), outcomes.iter().filter(|outcome| !outcome.report.is_clean()).count());
    match unclean {
        0 => format!("clean: all {} datasets", count(all as u64)),
        _ => format!("not clean: {} of {} datasets", count(unclean as u64), count(all as u64)),
    }
}

/// What was mended, a line each; and what was not.
fn mended(repaired: &Repaired) -> String {
    let mut text = String::new();
    for file in &repaired.published {
        let _ = writeln!(text, "mended: published {file}");
    }
    if repaired.swept > 0 {
        let (swept, size) = (count(repaired.swept), bytes(repaired.swept_bytes));
        let _ = writeln!(text, "mended: swept {swept} stale objects from staging, {size}");
    }
    if repaired.expiries > 0 {
        let (expiries, files) = (count(repaired.expiries), count(repaired.expired_files));
        let _ = writeln!(text, "mended: finished {expiries} expiries that had been cut short, {files} files");
    }
    if text.is_empty() {
        text.push_str("mended: nothing; there was nothing that could be mended without doubt\n");
    }
    for left in &repaired.left {
        let _ = writeln!(text, "left: {left}");
    }
    text + "\n"
}

/// Audits with a bar on stderr, and with the broker's offsets unless `offline`.
pub(super) async fn with_bar(
    settings: &Settings,
    flow: &Flow,
    store: &Store,
    depth: Depth,
    offline: bool,
) -> anyhow::Result<Report> {
    let bar = progress::bar("auditing", 0);
    let report = audit::audit_to(depth, store.objects(), &flow.dataset, &BTreeMap::new(), |at| {
        bar.set_length(at.files_total.max(at.files_done));
        bar.set_position(at.files_done);
    })
    .await;
    bar.finish_and_clear();
    let mut report = report?;
    if !offline {
        // Asked last: a stream that runs meanwhile must not seem to be ahead of its topic.
        report.hold_against(&ask_broker(settings, &flow.topic).await);
    }
    Ok(report)
}

/// What the broker holds; nothing, and a warning, if it doesn't say.
async fn ask_broker(settings: &Settings, topic: &str) -> BTreeMap<i32, BrokerOffsets> {
    let asked = tokio::time::timeout(BROKER_TIMEOUT, broker_offsets(settings, topic)).await;
    let why = match asked {
        Ok(Ok(offsets)) => return offsets,
        Ok(Err(error)) => format!("{error:#}"),
        Err(_) => format!("no answer within {} s", BROKER_TIMEOUT.as_secs()),
    };
    eprintln!("warning: the broker's offsets are unknown, so the lake is audited without them: {why}");
    BTreeMap::new()
}

async fn broker_offsets(settings: &Settings, topic: &str) -> anyhow::Result<BTreeMap<i32, BrokerOffsets>> {
    let broker = settings.source.connect(settings.broker).await?;
    let mut offsets = BTreeMap::new();
    for number in broker.partitions(topic).await? {
        let partition = broker.partition(topic, number).await?;
        let held = BrokerOffsets { earliest: partition.earliest().await?, latest: partition.latest().await? };
        offsets.insert(number, held);
    }
    Ok(offsets)
}

/// The table, the notes, then the verdict: every fault, or that there is none.
pub(super) fn render(report: &Report) -> String {
    let mut text = String::new();
    if !report.partitions.is_empty() {
        text.push_str(&table(report));
        text.push('\n');
    }
    for note in &report.notes {
        let _ = writeln!(text, "note: {note}");
    }
    text.push_str(&verdict(report));
    text
}

/// `clean: …` in one line; or the faults, a line each.
pub(super) fn verdict(report: &Report) -> String {
    if report.is_clean() && report.partitions.is_empty() {
        return format!("clean: there is nothing yet of dataset `{}` in this lake\n", report.dataset);
    }
    if report.is_clean() {
        let (offsets, expired) = (count(report.totals.offsets), report.totals.expired_rows);
        return match expired {
            0 => format!("clean: {offsets} offsets, each in exactly one place\n"),
            _ => format!(
                "clean: {offsets} offsets, each in exactly one place, {} of them deleted by policy\n",
                count(expired)
            ),
        };
    }
    let mut text = String::new();
    for fault in &report.faults.named {
        let _ = writeln!(text, "fault: {fault}");
    }
    if report.faults.unnamed() > 0 {
        let _ = writeln!(text, "fault: and {} more", count(report.faults.unnamed()));
    }
    let plural = if report.faults.found == 1 { "" } else { "s" };
    let _ = writeln!(text, "not clean: {} fault{plural}", count(report.faults.found));
    text
}

const COLUMNS: [&str; 13] = [
    "partition",
    "offsets",
    "scored",
    "further rows",
    "rejected",
    "filtered",
    "absent",
    "expired",
    "claims",
    "gaps",
    "files",
    "size",
    "lag",
];
/// Shown only where records were several rows.
const FURTHER: usize = 3;
/// Shown only where something was deleted by policy.
const EXPIRED: usize = 7;

/// A line a partition, then the totals, every column as wide as it must be.
pub(super) fn table(report: &Report) -> String {
    let totals = &report.totals;
    let mut lines = vec![COLUMNS.map(String::from).to_vec()];
    lines.extend(report.partitions.iter().map(line));
    lines.push(cells(
        "total".into(),
        count(totals.offsets),
        totals.counts,
        [totals.expired_rows, totals.claims, totals.gaps, totals.files, totals.bytes],
        totals.lag,
    ));
    for line in &mut lines {
        if totals.expired_rows == 0 {
            line.remove(EXPIRED);
        }
        if totals.counts.further_rows == 0 {
            line.remove(FURTHER);
        }
    }
    grid("", &lines)
}

fn line(partition: &PartitionReport) -> Vec<String> {
    let name = format!("g{}/p{:04}", partition.generation, partition.partition);
    let offsets = match partition.genesis.zip(partition.head) {
        Some((genesis, head)) => format!("[{}, {})", grouped(genesis), grouped(head)),
        None => "unknown".into(),
    };
    let PartitionReport { expired_rows, claims, gaps, files, bytes, .. } = *partition;
    cells(name, offsets, partition.counts, [expired_rows, claims, gaps, files, bytes], partition.lag)
}

fn cells(
    name: String,
    offsets: String,
    counts: Counts,
    [expired, claims, gaps, files, size]: [u64; 5],
    lag: Option<u64>,
) -> Vec<String> {
    let numbers = [
        counts.scored,
        counts.further_rows,
        counts.rejected,
        counts.filtered,
        counts.absent,
        expired,
        claims,
        gaps,
        files,
    ]
    .map(count);
    let lag = lag.map_or_else(|| "-".into(), count);
    [name, offsets].into_iter().chain(numbers).chain([bytes(size), lag]).collect()
}

fn grouped(offset: i64) -> String {
    u64::try_from(offset).map_or_else(|_| offset.to_string(), count)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use object_store::{ObjectStore, ObjectStoreExt, memory::InMemory, path::Path};

    use super::*;

    async fn audited(objects: &[(&str, String)], broker: BTreeMap<i32, BrokerOffsets>) -> Report {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        for (path, content) in objects {
            store.put(&Path::from(*path), content.clone().into()).await.unwrap();
        }
        audit::audit(&store, "iris", &broker, |_| ()).await.unwrap()
    }

    fn genesis(partition: &str) -> (String, String) {
        let content = r#"{"format":1,"start":0,"topic":"t","writer":"w","created":"2026-11-21T07:00:00Z"}"#;
        (format!("_ledger/iris/g0/{partition}/genesis.json"), content.into())
    }

    /// A gap of so many offsets from zero on.
    fn gap(partition: &str, offsets: u64) -> (String, String) {
        let content = format!(
            r#"{{"format":1,"start":0,"end":{offsets},"kind":"gap","reason":"retention","writer":"w",
                "attempt":"00000000-0000-0000-0000-000000000000","committed":"2026-11-21T07:00:00Z","files":[],
                "counts":{{"records":0,"scored":0,"rejected":0,"filtered":0,"absent":{offsets}}}}}"#
        );
        (format!("_ledger/iris/g0/{partition}/00000000000000000000.json"), content)
    }

    #[tokio::test]
    async fn a_clean_lake_ends_with_one_line_that_says_so() {
        let objects = [genesis("p0000"), gap("p0000", 1_234_567), genesis("p0001")];
        let objects = objects.each_ref().map(|(path, content)| (path.as_str(), content.clone()));
        let broker = BTreeMap::from([(0, BrokerOffsets { earliest: 0, latest: 1_234_569 })]);
        let report = audited(&objects, broker).await;
        let expected = "\
partition         offsets  scored  rejected  filtered     absent  claims  gaps  files  size  lag
g0/p0000   [0, 1,234,567)       0         0         0  1,234,567       1     1      0   0 B    2
g0/p0001           [0, 0)       0         0         0          0       0     0      0   0 B    -
total           1,234,567       0         0         0  1,234,567       1     1      0   0 B    2

clean: 1,234,567 offsets, each in exactly one place
";
        assert_eq!(render(&report), expected);
    }

    #[tokio::test]
    async fn every_fault_stands_on_a_line_of_its_own() {
        let strangers = [("scored/iris/a.txt", "x".into()), ("rejected/iris/b.txt", "x".into())];
        let text = verdict(&audited(&strangers, BTreeMap::new()).await);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 3);
        assert!(lines[0].starts_with("fault: scored/iris/a.txt is in no claim"), "{text}");
        assert_eq!(lines[2], "not clean: 2 faults");
    }

    #[tokio::test]
    async fn faults_beyond_the_limit_are_summed_up() {
        let names: Vec<String> = (0..1_200).map(|n| format!("scored/iris/{n}.txt")).collect();
        let objects: Vec<_> = names.iter().map(|name| (name.as_str(), "x".to_owned())).collect();
        let text = verdict(&audited(&objects, BTreeMap::new()).await);
        assert!(text.ends_with("fault: and 1,100 more\nnot clean: 1,200 faults\n"), "{text}");
    }

    #[tokio::test]
    async fn an_empty_lake_is_not_made_to_sound_like_a_proof() {
        let report = audited(&[], BTreeMap::new()).await;
        assert_eq!(render(&report), "clean: there is nothing yet of dataset `iris` in this lake\n");
    }

    #[tokio::test]
    async fn the_json_names_verdict_and_faults() {
        let report = audited(&[("scored/iris/a.txt", "x".into())], BTreeMap::new()).await;
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!((&json["verdict"], &json["faults"]["found"]), (&"unclean".into(), &1.into()));
        assert!(json["faults"]["named"][0].as_str().unwrap().starts_with("scored/iris/a.txt"), "{json}");
    }
}
