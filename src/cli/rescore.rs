//! `alluvium rescore`

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use anyhow::Context;
use clap::Args;
use serde::Serialize;

use super::{Exit, Usage, flows, model_spec::ModelSpec, run, summary};
use crate::{
    broker::TopicPartition,
    lake::{Store, names::is_dataset},
    model::{Model, ModelSettings},
    offset::OffsetRange,
    outlet::OutletSettings,
    pipeline::{Bound, Flow, Flows, Mode, Naming, Past, PipelineError, Settings, Sharing, Summary},
    record::{ModelRef, name::quoted},
    telemetry::http::Listen,
};

/// Score a past range again with another version of the model, for comparing
///
/// Reads the offsets that the pipeline's dataset holds, or a part of them, once more from the topic, and lands them in a
/// dataset of their own beside it, with a ledger of its own: exactly once, and run again it goes on where it was. The
/// first dataset is only read. Offsets that the topic no longer has are counted as absent.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
        alluvium rescore pipelines/iris.toml --model iris@2\n  \
        alluvium rescore pipelines/iris.toml --model iris@2 --from 2026-11-01T00:00:00Z --to 2026-11-02T00:00:00Z\n  \
        alluvium rescore pipelines/iris.toml --model iris@2 --from 0:1000,1:500 --into iris-trial\n  \
        alluvium audit pipelines/iris.toml --dataset iris.iris-2\n\n\
        Compare them in DuckDB:\n  \
        SELECT a.prediction, b.prediction, count(*)\n  \
        FROM 'sink/lake/scored/iris/**/*.parquet' a\n  \
        JOIN 'sink/lake/scored/iris.iris-2/**/*.parquet' b USING (_generation, _partition, _offset) GROUP BY ALL")]
