//! `alluvium rescore`

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use serde::Serialize;

use super::{Exit, Usage, model_spec::ModelSpec, run, summary};
use crate::{
    config,
    model::{Model, ModelSettings},
    pipeline::{Bound, Mode, Past, PipelineError, Settings, Summary},
    record::ModelRef,
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
    /// The dataset for the result [default: DATASET.NAME-VERSION]
    #[arg(long, value_name = "DATASET")]
    into: Option<String>,
    /// Print the summary as JSON
    #[arg(long)]
    json: bool,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Report<'a> {
    dataset: &'a str,
    model: &'a ModelRef,
    #[serde(flatten)]
    summary: &'a Summary,
}

impl Rescore {
    pub(super) async fn run(self) -> anyhow::Result<Exit> {
        let settings = run::settings(&self.pipeline)?;
        let model = self.chosen(&settings.model);
        let reference = Model::load(&model).await?.reference();
        let into = self.dataset(&settings.lake.dataset, &reference)?;
        let (from, to) = (self.from.as_ref(), self.to.as_ref());
        let ranges = Past { settings: &settings, into: &into, model: &reference, from, to }.ranges().await;
        let ranges = ranges.map_err(told)?;
        for (partition, range) in &ranges {
            tracing::info!(partition, offsets = %range, model = %reference, dataset = into, "scoring again");
        }
        let again = again(settings, &into, ModelSettings { version: Some(reference.version), ..model });
        let outcome = run::run(again, Mode::Range(ranges)).await?;
        self.show(&into, &reference, &outcome)?;
        Ok(summary::exit(&outcome))
    }

    fn chosen(&self, of_pipeline: &ModelSettings) -> ModelSettings {
        let url = self.model.beside(&of_pipeline.url);
        ModelSettings { url, version: self.model.version, ..of_pipeline.clone() }
    }

    fn dataset(&self, first: &str, model: &ModelRef) -> Result<String, Usage> {
        let named = self.into.clone().unwrap_or_else(|| format!("{first}.{}-{}", model.name, model.version));
        if config::is_dataset(&named) {
            Ok(named)
        } else {
            Err(Usage(format!(
                "`{named}` can't be a dataset's name; give one of letters, digits, `.`, `_` and `-` with `--into`"
            )))
        }
    }

    fn show(&self, dataset: &str, model: &ModelRef, summary: &Summary) -> anyhow::Result<()> {
        if self.json {
            println!("{}", serde_json::to_string_pretty(&Report { dataset, model, summary })?);
            return Ok(());
        }
        println!("{:<12} {model}\n{:<12} {dataset}", "model", "dataset");
        summary::print(summary, false).context("print the summary")
    }
}

/// The pipeline that writes the other dataset. Only one thing differs beside the model: nothing is served.
fn again(mut settings: Settings, into: &str, model: ModelSettings) -> Settings {
    into.clone_into(&mut settings.lake.dataset);
    settings.model = model;
    // The stream may be running beside this, and has the address.
    settings.metrics = None;
    settings
}

/// A range that can't be is the user's to mend.
fn told(error: PipelineError) -> anyhow::Error {
    match error {
        PipelineError::Past(told) => Usage(told).into(),
        other => other.into(),
    }
}
