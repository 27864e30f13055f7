//! `alluvium models compare`

use clap::Args;
use serde::Serialize;

use super::percent;
use crate::{
    cli::{Exit, Usage, grid::grid, model_spec::ModelSpec},
    model::{self, Backend, Comparison, McNemarTest, Model, ModelSettings},
    record::ModelRef,
    table::Table,
    telemetry::progress::count,
};

/// Compare two versions on a labelled table
///
/// Both score every row. Told are how often each is right, how often they agree, and by McNemar's test whether the
/// difference is more than luck. Rows that neither was trained on tell the most.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  alluvium models compare models/iris@1 models/iris@2 models/iris/data/iris.csv")]
pub(super) struct Compare {
    /// The first
    #[arg(value_name = "MODEL[@VERSION]")]
    first: ModelSpec,
    /// The second
    #[arg(value_name = "MODEL[@VERSION]")]
    second: ModelSpec,
    /// CSV or Parquet: a file, several, a folder, or an s3:// URL
    #[arg(value_name = "TABLE", required = true)]
    table: Vec<String>,
    /// The column with the right answers [default: the label that the first was trained on]
    #[arg(long, value_name = "COLUMN")]
    label: Option<String>,
    /// Print the outcome as JSON
    #[arg(long)]
    json: bool,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Outcome<'a> {
    models: [ModelRef; 2],
    accuracy: [f64; 2],
    agreement: f64,
    significant: bool,
    verdict: String,
    #[serde(flatten)]
    comparison: &'a Comparison,
}

impl Compare {
    pub(super) async fn run(self) -> anyhow::Result<Exit> {
        let (first, second) = (load(&self.first).await?, load(&self.second).await?);
        let Some(label) = self.label.or_else(|| Some(first.manifest().training.as_ref()?.label.clone())) else {
            let told = format!("{} does not record its label; name the column with --label", first.reference());
            return Err(Usage(told).into());
        };
        let names = [first.reference(), second.reference()];
        let inputs = self.table;
        let compared = tokio::task::spawn_blocking(move || {
            let table = Table::open(&inputs)?;
            model::compare([&first, &second], &table, &label)
        });
        let comparison = compared.await??;
        if self.json {
            println!("{}", serde_json::to_string_pretty(&outcome(names, &comparison))?);
        } else {
            print!("{}", render(&names, &comparison));
        }
        Ok(Exit::Done)
    }
}

async fn load(spec: &ModelSpec) -> anyhow::Result<Model> {
    let settings = ModelSettings { url: spec.name.clone(), version: spec.version, backend: Backend::default() };
    Ok(Model::load(&settings).await?)
}

fn outcome(models: [ModelRef; 2], comparison: &Comparison) -> Outcome<'_> {
    Outcome {
        accuracy: comparison.right.map(|right| share(right, comparison.rows)),
        agreement: share(comparison.agree, comparison.rows),
        significant: comparison.mcnemar.is_significant(),
        verdict: verdict(&models, comparison),
        models,
        comparison,
    }
}

fn render(models: &[ModelRef; 2], comparison: &Comparison) -> String {
    let rows = comparison.rows;
    let alone = [comparison.mcnemar.first_only, comparison.mcnemar.second_only];
    let mut lines = vec![["", "right", "accuracy", "right alone"].map(String::from)];
    for ((model, right), alone) in models.iter().zip(comparison.right).zip(alone) {
        lines.push([model.to_string(), count(right), percent(share(right, rows)), count(alone)]);
    }
    let agreement = percent(share(comparison.agree, rows));
    let test = match comparison.mcnemar.test {
        McNemarTest::ExactBinomial => "exact binomial",
        McNemarTest::ChiSquare => "chi-square, corrected for continuity",
    };
    let p = p_value(comparison.mcnemar.p_value);
    format!(
        "{} rows by `{}`\n{}  they agree on {agreement} of the rows\n  McNemar's test ({test}): {p}\n\n{}\n",
        count(rows),
        comparison.label,
        grid("  ", &lines),
        verdict(models, comparison)
    )
}

fn p_value(p: f64) -> String {
    if p < 1e-4 { "p < 0.0001".to_owned() } else { format!("p = {p:.4}") }
}

fn verdict(models: &[ModelRef; 2], comparison: &Comparison) -> String {
    let [first, second] = models;
    let (left, right) = (comparison.mcnemar.first_only, comparison.mcnemar.second_only);
    let (better, other) = if left >= right { (first, second) } else { (second, first) };
    let p = p_value(comparison.mcnemar.p_value);
    if left + right == 0 {
        format!("{first} and {second} are right on the same rows; this table does not tell them apart.")
    } else if comparison.mcnemar.is_significant() {
        format!("{better} is better than {other}: if they were equal, a difference as large would be rare ({p}).")
    } else {
        format!("The difference may be luck ({p}): this table does not show that either is better.")
    }
}

#[allow(clippy::cast_precision_loss, reason = "a count of rows")]
fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}
