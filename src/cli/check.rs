//! `alluvium check`: the pipeline file, then the world that it names.
//!
//! Owns: what is asked, and how the answers are shown. Does not own: the answers; the stages give them.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Args;
use futures::{StreamExt, TryStreamExt, stream};
use serde::Serialize;
use tokio::time::timeout;

use super::{Exit, Usage};
use crate::{
    broker::{Broker, BrokerError, GroupProtocol, GroupSettings, PeerSeen},
    config::{self, ConfigError, Fault},
    lake::{LakeSettings, Store},
    model::Model,
    pipeline::{Flow, Pipeline, Settings, Sharing},
    record::name::visible,
    registry::{Registry, RegistrySettings},
    telemetry::{chain, progress::count},
};

/// For the store as a whole; its own retries go on for longer.
const PROBE_TIMEOUT: Duration = Duration::from_mins(1);
const PARTITIONS_ASKED_MAX: usize = 8;
const MEMBERS_SHOWN_MAX: usize = 20;

/// Check a pipeline file, and that its model, broker and lake are there
///
/// Tells every fault of the file at once. Then asks the model whether the fields fit it, the broker for the topic and
/// its partitions, its coordinator for the group, the schema registry if one is named, outlets for their topic or table,
/// and the lake's store whether it can keep records exactly once. The token and certificates of the page are read. Nothing
/// is joined. One line a check: ok, or what to do.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  alluvium check pipelines/iris.toml\n  alluvium check pipelines/iris.toml --offline\n\n\
                  Exit codes: 0 all is well, 1 a check failed, 2 the file has faults"
)]
pub(super) struct Check {
    /// The pipeline file
    #[arg(value_name = "PIPELINE.toml")]
    pipeline: PathBuf,
    /// Check the file, the model and the page's settings alone; ask neither the broker nor the lake
    #[arg(long)]
    offline: bool,
    /// Print the outcome as JSON
    #[arg(long)]
    json: bool,
}

impl Check {
    pub(super) async fn run(self) -> anyhow::Result<Exit> {
        let mut report = Report::new(&self.pipeline, self.json);
        match config::load(&self.pipeline) {
            Ok(settings) => self.ask(&settings, &mut report).await?,
            Err(error @ ConfigError::Unreadable { .. }) => return Err(Usage(error.to_string()).into()),
            Err(error) => report.faulty(error)?,
        }
        report.finish()
    }

    async fn ask(&self, settings: &Settings, report: &mut Report<'_>) -> io::Result<()> {
        report.add("pipeline file", Ok(self.pipeline.display().to_string()))?;
        report.add("model", model(settings).await)?;
        if let Some(answer) = settings.http.check().map_err(|error| chain(&error)).transpose() {
            report.add("page", answer)?;
        }
        if self.offline {
            return Ok(());
        }
        ask_broker(settings, report).await?;
        if let Some(settings) = &settings.registry {
            report.add("registry", registry(settings).await)?;
        }
        report.add("lake", lake(&settings.lake).await)
    }
}

/// What a check found: for people, either way.
pub(super) type Answer = Result<String, String>;

pub(super) async fn model(settings: &Settings) -> Answer {
    let model = Model::load(&settings.model).await.map_err(|error| chain(&error))?;
    let faults = model.check_fields(&settings.decode.fields);
    if faults.is_empty() {
        Ok(format!("{} fits the fields and tells {} classes apart", model.reference(), model.classes().len()))
    } else {
        Err(faults.join("; "))
    }
}

/// Each question needs the answer to the one before.
async fn ask_broker(settings: &Settings, report: &mut Report<'_>) -> io::Result<()> {
    let brokers = &settings.source.brokers;
    let broker = match settings.source.connect(settings.broker).await {
        Ok(broker) => broker,
        Err(error) => return report.add("broker", Err(chain(&error))),
    };
    report.add("broker", Ok(format!("reached through {}", brokers.join(", "))))?;
    let found = match settings.flows.at(&broker).await {
        Ok(found) => found,
        Err(error) => return report.add("topic", Err(chain(&error))),
    };
    for topic in &found.misnamed {
        let told = "its name can't be a dataset's, so a run leaves it out; write a `dataset` with `{topic}` in it";
        report.add("topic", Err(format!("{topic}: {told}")))?;
    }
    if found.flows.is_empty() {
        report.add("topic", Err("the broker has none that fits `topics`".into()))?;
    }
    for (Flow { topic, dataset }, partitions) in &found.flows {
        let to = if settings.flows.are_many() { format!(", and lands in {dataset}") } else { String::new() };
        report.add("topic", Ok(format!("{topic} has {}{to}", plural(partitions.len() as u64, "partition"))))?;
        let offsets = offsets(&broker, topic, partitions).await;
        let told = offsets.map(|offsets| format!("all have leaders, and keep {}", plural(offsets, "offset")));
        report.add("partitions", told.map_err(|error| chain(&error)))?;
    }
    if settings.outlets.are_any() {
        ask_outlets(settings, &broker, &found.flows, report).await?;
    }
    match &settings.sharing {
        Sharing::All => Ok(()),
        Sharing::Worker { index, of } => {
            report.add("worker", Ok(format!("{index} of {of}: the other shares need workers of their own")))
        }
        Sharing::Group(group) => report.add("group", look_at(group, &broker).await),
    }
}

