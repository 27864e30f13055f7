//! `alluvium doctor`
//!
//! Owns: what is asked, and how the answers are shown, with the command or the line of the pipeline file for each way on.
//! Does not own: the answers ([`crate::pipeline::doctor`]).

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    path::{Path, PathBuf},
};

use anyhow::Context;
use clap::Args;
use serde::Serialize;

use super::{
    Exit, Usage,
    check::{self, Answer, plural},
    flows, run, who,
};
use crate::{
    broker::Broker,
    lake::Store,
    objects::local_path,
    pipeline::{
        Flow, Flows, Settings,
        doctor::{
            Doctor as Physician, Known, Patient, State, Way,
            gap::{Gap, Refusal},
        },
    },
    record::name::visible,
    telemetry::{chain, progress::count},
};

/// Say why a lane has stopped, and which ways on are safe
///
/// Looks at every partition as its lane would when it starts: the ledger and its newest claim, the topic and its offsets,
/// whether it is still the same topic, and whether the next record can be read. Changes nothing, and may run beside a
/// stream. For each partition that a person must do something about, it shows the ways on, each with the command or the
/// line of the pipeline file. A lane that has stopped stays so until its process is started again.
///
/// With --accept-gap it claims exactly these offsets as a gap, for ever, so that the lane goes on behind them. They begin
/// where the lake ends; the end is the first offset that is kept. Who did it, when and why stands in the claim.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  alluvium doctor pipelines/iris.toml\n  alluvium doctor pipelines/iris.toml --accept-gap \
        3:12345..12347 --reason \"a producer's broken batch, sent again\"\n\nExit codes: 0 all is well, 1 something needs a \
        person, 2 the command line, the file or the gap is wrong"
)]
pub(super) struct Doctor {
    /// The pipeline file
    #[arg(value_name = "PIPELINE.toml")]
    pipeline: PathBuf,
    /// One dataset alone, where the pipeline has several
    #[arg(long, value_name = "DATASET")]
    dataset: Option<String>,
    /// Give up these offsets: PARTITION:START..END
    #[arg(long, value_name = "GAP", requires = "reason")]
    accept_gap: Option<Gap>,
    /// Why they may be given up; it is kept for ever
    #[arg(long, value_name = "TEXT", requires = "accept_gap")]
    reason: Option<String>,
    /// Give them up although some of them can be read
    #[arg(long, requires = "accept_gap")]
    although_readable: bool,
    /// Print the outcome as JSON
    #[arg(long)]
    json: bool,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Report<'a> {
    pipeline: &'a Path,
    generation: u32,
    well: bool,
    checks: Vec<Asked>,
    #[serde(flatten)]
    wards: Wards,
}

/// What is looked at: a dataset, or several.
#[derive(Serialize)]
#[serde(untagged)]
enum Wards {
    One(Ward),
    Many { datasets: Vec<Ward> },
}

#[derive(Serialize)]
struct Ward {
    dataset: String,
    partitions: Vec<Shown>,
}

#[derive(Serialize)]
struct Asked {
    check: &'static str,
    ok: bool,
    detail: String,
}

#[derive(Serialize)]
struct Shown {
    #[serde(flatten)]
    patient: Patient,
    ways: Vec<ShownWay>,
}

/// A way on, with what is to be typed or written.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct ShownWay {
    what: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    command: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<String>,
}

impl Doctor {
    pub(super) async fn run(self) -> anyhow::Result<Exit> {
        let settings = run::settings(&self.pipeline)?;
        match self.accept_gap {
            Some(gap) => self.accept(&settings, gap).await,
            None => self.look(&settings).await,
        }
    }

    async fn accept(&self, settings: &Settings, gap: Gap) -> anyhow::Result<Exit> {
        let reason = self.reason.as_deref().unwrap_or_default().trim();
        if reason.is_empty() {
            return Err(Usage("--reason is kept for ever, so say why".into()).into());
        }
        lake_is_there(settings).map_err(Usage)?;
        let store = Store::open(&settings.lake.url)?;
        let flows = flows::chosen(settings, &store, self.dataset.as_deref()).await?;
        let [flow] = flows.as_slice() else {
            return Err(Usage("the pipeline has several datasets: say which one with --dataset".into()).into());
        };
        store.probe().await.context("the lake's store")?;
        let broker = settings.source.connect(settings.broker).await?;
        let writer = who();
        let doctor = Physician { settings, flow, store: &store, broker: Some(&broker), writer: &writer };
        let claim = match doctor.accept(gap, reason, self.although_readable).await {
            Ok(claim) => claim,
            Err(Refusal::Lane(error)) => return Err(error.into()),
            Err(refusal) => return Err(Usage(refusal.to_string()).into()),
        };
        if self.json {
            println!("{}", serde_json::to_string_pretty(&claim)?);
        } else {
            let lost = count(claim.range().len());
            println!(
                "accepted: offsets {} of partition {}, {lost} in all, are a gap now",
                claim.range(),
                gap.partition
            );
            println!("start the stream again; it goes on at {}", claim.end);
        }
        Ok(Exit::Done)
    }