pub(super) struct Rescore {
    /// The pipeline file
    #[arg(value_name = "PIPELINE.toml")]
    pipeline: PathBuf,
    /// The version: NAME@VERSION beside the pipeline's model, or a folder or URL with @VERSION
    #[arg(long, value_name = "NAME@VERSION")]
    model: ModelSpec,
    /// The first offset, a time, or PARTITION:OFFSET,… [default: where the dataset begins]
    #[arg(long, value_name = "OFFSET|TIME")]
    from: Option<Bound>,
    /// One past the last: an offset, a time, or PARTITION:OFFSET,… [default: where the dataset ends]
    #[arg(long, value_name = "OFFSET|TIME")]
    to: Option<Bound>,
    /// One of the pipeline's datasets, where it has several
    #[arg(long, value_name = "DATASET")]
    dataset: Option<String>,
    /// The dataset for the result; `{topic}` in it is the topic's name [default: DATASET.NAME-VERSION]
    #[arg(long, value_name = "DATASET")]
    into: Option<String>,
    /// Print the summary as JSON
    #[arg(long)]
    json: bool,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Report<'a> {
    #[serde(flatten)]
    into: Into<'a>,
    model: &'a ModelRef,
    #[serde(flatten)]
    summary: &'a Summary,
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Into<'a> {
    Dataset(&'a str),
    Datasets(Vec<&'a str>),
}

impl Rescore {
    pub(super) async fn run(self) -> anyhow::Result<Exit> {
        let settings = run::settings(&self.pipeline)?;
        let model = self.chosen(&settings.model);
        let reference = Model::load(&model).await?.reference();
        let firsts = flows::chosen(&settings, &Store::open(&settings.lake.url)?, self.dataset.as_deref()).await?;
        let into = self.targets(&settings.flows, &firsts, &reference)?;
        let mut ranges = BTreeMap::new();
        for first in &firsts {
            ranges.extend(self.ranges(&settings, first, &into, &reference).await?);
        }
        if ranges.is_empty() {
            let of: Vec<_> = firsts.iter().map(|flow| format!("`{}`", flow.dataset)).collect();
            let of = of.join(", ");
            return Err(Usage(format!("there is nothing to score again: no offset of {of} is in the range")).into());
        }
        let again = again(settings, into.clone(), ModelSettings { version: Some(reference.version), ..model });
        let outcome = run::run(again, Mode::Range(ranges)).await?;
        let datasets = firsts.iter().filter_map(|first| into.of_topic(&first.topic)).map(|flow| flow.dataset);
        self.show(&into, &datasets.collect::<Vec<_>>(), &reference, &outcome)?;
        Ok(summary::exit(&outcome))
    }

    async fn ranges(
        &self,
        settings: &Settings,
        first: &Flow,
        into: &Flows,
        model: &ModelRef,
    ) -> anyhow::Result<BTreeMap<TopicPartition, OffsetRange>> {
        let Some(Flow { dataset, .. }) = into.of_topic(&first.topic) else { return Ok(BTreeMap::new()) };
        let (from, to) = (self.from.as_ref(), self.to.as_ref());
        let past = Past { settings, flow: first, into: &dataset, model, from, to };
        let ranges = past.ranges().await.map_err(told)?;
        for (place, range) in &ranges {
            let TopicPartition { topic, partition } = place;
            tracing::info!(%topic, partition, offsets = %range, %model, %dataset, "scoring again");
        }
        Ok(ranges)
    }

    fn chosen(&self, of_pipeline: &ModelSettings) -> ModelSettings {
        let url = self.model.beside(&of_pipeline.url);
        ModelSettings { url, version: self.model.version, ..of_pipeline.clone() }
    }

    /// Where each topic's records are to land.
    fn targets(&self, of_pipeline: &Flows, firsts: &[Flow], model: &ModelRef) -> Result<Flows, Usage> {
        let suffix = format!(".{}-{}", model.name, model.version);
        let naming = match (&self.into, of_pipeline) {
            (Some(into), _) => Naming::new(into),
            (None, Flows::Many { datasets, .. }) => Some(datasets.followed_by(&suffix)),
            (None, Flows::One(_)) => None,
        };
        let into = match (firsts, naming) {
            ([first], naming) => {
                let default = || self.into.clone().unwrap_or_else(|| format!("{}{suffix}", first.dataset));
                let named = match self.into.as_ref().and(naming) {
                    Some(naming) => naming.dataset(&first.topic),
                    None => default(),
                };
                Flows::One(Flow { topic: first.topic.clone(), dataset: named.into() })
            }
            (firsts, Some(naming)) => Flows::into_datasets(firsts, naming),
            (_, None) => {
                let told =
                    "several datasets can't land in one: write `{topic}` into the name, or pick one with `--dataset`";
                return Err(Usage(told.into()));
            }
        };
        match into.named().into_iter().find(|flow| !is_dataset(&flow.dataset)) {
            None => Ok(into),
            Some(Flow { dataset, .. }) => Err(Usage(format!(
                "{} can't be a dataset's name; give one of letters, digits, `.`, `_` and `-` with `--into`",
                quoted(&dataset)
            ))),
        }
    }

    fn show(&self, into: &Flows, datasets: &[Arc<str>], model: &ModelRef, summary: &Summary) -> anyhow::Result<()> {
        let names: Vec<&str> = datasets.iter().map(|dataset| &**dataset).collect();
        if self.json {
            let into = match (into, names.as_slice()) {
                (Flows::One(_), [only]) => Into::Dataset(only),
                _ => Into::Datasets(names),
            };
            println!("{}", serde_json::to_string_pretty(&Report { into, model, summary })?);
            return Ok(());
        }
        println!("{:<12} {model}\n{:<12} {}", "model", "dataset", names.join(", "));
        summary::print(summary, false).context("print the summary")
    }
}

/// The pipeline that writes the other datasets. Beside the model only this differs: nothing is served or handed on, and the
/// whole range is this worker's.
fn again(mut settings: Settings, into: Flows, model: ModelSettings) -> Settings {
    settings.flows = into;
    settings.sharing = Sharing::All;
    settings.model = model;
    // Other programs are told of what the stream said.
    settings.outlets = OutletSettings::default();
    // The stream may be running beside this, and has the address.
    settings.http.listen = Listen::Off;
    settings
}

/// A range that can't be is the user's to mend.
fn told(error: PipelineError) -> anyhow::Error {
    match error {
        PipelineError::Past(told) => Usage(told).into(),
        other => other.into(),
    }
}