/// Whether each outlet has where to go, for every topic. Nothing is made.
async fn ask_outlets(
    settings: &Settings,
    broker: &Broker,
    flows: &BTreeMap<Flow, Vec<i32>>,
    report: &mut Report<'_>,
) -> io::Result<()> {
    let outlets = match Pipeline::outlets_of(settings, broker).await {
        Ok(outlets) => outlets,
        Err(error) => return report.add("outlets", Err(chain(&error))),
    };
    for outlet in outlets {
        for Flow { topic, dataset } in flows.keys() {
            let found = outlet.look(topic, dataset).await.map_err(|error| chain(&error));
            report.add(outlet.name, found)?;
        }
    }
    Ok(())
}

/// Whether the group may be joined, as far as that can be told without joining, and who is in it.
async fn look_at(settings: &GroupSettings, broker: &Broker) -> Answer {
    let name = &settings.name;
    let seen = broker.look_at_group(name).await.map_err(|error| chain(&error))?;
    if let Some(why) = seen.refuses(settings.protocol) {
        return Err(format!("{name}: {why}"));
    }
    if !seen.is_there() && settings.protocol == GroupProtocol::Consumer {
        return Ok(format!("{name} can be reached; who is in it is not told for `group_protocol = \"consumer\"`"));
    }
    if !seen.is_there() {
        return Ok(format!("{name} can be reached, and is not there yet; the first worker makes it"));
    }
    let (state, members) = (seen.state.to_lowercase(), plural(seen.members.len() as u64, "member"));
    let more = seen.members.len().saturating_sub(MEMBERS_SHOWN_MAX);
    let more = if more > 0 { format!(", and {more} more") } else { String::new() };
    let shown: Vec<_> = seen.members.iter().take(MEMBERS_SHOWN_MAX).map(member).collect();
    let shown = if shown.is_empty() { String::new() } else { format!(": {}{more}", shown.join(", ")) };
    Ok(format!("{name} is {state} with {members}{shown}"))
}

fn member(seen: &PeerSeen) -> String {
    let name = seen.instance.as_deref().unwrap_or(&seen.id);
    format!("{name} at {} has {}", seen.host, plural(seen.partitions.len() as u64, "partition"))
}

/// How many offsets the partitions keep; a partition without a leader is an error.
async fn offsets(broker: &Broker, topic: &str, partitions: &[i32]) -> Result<u64, BrokerError> {
    let kept = stream::iter(partitions.to_vec()).map(|partition| async move {
        let partition = broker.partition(topic, partition).await?;
        let (earliest, latest) = (partition.earliest().await?, partition.latest().await?);
        Ok(u64::try_from(latest.saturating_sub(earliest)).unwrap_or(0))
    });
    let add = |sum: u64, kept| async move { Ok(sum.saturating_add(kept)) };
    kept.buffer_unordered(PARTITIONS_ASKED_MAX).try_fold(0, add).await
}

async fn registry(settings: &RegistrySettings) -> Answer {
    let registry = Registry::open(settings).map_err(|error| chain(&error))?;
    registry.reach().await.map_err(|error| chain(&error))?;
    Ok(format!("reached at {}", settings.urls.join(", ")))
}

pub(super) async fn lake(settings: &LakeSettings) -> Answer {
    let store = Store::open(&settings.url).map_err(|error| chain(&error))?;
    match timeout(PROBE_TIMEOUT, store.probe()).await {
        Ok(Ok(())) => Ok(format!("{} creates an object once and only once", settings.url)),
        Ok(Err(error)) => Err(chain(&error)),
        Err(_) => Err(format!("{} did not answer within {} s", settings.url, PROBE_TIMEOUT.as_secs())),
    }
}

pub(super) fn plural(n: u64, what: &str) -> String {
    format!("{} {what}{}", count(n), if n == 1 { "" } else { "s" })
}

/// The outcome: line by line as it comes, or as JSON at the end.
#[derive(Debug, Serialize)]
struct Report<'a> {
    pipeline: &'a Path,
    ok: bool,
    faults: Vec<Fault>,
    checks: Vec<Finding>,
    #[serde(skip)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Finding {
    check: &'static str,
    ok: bool,
    detail: String,
}

impl<'a> Report<'a> {
    fn new(pipeline: &'a Path, json: bool) -> Self {
        Self { pipeline, ok: true, faults: Vec::new(), checks: Vec::new(), json }
    }

    fn add(&mut self, check: &'static str, answer: Answer) -> io::Result<()> {
        let ok = answer.is_ok();
        let (Ok(detail) | Err(detail)) = answer;
        if !self.json {
            writeln!(io::stdout(), "{:<4}  {check:<13}  {}", if ok { "ok" } else { "FAIL" }, visible(&detail))?;
        }
        self.ok &= ok;
        self.checks.push(Finding { check, ok, detail });
        Ok(())
    }

    fn faulty(&mut self, error: ConfigError) -> io::Result<()> {
        if !self.json {
            writeln!(io::stdout(), "{error}")?;
        }
        if let ConfigError::Faulty { faults, .. } = error {
            self.faults = faults;
        }
        self.ok = false;
        Ok(())
    }

    fn finish(self) -> anyhow::Result<Exit> {
        if self.json {
            writeln!(io::stdout(), "{}", serde_json::to_string_pretty(&self)?)?;
        }
        Ok(match self.ok {
            true => Exit::Done,
            false if self.faults.is_empty() => Exit::Failed,
            false => Exit::Faulty,
        })
    }
}
