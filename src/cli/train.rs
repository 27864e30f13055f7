//! `alluvium train`: a labelled CSV to a model.

use std::{fmt::Write as _, path::PathBuf};

use clap::Args;
use serde::Serialize;

use super::{Exit, Usage, grid::grid, train_file::TrainFile};
use crate::{
    model::{self, Columns, Evaluation, Labelled, ModelError, Papers, Saved, TrainSettings, Trained, Training},
    record::ModelRef,
    telemetry::progress,
};

/// Train a classifier on a labelled CSV.
///
/// The first line of the file names the columns. What each column holds (numbers, true or false, words) is found out
/// and shown; columns of no use are left out with the reason. Some rows are held out, and the result is measured on
/// those. The model becomes the next version in its folder, and the one in use (the champion) unless told otherwise.
/// The same data, seed and build give the same model, to the last bit.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  alluvium train models/iris/data/iris.csv --label species --out models/iris")]
pub(super) struct Train {
    /// CSV or Parquet: a file, several, a folder, or an s3:// URL.
    #[arg(value_name = "DATA", required = true)]
    data: Vec<String>,
    /// The column to predict.
    #[arg(long, value_name = "COLUMN", required_unless_present = "config")]
    label: Option<String>,
    /// A TOML file with these choices; a flag that is given wins.
    #[arg(long, value_name = "FILE.toml")]
    config: Option<PathBuf>,
    /// The model's folder or s3:// URL; its last part is the model's name.
    #[arg(long, value_name = "models/NAME")]
    out: String,
    /// Learn from these columns only.
    #[arg(long, value_name = "COLUMN,…", value_delimiter = ',')]
    features: Vec<String>,
    /// Learn from all columns but these.
    #[arg(long, value_name = "COLUMN,…", value_delimiter = ',', conflicts_with = "features")]
    ignore: Vec<String>,
    /// Learn from these columns as numbers, whatever they look like.
    #[arg(long, value_name = "COLUMN,…", value_delimiter = ',')]
    numeric: Vec<String>,
    /// The same, as true or false.
    #[arg(long, value_name = "COLUMN,…", value_delimiter = ',')]
    boolean: Vec<String>,
    /// The same, as one of a few words each.
    #[arg(long, value_name = "COLUMN,…", value_delimiter = ',')]
    categorical: Vec<String>,
    /// The same, as text.
    #[arg(long, value_name = "COLUMN,…", value_delimiter = ',')]
    text: Vec<String>,
    /// Units of each hidden layer.
    #[arg(long, value_name = "UNITS,…", value_delimiter = ',', default_value = "16")]
    hidden: Vec<usize>,
    /// The most times to go through the rows; fewer if the result no longer gets better.
    #[arg(long, value_name = "N", default_value_t = TrainSettings::default().epochs_max)]
    epochs: usize,
    /// Rows a step [default: by the number of rows, 8 to 256].
    #[arg(long, value_name = "ROWS")]
    batch_size: Option<usize>,
    /// Where the learning rate begins; it falls to nought.
    #[arg(long, value_name = "RATE", default_value_t = TrainSettings::default().learning_rate)]
    learning_rate: f64,
    /// Where all that is random begins.
    #[arg(long, value_name = "N", default_value_t = TrainSettings::default().seed)]
    seed: u64,
    /// Keep the champion as it is.
    #[arg(long)]
    no_promote: bool,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Report<'a> {
    model: &'a ModelRef,
    folder: &'a str,
    champion: bool,
    training: &'a Training,
}

impl Train {
    pub(super) async fn run(self) -> anyhow::Result<Exit> {
        let (this, trained) = tokio::task::spawn_blocking(move || self.train()).await??;
        let saved = model::save(&this.out, &trained, Papers::default(), !this.no_promote).await?;
        this.show(&trained, &saved)?;
        Ok(Exit::Done)
    }