    async fn look(&self, settings: &Settings) -> anyhow::Result<Exit> {
        let mut checks = vec![];
        let mut wards = self.ask(settings, &mut checks).await?;
        let well = checks.iter().all(|check| check.ok)
            && wards.iter().flat_map(|ward| &ward.partitions).all(|shown| shown.patient.state == State::Well);
        let only = if self.has_several(settings) { None } else { wards.pop() };
        let wards = only.map_or_else(|| Wards::Many { datasets: wards }, Wards::One);
        let report = Report { pipeline: &self.pipeline, generation: settings.lake.generation, well, checks, wards };
        if self.json {
            println!("{}", serde_json::to_string_pretty(&report)?);
        } else {
            print!("{}", visible(&render(&report)));
        }
        Ok(if report.well { Exit::Done } else { Exit::Failed })
    }

    fn has_several(&self, settings: &Settings) -> bool {
        settings.flows.are_many() && self.dataset.is_none()
    }

    async fn ask(&self, settings: &Settings, checks: &mut Vec<Asked>) -> anyhow::Result<Vec<Ward>> {
        add(checks, "pipeline file", Ok(self.pipeline.display().to_string()));
        add(checks, "model", check::model(settings).await);
        let lake = match lake_is_there(settings) {
            Ok(()) => check::lake(&settings.lake).await,
            Err(missing) => Err(missing),
        };
        let store = if lake.is_ok() { Some(Store::open(&settings.lake.url)?) } else { None };
        add(checks, "lake", lake);
        let mut flows = match &store {
            Some(store) => flows::chosen(settings, store, self.dataset.as_deref()).await?,
            None => settings.flows.named(),
        };
        let wanted = match flows.as_slice() {
            [only] if self.dataset.is_some() => Flows::One(only.clone()),
            _ => settings.flows.clone(),
        };
        let broker = reached(settings, checks).await;
        let topics = match &broker {
            Some(broker) => topics(broker, &wanted, checks).await,
            None => None,
        };
        flows.extend(topics.iter().flat_map(BTreeMap::keys).cloned());
        flows.sort_unstable();
        flows.dedup();
        let mut wards = vec![];
        for flow in &flows {
            let mut ward = Ward { dataset: flow.dataset.to_string(), partitions: vec![] };
            if let Some(store) = &store {
                // Without the topic there is nothing to ask the broker for.
                let broker = broker.as_ref().filter(|_| topics.is_some());
                let doctor = Physician { settings, flow, store, broker, writer: "doctor" };
                let of_topic = topics.as_ref().map(|topics| topics.get(flow).map_or(&[][..], Vec::as_slice));
                let patients = doctor.look(of_topic).await?;
                let named = self.has_several(settings).then_some(&*flow.dataset);
                ward.partitions = patients.into_iter().map(|patient| self.shown(patient, named)).collect();
            }
            wards.push(ward);
        }
        Ok(wards)
    }

    fn shown(&self, mut patient: Patient, dataset: Option<&str>) -> Shown {
        let ways = std::mem::take(&mut patient.ways).into_iter();
        Shown { patient, ways: ways.map(|way| shown_way(&self.pipeline, dataset, way)).collect() }
    }
}

/// A missing folder is no empty lake: whoever looks must not make it.
fn lake_is_there(settings: &Settings) -> Result<(), String> {
    match local_path(&settings.lake.url) {
        Some(folder) if !folder.exists() => Err(format!(
            "{}: there is no such folder; if there was a lake, is its disk mounted? If not, the first start makes it",
            folder.display()
        )),
        _ => Ok(()),
    }
}

async fn reached(settings: &Settings, checks: &mut Vec<Asked>) -> Option<Broker> {
    let brokers = &settings.source.brokers;
    match settings.source.connect(settings.broker).await {
        Ok(broker) => {
            add(checks, "broker", Ok(format!("reached through {}", brokers.join(", "))));
            Some(broker)
        }
        Err(error) => {
            add(checks, "broker", Err(chain(&error)));
            None
        }
    }
}

