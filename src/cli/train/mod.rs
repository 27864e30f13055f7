//! `alluvium train`: a labelled table to a model.

mod choices;
mod file;
mod show;

use std::{
    fs,
    ops::ControlFlow,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use anyhow::Context;
use chrono::SubsecRound;
use clap::Args;
use indicatif::ProgressBar;

use self::{
    choices::{ColumnFlags, TrainingFlags},
    file::TrainFile,
};
use super::{Exit, Usage, run::Signals};
use crate::{
    model::{self, EpochPoint, Labelled, ModelError, Papers, Plan, Stage, Trained},
    record::name::visible,
    telemetry::progress,
};

/// Train a classifier on a labelled table.
///
/// The table is CSV or Parquet: a file, several, or a folder, here or on S3. What each column holds (numbers, true or
/// false, words, text) is found out and shown; columns of no use are left out with the reason. Some rows are held out, and
/// the result is measured on those, beside what is simpler: the commonest class, and a logistic regression. The model
/// becomes the next version in its folder, with a report, and the one in use (the champion) unless told otherwise. The same
/// data, seed and build give the same weights, to the last bit.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  alluvium train models/iris/data/iris.csv --label species --out models/iris
  alluvium train payments/*.parquet --label fraud --ignore id,time --hidden 64,64 --out models/fraud
  alluvium train table.csv --label y --folds 10 --tune 20 --out models/y --json")]
pub(super) struct Train {
    /// CSV or Parquet: a file, several, a folder, or an s3:// URL.
    #[arg(value_name = "DATA", required = true)]
    data: Vec<String>,
    /// The model's folder or s3:// URL; its last part is the model's name.
    #[arg(long, value_name = "models/NAME")]
    out: String,
    /// A TOML file with these choices; a flag that is given wins.
    #[arg(long, value_name = "FILE.toml")]
    config: Option<PathBuf>,
    #[command(flatten)]
    columns: ColumnFlags,
    #[command(flatten)]
    training: TrainingFlags,
    /// Write the number of each row's fold here, a line for each row, so that another program can be measured on the same
    /// folds.
    #[arg(long, value_name = "FILE", requires = "folds")]
    folds_out: Option<PathBuf>,
    /// On Ctrl-C end after the epoch, and keep the best network so far. Without it Ctrl-C ends at once and writes nothing.
    #[arg(long)]
    keep_best: bool,
    /// Keep the champion as it is.
    #[arg(long)]
    no_promote: bool,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

impl Train {
    pub(super) async fn run(self) -> anyhow::Result<Exit> {
        let stop = Arc::new(AtomicBool::new(false));
        if self.keep_best {
            let (stop, mut signals) = (stop.clone(), Signals::new().context("catch Ctrl-C")?);
            tokio::spawn(async move {
                signals.next().await;
                stop.store(true, Relaxed);
            });
        }
        let shown = show::Shown { out: self.out.clone(), promoted: !self.no_promote, json: self.json };
        let trained = tokio::task::spawn_blocking(move || self.train(&stop)).await??;
        let now = chrono::Utc::now().trunc_subsecs(0);
        let report = |version: &_| trained.pages(version, now);
        let papers = Papers { golden: Some(trained.golden()), report: Some(&report) };
        let saved = model::save(&shown.out, &trained, papers, shown.promoted).await?;
        shown.print(&trained, &saved)?;
        Ok(Exit::Done)
    }

    fn train(self, stop: &AtomicBool) -> anyhow::Result<Trained> {
        let file = self.config.as_deref().map(TrainFile::read).transpose()?.unwrap_or_default();
        let columns = self.columns.columns(&file)?;
        let plan = self.training.plan(file)?;
        let looking = progress::spinner("looking through the table");
        let table = Labelled::open(&self.data, &columns).map_err(told);
        looking.finish_and_clear();
        let table = table?;
        eprint!("{}", visible(&show::table(&table)));
        if let (Some(path), Some(folds)) = (&self.folds_out, plan.folds) {
            write_folds(path, &table, folds, &plan)?;
        }
        let mut bars = Bars { bar: None, stage: None, epochs_max: plan.settings.epochs_max };
        let trained = model::train(&table, &plan, &mut |stage, epoch| {
            bars.tell(stage, epoch);
            if stop.load(Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        bars.finish();
        trained.map_err(told)
    }
}

fn write_folds(path: &PathBuf, table: &Labelled, folds: u8, plan: &Plan) -> anyhow::Result<()> {
    let numbers = model::folds(&table.labels, folds, plan.settings.seed);
    let lines: Vec<String> = numbers.iter().map(|fold| (u16::from(*fold) + 1).to_string()).collect();
    fs::write(path, lines.join("\n") + "\n").with_context(|| format!("write {}", path.display()))
}

/// A bar for each network that is trained.
struct Bars {
    bar: Option<ProgressBar>,
    stage: Option<Stage>,
    epochs_max: usize,
}

impl Bars {
    fn tell(&mut self, stage: Stage, epoch: &EpochPoint) {
        if self.stage != Some(stage) {
            self.finish();
            self.stage = Some(stage);
            self.bar = Some(progress::epochs(name(stage), self.epochs_max as u64));
        }
        let Some(bar) = &self.bar else { return };
        bar.set_position(epoch.number as u64);
        bar.set_message(format!(
            "loss {:.4}  validation {:.4}, {:.1} % right",
            epoch.train_loss,
            epoch.validation_loss,
            100.0 * epoch.validation_accuracy
        ));
    }

    fn finish(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

fn name(stage: Stage) -> String {
    match stage {
        Stage::Trial { number, of } => format!("try {number} of {of}"),
        Stage::Network => "training".to_owned(),
        Stage::Fold { number, of } => format!("fold {number} of {of}"),
    }
}

/// A wrong choice on the command line is told apart from data that is no good.
fn told(error: ModelError) -> anyhow::Error {
    match error {
        ModelError::Choice(fault) => Usage(fault).into(),
        error => error.into(),
    }
}