    fn train(self) -> anyhow::Result<(Self, Trained)> {
        let file = self.config.as_deref().map(TrainFile::read).transpose()?.unwrap_or_default();
        let columns = self.columns(&file)?;
        let table = Labelled::open(&self.data, &columns).map_err(told)?;
        eprint!("{}", describe(&table));
        let settings = self.settings();
        let bar = progress::bar("training", settings.epochs_max as u64);
        let trained = model::train(&table, &settings, |epoch| bar.set_position(epoch.number as u64));
        bar.finish_and_clear();
        let trained = trained.map_err(told)?;
        Ok((self, trained))
    }

    fn columns(&self, file: &TrainFile) -> Result<Columns, Usage> {
        let label = self.label.as_ref().or(file.label.as_ref()).cloned();
        let label = label.ok_or_else(|| Usage("no column to predict is named; --label names it".to_owned()))?;
        let either = |flag: &[String], filed: &Option<Vec<String>>| match (flag, filed) {
            ([], Some(filed)) => filed.clone(),
            (flag, _) => flag.to_vec(),
        };
        Ok(Columns {
            label,
            features: either(&self.features, &file.features),
            ignore: either(&self.ignore, &file.ignore),
            numeric: either(&self.numeric, &file.numeric),
            boolean: either(&self.boolean, &file.boolean),
            categorical: either(&self.categorical, &file.categorical),
            text: either(&self.text, &file.text),
        })
    }

    fn settings(&self) -> TrainSettings {
        TrainSettings {
            seed: self.seed,
            hidden: self.hidden.clone(),
            epochs_max: self.epochs,
            batch_size: self.batch_size,
            learning_rate: self.learning_rate,
            ..TrainSettings::default()
        }
    }

    fn show(&self, trained: &Trained, saved: &Saved) -> anyhow::Result<()> {
        let champion = !self.no_promote;
        let Saved { reference, place } = saved;
        if self.json {
            let report = Report { model: reference, folder: place, champion, training: trained.training() };
            println!("{}", serde_json::to_string_pretty(&report)?);
            return Ok(());
        }
        let result = &trained.training().held_out;
        println!("{reference}: {:.1} % right on {} held-out rows\n", 100.0 * result.accuracy, result.rows);
        println!("{}", confusion(result));
        println!("{}", measures(result));
        if champion {
            println!("It is in {place}, and is the champion now.");
            println!("Next: name it in a pipeline file, [model] path = \"{}\", then", self.out);
            println!("  alluvium check PIPELINE.toml");
        } else {
            println!("It is in {place}; the champion is as it was.");
            println!("Next: to use it, alluvium models promote {}@{}", self.out, reference.version);
        }
        Ok(())
    }
}

/// A wrong choice on the command line is told apart from data that is no good.
fn told(error: ModelError) -> anyhow::Error {
    match error {
        ModelError::Choice(fault) => Usage(fault).into(),
        error => error.into(),
    }
}

/// The columns as they were understood.
fn describe(table: &Labelled) -> String {
    let mut lines: Vec<_> = table.columns.iter().map(|column| (column.name.as_str(), column.told.clone())).collect();
    lines.push((&table.label, format!("to predict: {}", table.classes.join(", "))));
    let width = lines.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    let mut text = format!("{} rows\n", progress::count(table.labels.len() as u64));
    for (name, told) in lines {
        // Writing to a string can't fail.
        let _ = writeln!(text, "  {name:width$}  {told}");
    }
    text
}

/// What each class was taken for.
fn confusion(result: &Evaluation) -> String {
    let names: Vec<&str> = result.classes.iter().map(|class| class.class.as_str()).collect();
    let mut rows: Vec<Vec<String>> =
        vec![[&["is \\ predicted"], names.as_slice()].concat().into_iter().map(String::from).collect()];
    for (name, counts) in names.iter().zip(&result.confusion) {
        rows.push([(*name).to_owned()].into_iter().chain(counts.iter().map(|&count| progress::count(count))).collect());
    }
    grid("  ", &rows)
}

fn measures(result: &Evaluation) -> String {
    let mut rows = vec![["class", "rows", "precision", "recall", "F1"].map(String::from).to_vec()];
    for class in &result.classes {
        let shares = [class.precision, class.recall, class.f1].map(|share| format!("{share:.3}"));
        rows.push([class.class.clone(), progress::count(class.rows)].into_iter().chain(shares).collect());
    }
    grid("  ", &rows)
}