async fn topics(broker: &Broker, wanted: &Flows, checks: &mut Vec<Asked>) -> Option<BTreeMap<Flow, Vec<i32>>> {
    match wanted.at(broker).await {
        Ok(found) => {
            for (Flow { topic, .. }, partitions) in &found.flows {
                add(checks, "topic", Ok(format!("{topic} has {}", plural(partitions.len() as u64, "partition"))));
            }
            Some(found.flows)
        }
        Err(error) => {
            add(checks, "topic", Err(chain(&error)));
            None
        }
    }
}

fn add(checks: &mut Vec<Asked>, check: &'static str, answer: Answer) {
    let ok = answer.is_ok();
    let (Ok(detail) | Err(detail)) = answer;
    checks.push(Asked { check, ok, detail });
}

impl Report<'_> {
    fn wards(&self) -> &[Ward] {
        match &self.wards {
            Wards::One(ward) => std::slice::from_ref(ward),
            Wards::Many { datasets } => datasets,
        }
    }
}

/// With the command to type, or the line to write.
fn shown_way(pipeline: &Path, dataset: Option<&str>, way: Way) -> ShownWay {
    match way {
        Way::Do(what) => ShownWay { what, command: None, line: None },
        Way::NewGeneration { generation } => ShownWay {
            what: "begin a new generation: the old rows stay, and what the topic holds now is read from its `start`, beside \
                   them; under [lake] write"
                .into(),
            command: None,
            line: Some(format!("generation = {generation}")),
        },
        Way::AcceptGap { partition, range, known } => {
            let (start, end) = (range.start, range.end);
            let all = format!("if the {} offsets may be lost for ever: accept them as a gap", count(range.len()));
            let (what, end, although) = match known {
                Known::Unreadable => (all, end.to_string(), ""),
                Known::UpToHere => (
                    format!("if they may be lost for ever: accept them as a gap; they end at {end} at the earliest"),
                    "END".into(),
                    "",
                ),
                Known::Unseen => {
                    (format!("{all}; nobody knows what they hold"), end.to_string(), " --although-readable")
                }
            };
            let gap = format!("{partition}:{start}..{end}");
            let of = dataset.map(|dataset| format!(" --dataset {dataset}")).unwrap_or_default();
            let command =
                format!("alluvium doctor {}{of} --accept-gap {gap} --reason \"…\"{although}", pipeline.display());
            ShownWay { what, command: Some(command), line: None }
        }
    }
}

fn render(report: &Report<'_>) -> String {
    let mut text = String::new();
    for Asked { check, ok, detail } in &report.checks {
        let _ = writeln!(text, "{:<4}  {check:<13}  {detail}", if *ok { "ok" } else { "FAIL" });
    }
    for ward in report.wards() {
        if matches!(report.wards, Wards::Many { .. }) {
            let _ = writeln!(text, "\ndataset {}", ward.dataset);
        }
        ward.partitions.iter().for_each(|shown| text.push_str(&partition(shown, report.generation)));
    }
    let shown = report.wards().iter().flat_map(|ward| &ward.partitions);
    let ill = shown.filter(|shown| shown.patient.state != State::Well).count() as u64;
    let failed = report.checks.iter().filter(|check| !check.ok).count() as u64;
    if report.well {
        text.push_str("\nall is well\n");
    } else {
        let (checks, partitions) = (plural(failed, "check"), plural(ill, "partition"));
        let _ = writeln!(
            text,
            "\nnot well: {checks} failed, {partitions} in trouble. A lane that has stopped stays so until its process is \
             started again"
        );
    }
    text
}

/// A line for a partition, then its trouble with the ways on, then its notes.
fn partition(Shown { patient, ways }: &Shown, generation: u32) -> String {
    let mut text = String::new();
    let word = match patient.state {
        State::Well => "ok",
        State::Waiting => "WAIT",
        State::Stopped => "STOP",
    };
    let name = format!("g{generation}/p{:04}", patient.partition);
    let _ = writeln!(text, "{word:<4}  {name:<13}  {}", patient.trouble.clone().unwrap_or_else(|| stands(patient)));
    for way in ways {
        let _ = writeln!(text, "      - {}", way.what);
        for typed in way.command.iter().chain(&way.line) {
            let _ = writeln!(text, "          {typed}");
        }
    }
    for note in &patient.notes {
        let _ = writeln!(text, "      note: {note}");
    }
    text
}

fn stands(patient: &Patient) -> String {
    match (patient.position, patient.lag()) {
        (None, _) => "not begun".into(),
        (Some(position), None) => format!("the lake goes on at offset {position}"),
        (Some(position), Some(0)) => format!("read to its end, offset {position}"),
        (Some(position), Some(lag)) => {
            format!("the lake goes on at offset {position}; {} behind", plural(lag, "offset"))
        }
    }
}
